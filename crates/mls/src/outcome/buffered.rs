//! What became of messages that had to wait.

use std::fmt;

use super::{MlsConversationDecryptMessage, MlsProposalBundle, NewCrlDistributionPoints, Outcome};
use crate::{ClientId, EngineError, ErrorKind, WireIdentity};

/// A message that was buffered and has been processed now.
///
/// The fields mean what they mean in [`MlsConversationDecryptMessage`].
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(clippy::struct_excessive_bools)] // independent facts, two of which have their names from the original
pub struct MlsBufferedConversationDecryptMessage {
    /// What the message was. [`Outcome::Dropped`] when it was refused.
    pub outcome: Outcome,
    /// Why it was dropped.
    pub dropped: Option<DropReason>,
    /// The plaintext of an application message.
    pub app_msg: Option<Vec<u8>>,
    /// Always empty: proposals are renewed once, after all messages, and returned beside them.
    pub proposals: Vec<MlsProposalBundle>,
    /// False when this commit removed this device.
    pub is_active: bool,
    /// Always none: the delay is told once, after all messages.
    pub delay: Option<u64>,
    /// Who sent the application message.
    pub sender_client_id: Option<ClientId>,
    /// Whether it was a commit that began an epoch.
    #[deprecated(note = "an EpochObserver is told of each epoch, also of those that begin with own commits")]
    pub has_epoch_changed: bool,
    /// What the sender's credential claims.
    pub identity: Option<WireIdentity>,
    /// In the certificates of those who came in.
    pub crl_new_distribution_points: NewCrlDistributionPoints,
    /// The epoch after this message; for an application message the epoch that it was sent in.
    pub epoch: u64,
    /// Who is new in the conversation by this commit.
    pub added: Vec<ClientId>,
    /// Who is no longer in the conversation by this commit.
    pub removed: Vec<ClientId>,
    /// The commit was made from outside.
    pub external_join: bool,
    /// The message was another's commit for the epoch of this device's pending one, which so is dropped.
    pub dropped_pending: bool,
}

/// Why a buffered message was dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DropReason {
    /// Whose fault it is. With [`ErrorKind::LocalState`]: rejoin. With [`ErrorKind::Transient`]: fetch it again later.
    pub kind: ErrorKind,
    /// The error with what caused it, for the log.
    pub text: String,
}

impl MlsBufferedConversationDecryptMessage {
    /// The message of `epoch` was refused with `error`.
    pub(crate) fn dropped(epoch: u64, error: &EngineError) -> Self {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        let reason = DropReason { kind: error.kind(), text };
        let result = MlsConversationDecryptMessage::new(Outcome::Dropped, epoch);
        Self { dropped: Some(reason), ..Self::from(result) }
    }
}

impl From<MlsConversationDecryptMessage> for MlsBufferedConversationDecryptMessage {
    #[allow(deprecated)] // who builds the struct must name all of its fields
    fn from(message: MlsConversationDecryptMessage) -> Self {
        Self {
            outcome: message.outcome,
            dropped: None,
            app_msg: message.app_msg,
            proposals: message.proposals,
            is_active: message.is_active,
            delay: message.delay,
            sender_client_id: message.sender_client_id,
            has_epoch_changed: message.has_epoch_changed,
            identity: message.identity,
            crl_new_distribution_points: message.crl_new_distribution_points,
            epoch: message.epoch,
            added: message.added,
            removed: message.removed,
            external_join: message.external_join,
            dropped_pending: message.dropped_pending,
        }
    }
}

/// Without the plaintext.
impl fmt::Debug for MlsBufferedConversationDecryptMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MlsBufferedConversationDecryptMessage")
            .field("outcome", &self.outcome)
            .field("dropped", &self.dropped)
            .field("app_msg", &self.app_msg.as_ref().map(Vec::len))
            .field("epoch", &self.epoch)
            .field("sender_client_id", &self.sender_client_id)
            .field("is_active", &self.is_active)
            .field("added", &self.added)
            .field("removed", &self.removed)
            .field("external_join", &self.external_join)
            .field("dropped_pending", &self.dropped_pending)
            .finish_non_exhaustive()
    }
}
