//! What a message costs on disk and in memory, and that nothing is used up twice or forgotten for it.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // the seed is printed

mod common;

use std::{collections::HashMap, fs, path::Path};

use common::{Device, Fault, Hub, assert_same_state, conversation, copy_files, text, two};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tertulia_mls::{CommitOptions, EngineError, ErrorKind, Outcome, SessionConfig};
use tertulia_store::StoreError;

/// Random talk of two with restarts and repeated messages; more than the journal holds in one epoch.
async fn talk(mut alice: Device, mut bob: Device) {
    let id = conversation();
    let seed: u64 = std::env::var("SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut old: Vec<Vec<u8>> = Vec::new();
    for n in 0..300 {
        let (from, to) =
            if random.random_bool(0.8) { (&mut alice, &mut bob) } else { (&mut bob, &mut alice) };
        let message = from.encrypt(&id, &n.to_string()).await.unwrap();
        assert_eq!(from.decrypt(&id, &message).await.unwrap().outcome, Outcome::OwnMessage);
        let read = to.decrypt(&id, &message).await.unwrap();
        assert_eq!(text(read).unwrap(), n.to_string());
        old.push(message);
        match random.random_range(0..40) {
            0 => alice = alice.restarted(),
            1 => bob = bob.restarted(),
            2 => {
                let message = &old[random.random_range(0..old.len())];
                let outcomes = [
                    alice.decrypt(&id, message).await.unwrap().outcome,
                    bob.decrypt(&id, message).await.unwrap().outcome,
                ];
                assert!(outcomes.contains(&Outcome::OwnMessage), "{outcomes:?}");
                assert!(outcomes.contains(&Outcome::Duplicate), "{outcomes:?}");
            }
            3 => {
                let mut message = alice.encrypt(&id, "corrupted on its way").await.unwrap();
                let genuine = message.clone();
                *message.last_mut().unwrap() ^= 1;
                assert!(matches!(bob.decrypt(&id, &message).await, Err(EngineError::InvalidMessage(_))));
                assert_eq!(bob.decrypt(&id, &genuine).await.unwrap().outcome, Outcome::Application);
            }
            _ => {}
        }
    }
    alice.update(&id).await.unwrap();
    let log = alice.cursors[&id];
    bob.cursors.insert(id.clone(), log);
    bob.sync(&id).await;
    alice.sync(&id).await;
    assert_same_state(&id, &[&alice, &bob]);
}

async fn two_with(config: SessionConfig) -> (Device, Device) {
    let hub = Hub::new();
    let mut alice = Device::with_config(&hub, "alice", config.clone()).await;
    let mut bob = Device::with_config(&hub, "bob", config).await;
    let id = conversation();
    alice.create(&id).await;
    alice.add(&id, &mut [&mut bob]).await;
    alice.sync(&id).await;
    (alice, bob)
}

#[tokio::test]
async fn keys_that_were_used_up_stay_so_over_restarts() {
    let (alice, bob) = two_with(SessionConfig::default()).await;
    talk(alice, bob).await;
}

#[tokio::test]
async fn the_strict_mode_does_the_same() {
    let (alice, bob) = two_with(SessionConfig { strict: true, ..SessionConfig::default() }).await;
    talk(alice, bob).await;
}

/// The keys that were used up since the snapshot, which can be derived from it.
fn keys_on_disk(device: &Device) -> usize {
    let id = conversation();
    device
        .session
        .store()
        .read(|r| {
            let (snapshot, _) = r.group_serials(id.as_bytes())?.unwrap_or_default();
            let journal = r.journal(id.as_bytes())?;
            Ok::<_, StoreError>(journal.iter().filter(|entry| entry.serial > snapshot).count())
        })
        .unwrap()
}

#[tokio::test]
async fn in_strict_mode_a_used_key_is_nowhere_when_its_transaction_is_finished() {
    let (mut alice, mut bob) = two_with(SessionConfig { strict: true, ..SessionConfig::default() }).await;
    let id = conversation();
    for _ in 0..5 {
        let message = alice.encrypt(&id, "read and forgotten").await.unwrap();
        bob.decrypt(&id, &message).await.unwrap();
        for device in [&alice, &bob] {
            assert_eq!(keys_on_disk(device), 0);
            assert_eq!(fs::metadata(device.home().join("tertulia.db-wal")).unwrap().len(), 0);
        }
    }
}

#[tokio::test]
async fn otherwise_at_most_256_used_keys_can_be_derived_from_the_disk() {
    let (mut alice, mut bob) = two_with(SessionConfig::default()).await;
    let id = conversation();
    let mut most = 0;
    for _ in 0..300 {
        let message = alice.encrypt(&id, "read").await.unwrap();
        bob.decrypt(&id, &message).await.unwrap();
        for device in [&alice, &bob] {
            most = most.max(keys_on_disk(device));
        }
    }
    assert!((200..=256).contains(&most), "{most}");
}

#[tokio::test]
async fn without_memory_for_groups_it_is_the_same() {
    let (alice, bob) = two_with(SessionConfig { cache_bytes: 0, ..SessionConfig::default() }).await;
    talk(alice, bob).await;
}

#[tokio::test]
async fn sessions_that_take_turns_see_what_the_other_has_written() {
    let (_hub, mut alice, mut bob, id) = two().await;
    let mut second = alice.second_session();
    for n in 0..20 {
        let (from, other) = if n % 2 == 0 { (&mut alice, &mut second) } else { (&mut second, &mut alice) };
        let message = from.encrypt(&id, "once").await.unwrap();
        assert_eq!(bob.decrypt(&id, &message).await.unwrap().outcome, Outcome::Application, "{n}");
        let answer = bob.encrypt(&id, "answer").await.unwrap();
        assert_eq!(other.decrypt(&id, &answer).await.unwrap().outcome, Outcome::Application);
        assert_eq!(from.decrypt(&id, &answer).await.unwrap().outcome, Outcome::Duplicate);
        if n % 5 == 4 {
            from.update(&id).await.unwrap();
            assert_eq!(other.epoch(&id), from.epoch(&id));
            bob.sync(&id).await;
        }
    }
}

#[tokio::test]
async fn a_group_that_was_wiped_and_joined_again_is_not_taken_for_the_old_one() {
    let (_hub, mut alice, mut bob, id) = two().await;
    let mut second = bob.second_session();
    bob.read(&id).await;
    let mut tx = second.session.new_transaction().await.unwrap();
    tx.wipe_conversation(&id).unwrap();
    tx.finish().await.unwrap();
    assert!(matches!(bob.session.conversation(&id), Err(EngineError::ConversationNotFound(_))));
    second.join_externally(&id).await.unwrap();
    alice.sync(&id).await;
    alice.send(&id, "to the new one").await;
    bob.cursors.clone_from(&second.cursors);
    assert_eq!(bob.read(&id).await.pop().unwrap(), "to the new one");
}

#[tokio::test]
async fn a_copy_of_the_store_must_update_its_keys_before_it_encrypts() {
    let (hub, mut alice, mut bob, id) = two().await;
    alice.send(&id, "before the backup").await;
    let mut copy = Device::of_home(&hub, &alice.home()).await;
    copy.cursors.clone_from(&alice.cursors);
    alice.send(&id, "after the backup").await;
    drop(alice);

    let refused = copy.encrypt(&id, "with a key of another message").await.unwrap_err();
    assert!(matches!(refused, EngineError::StateRestored), "{refused}");
    assert_eq!(refused.kind(), ErrorKind::LocalState);
    assert!(copy.session.conversation(&id).unwrap().is_restored());
    copy.update(&id).await.unwrap();
    copy.send(&id, "with a fresh key").await;
    assert_eq!(bob.read(&id).await, ["before the backup", "after the backup", "with a fresh key"]);
    copy.sync(&id).await;
    assert_same_state(&id, &[&copy, &bob]);
}

/// A copy that is made while a commit of Alice, or her join, is pending: both the home and the copy learn that the hub took it.
async fn copied_while_pending(is_join: bool) {
    let (hub, mut alice, mut bob, id) = two().await;
    hub.fail_next(Fault::LoseAnswer);
    let sent = if is_join { alice.join_externally(&id).await } else { alice.update(&id).await };
    sent.unwrap_err();
    assert!(alice.session.pending_commit(&id).unwrap().is_some());
    let mut copy = Device::of_home(&hub, &alice.home()).await;
    copy.cursors.clone_from(&alice.cursors);

    // Both have the keys of the new leaf; only one may use them.
    alice.sync(&id).await;
    copy.sync(&id).await;
    assert_same_state(&id, &[&alice, &copy]);
    let refused = copy.encrypt(&id, "with a key of the home").await.unwrap_err();
    assert!(matches!(refused, EngineError::StateRestored), "{refused}");
    alice.send(&id, "from the home").await;
    let mut copy = copy.restarted();
    let refused = copy.encrypt(&id, "with a key of the home").await.unwrap_err();
    assert!(matches!(refused, EngineError::StateRestored), "{refused}");
    copy.sync(&id).await;
    copy.update(&id).await.unwrap();
    copy.send(&id, "from the copy").await;
    assert_eq!(bob.read(&id).await, ["from the home", "from the copy"]);
    copy.sync(&id).await;
    assert_same_state(&id, &[&copy, &bob]);
}

#[tokio::test]
async fn a_copy_made_while_a_commit_is_pending_must_update_its_keys() {
    copied_while_pending(false).await;
}

#[tokio::test]
async fn a_copy_made_while_a_join_is_pending_must_update_its_keys() {
    copied_while_pending(true).await;
}

#[tokio::test]
async fn a_copy_that_is_no_other_file_is_found_out_by_the_echo_of_its_own_message() {
    let (_hub, mut alice, mut bob, id) = two().await;
    let backup = tempfile::tempdir().unwrap();
    alice.send(&id, "before the snapshot").await;
    alice.sync(&id).await;
    copy_files(&alice.home(), backup.path());
    let cursors = alice.cursors.clone();
    alice.send(&id, "after the snapshot").await;
    // As when the snapshot of a whole disk is restored: every file is the same one with its old content.
    let home = alice.home();
    let mut alice = alice.restored(|| copy_files(backup.path(), &home));
    alice.cursors = cursors;

    let echo = alice.sync(&id).await.pop().unwrap();
    assert_eq!(echo.outcome, Outcome::OwnMessageUnknown);
    assert!(matches!(alice.encrypt(&id, "twice").await, Err(EngineError::StateRestored)));
    let mut alice = alice.restarted();
    assert!(matches!(alice.encrypt(&id, "twice").await, Err(EngineError::StateRestored)));
    alice.update(&id).await.unwrap();
    alice.send(&id, "with a fresh key").await;
    assert_eq!(bob.read(&id).await, ["before the snapshot", "after the snapshot", "with a fresh key"]);
}

/// Two devices of schema 1, killed in the midst of a talk: see the lines of `hub.txt` for what the hub had.
#[tokio::test]
async fn devices_of_the_first_schema_go_on_where_they_were() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/schema-1");
    let text = fs::read_to_string(fixture.join("hub.txt")).unwrap();
    let mut log = Vec::new();
    let mut values = HashMap::new();
    for line in text.lines() {
        match line.split_once(' ').unwrap() {
            ("log", entry) => log.push(hex::decode(entry).unwrap()),
            (name, value) => drop(values.insert(name, value)),
        }
    }
    let (hub, id) = (Hub::new(), conversation());
    hub.restore(&id, values["epoch"].parse().unwrap(), log, hex::decode(values["info"]).unwrap());
    let mut alice = Device::of_home(&hub, &fixture.join("alice")).await;
    let mut bob = Device::of_home(&hub, &fixture.join("bob")).await;
    alice.cursors.insert(id.clone(), values["alice"].parse().unwrap());
    bob.cursors.insert(id.clone(), values["bob"].parse().unwrap());

    let late = bob.decrypt(&id, &hex::decode(values["late"]).unwrap()).await.unwrap();
    assert_eq!(late.app_msg.unwrap(), b"late");
    // Bob's commit was accepted and its answer lost; a message of Alice came before it.
    assert!(bob.session.pending_commit(&id).unwrap().is_some());
    assert_eq!(alice.read(&id).await, ["unread by alice"]);
    bob.read(&id).await;
    assert_same_state(&id, &[&alice, &bob]);
    alice.update_with(&id, CommitOptions::default()).await.unwrap();
    bob.sync(&id).await;
    bob.update(&id).await.unwrap();
    alice.sync(&id).await;
    bob.sync(&id).await;
    alice.send(&id, "after the migration").await;
    bob.send(&id, "likewise").await;
    assert_eq!(bob.read(&id).await, ["after the migration"]);
    assert_eq!(alice.read(&id).await, ["likewise"]);
}
