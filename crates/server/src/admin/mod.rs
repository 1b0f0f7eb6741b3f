//! What who runs a hub can do to it, besides running it.
//!
//! The tasks are the same whether the hub runs or not. A running hub does them itself, asked over a socket in its data
//! directory; otherwise they are done here, as the hub would, with the data directory taken meanwhile.

mod perform;
#[cfg(unix)]
mod socket;

pub(crate) use perform::perform;
#[cfg(unix)]
pub(crate) use socket::Door;

/// Nobody is heard where there are no such sockets.
#[cfg(not(unix))]
pub(crate) enum Door {}

#[cfg(not(unix))]
impl Door {
    pub(crate) async fn answer(self, _: crate::state::AppState) {
        match self {}
    }
}

use crate::{
    ServerError,
    bus::Bus,
    retention::Spans,
    server::{Data, is_taken, lock},
    wake::Wake,
};
use serde::{Deserialize, Serialize};
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};
use tertulia_api::Problem;
use tertulia_domain::{AccountKind, DeviceId, Handle, UserId};

/// Something to be done for who runs the hub.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Task {
    /// List accounts, in alphabetical order, a thousand at most.
    Accounts {
        /// Those after this handle.
        after: Option<Handle>,
    },
    /// Show an account.
    Account {
        /// Its handle.
        handle: Handle,
    },
    /// Lock an account: its sessions end, and nobody logs in to it. Nothing else of it changes.
    Lock {
        /// Its handle.
        handle: Handle,
    },
    /// Open a locked account again.
    Unlock {
        /// Its handle.
        handle: Handle,
    },
    /// Delete an account for good, as its user could.
    Delete {
        /// Its handle.
        handle: Handle,
    },
    /// List the devices of an account.
    Devices {
        /// Its handle.
        handle: Handle,
    },
    /// Remove a device of an account, as its user could.
    RemoveDevice {
        /// The account's handle.
        handle: Handle,
        /// The device.
        device: DeviceId,
    },
    /// List the sessions of an account.
    Sessions {
        /// Its handle.
        handle: Handle,
    },
    /// End sessions of an account.
    EndSessions {
        /// Its handle.
        handle: Handle,
        /// One session, as [`Sessions`](Self::Sessions) names it; otherwise all.
        session: Option<String>,
    },
    /// Count what there is.
    Numbers,
    /// Delete what has run out.
    Prune {
        /// Events that are older than this, too. Otherwise those that are older than the hub is to keep them, if it runs, and none if
        /// it does not.
        #[serde(default)]
        events_older_than: Option<Duration>,
    },
}

/// What came of a [`Task`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Answer {
    /// Accounts, for `Accounts`.
    Accounts(Vec<AccountInfo>),
    /// The account as it is now, for `Account`, `Lock`, `Unlock` and `Delete`.
    Account(AccountInfo),
    /// For `Devices`, oldest first.
    Devices(Vec<DeviceInfo>),
    /// For `RemoveDevice`.
    DeviceRemoved(DeviceId),
    /// For `Sessions`, oldest first.
    Sessions(Vec<SessionInfo>),
    /// How many sessions have ended, for `EndSessions`.
    SessionsEnded(u64),
    /// For `Numbers`.
    Numbers(Numbers),
    /// For `Prune`.
    Pruned(Pruned),
}

/// An account. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AccountInfo {
    /// Its handle.
    pub handle: Handle,
    /// Its user.
    pub user: UserId,
    /// What it is.
    pub kind: AccountKind,
    /// When it was made.
    pub created_at: i64,
    /// Of a guest, when it ends.
    pub expires_at: Option<i64>,
    /// Since when it is locked.
    pub locked_at: Option<i64>,
    /// When it was deleted. The handle stays taken.
    pub deleted_at: Option<i64>,
    /// Its devices.
    pub devices: u64,
    /// Its sessions.
    pub sessions: u64,
    /// The conversations that its user is in.
    pub conversations: u64,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeviceInfo {
    /// Its id.
    pub device: DeviceId,
    /// What its user calls it.
    pub label: String,
    /// When it was registered, in milliseconds since 1970.
    pub created_at: i64,
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SessionInfo {
    /// Its name: 16 hexadecimal digits of the hash of its token. Nobody gets in with it.
    pub session: String,
    /// Its device, once it has registered one.
    pub device: Option<DeviceId>,
    /// When it began, in milliseconds since 1970.
    pub created_at: i64,
    /// When it was last used, to the day.
    pub used_at: Option<i64>,
}

/// How many there are of everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Numbers {
    /// Accounts of persons and services that are not deleted.
    pub accounts: u64,
    /// Guests.
    pub guests: u64,
    /// Accounts that are locked.
    pub locked: u64,
    /// Accounts that were deleted.
    pub deleted: u64,
    /// Devices.
    pub devices: u64,
    /// Sessions.
    pub sessions: u64,
    /// Teams.
    pub teams: u64,
    /// 1:1 conversations.
    pub one_to_ones: u64,
    /// Groups.
    pub groups: u64,
    /// Channels.
    pub channels: u64,
    /// Entries in the logs of conversations.
    pub log_entries: u64,
    /// Events of users that are in no conversation's log.
    pub events: u64,
    /// Size of the database, in bytes.
    pub bytes: u64,
}

/// How much was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Pruned {
    /// Key packages that have expired, and the memory of such that were handed out.
    pub key_packages: u64,
    /// Invitations to teams that have expired.
    pub invitations: u64,
    /// Join links that have expired.
    pub links: u64,
    /// Tokens of removed devices, 90 days after.
    pub tokens: u64,
    /// Conversations that have ended, and that everybody has read or nobody needs to read any more.
    pub conversations: u64,
    /// Entries of the logs of conversations that were kept for long enough.
    pub log_entries: u64,
    /// Events that are in no conversation's log and were kept for long enough.
    pub events: u64,
}

/// Why a task was not done. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// There is no hub's data. Look whether it is the right directory, and whether this user may read it.
    #[error("there is no hub's data in {}", path.display())]
    NoData {
        /// The directory.
        path: PathBuf,
    },
    /// The hub runs and does not answer. Try again, or stop the hub and do it then.
    #[error("the hub that uses {} does not answer: {source}", path.display())]
    Unreachable {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The hub answers something else. It is of another version: use the program that it was started with.
    #[error("the hub is of another version: {0}")]
    OtherVersion(#[source] serde_json::Error),
    /// The hub answers to something else than was asked. It is of another version: use the program that it was started with.
    #[error("the hub is of another version: its answer is to something else")]
    UnexpectedAnswer,
    /// The task cannot be done. The detail says why.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// The data cannot be used. The cause says what is wrong with them.
    #[error(transparent)]
    Data(#[from] ServerError),
}

impl AdminError {
    /// The stable code.
    pub fn code(&self) -> &str {
        match self {
            Self::NoData { .. } => "no-hub-data",
            Self::Unreachable { .. } => "hub-unreachable",
            Self::OtherVersion(_) | Self::UnexpectedAnswer => "other-version",
            Self::Refused(problem) => &problem.code,
            Self::Data(error) => error.code(),
        }
    }
}

/// Does a task on the hub whose data are in this directory.
///
/// # Errors
///
/// [`AdminError`] says which.
pub async fn administer(data: &Path, task: Task) -> Result<Answer, AdminError> {
    let no_data = || AdminError::NoData { path: data.to_owned() };
    let has_file = || data.join("hub.db").is_file();
    if !has_file() && !is_taken(data) {
        return Err(no_data());
    }
    let lock = match lock(data) {
        Ok(lock) if has_file() => lock,
        // The data of a hub that does not run are on a server, and where that is, is not known here.
        Ok(_) => return Err(no_data()),
        #[cfg(unix)]
        Err(ServerError::InUse { .. }) => return socket::ask(data, &task).await,
        Err(error) => return Err(error.into()),
    };
    let opened = {
        let data = data.to_owned();
        let open = move || {
            Data::open(&data, &crate::server::file(&data, None)?, None, Bus::local(Wake::default()), |_| ())
        };
        tokio::task::spawn_blocking(open)
            .await
            .map_err(|_| ServerError::Storage(crate::StorageError::Panicked))??
    };
    let Data { storage, observer, closed, .. } = opened;
    let result = perform(&storage, &observer, Spans::default(), task).await;
    drop(storage);
    // The writer leaves the database in one file.
    let _ = closed.await;
    drop(lock);
    result.map_err(|error| AdminError::Refused(Box::new(error.into_problem())))
}

/// Where a running hub is asked.
#[cfg(unix)]
fn door(data: &Path) -> PathBuf {
    data.join("hub.sock")
}
