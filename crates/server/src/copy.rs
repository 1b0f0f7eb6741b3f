//! Moving a hub from the file in its data directory into a PostgreSQL database.

pub use crate::storage::copy::CopyProgress;
use crate::{
    DatabaseUrl, ServerError, StorageError, hub_key,
    server::{is_taken, lock},
    state::now_ms,
    storage::copy::{self, Unfit},
};
use serde::Serialize;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A hub that was moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CopyInfo {
    /// Rows in all tables.
    pub rows: u64,
    /// Where the file was put that the hub had before, with its key.
    pub moved: PathBuf,
}

/// Why a hub was not moved. The file is as it was; a target that was begun says so, and no hub uses it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// There is no hub's data. Look whether it is the right directory, and whether this user may read it.
    #[error("there is no hub's data in {}", path.display())]
    NoData {
        /// The directory.
        path: PathBuf,
    },
    /// The target has tables. Give an empty database.
    #[error("the database is not empty")]
    TargetInUse,
    /// A schema is of a later version than this program knows. Use the program that it was written with, or a later one.
    #[error("the schema of the {what} is of version {found}, and this program knows versions up to {known}")]
    TooNew {
        /// Whose it is: `file` or `target`.
        what: &'static str,
        /// Its version.
        found: usize,
        /// The latest that this program knows.
        known: usize,
    },
    /// What was read back is not what was written. Look whether anybody else writes into the target, and begin anew.
    #[error("the table {table} has come to something else than it was")]
    Differs {
        /// The table.
        table: &'static str,
    },
    /// A file cannot be read or moved. The cause says why; make room or give rights.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// One of the databases cannot be used. The cause says which and why; the copy can be begun again.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The data directory cannot be taken. If a hub runs on it, stop it first.
    #[error(transparent)]
    Data(#[from] ServerError),
}

impl CopyError {
    /// The stable code.
    pub fn code(&self) -> &str {
        match self {
            Self::NoData { .. } => "no-hub-data",
            Self::TargetInUse => "destination-in-use",
            Self::TooNew { .. } => "schema-too-new",
            Self::Differs { .. } => "copy-differs",
            Self::File { .. } => "data-io",
            Self::Storage(_) => "data-unusable",
            Self::Data(error) => error.code(),
        }
    }
}

/// Copies the data in `data` into the empty database `to`, looks whether both have the same, and puts the file aside, so that no
/// hub goes on with it. `told` hears how far it has come. Blocks until it is done. Before either is changed, the versions of both
/// schemas are compared with what this program knows.
///
/// A copy that was interrupted can be begun again, and begins from the beginning.
///
/// # Errors
///
/// [`CopyError`] says which. A hub must not run on the data.
pub fn copy_database(
    data: &Path,
    to: &DatabaseUrl,
    told: impl FnMut(CopyProgress),
) -> Result<CopyInfo, CopyError> {
    let files = [data.join("hub.db"), data.join("hub.key")];
    let no_data = || CopyError::NoData { path: data.to_owned() };
    let is_there = || files.iter().all(|path| path.is_file());
    if !is_there() && !is_taken(data) {
        return Err(no_data());
    }
    let lock = lock(data)?;
    if !is_there() {
        return Err(no_data());
    }
    let key = hub_key::read(&files[1])?;
    let rows = copy::copy(&files[0], &key, to, told).map_err(|unfit| match unfit {
        Unfit::InUse => CopyError::TargetInUse,
        Unfit::TooNew { is_file, version } => {
            let what = if is_file { "file" } else { "target" };
            CopyError::TooNew { what, found: version.found, known: version.known }
        }
        Unfit::Differs(table) => CopyError::Differs { table },
        Unfit::Storage(error) => error.into(),
    })?;
    let moved = data.join(format!("moved-{}", now_ms()));
    crate::files::create_private_dir(&moved).map_err(at(&moved))?;
    for path in files.iter().chain(&["hub.db-wal", "hub.db-shm"].map(|name| data.join(name))) {
        match fs::rename(path, moved.join(path.file_name().unwrap_or_default())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            renamed => renamed.map_err(at(path))?,
        }
    }
    drop(lock);
    Ok(CopyInfo { rows, moved })
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> CopyError + use<> {
    let path = path.to_owned();
    move |source| CopyError::File { path, source }
}
