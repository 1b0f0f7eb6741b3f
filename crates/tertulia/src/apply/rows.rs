//! What the hub describes, as rows of the home.

use tertulia_api::{
    connection::Connection,
    conversation::{Conversation, Member, SubconversationAddress},
    setting::{Setting, Settings},
};
use tertulia_domain::{ConversationId, ConversationName, GroupId, UserId};
use tertulia_store::{ConversationRecord, ConversationSettings, MemberRecord, StoreError, WriteTx};

/// Writes a connection as the hub describes it.
pub(crate) fn put_connection(w: &mut WriteTx<'_>, connection: &Connection) -> Result<(), StoreError> {
    put_user(w, connection.user, &connection.handle)?;
    w.put_connection(&tertulia_store::ConnectionRecord {
        user: connection.user,
        status: connection.status,
        conversation: connection.conversation,
        updated_at: connection.updated_at,
    })
}

/// Writes a conversation as the hub describes it now. What only this home knows of it stays: its name, what was read.
pub(crate) fn put_conversation(w: &mut WriteTx<'_>, conversation: &Conversation) -> Result<(), StoreError> {
    let is_new = w.put_conversation(&ConversationRecord {
        id: conversation.conversation,
        kind: conversation.kind,
        epoch: conversation.epoch,
        protocol: conversation.protocol,
        created_at: conversation.created_at,
    })?;
    if is_new {
        put_group(w, conversation)?;
        w.set_epoch(conversation.conversation, conversation.epoch)?;
    }
    put_description(w, conversation)
}

/// Writes what is told to members of a conversation as it changes, as it is now: its name, what is set, who is in it.
pub(super) fn put_description(w: &mut WriteTx<'_>, conversation: &Conversation) -> Result<(), StoreError> {
    put_public_name(w, conversation.conversation, conversation.name.as_deref())?;
    let Settings { message_timer, receipt_mode, add_permission, history } = conversation.settings;
    let settings = ConversationSettings { message_timer, receipt_mode, add_permission, history };
    w.put_conversation_settings(conversation.conversation, &settings, conversation.parent)?;
    w.set_creator(conversation.conversation, conversation.creator)?;
    let mut members = Vec::with_capacity(conversation.members.len());
    for member in &conversation.members {
        put_user_of(w, member)?;
        members.push(MemberRecord { user: member.user, role: member.role.clone() });
    }
    w.replace_members(conversation.conversation, &members)
}

/// Writes what a conversation that was not here before is carried by and belongs to.
fn put_group(w: &mut WriteTx<'_>, conversation: &Conversation) -> Result<(), StoreError> {
    let id = conversation.conversation;
    if let Some(group) = GroupId::from_bytes(conversation.group_id.as_ref()) {
        w.set_first_generation(id, group.generation)?;
    }
    // Its id says so itself; else it would be the hub's to say of any conversation that another's members can be in it.
    if let Some(SubconversationAddress { parent, name }) = &conversation.subconversation
        && ConversationId::subconversation(*parent, name) == id
    {
        w.set_parent(id, *parent, name)?;
        // This device takes part when it says so.
        w.set_active(id, false)?;
    }
    Ok(())
}

/// Writes a subconversation that this device is not in. Its group may have been begun anew, of which only those in it are
/// told.
pub(crate) fn put_subconversation(
    w: &mut WriteTx<'_>,
    conversation: &Conversation,
) -> Result<(), StoreError> {
    put_conversation(w, conversation)?;
    put_group(w, conversation)?;
    w.set_epoch(conversation.conversation, conversation.epoch)
}

/// Writes the name of a channel, if it is one: a hub's word is checked like anybody's.
pub(super) fn put_public_name(
    w: &mut WriteTx<'_>,
    channel: ConversationId,
    name: Option<&str>,
) -> Result<(), StoreError> {
    match name.and_then(|name| name.parse::<ConversationName>().ok()) {
        Some(name) => w.set_public_name(channel, name.as_str()),
        None => Ok(()),
    }
}

/// Writes who a member is.
pub(super) fn put_user_of(w: &mut WriteTx<'_>, member: &Member) -> Result<(), StoreError> {
    put_user(w, member.user, &member.handle)?;
    w.set_account_kind(member.user, member.kind)
}

/// Writes what is set otherwise from here on, in the epoch before `since`.
pub(super) fn put_setting(
    w: &mut WriteTx<'_>,
    conversation: ConversationId,
    setting: Setting,
    since: Option<u64>,
) -> Result<(), StoreError> {
    match setting {
        Setting::MessageTimer(timer) => w.set_message_timer(conversation, timer),
        Setting::ReceiptMode(mode) => w.set_receipt_mode(conversation, mode),
        Setting::AddPermission(permission) => w.set_add_permission(conversation, permission),
        Setting::History(history) => w.set_history(conversation, history, since),
    }
}

/// Writes a user's handle, if it is one: a hub's word is checked like anybody's.
pub(super) fn put_user(w: &mut WriteTx<'_>, user: UserId, handle: &str) -> Result<(), StoreError> {
    match handle.parse() {
        Ok(handle) => w.put_user(user, &handle),
        Err(_) => Ok(()),
    }
}
