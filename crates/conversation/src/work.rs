//! Proof of work: what an envelope costs its sender where there are no accounts.
//!
//! A stamp is a number for which SHA-256 over a label, the topic, the hour, the envelope's hash and the number begins with so many zero bits as the
//! relay asks for. It is bound to topic and hour, so nobody computes a stock of them in advance, and verified with two hashes.

use std::ops::RangeInclusive;

use sha2::{Digest as _, Sha256};

use crate::{crypto::hash, topic::ContentTopic};

pub(crate) const LABEL: &str = "tertulia/work/v1";

/// The hours, of those since 1970, that a relay takes stamps for: the current one, and one before and behind for clocks that differ.
const LATITUDE: u64 = 1;
/// The most zero bits that can be asked for: minutes on a telephone.
pub const MAX_DIFFICULTY: u8 = 28;

/// Hashes between two questions whether the work is still wanted: some tenths of a millisecond.
const ASK_EVERY: u64 = 1024;

/// The length from which on an envelope takes a bit more than the smallest, in bytes.
const LONG: usize = 4096;

/// The zero bits that an envelope of this length needs where the smallest need so many: one more from 4 KiB on, and another each
/// time that it is four times as long. Who asks for none asks for none of any.
pub fn difficulty_of(smallest: u8, length: usize) -> u8 {
    if smallest == 0 {
        return 0;
    }
    let fourfold = (length / LONG).checked_ilog(4).map_or(0, |times| times + 1);
    let more = u8::try_from(fourfold).unwrap_or(u8::MAX);
    // Who asks for more than there is, is told so by who would have to do it.
    if smallest > MAX_DIFFICULTY { smallest } else { smallest.saturating_add(more).min(MAX_DIFFICULTY) }
}

/// The work for one envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The hour since 1970 in which it was made.
    pub hour: u64,
    /// The number that was found.
    pub number: u64,
}

/// Why a stamp does not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StampError {
    /// It is not of this hour. Make one now, with a clock that is right.
    #[error("the stamp is of the hour {got}, and {} to {} are taken", .taken.start(), .taken.end())]
    Hour {
        /// The stamp's hour.
        got: u64,
        /// The hours that are taken.
        taken: RangeInclusive<u64>,
    },
    /// It is not enough work, or for another envelope or topic. Make one of the difficulty that is asked for.
    #[error("the stamp has {got} zero bits, and {wanted} are asked for")]
    TooEasy {
        /// Its zero bits.
        got: u8,
        /// Those that are asked for.
        wanted: u8,
    },
    /// More is asked for than anybody can give. Use another relay.
    #[error("{wanted} zero bits are asked for, the most is {max}")]
    TooHard {
        /// Those that are asked for.
        wanted: u8,
        /// The most.
        max: u8,
    },
}

impl Stamp {
    /// Does the work: two to the power of the difficulty hashes on average. `now` is in seconds since 1970.
    pub fn make(topic: &ContentTopic, envelope: &[u8], difficulty: u8, now: u64) -> Result<Self, StampError> {
        let made = Self::make_while(topic, envelope, difficulty, now, || true)?;
        Ok(made.expect("one in 2^28 numbers does, and it is not ended before"))
    }

    /// The same as long as it is wanted, which is asked some thousand times a second; none if it is not any more.
    pub fn make_while(
        topic: &ContentTopic,
        envelope: &[u8],
        difficulty: u8,
        now: u64,
        mut is_wanted: impl FnMut() -> bool,
    ) -> Result<Option<Self>, StampError> {
        if difficulty > MAX_DIFFICULTY {
            return Err(StampError::TooHard { wanted: difficulty, max: MAX_DIFFICULTY });
        }
        let hour = now / 3600;
        let begun = begin(*topic, envelope, hour);
        for number in 0..=u64::MAX {
            if zero_bits(&begun, number) >= difficulty {
                return Ok(Some(Self { hour, number }));
            }
            if number % ASK_EVERY == ASK_EVERY - 1 && !is_wanted() {
                break;
            }
        }
        Ok(None)
    }

    /// Whether it is enough.
    pub fn verify(
        &self,
        topic: &ContentTopic,
        envelope: &[u8],
        difficulty: u8,
        now: u64,
    ) -> Result<(), StampError> {
        let hour = now / 3600;
        let taken = hour.saturating_sub(LATITUDE)..=hour.saturating_add(LATITUDE);
        if !taken.contains(&self.hour) {
            return Err(StampError::Hour { got: self.hour, taken });
        }
        let got = zero_bits(&begin(*topic, envelope, self.hour), self.number);
        if got < difficulty { Err(StampError::TooEasy { got, wanted: difficulty }) } else { Ok(()) }
    }
}

/// All of the hash but the number. The topic is of variable length, and followed by a byte that it cannot contain.
fn begin(topic: ContentTopic, envelope: &[u8], hour: u64) -> Sha256 {
    let digest: [u8; 32] = Sha256::digest(envelope).into();
    let head = hash(LABEL, &[topic.to_string().as_bytes(), &[0], &hour.to_be_bytes(), &digest]);
    Sha256::new_with_prefix(head)
}

fn zero_bits(begun: &Sha256, number: u64) -> u8 {
    let digest: [u8; 32] = begun.clone().chain_update(number.to_be_bytes()).finalize().into();
    let zeros = digest.iter().take_while(|byte| **byte == 0).count();
    let rest = digest.get(zeros).map_or(0, |byte| byte.leading_zeros());
    u8::try_from(zeros * 8).unwrap_or(u8::MAX).saturating_add(u8::try_from(rest).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tertulia_domain::ConversationId;

    const NOW: u64 = 1_800_000_000;

    fn topic(id: u8) -> ContentTopic {
        ContentTopic::of_conversation(&ConversationId::from_bytes([id; 16]))
    }

    #[test]
    fn work_counts_for_its_envelope_topic_and_hour_only() {
        let stamp = Stamp::make(&topic(1), b"envelope", 16, NOW).unwrap();
        stamp.verify(&topic(1), b"envelope", 16, NOW).unwrap();
        stamp.verify(&topic(1), b"envelope", 16, NOW + 3600).unwrap();
        for refused in [
            stamp.verify(&topic(2), b"envelope", 16, NOW),
            stamp.verify(&topic(1), b"another", 16, NOW),
            Stamp { number: stamp.number + 1, ..stamp }.verify(&topic(1), b"envelope", 16, NOW),
            Stamp { hour: stamp.hour + 1, ..stamp }.verify(&topic(1), b"envelope", 16, NOW),
            stamp.verify(&topic(1), b"envelope", 60, NOW),
        ] {
            assert!(matches!(refused, Err(StampError::TooEasy { .. })), "{refused:?}");
        }
        let late = stamp.verify(&topic(1), b"envelope", 16, NOW + 3 * 3600);
        assert!(matches!(late, Err(StampError::Hour { .. })), "{late:?}");
    }

    #[test]
    fn what_is_long_takes_more_work() {
        for (length, difficulty) in [
            (0, 18),
            (1136, 18),
            (4095, 18),
            (4096, 19),
            (16383, 19),
            (16384, 20),
            ((1 << 20) + 112, 23),
            (crate::wire::MAX_ENVELOPE, 24),
            (usize::MAX, MAX_DIFFICULTY),
        ] {
            assert_eq!(difficulty_of(18, length), difficulty, "{length}");
        }
        assert_eq!(difficulty_of(0, 1 << 20), 0);
        assert_eq!(difficulty_of(MAX_DIFFICULTY, 1 << 20), MAX_DIFFICULTY);
        assert_eq!(difficulty_of(60, 0), 60);
    }

    #[test]
    fn no_difficulty_costs_one_hash_and_an_absurd_one_is_refused() {
        assert_eq!(Stamp::make(&topic(1), b"", 0, NOW).unwrap().number, 0);
        let absurd = StampError::TooHard { wanted: 200, max: MAX_DIFFICULTY };
        assert_eq!(Stamp::make(&topic(1), b"", 200, NOW), Err(absurd));
    }

    #[test]
    fn work_that_nobody_wants_any_more_ends() {
        let mut asked = 0;
        let made = Stamp::make_while(&topic(1), b"envelope", MAX_DIFFICULTY, NOW, || {
            asked += 1;
            asked < 3
        });
        assert_eq!((made, asked), (Ok(None), 3));
    }
}
