//! Changes of membership and roles that are not commits.

use super::{
    access, accounts::check_seen, admission, pairwise::wrong_protocol, proposals, subconversations, team,
};
use crate::{
    error::ApiError,
    mls::{Observer, proposals::Proposed},
    storage::{
        WriteTx, accounts, conversations,
        conversations::Access,
        ended, groups,
        groups::Pending,
        log::{self, Entry, Extra, Kind},
        profiles, removals, roles, settings,
        sql::Connection,
        teams,
    },
};
use std::collections::{BTreeMap, BTreeSet};
use tertulia_api::{Code, UserDevice};
use tertulia_domain::{
    ConversationId, ConversationType, Handshake, Protocol, Role, RoleName, TeamId, UserId,
    account::AccountAction,
    limits::MAX_PAIRWISE_MEMBERS,
    permission::{self, Candidate, Target},
    role::Action,
    succession,
};

/// Creates a group with its creator as admin. Doing so again changes nothing.
pub(crate) fn create_group(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
    (protocol, handshake): (Protocol, Handshake),
    creator: UserId,
    (in_team, parent): (bool, Option<ConversationId>),
    now: i64,
) -> Result<(), ApiError> {
    let team = if in_team { Some(team::for_conversation(tx, creator)?) } else { None };
    let kind = (ConversationType::Group, protocol, handshake);
    if let Some(parent) = parent {
        let access = conversations::find(tx, parent, creator)?;
        permission::check_parent(access.map(|access| access.membership()).as_ref())?;
    }
    let is_new = create_managed(tx, conversation, kind, creator, team, now)?;
    match parent {
        Some(parent) if is_new => settings::set_parent(tx, conversation, parent),
        _ => Ok(()),
    }
}

/// Creates a group or channel with its creator as admin, and says whether it was not there before: the same creator may ask
/// for it again.
pub(super) fn create_managed(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
    (kind, protocol, handshake): (ConversationType, Protocol, Handshake),
    creator: UserId,
    team: Option<TeamId>,
    now: i64,
) -> Result<bool, ApiError> {
    if protocol == Protocol::Mixed {
        let detail = "A new group's protocol is mls or pairwise; mixed is on the way from one to the other.";
        return Err(ApiError::new(Code::BadRequest, detail));
    }
    // Ids of users and of 1:1 conversations are known to others and name conversations too; nobody may take those.
    let random = conversation.as_uuid().get_version_num() == 4;
    if !random || conversations::is_user(tx, conversation)? {
        return Err(ApiError::new(Code::BadRequest, "The id of a new group is a random UUID, of version 4."));
    }
    if conversations::create_managed(tx, conversation, (kind, protocol, handshake), creator, team, now)? {
        return Ok(true);
    }
    let own = conversations::find(tx, conversation, creator)?
        .is_some_and(|access| access.kind == kind && access.role.is_admin());
    if own {
        Ok(false)
    } else {
        Err(ApiError::new(Code::BadRequest, "This id cannot be used; choose another one at random."))
    }
}

/// Creates the conversation of a user with themselves when it is first asked for, as if it had always been there.
pub(crate) fn ensure_self(tx: &WriteTx<'_>, user: UserId, now: i64) -> Result<(), ApiError> {
    conversations::create_self(tx, user, now)
}

/// Adds users to a conversation whose protocol is pairwise, where no commit brings them, with a role, `member` unless it is named.
/// Who is a member already is passed over, so doing it again changes nothing.
pub(crate) fn add_members(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
    actor: UserDevice,
    (users, role): (&BTreeSet<UserId>, Option<&str>),
    now: i64,
) -> Result<(), ApiError> {
    let access = access(tx, conversation, actor.user)?;
    let permission = settings::show(tx, conversation)?.0.add_permission;
    let granted = match role {
        Some(role) => role_to_give(tx, conversation, role),
        None => Ok(Role::MEMBER),
    };
    // Who may add nobody is told that, whatever role they name.
    let membership = access.membership();
    match &granted {
        Ok(granted) => permission::check_add_members(Some(&membership), permission, granted, [])?,
        Err(_) => permission::authorise(Some(&membership), Action::AddMember).map(|_| ())?,
    }
    accounts::kind(tx, actor.user)?.check(AccountAction::AddOthers)?;
    if access.protocol != Protocol::Pairwise {
        return Err(wrong_protocol(&access));
    }
    let granted = granted?;
    let mut candidates = Vec::with_capacity(users.len());
    for &user in users {
        let known = profiles::user(tx, user)?.ok_or(Code::UnknownUser)?;
        if roles::role_of(tx, conversation, user)?.is_none() {
            check_seen(tx, actor.user, &known)?;
            let connected = conversations::are_connected(tx, actor.user, known.user)?;
            candidates.push(Candidate { user, connected });
        }
    }
    admission::check_invited(tx, conversation, candidates.iter().map(|candidate| candidate.user))?;
    permission::check_candidates(candidates.iter().copied())?;
    if candidates.is_empty() {
        return Ok(());
    }
    check_member_limit(tx, conversation, access.protocol, candidates.len())?;
    let mut joined = Vec::with_capacity(candidates.len());
    for Candidate { user, .. } in candidates {
        conversations::join(tx, conversation, user, granted.name(), now)?;
        joined.push(conversations::as_member(tx, user, granted.name().clone())?);
    }
    roles::keep_role(tx, conversation, &granted)?;
    let extra = Some(Extra::Members { joined, left: Vec::new() });
    let entry = Entry { sender: Some(actor), sent_at: now, extra, ..Entry::default() };
    log::append(tx, conversation, Kind::Members, &entry).map(|_| ())
}

/// Removes another member from a conversation whose protocol is pairwise. Nothing is delivered to them any more.
pub(crate) fn remove_member(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
    actor: UserDevice,
    user: UserId,
    now: i64,
) -> Result<(), ApiError> {
    let access = access(tx, conversation, actor.user)?;
    permission::authorise(Some(&access.membership()), Action::RemoveMember)?;
    if access.protocol != Protocol::Pairwise {
        return Err(wrong_protocol(&access));
    }
    let role = roles::role_of(tx, conversation, user)?
        .ok_or_else(|| ApiError::new(Code::UnknownUser, "This user is not a member of the conversation."))?;
    let roster = conversations::roster(tx, conversation)?;
    permission::check_remove_member(Some(&access.membership()), &role, roster)?;
    if user == actor.user {
        return Err(ApiError::new(Code::InvalidOperation, "One leaves, one does not remove oneself."));
    }
    let extra = Some(Extra::Members { joined: Vec::new(), left: vec![user] });
    let entry = Entry { sender: Some(actor), sent_at: now, extra, ..Entry::default() };
    let place = log::append(tx, conversation, Kind::Members, &entry)?;
    conversations::end_member(tx, conversation, user, place.position)
}

/// Where every message costs by the devices of all members, there are not too many of these.
pub(super) fn check_member_limit(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
    protocol: Protocol,
    more: usize,
) -> Result<(), ApiError> {
    let present = conversations::roster(tx, conversation)?.members;
    if more > 0 && protocol.sends_pairwise() && present + more > MAX_PAIRWISE_MEMBERS {
        let detail = format!("A conversation that is not on MLS has at most {MAX_PAIRWISE_MEMBERS} members.");
        return Err(ApiError::new(Code::MemberLimit, detail));
    }
    Ok(())
}

/// Gives a member another role. If it takes that from the last admin, the successor becomes one first.
pub(crate) fn change_role(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
    actor: UserDevice,
    user: UserId,
    (role, successor): (&str, Option<UserId>),
    now: i64,
) -> Result<(), ApiError> {
    let access = access(tx, conversation, actor.user)?;
    permission::authorise(Some(&access.membership()), Action::ModifyOtherMember)?;
    // What stands in the group's signed context, nobody changes but by a commit.
    if !are_roles_the_hubs(&access) {
        let detail = "The roles of this conversation stand in its MLS group, and are changed by a commit.";
        return Err(ApiError::new(Code::InvalidOperation, detail));
    }
    let granted = role_to_give(tx, conversation, role)?;
    let present = roles::role_of(tx, conversation, user)?
        .ok_or_else(|| ApiError::new(Code::UnknownUser, "This user is not a member of the conversation."))?;
    let unchanged = granted == present;
    let roster = conversations::roster(tx, conversation)?;
    let takes_last_admin = present.is_admin() && !granted.is_admin() && roster.admins == 1;
    let target = |whose: UserId, present: Role| {
        if whose == actor.user { Target::Myself } else { Target::Other(present) }
    };
    // Where an admin remains, nobody has to follow.
    let successor = successor.filter(|&successor| takes_last_admin && successor != user);
    let follows = match successor {
        Some(successor) => {
            let present = roles::role_of(tx, conversation, successor)?.ok_or_else(|| {
                ApiError::new(Code::UnknownUser, "The successor is not a member of the conversation.")
            })?;
            let target = target(successor, present.clone());
            permission::check_change_role(Some(&access.membership()), target, &Role::ADMIN, roster, None)?;
            Some((successor, present))
        }
        None => None,
    };
    let following = follows.as_ref().map(|(_, present)| present);
    permission::check_change_role(
        Some(&access.membership()),
        target(user, present),
        &granted,
        roster,
        following,
    )?;
    if unchanged {
        return Ok(());
    }
    let given = follows.into_iter().map(|(successor, _)| (successor, Role::ADMIN)).chain([(user, granted)]);
    for (user, role) in given {
        roles::set_role(tx, conversation, user, role.name())?;
        roles::keep_role(tx, conversation, &role)?;
        announce_role(tx, conversation, Some(actor), user, role.name().clone(), now)?;
    }
    Ok(())
}

/// Whether the hub's record of the roles is all that there is, since no group ever had a policy. One that was begun anew has from
/// its first commit on the policy of the group before it, whatever the record says.
pub(super) fn are_roles_the_hubs(access: &Access) -> bool {
    access.protocol == Protocol::Pairwise || !access.has_begun()
}

/// The role that somebody wishes to give.
fn role_to_give(connection: &Connection, conversation: ConversationId, role: &str) -> Result<Role, ApiError> {
    let name: RoleName = role.parse().map_err(|_| ApiError::from(Code::UnknownRole))?;
    role_named(connection, conversation, &name)
}

/// The role of this name, which every conversation knows or the conversation's team has defined.
fn role_named(
    connection: &Connection,
    conversation: ConversationId,
    name: &RoleName,
) -> Result<Role, ApiError> {
    if let Some(role) = Role::predefined(name) {
        return Ok(role);
    }
    let defined = match teams::of_conversation(connection, conversation)? {
        Some(team) => teams::roles(connection, team)?,
        None => BTreeMap::new(),
    };
    let actions = defined.get(name).copied().ok_or(Code::UnknownRole)?;
    Role::defined(name.clone(), actions).map_err(|_| Code::UnknownRole.into())
}

/// Tells the members of somebody's new role. The hub itself gives one without an actor.
pub(super) fn announce_role(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
    actor: Option<UserDevice>,
    user: UserId,
    role: RoleName,
    now: i64,
) -> Result<(), ApiError> {
    let entry =
        Entry { sender: actor, sent_at: now, extra: Some(Extra::Role { user, role }), ..Entry::default() };
    log::append(tx, conversation, Kind::Role, &entry).map(|_| ())
}

/// Leaves a conversation. The hub proposes to remove the leaver's devices from the group; nothing is delivered to them
/// any more, whether or not the others get round to it.
pub(crate) fn leave(
    tx: &WriteTx<'_>,
    observer: &Observer,
    conversation: ConversationId,
    leaver: UserDevice,
    successor: Option<UserId>,
    now: i64,
) -> Result<(), ApiError> {
    let access = access(tx, conversation, leaver.user)?;
    let roster = conversations::roster(tx, conversation)?;
    // In an MLS group the successor is made one by a commit, before.
    let successor = successor.filter(|&user| user != leaver.user && are_roles_the_hubs(&access));
    let follows = match successor {
        Some(user) => roles::role_of(tx, conversation, user)?,
        None => None,
    };
    permission::check_leave(Some(&access.membership()), roster, follows.as_ref())?;

    let last_admin = access.role.is_admin() && roster.admins == 1;
    if let (Some(user), Some(_), true) = (successor, follows, last_admin) {
        roles::set_role(tx, conversation, user, &RoleName::ADMIN)?;
        announce_role(tx, conversation, Some(leaver), user, RoleName::ADMIN, now)?;
    }
    let entry = Entry {
        sender: Some(leaver),
        sent_at: now,
        extra: Some(Extra::Members { joined: Vec::new(), left: vec![leaver.user] }),
        ..Entry::default()
    };
    let place = log::append(tx, conversation, Kind::Members, &entry)?;
    conversations::end_member(tx, conversation, leaver.user, place.position)?;
    after_leaving(tx, observer, (conversation, access.kind, access.epoch), Proposing::AtOnce, now)
}

/// When the hub proposes removals.
#[derive(Debug, Clone, Copy)]
pub(super) enum Proposing {
    /// In the transaction in which somebody goes.
    AtOnce,
    /// After it, for there may be many groups: [`crate::removals`].
    Later,
}

/// Takes a user out of a conversation, whatever their role, on the hub's own account. If no admin is left, the longest
/// member becomes one: by the policy in the commit that removes the user's devices, or at once where there is no MLS group.
pub(super) fn take_out(
    tx: &WriteTx<'_>,
    observer: &Observer,
    (conversation, kind, epoch): (ConversationId, ConversationType, u64),
    user: UserId,
    proposing: Proposing,
    now: i64,
) -> Result<(), ApiError> {
    if epoch == 0
        && let Some(heir) = succession::heir(1, &conversations::remaining(tx, conversation, user)?)
    {
        roles::set_role(tx, conversation, heir, &RoleName::ADMIN)?;
        announce_role(tx, conversation, None, heir, RoleName::ADMIN, now)?;
    }
    let entry = Entry {
        sent_at: now,
        extra: Some(Extra::Members { joined: Vec::new(), left: vec![user] }),
        ..Entry::default()
    };
    let place = log::append(tx, conversation, Kind::Members, &entry)?;
    conversations::end_member(tx, conversation, user, place.position)?;
    after_leaving(tx, observer, (conversation, kind, epoch), proposing, now)
}

/// The group ends when nobody is left in it; otherwise those who are take out the leaver's devices.
fn after_leaving(
    tx: &WriteTx<'_>,
    observer: &Observer,
    (conversation, kind, epoch): (ConversationId, ConversationType, u64),
    proposing: Proposing,
    now: i64,
) -> Result<(), ApiError> {
    if conversations::roster(tx, conversation)?.members == 0 {
        return ended::end(tx, conversation, now);
    }
    match proposing {
        Proposing::AtOnce => propose_removals(tx, observer, conversation, kind, epoch, now)?,
        Proposing::Later => removals::insert(tx, conversation)?,
    }
    subconversations::follow_parent(tx, observer, conversation, now)
}

/// Proposes the removals that are due in a conversation, unless that was done meanwhile.
pub(crate) fn propose_due(
    tx: &WriteTx<'_>,
    observer: &Observer,
    conversation: ConversationId,
    now: i64,
) -> Result<(), ApiError> {
    match removals::take(tx, conversation)? {
        Some((kind, epoch)) => propose_removals(tx, observer, conversation, kind, epoch, now),
        None => Ok(()),
    }
}

/// Proposes to remove the leaf of every device that was removed from its account or, where membership is managed, whose
/// user is not a member; unless that is pending already or nobody is left to carry it out. Who is not in a 1:1 has blocked
/// the other, which must not show. Before that, what was proposed for such devices is withdrawn.
pub(super) fn propose_removals(
    tx: &WriteTx<'_>,
    observer: &Observer,
    conversation: ConversationId,
    kind: ConversationType,
    epoch: u64,
    now: i64,
) -> Result<(), ApiError> {
    if conversations::roster(tx, conversation)?.members == 0 {
        return Ok(());
    }
    proposals::withdraw_void(tx, observer, (conversation, kind, epoch), now)?;
    let gone = groups::devices_to_remove(tx, conversation, kind.is_managed())?;
    if gone.is_empty() {
        return Ok(());
    }
    let Some(snapshot) = groups::snapshot(tx, conversation)? else { return Ok(()) };
    let proposed = observer.propose_removals(&snapshot, |device| gone.contains(&device))?;
    announce_removals(tx, conversation, epoch, proposed, now)
}

/// Stores removals that the hub proposes, and puts them into the log for the members to commit.
pub(super) fn announce_removals(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
    epoch: u64,
    proposed: Proposed,
    now: i64,
) -> Result<(), ApiError> {
    let pending: Vec<_> = proposed
        .proposals
        .into_iter()
        .map(|removal| Pending {
            reference: removal.reference,
            removes: Some(removal.leaf),
            message: removal.message,
            expires_at: None,
        })
        .collect();
    groups::store_pending(tx, conversation, epoch, &proposed.snapshot, &pending)?;
    for proposal in &pending {
        let entry =
            Entry { epoch: Some(epoch), sent_at: now, body: Some(&proposal.message), ..Entry::default() };
        log::append(tx, conversation, Kind::Proposal, &entry)?;
    }
    Ok(())
}
