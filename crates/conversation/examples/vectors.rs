//! Writes the test vectors into `docs/spec/vectors`: `cargo run -p tertulia-conversation --example vectors`. A test compares.
//!
//! Everything is made by the crate's own functions, from randomness with a fixed seed, but for what MLS and the Double Ratchet have encrypted: that is in
//! `inner.json` and stays (`--example inner` makes it anew). `docs/spec/decode.py` reads them independently.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, unreachable_pub)]
#[path = "support/commits.rs"]
mod commits;
#[allow(dead_code, unreachable_pub)]
#[path = "support/outcomes.rs"]
mod outcomes;
#[allow(dead_code, unreachable_pub)]
#[path = "support/policies.rs"]
mod policies;
#[allow(dead_code, unreachable_pub)]
#[path = "support/raw.rs"]
mod raw;

use std::{fs, path::Path};

use ed25519_dalek::SigningKey;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use tertulia_conversation::{
    EpochId, EpochSecrets, conversation_id,
    hint::{EpochStart, Hint, HintTable, Origin, Salt},
    inbox::{Bundle, InboxKey, InvitesTo, NewInvitation, invite},
    topic::ContentTopic,
    types::{
        ConversationType, Descriptor, DirectV1, Encoding, Encryption, FrameKind, GroupV1, InboxV1, Outer,
        PrivateV1, Scheme, SelfV1, SubconversationV1, TypeId,
    },
    wire::{
        DirectFrame, GapAnswer, GapRequest, GroupFrame, Outcome, PrivateFrame, SelfFrame,
        SubconversationFrame,
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
pub fn vectors() -> [(&'static str, String); 6] {
    [
        ("ids.json", ids()),
        ("envelopes.json", envelopes()),
        ("inbox.json", inbox()),
        ("outcomes.json", outcomes::outcomes()),
        ("policies.json", policies::policies()),
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
    let turn = |turn: usize, n: usize| bytes(&ratchet["turns"][turn]["messages"][n]["message"]);
    let (accepted, text, report, renewal, answer) =
        (turn(1, 0), turn(2, 0), turn(2, 1), turn(2, 2), turn(3, 0));
    let creation_secret = secret(&ratchet["creation_secret"]);
    let accepting = Conversation::with::<PrivateV1>(creation_secret, creation_secret, 0, 1)
        .say::<PrivateV1>(&PrivateFrame::Receipt(accepted.clone()), 3, &accepted, random)
        .done::<PrivateV1>();
    let private = Conversation::with::<PrivateV1>(creation_secret, creation_secret, 0, 0)
        .say::<PrivateV1>(&PrivateFrame::Content(text.clone()), 1, &text, random)
        .say::<PrivateV1>(&PrivateFrame::Placeholder, 2, &[], random)
        .say::<PrivateV1>(&PrivateFrame::Receipt(report.clone()), 3, &report, random)
        .say::<PrivateV1>(&PrivateFrame::Renewal(renewal.clone()), 4, &renewal, random)
        .done::<PrivateV1>();
    let renewed = bytes(&ratchet["turns"][2]["messages"][2]["content"]);
    let shared = *renewed.first_chunk().unwrap();
    let answering = Conversation::with::<PrivateV1>(creation_secret, shared, 1, 1)
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
    json!({ "conversations": [accepting, private, answering, direct, group, own, sub, note] })
}

fn inbox() -> Value {
    let random = &mut StdRng::seed_from_u64(3);
    let inner = inner();
    let (ratchet, group) = (&inner["double_ratchet"], &inner["mls"][1]);
    let [sender, receiver] = ["sender", "reader"].map(|who| &inner["people"][who]);
    let [sender_bundle, receiver_bundle] =
        [sender, receiver].map(|who| who["bundle"].as_str().unwrap().parse::<Bundle>().unwrap());
    let device = SigningKey::from_bytes(&secret(&sender["signature_secret"]));
    let inbox_key = InboxKey::from_secret(secret(&receiver["inbox_secret"]));
    let invitations = [
        InvitesTo::Private {
            creation_secret: Zeroizing::new(secret(&ratchet["creation_secret"])),
            message: bytes(&ratchet["turns"][0]["messages"][0]["message"]),
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
        let new = NewInvitation { sender: &sender_bundle, sender_device: 0, expires: NOW + 3600, invites_to };
        let envelope = invite(&receiver_bundle, 0, new, &device, NOW, random).unwrap();
        json!({
            "envelope": hex::encode(envelope.encode()),
            "expires": NOW + 3600,
            "conversation_type": conversation_type.number(),
            "creation_secret": hex::encode(creation_secret.as_slice()),
            "content": hex::encode(content),
        })
    });
    let address = receiver_bundle.inbox_address();
    json!({
        "now": NOW,
        "sender_bundle": sender_bundle.to_string(),
        "receiver_bundle": receiver_bundle.to_string(),
        "receiver_inbox_secret": hex::encode(inbox_key.secret().as_slice()),
        "receiver_client_address": receiver_bundle.client_address().to_string(),
        "receiver_inbox_address": hex::encode(address.as_bytes()),
        "receiver_inbox_conversation_id": hex::encode(address.conversation_id().as_bytes()),
        "content_topic": ContentTopic::of_inbox(&address).to_string(),
        "conversation_type": InboxV1::DESCRIPTOR.id.number(),
        "invitations": invitations,
    })
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
