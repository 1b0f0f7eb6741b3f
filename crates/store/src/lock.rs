//! Who may change the store.

use crate::{StoreError, error::io_error, home::private_file};
use std::{
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError},
};
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};

/// Also held by an export in the directory that it makes.
pub(crate) const LOCK_FILE: &str = "lock";
const OPENING_FILE: &str = "opening";

/// The right to change a store, for as long as it lives. There is one at a time, over all tasks and all processes.
///
/// It is not the database's own write lock, which is taken for the moment of a write only: readers never wait for it.
#[derive(Debug)]
pub struct WriterGuard {
    // The order matters: the file is unlocked before the next task of this process tries it.
    _file: File,
    turn: OwnedMutexGuard<()>,
}

/// The tasks of this process wait in a fair queue for their turn, and the one whose turn it is waits for other processes.
#[derive(Debug)]
pub(crate) struct WriterLock {
    turn: Arc<Mutex<()>>,
    wait: Arc<StdMutex<Wait>>,
    path: PathBuf,
}

/// The wait for another process, which only a thread can do.
///
/// A thread that waits for a file lock cannot be called back. When the task that it waits for is cancelled, it goes on for the
/// next task that comes; when it gets the lock and nobody wants it, it lets go of it. So however many tasks are cancelled,
/// there is one thread, and no lock is left behind. It is not one of the runtime's, whose shutdown would wait for it.
#[derive(Debug, Default)]
struct Wait {
    running: bool,
    task: Option<oneshot::Sender<io::Result<File>>>,
}

impl WriterGuard {
    /// Whether this guard is of that lock.
    pub(crate) fn is_of(&self, lock: &WriterLock) -> bool {
        Arc::ptr_eq(OwnedMutexGuard::mutex(&self.turn), &lock.turn)
    }
}

impl WriterLock {
    pub(crate) fn new(home: &Path) -> Self {
        Self { turn: Arc::default(), wait: Arc::default(), path: home.join(LOCK_FILE) }
    }

    pub(crate) async fn acquire(&self) -> Result<WriterGuard, StoreError> {
        fail_point!(LOCK, StoreError::Busy);
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let file = private_file(&self.path)?;
        let file = match file.try_lock() {
            Ok(()) => file,
            Err(TryLockError::WouldBlock) => {
                let answer = self.wait_in_thread(file)?;
                answer.await.map_err(|_| StoreError::Busy)?.map_err(io_error(&self.path))?
            }
            Err(TryLockError::Error(error)) => return Err(io_error(&self.path)(error)),
        };
        fail_point!(LOCKED);
        Ok(WriterGuard { _file: file, turn })
    }

    fn wait_in_thread(&self, file: File) -> Result<oneshot::Receiver<io::Result<File>>, StoreError> {
        let (task, answer) = oneshot::channel();
        let mut wait = locked(&self.wait);
        wait.task = Some(task);
        if !wait.running {
            let shared = Arc::clone(&self.wait);
            std::thread::Builder::new()
                .name("store-lock".to_owned())
                .spawn(move || {
                    let result = file.lock().map(|()| file);
                    let mut wait = locked(&shared);
                    wait.running = false;
                    if let Some(task) = wait.task.take() {
                        // A cancelled task gives the file back, and dropping it unlocks it.
                        drop(task.send(result));
                    }
                })
                .map_err(io_error(&self.path))?;
            wait.running = true;
        }
        Ok(answer)
    }

    /// The same across processes, for the short time of making or migrating the database.
    pub(crate) fn acquire_blocking(&self) -> Result<File, StoreError> {
        lock_file(&self.path)
    }
}

/// The right to open a store or to give it another key, which whoever opens it must not see half of. Whoever wants the right
/// to write too takes that first.
pub(crate) fn opening(home: &Path) -> Result<File, StoreError> {
    lock_file(&home.join(OPENING_FILE))
}

fn lock_file(path: &Path) -> Result<File, StoreError> {
    let file = private_file(path)?;
    file.lock().map_err(io_error(path))?;
    Ok(file)
}

fn locked(wait: &StdMutex<Wait>) -> MutexGuard<'_, Wait> {
    // Nothing that runs under it can panic and leave it half changed.
    wait.lock().unwrap_or_else(PoisonError::into_inner)
}
