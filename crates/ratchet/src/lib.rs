//! Messages between pairs of devices: a Double Ratchet for each pair, where there is no MLS group.
//!
//! **Owns** this device's keys for pairwise sessions, which it publishes signed; the sessions with other devices; the form of a
//! message for one device, and what is inside it. **Leaves to others** the ratchet itself (`vodozemac`, an implementation of
//! [Olm](https://gitlab.matrix.org/matrix-org/olm/-/blob/master/docs/olm.md)), where keys and messages travel
//! (`tertulia-transport`), for whom a message must be (`tertulia-domain`), and when anything is written (`tertulia`).
//!
//! - A [`Ratchet`] is the sessions during one transaction of the device's store. Its [`Changes`] are written together with
//!   what the messages were about, so keys, messages and cursor move together.
//! - A device is known by the signature key of its MLS credential, which signs its identity key and every key that others claim
//!   ([`tertulia_domain::pairwise`]). At first sight the hub is believed which signature key that is; from then on another one is refused.
//! - A message names its conversation, its sender and its recipient inside the encryption ([`Context`]). Its length is padded.
//! - Messages may come out of order: up to 40 keys of messages that were skipped are kept in each of up to five chains of a
//!   session, and a gap may be up to 2000 messages wide. One that comes again is [`RatchetError::AlreadyRead`].
//! - Several sessions with one device can exist, at most four. Which of them is written with both ends decide alike.
//! - What a copy or an older state of the store may have used to encrypt is not used again
//!   ([`Store::incarnation`](tertulia_store::Store::incarnation)): the next message begins a new session, and new keys are published.
//! - No bytes make it panic, and an error changes nothing.
//!
//! # What it does not do
//!
//! - Sign messages. What pairwise messages prove to their reader, it could have made up itself.
//! - Prove that a device belongs to a person, which the hub says.
//! - Hide a device that begins a session from who has its keys later: the fallback key is kept for up to two weeks,
//!   and one that stands in bundles for up to four, or longer where no new one is made.
//!
//! ```
//! use tertulia_domain::{ConversationId, DeviceAddress, DeviceId, UserId};
//! use tertulia_ratchet::{ClaimedKeys, Context, Purpose, Ratchet, Signer};
//! use tertulia_store::{KeySource, Store};
//! # use vodozemac::Ed25519SecretKey;
//! # struct Key(Ed25519SecretKey);
//! # impl Signer for Key {
//! #     fn public_key(&self) -> [u8; 32] { *self.0.public_key().as_bytes() }
//! #     fn sign(&self, label: &str, content: &[u8]) -> Result<[u8; 64], Box<dyn std::error::Error + Send + Sync>> {
//! #         Ok(self.0.sign(&tertulia_domain::signing::sign_content(label, content)).to_bytes())
//! #     }
//! # }
//! # let dir = tempfile::tempdir()?;
//! # let store = |name| Store::create(&dir.path().join(name), &KeySource::File);
//! # let (alices, bobs) = (store("alice")?, store("bob")?);
//! # let key = Key(Ed25519SecretKey::new());
//! # let device = |n| DeviceAddress::new(UserId::random(), DeviceId::new(n), "hub.example".parse().expect("a domain"));
//! # let (alice, bob) = (device(1), device(2));
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let here = Context { conversation: ConversationId::random(), purpose: Purpose::Message };
//!
//! // Bob's device makes keys, and uploads them to the hub.
//! let writer = bobs.lock().await?;
//! let mut ratchet = Ratchet::begin(&bobs, bob.clone())?;
//! let mut upload = ratchet.prepare_keys(50, 0, &key, 1_700_000_000_000)?;
//! let changes = ratchet.into_changes();
//! bobs.write(&writer, |w| changes.write(w))?;
//!
//! // Alice's device claims one of them, and encrypts. What it has used is stored before anything is sent.
//! # let writer_of_alice = alices.lock().await?;
//! let mut ratchet = Ratchet::begin(&alices, alice.clone())?;
//! # ratchet.prepare_keys(0, 0, &key, 1_700_000_000_000)?;
//! let claimed = upload.one_time_keys.remove(0);
//! ratchet.begin_session(&ClaimedKeys {
//!     address: bob.clone(),
//!     signature_key: key.public_key(),
//!     identity_key: upload.identity_key,
//!     key: claimed.key,
//!     is_fallback: false,
//!     signature: claimed.signature,
//! })?;
//! let ciphertext = ratchet.encrypt(here, &bob, b"Shall we meet again?")?;
//! let changes = ratchet.into_changes();
//! alices.write(&writer_of_alice, |w| changes.write(w))?;
//!
//! // Bob's device reads it, in the transaction in which it keeps the message.
//! let mut ratchet = Ratchet::begin(&bobs, bob)?;
//! let message = ratchet.decrypt(here, &alice, &ciphertext)?;
//! assert_eq!(message.content, b"Shall we meet again?");
//! let changes = ratchet.into_changes();
//! bobs.write(&writer, |w| changes.write(w))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod account;
mod envelope;
mod error;
mod keys;
mod payload;
mod peer;
mod ratchet;
mod stored;

pub use account::{BUNDLE_LIFETIME, Signer};
pub use error::{RatchetError, Result};
pub use keys::{BundleKeys, ClaimedKeys, FallbackKey, KeyUpload, OneTimeKey, VerifiedKeys};
pub use payload::{Context, MAX_CONTENT, Purpose};
pub use ratchet::{Changes, Decrypted, Ratchet};
