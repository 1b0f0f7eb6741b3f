//! Conversations that are deleted for all.

use super::{access, subconversations};
use crate::{
    error::ApiError,
    storage::{
        self, WriteTx, conversations, ended,
        log::{self, Entry, Kind},
    },
};
use tertulia_api::UserDevice;
use tertulia_domain::{ConversationId, permission};

/// Ends a conversation for all its members. Its devices still read its log up to here, and nobody reads anything later; links,
/// group and subconversations are no more. The log goes when every device has read that, some of it at a time.
pub(crate) fn delete(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
    actor: UserDevice,
    now: i64,
) -> Result<(), ApiError> {
    let access = access(tx, conversation, actor.user)?;
    permission::check_delete(Some(&access.membership()))?;
    let entry = Entry { sender: Some(actor), sent_at: now, ..Entry::default() };
    let place = log::append(tx, conversation, Kind::Deleted, &entry)?;
    for sub in storage::subconversations::of_parent(tx, conversation)? {
        subconversations::empty(tx, sub)?;
    }
    conversations::end_members(tx, conversation, place.position)?;
    ended::end(tx, conversation, now)
}
