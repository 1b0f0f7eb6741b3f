//! The hub's storage: one database, in a file (SQLite) or on a server (PostgreSQL), one writer, a few readers.
//!
//! The functions of the submodules are steps inside a transaction: those that change something take a [`WriteTx`], those
//! that only read take a connection and so work in both. What the rules say is decided in `tertulia-domain`.

pub(crate) mod accounts;
pub(crate) mod backup;
pub(crate) mod channels;
pub(crate) mod connections;
pub(crate) mod conversations;
pub(crate) mod copy;
pub(crate) mod devices;
pub(crate) mod ended;
mod error;
pub(crate) mod events;
pub(crate) mod groups;
pub(crate) mod history;
pub(crate) mod joins;
pub(crate) mod key_packages;
pub(crate) mod last_request;
pub(crate) mod log;
pub(crate) mod nodes;
pub(crate) mod operator;
pub(crate) mod pairwise;
pub(crate) mod profiles;
pub(crate) mod quotas;
mod readers;
pub(crate) mod relay;
pub(crate) mod removals;
pub(crate) mod retention;
pub(crate) mod roles;
pub(crate) mod settings;
pub(crate) mod sql;
pub(crate) mod stream;
pub(crate) mod subconversations;
pub(crate) mod teams;
mod writer;

pub use error::StorageError;
pub use sql::DatabaseUrl;
pub(crate) use sql::{Connection, RowExt, Sql, SqlError};
pub(crate) use writer::{Batch, Position, Together, WriteTx};

use crate::{TRACE_TARGET, bus::Bus, error::ApiError};
use readers::Readers;
use sql::params;
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};
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
    is_full: Arc<AtomicBool>,
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
    /// Whether anybody has, or had, an account.
    pub(crate) has_users: bool,
    /// The last position that was given out before.
    pub(crate) position: Position,
    /// Resolves when the writer's thread has ended, after the last [`Storage`] is gone.
    pub(crate) closed: oneshot::Receiver<()>,
}

/// Where the database is.
#[derive(Clone)]
pub(crate) enum Location {
    /// In a file, which grows to so many bytes at most.
    File { path: PathBuf, max_bytes: Option<u64> },
    /// In a file of a relay that is no hub.
    Relay { path: PathBuf, max_bytes: Option<u64> },
    /// On a PostgreSQL server, which other nodes of the hub may use at the same time.
    Postgres {
        url: DatabaseUrl,
        /// The hub's key, if this is its first start.
        fresh_key: HubSecret,
    },
}

impl Location {
    /// Opens the database to write, and brings its schema up to date.
    fn writer(&self) -> Result<Connection, StorageError> {
        match self {
            Self::File { path, max_bytes } => Connection::sqlite_writer(path, *max_bytes),
            Self::Relay { path, max_bytes } => Connection::sqlite_relay_writer(path, *max_bytes),
            Self::Postgres { url, .. } => Connection::postgres_writer(url),
        }
    }

    /// Opens the database to write, after a connection has ended. Its schema has to be as it was.
    fn writer_again(&self) -> Result<Connection, StorageError> {
        match self {
            Self::File { path, max_bytes } => Connection::sqlite_writer(path, *max_bytes),
            Self::Relay { path, max_bytes } => Connection::sqlite_relay_writer(path, *max_bytes),
            Self::Postgres { url, .. } => Connection::postgres_writer_again(url),
        }
    }

    fn reader(&self) -> Result<Connection, StorageError> {
        Ok(match self {
            Self::File { path, .. } | Self::Relay { path, .. } => Connection::sqlite_reader(path)?,
            Self::Postgres { url, .. } => Connection::postgres_reader(url)?,
        })
    }
}

impl Storage {
    /// Opens the database, or creates it for `domain`, and brings its schema up to date. `bus` is told what each
    /// transaction brings, and `committed` how it went.
    pub(crate) fn open(
        location: &Location,
        domain: &Domain,
        bus: Bus,
        committed: impl Fn(Batch) + Send + 'static,
    ) -> Result<Opened, StorageError> {
        let connection = location.writer()?;
        if copy::is_unfinished(&connection)? {
            return Err(StorageError::CopyUnfinished);
        }
        connection.begin_writing()?;
        let (domain, key) = identity(&connection, location, domain)?;
        let has_users = connection.prepare_cached("SELECT 1 FROM users LIMIT 1")?.exists(())?;
        // What nobody needed to read any more only since it ended: a step of it, so that nobody waits long for the start.
        let (read, _) = ended::next_read(&connection, None)?;
        ended::delete_some(&connection, read)?;
        let position =
            connection.prepare_cached("SELECT position FROM hub")?.query_row((), |row| row.get(0))?;
        connection.run("COMMIT")?;
        let (storage, closed) = Self::start(connection, location, bus, committed)?;
        Ok(Opened { storage, domain, key, has_users, position, closed })
    }

    /// Opens the database of a relay that is no hub, which has no domain and no key, or creates it. What it gives besides resolves
    /// when the writer's thread has ended.
    pub(crate) fn open_relay(
        location: &Location,
        bus: Bus,
        committed: impl Fn(Batch) + Send + 'static,
    ) -> Result<(Self, oneshot::Receiver<()>), StorageError> {
        Self::start(location.writer()?, location, bus, committed)
    }

    /// Begins to write over this connection, and to read.
    fn start(
        connection: Connection,
        location: &Location,
        bus: Bus,
        committed: impl Fn(Batch) + Send + 'static,
    ) -> Result<(Self, oneshot::Receiver<()>), StorageError> {
        let from = location.clone();
        let readers = Readers::new(READERS, move || from.reader())?;
        let (writer, queue) = Writer::new(WAITING_JOBS);
        let (ended, closed) = oneshot::channel();
        let location = location.clone();
        let is_full = Arc::new(AtomicBool::new(false));
        let noted = Arc::clone(&is_full);
        let committed = move |batch: Batch| {
            if let Some(room) = batch.room {
                noted.store(!room, Ordering::Relaxed);
            }
            committed(batch);
        };
        thread::Builder::new()
            .name("storage-writer".into())
            .spawn(move || {
                queue.run(connection, || location.writer_again(), &bus, committed);
                let _ = ended.send(()); // nobody waits for it after a failed start
            })
            .map_err(|_| StorageError::Closed)?;
        Ok((Self { writer, readers, is_full }, closed))
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

    /// Does work in a transaction that shares its statements with others of its kind, and answers when it is durable.
    pub(crate) async fn write_together<W: Together>(&self, work: W) -> Result<W::Answer, ApiError> {
        let span = tracing::info_span!(target: TRACE_TARGET, "write");
        self.writer.write_together(work).instrument(span).await
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

    /// Whether there was no room for what was to be stored last.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
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
        Location::File { .. } | Location::Relay { .. } => {
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
pub(crate) mod testing;
