//! What devices do.

use rand::RngExt as _;
use tertulia_mls::EngineError;

use super::{Event, Text, World};
use crate::device::Change;

impl World {
    pub(super) fn act(&mut self) {
        let who = self.random.random_range(0..self.devices.len());
        let what = self.random.random_range(0..34);
        if what < 3 {
            // Killed, perhaps while it waits for an answer.
            self.in_flight[who] = None;
            self.devices[who].restart();
            return;
        }
        if self.in_flight[who].is_some() {
            if what < 6 {
                // It waits no longer.
                self.in_flight[who] = None;
            }
            return;
        }
        if what < 6 {
            self.fetch(who);
            return;
        }
        if self.devices[who].is_pending() {
            let is_join = self.pending_is_join(who);
            let settle = self.devices[who].settle(self.hub.epoch(&self.id));
            self.send_commit(who, settle, is_join, None);
            return;
        }
        if !self.devices[who].is_member() {
            self.open_welcome(who);
            if !self.devices[who].is_member() && what < 12 {
                let join = self.devices[who].join(self.hub.verifiable_group_info(&self.id));
                self.send_commit(who, join, true, None);
            }
            return;
        }
        let other = self.random.random_range(0..self.devices.len());
        let other_client = self.devices[other].client_id();
        match what {
            6..=15 => self.say(who),
            16..=18 => self.send_commit(who, self.devices[who].update(None), false, None),
            19 => {
                let text = self.new_text(who);
                let update = self.devices[who].update(Some(text.to_string()));
                self.send_commit(who, update, false, Some(text));
            }
            20..=22 => {
                if !self.devices[other].is_member() {
                    let package = self.devices[other].key_package();
                    self.send_commit(who, self.devices[who].change(vec![package], vec![]), false, None);
                }
            }
            23 | 24 => {
                let members = self.devices[who].members();
                if who != other && members.len() > 2 && members.contains(&other_client) {
                    let remove = self.devices[who].change(vec![], vec![other_client]);
                    self.send_commit(who, remove, false, None);
                }
            }
            25 => {
                let members = self.rosters.last().expect("there is an epoch");
                if members.len() > 2 && members.contains(&other_client) {
                    let place = self.hub.log_len(&self.id);
                    self.hub.propose_removal(&self.id, &other_client);
                    self.fan_out(place);
                }
            }
            26 | 27 => {
                if self.devices[who].proposals() > 0 {
                    self.send_commit(who, self.devices[who].commit_proposals(), false, None);
                }
            }
            30..=33 => self.propose(who, other),
            28 => {
                // It comes back from outside, having read what there is.
                self.fetch(who);
                if self.devices[who].is_member() {
                    let join = self.devices[who].join(self.hub.verifiable_group_info(&self.id));
                    self.send_commit(who, join, true, None);
                }
            }
            _ => self.fetch(who),
        }
    }

    /// A device proposes something, and sends it now or later.
    pub(super) fn propose(&mut self, who: usize, other: usize) {
        let client = self.devices[other].client_id();
        let change = match self.random.random_range(0..3) {
            0 => Change::Update,
            1 if !self.devices[other].is_member() => Change::Add(self.devices[other].key_package()),
            _ if self.devices[who].members().len() > 2 => Change::Remove(client),
            _ => return,
        };
        match self.devices[who].propose(change) {
            Ok(()) => {
                if self.random.random_bool(0.5) {
                    self.send_proposals(who);
                }
            }
            Err(EngineError::AlreadyMember(_) | EngineError::NoSuchMember(_)) => {}
            Err(error) => panic!("{}: {error:?}", self.devices[who].name),
        }
    }

    pub(super) fn new_text(&mut self, sender: usize) -> usize {
        self.texts.push(Text { sender, epoch: 0, is_in_log: false });
        self.texts.len() - 1
    }

    /// Encrypts a message and sends it to the hub, perhaps twice.
    pub(super) fn say(&mut self, who: usize) {
        let text = self.new_text(who);
        let epoch = self.devices[who].epoch();
        self.texts[text].epoch = epoch;
        let message = match self.devices[who].encrypt(&text.to_string()) {
            Ok(message) => message,
            Err(EngineError::PendingProposals { .. } | EngineError::PendingCommit { .. }) => return,
            Err(error) => panic!("{}: {error:?}", self.devices[who].name),
        };
        if self.is_well {
            self.posted(who, text, message);
            return;
        }
        for _ in 0..if self.random.random_bool(0.1) { 2 } else { 1 } {
            let mut at = self.clock + self.delay();
            if !self.is_eager {
                at = at.max(self.last_post[who] + 1);
                self.last_post[who] = at;
            }
            self.schedule_at(at, Event::Post { from: who, text, message: message.clone() });
        }
    }
}
