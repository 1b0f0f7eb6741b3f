//! Writing events down: decrypted content, consumed keys and the cursor in one transaction.

mod carried;
mod rows;

use self::rows::put_user;
pub(crate) use self::{
    carried::note_policy,
    rows::{put_connection, put_conversation, put_subconversation},
};
use crate::{Client, Result, Suspicion, pairwise::Sessions, suspicion::note, team::People, todo::Todo};
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};
use tertulia_api::{
    connection::Connection,
    conversation::Conversation,
    event::{Event, EventBody, LogEntry},
    policy::decode,
};
use tertulia_content::{MessageId, MimiContent, rules::origin_matches};
use tertulia_domain::{
    ConversationId, ConversationName, DeviceAddress, Sequence, UserId, connection::Status, policy::Policy,
};
use tertulia_mls::{ClientId, EngineError, MlsConversationDecryptMessage, Outcome, TransactionContext};
use tertulia_ratchet::RatchetError;
use tertulia_store::{
    ConnectionRecord, MemberRecord, NewMessage, OutboxKind, OutboxMessage, StoreError, WriteTx,
};

/// What was fetched before the transaction: the network is never called inside it.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    pub(crate) conversations: HashMap<ConversationId, Conversation>,
    /// After somebody joined or left the user's team.
    pub(crate) people: Option<People>,
}

/// What a page of events came to.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    pub(crate) events: u64,
    pub(crate) new_messages: Vec<(ConversationId, Sequence)>,
    pub(crate) changed: Vec<ConversationId>,
    pub(crate) connections: Vec<Connection>,
    pub(crate) deleted_users: Vec<UserId>,
    pub(crate) team_changed: bool,
    pub(crate) undecryptable: u64,
    pub(crate) resets: u64,
    pub(crate) suspicious: u64,
    pub(crate) todo: Todo,
}

impl Applied {
    /// Counts what another part of the page came to.
    pub(crate) fn add(&mut self, other: Self) {
        self.events += other.events;
        self.new_messages.extend(other.new_messages);
        self.changed.extend(other.changed);
        self.connections.extend(other.connections);
        self.deleted_users.extend(other.deleted_users);
        self.team_changed |= other.team_changed;
        self.undecryptable += other.undecryptable;
        self.resets += other.resets;
        self.suspicious += other.suspicious;
        self.todo = other.todo; // it is stored already; whoever asks looks there
    }
}

/// The messages that turned out to be new when the transaction was written.
type NewMessages = Arc<Mutex<Vec<(ConversationId, Sequence)>>>;

/// One page of events on its way into the home.
struct Page<'a> {
    client: &'a Client,
    tx: TransactionContext,
    prepared: Prepared,
    applied: Applied,
    new_messages: NewMessages,
    /// Of conversations that these events begin anew or name first: the store has it only once the page is written.
    generations: HashMap<ConversationId, u64>,
    sessions: Sessions,
    /// Conversations that this page's events gave reason to keep out of.
    distrusted: BTreeSet<ConversationId>,
}

impl Client {
    pub(crate) async fn apply(
        &self,
        since: Option<String>,
        events: Vec<Event>,
        cursor: String,
        prepared: Prepared,
    ) -> Result<Option<Applied>> {
        let tx = self.inner().session.new_transaction().await?;
        if self.inner().store.read(|r| r.cursor())? != since {
            return Ok(None);
        }
        let mut page = Page {
            client: self,
            tx,
            prepared,
            applied: Applied::default(),
            new_messages: NewMessages::default(),
            generations: HashMap::new(),
            sessions: Sessions::default(),
            distrusted: BTreeSet::new(),
        };
        page.applied.events = events.len() as u64;
        for event in events {
            page.event(event.body).await?;
        }
        page.sessions.store(&mut page.tx)?;
        page.tx.store_write(move |w| w.set_cursor(&cursor))?;
        page.applied.todo.add_to(&mut page.tx)?;
        page.tx.finish().await?;
        let mut applied = page.applied;
        applied.new_messages =
            std::mem::take(&mut *page.new_messages.lock().unwrap_or_else(PoisonError::into_inner));
        applied.changed.sort_unstable();
        applied.changed.dedup();
        Ok(Some(applied))
    }
}

impl Page<'_> {
    async fn event(&mut self, body: EventBody) -> Result<()> {
        if let Some(entry) = body.entry() {
            let conversation = entry.conversation;
            self.applied.changed.push(conversation);
            self.put_prepared(conversation)?;
        }
        match body {
            EventBody::ConnectionUpdated { connection } => self.connection(connection),
            EventBody::UserDeleted { user } => self.user_deleted(user),
            EventBody::TeamMemberJoined { .. } | EventBody::TeamMemberLeft { .. } => self.team_changed(),
            EventBody::TeamRoleChanged { .. } | EventBody::TeamRolesChanged { .. } => {
                self.applied.team_changed = true;
                Ok(())
            }
            EventBody::Message { entry, message } => self.message(entry, message.0, false).await,
            EventBody::Name { entry, message } => self.message(entry, message.0, true).await,
            // Without a ciphertext it is one's own, written down with the hub's answer, or not for this device.
            EventBody::Pairwise { ciphertext: None, .. } => Ok(()),
            EventBody::Pairwise { entry, announces_name, ciphertext: Some(ciphertext) } => {
                self.pairwise(&entry, announces_name, ciphertext.as_ref())
            }
            EventBody::Protocol { entry, protocol } => {
                let conversation = entry.conversation;
                if protocol < self.client.protocol(conversation)? {
                    return self.suspect(conversation, Suspicion::TurnedBack { protocol });
                }
                Ok(self.tx.store_write(move |w| w.advance_protocol(conversation, protocol).map(drop))?)
            }
            EventBody::Commit { entry, epoch, commit, welcome, message } => {
                let conversation = entry.conversation;
                self.commit(&entry, epoch, &commit.0, welcome.map(|welcome| welcome.0)).await?;
                match message {
                    Some(message) if self.in_group(conversation)? => {
                        self.message(entry, message.0, false).await
                    }
                    _ => Ok(()),
                }
            }
            EventBody::Proposal { entry, proposal } => self.proposal(&entry, &proposal.0).await,
            EventBody::Members { entry, joined, left } => {
                let conversation = entry.conversation;
                let me = self.client.me().user;
                if left.contains(&me) {
                    self.forget(conversation)?;
                }
                Ok(self.tx.store_write(move |w| {
                    for member in &joined {
                        put_user(w, member.user, &member.handle)?;
                        w.put_member(
                            conversation,
                            &MemberRecord { user: member.user, role: member.role.clone() },
                        )?;
                    }
                    left.iter().try_for_each(|user| w.remove_member(conversation, *user))
                })?)
            }
            EventBody::Role { entry, user, role } => {
                let conversation = entry.conversation;
                // The commit before it has said so already, if it is true.
                if let Some(policy) = self.policy(conversation).await?
                    && policy.role_of(user).is_none_or(|known| *known.name() != role)
                {
                    return self.suspect(conversation, Suspicion::ForgedRole { user });
                }
                Ok(self.tx.store_write(move |w| w.put_member(conversation, &MemberRecord { user, role }))?)
            }
            EventBody::GroupReset { entry, group_id } => self.reset(&entry, group_id.as_ref()),
            EventBody::DeviceAdded { .. } => {
                self.applied.todo.own_devices = true;
                Ok(())
            }
            EventBody::KeyPackagesLow { device, .. } => {
                self.applied.todo.key_packages |= device == self.client.me().device;
                Ok(())
            }
            // The rest tells a person something, or is of a later version.
            _ => Ok(()),
        }
    }

    fn connection(&mut self, connection: Connection) -> Result<()> {
        let conversation = connection.conversation;
        self.applied.changed.push(conversation);
        if connection.status.is_in_one_to_one() {
            self.put_prepared(conversation)?;
        } else {
            self.forget(conversation)?;
        }
        let row = connection.clone();
        self.tx.store_write(move |w| put_connection(w, &row))?;
        self.applied.todo.key_packages |= connection.status == Status::Accepted;
        self.applied.connections.push(connection);
        Ok(())
    }

    /// A contact is no more: their row is what the hub's is now, and the 1:1 is over.
    fn user_deleted(&mut self, user: UserId) -> Result<()> {
        self.applied.deleted_users.push(user);
        let Some(record) = self.client.inner().store.read(|r| r.connection(user))? else { return Ok(()) };
        let conversation = record.conversation;
        self.applied.changed.push(conversation);
        self.forget(conversation)?;
        Ok(self.tx.store_write(move |w| {
            w.put_connection(&ConnectionRecord { status: Status::Cancelled, ..record })
        })?)
    }

    /// What was fetched for the page holds for all of its events: it is at least as new as they are.
    fn team_changed(&mut self) -> Result<()> {
        self.applied.team_changed = true;
        self.applied.todo.key_packages = true;
        if let Some(people) = self.prepared.people.take() {
            let ended = self.client.take_over(&mut self.tx, people)?;
            self.applied.changed.extend(ended);
        }
        Ok(())
    }

    /// An application message. One of this device's own leaves the outbox.
    async fn message(&mut self, entry: LogEntry, bytes: Vec<u8>, is_name: bool) -> Result<()> {
        let new_messages = Arc::clone(&self.new_messages);
        if let Some(sent) = self.client.inner().store.read(|r| r.outbox_by_ciphertext(&bytes))? {
            let accepted = (Sequence::new(entry.sequence), entry.sent_at);
            let record = self.client.own_message(&sent, accepted)?;
            return Ok(self.tx.store_write(move |w| {
                w.remove_from_outbox(sent.id)?;
                record.write(w, &new_messages)
            })?);
        }
        let Some(decrypted) = self.decrypt(entry.conversation, &bytes).await? else { return Ok(()) };
        if decrypted.outcome != Outcome::Application {
            return Ok(());
        }
        let author = decrypted
            .sender_client_id
            .as_ref()
            .and_then(|id| DeviceAddress::from_identity(id.as_bytes()).ok());
        if let (Some(author), Some(content)) = (author, decrypted.app_msg) {
            self.incoming(&entry, &author, content, is_name)
        } else {
            self.applied.undecryptable += 1;
            Ok(())
        }
    }

    /// A message for this device alone.
    fn pairwise(&mut self, entry: &LogEntry, announces_name: bool, ciphertext: &[u8]) -> Result<()> {
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

    async fn commit(
        &mut self,
        entry: &LogEntry,
        epoch: u64,
        commit: &[u8],
        welcome: Option<Vec<u8>>,
    ) -> Result<()> {
        let conversation = entry.conversation;
        let foreign = entry.sender != Some(self.client.own_device());
        if foreign && epoch == 1 && self.is_only_begun(conversation).await? {
            // Somebody else made the group first; what this device began is void.
            self.wipe(conversation)?;
        }
        let done = self.decrypt(conversation, commit).await?;
        if let Some(done) = &done {
            self.note_new_device(conversation, done);
            self.note_further_devices(conversation, done).await?;
            if done.outcome == Outcome::StaleEpoch && self.is_replayed(conversation, epoch).await? {
                self.suspect(conversation, Suspicion::Replayed { epoch })?;
            }
        }
        if !self.in_group(conversation)? {
            self.welcome(conversation, welcome)?;
        }
        if foreign && epoch == 1 {
            self.check_beginning(conversation).await?;
        }
        self.note_policy(conversation).await?;
        // What this device has verified counts; the hub's word only where there is nothing else.
        let group = self.group_of(conversation)?;
        let reached = if self.tx.conversation_exists(&group)? {
            self.tx.conversation(&group).await?.epoch()?
        } else {
            epoch
        };
        self.tx.store_write(move |w| w.set_epoch(conversation, reached))?;
        let joined = self.in_group(conversation)?;
        let removed = done.is_some_and(|done| !done.is_active);
        Ok(self.tx.store_write(move |w| {
            if joined || removed {
                // Who was removed and comes back is a member again.
                w.set_active(conversation, joined)?;
            }
            w.set_joined(conversation, joined)
        })?)
    }

    /// Joins by the Welcome that came with a commit. If that is not possible, it is done by external commit later.
    fn welcome(&mut self, conversation: ConversationId, welcome: Option<Vec<u8>>) -> Result<()> {
        let Some(welcome) = welcome else { return Ok(()) };
        // Somebody has used up one of this device's key packages.
        self.applied.todo.key_packages = true;
        match self.tx.process_welcome(&welcome) {
            Ok(joined) if joined.id == self.group_of(conversation)? => {
                let epoch = joined.epoch;
                Ok(self.tx.store_write(move |w| w.set_since_epoch(conversation, epoch))?)
            }
            // Whoever comes back was not told of resets meanwhile.
            Ok(joined) if self.is_later(conversation, &joined.id)? => {
                self.follow_to(conversation, &joined.id, None)?;
                let epoch = joined.epoch;
                Ok(self.tx.store_write(move |w| w.set_since_epoch(conversation, epoch))?)
            }
            Ok(joined) => {
                tracing::warn!(conversation = %conversation.short(), "a Welcome for another group was dropped");
                Ok(self.tx.wipe_conversation(&joined.id)?)
            }
            Err(EngineError::Store(error)) => Err(error.into()),
            Err(EngineError::RulesBroken(violation)) => {
                let reason = violation.to_string();
                self.distrust(conversation)?;
                self.suspect(conversation, Suspicion::ForbiddenGroup { reason })
            }
            Err(error) => {
                tracing::warn!(conversation = %conversation.short(), %error, "a Welcome could not be used");
                Ok(())
            }
        }
    }

    /// A further device of this user that joined by itself is to be told the conversation's name.
    fn note_new_device(&mut self, conversation: ConversationId, done: &MlsConversationDecryptMessage) {
        let me = self.client.me().user;
        let is_own =
            |id: &ClientId| DeviceAddress::from_identity(id.as_bytes()).is_ok_and(|new| new.user == me);
        if done.outcome == Outcome::Commit && done.external_join && done.added.iter().any(is_own) {
            self.applied.todo.announce.insert(conversation);
        }
    }

    async fn proposal(&mut self, entry: &LogEntry, proposal: &[u8]) -> Result<()> {
        if let Some(done) = self.decrypt(entry.conversation, proposal).await?
            && done.outcome == Outcome::Proposal
        {
            self.applied.todo.proposals.insert(entry.conversation);
        }
        Ok(())
    }

    /// Gives an MLS message to the engine. `None` when this device is not in the group, or the message is of no use; a device
    /// that turns out to be out of step gives up its state and joins again.
    async fn decrypt(
        &mut self,
        conversation: ConversationId,
        bytes: &[u8],
    ) -> Result<Option<MlsConversationDecryptMessage>> {
        let group = self.group_of(conversation)?;
        let opened = self.tx.conversation(&group).await;
        match opened.and_then(|mut guard| guard.decrypt_message(bytes)) {
            // The log is ordered: what has to wait means that a commit or a proposal before it could not be applied here.
            Ok(done) if done.outcome == Outcome::Buffered => {
                self.applied.undecryptable += 1;
                // What follows a commit that was refused cannot be read, which was said already.
                if !self.is_distrusted(conversation)? {
                    self.suspect(conversation, Suspicion::Withheld)?;
                    self.rejoin(conversation)?;
                }
                Ok(None)
            }
            Ok(done) => {
                if done.needs_history_rotation {
                    self.applied.todo.history.insert(conversation);
                }
                Ok(Some(done))
            }
            Err(EngineError::ConversationNotFound(_)) => Ok(None),
            Err(EngineError::Store(error)) => Err(error.into()),
            Err(error @ (EngineError::RulesBroken(_) | EngineError::ContextChanged)) => {
                let reason = match &error {
                    EngineError::RulesBroken(violation) => violation.to_string(),
                    error => error.to_string(),
                };
                self.applied.undecryptable += 1;
                self.distrust(conversation)?;
                self.suspect(conversation, Suspicion::ForbiddenCommit { reason })?;
                Ok(None)
            }
            Err(error) => {
                tracing::warn!(conversation = %conversation.short(), %error, "an MLS message was refused");
                self.applied.undecryptable += 1;
                if out_of_step(&error) {
                    self.rejoin(conversation)?;
                }
                Ok(None)
            }
        }
    }

    /// Writes down what looks as if the hub did not do as it should.
    fn suspect(&mut self, conversation: ConversationId, suspicion: Suspicion) -> Result<()> {
        tracing::warn!(conversation = %conversation.short(), %suspicion, "noticed");
        self.applied.suspicious += 1;
        Ok(self.tx.store_write(move |w| note(w, conversation, &suspicion))?)
    }

    /// From now on this device keeps out of the group as the hub has it.
    fn distrust(&mut self, conversation: ConversationId) -> Result<()> {
        self.distrusted.insert(conversation);
        Ok(self.tx.store_write(move |w| w.set_distrusted(conversation, true))?)
    }

    fn is_distrusted(&self, conversation: ConversationId) -> Result<bool> {
        let row = self.client.inner().store.read(|r| r.conversation(conversation))?;
        Ok(self.distrusted.contains(&conversation) || row.is_some_and(|row| row.distrusted))
    }

    /// The policy of the group as this device has it.
    async fn policy(&mut self, conversation: ConversationId) -> Result<Option<Policy>> {
        let group = self.group_of(conversation)?;
        if !self.tx.conversation_exists(&group)? {
            return Ok(None);
        }
        let data = self.tx.conversation(&group).await?.group_data()?;
        // The rules let no other in.
        Ok(data.and_then(|data| decode(Some(&data)).ok()))
    }

    /// Devices of those who were in the group already. Only the hub says that they are theirs.
    async fn note_further_devices(
        &mut self,
        conversation: ConversationId,
        done: &MlsConversationDecryptMessage,
    ) -> Result<()> {
        if done.added.is_empty() || !self.in_group(conversation)? {
            return Ok(());
        }
        let group = self.group_of(conversation)?;
        let members = self.tx.conversation(&group).await?.client_ids()?;
        let added: BTreeSet<&ClientId> = done.added.iter().collect();
        let stayed = members.iter().filter(|client| !added.contains(client));
        let before: BTreeSet<UserId> = stayed
            .chain(&done.removed)
            .filter_map(|client| DeviceAddress::from_identity(client.as_bytes()).ok())
            .map(|address| address.user)
            .collect();
        let own = self.client.own_address();
        for client in done.added.iter().filter(|client| !done.removed.contains(client)) {
            if let Ok(DeviceAddress { user, device, .. }) = DeviceAddress::from_identity(client.as_bytes())
                && before.contains(&user)
                && (user, device) != (own.user, own.device)
            {
                self.suspect(conversation, Suspicion::NewDevice { user, device })?;
            }
        }
        Ok(())
    }

    /// Whether an old commit is delivered as one that came after this device joined.
    async fn is_replayed(&mut self, conversation: ConversationId, epoch: u64) -> Result<bool> {
        let group = self.group_of(conversation)?;
        let row = self.client.inner().store.read(|r| r.conversation(conversation))?;
        let since = row.map_or(0, |row| row.since_epoch);
        if !self.tx.conversation_exists(&group)? || epoch <= since {
            return Ok(false);
        }
        // One that this device has applied is delivered again when an acknowledgement was lost.
        Ok(epoch > self.tx.conversation(&group).await?.epoch()?)
    }

    /// Whether this device has begun the group and the hub has not taken it, or not said so. A device that needs the group
    /// at once joins it before it hears of the commit that made it: that one is in it.
    async fn is_only_begun(&mut self, conversation: ConversationId) -> Result<bool> {
        let group = self.group_of(conversation)?;
        match self.tx.conversation(&group).await.and_then(|mut guard| guard.epoch()) {
            Ok(epoch) => Ok(epoch == 0),
            // Decrypting says what is wrong, and heals it.
            Err(EngineError::ConversationNotFound(_) | EngineError::DamagedState { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives up the group's state, so that this device joins again.
    fn rejoin(&mut self, conversation: ConversationId) -> Result<()> {
        self.wipe(conversation)?;
        Ok(self.tx.store_write(move |w| w.set_joined(conversation, false))?)
    }

    /// The user is in the conversation no more: its keys go, its messages stay.
    fn forget(&mut self, conversation: ConversationId) -> Result<()> {
        self.wipe(conversation)?;
        Ok(self.tx.store_write(move |w| {
            w.set_active(conversation, false)?;
            w.part_subconversations(conversation, true)
        })?)
    }

    /// Removes the conversation's group from the engine, whole, pending or unreadable, and its subconversations with it.
    fn wipe(&mut self, conversation: ConversationId) -> Result<()> {
        let group = self.group_of(conversation)?;
        self.tx.wipe_conversation(&group)?;
        Ok(self.tx.store_write(move |w| w.part_subconversations(conversation, false))?)
    }
}

/// Whether a pairwise message was made for another place, or by another device, than the hub says.
const fn is_of_elsewhere(error: &RatchetError) -> bool {
    matches!(
        error,
        RatchetError::WrongContext { .. } | RatchetError::KeysChanged | RatchetError::UntrustedKey
    )
}

/// Whether the hub's log has gone where this device cannot follow, so that it must join anew.
fn out_of_step(error: &EngineError) -> bool {
    matches!(
        error,
        EngineError::BufferFull { .. } | EngineError::OwnCommitLost | EngineError::DamagedState { .. }
    )
}

/// A message on its way into the store.
pub(crate) struct Incoming {
    message: NewMessage,
    /// The name that came with it.
    name: Option<String>,
    /// Whether the name replaces one that is known.
    renames: bool,
}

impl Incoming {
    /// Writes it, unless it is there already.
    pub(crate) fn write(&self, w: &mut WriteTx<'_>, new: &NewMessages) -> Result<(), StoreError> {
        if let Some(name) = &self.name {
            w.set_name(self.message.conversation, name, self.renames)?;
        }
        if w.insert_message(&self.message)? && self.message.text.is_some() {
            let id = (self.message.conversation, self.message.sequence);
            new.lock().unwrap_or_else(PoisonError::into_inner).push(id);
        }
        Ok(())
    }
}

impl Client {
    pub(crate) fn own_device(&self) -> tertulia_api::UserDevice {
        tertulia_api::UserDevice { user: self.me().user, device: self.me().device }
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

    /// A decrypted message. Its author is the one that MLS authenticated; the hub's word on it does not count.
    fn incoming_message(
        &self,
        entry: &LogEntry,
        author: &DeviceAddress,
        content: Vec<u8>,
        renames: bool,
    ) -> Result<Incoming> {
        let parsed = MimiContent::decode(&content)?;
        let (sender_uri, room_uri) = self.uris(author.user, entry.conversation);
        if !origin_matches(&parsed, &sender_uri, &room_uri) {
            return Err(crate::Error::MisattributedContent);
        }
        let id = MessageId::compute(&sender_uri, &room_uri, &content, &parsed.salt)?;
        Ok(Incoming {
            name: parsed
                .conversation_name()
                .and_then(|name| name.parse::<ConversationName>().ok())
                .map(|name| name.to_string()),
            renames,
            message: NewMessage {
                conversation: entry.conversation,
                sequence: Sequence::new(entry.sequence),
                sender: author.user,
                sender_device: author.device,
                sent_at: entry.sent_at,
                message_id: *id.as_bytes(),
                text: parsed.text().map(str::to_owned),
                content,
            },
        })
    }
}
