//! What a hub and its clients say to each other over HTTP: bodies, events, error codes.
//!
//! Owns the shapes on the wire, the table of error codes, and what a [join link](join_link) proves. Leaves to others: the rules (`tertulia-domain`), the transport
//! (`tertulia-transport`), and everything inside the MLS messages, which are opaque bytes here.
//!
//! ```
//! use tertulia_api::{Code, Problem};
//!
//! let problem = Problem::new(Code::NotConnected, "alice and bob are not connected.");
//! assert_eq!(problem.status, 403);
//! assert_eq!(serde_json::to_value(&problem)?["code"], "not-connected");
//! # Ok::<(), serde_json::Error>(())
//! ```

pub mod account;
mod bytes;
pub mod connection;
pub mod conversation;
pub mod error;
pub mod event;
pub mod history;
pub mod join;
pub mod join_link;
pub mod pairwise;
pub mod policy;
pub mod relay;
pub mod setting;
pub mod team;
pub mod typing;

pub use bytes::Base64;
pub use error::{Code, Problem, Quota, Remedy, UserDevice};
