//! Devices with stores of their own, and the keys that they publish.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the scenario")]

use std::{collections::VecDeque, path::PathBuf};
use tempfile::TempDir;
use tertulia_domain::{ConversationId, DeviceAddress, DeviceId, UserId, signing::sign_content};
use tertulia_ratchet::{
    ClaimedKeys, Context, FallbackKey, KeyUpload, OneTimeKey, Purpose, Ratchet, Result, Signer, VerifiedKeys,
};
use tertulia_store::{KeySource, PairwisePeerRecord, PairwiseSessionRecord, Store};
use vodozemac::Ed25519SecretKey;

pub(crate) const HERE: Context =
    Context { conversation: ConversationId::from_bytes([0xC0; 16]), purpose: Purpose::Message };
pub(crate) const NOW: i64 = 1_700_000_000_000;
pub(crate) const DAY: i64 = 24 * 60 * 60 * 1000;

/// A device's signature key.
pub(crate) struct Key(pub(crate) Ed25519SecretKey);

impl Signer for Key {
    fn public_key(&self) -> [u8; 32] {
        *self.0.public_key().as_bytes()
    }

    fn sign(
        &self,
        label: &str,
        content: &[u8],
    ) -> Result<[u8; 64], Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0.sign(&sign_content(label, content)).to_bytes())
    }
}

/// A device.
pub(crate) struct Device {
    pub(crate) address: DeviceAddress,
    pub(crate) key: Key,
    pub(crate) directory: TempDir,
    store: Option<Store>,
    published: Published,
}

/// What a hub would hold of it.
#[derive(Default)]
struct Published {
    identity_key: [u8; 32],
    one_time_keys: VecDeque<OneTimeKey>,
    fallback: Option<FallbackKey>,
}

impl Device {
    /// With so many one-time keys published.
    pub(crate) fn new(number: u64, one_time_keys: usize) -> Self {
        let user = UserId::from_bytes([u8::try_from(number).unwrap(); 16]);
        let directory = tempfile::tempdir().unwrap();
        let store = Store::create(&directory.path().join("home"), &KeySource::File).unwrap();
        let mut device = Self {
            address: DeviceAddress::new(user, DeviceId::new(number), "hub.example".parse().unwrap()),
            key: Key(Ed25519SecretKey::new()),
            directory,
            store: Some(store),
            published: Published::default(),
        };
        device.publish(one_time_keys, NOW);
        device
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    pub(crate) fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    /// The process ends, and another one begins.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.start();
    }

    pub(crate) fn stop(&mut self) {
        self.store = None;
    }

    pub(crate) fn start(&mut self) {
        self.store = Some(Store::open(&self.home(), &KeySource::File).unwrap());
    }

    /// Does something in a transaction. With an error nothing is written.
    pub(crate) fn transaction<T>(&self, work: impl FnOnce(&mut Ratchet) -> Result<T>) -> Result<T> {
        let store = self.store();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let writer = runtime.block_on(store.lock()).unwrap();
        let mut ratchet = Ratchet::begin(store, self.address.clone())?;
        let done = work(&mut ratchet)?;
        let changes = ratchet.into_changes();
        store.write(&writer, |w| changes.write(w))?;
        Ok(done)
    }

    /// Publishes more one-time keys, and a fallback key where it is time.
    pub(crate) fn publish(&mut self, one_time_keys: usize, now: i64) -> KeyUpload {
        let upload = self.transaction(|r| r.prepare_keys(one_time_keys, 0, &self.key, now)).unwrap();
        self.published.identity_key = upload.identity_key;
        self.published.one_time_keys.extend(upload.one_time_keys.iter().cloned());
        if let Some(fallback) = &upload.fallback {
            self.published.fallback = Some(fallback.clone());
        }
        self.transaction(|r| r.keys_published(&upload)).unwrap();
        upload
    }

    /// One of its one-time keys, or the fallback key when there is none.
    pub(crate) fn claim(&mut self) -> ClaimedKeys {
        let Published { identity_key, one_time_keys, fallback } = &mut self.published;
        let once = one_time_keys.pop_front().map(|claimed| (claimed.key, claimed.signature, false));
        let (key, signature, is_fallback) = once.unwrap_or_else(|| {
            let fallback = fallback.as_ref().unwrap();
            (fallback.key, fallback.signature, true)
        });
        ClaimedKeys {
            address: self.address.clone(),
            signature_key: self.key.public_key(),
            identity_key: *identity_key,
            key,
            is_fallback,
            signature,
        }
    }

    /// The fallback key of a bundle that it makes now, as who has the bundle knows it.
    pub(crate) fn fallback_in_bundle(&self, now: i64) -> VerifiedKeys {
        let keys = self.transaction(|r| r.bundle_keys(0, &self.key, now)).unwrap();
        VerifiedKeys {
            address: self.address.clone(),
            signature_key: self.key.public_key(),
            identity_key: keys.identity_key,
            key: keys.fallback_key,
        }
    }

    /// Begins a session with another device.
    pub(crate) fn begin(&self, other: &mut Device) -> Result<()> {
        let keys = other.claim();
        self.transaction(|r| r.begin_session(&keys))
    }

    /// Encrypts for another device, with a new session where need be.
    pub(crate) fn send(&self, to: &mut Device, text: &str) -> Vec<u8> {
        if !self.transaction(|r| r.is_ready(&to.address)).unwrap() {
            self.begin(to).unwrap();
        }
        self.transaction(|r| r.encrypt(HERE, &to.address, text.as_bytes())).unwrap()
    }

    pub(crate) fn receive(&self, from: &Device, message: &[u8]) -> Result<String> {
        let decrypted = self.transaction(|r| r.decrypt(HERE, &from.address, message))?;
        Ok(String::from_utf8(decrypted.content).unwrap())
    }

    /// Sends a text, which the other receives.
    pub(crate) fn tell(&self, to: &mut Device, text: &str) {
        let message = self.send(to, text);
        assert_eq!(to.receive(self, &message).unwrap(), text);
    }

    pub(crate) fn sessions(&self, with: &Device) -> Vec<PairwiseSessionRecord> {
        self.store().read(|r| r.pairwise_sessions(&with.address)).unwrap()
    }

    pub(crate) fn peer(&self, other: &Device) -> Option<PairwisePeerRecord> {
        self.store().read(|r| r.pairwise_peer(&other.address)).unwrap()
    }

    /// The session that it encrypts with.
    pub(crate) fn preferred(&self, other: &Device) -> String {
        self.peer(other).unwrap().preferred.unwrap()
    }
}
