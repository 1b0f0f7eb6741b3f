//! Bytes, and what becomes of them: as an envelope, and in a conversation whose epoch the receiver knows.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use tertulia_conversation::{
    EpochId, EpochSecrets, conversation_id,
    hint::{EpochStart, Hint, HintTable, Origin, Salt},
    types::{ConversationType as _, GroupV1},
    wire::{EncryptedBytes, Envelope, GapAnswer, GapRequest, GroupFrame, MAX_GAP_REQUEST, Outcome},
};

use super::raw::{encrypted_frame, field, padded, padded_to, seal_in_epoch, varint};

/// Both.
pub fn outcomes() -> Value {
    json!({ "envelopes": envelopes(), "received": received() })
}

fn name_of<T>(outcome: &Outcome<T>) -> &'static str {
    match outcome {
        Outcome::Decoded(_) => "decoded",
        Outcome::NotForUs => "not for us",
        Outcome::Unsupported(_) => "unsupported",
        Outcome::Invalid(_) => "invalid",
    }
}

/// Bytes, and which of the outcomes they have as an envelope.
fn envelopes() -> Value {
    let random = &mut StdRng::seed_from_u64(4);
    let body = EncryptedBytes::EpochSealed {
        key_salt: random.random(),
        ciphertext: (0..1040).map(|_| random.random::<u8>()).collect(),
    };
    let good = Envelope { hint: Hint::from_bytes(random.random()), salt: Salt::NONE, body }.encode();
    let (hint, rest) = good.split_at(34);
    let behind = |more: &[u8]| [&good[..], more].concat();
    let between = |more: &[u8]| [hint, more, rest].concat();
    let encrypted = |scheme: u8, header: usize, ciphertext: usize| {
        let inner = [field(1, &vec![1; header]), field(2, &vec![2; ciphertext])].concat();
        field(scheme, &inner)
    };
    let with = |encrypted: &[u8]| [hint, &field(10, encrypted)].concat();
    let capitals = {
        let mut bytes = good.clone();
        bytes[2..34].make_ascii_uppercase();
        bytes
    };
    // A key of this field number and wire type.
    let key = |number: u64, wire_type: u64| varint(number << 3 | wire_type);
    let largest = [&[0xff; 9][..], &[0x01]].concat();
    let cases = [
        ("in order", good.clone()),
        ("empty", Vec::new()),
        ("cut", good[..good.len() - 1].to_vec()),
        ("with a later version's field", behind(&[0x58, 7])),
        ("encrypted in a way that this version does not know", [hint, &[0x52, 2, 0x1a, 0]].concat()),
        ("the fields in another order", [rest, hint].concat()),
        ("the hint twice", [hint, hint, rest].concat()),
        ("a salt of zero written out", between(&[0x10, 0])),
        ("a salt below 2^28", between(&[0x10, 1])),
        ("a length in more bytes than it needs", [&[0x0a, 0xa0, 0][..], &good[2..]].concat()),
        ("the hint in capitals", capitals),
        ("no encrypted bytes", hint.to_vec()),
        ("a key in more bytes than it needs", [&[0x8a, 0][..], &good[1..]].concat()),
        ("a salt of more than 32 bits", between(&[&[0x10][..], &varint(1 << 32 | 1 << 28)].concat())),
        ("a salt that is bytes", between(&[0x12, 0])),
        ("a salt that is bytes, behind the rest", behind(&[0x12, 0])),
        ("a salt that is bytes, and a later version's field", [hint, &[0x12, 0], rest, &[0x58, 7]].concat()),
        ("a hint that is a number", [&[0x08, 1], rest].concat()),
        ("a hint of 31 digits", [&field(1, &hint[2..33]), rest].concat()),
        ("encrypted bytes that are a number", [hint, &[0x50, 1]].concat()),
        (
            "later fields of each kind",
            behind(&[&[0x58, 7, 0x61][..], &[1; 8], &[0x6a, 1, 1, 0x75], &[1; 4]].concat()),
        ),
        ("a later field of 64 bits that is cut", behind(&[&[0x61][..], &[1; 7]].concat())),
        ("a later field of 32 bits that is cut", behind(&[0x75, 1, 1, 1])),
        ("a later field with bytes that are cut", behind(&[0x6a, 2, 1])),
        ("a later field with the largest number", behind(&[&[0x58][..], &largest].concat())),
        ("a later field with a number above 64 bits", behind(&[&[0x58][..], &[0xff; 9], &[0x02]].concat())),
        ("a later field with a number of eleven bytes", behind(&[&[0x58][..], &[0x80; 10], &[0]].concat())),
        ("a later field that is there twice", behind(&[0x58, 7, 0x58, 7])),
        ("a later field that is a group", behind(&[0x5b, 0x5c])),
        ("the end of a group", behind(&[0x5c])),
        ("a hint that is a group", [&[0x0b, 0x0c], rest].concat()),
        ("a field of the number 0", behind(&[0, 0])),
        ("a field of the largest number", behind(&[&key((1 << 29) - 1, 0)[..], &[0]].concat())),
        ("a field of a larger number", behind(&[&key(1 << 29, 0)[..], &[0]].concat())),
        ("a wire type that there is not", behind(&[0x5e, 0])),
        ("encrypted in both ways", with(&[encrypted(1, 32, 1040), encrypted(2, 32, 1040)].concat())),
        ("encrypted in one way twice", with(&encrypted(2, 32, 1040).repeat(2))),
        ("a key's salt of 31 bytes", with(&encrypted(2, 31, 1040))),
        ("a ciphertext without a tag", with(&encrypted(2, 32, 1024))),
        ("a ciphertext below all classes", with(&encrypted(2, 32, 528))),
        ("an empty ciphertext", with(&field(2, &field(1, &[1; 32])))),
    ];
    let cases = cases.map(|(what, bytes)| {
        json!({ "what": what, "bytes": hex::encode(&bytes), "outcome": name_of(&Envelope::decode(&bytes)) })
    });
    cases.into()
}

/// What somebody makes who has the secrets of an epoch, and what becomes of it where they are known.
struct Forge {
    shared: [u8; 32],
    epoch: EpochId,
    message_hint: Hint,
    handshake_hint: Hint,
    random: StdRng,
}

impl Forge {
    /// With these padded bytes, under this hint.
    fn padded_under(&mut self, hint: Hint, padded: &[u8]) -> Envelope {
        seal_in_epoch(&self.shared, &self.epoch, (hint, Salt::NONE), padded, self.random.random())
    }

    /// With this `EncryptedFrame`.
    fn encrypted(&mut self, frame: &[u8]) -> Envelope {
        self.padded_under(self.message_hint, &padded(frame))
    }

    /// With this frame of the type.
    fn frame(&mut self, frame: &[u8]) -> Envelope {
        self.encrypted(&encrypted_frame(4, frame))
    }
}

fn received() -> Value {
    let mut random = StdRng::seed_from_u64(5);
    let (creation_secret, shared): ([u8; 32], [u8; 32]) = (random.random(), random.random());
    let conversation = conversation_id(GroupV1::DESCRIPTOR.id, &creation_secret);
    let epoch = EpochId { conversation, conversation_type: GroupV1::DESCRIPTOR.id, epoch: 3 };
    let secrets = EpochSecrets::derive(&shared, &epoch);
    let [mut sender, mut receiver] = [HintTable::new(0), HintTable::new(0)];
    sender
        .begin_epoch(&EpochStart {
            epoch,
            secrets: &secrets,
            own_sender: 0,
            senders: &[1],
            origin: Origin::Own,
        })
        .unwrap();
    receiver
        .begin_epoch(&EpochStart {
            epoch,
            secrets: &secrets,
            own_sender: 1,
            senders: &[0],
            origin: Origin::Own,
        })
        .unwrap();
    let mut hint = |frame: &GroupFrame| {
        let sealed = sender.seal::<GroupV1>(&conversation, frame, &mut random).unwrap();
        Envelope::decode(sealed.envelope()).decoded().unwrap().hint
    };
    let message_hint = hint(&GroupFrame::Content(vec![1]));
    let handshake_hint = hint(&GroupFrame::Handshake(vec![1]));
    let mut forge = Forge { shared, epoch, message_hint, handshake_hint, random };
    let cases: Vec<_> = cases(&mut forge)
        .into_iter()
        .map(|(what, envelope)| {
            let bytes = envelope.encode();
            let outcome = Envelope::decode(&bytes)
                .and_then(|envelope| receiver.open(&envelope))
                .and_then(|opened| opened.frame::<GroupV1>());
            json!({ "what": what, "bytes": hex::encode(bytes), "outcome": name_of(&outcome) })
        })
        .collect();
    json!({
        "conversation_type": epoch.conversation_type.number(),
        "creation_secret": hex::encode(creation_secret),
        "epoch": epoch.epoch,
        "shared_secret": hex::encode(shared),
        "sender": 0,
        "envelopes": cases,
    })
}

fn cases(forge: &mut Forge) -> Vec<(&'static str, Envelope)> {
    let content = GroupFrame::Content(b"a message".to_vec()).encode();
    let handshake = GroupFrame::Handshake(b"a commit".to_vec()).encode();
    let (message_hint, handshake_hint) = (forge.message_hint, forge.handshake_hint);
    let in_order = forge.frame(&content);
    let commit = forge.padded_under(handshake_hint, &padded(&encrypted_frame(4, &handshake)));
    let salt = Salt::random(&mut forge.random);
    let salted = Hint::salted(&forge.epoch.conversation, salt);
    let frame = padded(&encrypted_frame(4, &handshake));
    let restored = seal_in_epoch(&forge.shared, &forge.epoch, (salted, salt), &frame, [7; 32]);
    let EncryptedBytes::EpochSealed { key_salt, ciphertext } = in_order.body.clone() else {
        unreachable!("it was made so")
    };
    let mut changed = ciphertext.clone();
    changed[0] ^= 1;
    let changed = EncryptedBytes::EpochSealed { key_salt, ciphertext: changed };
    let to_a_key = EncryptedBytes::Hpke { encapsulated_key: key_salt, ciphertext };
    let short = encrypted_frame(4, &content);
    let mut too_long = padded(&short);
    too_long[..4].copy_from_slice(&1021_u32.to_be_bytes());
    let mut not_zero = padded(&short);
    not_zero[1023] = 1;
    let request = |count: usize, length: usize| field(4, &field(1, &vec![7; length]).repeat(count));
    let ask = |ids: usize| GroupFrame::GapRequest(GapRequest { message_ids: vec![[7; 32]; ids] }).encode();
    let answer = GapAnswer { message_id: [7; 32], message: vec![1] };
    vec![
        ("a message in order", in_order.clone()),
        ("a handshake in order", commit.clone()),
        ("a handshake in order under a salted hint", restored.clone()),
        ("a hint of nobody", forge.padded_under(Hint::from_bytes([7; 16]), &padded(&short))),
        ("a salted hint of another conversation", Envelope { hint: message_hint, ..restored.clone() }),
        ("a salt beside a hint that has none", Envelope { salt, ..in_order.clone() }),
        ("a salted hint without its salt", Envelope { salt: Salt::NONE, ..restored.clone() }),
        ("a ciphertext that was changed", Envelope { body: changed, ..in_order.clone() }),
        ("encrypted to a key", Envelope { body: to_a_key, ..in_order.clone() }),
        (
            "a message moved under the hint of a handshake",
            Envelope { hint: handshake_hint, ..in_order.clone() },
        ),
        ("a message moved under a salted hint", Envelope { body: in_order.body.clone(), ..restored }),
        ("a length beyond the class", forge.padded_under(message_hint, &too_long)),
        ("a length of four gigabytes", forge.padded_under(message_hint, &[0xff; 1024])),
        ("something in the padding", forge.padded_under(message_hint, &not_zero)),
        ("a larger class than it needs", forge.padded_under(message_hint, &padded_to(&short, 2048))),
        ("nothing in the padding", forge.padded_under(message_hint, &padded(&[]))),
        ("a frame of another type", forge.encrypted(&encrypted_frame(3, &content))),
        ("a frame of an application's type", forge.encrypted(&encrypted_frame(0x8001, &content))),
        ("a frame of the type 0, written out", forge.encrypted(&encrypted_frame(0, &content))),
        ("a frame of no type", forge.encrypted(&field(2, &content))),
        ("a frame of a type above 65535", forge.encrypted(&encrypted_frame(1 << 16, &content))),
        ("a frame of a type above 32 bits", forge.encrypted(&encrypted_frame(1 << 32 | 4, &content))),
        ("a later field beside the frame", forge.encrypted(&[&short[..], &[0x18, 1]].concat())),
        ("the frame before its type", forge.encrypted(&[&field(2, &content)[..], &[0x08, 4]].concat())),
        ("no frame", forge.encrypted(&[0x08, 4])),
        ("a kind of frame that a later version has", forge.frame(&field(6, &[]))),
        ("a later field in a message", forge.frame(&field(1, &[&field(1, b"x")[..], &[0x10, 1]].concat()))),
        ("two kinds of frame", forge.frame(&[&content[..], &handshake].concat())),
        ("a kind of frame twice", forge.frame(&content.repeat(2))),
        ("a message without bytes", forge.frame(&field(1, &[]))),
        ("a message under the hint of a handshake", forge.padded_under(handshake_hint, &padded(&short))),
        ("a handshake under the hint of a message", forge.frame(&handshake)),
        ("a request of most messages", forge.frame(&ask(MAX_GAP_REQUEST))),
        ("a request of more messages", forge.frame(&request(MAX_GAP_REQUEST + 1, 32))),
        ("a request of no message", forge.frame(&request(0, 32))),
        ("a request by an id of 31 bytes", forge.frame(&request(1, 31))),
        ("an answer in order", forge.frame(&GroupFrame::GapAnswer(answer).encode())),
        ("an answer without a message", forge.frame(&field(5, &field(1, &[7; 32])))),
        (
            "an answer by an id of 31 bytes",
            forge.frame(&field(5, &[field(1, &[7; 31]), field(2, b"x")].concat())),
        ),
    ]
}
