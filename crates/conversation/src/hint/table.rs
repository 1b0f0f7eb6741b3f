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

mod index;
mod own;
mod slots;

use std::{
    collections::HashMap,
    fmt,
    sync::{PoisonError, RwLock, RwLockReadGuard},
};

use rayon::iter::ParallelIterator as _;
use subtle::ConstantTimeEq as _;
use tertulia_domain::ConversationId;
use zeroize::Zeroizing;

use super::{
    APPLICATION_WINDOW, HANDSHAKE_WINDOW, Hint, HintError, Salt,
    lane::Lane,
    ratcheted::{ChainKeys, Chains, Kind},
    record::{EpochRecord, Record, SenderRecord},
};
use crate::{
    epoch::{EpochId, EpochSecrets},
    types::{ConversationType, TypeId},
    wire::{EncryptedFrame, Envelope, Outcome, WireError},
};
use index::{Batch, Building, Entry, Index};
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

    /// Makes the table from its records, as at the start of the program.
    pub fn load<R: AsRef<[u8]>>(mut self, records: impl IntoIterator<Item = R>) -> Result<Self, HintError> {
        let records: Vec<_> =
            records.into_iter().map(|record| Record::decode(record.as_ref())).collect::<Result<_, _>>()?;
        let mut lacks_past = false;
        for record in records {
            let Record { conversation, conversation_type, epochs } = record;
            let last = epochs.len().saturating_sub(1);
            for (at, epoch) in epochs.into_iter().enumerate() {
                let id = EpochId { conversation, conversation_type, epoch: epoch.epoch };
                let slot = self.place(id, epoch)?;
                if let Some(epoch) = self.epochs.get_mut(slot) {
                    epoch.later = at < last;
                    lacks_past |= epoch.later;
                }
            }
        }
        self.index_current(lacks_past);
        Ok(self)
    }

    /// Computes the keys of all senders, and the hints of those of current epochs. Hashing is nearly all of the work, and all cores share it.
    fn index_current(&mut self, lacks_past: bool) {
        let Self { epochs, senders, conversations, .. } = self;
        let last = conversations.values().filter_map(|conversation| epochs.get(*conversation.epochs.last()?));
        let current: usize = last.map(|epoch| epoch.senders.len()).sum();
        // What is late comes on top, and is rare.
        let building = Building::of(Index::default(), current.saturating_mul(HINTS));
        senders.par_chunks_mut().for_each_init(Batch::default, |batch, (first, chunk)| {
            for (slot, sender) in (first..).zip(chunk) {
                let Some(sender) = sender else { continue };
                let Some(epoch) = epochs.get(sender.epoch) else { continue };
                Chains::of(&epoch.secrets).write_keys(sender.at, &mut sender.keys);
                if !epoch.later {
                    sender.hints(slot, |hint, entry| batch.add(&hint, entry));
                }
            }
            building.insert(batch);
        });
        self.index = RwLock::new(Hints { index: building.done(), lacks_past });
    }

    /// Computes the hints of the epochs that were left for later. All cores share that, too.
    fn index_past(&self) {
        let mut hints = self.index.write().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have done it meanwhile.
        if !std::mem::take(&mut hints.lacks_past) {
            return;
        }
        let Self { epochs, senders, .. } = self;
        let is_later = |sender: &Sender| epochs.get(sender.epoch).is_some_and(|epoch| epoch.later);
        let new =
            senders.par_chunks().map(|(_, chunk)| chunk.iter().flatten().filter(|s| is_later(s)).count());
        let building =
            Building::of(std::mem::take(&mut hints.index), new.sum::<usize>().saturating_mul(HINTS));
        senders.par_chunks().for_each_init(Batch::default, |batch, (first, chunk)| {
            for (slot, sender) in (first..).zip(chunk) {
                let Some(sender) = sender.as_ref().filter(|sender| is_later(sender)) else { continue };
                sender.hints(slot, |hint, entry| batch.add(&hint, entry));
            }
            building.insert(batch);
        });
        hints.index = building.done();
    }

    fn read(&self) -> RwLockReadGuard<'_, Hints> {
        // Nothing that can panic happens while it is changed.
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a conversation's record in the place of what the table has of it, as when another process of this device has written it.
    pub fn replace(&mut self, record: &[u8]) -> Result<(), HintError> {
        let Record { conversation, conversation_type, epochs } = Record::decode(record)?;
        self.forget(&conversation);
        for epoch in epochs {
            self.add(EpochId { conversation, conversation_type, epoch: epoch.epoch }, epoch)?;
        }
        Ok(())
    }

    /// Begins an epoch, which becomes the current one; the oldest beyond those that are kept are forgotten.
    ///
    /// An epoch that is still here goes on with its counters, and stays of the [origin](EpochStart::origin) that was said first. So of branches that competed for an
    /// epoch either can become the current one again, and no hint is used twice.
    pub fn begin_epoch(&mut self, start: &EpochStart<'_>) -> Result<(), HintError> {
        self.enter(start, true)
    }

    /// Recognises envelopes of an epoch from now on, and goes on sending in the current one: as who has sent a renewal does, until the other has written in
    /// the new epoch and [`begin_epoch`](Self::begin_epoch) makes it the current one. Where there is no other epoch it is the current one.
    pub fn expect_epoch(&mut self, start: &EpochStart<'_>) -> Result<(), HintError> {
        self.enter(start, false)
    }

    fn enter(&mut self, start: &EpochStart<'_>, is_current: bool) -> Result<(), HintError> {
        let EpochStart { epoch: id, secrets, own_sender, senders, origin } = *start;
        if let Some(conversation) = self.conversations.get_mut(&id.conversation) {
            if conversation.conversation_type != id.conversation_type {
                return Err(HintError::WrongType(id.conversation));
            }
            let same =
                |slot: &u32| self.epochs.get(*slot).is_some_and(|epoch| epoch.id == id && epoch.has(secrets));
            if let Some(at) = conversation.epochs.iter().position(same) {
                if is_current {
                    let slot = conversation.epochs.remove(at);
                    conversation.epochs.push(slot);
                }
                return Ok(());
            }
        }
        let mut distinct = senders.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        if distinct.len() != senders.len() || senders.len() > MAX_SENDERS || distinct.contains(&own_sender) {
            return Err(HintError::Senders { got: senders.len(), max: MAX_SENDERS });
        }
        let senders = distinct.into_iter().map(|sender| SenderRecord { sender, lanes: Default::default() });
        let record = EpochRecord {
            epoch: id.epoch,
            secrets: secrets.clone(),
            incarnation: self.incarnation_of(origin),
            own_sender,
            next: [0; 2],
            senders: senders.collect(),
        };
        self.add(id, record)?;
        if let Some(Conversation { epochs, .. }) = self.conversations.get_mut(&id.conversation)
            && let [.., current, new] = epochs.as_mut_slice()
            && !is_current
        {
            std::mem::swap(current, new);
        }
        while let Some(oldest) = self.beyond_those_kept(&id.conversation) {
            self.drop_epoch(oldest);
        }
        Ok(())
    }

    /// Whether an epoch of this number is the one with these secrets; none if there is none of that number here.
    pub fn knows_epoch(&self, id: &EpochId, secrets: &EpochSecrets) -> Option<bool> {
        let epochs = &self.conversations.get(&id.conversation)?.epochs;
        let same_number =
            epochs.iter().filter_map(|slot| self.epochs.get(*slot)).filter(|epoch| epoch.id == *id);
        same_number.map(|epoch| epoch.has(secrets)).reduce(|one, other| one | other)
    }

    /// Which incarnation may use this device's hints of an epoch of this origin.
    fn incarnation_of(&self, origin: Origin) -> u64 {
        match origin {
            Origin::Own => self.incarnation,
            Origin::Follows(place) => {
                let before = self.epochs.get(place.slot).filter(|epoch| epoch.id == place.epoch);
                before.map_or(NO_INCARNATION, |before| before.incarnation)
            }
            Origin::Restored => NO_INCARNATION,
        }
    }

    /// Forgets a conversation that is over.
    pub fn forget(&mut self, conversation: &ConversationId) {
        if let Some(conversation) = self.conversations.remove(conversation) {
            for epoch in conversation.epochs {
                self.drop_epoch(epoch);
            }
        }
    }

    /// Where an envelope with this ratcheted hint belongs. Constant time, whatever the number of conversations; but the first hint that is of no current epoch
    /// waits until those of past ones are computed, which [`load`](Self::load) has left for later.
    pub fn look_up(&self, hint: &Hint) -> Option<Place> {
        let hints = self.read();
        let found = self.find(&hints.index, hint);
        if found.is_some() || !hints.lacks_past {
            return found;
        }
        drop(hints);
        self.index_past();
        self.find(&self.read().index, hint)
    }

    fn find(&self, index: &Index, hint: &Hint) -> Option<Place> {
        index.find(hint, |entry| {
            let sender = self.senders.get(entry.sender())?;
            // Read now, so that it is fetched from memory while the hash is computed.
            let epoch = self.epochs.get(sender.epoch)?.id;
            let kind = entry.kind();
            let lane = sender.lanes[kind.index()];
            let generation = entry.generation(lane.next);
            // What is not expected any more was taken out; this is the hint itself, exactly.
            let is_it = sender.keys.chain(kind).hint(generation) == *hint;
            let place = SenderPlace { sender: sender.at, kind, generation, slot: entry.sender() };
            is_it.then_some(Place { epoch, sender: Some(place), slot: sender.epoch })
        })
    }

    /// The conversation that a hint is of, whatever is under it: who has seen the hint before may have put it there.
    pub fn conversation_of(&self, hint: &Hint, salt: Salt) -> Option<ConversationId> {
        if salt == Salt::NONE {
            return self.look_up(hint).map(|place| place.epoch.conversation);
        }
        self.conversations.keys().find(|id| Hint::salted(id, salt) == *hint).copied()
    }

    /// Opens an envelope. Nothing is changed: [`received`](Self::received) does that, once what was inside has proved to be genuine.
    ///
    /// An envelope with a salted hint is compared with each conversation, which costs by their number.
    pub fn open(&self, envelope: &Envelope) -> Outcome<Opened> {
        if envelope.salt == Salt::NONE {
            let Some(place) = self.look_up(&envelope.hint) else { return Outcome::NotForUs };
            return self.open_at(place, envelope);
        }
        let salted = |id: &ConversationId| Hint::salted(id, envelope.salt) == envelope.hint;
        let Some((_, conversation)) = self.conversations.iter().find(|(id, _)| salted(id)) else {
            return Outcome::NotForUs;
        };
        // It does not say of which epoch it is.
        for slot in conversation.epochs.iter().rev() {
            let Some(epoch) = self.epochs.get(*slot) else { continue };
            let place = Place { epoch: epoch.id, sender: None, slot: *slot };
            match self.open_at(place, envelope) {
                Outcome::Invalid(WireError::Undecryptable) => {}
                outcome => return outcome,
            }
        }
        Outcome::Invalid(WireError::Undecryptable)
    }

    fn open_at(&self, place: Place, envelope: &Envelope) -> Outcome<Opened> {
        let Some(epoch) = self.epochs.get(place.slot) else { return Outcome::NotForUs };
        epoch.secrets.open(&epoch.id, envelope).map(|frame| Opened { place, frame })
    }

    /// Notes that a genuine message has come with the hint of this place: the same hint is not taken again, and the window moves on. The
    /// conversation's [record](Self::record) has changed then. False if it was noted before, or the epoch is gone.
    pub fn received(&mut self, place: &Place) -> bool {
        let Some(SenderPlace { sender, kind, generation, slot }) = place.sender else { return false };
        let Self { index, epochs, senders, .. } = self;
        let Some(epoch) = epochs.get(place.slot).filter(|epoch| epoch.id == place.epoch) else {
            return false;
        };
        let Some(state) = senders.get_mut(slot) else { return false };
        let lane = &mut state.lanes[kind.index()];
        let is_current = state.epoch == place.slot && state.at == sender;
        if !is_current || !lane.expects(generation, kind.window()) {
            return false;
        }
        let chain = state.keys.chain(kind);
        let moved = lane.received(generation, kind.window());
        *lane = moved.lane;
        let Some(index) = index_of(index, epoch) else { return true };
        index.remove(&chain.hint(generation), Entry::new(slot, kind, generation));
        for bit in (0..u64::BITS).filter(|bit| moved.given_up & (1 << bit) != 0) {
            if let Some(given_up) = moved.lane.next.checked_sub(bit + 1) {
                index.remove(&chain.hint(given_up), Entry::new(slot, kind, given_up));
            }
        }
        for generation in moved.new {
            index.insert(&chain.hint(generation), Entry::new(slot, kind, generation));
        }
        true
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

    /// Adds an epoch as the current one.
    fn add(&mut self, id: EpochId, record: EpochRecord) -> Result<(), HintError> {
        let slot = self.place(id, record)?;
        let Self { index, epochs, senders, .. } = self;
        let Some(epoch) = epochs.get(slot) else { return Ok(()) };
        let Some(index) = index_of(index, epoch) else { return Ok(()) };
        let chains = Chains::of(&epoch.secrets);
        for of_sender in &epoch.senders {
            let Some(sender) = senders.get_mut(*of_sender) else { continue };
            chains.write_keys(sender.at, &mut sender.keys);
            sender.hints(*of_sender, |hint, entry| index.insert(&hint, entry));
        }
        Ok(())
    }

    /// Gives an epoch and its senders their slots. Their hints are not in the index yet, nor have the senders keys.
    fn place(&mut self, id: EpochId, record: EpochRecord) -> Result<u32, HintError> {
        let EpochRecord { secrets, incarnation, own_sender, next, senders, .. } = record;
        if self.senders.len().saturating_add(senders.len()) > Entry::MAX_SENDERS {
            return Err(HintError::Full);
        }
        let epoch =
            Epoch { id, secrets, incarnation, own_sender, next, senders: Box::default(), later: false };
        let slot = self.epochs.insert(epoch);
        let senders = senders.into_iter().map(|SenderRecord { sender, lanes }| {
            self.senders.insert(Sender { epoch: slot, at: sender, lanes, keys: ChainKeys::default() })
        });
        let senders = senders.collect();
        if let Some(epoch) = self.epochs.get_mut(slot) {
            epoch.senders = senders;
        }
        let conversation_type = id.conversation_type;
        let new = || Conversation { conversation_type, epochs: Vec::new() };
        self.conversations.entry(id.conversation).or_insert_with(new).epochs.push(slot);
        Ok(slot)
    }

    /// Takes the oldest epoch out of the conversation, if there are more than are kept.
    fn beyond_those_kept(&mut self, conversation: &ConversationId) -> Option<u32> {
        let epochs = &mut self.conversations.get_mut(conversation)?.epochs;
        (epochs.len() > self.past_epochs.saturating_add(1)).then(|| epochs.remove(0))
    }

    fn drop_epoch(&mut self, slot: u32) {
        let Self { index, epochs, senders, .. } = self;
        let Some(epoch) = epochs.get(slot) else { return };
        let mut index = index_of(index, epoch);
        for of_sender in &epoch.senders {
            let Some(sender) = senders.get(*of_sender) else { continue };
            if let Some(index) = &mut index {
                sender.hints(*of_sender, |hint, entry| index.remove(&hint, entry));
            }
            senders.remove(*of_sender);
        }
        epochs.remove(slot);
    }
}

/// The index, if it has the hints of this epoch.
fn index_of<'a>(hints: &'a mut RwLock<Hints>, epoch: &Epoch) -> Option<&'a mut Index> {
    let Hints { index, lacks_past } = hints.get_mut().unwrap_or_else(PoisonError::into_inner);
    (!epoch.later || !*lacks_past).then_some(index)
}

impl Epoch {
    /// Whether these are its secrets.
    fn has(&self, secrets: &EpochSecrets) -> bool {
        self.secrets.hint.as_slice().ct_eq(secrets.hint.as_slice()).into()
    }
}

impl Sender {
    /// All hints that are expected of it, whose slot this is.
    fn hints(&self, slot: u32, mut each: impl FnMut(Hint, Entry)) {
        for kind in Kind::BOTH {
            let chain = self.keys.chain(kind);
            for generation in self.lanes[kind.index()].expected(kind.window()) {
                each(chain.hint(generation), Entry::new(slot, kind, generation));
            }
        }
    }
}

impl fmt::Debug for HintTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HintTable({} conversations, {} hints)", self.conversations.len(), self.len())
    }
}

impl Opened {
    /// The frame, if it is one of this type, and of the kind that its hint is for.
    pub fn frame<T: ConversationType>(&self) -> Outcome<T::Frame> {
        self.frame_in::<T>(T::DESCRIPTOR.id)
    }

    /// The same in a conversation of another type whose frames these are too: of an application's own type on MLS, a group's.
    pub fn frame_in<T: ConversationType>(&self, conversation_type: TypeId) -> Outcome<T::Frame> {
        let (got, expected) = (self.frame.conversation_type.number(), conversation_type.number());
        if got != expected {
            return Outcome::Invalid(WireError::WrongType { got, expected });
        }
        T::decode(&self.frame.frame).and_then(|frame| match self.place.sender {
            Some(sender) if (sender.kind == Kind::Handshake) != T::is_handshake(&frame) => {
                Outcome::Invalid(WireError::WrongKind { hint: sender.kind.name() })
            }
            _ => Outcome::Decoded(frame),
        })
    }
}
