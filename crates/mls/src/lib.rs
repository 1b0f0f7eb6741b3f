//! The MLS engine of a device: end-to-end encrypted conversations after RFC 9420.
//!
//! It **owns** the groups of a device and their secrets: creating, joining, changing and leaving conversations, encrypting
//! and decrypting, and commits that survive a crash at any instruction. It **leaves to others** the network (the
//! application implements [`MlsTransport`]), the database (`tertulia-store`), what a message means, and who may do what.
//! The cryptography is that of `mls-rs` with AWS-LC; no type of them appears here.
//!
//! The README has a table of the names in the original of this API, with what is different here.
//!
//! # Two people talk
//!
//! ```
#![doc = include_str!("../examples/two_people_talk.rs")]
//! ```
//!
//! # Supported
//!
//! The examples stand on a hub in memory and devices in temporary directories: `examples/guide/support.rs`, where `two()`
//! makes a conversation of Alice and Bob. `cargo run -p tertulia-mls --example guide` runs them all.
//!
//! ## Transactions
//!
//! Everything that changes state happens in a [`TransactionContext`], which writes all or nothing: what the engine does,
//! the application's checkpoint ([`set_data`](TransactionContext::set_data)) and its own tables
//! ([`store_write`](TransactionContext::store_write)). There is one writer at a time on a store, across sessions and processes;
//! of those that share a [`Store`](tertulia_store::Store), who waits longest comes first. Looking
//! ([`Session::conversation`]) needs no transaction and never waits for one.
//!
//! ```
//! # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/guide/support.rs")); }
#![doc = include_str!("../examples/guide/transactions.rs")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> tertulia_mls::Result<()> { run().await }
//! ```
//!
//! ## Commits in two phases
//!
//! A commit is written as *pending*, the lock is released, the application's [`MlsTransport`] sends it, and its answer settles
//! it: accepted and merged, rejected and dropped, or unknown. What is unknown stays pending until the hub's log or its epoch
//! tells, and is never dropped on a guess. So a crash at any instruction leaves a device that gets into the hub's epoch. An
//! application message in the new epoch can go along ([`CommitOptions::with_message`]). Very many new members are added by
//! several commits ([`SessionConfig::adds_per_commit`]).
//!
//! ```
//! # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/guide/support.rs")); }
#![doc = include_str!("../examples/guide/commits.rs")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> tertulia_mls::Result<()> { run().await }
//! ```
//!
//! ## Receiving
//!
//! [`decrypt_message`](ConversationGuard::decrypt_message) takes every message of the log, the device's own too, and says what
//! it was: the table of [`Outcome`] has them all, and what to do. Messages of a future epoch, and commits whose proposals have
//! not come, are buffered with bounds ([`SessionConfig::max_buffered_messages`]) and processed when they can be, in the order
//! application, proposals, commits. One bad message never stops a group. Late messages are read within
//! [`out_of_order_tolerance`](MlsCustomConfiguration::out_of_order_tolerance) and for
//! [`prior_epochs`](MlsCustomConfiguration::prior_epochs) past epochs.
//!
//! ```
//! # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/guide/support.rs")); }
#![doc = include_str!("../examples/guide/receiving.rs")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> tertulia_mls::Result<()> { run().await }
//! ```
//!
//! ## Proposals
//!
//! Of this device ([`new_add_proposal`](TransactionContext::new_add_proposal) and its like), which are made again when a commit
//! leaves them out; of joiners, who propose themselves
//! ([`new_external_add_proposal`](TransactionContext::new_external_add_proposal)); of external senders, such as the hub
//! ([`new_external_remove_proposal`](TransactionContext::new_external_remove_proposal)). Nothing can be encrypted while there are
//! any; [`delay`](MlsConversationDecryptMessage::delay) tells each member another time after which to commit them.
//!
//! ```
//! # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/guide/support.rs")); }
#![doc = include_str!("../examples/guide/proposals.rs")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> tertulia_mls::Result<()> { run().await }
//! ```
//!
//! ## Members, keys and external senders
//!
//! Who is a member, what all of an epoch share (the exporter, the epoch authenticator), and whose proposals from outside count
//! ([`ExternalSender`], a raw key or a JWK).
//!
//! ```
//! # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/guide/support.rs")); }
#![doc = include_str!("../examples/guide/members.rs")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> tertulia_mls::Result<()> { run().await }
//! ```
//!
//! ## Joining from outside
//!
//! With a [`VerifiableGroupInfo`], which holds the ratchet tree. The device's own old leaf is removed by the same commit. By
//! Welcome one joins with [`process_welcome`](TransactionContext::process_welcome), and with a tree that comes apart from it by
//! [`JoinOptions`].
//!
//! ```
//! # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/guide/support.rs")); }
#![doc = include_str!("../examples/guide/joining.rs")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> tertulia_mls::Result<()> { run().await }
//! ```
//!
//! ## History
//!
//! Newcomers can be given what was said before, from a point that the members allowed, in the commit that adds them
//! ([`HistorySharing`]). A [`HistoryClient`] reads it. What a member sends is checked against what this device saw itself, and
//! the [`HistorySpan`] says whether it could be. Where other implementations remove members, see
//! [`rotate_history`](ConversationGuard::rotate_history).
//!
//! ```
#![doc = include_str!("../examples/history.rs")]
//! ```
//!
//! ## Conversations within conversations
//!
//! Wiped with their parent, whether by this device or because it was removed. Each device keeps such ties for itself.
//!
//! ```
//! # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/guide/support.rs")); }
#![doc = include_str!("../examples/guide/children.rs")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> tertulia_mls::Result<()> { run().await }
//! ```
//!
//! ## Credentials and key packages
//!
//! The ciphersuites are [0x0001, 0x0002, 0x0003, 0x0005 and 0x0007](Ciphersuite::ALL). Identities are those that the session's
//! [`ClientIdPolicy`] accepts, by default the addresses of Tertulia's devices. A device may have several credentials, and change
//! from one to another ([`set_credential_by_ref`](ConversationGuard::set_credential_by_ref)).
//!
//! ```
//! # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/guide/support.rs")); }
#![doc = include_str!("../examples/guide/credentials.rs")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> tertulia_mls::Result<()> { run().await }
//! ```
//!
//! ## Certificates
//!
//! X.509 credentials ([`Credential::x509`]) are verified up to registered
//! [trust anchors](TransactionContext::add_trust_anchor) and against registered
//! [revocation lists](TransactionContext::e2ei_register_crl). What is not good is refused or reported, by the
//! [`CertificatePolicy`]. A [`WireIdentity`] tells who a device is and what vouches for it.
//!
//! ```
//! # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/guide/support.rs")); }
#![doc = include_str!("../examples/guide/certificates.rs")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> tertulia_mls::Result<()> { run().await }
//! ```
//!
//! ## Key rotation
//!
//! With a [`key_rotation_span`](MlsCustomConfiguration::key_rotation_span), keys are due at a random moment in its last quarter,
//! unless a commit has renewed them before. The engine has no clock of its own: the application asks.
//!
//! ```
//! # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/guide/support.rs")); }
#![doc = include_str!("../examples/guide/rotation.rs")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> tertulia_mls::Result<()> { run().await }
//! ```
//!
//! ## Pre-shared keys, and key packages that move
//!
//! External pre-shared keys (RFC 9420, section 8.4) are used from Welcomes and commits of others, and mixed into own commits.
//! Credentials and key packages can be made elsewhere, and key packages be taken out for elsewhere.
//!
//! ```
//! # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/guide/support.rs")); }
#![doc = include_str!("../examples/guide/psks.rs")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> tertulia_mls::Result<()> { run().await }
//! ```
//!
//! ## Observers
//!
//! An [`EpochObserver`] is told of epochs, a [`HistoryObserver`] of history's secrets. If a transaction is dropped after a commit
//! of it has succeeded, they are told with the next transaction, or by [`Session::deliver_events`].
//!
//! ```
//! # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/guide/support.rs")); }
#![doc = include_str!("../examples/guide/observers.rs")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> tertulia_mls::Result<()> { run().await }
//! ```
//!
//! ## Errors
//!
//! Every [`EngineError`] is documented with what to do, and sorted into an [`ErrorKind`]: misuse by the caller, misbehaviour of
//! a peer, trouble with what is stored, and what may work later.
//!
//! ```
//! # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/guide/support.rs")); }
#![doc = include_str!("../examples/guide/errors.rs")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> tertulia_mls::Result<()> { run().await }
//! ```
//!
//! ## Storage
//!
//! The store is SQLCipher's, with a key in a file, from a passphrase, or given by the application, which may keep it in the
//! keychain of the system. It can get another key, and be copied while in use. A group stays in memory between transactions, up to [`SessionConfig::cache_bytes`] in all. On disk, a message appends one small
//! entry to its conversation's journal, and a snapshot follows after 256 of them, or with the next epoch.
//!
//! ```
//! # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/guide/support.rs")); }
#![doc = include_str!("../examples/guide/storage.rs")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> tertulia_mls::Result<()> { run().await }
//! ```
//!
//! # Unsupported
//!
//! - Branching and reinitialising groups; custom proposals and extensions; changing a group's context extensions.
//! - Ciphersuites with Curve448, and hybrid ones with post-quantum keys.
//! - Committing without a path, and leaving the ratchet tree out of Welcome and group info.
//! - Getting certificates from an issuer, and fetching revocation lists: the application does both.
//! - Another database than `tertulia-store`'s, by which keys and the application's data move together.
//!
//! # Planned
//!
//! Nothing: what is not above is not intended.
//!
//! # Secrets on disk
//!
//! What is on disk is encrypted. A message key that was used up can be derived from it until the next snapshot of its group:
//! for 256 further messages at most, or until the epoch ends. With [`SessionConfig::strict`] the snapshot is part of the
//! same transaction, and the database's write-ahead log is emptied behind it: the key is gone when
//! [`TransactionContext::finish`] returns. A past epoch's secrets are gone when [`prior_epochs`](MlsCustomConfiguration::prior_epochs) further
//! epochs have passed, counted at writes of that conversation.
//!
//! A key is never used to encrypt twice, if the ciphertext is sent after [`finish`](TransactionContext::finish), which makes that
//! durable; a store that was restored from a backup or copied is known by its file, or by the echo of a message that it does not know, and refuses to
//! encrypt ([`EngineError::StateRestored`]) until the device has new keys.
//!
//! With history enabled, a span's secret is kept until the conversation is wiped, and opens all of the span: that is its
//! purpose, and the price of it.

/// A place where a test can kill the process. See [`fail_points`].
#[cfg(feature = "failpoints")]
macro_rules! fail_point {
    ($name:ident) => {
        ::fail::fail_point!($crate::fail_points::$name)
    };
}
#[cfg(not(feature = "failpoints"))]
macro_rules! fail_point {
    ($($point:tt)*) => {};
}

mod cache;
mod ciphersuite;
mod commit;
mod config;
mod conversation;
mod credential;
mod crypto;
mod error;
mod events;
mod external_sender;
#[cfg(feature = "failpoints")]
pub mod fail_points;
mod family;
mod group_info;
mod group_rules;
mod heads;
mod history;
mod identity;
mod ids;
mod key_package;
mod loaded;
mod long_secret;
mod outcome;
mod overlay;
mod portable;
mod proposals;
mod provider;
mod psk;
mod receive;
mod record;
mod rotation;
mod rules;
mod sent;
mod session;
mod transaction;
mod transport;
mod tree;
mod wire;
mod x509;

pub use ciphersuite::{Ciphersuite, SignatureScheme};
pub use commit::CommitOptions;
pub use config::{
    MlsConversationConfiguration, MlsCustomConfiguration, MlsWirePolicy, Padding, SessionConfig,
};
pub use conversation::ConversationGuard;
pub use credential::{Credential, CredentialFilter, CredentialRef};
pub use error::{EngineError, ErrorKind, Opaque, Result};
pub use events::EpochObserver;
pub use external_sender::{ExternalSender, ExternalSenderError};
pub use group_info::VerifiableGroupInfo;
pub use group_rules::{
    Committer, ENCRYPTED_HANDSHAKE_EXTENSION, GROUP_DATA_EXTENSION, GroupChange, GroupRules, JoinedGroup,
    Proposer, RuleViolation, Wish,
};
pub use history::{
    HistoryClient, HistoryObserver, HistorySecret, HistorySharing, HistorySpan, MAX_HISTORY_SPANS,
    MAX_SHARED_SPANS,
};
pub use identity::{
    CertificatePolicy, ClientIdError, ClientIdPolicy, DeviceIdPolicy, DeviceStatus, E2eiConversationState,
    IdentityCredential, WireIdentity, X509Identity,
};
pub use ids::{ClientId, ClientIdRef, ConversationId, ConversationIdRef};
pub use key_package::{BACKDATE, KeyPackage, KeyPackageIn, MAX_LIFETIME};
pub use outcome::{
    CommitIntent, CommitSummary, CrlRegistration, DropReason, MlsBufferedConversationDecryptMessage,
    MlsConversationDecryptMessage, MlsProposalBundle, NewCrlDistributionPoints, Outcome, PendingCommitInfo,
    RegisteredCertificate, Settlement, Signer, WelcomeBundle,
};
pub use portable::KeyPackageSecrets;
pub use session::{ConversationView, Session};
pub use transaction::{JoinOptions, TransactionContext};
pub use transport::{
    CommitOutcome, MlsCommitBundle, MlsGroupInfoBundle, MlsGroupInfoEncryptionType, MlsMessageOut,
    MlsRatchetTreeType, MlsTransport, RejectReason,
};
pub use wire::MAX_MESSAGE_BYTES;
pub use x509::{CertificateError, CrlError};
