//! Several processes on one home, some of which are killed. A process is this test binary, started for one of its own tests.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, reason = "each file of scenarios needs a part of it")]
mod support;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use std::{
    io::{self, Read as _},
    path::Path,
};
use support::{
    ALICE, CONVERSATION, conversation, is_waiting, message, new_store,
    process::{Process, home_of_this_process, next_number, number},
    raw,
};
use tertulia_store::{KeySource, NewOutboxMessage, OutboxKind, Store, StoreError};

#[tokio::test]
async fn a_process_killed_while_it_writes_leaves_a_consistent_store() {
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (directory, store) = new_store();
    let home = directory.path().join("home");

    let mut acknowledged = 0;
    for _ in 0..8 {
        let mut process = Process::start("writes_until_it_is_killed", &home);
        let mut lines = process.lines();
        for _ in 0..random.random_range(1..40) {
            acknowledged = next_number(&mut lines).max(acknowledged);
        }
        process.kill();
        // What it had written before it was killed, and said so, counts too.
        while let Some(Ok(line)) = lines.next() {
            acknowledged = number(&line).unwrap_or(0).max(acknowledged);
        }

        let (cursor, last, count, waiting, state) = store
            .read(|r| {
                let messages = r.messages(CONVERSATION, None, None)?;
                Ok::<_, StoreError>((
                    r.cursor()?.unwrap().parse::<u64>().unwrap(),
                    messages.last().unwrap().sequence.get(),
                    messages.len() as u64,
                    r.outbox_of(CONVERSATION)?.len() as u64,
                    r.group_state(CONVERSATION.as_bytes())?.unwrap().state.to_vec(),
                ))
            })
            .unwrap();
        assert!(cursor >= acknowledged, "{acknowledged} was committed, the store is at {cursor}");
        assert_eq!((last, count, waiting, state), (cursor, cursor, cursor, cursor.to_be_bytes().to_vec()));
        let connection = raw(&home);
        let sound: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(sound, "ok");
        let forged = connection.prepare("PRAGMA cipher_integrity_check").unwrap().exists([]).unwrap();
        assert!(!forged, "a page does not fit its authentication code");
        // The lock died with the process.
        drop(store.lock().await.unwrap());
    }
}

#[tokio::test]
async fn the_lock_excludes_another_process_until_it_is_released() {
    let (directory, store) = new_store();
    let mut process = with_lock(&directory.path().join("home"));
    let mut waiting = Box::pin(store.lock());
    assert!(is_waiting(&mut waiting).await);
    // Only writers are excluded.
    assert!(store.read(|r| r.cursor()).unwrap().is_none());
    process.release();
    drop(waiting.await.unwrap());
}

#[tokio::test]
async fn the_lock_of_a_killed_process_is_free() {
    let (directory, store) = new_store();
    let mut process = with_lock(&directory.path().join("home"));
    let mut waiting = Box::pin(store.lock());
    assert!(is_waiting(&mut waiting).await);
    process.kill();
    drop(waiting.await.unwrap());
}

#[tokio::test]
async fn cancelled_waiters_leave_no_lock_behind() {
    let (directory, store) = new_store();
    let home = directory.path().join("home");
    let mut process = with_lock(&home);
    for _ in 0..100 {
        let mut waiting = Box::pin(store.lock());
        assert!(is_waiting(&mut waiting).await);
    }
    // A waiter that comes after the cancelled ones gets the lock …
    let mut waiting = Box::pin(store.lock());
    assert!(is_waiting(&mut waiting).await);
    process.release();
    drop(waiting.await.unwrap());
    // … and when all were cancelled, nobody keeps it from another process.
    let mut process = with_lock(&home);
    let mut cancelled = Box::pin(store.lock());
    assert!(is_waiting(&mut cancelled).await);
    drop(cancelled);
    process.release();
    with_lock(&home).release();
    drop(store.lock().await.unwrap());
}

#[tokio::test]
async fn a_store_opens_while_another_process_holds_the_lock() {
    let (directory, store) = new_store();
    let home = directory.path().join("home");
    drop(store);
    let mut process = with_lock(&home);
    Store::open(&home, &KeySource::File).unwrap();
    process.release();
}

/// Not a scenario: what the other process does.
#[tokio::test]
async fn writes_until_it_is_killed() {
    let Some(store) = store_of_this_process() else { return };
    let mut next = store.read(|r| r.cursor()).unwrap().map_or(1, |cursor| cursor.parse::<u64>().unwrap() + 1);
    loop {
        let guard = store.lock().await.unwrap();
        store
            .write(&guard, |w| {
                w.set_cursor(&next.to_string())?;
                w.put_conversation(&conversation())?;
                w.put_group_state(CONVERSATION.as_bytes(), 0, &next.to_be_bytes())?;
                let content = vec![0x5A; 5_000];
                let id = w.put_into_outbox(&NewOutboxMessage {
                    conversation: CONVERSATION,
                    kind: OutboxKind::Message,
                    content: content.clone(),
                    created_at: 0,
                })?;
                w.set_ciphertext(id, &next.to_be_bytes())?;
                w.insert_message(&message(next, ALICE, Some("Buenas tardes")))
            })
            .unwrap();
        drop(guard);
        println!("\n#{next}");
        next += 1;
    }
}

/// Not a scenario: what the other process does.
#[tokio::test]
async fn holds_the_lock_until_its_input_ends() {
    let Some(store) = store_of_this_process() else { return };
    let guard = store.lock().await.unwrap();
    println!("\n#1");
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
    drop(guard);
}

/// A process that has the lock.
fn with_lock(home: &Path) -> Process {
    let mut process = Process::start("holds_the_lock_until_its_input_ends", home);
    let mut lines = process.lines();
    assert_eq!(next_number(&mut lines), 1);
    // The rest of what it prints has to go somewhere.
    std::thread::spawn(move || lines.for_each(drop));
    process
}

fn store_of_this_process() -> Option<Store> {
    Some(Store::open(&home_of_this_process()?, &KeySource::File).unwrap())
}
