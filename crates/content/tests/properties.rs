//! What holds for any message and for any bytes.
#![allow(clippy::unwrap_used)]

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use tertulia_content::{
    ContentKey, Disposition, Expiration, Extensions, ExternalPart, Float, Key, MessageId, MimiContent, Part,
    PartContent, PartSemantics, Salt, Value, cid, parse_cid,
};

const VECTORS: [&[u8]; 8] = [
    include_bytes!("vectors/attachment.cbor"),
    include_bytes!("vectors/delete.cbor"),
    include_bytes!("vectors/edit.cbor"),
    include_bytes!("vectors/expiring.cbor"),
    include_bytes!("vectors/multipart-1.cbor"),
    include_bytes!("vectors/original.cbor"),
    include_bytes!("vectors/reaction.cbor"),
    include_bytes!("vectors/reply.cbor"),
];

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..40)
}

fn message_id() -> impl Strategy<Value = MessageId> {
    any::<[u8; 32]>().prop_map(|mut bytes| {
        bytes[0] = 1;
        MessageId::from_bytes(bytes).unwrap()
    })
}

fn expiration() -> impl Strategy<Value = Expiration> {
    prop_oneof![any::<u32>().prop_map(Expiration::Relative), any::<u32>().prop_map(Expiration::Absolute)]
}

fn integer_key() -> impl Strategy<Value = Key> {
    (-((1_i64 << 53) - 1)..1 << 53).prop_map(Key::Int)
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<u64>().prop_map(|n| Value::Int(n.into())),
        any::<u64>().prop_map(|n| Value::Int(-1 - i128::from(n))),
        ".{0,30}".prop_map(Value::Text),
        bytes().prop_map(Value::Bytes),
        any::<bool>().prop_map(Value::Bool),
        Just(Value::Null),
        Just(Value::Undefined),
        prop_oneof![0..20_u8, 32..=255_u8].prop_map(Value::Simple),
        any::<u64>().prop_map(|bits| Value::Float(Float::new(f64::from_bits(bits)))),
        any::<f32>().prop_map(|number| Value::Float(Float::new(number.into()))),
    ];
    leaf.prop_recursive(3, 30, 4, |inner| {
        let key = prop_oneof![integer_key(), bytes().prop_map(Key::Bytes), ".{0,30}".prop_map(Key::Text)];
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::Array),
            btree_map(key, inner.clone(), 0..4).prop_map(Value::Map),
            (4..u64::MAX, inner).prop_map(|(tag, value)| Value::Tag(tag, Box::new(value))),
        ]
    })
}

fn extensions() -> impl Strategy<Value = Extensions> {
    // Keys 1 and 2 are the URIs and set apart.
    let key = prop_oneof![
        integer_key().prop_filter("not a URI", |key| !matches!(key, Key::Int(1 | 2))),
        "[a-zä]{1,60}".prop_map(Key::Text)
    ];
    (btree_map(key, value(), 0..5), any::<Option<String>>(), any::<Option<String>>()).prop_map(
        |(map, sender, room)| {
            let mut extensions = Extensions::from(map);
            if let Some(uri) = sender {
                extensions.set_sender_uri(&uri);
            }
            if let Some(uri) = room {
                extensions.set_room_uri(&uri);
            }
            extensions
        },
    )
}

fn external() -> impl Strategy<Value = PartContent> {
    let names = (any::<String>(), any::<String>(), any::<String>(), any::<String>());
    let numbers = (any::<u32>(), any::<u64>(), any::<u16>(), any::<u8>());
    (names, numbers, (bytes(), bytes(), bytes(), bytes())).prop_map(|(names, numbers, secrets)| {
        PartContent::External(Box::new(ExternalPart {
            content_type: names.0,
            url: names.1,
            expires: numbers.0,
            size: numbers.1,
            enc_alg: numbers.2,
            key: ContentKey::new(secrets.0),
            nonce: secrets.1,
            aad: secrets.2,
            hash_alg: numbers.3,
            content_hash: secrets.3,
            description: names.2,
            filename: names.3,
        }))
    })
}

fn part() -> impl Strategy<Value = Part> {
    let leaf = prop_oneof![
        Just(PartContent::Null),
        (any::<String>(), bytes())
            .prop_map(|(content_type, content)| PartContent::Single { content_type, content }),
        external(),
    ];
    let labelled = |content: BoxedStrategy<PartContent>| {
        (any::<u8>(), any::<String>(), content).prop_map(|(disposition, language, content)| Part {
            disposition: Disposition(disposition),
            language,
            content,
        })
    };
    let semantics = prop_oneof![
        Just(PartSemantics::ChooseOne),
        Just(PartSemantics::SingleUnit),
        Just(PartSemantics::ProcessAll)
    ];
    labelled(leaf.boxed()).prop_recursive(3, 20, 4, move |inner| {
        let multi = (semantics.clone(), vec(inner, 2..5))
            .prop_map(|(semantics, parts)| PartContent::Multi { semantics, parts });
        labelled(multi.boxed())
    })
}

fn content() -> impl Strategy<Value = MimiContent> {
    let ids = (proptest::option::of(message_id()), proptest::option::of(message_id()));
    (any::<[u8; 16]>(), ids, bytes(), proptest::option::of(expiration()), extensions(), part()).prop_map(
        |(salt, (replaces, in_reply_to), topic_id, expires, extensions, body)| MimiContent {
            salt: Salt::from_bytes(salt),
            replaces,
            topic_id,
            expires,
            in_reply_to,
            extensions,
            body,
        },
    )
}

fn is_refused_or_read_exactly(bytes: &[u8]) {
    if let Ok(content) = MimiContent::decode(bytes) {
        assert_eq!(hex::encode(content.encode().unwrap()), hex::encode(bytes));
        // Nothing that an application asks of a message may panic either.
        let _ = (content.text(), content.as_reaction(), content.as_delete(), content.conversation_name());
        let _ = format!("{content:?}");
    }
}

proptest! {
    #[test]
    fn any_message_comes_back_as_it_was(content in content()) {
        let bytes = content.encode().unwrap();
        prop_assert_eq!(MimiContent::decode(&bytes).unwrap(), content, "{}", hex::encode(&bytes));
    }

    #[test]
    fn any_bytes_are_refused_or_read_exactly(bytes in vec(any::<u8>(), 0..300)) {
        is_refused_or_read_exactly(&bytes);
    }

    #[test]
    fn any_body_and_extensions_are_refused_or_read_exactly(bytes in vec(any::<u8>(), 0..100)) {
        let start = [&[0x87, 0x50][..], &[0; 16], &[0xf6, 0x40, 0xf6, 0xf6]].concat();
        is_refused_or_read_exactly(&[&start[..], &bytes].concat());
        is_refused_or_read_exactly(&[&start[..], &[0xa1, 0x03], &bytes, &[0x83, 1, 0x60, 0]].concat());
    }

    #[test]
    fn changed_messages_are_refused_or_read_exactly(
        vector in proptest::sample::select(&VECTORS[..]),
        changes in vec((any::<proptest::sample::Index>(), any::<u8>(), 0..3_u8), 1..6),
    ) {
        let mut bytes = vector.to_vec();
        for (index, byte, change) in changes {
            let at = index.index(bytes.len());
            match change {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        is_refused_or_read_exactly(&bytes);
    }

    #[test]
    fn the_parts_of_any_message_have_names_that_lead_to_them(body in part()) {
        for (index, part) in (0..).zip(body.iter()) {
            prop_assert_eq!(parse_cid(&cid(index)), Some(index));
            let nameable = matches!(part.content, PartContent::Single { .. } | PartContent::External(_));
            let found = body.resolve_cid(&cid(index));
            prop_assert!(found.map_or(!nameable, |found| nameable && std::ptr::eq(found, part)));
        }
    }

    #[test]
    fn the_id_of_any_message_is_written_and_read(id in message_id()) {
        prop_assert_eq!(id.to_string().parse(), Ok(id));
    }
}

#[test]
fn every_single_bit_of_every_example_may_flip() {
    for vector in VECTORS {
        for bit in 0..vector.len() * 8 {
            let mut bytes = vector.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            is_refused_or_read_exactly(&bytes);
        }
    }
}
