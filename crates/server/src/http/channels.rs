//! The channels of a team.

use super::{
    auth::{Authenticated, AuthenticatedDevice},
    extract::{Json, Path},
};
use crate::{
    delivery::channels,
    error::{ApiError, sentence},
    state::{AppState, now_ms},
    storage::{conversations, quotas},
};
use axum::extract::State;
use http::StatusCode;
use tertulia_api::{
    Code,
    conversation::Conversation,
    team::{ChannelName, Channels, NewChannel},
};
use tertulia_domain::{
    ConversationId, ConversationName, TeamId, account::AccountAction, permission::PermissionError,
};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(rename))
}

/// The channels of my team
///
/// All of them, whether the caller is in them or not.
#[utoipa::path(get, path = "/v1/teams/{team}/channels", tag = "teams",
    params(("team" = String, Path, format = Uuid, description = "The caller's team")),
    responses((status = 200, description = "In the order in which they were made", body = Channels)),
    extensions(("x-problems" = json!(["no-team"]))))]
async fn list(
    State(state): State<AppState>,
    caller: Authenticated,
    Path(team): Path<TeamId>,
) -> Result<Json<Channels>, ApiError> {
    let channels = state.storage.read(move |db| channels::list(db, team, caller.user)).await?;
    Ok(Json(Channels { channels }))
}

/// Make a channel
///
/// A group whose name and existence the whole team sees; its name is known to the hub. The caller is its admin and only
/// member; further members come as those of a group do. Making it again gives the same answer.
#[utoipa::path(post, path = "/v1/teams/{team}/channels", tag = "teams", request_body = NewChannel,
    params(("team" = String, Path, format = Uuid, description = "The caller's team")),
    responses((status = 201, description = "The channel", body = Conversation)),
    extensions(("x-problems" = json!(["no-team", "action-denied", "guest-denied", "invalid-name", "team-limit", "quota-exceeded"]))))]
async fn create(
    State(state): State<AppState>,
    caller: Authenticated,
    Path(team): Path<TeamId>,
    Json(new): Json<NewChannel>,
) -> Result<(StatusCode, Json<Conversation>), ApiError> {
    caller.kind.check(AccountAction::CreateChannel)?;
    let NewChannel { conversation, name, protocol, handshake } = new;
    let (name, user) = (parsed(&name)?, caller.user);
    let most = state.limits.conversations_per_user;
    let created = state
        .storage
        .write(move |tx| {
            channels::create(tx, (team, user), conversation, &name, (protocol, handshake), now_ms())?;
            quotas::check_conversations(tx, user, most)?;
            conversations::show(tx, conversation, user)?.ok_or(PermissionError::NoConversation.into())
        })
        .await
        .inspect_err(|error| state.count_quota(error))?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// Rename a channel
///
/// It takes the right to `modify_name`. The members get the event `conversation.renamed`. Other conversations have names
/// that the hub does not know, and are renamed by a message.
#[utoipa::path(put, path = "/v1/conversations/{conversation}/channel-name", tag = "conversations",
    request_body = ChannelName,
    params(("conversation" = String, Path, format = Uuid, description = "The channel")),
    responses((status = 204, description = "It has the name")),
    extensions(("x-problems" = json!([
        "action-denied", "invalid-name", "invalid-operation", "no-conversation", "no-device"
    ]))))]
async fn rename(
    State(state): State<AppState>,
    caller: AuthenticatedDevice,
    Path(channel): Path<ConversationId>,
    Json(ChannelName { name }): Json<ChannelName>,
) -> Result<StatusCode, ApiError> {
    let (name, actor) = (parsed(&name)?, caller.address());
    state.storage.write(move |tx| channels::rename(tx, channel, actor, &name, now_ms())).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn parsed(name: &str) -> Result<ConversationName, ApiError> {
    name.parse().map_err(|error| ApiError::new(Code::InvalidName, sentence(&error)))
}
