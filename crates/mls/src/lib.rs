//! The MLS engine of a device: end-to-end encrypted conversations after RFC 9420.
//!
//! It **owns** the groups of a device and their secrets: creating, joining, changing and leaving conversations, encrypting
//! and decrypting, and commits that survive a crash at any instruction. It **leaves to others** the network (the
//! application implements [`MlsTransport`]), the database (`tertulia-store`), what a message means, and who may do what.
//! The cryptography is that of `mls-rs` with AWS-LC; no type of them appears here.
//!
//! # Two people talk
//!
//! Everything that changes state happens in a [`TransactionContext`], which writes all or nothing.
//!
//! ```
#![doc = include_str!("../examples/two_people_talk.rs")]
//! ```
//!
//! # Supported
//!
//! - Ciphersuite 0x0001 and basic credentials. Identities by a [`ClientIdPolicy`], by default those of Tertulia's devices.
//! - Key packages for one use, and a last resort for any number.
//! - Creating a conversation, joining it by Welcome or by external commit, which also brings back a device whose state is
//!   lost.
//! - Adding, removing, updating, committing others' proposals, all in [two phases](MlsTransport) with the hub, an
//!   application message in the new epoch going along if wanted ([`CommitOptions`]).
//! - Proposals of external senders: the hub's.
//! - Application messages, also late ones of the last few epochs, with padding.
//! - [History](HistorySharing): newcomers can be given what was said before, from a point that the members allowed, in the
//!   commit that adds them. A [`HistoryClient`] reads it.
//! - Key rotation: [`MlsCustomConfiguration::key_rotation_span`], [`Session::key_rotations_due`].
//! - Exporting keys; comparing states by the epoch authenticator.
//! - Application data that moves with the keys: [`TransactionContext::store_write`].
//! - Several sessions, in several processes, on one store.
//!
//! # Unsupported
//!
//! Pre-shared keys, branching and reinitialising groups, custom proposals and extensions.
//!
//! # Planned
//!
//! - Buffering messages of the next epoch; today they are the error [`FutureEpoch`](EngineError::FutureEpoch).
//! - Proposals of this device (`new_add_proposal`, `new_remove_proposal`, `new_update_proposal`), and renewing them.
//! - Observers of epochs, children of conversations.
//! - X.509 credentials, more ciphersuites.
//!
//! # A newcomer reads the past
//!
//! ```
#![doc = include_str!("../examples/history.rs")]
//! ```
//!
//! # Secrets on disk
//!
//! What is on disk is encrypted. A message key that was used up can be derived from it until the next snapshot of its group:
//! for 256 further messages at most, or until the epoch ends. With [`SessionConfig::strict`] the snapshot is part of the
//! same transaction, and the database's write-ahead log is emptied behind it: the key is gone when
//! [`TransactionContext::finish`] returns. A past epoch's secrets are gone when [`SessionConfig::prior_epochs`] further
//! epochs have passed, counted at writes of that conversation.
//!
//! A key is never used to encrypt twice. Encrypting is a durable write before the ciphertext is handed out; a store that was
//! restored from a backup or copied is known by its file, or by the echo of a message that it does not know, and refuses to
//! encrypt ([`EngineError::StateRestored`]) until the device has new keys.
//!
//! With history enabled, a span's secret is kept until the conversation is wiped, and opens all of the span: that is its
//! purpose, and the price of it.

mod cache;
mod commit;
mod config;
mod conversation;
mod credential;
mod crypto;
mod error;
mod group_info;
mod heads;
mod history;
mod identity;
mod ids;
mod key_package;
mod loaded;
mod outcome;
mod overlay;
mod provider;
mod receive;
mod record;
mod rotation;
mod session;
mod transaction;
mod transport;
mod wire;

pub use commit::CommitOptions;
pub use config::{
    Ciphersuite, ExternalSender, MlsConversationConfiguration, MlsCustomConfiguration, MlsWirePolicy,
    Padding, SessionConfig,
};
pub use conversation::ConversationGuard;
pub use credential::{Credential, CredentialRef};
pub use error::{EngineError, ErrorKind, Opaque, Result};
pub use group_info::VerifiableGroupInfo;
pub use history::{
    HistoryClient, HistoryObserver, HistorySecret, HistorySharing, HistorySpan, MAX_HISTORY_SPANS,
};
pub use identity::{ClientIdError, ClientIdPolicy, DeviceIdPolicy, IdentityCredential, WireIdentity};
pub use ids::{ClientId, ConversationId};
pub use key_package::{BACKDATE, KeyPackage, KeyPackageIn, MAX_LIFETIME};
pub use outcome::{
    CommitSummary, MlsConversationDecryptMessage, MlsProposalBundle, NewCrlDistributionPoints, Outcome,
    PendingCommitInfo, Settlement, WelcomeBundle,
};
pub use session::{ConversationView, Session};
pub use transaction::TransactionContext;
pub use transport::{
    CommitOutcome, MlsCommitBundle, MlsGroupInfoBundle, MlsGroupInfoEncryptionType, MlsRatchetTreeType,
    MlsTransport, RejectReason,
};
pub use wire::MAX_MESSAGE_BYTES;
