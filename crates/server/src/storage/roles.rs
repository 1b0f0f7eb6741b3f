//! Who has which role in a conversation, and what the roles allow that are not predefined.

use super::{
    RowExt as _, Sql, WriteTx,
    sql::{self, Connection, OptionalExtension as _, Row, params},
    teams,
};
use crate::error::ApiError;
use std::collections::BTreeMap;
use tertulia_api::{conversation::Conversation, team::ConversationRole};
use tertulia_domain::{
    ConversationId, Protocol, Role, RoleName, TeamId, UserId,
    role::{Action, ActionSet},
};

/// Changes the role of a current member.
pub(crate) fn set_role(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
    user: UserId,
    role: &RoleName,
) -> Result<(), ApiError> {
    tx.prepare_cached(
        "UPDATE members SET role = ?3 WHERE conversation = ?1 AND user_id = ?2 AND left_position IS NULL",
    )?
    .execute(params![Sql(conversation), Sql(user), role.as_str()])?;
    Ok(())
}

/// The role of a current member.
pub(crate) fn role_of(
    connection: &Connection,
    conversation: ConversationId,
    user: UserId,
) -> Result<Option<Role>, ApiError> {
    let role = connection
        .prepare_cached(
            "SELECT m.role, r.actions FROM members m
             LEFT JOIN conversation_roles r ON r.conversation = m.conversation AND r.name = m.role
             WHERE m.conversation = ?1 AND m.user_id = ?2 AND m.left_position IS NULL",
        )?
        .query_row(params![Sql(conversation), Sql(user)], |row| role(row, 0))
        .optional()?;
    Ok(role)
}

/// A role from two columns: its name, and its actions if it is not predefined.
pub(super) fn role(row: &Row<'_>, column: usize) -> sql::Result<Role> {
    let name: RoleName = row.domain(column)?;
    if let Some(role) = Role::predefined(&name) {
        return Ok(role);
    }
    let bits: Option<u16> = row.get(column + 1)?;
    // A role without a definition allows nothing.
    let actions = bits.and_then(ActionSet::from_bits).unwrap_or(ActionSet::NONE);
    Ok(Role::defined(name, actions).unwrap_or(Role::MEMBER))
}

/// Keeps what the roles of a conversation allow that are not predefined.
pub(crate) fn define_roles(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
    roles: &BTreeMap<RoleName, ActionSet>,
) -> Result<(), ApiError> {
    tx.prepare_cached("DELETE FROM conversation_roles WHERE conversation = ?1")?
        .execute([Sql(conversation)])?;
    let mut insert = tx
        .prepare_cached("INSERT INTO conversation_roles (conversation, name, actions) VALUES (?1, ?2, ?3)")?;
    for (name, actions) in roles {
        insert.execute(params![Sql(conversation), name.as_str(), actions.bits()])?;
    }
    Ok(())
}

/// Forgets the roles that nobody has any more, where the hub's record of them is all that there is. Those in the policy of a group
/// go with the commit that takes them out of it.
pub(super) fn forget_unused_roles(tx: &WriteTx<'_>, conversation: ConversationId) -> Result<(), ApiError> {
    tx.prepare_cached(
        "DELETE FROM conversation_roles WHERE conversation = ?1
             AND name NOT IN (SELECT role FROM members WHERE conversation = ?1 AND left_position IS NULL)
             AND EXISTS (SELECT 1 FROM conversations c
                         WHERE c.id = ?1 AND (c.protocol = ?2 OR (c.epoch = 0 AND c.group_id = c.id)))",
    )?
    .execute(params![Sql(conversation), Sql(Protocol::Pairwise)])?;
    Ok(())
}

/// Keeps what a role that a member was given allows, unless it is predefined, and forgets the roles that nobody has any more.
pub(crate) fn keep_role(tx: &WriteTx<'_>, conversation: ConversationId, role: &Role) -> Result<(), ApiError> {
    forget_unused_roles(tx, conversation)?;
    if role.name().is_predefined() {
        return Ok(());
    }
    // While somebody has a role, the team cannot define it otherwise. So what is there under its name, and is not the same, is left
    // over from those who had it before.
    tx.prepare_cached(
        "INSERT INTO conversation_roles (conversation, name, actions) VALUES (?1, ?2, ?3)
         ON CONFLICT (conversation, name) DO UPDATE SET actions = excluded.actions",
    )?
    .execute(params![Sql(conversation), role.name().as_str(), role.actions().bits()])?;
    Ok(())
}

/// The current members with the names of their roles.
pub(crate) fn role_names(
    connection: &Connection,
    conversation: ConversationId,
) -> Result<BTreeMap<UserId, RoleName>, ApiError> {
    let mut statement = connection.prepare_cached(
        "SELECT user_id, role FROM members WHERE conversation = ?1 AND left_position IS NULL",
    )?;
    let members = statement.query_map([Sql(conversation)], |row| Ok((row.domain(0)?, row.domain(1)?)))?;
    Ok(members.collect::<Result<_, _>>()?)
}

/// The current members with their roles, in the order in which they joined.
pub(crate) fn member_roles(
    connection: &Connection,
    conversation: ConversationId,
) -> Result<Vec<(UserId, Role)>, ApiError> {
    let mut statement = connection.prepare_cached(
        "SELECT m.user_id, m.role, r.actions FROM members m
         LEFT JOIN conversation_roles r ON r.conversation = m.conversation AND r.name = m.role
         WHERE m.conversation = ?1 AND m.left_position IS NULL ORDER BY m.joined_position, m.user_id",
    )?;
    let members = statement.query_map([Sql(conversation)], |row| Ok((row.domain(0)?, role(row, 1)?)))?;
    Ok(members.collect::<Result<_, _>>()?)
}

/// What the roles in use in a conversation allow that are not predefined.
pub(crate) fn roles_in_use(
    connection: &Connection,
    conversation: ConversationId,
) -> Result<BTreeMap<RoleName, ActionSet>, ApiError> {
    let mut statement =
        connection.prepare_cached("SELECT name, actions FROM conversation_roles WHERE conversation = ?1")?;
    let roles = statement.query_map([Sql(conversation)], |row| {
        let actions = ActionSet::from_bits(row.get(1)?).unwrap_or(ActionSet::NONE);
        Ok((row.domain(0)?, actions))
    })?;
    Ok(roles.collect::<Result<_, _>>()?)
}

/// The roles that are not predefined, looked up once for all the conversations that are described together.
#[derive(Debug, Default)]
pub(super) struct Known {
    in_use: BTreeMap<ConversationId, BTreeMap<RoleName, ActionSet>>,
    of_teams: BTreeMap<TeamId, BTreeMap<RoleName, ActionSet>>,
}

impl Known {
    /// Those of one conversation.
    pub(super) fn of(connection: &Connection, conversation: ConversationId) -> Result<Self, ApiError> {
        let in_use = BTreeMap::from([(conversation, roles_in_use(connection, conversation)?)]);
        Ok(Self { in_use, ..Self::default() })
    }

    /// Those of all the conversations that a user is in.
    pub(super) fn of_user(connection: &Connection, user: UserId) -> Result<Self, ApiError> {
        let mut statement = connection.prepare_cached(
            "SELECT r.conversation, r.name, r.actions FROM members m
             JOIN conversation_roles r ON r.conversation = m.conversation
             WHERE m.user_id = ?1 AND m.left_position IS NULL",
        )?;
        let rows = statement.query_map([Sql(user)], |row| {
            let actions = ActionSet::from_bits(row.get(2)?).unwrap_or(ActionSet::NONE);
            Ok((row.domain::<ConversationId>(0)?, row.domain::<RoleName>(1)?, actions))
        })?;
        let mut known = Self::default();
        for row in rows {
            let (conversation, name, actions) = row?;
            known.in_use.entry(conversation).or_default().insert(name, actions);
        }
        Ok(known)
    }

    /// The roles that a conversation knows beside the predefined ones, to one of its members: those that are in use in it, which stay
    /// as they are there, and those of its team if the member is one who gives roles.
    pub(super) fn shown(
        &mut self,
        connection: &Connection,
        conversation: &Conversation,
        viewer: UserId,
    ) -> Result<Vec<ConversationRole>, ApiError> {
        let in_use = self.in_use.remove(&conversation.conversation).unwrap_or_default();
        let role = conversation.members.iter().find(|member| member.user == viewer);
        let actions = role.and_then(|member| match Role::predefined(&member.role) {
            Some(role) => Some(role.actions()),
            None => in_use.get(&member.role).copied(),
        });
        let gives = actions.is_some_and(|actions| {
            actions.contains(Action::AddMember) || actions.contains(Action::ModifyOtherMember)
        });
        let mut known = match conversation.team {
            Some(team) if gives => self.of_team(connection, team)?,
            _ => BTreeMap::new(),
        };
        known.extend(in_use);
        Ok(known.into_iter().map(|(name, actions)| ConversationRole { name, actions }).collect())
    }

    fn of_team(
        &mut self,
        connection: &Connection,
        team: TeamId,
    ) -> Result<BTreeMap<RoleName, ActionSet>, ApiError> {
        if let Some(roles) = self.of_teams.get(&team) {
            return Ok(roles.clone());
        }
        let roles = teams::roles(connection, team)?;
        self.of_teams.insert(team, roles.clone());
        Ok(roles)
    }
}
