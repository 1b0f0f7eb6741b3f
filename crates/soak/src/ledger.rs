//! What was sent and what was acknowledged, and whether a log keeps to it: the rules, without any network.

use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use tertulia_api::{
    conversation::MessageAccepted,
    event::{Event, EventBody},
};
use tertulia_domain::ConversationId;

/// SHA-256 of a message's bytes, by which it is known.
pub(crate) type Fingerprint = [u8; 32];

/// The fingerprint of a message.
pub(crate) fn fingerprint(bytes: &[u8]) -> Fingerprint {
    Sha256::digest(bytes).into()
}

/// An entry of a conversation's log, as a device is given it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Logged {
    pub(crate) sequence: u64,
    pub(crate) sent_at: i64,
    /// Of an application message.
    pub(crate) message: Option<Fingerprint>,
}

impl Logged {
    /// The entry that an event carries, if it is one of this conversation.
    pub(crate) fn of(event: &Event, conversation: ConversationId) -> Option<Self> {
        let entry = match &event.body {
            // Has the number of an entry, and is none.
            EventBody::ConversationJoined { .. } => return None,
            body => body.entry().filter(|entry| entry.conversation == conversation)?,
        };
        let message = match &event.body {
            EventBody::Message { message, .. } => Some(fingerprint(message.as_ref())),
            _ => None,
        };
        Some(Self { sequence: entry.sequence, sent_at: entry.sent_at, message })
    }
}

/// A promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    /// An acknowledged message is not in the log.
    #[error(
        "message {number} of sender {sender} was acknowledged as number {sequence} of the log and is not there"
    )]
    Lost { sender: usize, number: u64, sequence: u64 },
    /// An acknowledged message is elsewhere than was said.
    #[error(
        "message {number} of sender {sender} was acknowledged as number {sequence} and is number {found}"
    )]
    Moved { sender: usize, number: u64, sequence: u64, found: u64 },
    /// A message is in the log twice.
    #[error("message {number} of sender {sender} is in the log twice: as {first} and {second}")]
    Twice { sender: usize, number: u64, first: u64, second: u64 },
    /// The log has a message that nobody sent.
    #[error("number {sequence} of the log is a message that nobody sent")]
    Invented { sequence: u64 },
    /// The log's numbers do not follow one another.
    #[error("after number {before} of the log comes {after}")]
    Gap { before: u64, after: u64 },
    /// The same bytes were acknowledged as two messages.
    #[error("message {number} of sender {sender} was acknowledged as {first}, and sent again as {second}")]
    Contradicted { sender: usize, number: u64, first: u64, second: u64 },
    /// A sender's messages are in another order than they were acknowledged in.
    #[error("sender {sender} sent message {number} after one that comes later in the log")]
    Reordered { sender: usize, number: u64 },
}

/// What became of one message, as its sender knows it.
#[derive(Debug, Clone, Copy)]
struct Sent {
    sender: usize,
    number: u64,
    place: Option<MessageAccepted>,
}

/// All messages that were sent.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    sent: HashMap<Fingerprint, Sent>,
    /// Those that were acknowledged, in the order in which that was heard.
    acknowledged: Vec<Fingerprint>,
}

impl Ledger {
    /// Notes that a message is about to be sent.
    pub(crate) fn begin(&mut self, message: Fingerprint, sender: usize, number: u64) {
        self.sent.insert(message, Sent { sender, number, place: None });
    }

    /// Notes an acknowledgement; says so if it contradicts an earlier one.
    pub(crate) fn acknowledge(&mut self, message: Fingerprint, place: MessageAccepted) -> Result<(), Broken> {
        let Some(sent) = self.sent.get_mut(&message) else { return Ok(()) };
        match sent.place {
            None => {
                sent.place = Some(place);
                self.acknowledged.push(message);
                Ok(())
            }
            Some(first) if first == place => Ok(()),
            Some(first) => Err(Broken::Contradicted {
                sender: sent.sender,
                number: sent.number,
                first: first.sequence,
                second: place.sequence,
            }),
        }
    }

    /// How many were acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    /// How many were sent and never acknowledged, and how many of these are in the log.
    pub(crate) fn unacknowledged(&self, log: &[Logged]) -> (usize, usize) {
        let open = |message: &Fingerprint| self.sent.get(message).is_some_and(|sent| sent.place.is_none());
        let all = self.sent.values().filter(|sent| sent.place.is_none()).count();
        (all, log.iter().filter_map(|entry| entry.message).filter(open).count())
    }

    /// What a log that was read from its beginning breaks of what had been promised by the first `acknowledged` answers.
    pub(crate) fn check(&self, log: &[Logged], acknowledged: usize) -> Vec<Broken> {
        let mut broken = Vec::new();
        for pair in log.windows(2) {
            let (before, after) = (pair[0].sequence, pair[1].sequence);
            if after != before + 1 {
                broken.push(Broken::Gap { before, after });
            }
        }
        let mut found: HashMap<Fingerprint, Logged> = HashMap::with_capacity(log.len());
        let mut latest: HashMap<usize, u64> = HashMap::new();
        for entry in log {
            let Some(message) = entry.message else { continue };
            let Some(&Sent { sender, number, place }) = self.sent.get(&message) else {
                broken.push(Broken::Invented { sequence: entry.sequence });
                continue;
            };
            if let Some(first) = found.insert(message, *entry) {
                let (first, second) = (first.sequence, entry.sequence);
                broken.push(Broken::Twice { sender, number, first, second });
            }
            // One that was given up may still come in after the next.
            if place.is_some() {
                let before = latest.entry(sender).or_insert(number);
                if *before > number {
                    broken.push(Broken::Reordered { sender, number });
                }
                *before = number;
            }
        }
        for message in self.acknowledged.iter().take(acknowledged) {
            let Some(Sent { sender, number, place: Some(place) }) = self.sent.get(message).copied() else {
                continue;
            };
            let sequence = place.sequence;
            match found.get(message) {
                None => broken.push(Broken::Lost { sender, number, sequence }),
                Some(entry) if (entry.sequence, entry.sent_at) != (sequence, place.sent_at) => {
                    broken.push(Broken::Moved { sender, number, sequence, found: entry.sequence });
                }
                Some(_) => {}
            }
        }
        broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(sequence: u64) -> MessageAccepted {
        MessageAccepted { sequence, sent_at: 7 }
    }

    fn entry(sequence: u64, message: u8) -> Logged {
        Logged { sequence, sent_at: 7, message: Some([message; 32]) }
    }

    /// Three messages of one sender, all acknowledged, and a fourth that was not.
    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        for number in 1..=4 {
            ledger.begin([number; 32], 0, number.into());
        }
        for number in 1..=3 {
            ledger.acknowledge([number; 32], place(number.into())).expect("the first answer");
        }
        ledger
    }

    #[test]
    fn a_log_with_everything_once_is_as_promised() {
        assert_eq!(ledger().check(&[entry(1, 1), entry(2, 2), entry(3, 3)], 3), []);
        // Whether what was not acknowledged is there or not.
        assert_eq!(ledger().check(&[entry(1, 1), entry(2, 2), entry(3, 3), entry(4, 4)], 3), []);
        assert_eq!(ledger().unacknowledged(&[entry(4, 4)]), (1, 1));
    }

    #[test]
    fn what_is_missing_twice_moved_invented_or_in_another_order_is_noticed() {
        let lost = Broken::Lost { sender: 0, number: 3, sequence: 3 };
        assert_eq!(ledger().check(&[entry(1, 1), entry(2, 2)], 3), [lost]);
        assert_eq!(ledger().check(&[entry(1, 1), entry(2, 2)], 2), []);
        let twice = Broken::Twice { sender: 0, number: 4, first: 4, second: 5 };
        let log = [entry(1, 1), entry(2, 2), entry(3, 3), entry(4, 4), entry(5, 4)];
        assert_eq!(ledger().check(&log, 3), [twice]);
        let gap = Broken::Gap { before: 2, after: 4 };
        let moved = Broken::Moved { sender: 0, number: 3, sequence: 3, found: 4 };
        assert_eq!(ledger().check(&[entry(1, 1), entry(2, 2), entry(4, 3)], 3), [gap, moved]);
        let invented = Broken::Invented { sequence: 4 };
        assert_eq!(ledger().check(&[entry(1, 1), entry(2, 2), entry(3, 3), entry(4, 9)], 3), [invented]);
        let reordered = Broken::Reordered { sender: 0, number: 1 };
        assert!(ledger().check(&[entry(1, 2), entry(2, 1), entry(3, 3)], 3).contains(&reordered));
    }

    #[test]
    fn two_answers_to_the_same_bytes_have_to_be_the_same() {
        let mut ledger = ledger();
        assert_eq!(ledger.acknowledge([1; 32], place(1)), Ok(()));
        let contradicted = Broken::Contradicted { sender: 0, number: 1, first: 1, second: 4 };
        assert_eq!(ledger.acknowledge([1; 32], place(4)), Err(contradicted));
        assert_eq!(ledger.acknowledged(), 3);
    }
}
