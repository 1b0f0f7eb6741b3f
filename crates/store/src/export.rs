//! A consistent copy of a store at another place.

use crate::{
    KeySource, Store, StoreError, database,
    error::io_error,
    home::{private_directory, private_file, put_in_place},
    key::{Slot, StoreKey},
    lock::LOCK_FILE,
};
use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

/// How far an export is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportProgress {
    /// Bytes that are copied.
    pub copied: u64,
    /// Bytes of the whole.
    pub total: u64,
}

impl Store {
    /// Makes a copy of the store in another directory, under a key of its own, while others read and write. It has what was
    /// stored when the export began.
    ///
    /// `destination` must not exist, or be an empty directory. It is the copy as a whole or stays as it was; while the copy is
    /// made it is in `.NAME.unfinished` beside the destination, which a crash leaves and the next export to the same
    /// destination removes. `progress` is told every 4 MiB.
    ///
    /// A copy is not to be used beside the original, and has keys that the original uses up meanwhile. So its
    /// [`incarnation`](Self::incarnation) is raised when it is first opened.
    ///
    /// Blocks for key derivation and disk. The write-ahead log grows with what is written meanwhile.
    ///
    /// # Errors
    ///
    /// [`StoreError::DestinationInUse`], [`StoreError::Busy`] when somebody else exports to the same place,
    /// [`StoreError::DiskFull`], [`StoreError::Io`].
    pub fn export(
        &self,
        destination: &Path,
        key: &KeySource,
        mut progress: impl FnMut(ExportProgress),
    ) -> Result<(), StoreError> {
        let copy = Unfinished::begin(destination)?;
        let key = StoreKey::create(&copy.path, Slot::Current, key)?;
        self.read(|r| {
            database::copy(&r.tx, &copy.path, &key, |copied, total| {
                progress(ExportProgress { copied, total });
            })
        })?;
        copy.finish()
    }
}

/// The directory of a copy until it is complete. It is removed when it is dropped before that.
#[derive(Debug)]
struct Unfinished {
    path: PathBuf,
    destination: PathBuf,
    /// Keeps others from the directory. The file is the copy's own lock later.
    _lock: File,
    finished: bool,
}

impl Unfinished {
    fn begin(destination: &Path) -> Result<Self, StoreError> {
        let destination = std::path::absolute(destination).map_err(io_error(destination))?;
        let Some(name) = destination.file_name() else {
            return Err(StoreError::DestinationInUse { path: destination });
        };
        match fs::read_dir(&destination) {
            Ok(mut entries) => {
                if entries.next().is_some() {
                    return Err(StoreError::DestinationInUse { path: destination });
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(StoreError::DestinationInUse { path: destination });
            }
            Err(error) => return Err(io_error(destination)(error)),
        }
        let mut unfinished = std::ffi::OsString::from(".");
        unfinished.push(name);
        unfinished.push(".unfinished");
        let path = destination.with_file_name(unfinished);
        private_directory(&path)?;
        let lock_file = path.join(LOCK_FILE);
        let lock = private_file(&lock_file)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Busy),
            Err(TryLockError::Error(error)) => return Err(io_error(lock_file)(error)),
        }
        // What an export that was killed has left.
        for entry in fs::read_dir(&path).map_err(io_error(&path))? {
            let entry = entry.map_err(io_error(&path))?.path();
            if entry != lock_file {
                fs::remove_file(&entry).map_err(io_error(entry))?;
            }
        }
        Ok(Self { path, destination, _lock: lock, finished: false })
    }

    fn finish(mut self) -> Result<(), StoreError> {
        // Elsewhere a directory is not renamed onto another one, not even an empty one.
        #[cfg(not(unix))]
        if self.destination.exists() {
            fs::remove_dir(&self.destination).map_err(io_error(&self.destination))?;
        }
        #[cfg(unix)]
        File::open(&self.path).and_then(|directory| directory.sync_all()).map_err(io_error(&self.path))?;
        put_in_place(&self.path, &self.destination).map_err(|error| match error {
            StoreError::Io { path, source } if source.kind() == io::ErrorKind::DirectoryNotEmpty => {
                StoreError::DestinationInUse { path }
            }
            other => other,
        })?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.finished {
            // What cannot be removed now is removed by the next export to this destination.
            drop(fs::remove_dir_all(&self.path));
        }
    }
}
