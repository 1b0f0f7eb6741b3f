//! A store that was copied, or put back to an older state, and one that was not.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, reason = "each file of scenarios needs a part of it")]
mod support;

use std::{fs, path::Path};
use support::{
    copy_home, new_store,
    process::{Process, home_of_this_process, next_number},
    raw,
};
use tertulia_store::{KeySource, Setting, Store};

fn open(home: &Path) -> Store {
    Store::open(home, &KeySource::File).unwrap()
}

async fn write(store: &Store, value: &str) {
    let guard = store.lock().await.unwrap();
    store.write(&guard, |w| w.put_setting(Setting::Label, value)).unwrap();
}

fn incarnation(home: &Path) -> u64 {
    open(home).incarnation()
}

#[tokio::test]
async fn a_store_that_stays_where_it_is_stays_what_it_is() {
    let (directory, store) = new_store();
    let home = directory.path().join("home");
    assert_eq!(store.incarnation(), 0);
    for turn in 0..3 {
        write(&store, &turn.to_string()).await;
        assert_eq!(incarnation(&home), 0);
    }
    drop(store);
    assert_eq!(incarnation(&home), 0);
}

#[tokio::test]
async fn a_copied_home_is_another_incarnation_and_the_original_is_not() {
    let (directory, store) = new_store();
    let (home, copy) = (directory.path().join("home"), directory.path().join("copy"));
    write(&store, "before").await;
    drop(store);
    copy_home(&home, &copy);
    let number = incarnation(&copy);
    assert!(number > 0);
    assert_eq!(incarnation(&copy), number, "once");
    assert_eq!(incarnation(&home), 0);
    // A copy of the copy is one more, and so is the copy put in the place of the original.
    let third = directory.path().join("third");
    copy_home(&copy, &third);
    assert!(incarnation(&third) > number);
    fs::remove_dir_all(&home).unwrap();
    copy_home(&copy, &home);
    assert!(incarnation(&home) > number);
}

#[tokio::test]
async fn an_older_database_put_back_into_its_file_is_another_incarnation() {
    let (directory, store) = new_store();
    let (home, backup) = (directory.path().join("home"), directory.path().join("backup"));
    drop(store);
    fs::copy(home.join("tertulia.db"), &backup).unwrap();
    // One write is enough, and the store need not have been opened again.
    let store = open(&home);
    write(&store, "after the backup").await;
    drop(store);
    fs::copy(&backup, home.join("tertulia.db")).unwrap();
    let number = incarnation(&home);
    assert!(number > 0);
    assert_eq!(incarnation(&home), number, "once");
}

#[tokio::test]
async fn a_backup_that_is_put_back_twice_is_no_incarnation_that_was_there_before() {
    let (directory, store) = new_store();
    let (home, backup) = (directory.path().join("home"), directory.path().join("backup"));
    drop(store);
    fs::copy(home.join("tertulia.db"), &backup).unwrap();
    let mut seen = vec![incarnation(&home)];
    for turn in 0..3 {
        let store = open(&home);
        write(&store, &turn.to_string()).await;
        drop(store);
        fs::copy(&backup, home.join("tertulia.db")).unwrap();
        let number = incarnation(&home);
        assert!(!seen.contains(&number), "{number} after {seen:?}");
        seen.push(number);
    }
}

#[tokio::test]
async fn a_renamed_home_is_the_same() {
    let (directory, store) = new_store();
    let (home, renamed) = (directory.path().join("home"), directory.path().join("renamed"));
    write(&store, "before").await;
    drop(store);
    fs::rename(&home, &renamed).unwrap();
    assert_eq!(incarnation(&renamed), 0);
}

#[tokio::test]
async fn a_crash_between_the_two_counts_is_no_alarm() {
    let (directory, store) = new_store();
    let home = directory.path().join("home");
    write(&store, "first").await;
    let outside = fs::read(home.join("written")).unwrap();
    write(&store, "second").await;
    drop(store);
    // As it is left by a process that dies once the database has its write.
    fs::write(home.join("written"), outside).unwrap();
    assert_eq!(incarnation(&home), 0);
}

#[tokio::test]
async fn a_count_that_is_lost_or_damaged_is_an_alarm_and_no_error() {
    let (directory, store) = new_store();
    let home = directory.path().join("home");
    write(&store, "first").await;
    drop(store);
    let mut number = 0;
    for damage in [&b""[..], b"no number\n", b"99999999999999999999999\n", b"\xff\xfe\xfd"] {
        fs::write(home.join("written"), damage).unwrap();
        let raised = incarnation(&home);
        assert!(raised > number, "{damage:?}");
        number = raised;
        let store = open(&home);
        write(&store, "goes on").await;
        drop(store);
        assert_eq!(incarnation(&home), number, "once");
    }
    fs::remove_file(home.join("written")).unwrap();
    assert!(incarnation(&home) > number);
}

#[tokio::test]
async fn a_write_that_changes_nothing_or_fails_does_not_count() {
    let (directory, store) = new_store();
    let home = directory.path().join("home");
    let counts = || {
        let inside: i64 =
            raw(&home).query_row("SELECT written FROM incarnation", [], |row| row.get(0)).unwrap();
        let outside: i64 = fs::read_to_string(home.join("written")).unwrap().trim().parse().unwrap();
        (inside, outside)
    };
    let before = counts();
    let guard = store.lock().await.unwrap();
    store.write(&guard, |_| Ok::<_, tertulia_store::StoreError>(())).unwrap();
    let failed = store.write(&guard, |w| {
        w.put_setting(Setting::Label, "x").and(Err::<(), _>(tertulia_store::StoreError::DiskFull))
    });
    failed.unwrap_err();
    assert_eq!(counts(), before);
    store.write(&guard, |w| w.put_setting(Setting::Label, "x")).unwrap();
    assert_eq!(counts(), (before.0 + 1, before.1 + 1));
}

#[test]
fn processes_that_open_a_copy_at_the_same_time_agree_on_what_it_is() {
    let (directory, store) = new_store();
    drop(store);
    let copy = directory.path().join("copy");
    copy_home(&directory.path().join("home"), &copy);
    let mut processes: Vec<_> =
        (0..4).map(|_| Process::start("opens_and_says_which_incarnation", &copy)).collect();
    let said: Vec<_> = processes.iter_mut().map(|process| next_number(&mut process.lines())).collect();
    let number = incarnation(&copy);
    assert!(number > 0);
    assert_eq!(said, [number; 4]);
}

/// Not a scenario: what the other process does.
#[test]
fn opens_and_says_which_incarnation() {
    let Some(home) = home_of_this_process() else { return };
    println!("\n#{}", incarnation(&home));
}
