//! A member that does not keep to the protocol: it writes messages in the name of others.
//!
//! It is the MLS library on operations that lie to it: what it encrypts goes out with another member's leaf, key and
//! generation, all of which a member can know.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use mls_rs::{
    CipherSuite, CipherSuiteProvider, Client, CryptoProvider, ExtensionList, Group, MlsMessage,
    client_builder::{BaseConfig, WithCryptoProvider, WithIdentityProvider},
    crypto::{HpkeCiphertext, HpkePublicKey, HpkeSecretKey, SignaturePublicKey, SignatureSecretKey},
    extension::ExtensionType,
    group::ReceivedMessage,
    identity::{SigningIdentity, basic::BasicCredential},
};
use mls_rs_core::crypto::HpkePsk;
use mls_rs_crypto_awslc::{AwsLcCipherSuite, AwsLcCryptoError, AwsLcCryptoProvider};
use tertulia_mls::{ConversationId, KeyPackage};
use zeroize::Zeroizing;

use super::{AnyIdentity, Device, client_id};

type Config = WithIdentityProvider<AnyIdentity, WithCryptoProvider<LyingProvider, BaseConfig>>;

/// What a forged message is encrypted with and says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forged {
    /// With whatever key, and the forger's signature.
    Garbage,
    /// With the victim's key, and the forger's signature.
    SignedByForger,
    /// With the victim's key: what the victim has said and signed before, once more.
    Repeated,
}

pub(crate) struct Forger {
    group: Group<Config>,
    lies: Arc<Mutex<Lies>>,
    /// How much of the log it has read.
    cursor: usize,
}

#[derive(Default)]
struct Lies {
    /// What goes out as the sender data, and with which key and nonce the content, if not its own.
    sender: Option<(u32, u32)>,
    key: Option<(Vec<u8>, Vec<u8>)>,
    /// What is encrypted instead of the content.
    content: Option<Vec<u8>>,
    /// The newest content that was decrypted.
    heard: Vec<u8>,
}

impl Forger {
    /// A new member of the conversation, which `by` adds.
    pub(crate) async fn join(by: &mut Device, id: &ConversationId) -> Self {
        let number = CipherSuite::CURVE25519_AES128;
        let lies = Arc::<Mutex<Lies>>::default();
        let crypto = LyingProvider { lies: lies.clone() };
        let (secret, public) =
            crypto.cipher_suite_provider(number).unwrap().signature_key_generate().unwrap();
        let name = client_id("mallory");
        let identity =
            SigningIdentity::new(BasicCredential::new(name.as_bytes().to_vec()).into_credential(), public);
        let client = Client::builder()
            .crypto_provider(crypto)
            .identity_provider(AnyIdentity)
            .extension_type(ExtensionType::new(0xf7e1)) // that of the group data
            .extension_type(ExtensionType::new(0xf7e2)) // that of encrypted handshakes
            .key_package_lifetime(Duration::from_hours(24))
            .signing_identity(identity, secret, number)
            .build();
        let package =
            client.generate_key_package_message(ExtensionList::new(), ExtensionList::new(), None).unwrap();
        let package = KeyPackage::from_bytes(&package.to_bytes().unwrap()).unwrap();
        by.change(id, vec![package], &[]).await.unwrap();
        let (welcome, cursor) = by.hub.welcome(id);
        let (group, _) = client.join_group(None, &MlsMessage::from_bytes(&welcome).unwrap(), None).unwrap();
        Self { group, lies, cursor }
    }

    /// Reads the rest of the log.
    pub(crate) fn sync(&mut self, by: &Device, id: &ConversationId) {
        while let Some(entry) = by.hub.log_entry(id, self.cursor) {
            self.cursor += 1;
            let read = self.group.process_incoming_message(MlsMessage::from_bytes(&entry).unwrap()).unwrap();
            assert!(matches!(read, ReceivedMessage::ApplicationMessage(_) | ReceivedMessage::Commit(_)));
        }
    }

    /// A commit after which nobody may propose from outside.
    pub(crate) fn drop_external_senders(&mut self) -> Vec<u8> {
        let mut extensions = self.group.context().extensions.clone();
        extensions.remove(ExtensionType::EXTERNAL_SENDERS);
        let commit = self.group.commit_builder().set_group_context_ext(extensions).unwrap().build().unwrap();
        commit.commit_message.to_bytes().unwrap()
    }

    /// A proposal after which nobody may propose from outside.
    pub(crate) fn propose_no_external_senders(&mut self) -> Vec<u8> {
        let mut extensions = self.group.context().extensions.clone();
        extensions.remove(ExtensionType::EXTERNAL_SENDERS);
        let proposal = self.group.propose_group_context_extensions(extensions, Vec::new()).unwrap();
        proposal.to_bytes().unwrap()
    }

    /// A message in the name of the member at `leaf`, with the key of this generation of its.
    pub(crate) fn forge(&mut self, leaf: u32, generation: u32, what: Forged) -> Vec<u8> {
        let key = self.group.clone().derive_decryption_key(leaf * 2, generation).ok();
        let mut lies = self.lies.lock().unwrap();
        lies.sender = Some((leaf, generation));
        lies.key = (what != Forged::Garbage)
            .then(|| key.map(|key| (key.key().to_vec(), key.nonce().to_vec())))
            .flatten();
        lies.content = (what == Forged::Repeated).then(|| lies.heard.clone());
        drop(lies);
        let message = self.group.encrypt_application_message(b"never said", Vec::new()).unwrap();
        let mut lies = self.lies.lock().unwrap();
        (lies.sender, lies.key, lies.content) = (None, None, None);
        message.to_bytes().unwrap()
    }
}

#[derive(Clone)]
struct LyingProvider {
    lies: Arc<Mutex<Lies>>,
}

impl CryptoProvider for LyingProvider {
    type CipherSuiteProvider = LyingSuite;

    fn supported_cipher_suites(&self) -> Vec<CipherSuite> {
        AwsLcCryptoProvider::new().supported_cipher_suites()
    }

    fn cipher_suite_provider(&self, suite: CipherSuite) -> Option<LyingSuite> {
        let library = AwsLcCryptoProvider::new().cipher_suite_provider(suite)?;
        Some(LyingSuite { library, lies: self.lies.clone() })
    }
}

#[derive(Clone)]
struct LyingSuite {
    library: AwsLcCipherSuite,
    lies: Arc<Mutex<Lies>>,
}

/// Leaf, generation and reuse guard.
const SENDER_DATA_BYTES: usize = 12;

type Result<T> = std::result::Result<T, AwsLcCryptoError>;

impl CipherSuiteProvider for LyingSuite {
    type Error = AwsLcCryptoError;
    type HpkeContextS = <AwsLcCipherSuite as CipherSuiteProvider>::HpkeContextS;
    type HpkeContextR = <AwsLcCipherSuite as CipherSuiteProvider>::HpkeContextR;

    /// The lie.
    fn aead_seal(&self, key: &[u8], data: &[u8], aad: Option<&[u8]>, nonce: &[u8]) -> Result<Vec<u8>> {
        let lies = self.lies.lock().unwrap();
        let Some((leaf, generation)) = lies.sender else {
            return self.library.aead_seal(key, data, aad, nonce);
        };
        if data.len() == SENDER_DATA_BYTES {
            // With a reuse guard that changes nothing: the nonce is the one that was derived.
            let data = [leaf.to_be_bytes(), generation.to_be_bytes(), [0; 4]].concat();
            return self.library.aead_seal(key, &data, aad, nonce);
        }
        let (key, nonce) = lies.key.as_ref().map_or((key, nonce), |(key, nonce)| (&key[..], &nonce[..]));
        self.library.aead_seal(key, lies.content.as_deref().unwrap_or(data), aad, nonce)
    }

    fn aead_open(
        &self,
        key: &[u8],
        ciphertext: &[u8],
        aad: Option<&[u8]>,
        nonce: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>> {
        let opened = self.library.aead_open(key, ciphertext, aad, nonce)?;
        if opened.len() != SENDER_DATA_BYTES {
            self.lies.lock().unwrap().heard = opened.to_vec();
        }
        Ok(opened)
    }

    fn cipher_suite(&self) -> CipherSuite {
        self.library.cipher_suite()
    }

    fn hash(&self, data: &[u8]) -> Result<Vec<u8>> {
        self.library.hash(data)
    }

    fn mac(&self, key: &[u8], data: &[u8]) -> Result<Vec<u8>> {
        self.library.mac(key, data)
    }

    fn aead_key_size(&self) -> usize {
        self.library.aead_key_size()
    }

    fn aead_nonce_size(&self) -> usize {
        self.library.aead_nonce_size()
    }

    fn kdf_extract(&self, salt: &[u8], ikm: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        self.library.kdf_extract(salt, ikm)
    }

    fn kdf_expand(&self, prk: &[u8], info: &[u8], len: usize) -> Result<Zeroizing<Vec<u8>>> {
        self.library.kdf_expand(prk, info, len)
    }

    fn kdf_extract_size(&self) -> usize {
        self.library.kdf_extract_size()
    }

    fn hpke_seal(
        &self,
        remote_key: &HpkePublicKey,
        info: &[u8],
        aad: Option<&[u8]>,
        pt: &[u8],
    ) -> Result<HpkeCiphertext> {
        self.library.hpke_seal(remote_key, info, aad, pt)
    }

    fn hpke_seal_psk(
        &self,
        remote_key: &HpkePublicKey,
        info: &[u8],
        aad: Option<&[u8]>,
        pt: &[u8],
        psk: HpkePsk<'_>,
    ) -> Result<HpkeCiphertext> {
        self.library.hpke_seal_psk(remote_key, info, aad, pt, psk)
    }

    fn hpke_open(
        &self,
        ciphertext: &HpkeCiphertext,
        local_secret: &HpkeSecretKey,
        local_public: &HpkePublicKey,
        info: &[u8],
        aad: Option<&[u8]>,
    ) -> Result<Zeroizing<Vec<u8>>> {
        self.library.hpke_open(ciphertext, local_secret, local_public, info, aad)
    }

    fn hpke_open_psk(
        &self,
        ciphertext: &HpkeCiphertext,
        local_secret: &HpkeSecretKey,
        local_public: &HpkePublicKey,
        info: &[u8],
        aad: Option<&[u8]>,
        psk: HpkePsk<'_>,
    ) -> Result<Zeroizing<Vec<u8>>> {
        self.library.hpke_open_psk(ciphertext, local_secret, local_public, info, aad, psk)
    }

    fn hpke_setup_s(&self, remote_key: &HpkePublicKey, info: &[u8]) -> Result<(Vec<u8>, Self::HpkeContextS)> {
        self.library.hpke_setup_s(remote_key, info)
    }

    fn hpke_setup_r(
        &self,
        kem_output: &[u8],
        local_secret: &HpkeSecretKey,
        local_public: &HpkePublicKey,
        info: &[u8],
    ) -> Result<Self::HpkeContextR> {
        self.library.hpke_setup_r(kem_output, local_secret, local_public, info)
    }

    fn kem_derive(&self, ikm: &[u8]) -> Result<(HpkeSecretKey, HpkePublicKey)> {
        self.library.kem_derive(ikm)
    }

    fn kem_generate(&self) -> Result<(HpkeSecretKey, HpkePublicKey)> {
        self.library.kem_generate()
    }

    fn kem_public_key_validate(&self, key: &HpkePublicKey) -> Result<()> {
        self.library.kem_public_key_validate(key)
    }

    fn random_bytes(&self, out: &mut [u8]) -> Result<()> {
        self.library.random_bytes(out)
    }

    fn signature_key_generate(&self) -> Result<(SignatureSecretKey, SignaturePublicKey)> {
        self.library.signature_key_generate()
    }

    fn signature_key_derive_public(&self, secret_key: &SignatureSecretKey) -> Result<SignaturePublicKey> {
        self.library.signature_key_derive_public(secret_key)
    }

    fn sign(&self, secret_key: &SignatureSecretKey, data: &[u8]) -> Result<Vec<u8>> {
        self.library.sign(secret_key, data)
    }

    fn verify(&self, public_key: &SignaturePublicKey, signature: &[u8], data: &[u8]) -> Result<()> {
        self.library.verify(public_key, signature, data)
    }
}
