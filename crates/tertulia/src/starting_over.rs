//! Going on with a hub that knows less than it did: it was restored from a backup.

use crate::{Client, Result, apply::put_conversation, todo::Todo};
use std::collections::BTreeSet;
use tertulia_api::Problem;
use tertulia_domain::{ConversationId, ConversationType};

impl Client {
    /// Takes over what the hub has of connections and conversations, and goes on after the events that it lost. Conversations
    /// that it does not know any more end here, and their messages stay. The groups of the others are begun anew: the events
    /// that follow say so.
    pub(crate) async fn start_over(&self, since: Option<String>, problem: Problem) -> Result<()> {
        let Some(resume) = problem.resume else { return Ok(()) };
        let people = self.fetch_people().await?;
        let conversations = self.inner().hub.conversations().await?.conversations;
        let there: BTreeSet<ConversationId> =
            conversations.iter().map(|conversation| conversation.conversation).collect();
        let rows = self.inner().store.read(|r| r.conversations())?;
        let lost = rows.into_iter().filter(|row| {
            let listed = matches!(
                row.record.kind,
                ConversationType::OneToOne | ConversationType::Group | ConversationType::Channel
            );
            row.active && listed && !there.contains(&row.record.id)
        });
        let lost: Vec<ConversationId> = lost.map(|row| row.record.id).collect();
        let mut tx = self.inner().session.new_transaction().await?;
        if self.inner().store.read(|r| r.cursor())? != since {
            return Ok(()); // another process of this home has done it
        }
        tracing::warn!(lost = lost.len(), "the hub was restored; starting over with what it has");
        self.take_over(&mut tx, people)?;
        for &conversation in &lost {
            self.wipe(&mut tx, conversation)?;
        }
        tx.store_write(move |w| {
            for &conversation in &lost {
                w.set_active(conversation, false)?;
                w.part_subconversations(conversation, true)?;
            }
            for conversation in &conversations {
                put_conversation(w, conversation)?;
            }
            w.set_cursor(&resume)
        })?;
        // What others were handed since the backup, the restored hub must not hand out again, so it has none.
        Todo { key_packages: true, pairwise_keys: true, own_devices: true, ..Todo::default() }
            .add_to(&mut tx)?;
        Ok(tx.finish().await?)
    }
}
