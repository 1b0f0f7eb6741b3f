//! Telling the application about new secrets, once they are on disk.

use std::sync::Arc;

use async_trait::async_trait;

use super::HistorySecret;
use crate::{ConversationId, Session, events::Observer};

/// Is told about new secrets of history, like an [`EpochObserver`](crate::EpochObserver) about epochs: when they are on disk,
/// in order, with no lock held.
#[async_trait]
pub trait HistoryObserver: Send + Sync {
    /// A history client is in the conversation whose secret this device now holds: made here, or received.
    async fn history_client_created(&self, conversation_id: ConversationId, secret: HistorySecret);
}

impl Session {
    /// Has `observer` told of every secret of history that this session makes or receives from now on. It counts for all
    /// clones of the session, and not for other sessions on the same store.
    pub fn register_history_observer(&self, observer: Arc<dyn HistoryObserver>) {
        self.events().register(Observer::History(observer));
    }
}
