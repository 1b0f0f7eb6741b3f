//! Three people without an account in a group, through a relay that knows nobody, each command a process of its own.

use crate::support::{Device, Hub};
use serde_json::Value;

/// Little work, so that it is not what the tests wait for.
const EASY: [&str; 2] = ["--difficulty", "4"];

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("{field} in {value}")).to_owned()
}

fn meet(a: &Device, b: &Device) {
    let bundle = text(&b.run(&["intro"]).one(), "bundle");
    a.run(&["meet", &bundle, "--name", b.handle()]).done();
    let from = text(&b.run(&["requests"]).one(), "from");
    b.run(&["accept", &from]).done();
    a.run(&["sync"]).done();
}

#[test]
fn three_people_without_accounts_have_a_group_with_the_commands_of_a_hub() {
    let mut relay = Hub::relay(&EASY);
    let [ana, bruno, carla] = ["ana", "bruno", "carla"].map(|name| relay.init(name, &[&relay]));
    meet(&ana, &bruno);
    meet(&ana, &carla);
    ana.run(&["group", "create", "Tertulia", "bruno", "carla"]).done();
    ana.run(&["send", "Tertulia", "Same place?"]).done();
    for other in [&bruno, &carla] {
        assert_eq!(other.texts("Tertulia"), ["Same place?"]);
    }
    // Killed and started again, the relay has the order that it had.
    relay.restart();
    bruno.run(&["send", "Tertulia", "Yes."]).done();
    assert_eq!(carla.texts("Tertulia"), ["Same place?", "Yes."]);

    ana.run(&["group", "remove", "Tertulia", "carla"]).done();
    ana.run(&["send", "Tertulia", "Two are left"]).done();
    assert_eq!(bruno.texts("Tertulia").last().map(String::as_str), Some("Two are left"));
    assert_eq!(carla.texts("Tertulia"), ["Same place?", "Yes."]);

    ana.run(&["group", "add", "Tertulia", "carla"]).done();
    ana.run(&["group", "rename", "Tertulia", "Thursdays"]).done();
    carla.run(&["sync"]).done();
    carla.run(&["send", "Thursdays", "Back again"]).done();
    assert_eq!(ana.texts("Thursdays").last().map(String::as_str), Some("Back again"));

    bruno.run(&["sync"]).done();
    bruno.run(&["group", "leave", "Thursdays"]).done();
    ana.run(&["sync"]).done();
    ana.run(&["send", "Thursdays", "Bruno has left"]).done();
    assert_eq!(carla.texts("Thursdays").last().map(String::as_str), Some("Bruno has left"));
    assert!(!bruno.texts("Thursdays").contains(&"Bruno has left".to_owned()));
}
