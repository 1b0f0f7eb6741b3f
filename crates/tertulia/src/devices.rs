//! This device at the hub: its registration, its key packages, and its siblings.

use crate::{Client, Device, Error, Result, client::now, todo::Todo};
use tertulia_api::account::{KeyPackageUpload, NewDevice};
use tertulia_domain::{DeviceId, limits::KEY_PACKAGES_LOW};
use tertulia_mls::{CredentialRef, TransactionContext};
use tertulia_store::Setting;
use tertulia_transport::Hub;

/// How many key packages a device keeps at the hub. Each lets somebody add the device once.
const KEY_PACKAGES: usize = 50;
/// After so many milliseconds all of them are renewed, the last-resort one too: 30 days of the 84 that they live.
const RENEWAL_MS: i64 = 30 * 24 * 60 * 60 * 1000;

impl Client {
    /// The user's devices, as the hub knows them.
    ///
    /// # Errors
    ///
    /// Those of a request to the hub.
    pub async fn devices(&self) -> Result<Vec<Device>> {
        let devices = self.hub()?.devices().await?.devices;
        let current = self.inner().me.device;
        Ok(devices
            .into_iter()
            .map(|device| Device {
                current: device.device == current,
                device: device.device,
                label: device.label,
                created_at: device.created_at,
            })
            .collect())
    }

    /// Removes a device from the account, this one or another. Its sessions end, nothing is delivered to it any more, and the
    /// hub proposes to remove it from all conversations; what its home holds stays there.
    ///
    /// # Errors
    ///
    /// What the hub refuses: `invalid-credentials`, `not-found`, `rate-limited`.
    pub async fn remove_device(&self, device: DeviceId, password: &str) -> Result<()> {
        Ok(self.hub()?.remove_device(device, password).await?)
    }

    /// Makes a new session that of this device, which the hub knows already.
    pub(crate) async fn resume(&self, hub: &Hub) -> Result<()> {
        let mut tx = self.inner().session.new_transaction().await?;
        let credential = self.own_credential(&tx)?;
        tx.abort();
        let label = self.inner().store.read(|r| r.setting(Setting::Label))?.unwrap_or_default();
        let device = NewDevice {
            device: self.inner().me.device,
            label,
            signature_key: credential.public_key().to_vec().into(),
            key_packages: Vec::new(),
            last_resort: None,
        };
        hub.register_device(&device).await?;
        Ok(())
    }

    /// Registers this device with the hub, unless that is done. A home whose sign-up was interrupted catches up here.
    pub(crate) async fn complete_registration(&self) -> Result<()> {
        if self.inner().store.read(|r| r.setting(Setting::HubKey))?.is_some() {
            return Ok(());
        }
        // It may have been interrupted just after the hub knew the device.
        if self.hub()?.me().await?.device != Some(self.inner().me.device) {
            self.register().await?;
        }
        self.take_stock().await?;
        let several = self.hub()?.devices().await?.devices.len() > 1;
        let hub_key = hex::encode(self.hub()?.keys().await?.external_sender.as_ref());
        let mut tx = self.inner().session.new_transaction().await?;
        tx.store_write(move |w| {
            w.put_setting(Setting::KeyPackagesMadeAt, &now().to_string())?;
            w.put_setting(Setting::HubKey, &hub_key)
        })?;
        Todo { own_devices: several, ..Todo::default() }.add_to(&mut tx)?;
        Ok(tx.finish().await?)
    }

    async fn register(&self) -> Result<()> {
        let mut tx = self.inner().session.new_transaction().await?;
        let credential = self.own_credential(&tx)?;
        let key_packages = tx.generate_key_packages(&credential, KEY_PACKAGES, None)?;
        let last_resort = tx.generate_last_resort_key_package(&credential)?;
        let label = self.inner().store.read(|r| r.setting(Setting::Label))?.unwrap_or_default();
        tx.finish().await?;
        let device = NewDevice {
            device: self.inner().me.device,
            label,
            signature_key: credential.public_key().to_vec().into(),
            key_packages: key_packages.into_iter().map(|package| package.into_bytes().into()).collect(),
            last_resort: Some(last_resort.into_bytes().into()),
        };
        self.hub()?.register_device(&device).await?;
        Ok(())
    }

    /// Takes over the connections and conversations that the user has already.
    async fn take_stock(&self) -> Result<()> {
        let people = self.fetch_people().await?;
        let conversations = self.hub()?.conversations().await?.conversations;
        let mut tx = self.inner().session.new_transaction().await?;
        self.take_over(&mut tx, people)?;
        tx.store_write(move |w| {
            for conversation in &conversations {
                crate::apply::put_conversation(w, conversation)?;
            }
            Ok(())
        })?;
        tx.finish().await?;
        Ok(())
    }

    /// Uploads fresh key packages when some were used, and from time to time, because they expire.
    pub(crate) async fn renew_key_packages(&self, some_used: bool) -> Result<()> {
        let made_at = self.inner().store.read(|r| r.setting(Setting::KeyPackagesMadeAt))?;
        let age = now().saturating_sub(made_at.and_then(|made_at| made_at.parse().ok()).unwrap_or_default());
        let aged = age > RENEWAL_MS;
        if !some_used && !aged {
            return Ok(());
        }
        let count = if aged { 0 } else { self.hub()?.key_package_count().await?.count };
        if count >= KEY_PACKAGES_LOW {
            return Ok(());
        }
        let mut tx = self.inner().session.new_transaction().await?;
        let credential = self.own_credential(&tx)?;
        tx.prune_key_packages()?;
        let fresh = tx.generate_key_packages(&credential, KEY_PACKAGES - count as usize, None)?;
        let last_resort = if aged { Some(tx.generate_last_resort_key_package(&credential)?) } else { None };
        tx.finish().await?;
        let upload = KeyPackageUpload {
            key_packages: fresh.into_iter().map(|package| package.into_bytes().into()).collect(),
            last_resort: last_resort.map(|package| package.into_bytes().into()),
        };
        if aged {
            // In place of the old ones, which expire before long.
            self.hub()?.replace_key_packages(&upload).await?;
        } else {
            self.hub()?.upload_key_packages(&upload).await?;
        }
        if aged {
            let mut tx = self.inner().session.new_transaction().await?;
            tx.store_write(|w| w.put_setting(Setting::KeyPackagesMadeAt, &now().to_string()))?;
            tx.finish().await?;
        }
        Ok(())
    }

    pub(crate) fn own_credential(&self, tx: &TransactionContext) -> Result<CredentialRef> {
        let identity = self.own_address().to_identity();
        tx.find_credentials()?
            .into_iter()
            .find(|credential| credential.client_id().as_bytes() == identity)
            .ok_or(Error::NotSignedIn)
    }
}
