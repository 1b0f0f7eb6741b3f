//! Receipts: telling the others of a conversation what was read, where that is wanted there.

use crate::{Client, Receipt, Result, SyncReport, client::now};
use tertulia_api::event::LogEntry;
use tertulia_content::{MessageId, MessageStatus, MimiContent};
use tertulia_domain::{ConversationId, ReceiptMode, ReceiptStatus, Sequence, UserId};
use tertulia_store::{NewOutboxMessage, OutboxKind, ReadTx, ReceiptRow};

/// Most messages in one receipt: some 9 KB.
const AT_ONCE: usize = 256;

impl Client {
    /// Marks a conversation as read up to the message with this sequence number, the last one that was shown. From now on runs
    /// the time of those that are deleted a while after they were read.
    ///
    /// Where the conversation's receipt mode is on, the others are told: the receipts are in the outbox when this returns, and
    /// sent if the hub can be reached.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn mark_read(&self, id: ConversationId, up_to: u64) -> Result<()> {
        if self.note_read(id, up_to).await?
            && let Err(error) = self.flush_outbox(&mut SyncReport::default()).await
        {
            tracing::info!(code = error.code(), "receipts wait for the next synchronisation");
        }
        Ok(())
    }

    /// The same without the network: the next [`sync`](Self::sync) tells the others.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn mark_read_offline(&self, id: ConversationId, up_to: u64) -> Result<()> {
        self.note_read(id, up_to).await.map(drop)
    }

    /// Writes down what was read, and says whether there are receipts to be sent.
    async fn note_read(&self, id: ConversationId, up_to: u64) -> Result<bool> {
        let up_to = Sequence::new(up_to);
        let receipts = self.receipts_for(id, up_to)?;
        let wait = !receipts.is_empty();
        let mut tx = self.inner().session.new_transaction().await?;
        tx.store_write(move |w| {
            w.start_expiry(id, up_to, now())?;
            w.mark_read(id, up_to)?;
            receipts.iter().try_for_each(|receipt| w.put_into_outbox(receipt).map(drop))
        })?;
        tx.finish().await?;
        Ok(wait)
    }

    /// The receipts for what is read with this message, if the members want them.
    fn receipts_for(&self, id: ConversationId, up_to: Sequence) -> Result<Vec<NewOutboxMessage>> {
        let (settings, row, read) = self.inner().store.read(|r| {
            Ok::<_, tertulia_store::StoreError>((
                r.conversation_settings(id)?,
                r.conversation(id)?,
                r.to_be_read(id, up_to)?,
            ))
        })?;
        let takes_part = row.is_some_and(|row| row.active && !row.distrusted);
        if settings.receipt_mode != ReceiptMode::On || !takes_part {
            return Ok(Vec::new());
        }
        let (sender, room) = self.uris(self.me().user, id);
        let statuses: Vec<_> = read
            .into_iter()
            .filter_map(|message| MessageId::from_bytes(message).ok())
            .map(|message| (message, MessageStatus::Read))
            .collect();
        let message = |content: Vec<u8>| NewOutboxMessage {
            conversation: id,
            kind: OutboxKind::Message,
            content,
            created_at: now(),
        };
        statuses
            .chunks(AT_ONCE)
            .map(|some| {
                let report = MimiContent::status_report(some).with_origin(&sender, &room);
                Ok(message(report.encode()?))
            })
            .collect()
    }
}

/// Whether a message tells of others, and of nothing else.
pub(crate) fn is_report(content: &[u8]) -> bool {
    MimiContent::decode(content)
        .is_ok_and(|content| content.as_status_report().is_ok_and(|report| report.is_some()))
}

/// MIMI ids of messages, each with what a member says of it.
pub(crate) type Reported = Vec<([u8; 32], ReceiptRow)>;

/// What a message tells of others, if it is a report.
///
/// # Errors
///
/// [`Error::Content`](crate::Error::Content) for a report that cannot be read.
pub(crate) fn reported(content: &MimiContent, author: UserId, entry: &LogEntry) -> Result<Option<Reported>> {
    let Some(statuses) = content.as_status_report()? else { return Ok(None) };
    let told = statuses.into_iter().filter_map(|(message, status)| {
        let status = match status {
            MessageStatus::Read => ReceiptStatus::Read,
            MessageStatus::Delivered => ReceiptStatus::Delivered,
            MessageStatus::Error => ReceiptStatus::Error,
            _ => return None, // nobody has asked what became of it later
        };
        Some((*message.as_bytes(), ReceiptRow { user: author, status, told_at: entry.sent_at }))
    });
    Ok(Some(told.collect()))
}

/// What the members have told of a message.
pub(crate) fn receipts(
    r: &ReadTx<'_>,
    conversation: ConversationId,
    message: &[u8; 32],
) -> Result<Vec<Receipt>> {
    let rows = r.receipts(conversation, message)?;
    rows.into_iter()
        .map(|ReceiptRow { user, status, told_at }| {
            Ok(Receipt { user, handle: r.handle(user)?, status, told_at })
        })
        .collect()
}
