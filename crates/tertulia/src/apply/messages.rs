//! Messages, decrypted and on their way into the store.

use super::{NewMessages, Page};
use crate::{
    Client, Error, Result, Suspicion,
    client::now,
    expiry::expiry_of,
    own_settings::told_settings,
    own_types::FrameFate,
    receipts::{Reported, reported},
};
use std::sync::{Arc, PoisonError};
use tertulia_api::{UserDevice, event::LogEntry};
use tertulia_content::{MessageId, MimiContent, rules::origin_matches};
use tertulia_domain::{ConversationName, DeviceAddress, Sequence, role::Action};
use tertulia_mls::Outcome;
use tertulia_ratchet::RatchetError;
use tertulia_store::{
    Expiry, NewMessage, OutboxKind, OutboxMessage, OwnSettingRow, OwnTypeRecord, StoreError, WriteTx,
};

impl Page<'_> {
    /// An application message. One of this device's own leaves the outbox.
    pub(super) async fn message(&mut self, entry: LogEntry, bytes: Vec<u8>, is_name: bool) -> Result<()> {
        let new_messages = Arc::clone(&self.new_messages);
        if let Some(sent) = self.client.inner().store.read(|r| r.outbox_by_ciphertext(&bytes))? {
            if sent.kind == OutboxKind::History {
                return Ok(self.tx.store_write(move |w| w.remove_from_outbox(sent.id))?);
            }
            let accepted = (Sequence::new(entry.sequence), entry.sent_at);
            let record = self.client.own_message(&sent, accepted)?;
            return Ok(self.tx.store_write(move |w| {
                w.remove_from_outbox(sent.id)?;
                record.write(w, &new_messages)
            })?);
        }
        let Some(decrypted) = self.decrypt(entry.conversation, &bytes).await? else { return Ok(()) };
        if decrypted.outcome == Outcome::History {
            self.applied.todo.replay.insert(entry.conversation);
        }
        if decrypted.outcome != Outcome::Application {
            return Ok(());
        }
        let author = decrypted
            .sender_client_id
            .as_ref()
            .and_then(|id| DeviceAddress::from_identity(id.as_bytes()).ok());
        if let (Some(author), Some(content)) = (author, decrypted.app_msg) {
            let renames = is_name && self.renames(&entry, &author, &content, decrypted.epoch).await?;
            self.incoming(&entry, &author, content, renames)
        } else {
            self.applied.undecryptable += 1;
            Ok(())
        }
    }

    /// Whether what the hub delivers as a conversation's new name is that: its author has written it as such, and may.
    async fn renames(
        &mut self,
        entry: &LogEntry,
        author: &DeviceAddress,
        content: &[u8],
        epoch: u64,
    ) -> Result<bool> {
        let (conversation, user) = (entry.conversation, author.user);
        let is_meant = MimiContent::decode(content).is_ok_and(|content| content.announced_name().is_some());
        let policy = self.policy(conversation).await?;
        let may = policy
            .is_none_or(|policy| policy.role_of(user).is_some_and(|role| role.allows(Action::ModifyName)));
        // The author may have had another role in an epoch that is over here.
        let group = self.group_of(conversation)?;
        let is_late = self.tx.conversation(&group).await?.epoch()? > epoch;
        if !is_meant || !may && !is_late {
            self.suspect(conversation, Suspicion::ForgedName { user })?;
        }
        Ok(is_meant && may)
    }

    /// A message for this device alone.
    pub(super) fn pairwise(
        &mut self,
        entry: &LogEntry,
        announces_name: bool,
        ciphertext: &[u8],
    ) -> Result<()> {
        if entry.sender.is_some_and(|sender| !self.client.belongs(entry.conversation, sender.user)) {
            self.applied.undecryptable += 1;
            let reason = "it is by somebody who does not belong in this conversation".to_owned();
            return self.suspect(entry.conversation, Suspicion::Misplaced { reason });
        }
        let opened = self.sessions.open(self.client, &self.tx, entry, announces_name, ciphertext)?;
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.applied.undecryptable += 1;
                if is_of_elsewhere(&error) {
                    let reason = error.to_string();
                    self.suspect(entry.conversation, Suspicion::Misplaced { reason })?;
                }
                return Ok(());
            }
        };
        self.applied.todo.pairwise_keys |= opened.began_session;
        if opened.is_further_device {
            let DeviceAddress { user, device, .. } = opened.author;
            self.suspect(entry.conversation, Suspicion::NewDevice { user, device })?;
        }
        self.incoming(entry, &opened.author, opened.content, announces_name)
    }

    /// Takes what was decrypted into the home.
    fn incoming(
        &mut self,
        entry: &LogEntry,
        author: &DeviceAddress,
        content: Vec<u8>,
        renames: bool,
    ) -> Result<()> {
        match self.client.incoming_message(entry, author, content, renames) {
            Ok(record) => {
                self.applied.changed.extend(record.own_settings.iter().map(|setting| setting.conversation));
                self.applied.count_frame(entry.conversation, record.frame());
                let new_messages = Arc::clone(&self.new_messages);
                self.tx.store_write(move |w| record.write(w, &new_messages))?;
            }
            Err(error) => {
                tracing::warn!(conversation = %entry.conversation.short(), %error, "unreadable content dropped");
                self.applied.undecryptable += 1;
            }
        }
        Ok(())
    }
}

/// Whether a pairwise message was made for another place, or by another device, than the hub says.
const fn is_of_elsewhere(error: &RatchetError) -> bool {
    matches!(
        error,
        RatchetError::WrongContext { .. } | RatchetError::KeysChanged | RatchetError::UntrustedKey
    )
}

/// A message on its way into the store.
pub(crate) struct Incoming {
    message: NewMessage,
    /// The name that came with it.
    name: Option<String>,
    /// Whether the name replaces one that is known.
    renames: bool,
    /// What it tells of other messages. Such a message is not kept itself.
    reported: Option<Reported>,
    /// What it sets for this user alone.
    own_settings: Vec<OwnSettingRow>,
    /// Of which type of an application's own it has shown the conversation to be.
    own_type: Option<OwnTypeRecord>,
    /// What becomes of the frame in it, if it has one or should have.
    frame: Option<FrameFate>,
}

impl Incoming {
    /// What becomes of the frame in it, if it has one or should have.
    pub(crate) const fn frame(&self) -> Option<FrameFate> {
        self.frame
    }

    /// Writes it, unless the same message is there already, under whatever number.
    pub(crate) fn write_once(&self, w: &mut WriteTx<'_>, new: &NewMessages) -> Result<(), StoreError> {
        let NewMessage { conversation, message_id, .. } = &self.message;
        if w.has_message(*conversation, message_id)? { Ok(()) } else { self.write(w, new) }
    }

    /// Writes it, unless it is there already.
    pub(crate) fn write(&self, w: &mut WriteTx<'_>, new: &NewMessages) -> Result<(), StoreError> {
        if let Some(name) = &self.name {
            w.set_name(self.message.conversation, name, self.renames)?;
        }
        if let Some(own_type) = &self.own_type {
            w.put_own_type(own_type)?;
        }
        for setting in &self.own_settings {
            w.put_own_setting(setting)?;
        }
        if let Some(reported) = &self.reported {
            let conversation = self.message.conversation;
            return reported
                .iter()
                .try_for_each(|(message, receipt)| w.put_receipt(conversation, message, receipt));
        }
        if self.frame.is_some_and(FrameFate::is_dropped) {
            return Ok(());
        }
        if w.insert_message(&self.message)? && self.message.text.is_some() {
            let id = (self.message.conversation, self.message.sequence);
            new.lock().unwrap_or_else(PoisonError::into_inner).push(id);
        }
        Ok(())
    }
}

impl Client {
    pub(crate) fn own_device(&self) -> UserDevice {
        UserDevice { user: self.me().user, device: self.me().device }
    }

    /// A message of this device's outbox that the hub accepted.
    pub(crate) fn own_message(
        &self,
        sent: &OutboxMessage,
        (sequence, sent_at): (Sequence, i64),
    ) -> Result<Incoming> {
        let own = self.own_address();
        let conversation = sent.conversation;
        let entry =
            LogEntry { conversation, sequence: sequence.get(), sent_at, sender: Some(self.own_device()) };
        // The name that goes with a text is the one that was known when it was written.
        self.incoming_message(&entry, &own, sent.content.clone(), sent.kind == OutboxKind::Name)
    }

    /// A message from before this device came, as it is kept. None for what is over, and for what tells of other messages. Nobody
    /// can have read it here, so its time has begun when it was sent.
    pub(crate) fn history_message(
        &self,
        entry: &LogEntry,
        author: &DeviceAddress,
        content: Vec<u8>,
    ) -> Result<Option<NewMessage>> {
        let Incoming { mut message, reported, frame, .. } =
            self.incoming_message(entry, author, content, false)?;
        if let Some(Expiry::AfterReading(after)) = message.expires {
            message.expires = Some(Expiry::At(entry.sent_at.saturating_add(after)));
        }
        let is_over = message.expires.and_then(Expiry::at).is_some_and(|at| at <= now());
        let is_dropped = frame.is_some_and(FrameFate::is_dropped);
        Ok(Some(message).filter(|_| reported.is_none() && !is_over && !is_dropped))
    }

    /// A decrypted message. Its author is the one that MLS authenticated; the hub's word on it does not count.
    pub(crate) fn incoming_message(
        &self,
        entry: &LogEntry,
        author: &DeviceAddress,
        content: Vec<u8>,
        renames: bool,
    ) -> Result<Incoming> {
        let parsed = MimiContent::decode(&content)?;
        let (sender_uri, room_uri) = self.uris(author.user, entry.conversation);
        if !origin_matches(&parsed, &sender_uri, &room_uri) {
            return Err(Error::MisattributedContent);
        }
        let id = MessageId::compute(&sender_uri, &room_uri, &content, &parsed.salt)?;
        let own = author.user == self.me().user;
        let own_type = self.proven_type(entry.conversation, &parsed)?;
        let frame = match self.judge(entry.conversation, own_type.as_ref(), &parsed)? {
            // It was looked at when it was written, perhaps by another version of the application.
            Some(_) if *author == self.own_address() => Some(FrameFate::Kept),
            judged => judged,
        };
        let text = match frame {
            Some(_) => Some(String::new()), // it is shown, and is no text
            None => parsed.text().map(str::to_owned),
        };
        let of_own_devices = own && entry.conversation == self.own_conversation();
        Ok(Incoming {
            reported: reported(&parsed, author.user, entry)?,
            own_settings: if of_own_devices { told_settings(&parsed, entry.sequence) } else { Vec::new() },
            name: parsed
                .conversation_name()
                .and_then(|name| name.parse::<ConversationName>().ok())
                .map(|name| name.to_string()),
            renames,
            own_type,
            frame,
            message: NewMessage {
                conversation: entry.conversation,
                sequence: Sequence::new(entry.sequence),
                sender: author.user,
                sender_device: author.device,
                sent_at: entry.sent_at,
                message_id: *id.as_bytes(),
                text,
                expires: expiry_of(&parsed, entry.sent_at, own)?,
                content,
            },
        })
    }
}
