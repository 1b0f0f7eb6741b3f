//! The same group on the MLS library alone, in memory: what the engine is measured against.

use std::time::Duration;

use mls_rs::{
    CipherSuite, CipherSuiteProvider, Client, CryptoProvider, ExtensionList, Group, GroupStateStorage,
    MlsMessage,
    client_builder::{
        BaseConfig, ClientBuilder, PaddingMode, WithCryptoProvider, WithGroupStateStorage,
        WithIdentityProvider, WithMlsRules,
    },
    error::MlsError,
    identity::{
        SigningIdentity,
        basic::{BasicCredential, BasicIdentityProvider},
    },
    mls_rules::{CommitOptions, DefaultMlsRules, EncryptionOptions},
    storage_provider::in_memory::InMemoryGroupStateStorage,
};
use mls_rs_crypto_awslc::AwsLcCryptoProvider;
use tertulia_domain::{DeviceAddress, DeviceId, Domain, UserId};

type Config = WithGroupStateStorage<
    InMemoryGroupStateStorage,
    WithMlsRules<
        DefaultMlsRules,
        WithCryptoProvider<AwsLcCryptoProvider, WithIdentityProvider<BasicIdentityProvider, BaseConfig>>,
    >,
>;

const SUITE: CipherSuite = CipherSuite::CURVE25519_AES128;

/// Longest that the engine accepts.
const LIFETIME: Duration = Duration::from_hours(84 * 24);

const IN_MEMORY: &str = "storage in memory does not fail";

/// A member on the MLS library alone, with the settings that the engine gives it and its storage in memory.
#[derive(Clone)]
pub struct RawMember {
    crypto: AwsLcCryptoProvider,
    identity: SigningIdentity,
    secret: mls_rs::crypto::SignatureSecretKey,
    storage: InMemoryGroupStateStorage,
    client: Client<Config>,
}

impl RawMember {
    /// A new device with a random address.
    pub fn random() -> Result<Self, MlsError> {
        let crypto = AwsLcCryptoProvider::with_enabled_cipher_suites(vec![SUITE]);
        let suite = crypto.cipher_suite_provider(SUITE).ok_or(MlsError::UnsupportedCipherSuite(SUITE))?;
        let (secret, public) = suite.signature_key_generate().expect("there is randomness");
        let domain: Domain = "bench.localhost".parse().expect("a valid domain");
        let address = DeviceAddress { user: UserId::random(), device: DeviceId::random(), domain };
        let credential = BasicCredential::new(address.to_identity()).into_credential();
        let identity = SigningIdentity::new(credential, public);
        let storage = InMemoryGroupStateStorage::default();
        let client = client(&crypto, &identity, &secret, &storage, true);
        Ok(Self { crypto, identity, secret, storage, client })
    }

    /// A key package for one use.
    pub fn key_package(&self) -> Result<MlsMessage, MlsError> {
        self.client.generate_key_package_message(ExtensionList::new(), ExtensionList::new(), None)
    }

    /// A new group with this as its only member.
    pub fn create(&self) -> Result<Group<Config>, MlsError> {
        self.client.create_group(ExtensionList::new(), ExtensionList::new(), None)
    }

    /// Joins by a serialised Welcome.
    pub fn join(&self, welcome: &[u8]) -> Result<Group<Config>, MlsError> {
        Ok(self.client.join_group(None, &MlsMessage::from_bytes(welcome)?, None)?.0)
    }
}

/// A group of which one member writes and another reads.
pub struct RawGroup {
    /// Leaf 0, which has added everybody else.
    pub writer: Group<Config>,
    /// The last leaf.
    pub reader: Group<Config>,
    writer_storage: InMemoryGroupStateStorage,
}

impl RawGroup {
    /// A group of a writer, those of the key packages, and a reader, all added in one commit.
    ///
    /// It is made without the ratchet tree in the Welcome, which saves the hashing of it once for each new member.
    pub fn new(others: &[MlsMessage]) -> Result<Self, MlsError> {
        let (writer, reader) = (RawMember::random()?, RawMember::random()?);
        let mut key_packages = others.to_vec();
        key_packages.push(reader.key_package()?);
        let lean = client(&writer.crypto, &writer.identity, &writer.secret, &writer.storage, false);
        let mut group = lean.create_group(ExtensionList::new(), ExtensionList::new(), None)?;
        let output = add(&mut group, &key_packages)?;
        group.apply_pending_commit()?;
        group.write_to_storage()?;
        let (mut joined, _) =
            reader.client.join_group(output.ratchet_tree, &output.welcome_messages[0], None)?;
        joined.write_to_storage()?;
        Ok(Self {
            writer: writer.client.load_group(group.group_id())?,
            reader: reader.client.load_group(group.group_id())?,
            writer_storage: writer.storage,
        })
    }

    /// Encrypts and serialises a message.
    pub fn encrypt(&mut self, text: &[u8]) -> Result<Vec<u8>, MlsError> {
        self.writer.encrypt_application_message(text, Vec::new())?.to_bytes()
    }

    /// Renews the writer's keys: builds, serialises and applies the commit, which is returned.
    pub fn commit(&mut self) -> Result<Vec<u8>, MlsError> {
        let output = self.writer.commit_builder().build()?;
        let commit = output.commit_message.to_bytes()?;
        output.external_commit_group_info.map(|info| info.to_bytes()).transpose()?;
        self.writer.apply_pending_commit()?;
        Ok(commit)
    }

    /// Decrypts a serialised message, or applies a commit, as the reader.
    pub fn receive(&mut self, message: &[u8]) -> Result<(), MlsError> {
        self.reader.process_incoming_message(MlsMessage::from_bytes(message)?).map(drop)
    }

    /// Puts both members' states into their storage in memory, which also takes the past epochs out of the groups.
    pub fn write(&mut self) -> Result<(), MlsError> {
        self.writer.write_to_storage()?;
        self.reader.write_to_storage()
    }

    /// Serialises the writer's state.
    pub fn snapshot(&mut self) -> Result<Vec<u8>, MlsError> {
        self.writer.write_to_storage()?;
        let state = self.writer_storage.state(self.writer.group_id()).expect(IN_MEMORY);
        Ok(state.map(|state| state.to_vec()).unwrap_or_default())
    }
}

/// Key packages of so many devices, whose secrets nobody keeps: they become leaves and nothing more.
pub fn leaves(count: usize) -> Result<Vec<MlsMessage>, MlsError> {
    (0..count).map(|_| RawMember::random()?.key_package()).collect()
}

/// Adds these in one commit, which is left pending.
pub fn add(
    group: &mut Group<Config>,
    key_packages: &[MlsMessage],
) -> Result<mls_rs::group::CommitOutput, MlsError> {
    let mut commit = group.commit_builder();
    for key_package in key_packages {
        commit = commit.add_member(key_package.clone())?;
    }
    commit.build()
}

fn client(
    crypto: &AwsLcCryptoProvider,
    identity: &SigningIdentity,
    secret: &mls_rs::crypto::SignatureSecretKey,
    storage: &InMemoryGroupStateStorage,
    ratchet_tree: bool,
) -> Client<Config> {
    let rules = DefaultMlsRules::new()
        .with_commit_options(
            CommitOptions::new()
                .with_path_required(true)
                .with_ratchet_tree_extension(ratchet_tree)
                .with_single_welcome_message(true)
                .with_allow_external_commit(true),
        )
        .with_encryption_options(EncryptionOptions::new(false, PaddingMode::StepFunction));
    ClientBuilder::new()
        .identity_provider(BasicIdentityProvider::new())
        .crypto_provider(crypto.clone())
        .mls_rules(rules)
        .group_state_storage(storage.clone())
        .signing_identity(identity.clone(), secret.clone(), SUITE)
        .key_package_lifetime(LIFETIME)
        .build()
}
