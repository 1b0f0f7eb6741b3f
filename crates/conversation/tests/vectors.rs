//! The published vectors are what the crate writes, and what is inside is read by the engine and by the Double Ratchet.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, unreachable_pub)]
#[path = "../examples/support/engine.rs"]
mod engine;
#[allow(dead_code, unreachable_pub)]
#[path = "../examples/support/pairwise.rs"]
mod pairwise;
#[allow(dead_code, unreachable_pub)]
#[path = "../examples/vectors.rs"]
mod vectors;

use std::{fs, path::Path};

use engine::Device;
use pairwise::{PURPOSES, PairwiseDevice};
use tertulia_content::MimiContent;
use tertulia_conversation::{
    conversation_id,
    inbox::Bundle,
    types::{ConversationType as _, PrivateV1},
};
use tertulia_domain::{ConversationId, DeviceAddress};
use tertulia_mls::KeyPackageSecrets;
use tertulia_ratchet::{Context, RatchetError};
use vectors::bytes;
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
        assert_eq!(device.policy(&id).unwrap().map(hex::encode).as_deref(), group["policy"].as_str());
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

#[tokio::test]
async fn the_messages_of_the_double_ratchet_in_the_vectors_are_read_by_it() {
    let inner = vectors::inner();
    let ratchet = &inner["double_ratchet"];
    let creation_secret = bytes(&ratchet["creation_secret"]).try_into().unwrap();
    let conversation = conversation_id(PrivateV1::DESCRIPTOR.id, &creation_secret);
    let people = ["sender", "reader"].map(|who| &inner["people"][who]);
    let addresses: [DeviceAddress; 2] = people.map(|who| who["address"].as_str().unwrap().parse().unwrap());
    let keys = people.map(|who| {
        let bundle: Bundle = who["bundle"].as_str().unwrap().parse().unwrap();
        (bundle.content().devices[0].signature_key, bundle.content().devices[0].ratchet_key)
    });
    for turn in ratchet["turns"].as_array().unwrap() {
        let by = usize::try_from(turn["by"].as_u64().unwrap()).unwrap();
        let (from, to) = (&addresses[by], &addresses[1 - by]);
        let device = PairwiseDevice::restored(to.clone(), from, &turn["reader"]["state"]).await;
        for message in turn["messages"].as_array().unwrap() {
            let (content, bytes) = (bytes(&message["content"]), bytes(&message["message"]));
            let is_purpose = |number: u8| message["purpose"] == number;
            let (_, purpose) = PURPOSES.into_iter().find(|(number, _)| is_purpose(*number)).unwrap();
            let here = Context { conversation, purpose };
            // It is read nowhere else, and as nothing else.
            let elsewhere = Context { conversation: ConversationId::from_bytes([7; 16]), ..here };
            let refused = device.transaction(|r| r.decrypt(elsewhere, from, &bytes)).await;
            assert!(matches!(refused, Err(RatchetError::WrongContext { what: "conversation" })));
            for (_, other) in PURPOSES.into_iter().filter(|(number, _)| !is_purpose(*number)) {
                let as_other = Context { purpose: other, ..here };
                let refused = device.transaction(|r| r.decrypt(as_other, from, &bytes)).await;
                assert!(matches!(refused, Err(RatchetError::WrongContext { what: "purpose" })));
            }
            let read = device.transaction(|r| r.decrypt(here, from, &bytes)).await.unwrap();
            assert_eq!(read.content, content);
            assert_eq!(device.transaction(|r| r.keys_of(from)).await.unwrap(), Some(keys[by]));
            assert!(device.transaction(|r| r.decrypt(here, from, &bytes)).await.is_err(), "it is read once");
        }
    }
}
