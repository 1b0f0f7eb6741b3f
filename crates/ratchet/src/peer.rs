//! The sessions with one other device: which there are, which one is used, and how many are kept.
//!
//! A message that begins a session may come at any time, also when there is one: both devices may begin at once, and one that
//! has lost its state begins anew. So there can be several, all of which can be read. Which one is written with:
//!
//! | what happens | written with from then on |
//! |---|---|
//! | this device begins a session | that one |
//! | the other begins one, and this device's own begun one has had no answer | the one with the smaller id: both began at once, and both decide alike |
//! | the other begins one otherwise | that one: the other had a reason |
//! | a message comes that goes on with a session | that one: the other has it for certain |
//! | a message comes that begins a session which is known | as before |

use tertulia_domain::{DeviceAddress, pairwise::SignedKey};
use tertulia_store::{PairwisePeerRecord, PairwiseSessionRecord, ReadTx, StoreError, WriteTx};
use vodozemac::olm::{
    Account, DecryptionError, Message, OlmMessage, PreKeyMessage, Session, SessionConfig,
    SessionCreationError, SessionPickle,
};
use zeroize::Zeroizing;

use crate::{
    RatchetError, Result,
    keys::{VerifiedKeys, verify},
    stored::{from_bytes, to_bytes},
};

/// Most sessions that are kept with one device. Two come of beginning at once, more of lost states.
const MAX_SESSIONS: usize = 4;

const WHAT: &str = "session";

/// Olm's first version: AES-256-CBC with HMAC-SHA-256, of which a message carries 64 bits. The second, with all of it, is
/// experimental in the library.
const CONFIG: SessionConfig = SessionConfig::version_1();

/// A device and the sessions with it.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    record: PairwisePeerRecord,
    /// The one that was used last first.
    sessions: Vec<PairwiseSessionRecord>,
}

impl Peer {
    /// The peer as it is stored.
    pub(crate) fn stored(r: &ReadTx<'_>, address: &DeviceAddress) -> Result<Option<Self>, StoreError> {
        Ok(match r.pairwise_peer(address)? {
            Some(record) => Some(Self { record, sessions: r.pairwise_sessions(address)? }),
            None => None,
        })
    }

    pub(crate) fn write(&self, w: &mut WriteTx<'_>) -> Result<(), StoreError> {
        w.put_pairwise_peer(&self.record)?;
        w.replace_pairwise_sessions(&self.record.address, &self.sessions)
    }

    /// A device that was not known, by keys that it has signed.
    fn new(address: &DeviceAddress, signature_key: [u8; 32], identity_key: [u8; 32]) -> Self {
        let address = address.clone();
        let record =
            PairwisePeerRecord { address, signature_key, identity_key, preferred: None, renew: false };
        Self { record, sessions: Vec::new() }
    }

    /// Whether a message can be encrypted. Not with what a copy of this home may have used.
    pub(crate) fn is_ready(&self, incarnation: u64) -> bool {
        !self.record.renew && self.preferred().is_some_and(|session| session.incarnation == incarnation)
    }

    /// The signature key and the identity key by which the device is known.
    pub(crate) const fn keys(&self) -> ([u8; 32], [u8; 32]) {
        (self.record.signature_key, self.record.identity_key)
    }

    /// From now on the next message begins a new session.
    pub(crate) fn renew(&mut self) {
        self.record.renew = true;
    }

    fn preferred(&self) -> Option<&PairwiseSessionRecord> {
        let preferred = self.record.preferred.as_deref()?;
        self.sessions.iter().find(|session| session.id == preferred)
    }

    /// Begins a session with keys of the device.
    pub(crate) fn begin(
        known: Option<&Self>,
        account: &Account,
        keys: &VerifiedKeys,
        incarnation: u64,
    ) -> Result<Self> {
        let mut peer = match known {
            Some(known) => known.with_keys(&keys.signature_key, &keys.identity_key)?.clone(),
            None => Self::new(&keys.address, keys.signature_key, keys.identity_key),
        };
        let (identity_key, key) = keys.for_session();
        let session =
            account.create_outbound_session(CONFIG, identity_key, key).map_err(|_| RatchetError::UnfitKey)?;
        peer.record.preferred = Some(session.session_id());
        peer.record.renew = false;
        peer.keep(&session, incarnation)?;
        Ok(peer)
    }

    /// This peer, if it still has the keys by which it is known.
    fn with_keys(&self, signature_key: &[u8; 32], identity_key: &[u8; 32]) -> Result<&Self> {
        if self.record.signature_key == *signature_key && self.record.identity_key == *identity_key {
            Ok(self)
        } else {
            Err(RatchetError::KeysChanged)
        }
    }

    /// Encrypts with the preferred session.
    pub(crate) fn encrypt(&mut self, plaintext: &[u8], incarnation: u64) -> Result<OlmMessage> {
        if !self.is_ready(incarnation) {
            return Err(RatchetError::NoSession);
        }
        let mut session = open(self.preferred().ok_or(RatchetError::NoSession)?)?;
        let message = session.encrypt(plaintext).map_err(|_| RatchetError::UnfitKey)?;
        self.keep(&session, incarnation)?;
        Ok(message)
    }

    /// Decrypts a message that begins a session, which may be known. Says what the peer is then, and whether a key of the
    /// account was used up.
    pub(crate) fn decrypt_first(
        known: Option<&Self>,
        address: &DeviceAddress,
        account: &mut Account,
        (signature_key, identity_signature): (&[u8; 32], &[u8; 64]),
        message: &PreKeyMessage,
        incarnation: u64,
    ) -> Result<(Self, Zeroizing<Vec<u8>>, bool)> {
        let identity_key = message.identity_key().to_bytes();
        let mut peer = if let Some(known) = known {
            known.with_keys(signature_key, &identity_key)?.clone()
        } else {
            verify(address, signature_key, &identity_key, SignedKey::Identity, identity_signature)?;
            Self::new(address, *signature_key, identity_key)
        };
        let id = message.session_id();
        if let Some(stored) = peer.sessions.iter().find(|session| session.id == id) {
            let mut session = open(stored)?;
            let incarnation = stored.incarnation;
            let plaintext = session.decrypt(&OlmMessage::PreKey(message.clone())).map_err(|e| refusal(&e))?;
            peer.keep(&session, incarnation)?;
            return Ok((peer, Zeroizing::new(plaintext), false));
        }
        let created = account
            .create_inbound_session(CONFIG, message.identity_key(), message)
            .map_err(|error| no_session(&error))?;
        let plaintext = Zeroizing::new(created.plaintext);
        let both_began = match peer.preferred() {
            Some(own) if peer.is_ready(incarnation) => !open(own)?.has_received_message(),
            _ => false,
        };
        let keeps_own = both_began && peer.record.preferred.as_deref() < Some(id.as_str());
        if !keeps_own {
            peer.record.preferred = Some(id);
        }
        peer.record.renew = false;
        peer.keep(&created.session, incarnation)?;
        Ok((peer, plaintext, true))
    }

    /// Decrypts a message that goes on with a session.
    pub(crate) fn decrypt_next(&self, message: &Message) -> Result<(Self, Zeroizing<Vec<u8>>)> {
        let message = OlmMessage::Normal(message.clone());
        let mut refused = RatchetError::Undecryptable;
        for stored in &self.sessions {
            let mut session = open(stored)?;
            match session.decrypt(&message) {
                Ok(plaintext) => {
                    let mut peer = self.clone();
                    peer.record.preferred = Some(stored.id.clone());
                    peer.keep(&session, stored.incarnation)?;
                    return Ok((peer, Zeroizing::new(plaintext)));
                }
                // Only the session that the message is of knows its place in it.
                Err(error) => match refusal(&error) {
                    RatchetError::Undecryptable => {}
                    of_this_session => refused = of_this_session,
                },
            }
        }
        Err(refused)
    }

    /// Keeps what a session is after it was used, and lets go of the one that was used least recently when there are too many.
    fn keep(&mut self, session: &Session, incarnation: u64) -> Result<()> {
        let id = session.session_id();
        let state = to_bytes(&session.pickle(), WHAT)?;
        let used = self.sessions.first().map_or(0, |newest| newest.used + 1);
        self.sessions.retain(|kept| kept.id != id);
        self.sessions.insert(0, PairwiseSessionRecord { id, used, incarnation, state });
        if self.sessions.len() > MAX_SESSIONS {
            let preferred = self.record.preferred.as_deref();
            let oldest = self.sessions.iter().rposition(|kept| Some(kept.id.as_str()) != preferred);
            if let Some(oldest) = oldest {
                self.sessions.remove(oldest);
            }
        }
        Ok(())
    }
}

fn open(record: &PairwiseSessionRecord) -> Result<Session> {
    Ok(Session::from_pickle(from_bytes::<SessionPickle>(&record.state, WHAT)?))
}

/// What it means that a session does not open a message.
fn refusal(error: &DecryptionError) -> RatchetError {
    match error {
        DecryptionError::MissingMessageKey(_) => RatchetError::AlreadyRead,
        DecryptionError::TooBigMessageGap(gap, max) => RatchetError::GapTooWide { gap: *gap, max: *max },
        _ => RatchetError::Undecryptable,
    }
}

/// What it means that a message begins no session.
fn no_session(error: &SessionCreationError) -> RatchetError {
    match error {
        SessionCreationError::MissingOneTimeKey(_) => RatchetError::UnknownOneTimeKey,
        SessionCreationError::Decryption(error) => refusal(error),
        SessionCreationError::NonContributoryKey => RatchetError::UnfitKey,
        _ => RatchetError::Malformed("it begins a session of another kind"),
    }
}
