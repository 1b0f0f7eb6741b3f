//! The database file: how it is made, opened and brought up to date.

use crate::{
    StoreError,
    home::{private_file, put_in_place, remove_if_there},
    key::StoreKey,
};
use rusqlite::{Connection, OpenFlags};
use rusqlite_migration::{M, Migrations};
use std::{path::Path, time::Duration};
use zeroize::Zeroizing;

const DATABASE: &str = "tertulia.db";
/// What a database is called until it is complete.
const UNFINISHED: &str = "tertulia.db.new";
/// How long a short write of another process is waited for.
const BUSY: Duration = Duration::from_secs(10);

/// The steps from an empty database to the schema of today. One that was released is never changed.
const STEPS: &[M<'static>] = &[M::up(include_str!("schema/1.sql")), M::up(include_str!("schema/2.sql"))];
const MIGRATIONS: Migrations<'static> = Migrations::from_slice(STEPS);

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// Whether there is a complete database.
pub(crate) fn exists(home: &Path) -> bool {
    home.join(DATABASE).exists()
}

/// Makes the database of a new store. It has its name once it is complete, so an interrupted creation leaves no store.
pub(crate) fn create(home: &Path, key: &StoreKey) -> Result<(), StoreError> {
    let unfinished = home.join(UNFINISHED);
    remove_if_there(&unfinished)?;
    remove_if_there(&home.join("tertulia.db.new-journal"))?;
    // SQLite would make the file with the process's umask; its journal files take over the mode.
    private_file(&unfinished)?;
    let mut connection = unlock(home, UNFINISHED, key)?;
    migrate(&mut connection)?;
    connection.close().map_err(|(_, error)| error)?;
    put_in_place(&unfinished, &home.join(DATABASE))
}

/// Opens the database of a store.
pub(crate) fn connect(home: &Path, key: &StoreKey, access: Access) -> Result<Connection, StoreError> {
    let connection = unlock(home, DATABASE, key)?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA foreign_keys = ON; \
         PRAGMA temp_store = MEMORY;",
    )?;
    if access == Access::Read {
        connection.execute_batch("PRAGMA query_only = ON;")?;
    }
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Whether the schema is that of today.
pub(crate) fn is_current(connection: &Connection) -> Result<bool, StoreError> {
    let version = usize::from(MIGRATIONS.current_version(connection).map_err(migration_error)?);
    if version > STEPS.len() {
        return Err(StoreError::NewerSchema { found: version, known: STEPS.len() });
    }
    Ok(version == STEPS.len())
}

/// Brings the schema up to date, in one transaction.
pub(crate) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    MIGRATIONS.to_latest(connection).map_err(migration_error)
}

/// Opens a database file that exists and gives it the key.
fn unlock(home: &Path, file: &str, key: &StoreKey) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(home.join(file), flags)?;
    connection.busy_timeout(BUSY)?;
    // As one batch the key is neither copied nor printed. Memory security comes first, so that it covers the key.
    let literal = key.as_blob_literal();
    let batch = Zeroizing::new(format!(
        "PRAGMA cipher_log_level = NONE; PRAGMA cipher_memory_security = ON; PRAGMA key = \"{}\";",
        literal.as_str()
    ));
    connection.execute_batch(&batch)?;
    // The first read of the file shows whether the key fits.
    match connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())) {
        Ok(()) => Ok(connection),
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) => {
            Err(StoreError::WrongKey { home: home.to_owned() })
        }
        Err(error) => Err(error.into()),
    }
}

fn migration_error(error: rusqlite_migration::Error) -> StoreError {
    match error {
        rusqlite_migration::Error::RusqliteError { err, .. } => err.into(),
        other => StoreError::Database(Box::new(other)),
    }
}
