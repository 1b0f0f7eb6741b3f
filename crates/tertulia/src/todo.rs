//! Work that events call for, kept until it is done.

use crate::Result;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use tertulia_domain::{ConversationId, History, UserId};
use tertulia_mls::TransactionContext;

/// What events call for beyond writing them down. It is kept with the cursor, so that it outlives the process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Todo {
    /// Conversations with proposals that wait for a commit.
    pub(crate) proposals: BTreeSet<ConversationId>,
    /// Conversations whose history somebody who was removed could read on.
    pub(crate) history: BTreeSet<ConversationId>,
    /// Conversations for which this device has been told what those who come later may read, and that are to be so.
    pub(crate) sharing: BTreeMap<ConversationId, Sharing>,
    /// Conversations that somebody joined by themselves, who lacks what opens shared history.
    pub(crate) share: BTreeSet<ConversationId>,
    /// Conversations of which this device may be able to read more from before it came.
    pub(crate) replay: BTreeSet<ConversationId>,
    /// Conversations that another device of this user joined, which does not know their name.
    pub(crate) announce: BTreeSet<ConversationId>,
    /// Conversations whose group this device has had begun anew, and is to begin.
    pub(crate) begin: BTreeSet<ConversationId>,
    /// Who asks to be let in, until they are, or what they asked is void.
    pub(crate) joins: BTreeSet<Asking>,
    /// Whether key packages may have been used up.
    pub(crate) key_packages: bool,
    /// Whether the user has several devices, and this one is to be in their group.
    pub(crate) own_devices: bool,
    /// Whether keys for pairwise sessions were used up.
    pub(crate) pairwise_keys: bool,
}

/// What is to be shared of a conversation, as a user of this device has said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sharing {
    pub(crate) history: History,
    /// Whether what is sent from here on is to have keys of its own, for others may be shared with from here on than before.
    pub(crate) rotate: bool,
}

/// Somebody who asks to be let into a conversation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Asking {
    pub(crate) conversation: ConversationId,
    pub(crate) user: UserId,
    /// That they have the join link; none if they asked by the conversation's id alone.
    pub(crate) proof: Option<Vec<u8>>,
}

impl Todo {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What is stored. What an earlier version stored and this one cannot read was for that one to do.
    pub(crate) fn of(tx: &TransactionContext) -> Result<Self> {
        Ok(tx.get_data()?.and_then(|data| serde_json::from_slice(&data).ok()).unwrap_or_default())
    }

    pub(crate) fn write(&self, tx: &mut TransactionContext) -> Result<()> {
        Ok(tx.set_data(serde_json::to_vec(self).expect("ids and flags are always JSON"))?)
    }

    /// Strikes out that these users ask to be let into the conversation. Whether that changed anything.
    pub(crate) fn strike_out_joins(
        &mut self,
        conversation: ConversationId,
        users: impl Fn(UserId) -> bool,
    ) -> bool {
        let before = self.joins.len();
        self.joins.retain(|asking| asking.conversation != conversation || !users(asking.user));
        self.joins.len() != before
    }

    /// Adds this to what is stored, in the same transaction.
    pub(crate) fn add_to(&self, tx: &mut TransactionContext) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let mut stored = Self::of(tx)?;
        stored.proposals.extend(&self.proposals);
        stored.history.extend(&self.history);
        stored.sharing.extend(&self.sharing);
        stored.share.extend(&self.share);
        stored.replay.extend(&self.replay);
        stored.announce.extend(&self.announce);
        stored.begin.extend(&self.begin);
        stored.joins.extend(self.joins.iter().cloned());
        stored.key_packages |= self.key_packages;
        stored.own_devices |= self.own_devices;
        stored.pairwise_keys |= self.pairwise_keys;
        stored.write(tx)
    }
}
