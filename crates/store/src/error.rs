//! What can go wrong with the store.

use std::{io, path::PathBuf};

/// Who can do something about a [`StoreError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The call was wrong: another home, another key, another version of the program.
    Misuse,
    /// What is on the disk cannot be read. Restore it from a backup, or log in with a new home.
    Damage,
    /// It can work later: the disk is full, or another process is slow.
    Transient,
}

/// An error of the store. A failed write has written nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no store in this directory. Create one, or name another directory.
    #[error("there is no store in {}", home.display())]
    NotInitialised {
        /// The directory.
        home: PathBuf,
    },
    /// There is a store in this directory already. Open it, or name another directory.
    #[error("there is a store in {} already", home.display())]
    AlreadyInitialised {
        /// The directory.
        home: PathBuf,
    },
    /// The passphrase or the key file is not the one that the store was made with. A database whose first page is damaged
    /// looks the same: what cannot be decrypted cannot be told from what is not there. Ask for the passphrase again, or
    /// restore the key or the database from a backup.
    #[error("the passphrase or the key does not open the store in {}", home.display())]
    WrongKey {
        /// The directory.
        home: PathBuf,
    },
    /// The store was made with a passphrase, and none was given. Ask for it.
    #[error("the store in {} is protected by a passphrase", home.display())]
    PassphraseNeeded {
        /// The directory.
        home: PathBuf,
    },
    /// The store's key is in a file, and a passphrase was given. Open it without.
    #[error("the store in {} is opened by its key file, not by a passphrase", home.display())]
    NoPassphraseWanted {
        /// The directory.
        home: PathBuf,
    },
    /// The store's key is the application's to give, and it was not. Give it.
    #[error("the store in {} is opened by a key that is given", home.display())]
    GivenKeyNeeded {
        /// The directory.
        home: PathBuf,
    },
    /// A key was given, and the store's is in a file or comes from a passphrase. Open it with that.
    #[error("the store in {} is not opened by a key that is given", home.display())]
    NoGivenKeyWanted {
        /// The directory.
        home: PathBuf,
    },
    /// The key file is missing or is not one. Restore it from a backup; without it nothing in the store can be read.
    #[error("the key of the store in {} cannot be read: {reason}", home.display())]
    DamagedKey {
        /// The directory.
        home: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The store was written by a later version of the program. Use that one.
    #[error("the store has schema {found}, this version of the program knows up to {known}")]
    NewerSchema {
        /// The version in the store.
        found: usize,
        /// The newest that this program knows.
        known: usize,
    },
    /// The home was given another key since the store was opened, by another process or another [`Store`](crate::Store) of
    /// this one. Open it again. (A database whose first page was damaged since looks the same.)
    #[error("the store was given another key since it was opened")]
    KeyChanged,
    /// The database could not be written anew under another key, and still has the old one: the disk is full, which needs
    /// room for it a second time, or it was busy. Make room, or try again.
    #[error("the store in {} could not be given another key; it still has the old one", home.display())]
    NotRekeyed {
        /// The directory.
        home: PathBuf,
    },
    /// A copy of the store was to be made where there is something already. Choose a directory that does not exist or is
    /// empty.
    #[error("{} exists and is not an empty directory", path.display())]
    DestinationInUse {
        /// What is there.
        path: PathBuf,
    },
    /// The key is derived in a way that only a later version of the program knows. Use that one.
    #[error("the key of the store in {} is derived in a way that is not known here", home.display())]
    NewerDerivation {
        /// The directory.
        home: PathBuf,
    },
    /// A write was tried with the guard of another store. Take the guard from the store that is written to.
    #[error("the guard belongs to another store")]
    WrongGuard,
    /// A number from outside is too large for the database, 2^63 - 1 or more. Drop what it came with.
    #[error("{what} cannot be {value}")]
    OutOfRange {
        /// Which number.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// A stored value is not of its form. Restore the store from a backup, or begin a new one and join the conversations
    /// again.
    #[error("the store is damaged: {what} cannot be read")]
    Damaged {
        /// Which value.
        what: &'static str,
    },
    /// The disk is full, and nothing was written. Free some of it and try again.
    #[error("the disk is full")]
    DiskFull,
    /// Somebody else kept the database busy for too long: another process, or a read that was under way. Try again.
    #[error("the store is busy")]
    Busy,
    /// The operating system refused an operation on a file. Show its answer: the file's rights or its disk are to be seen
    /// to.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
    /// The operating system refused the database a file, a read, a write or memory. Try again later; show the message if
    /// it stays.
    #[error("the database could not be used: {0}")]
    Unavailable(#[source] Opaque),
    /// The database failed in a way that it should not. Report it; a copy from a backup may still open.
    #[error("the database failed: {0}")]
    Database(#[source] Opaque),
}

/// An error of the underlying library: readable, printable, and of no promised type.
pub type Opaque = Box<dyn std::error::Error + Send + Sync>;

impl StoreError {
    /// Who can do something about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotInitialised { .. }
            | Self::AlreadyInitialised { .. }
            | Self::WrongKey { .. }
            | Self::PassphraseNeeded { .. }
            | Self::NoPassphraseWanted { .. }
            | Self::GivenKeyNeeded { .. }
            | Self::NoGivenKeyWanted { .. }
            | Self::NewerSchema { .. }
            | Self::NewerDerivation { .. }
            | Self::KeyChanged
            | Self::DestinationInUse { .. }
            | Self::WrongGuard
            | Self::OutOfRange { .. } => ErrorKind::Misuse,
            Self::DamagedKey { .. } | Self::Damaged { .. } | Self::Database(_) => ErrorKind::Damage,
            Self::DiskFull | Self::Busy | Self::NotRekeyed { .. } | Self::Unavailable(_) => {
                ErrorKind::Transient
            }
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Transient,
                _ => ErrorKind::Misuse,
            },
        }
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotInitialised { .. } => "no-home",
            Self::AlreadyInitialised { .. } => "home-in-use",
            Self::WrongKey { .. } => "wrong-key",
            Self::PassphraseNeeded { .. } => "passphrase-needed",
            Self::NoPassphraseWanted { .. } => "no-passphrase-wanted",
            Self::GivenKeyNeeded { .. } => "given-key-needed",
            Self::NoGivenKeyWanted { .. } => "no-given-key-wanted",
            Self::DamagedKey { .. } => "damaged-key",
            Self::NewerSchema { .. } | Self::NewerDerivation { .. } => "newer-home",
            Self::KeyChanged => "key-changed",
            Self::NotRekeyed { .. } => "key-unchanged",
            Self::DestinationInUse { .. } => "destination-in-use",
            Self::WrongGuard => "wrong-guard",
            Self::OutOfRange { .. } => "out-of-range",
            Self::Damaged { .. } | Self::Database(_) => "damaged-home",
            Self::DiskFull => "disk-full",
            Self::Busy => "home-busy",
            Self::Io { .. } | Self::Unavailable(_) => "home-io",
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Damaged { what: "the database file" }
            }
            Some(
                ErrorCode::CannotOpen
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::OutOfMemory
                | ErrorCode::PermissionDenied
                | ErrorCode::ReadOnly
                | ErrorCode::SystemIoFailure,
            ) => Self::Unavailable(Box::new(error)),
            None if is_conversion(&error) => Self::Damaged { what: "a stored value" },
            _ => Self::Database(Box::new(error)),
        }
    }
}

/// Whether a value was there and was not of its form.
fn is_conversion(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error};
    matches!(
        error,
        FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..) | Utf8Error(..)
    )
}

pub(crate) fn io_error(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.into();
    |source| StoreError::Io { path, source }
}
