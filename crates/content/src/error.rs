//! What can be wrong with a message.

use crate::limits::{
    MAX_CONTENT_BYTES, MAX_EXTENSION_DEPTH, MAX_EXTENSION_KEY_BYTES, MAX_EXTENSION_VALUE_BYTES,
    MAX_EXTENSIONS_BYTES, MAX_INTEGER_KEY, MAX_PART_DEPTH, MAX_PARTS, MAX_STATUSES, MAX_TOPIC_BYTES,
    MAX_URI_BYTES,
};

/// Received bytes that are not a message: the sender's fault, and final for these bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContentError {
    /// The bytes end in the middle of the message.
    #[error("the message is cut short")]
    Truncated,
    /// Bytes follow after the end of the message.
    #[error("{extra} bytes follow after the message")]
    TrailingBytes {
        /// How many.
        extra: usize,
    },
    /// Not CBOR, or not of the type that belongs in this place.
    #[error("expected {expected} at byte {at}")]
    Malformed {
        /// The offset of the offending item, in bytes.
        at: usize,
        /// What belongs there.
        expected: &'static str,
    },
    /// An array, map or string of indefinite length, which deterministic CBOR does not have.
    #[error("indefinite length at byte {at}")]
    IndefiniteLength {
        /// The offset of the item, in bytes.
        at: usize,
    },
    /// The same key twice in one map.
    #[error("duplicate map key at byte {at}")]
    DuplicateKey {
        /// The offset of the second of them, in bytes.
        at: usize,
    },
    /// A meaning that has a shorter or differently ordered encoding than the one received (RFC 8949 §4.2.1).
    #[error("not in deterministic encoding from byte {at} on")]
    NotDeterministic {
        /// The first byte at which the deterministic encoding differs.
        at: usize,
    },
    /// Well-formed, but the draft forbids it.
    #[error(transparent)]
    Invalid(#[from] InvalidContent),
}

/// A message that the draft forbids, whoever made it. From [`encode`](crate::MimiContent::encode) it is the caller's mistake; inside
/// [`ContentError::Invalid`] it is the sender's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidContent {
    /// The encoded message is too large.
    #[error("the message has {size} bytes, at most {MAX_CONTENT_BYTES} are allowed")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// The topic id is too long.
    #[error("the topic id has {size} bytes, at most {MAX_TOPIC_BYTES} are allowed")]
    TopicTooLong {
        /// Its size in bytes.
        size: usize,
    },
    /// The message that is replaced or replied to is not named by a message id.
    #[error(transparent)]
    MessageId(#[from] MessageIdError),
    /// Parts are nested too deeply.
    #[error("parts are nested deeper than {MAX_PART_DEPTH} levels")]
    PartsTooDeep,
    /// There are too many parts.
    #[error("more than {MAX_PARTS} parts")]
    TooManyParts,
    /// A multi-part with fewer than two parts.
    #[error("a multi-part has {parts} parts, at least 2 are required")]
    TooFewParts {
        /// How many it has.
        parts: usize,
    },
    /// A multi-part whose semantics the draft does not define.
    #[error("unknown part semantics {0}")]
    UnknownSemantics(u8),
    /// A part of a cardinality that the draft does not define.
    #[error("unknown part cardinality {0}")]
    UnknownCardinality(u8),
    /// A status report about too many messages.
    #[error("a report of {count} messages, at most {MAX_STATUSES} are allowed")]
    TooManyStatuses {
        /// How many it announces.
        count: u64,
    },
    /// An extension's key is neither an integer nor a text.
    #[error("an extension's key must be an integer or a text")]
    KeyType,
    /// An extension's text key is empty or too long.
    #[error("an extension's key has {size} bytes, 1 to {MAX_EXTENSION_KEY_BYTES} are allowed")]
    KeyLength {
        /// Its size in bytes.
        size: usize,
    },
    /// An integer map key that a double does not hold exactly.
    #[error("an integer map key is not within ±{MAX_INTEGER_KEY}")]
    KeyOutOfRange,
    /// Arrays, maps and tags of an extension are nested too deeply.
    #[error("extensions are nested deeper than {MAX_EXTENSION_DEPTH} levels")]
    ExtensionTooDeep,
    /// An extension's encoded value is too large.
    #[error("an extension's value has more than {MAX_EXTENSION_VALUE_BYTES} bytes")]
    ExtensionTooLarge,
    /// The extensions are too large together.
    #[error("the extensions have more than {MAX_EXTENSIONS_BYTES} bytes")]
    ExtensionsTooLarge,
    /// The sender or room URI is not a text.
    #[error("the sender and room URIs must be texts")]
    UriNotText,
    /// A sender or room URI is too long.
    #[error("a URI has {size} bytes, at most {MAX_URI_BYTES} are allowed")]
    UriTooLong {
        /// Its size in bytes.
        size: usize,
    },
    /// An integer that CBOR does not have, outside `-2^64..2^64`.
    #[error("an integer does not fit 64 bits and a sign")]
    IntegerOutOfRange,
    /// A big number (tag 2 or 3) that is no byte string, has leading zeros or would fit an integer.
    #[error("a big number is not in its shortest form")]
    BigNumber,
    /// A simple value that CBOR does not have (24 to 31) or that has a name of its own (20 to 23: false, true, null, undefined).
    #[error("{0} is not a simple value")]
    SimpleValue(u8),
}

/// Bytes or text that are not a message id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageIdError {
    /// Not 32 bytes, as 64 hexadecimal digits.
    #[error("a message id is written as 64 hexadecimal digits")]
    NotHex,
    /// The first byte names a hash algorithm other than SHA-256 (1).
    #[error("unknown hash algorithm {algorithm} in a message id")]
    UnknownHashAlgorithm {
        /// The first byte.
        algorithm: u8,
    },
}
