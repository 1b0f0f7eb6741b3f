//! Two people without an account talk through relays that know nobody, each command a process of its own.

use crate::support::{Device, Fault, Hub};
use serde_json::Value;

/// Little work, so that it is not what the tests wait for.
const EASY: [&str; 2] = ["--difficulty", "4"];
const EASY_HUB: [&str; 2] = ["--relay-difficulty", "4"];

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("{field} in {value}")).to_owned()
}

/// The names of what an object has, sorted.
fn fields(value: &Value) -> Vec<String> {
    let mut fields: Vec<_> = value.as_object().expect("an object").keys().cloned().collect();
    fields.sort();
    fields
}

/// One meets the other, who accepts. What each calls the other.
fn meet(a: &Device, b: &Device) -> (String, String) {
    let bundle = text(&b.run(&["intro"]).one(), "bundle");
    assert!(bundle.starts_with("tertulia_intro_1_"));
    let asked = a.run(&["meet", &bundle, "--name", b.handle()]).one();
    assert_eq!((text(&asked, "status"), text(&asked, "handle")), ("sent".into(), b.handle().into()));
    let from = text(&b.run(&["requests"]).one(), "from");
    assert_eq!(b.run(&["accept", &from]).one()["status"], "accepted");
    (format!("@{}", b.handle()), format!("@{from}"))
}

#[test]
fn two_people_without_accounts_talk_through_a_relay_with_the_commands_of_a_hub() {
    let mut relay = Hub::relay(&EASY);
    let (ana, bruno) = (relay.init("ana", &[&relay]), relay.init("bruno", &[&relay]));
    let me = ana.run(&["whoami"]).one();
    assert_eq!((&me["domain"], &me["hub"]), (&Value::from("key.invalid"), &Value::Null));
    assert_eq!(me["relays"][0], relay.url());
    let (to_bruno, to_ana) = meet(&ana, &bruno);
    ana.run(&["send", &to_bruno, "Shall we meet again?"]).done();
    assert_eq!(bruno.texts(&to_ana), ["Shall we meet again?"]);
    // Killed and started again, it has what it had.
    relay.restart();
    bruno.run(&["send", &to_ana, "On Thursday."]).done();
    assert_eq!(ana.texts(&to_bruno), ["Shall we meet again?", "On Thursday."]);
    let listed = ana.run(&["list"]).one();
    assert_eq!((&listed["name"], &listed["type"]), (&Value::from("@bruno"), &Value::from("one_to_one")));

    // Without the relay it waits here, and the answer that was lost sends nothing twice.
    relay.kill();
    assert_eq!(ana.run(&["send", "--offline", &to_bruno, "first"]).one()["queued"], true);
    assert_eq!(ana.run(&["send", &to_bruno, "second"]).code(), "hub-unreachable");
    relay.start_again();
    let lost = relay.plan("POST /v1/relay/envelopes", Fault::LoseAnswer);
    let _ = ana.run(&["sync"]);
    lost.recv().expect("the answer was lost");
    ana.run(&["sync"]).done();
    assert_eq!(bruno.texts(&to_ana).last().map(String::as_str), Some("first"));
    assert_eq!(bruno.texts(&to_ana).len(), 3);
}

#[test]
fn what_programs_read_of_homes_without_an_account_is_what_other_commands_take() {
    let relay = Hub::relay(&EASY);
    let ana = relay.device("ana");
    let made = ana.run(&["init", "--relay", &relay.url(), "--label", "laptop"]).one();
    assert_eq!(fields(&made), ["device", "domain", "handle", "kind", "relays", "user"]);
    assert_eq!((&made["domain"], &made["kind"]), (&Value::from("key.invalid"), &Value::from("person")));
    assert_eq!(made["relays"], Value::from(vec![relay.url()]));
    assert_eq!(ana.run(&["whoami"]).one(), made);
    let bruno = relay.init("bruno", &[&relay]);

    let intro = bruno.run(&["intro"]).one();
    assert_eq!(fields(&intro), ["bundle", "expires_at"]);
    let asked = ana.run(&["meet", &text(&intro, "bundle")]).one();
    let request = bruno.run(&["requests"]).one();
    assert_eq!(fields(&request), ["conversation", "expires_at", "from", "kind", "received_at", "user"]);
    assert_eq!((&request["kind"], &request["user"]), (&Value::from("private"), &made["user"]));
    assert_eq!(request["conversation"], asked["conversation"]);
    // As it is, and as people write it.
    let from = text(&request, "from");
    let accepted = bruno.run(&["accept", &format!("@{from}")]).one();
    assert_eq!((text(&accepted, "handle"), &accepted["status"]), (from.clone(), &Value::from("accepted")));
    ana.run(&["sync"]).done();
    let sent = bruno.run(&["send", &format!("@{from}"), "Hello"]).one();
    assert_eq!(sent["conversation"], request["conversation"]);
    assert_eq!(ana.texts(&format!("@{}", text(&asked, "handle"))), ["Hello"]);
}

#[test]
fn a_hub_is_a_relay_too_and_one_of_two_is_enough() {
    let mut hub = Hub::start_with(&EASY_HUB);
    let relay = Hub::relay(&EASY);
    let (ana, bruno) = (relay.init("ana", &[&hub, &relay]), relay.init("bruno", &[&relay, &hub]));
    let (to_bruno, to_ana) = meet(&ana, &bruno);
    ana.run(&["send", &to_bruno, "by both"]).done();
    hub.kill();
    ana.run(&["send", &to_bruno, "by one"]).done();
    assert_eq!(bruno.texts(&to_ana), ["by both", "by one"]);
    hub.start_again();
    ana.run(&["sync"]).done();
    bruno.run(&["send", &to_ana, "by both again"]).done();
    assert_eq!(bruno.texts(&to_ana), ["by both", "by one", "by both again"]);
    assert_eq!(ana.texts(&to_bruno), ["by both", "by one", "by both again"]);
}

#[test]
fn requests_are_ignored_blocked_and_refused_by_code() {
    let relay = Hub::relay(&EASY);
    let (ana, bruno) = (relay.init("ana", &[&relay]), relay.init("bruno", &[&relay]));
    let bundle = text(&bruno.run(&["intro", "--once"]).one(), "bundle");
    ana.run(&["meet", &bundle]).done();
    let from = text(&bruno.run(&["requests"]).one(), "from");
    assert_eq!(bruno.run(&["ignore", &from]).one()["status"], "ignored");
    assert!(bruno.run(&["requests"]).lines().is_empty());
    assert_eq!(bruno.run(&["block", &from]).one()["status"], "blocked");
    assert_eq!(bruno.run(&["send", &format!("@{from}"), "no"]).code(), "not-connected");
    assert_eq!(ana.run(&["connections"]).one()["status"], "sent", "she does not learn of it");

    assert_eq!(ana.run(&["search", "br"]).code(), "no-account");
    assert_eq!(ana.run(&["meet", "hello"]).code(), "invalid-bundle");
    let own = text(&ana.run(&["intro"]).one(), "bundle");
    assert_eq!(ana.run(&["meet", &own]).code(), "own-bundle");
    assert_eq!(ana.run(&["init", "--relay", &relay.url()]).code(), "home-in-use");
    ana.run(&["init"]).usage();
    assert_eq!(relay.device("none").run(&["intro"]).code(), "not-signed-in");

    let picture = relay.directory().join("ana.png");
    ana.run(&["intro", "--qr", picture.to_str().expect("UTF-8")]).done();
    let bytes = std::fs::read(picture).expect("it was written");
    assert!(bytes.starts_with(b"\x89PNG"));
}
