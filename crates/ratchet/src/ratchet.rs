//! The pairwise sessions of a device, as one transaction of its store sees and changes them.

use std::{collections::BTreeMap, fmt};

use tertulia_domain::DeviceAddress;
use tertulia_store::{PairwiseAccountRecord, Store, StoreError, WriteTx};

use crate::{
    BundleKeys, ClaimedKeys, Context, KeyUpload, RatchetError, Result, Signer, VerifiedKeys,
    account::OwnAccount,
    envelope::{self, Envelope},
    payload,
    peer::Peer,
};

/// The sessions of this device while one transaction is under way.
///
/// It reads from the store what it needs, and keeps what it changes until [`into_changes`](Self::into_changes) gives that
/// away to be written, together with what the messages were about. **Whoever begins holds the store's writer's lock**
/// ([`Store::lock`]) until then, for a key must not be used by two.
pub struct Ratchet {
    store: Store,
    own: DeviceAddress,
    account: Option<PairwiseAccountRecord>,
    account_changed: bool,
    peers: BTreeMap<DeviceAddress, Entry>,
}

/// A peer as it is now, none if it is not known, and whether that was changed.
#[derive(Default)]
struct Entry {
    peer: Option<Peer>,
    changed: bool,
}

/// A message that was decrypted.
#[derive(Clone, PartialEq, Eq)]
pub struct Decrypted {
    /// What the sender wrote.
    pub content: Vec<u8>,
    /// Whether it has used up one of this device's one-time keys, or its fallback key was used.
    pub began_session: bool,
    /// Whether it is the first that was ever heard of the device.
    pub is_new_device: bool,
}

impl fmt::Debug for Decrypted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decrypted").field("began_session", &self.began_session).finish_non_exhaustive()
    }
}

impl fmt::Debug for Ratchet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ratchet").field("own", &self.own.short()).finish_non_exhaustive()
    }
}

impl Ratchet {
    /// The sessions of the device `own`, as they are in its store.
    pub fn begin(store: &Store, own: DeviceAddress) -> Result<Self> {
        let account = store.read(|r| r.pairwise_account())?;
        Ok(Self { store: store.clone(), own, account, account_changed: false, peers: BTreeMap::new() })
    }

    /// What is to be written, in the transaction in which the messages themselves are.
    #[must_use = "keys that were used and are not written down would be used again"]
    pub fn into_changes(self) -> Changes {
        let changed =
            |(address, entry): (DeviceAddress, Entry)| entry.changed.then_some((address, entry.peer));
        Changes {
            account: self.account.filter(|_| self.account_changed),
            peers: self.peers.into_iter().filter_map(changed).collect(),
        }
    }

    // This device's keys.

    /// Whether there is something to upload, however many one-time keys the hub has: at first, when the fallback key has
    /// become old, when an upload was interrupted, and when the store turned out to be a copy. `now` is in milliseconds since
    /// 1970.
    pub fn are_keys_due(&self, now: i64) -> Result<bool> {
        match &self.account {
            Some(account) => Ok(OwnAccount::open(account)?.is_due(self.store.incarnation(), now)),
            None => Ok(true),
        }
    }

    /// Makes what is to be uploaded, for which this device's keys are made if there are none yet: one-time keys, so that the hub
    /// has `target` of them if it has `at_hub` now, and a fallback key where the last one is older than seven days. Write the [changes](Self::into_changes) before the upload. Once
    /// it has arrived, call [`keys_published`](Self::keys_published); until then the same keys are given again.
    pub fn prepare_keys(
        &mut self,
        target: usize,
        at_hub: usize,
        signer: &dyn Signer,
        now: i64,
    ) -> Result<KeyUpload> {
        let incarnation = self.store.incarnation();
        let mut account = match &self.account {
            Some(account) => OwnAccount::open(account)?,
            None => OwnAccount::create(&self.own, signer, incarnation)?,
        };
        let upload = account.prepare(&self.own, signer, (target, at_hub), incarnation, now)?;
        self.put_account(account)?;
        Ok(upload)
    }

    /// Notes that these keys have arrived at the hub.
    pub fn keys_published(&mut self, upload: &KeyUpload) -> Result<()> {
        let mut account = self.own_account()?;
        account.published(upload);
        self.put_account(account)
    }

    /// Makes keys for a bundle: so many new one-time keys, and the fallback key, a new one where the last is as old as a bundle can get. This device's keys are
    /// made if there are none yet. What was given out before stays good: one-time keys until they are used, the fallback key for [as long as the
    /// bundle](crate::BUNDLE_LIFETIME) is valid. Write the [changes](Self::into_changes) before anybody sees them.
    pub fn bundle_keys(&mut self, one_time_keys: usize, signer: &dyn Signer, now: i64) -> Result<BundleKeys> {
        let incarnation = self.store.incarnation();
        let mut account = match &self.account {
            Some(account) => OwnAccount::open(account)?,
            None => OwnAccount::create(&self.own, signer, incarnation)?,
        };
        let keys = account.bundle_keys(one_time_keys, incarnation, now);
        self.put_account(account)?;
        Ok(keys)
    }

    /// The signature key and the identity key by which a device is known, if it is.
    pub fn keys_of(&mut self, device: &DeviceAddress) -> Result<Option<([u8; 32], [u8; 32])>> {
        Ok(self.entry(device)?.peer.as_ref().map(Peer::keys))
    }

    // Sessions.

    /// Whether a message can be encrypted for this device. If not, a session is to be [begun](Self::begin_session).
    pub fn is_ready(&mut self, device: &DeviceAddress) -> Result<bool> {
        let incarnation = self.store.incarnation();
        Ok(self.entry(device)?.peer.as_ref().is_some_and(|peer| peer.is_ready(incarnation)))
    }

    /// Whether there was ever a session with this device.
    pub fn is_known(&mut self, device: &DeviceAddress) -> Result<bool> {
        Ok(self.entry(device)?.peer.is_some())
    }

    /// Begins a session with keys that were claimed for it.
    ///
    /// # Errors
    ///
    /// [`RatchetError::UntrustedKey`], [`RatchetError::KeysChanged`], [`RatchetError::UnfitKey`]: the device is to be left out.
    pub fn begin_session(&mut self, keys: &ClaimedKeys) -> Result<()> {
        self.begin_verified_session(&keys.verified()?)
    }

    /// Begins a session with keys of which somebody else has verified that they are the device's.
    ///
    /// # Errors
    ///
    /// [`RatchetError::KeysChanged`], [`RatchetError::UnfitKey`]: the device is to be left out.
    pub fn begin_verified_session(&mut self, keys: &VerifiedKeys) -> Result<()> {
        let (account, incarnation) = (self.own_account()?, self.store.incarnation());
        let known = self.entry(&keys.address)?.peer.as_ref();
        let peer = Peer::begin(known, &account.account, keys, incarnation)?;
        self.put_peer(&keys.address, Some(peer));
        Ok(())
    }

    /// From now on the next message for this device begins a new session. For when something of it
    /// [could not be read](RatchetError::calls_for_renewal).
    pub fn renew(&mut self, device: &DeviceAddress) -> Result<()> {
        let entry = self.entry(device)?;
        if let Some(peer) = &mut entry.peer {
            peer.renew();
            entry.changed = true;
        }
        Ok(())
    }

    /// Forgets a device that is no more, with its sessions and the keys by which it was known.
    pub fn forget(&mut self, device: &DeviceAddress) {
        self.put_peer(device, None);
    }

    // Messages.

    /// Encrypts content for a device. The bytes are to be sent as they are, as often as need be.
    ///
    /// # Errors
    ///
    /// [`RatchetError::NoSession`] unless the device [is ready](Self::is_ready), [`RatchetError::TooLong`].
    pub fn encrypt(&mut self, context: Context, to: &DeviceAddress, content: &[u8]) -> Result<Vec<u8>> {
        let (account, incarnation) = (self.own_account()?, self.store.incarnation());
        let plaintext = payload::seal(context, &self.own, to, content)?;
        let mut peer = self.entry(to)?.peer.clone().ok_or(RatchetError::NoSession)?;
        let message = peer.encrypt(&plaintext, incarnation)?;
        self.put_peer(to, Some(peer));
        Ok(envelope::write(&account.identity, &message))
    }

    /// Decrypts a message that is said to be from this device and to belong here.
    ///
    /// Who and where it is from is checked: with any error nothing has changed, and the message can still be read in its own
    /// place.
    pub fn decrypt(&mut self, context: Context, from: &DeviceAddress, message: &[u8]) -> Result<Decrypted> {
        let incarnation = self.store.incarnation();
        let (own, envelope) = (self.own.clone(), Envelope::read(message)?);
        match envelope {
            Envelope::Begins { signature_key, identity_signature, message } => {
                let mut account = self.own_account()?;
                let known = self.entry(from)?.peer.as_ref();
                let is_new_device = known.is_none();
                let keys = (&signature_key, &identity_signature);
                let (peer, plaintext, is_new) =
                    Peer::decrypt_first(known, from, &mut account.account, keys, &message, incarnation)?;
                let content = payload::open(&plaintext, context, from, &own)?;
                if is_new {
                    self.put_account(account)?;
                }
                self.put_peer(from, Some(peer));
                Ok(Decrypted { content, began_session: is_new, is_new_device })
            }
            Envelope::GoesOn(message) => {
                let known = self.entry(from)?.peer.as_ref().ok_or(RatchetError::NoSession)?;
                let (peer, plaintext) = known.decrypt_next(&message)?;
                let content = payload::open(&plaintext, context, from, &own)?;
                self.put_peer(from, Some(peer));
                Ok(Decrypted { content, began_session: false, is_new_device: false })
            }
        }
    }

    fn own_account(&self) -> Result<OwnAccount> {
        OwnAccount::open(self.account.as_ref().ok_or(RatchetError::NoKeys)?)
    }

    fn put_account(&mut self, account: OwnAccount) -> Result<()> {
        self.account = Some(account.close()?);
        self.account_changed = true;
        Ok(())
    }

    fn entry(&mut self, device: &DeviceAddress) -> Result<&mut Entry> {
        if !self.peers.contains_key(device) {
            let peer = self.store.read(|r| Peer::stored(r, device))?;
            self.peers.insert(device.clone(), Entry { peer, changed: false });
        }
        Ok(self.peers.entry(device.clone()).or_default())
    }

    fn put_peer(&mut self, device: &DeviceAddress, peer: Option<Peer>) {
        self.peers.insert(device.clone(), Entry { peer, changed: true });
    }
}

/// What a [`Ratchet`] has changed.
#[must_use = "keys that were used and are not written down would be used again"]
pub struct Changes {
    account: Option<PairwiseAccountRecord>,
    peers: Vec<(DeviceAddress, Option<Peer>)>,
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").field("peers", &self.peers.len()).finish_non_exhaustive()
    }
}

impl Changes {
    /// Writes them.
    pub fn write(&self, w: &mut WriteTx<'_>) -> Result<(), StoreError> {
        if let Some(account) = &self.account {
            w.put_pairwise_account(account)?;
        }
        self.peers.iter().try_for_each(|(address, peer)| match peer {
            Some(peer) => peer.write(w),
            None => w.delete_pairwise_peer(address),
        })
    }
}
