//! How far back those who come later may read: what the admins of a group or channel set.

use std::{fmt, str::FromStr};

use crate::text::serde_by_text;

/// How long before their joining somebody may read, in milliseconds: from a second to 3650 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HistoryDepth(u64);

/// History cannot reach so far back, or is no such setting (`bad-request`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "history is none, unlimited, or {min}ms to {max}ms",
    min = HistoryDepth::MIN,
    max = HistoryDepth::MAX
)]
pub struct HistoryError;

impl HistoryDepth {
    /// The shortest, in milliseconds: a second.
    pub const MIN: u64 = 1000;
    /// The longest, in milliseconds: 3650 days.
    pub const MAX: u64 = 3650 * 24 * 60 * 60 * 1000;

    /// The time in milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for HistoryDepth {
    type Error = HistoryError;

    fn try_from(millis: u64) -> Result<Self, HistoryError> {
        if (Self::MIN..=Self::MAX).contains(&millis) { Ok(Self(millis)) } else { Err(HistoryError) }
    }
}

/// What somebody may read of the messages from before they became a member. The narrower is the less.
///
/// Nothing from before the admins began to share is ever in it, however wide it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum History {
    /// Nothing.
    #[default]
    None,
    /// What the hub accepted within this time before they became one.
    Depth(HistoryDepth),
    /// Everything since history is shared.
    Unlimited,
}

impl History {
    /// Whether anything is shared.
    pub const fn is_shared(self) -> bool {
        !matches!(self, Self::None)
    }

    /// From when on, in milliseconds since 1970, somebody may read messages who became a member at `joined`; none if they
    /// may read nothing from before.
    pub fn reach(self, joined: i64) -> Option<i64> {
        match self {
            Self::None => None,
            Self::Depth(depth) => Some(joined.saturating_sub_unsigned(depth.as_millis())),
            Self::Unlimited => Some(i64::MIN),
        }
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Depth(depth) => write!(f, "{}ms", depth.as_millis()),
            Self::Unlimited => f.write_str("unlimited"),
        }
    }
}

impl FromStr for History {
    type Err = HistoryError;

    fn from_str(text: &str) -> Result<Self, HistoryError> {
        match text {
            "none" => Ok(Self::None),
            "unlimited" => Ok(Self::Unlimited),
            text => {
                let digits = text.strip_suffix("ms").ok_or(HistoryError)?;
                let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
                let millis = digits.parse::<u64>().ok().filter(|_| is_plain).ok_or(HistoryError)?;
                HistoryDepth::try_from(millis).map(Self::Depth)
            }
        }
    }
}

serde_by_text!(History, "history: none, unlimited, or milliseconds with ms behind them");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const DAY: u64 = 24 * 60 * 60 * 1000;

    fn depth(millis: u64) -> History {
        History::Depth(millis.try_into().unwrap())
    }

    #[test]
    fn it_has_one_text_each() {
        for (history, text) in [
            (History::None, "none"),
            (History::Unlimited, "unlimited"),
            (depth(1000), "1000ms"),
            (depth(HistoryDepth::MAX), "315360000000ms"),
        ] {
            assert_eq!(history.to_string(), text);
            assert_eq!(text.parse(), Ok(history));
            assert_eq!(serde_json::to_string(&history).unwrap(), format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<History>(&format!("\"{text}\"")).unwrap(), history);
        }
        for wrong in ["", "None", "999ms", "315360000001ms", "-1000ms", "+1000ms", "01000ms", "1000", "1 day"]
        {
            assert_eq!(wrong.parse::<History>(), Err(HistoryError), "{wrong}");
        }
        assert!(serde_json::from_str::<History>("1000").is_err());
    }

    #[test]
    fn none_is_narrower_than_a_depth_and_a_depth_than_all() {
        assert!(
            History::None < depth(DAY) && depth(DAY) < depth(2 * DAY) && depth(2 * DAY) < History::Unlimited
        );
    }

    #[test]
    fn a_depth_counts_back_from_the_joining() {
        assert_eq!(History::None.reach(5000), None);
        assert_eq!(depth(1000).reach(5000), Some(4000));
        assert_eq!(History::Unlimited.reach(5000), Some(i64::MIN));
        assert_eq!(depth(HistoryDepth::MAX).reach(i64::MIN), Some(i64::MIN), "no time overflows");
    }
}
