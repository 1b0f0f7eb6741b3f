//! The SDK's example of a conversation type of an application's own, run as it is against a relay and against a hub.

use crate::support::{Device, Hub, Needle, PASSWORD, tertulia};
use std::{
    path::{Path, PathBuf},
    process::Command,
};
use tertulia::{
    Client,
    types::{ConversationType, Descriptor, FrameKind, OWN_ON_MLS, Outcome, TypeId},
};
use tokio::runtime::Runtime;

const EXAMPLE: &str = "../tertulia/examples/own_type.rs";

/// The example, which is built with all tests of the workspace.
fn example() -> PathBuf {
    let shipped = PathBuf::from(tertulia().get_program());
    let name = format!("own_type{}", std::env::consts::EXE_SUFFIX);
    let example = shipped.with_file_name("examples").join(name);
    assert!(
        example.is_file(),
        "it is built by `cargo build --workspace --all-targets`, as by a test of everything"
    );
    example
}

/// What the example prints.
fn shown(carrier: &str, address: &str) -> String {
    let output = Command::new(example()).args([carrier, address]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

const EXPECTED: &str = "bruno sees [ ] bread, [ ] olives\nana sees [ ] bread, [x] olives\n";

#[test]
fn the_example_runs_over_a_relay() {
    let relay = Hub::relay(&["--difficulty", "4"]);
    assert_eq!(shown("relay", &relay.url()), EXPECTED);
}

#[test]
fn the_example_runs_over_a_hub_which_sees_nothing_of_its_type() {
    let hub = Hub::start();
    assert_eq!(shown("hub", &hub.url()), EXPECTED);
    let traffic = hub.traffic();
    let is_there = |text: &str| {
        let needle = Needle::new(text);
        traffic.iter().any(|bytes| needle.is_in(bytes))
    };
    assert!(is_there("correct horse battery"), "what does travel is found");
    for text in ["tertulia.frame", "tertulia.type", "ShoppingListV1"] {
        assert!(!is_there(text), "{text:?} is on the wire");
    }
}

struct NotesV1;

impl ConversationType for NotesV1 {
    const DESCRIPTOR: Descriptor = Descriptor {
        title: "NotesV1",
        id: TypeId::new(0x9000),
        summary: "people keep notes",
        frames: &[FrameKind { name: "note", number: 1, carries: "a note", is_handshake: false }],
        ..OWN_ON_MLS
    }
    .complete();
    type Frame = Vec<u8>;

    fn is_handshake(_: &Vec<u8>) -> bool {
        false
    }

    fn encode(note: &Vec<u8>) -> Vec<u8> {
        note.clone()
    }

    fn decode(bytes: &[u8]) -> Outcome<Vec<u8>> {
        Outcome::Decoded(bytes.to_vec())
    }
}

/// What `list`, `read` and `send` make of a conversation whose type this program does not know, and which has one frame.
fn is_shown_by_its_number(device: &Device) {
    let listed = device.listed("Notes").unwrap();
    assert_eq!((&listed["own_type"]["id"], &listed["own_type"]["title"]), (&"0x9000".into(), &().into()));
    let frame = device.run(&["read", "Notes"]).one();
    assert_eq!((&frame["frame"]["type"], &frame["text"]), (&"0x9000".into(), &"".into()));
    assert_eq!(frame["frame"]["bytes"], hex::encode("olives"));
    assert_eq!(device.run(&["send", "Notes", "A text"]).code(), "other-type");
    let people_see = |command: &[&str]| {
        let output = tertulia().arg("--home").arg(device.home()).args(command).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(people_see(&["list"]).contains("type 0x9000"));
    assert!(people_see(&["read", "Notes"]).contains("6 bytes that only an application with the type 0x9000"));
}

#[test]
fn through_a_hub_a_conversation_of_a_type_that_is_not_known_is_listed_and_read_by_its_number() {
    let hub = Hub::start();
    let bruno = hub.sign_up("bruno");
    Runtime::new().unwrap().block_on(async {
        let ana = Client::builder(hub.directory().join("app")).with_type::<NotesV1>();
        let ana = ana.sign_up(&hub.url(), "ana", PASSWORD).await.unwrap();
        ana.connect(&"bruno".parse().unwrap()).await.unwrap();
        bruno.run(&["accept", "ana"]).done();
        ana.sync().await.unwrap();
        let made = ana.create::<NotesV1>("Notes", &["bruno".parse().unwrap()]).await.unwrap();
        ana.send_frame::<NotesV1>(made.id, &b"olives".to_vec()).await.unwrap();
    });
    let report = bruno.run(&["sync"]).one();
    assert_eq!((&report["unsupported"], &report["messages"]), (&1.into(), &1.into()));
    is_shown_by_its_number(&bruno);
}

#[test]
fn in_the_home_of_another_application_it_is_listed_and_read_too_and_nothing_of_it_is_lost() {
    let relay = Hub::relay(&["--difficulty", "4"]);
    let path = relay.directory().join("app");
    let open = || Client::builder(&path).with_type::<NotesV1>();
    let at_bruno = relay.directory().join("bruno");
    let runtime = Runtime::new().unwrap();
    let id = runtime.block_on(async {
        let ana = open().init(&[relay.url()]).await.unwrap();
        let bruno = Client::builder(&at_bruno).with_type::<NotesV1>().init(&[relay.url()]).await.unwrap();
        ana.meet(&bruno.intro().await.unwrap().to_string(), None).await.unwrap();
        bruno.sync().await.unwrap();
        bruno.accept(&bruno.requests().await.unwrap().remove(0).from).await.unwrap();
        ana.sync().await.unwrap();
        let friend = ana.connections().await.unwrap().remove(0).handle;
        let made = ana.create::<NotesV1>("Notes", &[friend]).await.unwrap();
        bruno.sync().await.unwrap();
        ana.send_frame::<NotesV1>(made.id, &b"olives".to_vec()).await.unwrap();
        made.id
    });
    // This program brings the frame in, and does not know the type.
    let bruno = Device::new(at_bruno.clone(), "bruno", relay.url());
    is_shown_by_its_number(&bruno);
    runtime.block_on(async {
        let bruno = Client::builder(&at_bruno).with_type::<NotesV1>().open().await.unwrap();
        let messages = bruno.messages(id, tertulia::MessageQuery::default()).await.unwrap();
        let [message] = &messages[..] else { panic!("one") };
        let read = message.frame.as_ref().unwrap().decode::<NotesV1>();
        assert_eq!(read, Outcome::Decoded(b"olives".to_vec()));
    });
}

#[test]
fn the_example_is_short() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(EXAMPLE);
    let lines = std::fs::read_to_string(path).unwrap().lines().count();
    assert!(lines <= 120, "{lines} lines");
}
