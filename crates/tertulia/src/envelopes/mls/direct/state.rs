//! What a conversation of two on MLS keeps beside what groups keep.

use serde::{Deserialize, Serialize};
use tertulia_domain::UserId;

/// Of a conversation of two: how far the two are in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OfTwo {
    /// The other.
    pub(crate) peer: UserId,
    /// How often the two have begun to go on over MLS, this one counted.
    pub(crate) times: u32,
    /// Whether the other was invited, or has invited.
    pub(crate) invited: bool,
    /// Whether the other is in it for certain.
    pub(crate) confirmed: bool,
    /// Since when another counts in its place, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retired_at: Option<i64>,
}

impl OfTwo {
    /// Of one that this device has begun.
    pub(super) const fn begun(peer: UserId, times: u32) -> Self {
        Self { peer, times, invited: false, confirmed: false, retired_at: None }
    }

    /// Of one that the other has begun.
    pub(super) const fn entered(peer: UserId, times: u32) -> Self {
        Self { peer, times, invited: true, confirmed: true, retired_at: None }
    }

    /// When there is something to be done.
    pub(crate) fn due_at(&self, again: i64) -> Option<i64> {
        match self.retired_at {
            Some(at) => Some(at.saturating_add(super::READ_ON)),
            None => (!self.invited).then_some(again),
        }
    }
}
