//! Wakes who waits for a user's next event. A wake-up carries nothing: the waiting side reads the log.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tertulia_domain::UserId;
use tokio::sync::watch;

/// The users whose devices wait.
#[derive(Clone, Default)]
pub(crate) struct Wake(Arc<Mutex<HashMap<UserId, watch::Sender<()>>>>);

/// Waits for one user's events. Notices every wake-up since it was made, so it is made **before** the log is read.
pub(crate) struct Subscription {
    wake: Wake,
    user: UserId,
    receiver: Option<watch::Receiver<()>>,
}

impl Wake {
    /// Wakes the waiting devices of these users.
    pub(crate) fn notify(&self, users: impl IntoIterator<Item = UserId>) {
        let waiting = self.lock();
        for user in users {
            if let Some(sender) = waiting.get(&user) {
                sender.send_replace(());
            }
        }
    }

    /// Waits for this user from now on.
    pub(crate) fn subscribe(&self, user: UserId) -> Subscription {
        let receiver = self.lock().entry(user).or_insert_with(|| watch::channel(()).0).subscribe();
        Subscription { wake: self.clone(), user, receiver: Some(receiver) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, watch::Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscription {
    /// Waits until there was a wake-up since the last call, or since the subscription was made.
    pub(crate) async fn changed(&mut self) {
        if let Some(receiver) = &mut self.receiver {
            // The sender stays in the map as long as there is a receiver.
            let _ = receiver.changed().await;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut waiting = self.wake.lock();
        self.receiver = None;
        if waiting.get(&self.user).is_some_and(|sender| sender.receiver_count() == 0) {
            waiting.remove(&self.user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wake_up_between_subscribing_and_waiting_is_noticed() {
        let (wake, user) = (Wake::default(), UserId::random());
        let mut subscription = wake.subscribe(user);
        wake.notify([user]);
        subscription.changed().await;
    }

    #[tokio::test]
    async fn nothing_is_kept_of_users_for_whom_nobody_waits() {
        let (wake, user) = (Wake::default(), UserId::random());
        let (first, second) = (wake.subscribe(user), wake.subscribe(user));
        drop(first);
        assert_eq!(wake.lock().len(), 1);
        drop(second);
        assert_eq!(wake.lock().len(), 0);
        wake.notify([user]);
    }
}
