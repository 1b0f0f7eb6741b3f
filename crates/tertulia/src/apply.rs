//! Writing events down: decrypted content, consumed keys and the cursor in one transaction.

mod carried;
mod commits;
mod history;
mod joins;
mod messages;
mod protocol;
mod rows;
mod suspicions;

use self::rows::{put_description, put_public_name, put_setting, put_user_of};
pub(crate) use self::{
    carried::note_policy,
    rows::{put_connection, put_conversation, put_subconversation},
};
use crate::{
    Client, Result, Suspicion,
    coming_in::Known,
    pairwise::Sessions,
    team::People,
    todo::{Asking, Todo},
};
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};
use tertulia_api::{
    connection::Connection,
    conversation::Conversation,
    event::{Event, EventBody},
};
use tertulia_domain::{ConversationId, Sequence, UserId, connection::Status};
use tertulia_mls::TransactionContext;
use tertulia_store::{ConnectionRecord, MemberRecord};

/// What was fetched before the transaction: the network is never called inside it.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    pub(crate) conversations: HashMap<ConversationId, Conversation>,
    /// Those that the user comes back to: nobody was told meanwhile what became of them.
    pub(crate) returned_to: HashMap<ConversationId, Conversation>,
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
    /// Conversations that the user has been let into, having asked.
    pub(crate) joined: Vec<ConversationId>,
    /// Conversations that the user waits for no more.
    pub(crate) joins_ended: Vec<ConversationId>,
    pub(crate) undecryptable: u64,
    pub(crate) resets: u64,
    pub(crate) suspicious: u64,
    /// Epochs that were entered.
    pub(crate) epochs: u64,
    /// Envelopes of others.
    pub(crate) others: u64,
    /// What was no envelope, or was damaged, and frames that are wrong.
    pub(crate) invalid: u64,
    /// What a later version may be able to read, and is kept: envelopes, and frames of an application's own types.
    pub(crate) unsupported: u64,
    /// Groups to which somebody has invited with whom this home is not connected.
    pub(crate) invited: Vec<ConversationId>,
    pub(crate) todo: Todo,
}

impl Applied {
    /// Whether nothing of it was for this home.
    pub(crate) const fn is_of_others(&self) -> bool {
        self.events == 0 && self.undecryptable == 0 && self.epochs == 0
    }

    /// Counts what another part of the page came to.
    pub(crate) fn add(&mut self, other: Self) {
        self.events += other.events;
        self.new_messages.extend(other.new_messages);
        self.changed.extend(other.changed);
        self.connections.extend(other.connections);
        self.deleted_users.extend(other.deleted_users);
        self.team_changed |= other.team_changed;
        self.joined.extend(other.joined);
        self.joins_ended.extend(other.joins_ended);
        self.undecryptable += other.undecryptable;
        self.resets += other.resets;
        self.suspicious += other.suspicious;
        self.epochs += other.epochs;
        self.others += other.others;
        self.invalid += other.invalid;
        self.unsupported += other.unsupported;
        self.invited.extend(other.invited);
        self.todo = other.todo; // it is stored already; whoever asks looks there
    }
}

/// The messages that turned out to be new when the transaction was written.
pub(crate) type NewMessages = Arc<Mutex<Vec<(ConversationId, Sequence)>>>;

/// One page of events on its way into the home.
struct Page<'a> {
    client: &'a Client,
    tx: TransactionContext,
    prepared: Prepared,
    applied: Applied,
    new_messages: NewMessages,
    /// Of conversations that these events begin anew or name first: the store has it only once the page is written.
    generations: HashMap<ConversationId, u64>,
    /// What this page has brought this home to know of groups: the store has it only once the page is written.
    known: HashMap<ConversationId, Known>,
    sessions: Sessions,
    /// Conversations that this page's events gave reason to keep out of.
    distrusted: BTreeSet<ConversationId>,
    /// What was noticed in this page: the store has it only once the page is written.
    noticed: Vec<(ConversationId, Suspicion)>,
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
            known: HashMap::new(),
            sessions: Sessions::default(),
            distrusted: BTreeSet::new(),
            noticed: Vec::new(),
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
            EventBody::Protocol { entry, protocol } => self.protocol(entry.conversation, protocol).await,
            EventBody::Renamed { entry, name } => {
                let channel = entry.conversation;
                Ok(self.tx.store_write(move |w| put_public_name(w, channel, Some(&name)))?)
            }
            EventBody::Setting { entry, setting } => {
                let since = self.note_setting(&entry, setting).await?;
                Ok(self.tx.store_write(move |w| put_setting(w, entry.conversation, setting, since))?)
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
            EventBody::ProposalsWithdrawn { entry, .. } => self.proposals_withdrawn(entry.conversation).await,
            EventBody::Members { entry, joined, left } => {
                let conversation = entry.conversation;
                let me = self.client.me().user;
                if left.contains(&me) {
                    self.forget(conversation)?;
                }
                let mut described = None;
                if joined.iter().any(|member| member.user == me) {
                    self.let_in(conversation)?;
                    described = self.prepared.returned_to.get(&conversation).cloned();
                }
                let users = joined.iter().map(|member| member.user).chain(left.iter().copied());
                self.asking_is_over(conversation, &users.collect())?;
                Ok(self.tx.store_write(move |w| {
                    if let Some(described) = described {
                        put_description(w, &described)?;
                    }
                    for member in &joined {
                        put_user_of(w, member)?;
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
            EventBody::ConversationJoined { entry } => self.let_in(entry.conversation),
            EventBody::JoinRequested { entry, epoch, user, handle, proof } => {
                let proof = proof.map(|proof| proof.0);
                let asking = Asking { conversation: entry.conversation, user, proof };
                self.join_requested(asking, epoch, &handle).await
            }
            EventBody::JoinWithdrawn { entry, user } => {
                self.asking_is_over(entry.conversation, &BTreeSet::from([user]))
            }
            EventBody::JoinEnded { conversation } => self.join_ended(conversation),
            EventBody::ConversationDeleted { entry } => self.forget(entry.conversation),
            EventBody::GroupReset { entry, group_id } => self.reset(&entry, group_id.as_ref()).await,
            EventBody::DeviceAdded { .. } => {
                self.applied.todo.own_devices = true;
                Ok(())
            }
            EventBody::KeyPackagesLow { device, .. } => {
                self.applied.todo.key_packages |= device == self.client.me().device;
                Ok(())
            }
            EventBody::PairwiseKeysLow { device, .. } => {
                self.applied.todo.pairwise_keys |= device == self.client.me().device;
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

    /// The user is in the conversation no more: its keys go, its messages stay.
    pub(super) fn forget(&mut self, conversation: ConversationId) -> Result<()> {
        self.wipe(conversation)?;
        Ok(self.tx.store_write(move |w| {
            w.set_active(conversation, false)?;
            w.part_subconversations(conversation, true)
        })?)
    }

    /// Removes the conversation's group from the engine, whole, pending or unreadable, and its subconversations with it.
    pub(super) fn wipe(&mut self, conversation: ConversationId) -> Result<()> {
        let group = self.group_of(conversation)?;
        self.tx.wipe_conversation(&group)?;
        Ok(self.tx.store_write(move |w| w.part_subconversations(conversation, false))?)
    }
}
