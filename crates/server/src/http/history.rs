//! What those who come later may read of the messages from before, and reading it.

use super::{
    auth::AuthenticatedDevice,
    extract::{Json, Path, Query},
};
use crate::{
    cursors::Reading,
    delivery::{history, settings},
    error::ApiError,
    state::{AppState, now_ms},
    storage::{history::Part, stream::PageLimits},
};
use axum::extract::State;
use http::StatusCode;
use tertulia_api::{
    Code,
    history::{HistoryPage, HistoryQuery},
    setting::{HistoryUpdate, Setting},
};
use tertulia_domain::ConversationId;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Entries on a page, unless the request says how many.
const DEFAULT_LIMIT: u32 = 200;
const MAX_LIMIT: u32 = 1000;

/// Bytes of JSON on a page, about. A single larger entry makes a page of its own.
const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(read, change))
}

/// Change what newcomers may read
///
/// Of a group or channel on MLS; by its admins, for no role covers it. What was sent before the setting was other than `none` is
/// never shared; nor can it be read without keys, which members give on by their commits. A setting that is narrower holds for
/// everybody who has not read yet. Doing so again changes nothing.
#[utoipa::path(
    put, path = "/v1/conversations/{conversation}/history", tag = "conversations",
    params(("conversation" = String, Path, format = Uuid, description = "The conversation.")),
    request_body = HistoryUpdate,
    responses((status = 204, description = "It is set.")),
    extensions(("x-problems" = json!([
        "action-denied", "invalid-operation", "wrong-protocol", "no-device", "no-conversation"
    ]))),
)]
async fn change(
    State(state): State<AppState>,
    auth: AuthenticatedDevice,
    Path(conversation): Path<ConversationId>,
    Json(HistoryUpdate { history }): Json<HistoryUpdate>,
) -> Result<StatusCode, ApiError> {
    let (actor, setting) = (auth.address(), Setting::History(history));
    state.storage.write(move |tx| settings::change(tx, conversation, actor, setting, now_ms())).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Read what was before
///
/// A conversation's log from before the caller became a member, as far as its setting allows: commits and proposals since history is
/// shared, and of the messages those within the depth; and what came after, as events have it. Empty where nothing is shared.
#[utoipa::path(
    get, path = "/v1/conversations/{conversation}/history", tag = "conversations",
    params(
        ("conversation" = String, Path, format = Uuid, description = "The conversation."),
        HistoryQuery,
    ),
    responses((status = 200, description = "The entries.", body = HistoryPage)),
    extensions(("x-problems" = json!(["invalid-operation", "no-device", "no-conversation"]))),
)]
async fn read(
    State(state): State<AppState>,
    auth: AuthenticatedDevice,
    Path(conversation): Path<ConversationId>,
    Query(HistoryQuery { from_epoch, after, limit }): Query<HistoryQuery>,
) -> Result<Json<HistoryPage>, ApiError> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(ApiError::new(Code::BadRequest, format!("`limit` is 1 to {MAX_LIMIT}.")));
    }
    let reader = auth.address();
    let reading = Reading::History(reader, conversation);
    let after = match after {
        None => 0,
        Some(cursor) => {
            let place = state.cursors.place(reading, &cursor);
            let detail =
                "`after` is not a cursor that this hub has given to this device, of this conversation.";
            place.ok_or_else(|| ApiError::new(Code::BadRequest, detail))?.position
        }
    };
    let from = (from_epoch.unwrap_or_default(), after);
    let limits = PageLimits { events: limit as usize, bytes: MAX_PAGE_BYTES };
    let read = state
        .storage
        .read(move |connection| history::read(connection, conversation, reader, from, limits, now_ms()));
    let Part { entries, end, more } = read.await?;
    Ok(Json(HistoryPage { entries, cursor: state.cursors.cursor(reading, end), more }))
}
