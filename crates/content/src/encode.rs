//! Writing a message as deterministic CBOR, checking every limit on the way.

use std::convert::Infallible;

use minicbor::data::{Int, Tag};
use minicbor::{Decoder, Encoder};

use crate::content::{Expiration, MimiContent};
use crate::error::InvalidContent;
use crate::extensions::{Extensions, Key, ROOM_URI, SENDER_URI, Value};
use crate::id::MessageId;
use crate::limits::{
    MAX_CONTENT_BYTES, MAX_EXTENSION_DEPTH, MAX_EXTENSION_KEY_BYTES, MAX_EXTENSION_VALUE_BYTES,
    MAX_EXTENSIONS_BYTES, MAX_INTEGER_KEY, MAX_PART_DEPTH, MAX_PARTS, MAX_TOPIC_BYTES, MAX_URI_BYTES,
};
use crate::part::{Part, PartContent};

/// The message as bytes.
pub(crate) fn message(content: &MimiContent) -> Result<Vec<u8>, InvalidContent> {
    let mut writer = Writer { cbor: Encoder::new(Vec::new()), parts: 0 };
    match writer.message(content) {
        Ok(()) => Ok(writer.cbor.into_writer()),
        Err(WriteError::Invalid(invalid)) => Err(invalid),
        Err(WriteError::Cbor(error)) => unreachable!("writing CBOR to memory cannot fail: {error}"),
    }
}

enum WriteError {
    Invalid(InvalidContent),
    Cbor(minicbor::encode::Error<Infallible>),
}

impl From<InvalidContent> for WriteError {
    fn from(invalid: InvalidContent) -> Self {
        Self::Invalid(invalid)
    }
}

impl From<minicbor::encode::Error<Infallible>> for WriteError {
    fn from(error: minicbor::encode::Error<Infallible>) -> Self {
        Self::Cbor(error)
    }
}

type Written = Result<(), WriteError>;

struct Writer {
    cbor: Encoder<Vec<u8>>,
    parts: usize,
}

impl Writer {
    fn message(&mut self, content: &MimiContent) -> Written {
        if content.topic_id.len() > MAX_TOPIC_BYTES {
            return Err(InvalidContent::TopicTooLong { size: content.topic_id.len() }.into());
        }
        self.cbor.array(7)?.bytes(content.salt.as_bytes())?;
        self.message_id(content.replaces)?;
        self.cbor.bytes(&content.topic_id)?;
        match content.expires {
            None => self.cbor.null()?,
            Some(Expiration::Relative(seconds)) => self.cbor.array(2)?.bool(true)?.u32(seconds)?,
            Some(Expiration::Absolute(time)) => self.cbor.array(2)?.bool(false)?.u32(time)?,
        };
        self.message_id(content.in_reply_to)?;
        self.extensions(&content.extensions)?;
        self.part(&content.body, 1)?;
        match self.size() {
            ..=MAX_CONTENT_BYTES => Ok(()),
            size => Err(InvalidContent::TooLarge { size }.into()),
        }
    }

    fn message_id(&mut self, id: Option<MessageId>) -> Written {
        match id {
            None => self.cbor.null()?,
            Some(id) => self.cbor.bytes(id.as_bytes())?,
        };
        Ok(())
    }

    fn part(&mut self, part: &Part, depth: usize) -> Written {
        if depth > MAX_PART_DEPTH {
            return Err(InvalidContent::PartsTooDeep.into());
        }
        self.parts += 1;
        if self.parts > MAX_PARTS {
            return Err(InvalidContent::TooManyParts.into());
        }
        let (items, cardinality) = match &part.content {
            PartContent::Null => (3, 0),
            PartContent::Single { .. } => (5, 1),
            PartContent::External(_) => (15, 2),
            PartContent::Multi { .. } => (5, 3),
        };
        self.cbor.array(items)?.u8(part.disposition.0)?.str(&part.language)?.u8(cardinality)?;
        match &part.content {
            PartContent::Null => {}
            PartContent::Single { content_type, content } => {
                self.cbor.str(content_type)?.bytes(content)?;
            }
            PartContent::External(external) => {
                self.cbor
                    .str(&external.content_type)?
                    .str(&external.url)?
                    .u32(external.expires)?
                    .u64(external.size)?
                    .u16(external.enc_alg)?
                    .bytes(external.key.expose_secret())?
                    .bytes(&external.nonce)?
                    .bytes(&external.aad)?
                    .u8(external.hash_alg)?
                    .bytes(&external.content_hash)?
                    .str(&external.description)?
                    .str(&external.filename)?;
            }
            PartContent::Multi { semantics, parts } => {
                if parts.len() < 2 {
                    return Err(InvalidContent::TooFewParts { parts: parts.len() }.into());
                }
                self.cbor.u8(semantics.code())?.array(parts.len() as u64)?;
                for part in parts {
                    self.part(part, depth + 1)?;
                }
            }
        }
        Ok(())
    }

    fn extensions(&mut self, extensions: &Extensions) -> Written {
        let start = self.size();
        self.cbor.map(extensions.len() as u64)?;
        for (key, value) in extensions.iter() {
            match key {
                Key::Int(_) => {}
                Key::Text(text) if (1..=MAX_EXTENSION_KEY_BYTES).contains(&text.len()) => {}
                Key::Text(text) => return Err(InvalidContent::KeyLength { size: text.len() }.into()),
                Key::Bytes(_) => return Err(InvalidContent::KeyType.into()),
            }
            self.key(key)?;
            let value_start = self.size();
            if *key == SENDER_URI || *key == ROOM_URI {
                let uri = value.as_text().ok_or(InvalidContent::UriNotText)?;
                if uri.len() > MAX_URI_BYTES {
                    return Err(InvalidContent::UriTooLong { size: uri.len() }.into());
                }
                self.cbor.str(uri)?;
            } else {
                self.value(value, 2)?;
                if self.size() - value_start > MAX_EXTENSION_VALUE_BYTES {
                    return Err(InvalidContent::ExtensionTooLarge.into());
                }
            }
            if self.size() - start > MAX_EXTENSIONS_BYTES {
                return Err(InvalidContent::ExtensionsTooLarge.into());
            }
        }
        Ok(())
    }

    fn key(&mut self, key: &Key) -> Written {
        match key {
            Key::Int(n) if !(-MAX_INTEGER_KEY..=MAX_INTEGER_KEY).contains(n) => {
                return Err(InvalidContent::KeyOutOfRange.into());
            }
            Key::Int(n) => self.cbor.i64(*n)?,
            Key::Bytes(bytes) => self.cbor.bytes(bytes)?,
            Key::Text(text) => self.cbor.str(text)?,
        };
        Ok(())
    }

    /// `depth` is the level that an array, map or tag in this place would have.
    fn value(&mut self, value: &Value, depth: usize) -> Written {
        if depth > MAX_EXTENSION_DEPTH && matches!(value, Value::Array(_) | Value::Map(_) | Value::Tag(..)) {
            return Err(InvalidContent::ExtensionTooDeep.into());
        }
        match value {
            Value::Int(n) => {
                let n = Int::try_from(*n).map_err(|_| InvalidContent::IntegerOutOfRange)?;
                self.cbor.int(n)?;
            }
            Value::Text(text) => drop(self.cbor.str(text)?),
            Value::Bytes(bytes) => drop(self.cbor.bytes(bytes)?),
            Value::Bool(yes) => drop(self.cbor.bool(*yes)?),
            Value::Null => drop(self.cbor.null()?),
            Value::Undefined => drop(self.cbor.undefined()?),
            Value::Simple(n @ (0..=19 | 32..)) => drop(self.cbor.simple(*n)?),
            Value::Simple(n) => return Err(InvalidContent::SimpleValue(*n).into()),
            Value::Float(number) => self.float(number.get())?,
            Value::Array(items) => {
                self.cbor.array(items.len() as u64)?;
                for item in items {
                    self.value(item, depth + 1)?;
                }
            }
            Value::Map(entries) => {
                self.cbor.map(entries.len() as u64)?;
                for (key, value) in entries {
                    self.key(key)?;
                    self.value(value, depth + 1)?;
                }
            }
            Value::Tag(tag, value) => {
                if matches!(tag, 2 | 3) && !is_shortest_big_number(value) {
                    return Err(InvalidContent::BigNumber.into());
                }
                self.cbor.tag(Tag::new(*tag))?;
                self.value(value, depth + 1)?;
            }
        }
        Ok(())
    }

    /// In 16, 32 or 64 bits: the fewest that lose nothing.
    fn float(&mut self, number: f64) -> Written {
        #[expect(clippy::cast_possible_truncation, reason = "the next line finds out whether it was one")]
        let single = number as f32;
        if number.is_nan() {
            self.cbor.f16(f32::NAN)?;
        } else if f64::from(single).to_bits() != number.to_bits() {
            self.cbor.f64(number)?;
        } else {
            let mut half = Encoder::new(Vec::with_capacity(3));
            half.f16(single)?;
            let lossless =
                Decoder::new(half.writer()).f16().is_ok_and(|back| back.to_bits() == single.to_bits());
            if lossless {
                self.cbor.f16(single)?
            } else {
                self.cbor.f32(single)?
            };
        }
        Ok(())
    }

    fn size(&self) -> usize {
        self.cbor.writer().len()
    }
}

/// Whether the content of a tag 2 or 3 is a number of more than 64 bits without leading zeros (RFC 8949 §3.4.3, §4.2.1).
fn is_shortest_big_number(value: &Value) -> bool {
    matches!(value, Value::Bytes(bytes) if bytes.len() > 8 && bytes[0] != 0)
}
