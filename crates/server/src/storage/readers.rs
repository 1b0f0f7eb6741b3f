//! Connections that only read. Each read sees one moment of the database, whatever the writer does meanwhile.

use super::{Connection, StorageError};
use crate::error::ApiError;
use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
};
use tokio::sync::Semaphore;

/// A few connections, lent one at a time.
#[derive(Clone)]
pub(super) struct Readers(Arc<Pool>);

struct Pool {
    idle: Mutex<Vec<Connection>>,
    /// Takes the place of a connection that has ended.
    connect: Box<dyn Fn() -> Result<Connection, StorageError> + Send + Sync>,
    permits: Arc<Semaphore>,
}

impl Drop for Pool {
    fn drop(&mut self) {
        let idle = std::mem::take(self.idle.get_mut().unwrap_or_else(PoisonError::into_inner));
        let (remote, local): (Vec<_>, Vec<_>) = idle.into_iter().partition(Connection::is_remote);
        drop(local); // with the last one the write-ahead log goes
        if !remote.is_empty() {
            // They take their leave of the server, which nobody on an asynchronous thread may wait for.
            thread::spawn(move || drop(remote));
        }
    }
}

impl Pool {
    /// A connection that has begun to read: another one if that which was there has ended, which shows only when it is used.
    fn begin(&self) -> Result<Lease<'_>, StorageError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(connection) = idle {
            match connection.begin_reading() {
                Ok(()) => return Ok(Lease { pool: self, connection: Some(connection) }),
                Err(error) if connection.has_ended(&error) => {}
                Err(error) => {
                    self.give_back(connection);
                    return Err(error.into());
                }
            }
        }
        let connection = (self.connect)()?;
        connection.begin_reading()?;
        Ok(Lease { pool: self, connection: Some(connection) })
    }

    fn give_back(&self, connection: Connection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}

/// A connection that reads, and goes back to the pool when it has: also after a panic, but not if it has ended.
struct Lease<'a> {
    pool: &'a Pool,
    connection: Option<Connection>,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        match connection.end_reading() {
            Ok(()) => self.pool.give_back(connection),
            Err(error) if connection.has_ended(&error) => {}
            Err(error) => {
                tracing::debug!(%error, "a read did not end in good order");
                self.pool.give_back(connection);
            }
        }
    }
}

impl Readers {
    /// So many connections at most.
    pub(super) fn new(
        most: usize,
        connect: impl Fn() -> Result<Connection, StorageError> + Send + Sync + 'static,
    ) -> Result<Self, StorageError> {
        let idle = Mutex::new(vec![connect()?]); // the others when they are needed
        Ok(Self(Arc::new(Pool { idle, connect: Box::new(connect), permits: Arc::new(Semaphore::new(most)) })))
    }

    /// Does `work` on a thread for blocking work.
    pub(super) async fn read<T, F>(&self, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, ApiError> + Send + 'static,
    {
        let permit = Arc::clone(&self.0.permits).acquire_owned().await.map_err(|_| StorageError::Closed)?;
        let pool = Arc::clone(&self.0);
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit; // declared first, so given back after the connection
            let lease = pool.begin()?;
            let connection = lease.connection.as_ref().ok_or(StorageError::Closed)?;
            work(connection)
        });
        match task.await {
            Ok(result) => result,
            Err(error) if error.is_panic() => Err(StorageError::Panicked.into()),
            Err(_) => Err(StorageError::Closed.into()),
        }
    }
}
