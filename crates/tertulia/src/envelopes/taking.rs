//! Taking envelopes from the topics: what is for this home is written down, and the rest passed over.

use super::{
    Early, Work,
    early::EarlyEnvelope,
    scanning::{First, Scanned},
    types::{At, Verdict, type_of},
};
use crate::{Client, Error, Result, SyncReport, apply::Applied};
use std::{
    collections::BTreeSet,
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};
use tertulia_conversation::{
    topic::ContentTopic,
    wire::{Envelope, Outcome},
};
use tertulia_domain::ConversationId;
use tertulia_store::StoreError;
use tertulia_transport::{Cursor, Delivery, Page};

/// How many envelopes are asked for at once: as many as a relay gives.
const PAGE: u32 = tertulia_api::relay::MAX_PAGE;
/// After so many pages in a row that have nothing for this home it is noted how far they go. Who is interrupted looks at as many once more.
const PAGES_OF_OTHERS: usize = 16;
/// Most pages of one topic that one synchronisation takes. A carrier that makes envelopes up does not keep it for ever; the next goes on.
const MOST_PAGES: usize = 10_000;
/// Most topics in one request.
const TOPICS: usize = 256;

/// What an envelope of a conversation is to this home.
pub(super) enum Sight {
    /// Somebody else's, as most of what a topic has.
    Others,
    /// This device's own, for whose place a conversation waits.
    Own,
    /// Of one of this home's conversations.
    Ours,
    /// Of one of them, and from the future.
    Unsupported(ConversationId),
    /// Wrong.
    Invalid,
}

impl Client {
    /// Takes what all carriers have. It is enough if one of them can be reached.
    pub(crate) async fn take_envelopes(&self, report: &mut SyncReport) -> Result<()> {
        self.take_kept(report).await?;
        let (mut reached, mut failed) = (false, None);
        for carrier in self.carriers().iter() {
            match self.take_from(carrier, report).await {
                Ok(()) => reached = true,
                Err(error @ Error::Hub(_)) => {
                    tracing::info!(
                        carrier = carrier.id(),
                        code = error.code(),
                        "a carrier is left for the next time"
                    );
                    failed = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        match failed {
            Some(error) if !reached => Err(error),
            _ => Ok(()),
        }
    }

    /// Takes what one carrier has in this home's topics, also in those that are this home's by what was taken.
    ///
    /// Each topic has its turn before any is read to its end, and inboxes are read to their ends last: anybody can fill those, and faster than they are read.
    async fn take_from(&self, carrier: &Arc<dyn Delivery>, report: &mut SyncReport) -> Result<()> {
        let mut seen = BTreeSet::new();
        loop {
            let topics = self.places(&**carrier)?.into_iter().map(|(topic, _)| topic);
            let topics: Vec<_> = topics.filter(|topic| seen.insert(*topic)).collect();
            if topics.is_empty() {
                return Ok(());
            }
            let mut unfinished = Vec::new();
            for topics in topics.chunks(TOPICS) {
                unfinished.extend(self.take_first_pages(&**carrier, topics, report).await?);
            }
            unfinished.sort_by_key(|topic| topic.is_inbox());
            for topic in unfinished {
                self.take_rest(&**carrier, topic, report).await?;
            }
        }
    }

    /// Takes a page of each topic that has anything, and gives the topics that have more.
    ///
    /// An answer has room for so much of all topics together. Those behind one that has filled it are asked for again: a relay says of each that it has more, or, in
    /// an earlier version, nothing at all.
    async fn take_first_pages(
        &self,
        carrier: &dyn Delivery,
        topics: &[ContentTopic],
        report: &mut SyncReport,
    ) -> Result<Vec<ContentTopic>> {
        let (mut waiting, mut unfinished) = (topics.to_vec(), Vec::new());
        while !waiting.is_empty() {
            let place = |topic: &ContentTopic| Ok::<_, Error>((*topic, self.cursor_of(carrier, *topic)?));
            let places = waiting.iter().map(place).collect::<Result<Vec<_>>>()?;
            let pages = carrier.wait(&places, Duration::ZERO).await?;
            let was_filled = pages.iter().any(|(_, page)| page.more);
            let before = waiting.len();
            for (topic, page) in pages {
                let has_its_turn = !page.more || !page.envelopes.is_empty();
                let Some(at) = waiting.iter().position(|one| *one == topic).filter(|_| has_its_turn) else {
                    continue;
                };
                waiting.remove(at);
                if page.more {
                    unfinished.push(topic);
                }
                let since =
                    places.iter().find(|(asked, _)| *asked == topic).and_then(|(_, since)| since.as_ref());
                count(report, &self.take_page_of(carrier, topic, since, page).await?);
            }
            if !was_filled {
                break;
            }
            if waiting.len() == before {
                // It says that there is more, and gives nothing: then each by itself.
                unfinished.append(&mut waiting);
            }
        }
        Ok(unfinished)
    }

    /// Takes what a topic still has. While a page is looked at, the next one is on its way.
    async fn take_rest(
        &self,
        carrier: &dyn Delivery,
        topic: ContentTopic,
        report: &mut SyncReport,
    ) -> Result<()> {
        let mut stored = self.cursor_of(carrier, topic)?;
        let mut page = carrier.fetch(&topic, stored.as_ref(), PAGE).await?;
        let mut of_others = 0_usize;
        for _ in 0..MOST_PAGES {
            let more = page.more && !page.envelopes.is_empty();
            let cursor = page.cursor.clone();
            let fetching = async {
                if more { carrier.fetch(&topic, Some(&cursor), PAGE).await.map(Some) } else { Ok(None) }
            };
            let (next, applied) = tokio::join!(fetching, self.take_envelopes_of(carrier, topic, page));
            let applied = applied?;
            of_others = if applied.is_of_others() { of_others + 1 } else { 0 };
            count(report, &applied);
            if of_others.is_multiple_of(PAGES_OF_OTHERS) || !matches!(next, Ok(Some(_))) {
                if !self.move_cursor(carrier, topic, stored.as_ref(), &cursor).await? {
                    // Another process has moved it: what it has taken need not be looked at.
                    stored = self.cursor_of(carrier, topic)?;
                    page = carrier.fetch(&topic, stored.as_ref(), PAGE).await?;
                    continue;
                }
                stored = Some(cursor);
            }
            match next? {
                Some(next) => page = next,
                None => return Ok(()),
            }
        }
        tracing::warn!(carrier = carrier.id(), "a topic has so much that the rest is left for the next time");
        Ok(())
    }

    /// The topics of this home at a carrier, each with the cursor.
    pub(crate) fn places(&self, carrier: &dyn Delivery) -> Result<Vec<(ContentTopic, Option<Cursor>)>> {
        let mut topics: BTreeSet<ContentTopic> = self.inner().inbox.iter().map(|inbox| inbox.topic).collect();
        for conversation in self.inner().store.read(|r| r.listening())? {
            if self.carriers().ids_of(&conversation).iter().any(|id| id == carrier.id()) {
                topics.insert(ContentTopic::of_conversation(&conversation.conversation));
            }
        }
        topics.into_iter().map(|topic| Ok((topic, self.cursor_of(carrier, topic)?))).collect()
    }

    pub(crate) fn cursor_of(&self, carrier: &dyn Delivery, topic: ContentTopic) -> Result<Option<Cursor>> {
        let stored = self.inner().store.read(|r| r.topic_cursor(carrier.id(), &topic.to_string()))?;
        stored
            .map(|text| text.parse().map_err(|_| StoreError::Damaged { what: "a cursor" }.into()))
            .transpose()
    }

    /// Writes a page down, and then how far it goes.
    pub(crate) async fn take_page_of(
        &self,
        carrier: &dyn Delivery,
        topic: ContentTopic,
        since: Option<&Cursor>,
        page: Page,
    ) -> Result<Applied> {
        let cursor = page.cursor.clone();
        let applied = self.take_envelopes_of(carrier, topic, page).await?;
        self.move_cursor(carrier, topic, since, &cursor).await?;
        Ok(applied)
    }

    /// Writes a page down: each envelope of this home in a transaction of its own. What is interrupted before the cursor is written
    /// is taken again and found to have been taken, for its hint is used up.
    ///
    /// However much of others is in the page costs one look each, and no transaction.
    async fn take_envelopes_of(
        &self,
        carrier: &dyn Delivery,
        topic: ContentTopic,
        page: Page,
    ) -> Result<Applied> {
        let Page { envelopes, missed, .. } = page;
        if missed {
            tracing::warn!(
                carrier = carrier.id(),
                "a carrier does not have any more all that it was asked for"
            );
            self.tell_of_gap(carrier, topic).await?;
        }
        let mut applied = Applied::default();
        let scanned = self.scan(envelopes).await?;
        self.inner().hints.lock().await.refresh(&self.inner().store)?;
        let awaits_own = self.inner().store.read(|r| r.awaits_echoes())?;
        // Which of them brings the commit first nobody knows: a conversation may be ordered by another than the first that this home asks.
        let are_several = self.carriers().iter().nth(1).is_some();
        for Scanned { position, bytes, first } in scanned {
            let at = At { carrier, position, again: false };
            let envelope = match first {
                // Conversations are in topics of their own. One with a salt would be compared with each of them.
                First::Sealed(_) | First::Future if topic.is_inbox() => {
                    applied.others += 1;
                    continue;
                }
                First::Sealed(envelope) => envelope,
                First::Knock(envelope) => {
                    applied.add(self.take_knock(&envelope).await?);
                    continue;
                }
                First::Others => {
                    applied.others += 1;
                    continue;
                }
                First::Future => {
                    match self.conversation_of_future(&bytes).await {
                        Some(conversation) => applied.add(self.keep_for_later(bytes, conversation).await?),
                        None => applied.others += 1,
                    }
                    continue;
                }
                First::Invalid => {
                    applied.invalid += 1;
                    continue;
                }
            };
            match self.sight(&bytes, &envelope, awaits_own).await? {
                Sight::Others => {
                    applied.others += 1;
                    if are_several {
                        let carrier = carrier.id().to_owned();
                        self.early().keep(EarlyEnvelope { carrier, position, bytes });
                    }
                }
                Sight::Own => applied.add(self.take_own(&bytes, at).await?),
                Sight::Ours => applied.add(self.take_envelope(&envelope, at).await?),
                Sight::Unsupported(conversation) => {
                    applied.add(self.keep_for_later(bytes, conversation).await?);
                }
                Sight::Invalid => applied.invalid += 1,
            }
        }
        if applied.epochs > 0 {
            applied.add(self.take_early().await?);
        }
        Ok(applied)
    }

    /// Notes how far a topic was read, unless another process has moved the cursor meanwhile. Says whether it has not.
    async fn move_cursor(
        &self,
        carrier: &dyn Delivery,
        topic: ContentTopic,
        since: Option<&Cursor>,
        cursor: &Cursor,
    ) -> Result<bool> {
        if since == Some(cursor) {
            return Ok(true);
        }
        let (id, name) = (carrier.id().to_owned(), topic.to_string());
        let mut tx = self.inner().session.new_transaction().await?;
        let is_there = self.inner().store.read(|r| r.topic_cursor(&id, &name))?;
        let is_unmoved = is_there.as_deref() == since.map(Cursor::as_str);
        if is_unmoved {
            let cursor = cursor.as_str().to_owned();
            tx.store_write(move |w| w.set_topic_cursor(&id, &name, &cursor))?;
        }
        tx.finish().await?;
        Ok(is_unmoved)
    }

    fn early(&self) -> MutexGuard<'_, Early> {
        // Nothing that can panic happens half-way through a change of it.
        self.inner().early.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks again at what could not be recognised before this home entered an epoch.
    async fn take_early(&self) -> Result<Applied> {
        let mut applied = Applied::default();
        let kept = self.early().take();
        for EarlyEnvelope { carrier, position, bytes } in kept {
            let Some(from) = self.carriers().get(&carrier).cloned() else { continue };
            let Outcome::Decoded(envelope) = Envelope::decode(&bytes) else { continue };
            match self.sight(&bytes, &envelope, false).await? {
                Sight::Ours => {
                    let at = At { carrier: &*from, position, again: true };
                    applied.add(self.take_envelope(&envelope, at).await?);
                }
                Sight::Others => self.early().keep(EarlyEnvelope { carrier, position, bytes }),
                _ => {}
            }
        }
        Ok(applied)
    }

    pub(super) async fn sight(&self, bytes: &[u8], envelope: &Envelope, awaits_own: bool) -> Result<Sight> {
        if awaits_own && self.inner().store.read(|r| r.echo(bytes))?.is_some() {
            return Ok(Sight::Own);
        }
        let hints = self.inner().hints.lock().await;
        Ok(match hints.table().open(envelope) {
            Outcome::Decoded(_) => Sight::Ours,
            Outcome::NotForUs => Sight::Others,
            Outcome::Unsupported(_) => match hints.table().conversation_of(&envelope.hint, envelope.salt) {
                Some(conversation) => Sight::Unsupported(conversation),
                None => Sight::Others,
            },
            Outcome::Invalid(_) => Sight::Invalid,
        })
    }

    /// Takes an envelope of one of this home's conversations.
    pub(super) async fn take_envelope(&self, envelope: &Envelope, at: At<'_>) -> Result<Applied> {
        let mut work = Work::begin(self).await?;
        // Another process may have taken it meanwhile.
        let Outcome::Decoded(opened) = work.hints().open(envelope) else { return Ok(Applied::default()) };
        let place = opened.place;
        let conversation = place.epoch.conversation;
        let Some(of_type) = type_of(place.epoch.conversation_type) else {
            return Ok(Applied::default());
        };
        match of_type.receive(&mut work, &opened, at).await? {
            Verdict::Genuine => {
                work.changing_hints(conversation).received(&place);
                work.applied.events += 1;
                work.finish().await
            }
            Verdict::Later => Ok(Applied { others: 1, ..Applied::default() }),
            Verdict::Repeated => Ok(Applied::default()),
            Verdict::Unsupported => {
                drop(work);
                self.keep_for_later(envelope.encode(), conversation).await
            }
            Verdict::Unreadable(reason) => {
                tracing::warn!(conversation = %conversation.short(), reason, "an envelope cannot be read");
                work.changing_hints(conversation).received(&place);
                work.applied.undecryptable += 1;
                work.finish().await
            }
            Verdict::Refused(reason) => {
                tracing::warn!(conversation = %conversation.short(), reason, "an envelope was refused");
                Ok(Applied { undecryptable: 1, ..Applied::default() })
            }
        }
    }

    /// Takes what a carrier has in a topic, to its end.
    pub(super) async fn read_topic(&self, carrier: &Arc<dyn Delivery>, topic: ContentTopic) -> Result<()> {
        self.take_rest(&**carrier, topic, &mut SyncReport::default()).await
    }

    /// Tells the conversations of a topic that a carrier does not have any more all that was not read.
    async fn tell_of_gap(&self, carrier: &dyn Delivery, topic: ContentTopic) -> Result<()> {
        let mut work = Work::begin(self).await?;
        for record in self.inner().store.read(|r| r.listening())? {
            let id = record.conversation;
            let is_there = ContentTopic::of_conversation(&id) == topic;
            if let Some(of_type) = type_of(number(&record)).filter(|_| is_there) {
                of_type.missed(&mut work, id, carrier.id()).await?;
            }
        }
        work.finish().await.map(drop)
    }

    /// Takes note of the place of an own envelope.
    async fn take_own(&self, bytes: &[u8], at: At<'_>) -> Result<Applied> {
        let mut work = Work::begin(self).await?;
        let Some(conversation) = self.inner().store.read(|r| r.echo(bytes))? else {
            return Ok(Applied::default());
        };
        let record = work.conversation(conversation)?;
        let is_over = match type_of(number(&record)) {
            Some(of_type) => of_type.see_own(&mut work, conversation, at).await?,
            None => true,
        };
        if !is_over {
            return Ok(Applied::default());
        }
        let own = bytes.to_vec();
        work.write(move |w| w.echoed(&own))?;
        work.finish().await
    }
}

/// The number of a conversation's type.
pub(crate) const fn number(record: &tertulia_store::EnvelopedRecord) -> tertulia_conversation::types::TypeId {
    tertulia_conversation::types::TypeId::new(record.conversation_type)
}

pub(super) fn count(report: &mut SyncReport, applied: &Applied) {
    report.events += applied.events;
    report.messages += applied.new_messages.len() as u64;
    report.undecryptable += applied.undecryptable;
    report.others += applied.others;
    report.invalid += applied.invalid;
    report.unsupported += applied.unsupported;
}
