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
    /// The credential as it stands in a leaf; none for a basic one, which the client's id makes.
    pub credential: Option<Vec<u8>>,
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
    /// The store's incarnation when it was made.
    pub incarnation: u64,
}

/// The state of a group, as the engine wrote it last.
#[derive(Clone, PartialEq, Eq)]
pub struct GroupStateRecord {
    /// The serial number of the newest journal entry that the state contains.
    pub serial: u64,
    /// The state.
    pub state: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for GroupStateRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupStateRecord").field("serial", &self.serial).finish_non_exhaustive()
    }
}

/// A message key that was used up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// Its number, which rises by one with each entry of the group.
    pub serial: u64,
    /// The leaf of the sender.
    pub leaf: u32,
    /// The generation of the key in the sender's ratchet.
    pub generation: u32,
    /// A digest of the message, if this device has sent it.
    pub digest: Option<Vec<u8>>,
}

/// Which of the engine's records. What the kinds, owners and keys are is the engine's business.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey {
    /// What sort of record.
    pub kind: u16,
    /// What it belongs to.
    pub owner: Vec<u8>,
    /// Which one of these.
    pub key: Vec<u8>,
}

type Secret = Zeroizing<Vec<u8>>;

impl ReadTx<'_> {
    /// The state of a group.
    pub fn group_state(&self, group: &[u8]) -> Result<Option<GroupStateRecord>, StoreError> {
        first(&self.tx, "SELECT serial, state FROM mls_groups WHERE id = ?1", [group], |row| {
            Ok(GroupStateRecord { serial: number(row, 0)?, state: Zeroizing::new(row.get(1)?) })
        })
    }

    /// The serial numbers of a group: of the newest entry in its state, and of the newest in its journal. They tell whether
    /// the group was written since, without reading it.
    pub fn group_serials(&self, group: &[u8]) -> Result<Option<(u64, u64)>, StoreError> {
        let sql = "SELECT serial, COALESCE((SELECT MAX(serial) FROM mls_journal WHERE group_id = ?1), 0) \
                   FROM mls_groups WHERE id = ?1";
        first(&self.tx, sql, [group], |row| Ok((number(row, 0)?, number(row, 1)?)))
    }

    /// The parts of the ratchet tree of a group, in order. None if it is part of the state.
    pub fn group_tree(&self, group: &[u8]) -> Result<Vec<Vec<u8>>, StoreError> {
        let sql = "SELECT nodes FROM mls_trees WHERE group_id = ?1 ORDER BY part";
        all(&self.tx, sql, [group], |row| row.get(0))
    }

    /// The journal of a group, in order.
    pub fn journal(&self, group: &[u8]) -> Result<Vec<JournalEntry>, StoreError> {
        let sql =
            "SELECT serial, leaf, generation, digest FROM mls_journal WHERE group_id = ?1 ORDER BY serial";
        all(&self.tx, sql, [group], |row| {
            Ok(JournalEntry {
                serial: number(row, 0)?,
                leaf: row.get(1)?,
                generation: row.get(2)?,
                digest: row.get(3)?,
            })
        })
    }

    /// One of the engine's records.
    pub fn record(&self, key: &RecordKey) -> Result<Option<Secret>, StoreError> {
        let sql = "SELECT value FROM mls_records WHERE kind = ?1 AND owner = ?2 AND key = ?3";
        let RecordKey { kind, owner, key } = key;
        Ok(first(&self.tx, sql, (kind, owner, key), |row| row.get(0))?.map(Zeroizing::new))
    }

    /// All records of a kind and an owner, in the order of their keys.
    pub fn records(&self, kind: u16, owner: &[u8]) -> Result<Vec<(Vec<u8>, Secret)>, StoreError> {
        let sql = "SELECT key, value FROM mls_records WHERE kind = ?1 AND owner = ?2 ORDER BY key";
        all(&self.tx, sql, (kind, owner), |row| Ok((row.get(0)?, Zeroizing::new(row.get(1)?))))
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

    /// What tells the pending commit of a group from others, if there is one. It is empty for one that was written by the
    /// first version, where all of it is in the body.
    pub fn pending_head(&self, group: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        first(&self.tx, "SELECT head FROM mls_pending_commits WHERE group_id = ?1", [group], |row| row.get(0))
    }

    /// The pending commit of a group, without its head.
    pub fn pending_body(&self, group: &[u8]) -> Result<Option<Secret>, StoreError> {
        self.secret("SELECT body FROM mls_pending_commits WHERE group_id = ?1", group)
    }

    /// The groups with a pending commit.
    pub fn pending_commit_ids(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        all(&self.tx, "SELECT group_id FROM mls_pending_commits", [], |row| row.get(0))
    }

    /// All credentials.
    pub fn credentials(&self) -> Result<Vec<CredentialRecord>, StoreError> {
        let sql = "SELECT client_id, ciphersuite, public_key, secret_key, credential FROM mls_credentials";
        all(&self.tx, sql, [], |row| {
            Ok(CredentialRecord {
                client_id: row.get(0)?,
                ciphersuite: row.get(1)?,
                public_key: row.get(2)?,
                secret_key: Zeroizing::new(row.get(3)?),
                credential: row.get(4)?,
            })
        })
    }

    /// A key package with its private keys.
    pub fn key_package(&self, reference: &[u8]) -> Result<Option<Secret>, StoreError> {
        self.secret("SELECT data FROM mls_key_packages WHERE reference = ?1", reference)
    }

    /// What there is of key packages.
    pub fn key_packages(&self) -> Result<Vec<KeyPackageRecord>, StoreError> {
        let sql =
            "SELECT reference, not_after, last_resort, signature_key, incarnation FROM mls_key_packages";
        all(&self.tx, sql, [], |row| {
            Ok(KeyPackageRecord {
                reference: row.get(0)?,
                not_after: number(row, 1)?,
                last_resort: row.get(2)?,
                signature_key: row.get(3)?,
                incarnation: number(row, 4)?,
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
    pub fn put_group_state(&mut self, group: &[u8], serial: u64, state: &[u8]) -> Result<(), StoreError> {
        let sql = "INSERT INTO mls_groups (id, serial, state) VALUES (?1, ?2, ?3) \
                   ON CONFLICT DO UPDATE SET serial = excluded.serial, state = excluded.state";
        execute(&self.tx, sql, (group, stored(serial, "a serial number")?, state)).map(drop)
    }

    /// Writes a part of the ratchet tree of a group. The first one is 0.
    pub fn put_group_tree_part(&mut self, group: &[u8], part: u32, nodes: &[u8]) -> Result<(), StoreError> {
        let sql = "INSERT INTO mls_trees (group_id, part, nodes) VALUES (?1, ?2, ?3) \
                   ON CONFLICT DO UPDATE SET nodes = excluded.nodes";
        execute(&self.tx, sql, (group, part, nodes)).map(drop)
    }

    /// Deletes all but so many parts of the ratchet tree of a group.
    pub fn trim_group_tree(&mut self, group: &[u8], parts: u32) -> Result<(), StoreError> {
        execute(&self.tx, "DELETE FROM mls_trees WHERE group_id = ?1 AND part >= ?2", (group, parts))
            .map(drop)
    }

    /// Appends to the journal of a group.
    pub fn append_to_journal(&mut self, group: &[u8], entry: &JournalEntry) -> Result<(), StoreError> {
        let sql = "INSERT INTO mls_journal (group_id, serial, leaf, generation, digest) VALUES (?1, ?2, ?3, ?4, ?5)";
        let JournalEntry { serial, leaf, generation, digest } = entry;
        let serial = stored(*serial, "a serial number")?;
        execute(&self.tx, sql, (group, serial, leaf, generation, digest)).map(drop)
    }

    /// Deletes the journal of a group up to this entry, but keeps the entries with a digest if `keep_own`.
    pub fn trim_journal(&mut self, group: &[u8], serial: u64, keep_own: bool) -> Result<(), StoreError> {
        let sql =
            "DELETE FROM mls_journal WHERE group_id = ?1 AND serial <= ?2 AND (digest IS NULL OR NOT ?3)";
        execute(&self.tx, sql, (group, to_sql(serial), keep_own)).map(drop)
    }

    /// Writes one of the engine's records.
    pub fn put_record(&mut self, key: &RecordKey, value: &[u8]) -> Result<(), StoreError> {
        let sql = "INSERT INTO mls_records (kind, owner, key, value) VALUES (?1, ?2, ?3, ?4) \
                   ON CONFLICT DO UPDATE SET value = excluded.value";
        let RecordKey { kind, owner, key } = key;
        execute(&self.tx, sql, (kind, owner, key, value)).map(drop)
    }

    /// Deletes one of the engine's records.
    pub fn delete_record(&mut self, key: &RecordKey) -> Result<(), StoreError> {
        let sql = "DELETE FROM mls_records WHERE kind = ?1 AND owner = ?2 AND key = ?3";
        let RecordKey { kind, owner, key } = key;
        execute(&self.tx, sql, (kind, owner, key)).map(drop)
    }

    /// Deletes a group with its past epochs. A pending commit stays: it may be one to join anew. So do the engine's records.
    pub fn delete_group(&mut self, group: &[u8]) -> Result<(), StoreError> {
        execute(&self.tx, "DELETE FROM mls_groups WHERE id = ?1", [group])?;
        execute(&self.tx, "DELETE FROM mls_trees WHERE group_id = ?1", [group])?;
        execute(&self.tx, "DELETE FROM mls_journal WHERE group_id = ?1", [group])?;
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

    /// Writes the pending commit of a group: a short head, and the rest of it.
    pub fn put_pending_commit(&mut self, group: &[u8], head: &[u8], body: &[u8]) -> Result<(), StoreError> {
        let sql = "INSERT INTO mls_pending_commits (group_id, head, body) VALUES (?1, ?2, ?3) \
                   ON CONFLICT DO UPDATE SET head = excluded.head, body = excluded.body";
        execute(&self.tx, sql, (group, head, body)).map(drop)
    }

    /// Deletes the pending commit of a group.
    pub fn delete_pending_commit(&mut self, group: &[u8]) -> Result<(), StoreError> {
        execute(&self.tx, "DELETE FROM mls_pending_commits WHERE group_id = ?1", [group]).map(drop)
    }

    /// Writes a credential.
    pub fn put_credential(&mut self, credential: &CredentialRecord) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO mls_credentials (public_key, client_id, ciphersuite, secret_key, credential) \
                   VALUES (?1, ?2, ?3, ?4, ?5)";
        let CredentialRecord { client_id, ciphersuite, public_key, secret_key, credential } = credential;
        let params = (public_key, client_id, ciphersuite, secret_key.as_slice(), credential);
        execute(&self.tx, sql, params).map(drop)
    }

    /// Deletes a credential.
    pub fn delete_credential(&mut self, public_key: &[u8]) -> Result<(), StoreError> {
        execute(&self.tx, "DELETE FROM mls_credentials WHERE public_key = ?1", [public_key]).map(drop)
    }

    /// Writes a key package with its private keys.
    pub fn put_key_package(&mut self, record: &KeyPackageRecord, data: &[u8]) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO mls_key_packages \
                   (reference, data, not_after, last_resort, signature_key, incarnation) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let KeyPackageRecord { reference, not_after, last_resort, signature_key, incarnation } = record;
        let not_after = stored(*not_after, "the end of a lifetime")?;
        let incarnation = stored(*incarnation, "an incarnation")?;
        execute(&self.tx, sql, (reference, data, not_after, last_resort, signature_key, incarnation))
            .map(drop)
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
