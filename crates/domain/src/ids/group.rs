use super::ConversationId;

/// The MLS group that carries a conversation, by its id in MLS.
///
/// A conversation's first group has the conversation's 16 bytes as its id. When the conversation is reset, it is carried by
/// a new group, whose id has the number of the reset behind them, 8 bytes in network order. So whoever reads a group id
/// knows whose it is and which of two is newer, without asking anyone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId {
    /// The conversation.
    pub conversation: ConversationId,
    /// How often the conversation was reset before this group: 0 for its first one.
    pub generation: u64,
}

impl GroupId {
    /// The first group of a conversation.
    pub const fn first(conversation: ConversationId) -> Self {
        Self { conversation, generation: 0 }
    }

    /// The group that takes this one's place by a reset. Nobody resets a conversation so often that the numbers end.
    #[must_use]
    pub const fn after_reset(self) -> Self {
        Self { generation: self.generation.saturating_add(1), ..self }
    }

    /// The id as MLS has it: 16 or 24 bytes.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = self.conversation.as_bytes().to_vec();
        if self.generation > 0 {
            bytes.extend_from_slice(&self.generation.to_be_bytes());
        }
        bytes
    }

    /// Reads an id as MLS has it; none if it is not one of a conversation's groups. Each group has one spelling.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (conversation, generation) = bytes.split_first_chunk::<{ ConversationId::LEN }>()?;
        let conversation = ConversationId::from_bytes(*conversation);
        if generation.is_empty() {
            return Some(Self::first(conversation));
        }
        let generation = u64::from_be_bytes(generation.try_into().ok()?);
        (generation > 0).then_some(Self { conversation, generation })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_published_vectors() {
        let conversation = "f3b0c4a2-7d1e-4c55-9a38-2b6e0d9f1c47".parse().unwrap();
        let first = GroupId::first(conversation);
        assert_eq!(hex::encode(first.to_bytes()), "f3b0c4a27d1e4c559a382b6e0d9f1c47");
        let second = first.after_reset();
        assert_eq!(hex::encode(second.to_bytes()), "f3b0c4a27d1e4c559a382b6e0d9f1c470000000000000001");
        for group in [first, second, GroupId { generation: u64::MAX, ..first }] {
            assert_eq!(GroupId::from_bytes(&group.to_bytes()), Some(group));
        }
        assert!(first < second);
    }

    #[test]
    fn a_group_has_one_spelling() {
        for length in (0..16).chain(17..24).chain(25..40) {
            assert_eq!(GroupId::from_bytes(&vec![1; length]), None, "{length} bytes");
        }
        let mut zero = vec![1; 16];
        zero.extend_from_slice(&[0; 8]);
        assert_eq!(GroupId::from_bytes(&zero), None);
    }
}
