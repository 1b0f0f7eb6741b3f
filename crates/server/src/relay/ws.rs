//! Envelopes over a WebSocket, as they come.
//!
//! There is no queue per socket. A socket reads topic by topic, as fast as its other side takes what comes; one that is slow, or does
//! not read at all, holds one page, and is closed after a time.

use super::{
    HEARTBEAT, READ_BYTES, RelayState, asked, number,
    rules::{LogId, Start},
};
use crate::{
    error::ApiError,
    http::ClientAddress,
    places::Place,
    storage::{StorageError, relay::PageLimits},
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
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};
use tertulia_api::{
    Code,
    relay::{RelayFrame, Subscribe, TopicPlace},
};
use tertulia_conversation::topic::ContentTopic;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use utoipa_axum::{router::OpenApiRouter, routes};

/// What one socket holds at most, unless one envelope is longer.
const PAGE: PageLimits = PageLimits { envelopes: 64, bytes: 128 << 10 };
/// What a socket that nothing happens on keeps, in bytes.
const READ_BUFFER: usize = 512;
/// Envelopes are written in pieces of about so many bytes, or as long as they are.
const WRITE_BUFFER: usize = 4096;
/// After so long without a sign of life, and two unanswered heartbeats, the other side is taken for gone.
const IDLE: Duration = Duration::from_secs(75);
/// How long a close frame may take on its way.
const CLOSING: Duration = Duration::from_secs(2);

pub(super) fn router() -> OpenApiRouter<RelayState> {
    OpenApiRouter::new().routes(routes!(stream))
}

/// Follow topics
///
/// A WebSocket. The client says once, in a text frame, which topics from which cursors on (`Subscribe`). The relay sends what there is,
/// each envelope as a text frame (`RelayFrame`), then `caught-up`, then each envelope as it comes. Nothing is acknowledged: the client
/// keeps the cursors, and connects anew with them.
#[utoipa::path(
    get, path = "/v1/relay/stream", tag = "relay", security(()),
    responses((status = 101, description = "The WebSocket is open. It is closed with a reason if what the client says cannot be done.")),
    extensions(("x-problems" = json!(["bad-request", "not-found"]))),
)]
async fn stream(
    State(relay): State<RelayState>,
    ClientAddress(address): ClientAddress,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    relay.reads.take(&address)?;
    let upgrade = upgrade.map_err(|rejection| ApiError::new(Code::BadRequest, rejection.body_text()))?;
    let place = relay.places.take(address)?;
    let upgrade = upgrade.max_message_size(READ_BYTES).max_frame_size(READ_BYTES);
    let upgrade = upgrade.read_buffer_size(READ_BUFFER).write_buffer_size(WRITE_BUFFER);
    Ok(upgrade.on_upgrade(move |socket| serve(relay, place, socket)))
}

/// Why a socket is closed.
enum End {
    /// The other side closed it, or is gone.
    Gone,
    /// The other side does not keep to the protocol.
    Misuse(String),
    /// The relay cannot go on.
    Failed,
    /// The relay stops.
    Shutdown,
}

async fn serve(relay: RelayState, _place: Place<IpAddr>, socket: WebSocket) {
    let _open = relay.shutdown.open_socket();
    let (mut sink, mut frames) = socket.split();
    let end = tokio::select! {
        end = follow(&relay, &mut sink, &mut frames) => end,
        () = relay.shutdown.requested() => End::Shutdown,
    };
    let (code, reason) = match end {
        End::Gone => return,
        End::Misuse(reason) => (close_code::POLICY, reason),
        End::Failed => (close_code::ERROR, "the relay failed".to_owned()),
        End::Shutdown => (close_code::AWAY, "the relay stops".to_owned()),
    };
    let close = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
    // Best effort: who does not take it notices that the connection is gone.
    let _ = timeout(CLOSING, sink.send(close)).await;
}

async fn follow(
    relay: &RelayState,
    sink: &mut SplitSink<WebSocket, Message>,
    frames: &mut SplitStream<WebSocket>,
) -> End {
    let topics = match subscription(relay, frames).await {
        Ok(topics) => topics,
        Err(end) => return end,
    };
    tokio::select! {
        end = send_envelopes(relay, topics, sink) => end,
        end = listen(frames) => end,
    }
}

/// What the client wants to follow, which it says first.
async fn subscription(
    relay: &RelayState,
    frames: &mut SplitStream<WebSocket>,
) -> Result<BTreeMap<ContentTopic, Start>, End> {
    let said = loop {
        match timeout(relay.limits.body_timeout, frames.next()).await {
            Ok(Some(Ok(Message::Text(said)))) => break said,
            Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => {}
            Ok(Some(Ok(Message::Binary(_)))) => return Err(End::Misuse("frames are text".to_owned())),
            Ok(Some(Ok(Message::Close(_)) | Err(_)) | None) => return Err(End::Gone),
            Err(_) => return Err(End::Misuse("the topics were not named in time".to_owned())),
        }
    };
    let Ok(Subscribe { topics }) = serde_json::from_str(&said) else {
        return Err(End::Misuse("the frame is not one that the relay knows".to_owned()));
    };
    match asked(&topics) {
        Ok(topics) => Ok(topics.into_iter().collect()),
        // A reason has at most 123 bytes; the code says what the documentation explains.
        Err(ApiError::Refused(problem)) => Err(End::Misuse(problem.code)),
        Err(_) => Err(End::Failed),
    }
}

/// Sees that the other side is there. It has nothing more to say.
async fn listen(frames: &mut SplitStream<WebSocket>) -> End {
    loop {
        match timeout(IDLE, frames.next()).await {
            Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => {}
            Ok(Some(Ok(Message::Text(_) | Message::Binary(_)))) => {
                return End::Misuse("the topics are named once".to_owned());
            }
            Ok(Some(Ok(Message::Close(_)) | Err(_)) | None) | Err(_) => return End::Gone,
        }
    }
}

async fn send_envelopes(
    relay: &RelayState,
    mut topics: BTreeMap<ContentTopic, Start>,
    sink: &mut SplitSink<WebSocket, Message>,
) -> End {
    // Before anything is read, so that nothing comes in between unnoticed.
    let reading = relay.readers.read(topics.keys().copied().collect());
    let mut heartbeat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let log = match relay.log().await {
        Ok(log) => log,
        Err(error) => return failed(&error),
    };
    let mut moved: BTreeSet<ContentTopic> = topics.keys().copied().collect();
    let mut is_beginning = true;
    loop {
        if let Err(end) = send_pages(relay, log, &mut topics, &moved, sink).await {
            return end;
        }
        if is_beginning {
            is_beginning = false;
            let place = |(topic, from): (&ContentTopic, &Start)| TopicPlace {
                topic: topic.to_string(),
                after: from.cursor(),
            };
            let topics = topics.iter().map(place).collect();
            if let Err(end) = send(relay, sink, &RelayFrame::CaughtUp { topics }).await {
                return end;
            }
        }
        moved = loop {
            tokio::select! {
                moved = reading.moved() => break moved,
                _ = heartbeat.tick() => {
                    if !in_time(relay, sink.send(Message::Ping(Bytes::new()))).await {
                        return End::Gone;
                    }
                }
            }
        };
    }
}

/// Sends all that there is in these topics. Those with much take turns.
async fn send_pages(
    relay: &RelayState,
    log: LogId,
    topics: &mut BTreeMap<ContentTopic, Start>,
    moved: &BTreeSet<ContentTopic>,
    sink: &mut SplitSink<WebSocket, Message>,
) -> Result<(), End> {
    let mut left: Vec<(ContentTopic, Start)> = topics
        .iter()
        .filter(|(topic, _)| moved.contains(topic))
        .map(|(topic, from)| (*topic, *from))
        .collect();
    while !left.is_empty() {
        let pages = relay.pages(log, left.clone(), PAGE).await.map_err(|error| failed(&error))?;
        left.clear();
        for page in pages {
            let (name, end) = (page.topic.to_string(), Start::After(log, page.end));
            if page.missed {
                let before = page.envelopes.first().map_or(page.end, |(position, _)| position - 1);
                let cursor = Start::After(log, before).cursor().unwrap_or_default();
                send(relay, sink, &RelayFrame::Missed { topic: name.clone(), cursor }).await?;
            }
            let count = page.envelopes.len();
            for (position, bytes) in page.envelopes {
                let cursor = Start::After(log, position).cursor().unwrap_or_default();
                let frame = RelayFrame::Envelope {
                    topic: name.clone(),
                    position: number(position),
                    cursor,
                    bytes: bytes.into(),
                };
                feed(relay, sink, &frame).await?;
            }
            relay.metrics.envelopes_pushed(count);
            topics.insert(page.topic, end);
            if page.more {
                left.push((page.topic, end));
            }
        }
        // Who had their turn come last.
        let turns = usize::from(!left.is_empty());
        left.rotate_left(turns);
        if !in_time(relay, sink.flush()).await {
            return Err(End::Gone);
        }
    }
    Ok(())
}

fn failed(error: &ApiError) -> End {
    if matches!(error, ApiError::Storage(StorageError::Closed)) {
        return End::Shutdown;
    }
    tracing::error!(%error, "a stream of envelopes ended");
    End::Failed
}

async fn send(
    relay: &RelayState,
    sink: &mut SplitSink<WebSocket, Message>,
    frame: &RelayFrame,
) -> Result<(), End> {
    feed(relay, sink, frame).await?;
    if in_time(relay, sink.flush()).await { Ok(()) } else { Err(End::Gone) }
}

async fn feed(
    relay: &RelayState,
    sink: &mut SplitSink<WebSocket, Message>,
    frame: &RelayFrame,
) -> Result<(), End> {
    let Ok(json) = serde_json::to_string(frame) else { return Err(End::Failed) };
    if in_time(relay, sink.feed(Message::text(json))).await { Ok(()) } else { Err(End::Gone) }
}

/// Whether the other side took it in time. Who keeps the connection and does not read holds a page no longer.
async fn in_time(relay: &RelayState, sending: impl Future<Output = Result<(), axum::Error>>) -> bool {
    matches!(timeout(relay.limits.reader_timeout, sending).await, Ok(Ok(())))
}
