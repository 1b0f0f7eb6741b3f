//! The records of the MLS engine. The store does not look into them.

use super::{all, execute, first, number, stored, to_sql};
use crate::{ReadTx, StoreError, WriteTx};
use std::fmt;
use zeroize::Zeroizing;

/// A credential with its signature key.
#[derive(Clone, PartialEq, Eq)]
pub struct CredentialRecord {
    /// The identity in the credential.
    pub client_id: Vec<u8>,
    /// The number of the ciphersuite (RFC 9420 §17.1).
    pub ciphersuite: u16,
    /// The signature public key.
    pub public_key: Vec<u8>,
    /// The signature private key.
    pub secret_key: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for CredentialRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialRecord").field("ciphersuite", &self.ciphersuite).finish_non_exhaustive()
    }
}

/// What is known about a stored key package without opening it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPackageRecord {
    /// Its reference (RFC 9420 §5.2).
    pub reference: Vec<u8>,
    /// When it expires, seconds since 1970.
    pub not_after: u64,
    /// Whether it may be used more than once.
    pub last_resort: bool,
    /// The signature public key of the credential in it.
    pub signature_key: Vec<u8>,
}

type Secret = Zeroizing<Vec<u8>>;

impl ReadTx<'_> {
    /// The state of a group.
    pub fn group_state(&self, group: &[u8]) -> Result<Option<Secret>, StoreError> {
        self.secret("SELECT state FROM mls_groups WHERE id = ?1", group)
    }

    /// The ids of all groups.
    pub fn group_ids(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        all(&self.tx, "SELECT id FROM mls_groups", [], |row| row.get(0))
    }

    /// The state of a past epoch of a group.
    pub fn group_epoch(&self, group: &[u8], epoch: u64) -> Result<Option<Secret>, StoreError> {
        let sql = "SELECT state FROM mls_epochs WHERE group_id = ?1 AND epoch = ?2";
        Ok(first(&self.tx, sql, (group, to_sql(epoch)), |row| row.get(0))?.map(Zeroizing::new))
    }

    /// The newest past epoch of a group.
    pub fn max_group_epoch(&self, group: &[u8]) -> Result<Option<u64>, StoreError> {
        let sql = "SELECT epoch FROM mls_epochs WHERE group_id = ?1 ORDER BY epoch DESC LIMIT 1";
        first(&self.tx, sql, [group], |row| number(row, 0))
    }

    /// The pending commit of a group.
    pub fn pending_commit(&self, group: &[u8]) -> Result<Option<Secret>, StoreError> {
        self.secret("SELECT record FROM mls_pending_commits WHERE group_id = ?1", group)
    }

    /// The groups with a pending commit.
    pub fn pending_commit_ids(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        all(&self.tx, "SELECT group_id FROM mls_pending_commits", [], |row| row.get(0))
    }

    /// All credentials.
    pub fn credentials(&self) -> Result<Vec<CredentialRecord>, StoreError> {
        let sql = "SELECT client_id, ciphersuite, public_key, secret_key FROM mls_credentials";
        all(&self.tx, sql, [], |row| {
            Ok(CredentialRecord {
                client_id: row.get(0)?,
                ciphersuite: row.get(1)?,
                public_key: row.get(2)?,
                secret_key: Zeroizing::new(row.get(3)?),
            })
        })
    }

    /// A key package with its private keys.
    pub fn key_package(&self, reference: &[u8]) -> Result<Option<Secret>, StoreError> {
        self.secret("SELECT data FROM mls_key_packages WHERE reference = ?1", reference)
    }

    /// What there is of key packages.
    pub fn key_packages(&self) -> Result<Vec<KeyPackageRecord>, StoreError> {
        let sql = "SELECT reference, not_after, last_resort, signature_key FROM mls_key_packages";
        all(&self.tx, sql, [], |row| {
            Ok(KeyPackageRecord {
                reference: row.get(0)?,
                not_after: number(row, 1)?,
                last_resort: row.get(2)?,
                signature_key: row.get(3)?,
            })
        })
    }

    /// The application's checkpoint.
    pub fn data(&self) -> Result<Option<Vec<u8>>, StoreError> {
        first(&self.tx, "SELECT data FROM mls_data", [], |row| row.get(0))
    }

    fn secret(&self, sql: &str, key: &[u8]) -> Result<Option<Secret>, StoreError> {
        Ok(first(&self.tx, sql, [key], |row| row.get(0))?.map(Zeroizing::new))
    }
}

impl WriteTx<'_> {
    /// Writes the state of a group.
    pub fn put_group_state(&mut self, group: &[u8], state: &[u8]) -> Result<(), StoreError> {
        let sql = "INSERT INTO mls_groups (id, state) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET state = excluded.state";
        execute(&self.tx, sql, (group, state)).map(drop)
    }

    /// Deletes a group with its past epochs. A pending commit stays: it may be one to join anew.
    pub fn delete_group(&mut self, group: &[u8]) -> Result<(), StoreError> {
        execute(&self.tx, "DELETE FROM mls_groups WHERE id = ?1", [group])?;
        execute(&self.tx, "DELETE FROM mls_epochs WHERE group_id = ?1", [group]).map(drop)
    }

    /// Writes the state of a past epoch.
    pub fn put_group_epoch(&mut self, group: &[u8], epoch: u64, state: &[u8]) -> Result<(), StoreError> {
        let sql = "INSERT INTO mls_epochs (group_id, epoch, state) VALUES (?1, ?2, ?3) \
                   ON CONFLICT DO UPDATE SET state = excluded.state";
        execute(&self.tx, sql, (group, stored(epoch, "an epoch")?, state)).map(drop)
    }

    /// Deletes the past epochs before this one.
    pub fn delete_group_epochs_below(&mut self, group: &[u8], epoch: u64) -> Result<(), StoreError> {
        let sql = "DELETE FROM mls_epochs WHERE group_id = ?1 AND epoch < ?2";
        execute(&self.tx, sql, (group, to_sql(epoch))).map(drop)
    }

    /// Writes the pending commit of a group.
    pub fn put_pending_commit(&mut self, group: &[u8], record: &[u8]) -> Result<(), StoreError> {
        let sql = "INSERT INTO mls_pending_commits (group_id, record) VALUES (?1, ?2) \
                   ON CONFLICT DO UPDATE SET record = excluded.record";
        execute(&self.tx, sql, (group, record)).map(drop)
    }

    /// Deletes the pending commit of a group.
    pub fn delete_pending_commit(&mut self, group: &[u8]) -> Result<(), StoreError> {
        execute(&self.tx, "DELETE FROM mls_pending_commits WHERE group_id = ?1", [group]).map(drop)
    }

    /// Writes a credential.
    pub fn put_credential(&mut self, credential: &CredentialRecord) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO mls_credentials (public_key, client_id, ciphersuite, secret_key) \
                   VALUES (?1, ?2, ?3, ?4)";
        let CredentialRecord { client_id, ciphersuite, public_key, secret_key } = credential;
        execute(&self.tx, sql, (public_key, client_id, ciphersuite, secret_key.as_slice())).map(drop)
    }

    /// Deletes a credential.
    pub fn delete_credential(&mut self, public_key: &[u8]) -> Result<(), StoreError> {
        execute(&self.tx, "DELETE FROM mls_credentials WHERE public_key = ?1", [public_key]).map(drop)
    }

    /// Writes a key package with its private keys.
    pub fn put_key_package(&mut self, record: &KeyPackageRecord, data: &[u8]) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO mls_key_packages (reference, data, not_after, last_resort, signature_key) \
                   VALUES (?1, ?2, ?3, ?4, ?5)";
        let KeyPackageRecord { reference, not_after, last_resort, signature_key } = record;
        let not_after = stored(*not_after, "the end of a lifetime")?;
        execute(&self.tx, sql, (reference, data, not_after, last_resort, signature_key)).map(drop)
    }

    /// Deletes a key package.
    pub fn delete_key_package(&mut self, reference: &[u8]) -> Result<(), StoreError> {
        execute(&self.tx, "DELETE FROM mls_key_packages WHERE reference = ?1", [reference]).map(drop)
    }

    /// Writes the application's checkpoint.
    pub fn set_data(&mut self, data: &[u8]) -> Result<(), StoreError> {
        let sql =
            "INSERT INTO mls_data (id, data) VALUES (1, ?1) ON CONFLICT DO UPDATE SET data = excluded.data";
        execute(&self.tx, sql, [data]).map(drop)
    }
}
