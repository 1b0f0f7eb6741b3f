//! Makes what is inside the envelopes of the test vectors anew: `cargo run -p tertulia-conversation --example inner`, and then `--example vectors`.
//!
//! The engine and the Double Ratchet draw their own keys, so this is different each time; it is written once, into `docs/spec/vectors/inner.json`, with
//! the private keys of who can read it. A test reads it with both again.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, unreachable_pub)]
#[path = "support/engine.rs"]
mod engine;
#[allow(dead_code, unreachable_pub)]
#[path = "support/pairwise.rs"]
mod pairwise;

use std::{fs, path::Path};

use ed25519_dalek::SigningKey;
use engine::Device;
use pairwise::{PURPOSES, PairwiseDevice, Pen};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use tertulia_api::policy::encode;
use tertulia_content::{MessageId, MessageStatus, MimiContent};
use tertulia_conversation::{
    conversation_id,
    inbox::{Bundle, BundleContent, BundleDevice, BundleKey, InboxKey, device_address, user_id},
    types::{ConversationType as _, DirectV1, GroupV1, PrivateV1, SelfV1, SubconversationV1, TypeId},
};
use tertulia_domain::{
    ConversationId, ConversationType, DeviceAddress, Role,
    policy::{Pair, Policy},
};
use tertulia_mls::{KeyPackage, KeyPackageSecrets};
use tertulia_ratchet::{BundleKeys, Context, VerifiedKeys};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/spec/vectors/inner.json");
const CONTENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../content/tests/vectors");

/// When everything happens, in seconds since 1970.
const NOW: u64 = 1_800_000_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let random = &mut StdRng::from_rng(&mut rand::rng());
    let (sender, reader) = (Person::new(random), Person::new(random));
    let devices = [sender.pairwise(), reader.pairwise()];
    let mut bundles = Vec::new();
    let mut package = None;
    for (person, device) in [&sender, &reader].into_iter().zip(&devices) {
        let made = person.engine().await?.key_package().await?;
        let now = i64::try_from(NOW)? * 1000;
        let keys = device.transaction(|r| r.bundle_keys(1, &Pen(person.device.clone()), now)).await?;
        bundles.push((person.bundle(&keys, &made.0), keys));
        package = Some(made);
    }
    let package = package.expect("there are two people");
    let creation_secret: [u8; 32] = random.random();
    let met = conversation_id(PrivateV1::DESCRIPTOR.id, &creation_secret);
    let keys = [&bundles[0].1, &bundles[1].1];
    let talk = Talk { conversation: met, people: [&sender, &reader], devices: &devices };
    let turns = talk.turns(keys, &bundles[0].0, random).await?;
    let mut groups = Vec::new();
    for of in [DirectV1::DESCRIPTOR, GroupV1::DESCRIPTOR, SelfV1::DESCRIPTOR, SubconversationV1::DESCRIPTOR] {
        groups.push(group(of.id, (&sender, &reader), &package, met, random).await?);
    }
    let inner = json!({
        "people": { "sender": sender.written(&bundles[0].0), "reader": reader.written(&bundles[1].0) },
        "double_ratchet": { "creation_secret": hex::encode(creation_secret), "turns": turns },
        "mls": groups,
    });
    fs::write(Path::new(FILE), format!("{inner:#}\n"))?;
    Ok(())
}

fn content(name: &str) -> Vec<u8> {
    fs::read(Path::new(CONTENTS).join(format!("{name}.cbor"))).unwrap()
}

/// Somebody with one device.
struct Person {
    identity: SigningKey,
    device: SigningKey,
    inbox_key: InboxKey,
}

impl Person {
    fn new(random: &mut StdRng) -> Self {
        let mut key = || SigningKey::from_bytes(&random.random());
        let (identity, device) = (key(), key());
        Self { identity, device, inbox_key: InboxKey::generate(random) }
    }

    fn identity_key(&self) -> [u8; 32] {
        self.identity.verifying_key().to_bytes()
    }

    fn address(&self) -> DeviceAddress {
        device_address(&self.identity_key(), &self.device.verifying_key().to_bytes())
    }

    fn pairwise(&self) -> PairwiseDevice {
        PairwiseDevice::new(&self.identity_key(), &self.device.verifying_key().to_bytes())
    }

    async fn engine(&self) -> tertulia_mls::Result<Device> {
        Device::of(&self.identity_key(), &self.device.to_bytes()).await
    }

    fn bundle(&self, keys: &BundleKeys, key_package: &KeyPackage) -> Bundle {
        let key = |key: &[u8; 32]| BundleKey::sign(*key, &keys.identity_key, &self.device).unwrap();
        let content = BundleContent {
            identity_key: self.identity_key(),
            expires: NOW + 86_400,
            devices: vec![BundleDevice {
                signature_key: self.device.verifying_key().to_bytes(),
                inbox_key: self.inbox_key.public(),
                ratchet_key: keys.identity_key,
                one_time_keys: keys.one_time_keys.iter().map(key).collect(),
                fallback_key: key(&keys.fallback_key),
                key_package: key_package.as_bytes().to_vec(),
            }],
        };
        Bundle::sign(&content, &self.identity).unwrap()
    }

    fn written(&self, bundle: &Bundle) -> Value {
        json!({
            "identity_secret": hex::encode(self.identity.to_bytes()),
            "signature_secret": hex::encode(self.device.to_bytes()),
            "inbox_secret": hex::encode(self.inbox_key.secret().as_slice()),
            "address": self.address().to_string(),
            "bundle": bundle.to_string(),
        })
    }
}

/// A group of this type, of a creator at leaf 0, a member with whose keys the vector can be read, and a third device.
async fn group(
    of: TypeId,
    (sender, reader): (&Person, &Person),
    shown: &(KeyPackage, KeyPackageSecrets),
    met: ConversationId,
    random: &mut StdRng,
) -> tertulia_mls::Result<Value> {
    let creation_secret: [u8; 32] = random.random();
    let id = conversation_id(of, &creation_secret);
    let (creator, third) = (sender.identity_key(), random.random());
    // Whose the second and the third device are.
    let (second, third) = match of {
        of if of == SelfV1::DESCRIPTOR.id => (creator, creator),
        of if of == DirectV1::DESCRIPTOR.id => (reader.identity_key(), reader.identity_key()),
        _ => (reader.identity_key(), third),
    };
    let [first_user, second_user, third_user] = [creator, second, third].map(|key| user_id(&key));
    let carriers = vec!["https://relay.example/".to_owned()];
    let policies = match of {
        of if of == DirectV1::DESCRIPTOR.id => {
            let pair = Pair { continues: met, times: 1 };
            let policy = Policy::of_two(id, pair, [first_user, second_user]).unwrap().with_carriers(carriers);
            Some([policy.clone(), policy])
        }
        of if of == GroupV1::DESCRIPTOR.id => {
            let alone = Policy::new(id, ConversationType::Group, first_user).unwrap().with_carriers(carriers);
            let together = alone.clone().with_members([second_user, third_user], &Role::MEMBER);
            Some([alone, together])
        }
        _ => None,
    };
    let group = tertulia_mls::ConversationId::from(id.as_bytes());
    let sender = sender.engine().await?;
    // A further device of one's own is no device of the bundle.
    let own;
    let (reader, (package, secrets)) = if second == creator {
        let device = Device::new(&second, random).await?;
        own = device.key_package().await?;
        (device, &own)
    } else {
        (reader.engine().await?, shown)
    };
    let third = Device::new(&third, random).await?;
    let members = [package, &third.key_package().await?.0];
    let encoded = policies.map(|policies| policies.map(|policy| encode(&policy)));
    let welcome = sender.begin(&group, &members, encoded).await?;
    let policy = sender.policy(&group)?;
    let (shared, epoch) = sender.shared(&group)?;
    let contents: Vec<_> = ["original", "reply", "reaction"].map(content).into();
    let messages = sender.encrypt(&group, &contents).await?;
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
        "policy": policy.map(hex::encode),
        "epoch": epoch,
        "shared_secret": hex::encode(shared),
        "messages": messages,
        "commit": hex::encode(sender.commit(&group).await?),
    }))
}

/// The purpose of a message, and its content.
type Said = (u8, Vec<u8>);

/// Two devices and the conversation that they have by the Double Ratchet.
struct Talk<'a> {
    conversation: ConversationId,
    people: [&'a Person; 2],
    devices: &'a [PairwiseDevice; 2],
}

impl Talk<'_> {
    /// What the two say in turn, each time with the keys that can read it: the invitation, the other's acceptance, contents with a renewal behind them, and an
    /// answer in the next epoch.
    async fn turns(
        &self,
        [_, invited]: [&BundleKeys; 2],
        renewed: &Bundle,
        random: &mut StdRng,
    ) -> tertulia_ratchet::Result<Vec<Value>> {
        let keys = VerifiedKeys {
            address: self.people[1].address(),
            signature_key: self.people[1].device.verifying_key().to_bytes(),
            identity_key: invited.identity_key,
            key: invited.one_time_keys[0],
        };
        self.devices[0].transaction(|r| r.begin_verified_session(&keys)).await?;
        let read =
            MimiContent::status_report(&[(MessageId::from_bytes([1; 32]).unwrap(), MessageStatus::Read)]);
        let renewal = [&random.random::<[u8; 32]>()[..], renewed.as_bytes()].concat();
        let turns: [(usize, Vec<Said>); 4] = [
            (0, vec![(1, Vec::new())]),
            (1, vec![(3, Vec::new())]),
            (0, vec![(1, content("original")), (3, read.encode().unwrap()), (4, renewal)]),
            (1, vec![(1, content("edit"))]),
        ];
        let mut written = Vec::new();
        for (by, says) in turns {
            written.push(self.turn(by, says).await?);
        }
        Ok(written)
    }

    async fn turn(&self, by: usize, says: Vec<Said>) -> tertulia_ratchet::Result<Value> {
        let (from, to) = (&self.devices[by], &self.devices[1 - by]);
        let mut reader = json!({ "state": to.state(&from.address) });
        let state = &reader["state"];
        let keys = if let Some(session) = state["sessions"].get(0) {
            let own = &session["state"]["sending_ratchet"]["active_ratchet"];
            [("root_key", of_numbers(&own["root_key"])), ("ratchet_secret", of_numbers(&own["ratchet_key"]))]
        } else {
            let account = &state["account"]["account"];
            let one_time_keys = account["one_time_keys"]["private_keys"].as_object().unwrap();
            let one_time_key = one_time_keys.values().next().unwrap();
            [
                ("identity_secret", of_numbers(&account["diffie_hellman_key"])),
                ("one_time_secret", of_numbers(one_time_key)),
            ]
        };
        for (name, key) in keys {
            reader[name] = key.into();
        }
        let mut messages = Vec::new();
        for (number, content) in says {
            let (_, purpose) = PURPOSES.into_iter().find(|(of, _)| *of == number).unwrap();
            let context = Context { conversation: self.conversation, purpose };
            let message = from.transaction(|r| r.encrypt(context, &to.address, &content)).await?;
            let read = to.transaction(|r| r.decrypt(context, &from.address, &message)).await?;
            assert_eq!(read.content, content);
            messages.push(json!({
                "purpose": number,
                "content": hex::encode(content),
                "message": hex::encode(message),
            }));
        }
        Ok(json!({ "by": by, "reader": reader, "messages": messages }))
    }
}

/// A key as the library's own format has it: 32 numbers.
fn of_numbers(key: &Value) -> String {
    let key: [u8; 32] = serde_json::from_value(key.clone()).unwrap();
    hex::encode(key)
}
