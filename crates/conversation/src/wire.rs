//! The bytes that travel, from the outside in: envelope, encrypted frame, frame of the type.
//!
//! Decoding is a total function: each step has one [`Outcome`] for any bytes, and takes no more memory than the bytes that
//! it is given, give or take a constant. The schemas are in `proto/`, and `docs/spec/envelope.md` is written for who implements
//! them elsewhere.

mod canonical;
mod envelope;
mod error;
mod frames;
#[rustfmt::skip]
#[allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub)] // written by prost
pub(crate) mod generated;
mod outcome;
mod padding;

pub use envelope::{EncryptedBytes, EncryptedFrame, Envelope, MAX_ENVELOPE};
pub use error::WireError;
pub use frames::{
    DirectFrame, GapAnswer, GapRequest, GroupFrame, InboxFrame, InvitesTo, MAX_GAP_REQUEST, PrivateFrame,
    SelfFrame, SignedInvitation, SubconversationFrame,
};
pub use outcome::{Outcome, Unsupported};
pub use padding::{LARGEST_CLASS, MAX_FRAME, SMALLEST_CLASS};

pub(crate) use canonical::{Shape, decode as decode_canonical, nested, number, octets};
pub(crate) use envelope::exactly;
pub(crate) use frames::InvitationContent;
pub(crate) use padding::{pad, unpad};
