//! Carriers that stand between a home and the memory network, and change what goes through them.

use std::{ops::Deref, time::Duration};
use tertulia::Delivery;
use tertulia_conversation::topic::ContentTopic;
use tertulia_transport::{Cursor, Memory, Page, Position, TransportError};

/// What a carrier in between does. What it does not do otherwise goes to the network and back as it is.
#[async_trait::async_trait]
pub(crate) trait Between: std::fmt::Debug + Send + Sync {
    /// The way to the network.
    fn inner(&self) -> &Memory;

    async fn retention(&self) -> Result<Option<Duration>, TransportError> {
        self.inner().retention().await
    }

    async fn publish(&self, topic: &ContentTopic, envelope: &[u8]) -> Result<Position, TransportError> {
        self.inner().publish(topic, envelope).await
    }

    async fn fetch(
        &self,
        topic: &ContentTopic,
        after: Option<&Cursor>,
        limit: u32,
    ) -> Result<Page, TransportError> {
        self.inner().fetch(topic, after, limit).await
    }

    async fn wait(
        &self,
        topics: &[(ContentTopic, Option<Cursor>)],
        at_most: Duration,
    ) -> Result<Vec<(ContentTopic, Page)>, TransportError> {
        self.inner().wait(topics, at_most).await
    }
}

/// A carrier of which a test says what it does [in between](Between).
#[derive(Debug)]
pub(crate) struct Carrier<T>(pub(crate) T);

impl<T> Deref for Carrier<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

#[async_trait::async_trait]
impl<T: Between> Delivery for Carrier<T> {
    fn id(&self) -> &str {
        self.0.inner().id()
    }

    fn is_ordered(&self) -> bool {
        self.0.inner().is_ordered()
    }

    async fn retention(&self) -> Result<Option<Duration>, TransportError> {
        self.0.retention().await
    }

    async fn publish(&self, topic: &ContentTopic, envelope: &[u8]) -> Result<Position, TransportError> {
        self.0.publish(topic, envelope).await
    }

    async fn fetch(
        &self,
        topic: &ContentTopic,
        after: Option<&Cursor>,
        limit: u32,
    ) -> Result<Page, TransportError> {
        self.0.fetch(topic, after, limit).await
    }

    async fn wait(
        &self,
        topics: &[(ContentTopic, Option<Cursor>)],
        at_most: Duration,
    ) -> Result<Vec<(ContentTopic, Page)>, TransportError> {
        self.0.wait(topics, at_most).await
    }
}
