//! Homes: several side by side, how they are locked, and where they are.

use crate::support::{Answer, Hub, tertulia};
use std::{fs, path::Path};

#[test]
fn who_a_home_is_says_whoami() {
    let hub = Hub::start();
    let alice = hub.sign_up("alice");
    let laptop = hub.log_in("alice");
    let (one, other) = (alice.run(&["whoami"]).one(), laptop.run(&["whoami"]).one());
    assert_eq!(one["handle"], "alice");
    assert_eq!(one["user"], other["user"]);
    assert_eq!(one["domain"], other["domain"]);
    assert_ne!(one["device"], other["device"]);
    let user = one["user"].as_str().unwrap();
    assert_eq!(user.len(), 36, "a UUID: {user}");

    let devices = alice.run(&["device", "list"]).lines();
    assert_eq!(devices.len(), 2);
    let current: Vec<_> = devices.iter().filter(|device| device["current"] == true).collect();
    assert_eq!(current.len(), 1);
    assert_eq!(current[0]["device"], one["device"]);
}

#[test]
fn the_environment_names_the_home_and_the_option_is_stronger() {
    let hub = Hub::start();
    let (alice, bob) = (hub.sign_up("alice"), hub.sign_up("bob"));
    let who = |args: &[&str]| {
        let output = tertulia().args(args).arg("--json").env("TERTULIA_HOME", alice.home()).output().unwrap();
        Answer::new("somebody", args, output).one()["handle"].clone()
    };
    assert_eq!(who(&["whoami"]), "alice");
    assert_eq!(who(&["whoami", "--home", bob.home().to_str().unwrap()]), "bob");
}

#[test]
fn without_anything_said_the_home_is_where_the_platform_keeps_data() {
    let hub = Hub::start();
    let person = hub.directory().join("person");
    let run = |args: &[&str]| {
        let output = tertulia()
            .args(args)
            .arg("--json")
            .env("HOME", &person)
            .env_remove("XDG_DATA_HOME")
            .env("TERTULIA_PASSWORD", "correct horse battery staple")
            .output()
            .unwrap();
        Answer::new("person", args, output).one()
    };
    run(&["signup", "alice", "--hub", &hub.url()]);
    assert_eq!(run(&["whoami"])["handle"], "alice");
    assert!(person.exists(), "the home is below the person's own directory");
}

#[test]
fn a_home_with_a_passphrase_opens_with_that_one_only() {
    let hub = Hub::start();
    let alice = hub.device("alice");
    let signup = ["signup", "alice", "--hub", alice.hub(), "--passphrase-stdin"];
    alice.run_with(&signup, "open sesame, please\n").done();
    assert!(!alice.home().join("key").exists(), "no key is kept beside what it locks");
    let whoami = ["whoami", "--passphrase-stdin"];
    assert_eq!(alice.run_with(&whoami, "open sesame, please\n").one()["handle"], "alice");
    assert_eq!(alice.run_with(&whoami, "open barley, please\n").code(), "wrong-key");
    assert_eq!(alice.run(&["whoami"]).code(), "passphrase-needed");

    // A password and a text can follow it on standard input.
    let bob = hub.device("bob");
    let signup = ["signup", "bob", "--hub", bob.hub(), "--passphrase-stdin", "--password-stdin"];
    bob.run_with(&signup, "bob's own passphrase\nbob's own password\n").done();
    alice.run_with(&["connect", "bob", "--passphrase-stdin"], "open sesame, please\n").done();
    bob.run_with(&["accept", "alice", "--passphrase-stdin"], "bob's own passphrase\n").done();
    alice.run_with(&["send", "@bob", "--passphrase-stdin"], "open sesame, please\nhello\nbob\n").done();
    let read = bob.run_with(&["read", "@alice", "--passphrase-stdin"], "bob's own passphrase\n").one();
    assert_eq!(read["text"], "hello\nbob");
}

#[test]
fn the_password_can_come_from_standard_input() {
    let hub = Hub::start();
    let alice = hub.device("alice");
    alice
        .run_with(&["signup", "alice", "--hub", alice.hub(), "--password-stdin"], "typed by a script\n")
        .done();
    let laptop = hub.device("alice");
    let log_in = ["login", "alice", "--hub", laptop.hub(), "--password-stdin"];
    assert_eq!(laptop.run_with(&log_in, "typed by a cat\n").code(), "invalid-credentials");
    laptop.run_with(&log_in, "typed by a script\n").done();
}

#[cfg(unix)]
#[test]
fn nobody_else_on_the_machine_can_open_a_home() {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let hub = Hub::start();
    let (alice, bob) = (hub.sign_up("alice"), hub.sign_up("bob"));
    alice.befriend(&bob);
    alice.send("@bob", "for our eyes");
    assert_eq!(mode(&alice.home().join("key")), 0o600);
    for directory in [alice.home().to_owned(), hub.data()] {
        assert_eq!(mode(&directory), 0o700, "{}", directory.display());
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(mode(&path) & 0o077, 0, "{}", path.display());
        }
    }
}

#[test]
fn a_home_without_its_key_stays_closed() {
    let hub = Hub::start();
    let alice = hub.sign_up("alice");
    let key = alice.home().join("key");
    let saved = fs::read(&key).unwrap();
    fs::write(&key, vec![b'0'; saved.len()]).unwrap();
    assert_eq!(alice.run(&["whoami"]).code(), "wrong-key");
    fs::write(&key, saved).unwrap();
    assert_eq!(alice.run(&["whoami"]).one()["handle"], "alice");
}
