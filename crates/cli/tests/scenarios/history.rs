//! Shared history: what those who come later read of the messages from before.

use crate::support::{Device, Fault, Hub, tertulia};
use serde_json::{Value, json};

/// A request of this kind reads what was before somebody came, and one of this what the first had no place for.
const FIRST_PAGE: &str = "/history?";
const FURTHER_PAGE: &str = "&after=";

fn people() -> (Hub, [Device; 3]) {
    let hub = Hub::start();
    let people = ["alice", "bob", "carol"].map(|handle| hub.sign_up(handle));
    people[0].befriend(&people[1]);
    people[0].befriend(&people[2]);
    people[0].run(&["group", "create", "garden", "bob"]).done();
    (hub, people)
}

/// What a person reads.
fn shown(device: &Device, args: &[&str]) -> String {
    let mut command = tertulia();
    command.arg("--home").arg(device.home()).args(args);
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

#[test]
fn a_newcomer_reads_the_older_messages_in_their_order() {
    let (_hub, [alice, bob, carol]) = people();
    alice.send("garden", "before it was shared");
    assert_eq!(bob.run(&["group", "history", "garden", "unlimited"]).code(), "action-denied");
    let set = alice.run(&["group", "history", "garden", "7d"]).one();
    assert_eq!(set["history"], "604800000ms");
    assert!(shown(&alice, &["group", "history", "garden", "7d"]).contains("newcomers read the last 7 days"));
    alice.send("garden", "one");
    bob.send("garden", "two");
    alice.run(&["group", "add", "garden", "carol"]).done();
    alice.send("garden", "three");
    assert_eq!(carol.texts("garden"), ["one", "two", "three"]);
    let read = carol.run(&["read", "garden"]).lines();
    let history: Vec<Value> = read.iter().map(|message| message["history"].clone()).collect();
    let by_alice = json!({ "verified": true, "shared_by": "alice" });
    assert_eq!(history, [by_alice.clone(), by_alice, Value::Null]);
    assert_eq!(bob.texts("garden"), ["before it was shared", "one", "two", "three"]);

    alice.run(&["group", "remove", "garden", "carol"]).done();
    alice.run(&["group", "add", "garden", "carol"]).done();
    let ended = alice.run(&["group", "history", "garden", "none"]).one();
    assert_eq!(ended["history"], "none");
    assert!(!shown(&alice, &["group", "timer", "garden", "off"]).contains("newcomers"));
}

#[test]
fn what_a_member_only_says_to_have_been_is_shown_so() {
    let (_hub, [alice, _bob, carol]) = people();
    alice.run(&["group", "history", "garden", "unlimited"]).done();
    alice.send("garden", "with bob");
    alice.run(&["group", "remove", "garden", "bob"]).done();
    alice.send("garden", "without bob");
    alice.run(&["group", "add", "garden", "carol"]).done();
    let read = shown(&carol, &["read", "garden"]);
    let lines: Vec<&str> = read.lines().map(str::trim).filter(|line| !line.starts_with('─')).collect();
    assert!(lines[0].ends_with("with bob"), "{read}");
    assert_eq!(lines[1], "from before you came, as @alice says");
    assert!(lines[2].ends_with("without bob"), "{read}");
    assert_eq!(lines.len(), 3, "{read}");
}

#[test]
fn a_device_that_is_killed_while_it_reads_the_older_messages_has_each_once_in_the_end() {
    let (hub, [alice, _bob, carol]) = people();
    alice.run(&["group", "history", "garden", "unlimited"]).done();
    // So long that they come on two pages.
    let texts: Vec<String> = (0..24).map(|number| format!("{number} {}", "tulip ".repeat(30_000))).collect();
    for text in &texts {
        alice.run_with(&["send", "garden"], text).done();
    }
    alice.run(&["group", "add", "garden", "carol"]).done();
    for page in [FIRST_PAGE, FURTHER_PAGE] {
        let at_work = hub.plan(page, Fault::Tell);
        let mut process = carol.spawn(&["sync"]);
        at_work.recv().expect("the older messages are asked for");
        process.kill().unwrap();
        process.wait().unwrap();
    }
    let part = carol.run(&["read", "garden", "--offline"]).lines().len();
    assert!(0 < part && part < texts.len(), "killed between two pages: {part}");
    let trimmed: Vec<String> = texts.iter().map(|text| text.trim_end().to_owned()).collect();
    let read: Vec<String> = carol.texts("garden").iter().map(|text| text.trim_end().to_owned()).collect();
    assert!(read == trimmed, "each once, and in their order");
    let verified = carol.run(&["read", "garden"]).lines();
    assert!(verified.iter().all(|message| message["history"]["verified"] == true));
}
