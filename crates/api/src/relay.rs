//! What a relay and its clients say to each other. A relay knows content topics and opaque envelopes, and neither accounts nor
//! conversations. `docs/spec/relay.md` says all of it for who implements it elsewhere.

use crate::Base64;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Content topics in one request or subscription, at most: all that there are.
pub const MAX_TOPICS: usize = 512;
/// Envelopes on one page, at most.
pub const MAX_PAGE: u32 = 256;
/// The longest wait for the next envelope that a request can ask for, in seconds.
pub const LONGEST_WAIT: u32 = 30;
/// The header of a request that says the content topic of the envelope in its body.
pub const TOPIC_HEADER: &str = "tertulia-topic";
/// The header of a request that says the work that was done for the envelope in its body: `<hour>:<number>`, both in decimal.
pub const STAMP_HEADER: &str = "tertulia-stamp";
/// The media type of an envelope.
pub const ENVELOPE_MEDIA_TYPE: &str = "application/octet-stream";
/// In the place of a cursor: what comes from now on.
pub const NEWEST: &str = "newest";

/// On what terms a relay takes envelopes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RelayTerms {
    /// The identity of what the relay keeps, 32 hexadecimal digits. If it is another than before, positions have begun anew.
    pub log: String,
    /// The zero bits that the stamp of an envelope shorter than 4 KiB needs, 0 to 28. From 4 KiB on it is one more, and another each
    /// time that it is four times as long; 28 at most, and none if this is 0.
    pub difficulty: u8,
    /// The longest envelope, in bytes.
    pub max_envelope: u64,
    /// For how long envelopes are kept, in seconds. A topic that has much is kept for a shorter time.
    pub retention: u64,
    /// The relay's time, in seconds since 1970: stamps are made for its hour.
    pub now: u64,
}

/// An envelope is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EnvelopeTaken {
    /// The identity of what the relay keeps, as in its terms.
    pub log: String,
    /// The envelope's number in its topic. They begin with 1 and have no gaps; the same bytes have the same one.
    pub position: u64,
}

/// A content topic, and from where on it is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TopicPlace {
    /// The content topic.
    #[schema(example = "/tertulia/1/talk-7/proto")]
    pub topic: String,
    /// What comes after this cursor; after `newest` what comes from now on. Unless given, all that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// What is to be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RelayRead {
    /// The content topics, each once, 1 to 512.
    pub topics: Vec<TopicPlace>,
    /// At most so many envelopes of all topics together (1–256, 256 unless given).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// If there is nothing, wait so many seconds for something (0–30, 0 unless given).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<u32>,
}

/// What there is in the topics that were asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RelayPages {
    /// A page for each topic for which there is anything to say: envelopes, that there are more than found room in this answer, or
    /// another cursor than the one that was given.
    pub pages: Vec<RelayPage>,
}

/// What comes next in a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RelayPage {
    /// The topic.
    pub topic: String,
    /// The envelopes, by their positions.
    pub envelopes: Vec<RelayEnvelope>,
    /// Where the next page begins. Opaque: it is given back, never looked into.
    pub cursor: String,
    /// Whether something between the given cursor and the first of these envelopes is not kept any more, or is of another log.
    pub missed: bool,
    /// Whether there was more when the page was made. Then the page can be without envelopes: those of the topics before it have
    /// filled the answer.
    pub more: bool,
}

/// An envelope that the relay keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RelayEnvelope {
    /// Its number in its topic.
    pub position: u64,
    /// The envelope.
    pub bytes: Base64,
}

/// The first and only thing that a client says on a relay's WebSocket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Subscribe {
    /// The content topics, each once, 1 to 512.
    pub topics: Vec<TopicPlace>,
}

/// What a relay says on its WebSocket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RelayFrame {
    /// The next envelope of a topic.
    Envelope {
        /// The topic.
        topic: String,
        /// Its number in the topic.
        position: u64,
        /// Where what follows begins.
        cursor: String,
        /// The envelope.
        bytes: Base64,
    },
    /// Something after the cursor that was given, or that was last told, is not kept any more, or is of another log.
    Missed {
        /// The topic.
        topic: String,
        /// Where what follows begins.
        cursor: String,
    },
    /// All that was there when the socket was opened was sent. Said once; the cursors are those of all topics.
    CaughtUp {
        /// Each topic with where what follows begins.
        topics: Vec<TopicPlace>,
    },
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_a_relay_says_keeps_its_form() {
        let topic = || "/tertulia/1/talk-7/proto".to_owned();
        let cursor = || "00ff-4".to_owned();
        let frames = [
            RelayFrame::Envelope {
                topic: topic(),
                position: 4,
                cursor: cursor(),
                bytes: vec![1, 2, 3].into(),
            },
            RelayFrame::Missed { topic: topic(), cursor: cursor() },
            RelayFrame::CaughtUp { topics: vec![TopicPlace { topic: topic(), after: Some(cursor()) }] },
        ];
        let lines = frames.map(|frame| {
            let text = serde_json::to_string(&frame).unwrap();
            assert_eq!(serde_json::from_str::<RelayFrame>(&text).unwrap(), frame);
            text
        });
        insta::assert_snapshot!(lines.join("\n"), @r#"
        {"type":"envelope","topic":"/tertulia/1/talk-7/proto","position":4,"cursor":"00ff-4","bytes":"AQID"}
        {"type":"missed","topic":"/tertulia/1/talk-7/proto","cursor":"00ff-4"}
        {"type":"caught-up","topics":[{"topic":"/tertulia/1/talk-7/proto","after":"00ff-4"}]}
        "#);
    }

    #[test]
    fn a_request_with_what_nobody_knows_is_refused() {
        let read = r#"{"topics":[{"topic":"/tertulia/1/talk-7/proto"}],"limit":3}"#;
        let read: RelayRead = serde_json::from_str(read).unwrap();
        assert_eq!((read.limit, read.wait, read.topics[0].after.as_deref()), (Some(3), None, None));
        assert!(serde_json::from_str::<RelayRead>(r#"{"topics":[],"since":3}"#).is_err());
    }
}
