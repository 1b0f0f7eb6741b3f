//! Remembering HPKE's hash of a long `info` while a commit is built.
//!
//! What is remembered is public, the encrypted group info of a Welcome, and is compared byte for byte: a comparison costs a
//! tenth of the hash. It is kept only while a [`ShareInfo`] lives, and only the last one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mls_rs_crypto_awslc::{AwsLcCryptoError, AwsLcHkdf};
use mls_rs_crypto_traits::KdfType;

/// Shorter ones are not worth it.
const LEAST_BYTES: usize = 16 * 1024;

/// What the hash of an `info` is of: `"HPKE-v1" || suite_id || "info_hash" || info`, where the suite's id has 10 bytes
/// (RFC 9180, sections 4 and 5.1). No other input is remembered: others are secret.
const LABEL: &[u8] = b"info_hash";
const LABEL_AT: usize = 7 + 10;

static SHARED: Mutex<Shared> = Mutex::new(Shared { holders: 0, last: None });

struct Shared {
    holders: usize,
    last: Option<Arc<InfoHash>>,
}

struct InfoHash {
    kdf: u16,
    input: Vec<u8>,
    hash: Vec<u8>,
}

fn shared() -> MutexGuard<'static, Shared> {
    // Nothing that can panic runs while it is held.
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As long as one lives, the hash of a long `info` is remembered, for whichever commits are being built.
pub(crate) struct ShareInfo(());

impl ShareInfo {
    pub(crate) fn begin() -> Self {
        shared().holders += 1;
        Self(())
    }
}

impl Drop for ShareInfo {
    fn drop(&mut self) {
        let mut shared = shared();
        shared.holders -= 1;
        if shared.holders == 0 {
            shared.last = None;
        }
    }
}

/// The library's HKDF, which does not hash the same long `info` twice in a row.
#[derive(Clone, Copy)]
pub(crate) struct SharingKdf(pub(crate) AwsLcHkdf);

impl KdfType for SharingKdf {
    type Error = AwsLcCryptoError;

    fn kdf_id(&self) -> u16 {
        self.0.kdf_id()
    }

    fn expand(&self, prk: &[u8], info: &[u8], len: usize) -> Result<Vec<u8>, AwsLcCryptoError> {
        self.0.expand(prk, info, len)
    }

    fn extract(&self, salt: &[u8], ikm: &[u8]) -> Result<Vec<u8>, AwsLcCryptoError> {
        let is_info = salt.is_empty() && ikm.get(LABEL_AT..).is_some_and(|rest| rest.starts_with(LABEL));
        if !is_info || ikm.len() < LEAST_BYTES {
            return self.0.extract(salt, ikm);
        }
        let (active, last) = {
            let shared = shared();
            (shared.holders > 0, shared.last.clone())
        };
        if !active {
            return self.0.extract(salt, ikm);
        }
        if let Some(last) = last
            && last.kdf == self.kdf_id()
            && last.input == ikm
        {
            return Ok(last.hash.clone());
        }
        let hash = self.0.extract(salt, ikm)?;
        let remembered = InfoHash { kdf: self.kdf_id(), input: ikm.to_vec(), hash: hash.clone() };
        let mut shared = shared();
        if shared.holders > 0 {
            shared.last = Some(Arc::new(remembered));
        }
        Ok(hash)
    }

    fn extract_size(&self) -> usize {
        self.0.extract_size()
    }
}
