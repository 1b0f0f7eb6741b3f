//! Key packages of those who are to be added.

use crate::{Client, Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use tertulia_api::account::ClaimedKeyPackage;
use tertulia_domain::{ConversationId, DeviceAddress, UserId};
use tertulia_mls::{ClientId, KeyPackage};

/// How many users' key packages are claimed in one request.
const CLAIM: usize = 100;

/// Key packages that were claimed and not used yet, by device.
#[derive(Debug, Default)]
pub(super) struct Claimed(pub(super) BTreeMap<DeviceAddress, KeyPackage>);

impl Client {
    /// Those of the users who have no device in the group yet. Devices of members join by themselves.
    pub(super) fn absent(&self, conversation: ConversationId, users: &[UserId]) -> Result<Vec<UserId>> {
        let view = self.inner().session.conversation(&self.group_of(conversation)?)?;
        let present: BTreeSet<UserId> = view
            .client_ids()?
            .iter()
            .filter_map(|client| DeviceAddress::from_identity(client.as_bytes()).ok())
            .map(|address| address.user)
            .collect();
        Ok(users.iter().copied().filter(|user| !present.contains(user)).collect())
    }

    /// Claims key packages of the users' devices that none was claimed of yet, from the hub, or where no hub carries the conversation from their bundles.
    /// Every other user has one at least.
    pub(super) async fn claim(
        &self,
        conversation: ConversationId,
        users: &[UserId],
        claimed: &mut Claimed,
    ) -> Result<()> {
        let wanted: Vec<UserId> = users
            .iter()
            .copied()
            .filter(|user| !claimed.0.keys().any(|device| device.user == *user))
            .collect();
        self.check_size(conversation, &wanted)?;
        if self.is_enveloped(conversation)? {
            for user in wanted {
                let package = self.key_package_of(user)?;
                let address = DeviceAddress::from_identity(package.client_id().as_bytes())
                    .map_err(|_| Error::NoDevices { handle: None })?;
                claimed.0.insert(address, package);
            }
            return Ok(());
        }
        for some in wanted.chunks(CLAIM) {
            for package in self.hub()?.claim_key_packages(some.to_vec()).await?.key_packages {
                let ClaimedKeyPackage { user, device, key_package } = package;
                let address = DeviceAddress::new(user, device, self.me().domain.clone());
                let key_package = KeyPackage::from_bytes(key_package.as_ref())?;
                if *key_package.client_id() != ClientId::from(address.to_identity()) {
                    return Err(Error::UntrustworthyHub { what: "a key package is not the named device's" });
                }
                claimed.0.insert(address, key_package);
            }
        }
        let me = self.me().user;
        match wanted.iter().find(|user| **user != me && !claimed.0.keys().any(|device| device.user == **user))
        {
            None => Ok(()),
            Some(user) => Err(Error::NoDevices { handle: self.inner().store.read(|r| r.handle(*user))? }),
        }
    }
}
