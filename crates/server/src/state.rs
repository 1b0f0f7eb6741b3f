//! What every request can reach.

use crate::{
    config::Limits, limits::Limiters, metrics::Metrics, mls::Observer, password::Passwords,
    shutdown::Shutdown, storage::Storage, typing::TypingBoard, wake::Wake,
};
use std::{
    ops::Deref,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tertulia_domain::Domain;

/// The hub as its handlers see it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct AppState(Arc<Hub>);

/// See [`AppState`].
pub(crate) struct Hub {
    pub(crate) domain: Domain,
    pub(crate) storage: Storage,
    pub(crate) wake: Wake,
    pub(crate) typing: TypingBoard,
    pub(crate) limits: Limits,
    pub(crate) limiters: Limiters,
    pub(crate) passwords: Passwords,
    pub(crate) observer: Arc<Observer>,
    pub(crate) metrics: Metrics,
    pub(crate) shutdown: Shutdown,
    /// Whether `X-Forwarded-For` is to be believed.
    pub(crate) behind_proxy: bool,
    /// How long guests are let in; none if they are not.
    pub(crate) guest_lifetime: Option<Duration>,
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

/// Now, in milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(); // a clock before 1970 reads 0
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
