//! Beginning a conversation's MLS group anew, when nobody can go on in the present one.

use super::{access, check_may_send, last_policy, subconversations};
use crate::{
    error::ApiError,
    mls::Observer,
    storage::{
        WriteTx, backup,
        conversations::Access,
        groups, history,
        log::{self, Entry, Kind, Place},
    },
};
use tertulia_api::{UserDevice, conversation::GroupReset};
use tertulia_domain::{ConversationId, ConversationType, GroupId, permission};

/// Who wants what reset.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) conversation: ConversationId,
    pub(crate) actor: UserDevice,
    /// The group that the actor means.
    pub(crate) group: GroupReset,
    /// Milliseconds since 1970.
    pub(crate) now: i64,
}

/// Gives the conversation a new group with the same members, and its subconversations too. Of several devices that ask at
/// once for the same group to be replaced, one is heard.
pub(crate) fn reset(tx: &WriteTx<'_>, observer: &Observer, asked: &Asked) -> Result<(), ApiError> {
    let Asked { conversation, actor, now, .. } = *asked;
    let access = access(tx, conversation, actor.user)?;
    match access.parent {
        Some(parent) => {
            let above = self::access(tx, parent, actor.user)?;
            permission::check_reset(Some(&above.membership()))?;
            subconversations::check_device(tx, &access, actor)?;
        }
        None => permission::check_reset(Some(&access.membership()))?,
    }
    check_may_send(tx, conversation, actor.user, &access)?;
    check_group(&access, &asked.group)?;
    if access.epoch == 0 {
        return Ok(()); // it is new already
    }
    if access.parent.is_some() {
        return subconversations::end(tx, conversation, Some(actor), now);
    }
    let policy = last_policy::known(tx, observer, conversation, access.kind)?;
    replace(tx, conversation, (&access.group_id, policy.as_deref()), Some(actor), now)?;
    for subconversation in crate::storage::subconversations::of_parent(tx, conversation)? {
        subconversations::end(tx, subconversation, Some(actor), now)?;
    }
    Ok(())
}

/// Begins a group anew whose members' devices may be ahead of the hub, because the hub was restored. Nobody asked for it. Whether it
/// did: of several nodes that start at once, one does it.
pub(crate) fn after_restore(
    tx: &WriteTx<'_>,
    observer: &Observer,
    conversation: ConversationId,
    now: i64,
) -> Result<bool, ApiError> {
    let Some((kind, group)) = backup::take_to_renew(tx, conversation)? else { return Ok(false) };
    let next = backup::successor(group, now);
    if kind == ConversationType::Subconversation {
        replace_with(tx, next, None, None, now)?;
        subconversations::empty(tx, conversation)?;
        return Ok(true);
    }
    let policy = last_policy::known(tx, observer, conversation, kind)?;
    replace_with(tx, next, policy.as_deref(), None, now)?;
    Ok(true)
}

/// The group is still the one that the caller means, in the epoch that the caller knows.
fn check_group(access: &Access, meant: &GroupReset) -> Result<(), ApiError> {
    if *meant.group_id.as_ref() == *access.group_id && meant.epoch == access.epoch {
        Ok(())
    } else {
        Err(ApiError::stale_epoch(access.epoch))
    }
}

/// Lets a new group take the place of the present one, and says so in the log.
pub(super) fn replace(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
    (present, policy): (&[u8], Option<&[u8]>),
    actor: Option<UserDevice>,
    now: i64,
) -> Result<Place, ApiError> {
    let present = GroupId::from_bytes(present).filter(|group| group.conversation == conversation);
    let next = present.unwrap_or_else(|| GroupId::first(conversation)).after_reset();
    replace_with(tx, next, policy, actor, now)
}

fn replace_with(
    tx: &WriteTx<'_>,
    next: GroupId,
    policy: Option<&[u8]>,
    actor: Option<UserDevice>,
    now: i64,
) -> Result<Place, ApiError> {
    groups::begin_anew(tx, next, policy)?;
    let group_id = next.to_bytes();
    let entry = Entry { sender: actor, sent_at: now, body: Some(&group_id), ..Entry::default() };
    let place = log::append(tx, next.conversation, Kind::Reset, &entry)?;
    history::begun_anew(tx, next.conversation, place.position)?;
    Ok(place)
}
