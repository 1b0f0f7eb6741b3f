//! Wakes who waits for envelopes. A wake-up says which topics to look into, and nothing of what is there.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tertulia_conversation::topic::ContentTopic;
use tokio::sync::Notify;

/// Who waits, by the topics.
#[derive(Clone, Default)]
pub(crate) struct Readers(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    last: u64,
    by_topic: BTreeMap<ContentTopic, HashMap<u64, Arc<Waiter>>>,
}

#[derive(Default)]
struct Waiter {
    moved: Mutex<BTreeSet<ContentTopic>>,
    woken: Notify,
}

impl Waiter {
    fn moved(&self) -> MutexGuard<'_, BTreeSet<ContentTopic>> {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, topic: ContentTopic) {
        self.moved().insert(topic);
        self.woken.notify_one();
    }
}

/// Waits for envelopes in some topics. Notices every wake-up since it was made, so it is made **before** anything is read.
pub(crate) struct Reading {
    readers: Readers,
    number: u64,
    waiter: Arc<Waiter>,
    topics: Vec<ContentTopic>,
}

impl Readers {
    /// Wakes who waits for this topic.
    pub(crate) fn wake(&self, topic: ContentTopic) {
        for waiter in self.lock().by_topic.get(&topic).into_iter().flat_map(HashMap::values) {
            waiter.wake(topic);
        }
    }

    /// Wakes everybody, for all topics.
    pub(crate) fn wake_all(&self) {
        for (topic, waiters) in &self.lock().by_topic {
            for waiter in waiters.values() {
                waiter.wake(*topic);
            }
        }
    }

    /// Waits for these topics from now on.
    pub(crate) fn read(&self, topics: Vec<ContentTopic>) -> Reading {
        let waiter = Arc::new(Waiter::default());
        let mut waiting = self.lock();
        waiting.last += 1;
        let number = waiting.last;
        for topic in &topics {
            waiting.by_topic.entry(*topic).or_default().insert(number, Arc::clone(&waiter));
        }
        drop(waiting);
        Reading { readers: self.clone(), number, waiter, topics }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reading {
    /// The topics in which there was something since the last call, or since this was made; waits for one. Safe to cancel.
    pub(crate) async fn moved(&self) -> BTreeSet<ContentTopic> {
        loop {
            let moved = mem::take(&mut *self.waiter.moved());
            if !moved.is_empty() {
                return moved;
            }
            self.waiter.woken.notified().await;
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut waiting = self.readers.lock();
        for topic in &self.topics {
            if let Some(waiters) = waiting.by_topic.get_mut(topic) {
                waiters.remove(&self.number);
                if waiters.is_empty() {
                    waiting.by_topic.remove(topic);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn topic(number: u16) -> ContentTopic {
        ContentTopic::from_number(number).unwrap()
    }

    #[tokio::test]
    async fn who_reads_a_topic_hears_of_it_and_of_no_other() {
        let readers = Readers::default();
        let (both, one) = (readers.read(vec![topic(1), topic(2)]), readers.read(vec![topic(1)]));
        readers.wake(topic(2));
        readers.wake(topic(2));
        readers.wake(topic(3));
        assert_eq!(both.moved().await, [topic(2)].into());
        assert!(futures::poll!(Box::pin(both.moved())).is_pending(), "it is said once");
        assert!(futures::poll!(Box::pin(one.moved())).is_pending());
        readers.wake_all();
        assert_eq!(both.moved().await, [topic(1), topic(2)].into());
        assert_eq!(one.moved().await, [topic(1)].into());
    }

    #[tokio::test]
    async fn nothing_is_kept_of_who_has_gone() {
        let readers = Readers::default();
        let (first, second) = (readers.read(vec![topic(1)]), readers.read(vec![topic(1), topic(2)]));
        drop(second);
        assert_eq!(readers.lock().by_topic.keys().copied().collect::<Vec<_>>(), [topic(1)]);
        drop(first);
        assert!(readers.lock().by_topic.is_empty());
        readers.wake(topic(1));
    }
}
