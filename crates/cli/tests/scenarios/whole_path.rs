//! The whole path, from the first sign-up to a removed member, with the hub killed between any two steps.

use crate::support::{Answer, Device, Hub};

/// Every step of the play begins with the hub killed and started again.
struct Play {
    hub: Hub,
}

impl Play {
    fn run(&mut self, device: &Device, args: &[&str]) -> Answer {
        self.hub.restart();
        device.run(args)
    }

    fn texts(&mut self, device: &Device, target: &str) -> Vec<String> {
        self.hub.restart();
        device.texts(target)
    }

    fn send(&mut self, device: &Device, target: &str, text: &str) {
        self.hub.restart();
        device.send(target, text);
    }
}

#[test]
fn people_connect_talk_and_part_while_the_hub_is_killed_between_any_two_steps() {
    let mut play = Play { hub: Hub::start() };
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|handle| {
        let device = play.hub.device(handle);
        let me = play.run(&device, &["signup", handle, "--hub", device.hub()]).one();
        assert_eq!(me["handle"], handle);
        device
    });

    // Nobody is written to unasked, nor before they have accepted.
    assert_eq!(play.run(&alice, &["send", "@bob", "too early"]).code(), "not-connected");
    let connection = play.run(&alice, &["connect", "bob"]).one();
    assert_eq!((&connection["handle"], &connection["status"]), (&"bob".into(), &"sent".into()));
    assert_eq!(play.run(&alice, &["send", "@bob", "still too early"]).code(), "not-connected");
    let request = play.run(&bob, &["connections"]).one();
    assert_eq!((&request["handle"], &request["status"]), (&"alice".into(), &"pending".into()));
    assert_eq!(play.run(&bob, &["accept", "alice"]).one()["status"], "accepted");

    // Two talk.
    play.send(&alice, "@bob", "first, from alice");
    assert_eq!(play.texts(&bob, "@alice"), ["first, from alice"]);
    play.send(&bob, "@alice", "second, from bob");
    play.send(&bob, "@alice", "third, from bob");
    let talk = ["first, from alice", "second, from bob", "third, from bob"];
    assert_eq!(play.texts(&alice, "@bob"), talk);
    assert_eq!(play.texts(&bob, "@alice"), talk);

    // Three make a group.
    assert_eq!(play.run(&alice, &["connect", "carol"]).one()["status"], "sent");
    assert_eq!(play.run(&carol, &["accept", "alice"]).one()["status"], "accepted");
    let group = play.run(&alice, &["group", "create", "garden", "bob", "carol"]).one();
    assert_eq!((&group["type"], &group["name"]), (&"group".into(), &"garden".into()));
    assert_eq!(handles(&group["members"]), ["alice", "bob", "carol"]);
    for (device, text) in [(&alice, "alice is here"), (&bob, "bob is here"), (&carol, "carol is here")] {
        play.send(device, "garden", text);
    }
    for device in [&alice, &bob, &carol] {
        assert_eq!(play.texts(device, "garden"), ["alice is here", "bob is here", "carol is here"]);
    }

    // A second device reads what is new in both conversations, and writes.
    let laptop = play.hub.device("bob");
    let me = play.run(&laptop, &["login", "bob", "--hub", laptop.hub()]).one();
    assert_eq!(play.run(&bob, &["device", "list"]).lines().len(), 2);
    play.send(&alice, "@bob", "to both of bob's devices");
    play.send(&carol, "garden", "carol, to five devices");
    assert_eq!(play.texts(&laptop, "@alice"), ["to both of bob's devices"]);
    assert_eq!(play.texts(&laptop, "garden"), ["carol, to five devices"]);
    assert_eq!(play.texts(&bob, "@alice").last().unwrap(), "to both of bob's devices");
    play.send(&laptop, "@alice", "from the laptop");
    let last = play.run(&alice, &["read", "@bob", "--limit", "1"]).one();
    assert_eq!((&last["text"], &last["from"]), (&"from the laptop".into(), &"bob".into()));
    assert_eq!(last["device"], me["device"]);
    assert_eq!(play.texts(&bob, "@alice").last().unwrap(), "from the laptop");

    // One is removed, and reads nothing that is sent later.
    let group = play.run(&alice, &["group", "remove", "garden", "carol"]).one();
    assert_eq!(handles(&group["members"]), ["alice", "bob"]);
    play.send(&alice, "garden", "carol does not read this");
    play.send(&laptop, "garden", "nor this");
    let before = ["alice is here", "bob is here", "carol is here", "carol, to five devices"];
    let after = [&before[..], &["carol does not read this", "nor this"]].concat();
    assert_eq!(play.texts(&alice, "garden"), after);
    assert_eq!(play.texts(&bob, "garden"), after);
    assert_eq!(play.texts(&laptop, "garden"), after[3..]);
    assert_eq!(play.texts(&carol, "garden"), before);
    assert_eq!(play.run(&carol, &["send", "garden", "may I?"]).code(), "no-conversation");
    assert_eq!(play.texts(&alice, "garden"), after);
}

fn handles(members: &serde_json::Value) -> Vec<&str> {
    let mut handles: Vec<_> =
        members.as_array().unwrap().iter().map(|member| member.as_str().unwrap()).collect();
    handles.sort_unstable();
    handles
}
