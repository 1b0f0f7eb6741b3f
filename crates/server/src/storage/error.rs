use super::sql::{SqlError, is_gone, takes_no_writes};
use rusqlite::ffi::{SQLITE_IOERR_FSYNC, SQLITE_IOERR_SHMSIZE, SQLITE_IOERR_WRITE};
use std::{error::Error, sync::Arc};

/// Why the storage failed. Nothing of the transaction was stored, unless it says that this is not known.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The disk, or the quota on it, is full. Passes when there is room again.
    #[error("the storage is full")]
    Full,
    /// The database is locked by another process. One hub serves one data directory; on a server, something holds a lock for
    /// longer than a hub does.
    #[error("another process has locked the database")]
    InUse,
    /// The database server cannot be reached, or has ended the connection. Passes when it is there again; whether the last
    /// transaction was stored is not known, and the same request again settles it.
    #[error("the database server cannot be reached: {0}")]
    Unreachable(#[source] Arc<dyn Error + Send + Sync>),
    /// The database server takes no writes. Passes when the standby takes over, or the address leads to the server that has; or it was
    /// set to read only, and has to be set back.
    #[error("the database server takes no writes: it is a standby, or was set to read only")]
    ReadOnly,
    /// The address of the database server cannot be read. It is like `postgres://user:password@host:port/database`.
    #[error("the address of the database cannot be used: {0}")]
    Address(#[source] Arc<dyn Error + Send + Sync>),
    /// The database failed. Its own message says more.
    #[error("the database failed: {0}")]
    Database(#[source] Arc<dyn Error + Send + Sync>),
    /// The schema could not be brought up to date, or is newer than this version.
    #[error("the database's schema cannot be used: {0}")]
    Schema(#[source] Arc<dyn Error + Send + Sync>),
    /// A hub was being moved into this database, and that was not finished. Begin `tertulia admin copy-database` again.
    #[error("a hub was being moved into this database, and that was not finished")]
    CopyUnfinished,
    /// What is stored contradicts itself.
    #[error("the stored data is damaged: {0}")]
    Damaged(&'static str),
    /// A step of the transaction panicked and was undone.
    #[error("a step of the transaction panicked")]
    Panicked,
    /// The hub is shutting down.
    #[error("the storage is closed")]
    Closed,
}

impl StorageError {
    /// Whether a file could not be written for a reason that SQLite does not tell. It tells of a full disk; a quota that is used up is
    /// to it an error like any other.
    pub(super) fn is_failed_write(&self) -> bool {
        let Self::Database(cause) = self else { return false };
        let Some(SqlError::Sqlite(error)) = cause.downcast_ref() else { return false };
        let code = error.sqlite_error().map(|error| error.extended_code);
        matches!(code, Some(SQLITE_IOERR_WRITE | SQLITE_IOERR_FSYNC))
    }
}

impl From<rusqlite::Error> for StorageError {
    fn from(error: rusqlite::Error) -> Self {
        SqlError::from(error).into()
    }
}

impl From<SqlError> for StorageError {
    fn from(error: SqlError) -> Self {
        use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked, DiskFull};
        match &error {
            SqlError::Sqlite(sqlite) => match sqlite.sqlite_error_code() {
                Some(DiskFull) => Self::Full,
                Some(DatabaseBusy | DatabaseLocked) => Self::InUse,
                _ if sqlite
                    .sqlite_error()
                    .is_some_and(|error| error.extended_code == SQLITE_IOERR_SHMSIZE) =>
                {
                    // What the file of the log's index cannot grow for.
                    Self::Full
                }
                _ => Self::Database(Arc::new(error)),
            },
            SqlError::Postgres(postgres) => match postgres.code().map(|state| state.code()) {
                Some("53100") => Self::Full,  // disk_full
                Some("55P03") => Self::InUse, // lock_not_available
                _ if takes_no_writes(postgres) => Self::ReadOnly,
                _ if is_gone(postgres) => Self::Unreachable(Arc::new(error)),
                _ => Self::Database(Arc::new(error)),
            },
            SqlError::NoRow | SqlError::Column(_) | SqlError::Runtime(_) => Self::Database(Arc::new(error)),
        }
    }
}

impl From<rusqlite_migration::Error> for StorageError {
    fn from(error: rusqlite_migration::Error) -> Self {
        Self::Schema(Arc::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    #[test]
    fn a_write_that_fails_may_be_for_want_of_room() {
        let failure =
            |code| -> StorageError { rusqlite::Error::SqliteFailure(ffi::Error::new(code), None).into() };
        assert!(failure(ffi::SQLITE_IOERR_WRITE).is_failed_write());
        assert!(failure(ffi::SQLITE_IOERR_FSYNC).is_failed_write());
        assert!(!failure(ffi::SQLITE_IOERR_READ).is_failed_write());
        assert!(!failure(ffi::SQLITE_CORRUPT).is_failed_write());
    }

    #[test]
    fn a_disk_is_full_whichever_file_has_no_room() {
        let failure = |code| rusqlite::Error::SqliteFailure(ffi::Error::new(code), None).into();
        for code in [ffi::SQLITE_FULL, SQLITE_IOERR_SHMSIZE] {
            assert!(matches!(failure(code), StorageError::Full), "{code}");
        }
        assert!(matches!(failure(ffi::SQLITE_IOERR_READ), StorageError::Database(_)));
    }
}
