//! Synchronisation: taking what the hub has, and giving it what the home has.

use crate::{
    Client, Error, Result, SyncReport,
    apply::{Applied, Prepared},
    link::{conversation_of, group_of},
};
use std::collections::BTreeSet;
use tertulia_api::{
    Code,
    account::{KeyPackageUpload, NewDevice},
    event::{Event, EventBody, EventQuery},
};
use tertulia_domain::{ConversationId, connection::Status};
use tertulia_mls::{CredentialRef, TransactionContext};
use tertulia_store::Setting;

/// How many key packages a device keeps at the hub. Each lets somebody add the device once.
const KEY_PACKAGES: usize = 50;
/// Below so many they are topped up.
const KEY_PACKAGES_LOW: u32 = 20;
/// How many events are asked for, and written in one transaction.
const PAGE: u32 = 200;

/// What a synchronisation found that takes more than writing it down.
#[derive(Debug, Default)]
pub(crate) struct Todo {
    /// Conversations with proposals that wait for a commit.
    pub(crate) proposals: BTreeSet<ConversationId>,
    /// Conversations that another device of this user joined, which does not know their name.
    pub(crate) announce: BTreeSet<ConversationId>,
    /// Whether key packages may have been used up.
    pub(crate) key_packages: bool,
}

impl Client {
    /// Brings the home up to date: takes all events, joins conversations that this device is not in yet, settles what was
    /// interrupted, and sends what waits in the outbox.
    ///
    /// It can be interrupted at any time and goes on with the next call.
    ///
    /// # Errors
    ///
    /// Those of requests to the hub, of the store, and of the engine's store. What goes wrong with one message or one conversation
    /// is counted or left for the next time; it does not stop the others.
    pub async fn sync(&self) -> Result<SyncReport> {
        // Boxed, for it is the largest of all futures and many others contain it.
        Box::pin(self.synchronise()).await
    }

    async fn synchronise(&self) -> Result<SyncReport> {
        let _alone = self.inner().syncing.lock().await;
        let mut report = SyncReport::default();
        self.complete_registration().await?;
        let mut todo = self.catch_up(&mut report).await?;
        self.settle_pending_commits(&mut report, &mut todo).await?;
        if self.join_missing().await? {
            todo.merge(self.catch_up(&mut report).await?);
        }
        self.carry_out(todo, &mut report).await?;
        Ok(report)
    }

    /// Does what live events left to do.
    pub(crate) async fn follow_up(&self, todo: Todo) -> Result<()> {
        let _alone = self.inner().syncing.lock().await;
        self.join_missing().await?;
        self.carry_out(todo, &mut SyncReport::default()).await
    }

    async fn carry_out(&self, todo: Todo, report: &mut SyncReport) -> Result<()> {
        for conversation in todo.proposals {
            tolerate(self.commit_proposals(conversation).await)?;
        }
        for conversation in todo.announce {
            tolerate(self.queue_announcement(conversation).await)?;
        }
        self.flush_outbox(report).await?;
        if todo.key_packages {
            self.top_up_key_packages().await?;
        }
        Ok(())
    }

    /// Takes all events that the hub has.
    pub(crate) async fn catch_up(&self, report: &mut SyncReport) -> Result<Todo> {
        let mut todo = Todo::default();
        loop {
            let since = self.inner().store.read(|r| r.cursor())?;
            let query = EventQuery { since: since.clone(), limit: Some(PAGE), wait: None };
            let page = self.inner().hub.events(&query).await?;
            if page.events.is_empty() {
                return Ok(todo);
            }
            let more = page.more;
            if let Some(applied) = self.take(since, page.events, page.cursor).await? {
                report.events += applied.events;
                report.messages += applied.new_messages.len() as u64;
                report.undecryptable += applied.undecryptable;
                todo.merge(applied.todo);
                if !more {
                    return Ok(todo);
                }
            }
        }
    }

    /// Writes events down, in one transaction with the cursor. `None` when another process moved the cursor meanwhile; the
    /// events are then not written, for it has them.
    pub(crate) async fn take(
        &self,
        since: Option<String>,
        events: Vec<Event>,
        cursor: String,
    ) -> Result<Option<Applied>> {
        let prepared = self.prepare(&events).await?;
        self.apply(since, events, cursor, prepared).await
    }

    /// Fetches what the events do not carry, before any lock is taken.
    async fn prepare(&self, events: &[Event]) -> Result<Prepared> {
        let mut wanted = BTreeSet::new();
        for event in events {
            match &event.body {
                EventBody::ConversationJoined { entry } => {
                    wanted.insert(entry.conversation);
                }
                EventBody::ConnectionUpdated { connection } if connection.status.is_in_one_to_one() => {
                    wanted.insert(connection.conversation);
                }
                body => {
                    if let Some(entry) = body.entry()
                        && self.inner().store.read(|r| r.conversation(entry.conversation))?.is_none()
                    {
                        wanted.insert(entry.conversation);
                    }
                }
            }
        }
        let mut prepared = Prepared::default();
        for id in wanted {
            match self.inner().hub.conversation(id).await {
                Ok(conversation) => {
                    if conversation.group_id.as_ref() != id.as_bytes() {
                        return Err(Error::UntrustworthyHub {
                            what: "a conversation's group has another id",
                        });
                    }
                    prepared.conversations.insert(id, conversation);
                }
                // Left again since: the events that say so follow.
                Err(error) if error.hub_code() == Some(Code::NoConversation) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(prepared)
    }
}

/// Devices and key packages.
impl Client {
    /// Registers this device with the hub, unless that is done. A home whose sign-up was interrupted catches up here.
    async fn complete_registration(&self) -> Result<()> {
        if self.inner().store.read(|r| r.setting(Setting::HubKey))?.is_some() {
            return Ok(());
        }
        let mut tx = self.inner().session.new_transaction().await?;
        let credential = self.own_credential(&tx)?;
        let key_packages = tx.generate_key_packages(&credential, KEY_PACKAGES, None)?;
        let last_resort = tx.generate_last_resort_key_package(&credential)?;
        let label = self.inner().store.read(|r| r.setting(Setting::Label))?.unwrap_or_default();
        tx.finish().await?;
        let device = NewDevice {
            device: self.inner().me.device,
            label,
            signature_key: credential.public_key().to_vec().into(),
            key_packages: key_packages.into_iter().map(|package| package.into_bytes().into()).collect(),
            last_resort: Some(last_resort.into_bytes().into()),
        };
        self.inner().hub.register_device(&device).await?;
        self.take_stock().await?;
        let hub_key = hex::encode(self.inner().hub.keys().await?.external_sender.as_ref());
        let mut tx = self.inner().session.new_transaction().await?;
        tx.store_write(move |w| w.put_setting(Setting::HubKey, &hub_key))?;
        tx.finish().await?;
        Ok(())
    }

    /// Takes over the connections and conversations that the user has already.
    async fn take_stock(&self) -> Result<()> {
        let connections = self.inner().hub.connections().await?.connections;
        let conversations = self.inner().hub.conversations().await?.conversations;
        let mut tx = self.inner().session.new_transaction().await?;
        tx.store_write(move |w| {
            for connection in &connections {
                crate::apply::put_connection(w, connection)?;
            }
            for conversation in &conversations {
                crate::apply::put_conversation(w, conversation)?;
            }
            Ok(())
        })?;
        tx.finish().await?;
        Ok(())
    }

    async fn top_up_key_packages(&self) -> Result<()> {
        let count = self.inner().hub.key_package_count().await?.count;
        if count >= KEY_PACKAGES_LOW {
            return Ok(());
        }
        let mut tx = self.inner().session.new_transaction().await?;
        let credential = self.own_credential(&tx)?;
        tx.prune_key_packages()?;
        let fresh = tx.generate_key_packages(&credential, KEY_PACKAGES - count as usize, None)?;
        tx.finish().await?;
        let key_packages = fresh.into_iter().map(|package| package.into_bytes().into()).collect();
        self.inner().hub.upload_key_packages(&KeyPackageUpload { key_packages, last_resort: None }).await?;
        Ok(())
    }

    pub(crate) fn own_credential(&self, tx: &TransactionContext) -> Result<CredentialRef> {
        let identity = self.own_address().to_identity();
        tx.find_credentials()?
            .into_iter()
            .find(|credential| credential.client_id().as_bytes() == identity)
            .ok_or(Error::NotSignedIn)
    }
}

/// Putting right what was interrupted.
impl Client {
    /// Joins the conversations that have a group without this device. Says whether it joined any.
    async fn join_missing(&self) -> Result<bool> {
        let mut joined = false;
        for conversation in self.inner().store.read(|r| r.conversations_to_join())? {
            joined |= tolerate(self.join(conversation).await)?.is_some();
        }
        Ok(joined)
    }

    /// Finds out what became of commits whose outcome is unknown.
    pub(crate) async fn settle_pending_commits(
        &self,
        report: &mut SyncReport,
        todo: &mut Todo,
    ) -> Result<()> {
        for (group, _) in self.inner().session.pending_commits()? {
            let Some(conversation) = conversation_of(&group) else { continue };
            if tolerate(self.settle(conversation).await)?.is_none() {
                continue;
            }
            // A commit that was accepted, or lost against another's, is in the log.
            todo.merge(self.catch_up(report).await?);
        }
        Ok(())
    }

    /// Finds out what became of this conversation's pending commit.
    pub(crate) async fn settle(&self, conversation: ConversationId) -> Result<()> {
        let epoch = match self.inner().hub.conversation(conversation).await {
            Ok(conversation) => conversation.epoch,
            Err(error) if error.hub_code() == Some(Code::NoConversation) => {
                return self.forget(conversation).await;
            }
            Err(error) => return Err(error.into()),
        };
        let mut tx = self.inner().session.new_transaction().await?;
        let group = group_of(conversation);
        let settled = tx.conversation(&group).await?.settle_pending(epoch).await;
        match settled {
            Ok(_) => {
                tx.finish().await?;
                Ok(())
            }
            Err(tertulia_mls::EngineError::CommitRejected(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The user is in the conversation no more: its keys go, its messages stay.
    pub(crate) async fn forget(&self, conversation: ConversationId) -> Result<()> {
        let mut tx = self.inner().session.new_transaction().await?;
        wipe(&mut tx, conversation).await?;
        tx.store_write(move |w| w.set_active(conversation, false))?;
        tx.finish().await?;
        Ok(())
    }
}

/// Removes the conversation's group from the engine, if it is there, whole or pending.
pub(crate) async fn wipe(tx: &mut TransactionContext, conversation: ConversationId) -> Result<()> {
    match tx.conversation(&group_of(conversation)).await {
        Ok(mut guard) => Ok(guard.wipe()?),
        Err(tertulia_mls::EngineError::ConversationNotFound(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

impl Todo {
    pub(crate) fn is_empty(&self) -> bool {
        self.proposals.is_empty() && self.announce.is_empty() && !self.key_packages
    }

    fn merge(&mut self, other: Self) {
        self.proposals.extend(other.proposals);
        self.announce.extend(other.announce);
        self.key_packages |= other.key_packages;
    }
}

/// Whether a connection with this status lets the two talk, as far as the user's own side says.
pub(crate) fn may_talk(status: Status) -> bool {
    status == Status::Accepted
}

/// A fault of one conversation is logged and left for the next time; one of the hub or the home is not.
pub(crate) fn tolerate<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error @ (Error::Store(_) | Error::Hub(_))) if error.hub_code().is_none() => Err(error),
        Err(error) => {
            tracing::warn!(code = error.code(), %error, "left for the next synchronisation");
            Ok(None)
        }
    }
}
