//! Starting and stopping.

use crate::{
    config::{ServerConfig, TlsFiles},
    files, guests, http, hub_key,
    limits::Limiters,
    metrics::Metrics,
    mls::Observer,
    password::Passwords,
    shutdown::Trigger,
    state::{AppState, Hub},
    storage::{Opened, Storage, StorageError},
    typing::TypingBoard,
    wake::Wake,
};
use axum::Router;
use axum_server::{
    Handle,
    tls_rustls::{RustlsAcceptor, RustlsConfig},
};
use hyper_util::{
    rt::{TokioExecutor, TokioTimer},
    server::conn::auto::Builder,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
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

/// How long the head of a request may take to arrive.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

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
    /// Passwords cannot be hashed, for want of randomness.
    #[error("passwords cannot be hashed: {0}")]
    Passwords(#[source] argon2::password_hash::Error),
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
            Self::Passwords(_) => "no-randomness",
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
    tls: Option<RustlsConfig>,
    app: Router,
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
        let tls = config.tls.as_ref().map(tls_config).transpose()?;
        let lock = lock(&config.data)?;
        let database = config.data.join("hub.db");
        files::create_private(&database)
            .map_err(|source| ServerError::File { path: database.clone(), source })?;

        let metrics = Metrics::new();
        let wake = Wake::default();
        let batches = metrics.writer();
        let given = config.domain.clone().unwrap_or_else(Domain::localhost);
        let committed = move |batch| batches.record(batch);
        let Opened { storage, domain, closed } =
            Storage::open(&database, &given, config.limits.database_bytes, wake.clone(), committed)?;
        if config.domain.is_some() && given != domain {
            return Err(ServerError::DomainFixed { stored: domain, given });
        }
        let (secret, public) = hub_key::load_or_create(&config.data.join("hub.key"))?;
        let (trigger, shutdown) = Trigger::new();
        let state = AppState::new(Hub {
            observer: Arc::new(Observer::new(domain.clone(), secret, public)),
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
        Ok(Self { listener, numbers, domain, tls, app, state, trigger, closed, lock })
    }

    /// The address that the hub listens on.
    pub const fn local_addr(&self) -> SocketAddr {
        self.listener.address
    }

    /// The address that numbers are served at, if they are.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.numbers.as_ref().map(|listener| listener.address)
    }

    /// The hub's domain.
    pub const fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Serves until `shutdown` resolves. Then it takes no new connections, ends what waits for events, gives running
    /// requests ten seconds, and leaves the database in one file.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), ServerError> {
        let Self { listener, numbers, tls, app, state, trigger, closed, lock, .. } = self;
        let handle = Handle::new();
        if let Some(numbers) = numbers {
            let mut server = axum_server::from_tcp(numbers.socket).map_err(ServerError::Serve)?;
            *server.http_builder() = http1();
            let app = http::numbers(state.clone()).into_make_service();
            // It ends with the hub, which shares its handle.
            tokio::spawn(server.handle(handle.clone()).serve(app));
        }
        // It ends when the hub is to stop, or this function does.
        tokio::spawn(guests::see_out(state));
        let server = axum_server::from_tcp(listener.socket).map_err(ServerError::Serve)?;
        let mut server = server.handle(handle.clone());
        *server.http_builder() = http1();
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        let mut serving: Pin<Box<dyn Future<Output = io::Result<()>> + Send>> = match tls {
            Some(tls) => Box::pin(server.acceptor(RustlsAcceptor::new(tls)).serve(app)),
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
fn http1() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    builder
}

/// Takes the data directory for this process, and creates it if it is not there. Two hubs on one would give the same
/// positions twice.
fn lock(data: &Path) -> Result<File, ServerError> {
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

fn tls_config(TlsFiles { cert, key }: &TlsFiles) -> Result<RustlsConfig, ServerError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ServerError::TlsFile { path, source }
    };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(failed(cert))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(failed(key))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(RustlsConfig::from_config(Arc::new(config)))
}
