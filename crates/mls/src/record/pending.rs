//! A commit that waits for its outcome, in two parts.
//!
//! The *head* is a hundred bytes, and is what every operation looks at. The *body* is what is sent and the state that follows:
//! at 1000 members some 1.2 MB, for it has the ratchet tree four times, before the commit and after it. It is compressed,
//! which leaves one of the trees, since keys do not compress.

use std::io::{self, Read};

use mls_rs::mls_rs_codec::{self, MlsDecode, MlsEncode, MlsSize};
use zeroize::Zeroizing;

use super::{decode, encode, known_version, sha256, version_of};
use crate::{EngineError, MlsCommitBundle, MlsGroupInfoBundle, PendingCommitInfo, Result};

/// The version that is written. Version 1 was one part, not compressed, and did not say in which incarnation of the store it
/// was made.
const VERSION: u16 = 2;

const WHAT: &str = "pending commit";

/// The fastest: what is repeated are whole trees, which every level finds.
const LEVEL: i32 = 1;

/// The library's limits of how far back a repetition is found, as the exponent of two.
const WINDOW: std::ops::RangeInclusive<u32> = 10..=27;

/// Most bytes of a body: a group of 10,000 has some 20 MB.
const MAX_BODY: u64 = 256 << 20;

/// A commit that was, or is about to be, sent.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PendingRecord {
    pub(crate) head: PendingHead,
    pub(crate) body: PendingBody,
}

/// What tells one pending commit from another.
#[derive(Debug, Clone, PartialEq, Eq, MlsSize, MlsEncode, MlsDecode)]
pub(crate) struct PendingHead {
    version: u16,
    /// The epoch that the commit ends.
    pub(crate) epoch: u64,
    /// The incarnation of the store in which it was made.
    pub(crate) incarnation: Option<u64>,
    /// The digest of the commit.
    pub(crate) sha256: [u8; 32],
    is_join: bool,
    has_message: bool,
}

/// What is sent, and what follows.
#[derive(Clone, PartialEq, Eq, MlsSize, MlsEncode, MlsDecode)]
pub(crate) struct PendingBody {
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    commit: Vec<u8>,
    /// Empty for none.
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    welcome: Vec<u8>,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    group_info: Vec<u8>,
    /// Empty for none.
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    encrypted_message: Vec<u8>,
    pub(crate) state: PendingState,
}

/// A pending commit as version 1 had it.
#[derive(MlsSize, MlsEncode, MlsDecode)]
struct PendingRecordV1 {
    version: u16,
    epoch: u64,
    body: PendingBody,
}

/// The state after the commit.
#[derive(Clone, PartialEq, Eq, MlsSize, MlsEncode, MlsDecode)]
#[repr(u8)]
pub(crate) enum PendingState {
    /// A member's commit: the library's commit secrets, to be applied to the group.
    Commit(#[mls_codec(with = "mls_rs_codec::byte_vec")] Zeroizing<Vec<u8>>) = 1,
    /// An external commit: the record of the conversation as it will be.
    Join(#[mls_codec(with = "mls_rs_codec::byte_vec")] Zeroizing<Vec<u8>>) = 2,
}

impl PendingRecord {
    pub(crate) fn new(epoch: u64, incarnation: u64, bundle: MlsCommitBundle, state: PendingState) -> Self {
        let body = PendingBody {
            commit: bundle.commit,
            welcome: bundle.welcome.unwrap_or_default(),
            group_info: bundle.group_info.payload,
            encrypted_message: bundle.encrypted_message.unwrap_or_default(),
            state,
        };
        Self::of(epoch, incarnation, body)
    }

    fn of(epoch: u64, incarnation: u64, body: PendingBody) -> Self {
        let head = PendingHead {
            version: VERSION,
            epoch,
            incarnation: Some(incarnation),
            sha256: sha256(&body.commit),
            is_join: matches!(body.state, PendingState::Join(_)),
            has_message: body.message().is_some(),
        };
        Self { head, body }
    }

    /// What version 1 had stored as a whole.
    pub(crate) fn from_version_1(bytes: &[u8]) -> Result<Self> {
        let old: PendingRecordV1 = decode(bytes, WHAT)?;
        known_version(old.version, 1, WHAT)?;
        Ok(Self::of(old.epoch, 0, old.body))
    }

    /// The two parts as they are stored. Without a head it is of version 1.
    pub(crate) fn from_stored(head: &[u8], body: &[u8]) -> Result<Self> {
        if head.is_empty() {
            return Self::from_version_1(body);
        }
        Ok(Self { head: PendingHead::from_bytes(head)?, body: PendingBody::from_bytes(body)? })
    }
}

impl PendingHead {
    pub(crate) fn is_join(&self) -> bool {
        self.is_join
    }

    pub(crate) fn info(&self) -> PendingCommitInfo {
        PendingCommitInfo {
            epoch: self.epoch,
            commit_sha256: self.sha256,
            is_join: self.is_join,
            has_message: self.has_message,
        }
    }

    pub(crate) fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>> {
        encode(self, WHAT)
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let version = version_of(bytes).ok_or(EngineError::DamagedState { what: WHAT, source: None })?;
        known_version(version, VERSION, WHAT)?;
        decode(bytes, WHAT)
    }
}

impl PendingBody {
    pub(crate) fn bundle(&self) -> MlsCommitBundle {
        let some = |bytes: &Vec<u8>| (!bytes.is_empty()).then(|| bytes.clone());
        MlsCommitBundle {
            welcome: some(&self.welcome),
            commit: self.commit.clone(),
            group_info: MlsGroupInfoBundle::full_plaintext(self.group_info.clone()),
            encrypted_message: some(&self.encrypted_message),
        }
    }

    /// The application message that goes along.
    pub(crate) fn message(&self) -> Option<&[u8]> {
        (!self.encrypted_message.is_empty()).then_some(&self.encrypted_message)
    }

    pub(crate) fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>> {
        let bytes = encode(self, WHAT)?;
        Ok(Zeroizing::new(compress(&bytes).map_err(damaged)?))
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        decode(&decompress(bytes).map_err(damaged)?, WHAT)
    }
}

fn compress(bytes: &[u8]) -> io::Result<Vec<u8>> {
    use zstd::zstd_safe::CParameter::WindowLog;
    // As far back as the first tree.
    let window = bytes.len().next_power_of_two().ilog2().clamp(*WINDOW.start(), *WINDOW.end());
    let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
    compressor.set_parameter(WindowLog(window))?;
    compressor.compress(bytes)
}

fn decompress(bytes: &[u8]) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes)?;
    decoder.window_log_max(*WINDOW.end())?;
    let claimed = zstd::zstd_safe::get_frame_content_size(bytes).ok().flatten().unwrap_or_default();
    let capacity = usize::try_from(claimed.min(MAX_BODY)).unwrap_or_default();
    // At once, since a vector that grows leaves secrets behind.
    let mut decompressed = Zeroizing::new(Vec::with_capacity(capacity));
    let length = decoder.take(MAX_BODY + 1).read_to_end(&mut decompressed)?;
    if length as u64 > MAX_BODY { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(decompressed) }
}

fn damaged(error: io::Error) -> EngineError {
    EngineError::DamagedState { what: WHAT, source: Some(Box::new(error)) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn bundle() -> MlsCommitBundle {
        MlsCommitBundle {
            welcome: None,
            commit: vec![1],
            group_info: MlsGroupInfoBundle::full_plaintext(vec![2]),
            encrypted_message: Some(vec![3]),
        }
    }

    fn record() -> PendingRecord {
        PendingRecord::new(5, 6, bundle(), PendingState::Commit(Zeroizing::new(vec![4])))
    }

    #[test]
    fn the_format_of_a_pending_commit_is_the_released_one() {
        let record = record();
        let head = record.head.to_bytes().unwrap();
        let digest = "4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a";
        let expected = format!("00020000000000000005010000000000000006{digest}0001");
        assert_eq!(hex::encode(&head[..]), expected);
        let body = record.body.to_bytes().unwrap();
        let inside = decompress(&body).unwrap();
        assert_eq!(hex::encode(&inside[..]), "01010001020103010104");
        let read = PendingRecord::from_stored(&head, &body).unwrap();
        assert!(read == record && read.body.bundle() == bundle() && read.body.message() == Some(&[3]));
        // A body that was compressed by the library's version of the release.
        let released = hex::decode("28b52ffd200a51000001010001020103010104").unwrap();
        assert!(PendingBody::from_bytes(&released).unwrap() == record.body);
    }

    #[test]
    fn a_pending_commit_of_version_1_is_read() {
        let old = hex::decode("0001000000000000000501010001020103010104").unwrap();
        let read = PendingRecord::from_stored(b"", &old).unwrap();
        let expected =
            PendingRecord { head: PendingHead { incarnation: Some(0), ..record().head }, ..record() };
        assert!(read == expected && !read.head.is_join());
    }

    #[test]
    fn what_is_repeated_at_a_distance_is_stored_once() {
        let mut seed = 7_u64;
        let tree: Vec<u8> = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            seed.to_be_bytes()[0]
        })
        .take(3_000_000)
        .collect();
        let bytes = tree.repeat(3);
        let compressed = compress(&bytes).unwrap();
        assert!(compressed.len() < tree.len() * 11 / 10, "{}", compressed.len());
        assert!(decompress(&compressed).unwrap()[..] == bytes);
    }

    #[test]
    fn damage_is_an_error() {
        let record = record();
        let head = record.head.to_bytes().unwrap();
        let body = record.body.to_bytes().unwrap();
        for length in 0..body.len() {
            assert!(PendingRecord::from_stored(&head, &body[..length]).is_err(), "{length}");
        }
        for length in 0..head.len() {
            assert!(PendingRecord::from_stored(&head[..length], &body).is_err(), "{length}");
        }
        let bomb = compress(&vec![0; (MAX_BODY + 1) as usize]).unwrap();
        assert!(matches!(PendingBody::from_bytes(&bomb), Err(EngineError::DamagedState { .. })));
    }
}
