//! Which invitations have come, in bounded memory.

use std::collections::BTreeSet;

use prost::Message as _;

use super::InboxError;
use crate::wire::{exactly, generated as wire};

/// The invitations that have come and not expired.
///
/// It remembers at most [`MOST`](Self::MOST). When there are more, those that expire first are forgotten, and whatever expires as early or earlier is refused
/// from then on: so a replay is never taken, and a flood costs the invitations that would have expired soonest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replays {
    /// What expires at this time or earlier is refused.
    floor: u64,
    /// By expiry.
    seen: BTreeSet<(u64, [u8; 16])>,
}

impl Replays {
    /// Most invitations that are remembered.
    pub const MOST: usize = 10_000;

    /// Whether this one would be taken.
    pub(super) fn check(&self, expires: u64, id: [u8; 16]) -> Result<(), InboxError> {
        if expires <= self.floor || self.seen.contains(&(expires, id)) {
            return Err(InboxError::Replayed);
        }
        Ok(())
    }

    /// Notes one that was taken, and forgets those that have expired.
    pub(super) fn note(&mut self, expires: u64, id: [u8; 16], now: u64) {
        self.seen.insert((expires, id));
        while let Some(first) = self.seen.first().copied() {
            if first.0 > now && self.seen.len() <= Self::MOST {
                break;
            }
            self.seen.pop_first();
            self.floor = self.floor.max(first.0);
        }
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// What is to be stored, in the transaction in which the invitation is.
    pub fn encode(&self) -> Vec<u8> {
        let seen =
            self.seen.iter().map(|(expires, id)| wire::StoredReplay { expires: *expires, id: id.to_vec() });
        wire::StoredReplays { floor: self.floor, seen: seen.collect() }.encode_to_vec()
    }

    /// Reads what was stored. None if it was damaged.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let stored = wire::StoredReplays::decode(bytes).ok()?;
        let seen = stored.seen.iter().map(|one| Some((one.expires, exactly("", &one.id).ok()?)));
        let seen: BTreeSet<_> = seen.collect::<Option<_>>()?;
        (seen.len() <= Self::MOST).then_some(Self { floor: stored.floor, seen })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn id(number: u32) -> [u8; 16] {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        id
    }

    #[test]
    fn what_has_come_does_not_come_again_also_after_a_restart() {
        let mut replays = Replays::default();
        replays.check(100, id(1)).unwrap();
        replays.note(100, id(1), 50);
        assert_eq!(replays.check(100, id(1)), Err(InboxError::Replayed));
        replays.check(100, id(2)).unwrap();
        let again = Replays::decode(&replays.encode()).unwrap();
        assert_eq!(again, replays);
        assert_eq!(again.check(100, id(1)), Err(InboxError::Replayed));
    }

    #[test]
    fn a_flood_takes_bounded_memory_and_brings_no_replay_back() {
        let mut replays = Replays::default();
        replays.note(1_000, id(0), 0);
        for number in 1..50_000 {
            replays.note(2_000 + u64::from(number), id(number), 0);
        }
        assert_eq!(replays.len(), Replays::MOST);
        assert_eq!(
            replays.check(1_000, id(0)),
            Err(InboxError::Replayed),
            "it was forgotten, and is refused"
        );
        assert_eq!(replays.check(2_000 + 1, id(1)), Err(InboxError::Replayed));
        replays.check(60_000, id(60_000)).unwrap();
    }

    #[test]
    fn what_has_expired_is_forgotten() {
        let mut replays = Replays::default();
        replays.note(100, id(1), 0);
        replays.note(200, id(2), 150);
        assert_eq!(replays.len(), 1);
    }

    #[test]
    fn damaged_state_is_no_state() {
        assert_eq!(Replays::decode(&[255]), None);
        let short =
            wire::StoredReplays { floor: 0, seen: vec![wire::StoredReplay { expires: 1, id: vec![1] }] };
        assert_eq!(Replays::decode(&short.encode_to_vec()), None);
    }
}
