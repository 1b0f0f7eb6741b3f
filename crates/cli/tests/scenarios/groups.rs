//! Groups: who is in them, who may what, and what they are called.

use crate::support::{Device, Hub};

/// alice, bob and carol in a group that alice has made.
fn garden() -> (Hub, [Device; 3]) {
    let hub = Hub::start();
    let people = ["alice", "bob", "carol"].map(|handle| hub.sign_up(handle));
    people[0].befriend(&people[1]);
    people[0].befriend(&people[2]);
    people[0].run(&["group", "create", "garden", "bob", "carol"]).done();
    (hub, people)
}

fn roles(device: &Device, group: &str) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let members = device.run(&["group", "members", group]).lines();
    let mut roles: Vec<_> =
        members.iter().map(|member| (text(&member["handle"]), text(&member["role"]))).collect();
    roles.sort();
    roles
}

fn pairs(roles: &[(&str, &str)]) -> Vec<(String, String)> {
    roles.iter().map(|(handle, role)| ((*handle).to_owned(), (*role).to_owned())).collect()
}

#[test]
fn a_member_may_not_what_an_admin_may() {
    let (_hub, [alice, bob, carol]) = garden();
    for device in [&alice, &bob, &carol] {
        assert_eq!(
            roles(device, "garden"),
            pairs(&[("alice", "admin"), ("bob", "member"), ("carol", "member")])
        );
    }
    assert_eq!(bob.run(&["group", "remove", "garden", "carol"]).code(), "action-denied");
    assert_eq!(bob.run(&["group", "rename", "garden", "bob's"]).code(), "action-denied");
    assert_eq!(bob.run(&["group", "role", "garden", "bob", "admin"]).code(), "action-denied");
    // Made admin, he may; and the refusals have left his device able to.
    alice.run(&["group", "role", "garden", "bob", "admin"]).done();
    bob.run(&["group", "remove", "garden", "carol"]).done();
    bob.send("garden", "she is gone");
    assert_eq!(roles(&alice, "garden"), pairs(&[("alice", "admin"), ("bob", "admin")]));
    assert_eq!(alice.texts("garden"), ["she is gone"]);
    assert_eq!(carol.texts("garden"), Vec::<String>::new());
}

#[test]
fn a_new_name_is_known_to_all_and_to_those_who_come_later() {
    let (hub, [alice, bob, carol]) = garden();
    alice.run(&["group", "rename", "garden", "orchard"]).done();
    for device in [&alice, &bob, &carol] {
        assert!(device.listed("orchard").is_some());
        assert!(device.listed("garden").is_none());
    }
    let dave = hub.sign_up("dave");
    alice.befriend(&dave);
    alice.run(&["group", "add", "orchard", "dave", "--role", "admin"]).done();
    assert!(dave.listed("orchard").is_some());
    assert!(roles(&bob, "orchard").contains(&("dave".to_owned(), "admin".to_owned())));
    dave.send("orchard", "good evening");
    assert_eq!(bob.texts("orchard"), ["good evening"]);
    // A further device of somebody learns the name too, once somebody says it or anything else.
    let laptop = hub.log_in("bob");
    assert!(laptop.run(&["list"]).lines().iter().any(|line| line["type"] == "group"));
}

#[test]
fn who_leaves_reads_nothing_more_and_the_others_go_on() {
    let (_hub, [alice, bob, carol]) = garden();
    alice.send("garden", "all are here");
    assert_eq!(carol.texts("garden"), ["all are here"]);
    carol.run(&["group", "leave", "garden"]).done();
    alice.send("garden", "two are here");
    bob.send("garden", "so we are");
    assert_eq!(alice.texts("garden"), ["all are here", "two are here", "so we are"]);
    assert_eq!(bob.texts("garden"), ["all are here", "two are here", "so we are"]);
    assert_eq!(roles(&bob, "garden"), pairs(&[("alice", "admin"), ("bob", "member")]));
    assert!(!carol.run(&["read", "garden"]).stdout().contains("two are here"));
}

#[test]
fn the_last_admin_leaves_only_with_a_successor() {
    let (_hub, [alice, bob, carol]) = garden();
    assert_eq!(alice.run(&["group", "leave", "garden"]).code(), "last-admin");
    alice.run(&["group", "leave", "garden", "--successor", "bob"]).done();
    assert_eq!(roles(&bob, "garden"), pairs(&[("bob", "admin"), ("carol", "member")]));
    bob.run(&["group", "rename", "garden", "orchard"]).done();
    carol.send("orchard", "long live bob");
    assert_eq!(bob.texts("orchard"), ["long live bob"]);
}

#[test]
fn who_was_removed_can_come_back_and_misses_what_was_said_between() {
    let (_hub, [alice, bob, carol]) = garden();
    alice.send("garden", "one");
    assert_eq!(carol.texts("garden"), ["one"]);
    alice.run(&["group", "remove", "garden", "carol"]).done();
    bob.send("garden", "two");
    alice.run(&["group", "add", "garden", "carol"]).done();
    bob.send("garden", "three");
    carol.send("garden", "four");
    assert_eq!(carol.texts("garden"), ["one", "three", "four"]);
    assert_eq!(bob.texts("garden"), ["one", "two", "three", "four"]);
}

/// Every command is a process of its own: what a session needs is in the home.
#[test]
fn a_pairwise_group_talks_takes_in_a_device_and_is_migrated_with_its_history() {
    let hub = Hub::start();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|handle| hub.sign_up(handle));
    alice.befriend(&bob);
    alice.befriend(&carol);
    let made = alice.run(&["group", "create", "attic", "--protocol", "pairwise", "bob", "carol"]).one();
    assert_eq!(made["protocol"], "pairwise");
    alice.send("attic", "from alice");
    bob.send("attic", "from bob");
    let phone = hub.log_in("bob");
    carol.send("attic", "from carol, to the phone too");
    assert_eq!(phone.texts("attic"), ["from carol, to the phone too"]);

    assert_eq!(bob.run(&["group", "migrate", "attic"]).code(), "action-denied");
    assert_eq!(alice.run(&["group", "migrate", "attic"]).one()["protocol"], "mls");
    phone.send("attic", "on mls");
    let history = ["from alice", "from bob", "from carol, to the phone too", "on mls"];
    for device in [&alice, &bob, &carol] {
        assert_eq!(device.texts("attic"), history);
        assert_eq!(device.listed("attic").expect("it is there")["protocol"], "mls");
    }
    assert_eq!(phone.texts("attic"), history[2..]);
    assert_eq!(alice.run(&["group", "migrate", "attic"]).one()["protocol"], "mls", "nothing is left to do");
}

#[test]
fn the_commits_of_a_group_can_be_kept_from_the_hub() {
    let hub = Hub::start();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|handle| hub.sign_up(handle));
    alice.befriend(&bob);
    alice.befriend(&carol);
    alice.run(&["group", "create", "secret", "bob", "--handshake", "ciphertext"]).done();
    alice.send("secret", "hello");
    alice.run(&["group", "add", "secret", "carol"]).done();
    carol.send("secret", "here I am");
    assert_eq!(bob.texts("secret"), ["hello", "here I am"]);
    alice.run(&["group", "remove", "secret", "bob"]).done();
    alice.send("secret", "the two of us");
    assert_eq!(carol.texts("secret"), ["here I am", "the two of us"]);
    assert_eq!(bob.texts("secret"), ["hello", "here I am"]);
    // No member's PublicMessage is on the wire: version 1, wire format 1, the group's id, an epoch, and 1 for a member. (The
    // context in a group info begins alike, and has the length of a hash after the epoch.)
    let id = alice.listed("secret").unwrap()["conversation"].as_str().unwrap().replace('-', "");
    let id: Vec<u8> = (0..16).map(|at| u8::from_str_radix(&id[2 * at..2 * at + 2], 16).unwrap()).collect();
    let public = [&[0, 1, 0, 1, 16][..], &id].concat();
    let sender = public.len() + 8;
    let is_public = |part: &[u8]| part.starts_with(&public) && part[sender] == 1;
    assert!(!hub.traffic().iter().any(|stream| stream.windows(sender + 1).any(is_public)));
}

#[test]
fn an_admin_deletes_a_group_for_everybody_and_what_was_said_stays_with_each() {
    let (_hub, [alice, bob, carol]) = garden();
    alice.send("garden", "one for the road");
    for device in [&bob, &carol] {
        assert_eq!(device.texts("garden"), ["one for the road"]);
    }
    assert_eq!(bob.listed("garden").expect("listed")["creator"], "alice");
    let id = bob.listed("garden").expect("listed")["conversation"].as_str().expect("an id").to_owned();
    assert_eq!(bob.run(&["group", "delete", "garden", "--yes"]).code(), "action-denied");
    let deleted = alice.run(&["group", "delete", "garden", "--yes"]).one();
    assert_eq!(deleted["active"], false);
    for device in [&bob, &carol] {
        device.run(&["sync"]).done();
        assert!(device.run(&["read", &id, "--offline"]).stdout().contains("one for the road"));
        assert_eq!(device.run(&["send", &id, "hello?"]).code(), "no-conversation");
    }
}
