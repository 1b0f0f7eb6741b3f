//! How the messages of a conversation are encrypted, and how that may change.

use crate::text::named;

/// The encryption protocol of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum Protocol {
    /// A Double Ratchet for each pair of devices: one ciphertext for each device.
    Pairwise,
    /// On the way from pairwise to MLS: there may be an MLS group, and messages still go pairwise.
    Mixed,
    /// One MLS group for all devices.
    #[default]
    Mls,
}

named!(Protocol, "protocol", {
    Pairwise => "pairwise",
    Mixed => "mixed",
    Mls => "mls",
});

/// The protocol does not change in that direction (`invalid-protocol-transition`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the protocol cannot change from {from} to {to}: it goes from pairwise to mixed to mls, one step at a time"
)]
pub struct InvalidTransition {
    /// What it is.
    pub from: Protocol,
    /// What it was to become.
    pub to: Protocol,
}

impl Protocol {
    /// Whether application messages go pairwise.
    pub const fn sends_pairwise(self) -> bool {
        matches!(self, Self::Pairwise | Self::Mixed)
    }

    /// Whether the conversation may have an MLS group.
    pub const fn has_group(self) -> bool {
        matches!(self, Self::Mixed | Self::Mls)
    }

    /// Whether the protocol may become `to`. Says `false` where it is that already, so that a repeated request changes
    /// nothing.
    ///
    /// It goes one step at a time and never back: what a group has gained in security it does not lose again, and nobody
    /// is left behind, for the last step asks that all devices are in the group.
    pub fn becomes(self, to: Self) -> Result<bool, InvalidTransition> {
        match (self, to) {
            (Self::Pairwise, Self::Mixed) | (Self::Mixed, Self::Mls) => Ok(true),
            (from, to) if from == to => Ok(false),
            (from, to) => Err(InvalidTransition { from, to }),
        }
    }

    /// The same of a 1:1, which nobody creates: it is on MLS unless one of the two chooses otherwise before it has begun. It has
    /// begun with its first commit.
    pub fn becomes_in_one_to_one(self, to: Self, has_begun: bool) -> Result<bool, InvalidTransition> {
        match (self, to) {
            (Self::Mls, Self::Pairwise) if !has_begun => Ok(true),
            (from, to) => from.becomes(to),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Protocol::{self, Mixed, Mls, Pairwise};
    use super::*;

    #[test]
    fn the_order_pairwise_mixed_mls_never_turns_back() {
        let table = [
            (Pairwise, Pairwise, Ok(false)),
            (Pairwise, Mixed, Ok(true)),
            (Pairwise, Mls, Err(InvalidTransition { from: Pairwise, to: Mls })),
            (Mixed, Pairwise, Err(InvalidTransition { from: Mixed, to: Pairwise })),
            (Mixed, Mixed, Ok(false)),
            (Mixed, Mls, Ok(true)),
            (Mls, Pairwise, Err(InvalidTransition { from: Mls, to: Pairwise })),
            (Mls, Mixed, Err(InvalidTransition { from: Mls, to: Mixed })),
            (Mls, Mls, Ok(false)),
        ];
        assert_eq!(table.len(), Protocol::ALL.len().pow(2));
        for (from, to, expected) in table {
            assert_eq!(from.becomes(to), expected, "{from} to {to}");
        }
    }

    #[test]
    fn in_a_one_to_one_pairwise_is_chosen_before_the_first_commit_or_never() {
        for from in Protocol::ALL.iter().copied() {
            for to in Protocol::ALL.iter().copied() {
                assert_eq!(from.becomes_in_one_to_one(to, true), from.becomes(to), "{from} to {to}");
                let expected = if (from, to) == (Mls, Pairwise) { Ok(true) } else { from.becomes(to) };
                assert_eq!(from.becomes_in_one_to_one(to, false), expected, "{from} to {to}");
            }
        }
    }

    #[test]
    fn while_it_is_mixed_messages_go_pairwise_and_there_is_a_group() {
        for (protocol, pairwise, group) in [(Pairwise, true, false), (Mixed, true, true), (Mls, false, true)]
        {
            assert_eq!((protocol.sends_pairwise(), protocol.has_group()), (pairwise, group));
        }
        assert_eq!(Protocol::default(), Mls);
        assert!(Pairwise < Mixed && Mixed < Mls, "the order is the way it goes");
    }

    #[test]
    fn protocols_have_the_names_of_the_contract() {
        assert_eq!(
            Protocol::ALL.iter().map(|p| p.as_str()).collect::<Vec<_>>(),
            ["pairwise", "mixed", "mls"]
        );
    }
}
