use tertulia_domain::ConversationId;

use crate::wire::WireError;

/// What can be wrong with hints. After any of these the table is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HintError {
    /// The conversation has no epoch here. Begin one with [`HintTable::begin_epoch`](crate::hint::HintTable::begin_epoch).
    #[error("the conversation {} has no epoch here", .0.short())]
    NoConversation(ConversationId),
    /// The conversation is of another type than the frame. Encode the frame of the conversation's own type.
    #[error("the conversation {} is of another type", .0.short())]
    WrongType(ConversationId),
    /// The epoch began before the device's store was restored or copied, and hints of it may have been used since. Update this device's own keys: send
    /// the commit with [`HintTable::seal_salted`](crate::hint::HintTable::seal_salted), and go on in the epoch that it makes.
    #[error("the epoch of {} began before this store was restored; this device has to update its keys first", .0.short())]
    Restored(ConversationId),
    /// All generations of the epoch are used up. Make a new epoch by a commit or a renewal.
    #[error("all hints of the epoch of {} are used up", .0.short())]
    Exhausted(ConversationId),
    /// An epoch has more senders than conversations can have devices, or one twice. Give each sender once.
    #[error("{got} senders, of which each may be there once, and {max} in all")]
    Senders {
        /// How many were given.
        got: usize,
        /// The most.
        max: usize,
    },
    /// The table has as many senders in all as it can number. Forget conversations that are over.
    #[error("the table of hints is full")]
    Full,
    /// What is stored cannot be read. Put a backup in its place, or join the conversation anew.
    #[error("the stored hints cannot be read")]
    Damaged,
    /// The frame cannot be put into an envelope. See the error inside.
    #[error(transparent)]
    Frame(#[from] WireError),
}
