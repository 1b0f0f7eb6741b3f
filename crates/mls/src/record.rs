//! What is written into the store, byte for byte. A change here is a change of format: raise the version, read both.

mod intent;
mod pending;
mod seal;

use std::time::Duration;

use mls_rs::mls_rs_codec::{self, MlsDecode, MlsEncode, MlsSize};
use zeroize::Zeroizing;

pub(crate) use self::{
    pending::{PendingBody, PendingHead, PendingRecord, PendingState},
    seal::{seal, unseal},
};
use crate::{
    EngineError, MlsCustomConfiguration, MlsWirePolicy, Result, long_secret::LongSecret, tree::TreeDigest,
};

/// The versions that are written. Version 1 of a conversation was the whole snapshot without the numbers of the senders, and
/// neither it nor the library's record of a past epoch had a digest.
const GROUP_VERSION: u16 = 2;
const EPOCH_VERSION: u16 = 2;

const WHAT: &str = "conversation";
const EPOCH: &str = "past epoch";

/// How many own commits are remembered, so that they are known when they come back late.
const OWN_COMMITS: usize = 8;

/// A conversation: the library's snapshot of the group with what the engine adds to it.
#[derive(Clone, PartialEq, Eq, MlsDecode)]
pub(crate) struct GroupRecord {
    pub(crate) meta: GroupMeta,
    /// That of the ratchet tree beside the snapshot. None when the tree is in it.
    pub(crate) tree: Option<TreeDigest>,
    pub(crate) heads: Vec<EpochHeads>,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    pub(crate) snapshot: LongSecret,
}

/// The same, of parts that are elsewhere.
#[derive(MlsSize, MlsEncode)]
struct GroupRecordParts<'a> {
    meta: &'a GroupMeta,
    tree: Option<TreeDigest>,
    heads: &'a Vec<EpochHeads>,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    snapshot: &'a LongSecret,
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
    /// How many past epochs' secrets are kept.
    pub(crate) prior_epochs: u16,
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
    snapshot: LongSecret,
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
            prior_epochs: custom.prior_epochs,
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
        tree: Option<TreeDigest>,
        heads: Vec<EpochHeads>,
        snapshot: LongSecret,
    ) -> Self {
        Self { meta, tree, heads, snapshot }
    }

    pub(crate) fn to_bytes(&self) -> Result<LongSecret> {
        Self::parts_to_bytes(&self.meta, self.tree, &self.heads, &self.snapshot)
    }

    /// The record of these parts, without copying them first.
    pub(crate) fn parts_to_bytes(
        meta: &GroupMeta,
        tree: Option<TreeDigest>,
        heads: &Vec<EpochHeads>,
        snapshot: &LongSecret,
    ) -> Result<LongSecret> {
        seal(GROUP_VERSION, &GroupRecordParts { meta, tree, heads, snapshot }, WHAT)
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        match version_of(bytes) {
            Some(1) => Ok(decode::<GroupRecordV1>(bytes, WHAT)?.into()),
            _ => unseal(GROUP_VERSION, bytes, WHAT),
        }
    }
}

/// The library's record of a past epoch.
#[derive(MlsSize, MlsEncode)]
struct EpochParts<'a>(#[mls_codec(with = "mls_rs_codec::byte_vec")] &'a Zeroizing<Vec<u8>>);

#[derive(MlsDecode)]
struct Epoch(#[mls_codec(with = "mls_rs_codec::byte_vec")] Zeroizing<Vec<u8>>);

/// A past epoch as it is stored.
pub(crate) fn epoch_to_bytes(secrets: &Zeroizing<Vec<u8>>) -> Result<LongSecret> {
    seal(EPOCH_VERSION, &EpochParts(secrets), EPOCH)
}

/// A past epoch that was stored. In version 1 it was the library's record alone, which begins with the version of MLS: 1.
pub(crate) fn epoch_from_bytes(bytes: Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>> {
    match version_of(&bytes) {
        Some(1) => Ok(bytes),
        _ => unseal::<Epoch>(EPOCH_VERSION, &bytes, EPOCH).map(|Epoch(secrets)| secrets),
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
            prior_epochs: MlsCustomConfiguration::default().prior_epochs,
        };
        Self::new(meta, None, Vec::new(), old.snapshot)
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
                prior_epochs: 5,
                ..MlsCustomConfiguration::default()
            },
            4,
        );
        meta.remember_own_commit(7, [0xab; 32]);
        let heads = vec![EpochHeads { epoch: 8, senders: vec![SenderHead { leaf: 1, next: 9 }] }];
        GroupRecord::new(meta, Some([0xcd; 16]), heads, vec![1, 2, 3].into())
    }

    #[test]
    fn the_format_of_a_conversation_is_the_released_one() {
        let record = record();
        let bytes = record.to_bytes().unwrap();
        let inside = format!(
            "0100000002000003e8010000000000000e1028{}{}{}{}0005{}03010203",
            "0000000000000007",
            "ab".repeat(32),
            "010000000000000004",
            "0000000000000000",
            // The tree, which is beside it, and the heads.
            "01cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd".to_owned() + "110000000000000008080000000100000009",
        );
        let digest = &sha256(&hex::decode(&inside).unwrap())[..16];
        assert_eq!(hex::encode(&bytes[..]), format!("0002{}{inside}", hex::encode(digest)));
        assert!(GroupRecord::from_bytes(&bytes).unwrap() == record);
    }

    #[test]
    fn the_format_of_a_past_epoch_is_the_released_one() {
        let secrets = Zeroizing::new(vec![0, 1, 5]);
        let bytes = epoch_to_bytes(&secrets).unwrap();
        let digest = &sha256(&[3, 0, 1, 5])[..16];
        assert_eq!(hex::encode(&bytes[..]), format!("0002{}03000105", hex::encode(digest)));
        assert_eq!(epoch_from_bytes(bytes.into_zeroizing()).unwrap(), secrets);
        assert_eq!(epoch_from_bytes(secrets.clone()).unwrap(), secrets, "as version 1 had it");
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
        assert!(read.tree.is_none() && read.heads.is_empty() && read.snapshot[..] == [1, 2, 3]);
        assert!(read.meta.is_own_commit(&[0xab; 32]) && read.meta.encrypts_handshake());
        assert_eq!(read.meta.incarnation, Some(0));
    }

    #[test]
    fn damage_is_found_wherever_it_is() {
        let whole = record().to_bytes().unwrap().to_vec();
        let refused = |bytes: &[u8]| {
            matches!(GroupRecord::from_bytes(bytes), Err(EngineError::DamagedState { what: WHAT, .. }))
        };
        assert!(refused(&[&whole[..], &[0]].concat()));
        for at in 0..whole.len() {
            assert!(refused(&whole[..at]), "{at}");
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            assert!(refused(&bytes), "{at}");
        }
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
