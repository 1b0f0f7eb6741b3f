//! What a home without an account has in place of one: its identity, its relays, its inbox, and what it knows of people.

use super::{all, execute, first, stored, uuid};
use crate::{ReadTx, StoreError, WriteTx};
use std::fmt;
use tertulia_domain::{ConversationId, UserId, connection::Status};
use zeroize::Zeroizing;

/// Who the user is, and which invitations have come.
#[derive(Clone, PartialEq, Eq)]
pub struct IdentityRecord {
    /// The Ed25519 private key.
    pub secret: Zeroizing<[u8; 32]>,
    /// Which invitations have come.
    pub replays: Vec<u8>,
}

impl fmt::Debug for IdentityRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityRecord").finish_non_exhaustive()
    }
}

/// A key that invitations are encrypted to.
#[derive(Clone, PartialEq, Eq)]
pub struct InboxKeyRecord {
    /// The X25519 private key.
    pub secret: Zeroizing<[u8; 32]>,
    /// When it was made, seconds since 1970.
    pub since: u64,
    /// When no bundle with it is valid any more, seconds since 1970.
    pub until: u64,
    /// The MLS key package that stands in the bundles beside it.
    pub key_package: Vec<u8>,
}

impl fmt::Debug for InboxKeyRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboxKeyRecord").field("until", &self.until).finish_non_exhaustive()
    }
}

/// What somebody has shown of themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleRecord {
    /// Who.
    pub user: UserId,
    /// Their bundle.
    pub bundle: Vec<u8>,
    /// Which of its devices this home talks with, from 0.
    pub device: u32,
}

/// An invitation that was not accepted yet, without what it is to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvitationHead {
    /// The conversation that it is to.
    pub conversation: ConversationId,
    /// Who has sent it.
    pub user: UserId,
    /// When it came, milliseconds since 1970.
    pub received_at: i64,
    /// Until when it can be accepted, seconds since 1970.
    pub expires: u64,
    /// Whether it waits for an answer: it was neither ignored nor blocked.
    pub is_pending: bool,
    /// Whether it is to a group.
    pub is_to_group: bool,
}

/// An invitation that was not accepted yet.
#[derive(Clone, PartialEq, Eq)]
pub struct InvitationRecord {
    /// What is known of it without opening it.
    pub head: InvitationHead,
    /// What it is to; opaque bytes of the SDK's making.
    pub content: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for InvitationRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InvitationRecord")
            .field("conversation", &self.head.conversation.short())
            .finish_non_exhaustive()
    }
}

/// Its length is known without reading it.
const HEADS: &str =
    "SELECT conversation, user, received_at, expires, pending, to_group, length(content) FROM invitations";

fn head(row: &rusqlite::Row<'_>) -> rusqlite::Result<InvitationHead> {
    Ok(InvitationHead {
        conversation: uuid(row, 0)?,
        user: uuid(row, 1)?,
        received_at: row.get(2)?,
        expires: super::number(row, 3)?,
        is_pending: row.get(4)?,
        is_to_group: row.get(5)?,
    })
}

impl ReadTx<'_> {
    /// Who the user is where there is no hub; none in a home with an account.
    pub fn identity(&self) -> Result<Option<IdentityRecord>, StoreError> {
        first(&self.tx, "SELECT secret, replays FROM identity", [], |row| {
            Ok(IdentityRecord { secret: Zeroizing::new(row.get(0)?), replays: row.get(1)? })
        })
    }

    /// The keys that invitations are encrypted to, the newest first.
    pub fn inbox_keys(&self) -> Result<Vec<InboxKeyRecord>, StoreError> {
        all(
            &self.tx,
            "SELECT secret, since, until, key_package FROM inbox_keys ORDER BY id DESC",
            [],
            |row| {
                Ok(InboxKeyRecord {
                    secret: Zeroizing::new(row.get(0)?),
                    since: super::number(row, 1)?,
                    until: super::number(row, 2)?,
                    key_package: row.get(3)?,
                })
            },
        )
    }

    /// The relays of this home, in the order in which they are asked.
    pub fn relays(&self) -> Result<Vec<String>, StoreError> {
        all(&self.tx, "SELECT address FROM relays ORDER BY place", [], |row| row.get(0))
    }

    /// What somebody has shown of themselves.
    pub fn bundle(&self, user: UserId) -> Result<Option<BundleRecord>, StoreError> {
        let sql = "SELECT user, bundle, device FROM bundles WHERE user = ?1";
        first(&self.tx, sql, [user.as_uuid()], |row| {
            Ok(BundleRecord { user: uuid(row, 0)?, bundle: row.get(1)?, device: row.get(2)? })
        })
    }

    /// The invitations that were not accepted yet, the oldest first.
    pub fn invitations(&self) -> Result<Vec<InvitationHead>, StoreError> {
        all(&self.tx, &format!("{HEADS} ORDER BY received_at, conversation"), [], head)
    }

    /// The same, each with how many bytes it takes.
    pub fn invitations_with_size(&self) -> Result<Vec<(InvitationHead, u64)>, StoreError> {
        let sql = format!("{HEADS} ORDER BY received_at, conversation");
        all(&self.tx, &sql, [], |row| Ok((head(row)?, super::number(row, 6)?)))
    }

    /// An invitation to a conversation.
    pub fn invitation(&self, id: ConversationId) -> Result<Option<InvitationRecord>, StoreError> {
        let known = first(&self.tx, &format!("{HEADS} WHERE conversation = ?1"), [id.as_uuid()], head)?;
        let sql = "SELECT content FROM invitations WHERE conversation = ?1";
        let content = first(&self.tx, sql, [id.as_uuid()], |row| Ok(Zeroizing::new(row.get(0)?)))?;
        Ok(known.zip(content).map(|(head, content)| InvitationRecord { head, content }))
    }

    /// The invitations of somebody that were not accepted yet, the oldest first.
    pub fn invitations_of(&self, user: UserId) -> Result<Vec<InvitationHead>, StoreError> {
        let sql = format!("{HEADS} WHERE user = ?1 ORDER BY received_at, conversation");
        all(&self.tx, &sql, [user.as_uuid()], head)
    }

    /// The invitations that were not accepted yet of those with whom this home is connected, the oldest first.
    pub fn invitations_of_connected(&self) -> Result<Vec<InvitationHead>, StoreError> {
        let sql = format!(
            "{HEADS} WHERE user IN (SELECT user FROM connections WHERE status = ?1) \
             ORDER BY received_at, conversation"
        );
        all(&self.tx, &sql, [Status::Accepted.as_str()], head)
    }
}

impl WriteTx<'_> {
    /// Writes who the user is. Once.
    pub fn put_identity(&mut self, record: &IdentityRecord) -> Result<(), StoreError> {
        let sql = "INSERT INTO identity (id, secret, replays) VALUES (1, ?1, ?2)";
        execute(&self.tx, sql, (record.secret.as_slice(), &record.replays)).map(drop)
    }

    /// Notes which invitations have come.
    pub fn set_replays(&mut self, replays: &[u8]) -> Result<(), StoreError> {
        execute(&self.tx, "UPDATE identity SET replays = ?1", [replays]).map(drop)
    }

    /// Adds a key that invitations are encrypted to, as the newest.
    pub fn add_inbox_key(&mut self, key: &InboxKeyRecord) -> Result<(), StoreError> {
        let sql = "INSERT INTO inbox_keys (secret, since, until, key_package) VALUES (?1, ?2, ?3, ?4)";
        let InboxKeyRecord { secret, since, until, key_package } = key;
        let (since, until) = (stored(*since, "a time")?, stored(*until, "a time")?);
        execute(&self.tx, sql, (secret.as_slice(), since, until, key_package)).map(drop)
    }

    /// Notes until when bundles with the newest of these keys are valid; no earlier than before.
    pub fn extend_inbox_key(&mut self, until: u64) -> Result<(), StoreError> {
        let sql = "UPDATE inbox_keys SET until = max(until, ?1) WHERE id = (SELECT max(id) FROM inbox_keys)";
        execute(&self.tx, sql, [stored(until, "a time")?]).map(drop)
    }

    /// Deletes the keys of which no bundle is valid any more at `now`, seconds since 1970, save the newest.
    pub fn delete_old_inbox_keys(&mut self, now: u64) -> Result<usize, StoreError> {
        let sql = "DELETE FROM inbox_keys WHERE until <= ?1 AND id < (SELECT max(id) FROM inbox_keys)";
        execute(&self.tx, sql, [stored(now, "a time")?])
    }

    /// Makes these the relays.
    pub fn replace_relays(&mut self, relays: &[String]) -> Result<(), StoreError> {
        execute(&self.tx, "DELETE FROM relays", [])?;
        for (place, address) in (0_u32..).zip(relays) {
            execute(&self.tx, "INSERT INTO relays (place, address) VALUES (?1, ?2)", (place, address))?;
        }
        Ok(())
    }

    /// Writes what somebody has shown of themselves.
    pub fn put_bundle(&mut self, record: &BundleRecord) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO bundles (user, bundle, device) VALUES (?1, ?2, ?3)";
        execute(&self.tx, sql, (record.user.as_uuid(), &record.bundle, record.device)).map(drop)
    }

    /// Writes an invitation that was not accepted yet.
    pub fn put_invitation(&mut self, record: &InvitationRecord) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO invitations \
                   (conversation, user, received_at, expires, pending, to_group, content) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let InvitationRecord { head, content } = record;
        let InvitationHead { conversation, user, received_at, expires, is_pending, is_to_group } = head;
        let expires = stored(*expires, "a time")?;
        let (conversation, user) = (conversation.as_uuid(), user.as_uuid());
        let params = (conversation, user, received_at, expires, is_pending, is_to_group, content.as_slice());
        execute(&self.tx, sql, params).map(drop)
    }

    /// Notes that an invitation waits for an answer no longer, and can be accepted still.
    pub fn set_invitation_unanswered(&mut self, id: ConversationId) -> Result<(), StoreError> {
        let sql = "UPDATE invitations SET pending = 0 WHERE conversation = ?1";
        execute(&self.tx, sql, [id.as_uuid()]).map(drop)
    }

    /// Removes an invitation that was accepted, or is void.
    pub fn remove_invitation(&mut self, id: ConversationId) -> Result<(), StoreError> {
        execute(&self.tx, "DELETE FROM invitations WHERE conversation = ?1", [id.as_uuid()]).map(drop)
    }
}
