//! What a message means to the people who read it.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use tertulia_content::PartSemantics::{ChooseOne, ProcessAll, SingleUnit};
use tertulia_content::{
    CONVERSATION_NAME, CONVERSATION_TYPE, ContentKey, Disposition, Expiration, ExternalPart, MessageId,
    MessageIdError, MimiContent, Part, PartContent, PartSemantics, Salt, Value, cid, parse_cid, rules, uri,
};

fn id(n: u8) -> MessageId {
    let mut bytes = [n; 32];
    bytes[0] = 1;
    MessageId::from_bytes(bytes).unwrap()
}

fn image() -> Part {
    Part::single(Disposition::INLINE, "image/png", [0x89])
}

fn multi(semantics: PartSemantics, parts: Vec<Part>) -> MimiContent {
    MimiContent::new(Part::multi(Disposition::RENDER, semantics, parts))
}

/// The stored format of the message that everyone sends. A change here breaks every stored message and every other implementation.
#[test]
fn the_stored_format_of_a_text() {
    let message = MimiContent::markdown("Hello, *world*")
        .with_origin(&uri::user_uri("example.com", "alice"), &uri::room_uri("example.com", "tea"))
        .with_salt(Salt::from_bytes([7; 16]));
    insta::assert_snapshot!(hex::encode(message.encode().unwrap()));
}

#[test]
fn the_stored_format_of_a_name() {
    let message = MimiContent::name_announcement("Friday").with_salt(Salt::from_bytes([7; 16]));
    insta::assert_snapshot!(hex::encode(message.encode().unwrap()));
}

#[test]
fn a_name_travels_inside_the_message() {
    let message = MimiContent::name_announcement("Los viernes ☕");
    let received = MimiContent::decode(&message.encode().unwrap()).unwrap();
    assert_eq!(received.conversation_name(), Some("Los viernes ☕"));
    assert_eq!(received.extensions.get_text(CONVERSATION_NAME), Some("Los viernes ☕"));
    assert_eq!(received.body.content, PartContent::Null);
    assert_eq!(received.text(), None);
    assert_eq!(received.as_delete(), None, "it replaces nothing");
}

#[test]
fn the_stored_format_of_a_frame() {
    let message = MimiContent::frame(0x8001, *b"e4")
        .with_conversation_type(0x8001, &[9; 32])
        .with_salt(Salt::from_bytes([7; 16]));
    insta::assert_snapshot!(hex::encode(message.encode().unwrap()));
}

#[test]
fn a_frame_and_the_type_of_its_conversation_travel_inside_the_message() {
    let message = MimiContent::frame(0x8001, *b"\xff\x00").with_conversation_type(0x8002, &[9; 32]);
    let received = MimiContent::decode(&message.encode().unwrap()).unwrap();
    assert_eq!(received.as_frame(), Some((0x8001, &b"\xff\x00"[..])));
    assert_eq!(received.conversation_type(), Some((0x8002, [9; 32])));
    assert_eq!((received.text(), received.announced_name()), (None, None));
    // What is not written in this way says nothing of a type, and is a message all the same.
    for claim in
        [Value::from("text"), Value::Bytes(Vec::new()), Value::Bytes(vec![9; 33]), Value::Bytes(vec![9; 35])]
    {
        let mut other = MimiContent::markdown("hello");
        other.extensions.insert(CONVERSATION_TYPE, claim);
        let received = MimiContent::decode(&other.encode().unwrap()).unwrap();
        assert_eq!((received.conversation_type(), received.as_frame()), (None, None));
        assert_eq!(received.text(), Some("hello"));
    }
}

#[test]
fn only_what_announces_a_name_and_nothing_else_gives_it() {
    let announcement = MimiContent::name_announcement("Friday");
    assert_eq!(announcement.announced_name(), Some("Friday"));
    let others = [
        ("a text that carries it", MimiContent::markdown("hello").with_conversation_name("Friday")),
        ("a reminder", MimiContent::name_reminder("Friday")),
        ("a deletion", MimiContent::delete(id(1)).with_conversation_name("Friday")),
        ("a reply", announcement.reply_to(id(1))),
    ];
    for (what, message) in others {
        let received = MimiContent::decode(&message.encode().unwrap()).unwrap();
        assert_eq!(received.conversation_name(), Some("Friday"), "{what}");
        assert_eq!(received.announced_name(), None, "{what}");
    }
}

#[test]
fn the_same_text_twice_is_two_messages() {
    assert_ne!(MimiContent::plain("yes").encode().unwrap(), MimiContent::plain("yes").encode().unwrap());
}

#[test]
fn the_id_depends_on_who_says_what_where() {
    let message = MimiContent::plain("yes");
    let bytes = message.encode().unwrap();
    let id = |sender, room| MessageId::compute(sender, room, &bytes, &message.salt).unwrap();
    let original = id("mimi://a/u/alice", "mimi://a/r/tea");
    assert_eq!(original.as_bytes()[0], 1);
    assert_ne!(original, id("mimi://a/u/bob", "mimi://a/r/tea"));
    assert_ne!(original, id("mimi://a/u/alice", "mimi://a/r/coffee"));
    assert_ne!(original, id("mimi://a/u/alicem", "imi://a/r/tea"), "the lengths keep the URIs apart");
}

#[test]
fn an_edit_keeps_what_is_not_text() {
    let original =
        MimiContent::markdown("helo").reply_to(id(1)).in_topic("t").expiring(Expiration::Relative(60));
    let edit = MimiContent::edit(id(2), "hello").keeping(&original);
    assert_eq!((edit.replaces, edit.text()), (Some(id(2)), Some("hello")));
    assert_eq!(
        (edit.in_reply_to, &edit.topic_id, edit.expires),
        (original.in_reply_to, &original.topic_id, original.expires)
    );
    assert_ne!(edit.salt, original.salt);
}

#[test]
fn a_reaction_comes_and_goes() {
    let reaction = MimiContent::reaction(id(1), "👍");
    assert_eq!(reaction.as_reaction(), Some((id(1), "👍")));
    assert_eq!(reaction.text(), None);
    let gone = MimiContent::unreact(id(2)).keeping(&reaction);
    assert_eq!(gone.as_delete(), Some(id(2)));
    assert_eq!(gone.as_reaction(), None);
    assert_eq!(gone.in_reply_to, Some(id(1)));
}

#[test]
fn of_several_choices_the_first_readable_one_is_shown() {
    let html = Part::single(Disposition::RENDER, "text/html;charset=utf-8", "<b>hi</b>");
    assert_eq!(
        multi(ChooseOne, vec![html.clone(), Part::markdown("**hi**"), Part::plain("hi")]).text(),
        Some("**hi**")
    );
    assert_eq!(multi(ChooseOne, vec![html, image()]).text(), None);
}

#[test]
fn a_single_unit_is_shown_whole_or_not_at_all() {
    let message = multi(SingleUnit, vec![Part::markdown("look ![](cid:2@local.invalid)"), image()]);
    assert_eq!(message.text(), None);
    assert!(message.text_beside(|media_type| media_type == "image/png").is_some());
    let choice = Part::multi(Disposition::RENDER, ChooseOne, vec![image(), Part::plain("[image]")]);
    assert_eq!(multi(SingleUnit, vec![Part::plain("look"), choice]).text(), Some("look"));
}

#[test]
fn of_several_things_the_text_is_shown() {
    let preview = Part::single(Disposition::PREVIEW, "text/plain", "a page about tea");
    let attachment = Part::single(Disposition::ATTACHMENT, "text/plain", "notes");
    let message = multi(ProcessAll, vec![preview, attachment, image(), Part::plain("read this")]);
    assert_eq!(message.text(), Some("read this"));
}

#[test]
fn an_unknown_disposition_is_shown() {
    let message = MimiContent::new(Part::single(Disposition(200), "text/plain", "hi"));
    assert_eq!(message.text(), Some("hi"));
}

#[test]
fn text_that_is_not_utf_8_is_not_text() {
    let message = MimiContent::new(Part::single(Disposition::RENDER, "text/plain", [0xff]));
    assert_eq!(MimiContent::decode(&message.encode().unwrap()).unwrap().text(), None);
}

/// The numbering of the draft's appendix B.3: depth first, from 0, multi-parts counted.
#[test]
fn parts_are_numbered_depth_first() {
    let inner = Part::multi(Disposition::RENDER, SingleUnit, vec![Part::plain("2"), Part::plain("3")]);
    let body = Part::multi(Disposition::RENDER, ChooseOne, vec![inner, Part::plain("4")]);
    for index in [2, 3, 4] {
        let found = body.resolve_cid(&cid(index)).unwrap();
        assert_eq!(*found, Part::plain(index.to_string()));
    }
    for nothing in ["cid:0@local.invalid", "cid:1@local.invalid", "cid:5@local.invalid"] {
        assert_eq!(body.resolve_cid(nothing), None, "{nothing}");
    }
    for wrong in
        ["cid:@local.invalid", "cid:+2@local.invalid", "cid:02@local.invalid", "cid:2@example.com", "2", ""]
    {
        assert_eq!(parse_cid(wrong), None, "{wrong}");
    }
}

#[test]
fn only_the_author_may_replace() {
    assert!(rules::may_replace("mimi://a/u/alice", "mimi://a/u/alice"));
    assert!(!rules::may_replace("mimi://a/u/alice", "mimi://a/u/mallory"));
}

#[test]
fn a_message_for_another_room_or_of_another_sender_is_noticed() {
    let (alice, tea) = ("mimi://a/u/alice", "mimi://a/r/tea");
    let message = MimiContent::plain("").with_origin(alice, tea);
    assert!(rules::origin_matches(&message, alice, tea));
    assert!(!rules::origin_matches(&message, "mimi://a/u/mallory", tea));
    assert!(!rules::origin_matches(&message, alice, "mimi://a/r/coffee"));
    assert!(rules::origin_matches(&MimiContent::plain(""), alice, tea), "a message need not say");
}

#[test]
fn replies_that_come_back_to_themselves_are_noticed() {
    let parents = HashMap::from([(id(3), id(2)), (id(2), id(1)), (id(6), id(5)), (id(5), id(6))]);
    let loops = |message, parent| rules::reply_loops(message, parent, |id| parents.get(id).copied());
    assert!(!loops(id(4), None));
    assert!(!loops(id(4), Some(id(3))));
    assert!(loops(id(1), Some(id(3))));
    assert!(loops(id(4), Some(id(4))));
    assert!(loops(id(4), Some(id(5))), "also when the loop is further on");
}

#[test]
fn expiration_counts_from_reading_or_from_1970() {
    let (now, day, year) = (1_800_000_000, 86_400, 366 * 86_400);
    assert_eq!(Expiration::Relative(60).deadline(now), now + 60);
    assert_eq!(Expiration::Absolute(5).deadline(now), 5);
    assert_eq!(Expiration::Relative(60).deadline(u64::MAX), u64::MAX);
    let absolute = |time: u64| Expiration::Absolute(u32::try_from(time).unwrap()).is_plausible(now);
    assert!(absolute(now) && absolute(now + year) && absolute(now - year));
    assert!(!absolute(now + year + day) && !absolute(now - year - day));
    assert!(Expiration::Relative(366 * 86_400).is_plausible(now));
    assert!(!Expiration::Relative(u32::MAX).is_plausible(now));
}

#[test]
fn ids_are_read_from_hexadecimal_digits_only() {
    assert_eq!("".parse::<MessageId>(), Err(MessageIdError::NotHex));
    assert_eq!("zz".repeat(32).parse::<MessageId>(), Err(MessageIdError::NotHex));
    let unknown = "00".repeat(32).parse::<MessageId>();
    assert_eq!(unknown, Err(MessageIdError::UnknownHashAlgorithm { algorithm: 0 }));
    assert_eq!("01".repeat(32).parse::<MessageId>().unwrap().to_string(), "01".repeat(32));
}

#[test]
fn what_a_message_says_is_not_in_its_debug_form() {
    let external = ExternalPart {
        content_type: "image/png".into(),
        url: "https://a.example/secret".into(),
        expires: 0,
        size: 10,
        enc_alg: 1,
        key: ContentKey::new(b"secret".to_vec()),
        nonce: b"secret".to_vec(),
        aad: b"secret".to_vec(),
        hash_alg: 1,
        content_hash: b"secret".to_vec(),
        description: "secret".into(),
        filename: "secret.png".into(),
    };
    let debug = format!("{:?}", external.key);
    assert_eq!(debug, "ContentKey(6 bytes)");
    let mut message =
        multi(ProcessAll, vec![Part::plain("secret"), Part::external(Disposition::INLINE, external)])
            .with_conversation_name("secret")
            .with_origin("secret", "secret");
    message.extensions.set_text("secret", "secret");
    let debug = format!("{message:?} {:?}", message.extensions.iter().collect::<Vec<_>>());
    assert!(!debug.contains("secret") && !debug.contains("115, 101"), "{debug}");
}
