//! One relay: envelopes to and from content topics, without an account.

use crate::{
    Hub, TransportError,
    socket::{self, Socket},
};
use bytes::Bytes;
use reqwest::{Method, RequestBuilder};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tertulia_api::{
    Code, Problem,
    relay::{
        ENVELOPE_MEDIA_TYPE, EnvelopeTaken, LONGEST_WAIT, NEWEST, RelayFrame, RelayPage, RelayPages,
        RelayRead, RelayTerms, STAMP_HEADER, Subscribe, TOPIC_HEADER, TopicPlace,
    },
};
use tertulia_conversation::{
    topic::ContentTopic,
    work::{Stamp, StampError, difficulty_of},
};
use tokio::sync::watch;
use url::Url;

type Result<T> = std::result::Result<T, TransportError>;

/// How often work is done for one envelope, if the relay changes its terms meanwhile.
const ATTEMPTS: u32 = 3;
/// The longest wait that a request takes because the relay asks for it, in seconds, and how often.
const PATIENCE: u64 = 5;
const WAITS: u32 = 3;
/// The terms are fetched again after this time.
const TERMS_KEPT: Duration = Duration::from_mins(10);
/// The longest cursor, in bytes.
const MAX_CURSOR: usize = 128;

/// An envelope's number in its topic at one relay: from 1 on, without gaps, in the order in which the relay has taken them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position(pub u64);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where one has come to in a topic of one relay. Opaque; it is stored beside what was received, and given back.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cursor(String);

/// The text cannot be a cursor. Begin without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a cursor has 1 to {MAX_CURSOR} letters, digits and dashes")]
pub struct InvalidCursor;

impl Cursor {
    /// The end of a topic, wherever that is: what comes from now on.
    pub fn newest() -> Self {
        Self(NEWEST.to_owned())
    }

    /// The text of it, ASCII.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Cursor {
    type Error = InvalidCursor;

    fn try_from(text: String) -> std::result::Result<Self, InvalidCursor> {
        let is_one = (1..=MAX_CURSOR).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if is_one { Ok(Self(text)) } else { Err(InvalidCursor) }
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> std::result::Result<Self, InvalidCursor> {
        text.to_owned().try_into()
    }
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> Self {
        cursor.0
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What comes next in a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The envelopes with their positions, in order. They are as they were posted, by whomever: nothing about them is known.
    pub envelopes: Vec<(Position, Vec<u8>)>,
    /// Where the next page begins.
    pub cursor: Cursor,
    /// Whether something between the given cursor and these envelopes is gone: kept for long enough, or of a log that the relay
    /// does not have any more. Then positions may have begun anew.
    pub missed: bool,
    /// Whether there was more when the page was made.
    pub more: bool,
}

/// What a relay says on its socket.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RelayNews {
    /// The next envelope of a topic.
    Envelope {
        /// The topic.
        topic: ContentTopic,
        /// Its number in the topic.
        position: Position,
        /// The envelope.
        bytes: Vec<u8>,
        /// Where what follows begins.
        cursor: Cursor,
    },
    /// Something of a topic is gone, as in [`Page::missed`]; it goes on after this cursor.
    Missed {
        /// The topic.
        topic: ContentTopic,
        /// Where what follows begins.
        cursor: Cursor,
    },
    /// All that was there when the socket was opened was given. Said once.
    CaughtUp {
        /// Each topic with where what follows begins.
        topics: Vec<(ContentTopic, Cursor)>,
    },
}

/// A relay. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Relay {
    /// Its address, and how requests are made. It has no session.
    hub: Hub,
    terms: Arc<Mutex<Option<Known>>>,
}

/// Terms, and when they were heard.
#[derive(Debug, Clone)]
struct Known {
    terms: RelayTerms,
    at: Instant,
}

impl Known {
    /// The relay's time, in seconds since 1970, whatever this machine's clock says.
    fn now(&self) -> u64 {
        self.terms.now.saturating_add(self.at.elapsed().as_secs())
    }
}

impl Relay {
    /// The relay at this address, a hub's or one of its own, such as `https://relay.example.org`. Plain `http` is taken for this
    /// machine only.
    ///
    /// # Errors
    ///
    /// [`TransportError::InvalidAddress`] and [`TransportError::Insecure`].
    pub fn new(address: &str) -> Result<Self> {
        Ok(Self { hub: Hub::new(address)?, terms: Arc::default() })
    }

    /// The relay's address, ending in `/`.
    pub fn address(&self) -> &Url {
        self.hub.address()
    }

    /// The relay's terms as they are now.
    pub async fn terms(&self) -> Result<RelayTerms> {
        let begun = Instant::now();
        let terms: RelayTerms = self.read(self.hub.request(Method::GET, "v1/relay")?).await?;
        *self.lock() = Some(Known { terms: terms.clone(), at: begun });
        Ok(terms)
    }

    /// For how long it keeps envelopes by its terms, which are not fetched again each time. A topic that has much is kept for a shorter time.
    ///
    /// # Errors
    ///
    /// Those of every request.
    pub async fn retention(&self) -> Result<Duration> {
        Ok(Duration::from_secs(self.known().await?.terms.retention))
    }

    /// Does the work that the relay asks for, and has it keep the envelope. The same bytes in the same topic are kept once and
    /// have one position, so that it can be done again after a lost answer.
    ///
    /// # Errors
    ///
    /// Those of every request; of the codes of [`TransportError::Refused`] above all `not-an-envelope`, `payload-too-large`,
    /// `rate-limited` and `relay-full`. [`TransportError::Protocol`] if it asks for more work than anybody can do.
    pub async fn post(&self, topic: &ContentTopic, envelope: &[u8]) -> Result<Position> {
        let envelope = Bytes::copy_from_slice(envelope);
        for _ in 1..ATTEMPTS {
            let known = self.known().await?;
            match self.post_once(*topic, &envelope, &known).await {
                Err(TransportError::Refused(problem))
                    if matches!(problem.known_code(), Some(Code::StaleStamp | Code::TooLittleWork)) =>
                {
                    *self.lock() = None;
                }
                answer => return answer,
            }
        }
        let known = self.known().await?;
        self.post_once(*topic, &envelope, &known).await
    }

    async fn post_once(&self, topic: ContentTopic, envelope: &Bytes, known: &Known) -> Result<Position> {
        if envelope.len() as u64 > known.terms.max_envelope {
            let detail = format!("An envelope has at most {} bytes there.", known.terms.max_envelope);
            let problem = Problem::new(Code::PayloadTooLarge, detail);
            return Err(TransportError::Refused(Box::new(problem)));
        }
        let stamp = self.work(topic, envelope.clone(), known).await?;
        let request = self
            .hub
            .request(Method::POST, "v1/relay/envelopes")?
            .header(TOPIC_HEADER, topic.to_string())
            .header(STAMP_HEADER, format!("{}:{}", stamp.hour, stamp.number))
            .header(reqwest::header::CONTENT_TYPE, ENVELOPE_MEDIA_TYPE)
            .body(envelope.clone());
        let taken: EnvelopeTaken = self.read(request).await?;
        Ok(Position(taken.position))
    }

    /// Makes the stamp, on a thread where that holds nobody up. It ends when nobody waits for it any more.
    async fn work(&self, topic: ContentTopic, envelope: Bytes, known: &Known) -> Result<Stamp> {
        let (difficulty, now) = (difficulty_of(known.terms.difficulty, envelope.len()), known.now());
        let (given_up, wanted) = watch::channel(());
        let task = tokio::task::spawn_blocking(move || {
            // An error of `has_changed` says that the other side is gone.
            Stamp::make_while(&topic, &envelope, difficulty, now, || wanted.has_changed().is_ok())
        });
        let made = task.await;
        drop(given_up);
        match made {
            Ok(Ok(Some(stamp))) => Ok(stamp),
            Ok(Err(error @ StampError::TooHard { .. })) => Err(self.hub.protocol(error.to_string())),
            Ok(Ok(None) | Err(_)) | Err(_) => {
                Err(self.hub.protocol("the work for it was not done".to_owned()))
            }
        }
    }

    /// What comes after a cursor in a topic, at most `limit` envelopes; without a cursor all that is kept.
    pub async fn page(&self, topic: &ContentTopic, after: Option<Cursor>, limit: u32) -> Result<Page> {
        let mut pages = self.pages(&[(*topic, after.clone())], limit, Duration::ZERO).await?;
        match (pages.pop(), after) {
            (Some((_, page)), _) => Ok(page),
            // The relay has nothing to say about a topic in which nothing has happened.
            (None, Some(cursor)) => Ok(Page { envelopes: Vec::new(), cursor, missed: false, more: false }),
            (None, None) => Err(self.hub.protocol("it says nothing about the topic".to_owned())),
        }
    }

    /// Waits until there is something after one of these cursors, and gives it; nothing if there was nothing for so long. A relay
    /// waits half a minute at most.
    pub async fn wait(
        &self,
        topics: &[(ContentTopic, Option<Cursor>)],
        timeout: Duration,
    ) -> Result<Vec<(ContentTopic, Page)>> {
        self.pages(topics, tertulia_api::relay::MAX_PAGE, timeout).await
    }

    async fn pages(
        &self,
        topics: &[(ContentTopic, Option<Cursor>)],
        limit: u32,
        wait: Duration,
    ) -> Result<Vec<(ContentTopic, Page)>> {
        let wait = u32::try_from(wait.as_secs()).unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT);
        let read = RelayRead { topics: places(topics), limit: Some(limit), wait: Some(wait) };
        let answer: RelayPages =
            self.read(self.hub.request(Method::POST, "v1/relay/read")?.json(&read)).await?;
        answer.pages.into_iter().map(|page| self.page_of(page)).collect()
    }

    fn page_of(&self, page: RelayPage) -> Result<(ContentTopic, Page)> {
        let RelayPage { topic, envelopes, cursor, missed, more } = page;
        let envelopes = envelopes.into_iter().map(|one| (Position(one.position), one.bytes.0)).collect();
        Ok((self.topic(&topic)?, Page { envelopes, cursor: self.cursor(cursor)?, missed, more }))
    }

    /// Opens a socket on which the relay gives what comes after these cursors, and then each envelope when it is posted.
    pub async fn subscribe(&self, topics: &[(ContentTopic, Option<Cursor>)]) -> Result<RelaySocket> {
        let mut opened = socket::open(&self.hub, self.hub.url("v1/relay/stream")?).await?;
        let subscribe = serde_json::to_string(&Subscribe { topics: places(topics) })
            .map_err(|error| self.hub.protocol(error.to_string()))?;
        opened.say(&self.hub, subscribe).await?;
        Ok(RelaySocket { socket: opened, relay: self.clone() })
    }

    /// The terms, fetched if they are not known or may have changed.
    async fn known(&self) -> Result<Known> {
        let known = self.lock().clone();
        match known {
            Some(known) if known.at.elapsed() < TERMS_KEPT => Ok(known),
            _ => {
                let terms = self.terms().await?;
                Ok(Known { terms, at: Instant::now() })
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Known>> {
        self.terms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request; a relay that wants a short wait first gets it.
    async fn read<T: serde::de::DeserializeOwned>(&self, mut request: RequestBuilder) -> Result<T> {
        for _ in 0..WAITS {
            let again = request.try_clone();
            let wait = match self.hub.read(request).await {
                Err(TransportError::Refused(problem)) => match problem.retry_after {
                    Some(wait) if wait <= PATIENCE => wait,
                    _ => return Err(TransportError::Refused(problem)),
                },
                answer => return answer,
            };
            let Some(again) = again else { return Err(self.hub.protocol("it asks to wait".to_owned())) };
            tokio::time::sleep(Duration::from_secs(wait)).await;
            request = again;
        }
        self.hub.read(request).await
    }

    fn topic(&self, text: &str) -> Result<ContentTopic> {
        text.parse().map_err(|_| self.hub.protocol("it names a topic that there is not".to_owned()))
    }

    fn cursor(&self, text: String) -> Result<Cursor> {
        text.try_into().map_err(|_| self.hub.protocol("it gives a cursor that is none".to_owned()))
    }
}

fn places(topics: &[(ContentTopic, Option<Cursor>)]) -> Vec<TopicPlace> {
    let place = |(topic, after): &(ContentTopic, Option<Cursor>)| TopicPlace {
        topic: topic.to_string(),
        after: after.clone().map(String::from),
    };
    topics.iter().map(place).collect()
}

/// A WebSocket on which a relay gives envelopes as they are posted.
#[derive(Debug)]
pub struct RelaySocket {
    socket: Socket,
    relay: Relay,
}

impl RelaySocket {
    /// What the relay says next; `None` when it closed the socket. Safe to cancel. Who does not ask for more holds a page of
    /// it, not all that comes.
    ///
    /// # Errors
    ///
    /// [`TransportError::Unreachable`] when the connection broke or fell silent, [`TransportError::Protocol`] when what came is
    /// not a relay's.
    pub async fn next(&mut self) -> Result<Option<RelayNews>> {
        let Some(text) = self.socket.hear(&self.relay.hub).await? else { return Ok(None) };
        let frame =
            serde_json::from_str(&text).map_err(|error| self.relay.hub.protocol(error.to_string()))?;
        let relay = &self.relay;
        Ok(Some(match frame {
            RelayFrame::Envelope { topic, position, cursor, bytes } => RelayNews::Envelope {
                topic: relay.topic(&topic)?,
                position: Position(position),
                bytes: bytes.0,
                cursor: relay.cursor(cursor)?,
            },
            RelayFrame::Missed { topic, cursor } => {
                RelayNews::Missed { topic: relay.topic(&topic)?, cursor: relay.cursor(cursor)? }
            }
            RelayFrame::CaughtUp { topics } => {
                let place = |place: TopicPlace| {
                    let cursor = place.after.unwrap_or_default();
                    Ok((relay.topic(&place.topic)?, relay.cursor(cursor)?))
                };
                RelayNews::CaughtUp { topics: topics.into_iter().map(place).collect::<Result<_>>()? }
            }
            _ => {
                return Err(relay
                    .hub
                    .protocol("it says something that this version does not know".to_owned()));
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_cursor_is_short_and_has_nothing_in_it_that_could_be_anything_else() {
        for text in ["newest", "00ff-4"] {
            assert_eq!(text.parse::<Cursor>().unwrap().to_string(), text);
        }
        for text in ["", "a b", "ü", "\"", &"a".repeat(MAX_CURSOR + 1)] {
            assert_eq!(text.parse::<Cursor>(), Err(InvalidCursor), "{text}");
        }
        assert!(serde_json::from_str::<Cursor>("\"a b\"").is_err());
    }
}
