//! How often something is measured, and what of it counts.

use std::time::{Duration, Instant};

/// Stop after so long, or so many.
const ENOUGH: Duration = Duration::from_millis(1500);
const MOST: usize = 300;

/// Not fewer than this, whatever it takes.
const LEAST: usize = 7;

/// The first ones fill caches and do not count.
const WARM_UP: usize = 2;

/// Repeated measurements of one thing.
#[derive(Default)]
pub(crate) struct Samples {
    times: Vec<Duration>,
    left_out: usize,
}

impl Samples {
    /// Measures `once` until it is known well enough.
    pub(crate) fn of<E>(mut once: impl FnMut() -> Result<(), E>) -> Result<Self, E> {
        let mut samples = Self::default();
        while samples.are_wanted() {
            let begun = Instant::now();
            once()?;
            samples.push(begun.elapsed());
        }
        Ok(samples)
    }

    /// Whether one more is wanted.
    pub(crate) fn are_wanted(&self) -> bool {
        let count = self.times.len();
        count < LEAST || count < MOST && self.times.iter().sum::<Duration>() < ENOUGH
    }

    pub(crate) fn push(&mut self, time: Duration) {
        if self.left_out < WARM_UP {
            self.left_out += 1;
        } else {
            self.times.push(time);
        }
    }

    /// Also the first one, of what is too long to be done for warming up.
    pub(crate) fn push_cold(&mut self, time: Duration) {
        self.times.push(time);
    }

    pub(crate) fn count(&self) -> usize {
        self.times.len()
    }

    /// Zero of none.
    pub(crate) fn median(&self) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or_default()
    }
}
