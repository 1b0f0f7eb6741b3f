//! What processing a message yields.

mod buffered;

use std::fmt;

use crate::{ClientId, ConversationId, RejectReason, WireIdentity};

pub use self::buffered::{DropReason, MlsBufferedConversationDecryptMessage};

/// The distribution points of revocation lists in certificates that came in, for which no list is registered. None when
/// there are none. Fetch the lists and pass them to `e2ei_register_crl`.
pub type NewCrlDistributionPoints = Option<Vec<String>>;

/// The result of [`decrypt_message`](crate::ConversationGuard::decrypt_message).
///
/// `outcome` says what the message was; the other fields carry what came of it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(clippy::struct_excessive_bools)] // independent facts, two of which have their names from the original
pub struct MlsConversationDecryptMessage {
    /// What the message was.
    pub outcome: Outcome,
    /// The plaintext of an application message.
    pub app_msg: Option<Vec<u8>>,
    /// Own proposals that were renewed because a commit left them out. Send them to the other members once the
    /// transaction is finished.
    pub proposals: Vec<MlsProposalBundle>,
    /// False when the commit, or one that it freed from the buffer, removed this device. The conversation is wiped then.
    pub is_active: bool,
    /// Seconds to wait before committing the pending proposals, or rotating history, so that not all members commit at once.
    /// None when there is nothing to commit, or one of the proposals removes this device, whose own commit would be refused.
    pub delay: Option<u64>,
    /// Who sent the application message, or shared history.
    pub sender_client_id: Option<ClientId>,
    /// Whether the conversation is in another epoch than before.
    #[deprecated(note = "an EpochObserver is told of each epoch, also of those that begin with own commits")]
    pub has_epoch_changed: bool,
    /// Who the sender is, for application messages, commits and proposals of members.
    pub identity: Option<WireIdentity>,
    /// Messages that were buffered and left the buffer with this one, in the order in which they were processed: read,
    /// or dropped with the reason. None when there are none.
    pub buffered_messages: Option<Vec<MlsBufferedConversationDecryptMessage>>,
    /// In the certificates of those who came in.
    pub crl_new_distribution_points: NewCrlDistributionPoints,
    /// The epoch after processing the message, and before processing those that it freed from the buffer; for an
    /// application message the epoch that it was sent in.
    pub epoch: u64,
    /// Who is new in the conversation by this commit. A client that came back in its own place is in neither list.
    pub added: Vec<ClientId>,
    /// Who is no longer in the conversation by this commit.
    pub removed: Vec<ClientId>,
    /// Whom a proposal wants added. None for any other message.
    pub proposed: Option<ClientId>,
    /// The commit was made from outside: somebody joined, or came back, by external commit.
    pub external_join: bool,
    /// The message was another's commit for the epoch of this device's pending one, which so is dropped. Decide anew
    /// whether it is still wanted.
    pub dropped_pending: bool,
    /// Somebody who was removed holds the secret of the open span of history, see
    /// [`needs_history_rotation`](crate::ConversationGuard::needs_history_rotation). Rotate it after `delay`. Commits and
    /// proposals tell it; [`ConversationView`](crate::ConversationView::needs_history_rotation) does at any time.
    pub needs_history_rotation: bool,
}

impl MlsConversationDecryptMessage {
    #[allow(deprecated)] // who builds the struct must name all of its fields
    pub(crate) fn new(outcome: Outcome, epoch: u64) -> Self {
        Self {
            outcome,
            app_msg: None,
            proposals: Vec::new(),
            is_active: true,
            delay: None,
            sender_client_id: None,
            has_epoch_changed: false,
            identity: None,
            buffered_messages: None,
            crl_new_distribution_points: None,
            epoch,
            added: Vec::new(),
            removed: Vec::new(),
            proposed: None,
            external_join: false,
            dropped_pending: false,
            needs_history_rotation: false,
        }
    }

    /// The message has begun an epoch.
    #[allow(deprecated)] // it is to be told for as long as it is there
    pub(crate) fn note_new_epoch(&mut self) {
        self.has_epoch_changed = true;
    }
}

/// Without the plaintext.
impl fmt::Debug for MlsConversationDecryptMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MlsConversationDecryptMessage")
            .field("outcome", &self.outcome)
            .field("app_msg", &self.app_msg.as_ref().map(Vec::len))
            .field("epoch", &self.epoch)
            .field("sender_client_id", &self.sender_client_id)
            .field("is_active", &self.is_active)
            .field("delay", &self.delay)
            .field("added", &self.added)
            .field("removed", &self.removed)
            .field("proposed", &self.proposed)
            .field("external_join", &self.external_join)
            .field("dropped_pending", &self.dropped_pending)
            .field("needs_history_rotation", &self.needs_history_rotation)
            .field("proposals", &self.proposals.len())
            .field("buffered_messages", &self.buffered_messages)
            .finish_non_exhaustive()
    }
}

/// What a processed message was.
///
/// | outcome | state changes | do |
/// |---|---|---|
/// | `Application` | a key is consumed | show `app_msg` |
/// | `History` | a key is consumed, history may be held that was not | go on |
/// | `Commit` | next epoch | update members |
/// | `OwnCommitMerged` | next epoch | update members |
/// | `Proposal` | one more proposal | commit after `delay` |
/// | `Buffered` | one more message in the buffer | go on; on an ordered log: a commit is missing |
/// | `OwnMessage`, `OwnProposal`, `OwnCommitKnown`, `Duplicate`, `StaleEpoch` | no | go on |
/// | `OwnMessageUnproven` | no | drop it |
/// | `OwnMessageUnknown` | nothing can be encrypted before the own keys are updated | call `update_key_material` |
/// | `Dropped` | a message less in the buffer | see the reason |
/// | `PendingJoinDropped` | the attempt to join is gone | join again |
/// | `PendingJoinContested` | no | on a log that is believed: `give_up_pending_commit`, and join again |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// An application message was decrypted.
    Application,
    /// A message of the engine itself was decrypted, by which a member shares history.
    History,
    /// Another's commit was applied.
    Commit,
    /// The message is this device's pending commit, now known to be accepted, and was applied.
    OwnCommitMerged,
    /// A proposal was stored, to be committed.
    Proposal,
    /// An application message of this device came back.
    OwnMessage,
    /// An application message of this device came back that this device does not know, and its signature proves that it is
    /// this device's. Its store is an older copy of the one that has sent it, and could use a key a second time: nothing is
    /// encrypted before `update_key_material`.
    OwnMessageUnknown,
    /// An application message that says it is of this device, without proof: any member can write that name. It is forged,
    /// or a copy of this store has sent it with a key that is used up here.
    OwnMessageUnproven,
    /// A commit of this device came back that was applied before.
    OwnCommitKnown,
    /// A proposal of this device came back.
    OwnProposal,
    /// The key of this application message is gone: it was read before, or comes after more later ones of its sender than the
    /// conversation tolerates. Who never saw it shows a gap. Or this proposal is known.
    Duplicate,
    /// The message is of a future epoch, or a commit that refers to proposals that have not come yet. It is kept, and
    /// processed when it can be, as one of the `buffered_messages` of the message that made it possible. Where messages
    /// come in the order of a log, this means that one before it is missing: fetch it, or rejoin by external commit.
    Buffered,
    /// Of buffered messages only: when its time came it was refused, or it had to make room for one of a nearer epoch.
    Dropped,
    /// The message is of a past epoch and cannot be read any more.
    StaleEpoch,
    /// Another's commit took the epoch that this device wanted to join in. Fetch a new group info and join again.
    PendingJoinDropped,
    /// The same, by a commit that cannot be verified from outside, because it is encrypted or forged. The attempt to join
    /// stays pending. Where the hub's log is believed whatever is in it, give the attempt up by
    /// [`give_up_pending_commit`](crate::ConversationGuard::give_up_pending_commit) and join again.
    PendingJoinContested,
}

/// A proposal with what refers to it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MlsProposalBundle {
    /// The proposal, a serialised `MLSMessage`.
    pub proposal: Vec<u8>,
    /// Its reference (RFC 9420, section 5.2).
    pub proposal_ref: Vec<u8>,
    /// In the certificate of the one whom an own proposal adds. None for proposals from outside.
    pub crl_new_distribution_points: NewCrlDistributionPoints,
}

/// A commit that was merged.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommitSummary {
    /// The epoch that it began.
    pub epoch: u64,
    /// Who is new.
    pub added: Vec<ClientId>,
    /// Who is gone.
    pub removed: Vec<ClientId>,
    /// Messages of the new epoch that had come before it, see
    /// [`MlsConversationDecryptMessage::buffered_messages`]. One of them may be a commit, which begins yet another epoch.
    /// Unlike the commit they are not written yet: if the transaction is not finished, they come again, with the next message
    /// that is received.
    pub buffered_messages: Option<Vec<MlsBufferedConversationDecryptMessage>>,
    /// In the certificates of those who came in.
    pub crl_new_distribution_points: NewCrlDistributionPoints,
}

/// A conversation that was joined.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WelcomeBundle {
    /// Its id.
    pub id: ConversationId,
    /// The epoch that it was joined in.
    pub epoch: u64,
    /// Who has signed the group info that it was joined with, and so says that the group is as it is there.
    pub signed_by: Signer,
    /// Messages that had come before this device joined and can be read now, see
    /// [`MlsConversationDecryptMessage::buffered_messages`].
    pub buffered_messages: Option<Vec<MlsBufferedConversationDecryptMessage>>,
    /// In the members' certificates.
    pub crl_new_distribution_points: NewCrlDistributionPoints,
}

/// A member as the leaf has it that a signature was made with.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Signer {
    /// Who it is, as the leaf says.
    pub client_id: ClientId,
    /// The leaf's public signature key, in the form of the ciphersuite.
    pub signature_key: Vec<u8>,
}

/// A commit that waits for its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PendingCommitInfo {
    /// The epoch that it ends.
    pub epoch: u64,
    /// SHA-256 of the commit's `MLSMessage`.
    pub commit_sha256: [u8; 32],
    /// Whether this device joins, or rejoins, by it.
    pub is_join: bool,
    /// Whether an application message goes with it.
    pub has_message: bool,
    /// What it is for, so that it can be decided anew should the commit be dropped. None if an earlier version has made it.
    pub intent: Option<CommitIntent>,
}

/// What this device wanted with a commit. The pending proposals that go along are not in it: they stay, or are made again,
/// when the commit is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommitIntent {
    /// To change who is a member. Very many are added by several commits; then it is what this one is to do.
    Members {
        /// Whom to add. A key package that was sent to the hub must not be used again: fetch another.
        add: Vec<ClientId>,
        /// Whom to remove.
        remove: Vec<ClientId>,
    },
    /// New keys for the own leaf.
    Update,
    /// To commit the pending proposals.
    Proposals,
    /// Another credential for the own leaf.
    Credential,
    /// To begin or to end the sharing of history.
    History,
    /// To join, or to come back, from outside.
    Join,
}

/// What became of a pending commit when it was asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Settlement {
    /// There is none.
    NothingPending,
    /// The hub was still in its epoch, got it once more, and accepted it: it is merged.
    Merged(CommitSummary),
    /// The hub was still in its epoch, got it once more, and refused it. The first sending may still be on its way, so that it
    /// stays pending: read the log. If neither it nor another's commit is there, send it again later, or give it up by
    /// [`give_up_pending_commit`](crate::ConversationGuard::give_up_pending_commit).
    Refused {
        /// The epoch of the pending commit.
        epoch: u64,
        /// Why the hub refuses it.
        reason: RejectReason,
    },
    /// The hub is past its epoch. Whose commit it took is in its log: read the log from there and pass what is in it to
    /// `decrypt_message`.
    AwaitLog {
        /// The epoch of the pending commit.
        epoch: u64,
    },
}

/// What became of a revocation list that was registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CrlRegistration {
    /// Whether more, or something else, is known than before: look at the members' identities again.
    pub dirty: bool,
    /// When the issuer makes the next list at the latest, in seconds since 1970: fetch it then. None if it does not say.
    pub expiration: Option<u64>,
}

/// A certificate that is registered.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegisteredCertificate {
    /// By which it is found.
    pub sha256: [u8; 32],
    /// Whether it is a trust anchor; else it is an intermediate.
    pub is_trust_anchor: bool,
    /// The certificate in DER.
    pub der: Vec<u8>,
}

impl fmt::Debug for RegisteredCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegisteredCertificate")
            .field("sha256", &hex::encode(&self.sha256[..4]))
            .field("is_trust_anchor", &self.is_trust_anchor)
            .finish_non_exhaustive()
    }
}
