//! What the types of conversations do with their envelopes: one module for each, found by its number.

use super::{Work, mls::on_mls};
use crate::{Client, Result};
use async_trait::async_trait;
use tertulia_conversation::{
    hint::Opened,
    types::{ConversationType as _, PrivateV1, TypeId},
};
use tertulia_domain::ConversationId;
use tertulia_store::{EnvelopedRecord, OutboxMessage};
use tertulia_transport::{Delivery, Position};

/// A type of conversations that travel in envelopes.
#[async_trait]
pub(crate) trait EnvelopeType: Send + Sync {
    /// Takes an envelope of one of this type's conversations, of which nothing is known but that a member of the epoch has made the outer encryption.
    ///
    /// What it does is written only with [`Verdict::Genuine`] and [`Verdict::Unreadable`], and then together with the note that the hint was received. With
    /// the others, as with an error, nothing is.
    async fn receive(&self, work: &mut Work<'_>, opened: &Opened, at: At<'_>) -> Result<Verdict>;

    /// Does what has to be done before anything can be sent, with no transaction under way.
    async fn prepare(&self, client: &Client, conversation: ConversationId) -> Result<()> {
        let _ = (client, conversation);
        Ok(())
    }

    /// Encrypts a message of the outbox for a conversation of this type, its own or one that continues that, and [posts](Work::post_frame) it as that message's
    /// envelope, in the transaction that is given. Where that cannot be done yet, it does what has to be done first, and is called again.
    async fn seal(
        &self,
        work: &mut Work<'_>,
        conversation: &EnvelopedRecord,
        message: &OutboxMessage,
    ) -> Result<()>;

    /// Takes note of the place of an own envelope for which it has [waited](Work::await_echo). Says whether it waits for it no longer.
    async fn see_own(&self, work: &mut Work<'_>, conversation: ConversationId, at: At<'_>) -> Result<bool> {
        let _ = (work, conversation, at);
        Ok(true)
    }

    /// Takes note that a carrier of this name does not have any more all that this home has not read of the conversation's topic.
    async fn missed(&self, work: &mut Work<'_>, conversation: ConversationId, carrier: &str) -> Result<()> {
        let _ = (work, conversation, carrier);
        Ok(())
    }

    /// Does what was to be done by now.
    async fn do_what_is_due(&self, client: &Client, conversation: ConversationId, now: i64) -> Result<()>;
}

/// Where an envelope stood.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'a> {
    /// The carrier that gave it.
    pub(crate) carrier: &'a dyn Delivery,
    /// Its place there.
    pub(crate) position: Position,
    /// Whether it is looked at again, later than its place: then it says nothing of an order.
    pub(crate) again: bool,
}

/// What became of an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its content is genuine, and taken.
    Genuine,
    /// It is of a member for certain, and cannot be read. What was done is written. For the log.
    Unreadable(String),
    /// It was read before: another carrier has brought it, or the same one again.
    Repeated,
    /// It is not what it should be. For the log.
    Refused(String),
    /// It counts only where it stands at the carrier that orders.
    Later,
    /// A later version may be able to read it. It is kept.
    Unsupported,
}

/// The type with this number.
pub(crate) fn type_of(number: TypeId) -> Option<&'static dyn EnvelopeType> {
    match number {
        number if number == PrivateV1::DESCRIPTOR.id => Some(&PrivateV1),
        number => on_mls(number),
    }
}
