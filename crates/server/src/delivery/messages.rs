//! Application messages.

use super::{access, check_announces, check_may_send, pairwise::wrong_protocol};
use crate::{
    error::ApiError,
    mls::ApplicationMessage,
    storage::{
        WriteTx, groups,
        log::{self, Digest, Entry, Kind},
        subconversations,
    },
};
use tertulia_api::{Code, UserDevice, conversation::MessageAccepted};
use tertulia_domain::{ConversationId, GroupId};

/// How many epochs before the current one messages are taken from: the device may not have seen the last commits yet.
const PAST_EPOCHS: u64 = 2;

/// An application message that was sent.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) conversation: ConversationId,
    pub(crate) sender: UserDevice,
    /// [`Kind::Message`] or [`Kind::Name`].
    pub(crate) kind: Kind,
    pub(crate) message: ApplicationMessage,
    pub(crate) body: bytes::Bytes,
    pub(crate) digest: Digest,
    /// Milliseconds since 1970.
    pub(crate) now: i64,
}

/// Takes a message into the conversation's log.
pub(crate) fn accept(tx: &WriteTx<'_>, sent: &Sent) -> Result<MessageAccepted, ApiError> {
    let Sent { conversation, sender, .. } = *sent;
    let access = access(tx, conversation, sender.user)?;
    if sent.kind == Kind::Name {
        check_announces(&access)?;
    }
    check_may_send(tx, conversation, sender.user, &access)?;
    // The same bytes get the same answer, also when the group has moved on meanwhile.
    if let Some(known) = log::known(tx, conversation, sent.digest)? {
        return Ok(MessageAccepted { sequence: known.sequence, sent_at: known.sent_at });
    }
    if access.protocol.sends_pairwise() {
        return Err(wrong_protocol(&access));
    }
    if sent.message.group_id != access.group_id {
        // A group that was begun anew has moved on too.
        return Err(match GroupId::from_bytes(&sent.message.group_id) {
            Some(earlier) if access.is_after(earlier) => ApiError::stale_epoch(access.epoch),
            _ => ApiError::new(Code::MalformedMls, "The message is for another group."),
        });
    }
    let oldest = access.epoch.saturating_sub(PAST_EPOCHS).max(1);
    if !(oldest..=access.epoch).contains(&sent.message.epoch)
        || !groups::has_leaf(tx, conversation, sender)?
        || access.parent.is_some() && !subconversations::has_device(tx, conversation, sender)?
    {
        return Err(ApiError::stale_epoch(access.epoch));
    }
    let entry = Entry {
        epoch: Some(sent.message.epoch),
        sender: Some(sender),
        sent_at: sent.now,
        body: Some(&sent.body),
        digest: Some(sent.digest),
        ..Entry::default()
    };
    let place = log::append(tx, conversation, sent.kind, &entry)?;
    Ok(MessageAccepted { sequence: place.sequence, sent_at: sent.now })
}
