//! A commit that waits for its outcome, in two parts.
//!
//! The *head* is short, and is what every operation looks at. The *body* is what is sent and the state that follows: in a group
//! of 1000 more than a megabyte, for it has the ratchet tree four times, before the commit and after it. The tree from before
//! is stored with the group already, so that the body is compressed against it. What is left are the new keys on the
//! committer's path, and the ciphertexts.

use std::io::{self, Read, Write};

use mls_rs::mls_rs_codec::{self, MlsDecode, MlsEncode, MlsSize};
use zeroize::Zeroizing;
use zstd::{
    stream::{read::Decoder, write::Encoder},
    zstd_safe::CParameter,
};

use super::{decode, encode, intent::Intent, known_version, sha256, version_of};
use crate::{
    CommitIntent, EngineError, MlsCommitBundle, MlsGroupInfoBundle, PendingCommitInfo, Result,
    long_secret::LongSecret,
};

/// The version that is written. Version 1 was one part, not compressed, and said neither in which incarnation of the store it
/// was made nor what for.
const VERSION: u16 = 2;

const WHAT: &str = "pending commit";

/// The fastest: what is repeated are whole trees, which long-distance matching finds.
const LEVEL: i32 = 1;

/// How far back a repetition is found, as the exponent of two: the library's limits.
const WINDOW: std::ops::RangeInclusive<u32> = 10..=27;

/// In how large a table repetitions are looked up, as the exponent of two: 4 bytes an entry.
const TABLE: std::ops::RangeInclusive<u32> = 12..=20;

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
    /// None if it was made by the first version.
    intent: Option<Intent>,
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

/// The state after the commit.
#[derive(Clone, PartialEq, Eq, MlsSize, MlsEncode, MlsDecode)]
#[repr(u8)]
pub(crate) enum PendingState {
    /// A member's commit: the library's commit secrets, to be applied to the group.
    Commit(#[mls_codec(with = "mls_rs_codec::byte_vec")] LongSecret) = 1,
    /// An external commit: the record of the conversation as it will be.
    Join(#[mls_codec(with = "mls_rs_codec::byte_vec")] LongSecret) = 2,
}

/// A pending commit as version 1 had it.
#[derive(MlsSize, MlsEncode, MlsDecode)]
struct PendingRecordV1 {
    version: u16,
    epoch: u64,
    body: PendingBody,
}

/// How long the parts of a body are, which follow one another.
#[derive(MlsSize, MlsEncode, MlsDecode)]
struct Lengths {
    commit: u32,
    welcome: u32,
    group_info: u32,
    encrypted_message: u32,
    state: u32,
}

impl PendingRecord {
    pub(crate) fn new(
        epoch: u64,
        incarnation: u64,
        bundle: MlsCommitBundle,
        state: PendingState,
        intent: CommitIntent,
    ) -> Self {
        let body = PendingBody {
            commit: bundle.commit,
            welcome: bundle.welcome.unwrap_or_default(),
            group_info: bundle.group_info.payload,
            encrypted_message: bundle.encrypted_message.unwrap_or_default(),
            state,
        };
        Self::of(epoch, incarnation, body, Some(intent))
    }

    fn of(epoch: u64, incarnation: u64, body: PendingBody, intent: Option<CommitIntent>) -> Self {
        let head = PendingHead {
            version: VERSION,
            epoch,
            incarnation: Some(incarnation),
            sha256: sha256(&body.commit),
            is_join: matches!(body.state, PendingState::Join(_)),
            has_message: body.message().is_some(),
            intent: intent.map(Intent::from),
        };
        Self { head, body }
    }

    /// The same for another purpose.
    pub(crate) fn with_intent(mut self, intent: CommitIntent) -> Self {
        self.head.intent = Some(intent.into());
        self
    }

    /// What version 1 had stored as a whole.
    pub(crate) fn from_version_1(bytes: &[u8]) -> Result<Self> {
        let old: PendingRecordV1 = decode(bytes, WHAT)?;
        known_version(old.version, 1, WHAT)?;
        Ok(Self::of(old.epoch, 0, old.body, None))
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
            intent: self.intent.as_ref().map(CommitIntent::from),
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

    /// Compressed against `tree`, the ratchet tree of the epoch that the commit ends; empty for a join.
    pub(crate) fn to_bytes(&self, tree: &[u8]) -> Result<LongSecret> {
        let size: usize = self.parts().iter().map(|part| part.len()).sum();
        // It could not be read again.
        let max = usize::try_from(MAX_BODY).unwrap_or(usize::MAX) - size_of::<Lengths>();
        if size > max {
            return Err(EngineError::TooMany { requested: size, max });
        }
        self.compressed(tree).map(LongSecret::from).map_err(damaged)
    }

    /// With the same tree.
    pub(crate) fn from_bytes(bytes: &[u8], is_join: bool, tree: &[u8]) -> Result<Self> {
        let bytes = decompressed(bytes, tree).map_err(damaged)?;
        let mut rest = &bytes[..];
        let lengths = Lengths::mls_decode(&mut rest).map_err(|error| damaged(io::Error::other(error)))?;
        let mut part = |length: u32| match rest.split_at_checked(length as usize) {
            Some((part, behind)) => {
                rest = behind;
                Ok(part.to_vec())
            }
            None => Err(damaged(io::ErrorKind::UnexpectedEof.into())),
        };
        let commit = part(lengths.commit)?;
        let welcome = part(lengths.welcome)?;
        let group_info = part(lengths.group_info)?;
        let encrypted_message = part(lengths.encrypted_message)?;
        let state = LongSecret::from(part(lengths.state)?);
        let state = if is_join { PendingState::Join(state) } else { PendingState::Commit(state) };
        if rest.is_empty() {
            Ok(Self { commit, welcome, group_info, encrypted_message, state })
        } else {
            Err(damaged(io::ErrorKind::InvalidData.into()))
        }
    }

    fn parts(&self) -> [&[u8]; 5] {
        let (PendingState::Commit(state) | PendingState::Join(state)) = &self.state;
        [&self.commit, &self.welcome, &self.group_info, &self.encrypted_message, state]
    }

    fn compressed(&self, tree: &[u8]) -> io::Result<Vec<u8>> {
        let parts = self.parts();
        let all: usize = parts.iter().map(|part| part.len()).sum();
        let [commit, welcome, group_info, encrypted_message, state] =
            parts.map(|part| u32::try_from(part.len()));
        let lengths = || {
            Ok::<_, std::num::TryFromIntError>(Lengths {
                commit: commit?,
                welcome: welcome?,
                group_info: group_info?,
                encrypted_message: encrypted_message?,
                state: state?,
            })
        };
        let lengths = lengths().map_err(|_| io::ErrorKind::FileTooLarge)?;
        let lengths = lengths.mls_encode_to_vec().map_err(io::Error::other)?;

        // A vector that grows leaves secrets behind.
        let most = zstd::zstd_safe::compress_bound(all + lengths.len());
        let mut encoder = Encoder::with_ref_prefix(Vec::with_capacity(most), LEVEL, tree)?;
        // As far back as the tree.
        let reach = (all + lengths.len() + tree.len()).next_power_of_two().ilog2();
        encoder.window_log(reach.clamp(*WINDOW.start(), *WINDOW.end()))?;
        // The keys and identities of the members are in the tree and, in no order, in the state.
        let table = CParameter::HashLog(reach.saturating_sub(3).clamp(*TABLE.start(), *TABLE.end()));
        encoder.set_parameter(table)?;
        encoder.long_distance_matching(true)?;
        encoder.include_checksum(true)?;
        encoder.set_pledged_src_size(Some((all + lengths.len()) as u64))?;
        encoder.write_all(&lengths)?;
        parts.into_iter().try_for_each(|part| encoder.write_all(part))?;
        encoder.finish()
    }
}

fn decompressed(bytes: &[u8], tree: &[u8]) -> io::Result<Zeroizing<Vec<u8>>> {
    let claimed = zstd::zstd_safe::get_frame_content_size(bytes).ok().flatten().unwrap_or_default();
    // At once, since a vector that grows leaves secrets behind.
    let capacity = usize::try_from(claimed.min(MAX_BODY)).unwrap_or_default();
    let mut decompressed = Zeroizing::new(Vec::with_capacity(capacity));
    let mut decoder = Decoder::with_ref_prefix(bytes, tree)?;
    decoder.window_log_max(*WINDOW.end())?;
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
        let state = PendingState::Commit(vec![4].into());
        PendingRecord::new(5, 6, bundle(), state, CommitIntent::Update)
    }

    #[test]
    fn the_format_of_a_pending_commit_is_the_released_one() {
        let record = record();
        let head = record.head.to_bytes().unwrap();
        let digest = "4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a";
        assert_eq!(hex::encode(&head[..]), format!("00020000000000000005010000000000000006{digest}00010102"));
        assert!(PendingHead::from_bytes(&head).unwrap() == record.head);

        let body = record.body.to_bytes(b"tree").unwrap();
        let inside = decompressed(&body, b"tree").unwrap();
        assert_eq!(
            hex::encode(&inside[..]),
            "0000000100000000000000010000000100000001".to_owned() + "01020304"
        );
        let read = PendingBody::from_bytes(&body, false, b"tree").unwrap();
        assert!(read == record.body && read.bundle() == bundle() && read.message() == Some(&[3]));
    }

    #[test]
    fn a_pending_commit_of_version_1_is_read() {
        let old = hex::decode("0001000000000000000501010001020103010104").unwrap();
        let read = PendingRecord::from_version_1(&old).unwrap();
        let head = PendingHead { incarnation: Some(0), intent: None, ..record().head };
        assert!(read == PendingRecord { head, ..record() });
        assert_eq!(read.head.info().intent, None);
        assert!(!read.head.is_join());
    }

    #[test]
    fn trees_that_are_repeated_take_no_room() {
        let mut seed = 7_u64;
        let tree: Vec<u8> = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            seed.to_be_bytes()[0]
        })
        .take(2_400_000)
        .collect();
        let state = PendingState::Commit(tree.repeat(3).into());
        let mut bundle = bundle();
        bundle.group_info.payload = tree.clone();
        let body = PendingRecord::new(5, 6, bundle, state, CommitIntent::Update).body;
        let bytes = body.to_bytes(&tree).unwrap();
        assert!(bytes.len() < tree.len() / 10, "{}", bytes.len());
        assert!(PendingBody::from_bytes(&bytes, false, &tree).unwrap() == body);
        let mut other = tree;
        other[1000] ^= 1;
        assert!(PendingBody::from_bytes(&bytes, false, &other).is_err(), "against another tree");
    }

    #[test]
    fn damage_is_an_error() {
        let record = record();
        let head = record.head.to_bytes().unwrap();
        let body = record.body.to_bytes(b"").unwrap();
        for length in 0..head.len() {
            assert!(PendingHead::from_bytes(&head[..length]).is_err(), "{length}");
        }
        for at in 0..body.len() {
            assert!(PendingBody::from_bytes(&body[..at], false, b"").is_err(), "{at}");
            let mut changed = body.to_vec();
            changed[at] ^= 0x10;
            match PendingBody::from_bytes(&changed, false, b"") {
                // A bit that means nothing (RFC 8878, section 3.1.1.1.1.3).
                Ok(read) => assert!(read == record.body, "{at}"),
                Err(error) => assert!(matches!(error, EngineError::DamagedState { .. }), "{at}: {error}"),
            }
        }
        let many = vec![0; usize::try_from(MAX_BODY).unwrap() + 1];
        let bomb = zstd::bulk::compress(&many, LEVEL).unwrap();
        assert!(matches!(PendingBody::from_bytes(&bomb, false, b""), Err(EngineError::DamagedState { .. })));
    }
}
