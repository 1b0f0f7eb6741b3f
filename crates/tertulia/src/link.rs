//! The engine's way to who orders its commits: the hub, or the first relay of a conversation.

use crate::{Client, Result, SyncReport, client::WeakClient, envelopes::send_commit};
use async_trait::async_trait;
use std::sync::OnceLock;
use tertulia_api::Code;
use tertulia_domain::{ConversationId, GroupId};
use tertulia_mls::{CommitOutcome, MlsCommitBundle, MlsTransport, RejectReason};
use tertulia_transport::{Hub, TransportError};

/// Delivers commits to the hub, or where no hub carries the conversation to its relays. The hub is known once somebody is signed in, which the engine need not wait for.
#[derive(Debug, Default)]
pub(crate) struct HubLink {
    hub: OnceLock<Hub>,
    /// The home, which holds this link.
    home: OnceLock<WeakClient>,
}

impl HubLink {
    /// From now on commits go to this hub.
    pub(crate) fn set(&self, hub: Hub) {
        // A home has one account and one hub for good, so a second call brings the same.
        let _ = self.hub.set(hub);
    }

    /// From now on an accepted commit is taken from the log.
    pub(crate) fn follow(&self, client: &Client) {
        let _ = self.home.set(client.downgrade()); // as above
    }

    /// What follows from an accepted commit: the home takes the log up to it, in which it stands in its place. The engine would else
    /// apply it before messages that come before it, and those of whom it removes could not be read any more.
    async fn accepted(&self, group: &tertulia_mls::ConversationId) -> CommitOutcome {
        let Some(client) = self.home.get().and_then(WeakClient::upgrade) else {
            return CommitOutcome::Accepted;
        };
        // Before the commit by which a device comes in there is nothing that it could read.
        if let Ok(Some(pending)) = client.inner().session.pending_commit(group)
            && pending.is_join
        {
            return CommitOutcome::Accepted;
        }
        match client.catch_up(&mut SyncReport::default()).await {
            Ok(()) => CommitOutcome::Accepted,
            // It stays pending, and is found in the log as soon as that can be read.
            Err(error) => CommitOutcome::Unknown { detail: error.to_string() },
        }
    }
}

/// The MLS group that carries a conversation after so many resets, as the engine names it.
pub(crate) fn group_id(conversation: ConversationId, generation: u64) -> tertulia_mls::ConversationId {
    GroupId { conversation, generation }.to_bytes().as_slice().into()
}

/// The conversation that an MLS group carries; none for a group that is not of a hub.
pub(crate) fn conversation_of(group: &tertulia_mls::ConversationId) -> Option<ConversationId> {
    GroupId::from_bytes(group.as_bytes()).map(|group| group.conversation)
}

impl Client {
    /// The MLS group that carries a conversation, as far as this home knows.
    pub(crate) fn group_of(&self, conversation: ConversationId) -> Result<tertulia_mls::ConversationId> {
        let generation = self.inner().store.read(|r| r.generation(conversation))?;
        Ok(group_id(conversation, generation))
    }
}

#[async_trait]
impl MlsTransport for HubLink {
    async fn send_commit_bundle(
        &self,
        conversation: &tertulia_mls::ConversationId,
        bundle: MlsCommitBundle,
    ) -> CommitOutcome {
        let group = conversation;
        if let (Some(client), Some(id)) =
            (self.home.get().and_then(WeakClient::upgrade), conversation_of(group))
        {
            match client.is_enveloped(id) {
                Ok(true) => return send_commit(&client, group, bundle).await,
                Ok(false) => {}
                Err(error) => return CommitOutcome::Unknown { detail: error.to_string() },
            }
        }
        let (Some(hub), Some(conversation)) = (self.hub.get(), conversation_of(group)) else {
            return CommitOutcome::Unknown { detail: "nobody is signed in".to_owned() };
        };
        let MlsCommitBundle { commit, group_info, welcome, encrypted_message } = bundle;
        let body =
            [commit, group_info.payload, welcome.unwrap_or_default(), encrypted_message.unwrap_or_default()]
                .concat();
        match hub.send_commit(conversation, body).await {
            Ok(_) => self.accepted(group).await,
            Err(TransportError::Refused(problem)) if problem.status < 500 && !problem.retryable => {
                CommitOutcome::Rejected(match problem.known_code() {
                    Some(Code::StaleEpoch) => RejectReason::StaleEpoch { current: problem.current_epoch },
                    _ => RejectReason::Refused { code: problem.code, detail: problem.detail },
                })
            }
            // Whatever is not a plain refusal leaves doubt; the engine keeps the commit and asks again with the same bytes.
            Err(error) => CommitOutcome::Unknown { detail: error.to_string() },
        }
    }
}
