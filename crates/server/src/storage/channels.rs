//! Channels: the conversations whose names the hub knows, for all of a team to see.

use super::sql::{Connection, params};
use super::{RowExt as _, Sql, WriteTx};
use crate::error::ApiError;
use tertulia_api::team::Channel;
use tertulia_domain::{ConversationId, ConversationName, ConversationType, TeamId};

/// Gives a channel a name.
pub(crate) fn set_name(
    tx: &WriteTx<'_>,
    channel: ConversationId,
    name: &ConversationName,
) -> Result<(), ApiError> {
    tx.prepare_cached("UPDATE conversations SET name = ?2 WHERE id = ?1")?
        .execute(params![Sql(channel), name.as_str()])?;
    Ok(())
}

/// The name of a channel.
pub(crate) fn name(connection: &Connection, channel: ConversationId) -> Result<Option<String>, ApiError> {
    Ok(connection
        .prepare_cached("SELECT name FROM conversations WHERE id = ?1")?
        .query_row([Sql(channel)], |row| row.get(0))?)
}

/// How many channels a team has that have members.
pub(crate) fn count(connection: &Connection, team: TeamId) -> Result<usize, ApiError> {
    let count: i64 = connection
        .prepare_cached(
            "SELECT count(*) FROM conversations WHERE team = ?1 AND type = ?2 AND ended_at IS NULL",
        )?
        .query_row(params![Sql(team), Sql(ConversationType::Channel)], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// The channels of a team that have members, the oldest first.
pub(crate) fn list(connection: &Connection, team: TeamId) -> Result<Vec<Channel>, ApiError> {
    let mut statement = connection.prepare_cached(
        "SELECT c.id, c.name, c.created_at,
                (SELECT count(*) FROM members m WHERE m.conversation = c.id AND m.left_position IS NULL)
         FROM conversations c WHERE c.team = ?1 AND c.type = ?2 AND c.ended_at IS NULL
         ORDER BY c.created_at, c.id",
    )?;
    let channels = statement.query_map(params![Sql(team), Sql(ConversationType::Channel)], |row| {
        Ok(Channel {
            conversation: row.domain(0)?,
            name: row.get(1)?,
            created_at: row.get(2)?,
            members: row.get::<i64>(3)?.cast_unsigned(),
        })
    })?;
    Ok(channels.collect::<Result<_, _>>()?)
}
