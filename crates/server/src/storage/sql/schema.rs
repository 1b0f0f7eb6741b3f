//! The schemas, one step per version. A hub brings what it finds up to date when it starts.

use super::{super::StorageError, SqlError, postgres::Connection};
use rusqlite_migration::{M, Migrations};
use std::{cmp::Ordering, sync::Arc};

/// Of SQLite.
const SQLITE_STEPS: &[M<'_>] = &[
    M::up(include_str!("../schema.sql")),
    M::up(include_str!("../schema-2.sql")),
    M::up(include_str!("../schema-3.sql")),
    M::up(include_str!("../schema-4.sql")),
    M::up(include_str!("../schema-5.sql")),
    M::up(include_str!("../schema-6.sql")),
    M::up(include_str!("../schema-7.sql")),
    M::up(include_str!("../schema-8.sql")),
    M::up(include_str!("../schema-9.sql")),
    M::up(include_str!("../schema-10.sql")),
    M::up(include_str!("../schema-11.sql")),
    M::up(include_str!("../schema-12.sql")),
    M::up(include_str!("../schema-13.sql")),
    M::up(include_str!("../schema-14.sql")),
    M::up(include_str!("../schema-15.sql")),
    M::up(include_str!("../schema-16.sql")),
    M::up(include_str!("../schema-17.sql")),
    M::up(include_str!("../schema-18.sql")),
];
pub(super) const SQLITE: Migrations<'_> = Migrations::from_slice(SQLITE_STEPS);

/// Of SQLite, for a relay that is no hub.
const RELAY_STEPS: &[M<'_>] =
    &[M::up(include_str!("../relay-1.sql")), M::up(include_str!("../schema-17.sql"))];
pub(super) const RELAY: Migrations<'_> = Migrations::from_slice(RELAY_STEPS);

/// Of PostgreSQL, which begins with what SQLite had come to.
const POSTGRES: &[&str] = &[
    include_str!("../postgres-1.sql"),
    include_str!("../postgres-2.sql"),
    include_str!("../postgres-3.sql"),
];

/// Of all hubs that start at one time, one changes the schema; the number is ours alone.
const LOCK: i64 = 0x7465_7274_756c_6961;

/// The database is of a later version of the program.
#[derive(Debug, thiserror::Error)]
#[error("it is of version {found}, and this program knows versions up to {known}")]
struct TooNew {
    found: usize,
    known: usize,
}

/// The database is of an earlier version of the program, though it was brought up to date when this node started.
#[derive(Debug, thiserror::Error)]
#[error("it is of version {found}, and this node needs {known}; start the node again")]
struct TooOld {
    found: usize,
    known: usize,
}

/// Brings the schema of a PostgreSQL database up to date, or none of it.
pub(super) fn migrate(connection: &Connection) -> Result<(), StorageError> {
    connection.run("BEGIN")?;
    let done = steps(connection);
    // What failed is undone; the reason is what counts.
    connection.run(if done.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    done
}

/// Whether the schema of a PostgreSQL database is the one that this program knows.
pub(super) fn check(connection: &Connection) -> Result<(), StorageError> {
    let (found, known) = (version(connection)?, POSTGRES.len());
    match found.cmp(&known) {
        Ordering::Equal => Ok(()),
        Ordering::Greater => Err(StorageError::Schema(Arc::new(TooNew { found, known }))),
        Ordering::Less => Err(StorageError::Schema(Arc::new(TooOld { found, known }))),
    }
}

/// The version of a schema beside the one that this program knows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Version {
    pub(crate) found: usize,
    pub(crate) known: usize,
}

impl Version {
    pub(in crate::storage) const fn is_too_new(self) -> bool {
        self.found > self.known
    }
}

/// The version of a file's schema; 0 of an empty one.
pub(in crate::storage) fn version_of_file(file: &rusqlite::Connection) -> Result<Version, StorageError> {
    let found: i64 = file.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(Version { found: usize::try_from(found).unwrap_or(usize::MAX), known: SQLITE_STEPS.len() })
}

/// The version of a database's schema; 0 of an empty one.
pub(in crate::storage) fn version_of_server(database: &super::Connection) -> Result<Version, StorageError> {
    let known = POSTGRES.len();
    let there =
        "SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'schema_version'";
    if !database.prepare_cached(there)?.exists(())? {
        return Ok(Version { found: 0, known });
    }
    let found: Option<i64> = database
        .prepare_cached("SELECT max(version) FROM schema_version")?
        .query_row((), |row| row.get(0))?;
    Ok(Version { found: usize::try_from(found.unwrap_or_default()).unwrap_or(usize::MAX), known })
}

fn steps(connection: &Connection) -> Result<(), StorageError> {
    // Another node may be at it, for longer than anything else is waited for.
    connection.run(&format!(
        "SET LOCAL lock_timeout = '10min';
         SELECT pg_advisory_xact_lock({LOCK});
         SET LOCAL lock_timeout = '5s';
         CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)"
    ))?;
    let found = version(connection)?;
    let known = POSTGRES.len();
    let missing =
        POSTGRES.get(found..).ok_or_else(|| StorageError::Schema(Arc::new(TooNew { found, known })))?;
    for step in missing {
        connection.run(step)?;
    }
    if !missing.is_empty() {
        connection.run(&format!("INSERT INTO schema_version VALUES ({known})"))?;
    }
    Ok(())
}

/// 0 of an empty database.
fn version(connection: &Connection) -> Result<usize, StorageError> {
    let version = connection.prepare("SELECT max(version) FROM schema_version")?;
    let found: Option<i64> = connection
        .query_first(&version, &[])?
        .map(|row| row.try_get(0))
        .transpose()
        .map_err(SqlError::from)?
        .flatten();
    Ok(usize::try_from(found.unwrap_or_default()).unwrap_or_default())
}
