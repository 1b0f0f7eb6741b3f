//! A span as it is in the store.

use mls_rs::mls_rs_codec::{self, MlsDecode, MlsEncode, MlsSize};
use zeroize::Zeroizing;

use super::{
    super::{
        HistorySecret,
        seen::{ClientDigest, digest},
    },
    WHAT, damaged,
};
use crate::{
    ClientId, EngineError, Result,
    record::{decode, encode, known_version, version_of},
};

/// Version 1 held the secret, and did not say where the span came from.
const VERSION: u16 = 2;

/// A span in the store, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, MlsSize, MlsEncode, MlsDecode)]
struct SpanRecord {
    version: u16,
    last_epoch: Option<u64>,
    is_verified: bool,
    /// Empty for nobody.
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    shared_by: Vec<u8>,
    client: ClientDigest,
    /// When the history client's leaf expires, in seconds since 1970.
    expiration: u64,
    /// That the secret ends with.
    checksum: [u8; 32],
}

/// A span with its secret: version 1 of a span, and what is kept with a pending commit.
#[derive(PartialEq, Eq, MlsSize, MlsEncode, MlsDecode)]
pub(super) struct WholeRecord {
    pub(super) version: u16,
    pub(super) last_epoch: Option<u64>,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    pub(super) secret: Zeroizing<Vec<u8>>,
}

pub(super) const WHOLE_VERSION: u16 = 1;

impl WholeRecord {
    pub(super) fn into_secret(self) -> Result<HistorySecret> {
        known_version(self.version, WHOLE_VERSION, WHAT)?;
        HistorySecret::from_secret(self.secret).map_err(damaged)
    }
}

/// A span that is held.
#[derive(Debug, Clone)]
pub(in crate::history) struct Held {
    /// The first epoch as eight bytes, big-endian; for an unverified one a ninth, its place among its rivals.
    pub(super) key: Vec<u8>,
    pub(in crate::history) first_epoch: u64,
    pub(in crate::history) last_epoch: Option<u64>,
    pub(in crate::history) is_verified: bool,
    pub(in crate::history) shared_by: Option<ClientId>,
    pub(in crate::history) client: ClientDigest,
    pub(in crate::history) expiration: u64,
    pub(in crate::history) checksum: [u8; 32],
    /// Where it is not in a record of its own.
    pub(super) secret: Option<HistorySecret>,
}

impl Held {
    pub(in crate::history) fn new(secret: HistorySecret, last_epoch: Option<u64>) -> Result<Self> {
        let content = secret.content()?;
        Ok(Self {
            key: Vec::new(),
            first_epoch: secret.first_epoch(),
            last_epoch,
            is_verified: false,
            shared_by: None,
            client: digest(&content.credential()?.signing_identity())?,
            expiration: content.key_package()?.expiration,
            checksum: secret.checksum()?,
            secret: Some(secret),
        })
    }

    pub(super) fn from_record(key: &[u8], bytes: &[u8]) -> Result<Self> {
        if version_of(bytes) == Some(WHOLE_VERSION) {
            let record: WholeRecord = decode(bytes, WHAT)?;
            let last_epoch = record.last_epoch;
            let held = Self::new(record.into_secret()?, last_epoch).map_err(damaged)?;
            return Ok(Self { key: key.to_vec(), ..held });
        }
        let record: SpanRecord = decode(bytes, WHAT)?;
        known_version(record.version, VERSION, WHAT)?;
        let first = key.first_chunk().ok_or(EngineError::DamagedState { what: WHAT, source: None })?;
        Ok(Self {
            key: key.to_vec(),
            first_epoch: u64::from_be_bytes(*first),
            last_epoch: record.last_epoch,
            is_verified: record.is_verified,
            shared_by: (!record.shared_by.is_empty()).then(|| ClientId::from(record.shared_by)),
            client: record.client,
            expiration: record.expiration,
            checksum: record.checksum,
            secret: None,
        })
    }

    pub(super) fn to_record(&self) -> Result<Zeroizing<Vec<u8>>> {
        let record = SpanRecord {
            version: VERSION,
            last_epoch: self.last_epoch,
            is_verified: self.is_verified,
            shared_by: self.shared_by.as_ref().map(|client| client.as_bytes().to_vec()).unwrap_or_default(),
            client: self.client,
            expiration: self.expiration,
            checksum: self.checksum,
        };
        encode(&record, WHAT)
    }
}
