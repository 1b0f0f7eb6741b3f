//! The media types that every client of MIMI reads (section 7.1).

/// The container itself, as MLS clients advertise it.
pub const MIMI_CONTENT: &str = "application/mimi-content";

/// GitHub Flavored Markdown with tables, task lists and strikethrough; without HTML and autolinks (section 7.1.1). The default for texts.
pub const MARKDOWN: &str = "text/markdown;variant=GFM-MIMI";

/// Text without any formatting.
pub const PLAIN: &str = "text/plain;charset=utf-8";

/// A report of what became of messages (draft-mahy-mimi-message-status-01).
pub const MESSAGE_STATUS: &str = "application/mimi-message-status";

/// A frame of a conversation type of an application's own, which a parameter names by its number: `;type=0x8001`.
const FRAME: &str = "application/vnd.tertulia.frame";

/// The media type of a frame of the conversation type with this number, in the one way in which it is written.
pub(crate) fn frame(conversation_type: u16) -> String {
    format!("{FRAME};type=0x{conversation_type:04x}")
}

/// The number of the conversation type that content of this media type is a frame of.
pub(crate) fn frame_type(content_type: &str) -> Option<u16> {
    let digits = content_type.strip_prefix(FRAME)?.strip_prefix(";type=0x")?;
    let number = u16::from_str_radix(digits, 16).ok()?;
    (frame(number) == content_type).then_some(number)
}

/// Whether content of this type can be shown as the UTF-8 text that it is: Markdown of any variant (showing the source is an accepted way to render it) and
/// plain text.
pub(crate) fn is_text(content_type: &str) -> bool {
    let mut fields = content_type.split(';').map(str::trim);
    let essence = fields.next().unwrap_or_default();
    if !essence.eq_ignore_ascii_case("text/markdown") && !essence.eq_ignore_ascii_case("text/plain") {
        return false;
    }
    fields.filter_map(|field| field.split_once('=')).all(|(name, value)| {
        let value = value.trim().trim_matches('"');
        !name.trim().eq_ignore_ascii_case("charset")
            || value.eq_ignore_ascii_case("utf-8")
            || value.eq_ignore_ascii_case("us-ascii")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_of_a_frame_is_written_in_one_way() {
        for number in [0, 4, 0x8001, u16::MAX] {
            assert_eq!(frame_type(&frame(number)), Some(number));
        }
        for other in [
            "",
            "application/vnd.tertulia.frame",
            "application/vnd.tertulia.frame;type=8001",
            "application/vnd.tertulia.frame;type=0x+801",
            "application/vnd.tertulia.frame;type=0x08001",
            "application/vnd.tertulia.frame;type=0xABCD",
            "application/vnd.tertulia.frame; type=0x8001",
            "application/vnd.tertulia.frames;type=0x8001",
        ] {
            assert_eq!(frame_type(other), None, "{other}");
        }
    }

    #[test]
    fn text_is_recognised_whatever_the_spelling_of_its_type() {
        for text in [
            MARKDOWN,
            PLAIN,
            "TEXT/Plain",
            "text/plain; charset=\"UTF-8\"",
            "text/markdown;variant=CommonMark",
        ] {
            assert!(is_text(text), "{text}");
        }
        for other in [
            "",
            "text/html",
            "text/plain;charset=utf-16",
            "text/plainer",
            "image/png",
            "application/mimi-content",
        ] {
            assert!(!is_text(other), "{other}");
        }
    }
}
