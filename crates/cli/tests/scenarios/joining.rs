//! Join links and who is admitted, as their commands show them.

use crate::support::{Device, Hub, tertulia};
use serde_json::{Value, json};

const LINK_PASSWORD: &str = "open, sesame";

/// Alice's garden with Bob in it, and Carol who knows neither.
fn garden() -> (Hub, [Device; 3]) {
    let hub = Hub::start();
    let devices = ["alice", "bob", "carol"].map(|handle| hub.sign_up(handle));
    devices[0].befriend(&devices[1]);
    devices[0].run(&["group", "create", "garden", "bob"]).done();
    (hub, devices)
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}")).to_owned()
}

fn members(device: &Device) -> Vec<String> {
    let lines = device.run(&["group", "members", "garden"]).lines();
    lines.iter().map(|line| text(line, "handle")).collect()
}

#[test]
fn by_a_link_with_a_password_one_comes_in_and_talks() {
    let (_hub, [alice, bob, carol]) = garden();
    let create = ["link", "create", "garden", "--password-stdin", "--expires", "12h"];
    assert_eq!(bob.run_with(&create, LINK_PASSWORD).code(), "action-denied");
    assert_eq!(alice.run_with(&create, "short\n").code(), "invalid-password");
    assert!(alice.run(&["link", "show", "garden"]).lines().is_empty());
    let made = alice.run_with(&create, LINK_PASSWORD).one();
    let link = text(&made, "link");
    assert_eq!(made["has_password"], true);
    assert_eq!(alice.run(&["link", "show", "garden"]).one()["link"], made["link"]);

    // What is mistyped is found before anything is asked.
    carol.run(&["join", &link[..link.len() - 1]]).usage();
    assert_eq!(carol.run(&["join", &link]).code(), "invalid-conversation-password");
    assert!(carol.run(&["join", &link]).stderr().contains("--password"), "the hint");
    let wrong = carol.run_with(&["join", &link, "--password-stdin"], "open, barley");
    assert_eq!(wrong.code(), "invalid-conversation-password");
    let join = ["join", &link, "--password-stdin"];
    let waiting = carol.run_with(&join, LINK_PASSWORD).one();
    assert_eq!((waiting["joined"].as_bool(), &waiting["conversation"]), (Some(false), &made["conversation"]));
    assert_eq!(carol.run(&["join"]).one(), waiting, "it is kept");

    bob.run(&["sync"]).done();
    assert!(carol.run(&["join"]).lines().is_empty());
    assert_eq!(members(&carol), ["alice", "bob", "carol"]);
    assert_eq!(carol.run_with(&join, LINK_PASSWORD).one()["name"], "garden", "who is in it is in it");
    carol.send("garden", "nice roses");
    assert_eq!(alice.texts("garden"), ["nice roses"]);
    assert_eq!(bob.texts("garden"), ["nice roses"]);
    assert!(alice.run(&["warnings"]).lines().is_empty());
}

#[test]
fn where_a_link_leads_is_shown_before_one_joins_and_nobody_is_told() {
    let (hub, [alice, bob, carol]) = garden();
    let create = ["link", "create", "garden", "--password-stdin", "--expires", "12h"];
    let made = alice.run_with(&create, LINK_PASSWORD).one();
    let link = text(&made, "link");
    // It takes no password, also where the link has one.
    let shown = carol.run(&["join", &link, "--preview"]).one();
    let expected = json!({
        "conversation": made["conversation"], "type": "group", "members": 2,
        "has_password": true, "expires_at": made["expires_at"],
    });
    assert_eq!(shown, expected);
    assert!(carol.run(&["join"]).lines().is_empty(), "she has asked for nothing");
    bob.run(&["sync"]).done();
    assert_eq!(members(&bob), ["alice", "bob"]);

    // For people, who type no `--json`.
    let home = carol.home().to_str().expect("a path of ours");
    let output = tertulia().args(["--home", home, "join", &link, "--preview"]).output().expect("runs");
    let table = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["TYPE", "MEMBERS", "PASSWORD", "UNTIL", "CONVERSATION"]);
    assert_eq!(
        (&lines[1][..3], lines[1].last()),
        (&["group", "2", "yes"][..], shown["conversation"].as_str().as_ref())
    );
    assert_eq!(lines.len(), 2, "{table}");

    // An id says nothing before one asks; a link that is void, or of another hub, nothing at all.
    assert_eq!(carol.run(&["join", &text(&made, "conversation"), "--preview"]).code(), "bad-input");
    carol.run(&["join", &link, "--preview", "--password"]).usage();
    let elsewhere = link.replace(&hub.url(), "https://hub.example");
    assert_eq!(carol.run(&["join", &elsewhere, "--preview"]).code(), "link-of-other-hub");
    let open = text(&alice.run(&["link", "create", "garden"]).one(), "link");
    assert_eq!(carol.run(&["join", &open, "--preview"]).one()["has_password"], false);
    assert_eq!(carol.run(&["join", &link, "--preview"]).code(), "no-conversation-code", "it was replaced");
    alice.run(&["link", "revoke", "garden"]).done();
    assert_eq!(carol.run(&["join", &open, "--preview"]).code(), "no-conversation-code");
}

#[test]
fn a_link_that_was_revoked_is_of_no_use() {
    let (hub, [alice, bob, carol]) = garden();
    let link = text(&alice.run(&["link", "create", "garden"]).one(), "link");
    let (tablet, id) = (hub.log_in("alice"), text(&alice.listed("garden").unwrap(), "conversation"));
    assert_eq!(tablet.run(&["link", "show", &id]).one()["link"], Value::Null, "made in another home");
    carol.run(&["join", &link]).done();
    assert!(alice.run(&["link", "revoke", "garden"]).lines().is_empty());
    assert!(carol.run(&["join"]).lines().is_empty(), "she waits no more");
    bob.run(&["sync"]).done();
    assert_eq!(members(&bob), ["alice", "bob"]);
    let refused = carol.run(&["join", &link]);
    assert_eq!(refused.code(), "no-conversation-code");
    assert!(refused.stderr().contains("ask for a new one"), "{}", refused.stderr());

    carol.run(&["join", &text(&alice.run(&["link", "create", "garden"]).one(), "link")]).done();
    assert!(carol.run(&["join", &id, "--cancel"]).lines().is_empty());
    alice.run(&["sync"]).done();
    assert_eq!(members(&alice), ["alice", "bob"]);
}

#[test]
fn who_is_admitted_is_shown_and_changed() {
    let (_hub, [alice, bob, carol]) = garden();
    let shown = alice.run(&["group", "access", "garden"]).one();
    assert_eq!(shown["access"], json!(["invite"]));
    assert_eq!(shown["access_roles"], json!(["team_member", "non_team_member", "guest", "service"]));
    assert_eq!(bob.run(&["group", "access", "garden", "--modes", "private"]).code(), "action-denied");
    alice.run(&["group", "access", "garden", "--modes", "dance"]).usage();
    assert_eq!(alice.run(&["group", "access", "garden", "--modes", "private,code"]).code(), "bad-request");
    alice.run(&["group", "access", "garden", "--modes", "private"]).done();
    alice.befriend(&carol);
    let refused = alice.run(&["group", "add", "garden", "carol"]);
    assert_eq!(refused.code(), "not-admitted");
    assert!(refused.stderr().contains("group access garden"), "{}", refused.stderr());

    // Open to all who ask.
    let id = text(&shown, "conversation");
    assert_eq!(carol.run(&["join", &id]).code(), "no-conversation");
    let open = alice.run(&["group", "access", "garden", "--modes", "invite,link"]).one();
    assert_eq!(open["access"], json!(["invite", "link"]));
    carol.run(&["join", &id]).done();
    bob.run(&["sync"]).done();
    assert_eq!(members(&carol), ["alice", "bob", "carol"]);

    // Narrowed to guests, of whom there are none.
    alice.run(&["group", "access", "garden", "--roles", "guest"]).done();
    alice.run(&["sync"]).done();
    assert_eq!(members(&alice), ["alice"]);
    assert_eq!(bob.run(&["send", "garden", "hello?"]).code(), "no-conversation");
}
