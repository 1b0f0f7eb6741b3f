//! Which invitations had an effect, in bounded memory.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;

use super::InboxError;
use crate::wire::{exactly, generated as wire};

/// The invitations that had an effect and have not expired, by who has sent them.
///
/// Of each sender it remembers at most [`MOST_OF_ONE`](Self::MOST_OF_ONE), of a stranger [`MOST_OF_A_STRANGER`](Self::MOST_OF_A_STRANGER). When there are more,
/// those that expire first are forgotten, and whatever of the same sender expires as early or earlier is refused from then on. So a replay is never taken, and who sends
/// too many keeps nobody out but themselves.
///
/// Of strangers it remembers at most [`MOST_STRANGERS`](Self::MOST_STRANGERS). When there are more, the one of whom nothing is valid any more first is forgotten: by then
/// a replay of theirs could be taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replays {
    /// What expires at this time or earlier is refused, whoever has sent it.
    floor: u64,
    /// By expiry, of senders who are not known: it was stored so once.
    older: BTreeSet<Id>,
    senders: BTreeMap<[u8; 32], Sender>,
}

/// When an invitation expires, and its id.
type Id = (u64, [u8; 16]);

/// What is remembered of who has sent invitations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Sender {
    /// Whether the user has asked them, or is connected with them.
    is_known: bool,
    /// What expires at this time or earlier is refused.
    floor: u64,
    seen: BTreeSet<Id>,
}

impl Sender {
    /// Forgets what expires first, and refuses from then on what expires as early.
    fn forget_first(&mut self) {
        if let Some((expires, _)) = self.seen.pop_first() {
            self.floor = self.floor.max(expires);
        }
    }

    /// Until when something of it is of use.
    fn until(&self) -> u64 {
        self.seen.last().map_or(0, |(expires, _)| *expires).max(self.floor)
    }
}

impl Replays {
    /// Most invitations that are remembered, of all senders.
    pub const MOST: usize = 10_000;
    /// Most of one sender.
    pub const MOST_OF_ONE: usize = 1000;
    /// Most of a sender whom the user has not asked and is not connected with.
    pub const MOST_OF_A_STRANGER: usize = 64;
    /// Most such senders.
    pub const MOST_STRANGERS: usize = 1000;
    /// Most invitations of such senders in all.
    pub const MOST_OF_STRANGERS: usize = 5000;

    /// Whether one of who has this identity key would be taken.
    pub(super) fn check(&self, sender: &[u8; 32], expires: u64, id: [u8; 16]) -> Result<(), InboxError> {
        let is_seen = |floor: u64, seen: &BTreeSet<Id>| expires <= floor || seen.contains(&(expires, id));
        let of_sender = self.senders.get(sender).is_some_and(|known| is_seen(known.floor, &known.seen));
        if of_sender || is_seen(self.floor, &self.older) {
            return Err(InboxError::Replayed);
        }
        Ok(())
    }

    /// Notes one that had an effect, and forgets those that have expired. `is_known` says that the user has asked the sender, or is connected with them.
    pub(super) fn note(&mut self, sender: [u8; 32], is_known: bool, (expires, id): Id, now: u64) {
        self.forget_expired(now);
        let of_sender = self.senders.entry(sender).or_default();
        of_sender.is_known |= is_known;
        of_sender.seen.insert((expires, id));
        let most = if of_sender.is_known { Self::MOST_OF_ONE } else { Self::MOST_OF_A_STRANGER };
        while of_sender.seen.len() > most {
            of_sender.forget_first();
        }
        while self.count(false) > Self::MOST_OF_STRANGERS {
            self.forget_of_largest(false);
        }
        while self.count(true) > Self::MOST - Self::MOST_OF_STRANGERS {
            self.forget_of_largest(true);
        }
        while self.senders.values().filter(|one| !one.is_known).count() > Self::MOST_STRANGERS {
            let strangers = self.senders.iter().filter(|(key, one)| !one.is_known && **key != sender);
            let Some(first) = strangers.min_by_key(|(_, one)| one.until()).map(|(key, _)| *key) else {
                break;
            };
            self.senders.remove(&first);
        }
    }

    /// What has expired is refused from then on also if the clock is put back.
    fn forget_expired(&mut self, now: u64) {
        let mut floor = self.floor;
        let seen = self.senders.values_mut().map(|one| &mut one.seen);
        for seen in seen.chain([&mut self.older]) {
            while let Some((expires, _)) = seen.first().filter(|(expires, _)| *expires <= now) {
                floor = floor.max(*expires);
                seen.pop_first();
            }
        }
        self.floor = floor;
        self.senders.retain(|_, one| one.until() > now);
    }

    /// How many are remembered of senders who are known, or of the others.
    fn count(&self, is_known: bool) -> usize {
        self.senders.values().filter(|one| one.is_known == is_known).map(|one| one.seen.len()).sum()
    }

    /// Who has sent most gives way.
    fn forget_of_largest(&mut self, is_known: bool) {
        let senders = self.senders.values_mut().filter(|one| one.is_known == is_known);
        if let Some(largest) = senders.max_by_key(|one| one.seen.len()) {
            largest.forget_first();
        }
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.older.len() + self.count(false) + self.count(true)
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is to be stored, in the transaction in which the invitation is.
    pub fn encode(&self) -> Vec<u8> {
        let inviters = self.senders.iter().map(|(key, one)| wire::StoredInviter {
            identity_key: key.to_vec(),
            is_known: one.is_known,
            floor: one.floor,
            seen: stored(&one.seen),
        });
        let inviters = inviters.collect();
        wire::StoredReplays { floor: self.floor, seen: stored(&self.older), inviters }.encode_to_vec()
    }

    /// Reads what was stored. None if it was damaged.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let wire::StoredReplays { floor, seen, inviters } = wire::StoredReplays::decode(bytes).ok()?;
        let mut senders = BTreeMap::new();
        for wire::StoredInviter { identity_key, is_known, floor, seen } in inviters {
            let key: [u8; 32] = exactly("", &identity_key).ok()?;
            if senders.insert(key, Sender { is_known, floor, seen: read(&seen)? }).is_some() {
                return None;
            }
        }
        let replays = Self { floor, older: read(&seen)?, senders };
        let of_senders = replays.count(false) + replays.count(true);
        (replays.older.len() <= Self::MOST && of_senders <= Self::MOST).then_some(replays)
    }
}

fn stored(seen: &BTreeSet<Id>) -> Vec<wire::StoredReplay> {
    seen.iter().map(|(expires, id)| wire::StoredReplay { expires: *expires, id: id.to_vec() }).collect()
}

fn read(seen: &[wire::StoredReplay]) -> Option<BTreeSet<Id>> {
    seen.iter().map(|one| Some((one.expires, exactly("", &one.id).ok()?))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ANA: [u8; 32] = [1; 32];
    const BRUNO: [u8; 32] = [2; 32];

    fn id(number: u32) -> [u8; 16] {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        id
    }

    fn stranger(number: u32) -> [u8; 32] {
        let mut key = [7; 32];
        key[..4].copy_from_slice(&number.to_be_bytes());
        key
    }

    #[test]
    fn what_has_come_does_not_come_again_also_after_a_restart() {
        let mut replays = Replays::default();
        replays.check(&ANA, 100, id(1)).unwrap();
        replays.note(ANA, false, (100, id(1)), 50);
        assert_eq!(replays.check(&ANA, 100, id(1)), Err(InboxError::Replayed));
        replays.check(&ANA, 100, id(2)).unwrap();
        replays.check(&BRUNO, 100, id(1)).unwrap();
        let again = Replays::decode(&replays.encode()).unwrap();
        assert_eq!(again, replays);
        assert_eq!(again.check(&ANA, 100, id(1)), Err(InboxError::Replayed));
    }

    #[test]
    fn what_was_stored_without_its_senders_is_refused_of_everybody() {
        let seen = vec![wire::StoredReplay { expires: 100, id: id(1).to_vec() }];
        let stored = wire::StoredReplays { floor: 60, seen, inviters: Vec::new() }.encode_to_vec();
        let mut replays = Replays::decode(&stored).unwrap();
        for sender in [&ANA, &BRUNO] {
            assert_eq!(replays.check(sender, 100, id(1)), Err(InboxError::Replayed));
            assert_eq!(replays.check(sender, 60, id(2)), Err(InboxError::Replayed));
            replays.check(sender, 100, id(2)).unwrap();
        }
        assert_eq!(replays.encode(), stored);
        replays.note(ANA, true, (200, id(2)), 150);
        assert_eq!(replays.len(), 1, "what has expired goes");
    }

    #[test]
    fn a_flood_takes_bounded_memory_brings_no_replay_back_and_keeps_nobody_else_out() {
        for is_known in [false, true] {
            let mut replays = Replays::default();
            replays.note(BRUNO, true, (1_000, id(0)), 0);
            for number in 1..50_000 {
                replays.note(ANA, is_known, (1_000 + u64::from(number), id(number)), 0);
            }
            let most = if is_known { Replays::MOST_OF_ONE } else { Replays::MOST_OF_A_STRANGER };
            assert_eq!(replays.len(), 1 + most);
            let first = replays.check(&ANA, 1_001, id(1));
            assert_eq!(first, Err(InboxError::Replayed), "it was forgotten, and is refused");
            replays.check(&ANA, 60_000, id(60_000)).unwrap();
            for sender in [&BRUNO, &stranger(1)] {
                replays.check(sender, 900, id(1)).unwrap();
            }
            assert_eq!(replays.check(&BRUNO, 1_000, id(0)), Err(InboxError::Replayed));
        }
    }

    #[test]
    fn many_strangers_take_bounded_memory_and_nothing_from_who_is_known() {
        let mut replays = Replays::default();
        for number in 0..500 {
            replays.note(BRUNO, true, (1_000, id(number)), 0);
        }
        for number in 0..20_000 {
            replays.note(stranger(number % 2_000), false, (2_000 + u64::from(number), id(number)), 0);
        }
        assert!(replays.len() <= 500 + Replays::MOST_OF_STRANGERS, "{}", replays.len());
        assert!(replays.senders.len() <= 1 + Replays::MOST_STRANGERS);
        for number in 0..500 {
            assert_eq!(replays.check(&BRUNO, 1_000, id(number)), Err(InboxError::Replayed));
        }
        replays.check(&BRUNO, 1_000, id(500)).unwrap();
        replays.check(&stranger(5_000), 900, id(1)).unwrap();
        assert_eq!(Replays::decode(&replays.encode()).unwrap(), replays);
    }

    #[test]
    fn what_has_expired_is_forgotten() {
        let mut replays = Replays::default();
        replays.note(ANA, false, (100, id(1)), 0);
        replays.note(BRUNO, false, (200, id(2)), 150);
        assert_eq!((replays.len(), replays.senders.len()), (1, 1));
        assert_eq!(replays.check(&ANA, 100, id(1)), Err(InboxError::Replayed), "if the clock is put back");
    }

    #[test]
    fn damaged_state_is_no_state() {
        assert_eq!(Replays::decode(&[255]), None);
        let short = wire::StoredReplay { expires: 1, id: vec![1] };
        let none = wire::StoredReplays { floor: 0, seen: Vec::new(), inviters: Vec::new() };
        let damaged = wire::StoredReplays { seen: vec![short.clone()], ..none.clone() };
        assert_eq!(Replays::decode(&damaged.encode_to_vec()), None);
        let inviter = |identity_key: &[u8], seen| wire::StoredInviter {
            identity_key: identity_key.to_vec(),
            is_known: false,
            floor: 0,
            seen,
        };
        for inviters in [
            vec![inviter(&ANA, vec![short])],
            vec![inviter(&ANA[1..], Vec::new())],
            vec![inviter(&ANA, Vec::new()), inviter(&ANA, Vec::new())],
        ] {
            let damaged = wire::StoredReplays { inviters, ..none.clone() };
            assert_eq!(Replays::decode(&damaged.encode_to_vec()), None);
        }
    }
}
