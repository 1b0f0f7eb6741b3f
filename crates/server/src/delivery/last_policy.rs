//! The policy with which a group ends that another is to take the place of, also if what is stored of it is damaged.
//!
//! Without it the members could not go on: who begins the group anew has to do so with the policy of the one before. It is taken
//! from where it can still be read:
//!
//! 1. the stored state of the group,
//! 2. the `GroupInfo` of the same epoch,
//! 3. what the hub has taken over from the policies of the commits, which is what it shows of the conversation.
//!
//! None of them is for the members to believe. They compare what they find with what they knew.

use std::collections::BTreeMap;

use crate::{
    error::ApiError,
    mls::Observer,
    storage::{Connection, groups, joins, roles, settings},
};
use tertulia_api::policy::{decode, encode};
use tertulia_domain::{ConversationId, ConversationType, access::AccessMode, policy::Policy};

/// The policy of a conversation's present group. None for a conversation that has the members that it has by nature, and for one
/// whose group has not begun.
pub(super) fn known(
    connection: &Connection,
    observer: &Observer,
    conversation: ConversationId,
    kind: ConversationType,
) -> Result<Option<Vec<u8>>, ApiError> {
    if !kind.is_managed() {
        return Ok(None);
    }
    let Some(snapshot) = groups::snapshot(connection, conversation)? else {
        return groups::last_policy(connection, conversation);
    };
    let is_policy = |policy: &Option<Vec<u8>>| decode(policy.as_deref()).is_ok();
    if let Some(policy) = observer.policy_of(&snapshot).ok().filter(is_policy) {
        return Ok(policy);
    }
    let group_info = groups::group_info(connection, conversation)?.unwrap_or_default();
    let (policy, source) = match observer.policy_in(&group_info).ok().filter(is_policy) {
        Some(policy) => (policy, "group info"),
        None => (recorded(connection, conversation, kind), "record of the members"),
    };
    let found = policy.is_some();
    tracing::error!(conversation = conversation.short(), source, found, "the stored group is damaged");
    Ok(policy)
}

/// The policy that the hub's record of a conversation comes to.
fn recorded(
    connection: &Connection,
    conversation: ConversationId,
    kind: ConversationType,
) -> Option<Vec<u8>> {
    match read(connection, conversation, kind) {
        Ok(policy) => Some(encode(&policy)),
        Err(error) => {
            tracing::error!(conversation = conversation.short(), %error, "its members cannot be read either");
            None
        }
    }
}

fn read(
    connection: &Connection,
    conversation: ConversationId,
    kind: ConversationType,
) -> Result<Policy, ApiError> {
    let members = roles::member_roles(connection, conversation)?;
    let defined = members.iter().map(|(_, role)| role).filter(|role| !role.name().is_predefined());
    let defined: BTreeMap<_, _> = defined.map(|role| (role.name().clone(), role.actions())).collect();
    let members = members.iter().map(|(user, role)| (*user, role.name().clone()));
    let (settings, _) = settings::show(connection, conversation)?;
    let policy = Policy::of(conversation, kind, settings.add_permission, members, defined);
    let is_open = joins::access(connection, conversation)?.has(AccessMode::Link);
    let link = joins::link_key(connection, conversation)?;
    Ok(policy.map_err(ApiError::internal)?.with_link(link).with_open(is_open))
}
