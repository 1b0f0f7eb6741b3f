//! Telling others that one is typing.

use super::{
    auth::AuthenticatedDevice,
    extract::{Json, Path},
};
use crate::{delivery::typing, error::ApiError, state::AppState};
use axum::extract::State;
use http::StatusCode;
use tertulia_api::typing::{Typing, TypingUpdate};
use tertulia_domain::ConversationId;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(tell))
}

/// Say that I am typing
///
/// Told to the other members who are connected by WebSocket at the moment, as a `TransientFrame`. It is stored nowhere and wakes
/// nobody. Whether anybody was told is not answered.
#[utoipa::path(
    post, path = "/v1/conversations/{conversation}/typing", tag = "conversations",
    params(("conversation" = String, Path, format = Uuid, description = "The conversation.")),
    request_body = TypingUpdate,
    responses((status = 204, description = "Whoever is there is told.")),
    extensions(("x-problems" = json!(["invalid-operation", "not-connected", "no-device", "no-conversation"]))),
)]
async fn tell(
    State(state): State<AppState>,
    auth: AuthenticatedDevice,
    Path(conversation): Path<ConversationId>,
    Json(TypingUpdate { status }): Json<TypingUpdate>,
) -> Result<StatusCode, ApiError> {
    state.limiters.typing.take(&auth.address())?;
    let user = auth.user;
    let others = state.storage.read(move |db| typing::others(db, conversation, user)).await?;
    let notice = Typing { conversation, user, status };
    state.typing.tell(others, notice);
    state.bus.typing(notice);
    Ok(StatusCode::NO_CONTENT)
}
