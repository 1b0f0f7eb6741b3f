//! The database file: how it is made, opened and brought up to date.

use crate::{
    StoreError,
    home::{private_file, put_in_place, remove_if_there},
    key::StoreKey,
    log_space,
};
use rusqlite::{
    Connection, OpenFlags, Transaction,
    backup::{Backup, StepResult},
};
use rusqlite_migration::{M, Migrations};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use zeroize::Zeroizing;

const DATABASE: &str = "tertulia.db";
/// What a database is called until it is complete.
const UNFINISHED: &str = "tertulia.db.new";
/// How long a short write of another process is waited for.
const BUSY: Duration = Duration::from_secs(10);
/// Most KiB of pages that the writer keeps. A cache that is full of one large group would let go of every page at once, and read
/// and decrypt it again for the next statement.
const CACHE: u32 = 16 * 1024;
/// How long readers are waited for whose view keeps the write-ahead log from being emptied.
const READERS: Duration = Duration::from_secs(1);
/// Pages of a copy between two reports: 4 MiB.
const COPIED_AT_ONCE: i32 = 1024;

/// The steps from an empty database to the schema of today. One that was released is never changed.
const STEPS: &[M<'static>] = &[
    M::up(include_str!("schema/1.sql")),
    M::up(include_str!("schema/2.sql")),
    M::up(include_str!("schema/3.sql")),
    M::up(include_str!("schema/4.sql")),
    M::up(include_str!("schema/5.sql")),
    M::up(include_str!("schema/6.sql")),
    M::up(include_str!("schema/7.sql")),
    M::up(include_str!("schema/8.sql")),
    M::up(include_str!("schema/9.sql")),
    M::up(include_str!("schema/10.sql")),
    M::up(include_str!("schema/11.sql")),
    M::up(include_str!("schema/12.sql")),
    M::up(include_str!("schema/13.sql")),
    M::up(include_str!("schema/14.sql")),
];
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

/// The file.
pub(crate) fn path(home: &Path) -> PathBuf {
    home.join(DATABASE)
}

/// The file of the write-ahead log.
pub(crate) fn log_path(home: &Path) -> PathBuf {
    home.join(format!("{DATABASE}-wal"))
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
    // What one long write has left behind the usual end of the log would never be overwritten.
    connection.execute_batch(&format!("PRAGMA journal_size_limit = {};", log_space::ROOM))?;
    match access {
        Access::Read => connection.execute_batch("PRAGMA query_only = ON;")?,
        Access::Write => connection.execute_batch(&format!("PRAGMA cache_size = -{CACHE};"))?,
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

/// Writes all pages anew under another key, in one transaction, and says whether that was done.
///
/// SQLCipher does it on a connection of its own, which has both keys and is of no use afterwards. It does not say whether it
/// succeeded; whichever key opens the database afterwards does.
pub(crate) fn rekey(home: &Path, old: &StoreKey, new: &StoreKey) -> Result<Connection, StoreError> {
    let connection = connect(home, old, Access::Write)?;
    connection.execute_batch(&with_key("PRAGMA rekey = ", new))?;
    fail_point!(REKEYED, StoreError::DiskFull);
    drop(connection);
    match connect(home, new, Access::Write) {
        Err(StoreError::WrongKey { .. }) => Err(StoreError::NotRekeyed { home: home.to_owned() }),
        opened => opened,
    }
}

/// Copies the view that the transaction has, page by page, into a new database under another key.
pub(crate) fn copy(
    source: &Transaction<'_>,
    home: &Path,
    key: &StoreKey,
    mut progress: impl FnMut(u64, u64),
) -> Result<(), StoreError> {
    // As text: SQLCipher answers so.
    let page: String =
        source.query_row("SELECT CAST(page_size AS TEXT) FROM pragma_page_size", [], |row| row.get(0))?;
    let page: u64 = page.parse().map_err(|_| StoreError::Damaged { what: "the size of a page" })?;
    let bytes = |pages: i32| u64::try_from(pages).unwrap_or_default() * page;
    private_file(&home.join(DATABASE))?;
    let mut copy = unlock(home, DATABASE, key)?;
    let backup = Backup::new(source, &mut copy)?;
    loop {
        // Nobody else has the one, and nobody changes the view of the other: neither is ever busy.
        let done = match backup.step(COPIED_AT_ONCE)? {
            StepResult::Done => true,
            StepResult::More => false,
            _ => return Err(StoreError::Busy),
        };
        let state = backup.progress();
        progress(bytes(state.pagecount - state.remaining), bytes(state.pagecount));
        if done {
            break;
        }
    }
    drop(backup);
    copy.close().map_err(|(_, error)| error.into())
}

/// Transfers the write-ahead log into the database and cuts it to nothing.
pub(crate) fn empty_log(connection: &Connection) -> Result<(), StoreError> {
    connection.busy_timeout(READERS)?;
    let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
    connection.busy_timeout(BUSY)?;
    if busy? { Err(StoreError::Busy) } else { Ok(()) }
}

/// What an error at the beginning of a transaction means. A page that the key does not fit is reported as a lack of memory; if
/// that is what it is, a new connection tells.
pub(crate) fn explained(error: StoreError, home: &Path, key: &StoreKey) -> StoreError {
    match error {
        StoreError::Damaged { .. } | StoreError::Unavailable(_) => match unlock(home, DATABASE, key) {
            Err(StoreError::WrongKey { .. }) => StoreError::KeyChanged,
            _ => error,
        },
        StoreError::WrongKey { .. } => StoreError::KeyChanged,
        other => other,
    }
}

/// Takes the view of what was written last, which a transaction else does with its first read.
pub(crate) fn take_view(tx: &Transaction<'_>) -> Result<(), StoreError> {
    tx.prepare_cached("SELECT 1 FROM sqlite_schema LIMIT 1")?.query_row([], |_| Ok(()))?;
    Ok(())
}

/// Opens a database file that exists and gives it the key.
fn unlock(home: &Path, file: &str, key: &StoreKey) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(home.join(file), flags)?;
    connection.busy_timeout(BUSY)?;
    // As one batch the key is neither copied nor printed. Memory security comes first, so that it covers the key.
    connection.execute_batch(&with_key(
        "PRAGMA cipher_log_level = NONE; PRAGMA cipher_memory_security = ON; PRAGMA key = ",
        key,
    ))?;
    // The first read of the file shows whether the key fits.
    match connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())) {
        Ok(()) => Ok(connection),
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) => {
            Err(StoreError::WrongKey { home: home.to_owned() })
        }
        Err(error) => Err(error.into()),
    }
}

/// SQL that ends with a key.
fn with_key(sql: &str, key: &StoreKey) -> Zeroizing<String> {
    let literal = key.as_blob_literal();
    let mut batch = Zeroizing::new(String::with_capacity(sql.len() + literal.len() + 3));
    for part in [sql, "\"", literal.as_str(), "\";"] {
        batch.push_str(part);
    }
    batch
}

fn migration_error(error: rusqlite_migration::Error) -> StoreError {
    match error {
        rusqlite_migration::Error::RusqliteError { err, .. } => err.into(),
        other => StoreError::Database(Box::new(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stood in the content of invitations stands beside it, and what cannot be read is gone.
    #[test]
    fn invitations_of_version_13_are_kept() {
        let mut connection = Connection::open_in_memory().expect("memory");
        MIGRATIONS.to_version(&mut connection, 13).expect("version 13");
        let put = |number: u8, content: &str| {
            let sql = "INSERT INTO invitations (conversation, user, received_at, content) \
                       VALUES (?1, ?1, 5, CAST(?2 AS BLOB))";
            connection.execute(sql, ([number; 16], content)).expect("inserts");
        };
        put(1, r#"{"expires":11}"#);
        put(2, r#"{"expires":12,"ignored":true,"group":3}"#);
        put(3, r#"{"expires":13}"#);
        put(4, "cut");
        put(5, r#"{"expires":15,"group":3}"#);
        let sql = "INSERT INTO connections (user, status, conversation, updated_at) VALUES (?1, ?2, ?1, 1)";
        for (number, status) in [(1_u8, "pending"), (3, "ignored"), (5, "ignored")] {
            connection.execute(sql, ([number; 16], status)).expect("inserts");
        }
        migrate(&mut connection).expect("today's version");
        let sql = "SELECT hex(substr(conversation, 1, 1)), expires, pending, to_group FROM invitations \
                   ORDER BY conversation";
        let mut rows = connection.prepare(sql).expect("SQL");
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)));
        let rows: Vec<(String, i64, bool, bool)> =
            rows.expect("readable").collect::<Result<_, _>>().expect("numbers");
        let row = |number: &str, expires, pending, to_group| (number.to_owned(), expires, pending, to_group);
        assert_eq!(
            rows,
            [
                row("01", 11, true, false),
                row("02", 12, false, true),
                row("03", 13, false, false),
                row("05", 15, true, true)
            ]
        );
    }
}
