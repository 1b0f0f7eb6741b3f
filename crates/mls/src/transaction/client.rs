//! What the device is: its credentials and key packages.

use std::time::Duration;

use mls_rs::{CipherSuiteProvider as _, ExtensionList, time::MlsTime};
use tertulia_domain::signing::sign_content;
use tertulia_store::KeyPackageRecord;

use super::{TransactionContext, backdated, failure};
use crate::{
    Ciphersuite, ClientId, Credential, CredentialFilter, CredentialRef, EngineError, IdentityCredential,
    KeyPackage, Result,
    identity::Judge,
    key_package::{MAX_AT_ONCE, MAX_LIFETIME},
    loaded::Loaded,
    provider,
    record::GroupMeta,
};

impl TransactionContext {
    /// Stores a credential. Its identity must be one that the session's policy accepts.
    ///
    /// A client has one basic credential per ciphersuite. Of X.509 credentials it may have several, so that a new one can be
    /// taken into use before the old one expires; each has a key of its own.
    pub fn add_credential(&mut self, credential: Credential) -> Result<CredentialRef> {
        let policy = &self.session.config().client_id_policy;
        let canonical = |id: &ClientId| policy.canonical(id).map_err(EngineError::from);
        let identity = canonical(&credential.client_id)?;
        let overlay = &self.writing()?.overlay;
        for other in overlay.credentials()? {
            let is_second_basic = other.ciphersuite == credential.ciphersuite
                && (&other.chain, &credential.chain) == (&None, &None)
                && canonical(&other.client_id)? == identity;
            if is_second_basic || other.public_key == credential.public_key {
                return Err(EngineError::CredentialExists(other.client_id));
            }
        }
        let reference = credential.reference();
        overlay.insert_credential(credential);
        Ok(reference)
    }

    /// Sees to it that this client has a basic credential in each of these ciphersuites, and returns them in that order. Those
    /// that it has already are left as they are.
    pub fn mls_init(
        &mut self,
        client_id: &ClientId,
        ciphersuites: &[Ciphersuite],
    ) -> Result<Vec<CredentialRef>> {
        let mut references = Vec::with_capacity(ciphersuites.len());
        for ciphersuite in ciphersuites {
            let filter = CredentialFilter {
                client_id: Some(client_id.clone()),
                ciphersuite: Some(*ciphersuite),
                credential_type: Some(IdentityCredential::Basic),
            };
            references.push(match self.find_credentials_by(&filter)?.pop() {
                Some(known) => known,
                None => self.add_credential(Credential::basic(client_id.clone(), *ciphersuite)?)?,
            });
        }
        Ok(references)
    }

    /// All credentials in the store.
    pub fn find_credentials(&self) -> Result<Vec<CredentialRef>> {
        Ok(self.writing()?.overlay.credentials()?.iter().map(Credential::reference).collect())
    }

    /// The credentials that a filter lets through.
    pub fn find_credentials_by(&self, filter: &CredentialFilter) -> Result<Vec<CredentialRef>> {
        let policy = &self.session.config().client_id_policy;
        let client = filter.client_id.as_ref().map(|id| policy.canonical(id)).transpose()?;
        let mut found = self.find_credentials()?;
        found.retain(|credential| {
            filter.ciphersuite.is_none_or(|suite| suite == credential.ciphersuite)
                && filter.credential_type.is_none_or(|of| of == credential.credential_type)
        });
        if let Some(client) = client {
            found.retain(|credential| policy.canonical(&credential.client_id).is_ok_and(|id| id == client));
        }
        Ok(found)
    }

    /// Signs something of the application's with the key of a credential: [`sign_content`] with this label. All that this device
    /// signs in MLS has other labels, so neither is ever taken for the other.
    pub fn sign(&self, credential: &CredentialRef, label: &str, content: &[u8]) -> Result<Vec<u8>> {
        let credential = self.writing()?.overlay.credential(credential)?;
        let suite = provider::cipher_suite_provider(credential.ciphersuite)?;
        let signature = suite.sign(&credential.signer(), &sign_content(label, content));
        signature.map_err(|error| EngineError::Library(Box::new(error)))
    }

    /// Deletes a credential that neither a conversation nor a key package uses, when no commit is pending.
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
        // A pending join, or a commit that takes another credential into use, will sign with one of the credentials, and
        // does not say with which.
        if !overlay.pending_ids()?.is_empty() {
            return Err(EngineError::CredentialInUse);
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
        Judge::new(&overlay, &config).newcomer(&credential.signing_identity(), None)?;
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

    /// Whether the key package with this reference is here, and was made since the store was last restored or copied: no other copy can come in by it.
    pub fn is_key_package_new(&self, reference: &[u8]) -> Result<bool> {
        let overlay = &self.writing()?.overlay;
        let is_new = |entry: &KeyPackageRecord| entry.incarnation == overlay.incarnation();
        Ok(overlay.key_packages()?.iter().any(|entry| entry.reference == reference && is_new(entry)))
    }

    /// How many key packages there are that are good for one use.
    pub fn key_package_count(&self) -> Result<usize> {
        Ok(self.writing()?.overlay.key_packages()?.iter().filter(|entry| !entry.last_resort).count())
    }

    /// How many key packages of this credential there are that are good for one use.
    pub fn key_package_count_for(&self, credential: &CredentialRef) -> Result<usize> {
        let packages = self.writing()?.overlay.key_packages()?;
        let is_of = |entry: &&KeyPackageRecord| entry.signature_key == credential.public_key;
        Ok(packages.iter().filter(is_of).filter(|entry| !entry.last_resort).count())
    }

    /// Deletes all key packages of this credential with their secrets, last resorts too, and says how many there were.
    /// Tell the hub first: a Welcome for one of them cannot be opened.
    pub fn remove_key_packages_for(&mut self, credential: &CredentialRef) -> Result<usize> {
        let overlay = &self.writing()?.overlay;
        let mut gone = overlay.key_packages()?;
        gone.retain(|entry| entry.signature_key == credential.public_key);
        for entry in &gone {
            overlay.delete_key_package(&entry.reference);
        }
        Ok(gone.len())
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
