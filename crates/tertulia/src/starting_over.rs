//! Going on with a hub that has less than this device needs: it was restored from a backup, or does not keep any more what
//! this device was away for.

use crate::{
    Client, Error, Result, Suspicion, apply::put_conversation, client::now, suspicion::note, todo::Todo,
};
use std::collections::{BTreeMap, BTreeSet};
use tertulia_api::{Code, Problem, conversation::Conversation, event::MissedEntries};
use tertulia_domain::{ConversationId, ConversationType, GroupId};
use tertulia_mls::TransactionContext;
use tertulia_store::ConversationRow;

/// So many entries may be missing without those of one member being more than a group's keys can be moved on by.
const FAR: u64 = 1000;

impl Client {
    /// Takes over what the hub has of connections and conversations, and goes on after what is not there any more. Conversations
    /// that the hub does not know end here, and their messages stay. Groups whose commits are missing are joined anew; those of a
    /// restored hub are begun anew, as the events that follow say. Of what is missing the user is told; the answer is in how many
    /// conversations.
    pub(crate) async fn start_over(&self, since: Option<String>, problem: Problem) -> Result<u64> {
        let Problem { resume: Some(resume), missed, .. } = problem else { return Ok(0) };
        let people = self.fetch_people().await?;
        let mut there: BTreeMap<ConversationId, Conversation> = BTreeMap::new();
        for conversation in self.hub()?.conversations().await?.conversations {
            there.insert(conversation.conversation, conversation);
        }
        let rows = self.inner().store.read(|r| r.conversations())?;
        let lost =
            rows.iter().filter(|row| row.active && is_listed(row) && !there.contains_key(&row.record.id));
        let lost: BTreeSet<ConversationId> = lost.map(|row| row.record.id).collect();
        self.fetch_unlisted(&missed, &rows, &mut there).await?;

        let mut tx = self.inner().session.new_transaction().await?;
        if self.inner().store.read(|r| r.cursor())? != since {
            return Ok(0); // another process of this home has done it
        }
        tracing::warn!(lost = lost.len(), missed = missed.len(), "starting over with what the hub has");
        self.take_over(&mut tx, people)?;
        for &conversation in &lost {
            self.wipe(&mut tx, conversation)?;
            tx.store_write(move |w| {
                w.set_active(conversation, false)?;
                w.part_subconversations(conversation, true)
            })?;
        }
        let mut told = 0;
        for missed in missed.iter().filter(|missed| !lost.contains(&missed.conversation)) {
            let row = rows.iter().find(|row| row.record.id == missed.conversation);
            let until = self.go_on_without(&mut tx, missed, row, there.get(&missed.conversation)).await?;
            if row.is_none_or(is_listed) {
                told += 1;
                self.tell_missed(&mut tx, missed.conversation, until)?;
            }
        }
        tx.store_write(move |w| {
            for conversation in there.values() {
                put_conversation(w, conversation)?;
            }
            w.set_cursor(&resume)
        })?;
        // What others were handed since the backup, a restored hub must not hand out again, so it has none. Who was away for long
        // may have missed that there are few.
        Todo { key_packages: true, pairwise_keys: true, own_devices: true, ..Todo::default() }
            .add_to(&mut tx)?;
        tx.finish().await?;
        Ok(told)
    }

    /// Fetches those conversations of which something is missing that the hub does not list: the user's own.
    async fn fetch_unlisted(
        &self,
        missed: &[MissedEntries],
        rows: &[ConversationRow],
        there: &mut BTreeMap<ConversationId, Conversation>,
    ) -> Result<()> {
        let is_own = |row: &&ConversationRow| row.record.kind == ConversationType::SelfConversation;
        for row in rows.iter().filter(is_own) {
            let id = row.record.id;
            if !missed.iter().any(|missed| missed.conversation == id) {
                continue;
            }
            match self.hub()?.conversation(id).await {
                Ok(conversation) => drop(there.insert(id, conversation)),
                Err(error) if error.hub_code() == Some(Code::NoConversation) => {}
                Err(error) => return Err(Error::from(error)),
            }
        }
        Ok(())
    }

    /// Gives up the group of a conversation if it cannot be followed over what is missing, so that this device joins it anew. Says
    /// up to when messages are missing: what stands in the log of epochs that this device was not in, it cannot read either.
    async fn go_on_without(
        &self,
        tx: &mut TransactionContext,
        missed: &MissedEntries,
        row: Option<&ConversationRow>,
        at_hub: Option<&Conversation>,
    ) -> Result<i64> {
        let conversation = missed.conversation;
        let Some(row) = row.filter(|row| row.joined) else { return Ok(missed.sent_at) };
        let group = self.group_of(conversation)?;
        let epoch =
            if tx.conversation_exists(&group)? { tx.conversation(&group).await?.epoch()? } else { 0 };
        let here = self.inner().store.read(|r| r.last_content(conversation))?;
        let last = here.map_or(0, |(sequence, _)| sequence.get());
        let generation = at_hub
            .and_then(|at_hub| GroupId::from_bytes(at_hub.group_id.as_ref()))
            .map(|group| group.generation);
        let is_begun_anew = generation.is_some_and(|generation| generation > row.generation);
        if epoch >= missed.epoch && missed.sequence.saturating_sub(last) < FAR && !is_begun_anew {
            return Ok(missed.sent_at);
        }
        self.wipe(tx, conversation)?;
        let is_part = row.subconversation.is_some();
        let epoch = at_hub.map_or(missed.epoch, |at_hub| at_hub.epoch);
        tx.store_write(move |w| {
            if let Some(generation) = generation.filter(|_| is_begun_anew) {
                w.reset_group(conversation, generation, None)?;
            }
            if is_part {
                // This device takes part again when it says so.
                w.set_active(conversation, false)?;
            }
            w.set_joined(conversation, false)?;
            w.set_epoch(conversation, epoch)
        })?;
        Ok(now())
    }

    fn tell_missed(
        &self,
        tx: &mut TransactionContext,
        conversation: ConversationId,
        until: i64,
    ) -> Result<()> {
        let last = self.inner().store.read(|r| r.last_content(conversation))?;
        let since = last.map(|(_, sent_at)| sent_at).filter(|since| *since < until);
        let suspicion = Suspicion::Missed { since, until };
        tracing::warn!(conversation = %conversation.short(), %suspicion, "noticed");
        Ok(tx.store_write(move |w| note(w, conversation, &suspicion))?)
    }
}

/// Whether the hub lists such a conversation to its members.
fn is_listed(row: &ConversationRow) -> bool {
    use ConversationType::{Channel, Group, OneToOne};
    matches!(row.record.kind, OneToOne | Group | Channel)
}
