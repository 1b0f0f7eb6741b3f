//! This device's own keys: one identity key for good, one-time keys, and a fallback key with the one before it.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use serde::{Deserialize, Serialize};
use tertulia_domain::{
    DeviceAddress,
    pairwise::{KEY_LABEL, SignedKey, key_statement},
};
use tertulia_store::PairwiseAccountRecord;
use vodozemac::{
    KeyId,
    olm::{Account, AccountPickle},
};

use crate::{
    BundleKeys, FallbackKey, KeyUpload, OneTimeKey, RatchetError, Result,
    keys::OwnIdentity,
    stored::{from_bytes, to_bytes},
};

/// After so many milliseconds a new fallback key is made for a hub: seven days. The one before it still opens what others began with
/// it, so a session that began with a fallback key has no forward secrecy for up to twice as long.
const FALLBACK_AGE: i64 = 7 * 24 * 60 * 60 * 1000;
/// For how long a bundle may be valid at most, in milliseconds: 14 days. A fallback key goes into new bundles for as long, and as the one before it opens for as
/// long again what others begin with it. So it can be used for as long as any bundle that it stands in is valid.
pub const BUNDLE_LIFETIME: i64 = 14 * 24 * 60 * 60 * 1000;

const WHAT: &str = "keys of this device";

/// Signs with the device's signature key, the one of its MLS credential.
pub trait Signer {
    /// The public key, Ed25519.
    fn public_key(&self) -> [u8; 32];

    /// The signature of [`sign_content`](tertulia_domain::signing::sign_content) with this label and content.
    fn sign(&self, label: &str, content: &[u8])
    -> Result<[u8; 64], Box<dyn std::error::Error + Send + Sync>>;
}

/// The keys, opened.
pub(crate) struct OwnAccount {
    pub(crate) identity: OwnIdentity,
    pub(crate) account: Account,
    incarnation: u64,
    fallback_since: i64,
    /// The fallback key that stands in bundles, which the library does not tell once it was given out.
    in_bundles: Option<[u8; 32]>,
}

/// As they are stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    identity: OwnIdentity,
    account: AccountPickle,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    in_bundles: Option<[u8; 32]>,
}

impl OwnAccount {
    /// New keys for this device.
    pub(crate) fn create(own: &DeviceAddress, signer: &dyn Signer, incarnation: u64) -> Result<Self> {
        let account = Account::new();
        let key = account.curve25519_key().to_bytes();
        let signature = sign(signer, own, &key, SignedKey::Identity)?;
        let identity = OwnIdentity { signature_key: signer.public_key(), signature };
        Ok(Self { identity, account, incarnation, fallback_since: 0, in_bundles: None })
    }

    pub(crate) fn open(record: &PairwiseAccountRecord) -> Result<Self> {
        let Stored { identity, account, in_bundles } = from_bytes(&record.state, WHAT)?;
        let account = Account::from_pickle(account);
        let PairwiseAccountRecord { incarnation, fallback_since, .. } = *record;
        Ok(Self { identity, account, incarnation, fallback_since, in_bundles })
    }

    pub(crate) fn close(self) -> Result<PairwiseAccountRecord> {
        let Self { identity, account, incarnation, fallback_since, in_bundles } = self;
        let state = to_bytes(&Stored { identity, account: account.pickle(), in_bundles }, WHAT)?;
        Ok(PairwiseAccountRecord { incarnation, fallback_since, state })
    }

    /// Makes what is to be uploaded: one-time keys, so that there are `target` where there are `at_hub`, and a fallback key where
    /// the last one is old. What was made before and is not known to have been uploaded is taken first.
    pub(crate) fn prepare(
        &mut self,
        own: &DeviceAddress,
        signer: &dyn Signer,
        (target, at_hub): (usize, usize),
        incarnation: u64,
        now: i64,
    ) -> Result<KeyUpload> {
        let mut wanted = target.saturating_sub(at_hub);
        if self.incarnation != incarnation {
            // What the hub has goes with the upload. A copy may have uploaded what waits here, and somebody may have used it.
            self.account.mark_keys_as_published();
            self.incarnation = incarnation;
            self.fallback_since = 0;
            wanted = target;
        }
        let waiting = self.account.one_time_keys().len();
        self.account.generate_one_time_keys(wanted.saturating_sub(waiting));
        if is_old(self.fallback_since, FALLBACK_AGE, now) {
            self.account.generate_fallback_key();
            self.fallback_since = now;
        }
        self.upload(own, signer)
    }

    /// Makes keys for a bundle, which is valid for [`BUNDLE_LIFETIME`] at most. What a copy of this home may have given out is not given out again.
    pub(crate) fn bundle_keys(&mut self, one_time_keys: usize, incarnation: u64, now: i64) -> BundleKeys {
        let is_copy = self.incarnation != incarnation;
        self.incarnation = incarnation;
        let fallback_key = match self.in_bundles {
            Some(key) if !is_copy && !is_old(self.fallback_since, BUNDLE_LIFETIME, now) => key,
            _ => {
                self.account.generate_fallback_key();
                self.fallback_since = now;
                let new = self.account.fallback_key().into_values().next();
                new.expect("it was made just now").to_bytes()
            }
        };
        self.in_bundles = Some(fallback_key);
        let made = self.account.generate_one_time_keys(one_time_keys).created;
        self.account.mark_keys_as_published();
        BundleKeys {
            identity_key: self.account.curve25519_key().to_bytes(),
            one_time_keys: made.into_iter().map(|key| key.to_bytes()).collect(),
            fallback_key,
        }
    }

    fn upload(&self, own: &DeviceAddress, signer: &dyn Signer) -> Result<KeyUpload> {
        let identity_key = self.account.curve25519_key().to_bytes();
        let mut one_time_keys = Vec::new();
        for (id, key) in self.account.one_time_keys() {
            let key = key.to_bytes();
            let signature = sign(signer, own, &identity_key, SignedKey::OneTime(key))?;
            one_time_keys.push(OneTimeKey { id: number(id)?, key, signature });
        }
        one_time_keys.sort_unstable_by_key(|key| key.id);
        let fallback = match self.account.fallback_key().into_values().next() {
            Some(key) => {
                let key = key.to_bytes();
                let signature = sign(signer, own, &identity_key, SignedKey::Fallback(key))?;
                Some(FallbackKey { key, signature })
            }
            None => None,
        };
        Ok(KeyUpload { incarnation: self.incarnation, identity_key, one_time_keys, fallback })
    }

    /// Notes that an upload has arrived, unless more keys wait by now: then they are uploaded together once more, and the hub
    /// passes over those that it has had.
    pub(crate) fn published(&mut self, upload: &KeyUpload) {
        let waiting = self.account.one_time_keys();
        let uploaded = |key: [u8; 32]| upload.one_time_keys.iter().any(|uploaded| uploaded.key == key);
        let fallback = self.account.fallback_key().into_values().next().map(|key| key.to_bytes());
        let same_fallback = fallback == upload.fallback.as_ref().map(|fallback| fallback.key);
        if same_fallback && waiting.values().all(|key| uploaded(key.to_bytes())) {
            self.account.mark_keys_as_published();
        }
    }

    /// Whether there is something to upload, however many one-time keys the hub has.
    pub(crate) fn is_due(&self, incarnation: u64, now: i64) -> bool {
        self.incarnation != incarnation
            || is_old(self.fallback_since, FALLBACK_AGE, now)
            || !self.account.one_time_keys().is_empty()
            || !self.account.fallback_key().is_empty()
    }
}

/// A clock that was set back makes a fallback key no older.
fn is_old(since: i64, age: i64, now: i64) -> bool {
    now.saturating_sub(since) >= age
}

fn sign(
    signer: &dyn Signer,
    own: &DeviceAddress,
    identity_key: &[u8; 32],
    key: SignedKey,
) -> Result<[u8; 64]> {
    signer.sign(KEY_LABEL, &key_statement(own, identity_key, key)).map_err(RatchetError::Signing)
}

/// The number that the library counts keys by. It gives it away as text only.
fn number(id: KeyId) -> Result<u64> {
    let bytes = STANDARD_NO_PAD.decode(id.to_base64()).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.map(u64::from_be_bytes).ok_or(RatchetError::Damaged { what: WHAT })
}
