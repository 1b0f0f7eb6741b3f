//! What looks as if the hub did not do as it should, noticed while events are written down.

use super::Page;
use crate::{
    Result, Suspicion,
    suspicion::{further_devices, note, was_noticed},
};
use tertulia_api::policy::decode;
use tertulia_domain::{ConversationId, DeviceAddress};
use tertulia_mls::{MlsConversationDecryptMessage, Outcome};

impl Page<'_> {
    /// Writes down what looks as if the hub did not do as it should.
    pub(super) fn suspect(&mut self, conversation: ConversationId, suspicion: Suspicion) -> Result<()> {
        tracing::warn!(conversation = %conversation.short(), %suspicion, "noticed");
        self.applied.suspicious += 1;
        self.noticed.push((conversation, suspicion.clone()));
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

    /// Devices of those who were in the group already.
    pub(super) async fn note_further_devices(
        &mut self,
        conversation: ConversationId,
        done: &MlsConversationDecryptMessage,
    ) -> Result<()> {
        let group = self.group_of(conversation)?;
        let own = self.client.own_address();
        let further = further_devices(&mut self.tx, &group, (&done.added, &done.removed), &own).await?;
        further.into_iter().try_for_each(|suspicion| self.suspect(conversation, suspicion))
    }

    /// A device of which only the hub says whose it is has made a commit, which gave the group this policy.
    pub(super) fn note_change_by_new_device(
        &mut self,
        conversation: ConversationId,
        done: &MlsConversationDecryptMessage,
        (last, policy): (Option<&[u8]>, Option<&[u8]>),
    ) -> Result<()> {
        let by = done.identity.as_ref().and_then(|identity| identity.address.as_ref());
        let Some(&DeviceAddress { user, device, .. }) = by.filter(|_| done.outcome == Outcome::Commit) else {
            return Ok(());
        };
        let [last, policy] = [last, policy].map(|policy| decode(Some(policy?)).ok());
        // That the hub has somebody removed is not the device's doing.
        let (Some(last), Some(policy)) = (last, policy) else { return Ok(()) };
        if policy.unseen_since(&last, None).is_empty() {
            return Ok(());
        }
        let told = Suspicion::ChangedByNewDevice { user, device };
        if self.was_noticed(conversation, &Suspicion::NewDevice { user, device })?
            && !self.was_noticed(conversation, &told)?
        {
            self.suspect(conversation, told)?;
        }
        Ok(())
    }

    fn was_noticed(&self, conversation: ConversationId, suspicion: &Suspicion) -> Result<bool> {
        let in_page = self.noticed.iter().any(|(id, noticed)| *id == conversation && noticed == suspicion);
        let store = &self.client.inner().store;
        Ok(in_page || store.read(|r| was_noticed(r, conversation, suspicion))?)
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
