//! Coming into conversations: who asks to be let into one that this device is in, and what becomes of what its own user asked.

use super::{Page, rows::put_user};
use crate::{
    Result, Suspicion,
    joining::is_proven,
    todo::{Asking, Todo},
};
use std::collections::BTreeSet;
use tertulia_domain::{ConversationId, UserId};

impl Page<'_> {
    /// Somebody asks to be let in, says the hub, and did so in this epoch of the group.
    pub(super) async fn join_requested(&mut self, asking: Asking, epoch: u64, handle: &str) -> Result<()> {
        let Asking { conversation, user, .. } = asking;
        if let Some(policy) = self.policy(conversation).await?
            && !policy.has(user)
            && !is_proven(&asking, &policy, &self.client.me().domain)
        {
            // This device may be ahead of the log, by a commit of its own that has taken the link back. Then it is void.
            let group = self.group_of(conversation)?;
            if self.tx.conversation(&group).await?.epoch()? <= epoch {
                self.suspect(conversation, Suspicion::ForgedJoin { user })?;
            }
            return Ok(());
        }
        // A device that is not in the group yet looks at it when it is.
        self.applied.todo.joins.insert(asking);
        let handle = handle.to_owned();
        Ok(self.tx.store_write(move |w| put_user(w, user, &handle))?)
    }

    /// The user is in the conversation now, having waited or not.
    pub(super) fn let_in(&mut self, conversation: ConversationId) -> Result<()> {
        if self.is_waiting_for(conversation)? {
            self.applied.joined.push(conversation);
        }
        Ok(self.tx.store_write(move |w| w.remove_join(conversation).map(drop))?)
    }

    /// What the user asked is void.
    pub(super) fn join_ended(&mut self, conversation: ConversationId) -> Result<()> {
        if self.is_waiting_for(conversation)? {
            self.applied.joins_ended.push(conversation);
        }
        Ok(self.tx.store_write(move |w| w.remove_join(conversation).map(drop))?)
    }

    /// Who came in or left since they asked, or took it back, is not let in for having asked then.
    pub(super) fn asking_is_over(
        &mut self,
        conversation: ConversationId,
        users: &BTreeSet<UserId>,
    ) -> Result<()> {
        self.applied.todo.strike_out_joins(conversation, |user| users.contains(&user));
        let mut stored = Todo::of(&self.tx)?;
        if stored.strike_out_joins(conversation, |user| users.contains(&user)) {
            stored.write(&mut self.tx)?;
        }
        Ok(())
    }

    fn is_waiting_for(&self, conversation: ConversationId) -> Result<bool> {
        let waiting = self.client.inner().store.read(|r| r.joins())?;
        Ok(waiting.iter().any(|join| join.conversation == conversation))
    }
}
