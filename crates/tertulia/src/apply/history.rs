//! What events say about shared history.

use super::Page;
use crate::{
    Result,
    client::now,
    todo::{Sharing, Todo},
};
use tertulia_api::{event::LogEntry, setting::Setting};
use tertulia_domain::{ConversationId, DeviceAddress, History};
use tertulia_mls::{EngineError, MlsConversationDecryptMessage, Outcome};

impl Page<'_> {
    /// Somebody has set something. Of what is shared: from which epoch on, if that begins with it.
    pub(super) async fn note_setting(&mut self, entry: &LogEntry, setting: Setting) -> Result<Option<u64>> {
        let (Setting::History(_), conversation) = (setting, entry.conversation) else { return Ok(None) };
        // If it is more than before, there is more to be read.
        self.applied.todo.replay.insert(conversation);
        if entry.sender != Some(self.client.own_device()) {
            // What this device was told, and has not done to the end, is over.
            self.applied.todo.sharing.remove(&conversation);
            let mut stored = Todo::of(&self.tx)?;
            if stored.sharing.remove(&conversation).is_some() {
                stored.write(&mut self.tx)?;
            }
        }
        let group = self.group_of(conversation)?;
        if !self.tx.conversation_exists(&group)? {
            return Ok(None);
        }
        // The commit that adds the history client comes after it.
        Ok(Some(self.tx.conversation(&group).await?.epoch()? + 1))
    }

    /// A Welcome has brought this device into a group, and with its commit may come what opens shared history.
    pub(super) fn came(&mut self, conversation: ConversationId, epoch: u64, came_at: i64) -> Result<()> {
        self.applied.todo.replay.insert(conversation);
        Ok(self.tx.store_write(move |w| {
            w.set_since_epoch(conversation, epoch)?;
            w.set_came_at(conversation, came_at)
        })?)
    }

    /// Who joins by themselves is given what opens shared history by the other devices of the same user; by the first device of the
    /// group if there are none.
    pub(super) async fn note_who_lacks_history(
        &mut self,
        conversation: ConversationId,
        done: &MlsConversationDecryptMessage,
    ) -> Result<()> {
        let settings = self.client.inner().store.read(|r| r.conversation_settings(conversation))?;
        if done.outcome != Outcome::Commit || !done.external_join || !settings.history.is_shared() {
            return Ok(());
        }
        let group = self.group_of(conversation)?;
        if !self.tx.conversation_exists(&group)? {
            return Ok(());
        }
        let user_of = |id: &tertulia_mls::ClientId| DeviceAddress::from_identity(id.as_bytes()).ok();
        // One that comes back counts as neither added nor removed.
        let Some(joiner) = done.identity.as_ref().and_then(|joiner| user_of(&joiner.client_id)) else {
            return Ok(());
        };
        let members = self.tx.conversation(&group).await?.client_ids()?;
        let others: Vec<DeviceAddress> =
            members.iter().filter_map(user_of).filter(|device| *device != joiner).collect();
        let own = self.client.own_address();
        let has_others = others.iter().any(|device| device.user == joiner.user);
        let is_due = if has_others { own.user == joiner.user } else { others.first() == Some(&own) };
        if is_due {
            self.applied.todo.share.insert(conversation);
        }
        Ok(())
    }

    /// Where history of a certain age is shared, a device must know how old its epochs are.
    pub(super) fn note_epoch(&mut self, entry: &LogEntry, epoch: u64) -> Result<()> {
        let (conversation, began_at) = (entry.conversation, entry.sent_at);
        let settings = self.client.inner().store.read(|r| r.conversation_settings(conversation))?;
        let (History::Depth(_), Some(reach)) = (settings.history, settings.history.reach(now())) else {
            return Ok(());
        };
        Ok(self.tx.store_write(move |w| w.note_epoch(conversation, epoch, began_at, reach))?)
    }

    /// Whether history is shared in the group as this device has it: what the hub says of it does not count.
    pub(super) async fn shares_history(&mut self, conversation: ConversationId) -> Result<bool> {
        let group = self.group_of(conversation)?;
        match self.tx.conversation(&group).await.and_then(|mut guard| guard.is_history_enabled()) {
            Err(EngineError::Store(error)) => Err(error.into()),
            shared => Ok(shared.unwrap_or_default()),
        }
    }

    /// A group that this device begins anew shares history if the one before did.
    pub(super) fn share_again(&mut self, conversation: ConversationId, shared: bool) -> Result<()> {
        let history = self.client.inner().store.read(|r| r.conversation_settings(conversation))?.history;
        if shared && history.is_shared() {
            self.applied.todo.sharing.insert(conversation, Sharing { history, rotate: false });
        }
        Ok(())
    }
}
