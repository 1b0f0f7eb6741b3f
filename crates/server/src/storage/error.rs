use super::sql::SqlError;
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
    /// The address of the database server cannot be read. It is like `postgres://user:password@host:port/database`.
    #[error("the address of the database cannot be used: {0}")]
    Address(#[source] Arc<dyn Error + Send + Sync>),
    /// The database failed. Its own message says more.
    #[error("the database failed: {0}")]
    Database(#[source] Arc<dyn Error + Send + Sync>),
    /// The schema could not be brought up to date, or is newer than this version.
    #[error("the database's schema cannot be used: {0}")]
    Schema(#[source] Arc<dyn Error + Send + Sync>),
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
                _ => Self::Database(Arc::new(error)),
            },
            SqlError::Postgres(postgres) => match postgres.code().map(|state| state.code()) {
                Some("53100") => Self::Full,  // disk_full
                Some("55P03") => Self::InUse, // lock_not_available
                // Connection exceptions, too many connections, and a server that stops or starts.
                Some(code) if code.starts_with("08") || code.starts_with("57P") || code == "53300" => {
                    Self::Unreachable(Arc::new(error))
                }
                // Without a code it is not the server that says so.
                None if postgres.is_closed()
                    || postgres.source().is_some_and(|source| source.is::<std::io::Error>()) =>
                {
                    Self::Unreachable(Arc::new(error))
                }
                _ => Self::Database(Arc::new(error)),
            },
            SqlError::NoRow | SqlError::Column(_) => Self::Database(Arc::new(error)),
        }
    }
}

impl From<rusqlite_migration::Error> for StorageError {
    fn from(error: rusqlite_migration::Error) -> Self {
        Self::Schema(Arc::new(error))
    }
}
