//! What is set of conversations, for all and for oneself.

use crate::support::{Device, Hub, tertulia};
use serde_json::{Value, json};

fn garden() -> (Hub, [Device; 2]) {
    let hub = Hub::start();
    let people = ["alice", "bob"].map(|handle| hub.sign_up(handle));
    people[0].befriend(&people[1]);
    people[0].run(&["group", "create", "garden", "bob"]).done();
    (hub, people)
}

/// What a person reads.
fn shown(device: &Device) -> String {
    let mut command = tertulia();
    command.arg("--home").arg(device.home()).args(["read", "garden"]);
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

/// Whether a device lists the conversation of this name with these options.
fn lists(device: &Device, options: &[&str], name: &str) -> bool {
    let mut line = vec!["list"];
    line.extend(options);
    device.run(&line).lines().iter().any(|listed| listed["name"] == name)
}

#[test]
fn a_timer_is_set_shown_and_taken_back() {
    let (_hub, [alice, bob]) = garden();
    assert_eq!(bob.run(&["group", "timer", "garden", "7d"]).code(), "action-denied");
    let set = alice.run(&["group", "timer", "garden", "7d"]).one();
    assert_eq!(set["message_timer"], 7 * 24 * 60 * 60 * 1000);
    alice.send("garden", "gone in a week");
    let read = bob.run(&["read", "garden"]).lines();
    assert_eq!(read[0]["expires_at"], Value::Null, "its time begins with reading");
    let read = bob.run(&["read", "garden"]).lines();
    assert!(read[0]["expires_at"].is_string(), "{}", read[0]);
    assert_eq!(alice.run(&["group", "timer", "garden", "366d"]).code(), "invalid-timer");
    assert_eq!(alice.run(&["group", "timer", "garden", "off"]).one()["message_timer"], Value::Null);
}

#[test]
fn with_receipts_on_one_sees_who_has_read() {
    let (_hub, [alice, bob]) = garden();
    let set = alice.run(&["group", "receipts", "garden", "on"]).one();
    assert_eq!(set["receipt_mode"], "on");
    alice.send("garden", "have you read it?");
    assert_eq!(alice.run(&["read", "garden"]).lines()[0]["receipts"], json!([]));
    assert_eq!(bob.texts("garden"), ["have you read it?"]);
    let read = alice.run(&["read", "garden"]).lines();
    assert_eq!(read[0]["receipts"][0]["handle"], "bob");
    assert_eq!(read[0]["receipts"][0]["status"], "read");
    assert!(shown(&alice).contains("read by @bob"));
    assert!(!shown(&bob).contains("read by"));
}

#[test]
fn what_is_muted_archived_or_hidden_is_so_on_all_of_ones_devices() {
    let (hub, [alice, bob]) = garden();
    let phone = hub.log_in("alice");
    alice.run(&["sync"]).done();
    phone.run(&["sync"]).done();
    let muted = alice.run(&["mute", "garden", "--reference", "until Monday"]).one();
    assert_eq!(muted["muted"], json!({ "reference": "until Monday" }));
    alice.run(&["archive", "garden"]).done();
    alice.run(&["hide", "@bob"]).done();
    for device in [&alice, &phone] {
        assert!(!lists(device, &[], "garden") && lists(device, &["--archived"], "garden"));
        assert!(!lists(device, &[], "@bob") && lists(device, &["--all"], "@bob"));
        assert!(!lists(device, &["--archived"], "@bob") && lists(device, &["--all"], "garden"));
    }
    assert!(lists(&bob, &[], "garden"));
    assert_eq!(phone.run(&["archive", "garden", "--off", "--offline"]).one()["archived"], Value::Null);
    assert!(!lists(&alice, &[], "garden"), "the phone has not told it yet");
    phone.run(&["sync"]).done();
    assert!(lists(&alice, &[], "garden"));
}

#[test]
fn a_group_is_made_under_another() {
    let (_hub, [alice, bob]) = garden();
    let garden = alice.listed("garden").expect("listed")["conversation"].clone();
    let made = alice.run(&["group", "create", "tools", "bob", "--parent", "garden"]).one();
    assert_eq!(made["parent"], garden);
    assert_eq!(bob.listed("tools").expect("listed")["parent"], garden);
}
