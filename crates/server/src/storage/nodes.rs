//! What other nodes of the hub have stored.

use super::{
    Position, RowExt as _, relay,
    sql::{Connection, params},
};
use crate::{bus::Positions, error::ApiError, wake::Topic};
use std::collections::BTreeSet;

/// Positions that are looked through. Of more, it is not worth the while to know for whom they are.
const MOST: i64 = 100_000;

/// The last position that was given out.
pub(crate) fn position(connection: &Connection) -> Result<Position, ApiError> {
    Ok(connection.prepare_cached("SELECT position FROM hub")?.query_row((), |row| row.get(0))?)
}

/// For whom there is something at these positions; none if that is for everybody to see for themselves.
pub(crate) fn changed(
    connection: &Connection,
    Positions { after, upto }: Positions,
) -> Result<Option<BTreeSet<Topic>>, ApiError> {
    if upto - after > MOST {
        return Ok(None);
    }
    let mut topics = BTreeSet::new();
    let mut logs = connection
        .prepare_cached("SELECT DISTINCT conversation FROM log WHERE position > ?1 AND position <= ?2")?;
    for conversation in logs.query_map(params![after, upto], |row| row.domain(0))? {
        topics.insert(Topic::Conversation(conversation?));
    }
    // Besides those with events of their own, those who came or went, who follow other conversations now.
    let mut users = connection.prepare_cached(
        "SELECT user_id FROM user_events WHERE position > ?1 AND position <= ?2
         UNION SELECT m.user_id FROM members m
             JOIN (SELECT DISTINCT conversation FROM log WHERE position > ?1 AND position <= ?2) l
             ON l.conversation = m.conversation
             WHERE m.joined_position > ?1 OR m.left_position > ?1
         UNION SELECT d.user_id FROM sub_devices d
             JOIN (SELECT DISTINCT conversation FROM log WHERE position > ?1 AND position <= ?2) l
             ON l.conversation = d.conversation
             WHERE d.joined_position > ?1 OR d.left_position > ?1",
    )?;
    for user in users.query_map(params![after, upto], |row| row.domain(0))? {
        topics.insert(Topic::User(user?));
    }
    topics.extend(relay::moved(connection, after)?.into_iter().map(Topic::Content));
    Ok(Some(topics))
}
