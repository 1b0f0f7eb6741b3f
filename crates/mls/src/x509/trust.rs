//! How a transaction comes by what it judges certificates with.
//!
//! Conversations whose members have basic credentials alone never come here. Otherwise the registered certificates and
//! lists are read once and shared by all transactions of a session, until they change: each change writes a new random
//! [`TrustState`](RecordKind::TrustState), which is all that a transaction has to read.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use mls_rs::identity::SigningIdentity;
use tertulia_store::RecordKey;
use zeroize::Zeroizing;

use super::{CertificateRecord, CrlRecord, Pki, Role, list};
use crate::{
    EngineError, Result,
    overlay::{Overlay, RecordKind},
};

/// What was read last, and the state that it was of.
#[derive(Clone, Default)]
struct Cache(Arc<Mutex<Option<Cached>>>);

/// The [`TrustState`](RecordKind::TrustState), and what was read in it.
type Cached = (Vec<u8>, Arc<Pki>);

/// The part of an overlay that is about certificates. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Trust {
    cache: Cache,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// As of when certificates are judged, in seconds since 1970; none for now.
    at: Option<u64>,
    /// Who may not come in by a commit that is being made.
    refused: Vec<SigningIdentity>,
}

impl Trust {
    /// With what was read, and without what the transaction has set.
    pub(crate) fn for_reading(&self) -> Self {
        Self { cache: self.cache.clone(), state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what one transaction has set.
    pub(crate) fn reset(&self) {
        *self.state() = State::default();
    }

    pub(crate) fn judge_at(&self, at: Option<u64>) {
        self.state().at = at;
    }

    /// As of when certificates are judged, in seconds since 1970.
    pub(crate) fn at(&self) -> u64 {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.state().at.unwrap_or_else(now)
    }

    /// While `make` makes a commit, these are left out of it.
    pub(crate) fn refusing<T>(&self, refused: Vec<SigningIdentity>, make: impl FnOnce() -> T) -> T {
        self.state().refused = refused;
        let made = make();
        self.state().refused.clear();
        made
    }

    pub(crate) fn is_refused(&self, identity: &SigningIdentity) -> bool {
        self.state().refused.contains(identity)
    }
}

impl Overlay {
    /// What certificates are judged with, as this transaction sees it.
    pub(crate) fn pki(&self) -> Result<Arc<Pki>> {
        let Some(state) = self.record(&RecordKind::TrustState.of(&[], &[]))? else {
            return Ok(Arc::default());
        };
        let cache = || self.trust().cache.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((cached, pki)) = &*cache()
            && *cached == *state
        {
            return Ok(Arc::clone(pki));
        }
        let pki = Arc::new(self.read_pki()?);
        *cache() = Some((state.to_vec(), Arc::clone(&pki)));
        Ok(pki)
    }

    fn read_pki(&self) -> Result<Pki> {
        let damaged = |source: Box<dyn std::error::Error + Send + Sync>| EngineError::DamagedState {
            what: "certificate",
            source: Some(source),
        };
        let mut pki = Pki::default();
        for record in self.certificates()? {
            match record.role {
                Role::Anchor => pki.add_anchor(&record.der),
                Role::Intermediate => pki.add_intermediate(record.der),
            }
            .map_err(|error| damaged(Box::new(error)))?;
        }
        for record in self.revocation_lists()? {
            let list = list::usable(&record.der).map_err(|error| damaged(Box::new(error)))?;
            pki.add_list(list, record);
        }
        Ok(pki)
    }

    /// The registered certificates.
    pub(crate) fn certificates(&self) -> Result<Vec<CertificateRecord>> {
        let records = self.records(RecordKind::Certificate, &[])?;
        records.iter().map(|(_, bytes)| CertificateRecord::from_bytes(bytes)).collect()
    }

    /// The registered revocation lists.
    pub(crate) fn revocation_lists(&self) -> Result<Vec<CrlRecord>> {
        let records = self.records(RecordKind::Crl, &[])?;
        records.iter().map(|(key, bytes)| CrlRecord::from_bytes(key, bytes)).collect()
    }

    /// The list in whose place this one comes, and where that is.
    pub(crate) fn list_before(&self, new: &CrlRecord) -> Result<Option<(RecordKey, CrlRecord)>> {
        for key in [new.key(), new.old_key()] {
            if let Some(bytes) = self.record(&key)? {
                let known = CrlRecord::from_bytes(&key.key, &bytes)?;
                if new.is_in_the_place_of(&known) {
                    return Ok(Some((key, known)));
                }
            }
        }
        Ok(None)
    }

    /// Notes that certificates or lists have changed.
    pub(crate) fn trust_changed(&self) {
        let state = uuid::Uuid::new_v4().as_bytes().to_vec();
        self.put_record(RecordKind::TrustState.of(&[], &[]), Zeroizing::new(state));
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust")
    }
}
