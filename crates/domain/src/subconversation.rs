//! Subconversations: groups of some devices of a conversation's members, such as those that are in a call.

use std::{fmt, str::FromStr, sync::Arc};

use sha2::{Digest as _, Sha256};
use uuid::{Builder, Uuid, uuid};

use crate::{conversation::ConversationType, ids::ConversationId, text::serde_by_text};

/// The namespace of the ids of subconversations.
const NAMESPACE: Uuid = uuid!("0e6ad0c9-5a35-4f21-8ac6-6f1b2f5d7a94");

/// The name of a subconversation: 1–255 printable ASCII characters other than the space. Cheap to clone.
///
/// It is for applications, not for people: `call`, `whiteboard/2`. The hub knows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubconversationName(Arc<str>);

/// Why a text is not a [`SubconversationName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubconversationNameError {
    /// It is empty or too long.
    #[error("a subconversation's name has 1 to {max} characters, got {got}", max = SubconversationName::MAX_LEN)]
    Length {
        /// The text's bytes.
        got: usize,
    },
    /// It has something other than printable, non-space ASCII.
    #[error("a subconversation's name has printable ASCII characters other than the space, got {found:?}")]
    Character {
        /// The first such character.
        found: char,
    },
}

impl SubconversationName {
    /// Longest name, in bytes, which are its characters.
    pub const MAX_LEN: usize = 255;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SubconversationName {
    type Err = SubconversationNameError;

    fn from_str(text: &str) -> Result<Self, SubconversationNameError> {
        if let Some(found) = text.chars().find(|c| !c.is_ascii_graphic()) {
            return Err(SubconversationNameError::Character { found });
        }
        if !(1..=Self::MAX_LEN).contains(&text.len()) {
            return Err(SubconversationNameError::Length { got: text.len() });
        }
        Ok(Self(Arc::from(text)))
    }
}

impl fmt::Display for SubconversationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

serde_by_text!(SubconversationName, "a subconversation's name");

impl ConversationId {
    /// The subconversation of this name under `parent`, which everybody derives for themselves.
    ///
    /// SHA-256 runs over the namespace's 16 bytes, the parent's 16 bytes and the name; all but the last have a fixed length,
    /// so no two inputs are the same. The first 16 bytes, with version 8 and the RFC 9562 variant set, are the id. Users,
    /// groups and 1:1 conversations have ids of other versions.
    pub fn subconversation(parent: Self, name: &SubconversationName) -> Self {
        let mut hash = Sha256::new_with_prefix(NAMESPACE.as_bytes());
        hash.update(parent.as_bytes());
        hash.update(name.as_str());
        let digest: [u8; 32] = hash.finalize().into();
        let mut bytes = [0; Self::LEN];
        bytes.copy_from_slice(&digest[..Self::LEN]);
        Self::new(Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// Whether the id is one that only subconversations have.
    pub fn is_subconversation(&self) -> bool {
        self.as_uuid().get_version_num() == 8
    }
}

/// Why something cannot be done with a subconversation. Each variant has its stable code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubconversationError {
    /// Only groups and 1:1 conversations have subconversations.
    #[error("a conversation of type {parent} has no subconversations")]
    InvalidParent {
        /// The type of what was to be the parent.
        parent: ConversationType,
    },
    /// The device is not in the parent's MLS group. Let it join that first.
    #[error("this device is not in the group of the parent conversation")]
    ParentNotJoined,
    /// A device joins and leaves for itself, so nobody adds or removes another's.
    #[error("each device joins and leaves a subconversation for itself")]
    OnlyForItself,
}

impl SubconversationError {
    /// The stable code of the error.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::InvalidParent { .. } | Self::OnlyForItself => "invalid-operation",
            Self::ParentNotJoined => "parent-not-joined",
        }
    }
}

/// Whether a device may join a subconversation, or act in one: the parent is of a type that has subconversations, and the
/// device is in the parent's MLS group. That its user is a member of the parent was asked before.
pub const fn check_join(
    parent: ConversationType,
    in_parents_group: bool,
) -> Result<(), SubconversationError> {
    match parent {
        ConversationType::Group | ConversationType::Channel | ConversationType::OneToOne => {}
        _ => return Err(SubconversationError::InvalidParent { parent }),
    }
    if in_parents_group { Ok(()) } else { Err(SubconversationError::ParentNotJoined) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn name(text: &str) -> SubconversationName {
        text.parse().unwrap()
    }

    #[test]
    fn the_published_vectors() {
        let parent = "f3b0c4a2-7d1e-4c55-9a38-2b6e0d9f1c47".parse().unwrap();
        let derived = |text| ConversationId::subconversation(parent, &name(text)).to_string();
        assert_eq!(derived("call"), "f532ea37-3a6f-8e28-96d4-ad7a5ffb9e6f");
        assert_eq!(derived("whiteboard/2"), "ea478c56-20aa-867a-a630-0a4386ded774");
    }

    #[test]
    fn an_id_depends_on_the_parent_and_on_the_name() {
        let (a, b) = (ConversationId::random(), ConversationId::random());
        let derived = |parent, text| ConversationId::subconversation(parent, &name(text));
        assert_eq!(derived(a, "call"), derived(a, "call"));
        assert_ne!(derived(a, "call"), derived(b, "call"));
        assert_ne!(derived(a, "call"), derived(a, "Call"));
        assert_eq!(derived(a, "call").as_uuid().get_version_num(), 8);
        assert!(derived(a, "call").is_subconversation() && !a.is_subconversation());
        assert_eq!(derived(a, "call").as_uuid().get_variant(), uuid::Variant::RFC4122);
    }

    #[test]
    fn a_name_has_1_to_255_printable_ascii_characters_other_than_the_space() {
        for text in ["a", "call", "~", "!", ".", "..", "a/b?c=%20#d", &"x".repeat(255)] {
            assert_eq!(name(text).as_str(), text);
            let json = serde_json::to_string(&name(text)).unwrap();
            assert_eq!(serde_json::from_str::<SubconversationName>(&json).unwrap(), name(text));
        }
        let parsed = |text: &str| text.parse::<SubconversationName>();
        assert_eq!(parsed(""), Err(SubconversationNameError::Length { got: 0 }));
        assert_eq!(parsed(&"x".repeat(256)), Err(SubconversationNameError::Length { got: 256 }));
        for found in [' ', '\t', '\n', '\0', '\u{7f}', 'é', '☕'] {
            assert_eq!(parsed(&format!("a{found}b")), Err(SubconversationNameError::Character { found }));
        }
    }

    #[test]
    fn a_parent_is_a_group_or_a_1_to_1() {
        for &parent in ConversationType::ALL {
            let allowed = matches!(
                parent,
                ConversationType::Group | ConversationType::Channel | ConversationType::OneToOne
            );
            let expected = if allowed { Ok(()) } else { Err(SubconversationError::InvalidParent { parent }) };
            assert_eq!(check_join(parent, true), expected);
        }
    }

    #[test]
    fn only_a_device_in_the_parents_group_may_join() {
        let refused = check_join(ConversationType::Group, false);
        assert_eq!(refused, Err(SubconversationError::ParentNotJoined));
        assert_eq!(refused.unwrap_err().code(), "parent-not-joined");
    }
}
