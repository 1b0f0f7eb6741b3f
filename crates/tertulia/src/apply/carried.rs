//! Which group carries a conversation, while events are written down: the store knows only when the page is written.

use super::{Page, put_conversation};
use crate::{
    Result, Suspicion,
    coming_in::{Finding, Known},
    link::group_id,
    suspicion::succession,
};
use tertulia_api::{event::LogEntry, policy::decode};
use tertulia_domain::{ConversationId, GroupId, UserId};
use tertulia_mls::{MlsConversationDecryptMessage, Signer, TransactionContext};

/// Which group carries a conversation.
impl Page<'_> {
    pub(super) fn generation(&self, conversation: ConversationId) -> Result<u64> {
        match self.generations.get(&conversation) {
            Some(generation) => Ok(*generation),
            None => Ok(self.client.inner().store.read(|r| r.generation(conversation))?),
        }
    }

    pub(super) fn group_of(&self, conversation: ConversationId) -> Result<tertulia_mls::ConversationId> {
        Ok(group_id(conversation, self.generation(conversation)?))
    }

    /// Writes down the policy that the group has, after the commit that gave it that if there was one, and what is to be told of it.
    pub(super) async fn note_policy(
        &mut self,
        conversation: ConversationId,
        done: Option<&MlsConversationDecryptMessage>,
    ) -> Result<()> {
        let generation = self.generation(conversation)?;
        let group = group_id(conversation, generation);
        note_policy(&mut self.tx, conversation, &group).await?;
        if self.tx.conversation_exists(&group)? {
            let mut guard = self.tx.conversation(&group).await?;
            let known = Known { policy: guard.group_data()?, generation, epoch: guard.epoch()? };
            let last = self.last_known(conversation)?;
            let policies = (last.policy.as_deref(), known.policy.as_deref());
            if policies.0 != policies.1 {
                if let Some(suspicion) = succession(policies.0, policies.1) {
                    self.suspect(conversation, suspicion)?;
                }
                if let Some(done) = done {
                    self.note_change_by_new_device(conversation, done, policies)?;
                }
            }
            self.known.insert(conversation, known);
        }
        Ok(())
    }

    /// What this home knew of a group before this event.
    fn last_known(&self, conversation: ConversationId) -> Result<Known> {
        match self.known.get(&conversation) {
            Some(known) => Ok(known.clone()),
            None => self.client.known(conversation),
        }
    }

    /// Compares a group that this device has come into with what it knew, and says whether to be in it.
    pub(super) async fn compare(
        &mut self,
        conversation: ConversationId,
        signed_by: Option<&Signer>,
    ) -> Result<bool> {
        let known = self.last_known(conversation)?;
        let group = self.group_of(conversation)?;
        match self.client.compare(&mut self.tx, &group, &known, signed_by).await? {
            Finding::Forbidden(reason) => {
                self.suspect(conversation, Suspicion::ForbiddenGroup { reason })?;
                self.distrust(conversation)?;
                self.rejoin(conversation)?;
                Ok(false)
            }
            Finding::Unseen(told) => {
                told.into_iter().try_for_each(|suspicion| self.suspect(conversation, suspicion))?;
                Ok(true)
            }
        }
    }

    pub(super) fn in_group(&self, conversation: ConversationId) -> Result<bool> {
        Ok(self.tx.conversation_exists(&self.group_of(conversation)?)?)
    }

    /// Writes what was fetched of a conversation, if anything was.
    pub(super) fn put_prepared(&mut self, conversation: ConversationId) -> Result<()> {
        let Some(fetched) = self.prepared.conversations.remove(&conversation) else { return Ok(()) };
        if self.client.inner().store.read(|r| r.conversation(conversation))?.is_none()
            && let Some(group) = GroupId::from_bytes(fetched.group_id.as_ref())
        {
            self.generations.insert(conversation, group.generation);
        }
        Ok(self.tx.store_write(move |w| put_conversation(w, &fetched))?)
    }

    /// A conversation is carried by another group from here on. What is left of the old one is of no use any more.
    pub(super) async fn reset(&mut self, entry: &LogEntry, new: &[u8]) -> Result<()> {
        let conversation = entry.conversation;
        let new = tertulia_mls::ConversationId::from(new);
        if self.is_later(conversation, &new)? {
            let shared = self.shares_history(conversation).await?;
            self.wipe(conversation)?;
            self.follow_to(conversation, &new, entry.sender.map(|sender| sender.user))?;
            if self.is_subconversation(conversation)? {
                return Ok(self.tx.store_write(move |w| w.set_active(conversation, false))?);
            }
            if entry.sender == Some(self.client.own_device()) {
                self.applied.todo.begin.insert(conversation);
                self.share_again(conversation, shared)?;
            }
        } else if new != self.group_of(conversation)? {
            tracing::warn!(conversation = %conversation.short(), "a reset to an earlier group is ignored");
        }
        Ok(())
    }

    /// Whether the group takes the place of the one that this home knows.
    pub(super) fn is_later(
        &self,
        conversation: ConversationId,
        group: &tertulia_mls::ConversationId,
    ) -> Result<bool> {
        let known = self.generation(conversation)?;
        Ok(GroupId::from_bytes(group.as_bytes()).is_some_and(|group| {
            group.conversation == conversation && (known + 1..MOST_RESETS).contains(&group.generation)
        }))
    }

    /// Notes that this is the conversation's group from here on.
    pub(super) fn follow_to(
        &mut self,
        conversation: ConversationId,
        group: &tertulia_mls::ConversationId,
        by: Option<UserId>,
    ) -> Result<()> {
        let Some(GroupId { generation, .. }) = GroupId::from_bytes(group.as_bytes()) else { return Ok(()) };
        tracing::warn!(conversation = %conversation.short(), generation, "its group is begun anew");
        self.generations.insert(conversation, generation);
        self.applied.resets += 1;
        Ok(self.tx.store_write(move |w| w.reset_group(conversation, generation, by))?)
    }

    fn is_subconversation(&self, conversation: ConversationId) -> Result<bool> {
        let row = self.client.inner().store.read(|r| r.conversation(conversation))?;
        Ok(row.is_some_and(|row| row.subconversation.is_some()))
    }
}

/// More than the number of a conversation's group comes to, be it that a restored hub counts on from the time in milliseconds: only
/// a hub that lies goes beyond.
const MOST_RESETS: u64 = 1 << 48;

/// Notes the policy of the group as this device has it now.
pub(crate) async fn note_policy(
    tx: &mut TransactionContext,
    conversation: ConversationId,
    group: &tertulia_mls::ConversationId,
) -> Result<()> {
    if tx.conversation_exists(group)? {
        let policy = tx.conversation(group).await?.group_data()?;
        let kind = decode(policy.as_deref()).ok().map(|policy| policy.conversation_type());
        tx.store_write(move |w| {
            if let Some(kind) = kind {
                w.set_kind(conversation, kind)?;
            }
            w.set_policy(conversation, policy.as_deref())
        })?;
    }
    Ok(())
}
