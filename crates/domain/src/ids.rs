//! Names of things: users, devices, conversations, hubs, handles, positions in a log.
//!
//! Every id has one textual form, which `Display` and serde write. `FromStr` and serde read it, and are lenient where its
//! documentation says so. A value of these types is always well formed.
//!
//! | type | form | example |
//! |---|---|---|
//! | [`UserId`], [`ConversationId`], [`TeamId`] | UUID, hyphenated, lower case | `f3b0c4a2-7d1e-4c55-9a38-2b6e0d9f1c47` |
//! | [`DeviceId`] | 16 hex digits, lower case | `00c0ffee00c0ffee` |
//! | [`Domain`] | host name, lower case, no port | `hub.example.com` |
//! | [`Handle`] | 2–32 of `[a-z0-9_.-]` | `ana.garcia` |
//! | [`DeviceAddress`] | `<user>:<device>@<domain>` | `f3b0…1c47:00c0ffee00c0ffee@hub.example.com` |
//! | [`GroupId`] | 16 or 24 bytes | |
//! | [`Sequence`] | decimal number (a number in JSON too) | `42` |
//!
//! `short()` gives the first eight characters of an id, which is what belongs in a log line.

mod address;
mod device;
mod domain;
mod group;
mod handle;
mod one_to_one;
mod sequence;
mod uuids;

pub use address::{AddressError, DeviceAddress};
pub use device::{DeviceId, DeviceIdError};
pub use domain::{Domain, DomainError};
pub use group::GroupId;
pub use handle::{Handle, HandleError};
pub use one_to_one::OneToOne;
pub use sequence::Sequence;
pub use uuids::{ConversationId, TeamId, UserId, UuidError};
