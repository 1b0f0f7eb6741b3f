//! What the device signs with, and its key packages.

use mls_rs::{
    identity::Credential as MlsCredential,
    mls_rs_codec::{self, MlsDecode, MlsEncode},
};
use mls_rs_core::key_package::KeyPackageData;
use tertulia_store::{CredentialRecord, KeyPackageRecord};
use zeroize::Zeroizing;

use super::{CredentialChange, KeyPackageChange, Overlay};
use crate::{Ciphersuite, ClientId, CredentialRef, EngineError, Opaque, Result, credential::Credential};

impl Overlay {
    pub(crate) fn credentials(&self) -> Result<Vec<Credential>> {
        let stored = self.stored(|tx| tx.credentials())?;
        let mut credentials = stored.into_iter().map(credential_from).collect::<Result<Vec<_>>>()?;
        for change in &self.changes().credentials {
            match change {
                CredentialChange::Insert(credential) => credentials.push(credential.clone()),
                CredentialChange::Delete(gone) => {
                    credentials.retain(|credential| credential.reference() != *gone);
                }
            }
        }
        Ok(credentials)
    }

    pub(crate) fn credential(&self, reference: &CredentialRef) -> Result<Credential> {
        self.credentials()?
            .into_iter()
            .find(|credential| credential.reference() == *reference)
            .ok_or(EngineError::CredentialNotFound)
    }

    pub(crate) fn credential_with_key(&self, public_key: &[u8]) -> Result<Option<Credential>> {
        Ok(self.credentials()?.into_iter().find(|credential| credential.public_key == public_key))
    }

    pub(crate) fn insert_credential(&self, credential: Credential) {
        self.changes().credentials.push(CredentialChange::Insert(credential));
    }

    pub(crate) fn delete_credential(&self, reference: CredentialRef) {
        self.changes().credentials.push(CredentialChange::Delete(reference));
    }

    pub(crate) fn key_package(&self, reference: &[u8]) -> Result<Option<KeyPackageData>> {
        let changed = match self.changes().key_packages.get(reference) {
            Some(KeyPackageChange::Insert { data, .. }) => Some(Some(data.clone())),
            Some(KeyPackageChange::Delete) => Some(None),
            None => None,
        };
        let is_elsewhere =
            self.changes().stored_key_packages.as_ref().is_some_and(|stored| !stored.contains(reference));
        let bytes = match changed {
            Some(bytes) => bytes,
            None if is_elsewhere => None,
            None => self.stored(|tx| tx.key_package(reference))?,
        };
        bytes
            .map(|bytes| KeyPackageData::mls_decode(&mut &bytes[..]).map_err(damaged_key_package))
            .transpose()
    }

    /// From now on in this transaction the store is not asked for key packages that it does not have: a Welcome names those of
    /// everybody whom its commit has added.
    pub(crate) fn remember_key_packages(&self) -> Result<()> {
        let stored = self.stored(|tx| tx.key_packages())?;
        let stored = stored.into_iter().map(|entry| entry.reference).collect();
        self.changes().stored_key_packages = Some(stored);
        Ok(())
    }

    /// The store's incarnation when a key package was made.
    pub(crate) fn key_package_incarnation(&self, reference: &[u8]) -> Result<u64> {
        let known = self.key_packages()?.into_iter().find(|entry| entry.reference == reference);
        Ok(known.map_or(0, |entry| entry.incarnation))
    }

    /// Marks a key package that was generated in this transaction as one that may be used again and again.
    pub(crate) fn mark_last_resort(&self, reference: &[u8]) {
        if let Some(KeyPackageChange::Insert { record, .. }) = self.changes().key_packages.get_mut(reference)
        {
            record.last_resort = true;
        }
    }

    /// Every key package, without its secrets.
    pub(crate) fn key_packages(&self) -> Result<Vec<KeyPackageRecord>> {
        let mut entries = self.stored(|tx| tx.key_packages())?;
        for (reference, change) in &self.changes().key_packages {
            entries.retain(|entry| entry.reference != *reference);
            if let KeyPackageChange::Insert { record, .. } = change {
                entries.push(record.clone());
            }
        }
        Ok(entries)
    }

    pub(crate) fn delete_key_package(&self, reference: &[u8]) {
        self.changes().key_packages.insert(reference.to_vec(), KeyPackageChange::Delete);
    }

    pub(super) fn consume_key_package(&self, reference: &[u8]) -> Result<()> {
        let known = self.key_packages()?;
        // It is not an error when it is gone: the library asks again at each write of the group that it was used for.
        if known.iter().any(|entry| entry.reference == reference && !entry.last_resort) {
            self.delete_key_package(reference);
        }
        Ok(())
    }

    pub(crate) fn insert_key_package(&self, reference: Vec<u8>, data: &KeyPackageData) -> Result<()> {
        let encoded = data.mls_encode_to_vec().map_err(damaged_key_package)?;
        let record = KeyPackageRecord {
            reference: reference.clone(),
            not_after: data.expiration,
            last_resort: false,
            signature_key: signature_key(data)?,
            incarnation: self.incarnation(),
        };
        let change = KeyPackageChange::Insert { record, data: Zeroizing::new(encoded) };
        self.changes().key_packages.insert(reference, change);
        Ok(())
    }
}

/// The key that the key package is signed with, by which its credential is found.
pub(crate) fn signature_key(data: &KeyPackageData) -> Result<Vec<u8>> {
    let package =
        mls_rs::KeyPackage::mls_decode(&mut &data.key_package_bytes[..]).map_err(damaged_key_package)?;
    Ok(package.signing_identity().signature_key.as_bytes().to_vec())
}

fn damaged_key_package(error: mls_rs_codec::Error) -> EngineError {
    EngineError::DamagedState { what: "key package", source: Some(Box::new(error)) }
}

pub(super) fn credential_record(credential: &Credential) -> Result<CredentialRecord> {
    let damaged = |error: mls_rs_codec::Error| damaged_credential(Some(Box::new(error)));
    let chain = credential.chain.as_ref();
    let credential_in_leaf = chain
        .map(|chain| MlsCredential::X509(chain.clone()).mls_encode_to_vec().map_err(damaged))
        .transpose()?;
    Ok(CredentialRecord {
        client_id: credential.client_id.as_bytes().to_vec(),
        ciphersuite: credential.ciphersuite.number(),
        public_key: credential.public_key.clone(),
        secret_key: credential.secret_key.clone(),
        credential: credential_in_leaf,
    })
}

fn credential_from(record: CredentialRecord) -> Result<Credential> {
    let chain = match record.credential {
        None => None,
        Some(bytes) => match MlsCredential::mls_decode(&mut &bytes[..]) {
            Ok(MlsCredential::X509(chain)) => Some(chain),
            Ok(_) => return Err(damaged_credential(None)),
            Err(error) => return Err(damaged_credential(Some(Box::new(error)))),
        },
    };
    Ok(Credential {
        client_id: ClientId::from(record.client_id),
        ciphersuite: Ciphersuite::from_number(record.ciphersuite)?,
        public_key: record.public_key,
        secret_key: record.secret_key,
        chain,
    })
}

fn damaged_credential(source: Option<Opaque>) -> EngineError {
    EngineError::DamagedState { what: "credential", source }
}
