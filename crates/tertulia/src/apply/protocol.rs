//! How a conversation's messages are encrypted, as the hub says from some point on.

use super::Page;
use crate::{Result, Suspicion};
use tertulia_domain::{ConversationId, Protocol};

impl Page<'_> {
    /// It goes from pairwise over mixed to MLS and never back. Only in a 1:1 of which nothing is known yet, somebody may have chosen
    /// where it begins.
    pub(super) async fn protocol(&mut self, conversation: ConversationId, protocol: Protocol) -> Result<()> {
        let row = self.client.inner().store.read(|r| r.conversation(conversation))?;
        // Of a conversation that is not here yet, what was fetched is at least as new.
        let turns_back = row.as_ref().is_some_and(|row| protocol < row.record.protocol);
        if !turns_back {
            return Ok(self.tx.store_write(move |w| w.advance_protocol(conversation, protocol).map(drop))?);
        }
        let is_only_begun = !self.in_group(conversation)? || self.is_only_begun(conversation).await?;
        if !is_only_begun || row.is_none_or(|row| !row.is_open()) {
            return self.suspect(conversation, Suspicion::TurnedBack { protocol });
        }
        // A group that this device has begun came too late.
        self.wipe(conversation)?;
        Ok(self.tx.store_write(move |w| {
            w.choose_protocol(conversation, protocol)?;
            w.advance_protocol(conversation, protocol).map(drop)
        })?)
    }
}
