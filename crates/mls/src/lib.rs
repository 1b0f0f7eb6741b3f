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
//! - The ciphersuites [0x0001, 0x0002, 0x0003, 0x0005 and 0x0007](Ciphersuite::ALL). Identities by a [`ClientIdPolicy`], by
//!   default those of Tertulia's devices.
//! - Basic credentials and [X.509 credentials](Credential::x509), several per device, and changing from one to another
//!   ([`set_credential_by_ref`](ConversationGuard::set_credential_by_ref)). Certificates are verified up to registered
//!   [trust anchors](TransactionContext::add_trust_anchor) and against registered
//!   [revocation lists](TransactionContext::e2ei_register_crl), and what is not good is refused or reported, by a
//!   [`CertificatePolicy`]. A [`WireIdentity`] tells who a device is and what vouches for it.
//! - Key packages for one use, and a last resort for any number, per credential.
//! - Creating a conversation, joining it by Welcome or by external commit, which also brings back a device whose state is
//!   lost.
//! - Adding, removing, updating, committing proposals, all in [two phases](MlsTransport) with the hub, an
//!   application message in the new epoch going along if wanted ([`CommitOptions`]).
//! - Proposals of [external senders](ExternalSender): the hub's, whose key is given raw or as a JWK.
//! - Proposals of this device ([`new_add_proposal`](TransactionContext::new_add_proposal) and its like), made again when a
//!   commit leaves them out; of joiners, who propose themselves; of external senders, such as the hub.
//! - Application messages, also late ones of the last few epochs, with padding.
//! - Messages in any order: those of a future epoch, and commits whose proposals have not come, are
//!   [buffered](Outcome::Buffered) with bounds, and processed when they can be. One bad message never stops a group.
//! - Children of conversations, which go with their [parent](ConversationGuard::mark_as_child_of).
//! - [`EpochObserver`]s, which are told of new epochs once they are on disk.
//! - [History](HistorySharing): newcomers can be given what was said before, from a point that the members allowed, in the
//!   commit that adds them. A [`HistoryClient`] reads it.
//! - Key rotation: [`MlsCustomConfiguration::key_rotation_span`], [`Session::key_rotations_due`].
//! - External pre-shared keys, from Welcomes and commits of others and in commits of this device.
//! - Credentials and key packages that were made elsewhere; a ratchet tree that comes apart from its Welcome.
//! - Exporting keys; comparing states by the epoch authenticator.
//! - Application data that moves with the keys: [`TransactionContext::store_write`].
//! - Several sessions, in several processes, on one store.
//!
//! # Unsupported
//!
//! Branching and reinitialising groups, custom proposals and extensions. Getting certificates from an
//! issuer, and fetching revocation lists: the application does both.
//!
//! # Planned
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
mod heads;
mod history;
mod identity;
mod ids;
mod key_package;
mod loaded;
mod outcome;
mod overlay;
mod portable;
mod proposals;
mod provider;
mod psk;
mod receive;
mod record;
mod rotation;
mod session;
mod transaction;
mod transport;
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
pub use history::{
    HistoryClient, HistoryObserver, HistorySecret, HistorySharing, HistorySpan, MAX_HISTORY_SPANS,
};
pub use identity::{
    CertificatePolicy, ClientIdError, ClientIdPolicy, DeviceIdPolicy, DeviceStatus, E2eiConversationState,
    IdentityCredential, WireIdentity, X509Identity,
};
pub use ids::{ClientId, ConversationId};
pub use key_package::{BACKDATE, KeyPackage, KeyPackageIn, MAX_LIFETIME};
pub use outcome::{
    CommitSummary, CrlRegistration, DropReason, MlsBufferedConversationDecryptMessage,
    MlsConversationDecryptMessage, MlsProposalBundle, NewCrlDistributionPoints, Outcome, PendingCommitInfo,
    RegisteredCertificate, Settlement, WelcomeBundle,
};
pub use portable::KeyPackageSecrets;
pub use session::{ConversationView, Session};
pub use transaction::{JoinOptions, TransactionContext};
pub use transport::{
    CommitOutcome, MlsCommitBundle, MlsGroupInfoBundle, MlsGroupInfoEncryptionType, MlsRatchetTreeType,
    MlsTransport, RejectReason,
};
pub use wire::MAX_MESSAGE_BYTES;
pub use x509::{CertificateError, CrlError};
