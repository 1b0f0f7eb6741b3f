//! The client of a connection, driven only while somebody waits for an answer. Several things can be asked before the first is
//! answered: what is asked of a server costs its way there and back, and this way that is paid once.

use super::super::{Result, SqlError};
use ::tokio_postgres::{Config, Error, Row, Socket, Statement, tls::MakeTlsConnect, types::ToSql};
use futures::future::{BoxFuture, FutureExt as _, join, join_all};
use std::{
    future::poll_fn,
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};
use tokio::{
    runtime::{Builder, Runtime},
    task::yield_now,
    time::timeout,
};

/// How long taking one's leave of the server may take.
const LEAVING: Duration = Duration::from_secs(2);

/// Parameters of one execution.
pub(super) type Params<'a> = Vec<&'a (dyn ToSql + Sync)>;

/// See the [module](self).
pub(in super::super) struct Client {
    /// Absent while it is dropped.
    sender: Option<::tokio_postgres::Client>,
    driver: Driver,
    /// What is to be run before whatever is asked next, and on the same way.
    first: Option<&'static str>,
}

/// The connection's other half, which writes and reads.
struct Driver {
    /// Absent once the connection has ended.
    connection: Option<BoxFuture<'static, std::result::Result<(), Error>>>,
    runtime: Runtime,
    /// When the server has last said something.
    heard: Instant,
}

impl Client {
    /// Connects to the server, in the way that `tls` says.
    pub(in super::super) fn connect<T>(config: &Config, tls: T) -> Result<Self>
    where
        T: MakeTlsConnect<Socket>,
        T::Stream: Send + 'static,
    {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(SqlError::Runtime)?;
        let (client, connection) = runtime.block_on(config.connect(tls))?;
        let driver = Driver { connection: Some(connection.boxed()), runtime, heard: Instant::now() };
        Ok(Self { sender: Some(client), driver, first: None })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.as_ref().is_none_or(::tokio_postgres::Client::is_closed)
    }

    /// For how long nothing was asked.
    pub(super) fn quiet_for(&self) -> Duration {
        self.driver.heard.elapsed()
    }

    /// Whether the connection has ended, as far as this machine has heard. Nothing is asked, so nothing is waited for.
    pub(super) fn has_ended(&mut self) -> bool {
        let Driver { connection, runtime, .. } = &mut self.driver;
        let Some(open) = connection else { return true };
        let ended = runtime.block_on(async {
            yield_now().await; // upon which the runtime looks what has come
            poll_fn(|cx| Poll::Ready(open.as_mut().poll(cx).is_ready())).await
        });
        if ended {
            *connection = None;
        }
        ended
    }

    /// Runs statements without parameters and results.
    pub(super) fn run(&mut self, sql: &str) -> std::result::Result<(), Error> {
        self.ask(async |client| client.batch_execute(sql).await)
    }

    /// Runs a statement on the way of whatever is asked next.
    pub(super) fn run_with_next(&mut self, sql: &'static str) {
        self.first = Some(sql);
    }

    /// Forgets what was to be [run with the next](Self::run_with_next), if nothing was asked since.
    pub(super) fn forget_next(&mut self) -> bool {
        self.first.take().is_some()
    }

    /// Sends a statement whose answer nobody waits for. If it fails, the connection is of no use any more.
    pub(super) fn send(&mut self, sql: &str) {
        let Driver { connection, runtime, .. } = &mut self.driver;
        let (Some(client), Some(open)) = (&self.sender, connection.as_mut()) else { return };
        let mut sending = pin!(client.batch_execute(sql));
        let ended = runtime.block_on(poll_fn(|cx| {
            // The first takes it on, the second writes it. What the server says is read with the next answer.
            let _ = sending.as_mut().poll(cx);
            Poll::Ready(open.as_mut().poll(cx).is_ready())
        }));
        if ended {
            *connection = None;
        }
    }

    pub(super) fn prepare(&mut self, sql: &str) -> std::result::Result<Statement, Error> {
        self.ask(async |client| client.prepare(sql).await)
    }

    pub(super) fn execute(
        &mut self,
        statement: &Statement,
        params: &Params<'_>,
    ) -> std::result::Result<u64, Error> {
        self.ask(async |client| client.execute(statement, params).await)
    }

    pub(super) fn query(
        &mut self,
        statement: &Statement,
        params: &Params<'_>,
    ) -> std::result::Result<Vec<Row>, Error> {
        self.ask(async |client| client.query(statement, params).await)
    }

    /// The rows of a statement without parameters that is not kept.
    pub(super) fn query_once(&mut self, sql: &str) -> std::result::Result<Vec<Row>, Error> {
        self.ask(async |client| client.query(sql, &[]).await)
    }

    /// The rows for each of these.
    pub(super) fn query_each(
        &mut self,
        statement: &Statement,
        all: &[Params<'_>],
    ) -> std::result::Result<Vec<Vec<Row>>, Error> {
        self.ask(async |client| {
            let answers = join_all(all.iter().map(|params| client.query(statement, params))).await;
            answers.into_iter().collect()
        })
    }

    /// Executes it with each of these.
    pub(super) fn execute_each(
        &mut self,
        statement: &Statement,
        all: &[Params<'_>],
    ) -> std::result::Result<(), Error> {
        self.ask(async |client| {
            let answers = join_all(all.iter().map(|params| client.execute(statement, params))).await;
            answers.into_iter().try_for_each(|answer| answer.map(drop))
        })
    }

    /// Asks, and drives the connection until there is an answer.
    fn ask<T>(
        &mut self,
        work: impl AsyncFnOnce(&::tokio_postgres::Client) -> std::result::Result<T, Error>,
    ) -> std::result::Result<T, Error> {
        let client = self.sender.as_ref().expect("it is there until this is dropped");
        let first = self.first.take();
        self.driver.run(async {
            let Some(first) = first else { return work(client).await };
            // In this order on the wire.
            let (begun, done) = join(client.batch_execute(first), work(client)).await;
            begun.and(done)
        })
    }
}

impl Driver {
    fn run<T>(
        &mut self,
        work: impl Future<Output = std::result::Result<T, Error>>,
    ) -> std::result::Result<T, Error> {
        let Self { connection, runtime, heard } = self;
        let mut work = pin!(work);
        let done = runtime.block_on(poll_fn(|cx| {
            if let Some(open) = connection
                && let Poll::Ready(ended) = open.as_mut().poll(cx)
            {
                *connection = None; // whoever waits for an answer is told by that
                if let Err(error) = ended {
                    return Poll::Ready(Err(error));
                }
            }
            work.as_mut().poll(cx)
        }));
        *heard = Instant::now();
        done
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.sender.take()); // upon which the connection says goodbye, and ends
        if let Some(connection) = self.driver.connection.take() {
            let _ = self.driver.runtime.block_on(async { timeout(LEAVING, connection).await });
        }
    }
}
