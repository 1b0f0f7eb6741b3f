//! The beginning and the end of a life, when the network is well.

use std::collections::BTreeSet;

use rand::RngExt as _;

use super::{NAMES, World};
use crate::{
    device::{Device, Operation},
    wire::advance,
};

impl World {
    /// The first device makes the conversation, and adds some of the others.
    pub(super) fn begin(&mut self) {
        self.devices[0].create(self.hub.public_key().as_bytes());
        self.rosters[0].insert(self.devices[0].client_id());
        self.at_once(0, self.devices[0].update(None), false);
        let first = self.random.random_range(1..self.devices.len());
        let packages = self.devices[1..=first].iter().map(Device::key_package).collect();
        self.at_once(0, self.devices[0].change(packages, vec![]), false);
        for who in 1..=first {
            self.open_welcome(who);
        }
    }

    pub(super) fn end(&mut self) {
        for who in 0..self.devices.len() {
            self.in_flight[who] = None;
        }
        // First all commits in doubt are settled and all proposals committed, which may remove somebody; then all come
        // together. Who comes back may owe a proposal still, also of somebody's removal, so that it begins again.
        for _ in 0..5 {
            for _ in 0..3 {
                for who in 0..self.devices.len() {
                    self.come_to_rest(who);
                }
            }
            let mut all_rest = true;
            for who in 0..self.devices.len() {
                if !self.come_to_rest(who) {
                    all_rest = false;
                    let info = self.hub.verifiable_group_info(&self.id);
                    self.at_once(who, self.devices[who].join(info), true);
                }
            }
            if all_rest {
                break;
            }
        }
        for who in 0..self.devices.len() {
            assert!(self.come_to_rest(who));
            self.say(who);
        }
        for who in 0..self.devices.len() {
            assert!(self.come_to_rest(who));
        }
        self.check();
    }

    /// A commit with a perfect network.
    pub(super) fn at_once(&mut self, who: usize, mut operation: Operation, is_join: bool) {
        let result = if let Some(result) = advance(&mut operation) {
            result
        } else {
            let sent = self.devices[who].wire.take().expect("it waits for the network");
            let outcome = self.order(who, sent.bundle, None, is_join);
            sent.answer.send(outcome).unwrap();
            advance(&mut operation).expect("it has its answer")
        };
        self.committed(who, is_join, result);
    }

    /// Reads everything, settles what is in doubt and commits what is proposed. Whether the device is a member then.
    pub(super) fn come_to_rest(&mut self, who: usize) -> bool {
        for _ in 0..10 {
            self.fetch(who);
            self.send_proposals(who);
            if self.devices[who].is_pending() {
                let is_join = self.pending_is_join(who);
                let settle = self.devices[who].settle(self.hub.epoch(&self.id));
                self.at_once(who, settle, is_join);
            } else if !self.devices[who].is_member() {
                return false;
            } else if self.devices[who].proposals() == 0 {
                return true;
            } else {
                let before = self.hub.epoch(&self.id);
                self.at_once(who, self.devices[who].commit_proposals(), false);
                if self.hub.epoch(&self.id) == before {
                    // It is about this device: somebody else has to.
                    return false;
                }
            }
        }
        panic!("{} does not come to rest", self.devices[who].name);
    }

    /// All agree, and everybody has read once what was for them.
    pub(super) fn check(&self) {
        let view = |device: &Device| {
            let view = device.session.conversation(&self.id).unwrap();
            assert!(view.pending_commit().is_none() && view.pending_proposals() == 0);
            let authenticator = view.epoch_authenticator().unwrap();
            let exported = view.export_secret_key(32).unwrap().to_vec();
            (view.epoch(), authenticator, exported, view.client_ids().unwrap())
        };
        let expected = view(&self.devices[0]);
        assert_eq!(expected.0, self.hub.epoch(&self.id));
        let roster: BTreeSet<_> = self.devices.iter().map(Device::client_id).collect();
        assert_eq!(expected.3.iter().cloned().collect::<BTreeSet<_>>(), roster);
        for device in &self.devices {
            assert_eq!(view(device), expected, "{}", device.name);
        }
        let (mut due, mut others) = (0, 0);
        for (number, text) in self.texts.iter().enumerate() {
            for reader in 0..self.devices.len() {
                let has_read = self.devices[reader].memory.read.contains(&number.to_string());
                if text.is_in_log
                    && reader != text.sender
                    && self.stays_since(reader, text.epoch)
                    && self.stays_since(text.sender, text.epoch)
                {
                    let (name, sender) = (&self.devices[reader].name, NAMES[text.sender]);
                    assert!(has_read, "{name} has not read {number} of {sender} in epoch {}", text.epoch);
                    due += 1;
                } else {
                    others += usize::from(has_read);
                }
            }
        }
        println!(
            "{} devices, {}, {} epochs, {} deliveries, {} proposals, {due} messages were due and read, {others} others",
            self.devices.len(),
            if self.is_eager { "eager" } else { "in order" },
            expected.0,
            self.delivered,
            self.proposed
        );
    }

    /// Whether a device has been a member without interruption since before the end of an epoch.
    pub(super) fn stays_since(&self, who: usize, epoch: u64) -> bool {
        let client = self.devices[who].client_id();
        let from = usize::try_from(epoch).unwrap();
        self.since[who] <= epoch && self.rosters[from..].iter().all(|roster| roster.contains(&client))
    }
}
