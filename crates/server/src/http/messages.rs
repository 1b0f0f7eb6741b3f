//! Sending into a conversation.

use super::{
    auth::LikelyDevice,
    extract::{Json, Mls, Path},
};
use crate::{
    delivery::messages::Sent,
    error::ApiError,
    mls::ApplicationMessage,
    state::{AppState, now_ms},
    storage::log::{Digest, Kind},
};
use axum::extract::State;
use bytes::Bytes;
use http::StatusCode;
use tertulia_api::conversation::MessageAccepted;
use tertulia_domain::ConversationId;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(send)).routes(routes!(rename))
}

/// Send a message
///
/// The body is one `MLSMessage` with an encrypted application message of the current epoch or one of the two before.
/// Sending the same bytes again stores nothing and gives the same answer.
#[utoipa::path(
    post, path = "/v1/conversations/{conversation}/messages", tag = "conversations",
    params(("conversation" = String, Path, format = Uuid, description = "The conversation.")),
    request_body(content = [u8], content_type = "message/mls"),
    responses(
        (status = 201, description = "Where it stands in the log.", body = MessageAccepted),
    ),
    extensions(("x-problems" = json!([
        "malformed-mls-message", "not-connected", "no-device", "no-conversation", "stale-epoch", "wrong-protocol",
        "quota-exceeded"
    ]))),
)]
async fn send(
    State(state): State<AppState>,
    auth: LikelyDevice,
    Path(conversation): Path<ConversationId>,
    Mls(body): Mls,
) -> Result<(StatusCode, Json<MessageAccepted>), ApiError> {
    accept(state, auth, conversation, Kind::Message, body).await
}

/// Announce the name of a conversation
///
/// The body is an application message as for sending; the name is inside it, where the hub cannot read it. The hub checks
/// that the sender may rename the conversation, and tells the members that it did.
#[utoipa::path(
    put, path = "/v1/conversations/{conversation}/name", tag = "conversations",
    params(("conversation" = String, Path, format = Uuid, description = "The conversation.")),
    request_body(content = [u8], content_type = "message/mls"),
    responses(
        (status = 201, description = "Where it stands in the log.", body = MessageAccepted),
    ),
    extensions(("x-problems" = json!([
        "malformed-mls-message", "action-denied", "invalid-operation", "no-device", "no-conversation", "stale-epoch",
        "wrong-protocol", "quota-exceeded"
    ]))),
)]
async fn rename(
    State(state): State<AppState>,
    auth: LikelyDevice,
    Path(conversation): Path<ConversationId>,
    Mls(body): Mls,
) -> Result<(StatusCode, Json<MessageAccepted>), ApiError> {
    accept(state, auth, conversation, Kind::Name, body).await
}

async fn accept(
    state: AppState,
    auth: LikelyDevice,
    conversation: ConversationId,
    kind: Kind,
    body: Bytes,
) -> Result<(StatusCode, Json<MessageAccepted>), ApiError> {
    let message = ApplicationMessage::parse(&body)?;
    let digest = Digest::of(kind, &body);
    let LikelyDevice { device: sender, token } = auth;
    let most = state.limits.bytes_per_user;
    let sent = Sent { conversation, sender, token, kind, message, body, digest, most, now: now_ms() };
    let write = state.storage.write_together(sent);
    let accepted = write.await.inspect_err(|error| state.count_quota(error))?;
    state.metrics.message_accepted();
    Ok((StatusCode::CREATED, Json(accepted)))
}
