//! Backups of a hub, made while it runs.
//!
//! A backup is a directory with the same two files that a hub cannot do without: `hub.db`, one moment of the database, and
//! `hub.key`.

use crate::{
    ServerError, StorageError, files,
    mls::is_readable,
    restore,
    server::lock,
    storage::backup::{self, Contents},
};
use serde::Serialize;
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// The files that a hub cannot do without.
pub(crate) const DATABASE: &str = "hub.db";
pub(crate) const KEY: &str = "hub.key";

/// What a directory has in its name while it is written.
pub(crate) const PARTIAL: &str = ".partial-";

/// A backup that was made, or that a hub was restored from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BackupInfo {
    /// The directory that was written: the backup, or the data of the restored hub.
    pub path: PathBuf,
    /// Size of the database, in bytes.
    pub bytes: u64,
    /// The last position in the order of everything that the backup has.
    pub position: i64,
    /// Accounts in it.
    pub accounts: u64,
    /// Entries in the logs of its conversations.
    pub log_entries: u64,
    /// Groups of which what is stored is damaged. A hub that is restored begins them anew with what else it has of them.
    pub unreadable_groups: u64,
    /// Where the data were put that a restore has replaced.
    pub replaced: Option<PathBuf>,
}

/// Why a backup was not made, or no hub made of one. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// There is no hub's data, or no backup. Look whether it is the right directory, and whether this user may read it.
    #[error("there is no hub's data in {}", path.display())]
    NoData {
        /// The directory.
        path: PathBuf,
    },
    /// Something is there already. Choose another place; a restore can be told to replace a hub's data.
    #[error("{} is there already", path.display())]
    Taken {
        /// What is there.
        path: PathBuf,
    },
    /// A file cannot be read or written. The cause says why; make room or give rights.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The database cannot be copied, or the copy is damaged. Take another backup.
    #[error("the database in {} cannot be used: {source}", path.display())]
    Database {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: StorageError,
    },
    /// The data directory cannot be taken. If a hub runs on it, stop it first.
    #[error(transparent)]
    Data(#[from] ServerError),
}

impl BackupError {
    /// The stable code.
    pub fn code(&self) -> &str {
        match self {
            Self::NoData { .. } => "no-hub-data",
            Self::Taken { .. } => "destination-in-use",
            Self::File { .. } => "data-io",
            Self::Database { .. } => "data-unusable",
            Self::Data(error) => error.code(),
        }
    }
}

/// Copies the data in `data` to a new directory `to`, whether or not a hub uses them: one moment of it, with everything that
/// was acknowledged before. `to` is either there whole or not at all, and only its owner can read it. Blocks until it is
/// durable.
///
/// # Errors
///
/// [`BackupError`] says which.
pub fn back_up(data: &Path, to: &Path) -> Result<BackupInfo, BackupError> {
    if restore::is_unfinished(data) {
        match lock(data) {
            // Nobody uses the data, and now it is finished.
            Ok(lock) => drop(lock),
            Err(ServerError::InUse { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    check_is_data(data)?;
    if to.symlink_metadata().is_ok() {
        return Err(BackupError::Taken { path: to.to_owned() });
    }
    let partial = Partial::beside(to)?;
    let contents = write_copy(data, &partial.path)?;
    fs::rename(&partial.path, to).map_err(at(to))?;
    sync_directory(to.parent().unwrap_or(Path::new(".")))?;
    info(to, contents, None)
}

pub(crate) fn check_is_data(path: &Path) -> Result<(), BackupError> {
    if [DATABASE, KEY].iter().all(|name| path.join(name).is_file()) {
        Ok(())
    } else {
        Err(BackupError::NoData { path: path.to_owned() })
    }
}

/// Writes database and key into a directory, and looks whether the copy is sound.
pub(crate) fn write_copy(from: &Path, to: &Path) -> Result<Contents, BackupError> {
    let database = to.join(DATABASE);
    // Empty, so that it is the owner's alone from the beginning.
    files::create_private(&database).map_err(at(&database))?;
    backup::copy(&from.join(DATABASE), &database).map_err(unusable(from))?;
    File::open(&database).and_then(|file| file.sync_all()).map_err(at(&database))?;
    let contents = backup::check(&database, is_readable).map_err(unusable(from))?;
    let key = zeroize::Zeroizing::new(fs::read(from.join(KEY)).map_err(at(&from.join(KEY)))?);
    let to_key = to.join(KEY);
    files::write_private(&to_key, &key).map_err(at(&to_key))?;
    Ok(contents)
}

pub(crate) fn info(
    path: &Path,
    contents: Contents,
    replaced: Option<PathBuf>,
) -> Result<BackupInfo, BackupError> {
    let database = path.join(DATABASE);
    let bytes = fs::metadata(&database).map_err(at(&database))?.len();
    let Contents { position, accounts, log_entries, unreadable_groups } = contents;
    let path = path.to_owned();
    Ok(BackupInfo { path, bytes, position, accounts, log_entries, unreadable_groups, replaced })
}

pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> BackupError + use<> {
    let path = path.to_owned();
    move |source| BackupError::File { path, source }
}

pub(crate) fn unusable(path: &Path) -> impl FnOnce(StorageError) -> BackupError + use<> {
    let path = path.to_owned();
    move |source| BackupError::Database { path, source }
}

pub(crate) fn sync_directory(path: &Path) -> Result<(), BackupError> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path).and_then(|directory| directory.sync_all()).map_err(at(path))
}

/// A directory that is being written. What is left of it goes when this is dropped.
pub(crate) struct Partial {
    pub(crate) path: PathBuf,
}

impl Partial {
    /// A new one, in the directory that `to` is to be in.
    pub(crate) fn beside(to: &Path) -> Result<Self, BackupError> {
        let mut name = to.file_name().unwrap_or_default().to_owned();
        name.push(format!("{PARTIAL}{:08x}", rand::random::<u32>()));
        let path = to.with_file_name(name);
        files::create_private_dir(&path).map_err(at(&path))?;
        Ok(Self { path })
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Renamed to what it was for, or of no use.
        let _ = fs::remove_dir_all(&self.path);
    }
}
