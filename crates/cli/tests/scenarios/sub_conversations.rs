//! Taking part in something within a conversation, and beginning a group anew.

use crate::support::{Device, Hub};
use serde_json::Value;

/// alice and bob in a group that alice has made.
fn garden() -> (Hub, [Device; 2]) {
    let hub = Hub::start();
    let people = ["alice", "bob"].map(|handle| hub.sign_up(handle));
    people[0].befriend(&people[1]);
    people[0].run(&["group", "create", "garden", "bob"]).done();
    (hub, people)
}

fn members(sub: &Value) -> Vec<&str> {
    let members = sub["members"].as_array().expect("a list");
    let mut members: Vec<_> =
        members.iter().map(|member| member["handle"].as_str().expect("a handle")).collect();
    members.sort_unstable();
    members
}

fn key(device: &Device) -> String {
    let printed = device.run(&["sub", "key", "garden", "call", "--length", "16"]).one();
    let key = printed["key"].as_str().expect("a key");
    assert_eq!(key.len(), 32);
    key.to_owned()
}

#[test]
fn two_devices_share_a_key_while_they_are_in_a_call() {
    let (_hub, [alice, bob]) = garden();
    assert_eq!(bob.run(&["sub", "key", "garden", "call"]).code(), "no-conversation");
    let begun = alice.run(&["sub", "join", "garden", "call"]).one();
    assert_eq!((begun["joined"].as_bool(), members(&begun)), (Some(true), vec!["alice"]));
    let listed = bob.run(&["sub", "list", "garden"]).one();
    assert_eq!((listed["joined"].as_bool(), members(&listed)), (Some(false), vec!["alice"]));
    let joined = bob.run(&["sub", "join", "garden", "call"]).one();
    assert_eq!(members(&joined), ["alice", "bob"]);
    assert_eq!(joined["conversation"], begun["conversation"]);
    assert_eq!(key(&alice), key(&bob));
    assert!(alice.listed("call").is_none(), "it is no conversation of its own");

    let left = bob.run(&["sub", "leave", "garden", "call"]).one();
    assert_eq!(left["joined"].as_bool(), Some(false));
    let before = key(&alice);
    alice.run(&["sync"]).done();
    assert_eq!(members(&alice.run(&["sub", "list", "garden"]).one()), ["alice"]);
    alice.run(&["sub", "leave", "garden", "call"]).done();
    assert!(alice.run(&["sub", "list", "garden"]).lines().is_empty());
    alice.run(&["sub", "join", "garden", "call"]).done();
    assert_ne!(key(&alice), before);
}

#[test]
fn a_call_of_two_people_is_under_their_1_to_1() {
    let (_hub, [alice, bob]) = garden();
    alice.run(&["sub", "join", "@bob", "call"]).done();
    let joined = bob.run(&["sub", "join", "@alice", "call"]).one();
    assert_eq!(members(&joined), ["alice", "bob"]);
}

#[test]
fn an_admin_begins_a_group_anew_and_everybody_goes_on() {
    let (_hub, [alice, bob]) = garden();
    alice.send("garden", "before");
    assert_eq!(bob.texts("garden"), ["before"]);
    assert_eq!(bob.run(&["group", "reset", "garden"]).code(), "action-denied");
    alice.run(&["group", "reset", "garden"]).done();
    let report = bob.run(&["sync"]).one();
    assert_eq!(report["resets"], 1);
    bob.send("garden", "after");
    alice.send("garden", "and on");
    for device in [&alice, &bob] {
        assert_eq!(device.texts("garden"), ["before", "after", "and on"]);
    }
}

#[test]
fn who_may_delete_the_group_ends_a_call_for_everybody() {
    let (_hub, [alice, bob]) = garden();
    bob.run(&["sub", "join", "garden", "call"]).done();
    alice.run(&["sub", "join", "garden", "call"]).done();
    assert_eq!(bob.run(&["sub", "delete", "garden", "call"]).code(), "action-denied");
    let ended = alice.run(&["sub", "delete", "garden", "call"]).one();
    assert_eq!(ended["joined"].as_bool(), Some(false));
    assert!(bob.run(&["sub", "list", "garden"]).lines().is_empty());
    assert_eq!(bob.run(&["sub", "key", "garden", "call"]).code(), "no-conversation");
}
