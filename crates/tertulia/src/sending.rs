//! Sending: by way of the outbox, encrypted once, repeated until the hub has an answer.

use crate::{
    Client, Error, Message, Result, SyncReport,
    client::now,
    expiry::expiry_of,
    groups::announced_name,
    pairwise,
    sync::{may_talk, tolerate},
};
use std::sync::{Arc, Mutex, PoisonError};
use tertulia_api::{Code, Remedy, conversation::MessageAccepted, pairwise::PairwiseAccepted};
use tertulia_content::{MessageId, MimiContent};
use tertulia_domain::{ConversationId, Sequence, limits::MAX_MESSAGE_BYTES};
use tertulia_ratchet::RatchetError;
use tertulia_store::{ConversationRow, Expiry, NewOutboxMessage, OutboxKind, OutboxMessage, StoreError};
use tertulia_transport::{Hub, TransportError};

/// The longest text: what is left of a message after the padding, the encryption and the format. What is encrypted is padded to
/// the next eighth of a power of two (`Padding::Steps`), so that with a few bytes more than seven eighths of the hub's limit, a
/// power of two itself, it comes to the whole of it, and the ciphertext to more.
pub(crate) const MAX_TEXT: usize = MAX_MESSAGE_BYTES / 8 * 7 - 8 * 1024;
/// How often a message is encrypted anew because the group moved on meanwhile.
const ATTEMPTS: usize = 30;

impl Client {
    /// Sends a text. It is in the outbox, durably, before the network is touched.
    ///
    /// It is encrypted for the members and devices that this home knows of. Call [`sync`](Self::sync) before, unless
    /// [`events`](Self::events) keeps the home up to date: the hub takes messages of the last two epochs too, which a device that
    /// joined since cannot read.
    ///
    /// # Errors
    ///
    /// [`Error::Queued`] when the hub cannot be reached, or the group has first to become what it is to the hub: the message is safe and
    /// the next [`sync`](Self::sync) sends it. With any other error nothing was sent and nothing is kept: [`Error::EmptyText`], [`Error::TextTooLong`], [`Error::OtherType`], [`Error::NotConnected`],
    /// [`Error::NotAMember`], [`Error::Distrusted`], and what the hub refuses.
    pub async fn send(&self, id: ConversationId, text: &str) -> Result<Message> {
        self.know_one_to_one(id).await?;
        let content = self.text_content(id, text)?;
        let expires = MimiContent::decode(&content)?;
        let accepted = self.send_content(id, OutboxKind::Message, content).await?;
        let expires = expiry_of(&expires, accepted.sent_at, true)?;
        let message = self.sent_message(id, accepted, expires.and_then(Expiry::at));
        Ok(Message { text: text.to_owned(), ..message })
    }

    /// A message of this device that was accepted, without what it says.
    pub(crate) fn sent_message(
        &self,
        conversation: ConversationId,
        accepted: MessageAccepted,
        expires_at: Option<i64>,
    ) -> Message {
        Message {
            conversation,
            from: Some(self.me().handle.clone()),
            user: self.me().user,
            device: self.me().device,
            sequence: accepted.sequence,
            sent_at: accepted.sent_at,
            text: String::new(),
            frame: None,
            expires_at,
            receipts: Vec::new(),
            history: None,
        }
    }

    /// Puts a text into the outbox, for the next [`sync`](Self::sync) to send. Does not use the network.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), without what takes the hub to refuse.
    pub async fn queue(&self, id: ConversationId, text: &str) -> Result<()> {
        self.know_one_to_one(id).await?;
        let content = self.text_content(id, text)?;
        self.enqueue(id, OutboxKind::Message, content).await.map(drop)
    }

    fn text_content(&self, id: ConversationId, text: &str) -> Result<Vec<u8>> {
        if text.trim().is_empty() {
            return Err(Error::EmptyText);
        }
        let row = self.inner().store.read(|r| r.conversation(id))?;
        let Some(row) = row else { return Err(self.nothing_to_send_to(id)?) };
        let is_pairwise = row.record.protocol.sends_pairwise() || self.is_private(id)?;
        let max = if is_pairwise { pairwise::MAX_TEXT } else { MAX_TEXT };
        if text.len() > max {
            return Err(Error::TextTooLong { size: text.len(), max });
        }
        if let Some(of) = self.own_type(id)? {
            let (of, got) = (self.types().name(of), "a text".to_owned());
            return Err(Error::OtherType { conversation: id, of, got });
        }
        self.check_may_send(&row)?;
        self.outgoing(&row, MimiContent::markdown(text))
    }

    /// The bytes of a message of this user's in a conversation, with what goes with every one.
    pub(crate) fn outgoing(&self, row: &ConversationRow, content: MimiContent) -> Result<Vec<u8>> {
        let id = row.record.id;
        let (sender, room) = self.uris(self.me().user, id);
        let mut content = self.timed(id, content.with_origin(&sender, &room))?;
        if let Some(name) = announced_name(row) {
            // A device that joined by itself learns the name by the next message.
            content = content.with_conversation_name(name.as_str());
        }
        Ok(self.with_own_type(id, content)?.encode()?)
    }

    /// Why nothing is sent to a conversation that is not here: a request that was not accepted has none yet.
    pub(crate) fn nothing_to_send_to(&self, id: ConversationId) -> Result<Error> {
        let of_person = self.inner().store.read(|r| match r.connection_of(id)? {
            Some(connection) => r.handle(connection.user),
            None => Ok(None),
        })?;
        Ok(match of_person {
            Some(handle) => Error::NotConnected { handle },
            None => Error::UnknownTarget { target: id.to_string() },
        })
    }

    pub(crate) fn check_may_send(&self, row: &ConversationRow) -> Result<()> {
        let id = row.record.id;
        let own_side = self.inner().store.read(|r| match r.connection_of(id)? {
            Some(connection) => {
                Ok::<_, StoreError>(r.handle(connection.user)?.map(|h| (connection.status, h)))
            }
            None => Ok(None),
        })?;
        match own_side {
            Some((status, handle)) if !may_talk(status) => Err(Error::NotConnected { handle }),
            _ if !row.active => Err(Error::NotAMember { conversation: id }),
            _ if row.distrusted => Err(Error::Distrusted { conversation: id }),
            _ => Ok(()),
        }
    }

    /// Sends content by way of the outbox.
    pub(crate) async fn send_content(
        &self,
        conversation: ConversationId,
        kind: OutboxKind,
        content: Vec<u8>,
    ) -> Result<MessageAccepted> {
        let own = self.enqueue(conversation, kind, content.clone()).await?;
        let mut accepted = None;
        // What waits before it goes first, so that one's own messages keep their order.
        for waiting in self.inner().store.read(|r| r.outbox_of(conversation))? {
            if waiting.id > own {
                break;
            }
            match self.deliver(waiting.id).await {
                Ok(Sending::Done(answer)) if waiting.id == own => accepted = answer,
                Ok(Sending::Done(_)) => {}
                Ok(Sending::Refused(error)) => {
                    self.drop_from_outbox(waiting.id).await?;
                    if waiting.id == own {
                        return Err(error);
                    }
                    // Its own call has returned long ago.
                    tracing::warn!(conversation = %conversation.short(), code = error.code(), "dropped from the outbox");
                }
                Err(cause) => return Err(Error::Queued { cause: Box::new(cause) }),
            }
        }
        match accepted {
            Some(accepted) => Ok(accepted),
            // Another process of this home has sent it meanwhile, and written it down.
            None => self.already_sent(conversation, &content),
        }
    }

    /// Where a message of this device stands that another process of this home has delivered.
    fn already_sent(&self, conversation: ConversationId, content: &[u8]) -> Result<MessageAccepted> {
        let (sender, room) = self.uris(self.me().user, conversation);
        let id = MessageId::compute(&sender, &room, content, &MimiContent::decode(content)?.salt)?;
        let place = self.inner().store.read(|r| r.place_of(conversation, id.as_bytes()))?;
        let (sequence, sent_at) = place.ok_or(Error::DeliveredElsewhere)?;
        Ok(MessageAccepted { sequence: sequence.get(), sent_at })
    }

    pub(crate) async fn enqueue(
        &self,
        conversation: ConversationId,
        kind: OutboxKind,
        content: Vec<u8>,
    ) -> Result<i64> {
        let message = NewOutboxMessage { conversation, kind, content, created_at: now() };
        let id = Arc::new(Mutex::new(0));
        let written = Arc::clone(&id);
        let mut tx = self.inner().session.new_transaction().await?;
        tx.store_write(move |w| {
            *written.lock().unwrap_or_else(PoisonError::into_inner) = w.put_into_outbox(&message)?;
            Ok(())
        })?;
        tx.finish().await?;
        let id = *id.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(id)
    }

    /// Sends one message of the outbox, encrypting it if need be. It stays there with any error.
    async fn deliver(&self, id: i64) -> Result<Sending> {
        match self.try_to_deliver(id).await {
            Err(error) if is_hopeless(&error) => Ok(Sending::Refused(error)),
            outcome => outcome,
        }
    }

    async fn try_to_deliver(&self, id: i64) -> Result<Sending> {
        let Some(message) = self.inner().store.read(|r| r.outbox_message(id))? else {
            return Ok(Sending::Done(None));
        };
        if self.is_enveloped(message.conversation)? {
            return self.deliver_in_envelope(id).await.map(Sending::Done);
        }
        let hub = self.hub()?;
        for _ in 0..ATTEMPTS {
            let Some(message) = self.inner().store.read(|r| r.outbox_message(id))? else {
                return Ok(Sending::Done(None));
            };
            let conversation = message.conversation;
            let Some(ciphertext) = message.ciphertext.clone() else {
                if message.kind == OutboxKind::History {
                    self.give_history_anew(&message).await?;
                    return Ok(Sending::Done(None));
                }
                if self.protocol(conversation)?.sends_pairwise() {
                    self.encrypt_pairwise(&message).await?;
                } else {
                    match self.ready(conversation).await {
                        // The other has chosen pairwise messages before there was a group.
                        Err(error) if error.hub_code() == Some(Code::WrongProtocol) => {
                            self.agree_on_protocol(conversation, error).await?;
                        }
                        ready => {
                            ready?;
                            self.encrypt(id).await?;
                        }
                    }
                }
                continue;
            };
            match self.post(hub, &message, ciphertext.clone()).await {
                Ok(accepted) => {
                    self.sent(&message, accepted).await?;
                    return Ok(Sending::Done(Some(accepted)));
                }
                Err(TransportError::Refused(problem))
                    if message.pairwise && problem.known_code() == Some(Code::DeviceMismatch) =>
                {
                    self.complete_pairwise(&message, &problem).await?;
                }
                Err(error) if matches!(error.hub_code(), Some(Code::StaleEpoch | Code::WrongProtocol)) => {
                    let is_other_protocol = error.hub_code() == Some(Code::WrongProtocol);
                    let mut tx = self.inner().session.new_transaction().await?;
                    tx.store_write(move |w| w.clear_ciphertext(&ciphertext))?;
                    tx.finish().await?;
                    if is_other_protocol {
                        self.agree_on_protocol(conversation, error.into()).await?;
                    } else {
                        self.catch_up(&mut SyncReport::default()).await?;
                    }
                }
                Err(error) if error.hub_code().is_some_and(is_final) => {
                    return Ok(Sending::Refused(error.into()));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Contended { attempts: ATTEMPTS })
    }

    /// Posts what a message of the outbox was encrypted to.
    async fn post(
        &self,
        hub: &Hub,
        message: &OutboxMessage,
        ciphertext: Vec<u8>,
    ) -> std::result::Result<MessageAccepted, TransportError> {
        let conversation = message.conversation;
        if message.pairwise {
            let PairwiseAccepted { sequence, sent_at, .. } =
                hub.send_pairwise(conversation, ciphertext).await?;
            return Ok(MessageAccepted { sequence, sent_at });
        }
        match message.kind {
            OutboxKind::Name => hub.send_name(conversation, ciphertext).await,
            _ => hub.send_message(conversation, ciphertext).await,
        }
    }

    /// Encrypts a message of the outbox, and keeps the bytes in the same transaction in which their key is used up.
    async fn encrypt(&self, id: i64) -> Result<()> {
        let mut tx = self.inner().session.new_transaction().await?;
        // Another process may have done it while this one waited.
        let message = self.inner().store.read(|r| r.outbox_message(id))?;
        let Some(OutboxMessage { conversation, content, ciphertext: None, .. }) = message else {
            return Ok(());
        };
        let group = self.group_of(conversation)?;
        if !tx.conversation_exists(&group)? {
            return Ok(());
        }
        let encrypted = tx.conversation(&group).await?.encrypt_message(&content);
        match encrypted {
            Ok(ciphertext) => {
                tx.store_write(move |w| w.set_ciphertext(id, &ciphertext))?;
                tx.finish().await?;
                Ok(())
            }
            // Something came in between; the next round sees to it.
            Err(
                tertulia_mls::EngineError::PendingCommit { .. }
                | tertulia_mls::EngineError::PendingProposals { .. }
                | tertulia_mls::EngineError::StateRestored,
            ) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Moves an accepted message from the outbox to the messages.
    async fn sent(&self, message: &OutboxMessage, accepted: MessageAccepted) -> Result<()> {
        if message.kind == OutboxKind::History {
            return self.drop_from_outbox(message.id).await;
        }
        let place = (Sequence::new(accepted.sequence), accepted.sent_at);
        let record = self.own_message(message, place)?;
        let id = message.id;
        let mut tx = self.inner().session.new_transaction().await?;
        tx.store_write(move |w| {
            w.remove_from_outbox(id)?;
            record.write(w, &Arc::default())
        })?;
        tx.finish().await?;
        Ok(())
    }

    async fn drop_from_outbox(&self, id: i64) -> Result<()> {
        let mut tx = self.inner().session.new_transaction().await?;
        tx.store_write(move |w| {
            w.drop_envelope_of(id)?;
            w.remove_from_outbox(id)
        })?;
        tx.finish().await?;
        Ok(())
    }

    /// Sends what waits in the outbox.
    pub(crate) async fn flush_outbox(&self, report: &mut SyncReport) -> Result<()> {
        for conversation in self.inner().store.read(|r| r.outbox_conversations())? {
            for waiting in self.inner().store.read(|r| r.outbox_of(conversation))? {
                match self.deliver(waiting.id).await {
                    Ok(Sending::Done(Some(_))) => report.sent += 1,
                    Ok(Sending::Done(None)) => {}
                    Ok(Sending::Refused(error)) => {
                        tracing::warn!(conversation = %conversation.short(), code = error.code(), "dropped from the outbox");
                        self.drop_from_outbox(waiting.id).await?;
                        report.refused += 1;
                    }
                    Err(error) => {
                        tolerate::<()>(Err(error))?;
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Tells a further device of the user the conversation's name; and in the conversation of these devices, what the user has set.
    pub(crate) async fn queue_announcement(&self, conversation: ConversationId) -> Result<()> {
        if conversation == self.own_conversation() {
            return self.queue_all_own_settings().await;
        }
        let row = self.inner().store.read(|r| r.conversation(conversation))?;
        if let Some(name) = row.as_ref().and_then(announced_name) {
            let content = self.reminder(conversation, &name)?;
            self.enqueue(conversation, OutboxKind::Message, content).await?;
        }
        Ok(())
    }
}

/// What became of a message of the outbox that need not stay there.
enum Sending {
    /// It was accepted; or it was not there any more.
    Done(Option<MessageAccepted>),
    /// It was refused, and sending it again later is of no use.
    Refused(Error),
}

/// Whether this answer to a message itself is the last one.
const fn is_final(code: Code) -> bool {
    !matches!(code.remedy(), Remedy::Wait | Remedy::LogIn | Remedy::Renew)
        && !matches!(
            code,
            // Of the session.
            Code::DeviceRemoved | Code::InvalidCredentials
            // Of the state that it was made on.
            | Code::StaleEpoch | Code::WrongProtocol | Code::NotFound
        )
}

/// Whether a message will never be sent, for what came in between before it was. What was refused there is not the message: a commit
/// that the hub finds unfit is made otherwise another time, on another state of the group.
fn is_hopeless(error: &Error) -> bool {
    match error {
        // What was written for a group may be too long to go from device to device.
        Error::NotAMember { .. }
        | Error::NotConnected { .. }
        | Error::Ratchet(RatchetError::TooLong { .. }) => true,
        other => other
            .hub_code()
            .is_some_and(|code| is_final(code) && matches!(code.remedy(), Remedy::Accept | Remedy::Correct)),
    }
}

#[cfg(test)]
mod tests {
    use super::{is_final, is_hopeless};
    use crate::Error;
    use tertulia_api::{Code, Remedy};

    #[test]
    fn what_the_group_has_to_do_first_costs_no_message() {
        for &code in Code::ALL {
            let refused = Error::Refused { code: code.to_string(), detail: String::new() };
            if code.remedy() == Remedy::CatchUp || !is_final(code) {
                assert!(!is_hopeless(&refused), "{code}");
            }
        }
        for code in [Code::ActionDenied, Code::NotConnected, Code::NoConversation, Code::PayloadTooLarge] {
            let refused = Error::Refused { code: code.to_string(), detail: String::new() };
            assert!(is_final(code) && is_hopeless(&refused), "{code}");
        }
        // An answer to the message itself may be final all the same.
        assert!(is_final(Code::ProposalLimit));
        for code in [Code::Unauthenticated, Code::TokenExpired, Code::RateLimited, Code::StaleEpoch] {
            assert!(!is_final(code), "{code}");
        }
    }
}
