//! The policy in the signed context of a group or channel: what the hub asks of a commit that changes it, and what the hub
//! keeps of it. The members ask the same of every commit, by the same function of the domain.

use std::collections::{BTreeMap, BTreeSet};

use super::commits::Sent;
use crate::{
    error::{ApiError, sentence},
    mls::{Rejection, ValidCommit},
    storage::{WriteTx, accounts, conversations, conversations::Access, groups, roles, settings, teams},
};
use tertulia_api::{Code, UserDevice, join_link::by_link, policy::decode, setting::Setting};
use tertulia_domain::{
    Domain, RoleName, UserId,
    account::AccountAction,
    policy::{self, Change, Committer, Entrance, Policy, Proposer, Violation},
    team,
};

/// A role that a commit changes.
pub(super) struct NewRole {
    pub(super) user: UserId,
    pub(super) role: RoleName,
}

/// The policy after the commit, if the rules allow the commit. None for a conversation that has the members that it has by
/// nature.
pub(super) fn check(
    tx: &WriteTx<'_>,
    domain: &Domain,
    sent: &Sent,
    access: &Access,
    valid: &ValidCommit,
) -> Result<Option<Policy>, ApiError> {
    if !access.kind.is_managed() {
        return match valid.policy_after {
            None => Ok(None),
            Some(_) => Err(ApiError::new(Code::InvalidCommit, "A conversation of this type has no policy.")),
        };
    }
    let after = decode(valid.policy_after.as_deref()).map_err(Rejection::from)?;
    let mut defined = match teams::of_conversation(tx, sent.conversation)? {
        Some(team) => teams::roles(tx, team)?,
        None => BTreeMap::new(),
    };
    let before = match &valid.policy_before {
        Some(policy) => decode(Some(policy)).map_err(Rejection::from)?,
        // Nobody has seen the group before its first commit. One that was begun anew begins with the policy of the group
        // before it, less who has left since; the creator of the very first was alone in it.
        None if let Some(last) = groups::last_policy(tx, sent.conversation)? => {
            let members: BTreeSet<UserId> =
                conversations::member_ids(tx, sent.conversation)?.into_iter().collect();
            let last = decode(Some(&last)).map_err(Rejection::from)?.with_admitted([]);
            last.without(|user| !members.contains(&user))
        }
        None => {
            // What members could be given before there was a group they keep, also if the team that defined it is no more.
            defined.extend(roles::roles_in_use(tx, sent.conversation)?);
            check_entrance(tx, sent.sender.user, &Entrance::default(), after.entrance())?;
            Policy::new(sent.conversation, access.kind, sent.sender.user)
                .map_err(ApiError::internal)?
                .with_add_permission(after.add_permission())
                .with_link(after.entrance().link)
                .with_open(after.entrance().open)
        }
    };
    let verdict = policy::check(&before, &after, &change(sent.sender.user, valid, (&before, &after), domain));
    // Who may not change what they change is told that, whatever role they name.
    let is_denied = matches!(verdict, Err(Violation::ActionDenied { .. }));
    if let Some(unknown) = team::unknown_role(&defined, before.roles(), after.roles()).filter(|_| !is_denied)
    {
        return Err(ApiError::new(Code::UnknownRole, format!("There is no role {unknown}.")));
    }
    match verdict {
        Ok(()) => {
            check_entrance(tx, sent.sender.user, before.entrance(), after.entrance())?;
            Ok(Some(after))
        }
        Err(Violation::Unaccounted { user }) => Err(unaccounted(tx, sent, valid, user)?),
        Err(violation) => Err(violation.into()),
    }
}

/// Who makes a link, or opens the conversation to everybody who asks, adds others by it.
fn check_entrance(tx: &WriteTx<'_>, actor: UserId, was: &Entrance, is: &Entrance) -> Result<(), ApiError> {
    if (is.link.is_some() && is.link != was.link) || (is.open && !was.open) {
        accounts::kind(tx, actor)?.check(AccountAction::AddOthers)?;
    }
    Ok(())
}

/// The commit, by the users of the devices.
fn change(
    sender: UserId,
    valid: &ValidCommit,
    (before, after): (&Policy, &Policy),
    domain: &Domain,
) -> Change {
    let by = |user: Option<UserId>| user.map_or(Proposer::Hub, Proposer::User);
    Change {
        committer: if valid.external { Committer::Joiner(sender) } else { Committer::Member(sender) },
        added: valid.added.iter().map(|leaf| (leaf.device.user, Proposer::User(sender))).collect(),
        removed: valid.removed.iter().map(|removed| (removed.device.user, by(removed.by))).collect(),
        kept: valid.kept.clone(),
        by_link: by_link(before, after, valid.added.iter().map(|leaf| leaf.device.user), domain),
    }
}

/// The policy before the commit, if there was a group.
pub(super) fn before(valid: &ValidCommit) -> Result<Option<Policy>, ApiError> {
    let before = valid.policy_before.as_deref();
    Ok(before.map(|policy| decode(Some(policy)).map_err(Rejection::from)).transpose()?)
}

/// A user whose devices do not fit their membership: most often some of those who are to go were forgotten.
fn unaccounted(
    tx: &WriteTx<'_>,
    sent: &Sent,
    valid: &ValidCommit,
    user: UserId,
) -> Result<ApiError, ApiError> {
    let violation = ApiError::from(Violation::Unaccounted { user });
    if !valid.removed.iter().any(|removed| removed.device.user == user) {
        return Ok(violation);
    }
    let gone = |device| valid.removed.iter().any(|removed| removed.device == UserDevice { user, device });
    let remaining: Vec<_> = groups::devices_in_tree(tx, sent.conversation, user)?
        .into_iter()
        .filter(|device| !gone(*device))
        .map(|device| UserDevice { user, device })
        .collect();
    Ok(if remaining.is_empty() { violation } else { ApiError::device_mismatch(remaining) })
}

/// Takes over the roles that a policy gives, and says whose have changed. The members must be those that the hub has, and beside
/// them those at most who have left and whose devices are in the group still: the committer was not yet told to take them out.
pub(super) fn adopt(tx: &WriteTx<'_>, sent: &Sent, policy: &Policy) -> Result<Vec<NewRole>, ApiError> {
    let known = roles::role_names(tx, sent.conversation)?;
    let departed: Vec<UserId> =
        policy.members().map(|(user, _)| user).filter(|user| !known.contains_key(user)).collect();
    let leaving = if departed.is_empty() {
        Vec::new()
    } else {
        groups::devices_to_remove(tx, sent.conversation, true)?
    };
    let may_be_named = |user: &UserId| leaving.iter().any(|device| device.user == *user);
    if !known.keys().all(|user| policy.has(*user)) || !departed.iter().all(may_be_named) {
        let detail =
            "The policy's members are not those of the conversation. Fetch the events, then try again.";
        return Err(ApiError::new(Code::InvalidCommit, detail));
    }
    roles::define_roles(tx, sent.conversation, policy.roles())?;
    settings::set(tx, sent.conversation, Setting::AddPermission(policy.add_permission()))?;
    let mut changed = Vec::new();
    for (user, role) in policy.members() {
        if known.get(&user).is_some_and(|before| before != role) {
            roles::set_role(tx, sent.conversation, user, role)?;
            changed.push(NewRole { user, role: role.clone() });
        }
    }
    Ok(changed)
}

impl From<Violation> for ApiError {
    fn from(violation: Violation) -> Self {
        let code = match &violation {
            Violation::ActionDenied { .. } => Code::ActionDenied,
            Violation::RoleElevation { .. } => Code::RoleElevation,
            Violation::LastAdmin => Code::LastAdmin,
            _ => Code::InvalidCommit,
        };
        Self::new(code, sentence(&violation))
    }
}
