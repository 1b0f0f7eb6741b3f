//! What the devices of one user tell each other, in the user's conversation with themselves.

use crate::{Client, Error, OwnDeviceMessage, Result};
use tertulia_content::{Disposition, MimiContent, Part, PartContent};
use tertulia_domain::{ConversationId, Sequence, limits::MAX_OWN_DEVICE_BYTES};
use tertulia_store::{ContentRow, OutboxKind, ReadTx};

/// The media type of what the application wants its user's other devices to know.
const MEDIA_TYPE: &str = "application/vnd.tertulia.own-devices";

impl Client {
    /// Tells the user's other devices something that only the application understands, at most 16 KiB. They get it as
    /// [`ClientEvent::FromOwnDevice`](crate::ClientEvent::FromOwnDevice), encrypted like every message, and in the same order
    /// everywhere. A device that logs in later does not get it.
    ///
    /// # Errors
    ///
    /// [`Error::PayloadTooLong`], and [`Error::Queued`] when the hub cannot be reached: it is safe then, and the next
    /// [`sync`](Self::sync) sends it.
    pub async fn send_to_own_devices(&self, payload: &[u8]) -> Result<()> {
        if payload.len() > MAX_OWN_DEVICE_BYTES {
            return Err(Error::PayloadTooLong { size: payload.len(), max: MAX_OWN_DEVICE_BYTES });
        }
        let id = self.own_conversation();
        let (sender, room) = self.uris(self.me().user, id);
        let part = Part::single(Disposition::UNSPECIFIED, MEDIA_TYPE, payload);
        let content = MimiContent::new(part).with_origin(&sender, &room).encode()?;
        self.know_own_conversation().await?;
        self.send_content(id, OutboxKind::Message, content).await.map(drop)
    }

    /// What the user's other devices have told this one, oldest first: all of it, or what came after the one with this
    /// number. Does not use the network.
    ///
    /// # Errors
    ///
    /// Those of the store.
    #[allow(clippy::unused_async)] // an application need not know which calls wait
    pub async fn from_own_devices(&self, after: Option<u64>) -> Result<Vec<OwnDeviceMessage>> {
        let after = Sequence::new(after.unwrap_or_default());
        self.inner().store.read(|r| {
            let rows = r.contents(self.own_conversation(), after)?;
            Ok(rows.iter().filter_map(|row| self.own_device_message(row)).collect())
        })
    }

    /// What came into the home after `arrival`, with the last arrival that was looked at.
    pub(crate) fn told_by_own_devices(
        &self,
        r: &ReadTx<'_>,
        arrival: i64,
        limit: u32,
    ) -> Result<(Option<i64>, Vec<OwnDeviceMessage>)> {
        let rows = r.contents_arrived_after(self.own_conversation(), arrival, limit)?;
        let last = rows.last().map(|row| row.arrival);
        Ok((last, rows.iter().filter_map(|row| self.own_device_message(row)).collect()))
    }

    /// None for what this device sent itself, and for what is not of the form.
    fn own_device_message(&self, row: &ContentRow) -> Option<OwnDeviceMessage> {
        if row.sender != self.me().user || row.sender_device == self.me().device {
            return None;
        }
        let content = MimiContent::decode(&row.content).ok()?;
        let PartContent::Single { content_type, content: payload } = content.body.content else {
            return None;
        };
        (content_type == MEDIA_TYPE).then_some(OwnDeviceMessage {
            device: row.sender_device,
            sequence: row.sequence.get(),
            sent_at: row.sent_at,
            payload,
        })
    }

    /// The user's conversation with themselves.
    pub(crate) fn own_conversation(&self) -> ConversationId {
        ConversationId::self_of(self.me().user)
    }

    /// Sees to it that this device is in the group of the user's devices: the first makes it, the others join.
    pub(crate) async fn join_own_devices(&self) -> Result<()> {
        self.know_own_conversation().await?;
        self.ready(self.own_conversation()).await
    }

    pub(crate) async fn know_own_conversation(&self) -> Result<()> {
        let id = self.own_conversation();
        if self.inner().store.read(|r| r.conversation(id))?.is_some() {
            return Ok(());
        }
        let fetched = self.hub()?.conversation(id).await?;
        let mut tx = self.inner().session.new_transaction().await?;
        tx.store_write(move |w| crate::apply::put_conversation(w, &fetched))?;
        Ok(tx.finish().await?)
    }
}
