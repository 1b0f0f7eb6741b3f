//! A conversation's life: bytes are read as a sequence of operations of several devices.
//!
//! Three bytes are one operation: what, who, how. The hub orders commits, so that there is one history. After each
//! operation devices in the same epoch are in the same state, and after an error a device is where it was; in the end all
//! who have read the log are in the hub's epoch.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, HashMap},
};

use tertulia_mls::{
    ClientId, CommitOptions, EngineError, MlsConversationConfiguration, MlsConversationDecryptMessage,
    Outcome, VerifiableGroupInfo,
};
use tokio::runtime::Runtime;

use crate::{
    device::{Device, Inside, conversation},
    hub::{Hub, Mood},
    world::runtime,
};

const DEVICES: u8 = 3;

/// Bytes of one operation.
const STEP: usize = 3;

/// Operations of one life; what follows is ignored.
const MAX_STEPS: usize = 40;

struct Member {
    device: Device,
    /// How far it has read the log.
    cursor: usize,
}

struct Life {
    hub: Hub,
    members: Vec<Member>,
    /// The authenticator of each epoch that a device was seen in.
    authenticators: BTreeMap<u64, Vec<u8>>,
    /// Who sent each text.
    sent: HashMap<Vec<u8>, usize>,
}

/// Lives it.
pub fn life(input: &[u8]) {
    thread_local! {
        static BEGINNING: OnceCell<(Runtime, Vec<Device>)> = const { OnceCell::new() };
    }
    BEGINNING.with(|beginning| {
        let (runtime, devices) = beginning.get_or_init(|| {
            let runtime = runtime();
            let devices = runtime.block_on(first_devices());
            (runtime, devices)
        });
        let hub = Hub::default();
        let members = devices.iter().map(|device| Member { device: device.copy(&hub), cursor: 0 }).collect();
        let mut life = Life { hub, members, authenticators: BTreeMap::new(), sent: HashMap::new() };
        runtime.block_on(async {
            // A copied home updates its keys before it sends; and the hub gets a group info.
            life.change(0, &[], &[]).await.expect("the hub is fair");
            for step in input.chunks_exact(STEP).take(MAX_STEPS) {
                life.step(step[0], usize::from(step[1] % DEVICES), step[2]).await;
                life.check();
            }
            life.end().await;
        });
    });
}

/// The first of them has made the conversation, and is alone in it.
async fn first_devices() -> Vec<Device> {
    let hub = Hub::default();
    let mut devices = Vec::new();
    for number in 0..DEVICES {
        devices.push(Device::new(&hub, number).await);
    }
    let creator = &devices[0];
    let mut tx = creator.session.new_transaction().await.expect("nobody else writes");
    let config = MlsConversationConfiguration::default();
    tx.new_conversation(&conversation(), &creator.credential, config).expect("the first conversation");
    tx.finish().await.expect("the disk works");
    devices
}

impl Life {
    async fn step(&mut self, what: u8, who: usize, how: u8) {
        let before = self.state(who);
        let other = usize::from(how) % self.members.len();
        self.hub.set_mood(match how / 64 {
            0 => Mood::Fair,
            1 => Mood::AnswerLost,
            2 => Mood::CommitLost,
            _ => Mood::Strict,
        });
        let result = match what % 15 {
            0 => self.send(who).await,
            1 | 2 => self.read(who).await,
            // Out of order, or again.
            3 => self.receive(who, usize::from(how), None).await,
            4 => self.receive(who, self.members[who].cursor, Some(how)).await,
            5 => self.change(who, &[], &[]).await,
            6 => self.change(who, &[other], &[]).await,
            7 => self.change(who, &[], &[other]).await,
            8 => self.change(who, &[other], &[usize::from(how / 3) % self.members.len()]).await,
            9 => {
                self.members[who].device.restart();
                Ok(())
            }
            10 => self.welcome(who).await,
            11 => self.join(who).await,
            12 => self.settle(who).await,
            13 => self.abort(who, how).await,
            _ => self.propose(who, other, how).await,
        };
        self.hub.set_mood(Mood::Fair);
        if let Err(error) = result {
            assert_eq!(self.state(who), before, "after {error:?}");
        }
    }

    /// Epoch and authenticator on disk, if it is a member.
    fn state(&self, who: usize) -> Option<(u64, Vec<u8>)> {
        match self.members[who].device.session.conversation(&conversation()) {
            Ok(view) => Some((view.epoch(), view.epoch_authenticator().expect("the state is whole"))),
            Err(EngineError::ConversationNotFound(_)) => None,
            Err(error) => panic!("{error:?}"),
        }
    }

    fn check(&mut self) {
        for who in 0..self.members.len() {
            let Some((epoch, authenticator)) = self.state(who) else { continue };
            assert!(epoch <= self.hub.state().epoch, "a device is ahead of the hub");
            let known = self.authenticators.entry(epoch).or_insert_with(|| authenticator.clone());
            assert_eq!(*known, authenticator, "two states in epoch {epoch}");
        }
    }

    async fn send(&mut self, who: usize) -> Result<(), EngineError> {
        let text = format!("{who}: {}", self.sent.len()).into_bytes();
        let mut tx = self.members[who].device.session.new_transaction().await?;
        let bytes = tx.conversation(&conversation()).await?.encrypt_message(&text)?;
        tx.finish().await?;
        self.sent.insert(text, who);
        self.hub.state().log.push(bytes);
        Ok(())
    }

    /// Reads the next of the log.
    async fn read(&mut self, who: usize) -> Result<(), EngineError> {
        let place = self.members[who].cursor;
        if place < self.hub.state().log.len() {
            self.receive(who, place, None).await?;
            self.members[who].cursor = place + 1;
        }
        Ok(())
    }

    /// Receives the message at a place of the log, perhaps damaged. Whatever comes of it is kept.
    async fn receive(&mut self, who: usize, place: usize, damage: Option<u8>) -> Result<(), EngineError> {
        let Some(mut message) = self.hub.state().log.get(place).cloned() else { return Ok(()) };
        if let Some(damage) = damage {
            // Every eighth of the message, the header more often.
            let at = usize::from(damage % 32).pow(2) * message.len() / 1024;
            message[at] ^= 1 << (damage / 32);
        }
        let mut tx = self.members[who].device.session.new_transaction().await?;
        let mut guard = tx.conversation(&conversation()).await?;
        let before = Inside::of(&mut guard);
        let result = guard.decrypt_message(&message);
        if let Err(error) = &result {
            assert_eq!(Inside::of(&mut guard), before, "after {error:?}");
        }
        tx.finish().await?;
        let result = result?;
        self.check_texts(&result);
        // What a commit left out is proposed again.
        self.hub.state().log.extend(result.proposals.iter().map(|renewed| renewed.proposal.clone()));
        if result.outcome == Outcome::OwnCommitMerged && result.external_join {
            self.members[who].cursor = place;
        }
        Ok(())
    }

    fn check_texts(&self, result: &MlsConversationDecryptMessage) {
        self.check_text(result.app_msg.as_deref(), result.sender_client_id.as_ref());
        for freed in result.buffered_messages.iter().flatten() {
            self.check_text(freed.app_msg.as_deref(), freed.sender_client_id.as_ref());
        }
    }

    fn check_text(&self, text: Option<&[u8]>, sender: Option<&ClientId>) {
        if let Some(text) = text
            && text != b"with a commit"
        {
            let author = self.sent.get(text).expect("nobody reads what nobody sent");
            assert_eq!(sender, Some(self.members[*author].device.client_id()));
        }
    }

    async fn change(&mut self, who: usize, add: &[usize], remove: &[usize]) -> Result<(), EngineError> {
        let mut packages = Vec::new();
        for other in add {
            packages.push(self.members[*other].device.key_package().await);
        }
        let remove: Vec<_> =
            remove.iter().map(|other| self.members[*other].device.client_id().clone()).collect();
        let options = CommitOptions::with_message("with a commit");
        let mut tx = self.members[who].device.session.new_transaction().await?;
        let mut guard = tx.conversation(&conversation()).await?;
        if packages.is_empty() && remove.is_empty() {
            guard.update_key_material_with(options).await?;
        } else {
            guard.change_members(packages, &remove, options).await?;
        }
        Ok(())
    }

    /// Proposes something, which goes to the log at once.
    async fn propose(&mut self, who: usize, other: usize, how: u8) -> Result<(), EngineError> {
        let package = self.members[other].device.key_package().await;
        let client = self.members[other].device.client_id().clone();
        let mut tx = self.members[who].device.session.new_transaction().await?;
        let proposed = match how / 3 % 3 {
            0 => tx.new_add_proposal(&conversation(), package).await?,
            1 => tx.new_remove_proposal(&conversation(), client).await?,
            _ => tx.new_update_proposal(&conversation()).await?,
        };
        tx.finish().await?;
        self.hub.state().log.push(proposed.proposal);
        Ok(())
    }

    async fn welcome(&mut self, who: usize) -> Result<(), EngineError> {
        let Some((welcome, behind)) = self.hub.state().welcomes.last().cloned() else { return Ok(()) };
        let mut tx = self.members[who].device.session.new_transaction().await?;
        tx.process_welcome(&welcome)?;
        tx.finish().await?;
        self.members[who].cursor = behind;
        Ok(())
    }

    async fn join(&mut self, who: usize) -> Result<(), EngineError> {
        let (group_info, behind) = {
            let state = self.hub.state();
            (state.group_info.clone(), state.log.len())
        };
        let was_member = self.state(who).is_some();
        let Member { device, cursor } = &mut self.members[who];
        let mut tx = device.session.new_transaction().await?;
        let info = VerifiableGroupInfo::from_bytes(&group_info)?;
        let joined = tx.join_by_external_commit(info, &device.credential).await;
        // In doubt an old state goes on reading where it was; without one the log begins with the commit.
        let in_doubt = matches!(joined, Err(EngineError::CommitOutcomeUnknown { .. })) && !was_member;
        if joined.is_ok() || in_doubt {
            *cursor = behind;
        }
        joined.map(drop)
    }

    async fn settle(&mut self, who: usize) -> Result<(), EngineError> {
        let epoch = self.hub.state().epoch;
        let mut tx = self.members[who].device.session.new_transaction().await?;
        let mut guard = tx.conversation(&conversation()).await?;
        guard.settle_pending(epoch).await.map(drop)
    }

    /// Does something and takes it back.
    async fn abort(&mut self, who: usize, how: u8) -> Result<(), EngineError> {
        let before = self.state(who);
        let message = self.hub.state().log.get(self.members[who].cursor).cloned();
        let mut tx = self.members[who].device.session.new_transaction().await?;
        let mut guard = tx.conversation(&conversation()).await?;
        match (how % 3, message) {
            (0, Some(message)) => drop(guard.decrypt_message(&message)),
            (1, _) => guard.wipe()?,
            _ => drop(guard.encrypt_message("never sent")),
        }
        tx.abort();
        assert_eq!(self.state(who), before, "after an abort");
        Ok(())
    }

    /// All settle what is in doubt and read everything.
    async fn end(&mut self) {
        for who in 0..self.members.len() {
            let log = self.hub.state().log.len();
            while self.members[who].cursor < log {
                match self.read(who).await {
                    Ok(()) => {}
                    Err(EngineError::ConversationNotFound(_)) => break,
                    Err(_) => self.members[who].cursor += 1,
                }
            }
            let in_doubt = self.members[who].device.session.pending_commit(&conversation());
            let in_doubt = in_doubt.expect("the store can be read").is_some();
            if let Some((epoch, _)) = self.state(who)
                && !in_doubt
            {
                assert_eq!(epoch, self.hub.state().epoch, "device {who} has read everything");
            }
        }
        self.check();
    }
}
