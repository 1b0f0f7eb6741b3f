//! Texts of others on one's own terminal: what could move the cursor, recolour, reorder or hide is made visible.

use std::borrow::Cow;

/// Whether the character acts on a terminal or on the text around it instead of being seen.
///
/// Control characters (C0, DEL, C1), line and paragraph separators, bidirectional embeddings, overrides and isolates, and
/// the invisible tag characters. What emoji and scripts need (joiners, variation selectors, marks) is fine.
pub(crate) fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{e0000}'..='\u{e007f}')
}

/// A text in one line, such as a name or a label.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(visible).collect())
}

/// A text of any number of lines. Lines after the first are indented, so that none looks like a message of its own.
pub(crate) fn lines(text: &str, indent: usize) -> String {
    let mut out = String::with_capacity(text.len());
    // A text that was written elsewhere may end its lines with CR LF.
    for (number, line) in text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).enumerate() {
        if number > 0 {
            out.push('\n');
            if !line.is_empty() {
                out.extend(std::iter::repeat_n(' ', indent));
            }
        }
        // A tab only moves to the right.
        out.extend(line.chars().map(|c| if c == '\t' { c } else { visible(c) }));
    }
    out
}

/// Something to see in the place of an unsafe character: its control picture, or the sign for what cannot be shown.
fn visible(c: char) -> char {
    match c {
        '\0'..='\u{1f}' => {
            char::from_u32(0x2400 + u32::from(c)).expect("U+2400 to U+241F are control pictures")
        }
        '\u{7f}' => '\u{2421}',
        c if is_unsafe(c) => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escape_sequence_is_shown_and_not_obeyed() {
        // Clear the screen; set the title; an 8-bit colour change; write the clipboard.
        assert_eq!(one_line("\u{1b}[2Jhi"), "␛[2Jhi");
        assert_eq!(one_line("\u{1b}]0;root\u{7}"), "␛]0;root␇");
        assert_eq!(one_line("\u{9b}31m"), "\u{fffd}31m");
        assert_eq!(lines("\u{1b}]52;c;aGk=\u{1b}\\", 6), "␛]52;c;aGk=␛\\");
    }

    #[test]
    fn no_unsafe_character_is_left() {
        for c in '\0'..=char::MAX {
            let text = c.to_string();
            assert!(!one_line(&text).contains(is_unsafe), "{c:?}");
            assert!(!lines(&text, 0).contains(|c| is_unsafe(c) && c != '\n' && c != '\t'), "{c:?}");
        }
    }

    #[test]
    fn a_line_cannot_overwrite_another_or_pose_as_one() {
        assert_eq!(lines("hi\r12:00 bob: send money", 6), "hi␍12:00 bob: send money");
        assert_eq!(lines("hi\n12:00 bob: send money", 6), "hi\n      12:00 bob: send money");
        assert_eq!(lines("one\r\n\r\ntwo\n", 2), "one\n\n  two\n");
        assert_eq!(one_line("a\nb\tc"), "a␊b␉c");
    }

    #[test]
    fn direction_overrides_and_invisible_tags_are_shown() {
        assert_eq!(one_line("abc\u{202e}fdp.exe"), "abc\u{fffd}fdp.exe");
        assert_eq!(one_line("\u{2066}a\u{2069}\u{2028}\u{e0041}"), "\u{fffd}a\u{fffd}\u{fffd}\u{fffd}");
    }

    #[test]
    fn what_people_write_stays_as_it_is() {
        for text in ["Dos más, ☕ por favor", "👩‍👩‍👧 ❤️", "שלום", "مرحبا", "e\u{301}", "日本語"]
        {
            assert_eq!(one_line(text), text);
            assert_eq!(lines(text, 6), text);
        }
    }
}
