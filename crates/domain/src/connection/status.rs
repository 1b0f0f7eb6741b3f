use crate::{conversation::ConversationType, text::named};

/// What one user's row says of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// I asked and have no answer; perhaps they ignore or block me.
    Sent,
    /// They asked and I have not answered.
    Pending,
    /// I want to hear from them.
    Accepted,
    /// I want nothing from them.
    Blocked,
    /// I left their request unanswered on purpose. They may ask again, and I may still accept.
    Ignored,
    /// The request was taken back.
    Cancelled,
}

named!(Status, "connection status", {
    Sent => "sent",
    Pending => "pending",
    Accepted => "accepted",
    Blocked => "blocked",
    Ignored => "ignored",
    Cancelled => "cancelled",
});

impl Status {
    /// Whether a row with this status counts towards its user's limit of connections and open requests. What others
    /// ask of a user does not, nor whom they block.
    pub const fn counts_towards_limit(self) -> bool {
        matches!(self, Self::Accepted | Self::Sent)
    }

    /// Whether a user whose row has this status is in the pair's 1:1.
    pub const fn is_in_one_to_one(self) -> bool {
        matches!(self, Self::Sent | Self::Accepted)
    }

    /// The type that the 1:1 has to a user whose row has this status; none to who is not in it.
    pub const fn one_to_one_type(self) -> Option<ConversationType> {
        match self {
            Self::Sent => Some(ConversationType::Connection),
            Self::Accepted => Some(ConversationType::OneToOne),
            Self::Pending | Self::Blocked | Self::Ignored | Self::Cancelled => None,
        }
    }
}
