//! How a change is made anew while other devices change the group too.

use crate::{Client, Error, Result, SyncReport};
use backon::{BackoffBuilder as _, ExponentialBuilder};
use std::time::Duration;
use tertulia_domain::ConversationId;

/// How often a change is made anew after another device's commit came first.
pub(super) const ATTEMPTS: usize = 20;
/// How often it is made anew after the hub found it unfit for the group as it is.
const MISFITS: usize = 3;

/// The pauses between attempts: short at first, with jitter, so that devices that were in each other's way part.
pub(super) struct Retries {
    conversation: ConversationId,
    delays: backon::ExponentialBackoff,
    misfits: usize,
}

impl Retries {
    pub(super) fn new(conversation: ConversationId) -> Self {
        let delays = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(10))
            .with_max_delay(Duration::from_secs(2))
            .with_max_times(ATTEMPTS)
            .with_jitter()
            .build();
        Self { conversation, delays, misfits: 0 }
    }

    /// Counts a change that the hub found unfit; after some it is the caller's to know.
    pub(super) fn misfit(&mut self, misfit: Error) -> Result<()> {
        self.misfits += 1;
        if self.misfits < MISFITS { Ok(()) } else { Err(misfit) }
    }

    /// Pauses, and catches up with what the others did.
    pub(super) async fn next(&mut self, client: &Client) -> Result<()> {
        let delay = self.delays.next().ok_or(Error::Contended { attempts: ATTEMPTS })?;
        tracing::debug!(conversation = %self.conversation.short(), ?delay, "another device was first, trying again");
        tokio::time::sleep(delay).await;
        if client.inner().session.pending_commit(&client.group_of(self.conversation)?)?.is_some() {
            return client.settle(self.conversation, &mut SyncReport::default()).await;
        }
        client.catch_up_with(self.conversation).await
    }
}
