//! One transaction over what travels in envelopes.

use super::Hints;
use crate::{
    Client, Error, Result,
    apply::{Applied, NewMessages},
    client::now,
    pairwise::CredentialSigner,
};
use std::{
    collections::{BTreeSet, HashMap},
    sync::PoisonError,
};
use tertulia_api::{UserDevice, event::LogEntry};
use tertulia_conversation::{
    EpochId,
    hint::{EpochStart, HintTable},
    topic::ContentTopic,
    types::ConversationType,
};
use tertulia_domain::{ConversationId, DeviceAddress, Sequence};
use tertulia_mls::TransactionContext;
use tertulia_ratchet::Ratchet;
use tertulia_store::{EnvelopedRecord, InboxKeyRecord, NewEnvelope, StoreError, WriteTx};
use tokio::sync::MutexGuard;

/// What is done with an envelope, or for one: all of it is written by [`finish`](Self::finish), in one transaction with the hints that were used, or
/// none of it if this is dropped.
///
/// It holds the store's writer's lock, so that no two use one key or one hint. The network is never called while there is one.
pub(crate) struct Work<'a> {
    pub(crate) client: &'a Client,
    pub(crate) tx: TransactionContext,
    pub(crate) applied: Applied,
    hints: MutexGuard<'a, Hints>,
    /// Conversations whose hints were changed.
    changed_hints: BTreeSet<ConversationId>,
    ratchet: Option<Ratchet>,
    sequences: HashMap<ConversationId, Sequence>,
    new_messages: NewMessages,
    /// The key of the inbox that was made in this.
    pub(crate) new_inbox_key: Option<InboxKeyRecord>,
    /// The time of all that is done, milliseconds since 1970.
    pub(crate) now: i64,
}

impl<'a> Work<'a> {
    /// Waits for the right to change the home.
    pub(crate) async fn begin(client: &'a Client) -> Result<Self> {
        let tx = client.inner().session.new_transaction().await?;
        let mut hints = client.inner().hints.lock().await;
        hints.refresh(&client.inner().store)?;
        Ok(Self {
            client,
            tx,
            applied: Applied::default(),
            hints,
            changed_hints: BTreeSet::new(),
            ratchet: None,
            sequences: HashMap::new(),
            new_messages: NewMessages::default(),
            new_inbox_key: None,
            now: now(),
        })
    }

    /// The time of all that is done, in seconds since 1970.
    pub(crate) fn now_in_seconds(&self) -> u64 {
        u64::try_from(self.now / 1000).unwrap_or_default()
    }

    /// Writes it all.
    pub(crate) async fn finish(mut self) -> Result<Applied> {
        if let Some(ratchet) = self.ratchet.take() {
            let changes = ratchet.into_changes();
            self.write(move |w| changes.write(w))?;
        }
        let writer = self.hints.writer();
        for conversation in std::mem::take(&mut self.changed_hints) {
            let record = self.hints.table().record(&conversation).unwrap_or_default();
            self.write(move |w| w.put_hints(conversation, &record, writer))?;
        }
        self.tx.finish().await?;
        self.hints.settled();
        let mut applied = self.applied;
        applied.new_messages =
            std::mem::take(&mut *self.new_messages.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(applied)
    }

    /// Registers something to be written.
    pub(crate) fn write(
        &mut self,
        write: impl FnOnce(&mut WriteTx<'_>) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<()> {
        Ok(self.tx.store_write(write)?)
    }

    /// The conversation, as it stood before this.
    pub(crate) fn conversation(&self, id: ConversationId) -> Result<EnvelopedRecord> {
        let record = self.client.inner().store.read(|r| r.enveloped(id))?;
        record.ok_or_else(|| Error::UnknownTarget { target: id.to_string() })
    }

    // Hints.

    pub(crate) fn hints(&self) -> &HintTable {
        self.hints.table()
    }

    /// The hints, of which those of this conversation are changed.
    pub(crate) fn changing_hints(&mut self, conversation: ConversationId) -> &mut HintTable {
        self.changed_hints.insert(conversation);
        self.hints.changing()
    }

    /// Enters an epoch.
    pub(crate) fn begin_epoch(&mut self, start: &EpochStart<'_>) -> Result<()> {
        Ok(self.changing_hints(start.epoch.conversation).begin_epoch(start)?)
    }

    /// Forgets what carries a conversation, with its hints and what waits to be posted. Its messages stay.
    pub(crate) fn forget_conversation(&mut self, id: ConversationId) -> Result<()> {
        self.hints.changing().forget(&id);
        self.changed_hints.remove(&id);
        let writer = self.hints.writer();
        self.write(move |w| {
            w.drop_envelopes_of(id)?;
            w.forget_enveloped(id, writer)
        })
    }

    // Keys.

    /// The pairwise sessions.
    pub(crate) fn ratchet(&mut self) -> Result<&mut Ratchet> {
        if self.ratchet.is_none() {
            self.ratchet = Some(Ratchet::begin(&self.client.inner().store, self.client.own_address())?);
        }
        Ok(self.ratchet.as_mut().expect("it was made just now"))
    }

    /// What signs as this device.
    pub(crate) fn signer(&self) -> Result<CredentialSigner<'_>> {
        CredentialSigner::of(self.client, &self.tx)
    }

    /// Both, and the time in milliseconds since 1970.
    pub(crate) fn signer_and_ratchet(&mut self) -> Result<(CredentialSigner<'_>, &mut Ratchet, i64)> {
        self.ratchet()?;
        let signer = CredentialSigner::of(self.client, &self.tx)?;
        Ok((signer, self.ratchet.as_mut().expect("it was made just now"), self.now))
    }

    // On the way out.

    /// Puts a frame into an envelope with this device's next hint, and the envelope into line. `outbox` is the message of the outbox that
    /// is in it. Gives the envelope's bytes.
    pub(crate) fn post_frame<T: ConversationType>(
        &mut self,
        conversation: &EnvelopedRecord,
        frame: &T::Frame,
        outbox: Option<i64>,
    ) -> Result<Vec<u8>> {
        let id = conversation.conversation;
        let sealed = self.changing_hints(id).seal_in::<T>(
            crate::envelopes::number(conversation),
            &id,
            frame,
            &mut rand::rng(),
        )?;
        let bytes = sealed.envelope().to_vec();
        self.post(conversation, bytes.clone(), outbox)?;
        Ok(bytes)
    }

    /// The same with a salted hint, for the one message by which a device whose store was restored gets hints that no other copy has, and for handshakes whose
    /// ratcheted hints others may not recognise.
    pub(crate) fn post_frame_salted<T: ConversationType>(
        &mut self,
        conversation: &EnvelopedRecord,
        frame: &T::Frame,
    ) -> Result<Vec<u8>> {
        let id = conversation.conversation;
        let bytes = self
            .hints
            .table()
            .seal_salted_in::<T>(crate::envelopes::number(conversation), &id, frame, &mut rand::rng())?
            .encode();
        self.post(conversation, bytes.clone(), None)?;
        Ok(bytes)
    }

    /// The same in the epoch of this number, be it a past one.
    pub(crate) fn post_frame_salted_at<T: ConversationType>(
        &mut self,
        conversation: &EnvelopedRecord,
        epoch: u64,
        frame: &T::Frame,
    ) -> Result<Vec<u8>> {
        let epoch = EpochId {
            conversation: conversation.conversation,
            conversation_type: crate::envelopes::number(conversation),
            epoch,
        };
        let bytes = self.hints.table().seal_salted_at::<T>(&epoch, frame, &mut rand::rng())?.encode();
        self.post(conversation, bytes.clone(), None)?;
        Ok(bytes)
    }

    fn post(&mut self, conversation: &EnvelopedRecord, bytes: Vec<u8>, outbox: Option<i64>) -> Result<()> {
        let topic = ContentTopic::of_conversation(&conversation.conversation);
        let carriers = self.client.carriers().ids_of(conversation);
        self.post_to(conversation.conversation, topic, carriers, bytes, outbox)
    }

    /// Puts an envelope into line for these carriers.
    pub(crate) fn post_to(
        &mut self,
        conversation: ConversationId,
        topic: ContentTopic,
        carriers: Vec<String>,
        bytes: Vec<u8>,
        outbox: Option<i64>,
    ) -> Result<()> {
        let topic = topic.to_string();
        let new = NewEnvelope { conversation, topic, bytes, outbox, carriers, created_at: self.now };
        self.write(move |w| w.put_envelope(&new).map(drop))
    }

    /// Waits to see the place of an own envelope in its topic: [`EnvelopeType::see_own`](super::types::EnvelopeType::see_own) is told.
    pub(crate) fn await_echo(&mut self, conversation: ConversationId, envelope: &[u8]) -> Result<()> {
        let envelope = envelope.to_vec();
        self.write(move |w| w.await_echo(&envelope, conversation))
    }

    // On the way in.

    /// Takes a decrypted content into the home, as the next of its conversation. Its author is who was authenticated.
    pub(crate) fn take_content(
        &mut self,
        conversation: ConversationId,
        author: &DeviceAddress,
        content: Vec<u8>,
    ) -> Result<()> {
        self.take_content_as(conversation, author, content, false)
    }

    /// The same; of one that renames the conversation, the name it gives replaces the one that is known.
    pub(crate) fn take_content_as(
        &mut self,
        conversation: ConversationId,
        author: &DeviceAddress,
        content: Vec<u8>,
        renames: bool,
    ) -> Result<()> {
        let sequence = self.next_sequence(conversation)?;
        let sender = Some(UserDevice { user: author.user, device: author.device });
        let entry = LogEntry { conversation, sequence: sequence.get(), sent_at: self.now, sender };
        match self.client.incoming_message(&entry, author, content, renames) {
            Ok(record) => {
                self.applied.count_frame(conversation, record.frame());
                let new_messages = NewMessages::clone(&self.new_messages);
                self.applied.changed.push(conversation);
                self.write(move |w| record.write_once(w, &new_messages))
            }
            Err(error) => {
                tracing::warn!(conversation = %conversation.short(), %error, "unreadable content dropped");
                self.applied.undecryptable += 1;
                Ok(())
            }
        }
    }

    /// The number of the conversation's next message.
    pub(crate) fn next_sequence(&mut self, conversation: ConversationId) -> Result<Sequence> {
        let next = match self.sequences.get(&conversation) {
            Some(last) => last.next(),
            None => self.client.inner().store.read(|r| r.next_sequence(conversation))?,
        };
        self.sequences.insert(conversation, next);
        Ok(next)
    }
}
