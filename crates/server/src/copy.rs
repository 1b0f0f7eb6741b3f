//! Moving a hub from the file in its data directory into a PostgreSQL database.

pub use crate::storage::copy::CopyProgress;
use crate::{
    DatabaseUrl, ServerError, StorageError,
    backup::{DATABASE, KEY},
    hub_key,
    server::{is_taken, lock},
    state::now_ms,
    storage::copy::{Target, Unfit},
};
use serde::Serialize;
use std::{
    fs::{self, File},
    io,
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

/// Why a hub was not moved. The file is as it was, or is put aside; a target that was begun says so, and no hub uses it.
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
    /// A hub runs on the target, or another copy goes into it. Stop all nodes of that hub, or wait for the other copy.
    #[error("a hub uses the database that is to be copied into, or another copy goes into it")]
    TargetTaken,
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
            Self::TargetTaken => "data-in-use",
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
/// A copy that was interrupted can be begun again. It begins from the beginning; if everything was there, was compared, and the file
/// was put aside already, it is only finished.
///
/// # Errors
///
/// [`CopyError`] says which. A hub must not run on the data, nor on the target, on which none comes up meanwhile.
pub fn copy_database(
    data: &Path,
    to: &DatabaseUrl,
    told: impl FnMut(CopyProgress),
) -> Result<CopyInfo, CopyError> {
    let files = [DATABASE, KEY].map(|name| data.join(name));
    let no_data = || CopyError::NoData { path: data.to_owned() };
    let is_there = || files.iter().all(|path| path.is_file());
    if !is_there() && !is_taken(data) {
        return Err(no_data());
    }
    let lock = lock(data)?;
    if !is_there() {
        if files[0].is_file() {
            return Err(no_data()); // without its key
        }
        let target = take(to)?;
        let moved = put_aside_before(data, &target)?.ok_or_else(no_data)?;
        return finish(data, target, moved);
    }
    let key = hub_key::read(&files[1])?;
    let target = take(to)?;
    let begun = now_ms();
    target.copy(&files[0], &key, begun, told).map_err(|unfit| match unfit {
        Unfit::InUse => CopyError::TargetInUse,
        Unfit::TooNew { is_file, version } => {
            let what = if is_file { "file" } else { "target" };
            CopyError::TooNew { what, found: version.found, known: version.known }
        }
        Unfit::Differs(table) => CopyError::Differs { table },
        Unfit::Storage(error) => error.into(),
    })?;
    let moved = aside(data, begun);
    crate::files::create_private_dir(&moved).map_err(at(&moved))?;
    let info = finish(data, target, moved)?;
    drop(lock);
    Ok(info)
}

/// Takes the target, from the first look at it to the end: what a hub or another copy writes there meanwhile would be lost.
fn take(to: &DatabaseUrl) -> Result<Target, CopyError> {
    Target::take(to).map_err(|error| match error {
        StorageError::InUse => CopyError::TargetTaken,
        error => error.into(),
    })
}

/// Where the file of a copy is put that was begun at this time.
fn aside(data: &Path, begun: i64) -> PathBuf {
    data.join(format!("moved-{begun}"))
}

/// Where the file is that was put aside, if the target has a copy of it and only waits to be finished.
fn put_aside_before(data: &Path, target: &Target) -> Result<Option<PathBuf>, CopyError> {
    let moved = target.compared()?.map(|begun| aside(data, begun));
    Ok(moved.filter(|moved| moved.join(DATABASE).is_file()))
}

/// Puts the file aside as far as it is not, and then lets hubs use the database, in this order also on the disk: at no time are there
/// two that a hub would go on with, and wherever this ends, it can be [taken up](put_aside_before) again.
fn finish(data: &Path, target: Target, moved: PathBuf) -> Result<CopyInfo, CopyError> {
    for name in [DATABASE, KEY, "hub.db-wal", "hub.db-shm"] {
        let path = data.join(name);
        match fs::rename(&path, moved.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            renamed => renamed.map_err(at(&path))?,
        }
    }
    for directory in [&moved, data] {
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(at(directory))?;
    }
    let rows = target.finish()?;
    Ok(CopyInfo { rows, moved })
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> CopyError + use<> {
    let path = path.to_owned();
    move |source| CopyError::File { path, source }
}
