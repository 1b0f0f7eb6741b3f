//! The published vectors are what the crate writes, and what is inside is read by the engine and by the Double Ratchet.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, unreachable_pub)]
#[path = "../examples/support/engine.rs"]
mod engine;
#[allow(dead_code, unreachable_pub)]
#[path = "../examples/vectors.rs"]
mod vectors;

use std::{fs, path::Path};

use engine::Device;
use tertulia_content::MimiContent;
use tertulia_mls::KeyPackageSecrets;
use vectors::bytes;
use vodozemac::olm::{Account, OlmMessage, Session, SessionConfig};
use zeroize::Zeroizing;

#[test]
fn the_published_vectors_are_those_of_the_source() {
    for (name, current) in vectors::vectors() {
        let published =
            fs::read_to_string(Path::new(vectors::DIRECTORY).join(name)).expect("it is in the tree");
        assert!(
            published == current,
            "{name} is out of date: cargo run -p tertulia-conversation --example vectors"
        );
    }
}

#[tokio::test]
async fn the_messages_of_mls_in_the_vectors_are_read_by_the_engine() {
    for group in vectors::inner()["mls"].as_array().unwrap() {
        let reader = &group["reader"];
        let signature_key = (
            bytes(&reader["signature_secret"]).try_into().unwrap(),
            bytes(&reader["signature_key"]).try_into().unwrap(),
        );
        let device =
            Device::with_key(reader["client"].as_str().unwrap().to_owned(), signature_key).await.unwrap();
        let secrets = KeyPackageSecrets {
            init_key: Zeroizing::new(bytes(&reader["init_secret"])),
            encryption_key: Zeroizing::new(bytes(&reader["encryption_secret"])),
        };
        let id =
            device.join(&bytes(&reader["key_package"]), &secrets, &bytes(&group["welcome"])).await.unwrap();
        let (shared, epoch) = device.shared(&id).unwrap();
        assert_eq!(shared.as_slice(), bytes(&group["shared_secret"]));
        assert_eq!(group["epoch"], epoch);
        for message in group["messages"].as_array().unwrap() {
            let content = bytes(&message["content"]);
            assert_eq!(
                device.receive(&id, &bytes(&message["message"])).await.unwrap().as_ref(),
                Some(&content)
            );
            assert!(MimiContent::decode(&content).is_ok());
        }
        assert_eq!(device.receive(&id, &bytes(&group["commit"])).await.unwrap(), None);
        assert_eq!(device.shared(&id).unwrap().1, epoch + 1, "the commit is applied");
    }
}

#[test]
fn the_messages_of_the_double_ratchet_in_the_vectors_are_read_by_it() {
    let inner = vectors::inner();
    let ratchet = &inner["double_ratchet"];
    let mut invited =
        Account::from_pickle(serde_json::from_value(ratchet["invited"]["account"].clone()).unwrap());
    assert_eq!(invited.curve25519_key().to_bytes().as_slice(), bytes(&ratchet["invited"]["identity_key"]));
    let mut session: Option<Session> = None;
    for message in ratchet["messages"].as_array().unwrap() {
        let content = bytes(&message["content"]);
        let message = OlmMessage::from_parts(0, &bytes(&message["message"])).unwrap();
        let OlmMessage::PreKey(first) = &message else { panic!("nothing was answered before") };
        let read = if let Some(session) = &mut session {
            session.decrypt(&message).unwrap()
        } else {
            let begun = invited
                .create_inbound_session(SessionConfig::version_1(), first.identity_key(), first)
                .unwrap();
            session = Some(begun.session);
            begun.plaintext
        };
        assert_eq!(read, content);
    }
    let inviter = serde_json::from_value(ratchet["inviter"]["session"].clone()).unwrap();
    let answer = OlmMessage::from_parts(1, &bytes(&ratchet["answer"]["message"])).unwrap();
    assert_eq!(Session::from_pickle(inviter).decrypt(&answer).unwrap(), bytes(&ratchet["answer"]["content"]));
}
