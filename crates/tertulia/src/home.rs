//! The home as a whole: copies of it, and its key.

use crate::{Client, Result};
use std::path::PathBuf;
use tertulia_store::{ExportProgress, KeySource};

impl Client {
    /// Copies the home into another directory, under a key of its own, while it is used. The directory must not exist or be
    /// empty; it is the copy as a whole, or stays as it was. `progress` is called now and then, on another thread.
    ///
    /// The copy is a backup. It is not a further device, which [`log_in`](crate::ClientBuilder::log_in) makes: do not use it
    /// beside this home.
    ///
    /// # Errors
    ///
    /// Those of the store: `destination-in-use`, `disk-full`, `home-io`.
    pub async fn export(
        &self,
        destination: impl Into<PathBuf>,
        key: KeySource,
        progress: impl FnMut(ExportProgress) + Send + 'static,
    ) -> Result<()> {
        let (store, destination) = (self.inner().store.clone(), destination.into());
        let copied = tokio::task::spawn_blocking(move || store.export(&destination, &key, progress));
        Ok(copied.await.expect("copying a store neither panics nor is cancelled")?)
    }

    /// Gives the home another key: a new one in a file, or one derived from a passphrase. Everything is encrypted anew, and
    /// the old key opens it no more. Other processes of this home have to be started again.
    ///
    /// # Errors
    ///
    /// Those of the store, after which the home has its old key: `key-unchanged`, `key-changed`, `home-io`.
    pub async fn rekey(&self, key: KeySource) -> Result<()> {
        let store = self.inner().store.clone();
        let guard = store.lock().await?;
        let changed = tokio::task::spawn_blocking(move || store.rekey(&guard, &key));
        Ok(changed.await.expect("changing a key neither panics nor is cancelled")?)
    }
}
