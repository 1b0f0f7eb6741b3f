//! What is set for all members of a conversation.

use super::{execute, first, named};
use crate::{ReadTx, StoreError, WriteTx};
use tertulia_domain::{ConversationId, History, MessageTimer, ReceiptMode, UserId, policy::AddPermission};

/// What is set for all members of a conversation, as the hub says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConversationSettings {
    /// How long messages stay once they were read; for good if there is none.
    pub message_timer: Option<MessageTimer>,
    /// Whether the members tell the others what they have read.
    pub receipt_mode: ReceiptMode,
    /// Who may add members, unless a policy says it.
    pub add_permission: AddPermission,
    /// What those who come later may read.
    pub history: History,
}

impl ReadTx<'_> {
    /// What is set in a conversation; as by default for one that is not here.
    pub fn conversation_settings(&self, id: ConversationId) -> Result<ConversationSettings, StoreError> {
        let sql = "SELECT message_timer, receipt_mode, add_permission, history FROM conversations \
                   WHERE id = ?1 AND (kind IN ('group', 'channel') OR id IN (SELECT conversation FROM enveloped))";
        let settings = first(&self.tx, sql, [id.as_uuid()], |row| {
            let millis: Option<i64> = row.get(0)?;
            Ok(ConversationSettings {
                message_timer: millis.and_then(|millis| MessageTimer::try_from(millis.cast_unsigned()).ok()),
                receipt_mode: named(row, 1)?,
                add_permission: named(row, 2)?,
                history: named(row, 3)?,
            })
        })?;
        Ok(settings.unwrap_or_default())
    }

    /// What a conversation was made under.
    pub fn parent(&self, id: ConversationId) -> Result<Option<ConversationId>, StoreError> {
        let sql = "SELECT parent FROM conversations WHERE id = ?1";
        let parent = first(&self.tx, sql, [id.as_uuid()], |row| row.get::<_, Option<uuid::Uuid>>(0))?;
        Ok(parent.flatten().map(Into::into))
    }

    /// Who made a conversation, if it is one that somebody made.
    pub fn creator(&self, id: ConversationId) -> Result<Option<UserId>, StoreError> {
        let sql = "SELECT creator FROM conversations WHERE id = ?1";
        let creator = first(&self.tx, sql, [id.as_uuid()], |row| row.get::<_, Option<uuid::Uuid>>(0))?;
        Ok(creator.flatten().map(Into::into))
    }
}

impl WriteTx<'_> {
    /// Notes all that is set in a conversation, and what it was made under.
    pub fn put_conversation_settings(
        &mut self,
        id: ConversationId,
        settings: &ConversationSettings,
        parent: Option<ConversationId>,
    ) -> Result<(), StoreError> {
        self.set_message_timer(id, settings.message_timer)?;
        self.set_receipt_mode(id, settings.receipt_mode)?;
        self.set_add_permission(id, settings.add_permission)?;
        self.set_history(id, settings.history, None)?;
        let parent = parent.map(|parent| parent.as_uuid());
        execute(&self.tx, "UPDATE conversations SET parent = ?2 WHERE id = ?1", (id.as_uuid(), parent))
            .map(drop)
    }

    /// Notes who made a conversation.
    pub fn set_creator(&mut self, id: ConversationId, creator: Option<UserId>) -> Result<(), StoreError> {
        let creator = creator.map(|creator| creator.as_uuid());
        execute(&self.tx, "UPDATE conversations SET creator = ?2 WHERE id = ?1", (id.as_uuid(), creator))
            .map(drop)
    }

    /// Notes how long messages stay.
    pub fn set_message_timer(
        &mut self,
        id: ConversationId,
        timer: Option<MessageTimer>,
    ) -> Result<(), StoreError> {
        let millis = timer.map(|timer| timer.as_millis().cast_signed());
        let sql = "UPDATE conversations SET message_timer = ?2 WHERE id = ?1";
        execute(&self.tx, sql, (id.as_uuid(), millis)).map(drop)
    }

    /// Notes whether receipts are sent.
    pub fn set_receipt_mode(&mut self, id: ConversationId, mode: ReceiptMode) -> Result<(), StoreError> {
        let sql = "UPDATE conversations SET receipt_mode = ?2 WHERE id = ?1";
        execute(&self.tx, sql, (id.as_uuid(), mode.as_str())).map(drop)
    }

    /// Notes who may add members, as the hub says.
    pub fn set_add_permission(
        &mut self,
        id: ConversationId,
        permission: AddPermission,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE conversations SET add_permission = ?2 WHERE id = ?1";
        execute(&self.tx, sql, (id.as_uuid(), permission.as_str())).map(drop)
    }
}
