//! What is set for all members of a conversation.

use super::{
    auth::AuthenticatedDevice,
    extract::{Json, Path},
};
use crate::{
    delivery::settings,
    error::ApiError,
    state::{AppState, now_ms},
};
use axum::extract::State;
use http::StatusCode;
use tertulia_api::setting::{AddPermissionUpdate, MessageTimerUpdate, ReceiptModeUpdate, Setting};
use tertulia_domain::ConversationId;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(set_message_timer))
        .routes(routes!(set_receipt_mode))
        .routes(routes!(set_add_permission))
}

/// Change for how long messages stay
///
/// Each message says itself when it is to be deleted, as its author's client had the timer when it was sent; this hub deletes
/// nothing by it. Of a group or channel. Doing so again changes nothing.
#[utoipa::path(
    put, path = "/v1/conversations/{conversation}/message-timer", tag = "conversations",
    params(("conversation" = String, Path, format = Uuid, description = "The conversation.")),
    request_body = MessageTimerUpdate,
    responses((status = 204, description = "The timer is set, or ended.")),
    extensions(("x-problems" = json!(["action-denied", "invalid-operation", "no-device", "no-conversation"]))),
)]
async fn set_message_timer(
    State(state): State<AppState>,
    auth: AuthenticatedDevice,
    Path(conversation): Path<ConversationId>,
    Json(MessageTimerUpdate { message_timer }): Json<MessageTimerUpdate>,
) -> Result<StatusCode, ApiError> {
    set(&state, &auth, conversation, Setting::MessageTimer(message_timer)).await
}

/// Change whether receipts are sent
///
/// Receipts are messages like others, which this hub cannot tell from them. Of a group or channel. Doing so again changes
/// nothing.
#[utoipa::path(
    put, path = "/v1/conversations/{conversation}/receipt-mode", tag = "conversations",
    params(("conversation" = String, Path, format = Uuid, description = "The conversation.")),
    request_body = ReceiptModeUpdate,
    responses((status = 204, description = "The mode is set.")),
    extensions(("x-problems" = json!(["action-denied", "invalid-operation", "no-device", "no-conversation"]))),
)]
async fn set_receipt_mode(
    State(state): State<AppState>,
    auth: AuthenticatedDevice,
    Path(conversation): Path<ConversationId>,
    Json(ReceiptModeUpdate { receipt_mode }): Json<ReceiptModeUpdate>,
) -> Result<StatusCode, ApiError> {
    set(&state, &auth, conversation, Setting::ReceiptMode(receipt_mode)).await
}

/// Change who may add members
///
/// Of a group or channel whose protocol is pairwise. Once it has an MLS group, this stands in the group's signed context, and is
/// changed by a commit. Doing so again changes nothing.
#[utoipa::path(
    put, path = "/v1/conversations/{conversation}/add-permission", tag = "conversations",
    params(("conversation" = String, Path, format = Uuid, description = "The conversation.")),
    request_body = AddPermissionUpdate,
    responses((status = 204, description = "The permission is set.")),
    extensions(("x-problems" = json!(["action-denied", "invalid-operation", "no-device", "no-conversation"]))),
)]
async fn set_add_permission(
    State(state): State<AppState>,
    auth: AuthenticatedDevice,
    Path(conversation): Path<ConversationId>,
    Json(AddPermissionUpdate { add_permission }): Json<AddPermissionUpdate>,
) -> Result<StatusCode, ApiError> {
    set(&state, &auth, conversation, Setting::AddPermission(add_permission)).await
}

async fn set(
    state: &AppState,
    auth: &AuthenticatedDevice,
    conversation: ConversationId,
    setting: Setting,
) -> Result<StatusCode, ApiError> {
    let actor = auth.address();
    state.storage.write(move |tx| settings::change(tx, conversation, actor, setting, now_ms())).await?;
    Ok(StatusCode::NO_CONTENT)
}
