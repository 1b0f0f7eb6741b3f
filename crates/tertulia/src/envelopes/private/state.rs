//! What a private conversation keeps: whose it is, its epoch, and what is to be done when.

use super::super::Work;
use crate::Result;
use serde::{Deserialize, Serialize};
use tertulia_api::Base64;
use tertulia_domain::{ConversationId, DeviceAddress};
use tertulia_store::{EnvelopedRecord, StoreError};
use zeroize::Zeroizing;

/// How often the keys of hints and of the outer encryption are renewed, in milliseconds: once a week.
pub(super) const RENEWED_EVERY: i64 = 7 * 24 * 60 * 60 * 1000;
/// For how long one that is not used any more is read after the last that came in it, in milliseconds: 30 days, as long as an invitation can be on its way.
pub(super) const READ_ON: i64 = 30 * 24 * 60 * 60 * 1000;
/// After how long a renewal that had no effect is sent again, in milliseconds: a day.
pub(super) const OFFERED_EVERY: i64 = 24 * 60 * 60 * 1000;

#[derive(Serialize, Deserialize)]
pub(super) struct State {
    pub(super) peer: DeviceAddress,
    /// This device's place among the senders.
    pub(super) own_sender: u32,
    /// Whether both are in it.
    pub(super) accepted: bool,
    /// The number of the epoch in which this device sends.
    pub(super) epoch: u64,
    /// When it was entered, milliseconds since 1970.
    pub(super) since: i64,
    /// The next epoch, which this device has offered, until the other writes in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) offer: Option<Offer>,
    /// The epoch that this device has begun by force, until the other writes in it. What tells of it was sent in the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) forced: Option<Offer>,
    /// When the next cover traffic is due, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cover_at: Option<i64>,
    /// How this device has accepted it, until something of the other has come in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) unheard: Option<Accepted>,
    /// Where another is used in its place: when it was set aside, or something came in it since, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) aside_since: Option<i64>,
}

/// How an invitation was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Accepted {
    /// When nothing of the other had come in another conversation of the two that was used.
    First,
    /// When something had: either the other has lost that one, or the invitation is an old one.
    Beside,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Offer {
    pub(super) epoch: u64,
    secret: Base64,
    /// When it was last sent, or put off, milliseconds since 1970.
    pub(super) sent_at: i64,
}

impl Offer {
    pub(super) fn new(epoch: u64, secret: &[u8; 32], sent_at: i64) -> Self {
        Self { epoch, secret: Base64(secret.to_vec()), sent_at }
    }

    pub(super) fn secret(&self) -> Result<Zeroizing<[u8; 32]>> {
        let secret: [u8; 32] = self
            .secret
            .0
            .as_slice()
            .try_into()
            .map_err(|_| StoreError::Damaged { what: "a conversation" })?;
        Ok(Zeroizing::new(secret))
    }

    /// Whether it is time to send it again.
    pub(super) const fn is_due(&self, now: i64) -> bool {
        now >= self.sent_at.saturating_add(OFFERED_EVERY)
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.secret.0);
    }
}

impl State {
    pub(super) const fn new(peer: DeviceAddress, own_sender: u32, now: i64) -> Self {
        let accepted = own_sender != super::INVITER;
        Self {
            peer,
            own_sender,
            accepted,
            epoch: 0,
            since: now,
            offer: None,
            forced: None,
            cover_at: None,
            unheard: None,
            aside_since: None,
        }
    }

    /// Whether something of the other has come in it, after the invitation.
    pub(super) const fn is_heard(&self) -> bool {
        self.accepted && self.unheard.is_none()
    }

    pub(super) fn of(record: &EnvelopedRecord) -> Result<Self> {
        let damaged = |_| StoreError::Damaged { what: "a conversation" };
        Ok(serde_json::from_slice(&record.state).map_err(damaged)?)
    }

    pub(super) fn encode(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(serde_json::to_vec(self).expect("numbers and texts are always JSON"))
    }

    /// Leaves what would be sent again for another day.
    pub(super) fn put_off(&mut self, now: i64) {
        for offer in self.offer.iter_mut().chain(&mut self.forced) {
            offer.sent_at = now;
        }
    }

    /// When there is something to do.
    pub(super) fn due_at(&self) -> Option<i64> {
        if let Some(since) = self.aside_since {
            return Some(since.saturating_add(READ_ON));
        }
        let renewal = match self.forced.as_ref().or(self.offer.as_ref()) {
            Some(offer) => offer.sent_at.saturating_add(OFFERED_EVERY),
            None => self.since.saturating_add(RENEWED_EVERY),
        };
        let renewal = self.accepted.then_some(renewal);
        renewal.into_iter().chain(self.cover_at).min()
    }

    pub(super) fn write(&self, work: &mut Work<'_>, id: ConversationId) -> Result<()> {
        let (state, due_at) = (self.encode(), self.due_at());
        work.write(move |w| w.set_enveloped_state(id, &state, due_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tertulia_domain::{DeviceId, UserId};

    #[test]
    fn a_state_from_before_there_was_force_is_read_and_one_with_it_has_that_to_do_first() {
        let domain = "key.invalid".parse().expect("a domain");
        let peer = DeviceAddress::new(UserId::random(), DeviceId::random(), domain);
        let mut state = State::new(peer, 1, 0);
        state.offer = Some(Offer::new(1, &[1; 32], RENEWED_EVERY));
        let before = state.encode();
        assert!(!String::from_utf8_lossy(&before).contains("forced"), "it is written as it was");
        let mut state: State = serde_json::from_slice(&before).expect("readable");
        assert!(state.forced.is_none());
        assert_eq!(state.due_at(), Some(RENEWED_EVERY + OFFERED_EVERY));
        state.forced = Some(Offer::new(1, &[2; 32], 0));
        let mut state: State = serde_json::from_slice(&state.encode()).expect("readable");
        let forced = state.forced.as_ref().expect("it is there");
        assert_eq!((forced.epoch, *forced.secret().expect("32 bytes")), (1, [2; 32]));
        assert_eq!(state.due_at(), Some(OFFERED_EVERY));
        state.put_off(OFFERED_EVERY);
        assert_eq!(state.due_at(), Some(2 * OFFERED_EVERY));
    }
}
