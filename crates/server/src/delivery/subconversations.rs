//! Subconversations: each device joins and leaves for itself, and none is in one that is not in the parent's group.

use super::{access, check_may_send, commits::Sent, membership::announce_removals, resets};
use crate::storage::Connection;
use crate::{
    error::ApiError,
    mls::{Observer, ValidCommit},
    storage::{Position, WriteTx, conversations::Access, groups, subconversations},
};
use tertulia_api::{Code, UserDevice, conversation::Subconversation};
use tertulia_domain::{
    ConversationId, SubconversationName,
    limits::MAX_SUBCONVERSATIONS,
    subconversation::{self, SubconversationError},
};

/// A subconversation as a member of the parent sees it, also if nobody has been in it yet.
pub(crate) fn show(
    connection: &Connection,
    parent: ConversationId,
    name: &SubconversationName,
    user: tertulia_domain::UserId,
) -> Result<Subconversation, ApiError> {
    let above = access(connection, parent, user)?;
    // Whatever the parent is, that this device may not join is said when it wants to.
    subconversation::check_join(above.kind, true)?;
    subconversations::show(connection, parent, name)
}

/// Makes a subconversation ready to be joined by a device of the parent's group.
pub(crate) fn open(
    tx: &WriteTx<'_>,
    parent: ConversationId,
    name: &SubconversationName,
    device: UserDevice,
    now: i64,
) -> Result<Subconversation, ApiError> {
    let above = access(tx, parent, device.user)?;
    subconversation::check_join(above.kind, groups::has_leaf(tx, parent, device)?)?;
    check_may_send(tx, parent, device.user, &above)?;
    let id = ConversationId::subconversation(parent, name);
    if subconversations::name(tx, id)?.is_none()
        && subconversations::count(tx, parent)? >= MAX_SUBCONVERSATIONS
    {
        return Err(Code::SubconversationLimit.into());
    }
    subconversations::create(tx, parent, name, device.user, now)?;
    subconversations::show(tx, parent, name)
}

/// Whether the device may act in this conversation, if it is a subconversation: it is in the parent's group.
pub(crate) fn check_device(
    connection: &Connection,
    sub: &Access,
    device: UserDevice,
) -> Result<(), ApiError> {
    let Some(parent) = sub.parent else { return Ok(()) };
    let above = access(connection, parent, device.user)?;
    Ok(subconversation::check_join(above.kind, groups::has_leaf(connection, parent, device)?)?)
}

/// A commit in a subconversation puts nobody else into it, and takes nobody out who has not left.
pub(super) fn check_commit(
    connection: &Connection,
    sub: ConversationId,
    sender: UserDevice,
    valid: &ValidCommit,
) -> Result<(), ApiError> {
    if !valid.added.is_empty() || valid.history {
        return Err(SubconversationError::OnlyForItself.into());
    }
    for removed in valid.removed.iter().filter(|removed| removed.device != sender) {
        if subconversations::has_device(connection, sub, removed.device)? {
            return Err(SubconversationError::OnlyForItself.into());
        }
    }
    if !valid.joins && !subconversations::has_device(connection, sub, sender)? {
        let detail = "This device has left the subconversation; it joins anew by an external commit.";
        return Err(ApiError::new(Code::InvalidCommit, detail));
    }
    Ok(())
}

/// Who has joined by a commit sees the log from it on; whose removal an external commit could not carry out is proposed
/// again.
pub(super) fn after_commit(
    tx: &WriteTx<'_>,
    observer: &Observer,
    sent: &Sent,
    valid: &ValidCommit,
    position: Position,
) -> Result<(), ApiError> {
    if valid.joins {
        subconversations::enter(tx, sent.conversation, sent.sender, position)?;
    }
    propose_removals(tx, observer, sent.conversation, valid.epoch, sent.now)
}

/// Takes a device out of a subconversation. The last one that leaves resets it.
pub(crate) fn leave(
    tx: &WriteTx<'_>,
    observer: &Observer,
    parent: ConversationId,
    name: &SubconversationName,
    device: UserDevice,
    now: i64,
) -> Result<(), ApiError> {
    access(tx, parent, device.user)?;
    let id = ConversationId::subconversation(parent, name);
    take_out(tx, observer, id, device, now)
}

/// Takes a device out of a subconversation that is not to be in any.
pub(super) fn take_out(
    tx: &WriteTx<'_>,
    observer: &Observer,
    sub: ConversationId,
    device: UserDevice,
    now: i64,
) -> Result<(), ApiError> {
    if subconversations::exit(tx, sub, device)? {
        after_departure(tx, observer, device, sub, now)?;
    }
    Ok(())
}

/// Takes the devices out of a conversation's subconversations that are in the conversation's own group no more.
pub(crate) fn follow_parent(
    tx: &WriteTx<'_>,
    observer: &Observer,
    parent: ConversationId,
    now: i64,
) -> Result<(), ApiError> {
    for sub in subconversations::of_parent(tx, parent)? {
        let lost = subconversations::without_parent(tx, sub, parent)?;
        for device in &lost {
            subconversations::exit(tx, sub, *device)?;
        }
        if let Some(last) = lost.last() {
            after_departure(tx, observer, *last, sub, now)?;
        }
    }
    Ok(())
}

/// Takes everybody out of a subconversation, which has a new group from here on.
pub(super) fn end(
    tx: &WriteTx<'_>,
    sub: ConversationId,
    actor: Option<UserDevice>,
    now: i64,
) -> Result<(), ApiError> {
    let (group_id, epoch) = groups::current(tx, sub)?;
    if epoch == 0 {
        return Ok(());
    }
    resets::replace(tx, sub, (&group_id, None), actor, now)?;
    empty(tx, sub)
}

/// Takes everybody out of a subconversation.
pub(super) fn empty(tx: &WriteTx<'_>, sub: ConversationId) -> Result<(), ApiError> {
    for device in subconversations::devices(tx, sub)? {
        subconversations::exit(tx, sub, device)?;
    }
    Ok(())
}

/// After somebody is gone: the hub proposes the removal to those who stay, or nobody stays.
fn after_departure(
    tx: &WriteTx<'_>,
    observer: &Observer,
    gone: UserDevice,
    sub: ConversationId,
    now: i64,
) -> Result<(), ApiError> {
    if subconversations::devices(tx, sub)?.is_empty() {
        return end(tx, sub, Some(gone), now);
    }
    let (_, epoch) = groups::current(tx, sub)?;
    propose_removals(tx, observer, sub, epoch, now)
}

fn propose_removals(
    tx: &WriteTx<'_>,
    observer: &Observer,
    sub: ConversationId,
    epoch: u64,
    now: i64,
) -> Result<(), ApiError> {
    let gone = groups::devices_in_tree_only(tx, sub)?;
    if gone.is_empty() {
        return Ok(());
    }
    let Some(snapshot) = groups::snapshot(tx, sub)? else { return Ok(()) };
    let proposed = observer.propose_removals(&snapshot, |device| gone.contains(&device))?;
    announce_removals(tx, sub, epoch, proposed, now)
}
