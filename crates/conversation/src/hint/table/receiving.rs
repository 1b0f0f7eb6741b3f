//! What comes: where an envelope belongs, what is in it, and that it came.

use tertulia_domain::ConversationId;

use super::{
    HintTable, Opened, Place, SenderPlace,
    index::{Entry, Index},
    indexing::index_of,
};
use crate::{
    hint::{Hint, Salt, ratcheted::Kind},
    types::{ConversationType, TypeId},
    wire::{Envelope, Outcome, WireError},
};

impl HintTable {
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
