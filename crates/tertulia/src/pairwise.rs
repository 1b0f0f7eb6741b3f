//! Conversations whose messages go from device to device: this device's keys, sending, receiving, and the way to MLS.

mod keys;
mod migration;
mod receiving;
mod sending;

use crate::{Client, Result};
use tertulia_api::UserDevice;
use tertulia_domain::{ConversationId, DeviceAddress, Protocol};
use tertulia_mls::TransactionContext;
use tertulia_ratchet::{MAX_CONTENT, Ratchet};

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

    /// Whether another device of the same user is known by a session.
    fn knows_other_device(&self, conversation: ConversationId, device: &DeviceAddress) -> Result<bool> {
        let peers = self.inner().store.read(|r| r.pairwise_peers_in(conversation))?;
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
