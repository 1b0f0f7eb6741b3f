//! The devices' way to the hub.

use rand::RngExt as _;
use tertulia_mls::{CommitOutcome, EngineError};

use super::{Event, InFlight, World};
use crate::{
    device::{Operation, Replayed},
    wire::advance,
};

impl World {
    /// Posts the proposals that the hub has not got yet, perhaps once more than need be.
    pub(super) fn send_proposals(&mut self, who: usize) {
        let outgoing = self.devices[who].outgoing();
        if outgoing.is_empty() {
            return;
        }
        if self.rosters.last().is_some_and(|roster| roster.contains(&self.devices[who].client_id())) {
            for proposal in outgoing {
                let place = self.hub.log_len(&self.id);
                self.hub.post(&self.id, proposal);
                self.fan_out(place);
                self.proposed += 1;
            }
            if !self.is_well && self.random.random_bool(0.1) {
                return;
            }
        }
        self.devices[who].sent();
    }

    pub(super) fn send_commit(
        &mut self,
        who: usize,
        mut operation: Operation,
        is_join: bool,
        text: Option<usize>,
    ) {
        self.send_proposals(who);
        if let Some(result) = advance(&mut operation) {
            self.committed(who, is_join, result);
            return;
        }
        let sent = self.devices[who].wire.take().expect("it waits for the network");
        let commit = self.commits;
        self.commits += 1;
        if let Some(text) = text {
            self.text_of_commit.insert(commit, text);
        }
        self.in_flight[who] = Some(InFlight { commit, operation, answer: Some(sent.answer) });
        let arrive = |is_refused| Event::Arrive {
            from: who,
            commit,
            bundle: sent.bundle.clone(),
            is_join,
            is_refused,
        };
        let (there, back) = (self.delay(), self.delay());
        let answer = |is_lost| Event::Answer { to: who, commit, is_lost };
        match self.random.random_range(0..20) {
            // The commit is lost.
            0 | 1 => self.schedule(there + back, answer(true)),
            // Its answer is lost.
            2 | 3 => {
                self.schedule(there, arrive(false));
                self.schedule(there + back, answer(true));
            }
            // It comes when nobody waits for it any more.
            4 | 5 => {
                self.schedule(back, answer(true));
                self.schedule(back + there, arrive(false));
            }
            // It comes twice.
            6 => {
                self.schedule(there, arrive(false));
                self.schedule(there + 1, arrive(false));
                self.schedule(there + back, answer(false));
            }
            7 => {
                self.schedule(there, arrive(true));
                self.schedule(there + back, answer(false));
            }
            _ => {
                self.schedule(there, arrive(false));
                self.schedule(there + back, answer(false));
            }
        }
    }

    pub(super) fn answer(&mut self, who: usize, commit: usize, is_lost: bool) {
        let Some(in_flight) = &mut self.in_flight[who] else { return };
        if in_flight.commit != commit {
            return;
        }
        let outcome = match self.answers.get(&commit) {
            Some(outcome) if !is_lost => outcome.clone(),
            _ => CommitOutcome::Unknown { detail: "timeout".to_owned() },
        };
        let is_join = self.pending_is_join(who);
        let in_flight = self.in_flight[who].as_mut().expect("it was there");
        if let Some(answer) = in_flight.answer.take() {
            answer.send(outcome).unwrap();
        }
        let result = advance(&mut in_flight.operation).expect("it has its answer");
        self.in_flight[who] = None;
        self.committed(who, is_join, result);
    }

    pub(super) fn pending_is_join(&self, who: usize) -> bool {
        self.devices[who].session.pending_commit(&self.id).unwrap().is_some_and(|pending| pending.is_join)
    }

    /// A commit may lose, or stay in doubt, or meet one in doubt, or change what is not so any more.
    pub(super) fn committed(
        &mut self,
        who: usize,
        is_join: bool,
        result: Result<Vec<Replayed>, EngineError>,
    ) {
        match result {
            Ok(replayed) => {
                let mut texts = Vec::new();
                self.devices[who].keep(replayed, is_join, &mut texts);
                self.know(who, texts);
            }
            Err(
                EngineError::CommitRejected(_)
                | EngineError::CommitOutcomeUnknown { .. }
                | EngineError::PendingCommit { .. }
                | EngineError::AlreadyMember(_)
                | EngineError::AddedTwice(_)
                | EngineError::NoSuchMember(_)
                | EngineError::OwnRemovalPending,
            ) => {}
            Err(error) => panic!("{}: {error:?}", self.devices[who].name),
        }
    }
}
