//! Reading what this home holds. None of it uses the network.

use crate::{
    Client, Conversation, Error, Frame, Member, Message, MessageQuery, OwnType, Result, SharedHistory,
    own_settings::flag, receipts::receipts,
};
use tertulia_api::policy::decode;
use tertulia_content::MimiContent;
use tertulia_conversation::types::TypeId;
use tertulia_domain::{
    AccountKind, ConversationId, ConversationType, Handle, OwnSetting, RoleName, Sequence, UserId,
};
use tertulia_store::{ConversationRow, HistoryMark, MessageRow, ReadTx};

#[allow(clippy::unused_async)] // an application need not know which calls wait
impl Client {
    /// The conversations that the user has not [hidden](Self::set_hidden), the oldest first.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn conversations(&self) -> Result<Vec<Conversation>> {
        let all = self.all_conversations().await?;
        Ok(all.into_iter().filter(|conversation| conversation.hidden.is_none()).collect())
    }

    /// All conversations, the hidden ones too, the oldest first.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn all_conversations(&self) -> Result<Vec<Conversation>> {
        self.expire_now().await?;
        self.inner().store.read(|r| {
            let rows = r.conversations()?;
            let listed = rows.into_iter().filter(|row| {
                let kind = row.record.kind;
                kind != ConversationType::SelfConversation && kind != ConversationType::Subconversation
            });
            listed.map(|row| self.describe(r, row)).collect()
        })
    }

    /// One conversation.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTarget`].
    pub async fn conversation(&self, id: ConversationId) -> Result<Conversation> {
        self.expire_now().await?;
        self.inner().store.read(|r| match r.conversation(id)? {
            Some(row) => self.describe(r, row),
            None => Err(Error::UnknownTarget { target: id.to_string() }),
        })
    }

    /// The conversation meant by `@handle`, an id, or a name that only one has.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTarget`], [`Error::AmbiguousTarget`], [`Error::NotConnected`].
    pub async fn find(&self, target: &str) -> Result<ConversationId> {
        self.inner().store.read(|r| {
            if let Some(handle) = target.strip_prefix('@') {
                let handle: Handle = handle.parse()?;
                let connection = match r.user_by_handle(&handle)? {
                    Some(user) => r.connection(user)?,
                    None => None,
                };
                return connection
                    .map(|connection| connection.conversation)
                    .ok_or(Error::NotConnected { handle });
            }
            if let Ok(id) = target.parse()
                && r.conversation(id)?.is_some()
            {
                return Ok(id);
            }
            match r.conversations_named(target)?[..] {
                [id] => Ok(id),
                [] => Err(Error::UnknownTarget { target: target.to_owned() }),
                ref several => {
                    Err(Error::AmbiguousTarget { target: target.to_owned(), count: several.len() })
                }
            }
        })
    }

    /// Texts of a conversation, or the frames of one of the application's own type, oldest first. Those whose time is over are deleted before.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn messages(&self, id: ConversationId, query: MessageQuery) -> Result<Vec<Message>> {
        self.expire_now().await?;
        self.inner().store.read(|r| {
            let rows = r.messages(id, query.after.map(Sequence::new), query.limit)?;
            rows.into_iter().map(|row| message(r, row)).collect()
        })
    }

    /// The epoch of the conversation's MLS group on this device (RFC 9420 §8).
    ///
    /// # Errors
    ///
    /// [`Error::NotAMember`] when this device is not in the group.
    pub async fn epoch(&self, id: ConversationId) -> Result<u64> {
        let id = self.carried_by(id)?.map_or(id, |carried| carried.conversation);
        let group = self.group_of(id)?;
        if !self.inner().session.conversation_exists(&group)? {
            return Err(Error::NotAMember { conversation: id });
        }
        Ok(self.inner().session.conversation(&group)?.epoch())
    }

    fn describe(&self, r: &ReadTx<'_>, row: ConversationRow) -> Result<Conversation> {
        let id = row.record.id;
        let mut members = Vec::new();
        for (user, role) in members_of(r, &row)? {
            // All of them, for a hub can leave somebody without a handle.
            let (handle, kind) = (self.handle_of(r, user)?, self.kind_of(r, user)?);
            members.push(Member { user, handle, role, kind });
        }
        members.sort_by(|a, b| (a.handle.is_none(), &a.handle).cmp(&(b.handle.is_none(), &b.handle)));
        let settings = r.conversation_settings(id)?;
        let policy = decode(row.policy.as_deref()).ok();
        let own = r.own_settings(id)?;
        let name = match row.record.kind {
            ConversationType::OneToOne | ConversationType::Connection => {
                let connection = r.connection_of(id)?;
                let handle = connection.map(|connection| r.handle(connection.user)).transpose()?.flatten();
                handle.map(|handle| format!("@{handle}"))
            }
            _ => row.name,
        };
        Ok(Conversation {
            id,
            kind: row.record.kind,
            name,
            members,
            unread: row.unread,
            protocol: row.record.protocol,
            active: row.active,
            message_timer: settings.message_timer,
            receipt_mode: settings.receipt_mode,
            add_permission: policy.map_or(settings.add_permission, |policy| policy.add_permission()),
            history: settings.history,
            creator: match r.creator(id)? {
                Some(creator) => self.handle_of(r, creator)?,
                None => None,
            },
            parent: r.parent(id)?,
            own_type: r.own_type(id)?.map(|own| {
                let id = TypeId::new(own.conversation_type);
                OwnType { id, title: self.types().get(id).map(|known| known.descriptor.title) }
            }),
            muted: flag(&own, OwnSetting::Muted),
            archived: flag(&own, OwnSetting::Archived),
            hidden: flag(&own, OwnSetting::Hidden),
        })
    }

    fn kind_of(&self, r: &ReadTx<'_>, user: UserId) -> Result<AccountKind> {
        if user == self.me().user { Ok(self.me().kind) } else { Ok(r.account_kind(user)?) }
    }

    fn handle_of(&self, r: &ReadTx<'_>, user: UserId) -> Result<Option<Handle>> {
        if user == self.me().user { Ok(Some(self.me().handle.clone())) } else { Ok(r.handle(user)?) }
    }
}

/// The members: as the policy of the group says, which all members have, or else as the hub says.
fn members_of(r: &ReadTx<'_>, row: &ConversationRow) -> Result<Vec<(UserId, RoleName)>> {
    if let Ok(policy) = decode(row.policy.as_deref()) {
        return Ok(policy.members().map(|(user, role)| (user, role.clone())).collect());
    }
    let members = r.members(row.record.id)?;
    Ok(members.into_iter().map(|member| (member.user, member.role)).collect())
}

fn shared_history(r: &ReadTx<'_>, mark: HistoryMark) -> Result<SharedHistory> {
    let HistoryMark { verified, shared_by, .. } = mark;
    let handle = shared_by.map(|user| r.handle(user)).transpose()?.flatten();
    Ok(SharedHistory { verified, shared_by, handle })
}

/// The frame in a message, if it has one.
fn frame(content: &[u8]) -> Option<Frame> {
    let content = MimiContent::decode(content).ok()?;
    content.as_frame().map(|(of, bytes)| Frame { of: TypeId::new(of), bytes: bytes.to_vec() })
}

pub(crate) fn message(r: &ReadTx<'_>, row: MessageRow) -> Result<Message> {
    Ok(Message {
        conversation: row.conversation,
        from: r.handle(row.sender)?,
        user: row.sender,
        device: row.sender_device,
        sequence: row.sequence.get(),
        sent_at: row.sent_at,
        expires_at: row.expires_at,
        receipts: receipts(r, row.conversation, &row.message_id)?,
        history: row.history.map(|mark| shared_history(r, mark)).transpose()?,
        frame: row.content.as_deref().and_then(frame),
        text: row.text,
    })
}
