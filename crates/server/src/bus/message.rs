//! What goes over NATS. Ids, positions, and who is typing; nothing else.
//!
//! | bytes | of a change | of a typing notice |
//! |---|---|---|
//! | 1 | version, 1 | version, 1 |
//! | 1 | 1, or 2 without positions | 3 for started, 4 for stopped |
//! | 8 + 8 | the positions: after, up to (big-endian) | |
//! | 17 each | a topic: 1 for a user, 2 for a conversation, and the id; 3 for a content topic, 14 zeros and its number | |
//! | 16 + 16 | | conversation and user |

use super::{Change, Positions};
use crate::{storage::Position, wake::Topic};
use tertulia_api::typing::{Typing, TypingStatus};
use tertulia_conversation::topic::ContentTopic;
use tertulia_domain::{ConversationId, UserId};

/// Topics in one message: 136 KiB, where NATS by default takes 1 MiB.
const MOST_TOPICS: usize = 8192;

const VERSION: u8 = 1;
const STORED: u8 = 1;
const UNKNOWN: u8 = 2;
const STARTED: u8 = 3;
const STOPPED: u8 = 4;
const USER: u8 = 1;
const CONVERSATION: u8 = 2;
const CONTENT: u8 = 3;

/// What one node tells the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    /// Something was stored.
    Change(Change),
    /// Somebody is typing, or no longer.
    Typing(Typing),
}

/// Why a message of another node cannot be read. A node of another version has sent it, or somebody else: bring all nodes to one
/// version, and look who else may write to the subject. What it would have said is found in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum MessageError {
    /// It is of a version that is not known here. Bring all nodes to one version.
    #[error("it is of version {0}, and this node knows version {VERSION}")]
    Version(u8),
    /// It is too short, too long, or says something that there is not. Look who else may write to the subject.
    #[error("it has {0} bytes, and they are no message")]
    Malformed(usize),
}

impl Message {
    /// The bytes; none if there are more topics than fit, which are then found in the log.
    pub(super) fn to_bytes(&self) -> Option<Vec<u8>> {
        let mut bytes = vec![VERSION];
        match self {
            Self::Change(Change { positions, topics }) => {
                if topics.len() > MOST_TOPICS {
                    return None;
                }
                bytes.push(if positions.is_some() { STORED } else { UNKNOWN });
                if let Some(Positions { after, upto }) = positions {
                    bytes.extend(after.to_be_bytes());
                    bytes.extend(upto.to_be_bytes());
                }
                for topic in topics {
                    let (kind, id) = match topic {
                        Topic::User(user) => (USER, *user.as_bytes()),
                        Topic::Conversation(conversation) => (CONVERSATION, *conversation.as_bytes()),
                        Topic::Content(topic) => (CONTENT, u128::from(topic.number()).to_be_bytes()),
                    };
                    bytes.push(kind);
                    bytes.extend(id);
                }
            }
            Self::Typing(Typing { conversation, user, status }) => {
                bytes.push(match status {
                    TypingStatus::Started => STARTED,
                    TypingStatus::Stopped => STOPPED,
                });
                bytes.extend(conversation.as_bytes());
                bytes.extend(user.as_bytes());
            }
        }
        Some(bytes)
    }

    /// Reads what another node has sent.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, MessageError> {
        match bytes {
            [VERSION, kind, rest @ ..] => body(*kind, rest).ok_or(MessageError::Malformed(bytes.len())),
            [version, ..] => Err(MessageError::Version(*version)),
            [] => Err(MessageError::Malformed(0)),
        }
    }
}

fn body(kind: u8, rest: &[u8]) -> Option<Message> {
    let (positions, topics) = match kind {
        STORED => {
            let (after, rest) = rest.split_first_chunk()?;
            let (upto, rest) = rest.split_first_chunk()?;
            let (after, upto) = (Position::from_be_bytes(*after), Position::from_be_bytes(*upto));
            (Some(Positions { after, upto }).filter(|given| given.after <= given.upto)?.into(), rest)
        }
        UNKNOWN => (None, rest),
        STARTED | STOPPED => {
            let (conversation, user) = rest.split_first_chunk()?;
            return Some(Message::Typing(Typing {
                conversation: ConversationId::from_bytes(*conversation),
                user: UserId::from_bytes(user.try_into().ok()?),
                status: if kind == STARTED { TypingStatus::Started } else { TypingStatus::Stopped },
            }));
        }
        _ => return None,
    };
    let (topics, rest) = topics.as_chunks::<17>();
    if !rest.is_empty() || topics.len() > MOST_TOPICS {
        return None;
    }
    let topics = topics.iter().map(topic).collect::<Option<_>>()?;
    Some(Message::Change(Change { positions, topics }))
}

fn topic([kind, id @ ..]: &[u8; 17]) -> Option<Topic> {
    match *kind {
        USER => Some(Topic::User(UserId::from_bytes(*id))),
        CONVERSATION => Some(Topic::Conversation(ConversationId::from_bytes(*id))),
        CONTENT => {
            let number = u16::try_from(u128::from_be_bytes(*id)).ok()?;
            ContentTopic::from_number(number).map(Topic::Content)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn change() -> Message {
        Message::Change(Change {
            positions: Some(Positions { after: 258, upto: 259 }),
            topics: [
                Topic::User(UserId::from_bytes([0xaa; 16])),
                Topic::Conversation(ConversationId::from_bytes([0xcc; 16])),
                Topic::Content(ContentTopic::from_number(0x0107).unwrap()),
            ]
            .into(),
        })
    }

    fn typing(status: TypingStatus) -> Message {
        let (conversation, user) = (ConversationId::from_bytes([0xcc; 16]), UserId::from_bytes([0xaa; 16]));
        Message::Typing(Typing { conversation, user, status })
    }

    #[test]
    fn what_nodes_say_keeps_its_form_and_has_nothing_but_ids_in_it() {
        let unknown = Message::Change(Change { positions: None, topics: [].into() });
        let said = [change(), unknown, typing(TypingStatus::Started), typing(TypingStatus::Stopped)];
        let lines = said.map(|message| {
            let bytes = message.to_bytes().unwrap();
            assert_eq!(Message::from_bytes(&bytes), Ok(message));
            hex::encode(bytes)
        });
        insta::assert_snapshot!(lines.join("\n"), @r"
        01010000000000000102000000000000010301aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa02cccccccccccccccccccccccccccccccc0300000000000000000000000000000107
        0102
        0103ccccccccccccccccccccccccccccccccaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
        0104ccccccccccccccccccccccccccccccccaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
        ");
    }

    #[test]
    fn what_is_no_message_is_told_apart_and_harms_nobody() {
        let bytes = change().to_bytes().unwrap();
        for end in 2..bytes.len() {
            // A topic fewer is a message too.
            if ![18, 35, 52].contains(&end) {
                assert_eq!(Message::from_bytes(&bytes[..end]), Err(MessageError::Malformed(end)), "{end}");
            }
        }
        let mut backwards = bytes.clone();
        backwards[3] = 1;
        assert_eq!(Message::from_bytes(&backwards), Err(MessageError::Malformed(bytes.len())));
        for (place, value) in [(1, 0), (1, 5), (18, 3)] {
            let mut wrong = bytes.clone();
            wrong[place] = value;
            assert_eq!(Message::from_bytes(&wrong), Err(MessageError::Malformed(bytes.len())));
        }
        assert_eq!(Message::from_bytes(&[2, 1]), Err(MessageError::Version(2)));
        assert_eq!(Message::from_bytes(&[]), Err(MessageError::Malformed(0)));
        let typing = typing(TypingStatus::Started).to_bytes().unwrap();
        for wrong in [&typing[..33], &[&typing[..], &[0]].concat()] {
            assert_eq!(Message::from_bytes(wrong), Err(MessageError::Malformed(wrong.len())));
        }
    }

    #[test]
    fn more_topics_than_fit_are_left_to_the_log() {
        let topics = |count: usize| (0..count).map(|_| Topic::User(UserId::random())).collect();
        let message = |count| Message::Change(Change { positions: None, topics: topics(count) });
        assert!(message(MOST_TOPICS).to_bytes().is_some_and(|bytes| bytes.len() < 1 << 18));
        assert_eq!(message(MOST_TOPICS + 1).to_bytes(), None);
    }
}
