//! Conversations and their members.

use super::{all, execute, first, named, number, stored, to_sql, uuid};
use crate::{ReadTx, StoreError, WriteTx};
use rusqlite::Row;
use tertulia_domain::{
    ConversationId, ConversationType, Protocol, RoleName, Sequence, SubconversationName, UserId,
};

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
    /// Its name, if one was announced, or of a channel as the hub has it.
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
    /// How often its group was begun anew, as far as this home knows.
    pub generation: u64,
    /// Of a subconversation, what it belongs to and what it is called there.
    pub subconversation: Option<(ConversationId, SubconversationName)>,
}

impl ConversationRow {
    /// Whether it is a 1:1 of which this home knows nothing but that it is there: its protocol is open.
    pub fn is_open(&self) -> bool {
        matches!(self.record.kind, ConversationType::Connection | ConversationType::OneToOne)
            && (self.record.epoch, self.generation, self.joined) == (0, 0, false)
    }
}

/// A conversation whose group was begun anew since the user was last told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResetRow {
    /// The conversation.
    pub conversation: ConversationId,
    /// How often it has happened.
    pub generation: u64,
    /// Who asked for the last one, if the hub said so.
    pub by: Option<UserId>,
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
     c.policy, c.since_epoch, c.distrusted, c.generation, c.sub_of, c.sub_name FROM conversations c";

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
        generation: number(row, 12)?,
        subconversation: match row.get::<_, Option<uuid::Uuid>>(13)? {
            Some(parent) => Some((parent.into(), named(row, 14)?)),
            None => None,
        },
    })
}

impl ReadTx<'_> {
    /// A conversation.
    pub fn conversation(&self, id: ConversationId) -> Result<Option<ConversationRow>, StoreError> {
        first(&self.tx, &format!("{CONVERSATION} WHERE c.id = ?1"), [id.as_uuid()], conversation)
    }

    /// All conversations, the oldest first, save those whose messages another shows.
    pub fn conversations(&self) -> Result<Vec<ConversationRow>, StoreError> {
        let sql = format!(
            "{CONVERSATION} WHERE NOT EXISTS \
             (SELECT 1 FROM enveloped e WHERE e.conversation = c.id AND e.continues IS NOT NULL) \
             ORDER BY c.created_at, c.id"
        );
        all(&self.tx, &sql, [], conversation)
    }

    /// The conversations that have a group, with the user as a member, without this device in it.
    pub fn conversations_to_join(&self) -> Result<Vec<ConversationId>, StoreError> {
        // A conversation comes before its subconversations, which only its group's devices can join.
        let sql = "SELECT id FROM conversations WHERE active AND NOT joined AND NOT distrusted AND epoch > 0 \
                   ORDER BY sub_of IS NOT NULL";
        all(&self.tx, sql, [], |row| uuid(row, 0))
    }

    /// The conversations whose group this device is in, each with the number of its group.
    pub fn joined_groups(&self) -> Result<Vec<(ConversationId, u64)>, StoreError> {
        let sql = "SELECT id, generation FROM conversations WHERE active AND joined";
        all(&self.tx, sql, [], |row| Ok((uuid(row, 0)?, number(row, 1)?)))
    }

    /// How often the conversation's group was begun anew; 0 for a conversation that is not here.
    pub fn generation(&self, id: ConversationId) -> Result<u64, StoreError> {
        let sql = "SELECT generation FROM conversations WHERE id = ?1";
        Ok(first(&self.tx, sql, [id.as_uuid()], |row| number(row, 0))?.unwrap_or_default())
    }

    /// The resets that the user was not told of.
    pub fn untold_resets(&self) -> Result<Vec<ResetRow>, StoreError> {
        let sql = "SELECT id, generation, reset_by FROM conversations WHERE generation > told_generation ORDER BY id";
        all(&self.tx, sql, [], |row| {
            Ok(ResetRow {
                conversation: uuid(row, 0)?,
                generation: number(row, 1)?,
                by: row.get::<_, Option<uuid::Uuid>>(2)?.map(Into::into),
            })
        })
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
    /// Writes a conversation of which the user is a member, and says whether it was not here before. Its name, its group and
    /// what was read of it stay, its protocol does not turn back, and it is of the type that it was: only of a 1:1 the type
    /// follows the connection.
    pub fn put_conversation(&mut self, conversation: &ConversationRecord) -> Result<bool, StoreError> {
        let sql = "INSERT INTO conversations (id, kind, epoch, protocol, created_at) VALUES (?1, ?2, ?3, ?4, ?5) \
                   ON CONFLICT DO UPDATE SET epoch = max(epoch, excluded.epoch), active = 1, \
                   kind = iif(kind IN ('connection', 'one_to_one') AND excluded.kind IN ('connection', 'one_to_one'), \
                              excluded.kind, kind)";
        let ConversationRecord { id, kind, epoch, protocol, created_at } = *conversation;
        let epoch = stored(epoch, "an epoch")?;
        let known = first(&self.tx, "SELECT 1 FROM conversations WHERE id = ?1", [id.as_uuid()], |_| Ok(()))?;
        self.choose_protocol(id, protocol)?;
        execute(&self.tx, sql, (id.as_uuid(), kind.as_str(), epoch, protocol.as_str(), created_at))?;
        self.advance_protocol(id, protocol)?;
        Ok(known.is_none())
    }

    /// Notes the protocol of a 1:1 that was on MLS only because nobody had chosen otherwise: [`ConversationRow::is_open`].
    /// Nothing happens to any other conversation.
    pub fn choose_protocol(&mut self, id: ConversationId, to: Protocol) -> Result<(), StoreError> {
        let sql = "UPDATE conversations SET protocol = ?2 WHERE id = ?1 AND protocol = 'mls' AND epoch = 0 \
                   AND generation = 0 AND NOT joined AND kind IN ('connection', 'one_to_one')";
        execute(&self.tx, sql, (id.as_uuid(), to.as_str())).map(drop)
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

    /// Gives a group the name that a message announced. One that is known stays, unless `replace`. Nothing else has a name
    /// that messages announce.
    pub fn set_name(&mut self, id: ConversationId, name: &str, replace: bool) -> Result<(), StoreError> {
        let sql =
            "UPDATE conversations SET name = ?2 WHERE id = ?1 AND kind = 'group' AND (name IS NULL OR ?3)";
        execute(&self.tx, sql, (id.as_uuid(), name, replace)).map(drop)
    }

    /// Gives a channel the name that the hub has for it. Nothing else has a name that the hub knows.
    pub fn set_public_name(&mut self, id: ConversationId, name: &str) -> Result<(), StoreError> {
        let sql = "UPDATE conversations SET name = ?2 WHERE id = ?1 AND kind = 'channel'";
        execute(&self.tx, sql, (id.as_uuid(), name)).map(drop)
    }

    /// Notes that the hub's group has reached this epoch.
    pub fn set_epoch(&mut self, id: ConversationId, epoch: u64) -> Result<(), StoreError> {
        let sql = "UPDATE conversations SET epoch = max(epoch, ?2) WHERE id = ?1";
        execute(&self.tx, sql, (id.as_uuid(), stored(epoch, "an epoch")?)).map(drop)
    }

    /// Notes which group carries a conversation that was not here before, or that this device was not in. That it was begun
    /// anew before that is no news. It never goes back to an earlier group.
    pub fn set_first_generation(&mut self, id: ConversationId, generation: u64) -> Result<(), StoreError> {
        let sql = "UPDATE conversations SET generation = ?2, told_generation = ?2, \
                   epoch = iif(generation = ?2, epoch, 0), since_epoch = iif(generation = ?2, since_epoch, 0) \
                   WHERE id = ?1 AND generation <= ?2";
        execute(&self.tx, sql, (id.as_uuid(), stored(generation, "a generation")?)).map(drop)
    }

    /// Notes that the conversation's group was begun anew: it is at epoch 0, and this device is not in it.
    pub fn reset_group(
        &mut self,
        id: ConversationId,
        generation: u64,
        by: Option<UserId>,
    ) -> Result<(), StoreError> {
        // The epochs of the old group have nothing to do with those of the new one.
        execute(&self.tx, "DELETE FROM epochs WHERE conversation = ?1", [id.as_uuid()])?;
        let sql = "UPDATE conversations SET generation = ?2, reset_by = ?3, epoch = 0, since_epoch = 0, joined = 0, \
                   history_since = 0 WHERE id = ?1 AND generation < ?2";
        let by = by.map(|user| user.as_uuid());
        execute(&self.tx, sql, (id.as_uuid(), stored(generation, "a generation")?, by)).map(drop)
    }

    /// Notes that the user was told of a conversation's resets up to this one.
    pub fn set_resets_told(&mut self, id: ConversationId, generation: u64) -> Result<(), StoreError> {
        let sql = "UPDATE conversations SET told_generation = max(told_generation, ?2) WHERE id = ?1";
        execute(&self.tx, sql, (id.as_uuid(), stored(generation, "a generation")?)).map(drop)
    }

    /// Notes what a subconversation belongs to.
    pub fn set_parent(
        &mut self,
        id: ConversationId,
        parent: ConversationId,
        name: &SubconversationName,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE conversations SET sub_of = ?2, sub_name = ?3 WHERE id = ?1";
        execute(&self.tx, sql, (id.as_uuid(), parent.as_uuid(), name.as_str())).map(drop)
    }

    /// Notes that this device is in none of a conversation's subconversations, for it is not in the conversation's group.
    /// It joins them again when it is, unless `ended`.
    pub fn part_subconversations(&mut self, parent: ConversationId, ended: bool) -> Result<(), StoreError> {
        let sql = "UPDATE conversations SET joined = 0, active = active AND NOT ?2 WHERE sub_of = ?1";
        execute(&self.tx, sql, (parent.as_uuid(), ended)).map(drop)
    }

    /// Removes a conversation in which nothing was ever said and nothing waits to be; ends any other.
    pub fn remove_or_end(&mut self, id: ConversationId) -> Result<(), StoreError> {
        let sql = "DELETE FROM conversations WHERE id = ?1
             AND NOT EXISTS (SELECT 1 FROM messages WHERE conversation = ?1)
             AND NOT EXISTS (SELECT 1 FROM outbox WHERE conversation = ?1)";
        execute(&self.tx, sql, [id.as_uuid()])?;
        self.set_active(id, false)
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

    /// Notes of which type a conversation is, by its policy, which the hub has no part in. The name that the hub gave to what it
    /// called a channel goes with the type.
    pub fn set_kind(&mut self, id: ConversationId, kind: ConversationType) -> Result<(), StoreError> {
        let sql = "UPDATE conversations SET kind = ?2, name = NULL WHERE id = ?1 AND kind <> ?2";
        execute(&self.tx, sql, (id.as_uuid(), kind.as_str())).map(drop)
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
