//! What the hub keeps of the MLS groups: public state to check the next commit, and the devices in the tree.

use super::sql::{Connection, OptionalExtension as _, params};
use super::{RowExt as _, Sql, WriteTx};
use crate::error::ApiError;
use rusqlite::ToSql;
use tertulia_api::UserDevice;
use tertulia_domain::{ConversationId, ConversationType, DeviceId, GroupId, UserId};

/// A proposal of the current epoch that is not committed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pending {
    /// The `ProposalRef` (RFC 9420 §5.2).
    pub(crate) reference: Vec<u8>,
    /// The leaf that it removes, if it does.
    pub(crate) removes: Option<u32>,
    /// The `MLSMessage`.
    pub(crate) message: Vec<u8>,
    /// When the key package of the device that it adds expires, if it adds one. Milliseconds since 1970.
    pub(crate) expires_at: Option<i64>,
}

/// The id and the epoch of the conversation's present group.
pub(crate) fn current(
    connection: &Connection,
    conversation: ConversationId,
) -> Result<(Vec<u8>, u64), ApiError> {
    let current = connection
        .prepare_cached("SELECT group_id, epoch FROM conversations WHERE id = ?1")?
        .query_row([Sql(conversation)], |row| Ok((row.get(0)?, row.get::<i64>(1)?.cast_unsigned())))?;
    Ok(current)
}

/// The policy that a group begins with which took the place of another; none for a conversation's first group.
pub(crate) fn last_policy(
    connection: &Connection,
    conversation: ConversationId,
) -> Result<Option<Vec<u8>>, ApiError> {
    let policy = connection
        .prepare_cached("SELECT last_policy FROM conversations WHERE id = ?1")?
        .query_row([Sql(conversation)], |row| row.get(0))?;
    Ok(policy)
}

/// The snapshot of the group from the last commit, if there was one.
pub(crate) fn snapshot(
    connection: &Connection,
    conversation: ConversationId,
) -> Result<Option<Vec<u8>>, ApiError> {
    let snapshot = connection
        .prepare_cached("SELECT snapshot FROM groups WHERE conversation = ?1")?
        .query_row([Sql(conversation)], |row| row.get(0))
        .optional()?;
    Ok(snapshot)
}

/// The `GroupInfo` of the current epoch, if there was a commit.
pub(crate) fn group_info(
    connection: &Connection,
    conversation: ConversationId,
) -> Result<Option<Vec<u8>>, ApiError> {
    let group_info = connection
        .prepare_cached("SELECT group_info FROM groups WHERE conversation = ?1")?
        .query_row([Sql(conversation)], |row| row.get(0))
        .optional()?;
    Ok(group_info)
}

/// Moves the group from one epoch to another: the compare-and-swap that lets one of several commits win. `false` if the
/// group is not in that epoch.
pub(crate) fn advance(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
    from: u64,
    to: u64,
) -> Result<bool, ApiError> {
    let moved = tx
        .prepare_cached("UPDATE conversations SET epoch = ?3 WHERE id = ?1 AND epoch = ?2")?
        .execute(params![Sql(conversation), from.cast_signed(), to.cast_signed()])?;
    Ok(moved == 1)
}

/// Lets another group take the place of the conversation's present one. It is at epoch 0, and nobody is in it; it begins with
/// the policy that the present one has, if it has one.
pub(crate) fn begin_anew(
    tx: &WriteTx<'_>,
    GroupId { conversation, generation }: GroupId,
    last_policy: Option<&[u8]>,
) -> Result<(), ApiError> {
    let group_id = GroupId { conversation, generation }.to_bytes();
    tx.prepare_cached(
        "UPDATE conversations SET group_id = ?2, generation = ?3, epoch = 0, last_policy = ?4 WHERE id = ?1",
    )?
    .execute(params![Sql(conversation), group_id, generation.cast_signed(), last_policy])?;
    for table in ["groups", "leaves", "proposals"] {
        tx.prepare_cached(&format!("DELETE FROM {table} WHERE conversation = ?1"))?
            .execute([Sql(conversation)])?;
    }
    Ok(())
}

/// Stores the group after a commit.
pub(crate) fn store(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
    snapshot: &[u8],
    group_info: &[u8],
) -> Result<(), ApiError> {
    tx.prepare_cached(
        "INSERT INTO groups (conversation, snapshot, group_info) VALUES (?1, ?2, ?3)
         ON CONFLICT (conversation) DO UPDATE SET snapshot = excluded.snapshot, group_info = excluded.group_info",
    )?
    .execute(params![Sql(conversation), snapshot, group_info])?;
    Ok(())
}

/// Stores the group with further pending proposals. The epoch and so the `GroupInfo` stay.
pub(crate) fn store_pending(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
    epoch: u64,
    snapshot: &[u8],
    pending: &[Pending],
) -> Result<(), ApiError> {
    tx.prepare_cached("UPDATE groups SET snapshot = ?2 WHERE conversation = ?1")?
        .execute(params![Sql(conversation), snapshot])?;
    let mut insert = tx.prepare_cached(
        "INSERT INTO proposals (conversation, epoch, ref, removes, message, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for proposal in pending {
        let Pending { reference, removes, message, expires_at } = proposal;
        let epoch = epoch.cast_signed();
        insert.execute(params![Sql(conversation), epoch, reference, removes, message, expires_at])?;
    }
    Ok(())
}

/// The pending proposals, those of the hub too.
pub(crate) fn pending(
    connection: &Connection,
    conversation: ConversationId,
) -> Result<Vec<Pending>, ApiError> {
    let mut statement = connection.prepare_cached(
        "SELECT ref, removes, message, expires_at FROM proposals WHERE conversation = ?1 ORDER BY ref",
    )?;
    let pending = statement.query_map([Sql(conversation)], |row| {
        let removes: Option<i64> = row.get(1)?;
        Ok(Pending {
            reference: row.get(0)?,
            removes: removes.and_then(|leaf| u32::try_from(leaf).ok()),
            message: row.get(2)?,
            expires_at: row.get(3)?,
        })
    })?;
    Ok(pending.collect::<Result<_, _>>()?)
}

/// Drops one of the pending proposals.
pub(crate) fn drop_pending(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
    reference: &[u8],
) -> Result<(), ApiError> {
    tx.prepare_cached("DELETE FROM proposals WHERE conversation = ?1 AND ref = ?2")?
        .execute(params![Sql(conversation), reference])?;
    Ok(())
}

/// The conversations that a user is in, or was, in which devices have proposed something.
pub(crate) fn with_proposals(connection: &Connection, user: UserId) -> Result<Vec<ConversationId>, ApiError> {
    let mut statement = connection.prepare_cached(
        "SELECT DISTINCT p.conversation FROM members m JOIN proposals p ON p.conversation = m.conversation
         WHERE m.user_id = ?1 AND p.removes IS NULL ORDER BY p.conversation",
    )?;
    let found = statement.query_map([Sql(user)], |row| row.domain(0))?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// At most so many conversations in which a proposed device's key package has expired.
pub(crate) fn with_expired(
    connection: &Connection,
    now: i64,
    most: usize,
) -> Result<Vec<ConversationId>, ApiError> {
    let mut statement = connection.prepare_cached(
        "SELECT DISTINCT conversation FROM proposals WHERE expires_at <= ?1 ORDER BY conversation LIMIT ?2",
    )?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let found = statement.query_map(params![now, most], |row| row.domain(0))?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// The references of the pending proposals.
pub(crate) fn pending_references(
    connection: &Connection,
    conversation: ConversationId,
) -> Result<Vec<Vec<u8>>, ApiError> {
    let mut statement = connection.prepare_cached("SELECT ref FROM proposals WHERE conversation = ?1")?;
    let references = statement.query_map([Sql(conversation)], |row| row.get(0))?;
    Ok(references.collect::<Result<_, _>>()?)
}

/// Drops the pending proposals, which vanish with their epoch.
pub(crate) fn clear_pending(tx: &WriteTx<'_>, conversation: ConversationId) -> Result<(), ApiError> {
    tx.prepare_cached("DELETE FROM proposals WHERE conversation = ?1")?.execute([Sql(conversation)])?;
    Ok(())
}

/// Notes that a device is in the tree.
pub(crate) fn insert_leaf(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
    leaf_index: u32,
    UserDevice { user, device }: UserDevice,
) -> Result<(), ApiError> {
    tx.prepare_cached(
        "INSERT INTO leaves (conversation, leaf_index, user_id, device) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![Sql(conversation), leaf_index, Sql(user), Sql(device)])?;
    Ok(())
}

/// Notes that a device is not in the tree any more.
pub(crate) fn remove_leaf(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
    UserDevice { user, device }: UserDevice,
) -> Result<(), ApiError> {
    tx.prepare_cached("DELETE FROM leaves WHERE conversation = ?1 AND user_id = ?2 AND device = ?3")?
        .execute(params![Sql(conversation), Sql(user), Sql(device)])?;
    Ok(())
}

/// Whether the device is in the tree, and still one of its user's.
pub(crate) fn has_leaf(
    connection: &Connection,
    conversation: ConversationId,
    device: UserDevice,
) -> Result<bool, ApiError> {
    Ok(have_leaves(connection, &[(conversation, device)])?.contains(&true))
}

/// Whether these devices are in the trees, and still their users'.
pub(crate) fn have_leaves(
    connection: &Connection,
    devices: &[(ConversationId, UserDevice)],
) -> Result<Vec<bool>, ApiError> {
    let key = |&(conversation, UserDevice { user, device }): &_| (Sql(conversation), Sql(user), Sql(device));
    let keys: Vec<_> = devices.iter().map(key).collect();
    let found = connection
        .prepare_cached(
            "SELECT 1 FROM leaves JOIN devices USING (user_id, device)
             WHERE conversation = ?1 AND user_id = ?2 AND device = ?3",
        )?
        .query_each(keys.iter().map(|(group, user, device)| [group as &dyn ToSql, user, device]), |_| {
            Ok(())
        })?;
    Ok(found.iter().map(Option::is_some).collect())
}

/// The devices of a user that are in the tree.
pub(crate) fn devices_in_tree(
    connection: &Connection,
    conversation: ConversationId,
    user: UserId,
) -> Result<Vec<DeviceId>, ApiError> {
    let mut statement =
        connection.prepare_cached("SELECT device FROM leaves WHERE conversation = ?1 AND user_id = ?2")?;
    let devices = statement.query_map(params![Sql(conversation), Sql(user)], |row| row.domain(0))?;
    Ok(devices.collect::<Result<_, _>>()?)
}

/// The key that every leaf of a device must have; none if there is no such device.
pub(crate) fn registered_key(
    connection: &Connection,
    UserDevice { user, device }: UserDevice,
) -> Result<Option<Vec<u8>>, ApiError> {
    let key = connection
        .prepare_cached("SELECT signature_key FROM devices WHERE user_id = ?1 AND device = ?2")?
        .query_row(params![Sql(user), Sql(device)], |row| row.get(0))
        .optional()?;
    Ok(key)
}

/// The devices that have a leaf in a subconversation's tree and are not in it any more.
pub(crate) fn devices_in_tree_only(
    connection: &Connection,
    subconversation: ConversationId,
) -> Result<Vec<UserDevice>, ApiError> {
    let mut statement = connection.prepare_cached(
        "SELECT l.user_id, l.device FROM leaves l WHERE l.conversation = ?1 AND NOT EXISTS (
             SELECT 1 FROM sub_devices d
             WHERE d.conversation = l.conversation AND d.user_id = l.user_id AND d.device = l.device
               AND d.left_position IS NULL)",
    )?;
    let devices = statement.query_map([Sql(subconversation)], |row| {
        Ok(UserDevice { user: row.domain(0)?, device: row.domain(1)? })
    })?;
    Ok(devices.collect::<Result<_, _>>()?)
}

/// The devices in the tree that are not to be there any more: those that their users have removed and, if `by_membership`,
/// those of users who are not members.
pub(crate) fn devices_to_remove(
    connection: &Connection,
    conversation: ConversationId,
    by_membership: bool,
) -> Result<Vec<UserDevice>, ApiError> {
    let mut statement = connection.prepare_cached(
        "SELECT l.user_id, l.device FROM leaves l WHERE l.conversation = ?1 AND (
             NOT EXISTS (SELECT 1 FROM devices d WHERE d.user_id = l.user_id AND d.device = l.device)
             OR ?2 AND NOT EXISTS (
                 SELECT 1 FROM members m
                 WHERE m.conversation = l.conversation AND m.user_id = l.user_id AND m.left_position IS NULL))",
    )?;
    let devices = statement.query_map(params![Sql(conversation), by_membership], |row| {
        Ok(UserDevice { user: row.domain(0)?, device: row.domain(1)? })
    })?;
    Ok(devices.collect::<Result<_, _>>()?)
}

/// The conversations in whose trees a device is, with their types.
pub(crate) fn of_device(
    connection: &Connection,
    UserDevice { user, device }: UserDevice,
) -> Result<Vec<(ConversationId, ConversationType)>, ApiError> {
    let mut statement = connection.prepare_cached(
        "SELECT c.id, c.type FROM leaves l JOIN conversations c ON c.id = l.conversation
         WHERE l.user_id = ?1 AND l.device = ?2 ORDER BY c.created_at, c.id",
    )?;
    let found =
        statement.query_map(params![Sql(user), Sql(device)], |row| Ok((row.domain(0)?, row.domain(1)?)))?;
    Ok(found.collect::<Result<_, _>>()?)
}
