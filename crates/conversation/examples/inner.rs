//! Makes what is inside the envelopes of the test vectors anew: `cargo run -p tertulia-conversation --example inner`, and then `--example vectors`.
//!
//! The engine and the Double Ratchet draw their own keys, so this is different each time; it is written once, into `docs/spec/vectors/inner.json`, with
//! the private keys of who can read it. A test reads it with both again.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, unreachable_pub)]
#[path = "support/engine.rs"]
mod engine;

use std::{fs, path::Path};

use engine::Device;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use tertulia_conversation::{
    conversation_id,
    types::{ConversationType as _, DirectV1, GroupV1, SelfV1, SubconversationV1, TypeId},
};
use tertulia_mls::ConversationId;
use vodozemac::olm::{Account, OlmMessage, Session, SessionConfig};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/spec/vectors/inner.json");
const CONTENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../content/tests/vectors");

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut groups = Vec::new();
    for of in [DirectV1::DESCRIPTOR, GroupV1::DESCRIPTOR, SelfV1::DESCRIPTOR, SubconversationV1::DESCRIPTOR] {
        groups.push(group(of.id).await?);
    }
    let inner = json!({ "mls": groups, "double_ratchet": double_ratchet() });
    fs::write(Path::new(FILE), format!("{inner:#}\n"))?;
    Ok(())
}

fn content(name: &str) -> Vec<u8> {
    fs::read(Path::new(CONTENTS).join(format!("{name}.cbor"))).unwrap()
}

/// A group of this type, of a creator at leaf 0, a member with whose keys the vector can be read, and a third.
async fn group(of: TypeId) -> tertulia_mls::Result<Value> {
    let random = &mut StdRng::from_rng(&mut rand::rng());
    let creation_secret: [u8; 32] = random.random();
    let id = ConversationId::from(conversation_id(of, &creation_secret).as_bytes());
    let (sender, reader) = (Device::new(1, random).await?, Device::new(2, random).await?);
    let third = Device::new(3, random).await?;
    let (package, secrets) = reader.key_package().await?;
    let welcome = sender.begin(&id, &[&package, &third.key_package().await?.0]).await?;
    let (shared, epoch) = sender.shared(&id)?;
    let contents: Vec<_> = ["original", "reply", "reaction"].map(content).into();
    let messages = sender.encrypt(&id, &contents).await?;
    let messages = messages.iter().zip(&contents);
    let messages =
        messages.map(|(bytes, says)| json!({ "message": hex::encode(bytes), "content": hex::encode(says) }));
    let messages: Vec<_> = messages.collect();
    Ok(json!({
        "conversation_type": of.number(),
        "creation_secret": hex::encode(creation_secret),
        "reader": {
            "client": reader.client,
            "signature_secret": hex::encode(reader.signature_key.0),
            "signature_key": hex::encode(reader.signature_key.1),
            "key_package": hex::encode(package.as_bytes()),
            "init_secret": hex::encode(&secrets.init_key),
            "encryption_secret": hex::encode(&secrets.encryption_key),
        },
        "welcome": hex::encode(welcome),
        "epoch": epoch,
        "shared_secret": hex::encode(shared),
        "messages": messages,
        "commit": hex::encode(sender.commit(&id).await?),
    }))
}

/// A session that somebody begins with keys of a bundle, and one answer.
fn double_ratchet() -> Value {
    let (inviter, mut invited) = (Account::new(), Account::new());
    invited.generate_one_time_keys(1);
    let one_time_key = *invited.one_time_keys().values().next().unwrap();
    invited.mark_keys_as_published();
    let before = serde_json::to_value(invited.pickle()).unwrap();

    let mut session = inviter
        .create_outbound_session(SessionConfig::version_1(), invited.curve25519_key(), one_time_key)
        .unwrap();
    // The last is for a renewal.
    let contents = [content("original"), content("reply"), rand::random::<[u8; 32]>().to_vec()];
    let messages = contents.map(|says| (bytes(&session.encrypt(&says).unwrap()), says));
    let messages =
        messages.map(|(bytes, says)| json!({ "message": hex::encode(bytes), "content": hex::encode(says) }));
    let inviters = serde_json::to_value(session.pickle()).unwrap();

    // The invited answers, which makes the first step of the ratchet.
    let OlmMessage::PreKey(first) = session.encrypt(b"").unwrap() else { panic!("nothing was answered") };
    let mut answering = invited
        .create_inbound_session(SessionConfig::version_1(), inviter.curve25519_key(), &first)
        .unwrap()
        .session;
    let says = content("edit");
    let answer = bytes(&answering.encrypt(&says).unwrap());
    // Nobody else could have read it.
    let mut again = Session::from_pickle(serde_json::from_value(inviters.clone()).unwrap());
    let answered = OlmMessage::from_parts(1, &answer).unwrap();
    assert_eq!(again.decrypt(&answered).unwrap(), says);

    json!({
        "invited": {
            "identity_secret": of_numbers(&before["diffie_hellman_key"]),
            "identity_key": hex::encode(invited.curve25519_key().to_bytes()),
            "one_time_secret": before["one_time_keys"]["private_keys"]
                .as_object().and_then(|keys| keys.values().next()).map(of_numbers),
            "one_time_key": hex::encode(one_time_key.to_bytes()),
            "account": before,
        },
        "messages": messages,
        "inviter": {
            "root_key": of_numbers(&inviters["sending_ratchet"]["active_ratchet"]["root_key"]),
            "ratchet_secret": of_numbers(&inviters["sending_ratchet"]["active_ratchet"]["ratchet_key"]),
            "session": inviters,
        },
        "answer": { "message": hex::encode(answer), "content": hex::encode(says) },
    })
}

fn bytes(message: &OlmMessage) -> Vec<u8> {
    message.to_parts().1
}

/// A key as the library's own format has it: 32 numbers.
fn of_numbers(key: &Value) -> String {
    let key: [u8; 32] = serde_json::from_value(key.clone()).unwrap();
    hex::encode(key)
}
