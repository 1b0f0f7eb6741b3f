//! The rules about messages that depend on more than the message: pure, so that each receiver decides alike.

use std::collections::HashSet;

use crate::content::MimiContent;
use crate::id::MessageId;

/// Whether `sender` may edit or delete a message of `author`: only the author may (section 9.3).
///
/// Compare what MLS authenticated (a user id, or a URI made from it), never what a message claims.
pub fn may_replace<T: PartialEq + ?Sized>(author: &T, sender: &T) -> bool {
    author == sender
}

/// Whether the sender and the room that the message names, as far as it names any, are those of the MLS message that it came in.
///
/// A message for which this is false was made for another room or by someone else, and is to be discarded (section 9.1).
pub fn origin_matches(content: &MimiContent, sender_uri: &str, room_uri: &str) -> bool {
    content.extensions.sender_uri().is_none_or(|claimed| claimed == sender_uri)
        && content.extensions.room_uri().is_none_or(|claimed| claimed == room_uri)
}

/// Whether the replies that begin with the message `id`, which replies to `in_reply_to`, come back to a message already passed; such a message is
/// refused (section 4.1).
///
/// `reply_of` gives the message that a known message replies to. The chain ends where it gives `None`: at a message that is no reply or is not known here.
pub fn reply_loops(
    id: MessageId,
    in_reply_to: Option<MessageId>,
    reply_of: impl Fn(&MessageId) -> Option<MessageId>,
) -> bool {
    let mut seen = HashSet::from([id]);
    let mut next = in_reply_to;
    while let Some(message) = next {
        if !seen.insert(message) {
            return true;
        }
        next = reply_of(&message);
    }
    false
}
