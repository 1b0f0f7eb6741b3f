//! Rates: sign-ups by address, log-ins by address and by handle and address, requests by session.

use crate::{
    config::{Limits, Rate},
    error::ApiError,
    metrics::Metrics,
    storage::quotas,
};
use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
};
use metrics::Counter;
use std::{
    hash::{BuildHasher as _, Hash, RandomState},
    marker::PhantomData,
    net::IpAddr,
    num::NonZeroU32,
};
use tertulia_api::UserDevice;
use tertulia_domain::{Handle, UserId};

/// Keys share so many cells, by a hash that nobody outside can predict: inventing keys neither fills memory nor aims at
/// somebody's cell.
const CELLS: u64 = 1 << 15;

/// The rates of one hub.
pub(crate) struct Limiters {
    /// Requests by the hash of the session's token.
    pub(crate) requests: Limiter<[u8; 32]>,
    /// Searches by user.
    pub(crate) searches: Limiter<UserId>,
    /// Notices of typing by device.
    pub(crate) typing: Limiter<UserDevice>,
    /// Sign-ups by address.
    pub(crate) sign_ups: Limiter<IpAddr>,
    /// Log-ins by handle and address. The right password counts too: what is counted after the password was looked at
    /// lets many wrong ones through at once.
    pub(crate) log_ins: Limiter<(Handle, IpAddr)>,
    /// Log-ins by address alone: handles can be invented without end.
    pub(crate) log_ins_per_address: Limiter<IpAddr>,
    /// People who are added to conversations, by who adds them.
    pub(crate) adds: Limiter<UserId>,
    /// Attempts to come into conversations uninvited, by user.
    pub(crate) joins: Limiter<UserId>,
}

impl Limiters {
    pub(crate) fn new(limits: &Limits, metrics: &Metrics) -> Self {
        Self {
            requests: Limiter::new(limits.requests, metrics.refused("requests")),
            searches: Limiter::new(limits.searches, metrics.refused("searches")),
            typing: Limiter::new(limits.typing, metrics.refused("typing")),
            sign_ups: Limiter::new(limits.sign_ups, metrics.refused("sign_ups")),
            log_ins: Limiter::new(limits.log_ins, metrics.refused("log_ins")),
            log_ins_per_address: Limiter::new(
                limits.log_ins_per_address,
                metrics.refused("log_ins_per_address"),
            ),
            adds: Limiter::new(limits.adds, metrics.refused("adds")),
            joins: Limiter::new(limits.joins, metrics.refused("joins")),
        }
    }
}

/// One rate for each key.
pub(crate) struct Limiter<K> {
    /// None without a limit.
    cells: Option<DefaultKeyedRateLimiter<u64>>,
    clock: DefaultClock,
    hasher: RandomState,
    refused: Counter,
    key: PhantomData<fn(&K)>,
}

impl<K: Hash> Limiter<K> {
    pub(crate) fn new(rate: Rate, refused: Counter) -> Self {
        let quota = NonZeroU32::new(rate.burst)
            .and_then(|burst| Quota::with_period(rate.period).map(|quota| quota.allow_burst(burst)));
        Self {
            cells: quota.map(RateLimiter::keyed),
            clock: DefaultClock::default(),
            hasher: RandomState::new(),
            refused,
            key: PhantomData,
        }
    }

    /// Counts one, or answers `rate-limited` and counts none.
    pub(crate) fn take(&self, key: &K) -> Result<(), ApiError> {
        self.take_many(key, NonZeroU32::MIN)
    }

    /// Counts so many, or answers `rate-limited` and counts none; `quota-exceeded` if it is more than there ever is at once.
    pub(crate) fn take_many(&self, key: &K, count: NonZeroU32) -> Result<(), ApiError> {
        let Some(cells) = &self.cells else { return Ok(()) };
        let Err(not_until) =
            cells.check_key_n(&(self.hasher.hash_one(key) % CELLS), count).map_err(|most| {
                self.refused.increment(1);
                let detail = format!("That is {count} at once; this hub allows {}.", most.0);
                quotas::exceeded(quotas::MEMBERS_AT_ONCE, most.0.into(), detail)
            })?
        else {
            return Ok(());
        };
        self.refused.increment(1);
        let wait = not_until.wait_time_from(self.clock.now());
        Err(ApiError::rate_limited(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn a_burst_is_allowed_and_then_the_wait_is_told() {
        let limiter = Limiter::new(Rate { burst: 3, period: HOUR }, Counter::noop());
        assert!((0..3).all(|_| limiter.take(&"a").is_ok()));
        let Err(ApiError::Refused(problem)) = limiter.take(&"a") else { panic!("the fourth was allowed") };
        assert_eq!(problem.code, "rate-limited");
        let wait = problem.retry_after.unwrap_or_default();
        assert!((3500..=3600).contains(&wait), "{wait}");
    }

    #[test]
    fn without_a_limit_nothing_is_refused() {
        let limiter = Limiter::new(Rate::UNLIMITED, Counter::noop());
        assert!((0..1000).all(|_| limiter.take(&"a").is_ok()));
    }
}
