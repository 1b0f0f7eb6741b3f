//! What carries envelopes: one trait for relays, for peers, and for the memory of a test.
//!
//! A carrier takes an envelope for a content topic and gives to whoever asks what was left there. It knows neither people nor
//! conversations. What it gives may come twice, late, in another order, or not at all, and may be anybody's: who fetches recognises what is
//! theirs by its hint, and finds each envelope in the table once.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use tertulia_conversation::topic::ContentTopic;

use crate::{Cursor, Page, Position, Relay, TransportError};

/// Carries envelopes.
///
/// Implemented by [`Relay`], by [`Memory`](crate::Memory), and by whatever an application brings along.
#[async_trait]
pub trait Delivery: fmt::Debug + Send + Sync {
    /// The name of the carrier, under which cursors are kept. The same for as long as its positions mean the same; of a relay its address.
    fn id(&self) -> &str;

    /// Whether all who fetch see the envelopes of a topic in one order, that of their positions. Where it does not, nobody but the conversations'
    /// own rules decides between commits that compete.
    fn is_ordered(&self) -> bool;

    /// For how long it keeps what it takes, if it says that. A topic that has much may be kept for a shorter time.
    ///
    /// # Errors
    ///
    /// [`TransportError::Unreachable`] and what else keeps it from saying so: try again.
    async fn retention(&self) -> Result<Option<Duration>, TransportError> {
        Ok(None)
    }

    /// Leaves an envelope in a topic, and says where it stands. Repeating it with the same bytes does no harm: it stands there once, where an ordered carrier
    /// is concerned, and the position is the same.
    ///
    /// # Errors
    ///
    /// [`TransportError::Unreachable`] and whatever else leaves it open ([`TransportError::outcome_unknown`]): try again with the same bytes.
    /// [`TransportError::Refused`] when the carrier does not take it.
    async fn publish(&self, topic: &ContentTopic, envelope: &[u8]) -> Result<Position, TransportError>;

    /// What was left in a topic after the cursor, or from the first that is still kept, at most `limit` envelopes. The carrier may give fewer, and says whether
    /// there are more.
    ///
    /// # Errors
    ///
    /// Those of [`publish`](Self::publish).
    async fn fetch(
        &self,
        topic: &ContentTopic,
        after: Option<&Cursor>,
        limit: u32,
    ) -> Result<Page, TransportError>;

    /// Waits until something is in one of the topics after its cursor, for so long at most, and gives it; nothing if the time has passed, or sooner.
    ///
    /// # Errors
    ///
    /// Those of [`publish`](Self::publish).
    async fn wait(
        &self,
        topics: &[(ContentTopic, Option<Cursor>)],
        at_most: Duration,
    ) -> Result<Vec<(ContentTopic, Page)>, TransportError>;
}

#[async_trait]
impl Delivery for Relay {
    fn id(&self) -> &str {
        self.address().as_str()
    }

    fn is_ordered(&self) -> bool {
        true
    }

    async fn retention(&self) -> Result<Option<Duration>, TransportError> {
        Self::retention(self).await.map(Some)
    }

    async fn publish(&self, topic: &ContentTopic, envelope: &[u8]) -> Result<Position, TransportError> {
        self.post(topic, envelope).await
    }

    async fn fetch(
        &self,
        topic: &ContentTopic,
        after: Option<&Cursor>,
        limit: u32,
    ) -> Result<Page, TransportError> {
        self.page(topic, after.cloned(), limit).await
    }

    async fn wait(
        &self,
        topics: &[(ContentTopic, Option<Cursor>)],
        at_most: Duration,
    ) -> Result<Vec<(ContentTopic, Page)>, TransportError> {
        Self::wait(self, topics, at_most).await
    }
}
