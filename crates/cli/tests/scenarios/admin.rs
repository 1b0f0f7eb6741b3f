//! What who runs a hub does beside running it: on a hub that runs, and on one that does not.

use crate::support::{Answer, Hub, tertulia};
use serde_json::Value;

/// `tertulia admin` on the hub's data.
fn admin(hub: &Hub, args: &[&str]) -> Answer {
    let output =
        tertulia().arg("--json").arg("admin").args(args).arg("--data").arg(hub.data()).output().unwrap();
    Answer::new("operator", args, output)
}

/// Does something with the hub running and, with another account, not running.
fn either_way(mut work: impl FnMut(&mut Hub, &str)) {
    let mut hub = Hub::start();
    work(&mut hub, "alice");
    work(&mut hub, "bob");
}

#[test]
fn accounts_are_listed_and_shown_whether_or_not_the_hub_runs() {
    let mut hub = Hub::start();
    let (alice, bob) = (hub.sign_up("alice"), hub.sign_up("bob"));
    alice.befriend(&bob);
    hub.log_in("alice");
    let listed = admin(&hub, &["users", "list"]).lines();
    assert_eq!(
        listed.iter().map(|user| user["handle"].as_str().unwrap()).collect::<Vec<_>>(),
        ["alice", "bob"]
    );
    assert_eq!(listed[0], admin(&hub, &["users", "show", "@Alice"]).one());
    assert_eq!((&listed[0]["devices"], &listed[0]["sessions"]), (&Value::from(2), &Value::from(2)));
    assert_eq!(listed[0]["user"], alice.run(&["whoami"]).one()["user"]);
    assert_eq!(admin(&hub, &["users", "show", "carol"]).code(), "unknown-user");
    let numbers = admin(&hub, &["statistics"]).one();
    assert_eq!((&numbers["accounts"], &numbers["devices"]), (&Value::from(2), &Value::from(3)));
    assert_eq!(numbers["one_to_ones"], 1);
    assert!(numbers["bytes"].as_u64().unwrap() > 0);

    assert!(hub.terminate().success());
    assert_eq!(admin(&hub, &["users", "list"]).lines(), listed);
    assert_eq!(admin(&hub, &["users", "show", "carol"]).code(), "unknown-user");
    // People see no json.
    let output = tertulia().args(["admin", "users", "list", "--data"]).arg(hub.data()).output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("@alice"));
}

#[test]
fn nobody_is_in_or_gets_into_an_account_that_is_locked() {
    either_way(|hub, handle| {
        let device = hub.sign_up(handle);
        let running = handle == "alice";
        if !running {
            assert!(hub.terminate().success());
        }
        let locked = admin(hub, &["users", "lock", handle]).one();
        assert!(locked["locked_at"].is_string() && locked["sessions"] == 0, "{locked}");
        if !running {
            hub.start_again();
        }
        assert_eq!(device.run(&["sync"]).code(), "unauthenticated");
        // A locked account looks like a wrong password.
        assert_eq!(device.run(&["login", handle, "--hub", &hub.url()]).code(), "invalid-credentials");
        let unlocked = admin(hub, &["users", "unlock", handle]).one();
        assert_eq!(unlocked["locked_at"], Value::Null);
        device.run(&["login", handle, "--hub", &hub.url()]).done();
        device.run(&["sync"]).done();
    });
}

#[test]
fn sessions_are_ended_one_or_all_and_devices_go_on_after_a_log_in() {
    let hub = Hub::start();
    let (alice, phone) = (hub.sign_up("alice"), hub.log_in("alice"));
    let sessions = admin(&hub, &["sessions", "list", "alice"]).lines();
    let id = |device: &crate::support::Device| device.run(&["whoami"]).one()["device"].clone();
    let of_phone =
        sessions.iter().find(|session| session["device"] == id(&phone)).expect("the phone's session");
    let name = of_phone["session"].as_str().unwrap();
    assert_eq!(admin(&hub, &["sessions", "end", "alice", name]).one()["ended"], 1);
    assert_eq!(phone.run(&["sync"]).code(), "unauthenticated");
    alice.run(&["sync"]).done();
    assert_eq!(admin(&hub, &["sessions", "end", "alice", name]).code(), "not-found");
    assert_eq!(admin(&hub, &["sessions", "end", "alice", "--all"]).one()["ended"], 1);
    assert_eq!(alice.run(&["sync"]).code(), "unauthenticated");
    alice.run(&["login", "alice", "--hub", &hub.url()]).done();
    alice.run(&["sync"]).done();
}

#[test]
fn a_device_that_an_operator_removes_reads_nothing_more() {
    let hub = Hub::start();
    let (alice, bob) = (hub.sign_up("alice"), hub.sign_up("bob"));
    let phone = hub.log_in("alice");
    alice.befriend(&bob);
    phone.run(&["sync"]).done();
    let id = phone.run(&["whoami"]).one()["device"].as_str().unwrap().to_owned();
    let devices = admin(&hub, &["devices", "list", "alice"]).lines();
    assert!(
        devices.len() == 2 && devices.iter().any(|device| device["device"] == id.as_str()),
        "{devices:?}"
    );
    assert_eq!(admin(&hub, &["devices", "remove", "alice", &id]).one()["device"], id.as_str());
    assert_eq!(phone.run(&["sync"]).code(), "device-removed");
    assert_eq!(admin(&hub, &["devices", "remove", "alice", &id]).code(), "not-found");
    assert_eq!(admin(&hub, &["devices", "list", "alice"]).lines().len(), 1);
    bob.send("@alice", "for the other device");
    assert_eq!(alice.texts("@bob"), ["for the other device"]);
}

#[test]
fn an_account_that_an_operator_deletes_is_gone_for_everybody() {
    let mut hub = Hub::start();
    let (alice, bob) = (hub.sign_up("alice"), hub.sign_up("bob"));
    alice.befriend(&bob);
    admin(&hub, &["users", "delete", "alice"]).usage();
    let deleted = admin(&hub, &["users", "delete", "alice", "--yes"]).one();
    assert!(deleted["deleted_at"].is_string(), "{deleted}");
    assert_ne!(alice.run(&["sync"]).status(), 0);
    assert_eq!(bob.run(&["connect", "alice"]).code(), "invalid-user");
    for refused in [
        &["users", "lock", "alice"][..],
        &["sessions", "list", "alice"],
        &["users", "delete", "alice", "--yes"],
    ] {
        assert_eq!(admin(&hub, refused).code(), "unknown-user", "{refused:?}");
    }
    let pruned = admin(&hub, &["prune"]).one();
    assert!(pruned["conversations"].is_u64(), "{pruned}");
    assert!(hub.terminate().success());
    assert_eq!(admin(&hub, &["prune"]).one()["invitations"], 0);
}

#[test]
fn where_there_is_no_hub_none_is_made() {
    let hub = Hub::start();
    let nowhere = hub.directory().join("nowhere");
    let output = tertulia().args(["admin", "statistics", "--data"]).arg(&nowhere).output().unwrap();
    assert_eq!(Answer::new("operator", &[], output).code(), "no-hub-data");
    assert!(!nowhere.exists());
}

#[cfg(unix)]
#[test]
fn only_the_owner_of_the_data_is_heard() {
    use std::os::unix::fs::PermissionsExt as _;
    let hub = Hub::start();
    let socket = hub.data().join("hub.sock");
    assert_eq!(socket.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}
