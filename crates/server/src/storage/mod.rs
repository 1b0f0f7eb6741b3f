//! The hub's storage: one database, in a file (SQLite) or on a server (PostgreSQL), one writer, a few readers.
//!
//! The functions of the submodules are steps inside a transaction: those that change something take a [`WriteTx`], those
//! that only read take a connection and so work in both. What the rules say is decided in `tertulia-domain`.

pub(crate) mod accounts;
pub(crate) mod backup;
pub(crate) mod channels;
pub(crate) mod connections;
pub(crate) mod conversations;
pub(crate) mod devices;
mod error;
pub(crate) mod events;
pub(crate) mod groups;
pub(crate) mod history;
pub(crate) mod joins;
pub(crate) mod key_packages;
pub(crate) mod log;
pub(crate) mod operator;
pub(crate) mod pairwise;
pub(crate) mod profiles;
mod readers;
pub(crate) mod removals;
pub(crate) mod settings;
pub(crate) mod sql;
pub(crate) mod stream;
pub(crate) mod subconversations;
pub(crate) mod teams;
mod writer;

pub use error::StorageError;
pub use sql::DatabaseUrl;
pub(crate) use sql::{Connection, RowExt, Sql, SqlError};
pub(crate) use writer::{Batch, Position, WriteTx};

use crate::{TRACE_TARGET, error::ApiError, wake::Wake};
use readers::Readers;
use sql::params;
use std::{path::PathBuf, thread};
use tertulia_domain::Domain;
use tokio::sync::oneshot;
use tracing::Instrument as _;
use writer::Writer;
use zeroize::Zeroizing;

/// Reads that run at the same time. Each is short; more would only wait for the same disk and cores.
const READERS: usize = 4;

/// Jobs that may wait for the writer before senders have to wait for a place.
const WAITING_JOBS: usize = 1024;

/// The open database.
#[derive(Clone)]
pub(crate) struct Storage {
    writer: Writer,
    readers: Readers,
}

/// The hub's MLS key, 64 bytes.
type HubSecret = Zeroizing<Vec<u8>>;

/// What opening gives.
pub(crate) struct Opened {
    pub(crate) storage: Storage,
    /// The domain that was fixed at the first start.
    pub(crate) domain: Domain,
    /// The hub's key, where several hubs share a database and so the key.
    pub(crate) key: Option<HubSecret>,
    /// Resolves when the writer's thread has ended, after the last [`Storage`] is gone.
    pub(crate) closed: oneshot::Receiver<()>,
}

/// Where the database is.
#[derive(Clone)]
pub(crate) enum Location {
    /// In a file, which grows to so many bytes at most.
    File { path: PathBuf, max_bytes: Option<u64> },
    /// On a PostgreSQL server, which other nodes of the hub may use at the same time.
    Postgres {
        url: DatabaseUrl,
        /// The hub's key, if this is its first start.
        fresh_key: HubSecret,
    },
}

impl Location {
    fn writer(&self) -> Result<Connection, StorageError> {
        match self {
            Self::File { path, max_bytes } => Connection::sqlite_writer(path, *max_bytes),
            Self::Postgres { url, .. } => Connection::postgres_writer(url),
        }
    }

    fn reader(&self) -> Result<Connection, StorageError> {
        Ok(match self {
            Self::File { path, .. } => Connection::sqlite_reader(path)?,
            Self::Postgres { url, .. } => Connection::postgres_reader(url)?,
        })
    }
}

impl Storage {
    /// Opens the database, or creates it for `domain`, and brings its schema up to date. `committed` is told of each
    /// transaction.
    pub(crate) fn open(
        location: &Location,
        domain: &Domain,
        wake: Wake,
        committed: impl Fn(Batch) + Send + 'static,
    ) -> Result<Opened, StorageError> {
        let connection = location.writer()?;
        connection.begin_writing()?;
        let (domain, key) = identity(&connection, location, domain)?;
        // What nobody needed to read any more only since it ended.
        conversations::delete_ended(&connection)?;
        connection.run("COMMIT")?;

        let from = location.clone();
        let readers = Readers::new(READERS, move || from.reader())?;
        let (writer, queue) = Writer::new(WAITING_JOBS);
        let (ended, closed) = oneshot::channel();
        let location = location.clone();
        thread::Builder::new()
            .name("storage-writer".into())
            .spawn(move || {
                queue.run(connection, || location.writer(), &wake, committed);
                let _ = ended.send(()); // nobody waits for it after a failed start
            })
            .map_err(|_| StorageError::Closed)?;
        Ok(Opened { storage: Self { writer, readers }, domain, key, closed })
    }

    /// Does `work` in a transaction, and answers when it is durable. With an error nothing of it is stored.
    pub(crate) async fn write<T, F>(&self, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&WriteTx<'_>) -> Result<T, ApiError> + Send + 'static,
    {
        let span = tracing::info_span!(target: TRACE_TARGET, "write");
        self.writer.write(work).instrument(span).await
    }

    /// Does `work` on one moment of the database.
    pub(crate) async fn read<T, F>(&self, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, ApiError> + Send + 'static,
    {
        let span = tracing::info_span!(target: TRACE_TARGET, "read");
        self.readers.read(work).instrument(span).await
    }

    /// Requests that wait for the writer.
    pub(crate) fn waiting(&self) -> usize {
        self.writer.waiting()
    }

    /// The size of the database.
    pub(crate) async fn bytes(&self) -> Result<u64, ApiError> {
        self.read(|db| Ok(db.bytes()?)).await
    }
}

/// The domain, and the key if it is shared, both written at the first start.
fn identity(
    connection: &Connection,
    location: &Location,
    domain: &Domain,
) -> Result<(Domain, Option<HubSecret>), StorageError> {
    let key = match location {
        Location::File { .. } => {
            connection
                .prepare_cached(
                    "INSERT INTO hub (id, domain, position) VALUES (1, ?1, 0) ON CONFLICT (id) DO NOTHING",
                )?
                .execute([domain.as_str()])?;
            None
        }
        Location::Postgres { fresh_key, .. } => {
            connection
                .prepare_cached(
                    "INSERT INTO hub (id, domain, position, key) VALUES (1, ?1, 0, ?2) ON CONFLICT (id) DO NOTHING",
                )?
                .execute(params![domain.as_str(), fresh_key.as_slice()])?;
            let key = connection.prepare_cached("SELECT key FROM hub")?.query_row((), |row| row.get(0))?;
            Some(Zeroizing::new(key))
        }
    };
    let stored: String =
        connection.prepare_cached("SELECT domain FROM hub")?.query_row((), |row| row.get(0))?;
    let domain = stored.parse().map_err(|_| StorageError::Damaged("the hub's domain is no domain"))?;
    Ok((domain, key))
}

#[cfg(test)]
mod testing;
