//! Reading a message from bytes that anyone may have made.
//!
//! Here is checked what bounds time and memory: sizes, depths, counts. That the bytes are in deterministic encoding, and every other limit, is checked by
//! writing the message again and comparing.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use minicbor::Decoder;
use minicbor::data::Type;

use crate::content::{Expiration, MimiContent};
use crate::encode;
use crate::error::{ContentError, InvalidContent};
use crate::extensions::{Extensions, Float, Key, ROOM_URI, SENDER_URI, Value};
use crate::id::{MessageId, Salt};
use crate::limits::{
    MAX_CONTENT_BYTES, MAX_EXTENSION_DEPTH, MAX_EXTENSION_VALUE_BYTES, MAX_EXTENSIONS_BYTES, MAX_PART_DEPTH,
    MAX_PARTS,
};
use crate::part::{ContentKey, Disposition, ExternalPart, Part, PartContent, PartSemantics};

/// The message in these bytes.
pub(crate) fn message(bytes: &[u8]) -> Result<MimiContent, ContentError> {
    if bytes.len() > MAX_CONTENT_BYTES {
        return Err(InvalidContent::TooLarge { size: bytes.len() }.into());
    }
    let mut reader = Reader { cbor: Decoder::new(bytes), parts: 0 };
    let content = reader.message()?;
    match bytes.len() - reader.cbor.position() {
        0 => {}
        extra => return Err(ContentError::TrailingBytes { extra }),
    }
    let again = encode::message(&content)?;
    if again != bytes {
        let at = again.iter().zip(bytes).take_while(|(a, b)| a == b).count();
        return Err(ContentError::NotDeterministic { at });
    }
    Ok(content)
}

type Read<T> = Result<T, ContentError>;

struct Reader<'b> {
    cbor: Decoder<'b>,
    parts: usize,
}

impl<'b> Reader<'b> {
    fn message(&mut self) -> Read<MimiContent> {
        self.array_of(7, "a message: an array of 7")?;
        Ok(MimiContent {
            salt: Salt::from_bytes(self.fixed_bytes("a salt of 16 bytes")?),
            replaces: self.message_id()?,
            topic_id: self.bytes("a topic id")?.to_vec(),
            expires: self.expiration()?,
            in_reply_to: self.message_id()?,
            extensions: self.extensions()?,
            body: self.part(1)?,
        })
    }

    fn message_id(&mut self) -> Read<Option<MessageId>> {
        if self.null()? {
            return Ok(None);
        }
        let bytes = self.fixed_bytes("null or a message id of 32 bytes")?;
        Ok(Some(MessageId::from_bytes(bytes).map_err(InvalidContent::from)?))
    }

    fn expiration(&mut self) -> Read<Option<Expiration>> {
        if self.null()? {
            return Ok(None);
        }
        self.array_of(2, "null or an expiration: an array of 2")?;
        let relative = self.item("true or false", Decoder::bool)?;
        let time = self.item("a time of 32 bits", Decoder::u32)?;
        Ok(Some(if relative { Expiration::Relative(time) } else { Expiration::Absolute(time) }))
    }

    fn part(&mut self, depth: usize) -> Read<Part> {
        const EXPECTED: &str = "a part: an array of the length for its cardinality";
        if depth > MAX_PART_DEPTH {
            return Err(InvalidContent::PartsTooDeep.into());
        }
        self.parts += 1;
        if self.parts > MAX_PARTS {
            return Err(InvalidContent::TooManyParts.into());
        }
        let at = self.cbor.position();
        let items = self.array(EXPECTED)?;
        let disposition = Disposition(self.item("a disposition", Decoder::u8)?);
        let language = self.text("a language")?;
        let cardinality = self.item("a cardinality", Decoder::u8)?;
        let expected_items = match cardinality {
            0 => 3,
            1 | 3 => 5,
            2 => 15,
            _ => return Err(InvalidContent::UnknownCardinality(cardinality).into()),
        };
        if items != expected_items {
            return Err(ContentError::Malformed { at, expected: EXPECTED });
        }
        let content = match cardinality {
            0 => PartContent::Null,
            1 => PartContent::Single {
                content_type: self.text("a media type")?,
                content: self.bytes("the content")?.to_vec(),
            },
            2 => PartContent::External(Box::new(self.external()?)),
            _ => self.multi(depth)?,
        };
        Ok(Part { disposition, language, content })
    }

    fn external(&mut self) -> Read<ExternalPart> {
        Ok(ExternalPart {
            content_type: self.text("a media type")?,
            url: self.text("a URL")?,
            expires: self.item("a time of 32 bits", Decoder::u32)?,
            size: self.item("a size", Decoder::u64)?,
            enc_alg: self.item("an AEAD algorithm", Decoder::u16)?,
            key: ContentKey::new(self.bytes("a key")?.to_vec()),
            nonce: self.bytes("a nonce")?.to_vec(),
            aad: self.bytes("additional authenticated data")?.to_vec(),
            hash_alg: self.item("a hash algorithm", Decoder::u8)?,
            content_hash: self.bytes("a hash")?.to_vec(),
            description: self.text("a description")?,
            filename: self.text("a file name")?,
        })
    }

    fn multi(&mut self, depth: usize) -> Read<PartContent> {
        let code = self.item("part semantics", Decoder::u8)?;
        let semantics = PartSemantics::from_code(code).ok_or(InvalidContent::UnknownSemantics(code))?;
        let count = self.array("an array of parts")?;
        // The vector grows as parts are read: the count is only a claim.
        let parts = (0..count).map(|_| self.part(depth + 1)).collect::<Result<_, _>>()?;
        Ok(PartContent::Multi { semantics, parts })
    }

    fn extensions(&mut self) -> Read<Extensions> {
        let end = self.cbor.position() + MAX_EXTENSIONS_BYTES;
        let mut extensions = BTreeMap::new();
        for _ in 0..self.map("a map of extensions")? {
            let (at, key) = self.key("an extension's key: an integer or a text")?;
            if matches!(key, Key::Bytes(_)) {
                return Err(InvalidContent::KeyType.into());
            }
            let value = if key == SENDER_URI || key == ROOM_URI {
                Value::Text(self.text("the text of a URI")?)
            } else {
                self.value(2, self.cbor.position() + MAX_EXTENSION_VALUE_BYTES)?
            };
            if self.cbor.position() > end {
                return Err(InvalidContent::ExtensionsTooLarge.into());
            }
            insert(&mut extensions, at, key, value)?;
        }
        Ok(extensions.into())
    }

    /// Where a map key begins, and the key.
    fn key(&mut self, expected: &'static str) -> Read<(usize, Key)> {
        let at = self.cbor.position();
        let key = match self.datatype()? {
            Type::U8
            | Type::U16
            | Type::U32
            | Type::U64
            | Type::I8
            | Type::I16
            | Type::I32
            | Type::I64
            | Type::Int => {
                let n = i128::from(self.item(expected, Decoder::int)?);
                Key::Int(i64::try_from(n).map_err(|_| InvalidContent::KeyOutOfRange)?)
            }
            Type::Bytes | Type::BytesIndef => Key::Bytes(self.bytes(expected)?.to_vec()),
            Type::String | Type::StringIndef => Key::Text(self.text(expected)?),
            _ => return Err(ContentError::Malformed { at, expected }),
        };
        Ok((at, key))
    }

    /// `depth` is the level that an array, map or tag in this place would have, `end` where the extension's value must be over.
    fn value(&mut self, depth: usize, end: usize) -> Read<Value> {
        const EXPECTED: &str = "a CBOR value";
        let at = self.cbor.position();
        let datatype = self.datatype()?;
        let nests =
            matches!(datatype, Type::Array | Type::ArrayIndef | Type::Map | Type::MapIndef | Type::Tag);
        if nests && depth > MAX_EXTENSION_DEPTH {
            return Err(InvalidContent::ExtensionTooDeep.into());
        }
        let value = match datatype {
            Type::U8
            | Type::U16
            | Type::U32
            | Type::U64
            | Type::I8
            | Type::I16
            | Type::I32
            | Type::I64
            | Type::Int => Value::Int(self.item(EXPECTED, Decoder::int)?.into()),
            Type::String | Type::StringIndef => Value::Text(self.text(EXPECTED)?),
            Type::Bytes | Type::BytesIndef => Value::Bytes(self.bytes(EXPECTED)?.to_vec()),
            Type::Bool => Value::Bool(self.item(EXPECTED, Decoder::bool)?),
            Type::Null => {
                self.item(EXPECTED, Decoder::null)?;
                Value::Null
            }
            Type::Undefined => {
                self.item(EXPECTED, Decoder::undefined)?;
                Value::Undefined
            }
            Type::Simple => Value::Simple(self.item(EXPECTED, Decoder::simple)?),
            Type::F16 | Type::F32 | Type::F64 => Value::Float(Float::new(self.item(EXPECTED, Decoder::f64)?)),
            Type::Array | Type::ArrayIndef => {
                let count = self.array(EXPECTED)?;
                Value::Array((0..count).map(|_| self.value(depth + 1, end)).collect::<Result<_, _>>()?)
            }
            Type::Map | Type::MapIndef => {
                let mut entries = BTreeMap::new();
                for _ in 0..self.map(EXPECTED)? {
                    let (at, key) = self.key("a map key: an integer, a byte string or a text")?;
                    let value = self.value(depth + 1, end)?;
                    insert(&mut entries, at, key, value)?;
                }
                Value::Map(entries)
            }
            Type::Tag => {
                let tag = self.item(EXPECTED, Decoder::tag)?.as_u64();
                Value::Tag(tag, Box::new(self.value(depth + 1, end)?))
            }
            Type::Break | Type::Unknown(_) => return Err(ContentError::Malformed { at, expected: EXPECTED }),
        };
        if self.cbor.position() > end {
            return Err(InvalidContent::ExtensionTooLarge.into());
        }
        Ok(value)
    }

    /// Skips a null if there is one.
    fn null(&mut self) -> Read<bool> {
        let null = self.datatype()? == Type::Null;
        if null {
            self.item("null", Decoder::null)?;
        }
        Ok(null)
    }

    fn array_of(&mut self, items: u64, expected: &'static str) -> Read<()> {
        let at = self.cbor.position();
        if self.array(expected)? == items { Ok(()) } else { Err(ContentError::Malformed { at, expected }) }
    }

    fn array(&mut self, expected: &'static str) -> Read<u64> {
        let at = self.cbor.position();
        self.item(expected, Decoder::array)?.ok_or(ContentError::IndefiniteLength { at })
    }

    fn map(&mut self, expected: &'static str) -> Read<u64> {
        let at = self.cbor.position();
        self.item(expected, Decoder::map)?.ok_or(ContentError::IndefiniteLength { at })
    }

    fn text(&mut self, expected: &'static str) -> Read<String> {
        self.definite()?;
        self.item(expected, Decoder::str).map(str::to_owned)
    }

    fn bytes(&mut self, expected: &'static str) -> Read<&'b [u8]> {
        self.definite()?;
        self.item(expected, Decoder::bytes)
    }

    fn fixed_bytes<const N: usize>(&mut self, expected: &'static str) -> Read<[u8; N]> {
        let at = self.cbor.position();
        self.bytes(expected)?.try_into().map_err(|_| ContentError::Malformed { at, expected })
    }

    /// Refuses a string in chunks, which the library would only call a wrong type.
    fn definite(&mut self) -> Read<()> {
        match self.datatype()? {
            Type::BytesIndef | Type::StringIndef => {
                Err(ContentError::IndefiniteLength { at: self.cbor.position() })
            }
            _ => Ok(()),
        }
    }

    fn datatype(&mut self) -> Read<Type> {
        self.item("a CBOR item", |cbor| cbor.datatype())
    }

    /// Reads one item, with our errors in place of the library's.
    fn item<T>(
        &mut self,
        expected: &'static str,
        read: impl FnOnce(&mut Decoder<'b>) -> Result<T, minicbor::decode::Error>,
    ) -> Read<T> {
        let at = self.cbor.position();
        read(&mut self.cbor).map_err(|error| {
            if error.is_end_of_input() {
                ContentError::Truncated
            } else {
                ContentError::Malformed { at, expected }
            }
        })
    }
}

fn insert(map: &mut BTreeMap<Key, Value>, at: usize, key: Key, value: Value) -> Read<()> {
    match map.entry(key) {
        Entry::Vacant(entry) => {
            entry.insert(value);
            Ok(())
        }
        Entry::Occupied(_) => Err(ContentError::DuplicateKey { at }),
    }
}
