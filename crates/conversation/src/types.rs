//! What a conversation type is: a contract, written down as data.
//!
//! A type is immutable. Whatever would change it makes another type, with another title and another number: `InboxV1`,
//! `InboxV2`. So who has read a type's description knows for good how its conversations behave.

mod builtin;
mod descriptor;
mod hub;
mod own;
mod registry;
mod table;

pub use builtin::{BUILT_IN, DirectV1, GroupV1, InboxV1, PrivateV1, SelfV1, SubconversationV1};
pub use descriptor::{
    Carrier, Descriptor, DescriptorError, Encoding, Encryption, FrameKind, Guarantees, Hints, Ids, Members,
    Outer, Scheme, Topics, TypeId,
};
pub use hub::{HUB, of_hub};
pub use own::OWN_ON_MLS;
pub use registry::{Registry, RegistryError};
pub use table::markdown;

use crate::wire::Outcome;

/// A type of conversations, built in or the application's own.
///
/// It is a description, [`DESCRIPTOR`](Self::DESCRIPTOR), and the frames that its conversations exchange. A description that
/// lacks something does not compile:
///
/// ```compile_fail
/// use tertulia_conversation::types::{Descriptor, TypeId};
/// const INCOMPLETE: Descriptor = Descriptor { title: "ChessV1", id: TypeId::new(0x8001) };
/// ```
///
/// A frame is decoded deterministically: the same bytes have the same [`Outcome`] on every device and in every version that
/// knows the type.
pub trait ConversationType: 'static {
    /// The contract. Make it with [`Descriptor::complete`] in a constant, which checks it at compile time.
    const DESCRIPTOR: Descriptor;

    /// What a frame says.
    type Frame;

    /// Whether the frame changes who is in the conversation or its keys, as [`FrameKind::is_handshake`] says of its kind.
    fn is_handshake(frame: &Self::Frame) -> bool;

    /// The frame's bytes, in the one form that [`decode`](Self::decode) takes.
    fn encode(frame: &Self::Frame) -> Vec<u8>;

    /// What these bytes say. Total: any bytes have an outcome, none makes it panic.
    fn decode(bytes: &[u8]) -> Outcome<Self::Frame>;
}
