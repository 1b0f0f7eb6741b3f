//! The content of application messages.

use tertulia_content::MimiContent;

/// Any bytes are a content or an error, and a content stays the same when it is written and read again.
pub fn content(input: &[u8]) {
    if let Ok(content) = MimiContent::decode(input) {
        let encoded = content.encode().expect("what was read can be written");
        let again = MimiContent::decode(&encoded).expect("what was written can be read");
        assert_eq!(again, content);
    }
}
