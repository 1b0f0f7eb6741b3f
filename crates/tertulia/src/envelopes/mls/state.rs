//! What a conversation on MLS keeps for itself, beside what the engine has.

use super::direct::OfTwo;
use crate::{Result, envelopes::Work};
use serde::{Deserialize, Serialize};
use tertulia_api::Base64;
use tertulia_domain::{ConversationId, UserId};
use tertulia_store::{EnvelopedRecord, StoreError};
use zeroize::Zeroizing;

/// How long it is until what was due and could not be done is tried again, in milliseconds.
const AGAIN: i64 = 60 * 1000;

/// The state of a conversation on MLS. It is stored as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct State {
    /// The commit of this device that waits for its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) posted: Option<Posted>,
    /// When this device commits the proposals that wait, unless somebody else has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) commit_at: Option<i64>,
    /// Whether this device may have missed commits, and asks to be let in again.
    pub(crate) missed: bool,
    /// When it asked last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) asked_at: Option<i64>,
    /// Who has let it in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) inviter: Option<UserId>,
    /// Members who ask to be let in again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) let_in: Vec<UserId>,
    /// Whether this device has proposed to leave.
    pub(crate) leaving: bool,
    /// Of a conversation of two, what it keeps beside this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) of_two: Option<OfTwo>,
}

/// A commit as it was sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Posted {
    /// The commit: the `MLSMessage`.
    pub(crate) commit: Base64,
    /// The envelope with it.
    pub(crate) envelope: Base64,
    /// For those whom it adds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) welcome: Option<Base64>,
    /// Whom it adds.
    pub(crate) invited: Vec<UserId>,
    /// The message that follows it, encrypted for the epoch after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<Base64>,
    /// Whether this device's store was restored before, so that it may have lost commits of its own that others have applied.
    pub(crate) restored: bool,
    /// Where the ordering carrier has said that it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) position: Option<u64>,
}

impl State {
    pub(crate) fn of(record: &EnvelopedRecord) -> Result<Self> {
        let damaged = |_| StoreError::Damaged { what: "the state of a group" };
        Ok(serde_json::from_slice(&record.state).map_err(damaged)?)
    }

    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(serde_json::to_vec(self).expect("bytes, numbers and ids are always JSON"))
    }

    /// When there is something to be done.
    pub(crate) fn due_at(&self, now: i64) -> Option<i64> {
        let is_given_up = self.of_two.as_ref().is_some_and(|of_two| of_two.retired_at.is_some());
        let asks = (self.missed && !is_given_up)
            .then(|| self.asked_at.map_or(now, |at| at.saturating_add(super::outside::PATIENCE)));
        let lets_in = (!self.let_in.is_empty()).then_some(now.saturating_add(AGAIN));
        let of_two = self.of_two.as_ref().and_then(|of_two| of_two.due_at(now.saturating_add(AGAIN)));
        [self.commit_at, asks, lets_in, of_two].into_iter().flatten().min()
    }

    /// Has it stored.
    pub(crate) fn write(&self, work: &mut Work<'_>, id: ConversationId) -> Result<()> {
        let due_at = self.due_at(work.now);
        self.write_due(work, id, due_at)
    }

    /// Has it stored, with something to be done by then.
    pub(crate) fn write_due(
        &self,
        work: &mut Work<'_>,
        id: ConversationId,
        due_at: Option<i64>,
    ) -> Result<()> {
        let state = self.encode();
        work.write(move |w| w.set_enveloped_state(id, &state, due_at))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// What is stored of a conversation: a change of it has to read what was stored before.
    #[test]
    fn the_stored_form_is_the_released_one() {
        let user = UserId::from_bytes([7; 16]);
        let posted = Posted {
            commit: Base64(vec![1]),
            envelope: Base64(vec![2]),
            welcome: Some(Base64(vec![3])),
            invited: vec![user],
            message: Some(Base64(vec![4])),
            restored: true,
            position: Some(5),
        };
        let state = State {
            posted: Some(posted),
            commit_at: Some(6),
            missed: true,
            asked_at: Some(7),
            inviter: Some(user),
            let_in: vec![user],
            leaving: true,
            of_two: None,
        };
        let stored = r#"{"posted":{"commit":"AQ==","envelope":"Ag==","welcome":"Aw==","invited":["07070707-0707-0707-0707-070707070707"],"message":"BA==","restored":true,"position":5},"commit_at":6,"missed":true,"asked_at":7,"inviter":"07070707-0707-0707-0707-070707070707","let_in":["07070707-0707-0707-0707-070707070707"],"leaving":true}"#;
        assert_eq!(std::str::from_utf8(&state.encode()).unwrap(), stored);
        assert_eq!(serde_json::from_str::<State>(stored).unwrap(), state);
        assert_eq!(serde_json::from_str::<State>("{}").unwrap(), State::default());
    }

    #[test]
    fn the_stored_form_of_two_is_the_released_one() {
        let peer = UserId::from_bytes([7; 16]);
        let of_two = OfTwo { peer, times: 2, invited: true, confirmed: false, retired_at: Some(8) };
        let state = State { of_two: Some(of_two), ..State::default() };
        let stored = r#"{"missed":false,"leaving":false,"of_two":{"peer":"07070707-0707-0707-0707-070707070707","times":2,"invited":true,"confirmed":false,"retired_at":8}}"#;
        assert_eq!(std::str::from_utf8(&state.encode()).unwrap(), stored);
        assert_eq!(serde_json::from_str::<State>(stored).unwrap(), state);
    }

    #[test]
    fn what_is_due_first_counts() {
        let state = State { commit_at: Some(20), missed: true, ..State::default() };
        assert_eq!(state.due_at(10), Some(10));
        assert_eq!(State { commit_at: Some(20), ..State::default() }.due_at(10), Some(20));
        assert_eq!(State::default().due_at(10), None);
    }
}
