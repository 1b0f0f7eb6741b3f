//! Wakes who waits for the next event. A wake-up carries nothing: the waiting side reads the log.
//!
//! What is said in a conversation wakes who follows the conversation, so that it costs what there are waiting devices, and
//! nothing for members who are not there. What a device follows is renewed whenever its user was woken: whoever comes into
//! a conversation or leaves one is.

use crate::relay::readers::Readers;
use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use tertulia_conversation::topic::ContentTopic;
use tertulia_domain::{ConversationId, UserId};
use tokio::sync::Notify;

/// What something has happened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Topic {
    /// A user's own events, sessions, and the conversations that the user is in.
    User(UserId),
    /// The log of a conversation.
    Conversation(ConversationId),
    /// What a relay keeps of a content topic.
    Content(ContentTopic),
}

/// The devices that wait, by what they wait for.
#[derive(Clone, Default)]
pub(crate) struct Wake(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<HashMap<Topic, HashMap<u64, Arc<Waiter>>>>,
    last: AtomicU64,
    readers: Readers,
}

#[derive(Default)]
struct Waiter {
    woken: Notify,
    /// Whether the user was, and so the conversations may be others.
    user: AtomicBool,
}

/// Waits for one device's events. Notices every wake-up since it was made, so it is made **before** the log is read.
pub(crate) struct Subscription {
    wake: Wake,
    number: u64,
    waiter: Arc<Waiter>,
    user: UserId,
    conversations: BTreeSet<ConversationId>,
}

impl Wake {
    /// Wakes the devices that wait for these.
    pub(crate) fn notify(&self, topics: impl IntoIterator<Item = Topic>) {
        let waiting = self.lock();
        for topic in topics {
            if let Topic::Content(topic) = topic {
                self.0.readers.wake(topic);
                continue;
            }
            for waiter in waiting.get(&topic).into_iter().flat_map(HashMap::values) {
                if matches!(topic, Topic::User(_)) {
                    waiter.user.store(true, Ordering::Relaxed); // ordered by the lock
                }
                waiter.woken.notify_one();
            }
        }
    }

    /// Who waits for envelopes of a relay.
    pub(crate) fn readers(&self) -> &Readers {
        &self.0.readers
    }

    /// Wakes all devices that wait, and who waits for envelopes.
    pub(crate) fn everybody(&self) {
        self.0.readers.wake_all();
        for (topic, waiters) in self.lock().iter() {
            // Each waits for its user, beside conversations.
            for waiter in waiters.values().filter(|_| matches!(topic, Topic::User(_))) {
                waiter.user.store(true, Ordering::Relaxed); // ordered by the lock
                waiter.woken.notify_one();
            }
        }
    }

    /// Whether a device follows this conversation.
    pub(crate) fn is_followed(&self, conversation: ConversationId) -> bool {
        self.lock().contains_key(&Topic::Conversation(conversation))
    }

    /// Waits for this user from now on, and for no conversation yet.
    pub(crate) fn subscribe(&self, user: UserId) -> Subscription {
        let number = self.0.last.fetch_add(1, Ordering::Relaxed);
        let waiter = Arc::new(Waiter::default());
        waiter.user.store(true, Ordering::Relaxed); // nothing is known of the conversations
        self.lock().entry(Topic::User(user)).or_default().insert(number, Arc::clone(&waiter));
        Subscription { wake: self.clone(), number, waiter, user, conversations: BTreeSet::new() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Topic, HashMap<u64, Arc<Waiter>>>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscription {
    /// Whether the user may be in other conversations than before, which are then to be [followed](Self::follow). Asked once
    /// for each time, **before** they are looked up.
    pub(crate) fn may_have_moved(&self) -> bool {
        let _ordered = self.wake.lock();
        self.waiter.user.swap(false, Ordering::Relaxed)
    }

    /// Waits for these conversations and no others. `true` if there is one that was not waited for before: something may
    /// have been said in it since it was looked up, so the log is to be read again.
    pub(crate) fn follow(&mut self, conversations: BTreeSet<ConversationId>) -> bool {
        let mut waiting = self.wake.lock();
        for &gone in self.conversations.difference(&conversations) {
            forget(&mut waiting, Topic::Conversation(gone), self.number);
        }
        let mut more = false;
        for &new in conversations.difference(&self.conversations) {
            let followers = waiting.entry(Topic::Conversation(new)).or_default();
            followers.insert(self.number, Arc::clone(&self.waiter));
            more = true;
        }
        drop(waiting);
        self.conversations = conversations;
        more
    }

    /// Waits until there was a wake-up since the last call, or since the subscription was made.
    pub(crate) async fn changed(&self) {
        self.waiter.woken.notified().await;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut waiting = self.wake.lock();
        for &conversation in &self.conversations {
            forget(&mut waiting, Topic::Conversation(conversation), self.number);
        }
        forget(&mut waiting, Topic::User(self.user), self.number);
    }
}

fn forget(waiting: &mut HashMap<Topic, HashMap<u64, Arc<Waiter>>>, topic: Topic, number: u64) {
    if let Some(waiters) = waiting.get_mut(&topic) {
        waiters.remove(&number);
        if waiters.is_empty() {
            waiting.remove(&topic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wake_up_between_subscribing_and_waiting_is_noticed() {
        let (wake, user) = (Wake::default(), UserId::random());
        let subscription = wake.subscribe(user);
        wake.notify([Topic::User(user)]);
        subscription.changed().await;
        assert!(subscription.may_have_moved());
        assert!(!subscription.may_have_moved(), "it is said once");
    }

    #[tokio::test]
    async fn what_is_said_in_a_conversation_wakes_who_follows_it_and_nobody_else() {
        let wake = Wake::default();
        let (followed, other) = (ConversationId::random(), ConversationId::random());
        let (mut follower, mut elsewhere) =
            (wake.subscribe(UserId::random()), wake.subscribe(UserId::random()));
        assert!(follower.follow([followed].into()));
        assert!(!follower.follow([followed].into()), "nothing that was not there before");
        assert!(elsewhere.follow([other].into()));
        assert!(follower.may_have_moved() && elsewhere.may_have_moved());
        wake.notify([Topic::Conversation(followed)]);
        follower.changed().await;
        assert!(!follower.may_have_moved());
        assert!(futures::poll!(Box::pin(elsewhere.changed())).is_pending());

        // Who has left it is not woken any more.
        assert!(!follower.follow(BTreeSet::new()));
        wake.notify([Topic::Conversation(followed)]);
        assert!(futures::poll!(Box::pin(follower.changed())).is_pending());
    }

    #[tokio::test]
    async fn everybody_is_woken_and_looks_what_to_follow() {
        let wake = Wake::default();
        let (mut follower, other) = (wake.subscribe(UserId::random()), wake.subscribe(UserId::random()));
        let conversation = ConversationId::random();
        assert!(!wake.is_followed(conversation));
        follower.follow([conversation].into());
        assert!(wake.is_followed(conversation));
        assert!(follower.may_have_moved() && other.may_have_moved());
        wake.everybody();
        follower.changed().await;
        other.changed().await;
        assert!(follower.may_have_moved() && other.may_have_moved());
    }

    #[tokio::test]
    async fn nothing_is_kept_of_those_for_whom_nobody_waits() {
        let (wake, user) = (Wake::default(), UserId::random());
        let (mut first, second) = (wake.subscribe(user), wake.subscribe(user));
        first.follow([ConversationId::random()].into());
        drop(first);
        assert_eq!(wake.lock().len(), 1);
        drop(second);
        assert_eq!(wake.lock().len(), 0);
        wake.notify([Topic::User(user)]);
    }
}
