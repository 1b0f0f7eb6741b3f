//! Conversations of types of the application's own: making them, and sending what they say.

use crate::{
    Client, Conversation, Error, Frame, GroupOptions, Message, Result, expiry::expiry_of, sending::MAX_TEXT,
};
use tertulia_content::MimiContent;
use tertulia_conversation::{
    types::{Carrier, ConversationType, TypeId},
    wire::{Outcome, WireError},
};
use tertulia_domain::{ConversationId, ConversationType as Kind, Handle};
use tertulia_store::{Expiry, OutboxKind};

impl Client {
    /// Makes a conversation of a type of the application's own, with this name and these members. Each must be connected with the user. It travels as the
    /// home's other conversations do: through the hub, which does not learn of the type, or in envelopes. Who is in it is changed by the same calls as
    /// of a group.
    ///
    /// # Errors
    ///
    /// [`Error::TypeNotRegistered`], [`Error::TooManyMembers`] and [`Error::TooFewMembers`] by the type's limits, [`Error::HasAccount`] for a type that only
    /// envelopes carry, and those of [`create_group`](Self::create_group).
    pub async fn create<T: ConversationType>(&self, name: &str, members: &[Handle]) -> Result<Conversation> {
        let limits = self.known_type::<T>()?.descriptor.members;
        if self.inner().hub.is_some() && T::DESCRIPTOR.carrier == Carrier::Envelopes {
            return Err(Error::HasAccount);
        }
        let others: std::collections::BTreeSet<_> =
            members.iter().filter(|member| **member != self.me().handle).collect();
        let count = others.len() + 1;
        let [min, max] =
            [limits.min_users, limits.max_users].map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        if count < min {
            return Err(Error::TooFewMembers { count, min });
        }
        if count > max {
            return Err(Error::TooManyMembers { count, max });
        }
        let of = (Kind::Group, Some(T::DESCRIPTOR.id));
        self.create_managed(name, members, GroupOptions::default(), of).await
    }

    /// Sends a frame in a conversation of its type. It is in the outbox, durably, before the network is touched, as a [text](Self::send) is.
    ///
    /// # Errors
    ///
    /// [`Error::Queued`] when the network cannot be reached: the frame is safe and the next [`sync`](Self::sync) sends it. With any other error nothing was
    /// sent and nothing is kept: [`Error::TypeNotRegistered`], [`Error::OtherType`], [`Error::InvalidFrame`], and those of [`send`](Self::send).
    pub fn send_frame<'a, T: ConversationType>(
        &'a self,
        id: ConversationId,
        frame: &T::Frame,
    ) -> impl Future<Output = Result<Message>> + Send + use<'a, T> {
        let content = self.frame_content::<T>(id, frame);
        async move {
            let (content, bytes) = content?;
            let parsed = MimiContent::decode(&content)?;
            let accepted = self.send_content(id, OutboxKind::Message, content).await?;
            let expires = expiry_of(&parsed, accepted.sent_at, true)?;
            Ok(Message {
                frame: Some(Frame { of: T::DESCRIPTOR.id, bytes }),
                ..self.sent_message(id, accepted, expires.and_then(Expiry::at))
            })
        }
    }

    /// Puts a frame into the outbox, for the next [`sync`](Self::sync) to send. Does not use the network.
    ///
    /// # Errors
    ///
    /// As [`send_frame`](Self::send_frame), without what takes the network to refuse.
    pub fn queue_frame<'a, T: ConversationType>(
        &'a self,
        id: ConversationId,
        frame: &T::Frame,
    ) -> impl Future<Output = Result<()>> + Send + use<'a, T> {
        let content = self.frame_content::<T>(id, frame);
        async move { self.enqueue(id, OutboxKind::Message, content?.0).await.map(drop) }
    }

    /// The message with a frame, and the frame's bytes.
    fn frame_content<T: ConversationType>(
        &self,
        id: ConversationId,
        frame: &T::Frame,
    ) -> Result<(Vec<u8>, Vec<u8>)> {
        self.known_type::<T>()?;
        let (of, got) = (self.own_type(id)?, T::DESCRIPTOR.id);
        let row = self.inner().store.read(|r| r.conversation(id))?;
        let Some(row) = row else { return Err(self.nothing_to_send_to(id)?) };
        if of != Some(got) {
            let of = of.map_or_else(|| row.record.kind.to_string(), |of| self.types().name(of));
            return Err(Error::OtherType { conversation: id, of, got: T::DESCRIPTOR.title.to_owned() });
        }
        let bytes = encoded::<T>(frame)?;
        self.check_may_send(&row)?;
        let content = MimiContent::frame(got.number(), bytes.clone());
        Ok((self.outgoing(&row, content)?, bytes))
    }

    /// The type of the application's own that a conversation is of, if it is of one.
    pub(crate) fn own_type(&self, id: ConversationId) -> Result<Option<TypeId>> {
        Ok(self.inner().store.read(|r| r.own_type(id))?.map(|own| TypeId::new(own.conversation_type)))
    }
}

/// The frame's bytes, which everybody who knows the type can read.
fn encoded<T: ConversationType>(frame: &T::Frame) -> Result<Vec<u8>> {
    if T::is_handshake(frame) {
        return Err(Error::InvalidFrame(WireError::WrongKind { hint: "content" }));
    }
    let bytes = T::encode(frame);
    if bytes.len() > MAX_TEXT {
        let too_long = WireError::TooLong { what: "frame", size: bytes.len(), max: MAX_TEXT };
        return Err(Error::InvalidFrame(too_long));
    }
    match T::decode(&bytes) {
        Outcome::Decoded(_) => Ok(bytes),
        Outcome::Invalid(error) => Err(Error::InvalidFrame(error)),
        Outcome::Unsupported(_) | Outcome::NotForUs => {
            Err(Error::InvalidFrame(WireError::Malformed { what: "frame" }))
        }
    }
}
