//! Starting and stopping.

use crate::{
    admin::Door,
    backup,
    config::ServerConfig,
    files, guests, http, hub_key,
    limits::Limiters,
    metrics::Metrics,
    mls::Observer,
    password::Passwords,
    removals,
    shutdown::Trigger,
    state::{AppState, Hub},
    storage::{Batch, Location, Opened, Storage, StorageError},
    tls::{Certificate, Reload},
    typing::TypingBoard,
    wake::Wake,
};
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
    /// The database cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The groups of a restored hub could not be begun anew. Look into the log, and start it again.
    #[error("the hub was restored, and its groups could not be begun anew")]
    AfterRestore,
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
            Self::InUse { .. } => "data-in-use",
            Self::HubKey { .. } => "damaged-hub-key",
            Self::DomainFixed { .. } => "domain-fixed",
            Self::Storage(_) => "data-unusable",
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
    domain: Domain,
    tls: Option<Certificate>,
    app: Router,
    /// Where who runs the hub is heard.
    door: Option<Door>,
    state: AppState,
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
        if config.tls.is_none() && !config.behind_proxy && !listen.ip().is_loopback() {
            return Err(ServerError::PlainHttp { listen });
        }
        let task = tokio::task::spawn_blocking(move || Self::open(config));
        match task.await {
            Ok(server) => server,
            Err(_) => Err(StorageError::Panicked.into()),
        }
    }

    fn open(config: ServerConfig) -> Result<Self, ServerError> {
        let tls = config.tls.clone().map(Certificate::read).transpose()?;
        let lock = lock(&config.data)?;
        let location = location(&config)?;
        let (metrics, wake) = (Metrics::new(), Wake::default());
        let writer = metrics.writer();
        let Data { storage, domain, observer, closed } =
            Data::open(&config.data, &location, config.domain.as_ref(), wake.clone(), move |batch| {
                writer.record(batch);
            })?;
        let (trigger, shutdown) = Trigger::new();
        let state = AppState::new(Hub {
            observer,
            passwords: Passwords::new().map_err(ServerError::Passwords)?,
            limiters: Limiters::new(&config.limits, &metrics),
            limits: config.limits,
            behind_proxy: config.behind_proxy,
            guest_lifetime: config.guest_lifetime,
            domain,
            storage,
            wake,
            typing: TypingBoard::default(),
            metrics,
            shutdown,
        });

        let listener = Listener::bind(config.listen)?;
        let numbers = config.metrics.map(Listener::bind).transpose()?;
        let domain = state.domain.clone();
        let app = http::app(state.clone());
        let door = Self::door(&config.data);
        Ok(Self { listener, numbers, domain, tls, app, door, state, trigger, closed, lock })
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
        let Self { listener, numbers, tls, app, door, state, trigger, closed, lock, .. } = self;
        if let Err(error) = backup::after_restore(&state).await {
            tracing::error!(%error, "the groups of a restored hub were not begun anew");
            return Err(ServerError::AfterRestore);
        }
        if let Some(door) = door {
            tokio::spawn(door.answer(state.clone()));
        }
        let handle = Handle::new();
        if let Some(numbers) = numbers {
            let mut server = axum_server::from_tcp(numbers.socket).map_err(ServerError::Serve)?;
            *server.http_builder() = http1(state.limits.header_timeout);
            let app = http::numbers(state.clone()).into_make_service();
            // It ends with the hub, which shares its handle.
            tokio::spawn(server.handle(handle.clone()).serve(app));
        }
        let (stopping, header_timeout) = (state.shutdown.clone(), state.limits.header_timeout);
        // It ends when the hub is to stop, or this function does.
        tokio::spawn(guests::see_out(state.clone()));
        tokio::spawn(removals::see_to(state));
        let server = axum_server::from_tcp(listener.socket).map_err(ServerError::Serve)?;
        let mut server = server.handle(handle.clone());
        *server.http_builder() = http1(header_timeout);
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        let mut serving: Pin<Box<dyn Future<Output = io::Result<()>> + Send>> = match tls {
            Some(tls) => {
                let acceptor = RustlsAcceptor::new(tls.config());
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
        drop(lock);
        Ok(())
    }
}

/// Where the hub's data are to be.
fn location(config: &ServerConfig) -> Result<Location, ServerError> {
    if let Some(url) = config.database.clone() {
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
        wake: Wake,
        committed: impl Fn(Batch) + Send + 'static,
    ) -> Result<Self, ServerError> {
        let given = domain.cloned().unwrap_or_else(Domain::localhost);
        let Opened { storage, domain: stored, key, closed } =
            Storage::open(location, &given, wake, committed)?;
        if domain.is_some() && given != stored {
            return Err(ServerError::DomainFixed { stored, given });
        }
        let (secret, public) = match key {
            Some(key) => hub_key::shared(&key)?,
            None => hub_key::load_or_create(&data.join("hub.key"))?,
        };
        let observer = Arc::new(Observer::new(stored.clone(), secret, public));
        Ok(Self { storage, domain: stored, observer, closed })
    }
}

/// An address that was taken.
struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    fn bind(listen: SocketAddr) -> Result<Self, ServerError> {
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

/// Takes the data directory for this process, and creates it if it is not there. Two hubs on one would give the same
/// positions twice.
pub(crate) fn lock(data: &Path) -> Result<File, ServerError> {
    files::create_private_dir(data).map_err(|source| ServerError::File { path: data.to_owned(), source })?;
    let path = data.join("hub.lock");
    let file = match files::create_private(&path) {
        Ok(file) => file,
        Err(source) => return Err(ServerError::File { path, source }),
    };
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ServerError::InUse { path: data.to_owned() }),
        Err(TryLockError::Error(source)) => Err(ServerError::File { path, source }),
    }
}
