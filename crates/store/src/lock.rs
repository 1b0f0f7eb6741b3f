//! Who may change the store.

use crate::{StoreError, error::io_error};
use std::{
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// The right to change a store, for as long as it lives. There is one at a time, over all tasks and all processes.
///
/// It is not the database's own write lock, which is taken for the moment of a write only: readers never wait for it.
#[derive(Debug)]
pub struct WriterGuard {
    // The order matters: the file is unlocked before the next task of this process tries it.
    _file: File,
    _turn: OwnedMutexGuard<()>,
}

/// The tasks of this process wait in a fair queue for their turn, and the one whose turn it is waits for other processes.
#[derive(Debug)]
pub(crate) struct WriterLock {
    turn: Arc<Mutex<()>>,
    path: PathBuf,
}

impl WriterLock {
    pub(crate) fn new(home: &Path) -> Self {
        Self { turn: Arc::default(), path: home.join("lock") }
    }

    pub(crate) async fn acquire(&self) -> Result<WriterGuard, StoreError> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let file = open(&self.path)?;
        let file = match file.try_lock() {
            Ok(()) => file,
            Err(TryLockError::WouldBlock) => {
                let path = self.path.clone();
                // When the waiting future is dropped, the thread gets the lock some time, finds nobody to give it to, and lets
                // go of it by dropping the file.
                tokio::task::spawn_blocking(move || file.lock().map(|()| file).map_err(io_error(path)))
                    .await
                    .map_err(|_| StoreError::Busy)??
            }
            Err(TryLockError::Error(error)) => return Err(io_error(&self.path)(error)),
        };
        Ok(WriterGuard { _file: file, _turn: turn })
    }

    /// The same across processes, for the short time of making or migrating the database.
    pub(crate) fn acquire_blocking(&self) -> Result<File, StoreError> {
        let file = open(&self.path)?;
        file.lock().map_err(io_error(&self.path))?;
        Ok(file)
    }
}

fn open(path: &Path) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(io_error(path))
}
