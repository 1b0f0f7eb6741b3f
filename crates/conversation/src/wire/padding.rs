//! Padding to size classes.
//!
//! A padded frame is four bytes with the frame's length, in network order, the frame, and zeros to the end of the class. The classes are the
//! powers of two from 1 KiB to 4 MiB, and the same for all that is sent: a commit of a small group and a short text are both in the
//! first or second class, so that a length does not tell one from the other. Finer classes would cost less and tell more.

use zeroize::Zeroizing;

use super::WireError;

/// The smallest class, in bytes of the padded frame.
pub const SMALLEST_CLASS: usize = 1 << 10;
/// The largest class, in bytes of the padded frame.
pub const LARGEST_CLASS: usize = 1 << 22;
/// The longest `EncryptedFrame`, in bytes: what fits into the largest class.
pub const MAX_FRAME: usize = LARGEST_CLASS - LENGTH;

/// The bytes of the length.
const LENGTH: usize = 4;

/// The frame, padded to its class.
pub(crate) fn pad(frame: &[u8]) -> Result<Zeroizing<Vec<u8>>, WireError> {
    let length = match u32::try_from(frame.len()) {
        Ok(length) if frame.len() <= MAX_FRAME => length,
        _ => return Err(WireError::TooLong { what: "frame", size: frame.len(), max: MAX_FRAME }),
    };
    // Of its final size from the start: growing would leave copies of the frame in memory.
    let mut padded = Zeroizing::new(Vec::with_capacity(class_of(frame.len())));
    padded.extend_from_slice(&length.to_be_bytes());
    padded.extend_from_slice(frame);
    padded.resize(class_of(frame.len()), 0);
    Ok(padded)
}

/// The frame in these padded bytes.
pub(crate) fn unpad(padded: &[u8]) -> Result<&[u8], WireError> {
    let (length, rest) = padded.split_first_chunk::<LENGTH>().ok_or(WireError::Padding)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| WireError::Padding)?;
    let (frame, zeros) = rest.split_at_checked(length).ok_or(WireError::Padding)?;
    if padded.len() == class_of(length) && zeros.iter().all(|byte| *byte == 0) {
        Ok(frame)
    } else {
        Err(WireError::Padding)
    }
}

/// Whether padded frames can have this length.
pub(crate) const fn is_class(length: usize) -> bool {
    length.is_power_of_two() && length >= SMALLEST_CLASS && length <= LARGEST_CLASS
}

/// The class of a frame of this length, which is at most [`MAX_FRAME`].
fn class_of(length: usize) -> usize {
    length.saturating_add(LENGTH).clamp(SMALLEST_CLASS, LARGEST_CLASS).next_power_of_two()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_frame_is_what_it_was_and_its_length_is_a_class() {
        for length in [0, 1, 1019, 1020, 1021, 2044, 2045, 70_000, MAX_FRAME] {
            let frame = vec![7; length];
            let padded = pad(&frame).unwrap();
            assert!(is_class(padded.len()), "{length}");
            assert!(padded.len() < 2 * (length + LENGTH) || padded.len() == SMALLEST_CLASS);
            assert_eq!(padded.capacity(), padded.len(), "it was never moved");
            assert_eq!(unpad(&padded).unwrap(), frame);
        }
        assert!(matches!(pad(&vec![0; MAX_FRAME + 1]), Err(WireError::TooLong { .. })));
    }

    #[test]
    fn no_other_padding_is_taken() {
        let mut padded = pad(b"frame").unwrap();
        let end = padded.len() - 1;
        padded[end] = 1;
        assert_eq!(unpad(&padded), Err(WireError::Padding));
        let mut wide = pad(b"frame").unwrap().to_vec();
        wide.resize(2048, 0);
        assert_eq!(unpad(&wide), Err(WireError::Padding), "a larger class than it needs");
        for bytes in [&[][..], &[0, 0], &[0, 0, 0, 9, 1], &[255; 1024]] {
            assert_eq!(unpad(bytes), Err(WireError::Padding));
        }
    }
}
