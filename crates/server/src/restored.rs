//! Databases on a server that were brought back to an earlier state, as from what `pg_dump` has written: the server's own programs do
//! that, and know nothing of devices that have seen more.

use crate::{
    DatabaseUrl, StorageError,
    mls::is_readable,
    state::now_ms,
    storage::backup::{self, Contents},
};
use serde::Serialize;

/// What is in a database that was brought back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RestoredDatabase {
    /// The last position in the order of everything that it has.
    pub position: i64,
    /// Accounts in it.
    pub accounts: u64,
    /// Entries in the logs of its conversations.
    pub log_entries: u64,
    /// Groups of which what is stored is damaged. The hub begins them anew with what else it has of them.
    pub unreadable_groups: u64,
}

/// Why a database that was brought back was left as it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoredDatabaseError {
    /// There is no hub's data in it. Look whether it is the right database, and whether all of it was brought back.
    #[error("there is no hub's data in the database")]
    NoData,
    /// A hub runs on it. Stop all its nodes first.
    #[error("a hub uses the database")]
    InUse,
    /// The database cannot be used. The cause says why.
    #[error(transparent)]
    Storage(StorageError),
}

impl RestoredDatabaseError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoData => "no-hub-data",
            Self::InUse => "data-in-use",
            Self::Storage(_) => "data-unusable",
        }
    }
}

impl From<StorageError> for RestoredDatabaseError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::InUse => Self::InUse,
            error => Self::Storage(error),
        }
    }
}

/// Notes in a hub's database that it was brought back to an earlier state, so that what was given out since is not given out again, and
/// devices that have seen more go on with it: what [`restore`](crate::restore()) does with a file. All groups are begun anew when the
/// hub starts. Blocks until it is durable; if it fails, or is interrupted, nothing has changed but that the schema may be up to date.
///
/// To do it once more, or where nothing was lost, costs no more than that the groups are begun anew.
///
/// # Errors
///
/// [`RestoredDatabaseError`] says which. No hub must run on the database.
pub fn after_database_restore(database: &DatabaseUrl) -> Result<RestoredDatabase, RestoredDatabaseError> {
    let contents = backup::begin_again_on_server(database, now_ms(), is_readable)?;
    let Contents { position, accounts, log_entries, unreadable_groups } =
        contents.ok_or(RestoredDatabaseError::NoData)?;
    Ok(RestoredDatabase { position, accounts, log_entries, unreadable_groups })
}
