//! Records with a digest.
//!
//! The store's encryption finds what happens to the disk. What a mistake of ours, or a wrong restoring, does to a record it does
//! not; and the MLS library, which reads what it has written itself, may loop or panic over anything else.

use mls_rs::mls_rs_codec::{MlsDecode, MlsEncode, MlsSize};
use zeroize::Zeroizing;

use super::{decode, sha256, version_of};
use crate::{EngineError, Result, long_secret::LongSecret};

const DIGEST: std::ops::Range<usize> = 2..18;

/// The version, the first half of the SHA-256 of what follows, and the record.
pub(crate) fn seal<T: MlsEncode + MlsSize>(
    version: u16,
    record: &T,
    what: &'static str,
) -> Result<LongSecret> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(DIGEST.end + record.mls_encoded_len()));
    bytes.extend(version.to_be_bytes());
    bytes.resize(DIGEST.end, 0);
    let too_long = |source| EngineError::DamagedState { what, source: Some(Box::new(source)) };
    record.mls_encode(&mut bytes).map_err(too_long)?;
    let digest = sha256(&bytes[DIGEST.end..]);
    bytes[DIGEST].copy_from_slice(&digest[..DIGEST.len()]);
    Ok(bytes.into())
}

/// A record of this version, as it was sealed.
pub(crate) fn unseal<T: MlsDecode>(version: u16, bytes: &[u8], what: &'static str) -> Result<T> {
    let rest = bytes.get(DIGEST.end..).unwrap_or_default();
    let is_whole = version_of(bytes) == Some(version)
        && bytes.get(DIGEST).is_some_and(|digest| sha256(rest).starts_with(digest));
    if is_whole { decode(rest, what) } else { Err(EngineError::DamagedState { what, source: None }) }
}
