//! How connections are accepted: so many at once, what is ready goes out at once, and who takes nothing of it is cut off.

use crate::{
    http::network,
    metrics::Metrics,
    places::{Place, Places},
};
use ::metrics::{Counter, Gauge};
use axum_server::accept::Accept;
use std::{
    future::{Ready, ready},
    io::{self, IoSlice},
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_io_timeout::TimeoutWriter;

/// Accepts connections over TCP. One that finds no place is closed before anything is read of it.
#[derive(Clone)]
pub(crate) struct Acceptor {
    places: Arc<Places<IpAddr>>,
    /// The longest time in which the other side takes nothing of what is written. What it was to get is held as long.
    write_timeout: Duration,
}

impl Acceptor {
    /// So many connections at once. An address has a quarter of them, unless all come from that of a proxy.
    pub(crate) fn new(all: usize, behind_proxy: bool, metrics: &Metrics, write_timeout: Duration) -> Self {
        let each = if behind_proxy { all } else { (all / 4).max(1) };
        let places = Places::new(all, each, Gauge::noop(), metrics.refused("connections"));
        Self { places: Arc::new(places), write_timeout }
    }

    /// The same without a bound, for what only those who run the server can reach.
    pub(crate) fn unbounded(&self) -> Self {
        let places = Places::new(usize::MAX, usize::MAX, Gauge::noop(), Counter::noop());
        Self { places: Arc::new(places), ..*self }
    }

    fn connection(&self, stream: TcpStream) -> io::Result<Connection> {
        let address = network(stream.peer_addr()?.ip());
        let place = self.places.take(address).map_err(|_| io::Error::other("too many connections"))?;
        // An event that is ready goes out at once: by Nagle's algorithm it would wait until the event before it is
        // acknowledged, which the other side does after 40 ms if it has nothing to say.
        stream.set_nodelay(true)?;
        let mut stream = TimeoutWriter::new(stream);
        stream.set_timeout(Some(self.write_timeout));
        Ok(Connection { stream: Box::pin(stream), _place: place })
    }
}

impl<S> Accept<TcpStream, S> for Acceptor {
    type Stream = Connection;
    type Service = S;
    type Future = Ready<io::Result<(Self::Stream, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        ready(self.connection(stream).map(|connection| (connection, service)))
    }
}

/// A connection, which has its place until it is closed, also as a WebSocket.
pub(crate) struct Connection {
    stream: Pin<Box<TimeoutWriter<TcpStream>>>,
    _place: Place<IpAddr>,
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
