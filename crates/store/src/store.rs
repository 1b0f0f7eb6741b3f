//! The store: who may read and write, and in which transactions.

use crate::{
    KeySource, StoreError, WriterGuard,
    database::{self, Access},
    home::{private_directory, remove_if_there},
    incarnation::{self, Anchor, WRITTEN},
    key::{Slot, StoreKey},
    lock::{self, WriterLock},
    log_space::LogSpace,
    rekey,
};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

/// How many idle connections are kept for readers.
const IDLE_READERS: usize = 4;

/// The encrypted store of one device. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    home: PathBuf,
    incarnation: u64,
    lock: WriterLock,
    // In this order: whoever takes two takes the first one first.
    writer: Mutex<Writer>,
    keyed: RwLock<Keyed>,
    idle: Mutex<Vec<Connection>>,
}

/// The key, and how often it was changed. A connection is of the key with which it was opened.
#[derive(Debug)]
pub(crate) struct Keyed {
    key: StoreKey,
    changes: u64,
}

/// What a write needs.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) connection: Connection,
    anchor: Anchor,
    log: LogSpace,
}

impl Keyed {
    pub(crate) fn key(&self) -> &StoreKey {
        &self.key
    }

    pub(crate) fn change(&mut self, key: StoreKey) {
        *self = Self { key, changes: self.changes + 1 };
    }
}

impl Writer {
    pub(crate) fn empty_log(&mut self) -> Result<(), StoreError> {
        self.log.is_gone();
        database::empty_log(&self.connection)
    }
}

/// A durable transaction: all of its writes, or none.
pub struct WriteTx<'a> {
    pub(crate) tx: Transaction<'a>,
}

/// A consistent view of what was written last.
pub struct ReadTx<'a> {
    pub(crate) tx: Transaction<'a>,
}

impl std::fmt::Debug for WriteTx<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WriteTx")
    }
}

impl std::fmt::Debug for ReadTx<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReadTx")
    }
}

impl Store {
    /// Whether there is a store in this directory.
    pub fn exists(home: &Path) -> bool {
        database::exists(home)
    }

    /// Makes a store in this directory, which is created if need be, for its owner only.
    ///
    /// Blocks for key derivation and disk.
    ///
    /// # Errors
    ///
    /// [`StoreError::AlreadyInitialised`], [`StoreError::Io`], [`StoreError::DiskFull`].
    pub fn create(home: &Path, source: &KeySource) -> Result<Self, StoreError> {
        private_directory(home)?;
        let lock = WriterLock::new(home);
        let alone = lock.acquire_blocking()?;
        let opening = lock::opening(home)?;
        if Self::exists(home) {
            return Err(StoreError::AlreadyInitialised { home: home.to_owned() });
        }
        // A key without a database is what an interrupted creation leaves; it protects nothing and is made anew.
        Slot::Next.clear(home)?;
        remove_if_there(&home.join(WRITTEN))?;
        let key = StoreKey::create(home, Slot::Current, source)?;
        database::create(home, &key)?;
        let writer = database::connect(home, &key, Access::Write)?;
        let store = Self::new(home, key, lock, writer)?;
        drop((opening, alone));
        Ok(store)
    }

    /// Opens the store in this directory, and brings its schema up to date.
    ///
    /// A change of the key that was interrupted is finished or undone. Whether this is a copy or an older state is found out
    /// (see [`incarnation`](Self::incarnation)).
    ///
    /// Blocks for key derivation and disk, and for other writers if the schema is to be changed.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotInitialised`], those of a key that is missing or wrong, [`StoreError::NewerSchema`],
    /// [`StoreError::DiskFull`] when something is to be changed.
    pub fn open(home: &Path, source: &KeySource) -> Result<Self, StoreError> {
        if !Self::exists(home) {
            return Err(StoreError::NotInitialised { home: home.to_owned() });
        }
        let lock = WriterLock::new(home);
        let opening = lock::opening(home)?;
        let (key, writer) = rekey::open(home, source)?;
        if database::is_current(&writer)? {
            return Self::new(home, key, lock, writer);
        }
        // The locks are taken in the same order everywhere. Meanwhile another process may have changed everything.
        drop((writer, opening));
        let _alone = lock.acquire_blocking()?;
        let _opening = lock::opening(home)?;
        let (key, mut writer) = rekey::open(home, source)?;
        database::migrate(&mut writer)?;
        Self::new(home, key, lock, writer)
    }

    /// To be called by one at a time.
    fn new(
        home: &Path,
        key: StoreKey,
        lock: WriterLock,
        mut connection: Connection,
    ) -> Result<Self, StoreError> {
        let (anchor, incarnation) = incarnation::check(home, &database::path(home), &mut connection)?;
        let inner = Inner {
            home: home.to_owned(),
            incarnation,
            lock,
            keyed: RwLock::new(Keyed { key, changes: 0 }),
            writer: Mutex::new(Writer { connection, anchor, log: LogSpace::new(database::log_path(home)) }),
            idle: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A number that is raised when the store is found, on opening, to be a copy or an older state that was put back; 0 for one
    /// that never was. A key that may have been used by another incarnation is not to be used by this one.
    ///
    /// Raised are: a database that was copied, exported, taken from a backup or moved to another disk, and one whose content
    /// was replaced in place by an older state of itself. A false alarm is possible, when `written` beside the database is
    /// lost. Not found out is what leaves no trace here: a snapshot of a whole disk or machine, an older state of the whole
    /// home put back *into the same files*, and one put back while the store is open.
    pub fn incarnation(&self) -> u64 {
        self.inner.incarnation
    }

    /// Waits for the right to change the store. Fair among the tasks of a process, and safe to cancel.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] when the lock file cannot be used.
    pub async fn lock(&self) -> Result<WriterGuard, StoreError> {
        self.inner.lock.acquire().await
    }

    /// Carries out one durable transaction. When `change` fails, nothing is written.
    ///
    /// Whoever holds the guard must know what it changes: what was read before the guard was had may be out of date.
    ///
    /// # Errors
    ///
    /// Those of `change`, and those of the commit: [`StoreError::DiskFull`], [`StoreError::Busy`].
    /// [`StoreError::WrongGuard`] when the guard comes from another [`Store`], also one of the same directory.
    pub fn write<T, E: From<StoreError>>(
        &self,
        guard: &WriterGuard,
        change: impl FnOnce(&mut WriteTx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.check_guard(guard)?;
        fail_point!(BEGIN, StoreError::DiskFull);
        let mut writer = self.writer();
        let Writer { connection, anchor, log } = &mut *writer;
        let tx = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| database::explained(error.into(), &self.inner.home, self.keyed().key()))?;
        log.reserve(&tx);
        let before = tx.total_changes();
        let mut tx = WriteTx { tx };
        let result = change(&mut tx)?;
        let tx = tx.tx;
        if tx.total_changes() == before {
            return Ok(result);
        }
        let count = incarnation::count(&tx)?;
        fail_point!(COMMIT, StoreError::DiskFull);
        tx.commit().map_err(StoreError::from)?;
        fail_point!(COMMITTED);
        anchor.note(count);
        fail_point!(NOTED);
        Ok(result)
    }

    /// Reads from one consistent view. Never waits for a writer, except one that changes the key.
    ///
    /// # Errors
    ///
    /// Those of `read`, and those of the database: [`StoreError::KeyChanged`].
    pub fn read<T, E: From<StoreError>>(
        &self,
        read: impl FnOnce(&ReadTx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        fail_point!(READ, StoreError::Busy);
        // The key is not changed before the view is taken; after that a change is none of the view's business.
        let keyed = self.keyed();
        let changes = keyed.changes;
        let explained = |error| database::explained(error, &self.inner.home, &keyed.key);
        let idle = self.idle().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => database::connect(&self.inner.home, &keyed.key, Access::Read).map_err(explained)?,
        };
        let tx = connection.transaction().map_err(StoreError::from)?;
        database::take_view(&tx).map_err(explained)?;
        drop(keyed);
        let result = read(&ReadTx { tx });
        let keyed = self.keyed();
        let mut idle = self.idle();
        if idle.len() < IDLE_READERS && keyed.changes == changes {
            idle.push(connection);
        }
        drop((idle, keyed));
        result
    }

    /// The same from the writer's connection, for whoever is the writer. After a write it has the pages still in memory, where
    /// every other connection begins with none.
    ///
    /// # Errors
    ///
    /// Those of [`read`](Self::read), and [`StoreError::WrongGuard`].
    pub fn read_as_writer<T, E: From<StoreError>>(
        &self,
        guard: &WriterGuard,
        read: impl FnOnce(&ReadTx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.check_guard(guard)?;
        fail_point!(READ, StoreError::Busy);
        let mut writer = self.writer();
        let tx = writer.connection.transaction().map_err(StoreError::from)?;
        database::take_view(&tx)
            .map_err(|error| database::explained(error, &self.inner.home, self.keyed().key()))?;
        read(&ReadTx { tx })
    }

    /// Leaves nothing in the write-ahead log, where older content of the pages stays, encrypted, when they are written anew
    /// or what was in them is deleted. The log is transferred into the database, in which what is deleted is overwritten,
    /// and cut to no bytes.
    ///
    /// A file system or a disk that writes elsewhere what is overwritten keeps the old blocks until it uses them again.
    ///
    /// # Errors
    ///
    /// [`StoreError::Busy`] when a read, also of another process, was under way for longer than a second: it needs the older
    /// content. Nothing was lost, and a later call does it. [`StoreError::WrongGuard`], [`StoreError::DiskFull`].
    pub fn erase_log(&self, guard: &WriterGuard) -> Result<(), StoreError> {
        self.check_guard(guard)?;
        self.writer().empty_log()
    }

    pub(crate) fn home(&self) -> &Path {
        &self.inner.home
    }

    pub(crate) fn check_guard(&self, guard: &WriterGuard) -> Result<(), StoreError> {
        if guard.is_of(&self.inner.lock) { Ok(()) } else { Err(StoreError::WrongGuard) }
    }

    fn keyed(&self) -> RwLockReadGuard<'_, Keyed> {
        self.inner.keyed.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn keyed_mut(&self) -> RwLockWriteGuard<'_, Keyed> {
        self.inner.keyed.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.inner.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn forget_readers(&self) {
        self.idle().clear();
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
