//! What is set for all members of a conversation, and which conversation it was made under.

use super::sql::{Connection, params};
use super::{RowExt as _, Sql, WriteTx};
use crate::error::ApiError;
use tertulia_api::setting::{Setting, Settings};
use tertulia_domain::{ConversationId, MessageTimer};

/// What is set in a conversation that there is, and its parent.
pub(crate) fn show(
    connection: &Connection,
    conversation: ConversationId,
) -> Result<(Settings, Option<ConversationId>), ApiError> {
    let shown = connection
        .prepare_cached(
            "SELECT message_timer, receipt_mode, add_permission, parent, history FROM conversations WHERE id = ?1",
        )?
        .query_row([Sql(conversation)], |row| {
            let millis: Option<i64> = row.get(0)?;
            let settings = Settings {
                message_timer: millis.and_then(|millis| MessageTimer::try_from(millis.cast_unsigned()).ok()),
                receipt_mode: row.domain(1)?,
                add_permission: row.domain(2)?,
                history: row.domain(4)?,
            };
            Ok((settings, row.optional(3)?))
        })?;
    Ok(shown)
}

/// Sets one thing, and says whether it was otherwise before.
pub(crate) fn set(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
    setting: Setting,
) -> Result<bool, ApiError> {
    let changed = match setting {
        Setting::MessageTimer(timer) => tx
            .prepare_cached(
                "UPDATE conversations SET message_timer = ?2 WHERE id = ?1 AND message_timer IS DISTINCT FROM ?2",
            )?
            .execute(params![Sql(conversation), timer.map(|timer| timer.as_millis().cast_signed())])?,
        Setting::ReceiptMode(mode) => tx
            .prepare_cached(
                "UPDATE conversations SET receipt_mode = ?2 WHERE id = ?1 AND receipt_mode <> ?2",
            )?
            .execute(params![Sql(conversation), Sql(mode)])?,
        Setting::AddPermission(permission) => tx
            .prepare_cached(
                "UPDATE conversations SET add_permission = ?2 WHERE id = ?1 AND add_permission <> ?2",
            )?
            .execute(params![Sql(conversation), Sql(permission)])?,
        Setting::History(history) => tx
            .prepare_cached("UPDATE conversations SET history = ?2 WHERE id = ?1 AND history <> ?2")?
            .execute(params![Sql(conversation), Sql(history)])?,
    };
    Ok(changed == 1)
}

/// Notes which conversation a new one was made under.
pub(crate) fn set_parent(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
    parent: ConversationId,
) -> Result<(), ApiError> {
    tx.prepare_cached("UPDATE conversations SET parent = ?2 WHERE id = ?1")?
        .execute(params![Sql(conversation), Sql(parent)])?;
    Ok(())
}
