//! Connections that only read. Each read sees one moment of the database, whatever the writer does meanwhile.

use super::StorageError;
use crate::error::ApiError;
use rusqlite::Connection;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// A few connections, lent one at a time.
#[derive(Clone)]
pub(super) struct Readers(Arc<Pool>);

struct Pool {
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

/// A connection that goes back to the pool, also after a panic.
struct Lease<'a> {
    pool: &'a Pool,
    connection: Option<Connection>,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}

impl Readers {
    pub(super) fn new(connections: Vec<Connection>) -> Self {
        let permits = Arc::new(Semaphore::new(connections.len()));
        Self(Arc::new(Pool { idle: Mutex::new(connections), permits }))
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
            let connection = pool.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let lease = Lease { pool: &pool, connection };
            let connection = lease.connection.as_ref().ok_or(StorageError::Closed)?;
            let snapshot = connection.unchecked_transaction()?;
            work(&snapshot)
        });
        match task.await {
            Ok(result) => result,
            Err(error) if error.is_panic() => Err(StorageError::Panicked.into()),
            Err(_) => Err(StorageError::Closed.into()),
        }
    }
}
