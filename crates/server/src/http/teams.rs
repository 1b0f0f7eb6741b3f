//! The caller's team.

use super::{
    auth::{Authenticated, hash, new_secret},
    extract::{Json, Path},
};
use crate::{
    delivery::team,
    error::{ApiError, sentence},
    removals,
    state::{AppState, now_ms},
    storage::teams,
};
use axum::extract::State;
use http::StatusCode;
use std::{sync::Arc, time::Duration};
use tertulia_api::{
    Code,
    team::{
        ConversationRole, ConversationRoles, Invitation, JoinTeam, NewInvitation, NewTeam, Team, TeamMembers,
        TeamRoleUpdate,
    },
};
use tertulia_domain::{DisplayName, RoleName, UserId, account::AccountAction, team::TeamError};
use utoipa_axum::{router::OpenApiRouter, routes};

/// For how long an invitation can be accepted, unless the request says otherwise, and at least and at most.
const VALID_FOR: Duration = Duration::from_hours(7 * 24);
const SHORTEST: Duration = Duration::from_mins(1);
const LONGEST: Duration = Duration::from_hours(30 * 24);

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(show, create))
        .routes(routes!(members))
        .routes(routes!(invite))
        .routes(routes!(join))
        .routes(routes!(leave))
        .routes(routes!(remove))
        .routes(routes!(set_role))
        .routes(routes!(roles, define_role))
        .routes(routes!(delete_role))
}

/// My team
#[utoipa::path(get, path = "/v1/team", tag = "teams",
    responses((status = 200, description = "The caller's team", body = Team)),
    extensions(("x-problems" = json!(["no-team"]))))]
async fn show(State(state): State<AppState>, caller: Authenticated) -> Result<Json<Team>, ApiError> {
    let team = state.storage.read(move |db| teams::show(db, caller.user)).await?;
    Ok(Json(team.ok_or(TeamError::NoTeam)?))
}

/// Make a team
///
/// The caller is its owner.
#[utoipa::path(post, path = "/v1/team", tag = "teams", request_body = NewTeam,
    responses((status = 201, description = "The team", body = Team)),
    extensions(("x-problems" = json!(["already-in-team", "guest-denied"]))))]
async fn create(
    State(state): State<AppState>,
    caller: Authenticated,
    Json(new): Json<NewTeam>,
) -> Result<(StatusCode, Json<Team>), ApiError> {
    caller.kind.check(AccountAction::CreateTeam)?;
    let name: DisplayName =
        new.name.parse().map_err(|error| ApiError::new(Code::BadRequest, sentence(&error)))?;
    let domain = state.domain.clone();
    let created = state.storage.write(move |tx| team::create(tx, &domain, caller.user, &name, now_ms()));
    Ok((StatusCode::CREATED, Json(created.await?)))
}

/// The members of my team
#[utoipa::path(get, path = "/v1/team/members", tag = "teams",
    responses((status = 200, description = "All of them, in the order in which they joined", body = TeamMembers)),
    extensions(("x-problems" = json!(["no-team"]))))]
async fn members(
    State(state): State<AppState>,
    caller: Authenticated,
) -> Result<Json<TeamMembers>, ApiError> {
    let members = state.storage.read(move |db| {
        let (team, _) = teams::of(db, caller.user)?.ok_or(TeamError::NoTeam)?;
        teams::members(db, team)
    });
    Ok(Json(TeamMembers { members: members.await? }))
}

/// Invite somebody into my team
///
/// The answer has a code that one person with an account of their own can accept, once.
#[utoipa::path(post, path = "/v1/team/invitations", tag = "teams", request_body = NewInvitation,
    responses((status = 201, description = "The invitation", body = Invitation)),
    extensions(("x-problems" = json!(["no-team", "action-denied", "team-limit"]))))]
async fn invite(
    State(state): State<AppState>,
    caller: Authenticated,
    Json(new): Json<NewInvitation>,
) -> Result<(StatusCode, Json<Invitation>), ApiError> {
    let valid_for = new.valid_for.map_or(VALID_FOR, Duration::from_secs);
    if !(SHORTEST..=LONGEST).contains(&valid_for) {
        let detail =
            format!("An invitation is valid for {} to {} seconds.", SHORTEST.as_secs(), LONGEST.as_secs());
        return Err(ApiError::new(Code::BadRequest, detail));
    }
    let now = now_ms();
    let expires_at = now.saturating_add(i64::try_from(valid_for.as_millis()).unwrap_or(i64::MAX));
    let (code, code_hash) = new_secret();
    state.storage.write(move |tx| team::invite(tx, caller.user, &code_hash, expires_at, now)).await?;
    Ok((StatusCode::CREATED, Json(Invitation { code, expires_at })))
}

/// Join a team
///
/// Accepts an invitation. What connections and blocks there were with the members end: team mates are always connected.
#[utoipa::path(post, path = "/v1/team/join", tag = "teams", request_body = JoinTeam,
    responses((status = 200, description = "The team, which is the caller's now", body = Team)),
    extensions(("x-problems" = json!(["already-in-team", "guest-denied", "invalid-invitation", "team-limit"]))))]
async fn join(
    State(state): State<AppState>,
    caller: Authenticated,
    Json(JoinTeam { code }): Json<JoinTeam>,
) -> Result<Json<Team>, ApiError> {
    caller.kind.check(AccountAction::JoinTeam)?;
    let (domain, code) = (state.domain.clone(), hash(code.trim()));
    let joined = state.storage.write(move |tx| team::join(tx, &domain, caller.user, &code, now_ms()));
    Ok(Json(joined.await?))
}

/// Leave my team
///
/// And all its conversations. The 1:1s with its members end, too.
#[utoipa::path(post, path = "/v1/team/leave", tag = "teams",
    responses((status = 204, description = "The caller is in no team")),
    extensions(("x-problems" = json!(["no-team", "last-owner"]))))]
async fn leave(State(state): State<AppState>, caller: Authenticated) -> Result<StatusCode, ApiError> {
    let observer = Arc::clone(&state.observer);
    state.storage.write(move |tx| team::leave(tx, &observer, caller.user, now_ms())).await?;
    removals::carry_out(&state).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Remove somebody from my team
///
/// With what follows from leaving.
#[utoipa::path(delete, path = "/v1/team/members/{user}", tag = "teams",
    params(("user" = String, Path, format = Uuid, description = "The member")),
    responses((status = 204, description = "The user is not in the team any more")),
    extensions(("x-problems" = json!(["no-team", "action-denied", "unknown-user"]))))]
async fn remove(
    State(state): State<AppState>,
    caller: Authenticated,
    Path(user): Path<UserId>,
) -> Result<StatusCode, ApiError> {
    let observer = Arc::clone(&state.observer);
    state.storage.write(move |tx| team::remove(tx, &observer, caller.user, user, now_ms())).await?;
    removals::carry_out(&state).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Change a member's role in my team
#[utoipa::path(put, path = "/v1/team/members/{user}/role", tag = "teams", request_body = TeamRoleUpdate,
    params(("user" = String, Path, format = Uuid, description = "The member")),
    responses((status = 204, description = "The member has the role")),
    extensions(("x-problems" = json!(["no-team", "action-denied", "unknown-user"]))))]
async fn set_role(
    State(state): State<AppState>,
    caller: Authenticated,
    Path(user): Path<UserId>,
    Json(update): Json<TeamRoleUpdate>,
) -> Result<StatusCode, ApiError> {
    state.storage.write(move |tx| team::change_role(tx, caller.user, user, update.role)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The roles that my team defines
///
/// Members of its conversations can have them, besides `admin` and `member`.
#[utoipa::path(get, path = "/v1/team/roles", tag = "teams",
    responses((status = 200, description = "All of them, by name", body = ConversationRoles)),
    extensions(("x-problems" = json!(["no-team"]))))]
async fn roles(
    State(state): State<AppState>,
    caller: Authenticated,
) -> Result<Json<ConversationRoles>, ApiError> {
    let roles = state.storage.read(move |db| {
        let (team, _) = teams::of(db, caller.user)?.ok_or(TeamError::NoTeam)?;
        teams::roles(db, team)
    });
    let named = |(name, actions)| ConversationRole { name, actions };
    Ok(Json(ConversationRoles { roles: roles.await?.into_iter().map(named).collect() }))
}

/// Define a role
///
/// For the conversations of the caller's team. What a role allows does not change; to define the same again changes nothing.
#[utoipa::path(post, path = "/v1/team/roles", tag = "teams", request_body = ConversationRole,
    responses((status = 201, description = "The role", body = ConversationRole)),
    extensions(("x-problems" = json!(["no-team", "action-denied", "role-exists", "team-limit"]))))]
async fn define_role(
    State(state): State<AppState>,
    caller: Authenticated,
    Json(role): Json<ConversationRole>,
) -> Result<(StatusCode, Json<ConversationRole>), ApiError> {
    let (name, actions) = (role.name.clone(), role.actions);
    state.storage.write(move |tx| team::define_role(tx, caller.user, &name, actions)).await?;
    Ok((StatusCode::CREATED, Json(role)))
}

/// Delete a role
#[utoipa::path(delete, path = "/v1/team/roles/{role}", tag = "teams",
    params(("role" = String, Path, description = "The role's name")),
    responses((status = 204, description = "The team has no role of this name")),
    extensions(("x-problems" = json!(["no-team", "action-denied", "unknown-role", "role-in-use"]))))]
async fn delete_role(
    State(state): State<AppState>,
    caller: Authenticated,
    Path(name): Path<RoleName>,
) -> Result<StatusCode, ApiError> {
    state.storage.write(move |tx| team::delete_role(tx, caller.user, &name)).await?;
    Ok(StatusCode::NO_CONTENT)
}
