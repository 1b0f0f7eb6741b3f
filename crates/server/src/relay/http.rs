//! The relay's requests: terms, posting, reading.

use super::{
    RelayState, asked, number,
    readers::Reading,
    rules::{LogId, Room, Start},
    seconds, topic,
};
use crate::{
    error::ApiError,
    http::{ClientAddress, Json, media_type, page},
    places::Place,
    state::now_ms,
    storage::relay::{Page, PageLimits, Posted},
};
use axum::{
    body::{Body, to_bytes},
    extract::{FromRequest as _, Request, State},
    response::Response,
};
use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, StatusCode, header};
use sha2::{Digest as _, Sha256};
use std::{net::IpAddr, time::Duration};
use tertulia_api::{
    Code,
    relay::{
        ENVELOPE_MEDIA_TYPE, EnvelopeTaken, LONGEST_WAIT, MAX_PAGE, RelayEnvelope, RelayPage, RelayPages,
        RelayRead, RelayTerms, STAMP_HEADER, TOPIC_HEADER,
    },
};
use tertulia_conversation::{
    topic::ContentTopic,
    wire::{Envelope, MAX_ENVELOPE, Outcome},
    work::{Stamp, StampError, difficulty_of},
};
use tokio::time::{Instant, timeout, timeout_at};
use utoipa_axum::{router::OpenApiRouter, routes};

/// Bytes of envelopes on one page, unless the first is longer.
const PAGE_BYTES: i64 = 256 << 10;
/// A request to read names at most all topics, each with a cursor.
pub(crate) const READ_BYTES: usize = 128 << 10;

/// What is answered at once.
pub(crate) fn quick() -> OpenApiRouter<RelayState> {
    OpenApiRouter::new().routes(routes!(terms)).routes(routes!(post))
}

/// What may wait.
pub(crate) fn long() -> OpenApiRouter<RelayState> {
    OpenApiRouter::new().routes(routes!(read)).merge(super::ws::router())
}

/// On what terms envelopes are taken
///
/// How much work an envelope needs, how long it may be, for how long it is kept, and the relay's time.
#[utoipa::path(
    get, path = "/v1/relay", tag = "relay", security(()),
    responses((status = 200, description = "The terms.", body = RelayTerms)),
    // Of a hub that is no relay, as for all of these operations.
    extensions(("x-problems" = json!(["not-found"]))),
)]
async fn terms(
    State(relay): State<RelayState>,
    ClientAddress(address): ClientAddress,
) -> Result<Json<RelayTerms>, ApiError> {
    relay.reads.take(&address)?;
    Ok(Json(relay.terms().await?))
}

/// Leave an envelope
///
/// The body is an envelope. Its topic and the work that was done for it stand in the head, where no log of addresses has them.
/// The same bytes in the same topic are kept once, and have one position. It is durable before it is answered.
#[utoipa::path(
    post, path = "/v1/relay/envelopes", tag = "relay", security(()),
    params(
        ("tertulia-topic" = String, Header, description = "The content topic.", example = "/tertulia/1/talk-7/proto"),
        ("tertulia-stamp" = String, Header, description = "The work: hour and number, in decimal.", example = "500000:123456"),
    ),
    request_body(content = [u8], content_type = "application/octet-stream"),
    responses((status = 201, description = "Where it stands in its topic.", body = EnvelopeTaken)),
    extensions(("x-problems" = json!([
        "not-found", "unknown-topic", "not-an-envelope", "stale-stamp", "too-little-work", "relay-full"
    ]))),
)]
async fn post(
    State(relay): State<RelayState>,
    ClientAddress(address): ClientAddress,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<EnvelopeTaken>), ApiError> {
    relay.posts.take(&address)?;
    let topic = topic(text(&headers, TOPIC_HEADER)?)?;
    let stamp = stamp(text(&headers, STAMP_HEADER)?)?;
    if media_type(&headers).is_none_or(|media| !media.eq_ignore_ascii_case(ENVELOPE_MEDIA_TYPE)) {
        let detail = format!("The body's media type is to be {ENVELOPE_MEDIA_TYPE}.");
        return Err(ApiError::new(Code::UnsupportedMediaType, detail));
    }
    let most = relay.limits.max_envelope;
    let announced =
        text(&headers, header::CONTENT_LENGTH.as_str()).ok().and_then(|length| length.parse().ok());
    let length: usize = announced.unwrap_or(most);
    let _place = relay.places.take(address)?;
    if length > most {
        discard(body, relay.limits.body_timeout).await;
        return Err(too_large(most));
    }
    let _room = relay.room(length).await?;
    let envelope = receive(body, most, relay.limits.body_timeout).await?;
    let now = now_ms();
    let difficulty = relay.limits.difficulty;
    // What it costs to look grows with the envelope.
    let looked = tokio::task::spawn_blocking(move || {
        look(topic, &envelope, stamp, difficulty, now).map(|hash| (envelope, hash))
    });
    let (envelope, hash) = looked.await.map_err(ApiError::internal)?.inspect_err(|error| {
        if matches!(error, ApiError::Refused(problem) if problem.code == Code::TooLittleWork.as_str()) {
            relay.too_little_work.increment(1);
        }
    })?;
    let log = relay.log().await?;
    let room = Room::of(&relay.limits);
    let taken = relay
        .storage
        .write_together(Posted { topic, hash, envelope, room, now, in_hub: relay.spans.is_some() })
        .await;
    let taken = taken.inspect_err(|error| {
        if matches!(error, ApiError::Refused(problem) if problem.code == Code::RelayFull.as_str()) {
            relay.full.increment(1);
        }
    })?;
    relay.metrics.envelope_taken(taken.known);
    Ok((StatusCode::CREATED, Json(EnvelopeTaken { log: log.to_string(), position: number(taken.position) })))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, ApiError> {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.ok_or_else(|| ApiError::new(Code::BadRequest, format!("The header `{name}` is missing.")))
}

fn stamp(text: &str) -> Result<Stamp, ApiError> {
    let parsed =
        text.split_once(':').and_then(|(hour, number)| Some((hour.parse().ok()?, number.parse().ok()?)));
    let (hour, number) = parsed.ok_or_else(|| {
        ApiError::new(Code::BadRequest, format!("The header `{STAMP_HEADER}` is to be `<hour>:<number>`."))
    })?;
    Ok(Stamp { hour, number })
}

fn too_large(most: usize) -> ApiError {
    ApiError::new(Code::PayloadTooLarge, format!("An envelope has at most {most} bytes here."))
}

/// Takes what is too long and throws it away, so that who sends it comes to hear why; more than there is of any envelope is cut off.
async fn discard(body: Body, time: Duration) {
    let mut left = MAX_ENVELOPE;
    let all = async {
        let mut pieces = body.into_data_stream();
        while let Some(Ok(piece)) = pieces.next().await {
            let Some(rest) = left.checked_sub(piece.len()) else { return };
            left = rest;
        }
    };
    // In time or not, the answer is the same.
    let _ = timeout(time, all).await;
}

/// The body, which has to come in time.
async fn receive(body: Body, most: usize, time: Duration) -> Result<Bytes, ApiError> {
    let Ok(received) = timeout(time, to_bytes(body, most)).await else {
        return Err(ApiError::new(Code::Unavailable, "The envelope did not come in time."));
    };
    received.map_err(|error| match error.into_inner().downcast::<http_body_util::LengthLimitError>() {
        Ok(_) => too_large(most),
        Err(_) => ApiError::new(Code::BadRequest, "The body ended early."),
    })
}

/// Whether enough work was done for it, and whether it looks like an envelope. The hash that it is known by.
fn look(
    topic: ContentTopic,
    envelope: &[u8],
    stamp: Stamp,
    difficulty: u8,
    now: i64,
) -> Result<[u8; 32], ApiError> {
    let wanted = difficulty_of(difficulty, envelope.len());
    stamp.verify(&topic, envelope, wanted, seconds(now)).map_err(|error| {
        let code = match error {
            StampError::Hour { .. } => Code::StaleStamp,
            _ => Code::TooLittleWork,
        };
        ApiError::new(code, format!("Of the work for it: {error}."))
    })?;
    match Envelope::decode(envelope) {
        // What a later version adds is of no concern here.
        Outcome::Decoded(_) | Outcome::Unsupported(_) => Ok(Sha256::digest(envelope).into()),
        Outcome::Invalid(error) => {
            Err(ApiError::new(Code::NotAnEnvelope, format!("It is no envelope: {error}.")))
        }
        Outcome::NotForUs => Err(Code::NotAnEnvelope.into()),
    }
}

/// Read envelopes
///
/// What comes next in some topics: first those that are there, and if there are none and `wait` says so, the next one that comes. A
/// topic of which there is nothing to say has no page; one that has more than there was room for has a page that says so, perhaps without envelopes.
#[utoipa::path(
    post, path = "/v1/relay/read", tag = "relay", security(()),
    request_body = RelayRead,
    responses((status = 200, description = "What there is.", body = RelayPages)),
    extensions(("x-problems" = json!(["not-found", "unknown-topic"]))),
)]
async fn read(
    State(relay): State<RelayState>,
    ClientAddress(address): ClientAddress,
    request: Request,
) -> Result<Response, ApiError> {
    relay.reads.take(&address)?;
    let place = relay.places.take(address)?;
    let Ok(request) = timeout(relay.limits.body_timeout, Json::from_request(request, &())).await else {
        return Err(ApiError::new(Code::Unavailable, "The request did not come in time."));
    };
    let Json(RelayRead { topics, limit, wait }) = request?;
    let topics = asked(&topics)?;
    let (limit, wait) = (limit.unwrap_or(MAX_PAGE), wait.unwrap_or(0));
    if !(1..=MAX_PAGE).contains(&limit) || wait > LONGEST_WAIT {
        let detail = format!("`limit` is 1 to {MAX_PAGE}, and `wait` 0 to {LONGEST_WAIT}.");
        return Err(ApiError::new(Code::BadRequest, detail));
    }
    let limits = PageLimits { envelopes: limit as usize, bytes: PAGE_BYTES };
    let until = Instant::now() + Duration::from_secs(wait.into());
    let log = relay.log().await?;
    // Before anything is read, so that nothing comes in between unnoticed.
    let reading = (wait > 0).then(|| relay.readers.read(topics.iter().map(|(topic, _)| *topic).collect()));
    let wanted = topics.clone();
    let topics = pinned(&relay, log, topics).await?;
    loop {
        let pages = relay.pages(log, topics.clone(), limits).await?;
        let is_something = pages.iter().any(|page| page.missed || !page.envelopes.is_empty());
        if is_something || !woken(&relay, reading.as_ref(), until).await {
            return answer(&relay, log, &wanted, pages, place);
        }
    }
}

/// The same topics, where from now on is as of this moment: what comes while there is a wait is after it.
async fn pinned(
    relay: &RelayState,
    log: LogId,
    mut topics: Vec<(ContentTopic, Start)>,
) -> Result<Vec<(ContentTopic, Start)>, ApiError> {
    if topics.iter().any(|(_, from)| *from == Start::Newest) {
        let extents = relay.storage.read(|db| Ok(crate::storage::relay::extents(db)?)).await?;
        for (topic, from) in &mut topics {
            if *from == Start::Newest {
                *from = Start::After(log, extents.get(topic).map_or(0, |extent| extent.position));
            }
        }
    }
    Ok(topics)
}

/// Waits until there is something to look for again, and time for it.
async fn woken(relay: &RelayState, reading: Option<&Reading>, until: Instant) -> bool {
    let Some(reading) = reading else { return false };
    tokio::select! {
        moved = timeout_at(until, reading.moved()) => moved.is_ok(),
        () = relay.shutdown.requested() => false,
    }
}

/// The pages that say something to who asked so: also where a topic ends now, if it was not said, and that there is more for which there was no room any more.
/// The place is held until they are handed over.
fn answer(
    relay: &RelayState,
    log: LogId,
    asked: &[(ContentTopic, Start)],
    pages: Vec<Page>,
    place: Place<IpAddr>,
) -> Result<Response, ApiError> {
    let says = |(page, (_, from)): &(Page, &(ContentTopic, Start))| {
        page.missed || page.more || !page.envelopes.is_empty() || Start::After(log, page.end) != *from
    };
    let pages: Vec<RelayPage> =
        pages.into_iter().zip(asked).filter(says).map(|(page, _)| shown(log, page)).collect();
    relay.metrics.envelopes_fetched(pages.iter().map(|page| page.envelopes.len()).sum());
    page(&RelayPages { pages }, place)
}

fn shown(log: LogId, page: Page) -> RelayPage {
    let envelope =
        |(position, bytes): (i64, Vec<u8>)| RelayEnvelope { position: number(position), bytes: bytes.into() };
    RelayPage {
        topic: page.topic.to_string(),
        envelopes: page.envelopes.into_iter().map(envelope).collect(),
        cursor: Start::After(log, page.end).cursor().unwrap_or_default(),
        missed: page.missed,
        more: page.more,
    }
}
