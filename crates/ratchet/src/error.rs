//! What can go wrong with pairwise sessions.

use tertulia_store::StoreError;

/// An error of the pairwise sessions. After any of them everything is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RatchetError {
    /// This device has no keys of its own yet. Make them with [`Ratchet::prepare_keys`](crate::Ratchet::prepare_keys).
    #[error("this device has no keys for pairwise sessions yet")]
    NoKeys,
    /// There is no session with that device that a message could be encrypted with, or was. Begin one with a key that is
    /// claimed for it.
    #[error("there is no session with that device")]
    NoSession,
    /// A key was not signed by the device that it is said to be of. Do not use it, and leave the device out.
    #[error("a key is not signed by the device that it is said to be of")]
    UntrustedKey,
    /// The device was known by other keys. Do not go on with it: a device keeps its keys for good, so somebody stands in
    /// its place.
    #[error("the device has other keys than before")]
    KeysChanged,
    /// A public key leads to a secret that anybody could compute. Leave the device out.
    #[error("a public key is not fit for use")]
    UnfitKey,
    /// The bytes are not a pairwise message. Drop them.
    #[error("not a pairwise message: {0}")]
    Malformed(&'static str),
    /// The message was read before, or it is so old that its key was given up. Drop it.
    #[error("the message was read before, or its key was given up")]
    AlreadyRead,
    /// So many messages before this one never came that its key is not computed. Begin a new session.
    #[error("{gap} messages before this one are missing, the most is {max}")]
    GapTooWide {
        /// How many are missing.
        gap: u64,
        /// The most.
        max: u64,
    },
    /// No session opens the message: it is damaged, or one of the two devices has lost its state. Begin a new session.
    #[error("no session opens the message")]
    Undecryptable,
    /// The message begins a session with a key that this device does not have (any more). Begin a new session.
    #[error("the message begins a session with a key that is not here")]
    UnknownOneTimeKey,
    /// The message was made for another place than the one where it turned up. Drop it: somebody has moved it.
    #[error("the message was made for another {what}")]
    WrongContext {
        /// In what the places differ.
        what: &'static str,
    },
    /// The content does not fit into one message. Send it in parts.
    #[error("the content has {size} bytes, the most is {max}")]
    TooLong {
        /// Its bytes.
        size: usize,
        /// The most.
        max: usize,
    },
    /// The device's signature key did not sign. See the error inside.
    #[error("a key could not be signed")]
    Signing(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What is stored cannot be read. Put a backup in its place, or register the device anew.
    #[error("the stored {what} cannot be read")]
    Damaged {
        /// What it was to be.
        what: &'static str,
    },
    /// The store failed. See the error inside.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The result of an operation on pairwise sessions.
pub type Result<T, E = RatchetError> = std::result::Result<T, E>;

impl RatchetError {
    /// Whether a new session would mend it: the other device's next message, and one's own, will not be read otherwise.
    pub const fn calls_for_renewal(&self) -> bool {
        matches!(self, Self::GapTooWide { .. } | Self::Undecryptable | Self::UnknownOneTimeKey)
    }
}
