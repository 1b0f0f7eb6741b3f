//! Channels: groups whose name and existence the whole team sees.

use crate::{Channel, Client, Conversation, Error, GroupOptions, Result};
use tertulia_domain::{ConversationType, Handle};

impl Client {
    /// Makes a channel of the user's team with these members: a group whose **name is not encrypted**. The hub and the whole
    /// team see the name, and how many members there are. Messages are encrypted as in a group.
    ///
    /// Everything that is done with groups is done with channels by the same calls.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidName`], and what the hub refuses: `no-team`, `action-denied` to who is neither owner nor admin of the
    /// team, `team-limit`, and as for [`create_group_with`](Self::create_group_with).
    pub async fn create_channel(
        &self,
        name: &str,
        members: &[Handle],
        options: GroupOptions,
    ) -> Result<Conversation> {
        self.create_managed(name, members, options, (ConversationType::Channel, None)).await
    }

    /// All channels of the user's team, the oldest first, whether the user is in them or not.
    ///
    /// # Errors
    ///
    /// What the hub refuses: `no-team`.
    pub async fn channels(&self) -> Result<Vec<Channel>> {
        let hub = self.hub()?;
        let channels = hub.channels(hub.team().await?.team).await?.channels;
        let read = |channel: tertulia_api::team::Channel| {
            let id = channel.conversation;
            let row = self.inner().store.read(|r| r.conversation(id))?;
            Ok(Channel {
                id,
                name: channel.name.parse().map_err(|_| UNREADABLE)?,
                members: channel.members,
                created_at: channel.created_at,
                joined: row.is_some_and(|row| row.active),
            })
        };
        channels.into_iter().map(read).collect()
    }
}

const UNREADABLE: Error = Error::UntrustworthyHub { what: "a channel's name is none" };
