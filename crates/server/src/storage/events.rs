//! Events of a user that stand in no conversation's log.

use super::sql::params;
use super::{Position, Sql, WriteTx};
use crate::error::ApiError;
use tertulia_api::event::EventBody;
use tertulia_domain::UserId;

/// Appends an event to the user's stream and wakes the user's devices.
pub(crate) fn append_user_event(
    tx: &WriteTx<'_>,
    user: UserId,
    body: &EventBody,
) -> Result<Position, ApiError> {
    let position = tx.next_position();
    let body = serde_json::to_string(body).map_err(ApiError::internal)?;
    tx.prepare_cached("INSERT INTO user_events (position, user_id, body) VALUES (?1, ?2, ?3)")?
        .execute(params![position, Sql(user), body])?;
    tx.wake(user);
    Ok(position)
}
