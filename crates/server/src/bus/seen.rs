use super::Positions;
use crate::storage::Position;
use std::collections::BTreeMap;

/// Stretches that are kept while something before them is missing. Of more, the rest counts as missing too.
const AHEAD: usize = 1024;

/// Which positions a node has heard of. All nodes together give them out without gaps, one transaction after the other, so what
/// is missing was stored by another node and not told.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Everything up to here was heard of.
    upto: Position,
    /// What was heard of beyond, by where it begins.
    ahead: BTreeMap<Position, Position>,
}

impl Seen {
    /// Notes that this node has no devices yet that would have to know of anything up to here.
    pub(super) fn begin(&mut self, upto: Position) {
        self.note(Positions { after: self.upto, upto });
    }

    /// Notes that these were heard of.
    pub(super) fn note(&mut self, Positions { after, upto }: Positions) {
        if after > self.upto {
            if self.ahead.len() < AHEAD {
                let end = self.ahead.entry(after).or_insert(upto);
                *end = upto.max(*end);
            }
            return;
        }
        self.upto = self.upto.max(upto);
        while let Some(next) = self.ahead.first_entry()
            && *next.key() <= self.upto
        {
            self.upto = self.upto.max(next.remove());
        }
    }

    /// What was not heard of, from its beginning up to `stored`.
    pub(super) fn missing(&self, stored: Position) -> Option<Positions> {
        (self.upto < stored).then_some(Positions { after: self.upto, upto: stored })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(after: Position, upto: Position) -> Positions {
        Positions { after, upto }
    }

    #[test]
    fn what_comes_in_another_order_is_not_missing() {
        let mut seen = Seen::default();
        for (after, upto) in [(0, 5), (9, 12), (7, 9), (12, 12)] {
            seen.note(positions(after, upto));
        }
        assert_eq!(seen.missing(12), Some(positions(5, 12)));
        seen.note(positions(5, 7));
        assert_eq!(seen.missing(12), None);
        assert_eq!(seen.missing(13), Some(positions(12, 13)));
    }

    #[test]
    fn what_was_found_in_the_log_and_is_told_later_changes_nothing() {
        let mut seen = Seen::default();
        seen.note(positions(0, 10));
        seen.note(positions(12, 14));
        seen.note(positions(10, 13)); // from the log, into what came ahead
        assert_eq!(seen.missing(14), None);
        seen.note(positions(10, 11));
        seen.note(positions(3, 4));
        assert_eq!((seen.missing(14), seen.ahead.len()), (None, 0));
    }

    #[test]
    fn what_waits_for_something_missing_is_bounded_and_then_found_like_it() {
        let mut seen = Seen::default();
        let last = 10 * i64::try_from(AHEAD).unwrap_or_default();
        for after in 1..last {
            seen.note(positions(after, after + 1));
        }
        assert_eq!(seen.ahead.len(), AHEAD);
        let missing = seen.missing(last);
        assert_eq!(missing, Some(positions(0, last)));
        seen.note(missing.expect("compared above"));
        assert_eq!((seen.missing(last), seen.ahead.len()), (None, 0));
    }
}
