//! Starting and stopping.

mod data;
mod error;
mod serving;

use crate::{
    accepting::Acceptor,
    admin::Door,
    bus::{Bus, Nodes},
    config::ServerConfig,
    guests, http,
    limits::Limiters,
    metrics::Metrics,
    password::Passwords,
    places::Places,
    relay::{self, RelayState},
    removals, restore,
    retention::{self, Spans},
    sessions::RecentSessions,
    shutdown::Trigger,
    state::{AppState, Hub},
    storage::StorageError,
    tls::{Certificate, Reload},
    typing::TypingBoard,
    uploads::Uploads,
    wake::Wake,
};
use ::metrics::Gauge;
use std::{fs::File, future::Future, net::SocketAddr, path::Path, sync::Arc};
use tertulia_domain::Domain;
use tokio::time::timeout;

pub(crate) use data::{Data, file, is_taken, lock};
pub use error::ServerError;
pub(crate) use serving::{Addresses, Service, Serving, check_is_safe};

use data::location;
use serving::GRACE;

/// A hub that has its data and its address and does not answer yet.
pub struct Server {
    serving: Serving,
    domain: Domain,
    /// Where who runs the hub is heard.
    door: Option<Door>,
    /// How it hears of the other nodes.
    nodes: Nodes,
    state: AppState,
    relay: Option<RelayState>,
    /// Held as long as the hub runs.
    lock: File,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("local_addr", &self.local_addr()).finish_non_exhaustive()
    }
}

impl Server {
    /// Opens the hub's data, or creates it, and takes the address. Connections wait until the hub [runs](Self::run).
    pub async fn bind(config: ServerConfig) -> Result<Self, ServerError> {
        let listen = config.listen;
        check_is_safe(listen, config.tls.is_some() || config.behind_proxy)?;
        if config.nats.is_some() && config.database.is_none() {
            return Err(ServerError::NatsWithoutDatabase);
        }
        if config.limits.database_bytes.is_some() && config.database.is_some() {
            return Err(ServerError::SizeOfDatabase);
        }
        if config.redirect_http.is_some() && config.tls.is_none() {
            return Err(ServerError::RedirectWithoutTls);
        }
        let task = tokio::task::spawn_blocking(move || Self::open(config));
        match task.await {
            Ok(server) => server,
            Err(_) => Err(StorageError::Panicked.into()),
        }
    }

    fn open(config: ServerConfig) -> Result<Self, ServerError> {
        let lock = lock(&config.data)?;
        let spans = Spans::of(&config);
        let tls = config.tls.clone().map(|tls| Certificate::open(tls, &config.data)).transpose()?;
        let location = location(&config)?;
        let (metrics, wake) = (Arc::new(Metrics::new()), Wake::default());
        let (bus, outbox) = match config.database {
            Some(_) => Bus::of_nodes(wake.clone(), config.nats.is_some()),
            None => (Bus::local(wake.clone()), None),
        };
        let writer = metrics.writer();
        let Data { storage, domain, observer, cursors, position, closed } =
            Data::open(&config.data, &location, config.domain.as_ref(), bus.clone(), move |batch| {
                writer.record(batch);
            })?;
        let nodes = Nodes { bus: bus.clone(), begun: position, nats: config.nats.zip(outbox) };
        let (trigger, shutdown) = Trigger::new();
        let relay = config.relay.map(|limits| {
            RelayState::new(relay::Parts {
                storage: storage.clone(),
                readers: wake.readers().clone(),
                limits,
                metrics: Arc::clone(&metrics),
                shutdown: shutdown.clone(),
                behind_proxy: config.behind_proxy,
                spans: Some(spans),
            })
        });
        let state = AppState::new(Hub {
            observer,
            cursors,
            passwords: Passwords::new().map_err(ServerError::Passwords)?,
            limiters: Limiters::new(&config.limits, &metrics),
            readers: Places::new(
                usize::MAX,
                config.limits.readers_per_device,
                Gauge::noop(),
                metrics.refused("readers"),
            ),
            uploads: Uploads::new(&config.limits, &metrics),
            limits: config.limits,
            behind_proxy: config.behind_proxy,
            guest_lifetime: config.guest_lifetime,
            spans,
            domain,
            storage,
            sessions: RecentSessions::new(),
            wake,
            bus,
            typing: TypingBoard::default(),
            metrics,
            shutdown,
        });

        let addresses =
            Addresses { listen: config.listen, metrics: config.metrics, redirect_http: config.redirect_http };
        let service = Service {
            app: http::app(state.clone(), relay.clone()),
            storage: state.storage.clone(),
            metrics: Arc::clone(&state.metrics),
            header_timeout: state.limits.header_timeout,
            acceptor: Acceptor::new(
                state.limits.connections,
                state.behind_proxy,
                &state.metrics,
                state.limits.event_timeout,
            ),
            trigger,
            stopping: state.shutdown.clone(),
            closed,
        };
        let serving = Serving::bind(addresses, tls, service)?;
        let (domain, door) = (state.domain.clone(), Self::door(&config.data));
        Ok(Self { serving, domain, door, nodes, state, relay, lock })
    }

    /// The socket for who runs the hub. Without it the hub serves all the same: a path that is too long is no reason not to.
    #[cfg(unix)]
    fn door(data: &Path) -> Option<Door> {
        let opened = Door::open(data);
        opened.inspect_err(|error| tracing::warn!(%error, "no `tertulia admin` while this hub runs")).ok()
    }

    #[cfg(not(unix))]
    const fn door(_: &Path) -> Option<Door> {
        None
    }

    /// The address that the hub listens on.
    pub const fn local_addr(&self) -> SocketAddr {
        self.serving.local_addr()
    }

    /// The address that numbers are served at, if they are.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.serving.metrics_addr()
    }

    /// The address where plain HTTP leads to HTTPS, if it does.
    pub fn redirect_addr(&self) -> Option<SocketAddr> {
        self.serving.redirect_addr()
    }

    /// Has the certificate read again while the hub runs. It is also read when its files change.
    pub fn reload(&self) -> Reload {
        self.serving.reload()
    }

    /// The hub's domain.
    pub const fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Serves until `shutdown` resolves. Then it takes no new connections, ends what waits for events, gives running
    /// requests ten seconds, and leaves the database in one file.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), ServerError> {
        let Self { serving, door, nodes, state, relay, lock, .. } = self;
        let told = nodes.begin(&state).await;
        if let Err(error) = restore::after_restore(&state).await {
            tracing::error!(%error, "the groups of a restored hub were not begun anew");
            return Err(ServerError::AfterRestore);
        }
        if let Some(door) = door {
            tokio::spawn(door.answer(state.clone()));
        }
        // It ends when the hub is to stop, or this function does.
        tokio::spawn(guests::see_out(state.clone()));
        tokio::spawn(retention::see_to(state.clone()));
        if let Some(relay) = relay {
            tokio::spawn(relay::keep::see_to(relay));
        }
        tokio::spawn(removals::see_to(state));
        serving.until(shutdown).await?;
        // Resolves as soon as nothing more can be told, and was sent.
        if let Some(told) = told
            && timeout(GRACE, told).await.is_err()
        {
            tracing::warn!("the last wake-ups for other nodes were not sent; they are found in the log");
        }
        drop(lock);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{config::RelayConfig, relay::RelayServer};
    use std::time::Duration;

    /// Nobody asks for the numbers, so it is for the server itself to see that nothing piles up.
    async fn adds_up(metrics: &Metrics) {
        metrics.request("GET", "/measured", 200, Duration::from_millis(7_654_321));
        assert!(!metrics.has_added_up(7654.321));
        while !metrics.has_added_up(7654.321) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_is_measured_does_not_pile_up_where_nobody_asks_for_the_numbers() {
        let data = tempfile::tempdir().unwrap();
        let hub = Server::bind(ServerConfig::new(([127, 0, 0, 1], 0).into(), &data)).await.unwrap();
        let metrics = Arc::clone(&hub.state.metrics);
        hub.run(adds_up(&metrics)).await.unwrap();

        let data = tempfile::tempdir().unwrap();
        let relay = RelayServer::bind(RelayConfig::new(([127, 0, 0, 1], 0).into(), &data)).await.unwrap();
        let metrics = relay.metrics();
        relay.run(adds_up(&metrics)).await.unwrap();
    }
}
