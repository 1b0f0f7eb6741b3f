//! What goes wrong between a device and the hub: lost answers, and processes that are killed at work.

use crate::support::{Answer, Fault, Hub};

/// Requests of this kind carry an application message, and these a commit.
const MESSAGES: &str = "/messages HTTP/1.1";
const COMMITS: &str = "/commits HTTP/1.1";

#[test]
fn a_message_whose_answer_is_lost_arrives_once() {
    let hub = Hub::start();
    let (alice, bob) = (hub.sign_up("alice"), hub.sign_up("bob"));
    alice.befriend(&bob);
    alice.send("@bob", "before");
    let lost = hub.plan(MESSAGES, Fault::LoseAnswer);
    let answer = alice.run(&["send", "@bob", "said once"]);
    lost.try_recv().expect("the message has been on the wire");
    sent_or_queued(&answer);
    alice.send("@bob", "after");
    assert_eq!(bob.texts("@alice"), ["before", "said once", "after"]);
    assert_eq!(alice.texts("@bob"), ["before", "said once", "after"]);
}

#[test]
fn a_commit_whose_answer_is_lost_is_not_lost() {
    let hub = Hub::start();
    let (alice, bob, carol) = (hub.sign_up("alice"), hub.sign_up("bob"), hub.sign_up("carol"));
    alice.befriend(&bob);
    alice.befriend(&carol);
    alice.run(&["group", "create", "garden", "bob"]).done();
    let lost = hub.plan(COMMITS, Fault::LoseAnswer);
    alice.run(&["group", "add", "garden", "carol"]).done();
    lost.try_recv().expect("the commit has been on the wire");
    for (device, text) in [(&alice, "one"), (&bob, "two"), (&carol, "three")] {
        device.send("garden", text);
    }
    for device in [&alice, &bob, &carol] {
        assert_eq!(device.texts("garden"), ["one", "two", "three"]);
    }
}

#[test]
fn messages_sent_while_the_hub_is_killed_at_work_arrive_once_and_in_order() {
    let mut hub = Hub::start();
    let (alice, bob) = (hub.sign_up("alice"), hub.sign_up("bob"));
    alice.befriend(&bob);
    let texts: Vec<String> = (0..10).map(|n| format!("message {n} into the storm")).collect();
    for text in &texts {
        let at_work = hub.plan(MESSAGES, Fault::Tell);
        let process = alice.spawn(&["send", "@bob", text]);
        at_work.recv().expect("the message comes to the hub");
        hub.restart();
        sent_or_queued(&Answer::new("alice", &["send"], process.wait_with_output().unwrap()));
        alice.run(&["sync"]).done();
    }
    assert_eq!(bob.texts("@alice"), texts);
    assert_eq!(alice.texts("@bob"), texts);
}

#[test]
fn messages_of_a_device_that_is_killed_at_work_arrive_once_and_in_order() {
    let hub = Hub::start();
    let (alice, bob) = (hub.sign_up("alice"), hub.sign_up("bob"));
    alice.befriend(&bob);
    let texts: Vec<String> = (0..10).map(|n| format!("message {n} before the end")).collect();
    for text in &texts {
        let at_work = hub.plan(MESSAGES, Fault::Tell);
        let mut process = alice.spawn(&["send", "@bob", text]);
        // What is on the wire was in the outbox before: from here on it cannot be lost.
        at_work.recv().expect("the message comes to the hub");
        process.kill().unwrap();
        process.wait().unwrap();
        alice.run(&["sync"]).done();
    }
    assert_eq!(bob.texts("@alice"), texts);
    assert_eq!(alice.texts("@bob"), texts);
}

#[test]
fn a_device_that_is_killed_between_a_commit_and_its_answer_goes_on_from_there() {
    let hub = Hub::start();
    let alice = hub.sign_up("alice");
    let guests = ["bob", "carol", "dave", "erin"].map(|handle| {
        let guest = hub.sign_up(handle);
        alice.befriend(&guest);
        guest
    });
    alice.run(&["group", "create", "garden"]).done();
    for guest in &guests {
        let at_work = hub.plan(COMMITS, Fault::Tell);
        let mut process = alice.spawn(&["group", "add", "garden", guest.handle()]);
        at_work.recv().expect("the commit comes to the hub");
        process.kill().unwrap();
        process.wait().unwrap();
        // Whether the hub had taken it or not, the person looks, and asks again if need be.
        let members = alice.run(&["group", "members", "garden"]).lines();
        if !members.iter().any(|member| member["handle"] == guest.handle()) {
            alice.run(&["group", "add", "garden", guest.handle()]).done();
        }
        alice.send("garden", &format!("welcome, {}", guest.handle()));
        assert_eq!(guest.texts("garden").last().unwrap(), &format!("welcome, {}", guest.handle()));
    }
}

/// After a fault a message was sent all the same, or waits in the outbox; it is never simply gone.
fn sent_or_queued(answer: &Answer) {
    if answer.status() != 0 {
        assert_eq!(answer.code(), "queued");
    }
}
