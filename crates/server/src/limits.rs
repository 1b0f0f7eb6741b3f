//! Rates: sign-ups by address, log-ins by address and by handle and site, requests by session, unknown tokens by address.

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
    collections::HashMap,
    hash::{BuildHasher as _, Hash, RandomState},
    marker::PhantomData,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::{PoisonError, RwLock},
    time::{Duration, Instant},
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
    /// Look-ups of tokens that are nobody's, by address: those can be invented without end.
    unknown_tokens: Limiter<IpAddr>,
    /// Searches by user.
    pub(crate) searches: Limiter<UserId>,
    /// Handles that a user asks for in full, also to connect with whose they are: the answer tells whether there is such a user.
    pub(crate) look_ups: Limiter<UserId>,
    /// Notices of typing by device.
    pub(crate) typing: Limiter<UserDevice>,
    /// Sign-ups by address.
    pub(crate) sign_ups: Limiter<IpAddr>,
    /// Log-ins by handle and [`site`]. The right password counts too: what is counted after the password was looked at
    /// lets many wrong ones through at once.
    log_ins: Limiter<(Handle, IpAddr)>,
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
            unknown_tokens: Limiter::new(limits.unknown_tokens, metrics.refused("unknown_tokens")),
            searches: Limiter::new(limits.searches, metrics.refused("searches")),
            look_ups: Limiter::new(limits.look_ups, metrics.refused("look_ups")),
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

    /// Whether a token may be looked up for an address, or `rate-limited`: too many of those that came from there were nobody's.
    pub(crate) fn look_up(&self, address: IpAddr) -> Result<(), ApiError> {
        self.unknown_tokens.ask(&address)
    }

    /// Counts a token that was nobody's. Who sent it has the answer; what is over the limit is refused with the next look-up.
    pub(crate) fn was_unknown(&self, address: IpAddr) {
        self.unknown_tokens.count_noted(&address);
    }

    /// Counts a log-in to a handle from an address, or answers `rate-limited`.
    ///
    /// Of an address that has none left the handle is not counted: whoever invents handles would use up the cells of everybody's,
    /// and nobody could log in from anywhere. What is refused for its handle does not count against others at the same address.
    ///
    /// There is no count of a handle over all addresses: whoever used it up would keep the account's owner out
    /// (`docs/decisions/0045-log-ins-to-one-account.md`).
    pub(crate) fn log_in(&self, handle: &Handle, address: IpAddr) -> Result<(), ApiError> {
        self.log_ins_per_address.ask(&address)?;
        self.log_ins.take(&(handle.clone(), site(address)))?;
        self.log_ins_per_address.take_noted(&address)
    }
}

/// One rate for each key.
pub(crate) struct Limiter<K> {
    /// None without a limit.
    cells: Option<DefaultKeyedRateLimiter<u64>>,
    clock: DefaultClock,
    hasher: RandomState,
    refused: Counter,
    /// Until when a cell has none left, where that was noted; as many as there are cells at most.
    used_up: RwLock<HashMap<u64, Instant>>,
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
            used_up: RwLock::default(),
            key: PhantomData,
        }
    }

    /// Counts one, or answers `rate-limited` and counts none.
    pub(crate) fn take(&self, key: &K) -> Result<(), ApiError> {
        self.take_many(key, NonZeroU32::MIN)
    }

    /// The same, and notes until when there is none left, for [`ask`](Self::ask).
    pub(crate) fn take_noted(&self, key: &K) -> Result<(), ApiError> {
        let Some(wait) = self.count_noted(key) else { return Ok(()) };
        self.refused.increment(1);
        Err(rate_limited(wait))
    }

    /// Counts one that is not refused any more. Says how long there is none left, if that is so, and notes it.
    fn count_noted(&self, key: &K) -> Option<Duration> {
        // One is never more than there ever is at once.
        let wait = self.count(key, NonZeroU32::MIN).ok().flatten()?;
        let mut used_up = self.used_up.write().unwrap_or_else(PoisonError::into_inner);
        used_up.insert(self.cell(key), Instant::now() + wait);
        Some(wait)
    }

    /// Counts so many, or answers `rate-limited` and counts none; `quota-exceeded` if it is more than there ever is at once.
    pub(crate) fn take_many(&self, key: &K, count: NonZeroU32) -> Result<(), ApiError> {
        let Some(wait) = self.count(key, count)? else { return Ok(()) };
        self.refused.increment(1);
        Err(rate_limited(wait))
    }

    /// Counts so many, or says how long there are not so many left.
    fn count(&self, key: &K, count: NonZeroU32) -> Result<Option<Duration>, ApiError> {
        let Some(cells) = &self.cells else { return Ok(None) };
        let checked = cells.check_key_n(&self.cell(key), count).map_err(|most| {
            self.refused.increment(1);
            let detail = format!("That is {count} at once; this hub allows {}.", most.0);
            quotas::exceeded(quotas::MEMBERS_AT_ONCE, most.0.into(), detail)
        })?;
        Ok(checked.err().map(|not_until| not_until.wait_time_from(self.clock.now())))
    }

    /// Answers `rate-limited` while there is none left, as far as that was found out, and counts nothing.
    pub(crate) fn ask(&self, key: &K) -> Result<(), ApiError> {
        let until = {
            let used_up = self.used_up.read().unwrap_or_else(PoisonError::into_inner);
            used_up.get(&self.cell(key)).copied()
        };
        let wait = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
        if wait.is_zero() {
            return Ok(());
        }
        self.refused.increment(1);
        Err(rate_limited(wait))
    }

    fn cell(&self, key: &K) -> u64 {
        self.hasher.hash_one(key) % CELLS
    }
}

/// What one customer of a provider has, as far as one account is concerned: an IPv4 address, or the /48 of an IPv6 address. Of the /64s
/// that are counted otherwise, whoever has a /48 has 65,536. That neighbours share it matters only to who logs in to the same account.
fn site(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & (u128::MAX << 80))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// `rate-limited`, with whole seconds to wait.
fn rate_limited(wait: Duration) -> ApiError {
    ApiError::rate_limited(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

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

    fn limiters(per_handle: u32, per_address: u32) -> Limiters {
        let rate = |burst| Rate { burst, period: HOUR };
        let limits =
            Limits { log_ins: rate(per_handle), log_ins_per_address: rate(per_address), ..Limits::default() };
        Limiters::new(&limits, &Metrics::new())
    }

    fn handle(number: u64) -> Handle {
        format!("somebody{number}").parse().unwrap()
    }

    #[test]
    fn who_invents_handles_keeps_nobody_elsewhere_from_logging_in() {
        let limiters = limiters(2, 3);
        let (flood, elsewhere) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        // So many that there would be no cell of a handle left.
        let flood = (0..CELLS * 16).filter(|number| limiters.log_in(&handle(*number), flood).is_ok());
        assert_eq!(flood.count(), 3);
        limiters.log_in(&handle(0), elsewhere).unwrap();
        limiters.log_in(&handle(1), elsewhere).unwrap();
    }

    #[test]
    fn who_guesses_at_one_handle_keeps_no_neighbour_from_logging_in() {
        let (limiters, address) = (limiters(3, 5), IpAddr::from([192, 0, 2, 1]));
        let let_in = (0..100).filter(|_| limiters.log_in(&handle(0), address).is_ok()).count();
        assert_eq!(let_in, 3);
        limiters.log_in(&handle(1), address).unwrap();
        limiters.log_in(&handle(2), address).unwrap();
        assert!(limiters.log_in(&handle(3), address).is_err());
    }

    #[test]
    fn who_has_many_networks_of_one_provider_guesses_at_one_handle_no_oftener() {
        let limiters = limiters(3, 5);
        let network = |number: u16| IpAddr::from([0x2001, 0xdb8, 7, number, 0, 0, 0, 0]);
        let let_in = (0..1000).filter(|number| limiters.log_in(&handle(0), network(*number)).is_ok()).count();
        assert_eq!(let_in, 3);
        // Others log in from there, and the same account from elsewhere.
        limiters.log_in(&handle(1), network(2000)).unwrap();
        limiters.log_in(&handle(0), IpAddr::from([0x2001, 0xdb8, 8, 0, 0, 0, 0, 0])).unwrap();
        limiters.log_in(&handle(0), IpAddr::from([192, 0, 2, 1])).unwrap();
    }

    #[test]
    fn it_can_be_asked_without_counting() {
        let limiter = Limiter::new(Rate { burst: 1, period: HOUR }, Counter::noop());
        limiter.ask(&"a").unwrap();
        limiter.take_noted(&"a").unwrap();
        limiter.ask(&"a").unwrap(); // that there is none left shows with the next
        limiter.take_noted(&"a").unwrap_err();
        let Err(ApiError::Refused(problem)) = limiter.ask(&"a") else { panic!("there was one left") };
        assert!(problem.retry_after.is_some_and(|wait| (3500..=3600).contains(&wait)));
        limiter.ask(&"b").unwrap();
    }
}
