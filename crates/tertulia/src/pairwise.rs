//! Conversations whose messages go from device to device: this device's keys, sending, receiving, and the way to MLS.

mod keys;
mod migration;
mod receiving;
mod sending;

use crate::{Client, Me, Result};
use tertulia_api::UserDevice;
use tertulia_domain::{ConversationId, DeviceAddress, Protocol, UserId};
use tertulia_mls::TransactionContext;
use tertulia_ratchet::{MAX_CONTENT, Ratchet};
use tertulia_store::PairwisePeerRecord;

pub(crate) use keys::CredentialSigner;
pub(crate) use receiving::Sessions;

/// The longest text: what is left of a message after the format.
pub(crate) const MAX_TEXT: usize = MAX_CONTENT - 4 * 1024;

impl Client {
    /// The pairwise sessions, to be used in a transaction, which holds the lock that they need.
    fn ratchet(&self, _: &TransactionContext) -> Result<Ratchet> {
        Ok(Ratchet::begin(&self.inner().store, self.own_address())?)
    }

    /// The protocol of a conversation, as far as it is known here.
    pub(crate) fn protocol(&self, conversation: ConversationId) -> Result<Protocol> {
        let row = self.inner().store.read(|r| r.conversation(conversation))?;
        Ok(row.map_or(Protocol::Mls, |row| row.record.protocol))
    }

    /// Whether the user can be in the conversation. In a 1:1, whose id says whose it is, the hub has no say in that: such ids are
    /// UUIDs of version 5, and no others are.
    pub(crate) fn belongs(&self, conversation: ConversationId, user: UserId) -> bool {
        let Me { user: me, domain, .. } = self.me();
        let is_pair = conversation.as_uuid().get_version_num() == 5;
        let pair = || ConversationId::one_to_one((me, domain), (&user, domain)).id;
        !is_pair || user == *me || pair() == conversation
    }

    /// The devices of a conversation that are known by a session.
    fn known_in(&self, conversation: ConversationId) -> Result<Vec<PairwisePeerRecord>> {
        let mut peers = self.inner().store.read(|r| r.pairwise_peers_in(conversation))?;
        peers.retain(|peer| self.belongs(conversation, peer.address.user));
        Ok(peers)
    }

    /// Whether another device of the same user is known by a session.
    fn knows_other_device(&self, conversation: ConversationId, device: &DeviceAddress) -> Result<bool> {
        let peers = self.known_in(conversation)?;
        Ok(peers.iter().any(|peer| peer.address.user == device.user && peer.address != *device))
    }

    /// A device of this hub.
    fn address_of(&self, device: UserDevice) -> DeviceAddress {
        DeviceAddress::new(device.user, device.device, self.me().domain.clone())
    }
}

/// Writes down what the sessions have become, in the transaction.
fn store(tx: &mut TransactionContext, ratchet: Ratchet) -> Result<()> {
    let changes = ratchet.into_changes();
    Ok(tx.store_write(move |w| changes.write(w))?)
}
