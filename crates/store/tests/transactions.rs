//! All of a write or nothing of it, and readers that see neither half of one nor wait for it.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, reason = "each file of scenarios needs a part of it")]
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use support::{ALICE, CONVERSATION, conversation, is_waiting, message, new_store};
use tertulia_store::{ErrorKind, Setting, Store, StoreError, WriteTx};

#[tokio::test]
async fn message_key_and_cursor_are_written_together() {
    let (_home, store) = new_store();
    let guard = store.lock().await.unwrap();
    store.write(&guard, |w| receive(w, 1)).unwrap();
    assert_eq!(received(&store), (Some("1".to_owned()), Some(b"state 1".to_vec()), 1));
}

#[tokio::test]
async fn a_write_that_fails_at_its_end_has_written_nothing() {
    let (_home, store) = new_store();
    let guard = store.lock().await.unwrap();
    let result = store.write(&guard, |w| receive(w, 1).and(Err::<(), _>(StoreError::DiskFull)));
    assert!(matches!(result, Err(StoreError::DiskFull)));
    assert_eq!(received(&store), (None, None, 0));
    // The store goes on.
    store.write(&guard, |w| receive(w, 1)).unwrap();
    assert_eq!(received(&store).2, 1);
}

#[tokio::test]
async fn a_write_that_panics_has_written_nothing() {
    let (_home, store) = new_store();
    let guard = store.lock().await.unwrap();
    let result = catch_unwind(AssertUnwindSafe(|| {
        store.write(&guard, |w| -> Result<(), StoreError> {
            receive(w, 1)?;
            panic!("a bug of the caller");
        })
    }));
    assert!(result.is_err());
    assert_eq!(received(&store), (None, None, 0));
    store.write(&guard, |w| receive(w, 1)).unwrap();
    assert_eq!(received(&store).2, 1);
}

#[tokio::test]
async fn a_read_during_a_write_sees_what_was_before_and_does_not_wait() {
    let (_home, store) = new_store();
    let guard = store.lock().await.unwrap();
    store
        .write(&guard, |w| {
            receive(w, 1)?;
            assert_eq!(received(&store), (None, None, 0));
            Ok::<_, StoreError>(())
        })
        .unwrap();
}

#[tokio::test]
async fn a_read_sees_one_state_however_much_is_written_meanwhile() {
    let (_home, store) = new_store();
    let guard = store.lock().await.unwrap();
    store.write(&guard, |w| receive(w, 1)).unwrap();
    store
        .read(|r| {
            let before = r.cursor()?;
            store.write(&guard, |w| receive(w, 2))?;
            assert_eq!(r.cursor()?, before);
            assert_eq!(r.messages(CONVERSATION, None, None)?.len(), 1);
            Ok::<_, StoreError>(())
        })
        .unwrap();
    assert_eq!(received(&store).2, 2);
}

#[tokio::test]
async fn a_store_sees_what_another_of_the_same_home_wrote() {
    let (home, store) = new_store();
    let other = Store::open(&home.path().join("home"), &tertulia_store::KeySource::File).unwrap();
    let guard = store.lock().await.unwrap();
    store.write(&guard, |w| receive(w, 1)).unwrap();
    assert_eq!(received(&other).2, 1);
}

#[tokio::test]
async fn a_guard_opens_only_the_store_that_gave_it() {
    let ((_home, store), (_other_home, other)) = (new_store(), new_store());
    let guard = other.lock().await.unwrap();
    let error = store.write(&guard, |w| receive(w, 1)).unwrap_err();
    assert!(matches!(error, StoreError::WrongGuard));
    assert_eq!(error.kind(), ErrorKind::Misuse);
    assert_eq!(received(&store).2, 0);
}

#[tokio::test]
async fn tasks_get_the_lock_in_the_order_in_which_they_came() {
    let (_home, store) = new_store();
    let guard = store.lock().await.unwrap();
    let (mut first, mut second, mut third) =
        (Box::pin(store.lock()), Box::pin(store.lock()), Box::pin(store.lock()));
    assert!(is_waiting(&mut first).await);
    assert!(is_waiting(&mut second).await);
    assert!(is_waiting(&mut third).await);
    drop(guard);
    assert!(is_waiting(&mut third).await, "two came before");
    drop(second); // cancelled
    drop(first.await.unwrap());
    third.await.unwrap();
}

/// What receiving one message writes.
fn receive(w: &mut WriteTx<'_>, sequence: u64) -> Result<(), StoreError> {
    w.put_conversation(&conversation())?;
    w.insert_message(&message(sequence, ALICE, Some("Buenas tardes")))?;
    w.put_group_state(CONVERSATION.as_bytes(), 0, format!("state {sequence}").as_bytes())?;
    w.put_setting(Setting::Label, "seen")?;
    w.set_cursor(&sequence.to_string())
}

fn received(store: &Store) -> (Option<String>, Option<Vec<u8>>, usize) {
    store
        .read(|r| {
            let state = r.group_state(CONVERSATION.as_bytes())?.map(|record| record.state.to_vec());
            Ok::<_, StoreError>((r.cursor()?, state, r.messages(CONVERSATION, None, None)?.len()))
        })
        .unwrap()
}
