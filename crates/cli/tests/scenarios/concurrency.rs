//! Many at once.

use crate::support::{Answer, Device, Hub};
use serde_json::Value;
use std::collections::BTreeSet;

#[test]
fn twenty_sends_at_once_from_four_devices_are_the_same_twenty_messages_in_the_same_order_everywhere() {
    let hub = Hub::start();
    let (alice, bob, carol) = (hub.sign_up("alice"), hub.sign_up("bob"), hub.sign_up("carol"));
    alice.befriend(&bob);
    alice.befriend(&carol);
    alice.run(&["group", "create", "square", "bob", "carol"]).done();
    let laptop = hub.log_in("alice");
    let devices = [&alice, &laptop, &bob, &carol];
    for device in devices {
        device.run(&["sync"]).done();
    }

    let texts: Vec<String> = (0..20).map(|n| format!("message {n} of twenty")).collect();
    let sends = texts.iter().zip(devices.iter().cycle());
    let running: Vec<_> =
        sends.map(|(text, device)| (device, device.spawn(&["send", "square", text]))).collect();
    let mut sequences = BTreeSet::new();
    for (device, process) in running {
        let output = process.wait_with_output().unwrap();
        let message = Answer::new(device.handle(), &["send"], output).one();
        assert!(sequences.insert(message["sequence"].as_u64().unwrap()), "a sequence number was given twice");
    }

    let first = read(&alice);
    let mut found: Vec<_> =
        first.iter().map(|message| message["text"].as_str().unwrap().to_owned()).collect();
    found.sort();
    let mut expected = texts;
    expected.sort();
    assert_eq!(found, expected);
    for device in &devices[1..] {
        assert_eq!(read(device), first);
    }
}

/// Two devices of the admin change one group at the same moment, in two processes each: every commit but the first to come has
/// to be made again on the epoch of the one before.
#[test]
fn changes_of_one_group_at_the_same_moment_are_all_made() {
    let hub = Hub::start();
    let alice = hub.sign_up("alice");
    let guests = ["bob", "carol", "dave", "erin"].map(|handle| {
        let guest = hub.sign_up(handle);
        alice.befriend(&guest);
        guest
    });
    alice.run(&["group", "create", "square"]).done();
    let laptop = hub.log_in("alice");
    // Each learns the name from the other.
    alice.run(&["sync"]).done();
    assert!(laptop.listed("square").is_some());

    let admins = [&alice, &laptop, &alice, &laptop];
    let running: Vec<_> = admins
        .iter()
        .zip(&guests)
        .map(|(admin, guest)| admin.spawn(&["group", "add", "square", guest.handle()]))
        .collect();
    for process in running {
        Answer::new("alice", &["group", "add"], process.wait_with_output().unwrap()).done();
    }
    laptop.send("square", "welcome, all of you");
    for device in guests.iter().chain([&alice]) {
        assert_eq!(device.texts("square").last().unwrap(), "welcome, all of you");
    }
}

fn read(device: &Device) -> Vec<Value> {
    device.run(&["read", "square"]).lines()
}
