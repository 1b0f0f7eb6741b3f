//! What an observer of envelopes can learn: nothing that links two of them, and not which are commits.
//!
//! The messages and commits inside are those of the engine, as they are sent.
#![allow(clippy::unwrap_used)]

mod classifier;
mod common;
#[allow(dead_code, unreachable_pub)]
#[path = "../examples/support/engine.rs"]
mod engine;

use std::collections::HashSet;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use classifier::{Sample, chance, right};
use common::{Conversation, receive, seeded};
use engine::Device;
use rand::{RngExt as _, rngs::StdRng, seq::SliceRandom as _};
use tertulia_conversation::{
    EpochSecrets,
    types::GroupV1,
    wire::{EncryptedBytes, Envelope, GroupFrame},
};
use tertulia_mls::ConversationId as GroupId;

const CONVERSATIONS: usize = 20;
const EPOCHS: u64 = 30;
const ENVELOPES: usize = 10_000;

/// An envelope, and what only its members know of it.
struct Sent {
    envelope: Vec<u8>,
    /// The message of MLS in it.
    inside: Vec<u8>,
    is_commit: bool,
}

/// What must not be seen.
#[derive(Default)]
struct Secret {
    /// Bytes of ids and keys.
    long: HashSet<[u8; 16]>,
    epochs: HashSet<[u8; 8]>,
}

impl Secret {
    /// An id or a key, in each of the forms in which it might be written.
    fn add(&mut self, bytes: &[u8]) {
        let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
        for bytes in [bytes, &reversed] {
            let hex = hex::encode(bytes);
            let mut forms = vec![bytes.to_vec(), hex.to_uppercase().into_bytes(), hex.into_bytes()];
            // Base64, wherever the bytes begin in what is encoded.
            for inner in (0..3).map(|skipped| &bytes[skipped..]) {
                let whole = &inner[..inner.len() / 3 * 3];
                forms.extend([STANDARD, URL_SAFE].map(|form| form.encode(whole).into_bytes()));
            }
            self.long.extend(forms.iter().filter_map(|form| form.first_chunk().copied()));
        }
    }

    fn is_in(&self, bytes: &[u8]) -> bool {
        bytes
            .windows(16)
            .any(|window| window.try_into().is_ok_and(|window: [u8; 16]| self.long.contains(&window)))
            || bytes
                .windows(8)
                .any(|window| window.try_into().is_ok_and(|window: [u8; 8]| self.epochs.contains(&window)))
    }
}

/// The envelopes of all conversations, in the order in which a carrier might see them.
async fn send(random: &mut StdRng) -> (Vec<Sent>, Secret) {
    let sender = Device::new(&random.random(), random).await.unwrap();
    let others = [
        Device::new(&random.random(), random).await.unwrap(),
        Device::new(&random.random(), random).await.unwrap(),
    ];
    let mut secret = Secret::default();
    for device in [&sender, &others[0], &others[1]] {
        secret.add(&device.signature_key.1);
        secret.add(device.client.as_bytes());
    }
    secret.epochs.extend((1..=EPOCHS).flat_map(|epoch| [epoch.to_be_bytes(), epoch.to_le_bytes()]));

    let mut all = Vec::new();
    let messages = ENVELOPES / CONVERSATIONS - usize::try_from(EPOCHS).unwrap();
    for _ in 0..CONVERSATIONS {
        let mut conversation = Conversation::new::<GroupV1>(2, random);
        secret.add(conversation.id.as_bytes());
        let group = GroupId::from(conversation.id.as_bytes());
        let (first, second) =
            (others[0].key_package().await.unwrap(), others[1].key_package().await.unwrap());
        sender.begin(&group, &[&first.0, &second.0], None).await.unwrap();
        for number in 0..EPOCHS {
            let (shared, epoch) = sender.shared(&group).unwrap();
            conversation.epoch.epoch = epoch;
            conversation.secrets = EpochSecrets::derive(&shared, &conversation.epoch);
            (0..2).for_each(|member| conversation.enter(member));
            let at =
                |number: u64| usize::try_from(number).unwrap() * messages / usize::try_from(EPOCHS).unwrap();
            let contents = (at(number)..at(number + 1)).map(|_| vec![b'x'; random.random_range(1..1500)]);
            let said = sender.encrypt(&group, &contents.collect::<Vec<_>>()).await.unwrap();
            let commit = sender.commit(&group).await.unwrap();
            let said = said.into_iter().map(|inside| (inside, false));
            for (inside, is_commit) in said.chain([(commit, true)]) {
                let frame = if is_commit {
                    GroupFrame::Handshake(inside.clone())
                } else {
                    GroupFrame::Content(inside.clone())
                };
                let envelope = conversation.send::<GroupV1>(0, &frame, random);
                assert_eq!(receive::<GroupV1>(&mut conversation.members[1], &envelope), Some(frame));
                all.push(Sent { envelope, inside, is_commit });
            }
        }
    }
    all.shuffle(random);
    (all, secret)
}

#[tokio::test]
async fn envelopes_tell_neither_their_conversation_nor_a_commit_from_a_message() {
    let random = &mut seeded();
    let (all, secret) = send(random).await;
    assert_eq!(all.len(), ENVELOPES);

    let (mut hints, mut key_salts) = (HashSet::new(), HashSet::new());
    for Sent { envelope, inside, .. } in &all {
        // The search finds what MLS shows.
        assert!(secret.is_in(inside));
        assert!(!secret.is_in(envelope));
        let envelope = Envelope::decode(envelope).decoded().unwrap();
        assert!(hints.insert(envelope.hint), "a hint repeats");
        let EncryptedBytes::EpochSealed { key_salt, .. } = envelope.body else {
            panic!("all have one scheme")
        };
        assert!(key_salts.insert(key_salt), "a key salt repeats");
    }

    // Commits, and as many messages of the size class in which most commits are.
    let length = |sent: &&Sent| sent.envelope.len();
    let mut lengths: Vec<_> = all.iter().filter(|sent| sent.is_commit).map(|sent| length(&sent)).collect();
    lengths.sort_unstable();
    let usual = lengths[lengths.len() / 2];
    let of = |is_commit| all.iter().filter(move |sent| sent.is_commit == is_commit && length(sent) == usual);
    let count = of(true).count().min(of(false).count());
    assert!(count >= 500, "{count} commits and messages of one size class");
    let sample: Vec<_> = of(true).take(count).chain(of(false).take(count)).collect();
    let mut order: Vec<_> = (0..sample.len()).collect();
    order.shuffle(random);
    // What an observer sees of each if this is what it is shown.
    let tell = |see: &mut dyn FnMut(&Sent) -> Vec<u8>| {
        let seen =
            order.iter().map(|at| Sample { bytes: see(sample[*at]), is_commit: sample[*at].is_commit });
        let (known, asked): (Vec<_>, Vec<_>) =
            seen.enumerate().partition(|(number, _)| number.is_multiple_of(2));
        let strip =
            |part: Vec<(usize, Sample)>| part.into_iter().map(|(_, sample)| sample).collect::<Vec<_>>();
        right(&strip(known), &strip(asked))
    };

    let chance = chance(count);
    let guessed = tell(&mut |sent| sent.envelope.clone());
    println!("{guessed} of {count} told apart, by chance at most {chance}");
    assert!(guessed <= chance, "{guessed} of {count} were told apart");

    // It does tell them apart where there is something to tell them by: what MLS shows; lengths, without padding; one bit.
    let bare = tell(&mut |sent| sent.inside.clone());
    let unpadded = tell(&mut |sent| sent.envelope[..77 + sent.inside.len()].to_vec());
    let bit = tell(&mut |sent| {
        let mut envelope = sent.envelope.clone();
        envelope[50] = (envelope[50] & !4) | if sent.is_commit { 4 } else { 0 };
        envelope
    });
    println!("bare {bare}, unpadded {unpadded}, by a bit {bit}");
    for told in [bare, unpadded, bit] {
        assert!(told > chance, "{told} of {count}: the classifier is too weak");
    }
    // And one that is right in three cases of four only.
    let faint = tell(&mut |sent| {
        let mut envelope = sent.envelope.clone();
        let shown = sent.is_commit == random.random_bool(0.75);
        envelope[50] = (envelope[50] & !4) | if shown { 4 } else { 0 };
        envelope
    });
    assert!(faint > chance, "{faint} of {count}: the classifier is too weak");
}
