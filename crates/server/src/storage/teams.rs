//! Teams, their members and invitations.

use super::sql::{self, Connection, OptionalExtension as _, Row, params};
use super::{RowExt as _, Sql, WriteTx};
use crate::error::ApiError;
use std::collections::BTreeMap;
use tertulia_api::team::{Team, TeamMember};
use tertulia_domain::{
    ConversationId, DisplayName, RoleName, TeamId, UserId, role::ActionSet, succession::Remaining,
    team::TeamRole,
};

/// SHA-256 of an invitation's code.
pub(crate) type CodeHash = [u8; 32];

/// Makes a team without members.
pub(crate) fn create(tx: &WriteTx<'_>, team: TeamId, name: &DisplayName, now: i64) -> Result<(), ApiError> {
    tx.prepare_cached("INSERT INTO teams (id, name, created_at) VALUES (?1, ?2, ?3)")?.execute(params![
        Sql(team),
        name.as_str(),
        now
    ])?;
    Ok(())
}

/// Deletes a team that nobody is in.
pub(crate) fn delete(tx: &WriteTx<'_>, team: TeamId) -> Result<(), ApiError> {
    for sql in [
        "UPDATE conversations SET team = NULL WHERE team = ?1",
        "DELETE FROM team_invitations WHERE team = ?1",
        "DELETE FROM team_roles WHERE team = ?1",
        "DELETE FROM teams WHERE id = ?1",
    ] {
        tx.prepare_cached(sql)?.execute([Sql(team)])?;
    }
    Ok(())
}

/// The team of a user, and the user's role in it.
pub(crate) fn of(connection: &Connection, user: UserId) -> Result<Option<(TeamId, TeamRole)>, ApiError> {
    let found = connection
        .prepare_cached("SELECT team, role FROM team_members WHERE user_id = ?1")?
        .query_row([Sql(user)], |row| Ok((row.domain(0)?, row.domain(1)?)))
        .optional()?;
    Ok(found)
}

/// The team of a user as the user sees it.
pub(crate) fn show(connection: &Connection, user: UserId) -> Result<Option<Team>, ApiError> {
    let found = connection
        .prepare_cached(
            "SELECT t.id, t.name, m.role, t.created_at FROM team_members m JOIN teams t ON t.id = m.team
             WHERE m.user_id = ?1",
        )?
        .query_row([Sql(user)], |row| {
            Ok(Team {
                team: row.domain(0)?,
                name: row.get(1)?,
                role: row.domain(2)?,
                created_at: row.get(3)?,
            })
        })
        .optional()?;
    Ok(found)
}

/// Whether two different users are in one team.
pub(crate) fn same(connection: &Connection, a: UserId, b: UserId) -> Result<bool, ApiError> {
    Ok(connection
        .prepare_cached(
            "SELECT 1 FROM team_members x JOIN team_members y ON y.team = x.team
             WHERE x.user_id = ?1 AND y.user_id = ?2 AND x.user_id <> y.user_id",
        )?
        .exists(params![Sql(a), Sql(b)])?)
}

/// Puts a user who is in no team into one.
pub(crate) fn insert_member(
    tx: &WriteTx<'_>,
    team: TeamId,
    user: UserId,
    role: TeamRole,
    now: i64,
) -> Result<(), ApiError> {
    let joined = tx.next_position();
    tx.prepare_cached(
        "INSERT INTO team_members (user_id, team, role, joined, joined_at) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![Sql(user), Sql(team), Sql(role), joined, now])?;
    Ok(())
}

/// Takes a user out of their team.
pub(crate) fn remove_member(tx: &WriteTx<'_>, user: UserId) -> Result<(), ApiError> {
    tx.prepare_cached("DELETE FROM team_members WHERE user_id = ?1")?.execute([Sql(user)])?;
    Ok(())
}

/// Changes a member's role.
pub(crate) fn set_role(tx: &WriteTx<'_>, user: UserId, role: TeamRole) -> Result<(), ApiError> {
    tx.prepare_cached("UPDATE team_members SET role = ?2 WHERE user_id = ?1")?
        .execute(params![Sql(user), Sql(role)])?;
    Ok(())
}

const MEMBER: &str = "SELECT m.user_id, u.handle, m.role, m.joined_at, u.kind FROM team_members m JOIN users u ON u.id = m.user_id";

/// The members, in the order in which they joined.
pub(crate) fn members(connection: &Connection, team: TeamId) -> Result<Vec<TeamMember>, ApiError> {
    let mut statement =
        connection.prepare_cached(&format!("{MEMBER} WHERE m.team = ?1 ORDER BY m.joined, m.user_id"))?;
    let members = statement.query_map([Sql(team)], member)?;
    Ok(members.collect::<Result<_, _>>()?)
}

/// One member.
pub(crate) fn member_of(
    connection: &Connection,
    team: TeamId,
    user: UserId,
) -> Result<Option<TeamMember>, ApiError> {
    let found = connection
        .prepare_cached(&format!("{MEMBER} WHERE m.team = ?1 AND m.user_id = ?2"))?
        .query_row(params![Sql(team), Sql(user)], member)
        .optional()?;
    Ok(found)
}

fn member(row: &Row<'_>) -> sql::Result<TeamMember> {
    Ok(TeamMember {
        user: row.domain(0)?,
        handle: row.get(1)?,
        role: row.domain(2)?,
        joined_at: row.get(3)?,
        kind: row.domain(4)?,
    })
}

/// The members as [`Remaining`] ranks them.
pub(crate) fn remaining(connection: &Connection, team: TeamId) -> Result<Vec<Remaining>, ApiError> {
    let mut statement =
        connection.prepare_cached("SELECT user_id, role, joined FROM team_members WHERE team = ?1")?;
    let members = statement.query_map([Sql(team)], |row| {
        let rank = row.domain::<TeamRole>(1)?.rank();
        Ok(Remaining { user: row.domain(0)?, rank, joined: row.get(2)? })
    })?;
    Ok(members.collect::<Result<_, _>>()?)
}

/// Stores an invitation. Those of the team that have expired are forgotten.
pub(crate) fn invite(
    tx: &WriteTx<'_>,
    team: TeamId,
    code: &CodeHash,
    expires_at: i64,
    now: i64,
) -> Result<(), ApiError> {
    tx.prepare_cached("DELETE FROM team_invitations WHERE team = ?1 AND expires_at <= ?2")?
        .execute(params![Sql(team), now])?;
    tx.prepare_cached("INSERT INTO team_invitations (code_hash, team, expires_at) VALUES (?1, ?2, ?3)")?
        .execute(params![code, Sql(team), expires_at])?;
    Ok(())
}

/// How many invitations of the team can be accepted.
pub(crate) fn open_invitations(connection: &Connection, team: TeamId, now: i64) -> Result<usize, ApiError> {
    let count: i64 = connection
        .prepare_cached("SELECT count(*) FROM team_invitations WHERE team = ?1 AND expires_at > ?2")?
        .query_row(params![Sql(team), now], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// Uses an invitation up: the team that it is to. None if there is no such invitation, or not any more.
pub(crate) fn accept(tx: &WriteTx<'_>, code: &CodeHash, now: i64) -> Result<Option<TeamId>, ApiError> {
    let team = tx
        .prepare_cached(
            "DELETE FROM team_invitations WHERE code_hash = ?1 AND expires_at > ?2 RETURNING team",
        )?
        .query_row(params![code, now], |row| row.domain(0))
        .optional()?;
    Ok(team)
}

/// The team of a conversation.
pub(crate) fn of_conversation(
    connection: &Connection,
    conversation: ConversationId,
) -> Result<Option<TeamId>, ApiError> {
    let team = connection
        .prepare_cached("SELECT team FROM conversations WHERE id = ?1")?
        .query_row([Sql(conversation)], |row| row.optional(0))
        .optional()?;
    Ok(team.flatten())
}

/// The roles that a team defines for its conversations.
pub(crate) fn roles(
    connection: &Connection,
    team: TeamId,
) -> Result<BTreeMap<RoleName, ActionSet>, ApiError> {
    let mut statement = connection.prepare_cached("SELECT name, actions FROM team_roles WHERE team = ?1")?;
    let roles = statement.query_map([Sql(team)], |row| {
        let actions = ActionSet::from_bits(row.get(1)?).unwrap_or(ActionSet::NONE);
        Ok((row.domain(0)?, actions))
    })?;
    Ok(roles.collect::<Result<_, _>>()?)
}

/// Stores a role that the team has not defined yet.
pub(crate) fn define_role(
    tx: &WriteTx<'_>,
    team: TeamId,
    name: &RoleName,
    actions: ActionSet,
) -> Result<(), ApiError> {
    tx.prepare_cached("INSERT INTO team_roles (team, name, actions) VALUES (?1, ?2, ?3)")?
        .execute(params![Sql(team), name.as_str(), actions.bits()])?;
    Ok(())
}

/// Deletes a role. `false` if there is none of this name.
pub(crate) fn delete_role(tx: &WriteTx<'_>, team: TeamId, name: &RoleName) -> Result<bool, ApiError> {
    let deleted = tx
        .prepare_cached("DELETE FROM team_roles WHERE team = ?1 AND name = ?2")?
        .execute(params![Sql(team), name.as_str()])?;
    Ok(deleted == 1)
}

/// Whether a conversation of the team uses the role.
pub(crate) fn is_role_used(connection: &Connection, team: TeamId, name: &RoleName) -> Result<bool, ApiError> {
    Ok(connection
        .prepare_cached(
            "SELECT 1 FROM conversation_roles r JOIN conversations c ON c.id = r.conversation
             WHERE c.team = ?1 AND r.name = ?2 AND c.ended_at IS NULL AND (c.protocol <> 'pairwise' OR EXISTS (
                 SELECT 1 FROM members m
                 WHERE m.conversation = c.id AND m.role = r.name AND m.left_position IS NULL))",
        )?
        .exists(params![Sql(team), name.as_str()])?)
}
