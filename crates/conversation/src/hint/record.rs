//! What a device stores of a conversation's hints: one record, which is written whenever something of it changes.

use prost::Message as _;
use tertulia_domain::ConversationId;
use zeroize::{Zeroize as _, Zeroizing};

use super::{HintError, lane::Lane};
use crate::{
    epoch::EpochSecrets,
    types::TypeId,
    wire::{exactly, generated as wire},
};

/// A conversation's hints, between the table and the store.
pub(crate) struct Record {
    pub(crate) conversation: ConversationId,
    pub(crate) conversation_type: TypeId,
    /// The last is the current one.
    pub(crate) epochs: Vec<EpochRecord>,
}

pub(crate) struct EpochRecord {
    pub(crate) epoch: u64,
    pub(crate) secrets: EpochSecrets,
    pub(crate) incarnation: u64,
    pub(crate) own_sender: u32,
    pub(crate) next: [u32; 2],
    pub(crate) senders: Vec<SenderRecord>,
}

#[derive(Clone, Copy)]
pub(crate) struct SenderRecord {
    pub(crate) sender: u32,
    pub(crate) lanes: [Lane; 2],
}

impl Record {
    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let epochs = self.epochs.iter().map(|epoch| wire::StoredEpoch {
            epoch: epoch.epoch,
            hint_secret: epoch.secrets.hint.to_vec(),
            outer_secret: epoch.secrets.outer.to_vec(),
            own_sender: epoch.own_sender,
            next_application: epoch.next[0],
            next_handshake: epoch.next[1],
            senders: epoch.senders.iter().map(SenderRecord::encode).collect(),
            incarnation: epoch.incarnation,
        });
        let mut stored = wire::StoredHints {
            conversation_id: self.conversation.as_bytes().to_vec(),
            conversation_type: self.conversation_type.number().into(),
            epochs: epochs.collect(),
        };
        let bytes = Zeroizing::new(stored.encode_to_vec());
        wipe(&mut stored);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HintError> {
        let mut stored = wire::StoredHints::decode(bytes).map_err(|_| HintError::Damaged)?;
        let record = Self::read(&stored);
        wipe(&mut stored);
        record.ok_or(HintError::Damaged)
    }

    fn read(stored: &wire::StoredHints) -> Option<Self> {
        let conversation = ConversationId::from_bytes(exactly("", &stored.conversation_id).ok()?);
        let conversation_type = TypeId::new(u16::try_from(stored.conversation_type).ok()?);
        let epochs = stored.epochs.iter().map(EpochRecord::read).collect::<Option<Vec<_>>>()?;
        (!epochs.is_empty()).then_some(Self { conversation, conversation_type, epochs })
    }
}

impl EpochRecord {
    fn read(stored: &wire::StoredEpoch) -> Option<Self> {
        let secret = |bytes: &[u8]| exactly("", bytes).ok().map(Zeroizing::new);
        Some(Self {
            epoch: stored.epoch,
            secrets: EpochSecrets {
                hint: secret(&stored.hint_secret)?,
                outer: secret(&stored.outer_secret)?,
            },
            incarnation: stored.incarnation,
            own_sender: stored.own_sender,
            next: [stored.next_application, stored.next_handshake],
            senders: stored.senders.iter().map(SenderRecord::read).collect(),
        })
    }
}

impl SenderRecord {
    fn encode(&self) -> wire::StoredSender {
        let lane = |lane: Lane| {
            (lane != Lane::default()).then_some(wire::StoredLane { next: lane.next, late: lane.late })
        };
        let [application, handshake] = self.lanes.map(lane);
        wire::StoredSender { sender: self.sender, application, handshake }
    }

    fn read(stored: &wire::StoredSender) -> Self {
        let lane = |lane: Option<wire::StoredLane>| {
            lane.map_or_else(Lane::default, |lane| Lane { next: lane.next, late: lane.late })
        };
        Self { sender: stored.sender, lanes: [lane(stored.application), lane(stored.handshake)] }
    }
}

/// The copies of secrets that were made for the encoding.
fn wipe(stored: &mut wire::StoredHints) {
    for epoch in &mut stored.epochs {
        epoch.hint_secret.zeroize();
        epoch.outer_secret.zeroize();
    }
}
