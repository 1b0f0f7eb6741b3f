//! `read --follow`.

use crate::support::{Hub, signal};
use serde_json::Value;
use std::io::{BufRead as _, BufReader};

#[test]
fn who_follows_sees_each_message_once_also_when_the_hub_goes_and_comes() {
    let mut hub = Hub::start();
    let (alice, bob) = (hub.sign_up("alice"), hub.sign_up("bob"));
    alice.befriend(&bob);
    alice.send("@bob", "before");

    let mut process = bob.spawn(&["read", "@alice", "--follow"]);
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut next = || {
        let line = lines.next().expect("it goes on").unwrap();
        serde_json::from_str::<Value>(&line).unwrap()["text"].as_str().unwrap().to_owned()
    };
    assert_eq!(next(), "before");
    alice.send("@bob", "live");
    assert_eq!(next(), "live");
    hub.restart();
    alice.send("@bob", "after the restart");
    assert_eq!(next(), "after the restart");
    // Another process on the same home brings it up to date; this one shows it all the same, and once.
    alice.send("@bob", "seen by two");
    bob.run(&["sync"]).done();
    assert_eq!(next(), "seen by two");
    alice.send("@bob", "the last");
    assert_eq!(next(), "the last");

    signal(&process, "INT");
    assert!(process.wait().unwrap().success(), "Ctrl-C is how one stops following");
    assert_eq!(lines.count(), 0);
    assert_eq!(bob.listed("@alice").unwrap()["unread"], 0);
}
