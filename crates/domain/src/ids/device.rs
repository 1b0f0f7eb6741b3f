use std::{fmt, str::FromStr};

use crate::text::serde_by_text;

/// A device of a user, unique among that user's devices.
///
/// Written as 16 lower-case hex digits. A number in JSON would lose bits in JavaScript.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(u64);

/// Why a text is not a [`DeviceId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceIdError {
    /// There are no digits, or more than 16.
    #[error("a device id has 1 to 16 hex digits, got {got} bytes")]
    Length {
        /// Bytes in the text.
        got: usize,
    },
    /// A character is not a hex digit.
    #[error("a device id has hex digits only")]
    NotHex,
}

impl DeviceId {
    /// The id with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// A new random id. The hub refuses one that the user already has.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The first eight characters, for logs. Not unique.
    pub fn short(self) -> String {
        format!("{:08x}", self.0 >> 32)
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceId({self})")
    }
}

impl FromStr for DeviceId {
    type Err = DeviceIdError;

    /// Reads 1 to 16 hex digits in either case: other clients do not write the leading zeros.
    fn from_str(text: &str) -> Result<Self, DeviceIdError> {
        if !(1..=16).contains(&text.len()) {
            return Err(DeviceIdError::Length { got: text.len() });
        }
        // `from_str_radix` alone would take a leading `+`.
        if !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(DeviceIdError::NotHex);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| DeviceIdError::NotHex)
    }
}

serde_by_text!(DeviceId, "a device id of 1 to 16 hex digits");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_device_id_is_written_with_sixteen_digits_and_read_with_fewer() {
        let id = DeviceId::new(0x00C0_FFEE);
        assert_eq!(id.to_string(), "0000000000c0ffee");
        assert_eq!(id.short(), "00000000");
        for text in ["c0ffee", "C0FFEE", "0000000000c0ffee"] {
            assert_eq!(text.parse(), Ok(id));
        }
        assert_eq!("ffffffffffffffff".parse(), Ok(DeviceId::new(u64::MAX)));
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"0000000000c0ffee\"");
        assert_eq!(serde_json::from_str::<DeviceId>("\"c0ffee\"").unwrap(), id);
    }

    #[test]
    fn what_is_not_hex_is_refused() {
        assert_eq!("".parse::<DeviceId>(), Err(DeviceIdError::Length { got: 0 }));
        assert_eq!("00000000000000001".parse::<DeviceId>(), Err(DeviceIdError::Length { got: 17 }));
        for text in ["+1", "-1", "0x1", "g", " 1", "é"] {
            assert_eq!(text.parse::<DeviceId>(), Err(DeviceIdError::NotHex), "{text}");
        }
    }
}
