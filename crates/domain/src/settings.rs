//! What the members of a group or channel set for all of them: for how long messages stay, and whether reading is told. And what
//! each sets for themselves alone.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::text::named;

/// How long the messages of a conversation stay once they were read, in milliseconds: from a second to 365 days.
///
/// The clients carry it out: each message says for itself when it is to be deleted. The draft of the messages' format
/// (draft-ietf-mimi-content-08, section 9.1) has readers discard what is to stay for more than a year.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageTimer(u64);

/// Messages cannot stay for so long, or for so short a time (`bad-request`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message timer has {min} to {max} milliseconds, not {got}", min = MessageTimer::MIN, max = MessageTimer::MAX)]
pub struct MessageTimerError {
    /// The milliseconds that were asked for.
    pub got: u64,
}

impl MessageTimer {
    /// The shortest, in milliseconds: a second.
    pub const MIN: u64 = 1000;
    /// The longest, in milliseconds: 365 days.
    pub const MAX: u64 = 365 * 24 * 60 * 60 * 1000;

    /// The time in milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The time in seconds, which is how messages have it; a part of a second counts as one.
    pub fn as_seconds(self) -> u32 {
        u32::try_from(self.0.div_ceil(1000)).expect("a year has fewer seconds than fit 32 bits")
    }
}

impl TryFrom<u64> for MessageTimer {
    type Error = MessageTimerError;

    fn try_from(millis: u64) -> Result<Self, MessageTimerError> {
        if (Self::MIN..=Self::MAX).contains(&millis) {
            Ok(Self(millis))
        } else {
            Err(MessageTimerError { got: millis })
        }
    }
}

impl fmt::Display for MessageTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

impl Serialize for MessageTimer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for MessageTimer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer)?.try_into().map_err(D::Error::custom)
    }
}

/// Whether the members of a conversation tell the others what they have read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum ReceiptMode {
    /// Nobody is told.
    #[default]
    Off,
    /// Clients send receipts for what their users have read.
    On,
}

named!(ReceiptMode, "receipt mode", {
    Off => "off",
    On => "on",
});

/// What a member has told of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ReceiptStatus {
    /// It could not be read on a device of the member.
    Error,
    /// It has reached a device of the member.
    Delivered,
    /// The member has read it.
    Read,
}

named!(ReceiptStatus, "receipt status", {
    Error => "error",
    Delivered => "delivered",
    Read => "read",
});

/// What a member sets of a conversation for themselves. Only their own devices know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum OwnSetting {
    /// It does not ask for attention.
    Muted,
    /// It is put away, and listed on its own.
    Archived,
    /// It is not listed.
    Hidden,
}

named!(OwnSetting, "setting", {
    Muted => "muted",
    Archived => "archived",
    Hidden => "hidden",
});

impl OwnSetting {
    /// Longest reference, in bytes.
    pub const MAX_REFERENCE: usize = 256;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_timer_has_a_second_to_365_days() {
        for fine in [1000, 1001, 86_400_000, 31_536_000_000] {
            assert_eq!(MessageTimer::try_from(fine).map(MessageTimer::as_millis), Ok(fine));
            assert_eq!(serde_json::from_str::<MessageTimer>(&fine.to_string()).unwrap().as_millis(), fine);
        }
        for wrong in [0, 999, 31_536_000_001, u64::MAX] {
            assert_eq!(MessageTimer::try_from(wrong), Err(MessageTimerError { got: wrong }));
            assert!(serde_json::from_str::<MessageTimer>(&wrong.to_string()).is_err());
        }
        assert!(serde_json::from_str::<MessageTimer>("-1000").is_err());
    }

    #[test]
    fn a_part_of_a_second_counts_as_one() {
        let seconds = |millis: u64| MessageTimer::try_from(millis).unwrap().as_seconds();
        assert_eq!((seconds(1000), seconds(1001), seconds(2000)), (1, 2, 2));
        assert_eq!(seconds(MessageTimer::MAX), 365 * 24 * 60 * 60);
    }

    #[test]
    fn receipts_are_off_unless_they_are_on() {
        assert_eq!(ReceiptMode::default().as_str(), "off");
        assert_eq!("on".parse(), Ok(ReceiptMode::On));
        assert!("true".parse::<ReceiptMode>().is_err());
    }
}
