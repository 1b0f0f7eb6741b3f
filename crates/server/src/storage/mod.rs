//! The hub's storage: one SQLite database, one writer, a few readers.
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
pub(crate) mod joins;
pub(crate) mod key_packages;
pub(crate) mod log;
pub(crate) mod operator;
pub(crate) mod pairwise;
pub(crate) mod profiles;
mod readers;
pub(crate) mod settings;
mod sql;
pub(crate) mod stream;
pub(crate) mod subconversations;
pub(crate) mod teams;
mod writer;

pub use error::StorageError;
pub(crate) use sql::{RowExt, Sql};
pub(crate) use writer::{Batch, Position, WriteTx};

use crate::{TRACE_TARGET, error::ApiError, wake::Wake};
use readers::Readers;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use rusqlite_migration::{M, Migrations};
use std::{path::Path, thread, time::Duration};
use tertulia_domain::Domain;
use tokio::sync::oneshot;
use tracing::Instrument as _;
use writer::Writer;

/// The schema, one step per version.
const STEPS: &[M<'_>] = &[
    M::up(include_str!("schema.sql")),
    M::up(include_str!("schema-2.sql")),
    M::up(include_str!("schema-3.sql")),
    M::up(include_str!("schema-4.sql")),
    M::up(include_str!("schema-5.sql")),
    M::up(include_str!("schema-6.sql")),
    M::up(include_str!("schema-7.sql")),
    M::up(include_str!("schema-8.sql")),
    M::up(include_str!("schema-9.sql")),
    M::up(include_str!("schema-12.sql")),
];
const MIGRATIONS: Migrations<'_> = Migrations::from_slice(STEPS);

/// Reads that run at the same time. Each is short; more would only wait for the same disk and cores.
const READERS: usize = 4;

/// Jobs that may wait for the writer before senders have to wait for a place.
const WAITING_JOBS: usize = 1024;

/// How long to wait for another process, such as a backup, to let go of the database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The open database.
#[derive(Clone)]
pub(crate) struct Storage {
    writer: Writer,
    readers: Readers,
}

/// What opening gives.
pub(crate) struct Opened {
    pub(crate) storage: Storage,
    /// The domain that was fixed at the first start.
    pub(crate) domain: Domain,
    /// Resolves when the writer's thread has ended, after the last [`Storage`] is gone.
    pub(crate) closed: oneshot::Receiver<()>,
}

impl Storage {
    /// Opens the database at `path`, or creates it for `domain`, and brings its schema up to date. It grows to
    /// `max_bytes` at most; one that is larger already does not grow. `committed` is told of
    /// each transaction.
    pub(crate) fn open(
        path: &Path,
        domain: &Domain,
        max_bytes: Option<u64>,
        wake: Wake,
        committed: impl Fn(Batch) + Send + 'static,
    ) -> Result<Opened, StorageError> {
        let mut connection = Connection::open(path)?;
        configure(&connection)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        MIGRATIONS.to_latest(&mut connection)?;
        let (domain, position) = identity(&connection, domain)?;
        // What nobody needed to read any more only since it ended.
        let transaction = connection.transaction()?;
        conversations::delete_ended(&transaction)?;
        transaction.commit()?;
        if let Some(max_bytes) = max_bytes {
            bound(&connection, max_bytes)?;
        }

        let readers = (0..READERS).map(|_| open_reader(path)).collect::<Result<_, _>>()?;
        let (writer, queue) = Writer::new(WAITING_JOBS);
        let (ended, closed) = oneshot::channel();
        thread::Builder::new()
            .name("storage-writer".into())
            .spawn(move || {
                queue.run(connection, position, &wake, committed);
                let _ = ended.send(()); // nobody waits for it after a failed start
            })
            .map_err(|_| StorageError::Closed)?;
        Ok(Opened { storage: Self { writer, readers: Readers::new(readers) }, domain, closed })
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
        let pages = |db: &Connection, name| db.pragma_query_value(None, name, |row| row.get::<_, u32>(0));
        let read = self.read(move |db| Ok((pages(db, "page_count")?, pages(db, "page_size")?)));
        let (count, size) = read.await?;
        Ok(u64::from(count) * u64::from(size))
    }
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(128);
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "trusted_schema", false)
}

/// From here on the database is full at this size, as if the disk were.
fn bound(connection: &Connection, max_bytes: u64) -> rusqlite::Result<()> {
    let page: u32 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    // More pages than SQLite can count are no bound.
    let pages = u32::try_from(max_bytes / u64::from(page.max(1))).unwrap_or(u32::MAX - 1).max(1);
    connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
}

fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    // A connection that is opened read-only cannot take part in the write-ahead log's shared memory everywhere.
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    configure(&connection)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// The domain and the last position, written at the first start.
fn identity(connection: &Connection, domain: &Domain) -> Result<(Domain, Position), StorageError> {
    let stored = connection
        .query_row("SELECT domain, position FROM hub", (), |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Position>(1)?))
        })
        .optional()?;
    if let Some((domain, position)) = stored {
        let domain = domain.parse().map_err(|_| StorageError::Damaged("the hub's domain is no domain"))?;
        return Ok((domain, position));
    }
    connection.execute("INSERT INTO hub (id, domain, position) VALUES (1, ?1, 0)", [domain.as_str()])?;
    Ok((domain.clone(), 0))
}
