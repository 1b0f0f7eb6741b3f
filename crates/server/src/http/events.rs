//! Reading a device's event stream.

use super::{
    auth::AuthenticatedDevice,
    extract::{Json, Query},
};
use crate::storage::Connection;
use crate::{
    error::ApiError,
    state::AppState,
    storage::{
        Position, accounts, conversations,
        stream::{self, PageLimits},
    },
};
use axum::extract::State;
use std::time::Duration;
use tertulia_api::{
    Code, UserDevice,
    event::{EventPage, EventQuery},
};
use tokio::time::{Instant, sleep_until};
use utoipa_axum::{router::OpenApiRouter, routes};

/// Events on a page, unless the request says how many.
const DEFAULT_LIMIT: u32 = 200;
const MAX_LIMIT: u32 = 1000;

/// Longest wait for a first event, in seconds.
const MAX_WAIT: u32 = 60;

/// Bytes of JSON on a page, about. A single larger event makes a page of its own.
const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(read))
}

/// Read events
///
/// In the order in which the hub accepted them, after `since` or else after the last event that the device acknowledged.
/// With `wait`, an empty page is answered only after so many seconds.
#[utoipa::path(
    get, path = "/v1/events", tag = "events",
    params(EventQuery),
    responses(
        (status = 200, description = "The events.", body = EventPage),
    ),
    extensions(("x-problems" = json!([
        "no-device", "events-missed"
    ]))),
)]
async fn read(
    State(state): State<AppState>,
    auth: AuthenticatedDevice,
    Query(EventQuery { since, limit, wait }): Query<EventQuery>,
) -> Result<Json<EventPage>, ApiError> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    let wait = wait.unwrap_or(0);
    if !(1..=MAX_LIMIT).contains(&limit) || wait > MAX_WAIT {
        let detail = format!("`limit` is 1 to {MAX_LIMIT}, and `wait` 0 to {MAX_WAIT} seconds.");
        return Err(ApiError::new(Code::BadRequest, detail));
    }
    let limits = PageLimits { events: limit as usize, bytes: MAX_PAGE_BYTES };
    let reader = auth.address();
    let deadline = Instant::now() + Duration::from_secs(wait.into());
    let since = start(&state, reader, since).await?;
    // Before the log is read, so that nothing comes in between unnoticed.
    let mut subscription = state.wake.subscribe(reader.user);
    loop {
        let moved = subscription.may_have_moved();
        let read = state.storage.read(move |connection| {
            // While this waited, the session may have ended.
            accounts::authenticate(connection, &auth.token)?;
            let followed = if moved { Some(conversations::followed(connection, reader)?) } else { None };
            Ok((stream::page(connection, reader, since, limits)?, followed))
        });
        let (page, followed) = read.await?;
        if !page.events.is_empty() || Instant::now() >= deadline {
            state.metrics.events_fetched(page.events.len());
            return Ok(Json(page));
        }
        if followed.is_some_and(|followed| subscription.follow(followed)) {
            continue; // something may have been said meanwhile
        }
        tokio::select! {
            () = subscription.changed() => {}
            () = sleep_until(deadline) => return Ok(Json(page)),
            () = state.shutdown.requested() => return Ok(Json(page)),
        }
    }
}

/// The position that reading begins after.
pub(super) async fn start(
    state: &AppState,
    reader: UserDevice,
    since: Option<String>,
) -> Result<Position, ApiError> {
    state.storage.read(move |connection| start_in(connection, reader, since.as_deref())).await
}

fn start_in(connection: &Connection, reader: UserDevice, since: Option<&str>) -> Result<Position, ApiError> {
    let progress = stream::progress(connection, reader)?;
    let Some(since) = since else { return Ok(progress.acknowledged.max(progress.registered)) };
    let position = stream::parse_cursor(since)
        .ok_or_else(|| ApiError::new(Code::BadRequest, "`since` is not a cursor of this hub."))?;
    if position > progress.last {
        let detail = "`since` is after everything that this hub has stored.";
        return Err(ApiError::events_missed(progress.last, detail));
    }
    Ok(position.max(progress.registered))
}
