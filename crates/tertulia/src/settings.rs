//! What is set for all members of a conversation.

use crate::{
    Client, Conversation, Result,
    groups::{Change, PolicyChange},
};
use std::time::Duration;
use tertulia_api::setting::Setting;
use tertulia_domain::{ConversationId, MessageTimer, ReceiptMode};

impl Client {
    /// Sets how long messages stay in a group once they were read, for those that are sent from now on: a second to 365 days, or
    /// for good. Each message says for itself when it is to be deleted; it is a request to the clients of the others.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidTimer`](crate::Error::InvalidTimer), [`Error::NotAGroup`](crate::Error::NotAGroup), and what the hub
    /// refuses: `action-denied`.
    pub async fn set_message_timer(
        &self,
        id: ConversationId,
        timer: Option<Duration>,
    ) -> Result<Conversation> {
        let millis = |timer: Duration| u64::try_from(timer.as_millis()).unwrap_or(u64::MAX);
        let timer = timer.map(|timer| MessageTimer::try_from(millis(timer))).transpose()?;
        self.set(id, Setting::MessageTimer(timer)).await
    }

    /// Sets whether the members of a group tell each other what they have read.
    ///
    /// Without an account it stands in the group's signed context, and who may set it is checked by all members. Of two people without an account each says for
    /// themselves whether the other is told what they have read; the other does not learn what was set.
    ///
    /// # Errors
    ///
    /// [`Error::NotAGroup`](crate::Error::NotAGroup) for two people at a hub, [`Error::NotAllowed`](crate::Error::NotAllowed), and what the hub refuses:
    /// `action-denied`.
    pub async fn set_receipt_mode(&self, id: ConversationId, mode: ReceiptMode) -> Result<Conversation> {
        if self.is_private(id)? {
            let mut tx = self.inner().session.new_transaction().await?;
            tx.store_write(move |w| w.set_receipt_mode(id, mode))?;
            tx.finish().await?;
            return self.conversation(id).await;
        }
        if self.is_enveloped(id)? {
            self.check_group(id)?;
            let policy = Some(PolicyChange::ReceiptMode(mode));
            self.change(id, &Change { policy, ..Change::default() }).await?;
            return self.caught_up(id).await;
        }
        self.set(id, Setting::ReceiptMode(mode)).await
    }

    pub(crate) async fn set(&self, id: ConversationId, setting: Setting) -> Result<Conversation> {
        self.check_group(id)?;
        self.hub()?.set(id, setting).await?;
        self.caught_up(id).await
    }
}
