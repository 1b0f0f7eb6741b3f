//! What can be done without the hub, and what is said when it is not there.

use crate::support::Hub;

#[test]
fn what_is_written_offline_waits_and_is_sent_by_the_next_sync() {
    let mut hub = Hub::start();
    let (alice, bob) = (hub.sign_up("alice"), hub.sign_up("bob"));
    alice.befriend(&bob);
    alice.send("@bob", "online");
    assert_eq!(bob.texts("@alice"), ["online"]);
    hub.kill();

    assert_eq!(bob.run(&["read", "@alice", "--offline"]).one()["text"], "online");
    assert_eq!(alice.run(&["list", "--offline"]).lines().len(), 1);
    assert_eq!(alice.run(&["connections", "--offline"]).one()["status"], "accepted");
    for text in ["waits first", "waits second"] {
        assert_eq!(alice.run(&["send", "--offline", "@bob", text]).one()["queued"], true);
    }
    assert_eq!(alice.run(&["read", "@bob"]).code(), "hub-unreachable");
    assert_eq!(alice.run(&["sync"]).code(), "hub-unreachable");

    hub.start_again();
    assert_eq!(alice.run(&["sync"]).one()["sent"], 2);
    assert_eq!(alice.run(&["sync"]).one()["sent"], 0);
    assert_eq!(bob.texts("@alice"), ["online", "waits first", "waits second"]);
}

#[test]
fn unread_messages_are_counted_until_they_are_read() {
    let hub = Hub::start();
    let (alice, bob) = (hub.sign_up("alice"), hub.sign_up("bob"));
    alice.befriend(&bob);
    for n in 0..3 {
        alice.send("@bob", &format!("unread {n}"));
    }
    assert_eq!(bob.listed("@alice").unwrap()["unread"], 3);
    // What is known here is counted without the hub, too; one's own words are not unread.
    assert_eq!(bob.run(&["list", "--offline"]).one()["unread"], 3);
    assert_eq!(alice.listed("@bob").unwrap()["unread"], 0);
    assert_eq!(bob.run(&["read", "@alice", "--limit", "2"]).lines().len(), 2);
    assert_eq!(bob.listed("@alice").unwrap()["unread"], 0);
}
