//! What users say of themselves, and who sees it.
//!
//! | | stranger | connected, or of the same team | oneself |
//! |---|---|---|---|
//! | id, handle, display name | yes | yes | yes |
//! | locale | no | yes | yes |

use std::{fmt, str::FromStr, sync::Arc};

use oxilangtag::LanguageTag;

use crate::{connection::Status, conversation::disturbs_its_line, text::serde_by_text};

/// The name that people know a user or a team by: 1–128 characters without white space around them. Not unique. Cheap to clone.
///
/// It is shown inside lines that the application writes, so it cannot break or reorder them: see
/// [`ConversationName`](crate::ConversationName).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DisplayName(Arc<str>);

/// Why a text is not a [`DisplayName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DisplayNameError {
    /// Nothing is left once white space is trimmed, or too much. Ask for another.
    #[error("a display name has 1 to {max} characters, got {got}", max = DisplayName::MAX_CHARS)]
    Length {
        /// Characters (Unicode scalar values) in the trimmed text.
        got: usize,
    },
    /// A character would break or reorder the line that the name is shown in. Ask for another.
    #[error("a display name has no control characters, got {found:?}")]
    Control {
        /// The first such character.
        found: char,
    },
}

impl DisplayName {
    /// Longest name, in characters (Unicode scalar values, each at most 4 bytes of UTF-8).
    pub const MAX_CHARS: usize = 128;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DisplayName {
    type Err = DisplayNameError;

    /// Reads a name and drops the white space around it.
    fn from_str(text: &str) -> Result<Self, DisplayNameError> {
        let text = text.trim();
        let got = text.chars().count();
        if !(1..=Self::MAX_CHARS).contains(&got) {
            return Err(DisplayNameError::Length { got });
        }
        match text.chars().find(|&c| disturbs_its_line(c)) {
            Some(found) => Err(DisplayNameError::Control { found }),
            None => Ok(Self(Arc::from(text))),
        }
    }
}

impl fmt::Display for DisplayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for DisplayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DisplayName(…)") // a person's; never in a log
    }
}

serde_by_text!(DisplayName, "a display name");

/// The language and region that a user prefers, a BCP 47 tag in its usual spelling: `es-MX`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Locale(Arc<str>);

/// Why a text is not a [`Locale`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a locale is a language tag (BCP 47) of at most {max} characters, such as es-MX", max = Locale::MAX_LEN)]
pub struct LocaleError;

impl Locale {
    /// Longest tag, in characters: what RFC 5646, section 4.4.1, has room for language, script, region and two variants in.
    pub const MAX_LEN: usize = 35;

    /// The tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Locale {
    type Err = LocaleError;

    /// Reads a tag in any spelling.
    fn from_str(text: &str) -> Result<Self, LocaleError> {
        if text.len() > Self::MAX_LEN {
            return Err(LocaleError);
        }
        let tag = LanguageTag::parse_and_normalize(text).map_err(|_| LocaleError)?;
        Ok(Self(Arc::from(tag.as_str())))
    }
}

impl fmt::Display for Locale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

serde_by_text!(Locale, "a locale");

/// How the user who looks stands to the user who is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acquaintance {
    /// Whether they are the same user.
    pub same_user: bool,
    /// Whether they are in one team.
    pub same_team: bool,
    /// The row of who looks.
    pub mine: Option<Status>,
    /// Whether the other was ever in the 1:1 of the two, and so asked for the connection or accepted it.
    pub other_was_in_one_to_one: bool,
}

/// Whether the locale of the one who is looked at is shown.
///
/// The other's row is not among the facts: if it counted, the locale would vanish when the other blocks who looks, and that
/// must not show. My row alone does not do either, since who blocks a stranger and unblocks them can have an `accepted`
/// row that the other never answered.
pub fn sees_locale(acquaintance: Acquaintance) -> bool {
    let Acquaintance { same_user, same_team, mine, other_was_in_one_to_one } = acquaintance;
    same_user || same_team || (mine == Some(Status::Accepted) && other_was_in_one_to_one)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_display_name_is_trimmed_and_cannot_disturb_its_line() {
        assert_eq!("  Ana García ☕ ".parse::<DisplayName>().unwrap().as_str(), "Ana García ☕");
        assert!("é".repeat(128).parse::<DisplayName>().is_ok());
        let long = "é".repeat(129);
        for (text, fault) in [
            ("", DisplayNameError::Length { got: 0 }),
            (" \n", DisplayNameError::Length { got: 0 }),
            (long.as_str(), DisplayNameError::Length { got: 129 }),
            ("a\u{1b}b", DisplayNameError::Control { found: '\u{1b}' }),
            ("a\u{202e}b", DisplayNameError::Control { found: '\u{202e}' }),
        ] {
            assert_eq!(text.parse::<DisplayName>(), Err(fault), "{text:?}");
        }
        let name: DisplayName = "Ana".parse().unwrap();
        assert!(!format!("{name:?}").contains("Ana"));
    }

    #[test]
    fn a_locale_is_a_language_tag_in_its_usual_spelling() {
        for (text, kept) in [("es-mx", "es-MX"), ("DE", "de"), ("zh-hant-tw", "zh-Hant-TW"), ("ast", "ast")] {
            assert_eq!(text.parse::<Locale>().unwrap().as_str(), kept);
        }
        let long = format!("es{}", "-abcde".repeat(6));
        for text in ["", "e", "es_MX", "español", "es-", "es MX", long.as_str()] {
            assert_eq!(text.parse::<Locale>(), Err(LocaleError), "{text:?}");
        }
    }

    #[test]
    fn the_locale_is_for_the_connected_and_for_team_mates() {
        let rows = std::iter::once(None).chain(Status::ALL.iter().copied().map(Some));
        for mine in rows {
            for other_was_in_one_to_one in [false, true] {
                let by_rows =
                    Acquaintance { same_user: false, same_team: false, mine, other_was_in_one_to_one };
                let connected = mine == Some(Status::Accepted) && other_was_in_one_to_one;
                assert_eq!(sees_locale(by_rows), connected, "{by_rows:?}");
                assert!(sees_locale(Acquaintance { same_user: true, ..by_rows }));
                assert!(sees_locale(Acquaintance { same_team: true, ..by_rows }));
            }
        }
    }
}
