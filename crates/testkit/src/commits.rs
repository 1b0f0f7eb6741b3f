//! The engine's way to a hub, for members that are no homes of the SDK.

use tertulia_domain::ConversationId;
use tertulia_mls::{CommitOutcome, MlsCommitBundle, MlsTransport, RejectReason};
use tertulia_transport::Hub;

/// Sends commits to this hub, as whoever it is signed in as there. Nothing is retried: a commit whose outcome is unknown counts as refused, so that
/// whoever measures or tests learns why it failed.
#[derive(Debug)]
pub struct Commits(pub Hub);

#[async_trait::async_trait]
impl MlsTransport for Commits {
    async fn send_commit_bundle(
        &self,
        conversation: &tertulia_mls::ConversationId,
        bundle: MlsCommitBundle,
    ) -> CommitOutcome {
        let bytes = conversation.as_bytes().try_into().expect("our groups have the conversation's id");
        let MlsCommitBundle { commit, group_info, welcome, encrypted_message } = bundle;
        let body =
            [commit, group_info.payload, welcome.unwrap_or_default(), encrypted_message.unwrap_or_default()]
                .concat();
        match self.0.send_commit(ConversationId::from_bytes(bytes), body).await {
            Ok(_) => CommitOutcome::Accepted,
            Err(error) => CommitOutcome::Rejected(RejectReason::Refused {
                code: error.code().to_owned(),
                detail: error.to_string(),
            }),
        }
    }
}
