//! Another key for a store: who can open it afterwards, and what a crash in the middle leaves.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, reason = "each file of scenarios needs a part of it")]
mod support;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use std::{fs, path::Path};
use support::{
    ALICE, CONVERSATION, copy_home, given, message, new_store, passphrase,
    process::{Process, home_of_this_process, next_number},
    raw,
};
use tertulia_store::{ErrorKind, KeySource, Setting, Store, StoreError};

/// A home with some megabytes in it.
async fn filled() -> (tempfile::TempDir, Store) {
    let (directory, store) = new_store();
    let guard = store.lock().await.unwrap();
    let text = "Buenas tardes. ".repeat(500);
    store
        .write(&guard, |w| {
            (1..600).try_for_each(|n| w.insert_message(&message(n, ALICE, Some(&text))).map(drop))
        })
        .unwrap();
    drop(guard);
    (directory, store)
}

fn check(store: &Store) {
    let messages = store.read(|r| r.messages(CONVERSATION, None, None)).unwrap();
    assert_eq!(messages.len(), 599);
    assert!(messages.iter().all(|row| row.text.starts_with("Buenas tardes.")));
}

#[tokio::test]
async fn a_store_goes_from_one_kind_of_key_to_any_other() {
    let (directory, store) = filled().await;
    let home = directory.path().join("home");
    let steps = [
        passphrase("open sesame"),
        passphrase("open barley"),
        KeySource::File,
        KeySource::File,
        given(1),
        given(2),
        passphrase("open rye"),
        given(3),
        KeySource::File,
    ];
    let mut before = KeySource::File;
    let mut key_files = vec![fs::read(home.join("key")).unwrap()];
    for step in steps {
        let guard = store.lock().await.unwrap();
        store.rekey(&guard, &step).unwrap();
        // The store goes on with the new key, for reads and for writes.
        check(&store);
        store.write(&guard, |w| w.put_setting(Setting::Label, "after")).unwrap();
        drop(guard);
        check(&Store::open(&home, &step).unwrap());
        let with_file = matches!(step, KeySource::File);
        assert_eq!((home.join("key").exists(), home.join("key.json").exists()), (with_file, !with_file));
        assert!(!home.join("next-key").exists() && !home.join("next-key.json").exists());
        if with_file {
            let key_file = fs::read(home.join("key")).unwrap();
            assert!(!key_files.contains(&key_file), "a key is used for one time only");
            key_files.push(key_file);
        } else {
            Store::open(&home, &before).unwrap_err();
        }
        before = step;
    }
    let sound: String = raw(&home).query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
    assert_eq!(store.incarnation(), Store::open(&home, &before).unwrap().incarnation());
}

#[tokio::test]
async fn nothing_on_disk_is_under_the_old_key() {
    let (directory, store) = filled().await;
    let home = directory.path().join("home");
    let blocks = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        bytes.chunks_exact(4096).map(<[u8]>::to_vec).collect::<std::collections::HashSet<_>>()
    };
    let guard = store.lock().await.unwrap();
    store.erase_log(&guard).unwrap();
    let before = blocks(&home.join("tertulia.db"));
    store.rekey(&guard, &KeySource::File).unwrap();
    assert!(before.len() > 1000);
    assert!(before.is_disjoint(&blocks(&home.join("tertulia.db"))));
    assert_eq!(fs::metadata(home.join("tertulia.db-wal")).unwrap().len(), 0);
}

#[tokio::test]
async fn who_had_the_store_open_is_told_and_changes_nothing() {
    let (directory, store) = filled().await;
    let home = directory.path().join("home");
    let (reads, writes, fresh) = (
        Store::open(&home, &KeySource::File).unwrap(),
        Store::open(&home, &KeySource::File).unwrap(),
        Store::open(&home, &KeySource::File).unwrap(),
    );
    check(&reads);
    let guard = writes.lock().await.unwrap();
    writes.write(&guard, |w| w.put_setting(Setting::Label, "before")).unwrap();
    drop(guard);

    let guard = store.lock().await.unwrap();
    store.rekey(&guard, &KeySource::File).unwrap();
    drop(guard);

    for (who, stale) in [("reads", &reads), ("writes", &writes), ("has not read yet", &fresh)] {
        let error = stale.read(|r| r.setting(Setting::Label)).expect_err(who);
        assert!(matches!(error, StoreError::KeyChanged), "{who}: {error:?}");
        assert_eq!(error.kind(), ErrorKind::Misuse);
        let guard = stale.lock().await.unwrap();
        let error = stale.write(&guard, |w| w.put_setting(Setting::Label, "stale")).expect_err(who);
        assert!(matches!(error, StoreError::KeyChanged), "{who}: {error:?}");
        let error = stale.rekey(&guard, &KeySource::File).expect_err(who);
        assert!(matches!(error, StoreError::KeyChanged), "{who}: {error:?}");
    }
    drop((reads, writes, fresh));
    check(&store);
    assert_eq!(store.read(|r| r.setting(Setting::Label)).unwrap().as_deref(), Some("before"));
    check(&Store::open(&home, &KeySource::File).unwrap());
}

#[tokio::test]
async fn a_read_that_is_under_way_keeps_its_view_and_the_next_has_the_new_key() {
    let (directory, store) = filled().await;
    let guard = store.lock().await.unwrap();
    store
        .read(|r| {
            let before = r.messages(CONVERSATION, None, None)?.len();
            store.rekey(&guard, &passphrase("open sesame"))?;
            assert_eq!(r.messages(CONVERSATION, None, None)?.len(), before);
            Ok::<_, StoreError>(())
        })
        .unwrap();
    check(&store);
    // What the read kept in place goes once it is over.
    store.erase_log(&guard).unwrap();
    drop(guard);
    drop(store);
    check(&Store::open(&directory.path().join("home"), &passphrase("open sesame")).unwrap());
}

/// The steps of a change are told apart by the files that are there before and after it.
#[tokio::test]
async fn whatever_step_a_crash_comes_after_the_store_opens_with_one_of_the_two_keys() {
    let kinds =
        [KeySource::File, passphrase("open sesame"), passphrase("open barley"), given(0x5A), given(0xA5)];
    for (old_at, old) in kinds.iter().enumerate() {
        for (new_at, new) in kinds.iter().enumerate() {
            if !matches!((old_at, new_at), (0, 0 | 1 | 3) | (1, 0 | 2 | 3) | (3, 0 | 1 | 4)) {
                continue;
            }
            let directory = tempfile::tempdir().unwrap();
            let (before, after) = (directory.path().join("before"), directory.path().join("after"));
            drop(Store::create(&before, old).unwrap());
            copy_home(&before, &after);
            let store = Store::open(&after, old).unwrap();
            let guard = store.lock().await.unwrap();
            store.rekey(&guard, new).unwrap();
            drop((guard, store));
            let name =
                |source: &KeySource| if matches!(source, KeySource::File) { "key" } else { "key.json" };
            let put_next = |home: &Path| {
                fs::copy(after.join(name(new)), home.join(format!("next-{}", name(new)))).unwrap();
            };

            // The next key is there, the database is still under the current one.
            let home = directory.path().join("first");
            copy_home(&before, &home);
            put_next(&home);
            opens_only_with(&home, old, new);

            // The database is under the next key.
            let home = directory.path().join("second");
            copy_home(&before, &home);
            put_next(&home);
            fs::copy(after.join("tertulia.db"), home.join("tertulia.db")).unwrap();
            opens_only_with(&home, new, old);

            // The current key is gone, the next one has not got its name.
            let home = directory.path().join("third");
            copy_home(&after, &home);
            fs::remove_file(home.join(name(new))).unwrap();
            put_next(&home);
            opens_only_with(&home, new, old);
        }
    }
}

/// With the right key last, so that a wrong one has to leave everything as it is.
fn opens_only_with(home: &Path, right: &KeySource, wrong: &KeySource) {
    let both_are_files = matches!((right, wrong), (KeySource::File, KeySource::File));
    if !both_are_files {
        let error = Store::open(home, wrong).unwrap_err();
        let expected = match (right, wrong) {
            (KeySource::Given(_), KeySource::Given(_)) => "wrong-key",
            (KeySource::Given(_), _) => "given-key-needed",
            (_, KeySource::Given(_)) => "no-given-key-wanted",
            (KeySource::File, _) => "no-passphrase-wanted",
            (_, KeySource::File) => "passphrase-needed",
            _ => "wrong-key",
        };
        assert_eq!(error.code(), expected, "{}", home.display());
    }
    drop(Store::open(home, right).unwrap());
    assert!(!home.join("next-key").exists() && !home.join("next-key.json").exists(), "it is settled");
    assert!(!(home.join("key").exists() && home.join("key.json").exists()));
    drop(Store::open(home, right).unwrap());
}

#[tokio::test]
async fn a_process_killed_while_it_changes_the_key_leaves_a_store_that_opens() {
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (directory, store) = filled().await;
    let home = directory.path().join("home");
    drop(store);
    for _ in 0..16 {
        let mut process = Process::start("changes_the_key_until_it_is_killed", &home);
        let mut lines = process.lines();
        let key = fs::read(home.join("key")).unwrap();
        next_number(&mut lines);
        let is_there = |name: &str| home.join(name).exists();
        let log = || fs::metadata(home.join("tertulia.db-wal")).map_or(0, |metadata| metadata.len());
        let (moment, bytes) = (random.random_range(0..4), random.random_range(0..6_000_000));
        let is_reached = || match moment {
            0 => is_there("next-key"),
            1 => is_there("next-key") && log() > bytes,
            2 => fs::read(home.join("key")).unwrap() != key,
            _ => fs::read(home.join("key")).unwrap() != key && is_there("next-key"),
        };
        while !is_reached() {
            std::thread::yield_now();
        }
        process.kill();
        let store = Store::open(&home, &KeySource::File).unwrap();
        check(&store);
        drop(store.lock().await.unwrap());
        drop(store);
        assert!(!home.join("next-key").exists());
        let sound: String = raw(&home).query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(sound, "ok");
        let forged = raw(&home).prepare("PRAGMA cipher_integrity_check").unwrap().exists([]).unwrap();
        assert!(!forged, "a page does not fit its authentication code");
    }
}

/// Not a scenario: what the other process does.
#[tokio::test]
async fn changes_the_key_until_it_is_killed() {
    let Some(home) = home_of_this_process() else { return };
    let store = Store::open(&home, &KeySource::File).unwrap();
    let guard = store.lock().await.unwrap();
    println!("\n#1");
    loop {
        store.rekey(&guard, &KeySource::File).unwrap();
    }
}

#[tokio::test]
async fn the_key_is_changed_by_whoever_has_the_right_to_write_only() {
    let ((_directory, store), (_other_directory, other)) = (new_store(), new_store());
    let guard = other.lock().await.unwrap();
    assert!(matches!(store.rekey(&guard, &KeySource::File), Err(StoreError::WrongGuard)));
    assert!(matches!(store.erase_log(&guard), Err(StoreError::WrongGuard)));
}
