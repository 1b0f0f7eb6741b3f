//! What stands inside the encryption: messages in the IETF's container `application/mimi-content`
//! ([draft-ietf-mimi-content-08](https://datatracker.ietf.org/doc/draft-ietf-mimi-content/08/); sections named in this crate are its sections), so that
//! they mean the same to other implementations.
//!
//! **This crate owns** the container and all kinds of [parts](Part), its one encoding (deterministic CBOR, read strictly), the [ids](MessageId) of
//! messages, the [URIs](uri) in them, and the [rules] for edits and replies as pure functions,
//! and [receipts](MimiContent::status_report) (draft-mahy-mimi-message-status-01).
//!
//! **It leaves to others** encryption and who the sender is (MLS), when a message was accepted (the hub's timestamp), storing, rendering of Markdown, and
//! fetching and decrypting of external parts. Two rules of the draft need a clock or a store and are therefore the caller's to apply:
//! [`Expiration::is_plausible`], and to discard a message whose id is already known.
//!
//! `Debug` shows the shape of a message, never what it says.
//!
//! # A message, its id and a reply
//!
//! ```
//! use tertulia_content::{MessageId, MimiContent, rules, uri};
//!
//! let alice = uri::user_uri("example.com", "alice-smith");
//! let bob = uri::user_uri("example.com", "bob-jones");
//! let room = uri::room_uri("example.com", "engineering_team");
//!
//! // Alice writes; the bytes go into an MLS application message.
//! let message = MimiContent::markdown("We just shipped release 2.0. __Good work__!").with_origin(&alice, &room);
//! let bytes = message.encode()?;
//!
//! // Bob reads. Sender and room are those of the MLS message that the bytes came in.
//! let received = MimiContent::decode(&bytes)?;
//! assert!(rules::origin_matches(&received, &alice, &room));
//! assert_eq!(received.text(), Some("We just shipped release 2.0. __Good work__!"));
//!
//! // The id is never sent: everyone computes the same one.
//! let id = MessageId::compute(&alice, &room, &bytes, &received.salt)?;
//! let reaction = MimiContent::reaction(id, "👍").with_origin(&bob, &room);
//! assert_eq!(reaction.as_reaction(), Some((id, "👍")));
//!
//! // Only Alice may edit what Alice wrote.
//! let edit = MimiContent::edit(id, "We just shipped release 2.0.1.").keeping(&message);
//! assert_eq!(edit.replaces, Some(id));
//! assert!(rules::may_replace(&alice, &alice) && !rules::may_replace(&alice, &bob));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod content;
mod decode;
mod encode;
mod error;
mod extensions;
mod id;
pub mod limits;
pub mod media;
mod part;
pub mod rules;
mod status;
pub mod uri;

pub use content::{Expiration, MimiContent};
pub use error::{ContentError, InvalidContent, MessageIdError};
pub use extensions::{CONVERSATION_NAME, CONVERSATION_TYPE, Extensions, Float, Key, Value};
pub use id::{MessageId, Salt};
pub use part::{ContentKey, Disposition, ExternalPart, Part, PartContent, PartSemantics, cid, parse_cid};
pub use status::MessageStatus;
