//! The database file, its connections and its transactions.

use crate::{KeySource, StoreError, WriterGuard, error::io_error, key::StoreKey, lock::WriterLock};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use rusqlite_migration::{M, Migrations};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};

const DATABASE: &str = "tertulia.db";
/// How long a short write of another process is waited for.
const BUSY: Duration = Duration::from_secs(10);
/// How many idle connections are kept for readers.
const IDLE_READERS: usize = 4;

static MIGRATIONS: LazyLock<Migrations<'static>> =
    LazyLock::new(|| Migrations::new(vec![M::up(include_str!("schema/1.sql"))]));

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
        home.join(DATABASE).exists()
    }

    /// Makes a store in this directory, which is created if need be, for its owner only.
    ///
    /// Blocks for key derivation and disk.
    ///
    /// # Errors
    ///
    /// [`StoreError::AlreadyInitialised`], [`StoreError::Io`], [`StoreError::DiskFull`].
    pub fn create(home: &Path, source: &KeySource) -> Result<Self, StoreError> {
        create_private(home)?;
        let lock = WriterLock::new(home);
        let _alone = lock.acquire_blocking()?;
        if Self::exists(home) {
            return Err(StoreError::AlreadyInitialised { home: home.to_owned() });
        }
        // A key without a database is what an interrupted creation leaves; it protects nothing and is made anew.
        let key = StoreKey::create(home, source)?;
        let mut writer = connect(home, &key, true)?;
        migrate(&mut writer)?;
        Ok(Self::new(home, key, writer))
    }

    /// Opens the store in this directory, and brings its schema up to date.
    ///
    /// Blocks for key derivation and disk.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotInitialised`], those of a key that is missing or wrong, [`StoreError::NewerSchema`].
    pub fn open(home: &Path, source: &KeySource) -> Result<Self, StoreError> {
        if !Self::exists(home) {
            return Err(StoreError::NotInitialised { home: home.to_owned() });
        }
        let key = StoreKey::open(home, source)?;
        let mut writer = connect(home, &key, false)?;
        let lock = WriterLock::new(home);
        {
            let _alone = lock.acquire_blocking()?;
            migrate(&mut writer)?;
        }
        Ok(Self::new(home, key, writer))
    }

    fn new(home: &Path, key: StoreKey, writer: Connection) -> Self {
        let inner = Inner {
            home: home.to_owned(),
            key,
            lock: WriterLock::new(home),
            writer: Mutex::new(writer),
            idle: Mutex::default(),
        };
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
    pub fn write<T, E: From<StoreError>>(
        &self,
        _guard: &WriterGuard,
        change: impl FnOnce(&mut WriteTx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
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
            None => connect(&self.inner.home, &self.inner.key, false)?,
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

fn connect(home: &Path, key: &StoreKey, create: bool) -> Result<Connection, StoreError> {
    let path = home.join(DATABASE);
    if create {
        // SQLite would create it with the process's umask; its journal files take over the mode.
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&path).map_err(io_error(&path))?;
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "key", key.as_pragma().as_str())?;
    // The first read of the file shows whether the key fits.
    let readable = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()));
    if let Err(error) = readable {
        return Err(match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase) => StoreError::WrongKey { home: home.to_owned() },
            _ => error.into(),
        });
    }
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA foreign_keys = ON; \
         PRAGMA temp_store = MEMORY;",
    )?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    MIGRATIONS.to_latest(connection).map_err(|error| match error {
        rusqlite_migration::Error::MigrationDefinition(
            rusqlite_migration::MigrationDefinitionError::DatabaseTooFarAhead,
        ) => StoreError::NewerSchema,
        rusqlite_migration::Error::RusqliteError { err, .. } => err.into(),
        other => StoreError::Database(Box::new(other)),
    })
}

fn create_private(home: &Path) -> Result<(), StoreError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(home).map_err(io_error(home))
}
