//! The SDK of Tertulia: end-to-end encrypted conversations for an application.
//!
//! A [`Client`] is one device of one user. It keeps everything in a *home*, a directory with one encrypted database, and
//! talks through a *hub*, which orders and stores ciphertext. What it reads comes from the home; [`Client::sync`] brings the
//! home up to date, and [`Client::events`] keeps it so.
//!
//! Owns accounts, connections, conversations, messages, synchronisation and the outbox. Leaves to others the cryptography
//! (`tertulia-mls`, `tertulia-ratchet`), the format of messages (`tertulia-content`) and the rules that hubs enforce (`tertulia-domain`).
//!
//! ```no_run
//! # async fn example() -> Result<(), tertulia::Error> {
//! use tertulia::Client;
//!
//! let alice = Client::builder("alice-home").open().await?;
//! alice.sync().await?;
//! let bob = alice.find("@bob").await?;
//! alice.send(bob, "Shall we meet again?").await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What may happen at the same time
//!
//! Clones of a client share its home and can be used from many tasks. Several processes can use one home: they take turns
//! where something is written, and none waits for another's network.
//!
//! # What can go wrong
//!
//! Every call can be interrupted at any point, by a lost connection or the end of the process, and can be made again. Errors
//! have a stable [code](Error::code) and a [kind](Error::kind) that says who can do something about it.

mod access;
mod account;
mod apply;
mod builder;
mod channels;
mod client;
mod coming_in;
mod connections;
mod devices;
mod envelopes;
mod error;
mod events;
mod expiry;
mod frames;
mod groups;
mod history;
mod home;
mod joining;
mod link;
mod membership;
mod model;
mod own_devices;
mod own_settings;
mod own_types;
mod pairwise;
mod reading;
mod receipts;
mod recovery;
mod rules;
mod sending;
mod settings;
mod starting_over;
mod sub_conversations;
mod suspicion;
mod sync;
mod team;
mod todo;
mod token;
mod typing;

pub use access::{LinkInfo, LinkOptions};
pub use builder::ClientBuilder;
pub use client::Client;
pub use error::{Error, ErrorKind, Result};
pub use joining::{JoinRequest, Joined, LinkPreview};
pub use membership::GroupOptions;
pub use model::{
    Accepted, Channel, ClientEvent, Connection, Conversation, Device, Frame, Invitation, Me, Member, Message,
    MessageQuery, OwnDeviceMessage, OwnFlag, OwnType, Profile, Receipt, Request, RequestKind, SharedHistory,
    SubMember, SyncReport, Team, TeamMember,
};
pub use own_types::TypeError;
pub use sub_conversations::{ListedSubConversation, SubConversation};
pub use suspicion::{Noticed, Suspicion};
pub use tertulia_api::account::OpenSession;
pub use tertulia_api::join_link::{JoinLink, JoinLinkError};
pub use tertulia_conversation::inbox::{Bundle, BundleError, QrCode};
pub use tertulia_domain::{
    AccountKind, ConversationId, ConversationName, ConversationType, DeviceId, DisplayName, Domain, Handle,
    Handshake, History, HistoryDepth, Locale, MessageTimer, OwnSetting, Protocol, ReceiptMode, ReceiptStatus,
    Role, RoleName, SubconversationName, TeamId, UserId,
    access::{Access, AccessError, AccessMode, AccessRole},
    connection::Status as ConnectionStatus,
    ids::HandleError,
    policy::AddPermission,
    role::{Action, ActionSet},
    subconversation::SubconversationNameError,
    team::TeamRole,
};
pub use tertulia_store::{ExportProgress, KeySource as HomeKey};
pub use tertulia_transport::Delivery;

/// What a type of conversations of the application's own is made of. It is [registered](ClientBuilder::with_type) with the client, and then its conversations are
/// [made](Client::create), and its frames [sent](Client::send_frame) and [read](Frame::decode), with and without a hub.
///
/// `examples/own_type.rs` has one from beginning to end.
pub mod types {
    pub use tertulia_conversation::{
        types::{
            Carrier, ConversationType, Descriptor, DescriptorError, Encoding, Encryption, FrameKind,
            Guarantees, Hints, Ids, Members, OWN_ON_MLS, Outer, RegistryError, Scheme, Topics, TypeId,
        },
        wire::{Outcome, Unsupported, WireError},
    };
}

/// The README's example is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
