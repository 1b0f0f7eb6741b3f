//! Conversations: reading, creating, leaving, roles.

use super::{
    auth::{Authenticated, AuthenticatedDevice},
    extract::{Json, Path},
};
use crate::{
    delivery::{
        deletion, implicit, membership,
        resets::{self, Asked},
    },
    error::ApiError,
    state::{AppState, now_ms},
    storage::{WriteTx, conversations, quotas},
};
use axum::extract::State;
use http::StatusCode;
use std::{collections::BTreeSet, sync::Arc};
use tertulia_api::{
    Code,
    conversation::{Conversation, Conversations, GroupReset, Leave, NewConversation, RoleUpdate},
    pairwise::NewMembers,
};
use tertulia_domain::{ConversationId, UserId, account::AccountAction, permission::PermissionError};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, delete))
        .routes(routes!(add_members))
        .routes(routes!(remove_member))
        .routes(routes!(set_role))
        .routes(routes!(reset))
        .routes(routes!(leave))
}

/// List my conversations
#[utoipa::path(
    get, path = "/v1/conversations", tag = "conversations",
    responses(
        (status = 200, description = "The caller's conversations, oldest first.", body = Conversations),
    ),
)]
async fn list(State(state): State<AppState>, auth: Authenticated) -> Result<Json<Conversations>, ApiError> {
    let user = auth.user;
    let conversations = state.storage.read(move |connection| conversations::list(connection, user)).await?;
    Ok(Json(Conversations { conversations }))
}

/// Read a conversation
///
/// The 1:1 of two members of one team is there without being created, in epoch 0.
#[utoipa::path(
    get, path = "/v1/conversations/{conversation}", tag = "conversations",
    params(("conversation" = String, Path, format = Uuid, description = "The conversation.")),
    responses(
        (status = 200, description = "The conversation.", body = Conversation),
    ),
    extensions(("x-problems" = json!([
        "no-conversation"
    ]))),
)]
async fn show(
    State(state): State<AppState>,
    auth: Authenticated,
    Path(conversation): Path<ConversationId>,
) -> Result<Json<Conversation>, ApiError> {
    let user = auth.user;
    ensure(&state, conversation, user).await?;
    let domain = state.domain.clone();
    let shown =
        state.storage.read(move |connection| match conversations::show(connection, conversation, user)? {
            None => implicit::show(connection, &domain, user, conversation),
            shown => Ok(shown),
        });
    shown.await?.map(Json).ok_or(PermissionError::NoConversation.into())
}

/// Makes the conversation of a user with themselves be there whenever it is asked for.
pub(super) async fn ensure(
    state: &AppState,
    conversation: ConversationId,
    user: UserId,
) -> Result<(), ApiError> {
    if conversation != ConversationId::self_of(user) {
        return Ok(());
    }
    let found =
        state.storage.read(move |connection| conversations::find(connection, conversation, user)).await?;
    if found.is_none() {
        state.storage.write(move |tx| membership::ensure_self(tx, user, now_ms())).await?;
    }
    Ok(())
}

/// Create a group
///
/// The caller is its admin and only member; further members come with its first commit, or are added where the protocol is
/// pairwise. A parent is a group, channel or 1:1 of the caller's. Creating it again gives the same answer.
#[utoipa::path(
    post, path = "/v1/conversations", tag = "conversations",
    request_body = NewConversation,
    responses(
        (status = 201, description = "The group.", body = Conversation),
    ),
    extensions(("x-problems" = json!(["guest-denied", "no-team", "no-conversation", "invalid-operation", "quota-exceeded"]))),
)]
async fn create(
    State(state): State<AppState>,
    auth: Authenticated,
    Json(NewConversation { conversation, protocol, handshake, team, parent }): Json<NewConversation>,
) -> Result<(StatusCode, Json<Conversation>), ApiError> {
    auth.kind.check(AccountAction::CreateGroup)?;
    let (user, most) = (auth.user, state.limits.conversations_per_user);
    let created = state
        .storage
        .write(move |tx| {
            membership::create_group(
                tx,
                conversation,
                (protocol, handshake),
                user,
                (team, parent),
                now_ms(),
            )?;
            quotas::check_conversations(tx, user, most)?;
            conversations::show(tx, conversation, user)?.ok_or(PermissionError::NoConversation.into())
        })
        .await
        .inspect_err(|error| state.count_quota(error))?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// Delete a group for all
///
/// It takes the right to delete it. Its members are told, and nothing of it is delivered any more; what they have received is theirs.
/// Its join link, its MLS group and its subconversations are no more.
#[utoipa::path(
    delete, path = "/v1/conversations/{conversation}", tag = "conversations",
    params(("conversation" = String, Path, format = Uuid, description = "The group or channel.")),
    responses(
        (status = 204, description = "It is no more."),
    ),
    extensions(("x-problems" = json!([
        "action-denied", "invalid-operation", "no-device", "no-conversation"
    ]))),
)]
async fn delete(
    State(state): State<AppState>,
    auth: AuthenticatedDevice,
    Path(conversation): Path<ConversationId>,
) -> Result<StatusCode, ApiError> {
    let actor = auth.address();
    state.storage.write(move |tx| deletion::delete(tx, conversation, actor, now_ms())).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Add members
///
/// To a conversation whose protocol is pairwise; with MLS, members come by commit. The conversation must admit each, and each must
/// be connected with the caller. Who is a member already is passed over, and keeps their role.
#[utoipa::path(
    post, path = "/v1/conversations/{conversation}/members", tag = "conversations",
    params(("conversation" = String, Path, format = Uuid, description = "The conversation.")),
    request_body = NewMembers,
    responses(
        (status = 204, description = "They are members."),
    ),
    extensions(("x-problems" = json!([
        "unknown-role", "action-denied", "role-elevation", "guest-denied", "invalid-operation", "wrong-protocol", "member-limit", "not-admitted", "not-connected", "no-device", "no-conversation", "unknown-user", "quota-exceeded", "rate-limited"
    ]))),
)]
async fn add_members(
    State(state): State<AppState>,
    auth: AuthenticatedDevice,
    Path(conversation): Path<ConversationId>,
    Json(NewMembers { users, role }): Json<NewMembers>,
) -> Result<StatusCode, ApiError> {
    let most = state.limits.users_per_request;
    if users.len() > most {
        return Err(ApiError::new(Code::BadRequest, format!("A request names at most {most} users.")));
    }
    let (actor, users): (_, BTreeSet<UserId>) = (auth.address(), users.into_iter().collect());
    state.take_adds(actor.user, users.len())?;
    let add = move |tx: &WriteTx<'_>| {
        membership::add_members(tx, conversation, actor, (&users, role.as_deref()), now_ms())
    };
    state.storage.write(add).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Remove a member
///
/// From a conversation whose protocol is pairwise; with MLS, members are removed by commit. Nothing is delivered to them any
/// more.
#[utoipa::path(
    delete, path = "/v1/conversations/{conversation}/members/{user}", tag = "conversations",
    params(
        ("conversation" = String, Path, format = Uuid, description = "The conversation."),
        ("user" = String, Path, format = Uuid, description = "The member."),
    ),
    responses(
        (status = 204, description = "The user is not a member any more."),
    ),
    extensions(("x-problems" = json!([
        "action-denied", "invalid-operation", "wrong-protocol", "last-admin", "no-device", "no-conversation", "unknown-user"
    ]))),
)]
async fn remove_member(
    State(state): State<AppState>,
    auth: AuthenticatedDevice,
    Path((conversation, user)): Path<(ConversationId, UserId)>,
) -> Result<StatusCode, ApiError> {
    let actor = auth.address();
    state.storage.write(move |tx| membership::remove_member(tx, conversation, actor, user, now_ms())).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Change a member's role
///
/// In a conversation that has no MLS group yet. Once it has one, roles stand in the group's signed context, and are changed by a
/// commit. Who takes the role from the last admin names a successor.
#[utoipa::path(
    put, path = "/v1/conversations/{conversation}/members/{user}/role", tag = "conversations",
    params(
        ("conversation" = String, Path, format = Uuid, description = "The conversation."),
        ("user" = String, Path, format = Uuid, description = "The member."),
    ),
    request_body = RoleUpdate,
    responses(
        (status = 204, description = "The member has the role."),
    ),
    extensions(("x-problems" = json!([
        "unknown-role", "action-denied", "invalid-operation", "role-elevation", "last-admin", "no-device", "no-conversation", "unknown-user"
    ]))),
)]
async fn set_role(
    State(state): State<AppState>,
    auth: AuthenticatedDevice,
    Path((conversation, user)): Path<(ConversationId, UserId)>,
    Json(RoleUpdate { role, successor }): Json<RoleUpdate>,
) -> Result<StatusCode, ApiError> {
    let actor = auth.address();
    let change = move |tx: &WriteTx<'_>| {
        membership::change_role(tx, conversation, actor, user, (&role, successor), now_ms())
    };
    state.storage.write(change).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Begin a conversation's MLS group anew
///
/// For when nobody can go on in the present one. The conversation and its members stay; it is carried by a new group at
/// epoch 0, and all devices are told. In a group it takes the right to delete it. A group that has moved on meanwhile is left
/// alone.
#[utoipa::path(
    post, path = "/v1/conversations/{conversation}/reset", tag = "conversations",
    params(("conversation" = String, Path, format = Uuid, description = "The conversation.")),
    request_body = GroupReset,
    responses((status = 200, description = "The conversation with its new group.", body = Conversation)),
    extensions(("x-problems" = json!([
        "action-denied", "invalid-operation", "not-connected", "parent-not-joined", "stale-epoch", "no-device", "no-conversation"
    ]))),
)]
async fn reset(
    State(state): State<AppState>,
    auth: AuthenticatedDevice,
    Path(conversation): Path<ConversationId>,
    Json(group): Json<GroupReset>,
) -> Result<Json<Conversation>, ApiError> {
    let actor = auth.address();
    let asked = Asked { conversation, actor, group, now: now_ms() };
    let observer = Arc::clone(&state.observer);
    let shown = state
        .storage
        .write(move |tx| {
            resets::reset(tx, &observer, &asked)?;
            conversations::show(tx, conversation, actor.user)?.ok_or(PermissionError::NoConversation.into())
        })
        .await?;
    Ok(Json(shown))
}

/// Leave a conversation
///
/// Nothing of it is delivered to the caller any more. The hub proposes to the others to remove the caller's devices from
/// the MLS group. The last admin names a successor while others remain; in an MLS group they make somebody else admin by a
/// commit before they leave.
#[utoipa::path(
    post, path = "/v1/conversations/{conversation}/leave", tag = "conversations",
    params(("conversation" = String, Path, format = Uuid, description = "The conversation.")),
    request_body = Leave,
    responses(
        (status = 204, description = "The caller is not a member any more."),
    ),
    extensions(("x-problems" = json!([
        "action-denied", "invalid-operation", "last-admin", "no-device", "no-conversation"
    ]))),
)]
async fn leave(
    State(state): State<AppState>,
    auth: AuthenticatedDevice,
    Path(conversation): Path<ConversationId>,
    Json(Leave { successor }): Json<Leave>,
) -> Result<StatusCode, ApiError> {
    let (leaver, observer) = (auth.address(), Arc::clone(&state.observer));
    state
        .storage
        .write(move |tx| membership::leave(tx, &observer, conversation, leaver, successor, now_ms()))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
