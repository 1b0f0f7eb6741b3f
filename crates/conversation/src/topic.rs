//! Content topics: where envelopes are left and found.
//!
//! A topic is shared by many: it names a bucket, into which inboxes and conversations fall by a hash. Who reads it gets the envelopes of all
//! of them, and who watches sees a crowd. More buckets cost readers less, and hide each of them among fewer.

use std::{fmt, str::FromStr};

use tertulia_domain::ConversationId;

use crate::{crypto::hash, inbox::InboxAddress};

pub(crate) const LABEL: &str = "tertulia/topic/v1";

/// How many buckets there are of each kind.
pub const BUCKETS: u16 = 256;

/// A content topic, `/tertulia/1/<kind>-<bucket>/proto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentTopic {
    kind: Kind,
    bucket: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Inbox,
    Talk,
}

/// The text is not a content topic of this protocol. Leave it to who uses that topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a topic of the form /tertulia/1/inbox-<bucket>/proto or /tertulia/1/talk-<bucket>/proto")]
pub struct NotATopic;

impl ContentTopic {
    /// Where first contact for this inbox is left.
    pub fn of_inbox(address: &InboxAddress) -> Self {
        Self { kind: Kind::Inbox, bucket: bucket(*b"inbox", address.as_bytes()) }
    }

    /// Where the envelopes of this conversation are left.
    pub fn of_conversation(id: &ConversationId) -> Self {
        Self { kind: Kind::Talk, bucket: bucket(*b"talk.", id.as_bytes()) }
    }

    /// All topics that there are, by their numbers.
    pub fn all() -> impl Iterator<Item = Self> {
        [Kind::Inbox, Kind::Talk]
            .into_iter()
            .flat_map(|kind| (0..BUCKETS).map(move |bucket| Self { kind, bucket }))
    }

    /// A number for each topic, from 0 on: for who keeps something by topics.
    pub const fn number(self) -> u16 {
        match self.kind {
            Kind::Inbox => self.bucket,
            Kind::Talk => BUCKETS + self.bucket,
        }
    }

    /// The topic of this number.
    pub fn from_number(number: u16) -> Option<Self> {
        let kind = match number / BUCKETS {
            0 => Kind::Inbox,
            1 => Kind::Talk,
            _ => return None,
        };
        Some(Self { kind, bucket: number % BUCKETS })
    }

    /// Whether first contact is left there, and not the envelopes of conversations.
    pub const fn is_inbox(self) -> bool {
        matches!(self.kind, Kind::Inbox)
    }

    /// The bucket, less than [`BUCKETS`].
    pub const fn bucket(self) -> u16 {
        self.bucket
    }
}

/// The first two bytes of the hash, modulo the number of buckets.
fn bucket(kind: [u8; 5], of: &[u8]) -> u16 {
    let [high, low, ..] = hash(LABEL, &[&kind, of]);
    u16::from_be_bytes([high, low]) % BUCKETS
}

impl fmt::Display for ContentTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Inbox => "inbox",
            Kind::Talk => "talk",
        };
        write!(f, "/tertulia/1/{kind}-{}/proto", self.bucket)
    }
}

impl FromStr for ContentTopic {
    type Err = NotATopic;

    fn from_str(text: &str) -> Result<Self, NotATopic> {
        let inner = text.strip_prefix("/tertulia/1/").and_then(|rest| rest.strip_suffix("/proto"));
        let (kind, bucket) = inner.and_then(|inner| inner.split_once('-')).ok_or(NotATopic)?;
        let kind = match kind {
            "inbox" => Kind::Inbox,
            "talk" => Kind::Talk,
            _ => return Err(NotATopic),
        };
        let topic = Self { kind, bucket: bucket.parse().map_err(|_| NotATopic)? };
        // One spelling for each, since it is a key at relays.
        if topic.bucket < BUCKETS && topic.to_string() == text { Ok(topic) } else { Err(NotATopic) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_topic_is_read_as_it_is_written_and_in_no_other_spelling() {
        let topic = ContentTopic::of_conversation(&ConversationId::from_bytes([7; 16]));
        assert_eq!(topic.to_string().parse(), Ok(topic));
        for text in [
            "/tertulia/1/talk-256/proto",
            "/tertulia/1/talk-07/proto",
            "/tertulia/1/talk-+7/proto",
            "/tertulia/1/chat-7/proto",
            "/tertulia/2/talk-7/proto",
            "/tertulia/1/talk-7",
        ] {
            assert_eq!(text.parse::<ContentTopic>(), Err(NotATopic), "{text}");
        }
    }

    #[test]
    fn each_topic_has_its_number() {
        for (number, topic) in (0..).zip(ContentTopic::all()) {
            assert_eq!((topic.number(), ContentTopic::from_number(number)), (number, Some(topic)));
        }
        assert_eq!(ContentTopic::all().count(), 512);
        assert_eq!(ContentTopic::from_number(512), None);
    }

    #[test]
    fn inboxes_and_conversations_are_spread_over_all_buckets() {
        let mut seen = std::collections::HashSet::new();
        for number in 0_u32..8192 {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&number.to_be_bytes());
            seen.insert(ContentTopic::of_conversation(&ConversationId::from_bytes(id)));
        }
        assert_eq!(seen.len(), usize::from(BUCKETS));
    }
}
