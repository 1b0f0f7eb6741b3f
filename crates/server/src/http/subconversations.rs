//! Subconversations, by their parent and their name. Commits and messages go to the id that follows from both, as in any
//! conversation.

use super::{
    auth::{Authenticated, AuthenticatedDevice},
    extract::{Json, Path, Query},
};
use crate::{
    delivery::{
        self,
        resets::{self, Asked},
        subconversations as delivering,
    },
    error::ApiError,
    state::{AppState, now_ms},
    storage::subconversations,
};
use axum::extract::State;
use http::StatusCode;
use std::sync::Arc;
use tertulia_api::conversation::{GroupReset, Subconversation, SubconversationQuery, Subconversations};
use tertulia_domain::{ConversationId, subconversation};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show, open, delete)).routes(routes!(leave))
}

/// List subconversations
#[utoipa::path(
    get, path = "/v1/conversations/{conversation}/subconversations", tag = "conversations",
    params(("conversation" = String, Path, format = Uuid, description = "The parent.")),
    responses((status = 200, description = "Those with devices in them.", body = Subconversations)),
    extensions(("x-problems" = json!(["invalid-operation", "no-conversation"]))),
)]
async fn list(
    State(state): State<AppState>,
    auth: Authenticated,
    Path(parent): Path<ConversationId>,
) -> Result<Json<Subconversations>, ApiError> {
    let user = auth.user;
    let found = state
        .storage
        .read(move |connection| {
            let above = delivery::access(connection, parent, user)?;
            subconversation::check_join(above.kind, true)?;
            let mut found = Vec::new();
            for id in subconversations::of_parent(connection, parent)? {
                let Some(name) = subconversations::name(connection, id)? else { continue };
                let shown = subconversations::show(connection, parent, &name)?;
                if !shown.devices.is_empty() {
                    found.push(shown);
                }
            }
            Ok(found)
        })
        .await?;
    Ok(Json(Subconversations { subconversations: found }))
}

/// Read a subconversation
///
/// One that nobody has joined yet is at epoch 0.
#[utoipa::path(
    get, path = "/v1/conversations/{conversation}/subconversation", tag = "conversations",
    params(("conversation" = String, Path, format = Uuid, description = "The parent."), SubconversationQuery),
    responses((status = 200, description = "The subconversation.", body = Subconversation)),
    extensions(("x-problems" = json!(["invalid-operation", "no-conversation"]))),
)]
async fn show(
    State(state): State<AppState>,
    auth: Authenticated,
    Path(parent): Path<ConversationId>,
    Query(SubconversationQuery { name }): Query<SubconversationQuery>,
) -> Result<Json<Subconversation>, ApiError> {
    let user = auth.user;
    let shown =
        state.storage.read(move |connection| delivering::show(connection, parent, &name, user)).await?;
    Ok(Json(shown))
}

/// Open a subconversation
///
/// Before the calling device joins it: by the first commit at epoch 0, later by an external commit. The device must be in
/// the parent's group. Opening it again changes nothing.
#[utoipa::path(
    put, path = "/v1/conversations/{conversation}/subconversation", tag = "conversations",
    params(("conversation" = String, Path, format = Uuid, description = "The parent."), SubconversationQuery),
    responses((status = 200, description = "The subconversation.", body = Subconversation)),
    extensions(("x-problems" = json!([
        "invalid-operation", "not-connected", "parent-not-joined", "subconversation-limit", "no-device", "no-conversation"
    ]))),
)]
async fn open(
    State(state): State<AppState>,
    auth: AuthenticatedDevice,
    Path(parent): Path<ConversationId>,
    Query(SubconversationQuery { name }): Query<SubconversationQuery>,
) -> Result<Json<Subconversation>, ApiError> {
    let device = auth.address();
    let opened = state.storage.write(move |tx| delivering::open(tx, parent, &name, device, now_ms())).await?;
    Ok(Json(opened))
}

/// Delete a subconversation
///
/// Which resets it: nobody is in it any more, and who joins next begins a new group at epoch 0. In a group it takes the
/// right to delete the group.
#[utoipa::path(
    delete, path = "/v1/conversations/{conversation}/subconversation", tag = "conversations",
    params(("conversation" = String, Path, format = Uuid, description = "The parent."), SubconversationQuery),
    request_body = GroupReset,
    responses((status = 200, description = "The subconversation as it is now.", body = Subconversation)),
    extensions(("x-problems" = json!([
        "invalid-operation", "action-denied", "not-connected", "parent-not-joined", "stale-epoch", "no-device", "no-conversation"
    ]))),
)]
async fn delete(
    State(state): State<AppState>,
    auth: AuthenticatedDevice,
    Path(parent): Path<ConversationId>,
    Query(SubconversationQuery { name }): Query<SubconversationQuery>,
    Json(group): Json<GroupReset>,
) -> Result<Json<Subconversation>, ApiError> {
    let actor = auth.address();
    let conversation = ConversationId::subconversation(parent, &name);
    let asked = Asked { conversation, actor, group, now: now_ms() };
    let observer = Arc::clone(&state.observer);
    let ended = state
        .storage
        .write(move |tx| {
            resets::reset(tx, &observer, &asked)?;
            subconversations::show(tx, parent, &name)
        })
        .await?;
    Ok(Json(ended))
}

/// Leave a subconversation
///
/// The calling device alone. Nothing of it is delivered to the device any more, and the hub proposes to the others to
/// remove it; the last one that leaves resets the subconversation.
#[utoipa::path(
    post, path = "/v1/conversations/{conversation}/subconversation/leave", tag = "conversations",
    params(("conversation" = String, Path, format = Uuid, description = "The parent."), SubconversationQuery),
    responses((status = 204, description = "The device is not in it.")),
    extensions(("x-problems" = json!(["no-device", "no-conversation"]))),
)]
async fn leave(
    State(state): State<AppState>,
    auth: AuthenticatedDevice,
    Path(parent): Path<ConversationId>,
    Query(SubconversationQuery { name }): Query<SubconversationQuery>,
) -> Result<StatusCode, ApiError> {
    let (device, observer) = (auth.address(), Arc::clone(&state.observer));
    state.storage.write(move |tx| delivering::leave(tx, &observer, parent, &name, device, now_ms())).await?;
    Ok(StatusCode::NO_CONTENT)
}
