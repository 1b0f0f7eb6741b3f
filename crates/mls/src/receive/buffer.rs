//! Messages that wait: for the commit that begins their epoch, or for the proposals that a commit refers to.
//!
//! Nothing about them is checked yet, since the keys to check them with are not there. So they are bounded, and a later
//! message never pushes out one that can be read sooner.
//!
//! | key of the record | value |
//! |---|---|
//! | eight bytes: the number of the message | the message |
//! | 32 bytes: the SHA-256 of the message | empty: it is here already |
//! | empty | how many there are, so that nobody has to count |

use mls_rs::mls_rs_codec::{self, MlsDecode, MlsEncode, MlsSize};
use tertulia_store::RecordKey;
use zeroize::Zeroizing;

use crate::{
    EngineError, Result, SessionConfig,
    overlay::{Overlay, RecordKind},
    record::{decode, encode, sha256},
};

/// The version that is written.
const VERSION: u16 = 1;

const WHAT: &str = "buffered message";

/// What a message contains, in the order in which messages of an epoch are replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, MlsSize, MlsEncode, MlsDecode)]
#[repr(u8)]
pub(super) enum Kind {
    Application = 1,
    Proposal = 2,
    Commit = 3,
}

/// A message that waits.
#[derive(Debug, Clone, PartialEq, Eq, MlsSize, MlsEncode, MlsDecode)]
pub(super) struct Buffered {
    version: u16,
    /// The epoch that it was sent in.
    pub(super) epoch: u64,
    pub(super) kind: Kind,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    pub(super) message: Vec<u8>,
}

/// What there is in the buffer of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, MlsSize, MlsEncode, MlsDecode)]
struct Index {
    version: u16,
    /// The number of the next message.
    next: u64,
    count: u64,
    bytes: u64,
    /// The lowest and the highest epoch, while there are messages.
    lowest: u64,
    highest: u64,
}

impl Buffered {
    pub(super) fn new(epoch: u64, kind: Kind, message: &[u8]) -> Self {
        Self { version: VERSION, epoch, kind, message: message.to_vec() }
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let buffered: Self = decode(bytes, WHAT)?;
        known(buffered.version)?;
        Ok(buffered)
    }
}

impl Index {
    fn read(overlay: &Overlay, id: &[u8]) -> Result<Option<Self>> {
        let Some(bytes) = overlay.record(&index_key(id))? else { return Ok(None) };
        let index: Self = decode(&bytes, WHAT)?;
        known(index.version)?;
        Ok(Some(index))
    }

    /// The index of what is left, or none when nothing is.
    fn of(next: u64, left: &[(u64, Buffered)]) -> Option<Self> {
        Some(Self {
            version: VERSION,
            next,
            count: left.len() as u64,
            bytes: left.iter().map(|(_, buffered)| buffered.message.len() as u64).sum(),
            lowest: left.iter().map(|(_, buffered)| buffered.epoch).min()?,
            highest: left.iter().map(|(_, buffered)| buffered.epoch).max()?,
        })
    }

    fn has_room(&self, message: &[u8], config: &SessionConfig) -> bool {
        self.count < config.max_buffered_messages as u64
            && self.bytes.saturating_add(message.len() as u64) <= config.max_buffered_bytes as u64
    }
}

/// Stores a message, unless it is there already. Returns what had to go for it: messages of epochs that are further ahead.
pub(super) fn put(
    overlay: &Overlay,
    config: &SessionConfig,
    id: &[u8],
    new: &Buffered,
) -> Result<Vec<Buffered>> {
    let marker = RecordKind::Buffered.of(id, &sha256(&new.message));
    if overlay.record(&marker)?.is_some() {
        return Ok(Vec::new());
    }
    let mut index = Index::read(overlay, id)?.unwrap_or_default();
    let mut gone = Vec::new();
    if !index.has_room(&new.message, config) {
        let full = EngineError::BufferFull { messages: index.count, bytes: index.bytes };
        // Without the nearer message the further ones could never be read.
        if index.highest <= new.epoch {
            return Err(full);
        }
        let mut left = all(overlay, id)?;
        left.sort_by_key(|(number, buffered)| (buffered.epoch, *number));
        let mut pushed_out = Vec::new();
        while !index.has_room(&new.message, config) {
            match left.pop_if(|(_, farthest)| farthest.epoch > new.epoch) {
                Some(farthest) => pushed_out.push(farthest),
                None => return Err(full),
            }
            index = Index::of(index.next, &left).unwrap_or(Index { next: index.next, ..Index::default() });
        }
        gone = remove(overlay, id, pushed_out);
    }
    let bytes = encode(new, WHAT)?;
    let is_first = index.count == 0;
    let grown = Index {
        version: VERSION,
        next: index.next + 1,
        count: index.count + 1,
        bytes: index.bytes + new.message.len() as u64,
        lowest: if is_first { new.epoch } else { index.lowest.min(new.epoch) },
        highest: if is_first { new.epoch } else { index.highest.max(new.epoch) },
    };
    overlay.put_record(message_key(id, index.next), bytes);
    overlay.put_record(marker, Zeroizing::new(Vec::new()));
    overlay.put_record(index_key(id), encode(&grown, WHAT)?);
    Ok(gone)
}

/// Takes out the messages up to an epoch, in the order in which they are replayed.
pub(super) fn take_until(overlay: &Overlay, id: &[u8], epoch: u64) -> Result<Vec<Buffered>> {
    let Some(index) = Index::read(overlay, id)? else { return Ok(Vec::new()) };
    if index.lowest > epoch {
        return Ok(Vec::new());
    }
    let (mut due, left): (Vec<_>, Vec<_>) =
        all(overlay, id)?.into_iter().partition(|(_, buffered)| buffered.epoch <= epoch);
    match Index::of(index.next, &left) {
        Some(index) => overlay.put_record(index_key(id), encode(&index, WHAT)?),
        None => overlay.delete_record(index_key(id)),
    }
    due.sort_by_key(|(number, buffered)| (buffered.epoch, buffered.kind, *number));
    Ok(remove(overlay, id, due))
}

/// All messages in the order of their arrival.
fn all(overlay: &Overlay, id: &[u8]) -> Result<Vec<(u64, Buffered)>> {
    let mut messages = Vec::new();
    for (key, value) in overlay.records(RecordKind::Buffered, id)? {
        if let Ok(number) = <[u8; 8]>::try_from(&key[..]) {
            messages.push((u64::from_be_bytes(number), Buffered::from_bytes(&value)?));
        }
    }
    Ok(messages)
}

fn remove(overlay: &Overlay, id: &[u8], messages: Vec<(u64, Buffered)>) -> Vec<Buffered> {
    for (number, buffered) in &messages {
        overlay.delete_record(message_key(id, *number));
        overlay.delete_record(RecordKind::Buffered.of(id, &sha256(&buffered.message)));
    }
    messages.into_iter().map(|(_, buffered)| buffered).collect()
}

fn index_key(id: &[u8]) -> RecordKey {
    RecordKind::Buffered.of(id, &[])
}

fn message_key(id: &[u8], number: u64) -> RecordKey {
    RecordKind::Buffered.of(id, &number.to_be_bytes())
}

fn known(version: u16) -> Result<()> {
    if version == VERSION { Ok(()) } else { Err(EngineError::DamagedState { what: WHAT, source: None }) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn limits(messages: usize, bytes: usize) -> SessionConfig {
        SessionConfig {
            max_buffered_messages: messages,
            max_buffered_bytes: bytes,
            ..SessionConfig::default()
        }
    }

    fn message(epoch: u64, kind: Kind, text: &str) -> Buffered {
        Buffered::new(epoch, kind, text.as_bytes())
    }

    fn texts(buffered: &[Buffered]) -> Vec<&str> {
        buffered.iter().map(|b| std::str::from_utf8(&b.message).unwrap()).collect()
    }

    #[test]
    fn the_format_of_a_buffered_message_is_the_released_one() {
        let buffered = message(7, Kind::Commit, "abc");
        let bytes = encode(&buffered, WHAT).unwrap();
        assert_eq!(hex::encode(&bytes[..]), "000100000000000000070303616263");
        assert_eq!(Buffered::from_bytes(&bytes).unwrap(), buffered);
        let index = Index { version: VERSION, next: 1, count: 2, bytes: 3, lowest: 4, highest: 5 };
        let bytes = encode(&index, WHAT).unwrap();
        let numbers = [1_u64, 2, 3, 4, 5].map(u64::to_be_bytes).concat();
        assert_eq!(hex::encode(&bytes[..]), format!("0001{}", hex::encode(numbers)));
    }

    #[test]
    fn messages_come_out_by_epoch_and_kind_and_in_the_order_of_arrival() {
        let (overlay, config) = (Overlay::scratch(), limits(10, 100));
        for new in [
            message(3, Kind::Application, "later"),
            message(2, Kind::Commit, "commit"),
            message(2, Kind::Application, "b"),
            message(2, Kind::Proposal, "proposal"),
            message(2, Kind::Application, "a"),
            message(2, Kind::Application, "b"),
            message(1, Kind::Application, "stale"),
        ] {
            assert!(put(&overlay, &config, b"id", &new).unwrap().is_empty());
        }
        assert_eq!(texts(&take_until(&overlay, b"id", 0).unwrap()), [""; 0]);
        let due = take_until(&overlay, b"id", 2).unwrap();
        assert_eq!(texts(&due), ["stale", "b", "a", "proposal", "commit"]);
        assert_eq!(texts(&take_until(&overlay, b"id", 2).unwrap()), [""; 0]);
        assert_eq!(texts(&take_until(&overlay, b"id", 9).unwrap()), ["later"]);
        assert!(overlay.records(RecordKind::Buffered, b"id").unwrap().is_empty(), "nothing is left behind");
    }

    #[test]
    fn a_full_buffer_makes_room_for_what_can_be_read_sooner_and_for_nothing_else() {
        let (overlay, config) = (Overlay::scratch(), limits(3, 10));
        for new in
            [message(5, Kind::Commit, "far"), message(4, Kind::Commit, "near"), message(5, Kind::Commit, "x")]
        {
            put(&overlay, &config, b"id", &new).unwrap();
        }
        let full = put(&overlay, &config, b"id", &message(5, Kind::Commit, "y"));
        assert!(matches!(full, Err(EngineError::BufferFull { messages: 3, bytes: 8 })));
        assert!(put(&overlay, &config, b"id", &message(2, Kind::Commit, "longer than all")).is_err());
        let gone = put(&overlay, &config, b"id", &message(3, Kind::Commit, "12345")).unwrap();
        assert_eq!(texts(&gone), ["x", "far"], "the newest of the farthest go first, until it fits");
        assert_eq!(texts(&take_until(&overlay, b"id", 9).unwrap()), ["12345", "near"]);
        // Who had to go may come again.
        put(&overlay, &config, b"id", &message(5, Kind::Commit, "far")).unwrap();
        assert_eq!(texts(&take_until(&overlay, b"id", 9).unwrap()), ["far"]);
    }
}
