//! Posting: each envelope to all of its carriers, as it is, until they have it.

use super::{Work, taking::number, types::type_of};
use crate::{Client, Error, Result, SyncReport, apply::NewMessages};
use std::collections::BTreeSet;
use tertulia_api::{Code, conversation::MessageAccepted};
use tertulia_conversation::topic::ContentTopic;
use tertulia_domain::ConversationId;
use tertulia_store::{EnvelopeRow, StoreError};
use tertulia_transport::{Delivery, Position, TransportError};

/// For how long a carrier is offered what others have already, in milliseconds: 14 days, as relays keep it by default.
const OFFERED: i64 = 14 * 24 * 60 * 60 * 1000;
/// How many envelopes are read from the store at once.
const BATCH: u32 = 32;
/// After so many full topics a carrier is taken for full: what it says of one topic, it may say because it has no room for any. Each costs the work for an envelope.
const MOST_FULL: usize = 16;
/// How often a type may do something else before a message can be sealed.
const ATTEMPTS: usize = 8;

impl Client {
    /// Whether a conversation travels in envelopes.
    pub(crate) fn is_enveloped(&self, id: ConversationId) -> Result<bool> {
        Ok(self.inner().store.read(|r| r.enveloped(id))?.is_some())
    }

    /// Sends a message of the outbox in an envelope. It is sent once one carrier has it. `None` when it is not in the outbox any more.
    pub(crate) async fn deliver_in_envelope(&self, outbox: i64) -> Result<Option<MessageAccepted>> {
        for _ in 0..ATTEMPTS {
            if let Some(envelope) = self.inner().store.read(|r| r.envelope_of(outbox))? {
                return self.post_message(outbox, &envelope).await;
            }
            let store = &self.inner().store;
            let Some(message) = store.read(|r| r.outbox_message(outbox))? else { return Ok(None) };
            if let Some(record) = self.carried_by(message.conversation)?
                && let Some(of_type) = type_of(number(&record))
            {
                of_type.prepare(self, record.conversation).await?;
            }
            let mut work = Work::begin(self).await?;
            let Some(message) = store.read(|r| r.outbox_message(outbox))? else { return Ok(None) };
            // Another process may have sealed it meanwhile.
            if store.read(|r| r.envelope_of(outbox))?.is_none() {
                let record = self.carried_by(message.conversation)?;
                let record = record
                    .ok_or_else(|| Error::UnknownTarget { target: message.conversation.to_string() })?;
                let unknown = || Error::UnknownType { number: record.conversation_type };
                type_of(number(&record)).ok_or_else(unknown)?.seal(&mut work, &record, &message).await?;
                work.finish().await?;
            }
        }
        Err(Error::Contended { attempts: ATTEMPTS })
    }

    async fn post_message(&self, outbox: i64, envelope: &EnvelopeRow) -> Result<Option<MessageAccepted>> {
        let mut accepted = None;
        let mut failure = None;
        for id in self.inner().store.read(|r| r.postings_of(envelope.id))? {
            let Some(carrier) = self.carriers().get(&id) else { continue };
            match self.publish_in_order(&**carrier, envelope).await? {
                Ok(_) if accepted.is_none() => accepted = self.message_posted(outbox, envelope, &id).await?,
                Ok(_) => self.note_posted(envelope.id, id).await?,
                // What is left open is tried again, and then counts for more than a refusal.
                Err(error) => match failure {
                    Some(known) if is_open(&known) => failure = Some(known),
                    _ => failure = Some(error),
                },
            }
        }
        match (accepted, failure) {
            (Some(accepted), _) => Ok(Some(accepted)),
            (None, Some(error)) => Err(error.into()),
            // Another process has posted it, or none of its carriers is this home's any more.
            (None, None) if self.inner().store.read(|r| r.outbox_message(outbox))?.is_none() => Ok(None),
            (None, None) => Err(Error::NoCarrier),
        }
    }

    /// Posts an envelope behind what waits for the same carrier and was made before it in its conversation, in the same topic: a message of a new epoch cannot be read before
    /// what tells of that epoch. There is no order between topics: who is told of the conversation in an inbox reads its topic from the beginning. So an inbox that takes
    /// nothing holds up nobody else.
    async fn publish_in_order(
        &self,
        carrier: &dyn Delivery,
        envelope: &EnvelopeRow,
    ) -> Result<Result<Position, TransportError>> {
        let store = &self.inner().store;
        for before in store.read(|r| r.to_post_before(carrier.id(), envelope))? {
            match publish(carrier, &before).await {
                Err(error) if is_open(&error) => return Ok(Err(error)),
                // What it does not take it will never have.
                _ => self.note_posted(before.id, carrier.id().to_owned()).await?,
            }
        }
        Ok(publish(carrier, envelope).await)
    }

    /// A message has reached a carrier: it moves from the outbox to the messages.
    async fn message_posted(
        &self,
        outbox: i64,
        envelope: &EnvelopeRow,
        carrier: &str,
    ) -> Result<Option<MessageAccepted>> {
        let mut work = Work::begin(self).await?;
        let (id, carrier) = (envelope.id, carrier.to_owned());
        let message = self.inner().store.read(|r| r.outbox_message(outbox))?;
        let accepted = match message {
            Some(message) => {
                let sequence = work.next_sequence(message.conversation)?;
                let record = self.own_message(&message, (sequence, work.now))?;
                work.write(move |w| {
                    w.remove_from_outbox(outbox)?;
                    w.release_envelope(id)?;
                    record.write_once(w, &NewMessages::default())
                })?;
                Some(MessageAccepted { sequence: sequence.get(), sent_at: work.now })
            }
            None => None,
        };
        work.write(move |w| w.posted(id, &carrier))?;
        work.finish().await?;
        Ok(accepted)
    }

    async fn note_posted(&self, envelope: i64, carrier: String) -> Result<()> {
        let mut tx = self.inner().session.new_transaction().await?;
        tx.store_write(move |w| w.posted(envelope, &carrier))?;
        Ok(tx.finish().await?)
    }

    /// Posts what waits for carriers, save messages of the outbox that none has yet. A carrier that cannot be reached is left for the next time, and so is a topic that is full.
    pub(crate) async fn flush_envelopes(&self, report: &mut SyncReport) -> Result<()> {
        for carrier in self.carriers().iter() {
            let mut after = 0;
            let mut full = BTreeSet::new();
            'carrier: loop {
                let batch = self.inner().store.read(|r| r.to_post(carrier.id(), after, BATCH))?;
                let Some(last) = batch.last() else { break };
                after = last.id;
                for envelope in batch.into_iter().filter(|envelope| envelope.outbox.is_none()) {
                    // What comes behind in the same topic keeps its order.
                    if full.contains(&envelope.topic) {
                        continue;
                    }
                    match publish(&**carrier, &envelope).await {
                        Ok(_) => self.note_posted(envelope.id, carrier.id().to_owned()).await?,
                        Err(error) if is_of_the_topic(&error) && full.len() < MOST_FULL => {
                            tracing::info!(carrier = carrier.id(), "envelopes wait for room in a topic");
                            full.insert(envelope.topic);
                        }
                        Err(error) if is_open(&error) => {
                            tracing::info!(
                                carrier = carrier.id(),
                                code = error.code(),
                                "envelopes wait for a carrier"
                            );
                            break 'carrier;
                        }
                        Err(error) => {
                            tracing::warn!(
                                carrier = carrier.id(),
                                code = error.code(),
                                "a carrier does not take an envelope"
                            );
                            report.refused += 1;
                            self.note_posted(envelope.id, carrier.id().to_owned()).await?;
                        }
                    }
                }
            }
        }
        let before = crate::client::now().saturating_sub(OFFERED);
        let mut tx = self.inner().session.new_transaction().await?;
        tx.store_write(move |w| w.drop_old_envelopes(before).map(drop))?;
        Ok(tx.finish().await?)
    }
}

async fn publish(carrier: &dyn Delivery, envelope: &EnvelopeRow) -> Result<Position, TransportError> {
    // It was written as a topic's text by this home; what cannot be read now is none.
    let Ok(topic) = envelope.topic.parse::<ContentTopic>() else {
        return Err(TransportError::Protocol {
            hub: carrier.id().to_owned(),
            reason: StoreError::Damaged { what: "a topic" }.to_string(),
        });
    };
    carrier.publish(&topic, &envelope.bytes).await
}

/// Whether other topics of the carrier may have room. A relay says the same when it has none at all.
fn is_of_the_topic(error: &TransportError) -> bool {
    error.hub_code() == Some(Code::RelayFull)
}

/// Whether the carrier may have taken it, or may later.
pub(super) fn is_open(error: &TransportError) -> bool {
    error.outcome_unknown() || error.is_transient()
}
