//! Synchronisation: taking what the hub has, and giving it what the home has.

use crate::{
    Client, Error, Result, SyncReport,
    apply::{Applied, Prepared, note_policy},
    coming_in::Caution,
    groups::Upkeep,
    link::{conversation_of, group_id},
    todo::Todo,
};
use std::{collections::BTreeSet, time::SystemTime};
use tertulia_api::{
    Code,
    event::{Event, EventBody, EventQuery},
};
use tertulia_domain::{ConversationId, GroupId, connection::Status};
use tertulia_mls::{EngineError, Settlement, TransactionContext};
use tertulia_transport::TransportError;

/// How many events are asked for, and written in one transaction.
const PAGE: u32 = 200;

impl Client {
    /// Brings the home up to date: takes all events, joins conversations that this device is not in yet, settles what was
    /// interrupted, sends what waits in the outbox, and replaces this device's keys where they have become old.
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
        self.expire_now().await?;
        if self.inner().hub.is_none() {
            self.synchronise_envelopes(&mut report).await?;
            return Ok(report);
        }
        self.renew_token().await?;
        self.complete_registration().await?;
        self.catch_up(&mut report).await?;
        self.settle_pending_commits(&mut report).await?;
        if self.join_missing().await? {
            self.catch_up(&mut report).await?;
        }
        self.carry_out(&mut report).await?;
        if !self.carriers().is_empty() {
            self.synchronise_envelopes(&mut report).await?;
        }
        Ok(report)
    }

    /// Takes all events and joins what is to be joined. The outbox is left alone: what becomes of it is for a caller of
    /// [`sync`](Self::sync) to hear.
    pub(crate) async fn catch_up_and_join(&self) -> Result<()> {
        let _alone = self.inner().syncing.lock().await;
        self.catch_up(&mut SyncReport::default()).await?;
        if self.inner().hub.is_none() {
            return Ok(());
        }
        Box::pin(self.join_missing()).await.map(drop)
    }

    /// Does what live events left to do.
    pub(crate) async fn follow_up(&self) -> Result<SyncReport> {
        let _alone = self.inner().syncing.lock().await;
        self.join_missing().await?;
        let mut report = SyncReport::default();
        self.carry_out(&mut report).await?;
        Ok(report)
    }

    async fn carry_out(&self, report: &mut SyncReport) -> Result<()> {
        let mut todo = self.todo().await?;
        for conversation in std::mem::take(&mut todo.begin) {
            // What cannot be done now stays to be done.
            if tolerate(self.ready(conversation).await)?.is_some() {
                todo.begin.insert(conversation);
            }
        }
        for conversation in &todo.proposals {
            tolerate(self.upkeep(*conversation, Upkeep::Proposals).await)?;
        }
        for conversation in std::mem::take(&mut todo.history) {
            // What cannot be done now stays to be done.
            if tolerate(self.upkeep(conversation, Upkeep::History).await)?.is_some() {
                todo.history.insert(conversation);
            }
        }
        self.see_to_history(&mut todo, report).await?;
        if todo.own_devices {
            // What cannot be done now stays to be done.
            todo.own_devices = tolerate(self.join_own_devices().await)?.is_some();
        }
        for asking in std::mem::take(&mut todo.joins) {
            // What cannot be done now stays to be done.
            if self.keeps_out(asking.conversation)? {
                continue;
            }
            if tolerate(self.let_in(&asking).await)?.is_some() {
                todo.joins.insert(asking);
            }
        }
        for conversation in &todo.announce {
            tolerate(self.queue_announcement(*conversation).await)?;
        }
        // What cannot be told now stays to be told.
        tolerate(self.queue_own_settings().await)?;
        self.flush_outbox(report).await?;
        self.renew_key_packages(todo.key_packages).await?;
        if tolerate(self.renew_pairwise_keys(todo.pairwise_keys).await)?.is_none() {
            // What cannot be done now stays to be done.
            todo.pairwise_keys = false;
        }
        report.rotated += self.rotate_keys(SystemTime::now()).await? as u64;
        self.done(&todo).await
    }

    /// What is to be done, by whichever process of this home found it.
    pub(crate) async fn todo(&self) -> Result<Todo> {
        let tx = self.inner().session.new_transaction().await?;
        Todo::of(&tx)
    }

    /// Strikes out what was done. What was found meanwhile stays.
    async fn done(&self, done: &Todo) -> Result<()> {
        if done.is_empty() {
            return Ok(());
        }
        let mut tx = self.inner().session.new_transaction().await?;
        let mut todo = Todo::of(&tx)?;
        todo.proposals.retain(|conversation| !done.proposals.contains(conversation));
        todo.history.retain(|conversation| !done.history.contains(conversation));
        todo.announce.retain(|conversation| !done.announce.contains(conversation));
        todo.sharing.retain(|conversation, wish| done.sharing.get(conversation) != Some(wish));
        todo.share.retain(|conversation| !done.share.contains(conversation));
        todo.replay.retain(|conversation| !done.replay.contains(conversation));
        todo.begin.retain(|conversation| !done.begin.contains(conversation));
        todo.joins.retain(|asking| !done.joins.contains(asking));
        todo.key_packages &= !done.key_packages;
        todo.own_devices &= !done.own_devices;
        todo.pairwise_keys &= !done.pairwise_keys;
        todo.write(&mut tx)?;
        Ok(tx.finish().await?)
    }

    /// Takes all events that the hub has, or without one all envelopes that the carriers have.
    pub(crate) async fn catch_up(&self, report: &mut SyncReport) -> Result<()> {
        if self.inner().hub.is_none() {
            return self.take_envelopes(report).await;
        }
        loop {
            let since = self.inner().store.read(|r| r.cursor())?;
            let query = EventQuery { since: since.clone(), limit: Some(PAGE), wait: None };
            let page = match self.hub()?.events(&query).await {
                Ok(page) => page,
                Err(TransportError::Refused(problem))
                    if problem.known_code() == Some(Code::EventsMissed) && problem.resume.is_some() =>
                {
                    report.suspicious += self.start_over(since, *problem).await?;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if page.events.is_empty() {
                return Ok(());
            }
            let more = page.more;
            if let Some(applied) = self.take_page(since, page.events, page.cursor).await? {
                report.events += applied.events;
                report.messages += applied.new_messages.len() as u64;
                report.undecryptable += applied.undecryptable;
                report.invalid += applied.invalid;
                report.unsupported += applied.unsupported;
                report.others += applied.others;
                report.resets += applied.resets;
                report.suspicious += applied.suspicious;
                if !more {
                    return Ok(());
                }
            }
        }
    }

    /// Writes a page of events down. What a subconversation's commit is checked by, its parent's members, has to be written
    /// before it, and so has the policy that a group had when it is begun anew: these events begin a transaction each.
    async fn take_page(
        &self,
        mut since: Option<String>,
        events: Vec<Event>,
        end: String,
    ) -> Result<Option<Applied>> {
        let mut parts: Vec<Vec<Event>> = vec![Vec::new()];
        for event in events {
            let begins = match &event.body {
                EventBody::Commit { entry, .. } => entry.conversation.is_subconversation(),
                EventBody::GroupReset { .. } => true,
                _ => false,
            };
            match parts.last_mut() {
                Some(part) if !begins || part.is_empty() => part.push(event),
                _ => parts.push(vec![event]),
            }
        }
        let mut all = Applied::default();
        let last = parts.len() - 1;
        for (index, part) in parts.into_iter().enumerate() {
            let cursor = match part.last() {
                Some(event) if index < last => event.cursor.clone(),
                _ => end.clone(),
            };
            match self.take(since, part, cursor.clone()).await? {
                Some(applied) => all.add(applied),
                None => return Ok(None),
            }
            since = Some(cursor);
        }
        Ok(Some(all))
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
        let me = self.me().user;
        let (mut wanted, mut returned_to) = (BTreeSet::new(), BTreeSet::new());
        for event in events {
            if let EventBody::Members { entry, joined, .. } = &event.body
                && joined.iter().any(|member| member.user == me)
            {
                returned_to.insert(entry.conversation);
            }
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
        let of_the_team = |event: &Event| {
            matches!(event.body, EventBody::TeamMemberJoined { .. } | EventBody::TeamMemberLeft { .. })
        };
        if events.iter().any(of_the_team) {
            prepared.people = Some(self.fetch_people().await?);
        }
        for &id in wanted.union(&returned_to) {
            match self.hub()?.conversation(id).await {
                Ok(conversation) => {
                    let group = GroupId::from_bytes(conversation.group_id.as_ref());
                    if group.is_none_or(|group| group.conversation != id) {
                        return Err(Error::UntrustworthyHub {
                            what: "a conversation's group has another id",
                        });
                    }
                    if returned_to.contains(&id) {
                        prepared.returned_to.insert(id, conversation.clone());
                    }
                    if wanted.contains(&id) {
                        prepared.conversations.insert(id, conversation);
                    }
                }
                // Left again since: the events that say so follow.
                Err(error) if error.hub_code() == Some(Code::NoConversation) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(prepared)
    }
}

/// Putting right what was interrupted.
impl Client {
    /// Joins the conversations that have a group without this device, as far as it does so by itself. Says whether it joined any.
    async fn join_missing(&self) -> Result<bool> {
        self.notice_lost_groups().await?;
        let mut joined = false;
        for conversation in self.to_join()? {
            joined |= tolerate(self.join_group(conversation, Caution::Compare).await)?.is_some();
        }
        Ok(joined)
    }

    /// Groups that this home should have and that are not there: it was damaged, or put together from different times.
    async fn notice_lost_groups(&self) -> Result<()> {
        let expected = self.inner().store.read(|r| r.joined_groups())?;
        if expected.is_empty() {
            return Ok(());
        }
        let present: BTreeSet<_> =
            self.inner().session.conversations()?.iter().map(|group| group.as_bytes().to_vec()).collect();
        for (conversation, generation) in expected {
            if present.contains(group_id(conversation, generation).as_bytes()) {
                continue;
            }
            let mut tx = self.inner().session.new_transaction().await?;
            // Another process of this home may be writing it down just now.
            if !tx.conversation_exists(&self.group_of(conversation)?)? {
                tracing::warn!(conversation = %conversation.short(), "its group is lost here, joining anew");
                tx.store_write(move |w| w.set_joined(conversation, false))?;
                tx.finish().await?;
            }
        }
        Ok(())
    }

    /// Finds out what became of commits whose outcome is unknown.
    pub(crate) async fn settle_pending_commits(&self, report: &mut SyncReport) -> Result<()> {
        for (group, _) in self.inner().session.pending_commits()? {
            let Some(conversation) = conversation_of(&group) else { continue };
            tolerate(self.settle(conversation, report).await)?;
        }
        Ok(())
    }

    /// Finds out what became of this conversation's pending commit, with the home caught up before and after.
    pub(crate) async fn settle(&self, conversation: ConversationId, report: &mut SyncReport) -> Result<()> {
        if self.is_enveloped(conversation)? {
            return self.settle_by_order(conversation).await;
        }
        let group = self.group_of(conversation)?;
        let epoch = match self.hub()?.conversation(conversation).await {
            // The group was begun anew, and the commit with it: the events say so.
            Ok(at_hub) if *at_hub.group_id.as_ref() != *group.as_bytes() => {
                return self.catch_up(report).await;
            }
            Ok(at_hub) => at_hub.epoch,
            Err(error) if error.hub_code() == Some(Code::NoConversation) => {
                return self.forget(conversation).await;
            }
            Err(error) => return Err(error.into()),
        };
        let mut tx = self.inner().session.new_transaction().await?;
        let known = self.known(conversation)?;
        let pending = self.inner().session.pending_commit(&group)?;
        let is_join = pending.as_ref().is_some_and(|pending| pending.is_join);
        let settled = match tx.conversation(&group).await {
            Ok(mut guard) => guard.settle_pending(epoch).await,
            // Another process of this home has settled it.
            Err(EngineError::ConversationNotFound(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let settled = settled?;
        if let Settlement::Merged(summary) = &settled {
            if is_join {
                self.take_in(&mut tx, conversation, &known, None).await?;
            } else {
                self.note_own_commit(&mut tx, conversation, summary).await?;
            }
            self.note_succession(&mut tx, conversation, &group).await?;
            note_policy(&mut tx, conversation, &group).await?;
        }
        tx.finish().await?;
        // A commit that was accepted, or that lost against another's, is in the log.
        self.catch_up(report).await?;
        let mut tx = self.inner().session.new_transaction().await?;
        // Another task of this home may have settled it meanwhile, and made the next one, whose outcome nobody knows yet.
        let is_pending = pending.is_some() && self.inner().session.pending_commit(&group)? == pending;
        match settled {
            // It is not in the log, and the hub does not want it. Should the first sending arrive all the same, its echo makes
            // this device join anew.
            Settlement::Refused { .. } if is_pending => {
                tx.conversation(&group).await?.give_up_pending_commit()?;
            }
            // The log was read beyond its epoch without it: there is no way back into the group but to join anew.
            Settlement::AwaitLog { .. } if is_pending => {
                tracing::warn!(conversation = %conversation.short(), "a pending commit is lost, joining anew");
                self.wipe(&mut tx, conversation)?;
            }
            _ => {}
        }
        let joined = tx.conversation_exists(&group)?;
        tx.store_write(move |w| w.set_joined(conversation, joined))?;
        Ok(tx.finish().await?)
    }

    /// The user is in the conversation no more: its keys go, its messages stay.
    pub(crate) async fn forget(&self, conversation: ConversationId) -> Result<()> {
        let mut tx = self.inner().session.new_transaction().await?;
        self.wipe(&mut tx, conversation)?;
        tx.store_write(move |w| {
            w.set_active(conversation, false)?;
            w.part_subconversations(conversation, true)
        })?;
        tx.finish().await?;
        Ok(())
    }
}

impl Client {
    /// Removes the conversation's group from the engine, whole, pending or unreadable, and its subconversations with it.
    pub(crate) fn wipe(&self, tx: &mut TransactionContext, conversation: ConversationId) -> Result<()> {
        tx.wipe_conversation(&self.group_of(conversation)?)?;
        Ok(tx.store_write(move |w| w.part_subconversations(conversation, false))?)
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
        Err(error @ Error::DeviceRemoved) => Err(error),
        Err(error) => {
            tracing::warn!(code = error.code(), %error, "left for the next synchronisation");
            Ok(None)
        }
    }
}
