//! A key that the application keeps and gives: nothing of it is on disk, and nothing else opens the store.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, reason = "each file of scenarios needs a part of it")]
mod support;

use std::{fs, path::Path};
use support::{given, passphrase};
use tertulia_store::{ErrorKind, KeySource, Setting, Store};
use zeroize::Zeroizing;

/// A key in which no eight bytes are found elsewhere by chance.
fn key() -> [u8; 32] {
    std::array::from_fn(|at| u8::try_from(at * 7 + 3).unwrap())
}

fn source() -> KeySource {
    KeySource::Given(Zeroizing::new(key()))
}

async fn label(store: &Store, text: &str) {
    let guard = store.lock().await.unwrap();
    store.write(&guard, |w| w.put_setting(Setting::Label, text)).unwrap();
}

fn read_label(store: &Store) -> Option<String> {
    store.read(|r| r.setting(Setting::Label)).unwrap()
}

fn assert_not_on_disk(home: &Path) {
    let digits = hex::encode(key());
    for entry in fs::read_dir(home).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        for part in key().windows(8) {
            assert!(!bytes.windows(8).any(|window| window == part), "{}", path.display());
        }
        for part in digits.as_bytes().windows(16) {
            assert!(!bytes.windows(16).any(|window| window == part), "{}", path.display());
        }
    }
}

#[tokio::test]
async fn a_given_key_opens_the_store_and_is_nowhere_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    let store = Store::create(&home, &source()).unwrap();
    label(&store, "given").await;
    assert_not_on_disk(&home);
    drop(store);
    assert_not_on_disk(&home);
    assert!(!home.join("key").exists());
    let store = Store::open(&home, &source()).unwrap();
    assert_eq!(read_label(&store).as_deref(), Some("given"));
    assert_eq!(format!("{:?}", source()), "Given(…)");
}

#[tokio::test]
async fn each_wrong_way_to_open_has_an_error_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let homes = ["given", "file", "passphrase"].map(|name| directory.path().join(name));
    let right = [source(), KeySource::File, passphrase("open sesame")];
    for (home, right) in homes.iter().zip(&right) {
        drop(Store::create(home, right).unwrap());
    }
    let [by_key, by_file, by_passphrase] = &homes;
    for (home, wrong, expected) in [
        (by_key, given(9), "wrong-key"),
        (by_key, KeySource::File, "given-key-needed"),
        (by_key, passphrase("open sesame"), "given-key-needed"),
        (by_file, source(), "no-given-key-wanted"),
        (by_passphrase, source(), "no-given-key-wanted"),
    ] {
        let error = Store::open(home, &wrong).unwrap_err();
        assert_eq!((error.code(), error.kind()), (expected, ErrorKind::Misuse));
    }
    for (home, right) in homes.iter().zip(&right) {
        Store::open(home, right).unwrap();
    }
    // Without the file that says how, it is not guessed.
    fs::remove_file(by_key.join("key.json")).unwrap();
    assert_eq!(Store::open(by_key, &source()).unwrap_err().code(), "damaged-key");
    fs::write(by_key.join("key.json"), r#"{"version": 2, "algorithm": "given"}"#).unwrap();
    assert_eq!(Store::open(by_key, &source()).unwrap_err().code(), "no-given-key-wanted");
    assert_eq!(Store::open(by_key, &passphrase("x")).unwrap_err().code(), "damaged-key");
}

#[tokio::test]
async fn a_store_with_a_given_key_is_exported_under_any_kind_of_key() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::create(&directory.path().join("home"), &source()).unwrap();
    label(&store, "exported").await;
    for (name, key) in [("another", given(9)), ("file", KeySource::File), ("words", passphrase("x"))] {
        let copy = directory.path().join(name);
        store.export(&copy, &key, |_| ()).unwrap();
        assert_not_on_disk(&copy);
        assert!(Store::open(&copy, &source()).is_err());
        let copy = Store::open(&copy, &key).unwrap();
        assert_eq!(read_label(&copy).as_deref(), Some("exported"));
        // And a copy under a key file gets a given one again.
        let again = directory.path().join(format!("{name}-again"));
        copy.export(&again, &source(), |_| ()).unwrap();
        assert_not_on_disk(&again);
        assert_eq!(read_label(&Store::open(&again, &source()).unwrap()).as_deref(), Some("exported"));
    }
}
