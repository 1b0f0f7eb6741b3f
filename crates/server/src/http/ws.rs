//! The event stream over a WebSocket: events as they come, acknowledgements back.
//!
//! There is no queue per socket. A socket reads the log page by page, as fast as its other side takes the events; one
//! that is slow, or does not read at all, holds one page.

use super::{auth::AuthenticatedDevice, events::start, extract::Query};
use crate::{
    cursors::{Place, Reading},
    error::ApiError,
    state::AppState,
    storage::{
        Position, StorageError, Together, WriteTx,
        accounts::{self, TokenHash},
        conversations,
        stream::{self, PageLimits, Reader},
    },
};
use axum::{
    extract::{
        State, WebSocketUpgrade,
        ws::{CloseFrame, Message, WebSocket, close_code, rejection::WebSocketUpgradeRejection},
    },
    response::Response,
};
use bytes::Bytes;
use futures::{
    SinkExt as _, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use serde::Deserialize;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tertulia_api::{Code, UserDevice, event::ClientFrame, typing::TransientFrame};
use tokio::time::{
    Instant, MissedTickBehavior, error::Elapsed, interval_at, sleep_until, timeout, timeout_at,
};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

/// What one socket holds at most.
const PAGE: PageLimits = PageLimits { events: 100, bytes: 512 * 1024 };

/// A device says nothing longer than an acknowledgement.
const MAX_FRAME_BYTES: usize = 4096;

/// What a socket that nothing happens on keeps, in bytes: an acknowledgement is shorter.
const READ_BUFFER: usize = 512;

/// Events are written in pieces of about so many bytes, or as long as they are.
const WRITE_BUFFER: usize = 4096;

/// How often the hub asks whether the other side is there.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// After so long without a sign of life, and two unanswered heartbeats, the other side is taken for gone.
const IDLE: Duration = Duration::from_secs(75);

/// What a device acknowledges within this time is stored once, the furthest of it: a device may acknowledge each event, and however fast
/// it does, its sockets take no more than that of the one writer.
const ACKNOWLEDGING: Duration = Duration::from_millis(250);

/// How long a close frame may take on its way.
const CLOSING: Duration = Duration::from_secs(2);

/// Where to begin.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StreamQuery {
    /// Events after this cursor; without it, after the last one that the device acknowledged.
    since: Option<String>,
}

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(stream))
}

/// Follow events
///
/// A WebSocket. The hub sends each event as a text frame with an `Event` in JSON, first those that are there, then new
/// ones as they come. The device sends `{"type":"ack","cursor":"…"}` once everything up to that cursor is safe with it.
/// What is not acknowledged is sent again on the next connection. A frame without `cursor` is a `TransientFrame`: who is typing.
#[utoipa::path(
    get, path = "/v1/events/stream", tag = "events",
    params(StreamQuery),
    responses(
        (status = 101, description = "The WebSocket is open."),
    ),
    extensions(("x-problems" = json!([
        "no-device", "events-missed"
    ]))),
)]
async fn stream(
    State(state): State<AppState>,
    auth: AuthenticatedDevice,
    Query(StreamQuery { since }): Query<StreamQuery>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let reader = auth.address();
    let place = state.readers.take(reader)?;
    let since = start(&state, reader, since).await?;
    let upgrade = upgrade.map_err(|rejection| ApiError::new(Code::BadRequest, rejection.body_text()))?;
    let upgrade = upgrade.max_message_size(MAX_FRAME_BYTES).max_frame_size(MAX_FRAME_BYTES);
    let upgrade = upgrade.read_buffer_size(READ_BUFFER).write_buffer_size(WRITE_BUFFER);
    let token = auth.token;
    Ok(upgrade.on_upgrade(move |socket| async move {
        serve(state, reader, token, since, socket).await;
        drop(place);
    }))
}

/// Why a socket is closed.
enum End {
    /// The other side closed it, or is gone.
    Gone,
    /// The other side does not keep to the protocol.
    Misuse(&'static str),
    /// The hub was restored or has cut out what it kept for long enough: the other side has to be told what it misses.
    Missed,
    /// The session that the socket was opened with has ended.
    LoggedOut,
    /// The hub cannot go on.
    Failed,
    /// The hub stops.
    Shutdown,
}

const UNKNOWN_CURSOR: End = End::Misuse("the cursor is not one of this hub");

/// What comes of waiting for a frame.
type Frame = Result<Option<Result<Message, axum::Error>>, Elapsed>;

async fn serve(state: AppState, reader: UserDevice, token: TokenHash, since: Place, socket: WebSocket) {
    let _counted = state.metrics.socket_opened();
    let _awaited = state.shutdown.open_socket();
    let (mut sink, mut frames) = socket.split();
    let end = tokio::select! {
        end = send_events(&state, reader, token, since, &mut sink) => end,
        end = take_frames(&state, reader, &mut frames) => end,
        () = state.shutdown.requested() => End::Shutdown,
    };
    let (code, reason) = match end {
        End::Gone => return,
        End::Misuse(reason) => (close_code::POLICY, reason),
        End::Missed => (close_code::POLICY, "events were missed; read them anew"),
        End::LoggedOut => (close_code::POLICY, "the session has ended"),
        End::Failed => (close_code::ERROR, "the hub failed"),
        End::Shutdown => (close_code::AWAY, "the hub stops"),
    };
    let close = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
    // Best effort: who does not take it notices that the connection is gone.
    let _ = timeout(CLOSING, sink.send(close)).await;
}

async fn send_events(
    state: &AppState,
    reader: UserDevice,
    token: TokenHash,
    mut since: Place,
    sink: &mut SplitSink<WebSocket, Message>,
) -> End {
    // Before the log is read, so that nothing comes in between unnoticed.
    let mut subscription = state.wake.subscribe(reader.user);
    let mut typing = state.typing.listen(reader.user);
    let mut heartbeat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let moved = subscription.may_have_moved();
        let cursors = Arc::clone(&state.cursors);
        let read = state.storage.read(move |connection| {
            accounts::authenticate(connection, &token)?;
            let followed = if moved { Some(conversations::followed(connection, reader)?) } else { None };
            let stream = Reader { device: reader, cursors: &cursors };
            Ok((stream::page(connection, stream, since, PAGE)?, followed))
        });
        let ((page, end), followed) = match read.await {
            Ok(page) => page,
            Err(ApiError::Refused(problem)) if problem.code == Code::EventsMissed.as_str() => {
                return End::Missed;
            }
            Err(ApiError::Refused(_)) => return End::LoggedOut,
            Err(ApiError::Storage(StorageError::Closed)) => return End::Shutdown,
            Err(error) => {
                tracing::error!(%error, "an event stream ended");
                return End::Failed;
            }
        };
        for event in &page.events {
            let Ok(json) = serde_json::to_string(event) else { return End::Failed };
            if !in_time(state, sink.feed(Message::text(json))).await {
                return End::Gone;
            }
            state.metrics.event_pushed();
        }
        if !page.events.is_empty() && !in_time(state, sink.flush()).await {
            return End::Gone;
        }
        since = end;
        let more = followed.is_some_and(|followed| subscription.follow(followed));
        if page.more || more {
            continue;
        }
        tokio::select! {
            () = subscription.changed() => {}
            notice = typing.next() => {
                let Ok(json) = serde_json::to_string(&TransientFrame::Typing(notice)) else { return End::Failed };
                if !send(state, sink, Message::text(json)).await {
                    return End::Gone;
                }
            }
            // Afterwards too it is seen whether the session is still there.
            _ = heartbeat.tick() => {
                if !send(state, sink, Message::Ping(Bytes::new())).await {
                    return End::Gone;
                }
            }
        }
    }
}

async fn send(state: &AppState, sink: &mut SplitSink<WebSocket, Message>, message: Message) -> bool {
    in_time(state, sink.send(message)).await
}

/// Whether the other side took it in time. Who keeps the connection and does not read holds a page no longer.
async fn in_time(state: &AppState, sending: impl Future<Output = Result<(), axum::Error>>) -> bool {
    matches!(timeout(state.limits.event_timeout, sending).await, Ok(Ok(())))
}

async fn take_frames(state: &AppState, reader: UserDevice, frames: &mut SplitStream<WebSocket>) -> End {
    // Up to where it was stored that the device has everything, and up to where the device has said so.
    let (mut stored, mut said) = (Position::MIN, Position::MIN);
    let (mut heard, mut due) = (Instant::now(), Instant::now());
    loop {
        tokio::select! {
            frame = timeout_at(heard + IDLE, frames.next()) => {
                heard = Instant::now();
                match acknowledged_by(state, reader, frame) {
                    Ok(position) => said = said.max(position.unwrap_or(said)),
                    Err(end) if said == stored => return end,
                    // What it has said before counts, whatever comes after that.
                    Err(end) => return store(state, reader, said).await.err().unwrap_or(end),
                }
            }
            () = sleep_until(due), if said > stored => {
                match store(state, reader, said).await {
                    Ok(true) => stored = said,
                    Ok(false) => said = stored,
                    Err(end) => return end,
                }
                due = Instant::now() + ACKNOWLEDGING;
            }
        }
    }
}

/// Up to where a device has everything, if a frame says that, or why the socket ends with it.
fn acknowledged_by(state: &AppState, reader: UserDevice, frame: Frame) -> Result<Option<Position>, End> {
    let text = match frame {
        Ok(Some(Ok(Message::Text(text)))) => text,
        // Answers to heartbeats; those of the other side are answered by the library.
        Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => return Ok(None),
        Ok(Some(Ok(Message::Binary(_)))) => return Err(End::Misuse("frames are text")),
        Ok(Some(Ok(Message::Close(_)) | Err(_)) | None) | Err(_) => return Err(End::Gone),
    };
    let Ok(ClientFrame::Acknowledge { cursor }) = serde_json::from_str(&text) else {
        return Err(End::Misuse("the frame is not one that the hub knows"));
    };
    let place = state.cursors.place(Reading::Events(reader), &cursor);
    place.map(|place| Some(place.position)).ok_or(UNKNOWN_CURSOR)
}

/// Stores up to where a device has everything, and says whether there was room for that.
async fn store(state: &AppState, reader: UserDevice, position: Position) -> Result<bool, End> {
    match state.storage.write_together(Acknowledged { reader, position }).await {
        Ok(true) => Ok(true),
        Ok(false) => Err(UNKNOWN_CURSOR),
        Err(ApiError::Storage(StorageError::Closed)) => Err(End::Shutdown),
        // A full disk keeps nobody from reading: what is not acknowledged is only sent again.
        Err(ApiError::Storage(error @ StorageError::Full)) => {
            tracing::debug!(%error, "an acknowledgement was not stored");
            Ok(false)
        }
        Err(error) => {
            tracing::error!(%error, "an acknowledgement was not stored");
            Err(End::Failed)
        }
    }
}

/// What a device has up to a position. The answer is whether the hub has given that position to anybody.
struct Acknowledged {
    reader: UserDevice,
    position: Position,
}

impl Together for Acknowledged {
    type Answer = bool;

    fn run(tx: &WriteTx<'_>, all: &[&Self]) -> Result<Vec<Result<bool, ApiError>>, ApiError> {
        let last = tx.last_position();
        // Of several sockets of a device the furthest.
        let mut furthest: BTreeMap<UserDevice, Position> = BTreeMap::new();
        for &&Self { reader, position } in all.iter().filter(|acknowledged| acknowledged.position <= last) {
            let known = furthest.entry(reader).or_insert(position);
            *known = position.max(*known);
        }
        stream::acknowledge(tx, furthest)?;
        Ok(all.iter().map(|acknowledged| Ok(acknowledged.position <= last)).collect())
    }
}
