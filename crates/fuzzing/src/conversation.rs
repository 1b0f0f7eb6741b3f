//! What comes through carriers that know nothing: envelopes, frames, bundles.

use std::cell::RefCell;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tertulia_conversation::{
    EpochId, EpochSecrets, conversation_id,
    hint::{EpochStart, HintTable, Origin},
    inbox::{Bundle, Inbox, InboxKey, Replays},
    topic::ContentTopic,
    types::{ConversationType, DirectV1, GroupV1, InboxV1, PrivateV1, SelfV1, SubconversationV1},
    wire::{EncryptedFrame, Envelope, GroupFrame, Outcome, PrivateFrame},
};

use crate::{invitation, script};

/// A group of two, and an inbox.
struct World {
    sender: HintTable,
    receiver: HintTable,
    epoch: EpochId,
    inbox: Inbox,
    random: StdRng,
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(World::new());
}

impl World {
    fn new() -> Self {
        let mut random = StdRng::seed_from_u64(1);
        let conversation_type = GroupV1::DESCRIPTOR.id;
        let conversation = conversation_id(conversation_type, &random.random());
        let epoch = EpochId { conversation, conversation_type, epoch: 0 };
        let inbox = Inbox::new(&random.random(), vec![InboxKey::generate(&mut random)], Replays::default());
        let mut world = Self { sender: HintTable::new(0), receiver: HintTable::new(0), epoch, inbox, random };
        world.begin_epoch();
        world
    }

    fn begin_epoch(&mut self) {
        self.epoch.epoch += 1;
        let secrets = EpochSecrets::derive(&self.random.random(), &self.epoch);
        for (table, own_sender) in [(&mut self.sender, 0), (&mut self.receiver, 1)] {
            let senders = &[1 - own_sender];
            let start =
                EpochStart { epoch: self.epoch, secrets: &secrets, own_sender, senders, origin: Origin::Own };
            table.begin_epoch(&start).expect("each sender is there once");
        }
    }

    /// A genuine message.
    fn next(&mut self) -> (Vec<u8>, GroupFrame) {
        let frame = GroupFrame::Content(self.random.random::<[u8; 32]>().to_vec());
        let sealed = self
            .sender
            .seal::<GroupV1>(&self.epoch.conversation, &frame, &mut self.random)
            .expect("there is an epoch, which is not used up");
        (sealed.envelope().to_vec(), frame)
    }
}

/// Any bytes as an envelope have one outcome; what was read is the same when it is written; and neither raw bytes nor a damaged envelope
/// changes what a receiver knows: the genuine one is read afterwards, once. The input is a [script] about a genuine envelope.
pub fn envelope(input: &[u8]) {
    WORLD.with_borrow_mut(|world| {
        let (genuine, frame) = world.next();
        for bytes in [input.to_vec(), script::message(input, std::slice::from_ref(&genuine))] {
            let decoded = Envelope::decode(&bytes);
            let _ = Envelope::hint_of_unsupported(&bytes);
            let Outcome::Decoded(envelope) = decoded else { continue };
            assert_eq!(envelope.encode(), bytes, "there is one form of an envelope");
            assert!(
                !matches!(world.inbox.open(&envelope, 0), Outcome::Decoded(_)),
                "nobody has written to it"
            );
            if bytes != genuine {
                assert!(!matches!(world.receiver.open(&envelope), Outcome::Decoded(_)), "it was made up");
            }
        }
        let opened = Envelope::decode(&genuine).and_then(|envelope| world.receiver.open(&envelope));
        let Outcome::Decoded(opened) = opened else { panic!("the genuine envelope is not read") };
        assert_eq!(opened.frame::<GroupV1>(), Outcome::Decoded(frame));
        assert!(world.receiver.received(&opened.place) && !world.receiver.received(&opened.place));
        // The record is what the table is made from again.
        let record = world.receiver.record(&world.epoch.conversation).expect("there is an epoch");
        let again = HintTable::new(0).load([&record]).expect("what was written can be read");
        assert_eq!(again.len(), world.receiver.len());
        let _ = HintTable::new(0).load([input]);
        if world.random.random_ratio(1, 20) {
            world.begin_epoch();
        }
    });
}

/// Any bytes as a frame of each type have one outcome, and what was read is the same when it is written.
pub fn frame(input: &[u8]) {
    fn of<T: ConversationType>(input: &[u8]) {
        if let Outcome::Decoded(frame) = T::decode(input) {
            assert_eq!(T::encode(&frame), input, "there is one form of a frame");
        }
        if let Outcome::Decoded(frame) = EncryptedFrame::decode(input, T::DESCRIPTOR.id) {
            assert_eq!(frame.encode(), input, "there is one form of an encrypted frame");
            let _ = T::decode(&frame.frame);
        }
    }
    of::<InboxV1>(input);
    of::<PrivateV1>(input);
    of::<DirectV1>(input);
    of::<GroupV1>(input);
    of::<SelfV1>(input);
    of::<SubconversationV1>(input);
}

/// Any bytes as a bundle, also as text, are one or an error, and so is any text as a topic.
pub fn bundle(input: &[u8]) {
    if let Ok(bundle) = Bundle::decode(input) {
        assert_eq!(bundle.as_bytes(), input);
        assert_eq!(bundle.to_string().parse().as_ref(), Ok(&bundle));
    }
    let text = String::from_utf8_lossy(input);
    if let Ok(bundle) = text.parse::<Bundle>() {
        assert_eq!(bundle.to_string(), text.trim());
    }
    if let Ok(topic) = text.parse::<ContentTopic>() {
        assert_eq!(topic.to_string(), text);
    }
    let _ = Replays::decode(input);
}

/// Inputs that the corpus begins with: target, name, bytes.
pub fn conversation_seeds() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let genuine = WORLD.with_borrow_mut(|world| {
        let genuine = world.next().0;
        // It was not received, and is not to move the window.
        world.begin_epoch();
        genuine
    });
    let vectors = include_str!("../../../docs/spec/vectors/inbox.json");
    let text = vectors.split("\"receiver_bundle\": \"").nth(1).and_then(|rest| rest.split('"').next());
    let text = text.expect("the vectors have a bundle");
    let bundle: Bundle = text.parse().expect("the bundle of the vectors is in order");
    let encrypted = EncryptedFrame {
        conversation_type: GroupV1::DESCRIPTOR.id,
        frame: GroupFrame::Content(vec![1]).encode(),
    };
    let mut seeds = vec![
        ("envelope", "raw", [&[0][..], &genuine].concat()),
        ("envelope", "whole", script::unchanged(0)),
        ("frame", "content", GroupFrame::Content(vec![1, 2, 3]).encode()),
        ("frame", "handshake", GroupFrame::Handshake(vec![1, 2, 3]).encode()),
        ("frame", "placeholder", PrivateFrame::Placeholder.encode()),
        ("frame", "encrypted", encrypted.encode()),
        ("bundle", "bytes", bundle.as_bytes().to_vec()),
        ("bundle", "text", text.as_bytes().to_vec()),
        ("bundle", "topic", b"/tertulia/1/inbox-7/proto".to_vec()),
    ];
    seeds.extend(invitation::seeds().map(|(name, bytes)| ("invitation", name, bytes)));
    seeds
}
