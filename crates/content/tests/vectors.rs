//! The draft's own examples: exact bytes and message ids. See `vectors/README.md`.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use tertulia_content::{Disposition, Expiration, MessageId, MimiContent, Part, PartContent, PartSemantics};

const NAMES: [&str; 8] =
    ["attachment", "delete", "edit", "expiring", "multipart-1", "original", "reaction", "reply"];

fn file(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "vectors", name].iter().collect()
}

fn bytes(name: &str) -> Vec<u8> {
    fs::read(file(&format!("{name}.cbor"))).unwrap()
}

fn message(name: &str) -> MimiContent {
    MimiContent::decode(&bytes(name)).unwrap()
}

/// The id in the heading of the readable form: two lines of hexadecimal digits within `h'…'`.
fn published_id(name: &str) -> MessageId {
    let text = fs::read_to_string(file(&format!("{name}.edn"))).unwrap();
    let (_, from_id) = text.split_once("message ID = h'").unwrap();
    let (digits, _) = from_id.split_once('\'').unwrap();
    digits.chars().filter(char::is_ascii_hexdigit).collect::<String>().parse().unwrap()
}

fn computed_id(name: &str) -> MessageId {
    let message = message(name);
    let (sender, room) = (message.extensions.sender_uri().unwrap(), message.extensions.room_uri().unwrap());
    MessageId::compute(sender, room, &bytes(name), &message.salt).unwrap()
}

#[test]
fn every_example_is_written_again_byte_for_byte() {
    for name in NAMES {
        assert_eq!(hex::encode(message(name).encode().unwrap()), hex::encode(bytes(name)), "{name}");
    }
}

#[test]
fn every_example_has_the_published_id() {
    for name in NAMES {
        assert_eq!(computed_id(name), published_id(name), "{name}");
    }
}

#[test]
fn no_example_is_left_out() {
    let mut found: Vec<_> = fs::read_dir(file(""))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "cbor"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    found.sort();
    assert_eq!(found, NAMES);
}

#[test]
fn our_constructors_make_the_examples() {
    let (original, reply, room) =
        (computed_id("original"), computed_id("reply"), "mimi://example.com/r/engineering_team");
    let bob = "mimi://example.com/u/bob-jones";
    let like = |name: &str, content: MimiContent, sender: &str| {
        let content = content.with_origin(sender, room).with_salt(message(name).salt);
        assert_eq!(hex::encode(content.encode().unwrap()), hex::encode(bytes(name)), "{name}");
    };
    like("reply", MimiContent::markdown("Right on! _Congratulations_ 'all!").reply_to(original), bob);
    like(
        "edit",
        MimiContent::edit(reply, "Right on! _Congratulations_ y'all!").keeping(&message("reply")),
        bob,
    );
    like("delete", MimiContent::delete(reply).keeping(&message("reply")), bob);
    like("reaction", MimiContent::reaction(original, "❤"), "mimi://example.com/u/cathy-washington");
    like(
        "expiring",
        MimiContent::markdown(message("expiring").text().unwrap())
            .expiring(Expiration::Absolute(1_644_390_004)),
        "mimi://example.com/u/alice-smith",
    );
    like(
        "multipart-1",
        MimiContent::new(Part::multi(
            Disposition::RENDER,
            PartSemantics::ChooseOne,
            vec![
                Part::markdown("# Welcome!"),
                Part::single(
                    Disposition::RENDER,
                    "application/vnd.examplevendor-fancy-im-message",
                    hex::decode("dc861ebaa718fd7c3ca159f71a2001").unwrap(),
                ),
            ],
        )),
        "mimi://example.com/u/alice-smith",
    );
}

#[test]
fn the_examples_mean_what_the_draft_says() {
    assert_eq!(message("original").text(), Some("Hi everyone, we just shipped release 2.0. __Good  work__!"));
    assert_eq!(message("reply").in_reply_to, Some(computed_id("original")));
    assert_eq!(message("edit").replaces, Some(computed_id("reply")));
    assert_eq!(message("delete").as_delete(), Some(computed_id("reply")));
    assert_eq!(message("delete").text(), None);
    assert_eq!(message("reaction").as_reaction(), Some((computed_id("original"), "❤")));
    assert_eq!(message("reaction").text(), None, "a reaction is not what a message says");
    assert_eq!(message("multipart-1").text(), Some("# Welcome!"));

    let attachment = message("attachment");
    assert_eq!(attachment.text(), None);
    assert_eq!(attachment.body.disposition, Disposition::ATTACHMENT);
    assert_eq!(attachment.body.language, "en");
    let PartContent::External(external) = &attachment.body.content else {
        panic!("the attachment is external")
    };
    assert_eq!(external.url, "https://example.com/storage/8ksB4bSrrRE.mp4");
    assert_eq!((external.size, external.enc_alg, external.hash_alg), (708_234_961, 1, 1));
    assert_eq!(hex::encode(external.key.expose_secret()), "21399320958a6f4c745dde670d95e0d8");
    assert_eq!(external.filename, "bigfile.mp4");
}
