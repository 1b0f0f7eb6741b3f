//! Reading what was sent before this device came, with what members have given to it.
//!
//! The log is read from the first epoch of the oldest span on, as the history client of every span that is held. These readers are
//! in memory; what they find is written page by page, each message in its place by its number, and a message that is there
//! already stays. That it is to be done is struck out when all was done: whoever is interrupted begins anew, and ends with the same.

use crate::{Client, Error, Result, Suspicion, SyncReport};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tertulia_api::{
    event::{EventBody, LogEntry},
    history::{HistoryPage, HistoryQuery},
};
use tertulia_domain::{ConversationId, DeviceAddress, UserId};
use tertulia_mls::{EngineError, HistoryClient, HistorySpan, Outcome};
use tertulia_store::{HistoryMark, NewMessage};

/// How many entries are asked for, and written in one transaction.
const PAGE: u32 = 200;
/// Most pages that are read: a hub could go on for ever.
const MAX_PAGES: usize = 1 << 16;
/// How often this device tries to read up to where the group is just then.
const ATTEMPTS: usize = 5;

/// What reading has come to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Replayed {
    pub(super) messages: u64,
    pub(super) suspicious: u64,
}

/// Somebody who reads the log as the history client of a span.
struct Reader {
    span: HistorySpan,
    client: HistoryClient,
    shared_by: Option<UserId>,
    /// Why it could not go on: the span is made up, or the log is.
    failed: Option<String>,
}

impl Reader {
    fn mark(&self) -> HistoryMark {
        HistoryMark {
            span: self.span.first_epoch,
            verified: self.span.is_verified,
            shared_by: self.shared_by,
        }
    }
}

/// A message that was found, and where.
type NewHistory = (NewMessage, HistoryMark);

/// Where reading stands.
struct Replay {
    conversation: ConversationId,
    readers: Vec<Reader>,
    /// From when on there are messages that may be read, milliseconds since 1970, as far as this device can tell.
    reach: i64,
    from_epoch: u64,
    cursor: Option<String>,
    /// The number of the last entry.
    last: u64,
    pages: usize,
}

impl Client {
    /// Reads what there is of a conversation from before this device came.
    pub(super) async fn replay(&self, id: ConversationId) -> Result<Replayed> {
        let mut done = Replayed::default();
        let Some(mut replay) = self.begin_replay(id)? else { return Ok(done) };
        let told = self.read_log(&mut replay, &mut done).await;
        let reason = match told {
            Err(Error::UntrustworthyHub { what }) => Some(what.to_owned()),
            told => {
                told?;
                None
            }
        };
        done.suspicious += self.end_replay(replay, reason).await?;
        Ok(done)
    }

    /// The spans from before this device came, each with a reader. None if there are no such.
    fn begin_replay(&self, id: ConversationId) -> Result<Option<Replay>> {
        let group = self.group_of(id)?;
        let (row, settings, came_at) = self
            .inner()
            .store
            .read(|r| Ok::<_, Error>((r.conversation(id)?, r.conversation_settings(id)?, r.came_at(id)?)))?;
        let Some(row) = row.filter(|row| row.active && row.joined) else { return Ok(None) };
        let mut readers = Vec::new();
        for span in self.inner().session.history_spans(&group)? {
            if span.first_epoch >= row.since_epoch {
                continue;
            }
            match self.inner().session.open_history(&span.secret) {
                Ok(client) => {
                    let sharer = span.shared_by.as_ref();
                    let sharer = sharer.and_then(|id| DeviceAddress::from_identity(id.as_bytes()).ok());
                    let shared_by = sharer.map(|device| device.user);
                    readers.push(Reader { span, client, shared_by, failed: None });
                }
                Err(error) => tracing::warn!(conversation = %id.short(), %error, "a span cannot be opened"),
            }
        }
        let Some(from_epoch) = readers.iter().map(|reader| reader.span.first_epoch).min() else {
            return Ok(None);
        };
        // Who came by themselves does not know when their user came.
        let reach = came_at.map_or(Some(i64::MIN), |came_at| settings.history.reach(came_at));
        Ok(reach.map(|reach| Replay {
            conversation: id,
            readers,
            reach,
            from_epoch,
            cursor: None,
            last: 0,
            pages: 0,
        }))
    }

    /// Reads the log to its end, and so far that the open span can be compared with the group as it is here.
    async fn read_log(&self, replay: &mut Replay, done: &mut Replayed) -> Result<()> {
        for _ in 0..ATTEMPTS {
            loop {
                let query = HistoryQuery {
                    from_epoch: Some(replay.from_epoch),
                    after: replay.cursor.clone(),
                    limit: Some(PAGE),
                };
                let page = self.hub()?.history(replay.conversation, &query).await?;
                replay.check(&page)?;
                let found = replay.read(self, page.entries);
                done.messages += self.keep_history(found).await?;
                replay.cursor = Some(page.cursor);
                if !page.more {
                    break;
                }
            }
            let own = self.epoch(replay.conversation).await?;
            let open =
                || replay.readers.iter().filter(|r| r.failed.is_none() && r.client.last_epoch().is_none());
            if open().all(|reader| reader.client.epoch() == own) {
                break;
            }
            // The group moves on meanwhile, here or at the hub.
            self.catch_up(&mut SyncReport::default()).await?;
        }
        Ok(())
    }

    /// Writes what was found in its places.
    async fn keep_history(&self, found: Vec<NewHistory>) -> Result<u64> {
        if found.is_empty() {
            return Ok(0);
        }
        let new = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&new);
        let mut tx = self.inner().session.new_transaction().await?;
        tx.store_write(move |w| {
            for (message, mark) in &found {
                let is_new = w.insert_history(message, mark)?;
                count.fetch_add(u64::from(is_new && message.text.is_some()), Ordering::Relaxed);
            }
            Ok(())
        })?;
        tx.finish().await?;
        Ok(new.load(Ordering::Relaxed))
    }

    /// Finds out which spans are genuine, and notes what does not fit. How much that is.
    async fn end_replay(&self, replay: Replay, mut reason: Option<String>) -> Result<u64> {
        let Replay { conversation, readers, .. } = replay;
        let group = self.group_of(conversation)?;
        let mut tx = self.inner().session.new_transaction().await?;
        if !tx.conversation_exists(&group)? {
            return Ok(0);
        }
        let mut guard = tx.conversation(&group).await?;
        let own = guard.epoch()?;
        let (mut genuine, mut made_up) = (Vec::new(), Vec::new());
        for reader in &readers {
            let is_open = reader.failed.is_none() && reader.client.last_epoch().is_none();
            if is_open && guard.confirm_history(&reader.client)? {
                genuine.push(reader.span.first_epoch);
            } else if is_open && reader.client.epoch() == own && !reader.span.is_verified {
                // It can be read to the end, and is the history of something else.
                made_up.push(reader);
            }
        }
        let whole: BTreeSet<u64> = readers
            .iter()
            .filter(|reader| {
                reader.failed.is_none() && !made_up.iter().any(|other| std::ptr::eq(*other, *reader))
            })
            .map(|reader| reader.span.first_epoch)
            .collect();
        for reader in &readers {
            let Some(failed) = &reader.failed else { continue };
            if whole.contains(&reader.span.first_epoch) {
                // Another of the same epoch can be read, so this one is made up.
                made_up.push(reader);
            } else {
                reason.get_or_insert_with(|| failed.clone());
            }
        }
        let mut dropped = Vec::new();
        for reader in made_up {
            tracing::warn!(conversation = %conversation.short(), "a made-up span of history is forgotten");
            guard.forget_history(&reader.span.secret)?;
            dropped.push(reader.mark());
        }
        let suspicion = reason.map(|reason| Suspicion::FalseHistory { reason });
        let suspicious = u64::from(suspicion.is_some());
        tx.store_write(move |w| {
            for mark in &dropped {
                w.drop_history(conversation, mark)?;
            }
            for span in genuine {
                w.verify_history(conversation, span)?;
            }
            suspicion.iter().try_for_each(|suspicion| crate::suspicion::note(w, conversation, suspicion))
        })?;
        tx.finish().await?;
        Ok(suspicious)
    }
}

impl Replay {
    /// What an honest hub's page is like: no longer than asked, of this conversation, and in order.
    fn check(&mut self, page: &HistoryPage) -> Result<()> {
        let false_page = |what| Err(Error::UntrustworthyHub { what });
        self.pages += 1;
        if page.entries.len() > PAGE as usize || self.pages > MAX_PAGES {
            return false_page("it gave more of the older messages than it was asked for");
        }
        if page.more && page.entries.is_empty() {
            return false_page("it says that there are older messages, and gives none");
        }
        for body in &page.entries {
            match body.entry() {
                Some(entry) if entry.conversation == self.conversation && entry.sequence > self.last => {
                    self.last = entry.sequence;
                }
                _ => return false_page("it gave older messages in another order than theirs"),
            }
        }
        Ok(())
    }

    /// What the readers find in these entries.
    fn read(&mut self, client: &Client, entries: Vec<EventBody>) -> Vec<NewHistory> {
        let mut found = Vec::new();
        for body in entries {
            match body {
                EventBody::Commit { entry, commit, message, .. } => {
                    self.follow(commit.as_ref());
                    if let Some(message) = message {
                        found.extend(self.message(client, &entry, message.as_ref()));
                    }
                }
                // One that cannot be read shows in the commit that it is for.
                EventBody::Proposal { proposal, .. } => {
                    self.each(|reader| drop(reader.client.process(&proposal)));
                }
                EventBody::Message { entry, message } | EventBody::Name { entry, message } => {
                    found.extend(self.message(client, &entry, message.as_ref()));
                }
                _ => {}
            }
        }
        found
    }

    fn each(&mut self, read: impl FnMut(&mut Reader)) {
        self.readers.iter_mut().filter(|reader| reader.failed.is_none()).for_each(read);
    }

    fn follow(&mut self, commit: &[u8]) {
        self.each(|reader| match reader.client.process(commit) {
            // Before the span and after it there is nothing to be read.
            Ok(_) | Err(EngineError::BeforeHistory { .. } | EngineError::HistoryEnded { .. }) => {}
            Err(error) => reader.failed = Some(error.to_string()),
        });
    }

    /// The message as the first reader has it who can read it.
    fn message(&mut self, client: &Client, entry: &LogEntry, message: &[u8]) -> Option<NewHistory> {
        if entry.sent_at < self.reach {
            return None; // more than the setting allows
        }
        let readers = self.readers.iter_mut().filter(|reader| reader.failed.is_none());
        for reader in readers {
            let Ok(read) = reader.client.process(message) else { continue };
            if read.outcome == Outcome::Application
                && let (Some(content), Some(author)) = (read.app_msg, read.sender_client_id)
                && let Ok(author) = DeviceAddress::from_identity(author.as_bytes())
            {
                return match client.history_message(entry, &author, content) {
                    Ok(message) => message.map(|message| (message, reader.mark())),
                    Err(error) => {
                        tracing::warn!(conversation = %entry.conversation.short(), %error, "unreadable content dropped");
                        None
                    }
                };
            }
        }
        None
    }
}
