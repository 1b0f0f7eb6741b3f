//! Two people without an account go on over MLS through a relay that knows nobody, each command a process of its own.

use crate::support::{Device, Hub};
use serde_json::Value;

/// Little work, so that it is not what the tests wait for.
const EASY: [&str; 2] = ["--difficulty", "4"];

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("{field} in {value}")).to_owned()
}

/// One meets the other, who accepts, and each calls the other by name.
fn meet(a: &Device, b: &Device) {
    let bundle = text(&b.run(&["intro"]).one(), "bundle");
    a.run(&["meet", &bundle, "--name", b.handle()]).done();
    let from = text(&b.run(&["requests"]).one(), "from");
    b.run(&["accept", &from]).done();
    let bundle = text(&a.run(&["intro"]).one(), "bundle");
    b.run(&["meet", &bundle, "--name", a.handle()]).done();
    a.run(&["sync"]).done();
}

fn listed(device: &Device) -> Value {
    device.run(&["list"]).one()
}

#[test]
fn two_people_go_on_over_mls_with_the_command_of_a_hub_and_keep_their_conversation() {
    let mut relay = Hub::relay(&EASY);
    let (ana, bruno) = (relay.init("ana", &[&relay]), relay.init("bruno", &[&relay]));
    meet(&ana, &bruno);
    ana.run(&["send", "@bruno", "Before"]).done();
    let before = listed(&ana);
    assert_eq!(before["protocol"], "pairwise");
    ana.run(&["send", "--offline", "@bruno", "Waits"]).done();
    let going = ana.run(&["direct", "migrate", "@bruno"]).one();
    assert_eq!(
        (&going["conversation"], &going["protocol"]),
        (&before["conversation"], &Value::from("mixed"))
    );
    // He is away yet, and the relay is started anew.
    ana.run(&["send", "@bruno", "While he is away"]).done();
    relay.restart();
    assert_eq!(bruno.texts("@ana"), ["Before", "Waits", "While he is away"]);
    assert_eq!(listed(&bruno)["protocol"], "mls");
    bruno.run(&["send", "@ana", "By MLS"]).done();
    assert_eq!(ana.texts("@bruno"), ["Before", "Waits", "While he is away", "By MLS"]);
    let after = listed(&ana);
    assert_eq!((&after["conversation"], &after["protocol"]), (&before["conversation"], &Value::from("mls")));
    assert_eq!(ana.run(&["direct", "pairwise", "@bruno"]).code(), "invalid-protocol-transition");
    assert_eq!(ana.run(&["direct", "migrate", "@bruno"]).one()["protocol"], "mls");

    // Without the relay it waits.
    relay.kill();
    assert_eq!(ana.run(&["send", "@bruno", "Later"]).code(), "hub-unreachable");
    ana.run(&["send", "--offline", "@bruno", "Later"]).done();
    relay.start_again();
    ana.run(&["sync"]).done();
    assert_eq!(bruno.texts("@ana").last().map(String::as_str), Some("Later"));

    // What was read is told by who says so.
    bruno.run(&["group", "receipts", "@ana", "on"]).done();
    bruno.run(&["read", "@ana"]).done();
    ana.run(&["send", "@bruno", "Read this"]).done();
    bruno.run(&["read", "@ana"]).done();
    ana.run(&["sync"]).done();
    let messages = ana.run(&["read", "@bruno"]).lines();
    let last = messages.last().expect("several");
    assert_eq!(
        (&last["text"], &last["receipts"][0]["handle"]),
        (&Value::from("Read this"), &Value::from("bruno"))
    );
}

#[test]
fn both_can_begin_and_one_command_answers_who_asks_into_a_group() {
    let relay = Hub::relay(&EASY);
    let [ana, bruno, carla] = ["ana", "bruno", "carla"].map(|name| relay.init(name, &[&relay]));
    meet(&ana, &bruno);
    ana.run(&["direct", "migrate", "@bruno"]).done();
    bruno.run(&["direct", "migrate", "@ana"]).done();
    ana.run(&["sync"]).done();
    assert_eq!(
        (listed(&ana)["protocol"].clone(), listed(&bruno)["protocol"].clone()),
        ("mls".into(), "mls".into())
    );

    // Carla takes her request back, of which Ana does not hear, who accepts it and asks her into a group.
    let bundle = text(&ana.run(&["intro"]).one(), "bundle");
    carla.run(&["meet", &bundle, "--name", "ana"]).done();
    let from = text(&ana.run(&["requests"]).one(), "from");
    carla.run(&["cancel", "ana"]).done();
    ana.run(&["accept", &from]).done();
    ana.run(&["group", "create", "Tertulia", "bruno", &from]).done();
    let request = carla.run(&["requests"]).one();
    assert_eq!((&request["kind"], &request["from"]), (&Value::from("group"), &Value::from("ana")));
    let ignored = carla.run(&["ignore", "ana"]).one();
    assert_eq!((&ignored["handle"], &ignored["status"]), (&Value::from("ana"), &Value::from("ignored")));
    assert!(carla.run(&["requests"]).lines().is_empty());
    let entered = carla.run(&["accept", "ana"]).one();
    assert_eq!(
        (&entered["conversation"], &entered["name"]),
        (&request["conversation"], &Value::from("Tertulia"))
    );
    carla.run(&["send", "Tertulia", "Here I am"]).done();
    assert_eq!(bruno.texts("Tertulia"), ["Here I am"]);
    ana.run(&["group", "create", "Another", &from]).done();
    assert_eq!(carla.run(&["block", "ana"]).one()["status"], "blocked");
    assert!(carla.run(&["requests"]).lines().is_empty());
    assert_eq!(carla.run(&["accept", "dora"]).code(), "not-connected");
}
