//! External pre-shared keys (RFC 9420, section 8.4): secrets that members have from elsewhere, and that a commit can mix
//! into the secrets of its epoch.

use mls_rs::mls_rs_codec::{self, MlsDecode, MlsEncode, MlsSize};
use zeroize::Zeroizing;

use crate::{
    EngineError, Result, TransactionContext,
    overlay::{Overlay, RecordKind},
};

/// Longest id and longest secret of a pre-shared key, in bytes.
const MAX_BYTES: usize = 1024;

/// Most pre-shared keys in a store.
const MAX_KEYS: usize = 1024;

/// The version that is written.
const VERSION: u16 = 1;

/// A pre-shared key in the store.
#[derive(Clone, PartialEq, Eq, MlsSize, MlsEncode, MlsDecode)]
struct PskRecord {
    version: u16,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    secret: Zeroizing<Vec<u8>>,
}

impl TransactionContext {
    /// Stores an external pre-shared key under the id by which a Welcome or a commit asks for it. One that is there with
    /// this id is replaced.
    ///
    /// Id and secret have 1 to 1024 bytes. The secret should be as good as a key: it is hashed, not stretched. It stays in
    /// the store, for all conversations, until it is removed.
    pub fn add_psk(&mut self, id: &[u8], secret: &[u8]) -> Result<()> {
        for bytes in [id, secret] {
            if bytes.is_empty() || bytes.len() > MAX_BYTES {
                return Err(EngineError::InvalidPsk { got: bytes.len(), max: MAX_BYTES });
            }
        }
        let overlay = &self.writing()?.overlay;
        let there = overlay.psk_ids()?;
        if there.len() >= MAX_KEYS && !there.iter().any(|other| other == id) {
            return Err(EngineError::TooMany { requested: there.len() + 1, max: MAX_KEYS });
        }
        let record = PskRecord { version: VERSION, secret: Zeroizing::new(secret.to_vec()) };
        overlay.put_record(RecordKind::Psk.of(b"", id), record.to_bytes()?);
        Ok(())
    }

    /// Deletes an external pre-shared key, and says whether there was one with this id.
    ///
    /// Commits and Welcomes that still ask for it cannot be followed any more.
    pub fn remove_psk(&mut self, id: &[u8]) -> Result<bool> {
        let overlay = &self.writing()?.overlay;
        let key = RecordKind::Psk.of(b"", id);
        let is_there = overlay.record(&key)?.is_some();
        overlay.delete_record(key);
        Ok(is_there)
    }

    /// The ids of the external pre-shared keys in the store.
    pub fn psk_ids(&self) -> Result<Vec<Vec<u8>>> {
        self.writing()?.overlay.psk_ids()
    }
}

impl Overlay {
    fn psk_ids(&self) -> Result<Vec<Vec<u8>>> {
        Ok(self.records(RecordKind::Psk, b"")?.into_iter().map(|(id, _)| id).collect())
    }

    pub(crate) fn psk(&self, id: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let Some(bytes) = self.record(&RecordKind::Psk.of(b"", id))? else { return Ok(None) };
        Ok(Some(PskRecord::from_bytes(&bytes)?.secret))
    }
}

impl PskRecord {
    fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>> {
        self.mls_encode_to_vec().map(Zeroizing::new).map_err(|error| damaged(Some(error)))
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut rest = bytes;
        let record = Self::mls_decode(&mut rest).map_err(|error| damaged(Some(error)))?;
        if rest.is_empty() && record.version == VERSION { Ok(record) } else { Err(damaged(None)) }
    }
}

fn damaged(source: Option<mls_rs_codec::Error>) -> EngineError {
    EngineError::DamagedState { what: "pre-shared key", source: source.map(Into::into) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_format_of_a_pre_shared_key_is_the_released_one() {
        let record = PskRecord { version: VERSION, secret: Zeroizing::new(vec![1, 2, 3]) };
        let bytes = record.to_bytes().unwrap();
        assert_eq!(hex::encode(&bytes[..]), "000103010203");
        assert!(PskRecord::from_bytes(&bytes).unwrap() == record);
    }

    #[test]
    fn other_versions_and_rests_are_refused() {
        for bytes in ["000203010203", "00010301020300", "00010401", ""] {
            let read = PskRecord::from_bytes(&hex::decode(bytes).unwrap());
            assert!(matches!(read, Err(EngineError::DamagedState { .. })), "{bytes}");
        }
    }
}
