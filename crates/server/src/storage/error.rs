use std::sync::Arc;

/// Why the storage failed. Nothing of the transaction was stored.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The disk, or the quota on it, is full. Passes when there is room again.
    #[error("the storage is full")]
    Full,
    /// The database is locked by another process. One hub serves one data directory.
    #[error("another process uses this data directory")]
    InUse,
    /// SQLite failed.
    #[error("the database failed: {0}")]
    Database(#[source] Arc<rusqlite::Error>),
    /// The schema could not be brought up to date, or is newer than this version.
    #[error("the database's schema cannot be used: {0}")]
    Schema(#[source] Arc<rusqlite_migration::Error>),
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
        use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked, DiskFull};
        match error.sqlite_error_code() {
            Some(DiskFull) => Self::Full,
            Some(DatabaseBusy | DatabaseLocked) => Self::InUse,
            _ => Self::Database(Arc::new(error)),
        }
    }
}

impl From<rusqlite_migration::Error> for StorageError {
    fn from(error: rusqlite_migration::Error) -> Self {
        Self::Schema(Arc::new(error))
    }
}
