//! Asking who the members are.

use std::collections::BTreeMap;

use mls_rs::identity::SigningIdentity;
use tertulia_domain::ids::{DeviceAddress, UserId};

use super::{E2eiConversationState, WireIdentity, client_id_of, wire::status};
use crate::{
    ClientId, ClientIdPolicy, ConversationGuard, Result, loaded::Loaded, overlay::Overlay,
    session::ConversationView,
};

impl ConversationGuard<'_> {
    /// Who these members are, in the order of their leaves. Who is no member is left out.
    pub fn get_device_identities(&mut self, devices: &[ClientId]) -> Result<Vec<WireIdentity>> {
        let (config, overlay) = (self.config(), self.overlay()?.clone());
        device_identities(self.loaded()?, &overlay, &*config.client_id_policy, devices)
    }

    /// The public signature key of a member, in the form of the ciphersuite. None if the client is no member.
    pub fn signature_key_of(&mut self, client: &ClientId) -> Result<Option<Vec<u8>>> {
        let canonical = self.config().client_id_policy.canonical(client)?;
        let member = self.loaded()?.group.member_with_identity(canonical.as_bytes()).ok();
        Ok(member.map(|member| member.signing_identity.signature_key.to_vec()))
    }

    /// The devices of these users that are members, in the order of their leaves. A user without any is left out.
    pub fn get_user_identities(&mut self, users: &[UserId]) -> Result<BTreeMap<UserId, Vec<WireIdentity>>> {
        let overlay = self.overlay()?.clone();
        user_identities(self.loaded()?, &overlay, users)
    }

    /// Whether the members are vouched for.
    pub fn e2ei_conversation_state(&mut self) -> Result<E2eiConversationState> {
        let overlay = self.overlay()?.clone();
        state(self.loaded()?, &overlay)
    }
}

impl ConversationView {
    /// Who these members are, in the order of their leaves. Who is no member is left out.
    pub fn get_device_identities(&self, devices: &[ClientId]) -> Result<Vec<WireIdentity>> {
        device_identities(&self.loaded, &self.store, &*self.policy, devices)
    }

    /// The devices of these users that are members, in the order of their leaves. A user without any is left out.
    pub fn get_user_identities(&self, users: &[UserId]) -> Result<BTreeMap<UserId, Vec<WireIdentity>>> {
        user_identities(&self.loaded, &self.store, users)
    }

    /// Whether the members are vouched for.
    pub fn e2ei_conversation_state(&self) -> Result<E2eiConversationState> {
        state(&self.loaded, &self.store)
    }
}

fn device_identities(
    loaded: &Loaded,
    overlay: &Overlay,
    policy: &dyn ClientIdPolicy,
    devices: &[ClientId],
) -> Result<Vec<WireIdentity>> {
    let mut found = Vec::with_capacity(devices.len());
    for device in devices {
        let canonical = policy.canonical(device)?;
        found.extend(loaded.group.member_with_identity(canonical.as_bytes()).ok());
    }
    found.sort_unstable_by_key(|member| member.index);
    found.dedup_by_key(|member| member.index);
    found.iter().map(|member| WireIdentity::of(overlay, &member.signing_identity)).collect()
}

fn user_identities(
    loaded: &Loaded,
    overlay: &Overlay,
    users: &[UserId],
) -> Result<BTreeMap<UserId, Vec<WireIdentity>>> {
    let mut found = BTreeMap::<UserId, Vec<WireIdentity>>::new();
    for identity in members(loaded) {
        let client = client_id_of(&identity)?;
        if let Ok(address) = DeviceAddress::from_identity(client.as_bytes())
            && users.contains(&address.user)
        {
            found.entry(address.user).or_default().push(WireIdentity::of(overlay, &identity)?);
        }
    }
    Ok(found)
}

fn state(loaded: &Loaded, overlay: &Overlay) -> Result<E2eiConversationState> {
    let statuses = members(loaded).map(|identity| status(overlay, &identity)).collect::<Result<Vec<_>>>()?;
    Ok(E2eiConversationState::of(statuses))
}

fn members(loaded: &Loaded) -> impl Iterator<Item = SigningIdentity> {
    loaded.group.roster().members_iter().map(|member| member.signing_identity)
}
