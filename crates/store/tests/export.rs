//! Copies of a store that others use meanwhile, and what is left of what was deleted.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, reason = "each file of scenarios needs a part of it")]
mod support;

use std::fs;
use support::{ALICE, CONVERSATION, message, new_store, passphrase, raw};
use tertulia_store::{ErrorKind, ExportProgress, KeySource, Setting, Store, StoreError};

fn ignore(_: ExportProgress) {}

async fn fill(store: &Store, from: u64, to: u64) {
    let guard = store.lock().await.unwrap();
    let text = "Buenas tardes. ".repeat(300);
    store
        .write(&guard, |w| {
            w.set_cursor(&to.to_string())?;
            (from..to).try_for_each(|n| w.insert_message(&message(n, ALICE, Some(&text))).map(drop))
        })
        .unwrap();
}

fn count(store: &Store) -> usize {
    store.read(|r| r.messages(CONVERSATION, None, None)).unwrap().len()
}

#[tokio::test]
async fn an_export_is_a_store_of_its_own_with_everything_in_it() {
    let (directory, store) = new_store();
    fill(&store, 1, 2_000).await;
    let mut reports = Vec::new();
    let copy = directory.path().join("backups").join("monday");
    store.export(&copy, &passphrase("open sesame"), |report| reports.push(report)).unwrap();

    let last = reports.last().unwrap();
    assert!(reports.len() > 1 && reports.is_sorted_by_key(|report| report.copied), "{reports:?}");
    assert_eq!(last.copied, last.total);
    assert_eq!(last.total, fs::metadata(copy.join("tertulia.db")).unwrap().len());

    assert_eq!(Store::open(&copy, &KeySource::File).unwrap_err().code(), "passphrase-needed");
    let opened = Store::open(&copy, &passphrase("open sesame")).unwrap();
    assert_eq!(count(&opened), 1_999);
    // It is a copy, and knows it; the original stays what it is.
    assert!(opened.incarnation() > 0);
    assert_eq!(Store::open(&directory.path().join("home"), &KeySource::File).unwrap().incarnation(), 0);
    // The two are independent from now on.
    fill(&opened, 5_000, 5_001).await;
    fill(&store, 6_000, 6_003).await;
    assert_eq!((count(&opened), count(&store)), (2_000, 2_002));
}

#[tokio::test]
async fn an_export_under_a_key_file_is_sound_and_private() {
    let (directory, store) = new_store();
    fill(&store, 1, 50).await;
    let copy = directory.path().join("copy");
    store.export(&copy, &KeySource::File, ignore).unwrap();
    assert_ne!(fs::read(copy.join("key")).unwrap(), fs::read(directory.path().join("home/key")).unwrap());
    let connection = raw(&copy);
    let sound: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
    drop(connection);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&copy), 0o700);
        for entry in fs::read_dir(&copy).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(mode(&path), 0o600, "{path:?}");
        }
    }
}

#[tokio::test]
async fn an_export_has_one_state_however_much_is_written_meanwhile() {
    let (directory, store) = new_store();
    fill(&store, 1, 2_000).await;
    let copy = directory.path().join("copy");
    let guard = store.lock().await.unwrap();
    let mut written = 0;
    store
        .export(&copy, &KeySource::File, |_| {
            written += 1;
            store
                .write(&guard, |w| {
                    w.set_cursor("later")?;
                    w.insert_message(&message(10_000 + written, ALICE, Some("later")))
                })
                .unwrap();
        })
        .unwrap();
    assert!(written > 1);
    let opened = Store::open(&copy, &KeySource::File).unwrap();
    assert_eq!(count(&opened), 1_999);
    assert_eq!(opened.read(|r| r.cursor()).unwrap().as_deref(), Some("2000"));
}

#[tokio::test]
async fn an_export_does_not_touch_what_is_there_already() {
    let (directory, store) = new_store();
    let (occupied, file) = (directory.path().join("occupied"), directory.path().join("file"));
    fs::create_dir(&occupied).unwrap();
    fs::write(occupied.join("letter"), "dear").unwrap();
    fs::write(&file, "dear").unwrap();
    for destination in [&occupied, &file, &directory.path().join("home"), std::path::Path::new("/")] {
        let error = store.export(destination, &KeySource::File, ignore).unwrap_err();
        assert!(matches!(error, StoreError::DestinationInUse { .. }), "{destination:?}: {error:?}");
        assert_eq!(error.kind(), ErrorKind::Misuse);
    }
    assert_eq!(fs::read_dir(&occupied).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(&file).unwrap(), "dear");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3, "nothing is left beside them");
    // An empty directory is as good as none.
    let empty = directory.path().join("empty");
    fs::create_dir(&empty).unwrap();
    store.export(&empty, &KeySource::File, ignore).unwrap();
    Store::open(&empty, &KeySource::File).unwrap();
}

#[tokio::test]
async fn an_export_that_was_killed_is_made_anew_and_two_at_once_are_kept_apart() {
    let (directory, store) = new_store();
    fill(&store, 1, 2_000).await;
    let (copy, unfinished) = (directory.path().join("copy"), directory.path().join(".copy.unfinished"));
    fs::create_dir(&unfinished).unwrap();
    fs::write(unfinished.join("tertulia.db"), "half a page").unwrap();
    fs::write(unfinished.join("tertulia.db-journal"), "half a page").unwrap();
    fs::write(unfinished.join("key.json"), "{}").unwrap();
    let mut refused = 0;
    store
        .export(&copy, &KeySource::File, |_| {
            assert!(!Store::exists(&copy));
            let error = store.export(&copy, &KeySource::File, ignore).unwrap_err();
            assert!(matches!(error, StoreError::Busy), "{error:?}");
            refused += 1;
        })
        .unwrap();
    assert!(refused > 0);
    assert!(!unfinished.exists());
    assert!(!copy.join("tertulia.db-journal").exists() && !copy.join("key.json").exists());
    assert_eq!(count(&Store::open(&copy, &KeySource::File).unwrap()), 1_999);
}

#[tokio::test]
async fn an_export_that_fails_leaves_nothing() {
    let (directory, store) = new_store();
    fill(&store, 1, 2_000).await;
    let copy = directory.path().join("copy");
    // Somebody puts something there before it is complete.
    let error = store.export(&copy, &KeySource::File, |_| {
        fs::create_dir_all(&copy).unwrap();
        fs::write(copy.join("letter"), "dear").unwrap();
    });
    assert!(matches!(error, Err(StoreError::DestinationInUse { .. })), "{error:?}");
    assert_eq!(fs::read_dir(&copy).unwrap().count(), 1);
    assert!(!directory.path().join(".copy.unfinished").exists());
}

#[tokio::test]
async fn after_erasure_the_log_has_no_older_pages_with_what_was_deleted() {
    let (directory, store) = new_store();
    let home = directory.path().join("home");
    let secret = b"the-ratchet-secret-that-was-used-up".repeat(20);
    let guard = store.lock().await.unwrap();
    store.write(&guard, |w| w.put_group_epoch(b"group", 1, &secret)).unwrap();
    store.write(&guard, |w| w.delete_group_epochs_below(b"group", 2)).unwrap();
    let log = home.join("tertulia.db-wal");
    assert!(fs::metadata(&log).unwrap().len() > 0, "it is in the log before");
    store.erase_log(&guard).unwrap();
    assert_eq!(fs::metadata(&log).unwrap().len(), 0);
    assert_eq!(store.read(|r| r.group_epoch(b"group", 1)).unwrap(), None);
}

#[tokio::test]
async fn erasure_says_when_a_read_needs_what_is_to_be_erased() {
    let (directory, store) = new_store();
    let guard = store.lock().await.unwrap();
    store.write(&guard, |w| w.put_setting(Setting::Label, "first")).unwrap();
    store
        .read(|r| {
            r.setting(Setting::Label)?;
            store.write(&guard, |w| w.put_setting(Setting::Label, "second"))?;
            let error = store.erase_log(&guard).unwrap_err();
            assert!(matches!(error, StoreError::Busy), "{error:?}");
            assert_eq!(error.kind(), ErrorKind::Transient);
            assert_eq!(r.setting(Setting::Label)?.as_deref(), Some("first"));
            Ok::<_, StoreError>(())
        })
        .unwrap();
    store.erase_log(&guard).unwrap();
    assert_eq!(fs::metadata(directory.path().join("home/tertulia.db-wal")).unwrap().len(), 0);
    assert_eq!(store.read(|r| r.setting(Setting::Label)).unwrap().as_deref(), Some("second"));
}
