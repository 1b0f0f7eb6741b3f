//! The hub, and its way to the devices.

use std::collections::BTreeSet;

use mls_rs::{MlsMessage, extension::built_in::RatchetTreeExt};
use rand::RngExt as _;
use tertulia_mls::{ClientId, CommitOutcome, MlsCommitBundle, MlsTransport as _, Outcome};

use super::{Event, MAX_LATE_EPOCHS, NAMES, World};
use crate::{
    common::{Fault, client_id},
    device::{Handed, Read},
    wire::now,
};

impl World {
    /// What was appended to the log goes out to everybody.
    pub(super) fn fan_out(&mut self, from: usize) {
        if self.is_well {
            return;
        }
        for place in from..self.hub.log_len(&self.id) {
            for to in 0..self.devices.len() {
                if self.random.random_bool(0.85) {
                    let delay = self.delay();
                    self.schedule(delay, Event::Deliver { to, place });
                }
                if self.random.random_bool(0.1) {
                    let delay = self.delay();
                    self.schedule(delay, Event::Deliver { to, place });
                }
            }
        }
    }

    pub(super) fn posted(&mut self, from: usize, text: usize, message: Vec<u8>) {
        let epoch = self.hub.epoch(&self.id);
        let is_member =
            self.rosters.last().is_some_and(|roster| roster.contains(&self.devices[from].client_id()));
        if !is_member || !self.is_eager && epoch > self.texts[text].epoch + MAX_LATE_EPOCHS {
            return;
        }
        self.texts[text].is_in_log = true;
        let place = self.hub.log_len(&self.id);
        self.hub.post(&self.id, message);
        self.fan_out(place);
    }

    pub(super) fn arrive(
        &mut self,
        from: usize,
        commit: usize,
        bundle: MlsCommitBundle,
        is_join: bool,
        is_refused: bool,
    ) {
        if is_refused {
            self.hub.fail_next(Fault::Refuse);
        }
        let outcome = self.order(from, bundle, Some(commit), is_join);
        self.hub.heal();
        // The first answer is the one that is sent.
        self.answers.entry(commit).or_insert(outcome);
    }

    pub(super) fn order(
        &mut self,
        from: usize,
        bundle: MlsCommitBundle,
        commit: Option<usize>,
        is_join: bool,
    ) -> CommitOutcome {
        let place = self.hub.log_len(&self.id);
        let outcome = now(self.hub.send_commit_bundle(&self.id, bundle.clone()));
        if outcome != CommitOutcome::Accepted {
            return outcome;
        }
        let epoch = self.hub.epoch(&self.id);
        let roster = roster(&bundle.group_info.payload);
        for (who, device) in self.devices.iter().enumerate() {
            let client = device.client_id();
            let was_in = self.rosters.last().is_some_and(|before| before.contains(&client));
            if roster.contains(&client) && !was_in || is_join && who == from {
                self.since[who] = epoch;
            }
        }
        self.rosters.push(roster);
        if let Some(text) = commit.and_then(|commit| self.text_of_commit.get(&commit)) {
            self.texts[*text].is_in_log = true;
            self.texts[*text].epoch = epoch;
        }
        self.welcomes.extend(bundle.welcome.map(|welcome| (welcome, place + 1)));
        self.fan_out(place);
        outcome
    }

    pub(super) fn deliver(&mut self, to: usize, place: usize) {
        if self.random.random_bool(0.05) {
            let message = self.hub.log_entry(&self.id, place).expect("it is in the log");
            self.devices[to].receive_in_vain(&message);
        }
        if self.is_eager || place < self.devices[to].memory.cursor {
            self.hand(to, place);
        } else {
            while self.devices[to].memory.cursor <= place && self.hand(to, self.devices[to].memory.cursor) {}
        }
    }

    /// Reads the log to its end, gaps first.
    pub(super) fn fetch(&mut self, who: usize) {
        if !self.devices[who].is_member() {
            self.open_welcome(who);
        }
        let mut place = self.devices[who].memory.cursor;
        while place < self.hub.log_len(&self.id) {
            if !self.devices[who].memory.is_done(place) && !self.hand(who, place) {
                return;
            }
            place = (place + 1).max(self.devices[who].memory.cursor);
        }
    }

    /// Hands one entry of the log to a device. Whether it is done with.
    pub(super) fn hand(&mut self, who: usize, place: usize) -> bool {
        let message = self.hub.log_entry(&self.id, place).expect("it is in the log");
        self.delivered += 1;
        let was_done = self.devices[who].memory.is_done(place);
        let mut texts = Vec::new();
        let handed = self.devices[who].receive(place, &message, &mut texts);
        self.know(who, texts);
        // No store was copied.
        assert_ne!(handed, Handed::Done(Outcome::OwnMessageUnknown), "{} at {place}", self.devices[who].name);
        if handed == Handed::NotMember {
            self.open_welcome(who);
        }
        let is_buffered = handed == Handed::Done(Outcome::Buffered);
        assert!(self.is_eager || !is_buffered, "nothing is missing before {place}");
        if was_done {
            let again = [Outcome::Application, Outcome::OwnCommitMerged];
            assert!(
                !matches!(&handed, Handed::Done(outcome) if again.contains(outcome)),
                "{handed:?} at {place}"
            );
        }
        matches!(handed, Handed::Done(_) | Handed::Refused)
    }

    /// Whoever reads a text knows who has sent it.
    pub(super) fn know(&self, who: usize, texts: Vec<Read>) {
        for (text, sender) in texts {
            let number: usize = text.parse().unwrap();
            let expected = client_id(NAMES[self.texts[number].sender]);
            assert_eq!(sender, Some(expected), "{} does not know who says {text}", self.devices[who].name);
        }
    }

    /// Joins by a Welcome, if there is one that opens.
    pub(super) fn open_welcome(&mut self, who: usize) {
        let untried = self.tried[who]..self.welcomes.len();
        self.tried[who] = self.welcomes.len();
        for at in untried.rev() {
            let (welcome, place) = &self.welcomes[at];
            let mut texts = Vec::new();
            if self.devices[who].welcome(welcome, *place, &mut texts) {
                self.know(who, texts);
                return;
            }
        }
    }
}

/// The members that a group info names.
fn roster(group_info: &[u8]) -> BTreeSet<ClientId> {
    let message = MlsMessage::from_bytes(group_info).unwrap();
    let info = message.as_group_info().unwrap();
    let tree = info.extensions().get_as::<RatchetTreeExt>().unwrap().unwrap();
    let roster = tree.tree_data().roster();
    roster
        .members_iter()
        .map(|member| {
            ClientId::from(member.signing_identity.credential.as_basic().unwrap().identifier.as_slice())
        })
        .collect()
}
