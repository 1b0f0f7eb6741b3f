//! The store as its users see it: real files, real processes.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;
use tertulia_domain::{ConversationId, ConversationType, DeviceId, Sequence, UserId};
use tertulia_store::{
    ConversationRecord, KeySource, NewMessage, NewOutboxMessage, OutboxKind, Setting, Store, StoreError,
};
use zeroize::Zeroizing;

/// Set in a child process: the home that it works on. The child is this test binary, told to run one test only.
const CHILD_HOME: &str = "TERTULIA_STORE_TEST_HOME";

fn new_store() -> (TempDir, Store) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = Store::create(&dir.path().join("home"), &KeySource::File).expect("a new store");
    (dir, store)
}

fn message(conversation: ConversationId, sequence: u64, text: &str) -> NewMessage {
    NewMessage {
        conversation,
        sequence: Sequence::new(sequence),
        sender: UserId::random(),
        sender_device: DeviceId::new(u64::MAX),
        sent_at: 1_700_000_000_000,
        message_id: [7; 32],
        content: text.as_bytes().to_vec(),
        text: Some(text.to_owned()),
    }
}

fn child(test: &str, home: &Path) -> Child {
    Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", test, "--nocapture"])
        .env(CHILD_HOME, home)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the child starts")
}

/// Waits until the child says this word on a line of its own.
fn wait_for(child: &mut Child, word: &str) {
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    assert!(
        lines.map_while(Result::ok).any(|line| line.contains(word)),
        "the child ended without saying {word}"
    );
}

#[tokio::test]
async fn a_change_that_fails_leaves_nothing_behind() {
    let (_dir, store) = new_store();
    let conversation = ConversationId::random();
    let writer = store.lock().await.expect("nobody else writes");
    let failed: Result<(), StoreError> = store.write(&writer, |w| {
        w.insert_message(&message(conversation, 1, "half"))?;
        w.set_cursor("p1")?;
        Err(StoreError::Busy)
    });
    assert!(failed.is_err());
    assert_eq!(store.read(|r| r.cursor()).expect("readable"), None);
    assert_eq!(store.read(|r| r.messages(conversation, None, None)).expect("readable"), []);
}

#[tokio::test]
async fn readers_see_the_last_write_while_another_is_under_way() {
    let (_dir, store) = new_store();
    let writer = store.lock().await.expect("nobody else writes");
    store.write(&writer, |w| w.set_cursor("before")).expect("writes");
    store
        .write(&writer, |w| {
            w.set_cursor("after")?;
            assert_eq!(store.read(|r| r.cursor())?.as_deref(), Some("before"));
            Ok::<_, StoreError>(())
        })
        .expect("writes");
    assert_eq!(store.read(|r| r.cursor()).expect("readable").as_deref(), Some("after"));
}

#[tokio::test]
async fn a_process_killed_while_it_writes_leaves_cursor_and_messages_in_step() {
    let (dir, store) = new_store();
    let home = dir.path().join("home");
    drop(store);
    for _ in 0..5 {
        let mut writing = child("child_writes_without_end", &home);
        wait_for(&mut writing, "wrote 20 more");
        writing.kill().expect("SIGKILL");
        writing.wait().expect("it is dead");
        let store = Store::open(&home, &KeySource::File).expect("it opens after the kill");
        let conversation = ConversationId::from_bytes([1; 16]);
        let (cursor, messages) = store
            .read(|r| Ok::<_, StoreError>((r.cursor()?, r.messages(conversation, None, None)?)))
            .expect("readable");
        assert_eq!(cursor, messages.last().map(|row| row.sequence.get().to_string()));
        assert_eq!(messages.len() as u64, messages.last().expect("it wrote").sequence.get());
    }
}

/// Not a test of its own: the child of the one above, which kills it.
#[tokio::test]
async fn child_writes_without_end() {
    let Some(home) = std::env::var_os(CHILD_HOME) else { return };
    let store = Store::open(Path::new(&home), &KeySource::File).expect("the parent made it");
    let conversation = ConversationId::from_bytes([1; 16]);
    let first = store.read(|r| r.messages(conversation, None, Some(1))).expect("readable");
    let first = first.last().map_or(0, |row| row.sequence.get());
    for sequence in first + 1.. {
        let writer = store.lock().await.expect("the lock");
        store
            .write(&writer, |w| {
                w.insert_message(&message(conversation, sequence, "text"))?;
                w.set_cursor(&sequence.to_string())
            })
            .expect("writes");
        if sequence == first + 20 {
            println!("wrote 20 more");
        }
    }
}

#[tokio::test]
async fn one_writer_at_a_time_across_processes() {
    let (dir, store) = new_store();
    let mut holder = child("child_holds_the_lock", &dir.path().join("home"));
    wait_for(&mut holder, "locked");
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.lock().await.map(drop) }
    });
    // Whoever waits for the other process can give up without leaving anything behind.
    let impatient = tokio::spawn({
        let store = store.clone();
        async move { store.lock().await.map(drop) }
    });
    impatient.abort();
    assert!(impatient.await.is_err());
    assert!(!waiting.is_finished());
    holder.kill().expect("SIGKILL");
    holder.wait().expect("it is dead");
    waiting.await.expect("runs").expect("the lock of a dead process is free");
    store.lock().await.expect("and free again");
}

/// Not a test of its own: the child of the one above, which kills it.
#[tokio::test]
async fn child_holds_the_lock() {
    let Some(home) = std::env::var_os(CHILD_HOME) else { return };
    let store = Store::open(Path::new(&home), &KeySource::File).expect("the parent made it");
    let _writer = store.lock().await.expect("free");
    println!("locked");
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_cancelled_writer_does_not_keep_its_turn() {
    let (_dir, store) = new_store();
    let first = store.lock().await.expect("free");
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.lock().await.map(drop) }
    });
    tokio::task::yield_now().await;
    waiting.abort();
    assert!(waiting.await.is_err());
    drop(first);
    store.lock().await.expect("free again");
}

#[tokio::test]
async fn nothing_readable_is_on_the_disk_and_nobody_else_may_read_it() {
    let (dir, store) = new_store();
    let conversation = ConversationId::random();
    let writer = store.lock().await.expect("free");
    store
        .write(&writer, |w| {
            w.put_setting(Setting::Token, "sesame-open-the-door")?;
            w.put_group_state(b"group", b"ratchet-secret-of-the-group")?;
            w.insert_message(&message(conversation, 1, "meet me at the corner")).map(drop)
        })
        .expect("writes");
    let home = dir.path().join("home");
    let mut seen = 0;
    for entry in fs::read_dir(&home).expect("readable") {
        let path = entry.expect("an entry").path();
        let bytes = fs::read(&path).expect("readable");
        for secret in
            ["sesame-open-the-door", "ratchet-secret-of-the-group", "meet me at the corner", "SQLite format"]
        {
            assert!(
                !bytes.windows(secret.len()).any(|window| window == secret.as_bytes()),
                "{secret} in {path:?}"
            );
        }
        #[cfg(unix)]
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).expect("there").permissions())
                & 0o777,
            0o600,
            "{path:?}"
        );
        seen += 1;
    }
    assert!(seen >= 3, "database, key and lock are files");
    #[cfg(unix)]
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&home).expect("there").permissions()) & 0o777,
        0o700
    );
}

#[test]
fn only_the_right_passphrase_opens() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let home = dir.path().join("home");
    let passphrase = |text: &str| KeySource::Passphrase(Zeroizing::new(text.to_owned()));
    drop(Store::create(&home, &passphrase("open sesame")).expect("a new store"));
    assert!(!home.join("key").exists());
    Store::open(&home, &passphrase("open sesame")).expect("it opens");
    assert!(matches!(Store::open(&home, &passphrase("open barley")), Err(StoreError::WrongKey { .. })));
    assert!(matches!(Store::open(&home, &KeySource::File), Err(StoreError::PassphraseNeeded { .. })));
}

#[test]
fn what_is_wrong_with_a_home_is_said() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let home = dir.path().join("home");
    assert!(matches!(Store::open(&home, &KeySource::File), Err(StoreError::NotInitialised { .. })));
    drop(Store::create(&home, &KeySource::File).expect("a new store"));
    assert!(matches!(Store::create(&home, &KeySource::File), Err(StoreError::AlreadyInitialised { .. })));
    let passphrase = KeySource::Passphrase(Zeroizing::new("open sesame".to_owned()));
    assert!(matches!(Store::open(&home, &passphrase), Err(StoreError::NoPassphraseWanted { .. })));
    fs::write(home.join("key"), "00".repeat(32)).expect("writable");
    assert!(matches!(Store::open(&home, &KeySource::File), Err(StoreError::WrongKey { .. })));
    for damaged in ["", "zz", &"00".repeat(31), &"0".repeat(5000)] {
        fs::write(home.join("key"), damaged).expect("writable");
        assert!(
            matches!(Store::open(&home, &KeySource::File), Err(StoreError::DamagedKey { .. })),
            "{damaged:.8}"
        );
    }
    fs::remove_file(home.join("key")).expect("removable");
    assert!(matches!(Store::open(&home, &KeySource::File), Err(StoreError::DamagedKey { .. })));
}

#[test]
fn a_derivation_that_asks_for_too_much_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let home = dir.path().join("home");
    let passphrase = KeySource::Passphrase(Zeroizing::new("open sesame".to_owned()));
    drop(Store::create(&home, &passphrase).expect("a new store"));
    let file = home.join("key.json");
    let costly = fs::read_to_string(&file).expect("readable").replace("65536", "4294967295");
    fs::write(&file, costly).expect("writable");
    assert!(matches!(Store::open(&home, &passphrase), Err(StoreError::DamagedKey { .. })));
}

#[tokio::test]
async fn own_messages_that_come_first_hide_none_that_come_later() {
    let (_dir, store) = new_store();
    let id = ConversationId::random();
    let writer = store.lock().await.expect("free");
    let record = ConversationRecord { id, kind: ConversationType::Group, epoch: 1, created_at: 1 };
    store
        .write(&writer, |w| {
            w.put_setting(Setting::User, &UserId::random().to_string())?;
            w.put_conversation(&record)?;
            w.insert_message(&message(id, 10, "sent from here"))?;
            w.mark_read(id)?;
            assert!(w.insert_message(&message(id, 9, "said before, seen after"))?);
            assert!(!w.insert_message(&message(id, 9, "again"))?, "a sequence number is one message");
            Ok::<_, StoreError>(())
        })
        .expect("writes");
    let (row, texts, new) = store
        .read(|r| {
            Ok::<_, StoreError>((r.conversation(id)?, r.messages(id, None, None)?, r.arrived_after(1, 10)?))
        })
        .expect("readable");
    assert_eq!(row.expect("there").unread, 1);
    assert_eq!(texts.iter().map(|row| row.sequence.get()).collect::<Vec<_>>(), [9, 10]);
    assert_eq!(new.iter().map(|row| row.text.as_str()).collect::<Vec<_>>(), ["said before, seen after"]);
}

#[tokio::test]
async fn the_outbox_keeps_the_bytes_that_were_sent_until_those_are_refused() {
    let (_dir, store) = new_store();
    let conversation = ConversationId::random();
    let writer = store.lock().await.expect("free");
    let new =
        NewOutboxMessage { conversation, kind: OutboxKind::Message, content: b"hi".to_vec(), created_at: 1 };
    let id = store.write(&writer, |w| w.put_into_outbox(&new)).expect("writes");
    store.write(&writer, |w| w.set_ciphertext(id, b"first bytes")).expect("writes");
    store.write(&writer, |w| w.clear_ciphertext(b"other bytes")).expect("writes");
    assert!(store.read(|r| r.outbox_by_ciphertext(b"first bytes")).expect("readable").is_some());
    store.write(&writer, |w| w.clear_ciphertext(b"first bytes")).expect("writes");
    let waiting = store.read(|r| r.outbox_of(conversation)).expect("readable");
    assert_eq!(
        waiting.iter().map(|message| (message.id, message.ciphertext.clone())).collect::<Vec<_>>(),
        [(id, None)]
    );
}
