//! The extensions of a message: a map that may hold any CBOR (section 4.3).

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

/// The key of the sender's URI.
pub(crate) const SENDER_URI: Key = Key::Int(1);

/// The key of the room's URI.
pub(crate) const ROOM_URI: Key = Key::Int(2);

/// The key of Tertulia's own extension: the name of the conversation, a text, encrypted end to end as all content is.
///
/// A message that carries it and whose body is a null part announces the name; see [`MimiContent::name_announcement`](crate::MimiContent::name_announcement).
pub const CONVERSATION_NAME: &str = "tertulia.name";

/// The key of Tertulia's own extension by which members tell each other what the type of the conversation is, where a hub carries it: the type's number in two
/// bytes, in network order, and the 32 bytes that the conversation's id was made from with it.
pub const CONVERSATION_TYPE: &str = "tertulia.type";

/// The key of Tertulia's own extension by which a message with a name says that the conversation has that name already: true.
pub(crate) const REMINDER: &str = "tertulia.reminder";

/// The extensions of a message. Those that this crate does not know are kept as they are.
///
/// Positive integer keys are IANA's; negative integers and texts are for private use.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Extensions(BTreeMap<Key, Value>);

impl Extensions {
    /// No extensions.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of an extension.
    pub fn get(&self, key: impl Into<Key>) -> Option<&Value> {
        self.0.get(&key.into())
    }

    /// Sets an extension and returns the value that it had. Whether the draft allows key and value is checked on encoding.
    pub fn insert(&mut self, key: impl Into<Key>, value: impl Into<Value>) -> Option<Value> {
        self.0.insert(key.into(), value.into())
    }

    /// Removes an extension and returns the value that it had.
    pub fn remove(&mut self, key: impl Into<Key>) -> Option<Value> {
        self.0.remove(&key.into())
    }

    /// All extensions, in the order of their encoding.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Key, &Value)> {
        self.0.iter()
    }

    /// How many extensions there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of an extension with a text key, when that is a text.
    pub fn get_text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_text()
    }

    /// Sets an extension with a text key (1 to 255 bytes) to a text.
    pub fn set_text(&mut self, key: &str, value: &str) {
        self.insert(key, value);
    }

    /// Whom the message says it is from. A claim: see [`rules::origin_matches`](crate::rules::origin_matches).
    pub fn sender_uri(&self) -> Option<&str> {
        self.0.get(&SENDER_URI)?.as_text()
    }

    /// Says whom the message is from.
    pub fn set_sender_uri(&mut self, uri: &str) {
        self.insert(SENDER_URI, uri);
    }

    /// Which room the message says it is for. A claim: see [`rules::origin_matches`](crate::rules::origin_matches).
    pub fn room_uri(&self) -> Option<&str> {
        self.0.get(&ROOM_URI)?.as_text()
    }

    /// Says which room the message is for.
    pub fn set_room_uri(&mut self, uri: &str) {
        self.insert(ROOM_URI, uri);
    }
}

impl From<BTreeMap<Key, Value>> for Extensions {
    fn from(extensions: BTreeMap<Key, Value>) -> Self {
        Self(extensions)
    }
}

/// A key of a map. The extensions themselves have integers and texts; maps inside of them byte strings as well.
///
/// The order is that of the deterministic encoding (RFC 8949 §4.2.1): integers from 0 up, then from -1 down, then byte strings, then texts, the
/// shorter ones first.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// An integer, at most `2^53 - 1` in magnitude.
    Int(i64),
    /// A byte string.
    Bytes(Vec<u8>),
    /// A text.
    Text(String),
}

impl Key {
    /// The type of the key as CBOR orders it, and a negative integer as CBOR counts it: from -1 down.
    fn rank(&self) -> (u8, u64, &[u8]) {
        match self {
            Self::Int(n @ 0..) => (0, n.unsigned_abs(), &[]),
            Self::Int(n) => (1, n.unsigned_abs(), &[]),
            Self::Bytes(bytes) => (2, bytes.len() as u64, bytes),
            Self::Text(text) => (3, text.len() as u64, text.as_bytes()),
        }
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Any CBOR value.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// An integer from `-2^64` to `2^64 - 1`.
    Int(i128),
    /// A text.
    Text(String),
    /// A byte string.
    Bytes(Vec<u8>),
    /// True or false.
    Bool(bool),
    /// Null.
    Null,
    /// Undefined.
    Undefined,
    /// Another simple value: 0 to 19 or 32 to 255.
    Simple(u8),
    /// A floating-point number; the draft strongly discourages them.
    Float(Float),
    /// An array.
    Array(Vec<Value>),
    /// A map.
    Map(BTreeMap<Key, Value>),
    /// A value with a tag that tells its meaning.
    Tag(u64, Box<Value>),
}

impl Value {
    /// The text, when it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// A floating-point number that can be compared for identity: by its bits, with one single NaN, as the draft has it (section 6.2).
#[derive(Clone, Copy)]
pub struct Float(f64);

impl Float {
    /// This number.
    pub fn new(number: f64) -> Self {
        Self(if number.is_nan() { f64::NAN } else { number })
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl PartialEq for Float {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Float {}

impl From<i64> for Key {
    fn from(key: i64) -> Self {
        Self::Int(key)
    }
}

impl From<&str> for Key {
    fn from(key: &str) -> Self {
        Self::Text(key.to_owned())
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value.into())
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

/// The number of extensions only: what they say reaches no log.
impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Extensions({})", self.0.len())
    }
}

/// The type and size only: what a key says reaches no log.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(n) => write!(f, "Int({n})"),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
        }
    }
}

/// The type and size only: what a value says reaches no log.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(_) => f.write_str("Int"),
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Self::Bool(_) => f.write_str("Bool"),
            Self::Null => f.write_str("Null"),
            Self::Undefined => f.write_str("Undefined"),
            Self::Simple(_) => f.write_str("Simple"),
            Self::Float(_) => f.write_str("Float"),
            Self::Array(items) => f.debug_list().entries(items).finish(),
            Self::Map(entries) => f.debug_map().entries(entries).finish(),
            Self::Tag(tag, value) => write!(f, "Tag({tag}, {value:?})"),
        }
    }
}

impl fmt::Debug for Float {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Float")
    }
}
