//! Connections: who may talk to whom.

use crate::{Client, Connection, Error, Result, SyncReport};
use tertulia_domain::{Handle, connection::Status};
use tertulia_store::ConnectionRecord;

impl Client {
    /// Asks somebody to connect, or accepts when they have asked. Without an account one asks by a bundle: [`meet`](Self::meet).
    ///
    /// # Errors
    ///
    /// [`Error::NoAccount`], and what the hub refuses: `invalid-user`, `connection-limit`, `bad-connection-update` when the user has blocked them.
    pub async fn connect(&self, handle: &Handle) -> Result<Connection> {
        let answer = self.hub()?.connect(handle).await?;
        self.keep(answer).await
    }

    /// Accepts a request.
    ///
    /// # Errors
    ///
    /// What the hub refuses: `not-connected`, `bad-connection-update`, `connection-limit`, `unknown-user`.
    pub async fn accept(&self, handle: &Handle) -> Result<Connection> {
        self.set_connection(handle, Status::Accepted).await
    }

    /// Leaves a request unanswered, which its sender does not learn.
    ///
    /// # Errors
    ///
    /// As [`accept`](Self::accept).
    pub async fn ignore(&self, handle: &Handle) -> Result<Connection> {
        self.set_connection(handle, Status::Ignored).await
    }

    /// Blocks a user, which they do not learn.
    ///
    /// # Errors
    ///
    /// As [`accept`](Self::accept).
    pub async fn block(&self, handle: &Handle) -> Result<Connection> {
        self.set_connection(handle, Status::Blocked).await
    }

    /// Takes a block back. Where there is none, nothing changes: a request that waits goes on waiting.
    ///
    /// # Errors
    ///
    /// As [`accept`](Self::accept), and [`Error::NotConnected`] where there is nothing between the two.
    pub async fn unblock(&self, handle: &Handle) -> Result<Connection> {
        if self.inner().hub.is_none() {
            return self.unblock_by_key(handle).await;
        }
        let user = self.user(handle).await?;
        // `accepted` means "as before the block" on the hub; what is not blocked must not become accepted by this. What another device
        // of the user has done, or the other user has asked, may be news here.
        self.catch_up(&mut SyncReport::default()).await?;
        match self.inner().store.read(|r| r.connection(user))? {
            Some(record) if record.status == Status::Blocked => {
                self.set_connection(handle, Status::Accepted).await
            }
            Some(record) => Ok(from_store(&record, handle.clone())),
            None => Err(Error::NotConnected { handle: handle.clone() }),
        }
    }

    /// Takes a request back.
    ///
    /// # Errors
    ///
    /// As [`accept`](Self::accept).
    pub async fn cancel(&self, handle: &Handle) -> Result<Connection> {
        self.set_connection(handle, Status::Cancelled).await
    }

    /// All connections and requests, ordered by handle, as this home knows them.
    ///
    /// # Errors
    ///
    /// Those of the store.
    #[allow(clippy::unused_async)] // like its neighbours, and free to ask the hub one day
    pub async fn connections(&self) -> Result<Vec<Connection>> {
        self.inner().store.read(|r| {
            let mut connections = Vec::new();
            for record in r.connections()? {
                if let Some(handle) = r.handle(record.user)? {
                    connections.push(from_store(&record, handle));
                }
            }
            Ok(connections)
        })
    }

    async fn set_connection(&self, handle: &Handle, status: Status) -> Result<Connection> {
        if self.inner().hub.is_none() {
            return self.change_side(handle, status).await;
        }
        let user = self.user(handle).await?;
        let answer = self.hub()?.update_connection(user, status).await?;
        self.keep(answer).await
    }

    async fn keep(&self, answer: tertulia_api::connection::Connection) -> Result<Connection> {
        let connection = from_hub(&answer)
            .ok_or(Error::UntrustworthyHub { what: "a connection's handle is not a handle" })?;
        let mut tx = self.inner().session.new_transaction().await?;
        tx.store_write(move |w| crate::apply::put_connection(w, &answer))?;
        tx.finish().await?;
        // What follows from it, such as the 1:1 that is there again, is in the events.
        self.catch_up_and_join().await?;
        Ok(connection)
    }
}

/// A connection as the hub tells it; none if its handle is not one.
pub(crate) fn from_hub(connection: &tertulia_api::connection::Connection) -> Option<Connection> {
    let handle = connection.handle.parse().ok()?;
    Some(Connection {
        user: connection.user,
        handle,
        status: connection.status,
        conversation: connection.conversation,
        updated_at: connection.updated_at,
    })
}

pub(crate) fn from_store(record: &ConnectionRecord, handle: Handle) -> Connection {
    Connection {
        user: record.user,
        handle,
        status: record.status,
        conversation: record.conversation,
        updated_at: record.updated_at,
    }
}
