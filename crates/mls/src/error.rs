//! What can go wrong, and what to do about it.

use std::time::Duration;

use tertulia_store::StoreError;

use crate::{
    CertificateError, Ciphersuite, ClientId, CommitSummary, ConversationId, CrlError, ExternalSenderError,
    RejectReason, RuleViolation, identity::ClientIdError,
};

/// The result of an engine operation.
pub type Result<T, E = EngineError> = std::result::Result<T, E>;

/// Whose fault an [`EngineError`] is, and so who can do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller asked for something that cannot be done in this state. Change the call.
    Misuse,
    /// Bytes from outside are malformed, forged, or not for this conversation. Drop them.
    Peer,
    /// What is stored on this device does not allow it to go on. Rejoin the conversation, or repair the home.
    LocalState,
    /// It may work later, or after catching up with the hub. Wait, sync, try again.
    Transient,
}

/// An error of the engine.
///
/// After any error the transaction is as it was before the failed operation and can be used further, unless the
/// variant says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The transaction was finished or aborted, or lost its lock while a commit was under way. Begin a new one.
    #[error("the transaction is finished")]
    TransactionFinished,

    /// There is no such conversation on this device. Join it by its Welcome or by external commit, or drop the message.
    #[error("conversation {0} does not exist here")]
    ConversationNotFound(ConversationId),

    /// A conversation with this id exists, or is being joined. Use that one, or wipe it first.
    #[error("conversation {0} exists already")]
    ConversationExists(ConversationId),

    /// The credential is not in the store. Add it, or choose one that `find_credentials` knows.
    #[error("the credential is not in the store")]
    CredentialNotFound,

    /// The store holds a basic credential of this client for this ciphersuite already, or one with this key. Find it with
    /// `find_credentials`.
    #[error("there is a credential for {0} already")]
    CredentialExists(ClientId),

    /// The credential signs for a conversation or a key package. Wipe those first.
    #[error("the credential is in use")]
    CredentialInUse,

    /// The application's rules ([`GroupRules`](crate::GroupRules)) do not allow a commit of this device. Change what it does.
    #[error("the rules of the group do not allow it: {0}")]
    AgainstTheRules(RuleViolation),

    /// The application's rules do not allow another's commit, or the group that a Welcome lets this device into. It is not
    /// applied; who let it pass is not to be trusted.
    #[error("something is against the rules of the group: {0}")]
    RulesBroken(RuleViolation),

    /// A commit would change the group's context beside the group data, as who may propose from outside. It is not applied;
    /// who let it pass is not to be trusted.
    #[error("a commit would change what the group is set up with")]
    ContextChanged,

    /// The group data is too long. Keep less in it.
    #[error("group data of {len} bytes is longer than {max}")]
    GroupDataTooLong {
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },

    /// The conversation has no such member. Look at `client_ids`: somebody else may have removed it.
    #[error("{0} is not a member")]
    NoSuchMember(ClientId),

    /// The client is a member already. Remove it first, or leave it.
    #[error("{0} is a member already")]
    AlreadyMember(ClientId),

    /// A commit would add a client twice: it is named twice, or a pending proposal adds it. Name it once, or call
    /// `commit_pending_proposals`.
    #[error("{0} is to be added twice")]
    AddedTwice(ClientId),

    /// A conversation would be its own ancestor. Choose another parent.
    #[error("conversation {child} cannot be a child of {parent}, which descends from it")]
    OwnAncestor {
        /// What was to become a child.
        child: ConversationId,
        /// What was to become its parent.
        parent: ConversationId,
    },

    /// A commit of this device waits for its outcome. Catch up with the hub, or ask it for its epoch and call
    /// `settle_pending`.
    #[error("a commit for epoch {epoch} is pending")]
    PendingCommit {
        /// The epoch that the commit ends.
        epoch: u64,
    },

    /// There are proposals that must be committed before anything can be encrypted. Call `commit_pending_proposals`.
    #[error("{count} proposals are pending")]
    PendingProposals {
        /// How many.
        count: usize,
    },

    /// A proposal to remove this device is pending, and nobody commits their own removal. Wait for another member's
    /// commit.
    #[error("this device is to be removed by another member")]
    OwnRemovalPending,

    /// `remove_members` was asked to remove this device. Ask another member, or the hub.
    #[error("a member cannot remove itself")]
    CannotRemoveSelf,

    /// `add_members`, `remove_members` or `change_members` was called with nothing to change. Name somebody, or call
    /// `update_key_material`.
    #[error("there is nothing to change")]
    NothingToCommit,

    /// History is shared already: a history client is a member. There is nothing to do.
    #[error("history is shared already")]
    HistoryEnabled,

    /// History is not shared. There is nothing to do.
    #[error("history is not shared")]
    HistoryNotEnabled,

    /// This device holds no secret of history that reaches this epoch or a later one. Ask another member to share it.
    #[error("no history from epoch {epoch} on is held here")]
    HistoryNotHeld {
        /// The epoch from which history was asked for.
        epoch: u64,
    },

    /// What was given as a history secret is damaged, or made up. Drop it; ask a member to share it again.
    #[error("the history secret was refused")]
    InvalidHistorySecret(#[source] Option<Opaque>),

    /// The message was sent before the span of history that is being read. Skip it; another secret may open it.
    #[error("the message is of epoch {epoch}, the history begins with {first}")]
    BeforeHistory {
        /// The message's epoch.
        epoch: u64,
        /// The first epoch of the span.
        first: u64,
    },

    /// The message was sent after the span of history that is being read. Go on with the next span.
    #[error("the message is of epoch {epoch}, the history ended with {last}")]
    HistoryEnded {
        /// The message's epoch.
        epoch: u64,
        /// The last epoch of the span.
        last: u64,
    },

    /// The engine does not implement this ciphersuite. Choose another; drop a key package or a group info of that one.
    #[error("ciphersuite {0:#06x} is not supported")]
    UnsupportedCiphersuite(u16),

    /// A credential, a key package or a group info is of another ciphersuite than what it is to be used with. Use one of
    /// the conversation's ciphersuite.
    #[error("ciphersuite {got} where it must be {expected}")]
    CiphersuiteMismatch {
        /// The ciphersuite of what was given.
        got: Ciphersuite,
        /// The ciphersuite that is needed.
        expected: Ciphersuite,
    },

    /// A key of this length cannot be exported. Ask for one within the limits.
    #[error("a key of {requested} bytes cannot be exported, the length must be 1 to {max}")]
    InvalidKeyLength {
        /// Bytes asked for.
        requested: usize,
        /// Most bytes that this ciphersuite can give.
        max: usize,
    },

    /// The lifetime of a key package is zero or too long. Ask for one within the limit.
    #[error("a key package cannot live for {requested:?}, at most for {max:?}")]
    InvalidLifetime {
        /// What was asked for.
        requested: Duration,
        /// The longest.
        max: Duration,
    },

    /// Too many things were asked for at once. Do it in parts.
    #[error("{requested} at once are too many, at most {max}")]
    TooMany {
        /// How many were asked for.
        requested: usize,
        /// The most.
        max: usize,
    },

    /// What was given as an external sender is not a public key of the ciphersuite. Ask the hub for its key again.
    #[error("not an external sender: {0}")]
    InvalidExternalSender(#[source] ExternalSenderError),

    /// A private key does not belong to its public key. Check where they come from.
    #[error("the private {what} does not belong to the public one")]
    KeyMismatch {
        /// Which key.
        what: &'static str,
    },

    /// The id or the secret of a pre-shared key is empty or too long. Take another.
    #[error("the id and the secret of a pre-shared key have 1 to {max} bytes, got {got}")]
    InvalidPsk {
        /// Bytes in it.
        got: usize,
        /// Most bytes.
        max: usize,
    },

    /// There is no pre-shared key with an id that was named. Add it first.
    #[error("there is no such pre-shared key in the store")]
    PskNotFound,

    /// The conversation has no external sender. Go on without: it was created so.
    #[error("the conversation has no external sender")]
    NoExternalSender,

    /// The client id is refused by the session's policy. Do not add it; drop what it came with.
    #[error("client id refused: {0}")]
    InvalidClientId(#[source] ClientIdError),

    /// The certificate of a client, or of an authority, is refused. Do not add the client; drop what it came with. What
    /// else to do depends on the reason.
    #[error("certificate refused: {0}")]
    InvalidCertificate(#[source] CertificateError),

    /// A revocation list is refused. What was known before stays. What to do depends on the reason.
    #[error("revocation list refused: {0}")]
    InvalidCrl(#[from] CrlError),

    /// The private key is no PKCS #8, or is not the one that the certificate is for. Give the right one.
    #[error("the private key does not belong to the certificate")]
    InvalidPrivateKey,

    /// The credential is another client's than this device's in the conversation. Use one of the same client.
    #[error("{0} is another client")]
    WrongClient(ClientId),

    /// The bytes are not an MLS message, or too many. Drop them.
    #[error("not an MLS message")]
    MalformedMessage(#[source] Option<Opaque>),

    /// The bytes are an MLS message of a kind that does not belong here. Drop them.
    #[error("an MLS message of the wrong kind")]
    UnexpectedMessage,

    /// The message belongs to another conversation. Route it there, or drop it.
    #[error("the message belongs to conversation {0}")]
    WrongConversation(ConversationId),

    /// Too many messages wait for their epochs already ([`SessionConfig`](crate::SessionConfig) says how many may).
    /// Process the commits that are missing; when there are none to be had, rejoin by external commit.
    #[error("the buffer is full with {messages} messages of {bytes} bytes in all")]
    BufferFull {
        /// Messages in the buffer.
        messages: u64,
        /// Their bytes.
        bytes: u64,
    },

    /// Whoever reads history is given the log in its order, and commits before this message are missing. Give them first.
    #[error("the message is of epoch {epoch}, history has been read up to {current}")]
    MissingCommits {
        /// The message's epoch.
        epoch: u64,
        /// The epoch that the reader is in.
        current: u64,
    },

    /// The sender keeps history for others, and only listens: whoever was given its secrets could speak as it. Drop the
    /// message.
    #[error("{0} keeps history and may not send")]
    SenderOnlyListens(ClientId),

    /// The sender has skipped more messages than the conversation allows. Drop the message, show a gap.
    #[error("message {generation} of its sender is too far ahead, at most {max} may be missing")]
    TooFarAhead {
        /// The message's generation, in its sender's ratchet.
        generation: u32,
        /// The most that may be missing.
        max: u32,
    },

    /// The message comes after more later ones of its sender than the conversation allows, and its key is deleted. Show a gap.
    #[error(
        "message {generation} of its sender comes too late: {newest} was read, at most {tolerance} may be late"
    )]
    TooLate {
        /// The message's generation, in its sender's ratchet.
        generation: u32,
        /// The newest generation that was read.
        newest: u32,
        /// How many may be late.
        tolerance: u32,
    },

    /// The store was restored from a backup or copied, and what is encrypted now could use a key a second time. Call
    /// `update_key_material`; where handshake messages are encrypted, join again by external commit.
    #[error("the store was restored or copied: the keys must be updated before anything is encrypted")]
    StateRestored,

    /// The message is forged, corrupted, or breaks a rule of the protocol. Drop it. The conversation stands as before.
    #[error("the message was refused")]
    InvalidMessage(#[source] Opaque),

    /// A commit or a Welcome uses a pre-shared key that is not here. Add it and process the message again, or rejoin by
    /// external commit.
    #[error("a pre-shared key is missing")]
    PskMissing,

    /// A key package is past its lifetime by this device's clock. Ask the hub for another one of this client.
    #[error("the key package of {client} expired at {not_after} s since 1970")]
    KeyPackageExpired {
        /// Whom it was to add.
        client: ClientId,
        /// The end of its lifetime, in seconds since 1970.
        not_after: u64,
    },

    /// A key package is valid for longer than the existing clients accept: who added it would lose them. Ask for another.
    #[error("the key package of {client} lives for {lifetime:?}, at most {max:?} are accepted")]
    KeyPackageLivesTooLong {
        /// Whom it was to add.
        client: ClientId,
        /// From the beginning to the end of its lifetime.
        lifetime: Duration,
        /// The longest.
        max: Duration,
    },

    /// A key package is malformed, forged, not valid yet, or does not fit the conversation. Ask for another.
    #[error("the key package was refused")]
    InvalidKeyPackage(#[source] Option<Opaque>),

    /// The Welcome does not open, or what it holds is not valid. Rejoin by external commit.
    #[error("the welcome was refused")]
    InvalidWelcome(#[source] Opaque),

    /// The group info is malformed or not valid. Fetch it again.
    #[error("the group info was refused")]
    InvalidGroupInfo(#[source] Option<Opaque>),

    /// The Welcome is for a key package whose secrets are not here: not for this device, used already, or pruned. Drop
    /// it; if the conversation is wanted, join it by external commit.
    #[error("the welcome is for none of the key packages of this device")]
    KeyPackageNotFound,

    /// This device's own commit was accepted, but its secrets are gone. Rejoin by external commit.
    #[error("the secrets of an own commit are gone")]
    OwnCommitLost,

    /// The hub is behind this device: it lost data, or is another hub. Do not send; tell the user.
    #[error("the hub is at epoch {hub}, this device is at {local}")]
    HubBehind {
        /// The hub's epoch.
        hub: u64,
        /// This device's epoch.
        local: u64,
    },

    /// The hub refused the commit, which is dropped. With [`RejectReason::StaleEpoch`]: catch up and decide anew.
    #[error("the commit was rejected: {0}")]
    CommitRejected(RejectReason),

    /// Nobody knows yet whether the hub accepted the commit, which stays pending. Catch up with the hub, or ask it for
    /// its epoch and call `settle_pending`.
    #[error("the outcome of the commit is unknown: {detail}")]
    CommitOutcomeUnknown {
        /// What the transport said, for the log.
        detail: String,
    },

    /// A change of very many members takes several commits, and one of them failed. What the ones before it did stands: it
    /// is in `done`. Do for `source` what it asks for, then add those who are not members yet.
    #[error("{} members were added before a commit failed", done.added.len())]
    ChangedInPart {
        /// What was committed.
        done: Box<CommitSummary>,
        /// Why the next commit was not.
        source: Box<EngineError>,
    },

    /// What is stored of a conversation cannot be read. Wipe and rejoin it.
    #[error("the stored state is damaged: {what}")]
    DamagedState {
        /// Which record.
        what: &'static str,
        /// Why it cannot be read.
        #[source]
        source: Option<Opaque>,
    },

    /// The MLS library failed where it should not, for instance for want of randomness. Report it.
    #[error("the MLS library failed")]
    Library(#[source] Opaque),

    /// The store failed. See its own kind. If it failed in writing, nothing was written and the transaction is finished.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An error of the underlying library: readable, printable, and of no promised type.
pub type Opaque = Box<dyn std::error::Error + Send + Sync>;

impl EngineError {
    /// Whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::TransactionFinished
            | Self::ConversationNotFound(_)
            | Self::ConversationExists(_)
            | Self::CredentialNotFound
            | Self::CredentialExists(_)
            | Self::CredentialInUse
            | Self::NoSuchMember(_)
            | Self::AlreadyMember(_)
            | Self::AddedTwice(_)
            | Self::OwnAncestor { .. }
            | Self::CannotRemoveSelf
            | Self::NothingToCommit
            | Self::HistoryEnabled
            | Self::HistoryNotEnabled
            | Self::HistoryNotHeld { .. }
            | Self::BeforeHistory { .. }
            | Self::HistoryEnded { .. }
            | Self::UnsupportedCiphersuite(_)
            | Self::CiphersuiteMismatch { .. }
            | Self::InvalidKeyLength { .. }
            | Self::InvalidLifetime { .. }
            | Self::TooMany { .. }
            | Self::InvalidExternalSender(_)
            | Self::KeyMismatch { .. }
            | Self::InvalidPsk { .. }
            | Self::PskNotFound
            | Self::NoExternalSender
            | Self::InvalidPrivateKey
            | Self::WrongClient(_)
            | Self::AgainstTheRules(_)
            | Self::GroupDataTooLong { .. }
            | Self::CommitRejected(RejectReason::Refused { .. }) => ErrorKind::Misuse,
            Self::InvalidClientId(_)
            | Self::InvalidCertificate(_)
            | Self::InvalidCrl(_)
            | Self::MalformedMessage(_)
            | Self::UnexpectedMessage
            | Self::WrongConversation(_)
            | Self::TooFarAhead { .. }
            | Self::TooLate { .. }
            | Self::SenderOnlyListens(_)
            | Self::InvalidMessage(_)
            | Self::KeyPackageExpired { .. }
            | Self::KeyPackageLivesTooLong { .. }
            | Self::InvalidKeyPackage(_)
            | Self::InvalidWelcome(_)
            | Self::InvalidGroupInfo(_)
            | Self::InvalidHistorySecret(_)
            | Self::RulesBroken(_)
            | Self::ContextChanged
            | Self::HubBehind { .. } => ErrorKind::Peer,
            Self::KeyPackageNotFound
            | Self::OwnCommitLost
            | Self::StateRestored
            | Self::DamagedState { .. }
            | Self::Library(_) => ErrorKind::LocalState,
            Self::PendingCommit { .. }
            | Self::PendingProposals { .. }
            | Self::OwnRemovalPending
            | Self::BufferFull { .. }
            | Self::MissingCommits { .. }
            | Self::PskMissing
            | Self::CommitRejected(RejectReason::StaleEpoch { .. })
            | Self::CommitOutcomeUnknown { .. } => ErrorKind::Transient,
            Self::ChangedInPart { source, .. } => source.kind(),
            Self::Store(error) => store_kind(error),
        }
    }
}

fn store_kind(error: &StoreError) -> ErrorKind {
    match error.kind() {
        tertulia_store::ErrorKind::Misuse => ErrorKind::Misuse,
        tertulia_store::ErrorKind::Transient => ErrorKind::Transient,
        // Damage, and whatever is added to the store's kinds.
        _ => ErrorKind::LocalState,
    }
}
