//! What a home without an account shows of itself, so that strangers can write: its bundle.

use super::Work;
use crate::{Client, Result};
use tertulia_conversation::inbox::{
    Bundle, BundleContent, BundleDevice, BundleKey, IdentityKey, InboxKey, Signer as _,
};
use tertulia_mls::KeyPackage;
use tertulia_store::InboxKeyRecord;

/// How long a bundle is valid, in seconds: 14 days. So long its fallback key can be used at least, however old it was when the bundle was made.
pub(crate) const BUNDLE_LIFETIME: u64 = tertulia_ratchet::BUNDLE_LIFETIME.unsigned_abs() / 1000;
/// After so many seconds there is a new inbox key for new bundles: 14 days.
const INBOX_KEY_AGE: u64 = 14 * 24 * 60 * 60;

impl Client {
    /// What to show so that others can write to this home, to as many as one likes: on paper, as a QR code, on a page. Its text begins with
    /// `tertulia_intro_1_`, and is taken by [`meet`](Self::meet) for 14 days. Uses no network.
    ///
    /// # Errors
    ///
    /// [`Error::HasAccount`](crate::Error::HasAccount), and those of the store.
    pub async fn intro(&self) -> Result<Bundle> {
        self.make_intro(0).await
    }

    /// The same for one person. It has a key that is used once: what is written to begin with cannot be read any more by who later steals this home's keys,
    /// and only the first who uses it can be [accepted](Self::accept).
    ///
    /// # Errors
    ///
    /// As [`intro`](Self::intro).
    pub async fn intro_for_one(&self) -> Result<Bundle> {
        self.make_intro(1).await
    }

    async fn make_intro(&self, one_time_keys: usize) -> Result<Bundle> {
        let identity = self.identity()?;
        let mut work = Work::begin(self).await?;
        let bundle = own_bundle(&mut work, &identity, one_time_keys)?;
        work.finish().await?;
        Ok(bundle)
    }
}

/// This home's bundle as of now, with so many new one-time keys.
pub(crate) fn own_bundle(
    work: &mut Work<'_>,
    identity: &IdentityKey,
    one_time_keys: usize,
) -> Result<Bundle> {
    let now = work.now_in_seconds();
    let expires = now + BUNDLE_LIFETIME;
    let inbox = inbox_key(work, now, expires)?;
    let client = work.client;
    let (signer, ratchet, time) = work.signer_and_ratchet()?;
    let keys = ratchet.bundle_keys(one_time_keys, &signer, time)?;
    let sign = |key: &[u8; 32]| BundleKey::sign(*key, &keys.identity_key, &signer);
    let device = BundleDevice {
        signature_key: tertulia_conversation::inbox::Signer::public_key(&signer),
        inbox_key: InboxKey::from_secret(*inbox.secret).public(),
        ratchet_key: keys.identity_key,
        one_time_keys: keys.one_time_keys.iter().map(sign).collect::<Result<_, _>>()?,
        fallback_key: sign(&keys.fallback_key)?,
        key_package: inbox.key_package,
    };
    let content = BundleContent { identity_key: identity.public_key(), expires, devices: vec![device] };
    tracing::debug!(user = %client.me().user.short(), one_time_keys, "a bundle was made");
    Ok(Bundle::sign(&content, identity)?)
}

/// Whether a key of the inbox, with its key package, was made since the store was last restored or copied.
pub(super) fn is_new(work: &Work<'_>, key: &InboxKeyRecord) -> Result<bool> {
    let Ok(key_package) = KeyPackage::from_bytes(&key.key_package) else { return Ok(false) };
    Ok(work.tx.is_key_package_new(key_package.reference())?)
}

/// The key that invitations to this home are encrypted to, with the key package beside it: of some days, or new.
fn inbox_key(work: &mut Work<'_>, now: u64, expires: u64) -> Result<InboxKeyRecord> {
    if let Some(new) = &work.new_inbox_key {
        return Ok(new.clone());
    }
    let newest = work.client.inner().store.read(|r| r.inbox_keys())?.into_iter().next();
    let newest = newest.filter(|key| now.saturating_sub(key.since) < INBOX_KEY_AGE);
    // What a copy of this home has shown is not shown again: both could be let in by it, and with the same hints.
    if let Some(newest) = newest
        && is_new(work, &newest)?
    {
        work.write(move |w| w.extend_inbox_key(expires))?;
        return Ok(newest);
    }
    let credential = work.client.own_credential(&work.tx)?;
    work.tx.prune_key_packages()?;
    // Whoever has the bundle can use it, so it is good for more than one group.
    let key_package = work.tx.generate_last_resort_key_package(&credential)?.into_bytes();
    let secret = InboxKey::generate(&mut rand::rng()).secret().clone();
    let key = InboxKeyRecord { secret, since: now, until: expires, key_package };
    let new = key.clone();
    work.new_inbox_key = Some(key.clone());
    work.write(move |w| {
        w.delete_old_inbox_keys(now)?;
        w.add_inbox_key(&new)
    })?;
    Ok(key)
}
