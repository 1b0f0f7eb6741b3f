//! How much there may be in hand at once, in all and of one address or device: each place holds a page, an envelope, a socket
//! or a piece of a body.

use crate::error::ApiError;
use metrics::{Counter, Gauge};
use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tertulia_api::Code;

/// After how many seconds to come again when there is no place.
const COME_AGAIN: u64 = 5;

/// The places of one hub or relay.
pub(crate) struct Places<K: Copy + Eq + Hash> {
    all: usize,
    each: usize,
    taken: Arc<Taken<K>>,
    refused: Counter,
}

struct Taken<K> {
    counts: Mutex<Counts<K>>,
    gauge: Gauge,
}

struct Counts<K> {
    all: usize,
    /// Of whom there are any.
    by_key: HashMap<K, usize>,
}

impl<K> Taken<K> {
    fn lock(&self) -> MutexGuard<'_, Counts<K>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One place or several, given back when this is dropped.
pub(crate) struct Place<K: Copy + Eq + Hash> {
    taken: Arc<Taken<K>>,
    key: K,
    number: usize,
}

impl<K: Copy + Eq + Hash> Places<K> {
    /// So many in all, and of each. The gauge tells how many are taken, and the counter how often there was none.
    pub(crate) fn new(all: usize, each: usize, gauge: Gauge, refused: Counter) -> Self {
        let counts = Mutex::new(Counts { all: 0, by_key: HashMap::new() });
        Self { all, each, taken: Arc::new(Taken { counts, gauge }), refused }
    }

    /// A place, or `rate-limited` if this one has as many as each may have; `unavailable` if there is none for anybody.
    pub(crate) fn take(&self, key: K) -> Result<Place<K>, ApiError> {
        self.take_many(key, 1)
    }

    /// So many places, or none of them and the same errors.
    pub(crate) fn take_many(&self, key: K, number: usize) -> Result<Place<K>, ApiError> {
        let mut counts = self.taken.lock();
        let error = if number > self.all.saturating_sub(counts.all) {
            let mut problem =
                tertulia_api::Problem::new(Code::Unavailable, "Too much is in hand here at this moment.");
            problem.retry_after = Some(COME_AGAIN);
            ApiError::Refused(Box::new(problem))
        } else {
            let own = counts.by_key.get(&key).copied().unwrap_or(0);
            if number <= self.each.saturating_sub(own) {
                counts.by_key.insert(key, own + number);
                counts.all += number;
                drop(counts);
                self.taken.gauge.increment(as_number(number));
                return Ok(Place { taken: Arc::clone(&self.taken), key, number });
            }
            ApiError::rate_limited(COME_AGAIN)
        };
        drop(counts);
        self.refused.increment(1);
        Err(error)
    }
}

impl<K: Copy + Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut counts = self.taken.lock();
        counts.all -= self.number;
        if let Some(own) = counts.by_key.get_mut(&self.key) {
            *own -= self.number;
            if *own == 0 {
                counts.by_key.remove(&self.key);
            }
        }
        drop(counts);
        self.taken.gauge.decrement(as_number(self.number));
    }
}

/// As gauges count.
fn as_number(places: usize) -> f64 {
    f64::from(u32::try_from(places).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(result: Result<Place<u8>, ApiError>) -> String {
        let Err(ApiError::Refused(problem)) = result else { return "taken".to_owned() };
        problem.code
    }

    #[test]
    fn each_has_a_share_and_all_have_theirs() {
        let (a, b, c) = (1, 2, 3);
        let places = Places::new(3, 2, Gauge::noop(), Counter::noop());
        let held: Vec<_> = [a, a, b].into_iter().map(|key| places.take(key)).collect();
        assert!(held.iter().all(Result::is_ok));
        assert_eq!(code(places.take(c)), "unavailable");
        drop(held);
        assert!(places.taken.lock().by_key.is_empty());
        let held: Vec<_> = [a, a].into_iter().map(|key| places.take(key)).collect();
        assert_eq!(code(places.take(a)), "rate-limited");
        assert_eq!(code(places.take(b)), "taken");
        drop(held);
        assert_eq!(code(places.take_many(a, 3)), "rate-limited");
        let both = places.take_many(a, 2);
        assert_eq!(code(places.take_many(b, 2)), "unavailable", "all of them or none");
        assert_eq!(code(places.take(b)), "taken");
        drop(both);
        assert_eq!(places.taken.lock().all, 0);
        assert!(places.taken.lock().by_key.is_empty(), "nothing is kept of who has gone");
    }
}
