//! Connections, as their commands show them.

use crate::support::{Device, Hub};

fn status(device: &Device, handle: &str) -> Option<String> {
    let lines = device.run(&["connections"]).lines();
    let line = lines.into_iter().find(|line| line["handle"] == handle)?;
    Some(line["status"].as_str().unwrap().to_owned())
}

#[test]
fn an_ignored_request_looks_to_its_sender_like_one_that_waits() {
    let hub = Hub::start();
    let (alice, bob) = (hub.sign_up("alice"), hub.sign_up("bob"));
    alice.run(&["connect", "bob"]).done();
    assert_eq!(bob.run(&["ignore", "alice"]).one()["status"], "ignored");
    assert_eq!(status(&alice, "bob").as_deref(), Some("sent"));
    assert_eq!(alice.run(&["send", "@bob", "hello?"]).code(), "not-connected");
    // Asked again, it can still be accepted.
    alice.run(&["connect", "bob"]).done();
    assert_eq!(status(&bob, "alice").as_deref(), Some("pending"));
    bob.run(&["accept", "alice"]).done();
    alice.send("@bob", "hello");
    assert_eq!(bob.texts("@alice"), ["hello"]);
}

#[test]
fn a_cancelled_request_cannot_be_accepted() {
    let hub = Hub::start();
    let (alice, bob) = (hub.sign_up("alice"), hub.sign_up("bob"));
    alice.run(&["connect", "bob"]).done();
    assert_eq!(alice.run(&["cancel", "bob"]).one()["status"], "cancelled");
    assert_eq!(bob.run(&["accept", "alice"]).code(), "bad-connection-update");
}

#[test]
fn a_block_is_silent_and_can_be_taken_back() {
    let hub = Hub::start();
    let (alice, bob) = (hub.sign_up("alice"), hub.sign_up("bob"));
    alice.befriend(&bob);
    alice.send("@bob", "before the block");
    assert_eq!(bob.run(&["block", "alice"]).one()["status"], "blocked");

    // Nothing tells alice; what she sends is taken, and bob never gets it.
    assert_eq!(status(&alice, "bob").as_deref(), Some("accepted"));
    alice.send("@bob", "into the void");
    assert_eq!(bob.run(&["send", "@alice", "no"]).code(), "not-connected");

    assert_eq!(bob.run(&["unblock", "alice"]).one()["status"], "accepted");
    alice.send("@bob", "after the block");
    assert_eq!(bob.texts("@alice"), ["before the block", "after the block"]);
    bob.send("@alice", "here I am");
    assert_eq!(alice.texts("@bob"), ["before the block", "into the void", "after the block", "here I am"]);
}

#[test]
fn two_people_with_two_devices_each_talk_pairwise_through_a_block_and_go_to_mls() {
    let hub = Hub::start();
    let (alice, bob) = (hub.sign_up("alice"), hub.sign_up("bob"));
    alice.befriend(&bob);
    let (alices_phone, bobs_phone) = (hub.log_in("alice"), hub.log_in("bob"));
    assert_eq!(alice.run(&["direct", "pairwise", "@bob"]).one()["protocol"], "pairwise");
    assert_eq!(bob.run(&["direct", "pairwise", "@alice"]).one()["protocol"], "pairwise", "it is so already");
    alice.send("@bob", "one");
    bobs_phone.send("@alice", "two");
    alices_phone.send("@bob", "three");

    assert_eq!(bob.run(&["block", "alice"]).one()["status"], "blocked");
    alice.send("@bob", "into the void");
    assert_eq!(bobs_phone.run(&["send", "@alice", "no"]).code(), "not-connected");
    bobs_phone.run(&["unblock", "alice"]).done();
    bob.run(&["sync"]).done();
    bob.send("@alice", "four");

    assert_eq!(bob.run(&["direct", "migrate", "@alice"]).one()["protocol"], "mls");
    alices_phone.send("@bob", "five");
    for his in [&bob, &bobs_phone] {
        assert_eq!(his.texts("@alice"), ["one", "two", "three", "four", "five"]);
        assert_eq!(his.listed("@alice").expect("it is there")["protocol"], "mls");
    }
    for hers in [&alice, &alices_phone] {
        assert_eq!(hers.texts("@bob"), ["one", "two", "three", "into the void", "four", "five"]);
    }
    assert_eq!(alice.run(&["direct", "pairwise", "@bob"]).code(), "invalid-protocol-transition");
    alice.run(&["group", "create", "garden", "bob"]).done();
    assert_eq!(alice.run(&["direct", "pairwise", "garden"]).code(), "invalid-operation");
}

#[test]
fn two_requests_that_cross_connect() {
    let hub = Hub::start();
    let (alice, bob) = (hub.sign_up("alice"), hub.sign_up("bob"));
    let requests = [alice.spawn(&["connect", "bob"]), bob.spawn(&["connect", "alice"])];
    for process in requests {
        assert!(process.wait_with_output().unwrap().status.success());
    }
    assert_eq!(status(&alice, "bob").as_deref(), Some("accepted"));
    assert_eq!(status(&bob, "alice").as_deref(), Some("accepted"));
    alice.send("@bob", "we thought of each other");
    assert_eq!(bob.texts("@alice"), ["we thought of each other"]);
}
