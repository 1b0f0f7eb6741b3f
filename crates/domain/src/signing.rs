//! What a device's signature key signs beside MLS, so that no signature is ever taken for another.

/// The bytes that are signed for `content` under `label`: the `SignContent` of RFC 9420, section 5.1.2.
///
/// MLS signs everything in this form with labels of its own, such as `LeafNodeTBS`. Here every label begins with `Tertulia`,
/// which keeps what it signs apart from all of MLS; and the label keeps it apart from what is signed with others.
pub fn sign_content(label: &str, content: &[u8]) -> Vec<u8> {
    const PREFIX: &str = "MLS 1.0 Tertulia ";
    let mut bytes = Vec::with_capacity(PREFIX.len() + label.len() + content.len() + 8);
    put_length(&mut bytes, PREFIX.len() + label.len());
    bytes.extend_from_slice(PREFIX.as_bytes());
    bytes.extend_from_slice(label.as_bytes());
    put_length(&mut bytes, content.len());
    bytes.extend_from_slice(content);
    bytes
}

/// A length as RFC 9420, section 2.1.2 writes it, in the fewest bytes.
fn put_length(bytes: &mut Vec<u8>, length: usize) {
    // Nothing that this is for comes near to 2^30 bytes; what did would be cut to a prefix that no verifier computes.
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    match length.to_be_bytes() {
        [.., low] if length < 1 << 6 => bytes.push(low),
        [.., high, low] if length < 1 << 14 => bytes.extend([high | 0x40, low]),
        [first, rest @ ..] => {
            bytes.push(first | 0x80);
            bytes.extend(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_that_of_mls() {
        assert_eq!(sign_content("A", b"xy"), b"\x12MLS 1.0 Tertulia A\x02xy");
        let long = sign_content("A", &[7; 300]);
        assert_eq!(&long[19..21], b"\x41\x2c");
        let longer = sign_content("A", &vec![7; 20_000]);
        assert_eq!(&longer[19..23], b"\x80\x00\x4e\x20");
    }

    #[test]
    fn label_and_content_cannot_run_into_each_other() {
        assert_ne!(sign_content("AB", b"C"), sign_content("A", b"BC"));
    }
}
