//! The rules of Tertulia, as types and pure functions: what things are called, who is connected with whom, who may do what.
//!
//! This crate **owns** the [ids] of users, devices, conversations and hubs; the [types and names of
//! conversations](conversation) and of [subconversations](subconversation); [roles](role) and the [checks](permission) that
//! follow from them; who is [admitted](access), and what is [set](settings) for all members, [how far back](history) newcomers read among it; [kinds of accounts](account); [profiles](profile); [teams](team); the [connection] state machine; the [protocols](protocol) of
//! conversations and for whom [pairwise] messages must be; and the [limits] that both sides keep. Server and client use the
//! same ones.
//!
//! It **leaves to others** everything that happens: storage, network, clocks, encryption, HTTP statuses. Nothing here does
//! I/O; the functions are given facts and answer with what is to be done, or with an error that has a stable code.
//! Randomness is only in the constructors of random ids.
//!
//! ```
//! use tertulia_domain::{
//!     ConversationId, Domain, UserId,
//!     connection::{Action, LastRequest, Status, connected, transition},
//! };
//!
//! // Ana asks Bruno for a connection, and Bruno accepts. As each of them sees it: whose is the last request?
//! let asked = transition(Action::Connect, None, None, LastRequest::Mine)?;
//! assert_eq!((asked.mine, asked.theirs), (Status::Sent, Status::Pending));
//!
//! let accept = Action::Set(Status::Accepted);
//! let accepted = transition(accept, Some(asked.theirs), Some(asked.mine), LastRequest::Theirs)?;
//! assert!(connected(Some(accepted.mine), Some(accepted.theirs)));
//!
//! // Their conversation has the same id on both sides, without asking anyone.
//! let (ana, bruno, hub) = (UserId::random(), UserId::random(), "hub.example".parse::<Domain>()?);
//! assert_eq!(
//!     ConversationId::one_to_one((&ana, &hub), (&bruno, &hub)),
//!     ConversationId::one_to_one((&bruno, &hub), (&ana, &hub)),
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod access;
pub mod account;
pub mod connection;
pub mod conversation;
pub mod handshake;
pub mod history;
pub mod ids;
pub mod limits;
pub mod pairwise;
pub mod permission;
pub mod policy;
pub mod profile;
pub mod protocol;
pub mod role;
pub mod settings;
pub mod signing;
pub mod subconversation;
pub mod succession;
pub mod team;
mod text;

pub use account::AccountKind;
pub use conversation::{ConversationName, ConversationNameError, ConversationType};
pub use handshake::Handshake;
pub use history::{History, HistoryDepth};
pub use ids::{
    ConversationId, DeviceAddress, DeviceId, Domain, GroupId, Handle, OneToOne, Sequence, TeamId, UserId,
};
pub use profile::{DisplayName, Locale};
pub use protocol::Protocol;
pub use role::{Role, RoleName};
pub use settings::{MessageTimer, OwnSetting, ReceiptMode, ReceiptStatus};
pub use subconversation::SubconversationName;
pub use text::UnknownName;
