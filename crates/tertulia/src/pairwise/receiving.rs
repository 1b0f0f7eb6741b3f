//! A pairwise message on its way in.

use crate::{Client, Error, Result};
use tertulia_api::event::LogEntry;
use tertulia_domain::DeviceAddress;
use tertulia_mls::TransactionContext;
use tertulia_ratchet::{Context, Purpose, Ratchet, RatchetError};

/// The pairwise sessions during a page of events, loaded once one of them needs these.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Option<Ratchet>);

/// What a ciphertext for this device turned out to be.
pub(crate) struct Opened {
    /// The device that wrote it, as its session proves.
    pub(crate) author: DeviceAddress,
    pub(crate) content: Vec<u8>,
    /// Whether one of this device's published keys was used for it.
    pub(crate) began_session: bool,
    /// Whether the author's user had other devices that were known, and not this one.
    pub(crate) is_further_device: bool,
}

impl Sessions {
    /// Opens a message, or says why it cannot be read. The session is then made anew with the next message, where that helps.
    pub(crate) fn open(
        &mut self,
        client: &Client,
        tx: &TransactionContext,
        entry: &LogEntry,
        announces_name: bool,
        ciphertext: &[u8],
    ) -> Result<std::result::Result<Opened, RatchetError>> {
        let Some(sender) = entry.sender else {
            return Ok(Err(RatchetError::Malformed("the hub names no sender")));
        };
        let author = client.address_of(sender);
        let purpose = if announces_name { Purpose::Name } else { Purpose::Message };
        let context = Context { conversation: entry.conversation, purpose };
        let ratchet = match &mut self.0 {
            Some(ratchet) => ratchet,
            none => none.insert(client.ratchet(tx)?),
        };
        match ratchet.decrypt(context, &author, ciphertext) {
            Ok(decrypted) => Ok(Ok(Opened {
                is_further_device: decrypted.is_new_device
                    && client.knows_other_device(entry.conversation, &author)?,
                author,
                content: decrypted.content,
                began_session: decrypted.began_session,
            })),
            Err(error @ (RatchetError::Store(_) | RatchetError::Damaged { .. })) => Err(Error::from(error)),
            Err(error) => {
                let conversation = entry.conversation.short();
                tracing::warn!(conversation, device = %author.short(), %error, "a pairwise message was refused");
                if error.calls_for_renewal() {
                    ratchet.renew(&author)?;
                }
                Ok(Err(error))
            }
        }
    }

    /// Writes down what the sessions have become, in the transaction of the events.
    pub(crate) fn store(&mut self, tx: &mut TransactionContext) -> Result<()> {
        self.0.take().map_or(Ok(()), |ratchet| super::store(tx, ratchet))
    }
}
