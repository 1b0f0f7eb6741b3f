//! Starting and stopping.

use crate::{
    accepting::Acceptor,
    admin::Door,
    bus::{Bus, Nodes},
    config::ServerConfig,
    cursors::Cursors,
    files, guests, http, hub_key,
    limits::Limiters,
    metrics::Metrics,
    mls::Observer,
    password::Passwords,
    places::Places,
    relay::{self, RelayState},
    removals, restore, retention,
    sessions::RecentSessions,
    shutdown::{Shutdown, Trigger},
    state::{AppState, Hub},
    storage::{Batch, Location, Opened, Position, Storage, StorageError},
    tls::{Certificate, Reload},
    typing::TypingBoard,
    wake::Wake,
};
use ::metrics::Gauge;
use axum::Router;
use axum_server::{Handle, tls_rustls::RustlsAcceptor};
use hyper_util::{
    rt::{TokioExecutor, TokioTimer},
    server::conn::auto::Builder,
};
use std::{
    fs::{File, TryLockError},
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::Duration,
};
use tertulia_domain::Domain;
use tokio::{sync::oneshot, time::timeout};

/// The file in the data directory that whoever uses it has locked.
const LOCK: &str = "hub.lock";

/// How long requests that are running may take to end once the hub stops.
const GRACE: Duration = Duration::from_secs(10);

/// Why a hub does not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Passwords and tokens would cross the network readable.
    #[error(
        "refusing plain HTTP on {listen}, which others can reach: give a TLS certificate and key, listen on a loopback \
         address, or say that a proxy in front terminates TLS"
    )]
    PlainHttp {
        /// The address.
        listen: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {listen}: {source}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error("cannot use the TLS file {}: {source}", path.display())]
    TlsFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// Certificate and key do not go together.
    #[error("cannot use the TLS certificate with its key: {0}")]
    Tls(#[from] rustls::Error),
    /// A file or directory cannot be read or written.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is a hub's data in a file, too, which would be passed over: all its accounts would be gone. Move it with
    /// `tertulia admin copy-database`, or put the file elsewhere if nobody needs it.
    #[error(
        "{} holds a hub's data, which a hub with another database would pass over: `tertulia admin copy-database` \
         moves it there; if nobody needs it, put the file elsewhere", path.display()
    )]
    TwoDatabases {
        /// The file.
        path: PathBuf,
    },
    /// Another hub runs on the data directory.
    #[error("another hub uses the data directory {}", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The file with the hub's MLS key is damaged.
    #[error("the hub's key in {} is damaged; groups know this key, so bring it back from a backup", path.display())]
    HubKey {
        /// The file.
        path: PathBuf,
    },
    /// The domain is part of every device's identity and cannot change.
    #[error("this hub's domain is {stored} since its first start; it cannot become {given}")]
    DomainFixed {
        /// The domain in the database.
        stored: Domain,
        /// The domain in the configuration.
        given: Domain,
    },
    /// There is a way to other nodes, and the data are in a file, which only one node can use. Leave out NATS, or keep the data
    /// in PostgreSQL.
    #[error(
        "NATS is for the nodes of a hub on one PostgreSQL database, and this hub keeps its data in a file, as its only node: \
         give it a database, or leave out NATS"
    )]
    NatsWithoutDatabase,
    /// A largest size of the database is given, and the data are in PostgreSQL, whose size this program does not bound. Leave it
    /// out, and bound the database where PostgreSQL runs.
    #[error(
        "a largest size is for the file that a hub keeps its data in, and this hub keeps them in PostgreSQL: leave it out, and \
         give the database a disk of its own"
    )]
    SizeOfDatabase,
    /// Plain HTTP is to lead to HTTPS, and there is none. Give a certificate, or names to have one issued for.
    #[error(
        "there is no HTTPS that plain HTTP could lead to: give a TLS certificate and key, or names to have one issued for"
    )]
    RedirectWithoutTls,
    /// The database cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The groups of a restored hub could not be begun anew. Look into the log, and start it again.
    #[error("the hub was restored, and its groups could not be begun anew")]
    AfterRestore,
    /// The identity of what a relay keeps cannot be read or written. Look into the log, and start it again.
    #[error("the relay's data cannot be used")]
    RelayLog,
    /// Passwords cannot be hashed, for want of randomness.
    #[error("passwords cannot be hashed: {0}")]
    Passwords(#[source] argon2::password_hash::Error),
    /// There is no randomness to make the hub's key of.
    #[error("the hub's key cannot be made, for want of randomness")]
    NoRandomness,
    /// Serving failed.
    #[error("serving failed: {0}")]
    Serve(#[source] io::Error),
}

impl ServerError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::PlainHttp { .. } => "plain-http-refused",
            Self::Listen { .. } => "cannot-listen",
            Self::TlsFile { .. } | Self::Tls(_) => "invalid-tls-files",
            Self::File { .. } => "data-io",
            Self::TwoDatabases { .. } => "two-databases",
            Self::InUse { .. } => "data-in-use",
            Self::HubKey { .. } => "damaged-hub-key",
            Self::DomainFixed { .. } => "domain-fixed",
            Self::NatsWithoutDatabase => "nats-without-database",
            Self::SizeOfDatabase => "size-of-database",
            Self::RedirectWithoutTls => "redirect-without-tls",
            Self::Storage(_) | Self::RelayLog => "data-unusable",
            Self::AfterRestore => "restore-unfinished",
            Self::Passwords(_) | Self::NoRandomness => "no-randomness",
            Self::Serve(_) => "serving-failed",
        }
    }
}

/// A hub that has its data and its address and does not answer yet.
pub struct Server {
    listener: Listener,
    /// Where the numbers are served.
    numbers: Option<Listener>,
    /// Where plain HTTP leads to HTTPS.
    redirects: Option<Listener>,
    domain: Domain,
    tls: Option<Certificate>,
    app: Router,
    /// Where who runs the hub is heard.
    door: Option<Door>,
    /// How it hears of the other nodes.
    nodes: Nodes,
    state: AppState,
    relay: Option<RelayState>,
    trigger: Trigger,
    closed: oneshot::Receiver<()>,
    /// Held as long as the hub runs.
    lock: File,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("local_addr", &self.listener.address).finish_non_exhaustive()
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
            limits: config.limits,
            behind_proxy: config.behind_proxy,
            guest_lifetime: config.guest_lifetime,
            domain,
            storage,
            sessions: RecentSessions::new(),
            wake,
            bus,
            typing: TypingBoard::default(),
            metrics,
            shutdown,
        });

        let listener = Listener::bind(config.listen)?;
        let numbers = config.metrics.map(Listener::bind).transpose()?;
        let redirects = config.redirect_http.map(Listener::bind).transpose()?;
        let domain = state.domain.clone();
        let app = http::app(state.clone(), relay.clone());
        let door = Self::door(&config.data);
        Ok(Self {
            listener,
            numbers,
            redirects,
            domain,
            tls,
            app,
            door,
            nodes,
            state,
            relay,
            trigger,
            closed,
            lock,
        })
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
        self.listener.address
    }

    /// The address that numbers are served at, if they are.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.numbers.as_ref().map(|listener| listener.address)
    }

    /// The address where plain HTTP leads to HTTPS, if it does.
    pub fn redirect_addr(&self) -> Option<SocketAddr> {
        self.redirects.as_ref().map(|listener| listener.address)
    }

    /// Has the certificate read again while the hub runs. It is also read when its files change.
    pub fn reload(&self) -> Reload {
        self.tls.as_ref().map(Certificate::reload).unwrap_or_default()
    }

    /// The hub's domain.
    pub const fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Serves until `shutdown` resolves. Then it takes no new connections, ends what waits for events, gives running
    /// requests ten seconds, and leaves the database in one file.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), ServerError> {
        let Self {
            listener,
            numbers,
            redirects,
            tls,
            app,
            door,
            nodes,
            state,
            relay,
            trigger,
            closed,
            lock,
            ..
        } = self;
        let told = nodes.begin(&state).await;
        if let Err(error) = restore::after_restore(&state).await {
            tracing::error!(%error, "the groups of a restored hub were not begun anew");
            return Err(ServerError::AfterRestore);
        }
        if let Some(door) = door {
            tokio::spawn(door.answer(state.clone()));
        }
        let port = listener.address.port();
        let numbers = numbers
            .map(|listener| (listener, http::numbers(state.storage.clone(), Arc::clone(&state.metrics))));
        let redirects = redirects.map(|listener| (listener, http::redirect::router(port)));
        let beside = numbers.into_iter().chain(redirects).collect();
        let (stopping, header_timeout) = (state.shutdown.clone(), state.limits.header_timeout);
        let (metrics, write_timeout) = (Arc::clone(&state.metrics), state.limits.event_timeout);
        // It ends when the hub is to stop, or this function does.
        tokio::spawn(guests::see_out(state.clone()));
        tokio::spawn(retention::see_to(state.clone()));
        if let Some(relay) = relay {
            tokio::spawn(relay::keep::see_to(relay));
        }
        tokio::spawn(removals::see_to(state));
        let serving = Serving {
            listener,
            beside,
            tls,
            app,
            metrics,
            header_timeout,
            write_timeout,
            trigger,
            stopping,
            closed,
        };
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

/// What answers at an address.
pub(crate) struct Serving {
    pub(crate) listener: Listener,
    /// Where something else is served, such as the numbers, and what serves it.
    pub(crate) beside: Vec<(Listener, Router)>,
    pub(crate) tls: Option<Certificate>,
    pub(crate) app: Router,
    /// Where all that is served is measured.
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) header_timeout: Duration,
    /// The longest time in which the other side takes nothing of what is written.
    pub(crate) write_timeout: Duration,
    pub(crate) trigger: Trigger,
    pub(crate) stopping: Shutdown,
    /// Resolves when the storage has ended.
    pub(crate) closed: oneshot::Receiver<()>,
}

impl Serving {
    /// Serves until `shutdown` resolves, and ends in good order.
    pub(crate) async fn until(self, shutdown: impl Future<Output = ()>) -> Result<(), ServerError> {
        let Self {
            listener,
            beside,
            tls,
            app,
            metrics,
            header_timeout,
            write_timeout,
            trigger,
            stopping,
            closed,
        } = self;
        let acceptor = Acceptor { write_timeout };
        let handle = Handle::new();
        tokio::spawn(metrics.see_to(stopping.clone()));
        for (listener, app) in beside {
            let server = axum_server::from_tcp(listener.socket).map_err(ServerError::Serve)?;
            let mut server = server.acceptor(acceptor);
            *server.http_builder() = http1(header_timeout);
            // It ends with the rest, which shares its handle.
            tokio::spawn(server.handle(handle.clone()).serve(app.into_make_service()));
        }
        let server = axum_server::from_tcp(listener.socket).map_err(ServerError::Serve)?;
        let mut server = server.handle(handle.clone()).acceptor(acceptor);
        *server.http_builder() = http1(header_timeout);
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        let mut serving: Pin<Box<dyn Future<Output = io::Result<()>> + Send>> = match tls {
            Some(tls) => {
                let acceptor = RustlsAcceptor::new(tls.config()).acceptor(acceptor);
                tokio::spawn(tls.keep_current(stopping));
                Box::pin(server.acceptor(acceptor).serve(app))
            }
            None => Box::pin(server.serve(app)),
        };
        tokio::select! {
            result = &mut serving => return result.map_err(ServerError::Serve),
            () = shutdown => {}
        }

        tracing::info!("stopping");
        trigger.request();
        handle.graceful_shutdown(Some(GRACE));
        serving.await.map_err(ServerError::Serve)?;
        if timeout(GRACE, trigger.sockets_closed()).await.is_err() {
            tracing::warn!("some sockets did not close in time");
        }
        // With the last request the last way to the writer is gone.
        if timeout(GRACE, closed).await.is_err() {
            tracing::warn!("something still uses the storage; everything that was answered is stored");
        }
        Ok(())
    }
}

/// Whether what is said at this address cannot be read by others on the way.
pub(crate) fn check_is_safe(listen: SocketAddr, is_encrypted: bool) -> Result<(), ServerError> {
    if is_encrypted || listen.ip().is_loopback() { Ok(()) } else { Err(ServerError::PlainHttp { listen }) }
}

/// Where the hub's data are to be.
fn location(config: &ServerConfig) -> Result<Location, ServerError> {
    if let Some(url) = config.database.clone() {
        let path = config.data.join("hub.db");
        if path.is_file() {
            return Err(ServerError::TwoDatabases { path });
        }
        let fresh_key = hub_key::generate().ok_or(ServerError::NoRandomness)?;
        return Ok(Location::Postgres { url, fresh_key });
    }
    file(&config.data, config.limits.database_bytes)
}

/// The database in a data directory.
pub(crate) fn file(data: &Path, max_bytes: Option<u64>) -> Result<Location, ServerError> {
    let path = data.join("hub.db");
    files::create_private(&path).map_err(|source| ServerError::File { path: path.clone(), source })?;
    Ok(Location::File { path, max_bytes })
}

/// What is in a data directory, ready to be used.
pub(crate) struct Data {
    pub(crate) storage: Storage,
    /// The domain that was fixed at the first start.
    pub(crate) domain: Domain,
    /// Looks at MLS messages, and holds the hub's key.
    pub(crate) observer: Arc<Observer>,
    /// Makes and reads cursors.
    pub(crate) cursors: Arc<Cursors>,
    /// The last position that was given out before.
    pub(crate) position: Position,
    /// Resolves when the storage has ended, after the last use of it.
    pub(crate) closed: oneshot::Receiver<()>,
}

impl Data {
    /// Opens the database of a data directory that was [taken](lock), or makes what is not there. The rest is as
    /// [`Storage::open`] has it.
    pub(crate) fn open(
        data: &Path,
        location: &Location,
        domain: Option<&Domain>,
        bus: Bus,
        committed: impl Fn(Batch) + Send + 'static,
    ) -> Result<Self, ServerError> {
        let given = domain.cloned().unwrap_or_else(Domain::localhost);
        let Opened { storage, domain: stored, key, position, closed } =
            Storage::open(location, &given, bus, committed)?;
        if domain.is_some() && given != stored {
            return Err(ServerError::DomainFixed { stored, given });
        }
        let (secret, public) = match key {
            Some(key) => hub_key::shared(&key)?,
            None => hub_key::load_or_create(&data.join("hub.key"))?,
        };
        let cursors = Arc::new(Cursors::new(secret.as_bytes()));
        let observer = Arc::new(Observer::new(stored.clone(), secret, public));
        Ok(Self { storage, domain: stored, observer, cursors, position, closed })
    }
}

/// An address that was taken.
pub(crate) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// The address.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn bind(listen: SocketAddr) -> Result<Self, ServerError> {
        let failed = |source| ServerError::Listen { listen, source };
        let socket = TcpListener::bind(listen).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, address })
    }
}

/// HTTP/1 alone: it carries WebSockets, and there is no first line to wait for in order to tell it from HTTP/2.
fn http1(header_timeout: Duration) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(header_timeout);
    builder
}

/// Whether anything has ever taken the data directory.
pub(crate) fn is_taken(data: &Path) -> bool {
    data.join(LOCK).is_file()
}

/// Takes the data directory for this process, and creates it if it is not there. Two hubs on one would give the same
/// positions twice. A restore that was interrupted in it is finished.
pub(crate) fn lock(data: &Path) -> Result<File, ServerError> {
    files::create_private_dir(data).map_err(|source| ServerError::File { path: data.to_owned(), source })?;
    let path = data.join(LOCK);
    let file = match files::create_private(&path) {
        Ok(file) => file,
        Err(source) => return Err(ServerError::File { path, source }),
    };
    match file.try_lock() {
        Ok(()) => {
            restore::finish(data)?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => Err(ServerError::InUse { path: data.to_owned() }),
        Err(TryLockError::Error(source)) => Err(ServerError::File { path, source }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{config::RelayConfig, relay::RelayServer};

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
