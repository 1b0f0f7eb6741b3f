//! A blind relay: it keeps envelopes by content topics and gives them to whoever asks. In every hub, and alone.
//!
//! It **owns** what is taken (work, shape, room, rates), the order in a topic, and how long anything is kept. It **leaves to others**
//! the database with its writer (`storage`), how nodes wake one another (`bus`), and the connection (`serving`). It knows no account,
//! no group and no member, and shares no table with them: what a hub knows besides does not become known here. Of a hub it asks one
//! thing, what the clock has said before, so that a wrong one has nothing cut early. A relay alone has no table for that: it believes
//! its clock.
//!
//! What is refused is decided before anything is stored; the position of an envelope is durable before it is told. No log line
//! has a topic or an address in it. `docs/spec/relay.md` says what it is for others.

mod app;
mod http;
pub(crate) mod keep;
pub(crate) mod readers;
pub(crate) mod rules;
mod ws;

pub(crate) use self::http::{READ_BYTES, long, quick};
pub use app::RelayServer;

use crate::{
    config::RelayLimits,
    error::ApiError,
    http::BehindProxy,
    limits::Limiter,
    metrics::Metrics,
    places::Places,
    retention::Spans,
    shutdown::Shutdown,
    state::now_ms,
    storage::{Storage, StorageError, relay as kept},
};
use ::metrics::Counter;
use readers::Readers;
use rules::{LogId, Start};
use std::{collections::BTreeSet, net::IpAddr, ops::Deref, sync::Arc, time::Duration};
use tertulia_api::{
    Code,
    relay::{MAX_TOPICS, RelayTerms, TopicPlace},
};
use tertulia_conversation::topic::ContentTopic;
use tokio::sync::{OnceCell, Semaphore};

/// Bytes of envelopes that are being received at once.
const RECEIVED_AT_ONCE: usize = 64 << 20;
/// What of it one permit stands for.
const PERMIT: usize = 1024;

/// The relay as its handlers see it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct RelayState(Arc<Relay>);

/// See [`RelayState`].
pub(crate) struct Relay {
    storage: Storage,
    readers: Readers,
    log: OnceCell<LogId>,
    limits: RelayLimits,
    /// Posts by address.
    posts: Limiter<IpAddr>,
    /// Reads by address, and sockets that are opened.
    reads: Limiter<IpAddr>,
    places: Places<IpAddr>,
    received: Arc<Semaphore>,
    /// Posts that were refused for want of work, or of room.
    too_little_work: Counter,
    full: Counter,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
    behind_proxy: bool,
    /// For how long the hub keeps things, of which this is the relay: it notes what the clock has said. None of a relay alone.
    spans: Option<Spans>,
}

/// What a relay is made of.
pub(crate) struct Parts {
    pub(crate) storage: Storage,
    pub(crate) readers: Readers,
    pub(crate) limits: RelayLimits,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) shutdown: Shutdown,
    pub(crate) behind_proxy: bool,
    pub(crate) spans: Option<Spans>,
}

impl Deref for RelayState {
    type Target = Relay;

    fn deref(&self) -> &Relay {
        &self.0
    }
}

impl BehindProxy for RelayState {
    fn is_behind_proxy(&self) -> bool {
        self.behind_proxy
    }
}

impl RelayState {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { storage, readers, limits, metrics, shutdown, behind_proxy, spans } = parts;
        Self(Arc::new(Relay {
            posts: Limiter::new(limits.posts, metrics.refused("relay_posts")),
            reads: Limiter::new(limits.reads, metrics.refused("relay_reads")),
            places: Places::new(
                limits.places,
                limits.places_per_address,
                metrics.relay_places(),
                metrics.refused("relay_places"),
            ),
            received: Arc::new(Semaphore::new(RECEIVED_AT_ONCE / PERMIT)),
            too_little_work: metrics.refused("relay_work"),
            full: metrics.refused("relay_room"),
            log: OnceCell::new(),
            storage,
            readers,
            limits,
            metrics,
            shutdown,
            behind_proxy,
            spans,
        }))
    }
}

impl Relay {
    /// The identity of what is kept, looked up once: it changes only while nothing runs.
    async fn log(&self) -> Result<LogId, ApiError> {
        self.log.get_or_try_init(|| self.storage.write(kept::begin)).await.copied()
    }

    async fn terms(&self) -> Result<RelayTerms, ApiError> {
        Ok(RelayTerms {
            log: self.log().await?.to_string(),
            difficulty: self.limits.difficulty,
            max_envelope: self.limits.max_envelope as u64,
            retention: self.limits.retention.as_secs(),
            now: seconds(now_ms()),
        })
    }

    /// Room to receive so many bytes, or `unavailable` after a while.
    async fn room(&self, bytes: usize) -> Result<tokio::sync::OwnedSemaphorePermit, ApiError> {
        let permits = u32::try_from(bytes.div_ceil(PERMIT).clamp(1, RECEIVED_AT_ONCE / PERMIT))
            .expect("there are fewer permits than that");
        let waiting = Arc::clone(&self.received).acquire_many_owned(permits);
        match tokio::time::timeout(self.limits.body_timeout, waiting).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(StorageError::Closed.into()),
            Err(_) => Err(ApiError::new(Code::Unavailable, "Too much is being sent here at this moment.")),
        }
    }

    /// What is next in these topics.
    async fn pages(
        &self,
        log: LogId,
        topics: Vec<(ContentTopic, Start)>,
        limits: kept::PageLimits,
    ) -> Result<Vec<kept::Page>, ApiError> {
        self.storage.read(move |db| kept::pages(db, log, &topics, limits)).await
    }
}

/// The topics that somebody wants to read, and from where on.
fn asked(topics: &[TopicPlace]) -> Result<Vec<(ContentTopic, Start)>, ApiError> {
    if topics.is_empty() || topics.len() > MAX_TOPICS {
        let detail = format!("1 to {MAX_TOPICS} topics can be read at once, and these are {}.", topics.len());
        return Err(ApiError::new(Code::BadRequest, detail));
    }
    let mut seen = BTreeSet::new();
    let place = |place: &TopicPlace| {
        let topic = topic(&place.topic)?;
        if !seen.insert(topic) {
            return Err(ApiError::new(Code::BadRequest, "A topic is named twice."));
        }
        let from = Start::parse(place.after.as_deref());
        let from =
            from.ok_or_else(|| ApiError::new(Code::BadRequest, "The cursor is not one that a relay gives."))?;
        Ok((topic, from))
    };
    topics.iter().map(place).collect()
}

fn topic(text: &str) -> Result<ContentTopic, ApiError> {
    text.parse().map_err(|error| ApiError::new(Code::UnknownTopic, format!("It is {error}.")))
}

fn seconds(ms: i64) -> u64 {
    u64::try_from(ms / 1000).unwrap_or_default()
}

/// A position as the API has it; none is negative.
fn number(position: i64) -> u64 {
    position.cast_unsigned()
}

/// How often a relay asks whether the other side of a socket is there.
const HEARTBEAT: Duration = Duration::from_secs(30);
