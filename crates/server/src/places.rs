//! How many requests a relay has in hand at once, in all and of one address: each holds a page, an envelope or a socket.

use crate::{error::ApiError, metrics::Metrics};
use metrics::{Counter, Gauge};
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tertulia_api::Code;

/// After how many seconds to come again when there is no place.
const COME_AGAIN: u64 = 5;

/// The places of one relay.
pub(crate) struct Places {
    all: usize,
    each: usize,
    taken: Arc<Taken>,
    refused: Counter,
}

struct Taken {
    by_address: Mutex<HashMap<IpAddr, usize>>,
    gauge: Gauge,
}

impl Taken {
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.by_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place, given back when it is dropped.
pub(crate) struct Place {
    taken: Arc<Taken>,
    address: IpAddr,
}

impl Places {
    /// So many in all, and of each address.
    pub(crate) fn new(all: usize, each: usize, metrics: &Metrics) -> Self {
        let taken = Taken { by_address: Mutex::default(), gauge: metrics.relay_places() };
        Self { all, each, taken: Arc::new(taken), refused: metrics.refused("relay_places") }
    }

    /// A place for this address, or `rate-limited`; `unavailable` if there is none for anybody.
    pub(crate) fn take(&self, address: IpAddr) -> Result<Place, ApiError> {
        let mut taken = self.taken.lock();
        // There are as many addresses as places at most.
        let error = if taken.values().sum::<usize>() >= self.all {
            let mut problem =
                tertulia_api::Problem::new(Code::Unavailable, "Too many read here at this moment.");
            problem.retry_after = Some(COME_AGAIN);
            ApiError::Refused(Box::new(problem))
        } else {
            let own = taken.entry(address).or_default();
            if *own < self.each {
                *own += 1;
                drop(taken);
                self.taken.gauge.increment(1.0);
                return Ok(Place { taken: Arc::clone(&self.taken), address });
            }
            ApiError::rate_limited(COME_AGAIN)
        };
        drop(taken);
        self.refused.increment(1);
        Err(error)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock();
        if let Some(own) = taken.get_mut(&self.address) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.address);
            }
        }
        drop(taken);
        self.taken.gauge.decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(result: Result<Place, ApiError>) -> String {
        let Err(ApiError::Refused(problem)) = result else { return "taken".to_owned() };
        problem.code
    }

    #[test]
    fn one_address_has_its_share_and_all_have_theirs() {
        let (a, b, c) = (IpAddr::from([1; 4]), IpAddr::from([2; 4]), IpAddr::from([3; 4]));
        let places = Places::new(3, 2, &Metrics::new());
        let held: Vec<_> = [a, a, b].into_iter().map(|address| places.take(address)).collect();
        assert!(held.iter().all(Result::is_ok));
        assert_eq!(code(places.take(c)), "unavailable");
        drop(held);
        assert!(places.taken.lock().is_empty());
        let held: Vec<_> = [a, a].into_iter().map(|address| places.take(address)).collect();
        assert_eq!(code(places.take(a)), "rate-limited");
        assert_eq!(code(places.take(b)), "taken");
        drop(held);
        assert!(places.taken.lock().is_empty(), "nothing is kept of who has gone");
    }
}
