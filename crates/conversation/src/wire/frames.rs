//! The frames of each type.
//!
//! What a frame carries is a message of the scheme that encrypts content, as bytes: this crate does not look into it.

use std::fmt;

use prost::Message as _;
use zeroize::Zeroizing;

use super::{
    MAX_FRAME, Outcome, WireError,
    canonical::{self, Shape, nested, number, octets},
    envelope::exactly,
    generated as wire,
};
use crate::types::TypeId;

/// Most messages that one frame asks for.
pub const MAX_GAP_REQUEST: usize = 64;

const PROTECTED: Shape = Shape { name: "protected message", fields: &[octets(1)] };
const PLACEHOLDER: Shape = Shape { name: "placeholder", fields: &[] };
const GAP_REQUEST: Shape = Shape { name: "gap request", fields: &[octets(1).up_to(MAX_GAP_REQUEST)] };
const GAP_ANSWER: Shape = Shape { name: "gap answer", fields: &[octets(1), octets(2)] };
const SIGNED_INVITATION: Shape = Shape { name: "signed invitation", fields: &[octets(1), octets(2)] };

/// A frame type whose variants carry a protected message or something else, with its conversion from and to the wire.
macro_rules! frames {
    (
        $(#[$doc:meta])* $frame:ident, $message:ident, $module:ident, $name:literal, {
            $( $(#[$variant_doc:meta])* $number:literal $shape:ident $variant:ident $(($inner:ty))? ),+ $(,)?
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum $frame {
            $( $(#[$variant_doc])* $variant $(($inner))? ),+
        }

        impl $frame {
            const SHAPE: Shape = Shape { name: $name, fields: &[$(nested($number, &$shape)),+] };

            /// The number of the kind of frame, as the type's description has it.
            pub const fn number(&self) -> u32 {
                match self {
                    $( frames!(@pattern $variant $(, $inner)?) => $number ),+
                }
            }

            /// The frame's bytes.
            pub fn encode(&self) -> Vec<u8> {
                let frame = match self {
                    $( frames!(@bind inner $variant $(, $inner)?) =>
                        wire::$module::Frame::$variant(frames!(@write inner $variant $(, $inner)?)) ),+
                };
                wire::$message { frame: Some(frame) }.encode_to_vec()
            }

            /// Reads a frame.
            pub fn decode(bytes: &[u8]) -> Outcome<Self> {
                canonical::decode(bytes, &Self::SHAPE, MAX_FRAME).and_then(|message: wire::$message| {
                    let missing = WireError::Missing { what: $name, part: "kind" };
                    let read = message.frame.ok_or(missing).and_then(|frame| match frame {
                        $( wire::$module::Frame::$variant(inner) => frames!(@read inner $variant $(, $inner)?) ),+
                    });
                    read.into()
                })
            }
        }

        impl fmt::Debug for $frame {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($frame), "({})"), self.number())
            }
        }
    };
    (@pattern $variant:ident) => { Self::$variant };
    (@pattern $variant:ident, $inner:ty) => { Self::$variant(_) };
    (@bind $name:ident $variant:ident) => { Self::$variant };
    (@bind $name:ident $variant:ident, $inner:ty) => { Self::$variant($name) };
    (@write $name:ident $variant:ident) => { wire::Placeholder {} };
    (@write $name:ident $variant:ident, $inner:ty) => { <$inner as Part>::write($name) };
    (@read $name:ident $variant:ident) => {{ let wire::Placeholder {} = $name; Ok(Self::$variant) }};
    (@read $name:ident $variant:ident, $inner:ty) => { <$inner as Part>::read($name).map(Self::$variant) };
}

/// What a frame carries, on the wire and here.
trait Part: Sized {
    type Wire;
    fn write(&self) -> Self::Wire;
    fn read(wire: Self::Wire) -> Result<Self, WireError>;
}

frames! {
    /// What is said in an [`InboxV1`](crate::types::InboxV1).
    InboxFrame, InboxFrameV1, inbox_frame_v1, "inbox frame", {
        /// An invitation, signed by its sender.
        1 SIGNED_INVITATION Invitation(SignedInvitation),
    }
}

frames! {
    /// What is said in a [`PrivateV1`](crate::types::PrivateV1).
    PrivateFrame, PrivateFrameV1, private_frame_v1, "private frame", {
        /// A message of the Double Ratchet with the content.
        1 PROTECTED Content(Vec<u8>),
        /// Nothing: cover traffic.
        2 PLACEHOLDER Placeholder,
        /// A message of the Double Ratchet with a receipt.
        3 PROTECTED Receipt(Vec<u8>),
        /// A message of the Double Ratchet with the next epoch's secret.
        4 PROTECTED Renewal(Vec<u8>),
    }
}

frames! {
    /// What is said in a [`DirectV1`](crate::types::DirectV1).
    DirectFrame, DirectFrameV1, direct_frame_v1, "direct frame", {
        /// An MLS application message.
        1 PROTECTED Content(Vec<u8>),
        /// An MLS proposal or commit.
        2 PROTECTED Handshake(Vec<u8>),
        /// An MLS application message with a receipt.
        3 PROTECTED Receipt(Vec<u8>),
    }
}

frames! {
    /// What is said in a [`GroupV1`](crate::types::GroupV1).
    GroupFrame, GroupFrameV1, group_frame_v1, "group frame", {
        /// An MLS application message.
        1 PROTECTED Content(Vec<u8>),
        /// An MLS proposal or commit.
        2 PROTECTED Handshake(Vec<u8>),
        /// An MLS Welcome.
        3 PROTECTED Welcome(Vec<u8>),
        /// Ids of messages that a device lacks.
        4 GAP_REQUEST GapRequest(GapRequest),
        /// A message that somebody lacks.
        5 GAP_ANSWER GapAnswer(GapAnswer),
    }
}

frames! {
    /// What is said in a [`SelfV1`](crate::types::SelfV1).
    SelfFrame, SelfFrameV1, self_frame_v1, "self frame", {
        /// An MLS application message with what one device tells the others.
        1 PROTECTED Synchronisation(Vec<u8>),
        /// An MLS proposal or commit.
        2 PROTECTED Handshake(Vec<u8>),
    }
}

frames! {
    /// What is said in a [`SubconversationV1`](crate::types::SubconversationV1).
    SubconversationFrame, SubconversationFrameV1, subconversation_frame_v1, "subconversation frame", {
        /// An MLS application message.
        1 PROTECTED Content(Vec<u8>),
        /// An MLS proposal or commit.
        2 PROTECTED Handshake(Vec<u8>),
    }
}

/// An invitation as it travels, before its signature is verified: [`Inbox::open`](crate::inbox::Inbox::open) does that.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedInvitation {
    /// The bytes that the signature is over, among others.
    pub invitation: Vec<u8>,
    /// The signature of a device of the sender's bundle.
    pub signature: [u8; 64],
}

/// Ids of messages that a device knows of and does not have, at most [`MAX_GAP_REQUEST`]. More are left out when it is encoded.
#[derive(Clone, PartialEq, Eq)]
pub struct GapRequest {
    /// The ids.
    pub message_ids: Vec<[u8; 32]>,
}

/// A message that somebody asked for.
#[derive(Clone, PartialEq, Eq)]
pub struct GapAnswer {
    /// The id that was asked for.
    pub message_id: [u8; 32],
    /// The MLS application message, as it was first sent.
    pub message: Vec<u8>,
}

impl Part for Vec<u8> {
    type Wire = wire::Protected;

    fn write(&self) -> wire::Protected {
        wire::Protected { message: self.clone() }
    }

    fn read(wire: wire::Protected) -> Result<Self, WireError> {
        nonempty(PROTECTED.name, wire.message)
    }
}

impl Part for SignedInvitation {
    type Wire = wire::SignedInvitation;

    fn write(&self) -> wire::SignedInvitation {
        wire::SignedInvitation { invitation: self.invitation.clone(), signature: self.signature.to_vec() }
    }

    fn read(wire: wire::SignedInvitation) -> Result<Self, WireError> {
        let signature = exactly("signature", &wire.signature)?;
        Ok(Self { invitation: nonempty(SIGNED_INVITATION.name, wire.invitation)?, signature })
    }
}

impl Part for GapRequest {
    type Wire = wire::GapRequest;

    fn write(&self) -> wire::GapRequest {
        let ids = self.message_ids.iter().take(MAX_GAP_REQUEST);
        wire::GapRequest { message_ids: ids.map(|id| id.to_vec()).collect() }
    }

    fn read(wire: wire::GapRequest) -> Result<Self, WireError> {
        if wire.message_ids.is_empty() {
            return Err(WireError::Missing { what: GAP_REQUEST.name, part: "message ids" });
        }
        let ids = wire.message_ids.iter().map(|id| exactly("message id", id));
        Ok(Self { message_ids: ids.collect::<Result<_, _>>()? })
    }
}

impl Part for GapAnswer {
    type Wire = wire::GapAnswer;

    fn write(&self) -> wire::GapAnswer {
        wire::GapAnswer { message_id: self.message_id.to_vec(), message: self.message.clone() }
    }

    fn read(wire: wire::GapAnswer) -> Result<Self, WireError> {
        let message_id = exactly("message id", &wire.message_id)?;
        Ok(Self { message_id, message: nonempty(GAP_ANSWER.name, wire.message)? })
    }
}

fn nonempty(what: &'static str, bytes: Vec<u8>) -> Result<Vec<u8>, WireError> {
    if bytes.is_empty() { Err(WireError::Missing { what, part: "message" }) } else { Ok(bytes) }
}

const PRIVATE_INVITATION: Shape = Shape { name: "private invitation", fields: &[octets(1), octets(2)] };
const GROUP_INVITATION: Shape =
    Shape { name: "group invitation", fields: &[number(1), octets(2), octets(3)] };
const INVITATION: Shape = Shape {
    name: "invitation",
    fields: &[
        octets(1),
        number(2),
        octets(3),
        number(4),
        nested(10, &PRIVATE_INVITATION),
        nested(11, &GROUP_INVITATION),
    ],
};

/// What an invitation says, before anything of it is verified.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct InvitationContent {
    pub(crate) id: [u8; 16],
    pub(crate) expires: u64,
    pub(crate) sender_bundle: Vec<u8>,
    pub(crate) sender_device: u32,
    pub(crate) invites_to: InvitesTo,
}

/// What an invitation is to.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvitesTo {
    /// A [`PrivateV1`](crate::types::PrivateV1).
    Private {
        /// What the conversation's id and the keys of its first epoch come from.
        creation_secret: Zeroizing<[u8; 32]>,
        /// The first message of the Double Ratchet, which begins the session.
        message: Vec<u8>,
    },
    /// A conversation on MLS.
    Group {
        /// Its type.
        conversation_type: TypeId,
        /// What the conversation's id comes from.
        creation_secret: Zeroizing<[u8; 32]>,
        /// The MLS Welcome.
        welcome: Vec<u8>,
    },
}

impl fmt::Debug for InvitesTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Private { .. } => f.write_str("Private(…)"),
            Self::Group { conversation_type, .. } => write!(f, "Group({conversation_type}, …)"),
        }
    }
}

impl InvitationContent {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let kind = match &self.invites_to {
            InvitesTo::Private { creation_secret, message } => {
                let creation_secret = creation_secret.to_vec();
                wire::invitation::Kind::Private(wire::PrivateInvitation {
                    creation_secret,
                    message: message.clone(),
                })
            }
            InvitesTo::Group { conversation_type, creation_secret, welcome } => {
                wire::invitation::Kind::Group(wire::GroupInvitation {
                    conversation_type: conversation_type.number().into(),
                    creation_secret: creation_secret.to_vec(),
                    welcome: welcome.clone(),
                })
            }
        };
        let Self { id, expires, sender_bundle, sender_device, .. } = self;
        wire::Invitation {
            id: id.to_vec(),
            expires: *expires,
            sender_bundle: sender_bundle.clone(),
            sender_device: *sender_device,
            kind: Some(kind),
        }
        .encode_to_vec()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Outcome<Self> {
        canonical::decode(bytes, &INVITATION, MAX_FRAME).and_then(|invitation| Self::read(invitation).into())
    }

    fn read(invitation: wire::Invitation) -> Result<Self, WireError> {
        let what = INVITATION.name;
        let secret = |bytes: &[u8]| exactly("creation secret", bytes).map(Zeroizing::new);
        let invites_to = match invitation.kind.ok_or(WireError::Missing { what, part: "kind" })? {
            wire::invitation::Kind::Private(private) => InvitesTo::Private {
                creation_secret: secret(&private.creation_secret)?,
                message: nonempty(PRIVATE_INVITATION.name, private.message)?,
            },
            wire::invitation::Kind::Group(group) => {
                let number = u16::try_from(group.conversation_type).unwrap_or(0);
                if number == 0 {
                    return Err(WireError::Missing {
                        what: GROUP_INVITATION.name,
                        part: "conversation type",
                    });
                }
                InvitesTo::Group {
                    conversation_type: TypeId::new(number),
                    creation_secret: secret(&group.creation_secret)?,
                    welcome: nonempty(GROUP_INVITATION.name, group.welcome)?,
                }
            }
        };
        Ok(Self {
            id: exactly("id of the invitation", &invitation.id)?,
            expires: invitation.expires,
            sender_bundle: invitation.sender_bundle,
            sender_device: invitation.sender_device,
            invites_to,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        types::{
            BUILT_IN, ConversationType, DirectV1, GroupV1, InboxV1, PrivateV1, SelfV1, SubconversationV1,
        },
        wire::Unsupported,
    };
    use proptest::prelude::*;

    /// One frame of each kind, by the type.
    fn all() -> Vec<(TypeId, u32, Vec<u8>)> {
        fn of<T: ConversationType>(
            frames: &[T::Frame],
            kind: impl Fn(&T::Frame) -> u32,
        ) -> Vec<(TypeId, u32, Vec<u8>)>
        where
            T::Frame: PartialEq + fmt::Debug + Clone,
        {
            let id = T::DESCRIPTOR.id;
            let encoded = frames.iter().map(|frame| {
                let bytes = T::encode(frame);
                assert_eq!(T::decode(&bytes), Outcome::Decoded(frame.clone()), "{frame:?}");
                (id, kind(frame), bytes)
            });
            encoded.collect()
        }
        let m = || vec![1, 2, 3];
        let signed = SignedInvitation { invitation: m(), signature: [7; 64] };
        let request = GapRequest { message_ids: vec![[1; 32]; MAX_GAP_REQUEST] };
        let answer = GapAnswer { message_id: [1; 32], message: m() };
        [
            of::<InboxV1>(&[InboxFrame::Invitation(signed)], InboxFrame::number),
            of::<PrivateV1>(
                &[
                    PrivateFrame::Content(m()),
                    PrivateFrame::Placeholder,
                    PrivateFrame::Receipt(m()),
                    PrivateFrame::Renewal(m()),
                ],
                PrivateFrame::number,
            ),
            of::<DirectV1>(
                &[DirectFrame::Content(m()), DirectFrame::Handshake(m()), DirectFrame::Receipt(m())],
                DirectFrame::number,
            ),
            of::<GroupV1>(
                &[
                    GroupFrame::Content(m()),
                    GroupFrame::Handshake(m()),
                    GroupFrame::Welcome(m()),
                    GroupFrame::GapRequest(request),
                    GroupFrame::GapAnswer(answer),
                ],
                GroupFrame::number,
            ),
            of::<SelfV1>(&[SelfFrame::Synchronisation(m()), SelfFrame::Handshake(m())], SelfFrame::number),
            of::<SubconversationV1>(
                &[SubconversationFrame::Content(m()), SubconversationFrame::Handshake(m())],
                SubconversationFrame::number,
            ),
        ]
        .concat()
    }

    #[test]
    fn the_frames_are_those_of_the_descriptions() {
        let numbers: Vec<_> = all().into_iter().map(|(id, kind, _)| (id, kind)).collect();
        let described: Vec<_> = BUILT_IN
            .iter()
            .flat_map(|descriptor| descriptor.frames.iter().map(|frame| (descriptor.id, frame.number)))
            .collect();
        assert_eq!(numbers, described);
    }

    #[test]
    fn a_frame_that_a_later_version_knows_is_unsupported_and_an_empty_one_invalid() {
        let unsupported = Unsupported { what: "group frame", number: 6 };
        assert_eq!(GroupFrame::decode(&[0x32, 0]), Outcome::Unsupported(unsupported));
        let missing = WireError::Missing { what: "group frame", part: "kind" };
        assert_eq!(GroupFrame::decode(&[]), Outcome::Invalid(missing));
        let empty = WireError::Missing { what: "protected message", part: "message" };
        assert_eq!(GroupFrame::decode(&[0x0a, 0]), Outcome::Invalid(empty));
    }

    #[test]
    fn two_kinds_in_one_frame_are_refused() {
        let two = [GroupFrame::Content(vec![1]).encode(), GroupFrame::Handshake(vec![1]).encode()].concat();
        assert_eq!(
            GroupFrame::decode(&two),
            Outcome::Invalid(WireError::NotCanonical { what: "group frame" })
        );
    }

    #[test]
    fn more_ids_than_may_be_asked_for_are_refused_before_any_is_read() {
        let mut request =
            GroupFrame::GapRequest(GapRequest { message_ids: vec![[1; 32]; MAX_GAP_REQUEST] }).encode();
        assert!(GroupFrame::decode(&request).decoded().is_some());
        // One more, and the length of the inner message with it.
        let inner = [&[0x0a, 32][..], &[1; 32]].concat().repeat(MAX_GAP_REQUEST + 1);
        let mut length = Vec::new();
        prost::encoding::encode_varint(inner.len() as u64, &mut length);
        request = [&[0x22][..], &length, &inner].concat();
        let repeated = WireError::Repeated { what: "gap request", number: 1, max: MAX_GAP_REQUEST };
        assert_eq!(GroupFrame::decode(&request), Outcome::Invalid(repeated));
    }

    #[test]
    fn no_frame_shows_its_content_in_a_log() {
        assert_eq!(format!("{:?}", GroupFrame::Content(b"secret".to_vec())), "GroupFrame(1)");
    }

    proptest! {
        #[test]
        fn any_bytes_have_an_outcome(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for decoded in [
                InboxFrame::decode(&bytes).decoded().map(|frame| frame.encode()),
                PrivateFrame::decode(&bytes).decoded().map(|frame| frame.encode()),
                DirectFrame::decode(&bytes).decoded().map(|frame| frame.encode()),
                GroupFrame::decode(&bytes).decoded().map(|frame| frame.encode()),
                SelfFrame::decode(&bytes).decoded().map(|frame| frame.encode()),
                SubconversationFrame::decode(&bytes).decoded().map(|frame| frame.encode()),
                InvitationContent::decode(&bytes).decoded().map(|invitation| invitation.encode()),
            ].into_iter().flatten() {
                prop_assert_eq!(decoded, bytes.clone());
            }
        }

        #[test]
        fn a_damaged_frame_is_another_one_or_none(which in 0_usize..17, at in 0_usize..5000, bit in 0_u8..8) {
            let frames = all();
            let (_, _, bytes) = &frames[which % frames.len()];
            let mut damaged = bytes.clone();
            let index = at % damaged.len();
            damaged[index] ^= 1 << bit;
            for decoded in [GroupFrame::decode(&damaged).decoded().map(|frame| frame.encode())].into_iter().flatten() {
                prop_assert_eq!(&decoded, &damaged);
            }
        }
    }
}
