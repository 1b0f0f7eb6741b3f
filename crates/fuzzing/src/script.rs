//! Inputs that damage a real message.
//!
//! | first byte | rest |
//! |---|---|
//! | 0 | the bytes themselves |
//! | n | real message (n − 1) modulo their count, then damages of [`STEP`] bytes each: what, two bytes where, how |
//!
//! | what (modulo 8) | damage |
//! |---|---|
//! | 0 | exclusive or with `how` |
//! | 1 | set to `how` |
//! | 2 | insert `how` |
//! | 3 | delete `how` + 1 bytes |
//! | 4 | cut off here |
//! | 5 | go on with real message `how` from the same place |
//! | 6 | repeat the `how` + 1 bytes before |
//! | 7 | a length of 30 bits (RFC 9420, section 2.1.2) with `how` at its top |
//!
//! "Where" is modulo the length, and counts from the front: what is in front is the header, which no key protects.

/// Bytes of one damage.
pub const STEP: usize = 4;

/// Most damages of one script; what follows is ignored.
const MAX_STEPS: usize = 32;

/// Longest message that is made.
const MAX_BYTES: usize = 1 << 20;

/// The message that an input stands for, given the real ones.
pub fn message(input: &[u8], real: &[Vec<u8>]) -> Vec<u8> {
    match input.split_first() {
        None => Vec::new(),
        Some((0, raw)) => raw.to_vec(),
        Some((n, script)) => {
            let mut bytes = pick(real, usize::from(*n) - 1).to_vec();
            for step in script.chunks_exact(STEP).take(MAX_STEPS) {
                damage(&mut bytes, step, real);
            }
            bytes
        }
    }
}

/// The script that leaves real message `index` as it is.
pub fn unchanged(index: usize) -> Vec<u8> {
    vec![u8::try_from(index + 1).unwrap_or(u8::MAX)]
}

fn pick(real: &[Vec<u8>], index: usize) -> &[u8] {
    if real.is_empty() { &[] } else { &real[index % real.len()] }
}

fn damage(bytes: &mut Vec<u8>, step: &[u8], real: &[Vec<u8>]) {
    let &[what, high, low, how] = step else { return };
    let at = usize::from(u16::from_be_bytes([high, low])) % (bytes.len() + 1);
    let span = usize::from(how) + 1;
    match what % 8 {
        0 | 1 if at == bytes.len() => {}
        0 => bytes[at] ^= how,
        1 => bytes[at] = how,
        2 => bytes.insert(at, how),
        3 => drop(bytes.drain(at..(at + span).min(bytes.len()))),
        4 => bytes.truncate(at),
        5 => {
            let other = pick(real, usize::from(how));
            bytes.truncate(at);
            bytes.extend_from_slice(other.get(at..).unwrap_or_default());
        }
        6 if bytes.len() + span <= MAX_BYTES => {
            let repeated = bytes[at.saturating_sub(span)..at].to_vec();
            bytes.splice(at..at, repeated);
        }
        7 => {
            let length = [0x80 | how, 0xff, 0xff, 0xff];
            let end = (at + length.len()).min(bytes.len());
            bytes.splice(at..end, length);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_says_what_is_damaged() {
        let real = [b"abcdef".to_vec(), b"ABCDEF".to_vec()];
        for (script, expected) in [
            (&[0, 1, 2][..], &[1, 2][..]),
            (&[1], b"abcdef"),
            (&[4], b"ABCDEF"),
            (&[1, 0, 0, 0, 3], b"bbcdef"),
            (&[1, 1, 0, 6, b'x'], b"abcdef"),
            (&[1, 2, 0, 6, b'x'], b"abcdefx"),
            (&[1, 3, 0, 1, 1], b"adef"),
            (&[1, 4, 0, 2, 0], b"ab"),
            (&[1, 5, 0, 3, 1], b"abcDEF"),
            (&[1, 6, 0, 2, 1], b"ababcdef"),
            (&[1, 7, 0, 5, 0], b"abcde\x80\xff\xff\xff"),
            (&[2, 4, 0, 1], b"ABCDEF"),
        ] {
            assert_eq!(message(script, &real), expected, "{script:?}");
        }
        assert_eq!(message(&[], &real), b"");
        assert_eq!(message(&[1, 0, 0, 0, 1], &[]), b"");
    }
}
