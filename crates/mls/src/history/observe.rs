//! Telling the application about new secrets, once they are on disk.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::HistorySecret;
use crate::{ConversationId, Session};

/// Is told about new secrets of history.
///
/// It is called when the transaction in which the secret was made or received is over, and the secret on disk. The store's
/// lock is free then: it may call back into the session.
pub trait HistoryObserver: Send + Sync {
    /// A history client is in the conversation whose secret this device now holds: made here, or received.
    fn history_client_created(&self, conversation: &ConversationId, secret: &HistorySecret);
}

/// A secret that observers are to hear of.
pub(crate) type HistoryNews = (ConversationId, HistorySecret);

/// Who listens in a session, and what is on disk and not told yet.
#[derive(Default)]
pub(crate) struct HistoryObservers {
    observers: Mutex<Vec<Arc<dyn HistoryObserver>>>,
    untold: Mutex<VecDeque<HistoryNews>>,
}

impl HistoryObservers {
    /// These secrets are on disk now.
    pub(crate) fn queue(&self, news: Vec<HistoryNews>) {
        lock(&self.untold).extend(news);
    }

    /// Tells all that is on disk, in order. Nothing is locked while an observer is called.
    pub(crate) fn deliver(&self) {
        loop {
            let next = lock(&self.untold).pop_front();
            let Some((conversation, secret)) = next else { return };
            let observers = lock(&self.observers).clone();
            for observer in observers {
                observer.history_client_created(&conversation, &secret);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that can panic runs while they are held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session {
    /// Has `observer` told of every secret of history that this session makes or receives from now on. It counts for all
    /// clones of the session, and not for other sessions on the same store.
    pub fn register_history_observer(&self, observer: Arc<dyn HistoryObserver>) {
        lock(&self.history_observers().observers).push(observer);
    }
}
