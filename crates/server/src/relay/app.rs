//! A relay that is no hub: an address, a file, and nothing else.

use super::{Parts, RelayState, keep};
use crate::{
    accepting::Acceptor,
    bus::Bus,
    config::RelayConfig,
    files, http,
    metrics::Metrics,
    server::{Addresses, ServerError, Service, Serving, check_is_safe, lock},
    shutdown::Trigger,
    storage::{Location, Storage, StorageError},
    tls::{Certificate, Reload},
    wake::Wake,
};
use std::{fs::File, net::SocketAddr, sync::Arc};

/// The name of the file in the data directory.
const DATABASE: &str = "relay.db";

/// A relay without a hub, which has its data and its address and does not answer yet.
pub struct RelayServer {
    serving: Serving,
    relay: RelayState,
    /// Held as long as the relay runs.
    lock: File,
}

impl std::fmt::Debug for RelayServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RelayServer").field("local_addr", &self.local_addr()).finish_non_exhaustive()
    }
}

impl RelayServer {
    /// Opens the relay's data, or creates it, and takes the address. Connections wait until the relay [runs](Self::run).
    pub async fn bind(config: RelayConfig) -> Result<Self, ServerError> {
        check_is_safe(config.listen, config.tls.is_some() || config.behind_proxy)?;
        let task = tokio::task::spawn_blocking(move || Self::open(config));
        match task.await {
            Ok(server) => server,
            Err(_) => Err(StorageError::Panicked.into()),
        }
    }

    fn open(config: RelayConfig) -> Result<Self, ServerError> {
        let lock = lock(&config.data)?;
        let tls = config.tls.map(|tls| Certificate::open(tls, &config.data)).transpose()?;
        let path = config.data.join(DATABASE);
        files::create_private(&path).map_err(|source| ServerError::File { path: path.clone(), source })?;
        let location = Location::Relay { path, max_bytes: config.database_bytes };
        let (metrics, wake) = (Arc::new(Metrics::new()), Wake::default());
        let writer = metrics.writer();
        let (storage, closed) =
            Storage::open_relay(&location, Bus::local(wake.clone()), move |batch| writer.record(batch))?;
        let (trigger, shutdown) = Trigger::new();
        let relay = RelayState::new(Parts {
            storage: storage.clone(),
            readers: wake.readers().clone(),
            limits: config.limits,
            metrics: Arc::clone(&metrics),
            shutdown: shutdown.clone(),
            behind_proxy: config.behind_proxy,
            // It has no table of moments.
            spans: None,
        });
        let addresses = Addresses { listen: config.listen, metrics: config.metrics, redirect_http: None };
        let service = Service {
            app: http::relay_app(
                relay.clone(),
                storage.clone(),
                Arc::clone(&metrics),
                config.request_timeout,
            ),
            storage,
            acceptor: Acceptor::new(
                config.connections,
                config.behind_proxy,
                &metrics,
                relay.limits.reader_timeout,
            ),
            metrics,
            header_timeout: config.header_timeout,
            trigger,
            stopping: shutdown,
            closed,
        };
        let serving = Serving::bind(addresses, tls, service)?;
        Ok(Self { serving, relay, lock })
    }

    /// The address that the relay listens on.
    pub const fn local_addr(&self) -> SocketAddr {
        self.serving.local_addr()
    }

    /// The address that numbers are served at, if they are.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.serving.metrics_addr()
    }

    /// Has the certificate read again while the relay runs. It is also read when its files change.
    pub fn reload(&self) -> Reload {
        self.serving.reload()
    }

    /// What it measures.
    #[cfg(test)]
    pub(crate) fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.relay.metrics)
    }

    /// Serves until `shutdown` resolves. Then it takes no new connections, ends what waits for envelopes, gives running requests
    /// ten seconds, and leaves the database in one file.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), ServerError> {
        let Self { serving, relay, lock } = self;
        // The identity of what is kept is there before anybody asks.
        if let Err(error) = relay.log().await {
            tracing::error!(%error, "the relay does not begin");
            return Err(ServerError::RelayLog);
        }
        // It ends when the relay is to stop.
        tokio::spawn(keep::see_to(relay));
        serving.until(shutdown).await?;
        drop(lock);
        Ok(())
    }
}
