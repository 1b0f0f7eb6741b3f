//! What the device is: its credentials and key packages.

use std::time::Duration;

use mls_rs::{ExtensionList, time::MlsTime};

use super::{TransactionContext, backdated, failure};
use crate::{
    ClientId, Credential, CredentialRef, EngineError, KeyPackage, Result,
    key_package::{MAX_AT_ONCE, MAX_LIFETIME},
    loaded::Loaded,
    provider,
    record::GroupMeta,
};

impl TransactionContext {
    /// Stores a credential. Its identity must be one that the session's policy accepts, and each identity has one
    /// credential per ciphersuite.
    pub fn add_credential(&mut self, credential: Credential) -> Result<CredentialRef> {
        let policy = &self.session.config().client_id_policy;
        let canonical = |id: &ClientId| policy.canonical(id).map_err(EngineError::InvalidClientId);
        let identity = canonical(&credential.client_id)?;
        let overlay = &self.writing()?.overlay;
        for other in overlay.credentials()? {
            if other.ciphersuite == credential.ciphersuite && canonical(&other.client_id)? == identity {
                return Err(EngineError::CredentialExists(other.client_id));
            }
        }
        let reference = credential.reference();
        overlay.insert_credential(credential);
        Ok(reference)
    }

    /// All credentials in the store.
    pub fn find_credentials(&self) -> Result<Vec<CredentialRef>> {
        Ok(self.writing()?.overlay.credentials()?.iter().map(Credential::reference).collect())
    }

    /// Deletes a credential that neither a conversation nor a key package uses.
    ///
    /// It reads every conversation: it is not for every day.
    pub fn remove_credential(&mut self, credential: &CredentialRef) -> Result<()> {
        let config = self.session.config().clone();
        let overlay = self.writing()?.overlay.clone();
        let credential = overlay.credential(credential)?.reference();
        if overlay.key_packages()?.iter().any(|entry| entry.signature_key == credential.public_key) {
            return Err(EngineError::CredentialInUse);
        }
        for id in overlay.group_ids()? {
            if let Some(loaded) = Loaded::load(id.as_bytes(), &overlay, &config)?
                && let Ok(identity) = loaded.group.current_member_signing_identity()
                && identity.signature_key.as_bytes() == credential.public_key
            {
                return Err(EngineError::CredentialInUse);
            }
        }
        // A pending join will sign with one of the credentials, and does not say with which.
        for id in overlay.pending_ids()? {
            if overlay.pending(id.as_bytes())?.is_some_and(|pending| pending.is_join()) {
                return Err(EngineError::CredentialInUse);
            }
        }
        overlay.delete_credential(credential);
        Ok(())
    }

    /// Makes `count` key packages that are good for one use each, at most 1000.
    ///
    /// `lifetime` is 84 days at most, which is also the default. They are back-dated by an hour on top, for clocks that
    /// are slow. Upload them after [`finish`](Self::finish) only: a Welcome for a key package that was not stored cannot
    /// be opened.
    pub fn generate_key_packages(
        &mut self,
        credential: &CredentialRef,
        count: usize,
        lifetime: Option<Duration>,
    ) -> Result<Vec<KeyPackage>> {
        if count > MAX_AT_ONCE {
            return Err(EngineError::TooMany { requested: count, max: MAX_AT_ONCE });
        }
        let lifetime = lifetime.unwrap_or(MAX_LIFETIME);
        if lifetime.is_zero() || lifetime > MAX_LIFETIME {
            return Err(EngineError::InvalidLifetime { requested: lifetime, max: MAX_LIFETIME });
        }
        let config = self.session.config().clone();
        let overlay = self.writing()?.overlay.clone();
        let credential = overlay.credential(credential)?;
        let meta = GroupMeta::new(&config.joined, overlay.incarnation());
        let client = provider::client(&overlay, &config, &meta, Some(&credential), lifetime);
        (0..count)
            .map(|_| {
                let message = client
                    .generate_key_package_message(
                        ExtensionList::new(),
                        ExtensionList::new(),
                        Some(backdated()),
                    )
                    .map_err(|error| failure(&overlay, error))?;
                KeyPackage::from_message(&message)
            })
            .collect()
    }

    /// Makes a key package that may be used again and again, for when the others are used up. Its secrets stay.
    ///
    /// It carries no extension that says so, because other implementations refuse it: tell the hub.
    pub fn generate_last_resort_key_package(&mut self, credential: &CredentialRef) -> Result<KeyPackage> {
        let mut packages = self.generate_key_packages(credential, 1, None)?;
        let package = packages.pop().expect("one was asked for");
        self.writing()?.overlay.mark_last_resort(package.reference());
        Ok(package)
    }

    /// How many key packages there are that are good for one use.
    pub fn key_package_count(&self) -> Result<usize> {
        Ok(self.writing()?.overlay.key_packages()?.iter().filter(|entry| !entry.last_resort).count())
    }

    /// Deletes the expired key packages with their secrets and says how many there were.
    pub fn prune_key_packages(&mut self) -> Result<usize> {
        let now = MlsTime::now().seconds_since_epoch();
        let overlay = &self.writing()?.overlay;
        let mut expired = overlay.key_packages()?;
        expired.retain(|entry| entry.not_after < now);
        for entry in &expired {
            overlay.delete_key_package(&entry.reference);
        }
        Ok(expired.len())
    }
}
