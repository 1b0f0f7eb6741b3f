//! Teams: who joins and leaves, and what follows for connections and conversations.

use super::{
    implicit, joins,
    membership::{self, Proposing},
    subconversations,
};
use crate::{
    error::{ApiError, sentence},
    mls::Observer,
    storage::{WriteTx, connections, conversations, events::append_user_event, teams},
};
use tertulia_api::{
    Code,
    event::EventBody,
    team::{Team, TeamMember},
};
use tertulia_domain::{
    ConversationId, ConversationType, DisplayName, Domain, Role, RoleName, TeamId, UserId,
    limits::{MAX_TEAM_INVITATIONS, MAX_TEAM_MEMBERS, MAX_TEAM_ROLES},
    role::ActionSet,
    succession,
    team::{self, TeamAction, TeamError, TeamRole},
};

/// Makes a team, of which its creator is the owner.
pub(crate) fn create(
    tx: &WriteTx<'_>,
    domain: &Domain,
    creator: UserId,
    name: &DisplayName,
    now: i64,
) -> Result<Team, ApiError> {
    let team = TeamId::random();
    if teams::of(tx, creator)?.is_some() {
        return Err(TeamError::AlreadyInTeam.into());
    }
    teams::create(tx, team, name, now)?;
    enter(tx, domain, team, creator, TeamRole::Owner, now)
}

/// Stores an invitation to the actor's team.
pub(crate) fn invite(
    tx: &WriteTx<'_>,
    actor: UserId,
    code: &teams::CodeHash,
    expires_at: i64,
    now: i64,
) -> Result<(), ApiError> {
    let (team, role) = teams::of(tx, actor)?.ok_or(TeamError::NoTeam)?;
    team::authorise(Some(role), TeamAction::Invite)?;
    if teams::open_invitations(tx, team, now)? >= MAX_TEAM_INVITATIONS {
        return Err(TeamError::Limit { what: "open invitations", max: MAX_TEAM_INVITATIONS }.into());
    }
    teams::invite(tx, team, code, expires_at, now)
}

/// Accepts an invitation, which is used up by it.
pub(crate) fn join(
    tx: &WriteTx<'_>,
    domain: &Domain,
    user: UserId,
    code: &teams::CodeHash,
    now: i64,
) -> Result<Team, ApiError> {
    if teams::of(tx, user)?.is_some() {
        return Err(TeamError::AlreadyInTeam.into());
    }
    let team = teams::accept(tx, code, now)?.ok_or(TeamError::InvalidInvitation)?;
    enter(tx, domain, team, user, TeamRole::Member, now)
}

/// Puts a user into a team. What connections there were with its members, requests and blocks too, are no more: team mates
/// are connected and have no rows. The 1:1s that there were go on, with both in them.
fn enter(
    tx: &WriteTx<'_>,
    domain: &Domain,
    team: TeamId,
    user: UserId,
    role: TeamRole,
    now: i64,
) -> Result<Team, ApiError> {
    let mates = teams::members(tx, team)?;
    if mates.len() >= MAX_TEAM_MEMBERS {
        return Err(TeamError::Limit { what: "members", max: MAX_TEAM_MEMBERS }.into());
    }
    teams::insert_member(tx, team, user, role, now)?;
    let member = teams::member_of(tx, team, user)?.ok_or_else(vanished)?;
    for mate in mates.iter().map(|mate| mate.user).chain([user]) {
        append_user_event(tx, mate, &EventBody::TeamMemberJoined { team, member: member.clone() })?;
    }
    for mate in mates {
        connections::delete(tx, user, mate.user)?;
        let one_to_one = ConversationId::one_to_one((&user, domain), (&mate.user, domain)).id;
        if conversations::exists(tx, one_to_one)? {
            implicit::open(tx, one_to_one, user, mate.user, now)?;
        }
    }
    joins::end_unfit(tx, user)?;
    teams::show(tx, user)?.ok_or_else(vanished)
}

/// Gives a member another role.
pub(crate) fn change_role(
    tx: &WriteTx<'_>,
    actor: UserId,
    user: UserId,
    role: TeamRole,
) -> Result<(), ApiError> {
    let (team, target) = place(tx, actor, user)?;
    let own = teams::of(tx, actor)?.map(|(_, role)| role);
    team::check_change_role(own, user == actor, target.as_ref().map(|member| member.role))?;
    if target.is_some_and(|member| member.role == role) {
        return Ok(());
    }
    set_role(tx, team, user, role)
}

fn set_role(tx: &WriteTx<'_>, team: TeamId, user: UserId, role: TeamRole) -> Result<(), ApiError> {
    teams::set_role(tx, user, role)?;
    let member = teams::member_of(tx, team, user)?.ok_or_else(vanished)?;
    for mate in teams::members(tx, team)? {
        append_user_event(tx, mate.user, &EventBody::TeamRoleChanged { team, member: member.clone() })?;
    }
    Ok(())
}

/// Removes a member from the actor's team.
pub(crate) fn remove(
    tx: &WriteTx<'_>,
    observer: &Observer,
    actor: UserId,
    user: UserId,
    now: i64,
) -> Result<(), ApiError> {
    let (_, target) = place(tx, actor, user)?;
    let own = teams::of(tx, actor)?.map(|(_, role)| role);
    team::check_remove(own, user == actor, target.map(|member| member.role))?;
    depart(tx, observer, user, now)
}

/// Leaves the team.
pub(crate) fn leave(tx: &WriteTx<'_>, observer: &Observer, user: UserId, now: i64) -> Result<(), ApiError> {
    let (team, role) = teams::of(tx, user)?.ok_or(TeamError::NoTeam)?;
    let members = teams::remaining(tx, team)?;
    let owners = members.iter().filter(|member| member.rank == TeamRole::Owner.rank()).count();
    team::check_leave(Some(role), members.len(), owners)?;
    depart(tx, observer, user, now)
}

/// The actor's team, and the named user in it.
fn place(tx: &WriteTx<'_>, actor: UserId, user: UserId) -> Result<(TeamId, Option<TeamMember>), ApiError> {
    let (team, _) = teams::of(tx, actor)?.ok_or(TeamError::NoTeam)?;
    Ok((team, teams::member_of(tx, team, user)?))
}

/// Takes a user out of their team, if they are in one, and out of all its conversations. The 1:1s with its members end. If no
/// owner is left, the highest and longest member becomes one; a team without members is no more.
pub(super) fn depart(tx: &WriteTx<'_>, observer: &Observer, user: UserId, now: i64) -> Result<(), ApiError> {
    let Some((team, _)) = teams::of(tx, user)? else { return Ok(()) };
    for mate in teams::members(tx, team)? {
        append_user_event(tx, mate.user, &EventBody::TeamMemberLeft { team, user })?;
    }
    teams::remove_member(tx, user)?;
    joins::end_unfit(tx, user)?;
    for (conversation, kind, epoch) in conversations::of_user(tx, user)? {
        if teams::of_conversation(tx, conversation)? == Some(team) {
            membership::take_out(tx, observer, (conversation, kind, epoch), user, Proposing::Later, now)?;
        } else if kind == ConversationType::OneToOne
            && conversations::own_status(tx, conversation, user)?.is_none()
            && let Some(mate) = conversations::other_user(tx, conversation, user)?
        {
            conversations::leave_silently(tx, conversation, user)?;
            conversations::leave_silently(tx, conversation, mate)?;
            subconversations::follow_parent(tx, observer, conversation, now)?;
        }
    }
    let remaining = teams::remaining(tx, team)?;
    if remaining.is_empty() {
        return teams::delete(tx, team);
    }
    match succession::heir(TeamRole::Owner.rank(), &remaining) {
        Some(heir) => set_role(tx, team, heir, TeamRole::Owner),
        None => Ok(()),
    }
}

fn vanished() -> ApiError {
    ApiError::internal("a member of a team that was just stored is not there")
}

/// The team that a new conversation of the user's team belongs to.
pub(crate) fn for_conversation(tx: &WriteTx<'_>, user: UserId) -> Result<TeamId, ApiError> {
    let found = teams::of(tx, user)?;
    found.map(|(team, _)| team).ok_or_else(|| ApiError::new(Code::NoTeam, "You are in no team."))
}

/// Defines a role for the conversations of the actor's team. Doing so again changes nothing.
pub(crate) fn define_role(
    tx: &WriteTx<'_>,
    actor: UserId,
    name: &RoleName,
    actions: ActionSet,
) -> Result<(), ApiError> {
    let (team, role) = teams::of(tx, actor)?.ok_or(TeamError::NoTeam)?;
    team::authorise(Some(role), TeamAction::DefineRoles)?;
    if let Err(predefined) = Role::defined(name.clone(), actions) {
        return Err(ApiError::new(Code::BadRequest, sentence(&predefined)));
    }
    let roles = teams::roles(tx, team)?;
    match roles.get(name) {
        Some(known) if *known == actions => return Ok(()),
        Some(_) => return Err(Code::RoleExists.into()),
        None => {}
    }
    if roles.len() >= MAX_TEAM_ROLES {
        return Err(TeamError::Limit { what: "roles", max: MAX_TEAM_ROLES }.into());
    }
    teams::define_role(tx, team, name, actions)?;
    announce_roles(tx, team)
}

/// Deletes a role that no conversation of the actor's team uses.
pub(crate) fn delete_role(tx: &WriteTx<'_>, actor: UserId, name: &RoleName) -> Result<(), ApiError> {
    let (team, role) = teams::of(tx, actor)?.ok_or(TeamError::NoTeam)?;
    team::authorise(Some(role), TeamAction::DefineRoles)?;
    if teams::is_role_used(tx, team, name)? {
        return Err(Code::RoleInUse.into());
    }
    if !teams::delete_role(tx, team, name)? {
        return Err(Code::UnknownRole.into());
    }
    announce_roles(tx, team)
}

fn announce_roles(tx: &WriteTx<'_>, team: TeamId) -> Result<(), ApiError> {
    for mate in teams::members(tx, team)? {
        append_user_event(tx, mate.user, &EventBody::TeamRolesChanged { team })?;
    }
    Ok(())
}
