//! Teams, as their commands show them.

use crate::support::{Device, Hub};

fn invite(device: &Device) -> String {
    device.run(&["team", "invite"]).one()["code"].as_str().unwrap().to_owned()
}

fn members(device: &Device) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let lines = device.run(&["team", "members"]).lines();
    lines.iter().map(|line| (text(&line["handle"]), text(&line["role"]))).collect()
}

fn connected(device: &Device, handle: &str) -> bool {
    let lines = device.run(&["connections"]).lines();
    lines.iter().any(|line| line["handle"] == handle && line["status"] == "accepted")
}

#[test]
fn team_mates_talk_without_having_asked_and_part_when_the_team_does() {
    let hub = Hub::start();
    let (alice, bob, carol) = (hub.sign_up("alice"), hub.sign_up("bob"), hub.sign_up("carol"));
    assert_eq!(alice.run(&["team", "members"]).code(), "no-team");
    assert_eq!(alice.run(&["team", "create", "Café Gijón"]).one()["role"], "owner");
    let code = invite(&alice);
    assert_eq!(bob.run(&["team", "join", &code]).one()["name"], "Café Gijón");
    assert_eq!(carol.run(&["team", "join", &code]).code(), "invalid-invitation");
    carol.run(&["team", "join", &invite(&alice)]).done();
    assert_eq!(members(&carol).len(), 3);
    alice.run(&["team", "role", "bob", "admin"]).done();
    assert_eq!(members(&carol)[1], ("bob".to_owned(), "admin".to_owned()));

    // No request, no list: the first message makes the 1:1 known.
    assert!(connected(&bob, "carol") && connected(&carol, "bob"));
    assert!(carol.run(&["list"]).lines().is_empty());
    assert_eq!(carol.run(&["block", "bob"]).code(), "same-team");
    assert_eq!(carol.run(&["connect", "bob"]).code(), "same-team");
    bob.send("@carol", "we are in one team");
    assert_eq!(carol.texts("@bob"), ["we are in one team"]);
    carol.send("@bob", "so we are");
    assert_eq!(bob.texts("@carol"), ["we are in one team", "so we are"]);
    // A further device knows its team mates, too.
    let tablet = hub.log_in("carol");
    tablet.send("@alice", "from the tablet");
    assert_eq!(alice.texts("@carol"), ["from the tablet"]);

    alice.run(&["group", "create", "minutes", "bob", "carol", "--team"]).done();
    alice.send("minutes", "all of us");
    assert_eq!(carol.texts("minutes"), ["all of us"]);
    bob.run(&["team", "remove", "carol"]).done();
    assert_eq!(carol.run(&["send", "minutes", "hello?"]).code(), "no-conversation");
    assert_eq!(carol.run(&["send", "@bob", "hello?"]).code(), "not-connected");
    assert_eq!(carol.texts("@bob").len(), 2, "what was said stays");
    assert!(!connected(&carol, "bob") && !connected(&bob, "carol"));
    alice.send("minutes", "the two of us");
    assert_eq!(bob.texts("minutes"), ["all of us", "the two of us"]);
    assert_eq!(carol.texts("minutes"), ["all of us"]);

    assert_eq!(alice.run(&["team", "leave"]).code(), "last-owner");
    alice.run(&["team", "role", "bob", "owner"]).done();
    assert!(alice.run(&["team", "leave"]).lines().is_empty());
    assert_eq!(members(&bob), [("bob".to_owned(), "owner".to_owned())]);
}

#[test]
fn who_was_blocked_before_the_team_is_heard_in_it_and_a_stranger_after_it() {
    let hub = Hub::start();
    let (alice, bob) = (hub.sign_up("alice"), hub.sign_up("bob"));
    alice.befriend(&bob);
    alice.send("@bob", "before the block");
    bob.run(&["block", "alice"]).done();
    alice.run(&["team", "create", "Café Gijón"]).done();
    bob.run(&["team", "join", &invite(&alice)]).done();
    alice.send("@bob", "in the team");
    assert_eq!(bob.texts("@alice").last().unwrap(), "in the team");
    bob.send("@alice", "I hear you");
    assert_eq!(alice.texts("@bob").last().unwrap(), "I hear you");
    bob.run(&["team", "leave"]).done();
    assert_eq!(bob.run(&["send", "@alice", "hello?"]).code(), "not-connected");
    assert_eq!(alice.run(&["send", "@bob", "hello?"]).code(), "not-connected");
    alice.befriend(&bob);
    alice.send("@bob", "again");
    assert_eq!(bob.texts("@alice").last().unwrap(), "again");
}

#[test]
fn a_team_defines_a_role_and_its_groups_use_it() {
    let hub = Hub::start();
    let (alice, bob) = (hub.sign_up("alice"), hub.sign_up("bob"));
    alice.run(&["team", "create", "Café Gijón"]).done();
    bob.run(&["team", "join", &invite(&alice)]).done();
    let defined = alice.run(&["role", "create", "scribe", "modify_name", "leave"]).one();
    assert_eq!(defined["actions"], serde_json::json!(["modify_name", "leave"]));
    assert_eq!(alice.run(&["role", "create", "scribe", "leave"]).code(), "role-exists");
    assert_eq!(bob.run(&["role", "create", "editor"]).code(), "action-denied");
    assert_eq!(bob.run(&["role", "list"]).one(), defined);

    alice.run(&["group", "create", "minutes", "bob", "--team"]).done();
    assert_eq!(bob.run(&["group", "rename", "minutes", "Bob's"]).code(), "action-denied");
    alice.run(&["group", "role", "minutes", "bob", "scribe"]).done();
    bob.run(&["group", "rename", "minutes", "protocol"]).done();
    let members = alice.run(&["group", "members", "protocol"]).lines();
    let bobs = members.iter().find(|member| member["handle"] == "bob").unwrap();
    assert_eq!(bobs["role"], "scribe");
    assert_eq!(alice.run(&["role", "delete", "scribe"]).code(), "role-in-use");
    assert_eq!(alice.run(&["group", "role", "protocol", "bob", "editor"]).code(), "unknown-role");
    alice.run(&["group", "role", "protocol", "bob", "member"]).done();
    assert!(alice.run(&["role", "delete", "scribe"]).lines().is_empty());
    // Groups that are not of the team have no such roles.
    alice.run(&["role", "create", "scribe", "modify_name", "leave"]).done();
    alice.run(&["group", "create", "private", "bob"]).done();
    assert_eq!(alice.run(&["group", "role", "private", "bob", "scribe"]).code(), "unknown-role");
}

#[test]
fn a_role_of_the_team_works_while_messages_go_pairwise_and_on_mls_after() {
    let hub = Hub::start();
    let (alice, bob) = (hub.sign_up("alice"), hub.sign_up("bob"));
    alice.run(&["team", "create", "Café Gijón"]).done();
    bob.run(&["team", "join", &invite(&alice)]).done();
    alice.run(&["role", "create", "scribe", "modify_name", "leave"]).done();
    alice.run(&["group", "create", "minutes", "bob", "--team", "--protocol", "pairwise"]).done();
    assert_eq!(bob.run(&["group", "rename", "minutes", "Bob's"]).code(), "action-denied");
    alice.run(&["group", "role", "minutes", "bob", "scribe"]).done();
    bob.run(&["group", "rename", "minutes", "protocol"]).done();
    alice.run(&["sync"]).done();
    alice.run(&["group", "migrate", "protocol"]).done();
    let members = bob.run(&["group", "members", "protocol"]).lines();
    let own = members.iter().find(|member| member["handle"] == "bob").unwrap();
    assert_eq!(own["role"], "scribe");
    bob.run(&["group", "rename", "protocol", "minutes"]).done();
    alice.run(&["sync"]).done();
    assert!(alice.listed("minutes").is_some());
}
