//! A home and its files, and what is kept in them.

#[allow(dead_code, reason = "each file of scenarios needs a part of it")]
mod support;

use std::fs;
use support::{CONVERSATION, conversation, new_store, raw};
use tertulia_domain::{ConversationId, ConversationType, DeviceId, Protocol, Sequence, UserId};
use tertulia_store::{
    ConversationRecord, ErrorKind, KeySource, NewMessage, NewOutboxMessage, OutboxKind, Setting, Store,
    StoreError,
};
use zeroize::Zeroizing;

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
        expires: None,
    }
}

#[tokio::test]
async fn nothing_readable_is_on_the_disk_and_nobody_else_may_read_it() {
    let (dir, store) = new_store();
    let conversation = ConversationId::random();
    let writer = store.lock().await.expect("free");
    store
        .write(&writer, |w| {
            w.put_setting(Setting::Token, "sesame-open-the-door")?;
            w.put_group_state(b"group", 0, b"ratchet-secret-of-the-group")?;
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

#[test]
fn a_creation_that_was_interrupted_is_made_anew() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let home = dir.path().join("home");
    let passphrase = KeySource::Passphrase(Zeroizing::new("open sesame".to_owned()));
    drop(Store::create(&home, &passphrase).expect("a new store"));
    // As a crash leaves it before the database has its name: with all that is written first.
    fs::rename(home.join("tertulia.db"), home.join("tertulia.db.new")).expect("renamed");
    assert!(!Store::exists(&home));
    assert!(matches!(Store::open(&home, &passphrase), Err(StoreError::NotInitialised { .. })));
    // This time without a passphrase.
    drop(Store::create(&home, &KeySource::File).expect("a new store"));
    Store::open(&home, &KeySource::File).expect("it opens by its key file alone");
    assert!(!home.join("tertulia.db.new").exists());
}

#[cfg(unix)]
#[test]
fn a_directory_that_was_empty_is_closed_to_others() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mode = || fs::metadata(dir.path()).expect("there").permissions().mode() & 0o777;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("own directory");
    drop(Store::create(dir.path(), &KeySource::File).expect("a new store"));
    assert_eq!(mode(), 0o700);
}

#[test]
fn a_store_of_a_later_version_is_left_alone() {
    let (dir, store) = new_store();
    drop(store);
    let home = dir.path().join("home");
    raw(&home).execute_batch("PRAGMA user_version = 99; CREATE TABLE of_later (x);").expect("writable");
    let error = Store::open(&home, &KeySource::File).expect_err("it is not known here");
    assert!(matches!(error, StoreError::NewerSchema { found: 99, .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Misuse);
}

#[tokio::test]
async fn a_value_that_is_damaged_is_said_to_be() {
    let (dir, store) = new_store();
    let id = ConversationId::random();
    let writer = store.lock().await.expect("free");
    let record = ConversationRecord { id, ..conversation() };
    store.write(&writer, |w| w.put_conversation(&record)).expect("writes");
    for damage in ["kind = 'hexagon'", "kind = 'group', epoch = -1", "epoch = 1, created_at = 'noon'"] {
        raw(&dir.path().join("home"))
            .execute_batch(&format!("UPDATE conversations SET {damage}"))
            .expect("writable");
        let error = store.read(|r| r.conversation(id)).expect_err(damage);
        assert!(matches!(error, StoreError::Damaged { .. }), "{damage}: {error:?}");
        assert_eq!(error.kind(), ErrorKind::Damage);
    }
}

#[tokio::test]
async fn a_number_that_does_not_fit_is_refused_and_not_bent() {
    let (_dir, store) = new_store();
    let id = ConversationId::random();
    let writer = store.lock().await.expect("free");
    for value in [u64::MAX, 1 << 63, (1 << 63) - 1] {
        let error =
            store.write(&writer, |w| w.insert_message(&message(id, value, "far"))).expect_err("too large");
        assert!(matches!(error, StoreError::OutOfRange { value: refused, .. } if refused == value));
        let error =
            store.write(&writer, |w| w.put_group_epoch(b"group", value, b"state")).expect_err("too large");
        assert!(matches!(error, StoreError::OutOfRange { .. }));
        // To ask for it is no error: it is not there.
        assert!(store.read(|r| r.group_epoch(b"group", value)).expect("readable").is_none());
        assert!(store.read(|r| r.message(id, Sequence::new(value))).expect("readable").is_none());
    }
    assert!(
        store
            .write(&writer, |w| w.insert_message(&message(id, (1 << 63) - 2, "as far as it goes")))
            .expect("writes")
    );
}

#[tokio::test]
async fn past_epochs_are_kept_and_dropped_by_group() {
    let (_dir, store) = new_store();
    let writer = store.lock().await.expect("free");
    store
        .write(&writer, |w| {
            for group in [b"one", b"two"] {
                w.put_group_state(group, 0, b"now")?;
                for epoch in 3..9_u64 {
                    w.put_group_epoch(group, epoch, &epoch.to_be_bytes())?;
                }
                w.put_pending_commit(group, b"to", b"come")?;
            }
            w.delete_group_epochs_below(b"one", 7)?;
            w.delete_group(b"two")
        })
        .expect("writes");
    store
        .read(|r| {
            assert_eq!(r.max_group_epoch(b"one")?, Some(8));
            assert!(r.group_epoch(b"one", 6)?.is_none());
            assert_eq!(r.group_epoch(b"one", 7)?.expect("kept").as_slice(), 7_u64.to_be_bytes());
            assert_eq!(r.group_ids()?, [b"one"]);
            assert_eq!(r.max_group_epoch(b"two")?, None);
            assert!(r.group_epoch(b"two", 8)?.is_none());
            assert!(r.pending_commit_ids()?.contains(&b"two".to_vec()), "it may be one to join anew");
            Ok::<_, StoreError>(())
        })
        .expect("readable");
}

#[tokio::test]
async fn own_messages_that_come_first_hide_none_that_come_later() {
    let (_dir, store) = new_store();
    let id = ConversationId::random();
    let writer = store.lock().await.expect("free");
    let record = ConversationRecord { id, ..conversation() };
    store
        .write(&writer, |w| {
            w.put_setting(Setting::User, &UserId::random().to_string())?;
            w.put_conversation(&record)?;
            w.insert_message(&message(id, 10, "sent from here"))?;
            w.mark_read(id, Sequence::new(10))?;
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

#[tokio::test]
async fn the_protocol_of_a_conversation_does_not_turn_back() {
    let (_directory, store) = new_store();
    let writer = store.lock().await.unwrap();
    let protocol = |store: &Store| {
        store.read(|r| Ok::<_, StoreError>(r.conversation(CONVERSATION)?.unwrap().record.protocol)).unwrap()
    };
    let described = |protocol| ConversationRecord { protocol, ..conversation() };
    store.write(&writer, |w| w.put_conversation(&described(Protocol::Pairwise))).unwrap();
    for (told, taken, becomes) in [
        (Protocol::Mixed, true, Protocol::Mixed),
        (Protocol::Pairwise, false, Protocol::Mixed),
        (Protocol::Mls, true, Protocol::Mls),
        (Protocol::Mls, true, Protocol::Mls),
        (Protocol::Pairwise, false, Protocol::Mls),
    ] {
        assert_eq!(
            store.write(&writer, |w| w.advance_protocol(CONVERSATION, told)).unwrap(),
            taken,
            "{told}"
        );
        assert_eq!(protocol(&store), becomes);
    }
    store.write(&writer, |w| w.put_conversation(&described(Protocol::Pairwise))).unwrap();
    assert_eq!(protocol(&store), Protocol::Mls, "nor when the hub describes it anew");
}

#[tokio::test]
async fn the_protocol_of_a_one_to_one_is_open_until_something_is_known_of_its_group() {
    type Begin = fn(&mut tertulia_store::WriteTx<'_>) -> Result<(), StoreError>;
    let begins: [(&str, Begin, bool); 4] = [
        ("nothing", |_| Ok(()), true),
        ("a commit", |w| w.set_epoch(CONVERSATION, 1), false),
        ("this device is in it", |w| w.set_joined(CONVERSATION, true), false),
        ("it was begun anew", |w| w.reset_group(CONVERSATION, 1, None), false),
    ];
    for (kind, is_pair) in [(ConversationType::OneToOne, true), (ConversationType::Group, false)] {
        for (what, begin, is_open) in begins {
            for told in [Protocol::Pairwise, Protocol::Mixed] {
                let (_directory, store) = new_store();
                let writer = store.lock().await.unwrap();
                let described = |protocol| ConversationRecord { kind, protocol, epoch: 0, ..conversation() };
                store.write(&writer, |w| w.put_conversation(&described(Protocol::Mls))).unwrap();
                store.write(&writer, begin).unwrap();
                let row = || store.read(|r| r.conversation(CONVERSATION)).unwrap().unwrap();
                assert_eq!(row().is_open(), is_open && is_pair, "{kind}: {what}");
                store.write(&writer, |w| w.put_conversation(&described(told))).unwrap();
                let expected = if is_open && is_pair { told } else { Protocol::Mls };
                assert_eq!(row().record.protocol, expected, "{kind}: {what}");
            }
        }
    }
}
