//! Groups whose ratchet tree is more than one part on disk: they become larger and smaller, and are the same to all members
//! whatever is read back.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // the seed is printed

mod common;

use common::{Device, Fault, Hub, assert_same_state, conversation};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use tertulia_mls::{ConversationId, EngineError};

/// With 32 nodes a part these are up to five parts.
const CROWD: usize = 64;

const ROUNDS: usize = 60;

/// Those who are in the group without being there.
struct Crowd {
    outside: Vec<Device>,
    inside: Vec<Device>,
}

impl Crowd {
    async fn new(hub: &Hub) -> Self {
        let mut outside = Vec::new();
        for n in 0..CROWD {
            outside.push(Device::new(hub, &format!("member {n}")).await);
        }
        Self { outside, inside: Vec::new() }
    }

    /// Adds so many and removes so many, by one commit of `member`.
    async fn change(&mut self, member: &mut Device, id: &ConversationId, add: usize, remove: usize) {
        let coming = self.outside.split_off(self.outside.len() - add.min(self.outside.len()));
        let going = self.inside.split_off(self.inside.len() - remove.min(self.inside.len()));
        let mut packages = Vec::new();
        for device in &coming {
            packages.push(device.key_package().await);
        }
        let leaving: Vec<_> = going.iter().map(Device::client_id).collect();
        if packages.is_empty() && leaving.is_empty() {
            return;
        }
        member.change(id, packages, &leaving).await.unwrap();
        self.inside.extend(coming);
        self.outside.extend(going);
    }
}

/// Decrypts a commit and lets go of it, as if the application had failed.
async fn read_and_abort(device: &mut Device, id: &ConversationId) {
    let cursor = device.cursors[id];
    if let Some(message) = device.hub.log_entry(id, cursor) {
        let mut tx = device.session.new_transaction().await.unwrap();
        tx.conversation(id).await.unwrap().decrypt_message(&message).unwrap();
        tx.abort();
    }
}

#[tokio::test]
async fn a_group_that_grows_and_shrinks_is_the_same_to_all_after_restarts_aborts_and_lost_answers() {
    let seed: u64 = std::env::var("SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (hub, id) = (Hub::new(), conversation());
    let mut crowd = Crowd::new(&hub).await;
    let mut members = Vec::new();
    for name in ["alice", "bob", "carol"] {
        members.push(Device::new(&hub, name).await);
    }
    members[0].create(&id).await;
    let [alice, bob, carol] = &mut members[..] else { unreachable!() };
    alice.add(&id, &mut [bob, carol]).await;
    alice.sync(&id).await;

    for round in 0..ROUNDS {
        let who = random.random_range(0..members.len());
        let (count, operation) = (random.random_range(1..24), random.random_range(0..8));
        println!("round {round}: {who} does {operation} with {count}, {} are in", crowd.inside.len());
        match operation {
            0..=2 => crowd.change(&mut members[who], &id, count, 0).await,
            3 | 4 => crowd.change(&mut members[who], &id, 0, count).await,
            5 => crowd.change(&mut members[who], &id, count / 2, count / 3).await,
            6 => {
                // The commit is pending over a restart: what it was compressed against has to be there.
                hub.fail_next(Fault::LoseAnswer);
                let lost = members[who].update(&id).await;
                assert!(matches!(lost, Err(EngineError::CommitOutcomeUnknown { .. })), "{lost:?}");
                let device = members.remove(who).restarted();
                members.insert(who, device);
            }
            _ => {
                // Wiped and joined again under the same id, from outside.
                let mut tx = members[who].session.new_transaction().await.unwrap();
                tx.wipe_conversation(&id).unwrap();
                tx.finish().await.unwrap();
                members[who].join_externally(&id).await.unwrap();
            }
        }
        members.shuffle(&mut random);
        read_and_abort(&mut members[0], &id).await;
        let mut other = members[1].second_session();
        other.sync(&id).await;
        for member in &mut members {
            member.sync(&id).await;
        }
        let restarted = members.pop().unwrap().restarted();
        members.push(restarted);
        assert_same_state(&id, &[&members[0], &members[1], &members[2], &other]);
        members[2].send(&id, "who is here?").await;
        for member in &mut members[..2] {
            assert_eq!(member.read(&id).await, ["who is here?"]);
        }
        members[2].sync(&id).await;
    }
}
