//! What the hub and the wire must not learn.

use crate::support::{Hub, Needle, PASSWORD};
use std::io::{BufRead as _, BufReader};

#[test]
fn neither_the_hub_nor_the_wire_nor_a_disk_has_a_word_of_what_was_said() {
    let group = "The conspiracy of the lighthouse";
    let renamed = "The society of the harbour";
    let said = [
        "the parcel lies under the third stair",
        "bring the lantern and forty-one matches",
        "nobody but us knows about the boat",
        "a text that waits in the outbox for a while",
    ];
    let mut hub = Hub::start();
    let (alice, bob) = (hub.sign_up("alice-the-keeper"), hub.sign_up("bob-the-pilot"));
    alice.befriend(&bob);
    alice.send("@bob-the-pilot", said[0]);
    bob.send("@alice-the-keeper", said[1]);
    alice.run(&["group", "create", group, "bob-the-pilot"]).done();
    // One reads live, so that the stream of events is on the wire too.
    let mut follower = alice.spawn(&["read", group, "--follow"]);
    bob.send(group, said[2]);
    let mut line = String::new();
    BufReader::new(follower.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains(said[2]), "{line}");
    follower.kill().unwrap();
    follower.wait().unwrap();
    alice.run(&["group", "rename", group, renamed]).done();
    alice.run(&["send", "--offline", renamed, said[3]]).done();
    // While the message waits, it is on one disk only; and the hub is looked at as a thief of its disk would find it.
    hub.kill();
    absent(&hub, &said, &[group, renamed]);
    hub.start_again();
    alice.run(&["sync"]).done();
    assert_eq!(bob.texts(renamed), [said[2], said[3]]);
    assert_eq!(alice.texts("@bob-the-pilot"), [said[0], said[1]]);
    absent(&hub, &said, &[group, renamed]);

    // What the hub must know is found, in both places: so the search does search.
    let handle = Needle::new("alice-the-keeper");
    assert!(handle.file_in(&hub.data()).is_some());
    assert!(hub.traffic().iter().any(|stream| handle.is_in(stream)));
    // The password crosses the wire at log-in, which is why that is TLS anywhere but on one machine, and is kept nowhere.
    let password = Needle::new(PASSWORD);
    assert_eq!(password.file_in(hub.directory()), None);
}

/// On no disk, whether hub's or device's, and not on the wire.
fn absent(hub: &Hub, said: &[&str], names: &[&str]) {
    for needle in said.iter().chain(names).map(|text| Needle::new(text)) {
        assert_eq!(needle.file_in(hub.directory()), None, "{:?} is on disk", needle.text());
        assert!(
            !hub.traffic().iter().any(|stream| needle.is_in(stream)),
            "{:?} is on the wire",
            needle.text()
        );
    }
}
