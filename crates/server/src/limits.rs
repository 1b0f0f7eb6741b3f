//! Rates: sign-ups by address, failed log-ins by handle and address, requests by session.

use crate::{
    config::{Limits, Rate},
    error::ApiError,
};
use std::{
    hash::{BuildHasher as _, Hash, RandomState},
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};
use tertulia_domain::Handle;

/// Cells of one limiter.
const CELLS: usize = 1 << 15;

/// The rates of one hub.
pub(crate) struct Limiters {
    /// Requests by the hash of the session's token.
    pub(crate) requests: Limiter<[u8; 32]>,
    /// Sign-ups by address.
    pub(crate) sign_ups: Limiter<IpAddr>,
    /// Failed log-ins by handle and address.
    pub(crate) failed_log_ins: Limiter<(Handle, IpAddr)>,
}

impl Limiters {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            requests: Limiter::new(limits.requests),
            sign_ups: Limiter::new(limits.sign_ups),
            failed_log_ins: Limiter::new(limits.failed_log_ins),
        }
    }
}

/// One rate for each key, by the generic cell rate algorithm (ITU-T I.371, annex A).
///
/// A log-in is counted before its password is looked at, or many at once would slip through, and given back when it was
/// right; rate-limiting crates cannot give back. The memory is fixed: keys share cells by a hash that nobody outside
/// can predict, so that inventing keys neither fills memory nor aims at somebody's cell.
pub(crate) struct Limiter<K> {
    /// For each cell the time at which it will be back at its full rate, in nanoseconds after `start`. None when there
    /// is no limit.
    cells: Box<[AtomicU64]>,
    /// What one request costs, in nanoseconds.
    cost: u64,
    /// How far ahead of now a cell may be and still take a request.
    tolerance: u64,
    start: Instant,
    hasher: RandomState,
    key: std::marker::PhantomData<fn(&K)>,
}

impl<K: Hash> Limiter<K> {
    fn new(rate: Rate) -> Self {
        let cost = u64::try_from(rate.period.as_nanos()).unwrap_or(u64::MAX);
        let cells = if rate.burst == 0 { 0 } else { CELLS };
        Self {
            cells: (0..cells).map(|_| AtomicU64::new(0)).collect(),
            cost,
            tolerance: cost.saturating_mul(u64::from(rate.burst.saturating_sub(1))),
            start: Instant::now(),
            hasher: RandomState::new(),
            key: std::marker::PhantomData,
        }
    }

    /// Counts one, or answers `rate-limited` and counts none.
    pub(crate) fn take(&self, key: &K) -> Result<(), ApiError> {
        let Some(cell) = self.cell(key) else { return Ok(()) };
        let now = self.now();
        cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
            let full_at = full_at.max(now);
            (full_at - now <= self.tolerance).then(|| full_at.saturating_add(self.cost))
        })
        .map(|_| ())
        .map_err(|full_at| {
            let wait = Duration::from_nanos(full_at.saturating_sub(now).saturating_sub(self.tolerance));
            ApiError::rate_limited(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
        })
    }

    /// Takes back one that was counted.
    pub(crate) fn give_back(&self, key: &K) {
        if let Some(cell) = self.cell(key) {
            let give = |full_at: u64| Some(full_at.saturating_sub(self.cost));
            let _ = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, give); // never refused
        }
    }

    fn cell(&self, key: &K) -> Option<&AtomicU64> {
        let index = self.hasher.hash_one(key) % CELLS as u64;
        self.cells.get(usize::try_from(index).unwrap_or_default())
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn a_burst_is_allowed_and_then_the_wait_is_told() {
        let limiter = Limiter::new(Rate { burst: 3, period: HOUR });
        assert!((0..3).all(|_| limiter.take(&"a").is_ok()));
        let Err(ApiError::Refused(problem)) = limiter.take(&"a") else { panic!("the fourth was allowed") };
        assert_eq!(problem.code, "rate-limited");
        let wait = problem.retry_after.unwrap_or_default();
        assert!((3500..=3600).contains(&wait), "{wait}");
    }

    #[test]
    fn what_is_given_back_was_not_counted() {
        let limiter = Limiter::new(Rate { burst: 1, period: HOUR });
        for _ in 0..10 {
            assert!(limiter.take(&"a").is_ok());
            limiter.give_back(&"a");
        }
        assert!(limiter.take(&"a").is_ok());
        assert!(limiter.take(&"a").is_err());
    }

    #[test]
    fn without_a_limit_nothing_is_refused() {
        let limiter = Limiter::new(Rate::UNLIMITED);
        assert!((0..1000).all(|_| limiter.take(&"a").is_ok()));
    }
}
