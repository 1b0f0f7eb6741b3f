//! How keys are stored: as the JSON that the library defines for them, in memory that is wiped.
//!
//! They are not encrypted once more: the store's whole file is, and a key for them would have to lie in that same file.

use std::io::{self, Write};

use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use crate::{RatchetError, Result};

/// Writes secrets. The buffer has its final size from the start, for growing would leave copies behind that nobody wipes.
pub(crate) fn to_bytes(value: &impl Serialize, what: &'static str) -> Result<Zeroizing<Vec<u8>>> {
    let damaged = |_| RatchetError::Damaged { what };
    let mut size = Size(0);
    serde_json::to_writer(&mut size, value).map_err(damaged)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(size.0));
    serde_json::to_writer(&mut *bytes, value).map_err(damaged)?;
    Ok(bytes)
}

/// Reads secrets.
pub(crate) fn from_bytes<T: DeserializeOwned>(bytes: &[u8], what: &'static str) -> Result<T> {
    // The cause could quote what is stored, so it is left out.
    serde_json::from_slice(bytes).map_err(|_| RatchetError::Damaged { what })
}

/// Counts what is written.
struct Size(usize);

impl Write for Size {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_buffer_does_not_grow_and_what_is_damaged_is_not_quoted() {
        let bytes = to_bytes(&vec!["secret"; 100], "list").unwrap();
        assert_eq!(bytes.capacity(), bytes.len());
        assert_eq!(from_bytes::<Vec<String>>(&bytes, "list").unwrap().len(), 100);
        let error = from_bytes::<Vec<u8>>(&bytes, "list").unwrap_err();
        assert!(!format!("{error:?} {error}").contains("secret"));
    }
}
