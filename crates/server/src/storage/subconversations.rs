//! Subconversations: rows of `conversations` that have a parent, whose members they share, and the devices in them.
//!
//! That a device is in one is kept as intervals of positions, since it decides which entries of the log the device sees.

use super::sql::{Connection, OptionalExtension as _, params};
use super::{Position, RowExt as _, Sql, WriteTx, backup, groups, roles};
use crate::error::ApiError;
use tertulia_api::{
    UserDevice,
    conversation::{Subconversation, SubconversationAddress},
};
use tertulia_domain::{ConversationId, ConversationType, GroupId, SubconversationName, UserId};

/// Creates the subconversation of this name, with no device in it. One that is there already stays as it is.
pub(crate) fn create(
    tx: &WriteTx<'_>,
    parent: ConversationId,
    name: &SubconversationName,
    creator: UserId,
    now: i64,
) -> Result<ConversationId, ApiError> {
    let id = ConversationId::subconversation(parent, name);
    let restore = backup::last_restore(tx)?;
    let inserted = tx.prepare_cached(
        "INSERT INTO conversations (id, type, creator, created_at, group_id, sub_of, sub_name, last_sequence)
         VALUES (?1, ?2, ?3, ?4, ?1, ?5, ?6, ?7) ON CONFLICT (id) DO NOTHING",
    )?
    .execute(params![
        Sql(id),
        Sql(ConversationType::Subconversation),
        Sql(creator),
        now,
        Sql(parent),
        Sql(name.clone()),
        restore.unwrap_or_default(),
    ])?;
    // Devices may be in one from before a restore; who asks for it learns of this group.
    if let (1, Some(restore)) = (inserted, restore) {
        groups::begin_anew(tx, backup::first_after(restore, id), None)?;
    }
    Ok(id)
}

/// How many a conversation has, with devices in them or not.
pub(crate) fn count(connection: &Connection, parent: ConversationId) -> Result<u32, ApiError> {
    let count = connection
        .prepare_cached("SELECT count(*) FROM conversations WHERE sub_of = ?1")?
        .query_row([Sql(parent)], |row| row.get(0))?;
    Ok(count)
}

/// The subconversations of a conversation, by name.
pub(crate) fn of_parent(
    connection: &Connection,
    parent: ConversationId,
) -> Result<Vec<ConversationId>, ApiError> {
    let mut statement =
        connection.prepare_cached("SELECT id FROM conversations WHERE sub_of = ?1 ORDER BY sub_name")?;
    let ids = statement.query_map([Sql(parent)], |row| row.domain(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// A subconversation as it stands. One that nobody has created is there all the same, at epoch 0 with nobody in it.
pub(crate) fn show(
    connection: &Connection,
    parent: ConversationId,
    name: &SubconversationName,
) -> Result<Subconversation, ApiError> {
    let id = ConversationId::subconversation(parent, name);
    let stored = connection
        .prepare_cached("SELECT group_id, epoch FROM conversations WHERE id = ?1")?
        .query_row([Sql(id)], |row| Ok((row.get::<Vec<u8>>(0)?, row.get::<i64>(1)?.cast_unsigned())))
        .optional()?;
    let (group_id, epoch) = stored.unwrap_or_else(|| (GroupId::first(id).to_bytes(), 0));
    Ok(Subconversation {
        conversation: id,
        address: SubconversationAddress { parent, name: name.clone() },
        group_id: group_id.into(),
        epoch,
        devices: devices(connection, id)?,
    })
}

/// The name of a subconversation.
pub(crate) fn name(
    connection: &Connection,
    id: ConversationId,
) -> Result<Option<SubconversationName>, ApiError> {
    let name = connection
        .prepare_cached("SELECT sub_name FROM conversations WHERE id = ?1 AND sub_name IS NOT NULL")?
        .query_row([Sql(id)], |row| row.domain(0))
        .optional()?;
    Ok(name)
}

/// The devices that are in a subconversation now, in the order in which they joined.
pub(crate) fn devices(connection: &Connection, id: ConversationId) -> Result<Vec<UserDevice>, ApiError> {
    let mut statement = connection.prepare_cached(
        "SELECT user_id, device FROM sub_devices WHERE conversation = ?1 AND left_position IS NULL
         ORDER BY joined_position, user_id, device",
    )?;
    let devices = statement
        .query_map([Sql(id)], |row| Ok(UserDevice { user: row.domain(0)?, device: row.domain(1)? }))?;
    Ok(devices.collect::<Result<_, _>>()?)
}

/// Whether a device is in a subconversation now.
pub(crate) fn has_device(
    connection: &Connection,
    id: ConversationId,
    UserDevice { user, device }: UserDevice,
) -> Result<bool, ApiError> {
    let found = connection
        .prepare_cached(
            "SELECT 1 FROM sub_devices
             WHERE conversation = ?1 AND user_id = ?2 AND device = ?3 AND left_position IS NULL",
        )?
        .exists(params![Sql(id), Sql(user), Sql(device)])?;
    Ok(found)
}

/// Puts a device into a subconversation, which sees its log from `position` on. Nothing happens if it is in it already.
pub(crate) fn enter(
    tx: &WriteTx<'_>,
    id: ConversationId,
    UserDevice { user, device }: UserDevice,
    position: Position,
) -> Result<(), ApiError> {
    tx.prepare_cached(
        "INSERT INTO sub_devices (conversation, user_id, device, joined_position) SELECT ?1, ?2, ?3, ?4
         WHERE NOT EXISTS (SELECT 1 FROM sub_devices WHERE conversation = ?1 AND user_id = ?2 AND device = ?3
                                                         AND left_position IS NULL)",
    )?
    .execute(params![Sql(id), Sql(user), Sql(device), position])?;
    tx.wake(user);
    Ok(())
}

/// Takes a device out of a subconversation, which sees its log up to here. `false` if it was not in it.
pub(crate) fn exit(
    tx: &WriteTx<'_>,
    id: ConversationId,
    UserDevice { user, device }: UserDevice,
) -> Result<bool, ApiError> {
    let changed = tx
        .prepare_cached(
            "UPDATE sub_devices SET left_position = ?4
             WHERE conversation = ?1 AND user_id = ?2 AND device = ?3 AND left_position IS NULL",
        )?
        .execute(params![Sql(id), Sql(user), Sql(device), tx.last_position()])?;
    tx.wake(user);
    Ok(changed == 1)
}

/// The devices in a subconversation that may be in it no more: their users are not members of the parent, or they are not
/// in the parent's MLS group.
pub(crate) fn without_parent(
    connection: &Connection,
    id: ConversationId,
    parent: ConversationId,
) -> Result<Vec<UserDevice>, ApiError> {
    let mut lost = Vec::new();
    for device in devices(connection, id)? {
        if roles::role_of(connection, parent, device.user)?.is_none()
            || !super::groups::has_leaf(connection, parent, device)?
        {
            lost.push(device);
        }
    }
    Ok(lost)
}
