//! Reading refuses everything but the one encoding of an allowed message, and writing refuses what reading would.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use tertulia_content::limits::{
    MAX_CONTENT_BYTES, MAX_EXTENSION_VALUE_BYTES, MAX_EXTENSIONS_BYTES, MAX_PARTS, MAX_TOPIC_BYTES,
    MAX_URI_BYTES,
};
use tertulia_content::{
    ContentError, Disposition, Float, InvalidContent, Key, MessageId, MessageIdError, MimiContent, Part,
    PartSemantics, Value,
};

const SALT: &str = "5000000000000000000000000000000000";
const NULL_PART: &str = "83016000";

/// A message from the hexadecimal digits of its extensions and its body.
fn decode(extensions: &str, body: &str) -> Result<MimiContent, ContentError> {
    decode_hex(&format!("87{SALT}f640f6f6{extensions}{body}"))
}

fn decode_hex(digits: &str) -> Result<MimiContent, ContentError> {
    MimiContent::decode(&hex::decode(digits).unwrap())
}

/// A message whose only extension has the key 256 and this value.
fn decode_value(value: &str) -> Result<MimiContent, ContentError> {
    decode(&format!("a1190100{value}"), NULL_PART)
}

fn invalid(result: Result<MimiContent, ContentError>) -> InvalidContent {
    match result {
        Err(ContentError::Invalid(invalid)) => invalid,
        other => panic!("expected an invalid message, got {other:?}"),
    }
}

fn extended(key: impl Into<Key>, value: impl Into<Value>) -> MimiContent {
    let mut content = MimiContent::delete(MessageId::from_bytes([1; 32]).unwrap());
    content.extensions.insert(key, value);
    content
}

/// What writing says about a message that is not allowed.
fn refused(content: &MimiContent) -> InvalidContent {
    content.encode().unwrap_err()
}

#[test]
fn the_smallest_message_is_read() {
    assert!(decode("a0", NULL_PART).is_ok());
}

#[test]
fn every_message_that_is_cut_short_is_refused() {
    let bytes = MimiContent::markdown("hello").with_origin("mimi://a/u/b", "mimi://a/r/c").encode().unwrap();
    for size in 0..bytes.len() {
        assert_eq!(MimiContent::decode(&bytes[..size]), Err(ContentError::Truncated), "{size} bytes");
    }
}

#[test]
fn trailing_bytes_are_refused() {
    assert_eq!(decode("a0", "83016000f6f6"), Err(ContentError::TrailingBytes { extra: 2 }));
}

#[test]
fn indefinite_lengths_are_refused() {
    for (digits, at) in [
        (format!("9f{SALT}f640f6f6a0{NULL_PART}ff"), 0),
        (format!("87{SALT}f65f4100fff6f6a0{NULL_PART}"), 19),
        (format!("87{SALT}f640f6f6bfff{NULL_PART}"), 22),
        (format!("87{SALT}f640f6f6a09f016000ff"), 23),
        (format!("87{SALT}f640f6f6a083017f6161ff00"), 25),
        (format!("87{SALT}f640f6f6a11901009fff{NULL_PART}"), 26),
    ] {
        assert_eq!(decode_hex(&digits), Err(ContentError::IndefiniteLength { at }), "{digits}");
    }
}

#[test]
fn lengths_and_integers_longer_than_needed_are_refused() {
    for (extensions, body, at) in [
        ("a0", "8318016000", 24),        // a disposition in two bytes
        ("a0", "9803016000", 23),        // the length of an array in two bytes
        ("a0", "8301780000", 25),        // the length of a text in two bytes
        ("b800", NULL_PART, 22),         // the length of a map in two bytes
        ("a118ff190001", NULL_PART, 25), // an integer in three bytes
    ] {
        assert_eq!(
            decode(extensions, body),
            Err(ContentError::NotDeterministic { at }),
            "{extensions} {body}"
        );
    }
    assert_eq!(decode_value("1900ff"), Err(ContentError::NotDeterministic { at: 26 }));
}

#[test]
fn map_keys_out_of_order_are_refused() {
    // Deterministic order: 1, 256, -1, "b", "aa".
    assert!(decode("a50160190100f420f46162f4626161f4", NULL_PART).is_ok());
    let swapped = decode("a220f40160", NULL_PART);
    assert_eq!(swapped, Err(ContentError::NotDeterministic { at: 23 }));
    // RFC 7049 sorted by length first: -1 before 256.
    assert!(matches!(decode("a220f4190100f4", NULL_PART), Err(ContentError::NotDeterministic { .. })));
    assert!(matches!(decode("a2626161f46162f4", NULL_PART), Err(ContentError::NotDeterministic { .. })));
}

#[test]
fn duplicate_map_keys_are_refused() {
    assert_eq!(decode("a2190100f4190100f5", NULL_PART), Err(ContentError::DuplicateKey { at: 27 }));
    assert_eq!(decode("a2616101616102", NULL_PART), Err(ContentError::DuplicateKey { at: 26 }));
    assert_eq!(decode_value("a201000100"), Err(ContentError::DuplicateKey { at: 29 }));
    // The same key in two spellings is still the same key.
    assert_eq!(decode("a2190100f41a00000100f5", NULL_PART), Err(ContentError::DuplicateKey { at: 27 }));
}

#[test]
fn extension_keys_have_1_to_255_bytes() {
    let key = |size: usize| "k".repeat(size);
    for size in [1, 255] {
        let content = extended(key(size).as_str(), 1);
        assert_eq!(MimiContent::decode(&content.encode().unwrap()), Ok(content));
    }
    for size in [0, 256] {
        assert_eq!(refused(&extended(key(size).as_str(), 1)), InvalidContent::KeyLength { size });
    }
    assert_eq!(invalid(decode("a16001", NULL_PART)), InvalidContent::KeyLength { size: 0 });
    let long = format!("a1790100{}01", "6b".repeat(256));
    assert_eq!(invalid(decode(&long, NULL_PART)), InvalidContent::KeyLength { size: 256 });
}

#[test]
fn extension_keys_are_integers_or_texts() {
    assert_eq!(invalid(decode("a1410001", NULL_PART)), InvalidContent::KeyType);
    assert_eq!(refused(&extended(Key::Bytes(vec![0]), 1)), InvalidContent::KeyType);
    assert!(matches!(decode("a1f401", NULL_PART), Err(ContentError::Malformed { at: 23, .. })));
    assert!(decode_value("a1410001").is_ok(), "inside a value, byte strings are keys as well");
}

#[test]
fn integer_keys_are_those_that_a_double_holds() {
    for key in [(1 << 53) - 1, -((1 << 53) - 1)] {
        let content = extended(key, 1);
        assert_eq!(MimiContent::decode(&content.encode().unwrap()), Ok(content));
    }
    for key in [1 << 53, -(1 << 53), i64::MAX, i64::MIN] {
        assert_eq!(refused(&extended(key, 1)), InvalidContent::KeyOutOfRange);
    }
    assert_eq!(invalid(decode("a11b002000000000000001", NULL_PART)), InvalidContent::KeyOutOfRange);
    assert_eq!(invalid(decode("a11bffffffffffffffff01", NULL_PART)), InvalidContent::KeyOutOfRange);
    assert_eq!(invalid(decode_value("a11b002000000000000001")), InvalidContent::KeyOutOfRange);
}

#[test]
fn extensions_nest_four_levels_counting_their_own_map() {
    // The draft's example of 4 levels: the map, two arrays, and a tagged URI.
    assert!(decode_value("8182421234d8206161").is_ok());
    for too_deep in ["81818180", "818181a0", "818181c100", "d820d820d820d8206161", "a100a100a100a0"] {
        assert_eq!(invalid(decode_value(too_deep)), InvalidContent::ExtensionTooDeep, "{too_deep}");
    }
    let nested = |levels| (1..levels).fold(Value::Int(0), |value, _| Value::Array(vec![value]));
    assert!(extended(256, nested(4)).encode().is_ok());
    assert_eq!(refused(&extended(256, nested(5))), InvalidContent::ExtensionTooDeep);
    assert_eq!(refused(&extended(256, nested(1000))), InvalidContent::ExtensionTooDeep);
}

#[test]
fn a_hundred_thousand_nested_arrays_do_not_overflow_the_stack() {
    assert_eq!(invalid(decode_value(&"81".repeat(100_000))), InvalidContent::ExtensionTooDeep);
    assert_eq!(invalid(decode("a0", &"850160030082".repeat(100_000))), InvalidContent::PartsTooDeep);
}

#[test]
fn claimed_lengths_reserve_no_memory() {
    for value in ["9bffffffffffffffff", "bbffffffffffffffff", "5bffffffffffffffff", "7bffffffffffffffff"] {
        let refused = matches!(
            decode_hex(&format!("87{SALT}f640f6f6a1190100{value}")),
            Err(ContentError::Truncated | ContentError::Malformed { .. })
        );
        assert!(refused, "{value}");
    }
    assert_eq!(decode("bbffffffffffffffff", ""), Err(ContentError::Truncated));
    assert_eq!(decode("a0", "85016003009bffffffffffffffff"), Err(ContentError::Truncated));
}

#[test]
fn extension_values_have_at_most_4095_bytes() {
    let text = |size: usize| "x".repeat(size);
    assert!(extended(256, text(MAX_EXTENSION_VALUE_BYTES - 3).as_str()).encode().is_ok());
    let too_large = extended(256, text(MAX_EXTENSION_VALUE_BYTES - 2).as_str());
    assert_eq!(refused(&too_large), InvalidContent::ExtensionTooLarge);
    let received = format!("790ffd{}", "78".repeat(MAX_EXTENSION_VALUE_BYTES - 2));
    assert_eq!(invalid(decode_value(&received)), InvalidContent::ExtensionTooLarge);
    // Many small items are stopped on the way, not at their end.
    let received = format!("9a{:08x}{}", 1_000_000, "f6".repeat(1_000_000));
    assert_eq!(invalid(decode_value(&received)), InvalidContent::ExtensionTooLarge);
}

#[test]
fn extensions_have_at_most_64_kib_together() {
    let mut content = MimiContent::plain("");
    for key in 0..=i64::try_from(MAX_EXTENSIONS_BYTES / 4000).unwrap() {
        content.extensions.insert(key + 256, "x".repeat(4000).as_str());
    }
    assert_eq!(refused(&content), InvalidContent::ExtensionsTooLarge);
    let entries = (256..16_640).fold(String::new(), |all, key| all + &format!("19{key:04x}81f6"));
    assert_eq!(invalid(decode(&format!("b94000{entries}"), NULL_PART)), InvalidContent::ExtensionsTooLarge);
}

#[test]
fn sender_and_room_are_texts_and_fit_the_message_id() {
    assert_eq!(refused(&extended(1, 7)), InvalidContent::UriNotText);
    assert!(matches!(decode("a10107", NULL_PART), Err(ContentError::Malformed { at: 24, .. })));
    let long = "x".repeat(MAX_URI_BYTES + 1);
    assert_eq!(refused(&extended(2, long.as_str())), InvalidContent::UriTooLong { size: 65_536 });
    let salt = MimiContent::plain("").salt;
    assert_eq!(MessageId::compute("", &long, b"", &salt), Err(InvalidContent::UriTooLong { size: 65_536 }));
    assert!(
        extended(2, "x".repeat(60_000).as_str()).encode().is_ok(),
        "a URI may be larger than other values"
    );
}

#[test]
fn parts_nest_four_levels() {
    fn nested(levels: usize) -> Part {
        let inner = if levels == 1 { Part::plain("leaf") } else { nested(levels - 1) };
        if levels == 1 {
            inner
        } else {
            Part::multi(Disposition::RENDER, PartSemantics::ProcessAll, vec![inner, Part::plain("leaf")])
        }
    }
    let content = MimiContent::new(nested(4));
    assert_eq!(MimiContent::decode(&content.encode().unwrap()), Ok(content));
    assert_eq!(refused(&MimiContent::new(nested(5))), InvalidContent::PartsTooDeep);

    let received = (1..5).fold(NULL_PART.to_owned(), |part, _| format!("850160030082{part}{NULL_PART}"));
    assert_eq!(invalid(decode("a0", &received)), InvalidContent::PartsTooDeep);
}

#[test]
fn there_are_at_most_1024_parts() {
    let with_parts =
        |count| Part::multi(Disposition::RENDER, PartSemantics::ProcessAll, vec![Part::plain(""); count]);
    let content = MimiContent::new(with_parts(MAX_PARTS - 1));
    assert_eq!(MimiContent::decode(&content.encode().unwrap()), Ok(content));
    assert_eq!(refused(&MimiContent::new(with_parts(MAX_PARTS))), InvalidContent::TooManyParts);
    let received = format!("8501600302990400{}", NULL_PART.repeat(MAX_PARTS));
    assert_eq!(invalid(decode("a0", &received)), InvalidContent::TooManyParts);
}

#[test]
fn a_multi_part_has_two_parts_or_more() {
    for parts in [0, 1] {
        let body = Part::multi(Disposition::RENDER, PartSemantics::ChooseOne, vec![Part::plain(""); parts]);
        assert_eq!(refused(&MimiContent::new(body)), InvalidContent::TooFewParts { parts });
    }
    assert_eq!(invalid(decode("a0", "850160030080")), InvalidContent::TooFewParts { parts: 0 });
    assert_eq!(
        invalid(decode("a0", &format!("850160030081{NULL_PART}"))),
        InvalidContent::TooFewParts { parts: 1 }
    );
}

#[test]
fn unknown_dispositions_are_kept_and_unknown_structures_refused() {
    let content = decode("a0", "8318ff6000").unwrap();
    assert_eq!(content.body.disposition, Disposition(255));
    assert_eq!(invalid(decode("a0", "83016004")), InvalidContent::UnknownCardinality(4));
    let semantics = format!("850160030382{NULL_PART}{NULL_PART}");
    assert_eq!(invalid(decode("a0", &semantics)), InvalidContent::UnknownSemantics(3));
    for wrong in ["831901006000", "8401600000", "83016001", "84016001606100", "820160"] {
        let result = decode("a0", wrong);
        assert!(
            matches!(result, Err(ContentError::Malformed { .. } | ContentError::Truncated)),
            "{wrong}: {result:?}"
        );
    }
}

#[test]
fn fields_of_the_wrong_type_or_size_are_refused() {
    for digits in [
        format!("86{SALT}f640f6f6a0"),
        format!("874f{}f640f6f6a0{NULL_PART}", "00".repeat(15)),
        format!("87{SALT}58{:02x}{}40f6f6a0{NULL_PART}", 31, "01".repeat(31)),
        format!("87{SALT}f660f6f6a0{NULL_PART}"),
        format!("87{SALT}f64083f40001f6a0{NULL_PART}"),
        format!("87{SALT}f640820000f6a0{NULL_PART}"),
        format!("87{SALT}f64082f41b0000000100000000f6a0{NULL_PART}"),
        format!("87{SALT}f640f6f680{NULL_PART}"),
        format!("87{SALT}f640f6f6a08301c06000"),
    ] {
        let result = decode_hex(&digits);
        assert!(matches!(result, Err(ContentError::Malformed { .. })), "{digits}: {result:?}");
    }
}

#[test]
fn texts_are_utf_8() {
    assert!(matches!(decode("a0", "830161ff00"), Err(ContentError::Malformed { at: 25, .. })));
    assert!(matches!(decode_value("61ff"), Err(ContentError::Malformed { at: 26, .. })));
}

#[test]
fn message_ids_of_unknown_hash_algorithms_are_refused() {
    let received = format!("87{SALT}5820{}40f6f6a0{NULL_PART}", "02".repeat(32));
    assert_eq!(
        invalid(decode_hex(&received)),
        InvalidContent::MessageId(MessageIdError::UnknownHashAlgorithm { algorithm: 2 })
    );
}

#[test]
fn topics_have_at_most_4096_bytes() {
    let content = MimiContent::plain("").in_topic(vec![0; MAX_TOPIC_BYTES]);
    assert_eq!(MimiContent::decode(&content.encode().unwrap()), Ok(content));
    let content = MimiContent::plain("").in_topic(vec![0; MAX_TOPIC_BYTES + 1]);
    assert_eq!(refused(&content), InvalidContent::TopicTooLong { size: 4097 });
}

#[test]
fn messages_have_at_most_1_mib() {
    let overhead = MimiContent::plain("x".repeat(70_000)).encode().unwrap().len() - 70_000;
    let largest = MimiContent::plain("x".repeat(MAX_CONTENT_BYTES - overhead));
    let bytes = largest.encode().unwrap();
    assert_eq!(bytes.len(), MAX_CONTENT_BYTES);
    assert_eq!(MimiContent::decode(&bytes), Ok(largest));

    let size = MAX_CONTENT_BYTES + 1;
    let larger = MimiContent::plain("x".repeat(size - overhead));
    assert_eq!(refused(&larger), InvalidContent::TooLarge { size });
    assert_eq!(invalid(MimiContent::decode(&vec![0; size])), InvalidContent::TooLarge { size });
}

#[test]
fn numbers_have_one_encoding_each() {
    // The shortest float that loses nothing, and one NaN.
    for (number, digits) in [
        (0.0, "f90000"),
        (-0.0, "f98000"),
        (1.5, "f93e00"),
        (f64::INFINITY, "f97c00"),
        (f64::NAN, "f97e00"),
        (5.960_464_477_539_063e-8, "f90001"),
        (100_000.0, "fa47c35000"),
        (1.1, "fb3ff199999999999a"),
    ] {
        let content = decode_value(digits).unwrap();
        assert_eq!(content.extensions.get(256), Some(&Value::Float(Float::new(number))), "{number}");
    }
    for other in ["fa3fc00000", "fb3ff8000000000000", "fb40f86a0000000000", "f97e01", "fa7fc00000", "f9fe00"]
    {
        let result = decode_value(other);
        assert!(matches!(result, Err(ContentError::NotDeterministic { .. })), "{other}: {result:?}");
    }
    // Integers over the whole range of CBOR, and big numbers beyond it only.
    for (number, digits) in
        [(i128::from(u64::MAX), "1bffffffffffffffff"), (-i128::from(u64::MAX) - 1, "3bffffffffffffffff")]
    {
        assert_eq!(decode_value(digits).unwrap().extensions.get(256), Some(&Value::Int(number)));
    }
    for number in [i128::from(u64::MAX) + 1, -i128::from(u64::MAX) - 2, i128::MAX, i128::MIN] {
        assert_eq!(refused(&extended(256, Value::Int(number))), InvalidContent::IntegerOutOfRange);
    }
    assert!(decode_value("c249010000000000000000").is_ok());
    for big in ["c24101", "c248ffffffffffffffff", "c249000000000000000000", "c200", "c340"] {
        assert_eq!(invalid(decode_value(big)), InvalidContent::BigNumber, "{big}");
    }
}

#[test]
fn simple_values_have_one_encoding_each() {
    for (value, digits) in [
        (Value::Bool(false), "f4"),
        (Value::Bool(true), "f5"),
        (Value::Null, "f6"),
        (Value::Undefined, "f7"),
        (Value::Simple(0), "e0"),
        (Value::Simple(19), "f3"),
        (Value::Simple(32), "f820"),
        (Value::Simple(255), "f8ff"),
    ] {
        assert_eq!(decode_value(digits).unwrap().extensions.get(256), Some(&value), "{digits}");
    }
    for wrong in ["f800", "f814", "f815", "f816", "f817", "f818", "f81f", "fc", "ff"] {
        assert!(decode_value(wrong).is_err(), "{wrong}");
    }
    assert_eq!(refused(&extended(256, Value::Simple(20))), InvalidContent::SimpleValue(20));
}

#[test]
fn the_order_of_keys_is_that_of_their_encoding() {
    let keys = [
        Key::Int(0),
        Key::Int(23),
        Key::Int(24),
        Key::Int(256),
        Key::Int((1 << 53) - 1),
        Key::Int(-1),
        Key::Int(-24),
        Key::Int(-25),
        Key::Int(-((1 << 53) - 1)),
        Key::Bytes(vec![]),
        Key::Bytes(vec![9]),
        Key::Bytes(vec![1, 1]),
        Key::Text(String::new()),
        Key::Text("b".into()),
        Key::Text("aa".into()),
        Key::Text("a".repeat(24)),
    ];
    let alone = |key: &Key| {
        let map = Value::Map(BTreeMap::from([(key.clone(), Value::Null)]));
        let bytes = extended(256, map).encode().unwrap();
        let map = bytes.windows(4).position(|window| window == [0x19, 1, 0, 0xa1]).unwrap();
        bytes[map + 4..].to_vec()
    };
    for pair in keys.windows(2) {
        assert!(pair[0] < pair[1], "{pair:?}");
        assert!(alone(&pair[0]) < alone(&pair[1]), "{pair:?}");
    }
}
