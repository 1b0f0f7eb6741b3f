//! SQLite: a file, written by one connection and read by a few.

use super::{super::StorageError, schema};
use rusqlite::{Connection, OpenFlags};
use rusqlite_migration::Migrations;
use std::{path::Path, time::Duration};

/// How long to wait for another process, such as a backup, to let go of the database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens the database, or creates it, and brings its schema up to date. It grows to `max_bytes` at most; one that is
/// larger already does not grow.
pub(super) fn open_writer(path: &Path, max_bytes: Option<u64>) -> Result<Connection, StorageError> {
    open(path, max_bytes, &schema::SQLITE)
}

/// The same of a relay that is no hub.
pub(super) fn open_relay_writer(path: &Path, max_bytes: Option<u64>) -> Result<Connection, StorageError> {
    open(path, max_bytes, &schema::RELAY)
}

fn open(path: &Path, max_bytes: Option<u64>, schema: &Migrations<'_>) -> Result<Connection, StorageError> {
    let mut connection = Connection::open(path)?;
    configure(&connection)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    schema.to_latest(&mut connection)?;
    if let Some(max_bytes) = max_bytes {
        bound(&connection, max_bytes)?;
    }
    Ok(connection)
}

/// Brings the schema up to date.
pub(in crate::storage) fn migrate(connection: &mut Connection) -> Result<(), StorageError> {
    Ok(schema::SQLITE.to_latest(connection)?)
}

/// Opens a connection that only reads.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    // A connection that is opened read-only cannot take part in the write-ahead log's shared memory everywhere.
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    configure(&connection)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// How every connection is used.
pub(in crate::storage) fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(256);
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
