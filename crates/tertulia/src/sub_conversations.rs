//! Subconversations: groups of the devices that take part in something, such as a call.

use crate::{Client, Error, Result, SubMember, SyncReport};
use std::collections::BTreeSet;
use tertulia_api::{
    Code, UserDevice,
    conversation::{Conversation, GroupReset},
    setting::Settings,
};
use tertulia_domain::{
    ConversationId, ConversationType, DeviceAddress, DeviceId, Handshake, Protocol, SubconversationName,
    UserId,
};
use zeroize::Zeroizing;

/// A subconversation as this device sees it. Made by [`Client::sub_conversation`].
///
/// It is an MLS group of its own under a group or a 1:1. Each device joins and leaves it for itself; a device that leaves
/// the parent, or is removed from it, leaves this too. Its id can be sent to like that of any conversation.
#[derive(Debug, Clone)]
pub struct SubConversation {
    client: Client,
    id: ConversationId,
    parent: ConversationId,
    name: SubconversationName,
}

/// A subconversation that devices are in.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ListedSubConversation {
    /// The subconversation.
    pub sub_conversation: SubConversation,
    /// The devices in it, as the hub says. Who is in it knows better: [`SubConversation::members`].
    pub devices: Vec<SubMember>,
}

impl Client {
    /// The subconversation of this name under `parent`, whether or not anybody is in it. Does not use the network.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSubconversationName`]; [`Error::UnknownTarget`] if the parent is not known here.
    pub fn sub_conversation(&self, parent: ConversationId, name: &str) -> Result<SubConversation> {
        let name: SubconversationName = name.parse()?;
        if self.inner().store.read(|r| r.conversation(parent))?.is_none() {
            return Err(Error::UnknownTarget { target: parent.to_string() });
        }
        let id = ConversationId::subconversation(parent, &name);
        Ok(SubConversation { client: self.clone(), id, parent, name })
    }

    /// The subconversations of a conversation that devices are in, as the hub lists them.
    ///
    /// # Errors
    ///
    /// What the hub refuses: `invalid-operation`, `no-conversation`.
    pub async fn sub_conversations(&self, parent: ConversationId) -> Result<Vec<ListedSubConversation>> {
        let mut listed = Vec::new();
        for shown in self.hub()?.subconversations(parent).await?.subconversations {
            let name = shown.address.name;
            let id = ConversationId::subconversation(parent, &name);
            let mut devices = Vec::with_capacity(shown.devices.len());
            for UserDevice { user, device } in shown.devices {
                devices.push(self.sub_member(user, device)?);
            }
            let sub_conversation = SubConversation { client: self.clone(), id, parent, name };
            listed.push(ListedSubConversation { sub_conversation, devices });
        }
        Ok(listed)
    }

    fn sub_member(&self, user: UserId, device: DeviceId) -> Result<SubMember> {
        let handle = if user == self.me().user {
            Some(self.me().handle.clone())
        } else {
            self.inner().store.read(|r| r.handle(user))?
        };
        Ok(SubMember { user, device, handle })
    }
}

impl SubConversation {
    /// Its id as a conversation, which follows from the parent and the name.
    pub const fn id(&self) -> ConversationId {
        self.id
    }

    /// The conversation that it belongs to.
    pub const fn parent(&self) -> ConversationId {
        self.parent
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// Joins it with this device: the first device makes the group, the others join by external commit.
    ///
    /// # Errors
    ///
    /// What the hub refuses: `parent-not-joined`, `invalid-operation`, `not-connected`, `subconversation-limit`,
    /// `no-conversation`.
    pub async fn join(&self) -> Result<()> {
        // The hub wants this device in the parent's group first.
        self.client.ready(self.parent).await?;
        let opened = self.client.hub()?.open_subconversation(self.parent, &self.name).await?;
        if opened.conversation != self.id {
            return Err(Error::UntrustworthyHub { what: "a subconversation has another id" });
        }
        let id = self.id;
        let described = Conversation {
            conversation: id,
            kind: ConversationType::Subconversation,
            settings: Settings::default(),
            parent: None,
            members: Vec::new(),
            group_id: opened.group_id,
            epoch: opened.epoch,
            protocol: Protocol::Mls,
            created_at: crate::client::now(),
            creator: None,
            subconversation: Some(opened.address),
            team: None,
            access: BTreeSet::new(),
            access_roles: BTreeSet::new(),
            name: None,
            roles: Vec::new(),
            handshake: Handshake::Plaintext, // of no matter here: the hub says it when the group is begun
        };
        let mut tx = self.client.inner().session.new_transaction().await?;
        tx.store_write(move |w| {
            crate::apply::put_subconversation(w, &described)?;
            w.set_active(id, true)
        })?;
        tx.finish().await?;
        self.client.ready(id).await?;
        self.client.catch_up(&mut SyncReport::default()).await
    }

    /// Leaves it with this device, whose keys of it go. The others are asked by the hub to remove the device.
    ///
    /// # Errors
    ///
    /// Those of a request to the hub, and `no-conversation`.
    pub async fn leave(&self) -> Result<()> {
        match self.client.hub()?.leave_subconversation(self.parent, &self.name).await {
            // Who is not in the parent is not in this.
            Err(error) if error.hub_code() == Some(Code::NoConversation) => {}
            answer => answer?,
        }
        // What the hub has still to tell of it comes first: a reset by whoever was the last, for one.
        self.client.catch_up(&mut SyncReport::default()).await?;
        self.client.forget(self.id).await
    }

    /// Ends it for everybody: the next who joins begins a new group. In a group it takes the right to delete the group.
    ///
    /// # Errors
    ///
    /// What the hub refuses: `action-denied`, `parent-not-joined`, `no-conversation`, and `stale-epoch` when it has changed
    /// at this moment.
    pub async fn delete(&self) -> Result<()> {
        let hub = self.client.hub()?;
        let shown = hub.subconversation(self.parent, &self.name).await?;
        if shown.epoch > 0 {
            let group = GroupReset { group_id: shown.group_id, epoch: shown.epoch };
            hub.delete_subconversation(self.parent, &self.name, &group).await?;
        }
        self.client.catch_up(&mut SyncReport::default()).await
    }

    /// Whether this device is in it.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub fn is_joined(&self) -> Result<bool> {
        let row = self.client.inner().store.read(|r| r.conversation(self.id))?;
        let active = row.is_some_and(|row| row.active);
        Ok(active && self.client.inner().session.conversation_exists(&self.client.group_of(self.id)?)?)
    }

    /// The devices in it. They are those of the MLS group, which prove who they are, and not those that the hub names.
    ///
    /// # Errors
    ///
    /// [`Error::NotAMember`] when this device is not in it.
    pub fn members(&self) -> Result<Vec<SubMember>> {
        let view = self.view()?;
        let mut members = Vec::new();
        for identity in view.client_ids()? {
            let Ok(address) = DeviceAddress::from_identity(identity.as_bytes()) else { continue };
            members.push(self.client.sub_member(address.user, address.device)?);
        }
        Ok(members)
    }

    /// A secret of `length` bytes that all devices in it share in this epoch, to encrypt media with, say. One key for each
    /// purpose: the same call gives the same key until the epoch changes.
    ///
    /// # Errors
    ///
    /// [`Error::NotAMember`] when this device is not in it, and the engine's if the length is not one that the exporter can
    /// give.
    pub fn export_secret(&self, length: usize) -> Result<Zeroizing<Vec<u8>>> {
        Ok(self.view()?.export_secret_key(length)?)
    }

    /// The epoch of its group on this device.
    ///
    /// # Errors
    ///
    /// [`Error::NotAMember`] when this device is not in it.
    pub fn epoch(&self) -> Result<u64> {
        Ok(self.view()?.epoch())
    }

    fn view(&self) -> Result<tertulia_mls::ConversationView> {
        if !self.is_joined()? {
            return Err(Error::NotAMember { conversation: self.id });
        }
        Ok(self.client.inner().session.conversation(&self.client.group_of(self.id)?)?)
    }
}
