//! The secret of a span: everything that it takes to be its history client.

use std::fmt;

use mls_rs::{
    CipherSuiteProvider, ExtensionList, MlsMessage,
    crypto::HpkePublicKey,
    mls_rs_codec::{self, MlsDecode, MlsEncode, MlsSize},
};
use mls_rs_core::key_package::KeyPackageData;
use tertulia_domain::ids::UserId;
use zeroize::Zeroizing;

use crate::{
    Ciphersuite, ClientId, ConversationId, Credential, EngineError, KeyPackage, MAX_MESSAGE_BYTES, Result,
    SessionConfig,
    identity::HISTORY_CLIENT,
    key_package::MAX_LIFETIME,
    overlay::Overlay,
    provider,
    record::{GroupMeta, sha256},
    transaction::{backdated, failure},
};

const VERSION: u16 = 1;

/// Keeps the checksum apart from all other uses of SHA-256.
const CHECKSUM_LABEL: &[u8] = b"tertulia history secret 1";
const CHECKSUM: usize = 32;

/// What opens one span of a conversation's history: see [`Session::open_history`](crate::Session::open_history).
///
/// Whoever has the bytes can read the span. They travel only inside encrypted messages, and rest only in the store;
/// they are wiped from memory when this is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct HistorySecret {
    bytes: Zeroizing<Vec<u8>>,
    conversation: ConversationId,
    client_id: ClientId,
    first_epoch: u64,
}

/// Keeps the trial of a leaf's key apart from all other uses of it.
const LEAF_KEY_INFO: &[u8] = b"tertulia history leaf key 1";

/// What a `KeyPackage` (RFC 9420, section 10) begins with, as far as the leaf's public key.
#[derive(MlsSize, MlsEncode, MlsDecode)]
struct KeyPackageBegin {
    version: u16,
    ciphersuite: u16,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    init_key: Vec<u8>,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    encryption_key: Vec<u8>,
}

/// What stands in the bytes, before the checksum.
#[derive(MlsSize, MlsEncode, MlsDecode)]
pub(super) struct Content {
    version: u16,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    conversation: Vec<u8>,
    first_epoch: u64,
    ciphersuite: u16,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    client_id: Vec<u8>,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    signature_key: Vec<u8>,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    signature_secret: Zeroizing<Vec<u8>>,
    /// The library's `KeyPackageData`: the key package with its two private keys.
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    key_package: Zeroizing<Vec<u8>>,
    /// The `MLSMessage` by which the history client joins.
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    pub(super) welcome: Vec<u8>,
}

impl HistorySecret {
    /// Reads a secret. That it fits together is found out when it is opened.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::from_secret(Zeroizing::new(bytes.to_vec()))
    }

    pub(super) fn from_secret(bytes: Zeroizing<Vec<u8>>) -> Result<Self> {
        let content = Content::read(&bytes)?;
        Ok(Self {
            conversation: ConversationId::from(content.conversation),
            client_id: ClientId::from(content.client_id),
            first_epoch: content.first_epoch,
            bytes,
        })
    }

    /// The bytes, to be kept as carefully as a key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whose history it is.
    pub fn conversation_id(&self) -> &ConversationId {
        &self.conversation
    }

    /// The member that the span is read as.
    pub fn client_id(&self) -> &ClientId {
        &self.client_id
    }

    /// The epoch that the span begins with.
    pub fn first_epoch(&self) -> u64 {
        self.first_epoch
    }

    pub(super) fn content(&self) -> Result<Content> {
        let (content, _) = Content::split(&self.bytes)?;
        Content::parse(content)
    }

    /// The checksum, by which secrets are told apart.
    pub(super) fn checksum(&self) -> Result<[u8; CHECKSUM]> {
        Content::split(&self.bytes).map(|(_, sum)| *sum)
    }
}

impl fmt::Debug for HistorySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HistorySecret")
            .field("conversation", &self.conversation)
            .field("client_id", &self.client_id)
            .field("first_epoch", &self.first_epoch)
            .finish_non_exhaustive()
    }
}

impl Content {
    fn read(bytes: &[u8]) -> Result<Self> {
        let refused = || EngineError::InvalidHistorySecret(None);
        if bytes.len() > MAX_MESSAGE_BYTES {
            return Err(refused());
        }
        let (content, sum) = Self::split(bytes)?;
        // Not every key in it is checked when it is opened, and a wrong one would show in the middle of the span only.
        if checksum(content) != *sum {
            return Err(refused());
        }
        Self::parse(content)
    }

    /// The content and the checksum.
    fn split(bytes: &[u8]) -> Result<(&[u8], &[u8; CHECKSUM])> {
        bytes.split_last_chunk().ok_or(EngineError::InvalidHistorySecret(None))
    }

    fn parse(mut content: &[u8]) -> Result<Self> {
        let read = Self::mls_decode(&mut content)
            .map_err(|error| EngineError::InvalidHistorySecret(Some(Box::new(error))))?;
        let is_known = read.version == VERSION && content.is_empty();
        if is_known { Ok(read) } else { Err(EngineError::InvalidHistorySecret(None)) }
    }

    fn write(&self) -> Result<Zeroizing<Vec<u8>>> {
        let content = self.mls_encode_to_vec().map_err(|error| EngineError::Library(Box::new(error)))?;
        let content = Zeroizing::new(content);
        let mut bytes = Zeroizing::new(Vec::with_capacity(content.len() + CHECKSUM));
        bytes.extend_from_slice(&content);
        bytes.extend_from_slice(&checksum(&content));
        Ok(bytes)
    }

    pub(super) fn credential(&self) -> Result<Credential> {
        Ok(Credential {
            client_id: ClientId::from(self.client_id.as_slice()),
            ciphersuite: Ciphersuite::from_number(self.ciphersuite)?,
            public_key: self.signature_key.clone(),
            secret_key: self.signature_secret.clone(),
            chain: None,
        })
    }

    pub(super) fn key_package(&self) -> Result<KeyPackageData> {
        KeyPackageData::mls_decode(&mut &self.key_package[..])
            .map_err(|error| EngineError::InvalidHistorySecret(Some(Box::new(error))))
    }

    /// Refuses a leaf whose private key is not its public one's. MLS does not look at it on joining, so that a member could
    /// give a secret on with which everything is right but that the first commit in the span cannot be read.
    pub(super) fn check_leaf_key(&self) -> Result<()> {
        let refused = || EngineError::InvalidHistorySecret(None);
        let data = self.key_package()?;
        let public = KeyPackageBegin::mls_decode(&mut &data.key_package_bytes[..])
            .map_err(|error| EngineError::InvalidHistorySecret(Some(Box::new(error))))?;
        let public = HpkePublicKey::from(public.encryption_key);
        let suite = provider::cipher_suite_provider(Ciphersuite::from_number(self.ciphersuite)?)?;
        // What is sealed here goes nowhere, and says nothing.
        let sealed = suite.hpke_seal(&public, LEAF_KEY_INFO, None, b"").map_err(|_| refused())?;
        let opened = suite.hpke_open(&sealed, &data.leaf_node_key, &public, LEAF_KEY_INFO, None);
        opened.map(drop).map_err(|_| refused())
    }
}

fn checksum(content: &[u8]) -> [u8; CHECKSUM] {
    sha256(&[&sha256(CHECKSUM_LABEL), content].concat())
}

/// A history client that is in no group yet.
pub(crate) struct NewHistoryClient {
    credential: Credential,
    data: Zeroizing<Vec<u8>>,
    pub(crate) key_package: MlsMessage,
}

impl NewHistoryClient {
    /// With keys of its own, and leaf capabilities as this device's.
    pub(super) fn generate(ciphersuite: Ciphersuite, config: &SessionConfig) -> Result<Self> {
        let client_id = ClientId::from(format!("{HISTORY_CLIENT}{}", UserId::random()));
        let credential = Credential::basic(client_id, ciphersuite)?;
        let scratch = Overlay::scratch();
        let meta = GroupMeta::new(&config.joined, 0);
        let client = provider::client(&scratch, config, &meta, Some(&credential), MAX_LIFETIME);
        let key_package = client
            .generate_key_package_message(ExtensionList::new(), ExtensionList::new(), Some(backdated()))
            .map_err(|error| failure(&scratch, error))?;
        let reference = KeyPackage::from_message(&key_package)?.reference().to_vec();
        let missing = EngineError::DamagedState { what: "key package", source: None };
        let data = scratch.key_package(&reference)?.ok_or(missing)?;
        let data = data.mls_encode_to_vec().map_err(|error| EngineError::Library(Box::new(error)))?;
        Ok(Self { credential, data: Zeroizing::new(data), key_package })
    }

    /// The secret, once the Welcome is known.
    pub(super) fn secret(
        &self,
        conversation: &ConversationId,
        first_epoch: u64,
        welcome: &[u8],
    ) -> Result<HistorySecret> {
        let content = Content {
            version: VERSION,
            conversation: conversation.as_bytes().to_vec(),
            first_epoch,
            ciphersuite: self.credential.ciphersuite.number(),
            client_id: self.credential.client_id.as_bytes().to_vec(),
            signature_key: self.credential.public_key.clone(),
            signature_secret: self.credential.secret_key.clone(),
            key_package: self.data.clone(),
            welcome: welcome.to_vec(),
        };
        HistorySecret::from_secret(content.write()?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn content() -> Content {
        Content {
            version: VERSION,
            conversation: vec![1],
            first_epoch: 2,
            ciphersuite: 3,
            client_id: vec![4],
            signature_key: vec![5],
            signature_secret: Zeroizing::new(vec![6]),
            key_package: Zeroizing::new(vec![7]),
            welcome: vec![8],
        }
    }

    #[test]
    fn the_format_of_a_history_secret_is_the_released_one() {
        let bytes = content().write().unwrap();
        let (content, sum) = bytes.split_last_chunk::<CHECKSUM>().unwrap();
        assert_eq!(hex::encode(content), "000101010000000000000002000301040105010601070108");
        assert_eq!(hex::encode(&sum[..4]), "36bdf3e3");
        let secret = HistorySecret::from_bytes(&bytes).unwrap();
        assert_eq!((secret.first_epoch(), secret.client_id().as_bytes()), (2, &[4][..]));
    }

    #[test]
    fn no_byte_can_be_changed_and_none_is_printed() {
        let bytes = content().write().unwrap();
        for position in 0..bytes.len() {
            let mut other = bytes.to_vec();
            other[position] ^= 1;
            let refused = HistorySecret::from_bytes(&other);
            assert!(matches!(refused, Err(EngineError::InvalidHistorySecret(_))), "byte {position}");
            assert!(HistorySecret::from_bytes(&bytes[..position]).is_err());
        }
        let printed = format!("{:?}", HistorySecret::from_bytes(&bytes).unwrap());
        assert_eq!(
            printed,
            "HistorySecret { conversation: ConversationId(01), client_id: ClientId(04), first_epoch: 2, .. }"
        );
    }
}
