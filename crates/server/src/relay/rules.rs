//! What a relay decides, without asking anybody: what a cursor says, what is cut, what finds room.

use crate::config::RelayLimits;
use std::{fmt, time::Duration};
use tertulia_api::relay::NEWEST;
use tertulia_conversation::topic::ContentTopic;

/// The identity of what a relay keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogId(pub(crate) [u8; 16]);

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// From where on a topic is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// From the first that is kept.
    Oldest,
    /// From now on.
    Newest,
    /// After this position of this log.
    After(LogId, i64),
}

impl Start {
    /// Reads what a client gave; none if no relay gives such a cursor.
    pub(crate) fn parse(cursor: Option<&str>) -> Option<Self> {
        let text = match cursor {
            None => return Some(Self::Oldest),
            Some(NEWEST) => return Some(Self::Newest),
            Some(text) => text,
        };
        let (log, position) = text.split_once('-')?;
        let mut id = [0; 16];
        hex::decode_to_slice(log, &mut id).ok()?;
        let position = position.parse().ok().filter(|position| *position >= 0)?;
        let from = Self::After(LogId(id), position);
        // One spelling for each.
        (from.cursor().as_deref() == Some(text)).then_some(from)
    }

    /// The cursor, if it says where one has come to.
    pub(crate) fn cursor(self) -> Option<String> {
        match self {
            Self::After(log, position) => Some(format!("{log}-{position}")),
            Self::Oldest | Self::Newest => None,
        }
    }

    /// The position to go on after, and whether something is missed, in this log with a topic of which so much is there.
    pub(crate) fn begin(self, log: LogId, topic: Extent) -> (i64, bool) {
        match self {
            Self::Oldest => (topic.cut, false),
            Self::Newest => (topic.position, false),
            Self::After(of, position) if of == log && (topic.cut..=topic.position).contains(&position) => {
                (position, false)
            }
            // Cut out; or of a log that is gone, all of which is missed, and all of this one is new.
            Self::After(..) => (topic.cut, true),
        }
    }
}

/// What there is of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Extent {
    /// The last position that was given out.
    pub(crate) position: i64,
    /// Up to here nothing is kept any more.
    pub(crate) cut: i64,
    /// Bytes of the envelopes that are kept.
    pub(crate) bytes: i64,
}

/// How much a relay keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// Of one topic, in bytes.
    pub(crate) topic: i64,
    /// Of all, in bytes.
    pub(crate) all: i64,
}

/// What there is no room in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// The topic.
    Topic,
    /// The relay.
    Relay,
}

impl Room {
    pub(crate) fn of(limits: &RelayLimits) -> Self {
        let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        Self { topic: bytes(limits.topic_bytes), all: bytes(limits.bytes) }
    }

    /// Whether an envelope of this size finds room beside what there is in its topic, and in all.
    pub(crate) fn take(self, topic: i64, all: i64, size: i64) -> Result<(), Full> {
        if topic.saturating_add(size) > self.topic {
            Err(Full::Topic)
        } else if all.saturating_add(size) > self.all {
            Err(Full::Relay)
        } else {
            Ok(())
        }
    }

    /// What each topic has too much of, in bytes: a topic is to have half of the room that it has at most, and all together half of
    /// all, for which each gives in proportion. The other half is for what may not be cut yet.
    pub(crate) fn excess(self, topics: &[(ContentTopic, Extent)]) -> Vec<(ContentTopic, i64)> {
        let kept = |extent: &Extent| extent.bytes.min(self.topic / 2);
        let all: i128 = topics.iter().map(|(_, extent)| i128::from(kept(extent))).sum();
        let most = i128::from(self.all / 2);
        let share = |extent: &Extent| {
            let kept = i128::from(kept(extent));
            let share = if all > most { kept * most / all } else { kept };
            extent.bytes.saturating_sub(i64::try_from(share).unwrap_or(i64::MAX))
        };
        topics
            .iter()
            .map(|(topic, extent)| (*topic, share(extent)))
            .filter(|(_, excess)| *excess > 0)
            .collect()
    }
}

/// What is cut out of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cutting {
    /// All that was taken before, in milliseconds since 1970.
    pub(crate) before: i64,
    /// So many bytes in all,
    pub(crate) excess: i64,
    /// though nothing that was taken after this time.
    pub(crate) spare_after: i64,
}

impl Cutting {
    /// What is cut at this time.
    pub(crate) fn at(now: i64, limits: &RelayLimits, excess: i64) -> Self {
        let ago = |time: Duration| now.saturating_sub(i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
        Self { before: ago(limits.retention), excess, spare_after: ago(limits.spare) }
    }

    /// How many of these envelopes, the oldest of a topic with their sizes and times; and their bytes.
    pub(crate) fn due(mut self, oldest: impl IntoIterator<Item = (i64, i64)>) -> (usize, i64) {
        let (mut count, mut bytes) = (0, 0);
        for (size, taken_at) in oldest {
            if taken_at >= self.before && (self.excess <= 0 || taken_at > self.spare_after) {
                break;
            }
            self.excess = self.excess.saturating_sub(size);
            (count, bytes) = (count + 1, bytes + size);
        }
        (count, bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LOG: LogId = LogId([0xab; 16]);

    #[test]
    fn a_cursor_is_read_as_it_was_given_and_in_no_other_spelling() {
        let from = Start::After(LOG, 17);
        let cursor = from.cursor().unwrap();
        assert_eq!(cursor, "abababababababababababababababab-17");
        assert_eq!(Start::parse(Some(&cursor)), Some(from));
        assert_eq!(Start::parse(None), Some(Start::Oldest));
        assert_eq!(Start::parse(Some("newest")), Some(Start::Newest));
        for text in [
            "",
            "17",
            "ab-17",
            "ABABABABABABABABABABABABABABABAB-17",
            "abababababababababababababababab-017",
            "abababababababababababababababab--17",
            "abababababababababababababababab-+17",
            "abababababababababababababababab-9223372036854775808",
        ] {
            assert_eq!(Start::parse(Some(text)), None, "{text}");
        }
    }

    #[test]
    fn who_reads_on_misses_nothing_and_who_comes_late_is_told() {
        let topic = Extent { position: 20, cut: 5, bytes: 0 };
        assert_eq!(Start::Oldest.begin(LOG, topic), (5, false));
        assert_eq!(Start::Newest.begin(LOG, topic), (20, false));
        for position in [5, 12, 20] {
            assert_eq!(Start::After(LOG, position).begin(LOG, topic), (position, false));
        }
        assert_eq!(Start::After(LOG, 4).begin(LOG, topic), (5, true));
        // Of a relay whose database was replaced, or that has forgotten what it gave out.
        assert_eq!(Start::After(LogId([1; 16]), 12).begin(LOG, topic), (5, true));
        assert_eq!(Start::After(LOG, 21).begin(LOG, topic), (5, true));
        assert_eq!(Start::After(LOG, 0).begin(LOG, Extent::default()), (0, false));
    }

    #[test]
    fn what_finds_no_room_is_refused() {
        let room = Room { topic: 100, all: 150 };
        assert_eq!(room.take(60, 60, 40), Ok(()));
        assert_eq!(room.take(61, 61, 40), Err(Full::Topic));
        assert_eq!(room.take(0, 111, 40), Err(Full::Relay));
        assert_eq!(room.take(i64::MAX, 0, 1), Err(Full::Topic));
    }

    #[test]
    fn each_topic_gives_up_what_is_more_than_its_share() {
        let topics: Vec<_> = ContentTopic::all()
            .zip([10, 50, 90])
            .map(|(topic, bytes)| (topic, Extent { bytes, ..Extent::default() }))
            .collect();
        let excess = |room: Room| {
            room.excess(&topics)
                .into_iter()
                .map(|(topic, excess)| (topic.number(), excess))
                .collect::<Vec<_>>()
        };
        assert_eq!(excess(Room { topic: 100, all: 1000 }), [(2, 40)]);
        // Of 10 + 50 + 50 a half.
        assert_eq!(excess(Room { topic: 100, all: 110 }), [(0, 5), (1, 25), (2, 65)]);
        assert_eq!(excess(Room { topic: 1000, all: 1000 }), []);
    }

    #[test]
    fn what_is_old_is_cut_and_what_is_young_is_never_cut_for_want_of_room() {
        let cutting = Cutting { before: 100, excess: 0, spare_after: 200 };
        let oldest = [(1, 98), (2, 99), (4, 100), (8, 200), (16, 201)];
        assert_eq!(cutting.due(oldest), (2, 3));
        assert_eq!(Cutting { excess: 4, ..cutting }.due(oldest), (3, 7));
        assert_eq!(Cutting { excess: 1000, ..cutting }.due(oldest), (4, 15));
        assert_eq!(cutting.due([]), (0, 0));
    }
}
