//! What answers at the addresses of a hub or a relay, until it is to stop.

use super::ServerError;
use crate::{
    accepting::Acceptor,
    http,
    metrics::Metrics,
    shutdown::{Shutdown, Trigger},
    storage::Storage,
    tls::{Certificate, Reload},
};
use axum::Router;
use axum_server::{Handle, tls_rustls::RustlsAcceptor};
use hyper_util::{
    rt::{TokioExecutor, TokioTimer},
    server::conn::auto::Builder,
};
use std::{
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    pin::Pin,
    sync::Arc,
    time::Duration,
};
use tokio::{sync::oneshot, time::timeout};

/// The most of a request that is read and not yet handed on, in bytes: a head is shorter, and a body is handed on in pieces.
const READ_BUFFER: usize = 64 * 1024;

/// How long requests that are running may take to end once the hub stops.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// Where a server is to be reached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    pub(crate) listen: SocketAddr,
    /// Where the numbers are served.
    pub(crate) metrics: Option<SocketAddr>,
    /// Where plain HTTP leads to HTTPS.
    pub(crate) redirect_http: Option<SocketAddr>,
}

/// What a server serves, and what it ends by.
pub(crate) struct Service {
    pub(crate) app: Router,
    /// What the numbers say the state of.
    pub(crate) storage: Storage,
    /// Where all that is served is measured.
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) header_timeout: Duration,
    /// Accepts connections with what is served.
    pub(crate) acceptor: Acceptor,
    pub(crate) trigger: Trigger,
    pub(crate) stopping: Shutdown,
    /// Resolves when the storage has ended.
    pub(crate) closed: oneshot::Receiver<()>,
}

/// A server, hub or relay, that has its addresses and does not answer yet.
pub(crate) struct Serving {
    listener: Listener,
    numbers: Option<(Listener, Router)>,
    redirects: Option<(Listener, Router)>,
    tls: Option<Certificate>,
    app: Router,
    metrics: Arc<Metrics>,
    header_timeout: Duration,
    acceptor: Acceptor,
    trigger: Trigger,
    stopping: Shutdown,
    closed: oneshot::Receiver<()>,
}

impl Serving {
    /// Takes the addresses.
    pub(crate) fn bind(
        addresses: Addresses,
        tls: Option<Certificate>,
        service: Service,
    ) -> Result<Self, ServerError> {
        let Addresses { listen, metrics: numbers, redirect_http } = addresses;
        let Service { app, storage, metrics, header_timeout, acceptor, trigger, stopping, closed } = service;
        let listener = Listener::bind(listen)?;
        let port = listener.address.port();
        let numbers = numbers.map(Listener::bind).transpose()?;
        let numbers = numbers.map(|listener| (listener, http::numbers(storage, Arc::clone(&metrics))));
        let redirects = redirect_http.map(Listener::bind).transpose()?;
        let redirects = redirects.map(|listener| (listener, http::redirect::router(port)));
        Ok(Self {
            listener,
            numbers,
            redirects,
            tls,
            app,
            metrics,
            header_timeout,
            acceptor,
            trigger,
            stopping,
            closed,
        })
    }

    /// The address that it listens on.
    pub(crate) const fn local_addr(&self) -> SocketAddr {
        self.listener.address
    }

    /// The address that numbers are served at, if they are.
    pub(crate) fn metrics_addr(&self) -> Option<SocketAddr> {
        self.numbers.as_ref().map(|(listener, _)| listener.address)
    }

    /// The address where plain HTTP leads to HTTPS, if it does.
    pub(crate) fn redirect_addr(&self) -> Option<SocketAddr> {
        self.redirects.as_ref().map(|(listener, _)| listener.address)
    }

    /// Has the certificate read again while it runs.
    pub(crate) fn reload(&self) -> Reload {
        self.tls.as_ref().map(Certificate::reload).unwrap_or_default()
    }

    /// Serves until `shutdown` resolves, and ends in good order.
    pub(crate) async fn until(self, shutdown: impl Future<Output = ()>) -> Result<(), ServerError> {
        let Self {
            listener,
            numbers,
            redirects,
            tls,
            app,
            metrics,
            header_timeout,
            acceptor,
            trigger,
            stopping,
            closed,
        } = self;
        let handle = Handle::new();
        tokio::spawn(metrics.see_to(stopping.clone()));
        // Numbers are there above all when there are too many connections.
        let numbers = numbers.map(|numbers| (numbers, acceptor.unbounded()));
        let redirects = redirects.map(|redirects| (redirects, acceptor.clone()));
        for ((listener, app), acceptor) in numbers.into_iter().chain(redirects) {
            let server = axum_server::from_tcp(listener.socket).map_err(ServerError::Serve)?;
            let mut server = server.acceptor(acceptor);
            *server.http_builder() = http1(header_timeout);
            // It ends with the rest, which shares its handle.
            tokio::spawn(server.handle(handle.clone()).serve(app.into_make_service()));
        }
        let server = axum_server::from_tcp(listener.socket).map_err(ServerError::Serve)?;
        let mut server = server.handle(handle.clone()).acceptor(acceptor.clone());
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
    let timer = TokioTimer::new();
    builder.http1().timer(timer).header_read_timeout(header_timeout).max_buf_size(READ_BUFFER);
    builder
}
