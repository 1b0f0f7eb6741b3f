//! How the engine reaches the hub.

use std::fmt;

use async_trait::async_trait;

use crate::{ConversationId, wire};

/// Delivers commits. The application implements it over its hub's API.
///
/// The engine calls it without any lock of the store, and once more with the same bytes when it cannot know whether
/// the first time succeeded. So an implementation must keep three promises:
///
/// - **Accepted** is said only when the hub has ordered the commit for good.
/// - A commit for an epoch that is not the hub's current one is [`RejectReason::StaleEpoch`], before any other reason is
///   looked for: [`RejectReason::Refused`] means that the epoch was right and the commit is not in the log.
/// - Whatever leaves doubt (a timeout, a broken connection, a server error) is [`CommitOutcome::Unknown`]. That includes a
///   stale epoch in answer to a request that the implementation has repeated by itself.
#[async_trait]
pub trait MlsTransport: Send + Sync {
    /// Hands a commit to the hub.
    async fn send_commit_bundle(
        &self,
        conversation: &ConversationId,
        bundle: MlsCommitBundle,
    ) -> CommitOutcome;
}

/// A serialised `MLSMessage` (RFC 9420, section 6).
pub type MlsMessageOut = Vec<u8>;

/// What is sent with a commit. All are serialised `MLSMessage`s (RFC 9420, section 6), the group info inside its bundle.
#[derive(Clone, PartialEq, Eq)]
pub struct MlsCommitBundle {
    /// For the members that the commit adds; none when it adds nobody.
    pub welcome: Option<MlsMessageOut>,
    /// For the members before the commit.
    pub commit: MlsMessageOut,
    /// The state after the commit, for those who join by external commit.
    pub group_info: MlsGroupInfoBundle,
    /// An application message in the state after the commit, for all its members. The hub appends it behind the commit.
    pub encrypted_message: Option<MlsMessageOut>,
}

impl fmt::Debug for MlsCommitBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MlsCommitBundle")
            .field("welcome", &self.welcome.as_ref().map(Vec::len))
            .field("commit", &self.commit.len())
            .field("group_info", &self.group_info)
            .field("encrypted_message", &self.encrypted_message.as_ref().map(Vec::len))
            .finish()
    }
}

/// A group info, and the form that it is in.
#[derive(Clone, PartialEq, Eq)]
pub struct MlsGroupInfoBundle {
    /// Whether the payload is encrypted. This engine makes [`Plaintext`](MlsGroupInfoEncryptionType::Plaintext).
    pub encryption_type: MlsGroupInfoEncryptionType,
    /// Where the ratchet tree is. This engine makes [`Full`](MlsRatchetTreeType::Full).
    pub ratchet_tree_type: MlsRatchetTreeType,
    /// The serialised `MLSMessage` of the group info.
    pub payload: Vec<u8>,
}

impl MlsGroupInfoBundle {
    /// The group info alone, without what makes it an `MLSMessage`.
    pub fn bare_payload(&self) -> &[u8] {
        wire::bare(&self.payload)
    }

    /// A group info as this engine makes it: in plaintext, with the whole ratchet tree.
    pub(crate) fn full_plaintext(payload: Vec<u8>) -> Self {
        Self {
            encryption_type: MlsGroupInfoEncryptionType::Plaintext,
            ratchet_tree_type: MlsRatchetTreeType::Full,
            payload,
        }
    }
}

impl fmt::Debug for MlsGroupInfoBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MlsGroupInfoBundle")
            .field("encryption_type", &self.encryption_type)
            .field("ratchet_tree_type", &self.ratchet_tree_type)
            .field("payload", &self.payload.len())
            .finish()
    }
}

/// Whether a group info is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MlsGroupInfoEncryptionType {
    /// It is not: the hub can read it.
    Plaintext,
    /// It is inside a JWE.
    JweEncrypted,
}

/// Where the ratchet tree of a group info is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MlsRatchetTreeType {
    /// Inside, as a whole: the `ratchet_tree` extension (RFC 9420, section 12.4.3.3).
    Full,
    /// Inside, as what changed since the last one.
    Delta,
    /// Somewhere else.
    ByRef,
}

/// What became of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitOutcome {
    /// The hub has ordered it.
    Accepted,
    /// The hub has not ordered it and will not.
    Rejected(RejectReason),
    /// Nobody knows.
    Unknown {
        /// Why, for the log.
        detail: String,
    },
}

/// Why the hub rejected a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RejectReason {
    /// The hub is at another epoch: somebody else's commit came first.
    StaleEpoch {
        /// The hub's epoch, if it said so.
        current: Option<u64>,
    },
    /// The epoch was right and the hub refused it all the same.
    Refused {
        /// The hub's stable code.
        code: String,
        /// A sentence for people.
        detail: String,
    },
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StaleEpoch { current: Some(current) } => write!(f, "stale epoch, the hub is at {current}"),
            Self::StaleEpoch { current: None } => f.write_str("stale epoch"),
            Self::Refused { code, detail } => write!(f, "{code}: {detail}"),
        }
    }
}
