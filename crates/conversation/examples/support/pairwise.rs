//! Devices with the Double Ratchet as the SDK uses it, for the vectors and their test.

use ed25519_dalek::SigningKey;
use serde_json::{Value, json};
use tempfile::TempDir;
use tertulia_conversation::inbox;
use tertulia_domain::{DeviceAddress, signing::sign_content};
use tertulia_ratchet::{Purpose, Ratchet, Result, Signer};
use tertulia_store::{KeySource, PairwiseAccountRecord, PairwisePeerRecord, PairwiseSessionRecord, Store};

/// The purposes by the numbers that they have in a message.
pub const PURPOSES: [(u8, Purpose); 4] =
    [(1, Purpose::Message), (2, Purpose::Name), (3, Purpose::Receipt), (4, Purpose::Renewal)];

/// A device's signature key.
pub struct Pen(pub SigningKey);

impl Signer for Pen {
    fn public_key(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    fn sign(
        &self,
        label: &str,
        content: &[u8],
    ) -> Result<[u8; 64], Box<dyn std::error::Error + Send + Sync>> {
        Ok(ed25519_dalek::Signer::sign(&self.0, &sign_content(label, content)).to_bytes())
    }
}

/// A device, whose store goes with it.
pub struct PairwiseDevice {
    pub address: DeviceAddress,
    store: Store,
    _home: TempDir,
}

impl PairwiseDevice {
    /// A device without keys: the one with this signature key, of who has this identity key.
    pub fn new(identity_key: &[u8; 32], signature_key: &[u8; 32]) -> Self {
        Self::at(inbox::device_address(identity_key, signature_key))
    }

    fn at(address: DeviceAddress) -> Self {
        let home = tempfile::tempdir().expect("there is a place for temporary files");
        let store = Store::create(home.path(), &KeySource::File).expect("the directory is new");
        Self { address, store, _home: home }
    }

    /// The device with this address, as [`state`](Self::state) has written it down.
    pub async fn restored(address: DeviceAddress, peer: &DeviceAddress, state: &Value) -> Self {
        let device = Self::at(address);
        let incarnation = device.store.incarnation();
        let bytes = |of: &Value| serde_json::to_vec(of).expect("it was read").into();
        let account =
            PairwiseAccountRecord { incarnation, fallback_since: 0, state: bytes(&state["account"]) };
        let known = state["peer"].as_object().map(|known| PairwisePeerRecord {
            address: peer.clone(),
            signature_key: key_of(&known["signature_key"]),
            identity_key: key_of(&known["identity_key"]),
            preferred: known["preferred"].as_str().map(ToOwned::to_owned),
            renew: false,
        });
        let sessions = state["sessions"].as_array().into_iter().flatten().map(|session| {
            let id = session["id"].as_str().expect("a session has an id").to_owned();
            PairwiseSessionRecord { id, used: 0, incarnation, state: bytes(&session["state"]) }
        });
        let sessions: Vec<_> = sessions.collect();
        let writer = device.store.lock().await.expect("nobody else writes");
        let written = device.store.write(&writer, |w| {
            w.put_pairwise_account(&account)?;
            known.iter().try_for_each(|known| w.put_pairwise_peer(known))?;
            if known.is_some() { w.replace_pairwise_sessions(peer, &sessions) } else { Ok(()) }
        });
        written.expect("the store is new");
        drop(writer);
        device
    }

    /// Does something with its sessions, in one transaction. With an error nothing is written.
    pub async fn transaction<T>(&self, work: impl FnOnce(&mut Ratchet) -> Result<T>) -> Result<T> {
        let writer = self.store.lock().await?;
        let mut ratchet = Ratchet::begin(&self.store, self.address.clone())?;
        let done = work(&mut ratchet)?;
        let changes = ratchet.into_changes();
        self.store.write(&writer, |w| changes.write(w))?;
        Ok(done)
    }

    /// All that it has of its keys and of the sessions with another device, as the library writes them.
    pub fn state(&self, peer: &DeviceAddress) -> Value {
        let read = self.store.read(|r| {
            Ok::<_, tertulia_store::StoreError>((
                r.pairwise_account()?,
                r.pairwise_peer(peer)?,
                r.pairwise_sessions(peer)?,
            ))
        });
        let (account, known, sessions) = read.expect("the store is open");
        let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).expect("the library writes JSON");
        let sessions =
            sessions.iter().map(|session| json!({ "id": session.id, "state": json(&session.state) }));
        json!({
            "account": account.map(|account| json(&account.state)),
            "peer": known.map(|known| json!({
                "signature_key": hex::encode(known.signature_key),
                "identity_key": hex::encode(known.identity_key),
                "preferred": known.preferred,
            })),
            "sessions": sessions.collect::<Vec<_>>(),
        })
    }
}

fn key_of(of: &Value) -> [u8; 32] {
    let bytes = hex::decode(of.as_str().expect("a key is text")).expect("a key is hexadecimal");
    bytes.try_into().expect("a key has 32 bytes")
}
