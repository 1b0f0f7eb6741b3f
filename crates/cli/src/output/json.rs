//! `--json`: one object a line.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use super::text::is_unsafe;

/// The object as one line, with the line's end.
pub(crate) fn line<T: Serialize>(object: &T) -> String {
    let mut bytes = Vec::with_capacity(256);
    object
        .serialize(&mut Serializer::with_formatter(&mut bytes, OneLine))
        .expect("what is shown has string keys, and writing to memory cannot fail");
    bytes.push(b'\n');
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

/// JSON without spaces, in which every character that could act on a terminal is escaped.
///
/// RFC 8259 requires that of the first 32 only; others (C1 controls, bidirectional overrides) would reach the terminal of
/// whoever prints JSON there. A reader of the JSON gets the same text either way.
struct OneLine;

impl Formatter for OneLine {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(is_unsafe) {
            let found = rest[at..].chars().next().expect("`find` found a character there");
            writer.write_all(&rest.as_bytes()[..at])?;
            for unit in found.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = &rest[at + found.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::output::{samples, view::Queued};

    #[test]
    fn whoami() {
        insta::assert_snapshot!([line(&samples::me()), line(&samples::guest())].concat());
    }

    #[test]
    fn devices() {
        insta::assert_snapshot!(samples::devices().iter().map(line).collect::<String>());
    }

    #[test]
    fn connections() {
        insta::assert_snapshot!(samples::connections().iter().map(line).collect::<String>());
    }

    #[test]
    fn conversations() {
        insta::assert_snapshot!(samples::conversations().iter().map(line).collect::<String>());
    }

    #[test]
    fn members() {
        insta::assert_snapshot!(samples::members().iter().map(line).collect::<String>());
    }

    #[test]
    fn messages() {
        insta::assert_snapshot!(samples::messages().iter().map(line).collect::<String>());
    }

    #[test]
    fn a_queued_message() {
        insta::assert_snapshot!(line(&Queued { conversation: samples::conversation_id(1), queued: true }));
    }

    #[test]
    fn a_report() {
        insta::assert_snapshot!(line(&samples::report()));
    }

    #[test]
    fn warnings() {
        insta::assert_snapshot!(samples::warnings().iter().map(line).collect::<String>());
    }

    #[test]
    fn a_copy_and_a_new_key() {
        insta::assert_snapshot!([line(&samples::exported()), line(&samples::rekeyed())].concat());
    }

    #[test]
    fn a_removed_device_and_a_changed_password() {
        insta::assert_snapshot!(
            [line(&samples::removed_device()), line(&samples::changed_password())].concat()
        );
    }

    #[test]
    fn people_and_a_deleted_account() {
        let people: String = samples::people().iter().map(line).collect();
        insta::assert_snapshot!([people, line(&samples::deleted_account())].concat());
    }

    #[test]
    fn a_team_its_members_and_an_invitation() {
        let members: String = samples::team_members().iter().map(line).collect();
        insta::assert_snapshot!(
            [line(&samples::team()), members, line(&samples::invitation()), line(&samples::roles()[0])]
                .concat()
        );
    }

    #[test]
    fn channels() {
        insta::assert_snapshot!(samples::channels().iter().map(line).collect::<String>());
    }

    #[test]
    fn a_link_a_request_and_who_is_admitted() {
        let links: String = samples::links().iter().map(line).collect();
        let asked = line(&samples::link_preview()) + &line(&samples::joining());
        insta::assert_snapshot!([links, asked, line(&samples::access())].concat());
    }

    #[test]
    fn a_text_comes_back_whole_and_does_nothing_to_a_terminal() {
        let text = "a\nb\t\"c\"\\ \u{1b}[31m \u{9b}31m \u{7f} \u{202e} \u{e0041} é ☕";
        let printed = line(&text);
        assert!(!printed.trim_end().contains(is_unsafe), "{printed:?}");
        assert_eq!(serde_json::from_str::<String>(&printed).unwrap(), text);
        assert_eq!(printed.lines().count(), 1);
    }
}
