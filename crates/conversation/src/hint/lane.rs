//! Which generations of a chain are expected.

use std::ops::Range;

/// A chain as a receiver sees it: the window ahead of what was received, and what in the same distance behind has not come yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Lane {
    /// The generation after the highest that was received.
    pub(crate) next: u32,
    /// Bit n: generation `next - 1 - n` was not received yet.
    pub(crate) late: u32,
}

/// What receiving a generation changes.
pub(crate) struct Moved {
    pub(crate) lane: Lane,
    /// Generations that are expected from now on.
    pub(crate) new: Range<u32>,
    /// Bit n: generation `lane.next - 1 - n` is given up.
    pub(crate) given_up: u64,
}

impl Lane {
    /// All generations that are expected.
    pub(crate) fn expected(self, window: u32) -> impl Iterator<Item = u32> {
        let late = (0..u32::BITS).filter(move |bit| self.late & (1 << bit) != 0);
        let late = late.filter_map(move |bit| self.next.checked_sub(bit + 1));
        late.chain(self.next..self.next.saturating_add(window))
    }

    /// Whether this generation is expected.
    pub(crate) fn expects(self, generation: u32, window: u32) -> bool {
        match self.next.checked_sub(generation) {
            None | Some(0) => generation < self.next.saturating_add(window),
            Some(behind) => behind <= u32::BITS && self.late & (1 << (behind - 1)) != 0,
        }
    }

    /// The lane once a generation that is [expected](Self::expects) was received.
    pub(crate) fn received(self, generation: u32, window: u32) -> Moved {
        let Self { next, late } = self;
        if let Some(behind) = next.checked_sub(generation).filter(|behind| *behind > 0) {
            let late = late & !(1_u32 << (behind - 1).min(31));
            return Moved { lane: Self { next, late }, new: 0..0, given_up: 0 };
        }
        // At most the window, which has 32 generations, so that nothing is shifted out of 64 bits.
        let by = (generation - next).min(u32::BITS - 1) + 1;
        let late = (u64::from(late) << by) | ((1 << by) - 2);
        let kept = (1 << window.min(u32::BITS)) - 1;
        let lane = Self { next: generation.saturating_add(1), late: u32::try_from(late & kept).unwrap_or(0) };
        let new = next.saturating_add(window)..lane.next.saturating_add(window);
        Moved { lane, new, given_up: late & !kept }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        /// Against a set of all generations that were received.
        #[test]
        fn a_lane_expects_the_window_ahead_and_what_is_missing_behind(
            window in prop::sample::select(vec![4_u32, 32]),
            steps in proptest::collection::vec(0_u32..64, 0..200),
        ) {
            let mut lane = Lane::default();
            let mut received = BTreeSet::new();
            for step in steps {
                let expected: Vec<_> = lane.expected(window).collect();
                let highest: u32 = received.last().map_or(0, |highest| highest + 1);
                let model: BTreeSet<u32> = (highest.saturating_sub(window)..highest + window)
                    .filter(|generation| !received.contains(generation))
                    .collect();
                prop_assert_eq!(expected.iter().copied().collect::<BTreeSet<_>>(), model.clone());
                prop_assert!((0..highest + 100).all(|g| lane.expects(g, window) == model.contains(&g)));

                let generation = expected[step as usize % expected.len()];
                let moved = lane.received(generation, window);
                received.insert(generation);
                let after: BTreeSet<_> = moved.lane.expected(window).collect();
                let given_up: BTreeSet<_> = (0..64)
                    .filter(|bit| moved.given_up & (1 << bit) != 0)
                    .filter_map(|bit| moved.lane.next.checked_sub(bit + 1))
                    .collect();
                let mut predicted: BTreeSet<_> = model.into_iter().chain(moved.new.clone()).collect();
                predicted.remove(&generation);
                predicted.retain(|generation| !given_up.contains(generation));
                prop_assert_eq!(after, predicted);
                lane = moved.lane;
            }
        }
    }

    #[test]
    fn at_the_end_of_the_chain_nothing_overflows() {
        let lane = Lane { next: u32::MAX - 1, late: 0 };
        assert_eq!(lane.expected(32).collect::<Vec<_>>(), [u32::MAX - 1]);
        let moved = lane.received(u32::MAX - 1, 32);
        assert_eq!(moved.lane.expected(32).count(), 0);
        assert!(moved.new.is_empty());
    }
}
