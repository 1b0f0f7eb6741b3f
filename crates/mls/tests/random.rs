//! A random life of a conversation: five devices that send, join, leave, crash and lose answers.
//!
//! A failure prints the seed; `SEED=… cargo nextest run -p tertulia-mls a_random_life` replays it.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::HashMap;

use common::{Device, Fault, Hub, assert_same_state, conversation};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tertulia_mls::{
    CommitOptions, ConversationId, EngineError, MlsConversationDecryptMessage, Outcome, Settlement,
};

const NAMES: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];
const STEPS: usize = 120;

struct World {
    hub: Hub,
    id: ConversationId,
    devices: Vec<Device>,
    /// Where in the log each device's membership begins: what is before cannot be expected to be readable.
    since: Vec<usize>,
    /// The application messages in the log, by place.
    texts: HashMap<usize, String>,
    sent: usize,
}

#[tokio::test]
async fn a_random_life_ends_in_one_state_with_every_message_read_once() {
    let seed = std::env::var("SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let hub = Hub::new();
    let mut devices = Vec::new();
    for name in NAMES {
        devices.push(Device::new(&hub, name).await);
    }
    let id = conversation();
    devices[0].create(&id).await;
    devices[0].update(&id).await.unwrap();
    let since = vec![0; NAMES.len()];
    let mut world = World { hub, id, devices, since, texts: HashMap::new(), sent: 0 };
    for _ in 0..STEPS {
        world.step(&mut random).await;
    }
    world.end().await;
}

impl World {
    async fn step(&mut self, random: &mut StdRng) {
        let who = random.random_range(0..self.devices.len());
        let fault = match random.random_range(0..10) {
            0 | 1 => Some(Fault::LoseAnswer),
            2 | 3 => Some(Fault::LoseCommit),
            4 => Some(Fault::Refuse),
            _ => None,
        };
        match random.random_range(0..14) {
            0..=3 => self.send(who).await,
            4 | 5 => {
                if self.ready(who).await {
                    self.fail(fault);
                    let updated = self.devices[who].update_with(&self.id, CommitOptions::default()).await;
                    Self::tolerate(updated);
                }
            }
            6 => {
                let other = random.random_range(0..self.devices.len());
                if self.ready(who).await && !self.is_member(other) {
                    let package = self.devices[other].key_package().await;
                    self.fail(fault);
                    let added = self.devices[who].change(&self.id, vec![package], &[]).await;
                    Self::tolerate(added);
                    self.try_welcome(other).await;
                }
            }
            7 => {
                if self.ready(who).await {
                    let own = self.devices[who].client_id();
                    let others: Vec<_> = self.devices[who]
                        .members(&self.id)
                        .into_iter()
                        .filter(|member| *member != own)
                        .collect();
                    if others.len() > 1 {
                        let other = others[random.random_range(0..others.len())].clone();
                        self.fail(fault);
                        let removed = self.devices[who].change(&self.id, vec![], &[other]).await;
                        Self::tolerate(removed);
                    }
                }
            }
            8 | 9 => {
                self.fail(fault);
                let joined = self.devices[who].join_externally(&self.id).await;
                if joined.is_ok() {
                    self.since[who] = self.hub.log_len(&self.id);
                } else if !self.is_member(who) && !matches!(joined, Err(EngineError::PendingCommit { .. })) {
                    self.since[who] = usize::MAX;
                }
                Self::tolerate(joined);
            }
            10 => {
                let device = self.devices.remove(who).restarted();
                self.devices.insert(who, device);
            }
            11 => {
                let other = random.random_range(0..self.devices.len());
                if self.ready(who).await && who != other && self.is_member(other) {
                    let client = self.devices[other].client_id();
                    if self.devices[who].members(&self.id).contains(&client) {
                        self.hub.propose_removal(&self.id, &client);
                    }
                }
            }
            _ => self.sync(who).await,
        }
        self.hub.heal();
    }

    fn fail(&self, fault: Option<Fault>) {
        if let Some(fault) = fault {
            self.hub.fail_next(fault);
        }
    }

    fn is_member(&self, who: usize) -> bool {
        self.devices[who].session.conversation_exists(&self.id).unwrap()
    }

    /// A commit may lose, or stay in doubt, or meet one in doubt, or add somebody who is there already.
    fn tolerate(result: Result<(), EngineError>) {
        match result {
            Ok(())
            | Err(
                EngineError::CommitRejected(_)
                | EngineError::CommitOutcomeUnknown { .. }
                | EngineError::PendingCommit { .. }
                | EngineError::InvalidKeyPackage(_),
            ) => {}
            Err(error) => panic!("{error:?}"),
        }
    }

    async fn send(&mut self, who: usize) {
        if self.ready(who).await {
            let text = format!("{} says {}", NAMES[who], self.sent);
            self.sent += 1;
            self.texts.insert(self.hub.log_len(&self.id), text.clone());
            self.devices[who].send(&self.id, &text).await;
        }
    }

    /// A member that has read everything, and has neither a commit in doubt nor proposals to commit.
    async fn ready(&mut self, who: usize) -> bool {
        for _ in 0..10 {
            self.sync(who).await;
            if self.devices[who].session.pending_commit(&self.id).unwrap().is_some() {
                self.settle(who).await;
            } else if !self.is_member(who) {
                return false;
            } else if self.devices[who].session.conversation(&self.id).unwrap().pending_proposals() == 0 {
                return true;
            } else if !self.commit_proposals(who).await {
                return false;
            }
        }
        panic!("{} does not settle", NAMES[who]);
    }

    /// Commits the hub's proposals, unless one of them is about this device.
    async fn commit_proposals(&mut self, who: usize) -> bool {
        let mut tx = self.devices[who].session.new_transaction().await.unwrap();
        let mut guard = tx.conversation(&self.id).await.unwrap();
        match guard.commit_pending_proposals_with(CommitOptions::default()).await {
            Ok(Some(_)) => true,
            Err(EngineError::OwnRemovalPending) => false,
            other => panic!("{other:?}"),
        }
    }

    async fn settle(&mut self, who: usize) {
        let hub_epoch = self.hub.epoch(&self.id);
        let mut tx = self.devices[who].session.new_transaction().await.unwrap();
        let mut guard = tx.conversation(&self.id).await.unwrap();
        let is_join = guard.pending_commit().unwrap().unwrap().is_join;
        match guard.settle_pending(hub_epoch).await {
            Ok(Settlement::Merged(_)) if is_join => self.since[who] = self.hub.log_len(&self.id),
            Ok(Settlement::Merged(_) | Settlement::AwaitLog { .. }) => {}
            other => panic!("{other:?}"),
        }
    }

    async fn sync(&mut self, who: usize) {
        self.try_welcome(who).await;
        loop {
            let device = &mut self.devices[who];
            let place = device.cursors.get(&self.id).copied().unwrap_or_default();
            let Some(message) = self.hub.log_entry(&self.id, place) else { return };
            match device.decrypt(&self.id, &message).await {
                Ok(result) => {
                    device.cursors.insert(self.id.clone(), place + 1);
                    self.check(who, place, &result);
                }
                // Not a member, and nothing pending: the log is not for this device.
                Err(EngineError::ConversationNotFound(_)) => return,
                Err(error) => panic!("{} at {place}: {error:?}", NAMES[who]),
            }
        }
    }

    fn check(&mut self, who: usize, place: usize, result: &MlsConversationDecryptMessage) {
        if result.outcome == Outcome::OwnCommitMerged && result.external_join {
            self.since[who] = place + 1;
        }
        let Some(text) = self.texts.get(&place) else { return };
        if text.starts_with(NAMES[who]) && result.outcome == Outcome::OwnMessage || place < self.since[who] {
            return;
        }
        assert_eq!(result.outcome, Outcome::Application, "{} cannot read {place}", NAMES[who]);
        assert_eq!(result.app_msg.as_deref(), Some(text.as_bytes()));
    }

    /// Joins by a Welcome if there is one that opens.
    async fn try_welcome(&mut self, who: usize) {
        let device = &mut self.devices[who];
        if device.session.conversation_exists(&self.id).unwrap() {
            return;
        }
        let Some((welcome, behind_commit)) = self.hub.newest_welcome(&self.id) else { return };
        let mut tx = device.session.new_transaction().await.unwrap();
        match tx.process_welcome(&welcome) {
            Ok(_) => {
                tx.finish().await.unwrap();
                device.cursors.insert(self.id.clone(), behind_commit);
                self.since[who] = behind_commit;
            }
            Err(EngineError::KeyPackageNotFound) => {}
            Err(error) => panic!("{error:?}"),
        }
    }

    async fn end(&mut self) {
        // First all commits in doubt are settled and all proposals committed, which may remove somebody; then all come
        // together.
        for _ in 0..2 {
            for who in 0..self.devices.len() {
                self.ready(who).await;
            }
        }
        for who in 0..self.devices.len() {
            if !self.ready(who).await {
                self.devices[who].join_externally(&self.id).await.unwrap();
                self.since[who] = self.hub.log_len(&self.id);
            }
        }
        for who in 0..self.devices.len() {
            self.send(who).await;
        }
        for who in 0..self.devices.len() {
            assert!(self.ready(who).await);
        }
        assert_same_state(&self.id, &self.devices.iter().collect::<Vec<_>>());
    }
}
