//! What looks as if the hub did not do as it should, noticed while events are written down.

use super::Page;
use crate::{Result, Suspicion, suspicion::note};
use std::collections::BTreeSet;
use tertulia_domain::{ConversationId, DeviceAddress, UserId};
use tertulia_mls::{ClientId, MlsConversationDecryptMessage};

impl Page<'_> {
    /// Writes down what looks as if the hub did not do as it should.
    pub(super) fn suspect(&mut self, conversation: ConversationId, suspicion: Suspicion) -> Result<()> {
        tracing::warn!(conversation = %conversation.short(), %suspicion, "noticed");
        self.applied.suspicious += 1;
        Ok(self.tx.store_write(move |w| note(w, conversation, &suspicion))?)
    }

    /// From now on this device keeps out of the group as the hub has it.
    pub(super) fn distrust(&mut self, conversation: ConversationId) -> Result<()> {
        self.distrusted.insert(conversation);
        Ok(self.tx.store_write(move |w| w.set_distrusted(conversation, true))?)
    }

    pub(super) fn is_distrusted(&self, conversation: ConversationId) -> Result<bool> {
        let row = self.client.inner().store.read(|r| r.conversation(conversation))?;
        Ok(self.distrusted.contains(&conversation) || row.is_some_and(|row| row.distrusted))
    }

    /// Devices of those who were in the group already. Only the hub says that they are theirs.
    pub(super) async fn note_further_devices(
        &mut self,
        conversation: ConversationId,
        done: &MlsConversationDecryptMessage,
    ) -> Result<()> {
        if done.added.is_empty() || !self.in_group(conversation)? {
            return Ok(());
        }
        let group = self.group_of(conversation)?;
        let members = self.tx.conversation(&group).await?.client_ids()?;
        let added: BTreeSet<&ClientId> = done.added.iter().collect();
        let stayed = members.iter().filter(|client| !added.contains(client));
        let before: BTreeSet<UserId> = stayed
            .chain(&done.removed)
            .filter_map(|client| DeviceAddress::from_identity(client.as_bytes()).ok())
            .map(|address| address.user)
            .collect();
        let own = self.client.own_address();
        for client in done.added.iter().filter(|client| !done.removed.contains(client)) {
            if let Ok(DeviceAddress { user, device, .. }) = DeviceAddress::from_identity(client.as_bytes())
                && before.contains(&user)
                && (user, device) != (own.user, own.device)
            {
                self.suspect(conversation, Suspicion::NewDevice { user, device })?;
            }
        }
        Ok(())
    }

    /// Whether an old commit is delivered as one that came after this device joined.
    pub(super) async fn is_replayed(&mut self, conversation: ConversationId, epoch: u64) -> Result<bool> {
        let group = self.group_of(conversation)?;
        let row = self.client.inner().store.read(|r| r.conversation(conversation))?;
        let since = row.map_or(0, |row| row.since_epoch);
        if !self.tx.conversation_exists(&group)? || epoch <= since {
            return Ok(false);
        }
        // One that this device has applied is delivered again when an acknowledgement was lost.
        Ok(epoch > self.tx.conversation(&group).await?.epoch()?)
    }
}
