//! Secrets of the size of a group.
//!
//! `zeroize` wipes a vector of bytes byte by byte, with writes that the compiler must neither leave out nor join. For the
//! state of a group of 1000 that is a millisecond, several times a commit. Word by word it is an eighth of it.

use std::ops::Deref;

use zeroize::{Zeroize as _, Zeroizing};

/// Bytes that are wiped when they are dropped.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct LongSecret(Zeroizing<Vec<u8>>);

impl LongSecret {
    /// For an interface that wants them so.
    pub(crate) fn into_zeroizing(mut self) -> Zeroizing<Vec<u8>> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for LongSecret {
    fn drop(&mut self) {
        // What remains is empty, and wiped in no time.
        let mut bytes = std::mem::take(&mut *self.0);
        wipe(&mut bytes);
    }
}

impl Deref for LongSecret {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for LongSecret {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Vec<u8>> for LongSecret {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl From<Zeroizing<Vec<u8>>> for LongSecret {
    fn from(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }
}

/// All that was allocated, also behind the end.
fn wipe(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.capacity(), 0);
    let (head, words, tail) = bytemuck::pod_align_to_mut::<u8, u64>(bytes);
    head.zeroize();
    words.zeroize();
    tail.zeroize();
}

#[cfg(test)]
mod tests {
    use super::wipe;

    #[test]
    fn every_byte_is_wiped_whatever_the_length() {
        for length in 0..100 {
            for capacity in [length, length + 13] {
                let mut bytes = Vec::with_capacity(capacity);
                bytes.resize(capacity, 7);
                bytes.truncate(length);
                wipe(&mut bytes);
                assert_eq!(bytes, vec![0; bytes.capacity()]);
            }
        }
    }
}
