//! Who is typing, for those who are connected at the moment. Nothing of it is stored, and nobody is woken for it.

use std::{
    collections::HashMap,
    future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tertulia_api::typing::Typing;
use tertulia_domain::UserId;
use tokio::sync::broadcast::{self, error::RecvError};

/// Notices that wait for a socket; of more, it misses the oldest. The room for them is there as long as the socket is.
const WAITING: usize = 8;

/// The users who are connected.
#[derive(Clone, Default)]
pub(crate) struct TypingBoard(Arc<Mutex<HashMap<UserId, broadcast::Sender<Typing>>>>);

/// Hears of one user's conversations, from when it was made.
pub(crate) struct Listener {
    board: TypingBoard,
    user: UserId,
    receiver: Option<broadcast::Receiver<Typing>>,
}

impl TypingBoard {
    /// Tells those of the users who are connected.
    pub(crate) fn tell(&self, users: impl IntoIterator<Item = UserId>, notice: Typing) {
        let connected = self.lock();
        for user in users {
            if let Some(sender) = connected.get(&user) {
                let _ = sender.send(notice); // whoever has just gone misses it
            }
        }
    }

    /// Listens for this user from now on.
    pub(crate) fn listen(&self, user: UserId) -> Listener {
        let receiver = self.lock().entry(user).or_insert_with(|| broadcast::channel(WAITING).0).subscribe();
        Listener { board: self.clone(), user, receiver: Some(receiver) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, broadcast::Sender<Typing>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    /// The next notice. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Typing {
        while let Some(receiver) = &mut self.receiver {
            match receiver.recv().await {
                Ok(notice) => return notice,
                Err(RecvError::Lagged(_)) => {}
                // The sender stays on the board as long as there is a receiver.
                Err(RecvError::Closed) => break,
            }
        }
        future::pending().await
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut connected = self.board.lock();
        self.receiver = None;
        if connected.get(&self.user).is_some_and(|sender| sender.receiver_count() == 0) {
            connected.remove(&self.user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tertulia_api::typing::TypingStatus;
    use tertulia_domain::ConversationId;

    fn notice() -> Typing {
        Typing {
            conversation: ConversationId::random(),
            user: UserId::random(),
            status: TypingStatus::Started,
        }
    }

    #[tokio::test]
    async fn who_listens_hears_it_on_every_device_and_who_comes_later_does_not() {
        let (board, user) = (TypingBoard::default(), UserId::random());
        board.tell([user], notice());
        let (mut laptop, mut phone) = (board.listen(user), board.listen(user));
        let second = notice();
        board.tell([user, UserId::random()], second);
        assert_eq!((laptop.next().await, phone.next().await), (second, second));
    }

    #[tokio::test]
    async fn a_slow_listener_misses_the_oldest_and_holds_nobody_up() {
        let (board, user) = (TypingBoard::default(), UserId::random());
        let mut slow = board.listen(user);
        for _ in 0..10 * WAITING {
            board.tell([user], notice());
        }
        let last = notice();
        board.tell([user], last);
        let mut heard = 1;
        while slow.next().await != last {
            heard += 1;
        }
        assert_eq!(heard, WAITING);
    }

    #[tokio::test]
    async fn nothing_is_kept_of_users_who_are_not_connected() {
        let (board, user) = (TypingBoard::default(), UserId::random());
        let (first, second) = (board.listen(user), board.listen(user));
        drop(first);
        assert_eq!(board.lock().len(), 1);
        drop(second);
        assert_eq!(board.lock().len(), 0);
    }
}
