//! A home as a whole: copies of it, and another key for it.

use crate::support::{Device, Hub};
use std::fs;

#[test]
fn an_exported_home_is_a_home() {
    let hub = Hub::start();
    let (alice, bob) = (hub.sign_up("alice"), hub.sign_up("bob"));
    alice.befriend(&bob);
    alice.send("@bob", "before the copy");
    let directory = hub.directory().join("backup");
    let path = directory.to_str().unwrap();
    let answer = alice.run(&["home", "export", path]).one();
    assert_eq!((answer["home"].as_str(), answer["key"].as_str()), (Some(path), Some("file")));

    // Once is enough, and not onto anything.
    assert_eq!(alice.run(&["home", "export", path]).code(), "destination-in-use");

    // The machine is lost, and the copy takes its place.
    fs::remove_dir_all(alice.home()).unwrap();
    let restored = Device::new(directory, "alice", hub.url());
    assert_eq!(restored.run(&["whoami"]).one()["handle"], "alice");
    assert_eq!(restored.texts("@bob"), ["before the copy"]);
}

#[test]
fn an_export_can_have_a_passphrase_of_its_own() {
    let hub = Hub::start();
    let alice = hub.device("alice");
    let signup = ["signup", "alice", "--hub", alice.hub(), "--passphrase-stdin"];
    alice.run_with(&signup, "open sesame, please\n").done();
    let directory = hub.directory().join("backup");
    let export =
        ["home", "export", directory.to_str().unwrap(), "--passphrase-stdin", "--new-passphrase-stdin"];
    assert_eq!(alice.run_with(&export, "open sesame, please\n").code(), "no-secret");
    assert!(!directory.exists());
    let answer = alice.run_with(&export, "open sesame, please\nthe copy's own\n").one();
    assert_eq!(answer["key"], "passphrase");
    let copy = Device::new(directory, "alice", hub.url());
    let whoami = ["whoami", "--passphrase-stdin"];
    assert_eq!(copy.run_with(&whoami, "open sesame, please\n").code(), "wrong-key");
    assert_eq!(copy.run_with(&whoami, "the copy's own\n").one()["handle"], "alice");
}

#[test]
fn a_home_gets_a_passphrase_another_one_and_a_key_file_again() {
    let hub = Hub::start();
    let (alice, bob) = (hub.sign_up("alice"), hub.sign_up("bob"));
    alice.befriend(&bob);
    alice.send("@bob", "under the first key");
    let first = fs::read(alice.home().join("key")).unwrap();

    let rekey = ["home", "rekey", "--new-passphrase-stdin"];
    assert_eq!(alice.run_with(&rekey, "open sesame, please\n").one()["key"], "passphrase");
    assert!(!alice.home().join("key").exists());
    assert_eq!(alice.run(&["whoami"]).code(), "passphrase-needed");

    let rekey = ["home", "rekey", "--passphrase-stdin", "--new-passphrase-stdin"];
    assert_eq!(alice.run_with(&rekey, "open barley, please\nnew\n").code(), "wrong-key");
    alice.run_with(&rekey, "open sesame, please\nopen barley, please\n").done();
    let whoami = ["whoami", "--passphrase-stdin"];
    assert_eq!(alice.run_with(&whoami, "open sesame, please\n").code(), "wrong-key");

    let rekey = ["home", "rekey", "--passphrase-stdin", "--key-file"];
    assert_eq!(alice.run_with(&rekey, "open barley, please\n").one()["key"], "file");
    assert_ne!(fs::read(alice.home().join("key")).unwrap(), first);
    assert_eq!(alice.texts("@bob"), ["under the first key"]);
    alice.send("@bob", "under the last key");
    assert_eq!(bob.texts("@alice"), ["under the first key", "under the last key"]);

    // Which key is to be said.
    alice.run(&["home", "rekey"]).usage();
    alice.run(&["home", "rekey", "--key-file", "--new-passphrase-stdin"]).usage();
    alice.run(&["home", "export"]).usage();
}
