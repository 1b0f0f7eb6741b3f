//! Who wants to know of new epochs, and when they are told.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use common::{Device, Fault, Hub, client_id, conversation, two};
use tertulia_mls::{CommitOptions, ConversationId, EpochObserver, Session};
use tokio::sync::Notify;

/// Writes down what it is told, and in which epoch the conversation was on disk then.
struct Diary {
    session: Session,
    entries: Mutex<Vec<(u64, u64)>>,
}

impl Diary {
    fn of(device: &Device) -> Arc<Self> {
        let diary = Arc::new(Self { session: device.session.clone(), entries: Mutex::default() });
        device.session.register_epoch_observer(diary.clone());
        diary
    }

    fn take(&self) -> Vec<(u64, u64)> {
        std::mem::take(&mut self.entries.lock().unwrap())
    }
}

#[async_trait]
impl EpochObserver for Diary {
    async fn epoch_changed(&self, id: ConversationId, epoch: u64) {
        let on_disk = self.session.conversation(&id).unwrap().epoch();
        // A transaction can be had: no lock is held.
        self.session.new_transaction().await.unwrap().abort();
        self.entries.lock().unwrap().push((epoch, on_disk));
    }
}

#[tokio::test]
async fn observers_are_told_of_each_epoch_once_it_is_on_disk() {
    let (hub, mut alice, bob, id) = two().await;
    let diary = Diary::of(&bob);
    let begin = hub.log_len(&id);
    for _ in 0..3 {
        alice.update(&id).await.unwrap();
    }
    let mut tx = bob.session.new_transaction().await.unwrap();
    for place in [begin + 1, begin] {
        let commit = hub.log_entry(&id, place).unwrap();
        tx.conversation(&id).await.unwrap().decrypt_message(commit).unwrap();
    }
    assert_eq!(diary.take(), [], "not before finish");
    tx.finish().await.unwrap();
    assert_eq!(diary.take(), [(2, 3), (3, 3)], "in order, the buffered one too");

    let mut tx = bob.session.new_transaction().await.unwrap();
    tx.conversation(&id).await.unwrap().decrypt_message(alice.newest(&id)).unwrap();
    tx.abort();
    bob.session.deliver_events().await;
    assert_eq!(diary.take(), [], "what is aborted has not happened");
}

#[tokio::test]
async fn a_commit_is_told_although_its_transaction_is_not_finished() {
    let (_hub, mut alice, _bob, id) = two().await;
    let diary = Diary::of(&alice);
    // These drop the transaction.
    alice.update(&id).await.unwrap();
    assert_eq!(diary.take(), []);
    alice.session.deliver_events().await;
    assert_eq!(diary.take(), [(2, 2)]);
    alice.update(&id).await.unwrap();
    alice.session.new_transaction().await.unwrap().abort();
    assert_eq!(diary.take(), [(3, 3)]);
}

#[tokio::test]
async fn joining_and_echoes_are_told_and_a_removal_is_not() {
    let (hub, mut alice, bob, id) = two().await;
    let mut carol = Device::new(&hub, "carol").await;
    let diary = Diary::of(&carol);
    alice.add(&id, &mut [&mut carol]).await;
    assert_eq!(diary.take(), [(2, 2)]);
    hub.fail_next(Fault::LoseAnswer);
    assert!(carol.join_externally(&id).await.is_err());
    assert_eq!(diary.take(), []);
    carol.sync(&id).await;
    assert_eq!(diary.take(), [(3, 3)]);
    alice.sync(&id).await;
    alice.change(&id, vec![], &[client_id("carol")]).await.unwrap();
    assert!(!carol.sync(&id).await.pop().unwrap().is_active);
    carol.session.deliver_events().await;
    assert_eq!(diary.take(), []);
    drop(bob);
}

/// Makes an epoch of its own for each of the first few that it is told of.
struct Restless {
    session: Session,
    told: Mutex<Vec<u64>>,
}

#[async_trait]
impl EpochObserver for Restless {
    async fn epoch_changed(&self, id: ConversationId, epoch: u64) {
        self.told.lock().unwrap().push(epoch);
        if epoch < 6 {
            let mut tx = self.session.new_transaction().await.unwrap();
            let mut guard = tx.conversation(&id).await.unwrap();
            guard.update_key_material_with(CommitOptions::default()).await.unwrap();
            tx.finish().await.unwrap();
            self.session.deliver_events().await;
        }
    }
}

#[tokio::test]
async fn an_observer_may_use_the_session_and_is_told_of_that_afterwards() {
    let hub = Hub::new();
    let id = conversation();
    let mut alice = Device::new(&hub, "alice").await;
    alice.create(&id).await;
    let restless = Arc::new(Restless { session: alice.session.clone(), told: Mutex::default() });
    alice.session.register_epoch_observer(restless.clone());
    let diary = Diary::of(&alice);
    alice.update(&id).await.unwrap();
    alice.session.deliver_events().await;
    assert_eq!(*restless.told.lock().unwrap(), [1, 2, 3, 4, 5, 6]);
    let epochs: Vec<u64> = diary.take().into_iter().map(|(epoch, _)| epoch).collect();
    assert_eq!(epochs, [1, 2, 3, 4, 5, 6], "everybody is told in the same order");
}

/// Never comes back from the first call.
#[derive(Default)]
struct Stuck {
    called: Notify,
    told: Mutex<Vec<u64>>,
}

#[async_trait]
impl EpochObserver for Stuck {
    async fn epoch_changed(&self, _id: ConversationId, epoch: u64) {
        let is_first = {
            let mut told = self.told.lock().unwrap();
            told.push(epoch);
            told.len() == 1
        };
        if is_first {
            self.called.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

#[tokio::test]
async fn when_who_tells_them_gives_up_the_next_one_goes_on() {
    let (_hub, mut alice, _bob, id) = two().await;
    let stuck = Arc::new(Stuck::default());
    alice.session.register_epoch_observer(stuck.clone());
    let diary = Diary::of(&alice);
    alice.update(&id).await.unwrap();
    let session = alice.session.clone();
    tokio::select! {
        () = session.deliver_events() => panic!("it is stuck"),
        () = stuck.called.notified() => {}
    }
    assert_eq!(diary.take(), []);
    // The next transaction begins with it.
    alice.update(&id).await.unwrap();
    assert_eq!(diary.take(), [(2, 2)]);
    session.deliver_events().await;
    assert_eq!(*stuck.told.lock().unwrap(), [2, 3]);
    assert_eq!(diary.take(), [(3, 3)]);
}
