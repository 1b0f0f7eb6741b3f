//! What conversations there are, and what they may be called.

use std::{fmt, str::FromStr, sync::Arc};

use crate::text::{named, serde_by_text};

/// The type of a conversation, which decides who can be in it and what can be done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ConversationType {
    /// One user with all their devices; carries what these synchronise. Its id is the user's.
    SelfConversation,
    /// A 1:1 that was asked for and not yet accepted: only the requester is in it.
    Connection,
    /// Exactly two users. Its id is derived from both.
    OneToOne,
    /// Any number of users, with roles.
    Group,
    /// A group whose name and existence the whole team may see.
    Channel,
    /// Some devices of the members of another conversation, its parent. Its id is derived from the parent's and its name.
    Subconversation,
}

named!(ConversationType, "conversation type", {
    SelfConversation => "self",
    Connection => "connection",
    OneToOne => "one_to_one",
    Group => "group",
    Channel => "channel",
    Subconversation => "subconversation",
});

impl ConversationType {
    /// Whether its members manage it: add, remove, leave, rename, give roles. The other types have the members that
    /// they have by nature.
    pub const fn is_managed(self) -> bool {
        matches!(self, Self::Group | Self::Channel)
    }

    /// Whether its name is known to the hub, for people who are not in it. All other names travel inside the encryption.
    pub const fn has_public_name(self) -> bool {
        matches!(self, Self::Channel)
    }
}

/// The name of a group or channel: 1–256 characters without white space around them. Cheap to clone.
///
/// A name is shown inside lines that the application writes, so it cannot break or reorder them: control characters, line
/// separators and bidirectional overrides are refused. (Emoji sequences and right-to-left scripts are fine.)
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConversationName(Arc<str>);

/// Why a text is not a [`ConversationName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConversationNameError {
    /// Nothing is left once white space is trimmed, or too much.
    #[error("a conversation's name has 1 to {max} characters, got {got}", max = ConversationName::MAX_CHARS)]
    Length {
        /// Characters (Unicode scalar values) in the trimmed text.
        got: usize,
    },
    /// A character would break or reorder the line that the name is shown in.
    #[error("a conversation's name has no control characters, got {found:?}")]
    Control {
        /// The first such character.
        found: char,
    },
}

impl ConversationName {
    /// Longest name, in characters (Unicode scalar values, each at most 4 bytes of UTF-8).
    pub const MAX_CHARS: usize = 256;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ConversationName {
    type Err = ConversationNameError;

    /// Reads a name and drops the white space around it.
    fn from_str(text: &str) -> Result<Self, ConversationNameError> {
        let text = text.trim();
        let got = text.chars().count();
        if !(1..=Self::MAX_CHARS).contains(&got) {
            return Err(ConversationNameError::Length { got });
        }
        match text.chars().find(|&c| disturbs_its_line(c)) {
            Some(found) => Err(ConversationNameError::Control { found }),
            None => Ok(Self(Arc::from(text))),
        }
    }
}

impl AsRef<str> for ConversationName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ConversationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ConversationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConversationName(…)") // content that people wrote; never in a log
    }
}

serde_by_text!(ConversationName, "a conversation's name");

/// Control characters, line and paragraph separators, bidirectional embeddings, overrides and isolates.
pub(crate) fn disturbs_its_line(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn types_have_the_names_of_the_contract() {
        let names: Vec<_> = ConversationType::ALL.iter().map(|t| t.as_str()).collect();
        assert_eq!(names, ["self", "connection", "one_to_one", "group", "channel", "subconversation"]);
        for &kind in ConversationType::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
        }
        let error = "Group".parse::<ConversationType>().unwrap_err();
        assert_eq!(error.to_string(), "unknown conversation type");
    }

    #[test]
    fn a_name_is_trimmed_and_counted_in_characters() {
        let name: ConversationName = "  Tertulia de los jueves ☕\n".parse().unwrap();
        assert_eq!(name.as_str(), "Tertulia de los jueves ☕");
        assert!("é".repeat(256).parse::<ConversationName>().is_ok());
        assert_eq!(
            "é".repeat(257).parse::<ConversationName>(),
            Err(ConversationNameError::Length { got: 257 })
        );
        for blank in ["", " ", "\n\t"] {
            assert_eq!(blank.parse::<ConversationName>(), Err(ConversationNameError::Length { got: 0 }));
        }
    }

    #[test]
    fn a_name_cannot_disturb_the_line_it_is_shown_in() {
        for found in ['\n', '\u{1b}', '\0', '\u{85}', '\u{2028}', '\u{202e}', '\u{2066}'] {
            let text = format!("a{found}b");
            assert_eq!(text.parse::<ConversationName>(), Err(ConversationNameError::Control { found }));
        }
        for fine in ["👩‍👩‍👧", "שלום", "نقاش"] {
            assert!(fine.parse::<ConversationName>().is_ok(), "{fine}");
        }
    }

    #[test]
    fn a_name_does_not_reach_the_log() {
        let name: ConversationName = "secret plans".parse().unwrap();
        assert!(!format!("{name:?}").contains("secret"));
    }
}
