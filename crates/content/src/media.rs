//! The media types that every client of MIMI reads (section 7.1).

/// The container itself, as MLS clients advertise it.
pub const MIMI_CONTENT: &str = "application/mimi-content";

/// GitHub Flavored Markdown with tables, task lists and strikethrough; without HTML and autolinks (section 7.1.1). The default for texts.
pub const MARKDOWN: &str = "text/markdown;variant=GFM-MIMI";

/// Text without any formatting.
pub const PLAIN: &str = "text/plain;charset=utf-8";

/// A report of what became of messages (draft-mahy-mimi-message-status-01).
pub const MESSAGE_STATUS: &str = "application/mimi-message-status";

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
