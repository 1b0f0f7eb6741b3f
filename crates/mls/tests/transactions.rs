//! All or nothing, one after the other, the application's data with the keys.
#![allow(clippy::unwrap_used)]
#![allow(clippy::redundant_closure_for_method_calls)] // the bare method is not general enough over its lifetime

mod common;

use common::{Device, Hub, conversation, text, two};
use tertulia_mls::{EngineError, ErrorKind, MlsConversationConfiguration, Outcome, TransactionContext};
use tertulia_store::{Setting, StoreError};

#[tokio::test]
async fn nothing_of_an_aborted_transaction_remains() {
    let alice = Device::new(&Hub::new(), "alice").await;
    for drop_it in [false, true] {
        let mut tx = alice.session.new_transaction().await.unwrap();
        tx.new_conversation(&conversation(), &alice.credential, MlsConversationConfiguration::default())
            .unwrap();
        tx.generate_key_packages(&alice.credential, 2, None).unwrap();
        tx.set_data(b"x".to_vec()).unwrap();
        tx.store_write(|w| w.put_setting(Setting::Handle, "alice")).unwrap();
        assert!(tx.conversation_exists(&conversation()).unwrap());
        assert_eq!(tx.key_package_count().unwrap(), 2);
        assert!(!alice.session.conversation_exists(&conversation()).unwrap());
        if drop_it {
            drop(tx);
        } else {
            tx.abort();
        }
        let tx = alice.session.new_transaction().await.unwrap();
        assert!(!tx.conversation_exists(&conversation()).unwrap());
        assert_eq!(tx.key_package_count().unwrap(), 0);
        assert_eq!(tx.get_data().unwrap(), None);
        assert_eq!(alice.session.store().read(|r| r.setting(Setting::Handle)).unwrap(), None);
    }
}

#[tokio::test]
async fn an_aborted_decryption_can_be_done_again() {
    let (_hub, mut alice, mut bob, id) = two().await;
    let message = alice.encrypt(&id, "again").await.unwrap();
    let mut tx = bob.session.new_transaction().await.unwrap();
    let mut guard = tx.conversation(&id).await.unwrap();
    assert_eq!(text(guard.decrypt_message(&message).unwrap()).unwrap(), "again");
    tx.abort();
    assert_eq!(text(bob.decrypt(&id, &message).await.unwrap()).unwrap(), "again");
}

#[tokio::test]
async fn a_finished_transaction_refuses_everything() {
    let (_hub, alice, _bob, id) = two().await;
    for finish in [true, false] {
        let mut tx = alice.session.new_transaction().await.unwrap();
        if finish {
            tx.finish().await.unwrap();
        } else {
            tx.abort();
        }
        let finished = |error: EngineError| {
            assert!(matches!(error, EngineError::TransactionFinished));
            assert_eq!(error.kind(), ErrorKind::Misuse);
        };
        finished(tx.finish().await.unwrap_err());
        finished(tx.conversation(&id).await.unwrap_err());
        finished(tx.find_credentials().unwrap_err());
        finished(tx.set_data(vec![]).unwrap_err());
        finished(tx.store_write(|_| Ok(())).unwrap_err());
        finished(tx.key_package_count().unwrap_err());
        tx.abort();
    }
}

/// Decrypts a message and moves the cursor, as the SDK does for each event.
async fn receive(
    device: &Device,
    message: &[u8],
    write: Result<&'static str, &'static str>,
) -> Result<(), EngineError> {
    let mut tx = device.session.new_transaction().await.unwrap();
    let result = tx.conversation(&conversation()).await.unwrap().decrypt_message(message).unwrap();
    assert_eq!(result.outcome, Outcome::Application);
    tx.store_write(move |w| match write {
        Ok(cursor) => w.set_cursor(cursor),
        Err(cursor) => w.set_cursor(cursor).and(Err(StoreError::DiskFull)),
    })
    .unwrap();
    tx.finish().await
}

#[tokio::test]
async fn cursor_ratchet_and_message_move_together_or_not_at_all() {
    let (_hub, mut alice, bob, id) = two().await;
    let message = alice.encrypt(&id, "x").await.unwrap();
    let cursor = |device: &Device| device.session.store().read(|r| r.cursor()).unwrap();

    let full = receive(&bob, &message, Err("1")).await.unwrap_err();
    assert!(matches!(full, EngineError::Store(StoreError::DiskFull)));
    assert_eq!(full.kind(), ErrorKind::Transient);
    assert_eq!(cursor(&bob), None);
    let bob = bob.restarted();
    receive(&bob, &message, Ok("1")).await.unwrap();
    let mut bob = bob.restarted();
    assert_eq!(cursor(&bob).unwrap(), "1");
    assert_eq!(bob.decrypt(&id, &message).await.unwrap().outcome, Outcome::Duplicate);
}

#[tokio::test]
async fn what_the_application_writes_is_durable_before_a_commit_is_sent() {
    let (hub, alice, _bob, id) = two().await;
    hub.fail_next(common::Fault::LoseAnswer);
    let mut tx = alice.session.new_transaction().await.unwrap();
    tx.store_write(|w| w.put_setting(Setting::Label, "before")).unwrap();
    let mut guard = tx.conversation(&id).await.unwrap();
    guard.update_key_material().await.unwrap_err();
    tx.store_write(|w| w.put_setting(Setting::Label, "after")).unwrap();
    drop(tx);
    assert_eq!(alice.session.store().read(|r| r.setting(Setting::Label)).unwrap().unwrap(), "before");
}

#[tokio::test]
async fn writers_come_one_after_the_other_and_whoever_waits_can_leave() {
    let (_hub, alice, _bob, id) = two().await;
    let other = alice.second_session();
    let first = alice.session.new_transaction().await.unwrap();
    for session in [&alice.session, &other.session] {
        let mut waiting = Box::pin(session.new_transaction());
        let polled = futures_poll(waiting.as_mut());
        assert!(polled.is_none(), "the first is not finished");
        drop(waiting);
    }
    // Reading waits for nobody.
    assert_eq!(other.session.conversation(&id).unwrap().epoch(), 1);
    drop(first);
    drop(other.session.new_transaction().await.unwrap());
    drop(alice.session.new_transaction().await.unwrap());
}

/// One poll.
fn futures_poll<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.poll(&mut context) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

#[tokio::test]
async fn two_sessions_on_one_store_never_use_a_key_twice() {
    let (hub, alice, mut bob, id) = two().await;
    let other = alice.second_session();
    let mut sending = tokio::task::JoinSet::new();
    for n in 0..20 {
        let session = if n % 2 == 0 { alice.session.clone() } else { other.session.clone() };
        let (hub, id) = (hub.clone(), id.clone());
        sending.spawn(async move {
            let mut tx = session.new_transaction().await.unwrap();
            let message = tx.conversation(&id).await.unwrap().encrypt_message(n.to_string()).unwrap();
            tx.finish().await.unwrap();
            hub.post(&id, message);
        });
    }
    while let Some(sent) = sending.join_next().await {
        sent.unwrap();
    }
    let mut texts: Vec<u32> = bob.read(&id).await.iter().map(|text| text.parse().unwrap()).collect();
    texts.sort_unstable();
    assert_eq!(texts, (0..20).collect::<Vec<_>>());
}

#[test]
fn transactions_can_move_between_threads() {
    fn is_send<T: Send>() {}
    is_send::<TransactionContext>();
    let future = |tx: &mut TransactionContext| {
        fn check<T: Send>(_: T) {}
        check(tx.finish());
    };
    let _ = future;
}
