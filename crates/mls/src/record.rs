//! What is written into the store, byte for byte. A change here is a change of format: raise the version, read both.

use std::time::Duration;

use mls_rs::mls_rs_codec::{self, MlsDecode, MlsEncode, MlsSize};
use zeroize::Zeroizing;

use crate::{
    EngineError, MlsCommitBundle, MlsCustomConfiguration, MlsGroupInfoBundle, MlsWirePolicy,
    PendingCommitInfo, Result,
};

/// The versions that are written. Version 1 of a conversation was the whole snapshot without the numbers of the senders;
/// version 1 of a pending commit did not say in which incarnation of the store it was made.
const GROUP_VERSION: u16 = 2;
const PENDING_VERSION: u16 = 2;

/// How many own commits are remembered, so that they are known when they come back late.
const OWN_COMMITS: usize = 8;

/// A conversation: the library's snapshot of the group with what the engine adds to it.
#[derive(Clone, PartialEq, Eq, MlsSize, MlsEncode, MlsDecode)]
pub(crate) struct GroupRecord {
    version: u16,
    pub(crate) meta: GroupMeta,
    /// Whether the ratchet tree is in the snapshot, and not beside it.
    pub(crate) tree_inside: bool,
    pub(crate) heads: Vec<EpochHeads>,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    pub(crate) snapshot: Zeroizing<Vec<u8>>,
}

/// What the engine knows about a conversation beside its group.
#[derive(Debug, Clone, PartialEq, Eq, MlsSize, MlsEncode, MlsDecode)]
pub(crate) struct GroupMeta {
    encrypt_handshake: bool,
    pub(crate) out_of_order_tolerance: u32,
    pub(crate) maximum_forward_distance: u32,
    key_rotation_seconds: Option<u64>,
    /// The newest is last.
    own_commits: Vec<OwnCommit>,
    /// The incarnation of the store in which this device got a leaf that no other copy of the store has. None when such a
    /// copy has shown itself.
    pub(crate) incarnation: Option<u64>,
    /// The first epoch in which the numbers of all senders are known.
    pub(crate) heads_since: u64,
}

/// How far the senders of an epoch have come.
#[derive(Debug, Clone, PartialEq, Eq, MlsSize, MlsEncode, MlsDecode)]
pub(crate) struct EpochHeads {
    pub(crate) epoch: u64,
    pub(crate) senders: Vec<SenderHead>,
}

/// How far a sender has come: the next generation of its application ratchet.
#[derive(Debug, Clone, PartialEq, Eq, MlsSize, MlsEncode, MlsDecode)]
pub(crate) struct SenderHead {
    pub(crate) leaf: u32,
    pub(crate) next: u32,
}

/// A conversation as version 1 had it.
#[derive(MlsSize, MlsEncode, MlsDecode)]
struct GroupRecordV1 {
    version: u16,
    encrypt_handshake: bool,
    out_of_order_tolerance: u32,
    maximum_forward_distance: u32,
    key_rotation_seconds: Option<u64>,
    own_commits: Vec<OwnCommit>,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    snapshot: Zeroizing<Vec<u8>>,
}

#[derive(Debug, Clone, PartialEq, Eq, MlsSize, MlsEncode, MlsDecode)]
struct OwnCommit {
    epoch: u64,
    sha256: [u8; 32],
}

impl GroupMeta {
    pub(crate) fn new(custom: &MlsCustomConfiguration, incarnation: u64) -> Self {
        Self {
            encrypt_handshake: custom.wire_policy == MlsWirePolicy::Ciphertext,
            out_of_order_tolerance: custom.out_of_order_tolerance,
            maximum_forward_distance: custom.maximum_forward_distance,
            key_rotation_seconds: custom.key_rotation_span.as_ref().map(Duration::as_secs),
            own_commits: Vec::new(),
            incarnation: Some(incarnation),
            heads_since: 0,
        }
    }

    /// The same settings for a leaf that this device gets now.
    pub(crate) fn of_new_leaf(self, incarnation: u64) -> Self {
        Self { own_commits: Vec::new(), incarnation: Some(incarnation), heads_since: 0, ..self }
    }

    pub(crate) fn encrypts_handshake(&self) -> bool {
        self.encrypt_handshake
    }

    /// How long this device's keys are to last at most.
    pub(crate) fn key_rotation_seconds(&self) -> Option<u64> {
        self.key_rotation_seconds
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
    pub(crate) fn new(
        meta: GroupMeta,
        tree_inside: bool,
        heads: Vec<EpochHeads>,
        snapshot: Zeroizing<Vec<u8>>,
    ) -> Self {
        Self { version: GROUP_VERSION, meta, tree_inside, heads, snapshot }
    }

    pub(crate) fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>> {
        encode(self, "conversation")
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        if version_of(bytes) == Some(1) {
            return Ok(decode::<GroupRecordV1>(bytes, "conversation")?.into());
        }
        let record: Self = decode(bytes, "conversation")?;
        known_version(record.version, GROUP_VERSION, "conversation")?;
        Ok(record)
    }
}

impl From<GroupRecordV1> for GroupRecord {
    fn from(old: GroupRecordV1) -> Self {
        let meta = GroupMeta {
            encrypt_handshake: old.encrypt_handshake,
            out_of_order_tolerance: old.out_of_order_tolerance,
            maximum_forward_distance: old.maximum_forward_distance,
            key_rotation_seconds: old.key_rotation_seconds,
            own_commits: old.own_commits,
            incarnation: Some(0),
            // Set when the group is loaded: it knows its epoch.
            heads_since: u64::MAX,
        };
        Self::new(meta, true, Vec::new(), old.snapshot)
    }
}

/// A commit that was, or is about to be, sent.
#[derive(Clone, PartialEq, Eq, MlsSize, MlsEncode, MlsDecode)]
pub(crate) struct PendingRecord {
    version: u16,
    /// The epoch that the commit ends.
    pub(crate) epoch: u64,
    /// The incarnation of the store in which it was made.
    pub(crate) incarnation: Option<u64>,
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

/// A pending commit as version 1 had it.
#[derive(MlsSize, MlsEncode, MlsDecode)]
struct PendingRecordV1 {
    version: u16,
    epoch: u64,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    commit: Vec<u8>,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    welcome: Vec<u8>,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    group_info: Vec<u8>,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    encrypted_message: Vec<u8>,
    state: PendingState,
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
        Self {
            version: PENDING_VERSION,
            epoch,
            incarnation: Some(incarnation),
            commit: bundle.commit,
            welcome: bundle.welcome.unwrap_or_default(),
            group_info: bundle.group_info.payload,
            encrypted_message: bundle.encrypted_message.unwrap_or_default(),
            state,
        }
    }

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
            has_message: self.message().is_some(),
        }
    }

    pub(crate) fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>> {
        encode(self, "pending commit")
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        if version_of(bytes) == Some(1) {
            let old: PendingRecordV1 = decode(bytes, "pending commit")?;
            return Ok(Self {
                version: PENDING_VERSION,
                epoch: old.epoch,
                incarnation: Some(0),
                commit: old.commit,
                welcome: old.welcome,
                group_info: old.group_info,
                encrypted_message: old.encrypted_message,
                state: old.state,
            });
        }
        let record: Self = decode(bytes, "pending commit")?;
        known_version(record.version, PENDING_VERSION, "pending commit")?;
        Ok(record)
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).into()
}

pub(crate) fn encode<T: MlsEncode + MlsSize>(record: &T, what: &'static str) -> Result<Zeroizing<Vec<u8>>> {
    match record.mls_encode_to_vec() {
        Ok(bytes) => Ok(Zeroizing::new(bytes)),
        Err(error) => Err(EngineError::DamagedState { what, source: Some(Box::new(error)) }),
    }
}

pub(crate) fn decode<T: MlsDecode>(bytes: &[u8], what: &'static str) -> Result<T> {
    let mut rest = bytes;
    let damaged = |source| EngineError::DamagedState { what, source };
    let record = T::mls_decode(&mut rest).map_err(|error| damaged(Some(Box::new(error))))?;
    if rest.is_empty() { Ok(record) } else { Err(damaged(None)) }
}

/// The version that every record begins with.
pub(crate) fn version_of(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().copied().map(u16::from_be_bytes)
}

pub(crate) fn known_version(version: u16, known: u16, what: &'static str) -> Result<()> {
    if version == known { Ok(()) } else { Err(EngineError::DamagedState { what, source: None }) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn record() -> GroupRecord {
        let mut meta = GroupMeta::new(
            &MlsCustomConfiguration {
                key_rotation_span: Some(Duration::from_hours(1)),
                wire_policy: MlsWirePolicy::Ciphertext,
                ..MlsCustomConfiguration::default()
            },
            4,
        );
        meta.remember_own_commit(7, [0xab; 32]);
        let heads = vec![EpochHeads { epoch: 8, senders: vec![SenderHead { leaf: 1, next: 9 }] }];
        GroupRecord::new(meta, false, heads, Zeroizing::new(vec![1, 2, 3]))
    }

    #[test]
    fn the_format_of_a_conversation_is_the_released_one() {
        let record = record();
        let bytes = record.to_bytes().unwrap();
        let expected = format!(
            "00020100000002000003e8010000000000000e1028{}{}{}{}{}03010203",
            "0000000000000007",
            "ab".repeat(32),
            "010000000000000004",
            "0000000000000000",
            "001100000000000000080800000001".to_owned() + "00000009",
        );
        assert_eq!(hex::encode(&bytes[..]), expected);
        assert!(GroupRecord::from_bytes(&bytes).unwrap() == record);
    }

    #[test]
    fn a_conversation_of_version_1_is_read() {
        let bytes = hex::decode(format!(
            "00010100000002000003e8010000000000000e1028{}{}03010203",
            "0000000000000007",
            "ab".repeat(32)
        ))
        .unwrap();
        let read = GroupRecord::from_bytes(&bytes).unwrap();
        assert!(read.tree_inside && read.heads.is_empty() && read.snapshot[..] == [1, 2, 3]);
        assert!(read.meta.is_own_commit(&[0xab; 32]) && read.meta.encrypts_handshake());
        assert_eq!(read.meta.incarnation, Some(0));
    }

    #[test]
    fn the_format_of_a_pending_commit_is_the_released_one() {
        let bundle = MlsCommitBundle {
            welcome: None,
            commit: vec![1],
            group_info: MlsGroupInfoBundle::full_plaintext(vec![2]),
            encrypted_message: Some(vec![3]),
        };
        let record = PendingRecord::new(5, 6, bundle.clone(), PendingState::Commit(Zeroizing::new(vec![4])));
        let bytes = record.to_bytes().unwrap();
        assert_eq!(hex::encode(&bytes[..]), "0002000000000000000501000000000000000601010001020103010104");
        let old =
            PendingRecord::from_bytes(&hex::decode("0001000000000000000501010001020103010104").unwrap());
        assert!(old.unwrap() == PendingRecord { incarnation: Some(0), ..record.clone() });
        let read = PendingRecord::from_bytes(&bytes).unwrap();
        assert!(read == record && read.bundle() == bundle && read.message() == Some(&[3]) && !read.is_join());
    }

    #[test]
    fn other_versions_and_rests_are_refused() {
        let record = record();
        let mut bytes = record.to_bytes().unwrap().to_vec();
        bytes.push(0);
        assert!(matches!(GroupRecord::from_bytes(&bytes), Err(EngineError::DamagedState { .. })));
        bytes.pop();
        bytes[1] = 3;
        assert!(matches!(GroupRecord::from_bytes(&bytes), Err(EngineError::DamagedState { .. })));
    }

    #[test]
    fn only_the_newest_own_commits_are_remembered() {
        let mut meta = GroupMeta::new(&MlsCustomConfiguration::default(), 0);
        for n in 0..=OWN_COMMITS {
            meta.remember_own_commit(n as u64, [u8::try_from(n).unwrap(); 32]);
        }
        assert!(!meta.is_own_commit(&[0; 32]));
        assert!(meta.is_own_commit(&[1; 32]));
    }
}
