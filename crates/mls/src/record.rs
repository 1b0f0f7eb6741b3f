//! What is written into the store, byte for byte. A change here is a change of format: raise the version, read both.

use std::time::Duration;

use mls_rs::mls_rs_codec::{self, MlsDecode, MlsEncode, MlsSize};
use zeroize::Zeroizing;

use crate::{EngineError, MlsCommitBundle, MlsCustomConfiguration, MlsWirePolicy, PendingCommitInfo, Result};

/// The version that is written.
const VERSION: u16 = 1;

/// How many own commits are remembered, so that they are known when they come back late.
const OWN_COMMITS: usize = 8;

/// A conversation: the library's snapshot of the group with what the engine adds to it.
#[derive(Clone, PartialEq, Eq, MlsSize, MlsEncode, MlsDecode)]
pub(crate) struct GroupRecord {
    version: u16,
    pub(crate) meta: GroupMeta,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    pub(crate) snapshot: Zeroizing<Vec<u8>>,
}

/// What the engine knows about a conversation beside its group.
#[derive(Debug, Clone, PartialEq, Eq, MlsSize, MlsEncode, MlsDecode)]
pub(crate) struct GroupMeta {
    encrypt_handshake: bool,
    out_of_order_tolerance: u32,
    maximum_forward_distance: u32,
    key_rotation_seconds: Option<u64>,
    /// The newest is last.
    own_commits: Vec<OwnCommit>,
}

#[derive(Debug, Clone, PartialEq, Eq, MlsSize, MlsEncode, MlsDecode)]
struct OwnCommit {
    epoch: u64,
    sha256: [u8; 32],
}

impl GroupMeta {
    pub(crate) fn new(custom: &MlsCustomConfiguration) -> Self {
        Self {
            encrypt_handshake: custom.wire_policy == MlsWirePolicy::Ciphertext,
            out_of_order_tolerance: custom.out_of_order_tolerance,
            maximum_forward_distance: custom.maximum_forward_distance,
            key_rotation_seconds: custom.key_rotation_span.as_ref().map(Duration::as_secs),
            own_commits: Vec::new(),
        }
    }

    pub(crate) fn encrypts_handshake(&self) -> bool {
        self.encrypt_handshake
    }

    /// Remembers a merged commit of this device, made in `epoch`.
    pub(crate) fn remember_own_commit(&mut self, epoch: u64, sha256: [u8; 32]) {
        if self.own_commits.len() >= OWN_COMMITS {
            self.own_commits.remove(0);
        }
        self.own_commits.push(OwnCommit { epoch, sha256 });
    }

    pub(crate) fn is_own_commit(&self, sha256: &[u8; 32]) -> bool {
        self.own_commits.iter().any(|commit| &commit.sha256 == sha256)
    }
}

impl GroupRecord {
    pub(crate) fn new(meta: GroupMeta, snapshot: Zeroizing<Vec<u8>>) -> Self {
        Self { version: VERSION, meta, snapshot }
    }

    pub(crate) fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>> {
        encode(self, "conversation")
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let record: Self = decode(bytes, "conversation")?;
        known_version(record.version, "conversation")?;
        Ok(record)
    }
}

/// A commit that was, or is about to be, sent.
#[derive(Clone, PartialEq, Eq, MlsSize, MlsEncode, MlsDecode)]
pub(crate) struct PendingRecord {
    version: u16,
    /// The epoch that the commit ends.
    pub(crate) epoch: u64,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    pub(crate) commit: Vec<u8>,
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
    Commit(#[mls_codec(with = "mls_rs_codec::byte_vec")] Zeroizing<Vec<u8>>) = 1,
    /// An external commit: the record of the conversation as it will be.
    Join(#[mls_codec(with = "mls_rs_codec::byte_vec")] Zeroizing<Vec<u8>>) = 2,
}

impl PendingRecord {
    pub(crate) fn new(epoch: u64, bundle: MlsCommitBundle, state: PendingState) -> Self {
        Self {
            version: VERSION,
            epoch,
            commit: bundle.commit,
            welcome: bundle.welcome.unwrap_or_default(),
            group_info: bundle.group_info,
            encrypted_message: bundle.encrypted_message.unwrap_or_default(),
            state,
        }
    }

    pub(crate) fn bundle(&self) -> MlsCommitBundle {
        let some = |bytes: &Vec<u8>| (!bytes.is_empty()).then(|| bytes.clone());
        MlsCommitBundle {
            welcome: some(&self.welcome),
            commit: self.commit.clone(),
            group_info: self.group_info.clone(),
            encrypted_message: some(&self.encrypted_message),
        }
    }

    pub(crate) fn has_message(&self) -> bool {
        !self.encrypted_message.is_empty()
    }

    pub(crate) fn is_join(&self) -> bool {
        matches!(self.state, PendingState::Join(_))
    }

    pub(crate) fn sha256(&self) -> [u8; 32] {
        sha256(&self.commit)
    }

    pub(crate) fn info(&self) -> PendingCommitInfo {
        PendingCommitInfo {
            epoch: self.epoch,
            commit_sha256: self.sha256(),
            is_join: self.is_join(),
            has_message: self.has_message(),
        }
    }

    pub(crate) fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>> {
        encode(self, "pending commit")
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let record: Self = decode(bytes, "pending commit")?;
        known_version(record.version, "pending commit")?;
        Ok(record)
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).into()
}

fn encode<T: MlsEncode + MlsSize>(record: &T, what: &'static str) -> Result<Zeroizing<Vec<u8>>> {
    match record.mls_encode_to_vec() {
        Ok(bytes) => Ok(Zeroizing::new(bytes)),
        Err(error) => Err(EngineError::DamagedState { what, source: Some(Box::new(error)) }),
    }
}

fn decode<T: MlsDecode>(bytes: &[u8], what: &'static str) -> Result<T> {
    let mut rest = bytes;
    let damaged = |source| EngineError::DamagedState { what, source };
    let record = T::mls_decode(&mut rest).map_err(|error| damaged(Some(Box::new(error))))?;
    if rest.is_empty() { Ok(record) } else { Err(damaged(None)) }
}

fn known_version(version: u16, what: &'static str) -> Result<()> {
    if version == VERSION { Ok(()) } else { Err(EngineError::DamagedState { what, source: None }) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_format_of_a_conversation_is_the_released_one() {
        let mut meta = GroupMeta::new(&MlsCustomConfiguration {
            key_rotation_span: Some(Duration::from_hours(1)),
            wire_policy: MlsWirePolicy::Ciphertext,
            ..MlsCustomConfiguration::default()
        });
        meta.remember_own_commit(7, [0xab; 32]);
        let record = GroupRecord::new(meta, Zeroizing::new(vec![1, 2, 3]));
        let bytes = record.to_bytes().unwrap();
        let expected = format!(
            "00010100000002000003e8010000000000000e1028{}{}03010203",
            "0000000000000007",
            "ab".repeat(32)
        );
        assert_eq!(hex::encode(&bytes[..]), expected);
        assert!(GroupRecord::from_bytes(&bytes).unwrap() == record);
    }

    #[test]
    fn the_format_of_a_pending_commit_is_the_released_one() {
        let bundle = MlsCommitBundle {
            welcome: None,
            commit: vec![1],
            group_info: vec![2],
            encrypted_message: Some(vec![3]),
        };
        let record = PendingRecord::new(5, bundle.clone(), PendingState::Commit(Zeroizing::new(vec![4])));
        let bytes = record.to_bytes().unwrap();
        assert_eq!(hex::encode(&bytes[..]), "000100000000000000050101000102010301 0104".replace(' ', ""));
        let read = PendingRecord::from_bytes(&bytes).unwrap();
        assert!(read == record && read.bundle() == bundle && read.has_message() && !read.is_join());
    }

    #[test]
    fn other_versions_and_rests_are_refused() {
        let record =
            GroupRecord::new(GroupMeta::new(&MlsCustomConfiguration::default()), Zeroizing::new(vec![]));
        let mut bytes = record.to_bytes().unwrap().to_vec();
        bytes.push(0);
        assert!(matches!(GroupRecord::from_bytes(&bytes), Err(EngineError::DamagedState { .. })));
        bytes.pop();
        bytes[1] = 2;
        assert!(matches!(GroupRecord::from_bytes(&bytes), Err(EngineError::DamagedState { .. })));
    }

    #[test]
    fn only_the_newest_own_commits_are_remembered() {
        let mut meta = GroupMeta::new(&MlsCustomConfiguration::default());
        for n in 0..=OWN_COMMITS {
            meta.remember_own_commit(n as u64, [u8::try_from(n).unwrap(); 32]);
        }
        assert!(!meta.is_own_commit(&[0; 32]));
        assert!(meta.is_own_commit(&[1; 32]));
    }
}
