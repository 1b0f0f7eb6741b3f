//! The canonical form: one sequence of bytes for each message.
//!
//! Protocol Buffers lets a message be written in many ways, and has decoders pass over what they do not know. Here a carrier could then
//! change an envelope without changing what it says, and have it taken for another one; and two implementations could read
//! one envelope differently. So before a message is decoded its fields are walked through: nothing is allocated, and each field has
//! to be known, and be there as often as it may be. Then it is decoded, and has to come out the same when it is encoded.

use prost::{
    Message,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};

use super::{Outcome, Unsupported, WireError};

/// What may stand in a message.
pub(crate) struct Shape {
    /// The message's name, for errors.
    pub(crate) name: &'static str,
    /// Its fields.
    pub(crate) fields: &'static [Field],
}

/// A field.
pub(crate) struct Field {
    number: u32,
    most: usize,
    value: Value,
}

/// What is in a field.
#[derive(Clone, Copy)]
enum Value {
    Number,
    Octets,
    Message(&'static Shape),
}

/// A field with a number.
pub(crate) const fn number(number: u32) -> Field {
    Field { number, most: 1, value: Value::Number }
}

/// A field with bytes or a text.
pub(crate) const fn octets(number: u32) -> Field {
    Field { number, most: 1, value: Value::Octets }
}

/// A field with a message in it.
pub(crate) const fn nested(number: u32, inner: &'static Shape) -> Field {
    Field { number, most: 1, value: Value::Message(inner) }
}

impl Field {
    /// The same, up to so many times.
    pub(crate) const fn up_to(self, most: usize) -> Self {
        Self { most, ..self }
    }
}

/// Most fields in any shape.
const MOST_FIELDS: usize = 8;

/// Decodes a message of at most `limit` bytes in its canonical form.
pub(crate) fn decode<M: Message + Default>(bytes: &[u8], shape: &'static Shape, limit: usize) -> Outcome<M> {
    if bytes.len() > limit {
        return Outcome::Invalid(WireError::TooLong { what: shape.name, size: bytes.len(), max: limit });
    }
    match walk(bytes, shape) {
        Ok(None) => {}
        Ok(Some(unsupported)) => return Outcome::Unsupported(unsupported),
        Err(error) => return Outcome::Invalid(error),
    }
    match M::decode(bytes) {
        Ok(message) if message.encode_to_vec() == bytes => Outcome::Decoded(message),
        Ok(_) => Outcome::Invalid(WireError::NotCanonical { what: shape.name }),
        Err(_) => Outcome::Invalid(WireError::Malformed { what: shape.name }),
    }
}

/// The first field that is not known, if there is one and all else can be read. Shapes are nested a few levels deep, and only
/// known fields are entered, so the recursion is bounded.
///
/// Groups are refused wherever they stand: no schema here has them, no later one will, and to pass over one takes recursion.
fn walk(mut bytes: &[u8], shape: &'static Shape) -> Result<Option<Unsupported>, WireError> {
    let malformed = |_| WireError::Malformed { what: shape.name };
    let mut counts = [0_usize; MOST_FIELDS];
    let mut unknown = None;
    while !bytes.is_empty() {
        let (number, wire_type) = decode_key(&mut bytes).map_err(malformed)?;
        if matches!(wire_type, WireType::StartGroup | WireType::EndGroup) {
            return Err(WireError::Malformed { what: shape.name });
        }
        let known = shape.fields.iter().position(|field| field.number == number);
        let Some((index, field)) = known.and_then(|index| Some((index, shape.fields.get(index)?))) else {
            skip_field(wire_type, number, &mut bytes, DecodeContext::default()).map_err(malformed)?;
            unknown = unknown.or(Some(Unsupported { what: shape.name, number }));
            continue;
        };
        if let Some(count) = counts.get_mut(index) {
            *count += 1;
            if *count > field.most {
                return Err(WireError::Repeated { what: shape.name, number, max: field.most });
            }
        }
        match (field.value, wire_type) {
            (Value::Message(inner), WireType::LengthDelimited) => {
                let length = decode_varint(&mut bytes).map_err(malformed)?;
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                let (part, rest) =
                    bytes.split_at_checked(length).ok_or(WireError::Malformed { what: shape.name })?;
                unknown = unknown.or(walk(part, inner)?);
                bytes = rest;
            }
            (Value::Number, WireType::Varint) | (Value::Octets, WireType::LengthDelimited) => {
                skip_field(wire_type, number, &mut bytes, DecodeContext::default()).map_err(malformed)?;
            }
            _ => return Err(WireError::Malformed { what: shape.name }),
        }
    }
    Ok(unknown)
}
