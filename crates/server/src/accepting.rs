//! How connections are accepted: what is ready goes out at once, and who takes nothing of it is cut off.

use axum_server::accept::Accept;
use std::{
    future::{Ready, ready},
    io,
    pin::Pin,
    time::Duration,
};
use tokio::net::TcpStream;
use tokio_io_timeout::TimeoutWriter;

/// Accepts connections over TCP.
#[derive(Clone, Copy)]
pub(crate) struct Acceptor {
    /// The longest time in which the other side takes nothing of what is written. What it was to get is held as long.
    pub(crate) write_timeout: Duration,
}

impl<S> Accept<TcpStream, S> for Acceptor {
    type Stream = Pin<Box<TimeoutWriter<TcpStream>>>;
    type Service = S;
    type Future = Ready<io::Result<(Self::Stream, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        // An event that is ready goes out at once: by Nagle's algorithm it would wait until the event before it is
        // acknowledged, which the other side does after 40 ms if it has nothing to say.
        let accepted = stream.set_nodelay(true).map(|()| {
            let mut stream = TimeoutWriter::new(stream);
            stream.set_timeout(Some(self.write_timeout));
            (Box::pin(stream), service)
        });
        ready(accepted)
    }
}
