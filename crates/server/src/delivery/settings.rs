//! What is set for all members of a conversation.

use super::{access, membership::are_roles_the_hubs, pairwise::wrong_protocol};
use crate::{
    error::ApiError,
    storage::{
        WriteTx, history,
        log::{self, Entry, Extra, Kind},
        settings,
    },
};
use tertulia_api::{Code, UserDevice, setting::Setting};
use tertulia_domain::{ConversationId, permission};

/// Sets something and tells all members. Doing so again changes nothing, and tells nobody.
pub(crate) fn change(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
    actor: UserDevice,
    setting: Setting,
    now: i64,
) -> Result<(), ApiError> {
    let access = access(tx, conversation, actor.user)?;
    let membership = Some(access.membership());
    match setting {
        Setting::MessageTimer(_) => permission::check_message_timer(membership.as_ref())?,
        Setting::ReceiptMode(_) => permission::check_receipt_mode(membership.as_ref())?,
        Setting::AddPermission(_) => {
            permission::check_add_permission(membership.as_ref())?;
            // What stands in the group's signed context, nobody changes but by a commit.
            if !are_roles_the_hubs(&access) || !access.protocol.sends_pairwise() {
                let detail =
                    "Who may add to this conversation stands in its MLS group, and is changed by a commit.";
                return Err(ApiError::new(Code::InvalidOperation, detail));
            }
        }
        Setting::History(_) => {
            permission::check_change_history(membership.as_ref())?;
            // A ratchet of two devices has nothing that a third could be given.
            if access.protocol.sends_pairwise() {
                return Err(wrong_protocol(&access));
            }
        }
    }
    if !settings::set(tx, conversation, setting)? {
        return Ok(());
    }
    let extra = Some(Extra::Setting { setting });
    let entry = Entry { sender: Some(actor), sent_at: now, extra, ..Entry::default() };
    let place = log::append(tx, conversation, Kind::Setting, &entry)?;
    if let Setting::History(shared) = setting {
        history::changed(tx, conversation, shared, place.position)?;
    }
    Ok(())
}
