//! The table of the hints that are expected.
//!
//! For each sender of an epoch, and each kind, the next hints are in one hash table: 32 for messages and 4 for handshakes, ahead of the highest
//! that was received, and those that are missing as far behind it. A receiver that has lost more than that of a sender in a row
//! does not recognise what follows, until the next epoch begins its chains anew.
//!
//! The table does not hold the hints. An entry is three bytes of a hint, of which one is said by where it is, and four that say whose it is; the
//! hint itself is computed again when the three bytes match. That makes it small, and keeps it exact.
//!
//! A table that is loaded has the hints of the current epochs, which nearly all that comes is of. Those of past epochs, three quarters of all, are
//! computed when something comes that is of no current one.

mod epochs;
mod index;
mod indexing;
mod own;
mod receiving;
mod slots;

use std::{
    collections::HashMap,
    fmt,
    sync::{PoisonError, RwLock, RwLockReadGuard},
};

use rayon::iter::ParallelIterator as _;
use tertulia_domain::ConversationId;
use zeroize::Zeroizing;

use super::{
    APPLICATION_WINDOW, HANDSHAKE_WINDOW,
    lane::Lane,
    ratcheted::{ChainKeys, Kind},
    record::{EpochRecord, Record, SenderRecord},
};
use crate::{
    epoch::{EpochId, EpochSecrets},
    types::TypeId,
    wire::EncryptedFrame,
};
use index::Index;
use slots::Slots;

pub use own::Sealed;

/// How many hints of a sender are expected, save those that are late.
const HINTS: usize = (APPLICATION_WINDOW + HANDSHAKE_WINDOW) as usize;
/// In the place of the incarnation of an epoch, that it is of none: its hints may have been used by any. No store gets that far.
const NO_INCARNATION: u64 = u64::MAX;
/// Most senders in one epoch.
const MAX_SENDERS: usize = 100_000;

/// The hints that a device expects, of all its conversations, and its own counters.
///
/// It is memory only. What has to survive is in one [record](Self::record) for each conversation, to be written in the transaction in which
/// that what changed it is written; [`load`](Self::load) makes the table again from all of them.
pub struct HintTable {
    past_epochs: usize,
    incarnation: u64,
    index: RwLock<Hints>,
    conversations: HashMap<ConversationId, Conversation>,
    epochs: Slots<Epoch>,
    senders: Slots<Sender>,
}

/// The hints that are found at once, and whether there are others.
#[derive(Default)]
struct Hints {
    index: Index,
    /// Whether those of the epochs that are [left for later](Epoch::later) are not in the index yet.
    lacks_past: bool,
}

/// What begins with an epoch.
#[derive(Debug, Clone, Copy)]
pub struct EpochStart<'a> {
    /// Conversation, type and number of the epoch.
    pub epoch: EpochId,
    /// Its secrets.
    pub secrets: &'a EpochSecrets,
    /// This device's place among the senders: its leaf in MLS; in a private conversation 0 for who invited and 1 for who accepted.
    pub own_sender: u32,
    /// The places of the others.
    pub senders: &'a [u32],
    /// Whether another copy of the store may have used hints of it.
    pub origin: Origin,
}

/// By which keys a device is in an epoch, which says whether another copy of its store may have used its hints there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// By keys that this incarnation of the store has made: it has begun the epoch itself, or was let in by a key of its own. No other copy has them.
    Own,
    /// Somebody else has begun it with an envelope at this place. Whoever could read that is in it too, so it is as the epoch of that place.
    Follows(Place),
    /// By keys of an earlier incarnation. Nothing is sent in it but what [begins another](HintTable::must_update).
    Restored,
}

/// Where an envelope belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// Conversation, type and epoch.
    pub epoch: EpochId,
    /// Whose hint it has; none for a salted one, of which only the encryption inside tells the sender.
    pub sender: Option<SenderPlace>,
    slot: u32,
}

/// Whose hint it is, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SenderPlace {
    /// The sender's place. Any member could have used another's hint, so the encryption inside decides who has written.
    pub sender: u32,
    /// For what it is.
    pub kind: Kind,
    /// Which of the chain.
    pub generation: u32,
    slot: u32,
}

/// An envelope that was opened.
#[derive(Debug)]
pub struct Opened {
    /// Where it belongs.
    pub place: Place,
    /// What was in it.
    pub frame: EncryptedFrame,
}

struct Conversation {
    conversation_type: TypeId,
    /// Slots of the epochs. The last is the current one.
    epochs: Vec<u32>,
}

struct Epoch {
    id: EpochId,
    secrets: EpochSecrets,
    /// The only one that may use this device's hints of it.
    incarnation: u64,
    own_sender: u32,
    /// The next generation of this device's own, by kind.
    next: [u32; 2],
    /// Slots of the senders.
    senders: Box<[u32]>,
    /// It was loaded as a past one: its hints come into the index when [the table lacks them](Hints::lacks_past) no longer.
    later: bool,
}

struct Sender {
    /// The slot of its epoch.
    epoch: u32,
    /// Its place.
    at: u32,
    lanes: [Lane; 2],
    keys: ChainKeys,
}

impl HintTable {
    /// How many past epochs are kept unless [`with_past_epochs`](Self::with_past_epochs) says otherwise. As many as the engine keeps.
    pub const PAST_EPOCHS: usize = 3;

    /// An empty table, of a device whose store is in this incarnation: a number that rises when the store is restored or copied.
    pub fn new(incarnation: u64) -> Self {
        Self {
            past_epochs: Self::PAST_EPOCHS,
            incarnation,
            index: RwLock::default(),
            conversations: HashMap::new(),
            epochs: Slots::default(),
            senders: Slots::default(),
        }
    }

    /// Keeps so many past epochs of each conversation. Where nobody orders commits it is at least the depth to which they may be rolled back.
    #[must_use]
    pub fn with_past_epochs(self, past_epochs: usize) -> Self {
        Self { past_epochs, ..self }
    }

    fn read(&self) -> RwLockReadGuard<'_, Hints> {
        // Nothing that can panic happens while it is changed.
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be stored of a conversation, with the secrets of its epochs. None if it has no epoch here: then there is to be no record.
    pub fn record(&self, conversation: &ConversationId) -> Option<Zeroizing<Vec<u8>>> {
        let Conversation { conversation_type, epochs } = self.conversations.get(conversation)?;
        let epochs = epochs.iter().filter_map(|slot| self.epochs.get(*slot));
        let epochs = epochs.map(|epoch| EpochRecord {
            epoch: epoch.id.epoch,
            secrets: epoch.secrets.clone(),
            incarnation: epoch.incarnation,
            own_sender: epoch.own_sender,
            next: epoch.next,
            senders: epoch
                .senders
                .iter()
                .filter_map(|slot| self.senders.get(*slot))
                .map(|sender| SenderRecord { sender: sender.at, lanes: sender.lanes })
                .collect(),
        });
        let record = Record {
            conversation: *conversation,
            conversation_type: *conversation_type,
            epochs: epochs.collect(),
        };
        Some(record.encode())
    }

    /// How many hints are expected, those of past epochs among them.
    pub fn len(&self) -> usize {
        let hints = self.read();
        if !hints.lacks_past {
            return hints.index.len();
        }
        let of_sender = |sender: &Sender| -> usize {
            if self.epochs.get(sender.epoch).is_none_or(|epoch| !epoch.later) {
                return 0;
            }
            Kind::BOTH.iter().map(|kind| sender.lanes[kind.index()].expected(kind.window()).count()).sum()
        };
        let of_chunk =
            |(_, chunk): (u32, &Vec<Option<Sender>>)| chunk.iter().flatten().map(of_sender).sum::<usize>();
        hints.index.len() + self.senders.par_chunks().map(of_chunk).sum::<usize>()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for HintTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HintTable({} conversations, {} hints)", self.conversations.len(), self.len())
    }
}
