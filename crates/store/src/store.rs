//! The store: who may read and write, and in which transactions.

use crate::{
    KeySource, StoreError, WriterGuard,
    database::{self, Access},
    home::private_directory,
    key::StoreKey,
    lock::WriterLock,
};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
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
    key: StoreKey,
    lock: WriterLock,
    writer: Mutex<Connection>,
    idle: Mutex<Vec<Connection>>,
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
        if Self::exists(home) {
            return Err(StoreError::AlreadyInitialised { home: home.to_owned() });
        }
        // A key without a database is what an interrupted creation leaves; it protects nothing and is made anew.
        let key = StoreKey::create(home, source)?;
        database::create(home, &key)?;
        let writer = database::connect(home, &key, Access::Write)?;
        drop(alone);
        Ok(Self::new(home, key, lock, writer))
    }

    /// Opens the store in this directory, and brings its schema up to date.
    ///
    /// Blocks for key derivation and disk, and for other writers if the schema is to be changed.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotInitialised`], those of a key that is missing or wrong, [`StoreError::NewerSchema`].
    pub fn open(home: &Path, source: &KeySource) -> Result<Self, StoreError> {
        if !Self::exists(home) {
            return Err(StoreError::NotInitialised { home: home.to_owned() });
        }
        let key = StoreKey::open(home, source)?;
        let mut writer = database::connect(home, &key, Access::Write)?;
        let lock = WriterLock::new(home);
        if !database::is_current(&writer)? {
            let _alone = lock.acquire_blocking()?;
            database::migrate(&mut writer)?;
        }
        Ok(Self::new(home, key, lock, writer))
    }

    fn new(home: &Path, key: StoreKey, lock: WriterLock, writer: Connection) -> Self {
        let inner =
            Inner { home: home.to_owned(), key, lock, writer: Mutex::new(writer), idle: Mutex::default() };
        Self { inner: Arc::new(inner) }
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
        if !guard.is_of(&self.inner.lock) {
            return Err(StoreError::WrongGuard.into());
        }
        let mut writer = self.inner.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let tx =
            writer.transaction_with_behavior(TransactionBehavior::Immediate).map_err(StoreError::from)?;
        let mut tx = WriteTx { tx };
        let result = change(&mut tx)?;
        tx.tx.commit().map_err(StoreError::from)?;
        Ok(result)
    }

    /// Reads from one consistent view. Never waits for a writer.
    ///
    /// # Errors
    ///
    /// Those of `read`, and those of the database.
    pub fn read<T, E: From<StoreError>>(
        &self,
        read: impl FnOnce(&ReadTx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let idle = self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => database::connect(&self.inner.home, &self.inner.key, Access::Read)?,
        };
        let result = connection.transaction().map_err(StoreError::from).map(|tx| read(&ReadTx { tx }));
        let mut idle = self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_READERS {
            idle.push(connection);
        }
        drop(idle);
        result?
    }
}
