//! What became of the last request between two users.

use super::{
    Position, RowExt as _, Sql,
    sql::{Connection, OptionalExtension as _, params},
};
use crate::error::ApiError;
use tertulia_domain::{ConversationId, ConversationType, UserId, connection::LastRequest};

/// What became of the last request between the two users of a 1:1, to one of them. Who asks joins it, and who is asked does not before
/// they accept; so while nobody has, it was asked by who joined last.
pub(crate) fn of(
    connection: &Connection,
    one_to_one: ConversationId,
    (me, other): (UserId, UserId),
) -> Result<LastRequest, ApiError> {
    let found = connection
        .prepare_cached(
            "SELECT c.type,
                    (SELECT max(joined_position) FROM members WHERE conversation = c.id AND user_id = ?2),
                    (SELECT max(joined_position) FROM members WHERE conversation = c.id AND user_id = ?3)
             FROM conversations c WHERE c.id = ?1",
        )?
        .query_row(params![Sql(one_to_one), Sql(me), Sql(other)], |row| {
            let joined: (Option<Position>, Option<Position>) = (row.get(1)?, row.get(2)?);
            Ok((row.domain::<ConversationType>(0)?, joined))
        })
        .optional()?;
    Ok(match found {
        Some((ConversationType::OneToOne, _)) => LastRequest::Accepted,
        Some((_, (mine, theirs))) if theirs > mine => LastRequest::Theirs,
        _ => LastRequest::Mine,
    })
}
