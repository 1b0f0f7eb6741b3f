//! The engine's way to the hub.

use crate::{Client, Result};
use async_trait::async_trait;
use std::sync::OnceLock;
use tertulia_api::Code;
use tertulia_domain::{ConversationId, GroupId};
use tertulia_mls::{CommitOutcome, MlsCommitBundle, MlsTransport, RejectReason};
use tertulia_transport::{Hub, TransportError};

/// Delivers commits to the hub. The hub is known once somebody is signed in, which the engine need not wait for.
#[derive(Debug, Default)]
pub(crate) struct HubLink(OnceLock<Hub>);

impl HubLink {
    /// From now on commits go to this hub.
    pub(crate) fn set(&self, hub: Hub) {
        // A home has one account and one hub for good, so a second call brings the same.
        let _ = self.0.set(hub);
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
        let (Some(hub), Some(conversation)) = (self.0.get(), conversation_of(conversation)) else {
            return CommitOutcome::Unknown { detail: "nobody is signed in".to_owned() };
        };
        let MlsCommitBundle { commit, group_info, welcome, encrypted_message } = bundle;
        let body =
            [commit, group_info.payload, welcome.unwrap_or_default(), encrypted_message.unwrap_or_default()]
                .concat();
        match hub.send_commit(conversation, body).await {
            Ok(_) => CommitOutcome::Accepted,
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
