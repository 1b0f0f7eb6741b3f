//! Reading a device's event stream.

use super::{auth::LikelyDevice, extract::Query, page};
use crate::storage::Connection;
use crate::{
    cursors::{Place, Reading},
    error::ApiError,
    state::AppState,
    storage::{
        accounts, conversations,
        stream::{self, PageLimits, Reader},
    },
};
use axum::{extract::State, response::Response};
use std::{sync::Arc, time::Duration};
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
/// A `since` that this hub has not given to this device is answered with `events-missed`, and where to go on.
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
    auth: LikelyDevice,
    Query(EventQuery { since, limit, wait }): Query<EventQuery>,
) -> Result<Response, ApiError> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    let wait = wait.unwrap_or(0);
    if !(1..=MAX_LIMIT).contains(&limit) || wait > MAX_WAIT {
        let detail = format!("`limit` is 1 to {MAX_LIMIT}, and `wait` 0 to {MAX_WAIT} seconds.");
        return Err(ApiError::new(Code::BadRequest, detail));
    }
    let limits = PageLimits { events: limit as usize, bytes: MAX_PAGE_BYTES };
    let LikelyDevice { device: reader, token } = auth;
    // As long as it waits, and until its page is handed over.
    let place = state.readers.take(reader)?;
    let deadline = Instant::now() + Duration::from_secs(wait.into());
    // Before the log is read, so that nothing comes in between unnoticed.
    let mut subscription = state.wake.subscribe(reader.user);
    let read = loop {
        let moved = subscription.may_have_moved();
        let (since, cursors) = (since.clone(), Arc::clone(&state.cursors));
        let read = state.storage.read(move |connection| {
            // It was looked up before, and may have ended since.
            accounts::authenticate(connection, &token)?;
            let stream = Reader { device: reader, cursors: &cursors };
            let since = start_in(connection, stream, since.as_deref())?;
            let followed = if moved { Some(conversations::followed(connection, reader)?) } else { None };
            let (page, _) = stream::page(connection, stream, since, limits)?;
            Ok((page, followed))
        });
        let (page, followed) = read.await?;
        if !page.events.is_empty() || Instant::now() >= deadline {
            break page;
        }
        if followed.is_some_and(|followed| subscription.follow(followed)) {
            continue; // something may have been said meanwhile
        }
        tokio::select! {
            () = subscription.changed() => {}
            () = sleep_until(deadline) => break page,
            () = state.shutdown.requested() => break page,
        }
    };
    state.metrics.events_fetched(read.events.len());
    page(&read, place)
}

/// The place that reading begins after.
pub(super) async fn start(
    state: &AppState,
    reader: UserDevice,
    since: Option<String>,
) -> Result<Place, ApiError> {
    let cursors = Arc::clone(&state.cursors);
    let read = move |connection: &Connection| {
        start_in(connection, Reader { device: reader, cursors: &cursors }, since.as_deref())
    };
    state.storage.read(read).await
}

/// Who comes with something that is no cursor of theirs begins after what they have acknowledged, as who comes without one: it was
/// made by another hub, or by a version that made others. They are told, because they may have read on since, and what they
/// acknowledged may not be all that they have. The answer says nothing of what the hub has stored for others.
fn start_in(connection: &Connection, stream: Reader<'_>, since: Option<&str>) -> Result<Place, ApiError> {
    let progress = stream::progress(connection, stream.device)?;
    let acknowledged = Place::from(progress.acknowledged.max(progress.registered));
    let Some(since) = since else { return Ok(acknowledged) };
    match stream.cursors.place(Reading::Events(stream.device), since) {
        Some(place) if place.position.max(place.aware) <= progress.last => {
            Ok(place.at(place.position.max(progress.registered)))
        }
        _ => {
            let detail = "`since` is not a cursor that this hub has given to this device.";
            Err(ApiError::events_missed(stream.cursor(acknowledged), detail))
        }
    }
}
