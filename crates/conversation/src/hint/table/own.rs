//! This device's own hints: each is used once.

use rand::{CryptoRng, RngExt as _};
use tertulia_domain::ConversationId;
use zeroize::Zeroizing;

use super::{Epoch, HintTable};
use crate::{
    epoch::EpochId,
    hint::{
        Hint, HintError, Salt,
        ratcheted::{Chains, Kind},
    },
    types::{ConversationType, TypeId},
    wire::Envelope,
};

/// An envelope that is ready, and what has to be stored before it goes anywhere.
///
/// Write both in **one** transaction: the record in the place of the conversation's former one, and the envelope into the outbox. After a crash the
/// counter has either moved on, and the envelope is there to be sent, or neither has happened. If the transaction fails,
/// [take it back](HintTable::take_back).
#[must_use = "its hint is used up"]
#[derive(Debug)]
pub struct Sealed {
    envelope: Vec<u8>,
    record: Zeroizing<Vec<u8>>,
    epoch: EpochId,
    slot: u32,
    kind: Kind,
    generation: u32,
}

impl Sealed {
    /// The envelope's bytes.
    pub fn envelope(&self) -> &[u8] {
        &self.envelope
    }

    /// The conversation's record, in which the hint is used up.
    pub fn record(&self) -> &[u8] {
        &self.record
    }
}

impl HintTable {
    /// Puts a frame into an envelope with this device's next hint in the conversation.
    pub fn seal<T: ConversationType>(
        &mut self,
        conversation: &ConversationId,
        frame: &T::Frame,
        random: &mut impl CryptoRng,
    ) -> Result<Sealed, HintError> {
        self.seal_in::<T>(T::DESCRIPTOR.id, conversation, frame, random)
    }

    /// The same in a conversation of another type whose frames these are too: of an application's own type on MLS, a group's.
    pub fn seal_in<T: ConversationType>(
        &mut self,
        conversation_type: TypeId,
        conversation: &ConversationId,
        frame: &T::Frame,
        random: &mut impl CryptoRng,
    ) -> Result<Sealed, HintError> {
        let (slot, epoch) = self.current(conversation_type, conversation)?;
        if epoch.incarnation != self.incarnation {
            return Err(HintError::Restored(*conversation));
        }
        let kind = if T::is_handshake(frame) { Kind::Handshake } else { Kind::Application };
        let generation = epoch.next[kind.index()];
        let next = generation.checked_add(1).ok_or(HintError::Exhausted(*conversation))?;
        let id = epoch.id;
        let hint = Chains::of(&epoch.secrets).chain(kind, epoch.own_sender).hint(generation);
        let envelope = epoch.secrets.seal(&id, (hint, Salt::NONE), T::encode(frame), random.random())?;
        if let Some(epoch) = self.epochs.get_mut(slot) {
            epoch.next[kind.index()] = next;
        }
        let record = self.record(conversation).ok_or(HintError::NoConversation(*conversation))?;
        Ok(Sealed { envelope: envelope.encode(), record, epoch: id, slot, kind, generation })
    }

    /// Takes an envelope back that could not be stored, and was sent nowhere. Its hint is free again if none was used after it;
    /// otherwise it is passed over.
    #[allow(clippy::needless_pass_by_value)] // so that it is not sent afterwards
    pub fn take_back(&mut self, sealed: Sealed) {
        let Sealed { epoch: id, slot, kind, generation, .. } = sealed;
        if let Some(epoch) = self.epochs.get_mut(slot).filter(|epoch| epoch.id == id) {
            let next = &mut epoch.next[kind.index()];
            if *next == generation + 1 {
                *next = generation;
            }
        }
    }

    /// Puts a frame into an envelope with a salted hint, which uses no counter. It is for the one commit by which a device whose store
    /// [was restored](HintError::Restored) gets keys, and with them hints, that no other copy has, and for handshakes
    /// [beyond the window](Self::is_beyond_window): every other message has the next hint of its chain. That the hint is salted shows.
    pub fn seal_salted<T: ConversationType>(
        &self,
        conversation: &ConversationId,
        frame: &T::Frame,
        random: &mut impl CryptoRng,
    ) -> Result<Envelope, HintError> {
        self.seal_salted_in::<T>(T::DESCRIPTOR.id, conversation, frame, random)
    }

    /// The same in a conversation of another type whose frames these are too.
    pub fn seal_salted_in<T: ConversationType>(
        &self,
        conversation_type: TypeId,
        conversation: &ConversationId,
        frame: &T::Frame,
        random: &mut impl CryptoRng,
    ) -> Result<Envelope, HintError> {
        let (_, epoch) = self.current(conversation_type, conversation)?;
        epoch.seal_salted::<T>(frame, random)
    }

    /// The same in the epoch of this number that was entered last, be it a past one: so that what begins another is told again to who may not have it.
    ///
    /// # Errors
    ///
    /// [`HintError::NoConversation`] where there is no epoch of this number, and those of the frame.
    pub fn seal_salted_at<T: ConversationType>(
        &self,
        id: &EpochId,
        frame: &T::Frame,
        random: &mut impl CryptoRng,
    ) -> Result<Envelope, HintError> {
        let epoch = self.newest_of(id).ok_or(HintError::NoConversation(id.conversation))?;
        epoch.seal_salted::<T>(frame, random)
    }

    /// Whether a receiver that got none of what this device has sent of this kind in the current epoch does not recognise the next of it: its
    /// [window](Kind::window) is used up.
    pub fn is_beyond_window(&self, conversation: &ConversationId, kind: Kind) -> bool {
        self.current_of(conversation).is_some_and(|epoch| epoch.next[kind.index()] >= kind.window())
    }

    /// Whether this device has to update its keys before it can send, for the conversation's epoch is one in which another copy of the store may have sent: it began
    /// before the store was restored, or others have begun it [since](super::Origin).
    pub fn must_update(&self, conversation: &ConversationId) -> bool {
        self.current_of(conversation).is_some_and(|epoch| epoch.incarnation != self.incarnation)
    }

    fn current_of(&self, conversation: &ConversationId) -> Option<&Epoch> {
        self.epochs.get(*self.conversations.get(conversation)?.epochs.last()?)
    }

    fn current(
        &self,
        conversation_type: TypeId,
        conversation: &ConversationId,
    ) -> Result<(u32, &Epoch), HintError> {
        let known = self.conversations.get(conversation).ok_or(HintError::NoConversation(*conversation))?;
        if known.conversation_type != conversation_type {
            return Err(HintError::WrongType(*conversation));
        }
        let slot = known.epochs.last().copied();
        let epoch = slot.and_then(|slot| Some((slot, self.epochs.get(slot)?)));
        epoch.ok_or(HintError::NoConversation(*conversation))
    }
}

impl Epoch {
    fn seal_salted<T: ConversationType>(
        &self,
        frame: &T::Frame,
        random: &mut impl CryptoRng,
    ) -> Result<Envelope, HintError> {
        let salt = Salt::random(random);
        let hint = (Hint::salted(&self.id.conversation, salt), salt);
        Ok(self.secrets.seal(&self.id, hint, T::encode(frame), random.random())?)
    }
}
