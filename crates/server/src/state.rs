//! What every request can reach.

use crate::{
    bus::Bus,
    config::Limits,
    cursors::Cursors,
    error::ApiError,
    limits::Limiters,
    metrics::Metrics,
    mls::Observer,
    password::Passwords,
    places::Places,
    retention::Spans,
    sessions::RecentSessions,
    shutdown::Shutdown,
    storage::{Storage, quotas},
    typing::TypingBoard,
    uploads::Uploads,
    wake::Wake,
};
use std::{
    num::NonZeroU32,
    ops::Deref,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tertulia_api::UserDevice;
use tertulia_domain::{Domain, UserId};

/// The hub as its handlers see it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct AppState(Arc<Hub>);

/// See [`AppState`].
pub(crate) struct Hub {
    pub(crate) domain: Domain,
    pub(crate) storage: Storage,
    pub(crate) sessions: RecentSessions,
    pub(crate) wake: Wake,
    pub(crate) bus: Bus,
    pub(crate) typing: TypingBoard,
    pub(crate) limits: Limits,
    pub(crate) limiters: Limiters,
    /// What reads or waits for events and long answers, by device.
    pub(crate) readers: Places<UserDevice>,
    /// What there is of bodies at once, by address.
    pub(crate) uploads: Uploads,
    pub(crate) passwords: Passwords,
    pub(crate) observer: Arc<Observer>,
    pub(crate) cursors: Arc<Cursors>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) shutdown: Shutdown,
    /// Whether `X-Forwarded-For` is to be believed.
    pub(crate) behind_proxy: bool,
    /// How long guests are let in; none if they are not.
    pub(crate) guest_lifetime: Option<Duration>,
    /// For how long it keeps what it does not keep for ever.
    pub(crate) spans: Spans,
}

impl AppState {
    pub(crate) fn new(hub: Hub) -> Self {
        Self(Arc::new(hub))
    }
}

impl Deref for AppState {
    type Target = Hub;

    fn deref(&self) -> &Hub {
        &self.0
    }
}

impl Hub {
    /// Counts people whom a user is about to add to a conversation, or refuses.
    pub(crate) fn take_adds(&self, user: UserId, people: usize) -> Result<(), ApiError> {
        match NonZeroU32::new(u32::try_from(people).unwrap_or(u32::MAX)) {
            Some(people) => self.limiters.adds.take_many(&user, people),
            None => Ok(()),
        }
    }

    /// Counts what was refused because a user has as much as this hub allows.
    pub(crate) fn count_quota(&self, error: &ApiError) {
        let ApiError::Refused(problem) = error else { return };
        let limit = match problem.quota.as_ref().map(|quota| quota.what.as_str()) {
            Some(quotas::STORED_BYTES) => "user_bytes",
            Some(quotas::CONVERSATIONS) => "user_conversations",
            _ => return,
        };
        self.metrics.refused(limit).increment(1);
    }
}

/// Now, in milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(); // a clock before 1970 reads 0
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
