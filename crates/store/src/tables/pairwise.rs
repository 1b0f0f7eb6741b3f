//! The records of the pairwise sessions. The store does not look into their states.

use super::{all, execute, first, named, number, stored};
use crate::{ReadTx, StoreError, WriteTx};
use rusqlite::Row;
use std::fmt;
use tertulia_domain::{ConversationId, DeviceAddress};
use zeroize::Zeroizing;

/// This device's own keys.
#[derive(Clone, PartialEq, Eq)]
pub struct PairwiseAccountRecord {
    /// The store's incarnation for which they were made.
    pub incarnation: u64,
    /// When the present fallback key was made, milliseconds since 1970.
    pub fallback_since: i64,
    /// The keys.
    pub state: Zeroizing<Vec<u8>>,
}

/// A device with which there were sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairwisePeerRecord {
    /// The device.
    pub address: DeviceAddress,
    /// Its signature key.
    pub signature_key: [u8; 32],
    /// Its identity key.
    pub identity_key: [u8; 32],
    /// The session to encrypt with.
    pub preferred: Option<String>,
    /// Whether the next message is to begin a new session.
    pub renew: bool,
}

/// A session.
#[derive(Clone, PartialEq, Eq)]
pub struct PairwiseSessionRecord {
    /// Its id, the same at both ends.
    pub id: String,
    /// Rises with each use of one of the peer's sessions.
    pub used: u64,
    /// The store's incarnation in which it may be used to encrypt.
    pub incarnation: u64,
    /// Its keys.
    pub state: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for PairwiseAccountRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PairwiseAccountRecord")
            .field("incarnation", &self.incarnation)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PairwiseSessionRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PairwiseSessionRecord").field("used", &self.used).finish_non_exhaustive()
    }
}

const PEER: &str = "SELECT address, signature_key, identity_key, preferred, renew FROM pairwise_peers";

fn peer(row: &Row<'_>) -> rusqlite::Result<PairwisePeerRecord> {
    Ok(PairwisePeerRecord {
        address: named(row, 0)?,
        signature_key: row.get(1)?,
        identity_key: row.get(2)?,
        preferred: row.get(3)?,
        renew: row.get(4)?,
    })
}

impl ReadTx<'_> {
    /// This device's own keys, once they were made.
    pub fn pairwise_account(&self) -> Result<Option<PairwiseAccountRecord>, StoreError> {
        let sql = "SELECT incarnation, fallback_since, state FROM pairwise_account";
        first(&self.tx, sql, [], |row| {
            Ok(PairwiseAccountRecord {
                incarnation: number(row, 0)?,
                fallback_since: row.get(1)?,
                state: Zeroizing::new(row.get(2)?),
            })
        })
    }

    /// A device with which there were sessions.
    pub fn pairwise_peer(&self, address: &DeviceAddress) -> Result<Option<PairwisePeerRecord>, StoreError> {
        first(&self.tx, &format!("{PEER} WHERE address = ?1"), [address.to_string()], peer)
    }

    /// The devices of the members of a conversation with which there were sessions, ordered by address.
    pub fn pairwise_peers_in(
        &self,
        conversation: ConversationId,
    ) -> Result<Vec<PairwisePeerRecord>, StoreError> {
        let sql = format!(
            "{PEER} WHERE user IN (SELECT user FROM members WHERE conversation = ?1) ORDER BY address"
        );
        all(&self.tx, &sql, [conversation.as_uuid()], peer)
    }

    /// The sessions with a device, the one that was used last first.
    pub fn pairwise_sessions(
        &self,
        address: &DeviceAddress,
    ) -> Result<Vec<PairwiseSessionRecord>, StoreError> {
        let sql = "SELECT id, used, incarnation, state FROM pairwise_sessions WHERE address = ?1 \
                   ORDER BY used DESC";
        all(&self.tx, sql, [address.to_string()], |row| {
            Ok(PairwiseSessionRecord {
                id: row.get(0)?,
                used: number(row, 1)?,
                incarnation: number(row, 2)?,
                state: Zeroizing::new(row.get(3)?),
            })
        })
    }
}

impl WriteTx<'_> {
    /// Writes this device's own keys.
    pub fn put_pairwise_account(&mut self, account: &PairwiseAccountRecord) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO pairwise_account (id, incarnation, fallback_since, state) \
                   VALUES (1, ?1, ?2, ?3)";
        let PairwiseAccountRecord { incarnation, fallback_since, state } = account;
        let incarnation = stored(*incarnation, "an incarnation")?;
        execute(&self.tx, sql, (incarnation, fallback_since, state.as_slice())).map(drop)
    }

    /// Writes a device with which there are sessions. Its sessions stay.
    pub fn put_pairwise_peer(&mut self, peer: &PairwisePeerRecord) -> Result<(), StoreError> {
        let sql = "INSERT INTO pairwise_peers (address, user, signature_key, identity_key, preferred, renew) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET signature_key = excluded.signature_key, \
                   identity_key = excluded.identity_key, preferred = excluded.preferred, renew = excluded.renew";
        let PairwisePeerRecord { address, signature_key, identity_key, preferred, renew } = peer;
        let user = address.user.as_uuid();
        let params = (address.to_string(), user, signature_key, identity_key, preferred, renew);
        execute(&self.tx, sql, params).map(drop)
    }

    /// Makes these the sessions with a device.
    pub fn replace_pairwise_sessions(
        &mut self,
        address: &DeviceAddress,
        sessions: &[PairwiseSessionRecord],
    ) -> Result<(), StoreError> {
        execute(&self.tx, "DELETE FROM pairwise_sessions WHERE address = ?1", [address.to_string()])?;
        let sql = "INSERT INTO pairwise_sessions (address, id, used, incarnation, state) VALUES (?1, ?2, ?3, ?4, ?5)";
        for PairwiseSessionRecord { id, used, incarnation, state } in sessions {
            let (used, incarnation) = (stored(*used, "a count")?, stored(*incarnation, "an incarnation")?);
            execute(&self.tx, sql, (address.to_string(), id, used, incarnation, state.as_slice()))?;
        }
        Ok(())
    }

    /// Forgets a device that is no more, with its sessions.
    pub fn delete_pairwise_peer(&mut self, address: &DeviceAddress) -> Result<(), StoreError> {
        execute(&self.tx, "DELETE FROM pairwise_peers WHERE address = ?1", [address.to_string()]).map(drop)
    }
}
