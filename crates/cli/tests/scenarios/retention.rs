//! Devices that were away for longer than a hub keeps what was said.

use crate::support::{Answer, Device, Hub, tertulia};

/// As if everything up to now had been kept for long enough.
fn cut(hub: &Hub) {
    let args = ["--json", "admin", "prune", "--events-older-than", "0s", "--data"];
    let output = tertulia().args(args).arg(hub.data()).output().unwrap();
    let pruned = Answer::new("operator", &args, output).one();
    assert!(pruned["log_entries"].as_u64().unwrap() > 0, "{pruned}");
}

/// Of which conversations the device was told that something is missing.
fn missing(device: &Device) -> Vec<String> {
    let warnings = device.run(&["warnings"]).lines();
    assert!(warnings.iter().all(|warning| warning["what"] != "withheld"), "{warnings:?}");
    let missing = warnings.iter().filter(|warning| warning["what"] == "missed");
    missing.map(|warning| warning["name"].as_str().unwrap_or("1:1").to_owned()).collect()
}

#[test]
fn a_device_that_was_away_for_longer_than_messages_are_kept_comes_back_and_talks_on() {
    let mut hub = Hub::start();
    let (alice, bob, carol) = (hub.sign_up("alice"), hub.sign_up("bob"), hub.sign_up("carol"));
    for friend in [&bob, &carol] {
        alice.befriend(friend);
    }
    alice.run(&["group", "create", "garden", "bob"]).done();
    alice.run(&["group", "create", "quiet", "bob"]).done();
    alice.send("garden", "before");
    alice.send("quiet", "nothing more is said here");
    alice.send("@bob", "between us");
    bob.run(&["sync"]).done();

    // Bob is away. The garden goes on with somebody new, so that its keys change; the 1:1 with the same keys. A group is made, he is
    // put into it, and out of another.
    alice.run(&["group", "create", "left", "bob"]).done();
    bob.run(&["sync"]).done();
    alice.run(&["group", "add", "garden", "carol"]).done();
    carol.send("garden", "hello to the garden");
    alice.send("@bob", "where are you?");
    alice.run(&["group", "create", "new", "bob"]).done();
    alice.run(&["group", "remove", "left", "bob"]).done();
    carol.run(&["connect", "bob"]).done();
    cut(&hub);
    hub.restart();
    alice.send("@bob", "are you well?");
    alice.run(&["sync"]).done();

    let report = bob.run(&["sync"]).one();
    assert!(report["suspicious"].as_u64().unwrap() >= 2, "{report}");
    let mut told = missing(&bob);
    told.sort();
    // Of the new group he has nothing else, not even its name; of the quiet one nothing is missing.
    assert!(told.contains(&"garden".to_owned()) && !told.contains(&"quiet".to_owned()), "{told:?}");
    assert_eq!(bob.texts("@alice"), ["between us", "are you well?"]);
    assert_eq!(bob.texts("garden"), ["before"]);
    assert_eq!(bob.run(&["send", "left", "anybody?"]).status(), 1);

    // He talks on, everywhere, and hears the others.
    bob.run(&["accept", "carol"]).done();
    bob.send("garden", "back again");
    bob.send("quiet", "here too");
    bob.send("@alice", "I am");
    bob.send("@carol", "hello");
    for device in [&alice, &carol] {
        assert_eq!(device.texts("garden").last().unwrap(), "back again");
    }
    assert_eq!(alice.texts("quiet").last().unwrap(), "here too");
    assert_eq!(alice.texts("@bob").last().unwrap(), "I am");
    alice.send("garden", "there you are");
    carol.send("garden", "welcome");
    assert_eq!(bob.texts("garden"), ["before", "back again", "there you are", "welcome"]);
    // Once was enough.
    let told = missing(&bob).len();
    bob.run(&["sync"]).done();
    assert_eq!(missing(&bob).len(), told);
}

#[test]
fn who_wrote_while_away_sends_it_when_they_come_back() {
    let hub = Hub::start();
    let (alice, bob) = (hub.sign_up("alice"), hub.sign_up("bob"));
    alice.befriend(&bob);
    alice.run(&["group", "create", "garden", "bob"]).done();
    alice.send("garden", "before");
    bob.run(&["sync"]).done();
    bob.run(&["send", "garden", "written on the train", "--offline"]).done();
    // Meanwhile the keys change twice.
    let phone = hub.log_in("alice");
    for device in [&phone, &alice, &phone] {
        device.run(&["sync"]).done();
    }
    phone.send("garden", "from the phone");
    alice.run(&["sync"]).done();
    cut(&hub);
    bob.run(&["sync"]).done();
    assert_eq!(bob.texts("garden"), ["before", "written on the train"]);
    assert_eq!(alice.texts("garden"), ["before", "from the phone", "written on the train"]);
    assert_eq!(phone.texts("garden"), ["from the phone", "written on the train"]);
}
