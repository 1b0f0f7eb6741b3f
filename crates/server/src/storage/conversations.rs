//! Conversations and who is in them.
//!
//! Membership is kept as intervals of positions, since it decides which entries of the log a user may see.

use super::{
    Position, RowExt as _, Sql, WriteTx, backup, connections,
    events::append_user_event,
    groups, joins,
    log::{self, Entry, Kind},
    roles, settings, teams,
};
use crate::error::ApiError;
use std::collections::BTreeSet;

use super::sql::{self, Connection, OptionalExtension as _, Row, params};
use rusqlite::ToSql;
use tertulia_api::{
    UserDevice,
    conversation::{Conversation, Member, SubconversationAddress},
    event::{EventBody, LogEntry},
    setting::Settings,
};
use tertulia_domain::{
    ConversationId, ConversationType, GroupId, Handshake, Protocol, Role, RoleName, TeamId, UserId, access,
    connection::Status,
    permission::{Membership, Roster},
    succession::Remaining,
};

/// A conversation, as its delivery sees it, and the role of the one member who asked.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) kind: ConversationType,
    pub(crate) protocol: Protocol,
    /// Of a subconversation that of its parent.
    pub(crate) handshake: Handshake,
    pub(crate) group_id: Vec<u8>,
    pub(crate) epoch: u64,
    /// Of a subconversation the role in its parent.
    pub(crate) role: Role,
    /// Of a subconversation its parent.
    pub(crate) parent: Option<ConversationId>,
}

impl Access {
    /// Whether the conversation's present group took the place of this one.
    pub(crate) fn is_after(&self, earlier: GroupId) -> bool {
        GroupId::from_bytes(&self.group_id).is_some_and(|now| {
            now.conversation == earlier.conversation && now.generation > earlier.generation
        })
    }

    /// Whether there was a first commit, be it in the present group or in one before it.
    pub(crate) fn has_begun(&self) -> bool {
        let is_later = |group: GroupId| group.generation > 0;
        self.epoch > 0 || GroupId::from_bytes(&self.group_id).is_some_and(is_later)
    }

    /// The facts that the domain's checks begin with.
    pub(crate) fn membership(&self) -> Membership {
        Membership { conversation_type: self.kind, role: self.role.clone() }
    }
}

/// Creates the 1:1 of two users, of type `connection` and with nobody in it. One that is there already stays as it is.
pub(crate) fn create_one_to_one(
    tx: &WriteTx<'_>,
    id: ConversationId,
    creator: UserId,
    now: i64,
) -> Result<(), ApiError> {
    insert(tx, id, ConversationType::Connection, Protocol::Mls, creator, now).map(|_| ())
}

/// Creates a group or channel with its creator as admin. `false` if the id is taken.
pub(crate) fn create_managed(
    tx: &WriteTx<'_>,
    id: ConversationId,
    (kind, protocol, handshake): (ConversationType, Protocol, Handshake),
    creator: UserId,
    team: Option<TeamId>,
    now: i64,
) -> Result<bool, ApiError> {
    let created = insert(tx, id, kind, protocol, creator, now)?;
    if created {
        tx.prepare_cached("UPDATE conversations SET team = ?2, handshake = ?3 WHERE id = ?1")?
            .execute(params![Sql(id), team.map(Sql), Sql(handshake)])?;
        joins::set_access(tx, id, &access::Access::of_new(team.is_some()))?;
        join(tx, id, creator, &RoleName::ADMIN, now)?;
    }
    Ok(created)
}

/// Creates the conversation of a user with themselves, unless it is there.
pub(crate) fn create_self(tx: &WriteTx<'_>, user: UserId, now: i64) -> Result<(), ApiError> {
    let id = ConversationId::self_of(user);
    if insert(tx, id, ConversationType::SelfConversation, Protocol::Mls, user, now)? {
        join(tx, id, user, &RoleName::ADMIN, now)?;
        // The user's devices may be in one from before a restore.
        if let Some(restore) = backup::last_restore(tx)? {
            let group = backup::first_after(restore, id);
            groups::begin_anew(tx, group, None)?;
            let body = group.to_bytes();
            let entry = Entry { sent_at: now, body: Some(&body), ..Entry::default() };
            log::append(tx, id, Kind::Reset, &entry)?;
        }
    }
    Ok(())
}

fn insert(
    tx: &WriteTx<'_>,
    id: ConversationId,
    kind: ConversationType,
    protocol: Protocol,
    creator: UserId,
    now: i64,
) -> Result<bool, ApiError> {
    // The group's id is at first that of the conversation.
    let inserted = tx
        .prepare_cached(
            "INSERT INTO conversations (id, type, protocol, creator, created_at, group_id, last_sequence)
             VALUES (?1, ?2, ?3, ?4, ?5, ?1, ?6) ON CONFLICT (id) DO NOTHING",
        )?
        .execute(params![
            Sql(id),
            Sql(kind),
            Sql(protocol),
            Sql(creator),
            now,
            backup::last_restore(tx)?.unwrap_or_default(),
        ])?;
    Ok(inserted == 1)
}

/// Puts a user into a conversation, from here on in its log, and tells the user's devices. Nobody else is told. Nothing
/// happens if the user is in it already.
pub(crate) fn join(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
    user: UserId,
    role: &RoleName,
    now: i64,
) -> Result<(), ApiError> {
    if find(tx, conversation, user)?.is_some() {
        return Ok(());
    }
    // Not an entry of the log, where the others would see that there is one: it stands behind the last entry.
    let sequence: i64 = tx
        .prepare_cached("SELECT last_sequence FROM conversations WHERE id = ?1")?
        .query_row([Sql(conversation)], |row| row.get(0))?;
    let entry = LogEntry { conversation, sequence: sequence.cast_unsigned(), sent_at: now, sender: None };
    let position = append_user_event(tx, user, &EventBody::ConversationJoined { entry })?;
    insert_member(tx, conversation, user, role, position)
}

/// Puts a user into a conversation who sees its log from `position` on, without telling anybody.
pub(crate) fn insert_member(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
    user: UserId,
    role: &RoleName,
    position: Position,
) -> Result<(), ApiError> {
    tx.prepare_cached(
        "INSERT INTO members (conversation, user_id, role, joined_position) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![Sql(conversation), Sql(user), role.as_str(), position])?;
    tx.wake(user); // who follows it from now on
    joins::forget_request(tx, conversation, user)?;
    Ok(())
}

/// Takes a user out of a conversation without telling anybody. Nothing happens if the user is not in it.
pub(crate) fn leave_silently(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
    user: UserId,
) -> Result<(), ApiError> {
    end_member(tx, conversation, user, tx.last_position())
}

/// Takes a user out of a conversation, who sees its log up to `position`.
pub(crate) fn end_member(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
    user: UserId,
    position: Position,
) -> Result<(), ApiError> {
    tx.prepare_cached(
        "UPDATE members SET left_position = ?3 WHERE conversation = ?1 AND user_id = ?2 AND left_position IS NULL",
    )?
    .execute(params![Sql(conversation), Sql(user), position])?;
    tx.wake(user); // who follows it no more
    roles::forget_unused_roles(tx, conversation)
}

/// Takes everybody out of a conversation, who see its log up to `position`.
pub(crate) fn end_members(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
    position: Position,
) -> Result<(), ApiError> {
    let members = member_ids(tx, conversation)?;
    tx.prepare_cached(
        "UPDATE members SET left_position = ?2 WHERE conversation = ?1 AND left_position IS NULL",
    )?
    .execute(params![Sql(conversation), position])?;
    for user in members {
        tx.wake(user); // who follows it no more
    }
    Ok(())
}

/// Changes the type of a conversation.
pub(crate) fn set_type(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
    kind: ConversationType,
) -> Result<(), ApiError> {
    tx.prepare_cached("UPDATE conversations SET type = ?2 WHERE id = ?1")?
        .execute(params![Sql(conversation), Sql(kind)])?;
    Ok(())
}

/// Changes the protocol of a conversation.
pub(crate) fn set_protocol(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
    protocol: Protocol,
) -> Result<(), ApiError> {
    tx.prepare_cached("UPDATE conversations SET protocol = ?2 WHERE id = ?1")?
        .execute(params![Sql(conversation), Sql(protocol)])?;
    Ok(())
}

/// The conversation, if there is one and the user is in it.
pub(crate) fn find(
    connection: &Connection,
    conversation: ConversationId,
    user: UserId,
) -> Result<Option<Access>, ApiError> {
    Ok(find_each(connection, &[(conversation, user)])?.pop().flatten())
}

/// The conversations, where there are any and the users are in them.
pub(crate) fn find_each(
    connection: &Connection,
    asked: &[(ConversationId, UserId)],
) -> Result<Vec<Option<Access>>, ApiError> {
    let keys: Vec<_> = asked.iter().map(|&(conversation, user)| (Sql(conversation), Sql(user))).collect();
    let found = connection
        .prepare_cached(
            "SELECT c.type, c.group_id, c.epoch, m.role, r.actions, c.protocol, c.sub_of,
                    (SELECT h.handshake FROM conversations h WHERE h.id = m.conversation)
             FROM conversations c
             JOIN members m ON m.conversation = coalesce(c.sub_of, c.id) AND m.user_id = ?2
                           AND m.left_position IS NULL
             LEFT JOIN conversation_roles r ON r.conversation = m.conversation AND r.name = m.role
             WHERE c.id = ?1",
        )?
        .query_each(keys.iter().map(|(conversation, user)| [conversation as &dyn ToSql, user]), |row| {
            Ok(Access {
                kind: row.domain(0)?,
                group_id: row.get(1)?,
                epoch: row.get::<i64>(2)?.cast_unsigned(),
                role: roles::role(row, 3)?,
                protocol: row.domain(5)?,
                parent: row.optional(6)?,
                handshake: row.domain(7)?,
            })
        })?;
    Ok(found)
}

/// The user's own status in the connection that a 1:1 belongs to. What the other's is, is not asked: it must not show.
pub(crate) fn own_status(
    connection: &Connection,
    one_to_one: ConversationId,
    user: UserId,
) -> Result<Option<Status>, ApiError> {
    let status = connection
        .prepare_cached("SELECT status FROM connections WHERE conversation = ?1 AND user_id = ?2")?
        .query_row(params![Sql(one_to_one), Sql(user)], |row| row.domain(0))
        .optional()?;
    Ok(status)
}

/// The other user of a 1:1: by the connection that it belongs to or, without one, as in a team, by who was ever in it.
pub(crate) fn other_user(
    connection: &Connection,
    one_to_one: ConversationId,
    user: UserId,
) -> Result<Option<UserId>, ApiError> {
    let other = connection
        .prepare_cached(
            "SELECT other FROM connections WHERE conversation = ?1 AND user_id = ?2
             UNION SELECT user_id FROM members WHERE conversation = ?1 AND user_id <> ?2 LIMIT 1",
        )?
        .query_row(params![Sql(one_to_one), Sql(user)], |row| row.domain(0))
        .optional()?;
    Ok(other)
}

/// Whether both users' rows are `accepted`, or they are in one team.
pub(crate) fn are_connected(connection: &Connection, a: UserId, b: UserId) -> Result<bool, ApiError> {
    if teams::same(connection, a, b)? {
        return Ok(true);
    }
    let status = |user, other| connections::status(connection, user, other);
    Ok(tertulia_domain::connection::connected(status(a, b)?, status(b, a)?))
}

/// How many members and admins there are now.
pub(crate) fn roster(connection: &Connection, conversation: ConversationId) -> Result<Roster, ApiError> {
    let (members, admins): (i64, i64) = connection
        .prepare_cached(
            "SELECT count(*), count(*) FILTER (WHERE role = ?2) FROM members
             WHERE conversation = ?1 AND left_position IS NULL",
        )?
        .query_row(params![Sql(conversation), Sql(RoleName::ADMIN)], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Roster {
        members: usize::try_from(members).unwrap_or(usize::MAX),
        admins: usize::try_from(admins).unwrap_or(usize::MAX),
    })
}

/// The current members, by their ids alone.
pub(crate) fn member_ids(
    connection: &Connection,
    conversation: ConversationId,
) -> Result<Vec<UserId>, ApiError> {
    let mut statement = connection
        .prepare_cached("SELECT user_id FROM members WHERE conversation = ?1 AND left_position IS NULL")?;
    let users = statement.query_map([Sql(conversation)], |row| row.domain(0))?;
    Ok(users.collect::<Result<_, _>>()?)
}

/// What a device reads the log of: its user's conversations, and the subconversations that it is in.
pub(crate) fn followed(
    connection: &Connection,
    UserDevice { user, device }: UserDevice,
) -> Result<BTreeSet<ConversationId>, ApiError> {
    let mut statement = connection.prepare_cached(
        "SELECT conversation FROM members WHERE user_id = ?1 AND left_position IS NULL
         UNION SELECT conversation FROM sub_devices WHERE user_id = ?1 AND device = ?2 AND left_position IS NULL",
    )?;
    let followed = statement.query_map(params![Sql(user), Sql(device)], |row| row.domain(0))?;
    Ok(followed.collect::<Result<_, _>>()?)
}

/// A conversation as this user sees it, if the user is in it.
pub(crate) fn show(
    connection: &Connection,
    conversation: ConversationId,
    user: UserId,
) -> Result<Option<Conversation>, ApiError> {
    let row = connection
        .prepare_cached(
            "SELECT c.id, c.type, c.group_id, c.epoch, c.created_at, c.protocol, c.sub_of, c.sub_name, c.team,
                    c.access, c.access_roles, c.name,
                    coalesce((SELECT h.handshake FROM conversations h WHERE h.id = c.sub_of), c.handshake),
                    c.creator
             FROM conversations c
             JOIN members m ON m.conversation = coalesce(c.sub_of, c.id) AND m.user_id = ?2
                           AND m.left_position IS NULL
             WHERE c.id = ?1",
        )?
        .query_row(params![Sql(conversation), Sql(user)], without_members)
        .optional()?;
    let Some(conversation) = row else { return Ok(None) };
    let mut roles = if conversation.kind.is_managed() {
        roles::Known::of(connection, conversation.conversation)?
    } else {
        roles::Known::default()
    };
    with_members(connection, conversation, user, &mut roles).map(Some)
}

/// The conversations that this user is in, oldest first. Subconversations are listed by their parents only.
pub(crate) fn list(connection: &Connection, user: UserId) -> Result<Vec<Conversation>, ApiError> {
    let mut statement = connection.prepare_cached(
        "SELECT c.id, c.type, c.group_id, c.epoch, c.created_at, c.protocol, c.sub_of, c.sub_name, c.team,
                    c.access, c.access_roles, c.name,
                    coalesce((SELECT h.handshake FROM conversations h WHERE h.id = c.sub_of), c.handshake),
                    c.creator
         FROM members m
         JOIN conversations c ON c.id = m.conversation
         WHERE m.user_id = ?1 AND m.left_position IS NULL ORDER BY c.created_at, c.id",
    )?;
    let rows = statement.query_map([Sql(user)], without_members)?;
    let mut roles = roles::Known::of_user(connection, user)?;
    rows.map(|row| with_members(connection, row?, user, &mut roles)).collect()
}

fn without_members(row: &Row<'_>) -> sql::Result<Conversation> {
    let kind: ConversationType = row.domain(1)?;
    let access = if kind.is_managed() { Some(joins::read_access(row, 9)?) } else { None };
    let (access, access_roles) =
        access.map(|access| (access.modes().clone(), access.roles().clone())).unwrap_or_default();
    Ok(Conversation {
        conversation: row.domain(0)?,
        kind,
        members: Vec::new(),
        group_id: row.get::<Vec<u8>>(2)?.into(),
        epoch: row.get::<i64>(3)?.cast_unsigned(),
        created_at: row.get(4)?,
        creator: if kind.is_managed() { Some(row.domain(13)?) } else { None },
        protocol: row.domain(5)?,
        subconversation: match (row.optional(6)?, row.optional(7)?) {
            (Some(parent), Some(name)) => Some(SubconversationAddress { parent, name }),
            _ => None,
        },
        team: row.optional(8)?,
        access,
        access_roles,
        name: row.get(11)?,
        roles: Vec::new(),
        handshake: row.domain(12)?,
        settings: Settings::default(),
        parent: None,
    })
}

fn with_members(
    connection: &Connection,
    mut conversation: Conversation,
    viewer: UserId,
    roles: &mut roles::Known,
) -> Result<Conversation, ApiError> {
    // Who was once in a 1:1 is shown in it for good: that somebody blocked the other and so left must not show.
    let sql = if conversation.kind == ConversationType::Subconversation {
        "SELECT DISTINCT d.user_id, u.handle, m.role, u.kind FROM sub_devices d
         JOIN users u ON u.id = d.user_id
         JOIN conversations c ON c.id = d.conversation
         JOIN members m ON m.conversation = c.sub_of AND m.user_id = d.user_id AND m.left_position IS NULL
         WHERE d.conversation = ?1 AND d.left_position IS NULL ORDER BY d.user_id"
    } else if conversation.kind == ConversationType::OneToOne {
        "SELECT m.user_id, u.handle, m.role, u.kind FROM members m
         JOIN users u ON u.id = m.user_id
         JOIN (SELECT user_id, min(joined_position) AS first, max(joined_position) AS last FROM members
               WHERE conversation = ?1 GROUP BY user_id) s ON s.user_id = m.user_id AND s.last = m.joined_position
         WHERE m.conversation = ?1 ORDER BY s.first, m.user_id"
    } else {
        "SELECT m.user_id, u.handle, m.role, u.kind FROM members m JOIN users u ON u.id = m.user_id
         WHERE m.conversation = ?1 AND m.left_position IS NULL ORDER BY m.joined_position, m.user_id"
    };
    let mut statement = connection.prepare_cached(sql)?;
    let members = statement.query_map([Sql(conversation.conversation)], member)?;
    conversation.members = members.collect::<Result<_, _>>()?;
    if conversation.kind.is_managed() {
        conversation.roles = roles.shown(connection, &conversation, viewer)?;
    }
    (conversation.settings, conversation.parent) = settings::show(connection, conversation.conversation)?;
    Ok(conversation)
}

fn member(row: &Row<'_>) -> sql::Result<Member> {
    Ok(Member { user: row.domain(0)?, handle: row.get(1)?, role: row.domain(2)?, kind: row.domain(3)? })
}

/// A user as an entry of the log names them.
pub(crate) fn as_member(connection: &Connection, user: UserId, role: RoleName) -> Result<Member, ApiError> {
    let (handle, kind) = connection
        .prepare_cached("SELECT handle, kind FROM users WHERE id = ?1")?
        .query_row([Sql(user)], |row| Ok((row.get(0)?, row.domain(1)?)))?;
    Ok(Member { user, handle, role, kind })
}

/// The current members but one, in the order of joining, as [`Remaining`] ranks them: admins are 1, others 0.
pub(crate) fn remaining(
    connection: &Connection,
    conversation: ConversationId,
    without: UserId,
) -> Result<Vec<Remaining>, ApiError> {
    let mut statement = connection.prepare_cached(
        "SELECT user_id, role = ?3, joined_position FROM members
         WHERE conversation = ?1 AND user_id <> ?2 AND left_position IS NULL",
    )?;
    let key = params![Sql(conversation), Sql(without), Sql(RoleName::ADMIN)];
    let members = statement.query_map(key, |row| {
        Ok(Remaining { user: row.domain(0)?, rank: row.get(1)?, joined: row.get(2)? })
    })?;
    Ok(members.collect::<Result<_, _>>()?)
}

/// The conversations that a user is in, with their types and epochs.
pub(crate) fn of_user(
    connection: &Connection,
    user: UserId,
) -> Result<Vec<(ConversationId, ConversationType, u64)>, ApiError> {
    let mut statement = connection.prepare_cached(
        "SELECT c.id, c.type, c.epoch FROM members m JOIN conversations c ON c.id = m.conversation
         WHERE m.user_id = ?1 AND m.left_position IS NULL ORDER BY c.created_at, c.id",
    )?;
    let found = statement.query_map([Sql(user)], |row| {
        Ok((row.domain(0)?, row.domain(1)?, row.get::<i64>(2)?.cast_unsigned()))
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// The 1:1s that a user is in or once was.
pub(crate) fn one_to_ones_of(connection: &Connection, user: UserId) -> Result<Vec<ConversationId>, ApiError> {
    let mut statement = connection.prepare_cached(
        "SELECT DISTINCT c.id FROM members m JOIN conversations c ON c.id = m.conversation
         WHERE m.user_id = ?1 AND c.type IN (?2, ?3)",
    )?;
    let kinds = (Sql(ConversationType::Connection), Sql(ConversationType::OneToOne));
    let found = statement.query_map(params![Sql(user), kinds.0, kinds.1], |row| row.domain(0))?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Whether the user is in the conversation or once was.
pub(crate) fn was_in(
    connection: &Connection,
    conversation: ConversationId,
    user: UserId,
) -> Result<bool, ApiError> {
    Ok(connection
        .prepare_cached("SELECT 1 FROM members WHERE conversation = ?1 AND user_id = ?2")?
        .exists(params![Sql(conversation), Sql(user)])?)
}

/// Whether there is a conversation of this id, whoever is in it.
pub(crate) fn exists(connection: &Connection, id: ConversationId) -> Result<bool, ApiError> {
    Ok(connection.prepare_cached("SELECT 1 FROM conversations WHERE id = ?1")?.exists([Sql(id)])?)
}

/// Whether the id is that of a user, whose `self` conversation it names.
pub(crate) fn is_user(connection: &Connection, id: ConversationId) -> Result<bool, ApiError> {
    Ok(connection.prepare_cached("SELECT 1 FROM users WHERE id = ?1")?.exists([Sql(id)])?)
}

/// Whether there is a conversation that both users are in.
pub(crate) fn share_one(connection: &Connection, a: UserId, b: UserId) -> Result<bool, ApiError> {
    let found = connection
        .prepare_cached(
            "SELECT 1 FROM members x
             JOIN members y ON y.conversation = x.conversation AND y.user_id = ?2 AND y.left_position IS NULL
             WHERE x.user_id = ?1 AND x.left_position IS NULL",
        )?
        .exists(params![Sql(a), Sql(b)])?;
    Ok(found)
}
