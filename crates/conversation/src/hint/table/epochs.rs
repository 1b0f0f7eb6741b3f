//! The epochs of the conversations: they begin, are replaced, and are forgotten.

use subtle::ConstantTimeEq as _;
use tertulia_domain::ConversationId;

use super::{
    Conversation, Epoch, EpochStart, HintTable, MAX_SENDERS, NO_INCARNATION, Origin, Place, Sender,
    index::Entry, indexing::index_of,
};
use crate::{
    epoch::{EpochId, EpochSecrets},
    hint::{
        HintError,
        ratcheted::ChainKeys,
        record::{EpochRecord, Record, SenderRecord},
    },
};

impl HintTable {
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

    /// Whether there is an epoch of this number here.
    pub fn has_epoch(&self, id: &EpochId) -> bool {
        self.newest_of(id).is_some()
    }

    /// Whether the epoch of this place is the one with these secrets, and still here.
    pub fn is_at(&self, place: &Place, secrets: &EpochSecrets) -> bool {
        self.epochs.get(place.slot).is_some_and(|epoch| epoch.id == place.epoch && epoch.has(secrets))
    }

    /// Of the epochs of this number the one that was entered last.
    pub(super) fn newest_of(&self, id: &EpochId) -> Option<&Epoch> {
        let epochs = self.conversations.get(&id.conversation)?.epochs.iter().rev();
        epochs.filter_map(|slot| self.epochs.get(*slot)).find(|epoch| epoch.id == *id)
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

    /// Gives an epoch and its senders their slots. Their hints are not in the index yet, nor have the senders keys.
    pub(super) fn place(&mut self, id: EpochId, record: EpochRecord) -> Result<u32, HintError> {
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

impl Epoch {
    /// Whether these are its secrets.
    fn has(&self, secrets: &EpochSecrets) -> bool {
        self.secrets.hint.as_slice().ct_eq(secrets.hint.as_slice()).into()
    }
}
