//! What is replayed, comes too late, is cut, or belongs to another type or conversation is refused, in every type that has epochs; and what is genuine is read
//! afterwards. What an inbox refuses is in `inbox_refusals.rs`.
#![allow(clippy::unwrap_used)]

mod common;

use std::marker::PhantomData;

use common::{Conversation, open, receive, seeded};
use tertulia_conversation::{
    hint::{APPLICATION_WINDOW, HANDSHAKE_WINDOW, HintTable},
    types::{ConversationType, Descriptor, DirectV1, GroupV1, InboxV1, PrivateV1, SelfV1, SubconversationV1},
    wire::{
        DirectFrame, EncryptedBytes, Envelope, GroupFrame, Outcome, PrivateFrame, SelfFrame,
        SubconversationFrame, WireError,
    },
};

/// A type whose frames are any bytes: what a member can send that does not keep to the rules.
struct Lawless<T>(PhantomData<T>);

impl<T: ConversationType> ConversationType for Lawless<T> {
    const DESCRIPTOR: Descriptor = T::DESCRIPTOR;
    type Frame = (bool, Vec<u8>);

    fn is_handshake((is_handshake, _): &Self::Frame) -> bool {
        *is_handshake
    }

    fn encode((_, bytes): &Self::Frame) -> Vec<u8> {
        bytes.clone()
    }

    fn decode(bytes: &[u8]) -> Outcome<Self::Frame> {
        Outcome::Decoded((false, bytes.to_vec()))
    }
}

/// Each type with epochs, and a message and a handshake of it.
macro_rules! in_every_type {
    ($scenario:ident) => {
        let text = || b"content".to_vec();
        $scenario::<PrivateV1>(&PrivateFrame::Content(text()), &PrivateFrame::Renewal(text()));
        $scenario::<DirectV1>(&DirectFrame::Content(text()), &DirectFrame::Handshake(text()));
        $scenario::<GroupV1>(&GroupFrame::Content(text()), &GroupFrame::Handshake(text()));
        $scenario::<SelfV1>(&SelfFrame::Synchronisation(text()), &SelfFrame::Handshake(text()));
        $scenario::<SubconversationV1>(
            &SubconversationFrame::Content(text()),
            &SubconversationFrame::Handshake(text()),
        );
    };
}

#[test]
fn what_is_replayed_is_not_for_us() {
    fn scenario<T: ConversationType<Frame: PartialEq + std::fmt::Debug>>(
        message: &T::Frame,
        handshake: &T::Frame,
    ) {
        let random = &mut seeded();
        let mut conversation = Conversation::new::<T>(2, random);
        let sent: Vec<_> = [message, handshake].map(|frame| conversation.send::<T>(0, frame, random)).into();
        for envelope in &sent {
            assert!(receive::<T>(&mut conversation.members[1], envelope).is_some());
        }
        for envelope in &sent {
            assert!(matches!(open(&conversation.members[1], envelope), Outcome::NotForUs));
        }
        // Nor to who has sent it, nor after a restart.
        assert!(matches!(open(&conversation.members[0], &sent[0]), Outcome::NotForUs));
        let record = conversation.members[1].record(&conversation.id).unwrap();
        let restarted = HintTable::new(0).load([&*record]).unwrap();
        assert!(sent.iter().all(|envelope| matches!(open(&restarted, envelope), Outcome::NotForUs)));
    }
    in_every_type!(scenario);
}

#[test]
fn what_is_reordered_beyond_the_window_is_not_for_us() {
    fn scenario<T: ConversationType<Frame: PartialEq + std::fmt::Debug>>(
        message: &T::Frame,
        handshake: &T::Frame,
    ) {
        for (frame, window) in [(message, APPLICATION_WINDOW), (handshake, HANDSHAKE_WINDOW)] {
            let random = &mut seeded();
            let mut conversation = Conversation::new::<T>(2, random);
            let mut sent: Vec<_> =
                (0..window + 2).map(|_| conversation.send::<T>(0, frame, random)).collect();
            let last = sent.pop().unwrap();
            // Too far ahead, until one before it has come.
            assert!(matches!(open(&conversation.members[1], &last), Outcome::NotForUs));
            assert!(receive::<T>(&mut conversation.members[1], &sent[1]).is_some());
            assert!(receive::<T>(&mut conversation.members[1], &last).is_some());
            // Now the first is too far behind, and the others are not.
            assert!(matches!(open(&conversation.members[1], &sent[0]), Outcome::NotForUs));
            for late in sent[2..].iter().rev() {
                assert!(receive::<T>(&mut conversation.members[1], late).is_some());
            }
        }
    }
    in_every_type!(scenario);
}

#[test]
fn what_is_cut_is_refused_wherever_it_is_cut() {
    fn scenario<T: ConversationType<Frame: PartialEq + std::fmt::Debug>>(
        message: &T::Frame,
        handshake: &T::Frame,
    ) {
        let random = &mut seeded();
        let mut conversation = Conversation::new::<T>(2, random);
        for frame in [message, handshake] {
            // The envelope, on the way.
            let whole = conversation.send::<T>(0, frame, random);
            for length in 0..whole.len() {
                let outcome = open(&conversation.members[1], &whole[..length]);
                assert!(matches!(outcome, Outcome::Invalid(_)), "{length} bytes: {outcome:?}");
            }
            // The ciphertext, in an envelope that is in order.
            let envelope = Envelope::decode(&whole).decoded().unwrap();
            let EncryptedBytes::EpochSealed { key_salt, ciphertext } = &envelope.body else {
                panic!("one scheme")
            };
            for length in [0, 16, ciphertext.len() - 16, ciphertext.len() - 1] {
                let body = EncryptedBytes::EpochSealed {
                    key_salt: *key_salt,
                    ciphertext: ciphertext[..length].to_vec(),
                };
                let cut = Envelope { body, ..envelope.clone() }.encode();
                assert!(
                    matches!(open(&conversation.members[1], &cut), Outcome::Invalid(_)),
                    "{length} bytes"
                );
            }
            assert_eq!(receive::<T>(&mut conversation.members[1], &whole).as_ref(), Some(frame));

            // The frame, by a member.
            let bytes = T::encode(frame);
            for length in 0..bytes.len() {
                let lawless = (T::is_handshake(frame), bytes[..length].to_vec());
                let envelope = conversation.send::<Lawless<T>>(0, &lawless, random);
                let Outcome::Decoded(opened) = open(&conversation.members[1], &envelope) else {
                    panic!("it is theirs")
                };
                let outcome = opened.frame::<T>();
                assert!(matches!(outcome, Outcome::Invalid(_)), "{length} bytes: {outcome:?}");
                assert!(conversation.members[1].received(&opened.place));
            }
        }
    }
    in_every_type!(scenario);
}

#[test]
fn what_is_of_another_type_or_kind_is_refused() {
    fn scenario<T: ConversationType<Frame: PartialEq + std::fmt::Debug>>(
        message: &T::Frame,
        handshake: &T::Frame,
    ) {
        let random = &mut seeded();
        let mut conversation = Conversation::new::<T>(2, random);
        let envelope = conversation.send::<T>(0, message, random);
        let Outcome::Decoded(opened) = open(&conversation.members[1], &envelope) else {
            panic!("it is theirs")
        };
        let as_other = [
            (InboxV1::DESCRIPTOR.id, is_wrong_type(&opened.frame::<InboxV1>())),
            (PrivateV1::DESCRIPTOR.id, is_wrong_type(&opened.frame::<PrivateV1>())),
            (DirectV1::DESCRIPTOR.id, is_wrong_type(&opened.frame::<DirectV1>())),
            (GroupV1::DESCRIPTOR.id, is_wrong_type(&opened.frame::<GroupV1>())),
            (SelfV1::DESCRIPTOR.id, is_wrong_type(&opened.frame::<SelfV1>())),
            (SubconversationV1::DESCRIPTOR.id, is_wrong_type(&opened.frame::<SubconversationV1>())),
        ];
        for (id, is_refused) in as_other {
            assert_eq!(is_refused, id != T::DESCRIPTOR.id, "a frame of {:?} as {id:?}", T::DESCRIPTOR.id);
        }
        // A message under the hint of a handshake, and a handshake under that of a message.
        for (frame, hint) in [(message, true), (handshake, false)] {
            let envelope = conversation.send::<Lawless<T>>(0, &(hint, T::encode(frame)), random);
            let Outcome::Decoded(opened) = open(&conversation.members[1], &envelope) else {
                panic!("it is theirs")
            };
            assert!(matches!(opened.frame::<T>(), Outcome::Invalid(WireError::WrongKind { .. })));
        }
    }
    in_every_type!(scenario);
}

fn is_wrong_type<F>(outcome: &Outcome<F>) -> bool {
    matches!(outcome, Outcome::Invalid(WireError::WrongType { .. }))
}

#[test]
fn what_is_of_another_conversation_is_refused() {
    fn scenario<T: ConversationType<Frame: PartialEq + std::fmt::Debug>>(
        message: &T::Frame,
        handshake: &T::Frame,
    ) {
        let random = &mut seeded();
        let (mut here, mut there) = (Conversation::new::<T>(2, random), Conversation::new::<T>(2, random));
        for frame in [message, handshake] {
            let [mine, theirs] =
                [&mut here, &mut there].map(|conversation| conversation.send::<T>(0, frame, random));
            assert!(matches!(open(&there.members[1], &mine), Outcome::NotForUs));
            // Under the other's hint.
            let read = |bytes: &[u8]| Envelope::decode(bytes).decoded().unwrap();
            let moved = Envelope { hint: read(&theirs).hint, ..read(&mine) }.encode();
            assert!(matches!(open(&there.members[1], &moved), Outcome::Invalid(WireError::Undecryptable)));
            assert_eq!(receive::<T>(&mut here.members[1], &mine).as_ref(), Some(frame));
            assert_eq!(receive::<T>(&mut there.members[1], &theirs).as_ref(), Some(frame));
        }
    }
    in_every_type!(scenario);
}
