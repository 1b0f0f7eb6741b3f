//! The schemas, one step per version. A hub brings what it finds up to date when it starts.

use super::{super::StorageError, SqlError, postgres::Connection};
use rusqlite_migration::{M, Migrations};
use std::sync::Arc;

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
];
pub(super) const SQLITE: Migrations<'_> = Migrations::from_slice(SQLITE_STEPS);

/// Of PostgreSQL, which begins with what SQLite had come to.
const POSTGRES: &[&str] = &[include_str!("../postgres-1.sql")];

/// Of all hubs that start at one time, one changes the schema; the number is ours alone.
const LOCK: i64 = 0x7465_7274_756c_6961;

/// The database is of a later version of the program.
#[derive(Debug, thiserror::Error)]
#[error("it is of version {found}, and this program knows versions up to {known}")]
struct TooNew {
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

fn steps(connection: &Connection) -> Result<(), StorageError> {
    connection.run(&format!(
        "SELECT pg_advisory_xact_lock({LOCK});
         CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)"
    ))?;
    let version = connection.prepare("SELECT max(version) FROM schema_version")?;
    let found: Option<i64> = connection
        .query_first(&version, &[])?
        .map(|row| row.try_get(0))
        .transpose()
        .map_err(SqlError::from)?
        .flatten();
    let found = usize::try_from(found.unwrap_or_default()).unwrap_or_default();
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
