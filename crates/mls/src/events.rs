//! Who wants to know what happened, and when they are told.
//!
//! What happens in a transaction is noted in it, and handed over to the session when it is on disk. From there it is
//! delivered without any lock held, one event after the other, by whoever comes first: `finish`, the next
//! `new_transaction`, or `deliver_events`. An observer may so begin a transaction of its own; what comes of it is
//! delivered after what is being delivered.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;

use crate::{ConversationId, HistoryObserver, HistorySecret, Session};

/// Wants to know when a conversation has come into another epoch.
#[async_trait]
pub trait EpochObserver: Send + Sync {
    /// The conversation is in this epoch now, and that is on disk. It may be further already.
    ///
    /// It is called after a commit was received, after an own one was accepted, and after joining by Welcome or by
    /// external commit. A conversation that this device was removed from is in no epoch.
    async fn epoch_changed(&self, conversation_id: ConversationId, epoch: u64);
}

/// Something that happened and is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    EpochChanged { conversation: ConversationId, epoch: u64 },
    HistoryClientCreated { conversation: ConversationId, secret: HistorySecret },
}

/// Somebody who wants to know.
#[derive(Clone)]
pub(crate) enum Observer {
    Epoch(Arc<dyn EpochObserver>),
    History(Arc<dyn HistoryObserver>),
}

impl Observer {
    async fn tell(&self, event: Event) {
        match (self, event) {
            (Self::Epoch(observer), Event::EpochChanged { conversation, epoch }) => {
                observer.epoch_changed(conversation, epoch).await;
            }
            (Self::History(observer), Event::HistoryClientCreated { conversation, secret }) => {
                observer.history_client_created(conversation, secret).await;
            }
            // Not what this one asked for.
            (Self::Epoch(_), Event::HistoryClientCreated { .. })
            | (Self::History(_), Event::EpochChanged { .. }) => {}
        }
    }
}

/// The observers of a session, and what they have not been told yet.
#[derive(Default)]
pub(crate) struct Events {
    state: Mutex<State>,
    is_delivering: AtomicBool,
}

#[derive(Default)]
struct State {
    observers: Vec<Observer>,
    queue: VecDeque<Event>,
    /// How many of the observers have been told of the first event in the queue.
    told: usize,
}

impl Events {
    pub(crate) fn register(&self, observer: Observer) {
        self.state().observers.push(observer);
    }

    /// Takes in what is on disk now.
    pub(crate) fn push(&self, events: impl IntoIterator<Item = Event>) {
        let mut state = self.state();
        if !state.observers.is_empty() {
            state.queue.extend(events);
        }
    }

    /// Tells the observers everything, unless somebody is at it already.
    ///
    /// When the future is dropped, the next one goes on with the observer after the one that was being told.
    pub(crate) async fn deliver(&self) {
        while self.is_waiting() {
            let Some(_turn) = Turn::take(&self.is_delivering) else { return };
            while let Some((observer, event)) = self.next() {
                observer.tell(event).await;
            }
            // What is pushed before the turn is over is seen by the outer loop.
        }
    }

    fn is_waiting(&self) -> bool {
        !self.state().queue.is_empty()
    }

    /// Who is to be told of what next.
    fn next(&self) -> Option<(Observer, Event)> {
        let mut state = self.state();
        loop {
            let event = state.queue.front()?.clone();
            if let Some(observer) = state.observers.get(state.told).cloned() {
                state.told += 1;
                return Some((observer, event));
            }
            state.queue.pop_front();
            state.told = 0;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs while the lock is held half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The turn to deliver, until it is dropped.
struct Turn<'a>(&'a AtomicBool);

impl<'a> Turn<'a> {
    fn take(is_taken: &'a AtomicBool) -> Option<Self> {
        (!is_taken.swap(true, Ordering::AcqRel)).then(|| Self(is_taken))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("waiting", &self.state().queue.len()).finish_non_exhaustive()
    }
}

impl Session {
    /// Tells `observer` of every change of an epoch that is written from now on, through this session or its clones.
    ///
    /// Observers are called one after the other, in the order of their registration, after
    /// [`finish`](crate::TransactionContext::finish) has written and has let the next writer in. They may use the
    /// session, also for transactions. What another session on the same store writes they are not told.
    pub fn register_epoch_observer(&self, observer: Arc<dyn EpochObserver>) {
        self.events().register(Observer::Epoch(observer));
    }

    /// Tells the observers what they do not know yet.
    ///
    /// That is the case after a transaction that sent a commit, which is written at once, and was not finished then. The
    /// next [`new_transaction`](Self::new_transaction) does it too.
    pub async fn deliver_events(&self) {
        self.events().deliver().await;
    }
}
