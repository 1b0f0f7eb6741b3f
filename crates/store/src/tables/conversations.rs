//! Conversations and their members.

use super::{all, execute, first, named, number, stored, to_sql, uuid};
use crate::{ReadTx, StoreError, WriteTx};
use rusqlite::Row;
use tertulia_domain::{ConversationId, ConversationType, Protocol, RoleName, Sequence, UserId};

/// A conversation as the hub describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConversationRecord {
    /// Its id.
    pub id: ConversationId,
    /// What it is.
    pub kind: ConversationType,
    /// The epoch of its group at the hub; 0 while there is no group.
    pub epoch: u64,
    /// How its messages are encrypted.
    pub protocol: Protocol,
    /// When it was made, milliseconds since 1970.
    pub created_at: i64,
}

/// A conversation with what only this home knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversationRow {
    /// As the hub describes it.
    pub record: ConversationRecord,
    /// Its name, if one was announced.
    pub name: Option<String>,
    /// Whether this device is in its MLS group.
    pub joined: bool,
    /// Whether the user is a member.
    pub active: bool,
    /// Messages of others after the last one that was read.
    pub unread: u64,
    /// The policy of its MLS group, as it stands in the group's context, if it has one.
    pub policy: Option<Vec<u8>>,
    /// The epoch with which this device came into the group.
    pub since_epoch: u64,
    /// Whether this device keeps out of the group.
    pub distrusted: bool,
}

/// A member of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRecord {
    /// The user.
    pub user: UserId,
    /// What the user may do.
    pub role: RoleName,
}

/// The messages of the user of this home are never unread.
const CONVERSATION: &str = "SELECT c.id, c.kind, c.epoch, c.created_at, c.name, c.joined, c.active, c.protocol, \
     (SELECT count(*) FROM messages m WHERE m.conversation = c.id AND m.arrival > c.last_read \
      AND m.text IS NOT NULL AND m.sender <> (SELECT unhex(replace(value, '-', '')) FROM settings WHERE name = 'user')), \
     c.policy, c.since_epoch, c.distrusted FROM conversations c";

fn conversation(row: &Row<'_>) -> rusqlite::Result<ConversationRow> {
    Ok(ConversationRow {
        record: ConversationRecord {
            id: uuid(row, 0)?,
            kind: named(row, 1)?,
            epoch: number(row, 2)?,
            protocol: named(row, 7)?,
            created_at: row.get(3)?,
        },
        name: row.get(4)?,
        joined: row.get(5)?,
        active: row.get(6)?,
        unread: number(row, 8)?,
        policy: row.get(9)?,
        since_epoch: number(row, 10)?,
        distrusted: row.get(11)?,
    })
}

impl ReadTx<'_> {
    /// A conversation.
    pub fn conversation(&self, id: ConversationId) -> Result<Option<ConversationRow>, StoreError> {
        first(&self.tx, &format!("{CONVERSATION} WHERE c.id = ?1"), [id.as_uuid()], conversation)
    }

    /// All conversations, the oldest first.
    pub fn conversations(&self) -> Result<Vec<ConversationRow>, StoreError> {
        all(&self.tx, &format!("{CONVERSATION} ORDER BY c.created_at, c.id"), [], conversation)
    }

    /// The conversations that have a group, with the user as a member, without this device in it.
    pub fn conversations_to_join(&self) -> Result<Vec<ConversationId>, StoreError> {
        let sql = "SELECT id FROM conversations WHERE active AND NOT joined AND NOT distrusted AND epoch > 0";
        all(&self.tx, sql, [], |row| uuid(row, 0))
    }

    /// The conversations with this announced name. Those that the user has left count only if there is no other.
    pub fn conversations_named(&self, name: &str) -> Result<Vec<ConversationId>, StoreError> {
        all(
            &self.tx,
            "SELECT id FROM conversations c WHERE name = ?1 AND (active OR NOT EXISTS \
                   (SELECT 1 FROM conversations WHERE name = ?1 AND active))",
            [name],
            |row| uuid(row, 0),
        )
    }

    /// The members of a conversation, ordered by handle.
    pub fn members(&self, id: ConversationId) -> Result<Vec<MemberRecord>, StoreError> {
        let sql = "SELECT m.user, m.role FROM members m LEFT JOIN users u ON u.id = m.user \
                   WHERE m.conversation = ?1 ORDER BY u.handle";
        all(&self.tx, sql, [id.as_uuid()], |row| {
            Ok(MemberRecord { user: uuid(row, 0)?, role: named(row, 1)? })
        })
    }
}

impl WriteTx<'_> {
    /// Writes a conversation of which the user is a member. Its name and what was read of it stay, and its protocol does not
    /// turn back.
    pub fn put_conversation(&mut self, conversation: &ConversationRecord) -> Result<(), StoreError> {
        let sql = "INSERT INTO conversations (id, kind, epoch, protocol, created_at) VALUES (?1, ?2, ?3, ?4, ?5) \
                   ON CONFLICT DO UPDATE SET kind = excluded.kind, epoch = max(epoch, excluded.epoch), active = 1";
        let ConversationRecord { id, kind, epoch, protocol, created_at } = *conversation;
        let epoch = stored(epoch, "an epoch")?;
        execute(&self.tx, sql, (id.as_uuid(), kind.as_str(), epoch, protocol.as_str(), created_at))?;
        self.advance_protocol(id, protocol).map(drop)
    }

    /// Notes the protocol of a conversation, and says whether it is that now. It goes from pairwise over mixed to MLS and never
    /// back, whatever a hub says: whoever sends pairwise again gives up what the group has gained.
    pub fn advance_protocol(&mut self, id: ConversationId, to: Protocol) -> Result<bool, StoreError> {
        let sql = "SELECT protocol FROM conversations WHERE id = ?1";
        let known: Option<Protocol> = first(&self.tx, sql, [id.as_uuid()], |row| named(row, 0))?;
        if known.is_some_and(|known| known < to) {
            let sql = "UPDATE conversations SET protocol = ?2 WHERE id = ?1";
            execute(&self.tx, sql, (id.as_uuid(), to.as_str()))?;
        }
        Ok(known.is_some_and(|known| known <= to))
    }

    /// Gives a conversation a name. One that is known stays, unless `replace`.
    pub fn set_name(&mut self, id: ConversationId, name: &str, replace: bool) -> Result<(), StoreError> {
        let sql = "UPDATE conversations SET name = ?2 WHERE id = ?1 AND kind IN ('group', 'channel') AND (name IS NULL OR ?3)";
        execute(&self.tx, sql, (id.as_uuid(), name, replace)).map(drop)
    }

    /// Notes that the hub's group has reached this epoch.
    pub fn set_epoch(&mut self, id: ConversationId, epoch: u64) -> Result<(), StoreError> {
        let sql = "UPDATE conversations SET epoch = max(epoch, ?2) WHERE id = ?1";
        execute(&self.tx, sql, (id.as_uuid(), stored(epoch, "an epoch")?)).map(drop)
    }

    /// Notes whether this device is in the group.
    pub fn set_joined(&mut self, id: ConversationId, joined: bool) -> Result<(), StoreError> {
        execute(&self.tx, "UPDATE conversations SET joined = ?2 WHERE id = ?1", (id.as_uuid(), joined))
            .map(drop)
    }

    /// Notes the policy of the group that this device is in.
    pub fn set_policy(&mut self, id: ConversationId, policy: Option<&[u8]>) -> Result<(), StoreError> {
        let sql = "UPDATE conversations SET policy = ?2 WHERE id = ?1 AND policy IS NOT ?2";
        execute(&self.tx, sql, (id.as_uuid(), policy)).map(drop)
    }

    /// Notes the epoch with which this device came into the group.
    pub fn set_since_epoch(&mut self, id: ConversationId, epoch: u64) -> Result<(), StoreError> {
        let sql = "UPDATE conversations SET since_epoch = ?2 WHERE id = ?1";
        execute(&self.tx, sql, (id.as_uuid(), stored(epoch, "an epoch")?)).map(drop)
    }

    /// Notes whether the user is a member. A device of a user who is not is in no group either.
    pub fn set_active(&mut self, id: ConversationId, active: bool) -> Result<(), StoreError> {
        let sql = "UPDATE conversations SET active = ?2, joined = joined AND ?2 WHERE id = ?1";
        execute(&self.tx, sql, (id.as_uuid(), active)).map(drop)
    }

    /// Marks a conversation as read up to the message with this number.
    pub fn mark_read(&mut self, id: ConversationId, up_to: Sequence) -> Result<(), StoreError> {
        let sql = "UPDATE conversations SET last_read = max(last_read, coalesce( \
                   (SELECT max(arrival) FROM messages WHERE conversation = ?1 AND sequence <= ?2), 0)) WHERE id = ?1";
        execute(&self.tx, sql, (id.as_uuid(), to_sql(up_to.get()))).map(drop)
    }

    /// Writes a member.
    pub fn put_member(&mut self, id: ConversationId, member: &MemberRecord) -> Result<(), StoreError> {
        // A conversation that is not here has no members here.
        let sql = "INSERT INTO members (conversation, user, role) \
                   SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM conversations WHERE id = ?1) \
                   ON CONFLICT DO UPDATE SET role = excluded.role";
        execute(&self.tx, sql, (id.as_uuid(), member.user.as_uuid(), member.role.as_str())).map(drop)
    }

    /// Takes a member out.
    pub fn remove_member(&mut self, id: ConversationId, user: UserId) -> Result<(), StoreError> {
        let sql = "DELETE FROM members WHERE conversation = ?1 AND user = ?2";
        execute(&self.tx, sql, (id.as_uuid(), user.as_uuid())).map(drop)
    }

    /// Makes these the members.
    pub fn replace_members(
        &mut self,
        id: ConversationId,
        members: &[MemberRecord],
    ) -> Result<(), StoreError> {
        execute(&self.tx, "DELETE FROM members WHERE conversation = ?1", [id.as_uuid()])?;
        members.iter().try_for_each(|member| self.put_member(id, member))
    }
}
