//! Devices with the engine of MLS, for the vectors and the tests that need genuine messages of it.

use std::sync::{Arc, Mutex, PoisonError};

use rand::{CryptoRng, RngExt as _};
use tempfile::TempDir;
use tertulia_conversation::inbox::device_address;
use tertulia_mls::{
    Ciphersuite, ClientId, CommitOptions, CommitOutcome, ConversationId, Credential, CredentialRef,
    KeyPackage, KeyPackageSecrets, MlsCommitBundle, MlsConversationConfiguration, MlsTransport,
    MlsWirePolicy, Result, Session, SessionConfig,
};
use tertulia_store::{KeySource, Store};

/// Takes every commit, and keeps the last one.
#[derive(Default)]
struct Orderer(Mutex<Option<MlsCommitBundle>>);

#[async_trait::async_trait]
impl MlsTransport for Orderer {
    async fn send_commit_bundle(&self, _: &ConversationId, bundle: MlsCommitBundle) -> CommitOutcome {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(bundle);
        CommitOutcome::Accepted
    }
}

/// A device, whose store goes with it.
pub struct Device {
    pub session: Session,
    pub client: String,
    /// Its signature key, as the seed and the public key of Ed25519.
    pub signature_key: ([u8; 32], [u8; 32]),
    credential: CredentialRef,
    orderer: Arc<Orderer>,
    _home: TempDir,
}

impl Device {
    /// A device of who has this identity key, whose signature key is drawn.
    pub async fn new(identity_key: &[u8; 32], random: &mut impl CryptoRng) -> Result<Self> {
        Self::of(identity_key, &random.random()).await
    }

    /// A device of who has this identity key, with the signature key of this seed.
    pub async fn of(identity_key: &[u8; 32], seed: &[u8; 32]) -> Result<Self> {
        let public = ed25519_dalek::SigningKey::from_bytes(seed).verifying_key().to_bytes();
        Self::with_key(device_address(identity_key, &public).to_string(), (*seed, public)).await
    }

    pub async fn with_key(client: String, signature_key: ([u8; 32], [u8; 32])) -> Result<Self> {
        let home = tempfile::tempdir().expect("there is a place for temporary files");
        let orderer = Arc::new(Orderer::default());
        let store = Store::create(home.path(), &KeySource::File)?;
        let session =
            Session::open(store, Arc::clone(&orderer) as Arc<dyn MlsTransport>, SessionConfig::default())?;
        let (seed, public) = &signature_key;
        let id = ClientId::from(client.clone());
        let credential = Credential::from_parts(id, Ciphersuite::from_number(1)?, seed, public)?;
        let mut tx = session.new_transaction().await?;
        let credential = tx.add_credential(credential)?;
        tx.finish().await?;
        Ok(Self { session, client, signature_key, credential, orderer, _home: home })
    }

    /// A key package with its private keys, which are not here any more.
    pub async fn key_package(&self) -> Result<(KeyPackage, KeyPackageSecrets)> {
        let mut tx = self.session.new_transaction().await?;
        let package = tx.generate_key_packages(&self.credential, 1, None)?.remove(0);
        let taken = tx.take_key_package(package.reference())?.expect("it was just made");
        tx.finish().await?;
        Ok(taken)
    }

    /// Begins a group whose handshakes are encrypted, with these members. Where it is to have a policy, that is the first at the beginning, and the second
    /// with the members. The Welcome.
    pub async fn begin(
        &self,
        id: &ConversationId,
        members: &[&KeyPackage],
        policies: Option<[Vec<u8>; 2]>,
    ) -> Result<Vec<u8>> {
        let (alone, together) = policies.map(|[alone, together]| (alone, together)).unzip();
        let mut tx = self.session.new_transaction().await?;
        let configuration = MlsConversationConfiguration {
            ciphersuite: Ciphersuite::from_number(1)?,
            handshake: MlsWirePolicy::Ciphertext,
            group_data: alone,
            ..MlsConversationConfiguration::default()
        };
        tx.new_conversation(id, &self.credential, configuration)?;
        let members = members.iter().map(|package| (*package).clone()).collect();
        let options = CommitOptions::default();
        let options = match together {
            Some(policy) => options.with_group_data(policy),
            None => options,
        };
        tx.conversation(id).await?.change_members(members, &[], options).await?;
        tx.finish().await?;
        Ok(self.sent().welcome.expect("a commit that adds members has a Welcome"))
    }

    /// Takes the key package in, and joins by the Welcome.
    pub async fn join(
        &self,
        key_package: &[u8],
        secrets: &KeyPackageSecrets,
        welcome: &[u8],
    ) -> Result<ConversationId> {
        let mut tx = self.session.new_transaction().await?;
        tx.import_key_package(key_package, secrets)?;
        let id = tx.process_welcome(welcome)?.id;
        tx.finish().await?;
        Ok(id)
    }

    pub async fn encrypt(&self, id: &ConversationId, contents: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
        let mut tx = self.session.new_transaction().await?;
        let mut conversation = tx.conversation(id).await?;
        let messages =
            contents.iter().map(|content| conversation.encrypt_message(content)).collect::<Result<_>>()?;
        tx.finish().await?;
        Ok(messages)
    }

    /// A commit that renews this device's keys, of the epoch that it ends.
    pub async fn commit(&self, id: &ConversationId) -> Result<Vec<u8>> {
        let mut tx = self.session.new_transaction().await?;
        tx.conversation(id).await?.update_key_material().await?;
        tx.finish().await?;
        Ok(self.sent().commit)
    }

    /// What an application message says; none for a commit, which is applied.
    pub async fn receive(&self, id: &ConversationId, message: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut tx = self.session.new_transaction().await?;
        let read = tx.conversation(id).await?.decrypt_message(message)?;
        tx.finish().await?;
        Ok(read.app_msg)
    }

    /// The policy in the group's context.
    pub fn policy(&self, id: &ConversationId) -> Result<Option<Vec<u8>>> {
        Ok(self.session.conversation(id)?.group_data())
    }

    /// The bytes that the members of the epoch share, and the epoch.
    pub fn shared(&self, id: &ConversationId) -> Result<([u8; 32], u64)> {
        let conversation = self.session.conversation(id)?;
        let secret = conversation.export_secret_key(32)?;
        Ok((secret.as_slice().try_into().expect("so many were asked for"), conversation.epoch()))
    }

    fn sent(&self) -> MlsCommitBundle {
        self.orderer.0.lock().unwrap_or_else(PoisonError::into_inner).take().expect("a commit was accepted")
    }
}
