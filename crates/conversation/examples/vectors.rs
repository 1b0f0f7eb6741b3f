//! Writes the test vectors into `docs/spec/vectors`: `cargo run -p tertulia-conversation --example vectors`. A test compares.
//!
//! Everything is made by the crate's own functions, from randomness with a fixed seed, but for what MLS and the Double Ratchet have encrypted: that is in
//! `inner.json` and stays (`--example inner` makes it anew). `docs/spec/decode.py` reads them independently.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{fs, path::Path};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use tertulia_conversation::{
    EpochId, EpochSecrets, conversation_id,
    hint::{EpochStart, Hint, HintTable, Origin, Salt},
    inbox::{Bundle, BundleContent, BundleDevice, BundleKey, InboxKey, InvitesTo, NewInvitation, invite},
    topic::ContentTopic,
    types::{
        ConversationType, Descriptor, DirectV1, Encoding, Encryption, FrameKind, GroupV1, InboxV1, Outer,
        PrivateV1, Scheme, SelfV1, SubconversationV1, TypeId,
    },
    wire::{
        DirectFrame, EncryptedBytes, Envelope, GapAnswer, GapRequest, GroupFrame, Outcome, PrivateFrame,
        SelfFrame, SubconversationFrame,
    },
    work::Stamp,
};
use zeroize::Zeroizing;

/// Where they belong.
pub const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/spec/vectors");

/// When everything happens, in seconds since 1970.
const NOW: u64 = 1_800_000_000;

fn main() -> std::io::Result<()> {
    for (name, vectors) in vectors() {
        fs::write(Path::new(DIRECTORY).join(name), vectors)?;
    }
    Ok(())
}

/// All files, by their names.
pub fn vectors() -> [(&'static str, String); 5] {
    [
        ("ids.json", ids()),
        ("envelopes.json", envelopes()),
        ("inbox.json", inbox()),
        ("outcomes.json", outcomes()),
        ("work.json", work()),
    ]
    .map(|(name, value)| (name, format!("{value:#}\n")))
}

/// What MLS and the Double Ratchet have encrypted, with the keys to read it.
pub fn inner() -> Value {
    serde_json::from_slice(&fs::read(Path::new(DIRECTORY).join("inner.json")).unwrap()).unwrap()
}

/// The bytes of a field.
pub fn bytes(of: &Value) -> Vec<u8> {
    hex::decode(of.as_str().unwrap()).unwrap()
}

fn secret(of: &Value) -> [u8; 32] {
    bytes(of).try_into().unwrap()
}

/// A type of an application, whose frames are the content itself.
pub struct NoteV1;

impl ConversationType for NoteV1 {
    const DESCRIPTOR: Descriptor = Descriptor {
        title: "NoteV1",
        id: TypeId::new(0x8001),
        encryption: Encryption {
            scheme: Scheme::Own,
            outer: Outer::EpochKey,
            details: "the key of the epoch alone",
        },
        frames: &[FrameKind { name: "note", number: 1, carries: "a MIMI content", is_handshake: false }],
        encoding: Encoding::Own,
        ..GroupV1::DESCRIPTOR
    }
    .complete();
    type Frame = Vec<u8>;

    fn is_handshake(_: &Vec<u8>) -> bool {
        false
    }

    fn encode(frame: &Vec<u8>) -> Vec<u8> {
        frame.clone()
    }

    fn decode(bytes: &[u8]) -> Outcome<Vec<u8>> {
        Outcome::Decoded(bytes.to_vec())
    }
}

fn ids() -> Value {
    let random = &mut StdRng::seed_from_u64(1);
    let conversations: Vec<_> = [1, 2, 3, 4, 5, 6, 0x8001]
        .map(|number| {
            let secret: [u8; 32] = random.random();
            let id = conversation_id(TypeId::new(number), &secret);
            let salt = Salt::random(random);
            json!({
                "conversation_type": number,
                "creation_secret": hex::encode(secret),
                "conversation_id": hex::encode(id.as_bytes()),
                "content_topic": ContentTopic::of_conversation(&id).to_string(),
                "salt": salt.number(),
                "salted_hint": Hint::salted(&id, salt).to_string(),
            })
        })
        .into();
    json!({ "conversations": conversations })
}

/// A conversation of one type: a sender, whose envelopes are written down.
struct Conversation {
    table: HintTable,
    epoch: EpochId,
    creation_secret: [u8; 32],
    shared: [u8; 32],
    sender: u32,
    envelopes: Vec<Value>,
}

impl Conversation {
    fn new<T: ConversationType>(random: &mut StdRng) -> Self {
        Self::with::<T>(
            random.random(),
            random.random(),
            random.random_range(0..1000),
            random.random_range(0..100),
        )
    }

    /// A group of MLS, whose creator sends.
    fn of_group<T: ConversationType>(group: &Value) -> Self {
        assert_eq!(group["conversation_type"], T::DESCRIPTOR.id.number());
        let epoch = group["epoch"].as_u64().unwrap();
        Self::with::<T>(secret(&group["creation_secret"]), secret(&group["shared_secret"]), epoch, 0)
    }

    fn with<T: ConversationType>(
        creation_secret: [u8; 32],
        shared: [u8; 32],
        epoch: u64,
        sender: u32,
    ) -> Self {
        let conversation_type = T::DESCRIPTOR.id;
        let conversation = conversation_id(conversation_type, &creation_secret);
        let epoch = EpochId { conversation, conversation_type, epoch };
        let secrets = EpochSecrets::derive(&shared, &epoch);
        let mut table = HintTable::new(0);
        let start =
            EpochStart { epoch, secrets: &secrets, own_sender: sender, senders: &[], origin: Origin::Own };
        table.begin_epoch(&start).unwrap();
        Self { table, epoch, creation_secret, shared, sender, envelopes: Vec::new() }
    }

    fn say<T: ConversationType>(
        mut self,
        frame: &T::Frame,
        kind: u32,
        content: &[u8],
        random: &mut StdRng,
    ) -> Self {
        let sealed = self.table.seal::<T>(&self.epoch.conversation, frame, random).unwrap();
        let generation =
            self.envelopes.iter().filter(|one| one["is_handshake"] == T::is_handshake(frame)).count();
        self.envelopes.push(json!({
            "frame_number": kind,
            "is_handshake": T::is_handshake(frame),
            "generation": generation,
            "frame": hex::encode(T::encode(frame)),
            "content": hex::encode(content),
            "envelope": hex::encode(sealed.envelope()),
        }));
        self
    }

    /// One with a salted hint, as after a restored backup.
    fn say_salted<T: ConversationType>(
        mut self,
        frame: &T::Frame,
        kind: u32,
        content: &[u8],
        random: &mut StdRng,
    ) -> Self {
        let envelope = self.table.seal_salted::<T>(&self.epoch.conversation, frame, random).unwrap();
        self.envelopes.push(json!({
            "frame_number": kind,
            "salted": true,
            "frame": hex::encode(T::encode(frame)),
            "content": hex::encode(content),
            "envelope": hex::encode(envelope.encode()),
        }));
        self
    }

    fn done<T: ConversationType>(self) -> Value {
        json!({
            "title": T::DESCRIPTOR.title,
            "conversation_type": T::DESCRIPTOR.id.number(),
            "creation_secret": hex::encode(self.creation_secret),
            "conversation_id": hex::encode(self.epoch.conversation.as_bytes()),
            "epoch": self.epoch.epoch,
            "shared_secret": hex::encode(self.shared),
            "sender": self.sender,
            "envelopes": self.envelopes,
        })
    }
}

fn envelopes() -> Value {
    let random = &mut StdRng::seed_from_u64(2);
    let inner = inner();
    let mimi =
        fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../content/tests/vectors/original.cbor")).unwrap();

    let ratchet = &inner["double_ratchet"];
    let olm = |n: usize| bytes(&ratchet["messages"][n]["message"]);
    let answer = bytes(&ratchet["answer"]["message"]);
    let creation_secret = random.random();
    let private = Conversation::with::<PrivateV1>(creation_secret, creation_secret, 0, 0)
        .say::<PrivateV1>(&PrivateFrame::Content(olm(0)), 1, &olm(0), random)
        .say::<PrivateV1>(&PrivateFrame::Placeholder, 2, &[], random)
        .say::<PrivateV1>(&PrivateFrame::Receipt(olm(1)), 3, &olm(1), random)
        .say::<PrivateV1>(&PrivateFrame::Renewal(olm(2)), 4, &olm(2), random)
        .done::<PrivateV1>();
    let answered = Conversation::with::<PrivateV1>(creation_secret, creation_secret, 0, 1)
        .say::<PrivateV1>(&PrivateFrame::Content(answer.clone()), 1, &answer, random)
        .done::<PrivateV1>();

    let message = |group: &Value, n: usize| bytes(&group["messages"][n]["message"]);
    let commit = |group: &Value| bytes(&group["commit"]);
    let of = &inner["mls"][0];
    let direct = Conversation::of_group::<DirectV1>(of)
        .say::<DirectV1>(&DirectFrame::Content(message(of, 0)), 1, &message(of, 0), random)
        .say::<DirectV1>(&DirectFrame::Handshake(commit(of)), 2, &commit(of), random)
        .say::<DirectV1>(&DirectFrame::Receipt(message(of, 1)), 3, &message(of, 1), random)
        .done::<DirectV1>();
    let of = &inner["mls"][1];
    let request = GapRequest { message_ids: vec![[7; 32], [8; 32]] };
    let answer = GapAnswer { message_id: [7; 32], message: message(of, 2) };
    let welcome = bytes(&of["welcome"]);
    let group = Conversation::of_group::<GroupV1>(of)
        .say::<GroupV1>(&GroupFrame::Content(message(of, 0)), 1, &message(of, 0), random)
        .say::<GroupV1>(&GroupFrame::Content(message(of, 1)), 1, &message(of, 1), random)
        .say::<GroupV1>(&GroupFrame::Handshake(commit(of)), 2, &commit(of), random)
        .say::<GroupV1>(&GroupFrame::Welcome(welcome.clone()), 3, &welcome, random)
        .say::<GroupV1>(&GroupFrame::GapRequest(request), 4, &[[7; 32], [8; 32]].concat(), random)
        .say::<GroupV1>(&GroupFrame::GapAnswer(answer), 5, &message(of, 2), random)
        .say_salted::<GroupV1>(&GroupFrame::Handshake(commit(of)), 2, &commit(of), random)
        .done::<GroupV1>();
    let of = &inner["mls"][2];
    let own = Conversation::of_group::<SelfV1>(of)
        .say::<SelfV1>(&SelfFrame::Synchronisation(message(of, 0)), 1, &message(of, 0), random)
        .say::<SelfV1>(&SelfFrame::Handshake(commit(of)), 2, &commit(of), random)
        .done::<SelfV1>();
    let of = &inner["mls"][3];
    let sub = Conversation::of_group::<SubconversationV1>(of)
        .say::<SubconversationV1>(&SubconversationFrame::Content(message(of, 0)), 1, &message(of, 0), random)
        .say::<SubconversationV1>(&SubconversationFrame::Handshake(commit(of)), 2, &commit(of), random)
        .done::<SubconversationV1>();
    let note = Conversation::new::<NoteV1>(random).say::<NoteV1>(&mimi, 1, &mimi, random).done::<NoteV1>();
    json!({ "conversations": [private, answered, direct, group, own, sub, note] })
}

/// Somebody with one device.
struct Person {
    device: ed25519_dalek::SigningKey,
    inbox_key: InboxKey,
    bundle: Bundle,
}

/// Somebody whose pairwise sessions have these identity and one-time keys.
fn person(ratchet_key: [u8; 32], one_time_key: [u8; 32], random: &mut StdRng) -> Person {
    let identity = ed25519_dalek::SigningKey::from_bytes(&random.random());
    let device = ed25519_dalek::SigningKey::from_bytes(&random.random());
    let inbox_key = InboxKey::from_secret(random.random());
    let key = |key: [u8; 32]| BundleKey::sign(key, &ratchet_key, &device).unwrap();
    let (one_time_key, fallback_key) = (key(one_time_key), key(random.random()));
    let content = BundleContent {
        identity_key: identity.verifying_key().to_bytes(),
        expires: NOW + 86_400,
        devices: vec![BundleDevice {
            signature_key: device.verifying_key().to_bytes(),
            inbox_key: inbox_key.public(),
            ratchet_key,
            one_time_keys: vec![one_time_key],
            fallback_key,
            key_package: Vec::new(),
        }],
    };
    Person { device, inbox_key, bundle: Bundle::sign(&content, &identity).unwrap() }
}

fn inbox() -> Value {
    let random = &mut StdRng::seed_from_u64(3);
    let inner = inner();
    let (ratchet, group) = (&inner["double_ratchet"], &inner["mls"][1]);
    let invited = &ratchet["invited"];
    let sender = person(random.random(), random.random(), random);
    let receiver = person(secret(&invited["identity_key"]), secret(&invited["one_time_key"]), random);
    let creation_secret: [u8; 32] = random.random();
    let invitations = [
        InvitesTo::Private {
            creation_secret: Zeroizing::new(creation_secret),
            message: bytes(&ratchet["messages"][0]["message"]),
        },
        InvitesTo::Group {
            conversation_type: GroupV1::DESCRIPTOR.id,
            creation_secret: Zeroizing::new(secret(&group["creation_secret"])),
            welcome: bytes(&group["welcome"]),
        },
    ];
    let invitations = invitations.map(|invites_to| {
        let (conversation_type, creation_secret, content) = match &invites_to {
            InvitesTo::Group { conversation_type, creation_secret, welcome } => {
                (*conversation_type, creation_secret.clone(), welcome.clone())
            }
            InvitesTo::Private { creation_secret, message } => {
                (PrivateV1::DESCRIPTOR.id, creation_secret.clone(), message.clone())
            }
            _ => unreachable!("there are two kinds"),
        };
        let new = NewInvitation { sender: &sender.bundle, sender_device: 0, expires: NOW + 3600, invites_to };
        let envelope = invite(&receiver.bundle, 0, new, &sender.device, NOW, random).unwrap();
        json!({
            "envelope": hex::encode(envelope.encode()),
            "expires": NOW + 3600,
            "conversation_type": conversation_type.number(),
            "creation_secret": hex::encode(creation_secret.as_slice()),
            "content": hex::encode(content),
        })
    });
    let address = receiver.bundle.inbox_address();
    json!({
        "now": NOW,
        "sender_bundle": sender.bundle.to_string(),
        "receiver_bundle": receiver.bundle.to_string(),
        "receiver_inbox_secret": hex::encode(receiver.inbox_key.secret().as_slice()),
        "receiver_client_address": receiver.bundle.client_address().to_string(),
        "receiver_inbox_address": hex::encode(address.as_bytes()),
        "receiver_inbox_conversation_id": hex::encode(address.conversation_id().as_bytes()),
        "content_topic": ContentTopic::of_inbox(&address).to_string(),
        "conversation_type": InboxV1::DESCRIPTOR.id.number(),
        "invitations": invitations,
    })
}

/// Bytes, and which of the outcomes they have as an envelope.
fn outcomes() -> Value {
    let random = &mut StdRng::seed_from_u64(4);
    let body = EncryptedBytes::EpochSealed {
        key_salt: random.random(),
        ciphertext: (0..1040).map(|_| random.random::<u8>()).collect(),
    };
    let good = Envelope { hint: Hint::from_bytes(random.random()), salt: Salt::NONE, body }.encode();
    let (hint, rest) = good.split_at(34);
    let cases: [(&str, Vec<u8>); 12] = [
        ("in order", good.clone()),
        ("empty", Vec::new()),
        ("cut", good[..good.len() - 1].to_vec()),
        ("with a later version's field", [&good[..], &[0x58, 7]].concat()),
        ("encrypted in a way that this version does not know", [hint, &[0x52, 2, 0x1a, 0]].concat()),
        ("the fields in another order", [rest, hint].concat()),
        ("the hint twice", [hint, hint, rest].concat()),
        ("a salt of zero written out", [hint, &[0x10, 0], rest].concat()),
        ("a salt below 2^28", [hint, &[0x10, 1], rest].concat()),
        ("a length in more bytes than it needs", [&[0x0a, 0xa0, 0][..], &good[2..]].concat()),
        ("the hint in capitals", {
            let mut bytes = good.clone();
            bytes[2..34].make_ascii_uppercase();
            bytes
        }),
        ("no encrypted bytes", hint.to_vec()),
    ];
    let cases = cases.map(|(what, bytes)| {
        let outcome = match Envelope::decode(&bytes) {
            Outcome::Decoded(_) => "decoded",
            Outcome::NotForUs => "not for us",
            Outcome::Unsupported(_) => "unsupported",
            Outcome::Invalid(_) => "invalid",
        };
        json!({ "what": what, "bytes": hex::encode(bytes), "outcome": outcome })
    });
    json!({ "envelopes": cases })
}

fn work() -> Value {
    let id = conversation_id(TypeId::new(4), &[1; 32]);
    let topic = ContentTopic::of_conversation(&id);
    let envelope = [7; 100];
    let stamps = [0, 8, 16].map(|difficulty| {
        let stamp = Stamp::make(&topic, &envelope, difficulty, NOW).unwrap();
        json!({ "difficulty": difficulty, "hour": stamp.hour, "number": stamp.number })
    });
    json!({ "content_topic": topic.to_string(), "envelope": hex::encode(envelope), "stamps": stamps })
}
