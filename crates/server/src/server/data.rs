//! The data directory of a hub or a relay, and what a hub has in it.

use super::ServerError;
use crate::{
    bus::Bus,
    config::ServerConfig,
    cursors::Cursors,
    files, hub_key,
    mls::Observer,
    restore,
    storage::{Batch, Location, Opened, Position, Storage},
};
use std::{
    fs::{File, TryLockError},
    path::Path,
    sync::Arc,
};
use tertulia_domain::Domain;
use tokio::sync::oneshot;

/// The file in the data directory that whoever uses it has locked.
const LOCK: &str = "hub.lock";

/// Where the hub's data are to be.
pub(super) fn location(config: &ServerConfig) -> Result<Location, ServerError> {
    if let Some(url) = config.database.clone() {
        let path = config.data.join("hub.db");
        if path.is_file() {
            return Err(ServerError::TwoDatabases { path });
        }
        let fresh_key = hub_key::generate().ok_or(ServerError::NoRandomness)?;
        return Ok(Location::Postgres { url, fresh_key });
    }
    file(&config.data, config.limits.database_bytes)
}

/// The database in a data directory.
pub(crate) fn file(data: &Path, max_bytes: Option<u64>) -> Result<Location, ServerError> {
    let path = data.join("hub.db");
    files::create_private(&path).map_err(|source| ServerError::File { path: path.clone(), source })?;
    Ok(Location::File { path, max_bytes })
}

/// What is in a data directory, ready to be used.
pub(crate) struct Data {
    pub(crate) storage: Storage,
    /// The domain that was fixed at the first start.
    pub(crate) domain: Domain,
    /// Looks at MLS messages, and holds the hub's key.
    pub(crate) observer: Arc<Observer>,
    /// Makes and reads cursors.
    pub(crate) cursors: Arc<Cursors>,
    /// The last position that was given out before.
    pub(crate) position: Position,
    /// Resolves when the storage has ended, after the last use of it.
    pub(crate) closed: oneshot::Receiver<()>,
}

impl Data {
    /// Opens the database of a data directory that was [taken](lock), or makes what is not there. The rest is as
    /// [`Storage::open`] has it.
    pub(crate) fn open(
        data: &Path,
        location: &Location,
        domain: Option<&Domain>,
        bus: Bus,
        committed: impl Fn(Batch) + Send + 'static,
    ) -> Result<Self, ServerError> {
        let given = domain.cloned().unwrap_or_else(Domain::localhost);
        let Opened { storage, domain: stored, key, has_users, position, closed } =
            Storage::open(location, &given, bus, committed)?;
        if domain.is_some() && given != stored {
            return Err(ServerError::DomainFixed { stored, given });
        }
        let (secret, public) = match key {
            Some(key) => hub_key::shared(&key)?,
            None => hub_key::load_or_create(&data.join("hub.key"), has_users)?,
        };
        let cursors = Arc::new(Cursors::new(secret.as_bytes()));
        let observer = Arc::new(Observer::new(stored.clone(), secret, public));
        Ok(Self { storage, domain: stored, observer, cursors, position, closed })
    }
}

/// Whether anything has ever taken the data directory.
pub(crate) fn is_taken(data: &Path) -> bool {
    data.join(LOCK).is_file()
}

/// Takes the data directory for this process, and creates it if it is not there. Two hubs on one would give the same
/// positions twice. A restore that was interrupted in it is finished.
pub(crate) fn lock(data: &Path) -> Result<File, ServerError> {
    files::create_private_dir(data).map_err(|source| ServerError::File { path: data.to_owned(), source })?;
    let path = data.join(LOCK);
    let file = match files::create_private(&path) {
        Ok(file) => file,
        Err(source) => return Err(ServerError::File { path, source }),
    };
    match file.try_lock() {
        Ok(()) => {
            restore::finish(data)?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => Err(ServerError::InUse { path: data.to_owned() }),
        Err(TryLockError::Error(source)) => Err(ServerError::File { path, source }),
    }
}
