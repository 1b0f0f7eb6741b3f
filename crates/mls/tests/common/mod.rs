//! A hub that orders messages and compares epochs, and devices on real stores that talk through it.
#![allow(dead_code, clippy::unwrap_used)] // each test file uses a part of it

pub(crate) mod forger;
pub(crate) mod pki;

use std::{
    collections::HashMap,
    convert::Infallible,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use mls_rs::{
    CipherSuite, CipherSuiteProvider, CryptoProvider, ExtensionList, IdentityProvider, MlsMessage,
    crypto::{SignaturePublicKey, SignatureSecretKey},
    external_client::{
        ExternalClient, ExternalGroup,
        builder::{ExternalBaseConfig, WithCryptoProvider, WithIdentityProvider},
    },
    group::Member,
    identity::{CredentialType, SigningIdentity, basic::BasicCredential},
    time::MlsTime,
};
use mls_rs_core::identity::{CertificateChain, MemberValidationContext};
use mls_rs_crypto_awslc::AwsLcCryptoProvider;
use tempfile::TempDir;
use tertulia_mls::{
    Ciphersuite, ClientId, CommitOptions, CommitOutcome, CommitSummary, ConversationId, Credential,
    CredentialRef, EngineError, ExternalSender, KeyPackage, MlsCommitBundle, MlsConversationConfiguration,
    MlsConversationDecryptMessage, MlsTransport, Outcome, RejectReason, Session, SessionConfig,
    VerifiableGroupInfo,
};
use tertulia_store::{KeySource, Store};
use tokio::sync::Notify;

/// What goes wrong with the next commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is ordered, but the answer does not arrive.
    LoseAnswer,
    /// It does not arrive.
    LoseCommit,
    /// It is ordered, and the answer takes for ever.
    Hang,
    /// A rule of the hub forbids it.
    Refuse,
}

/// Orders messages per conversation, and knows its epoch.
#[derive(Clone)]
pub(crate) struct Hub {
    inner: Arc<Mutex<HubState>>,
    /// Told when a commit was taken whose answer hangs.
    pub(crate) hanging: Arc<Notify>,
    /// Lets an answer that hangs go.
    pub(crate) release: Arc<Notify>,
    signer: SignatureSecretKey,
    identity: SigningIdentity,
}

#[derive(Default)]
struct HubState {
    conversations: HashMap<ConversationId, HubConversation>,
    fault: Option<Fault>,
    /// The newest commit that did not arrive.
    lost: Option<Vec<u8>>,
}

#[derive(Default)]
struct HubConversation {
    epoch: u64,
    log: Vec<Vec<u8>>,
    group_info: Vec<u8>,
    /// Each Welcome, with the length of the log behind its commit.
    welcomes: Vec<(Vec<u8>, usize)>,
}

impl Hub {
    pub(crate) fn new() -> Self {
        Self::signing_for(Ciphersuite::default())
    }

    /// A hub whose key is one of this ciphersuite.
    pub(crate) fn signing_for(ciphersuite: Ciphersuite) -> Self {
        let number = CipherSuite::from(ciphersuite.number());
        let suite = AwsLcCryptoProvider::new().cipher_suite_provider(number).unwrap();
        let (signer, public) = suite.signature_key_generate().unwrap();
        let identity = SigningIdentity::new(
            BasicCredential::new(ExternalSender::IDENTITY.to_vec()).into_credential(),
            public,
        );
        Self { inner: Arc::default(), hanging: Arc::default(), release: Arc::default(), signer, identity }
    }

    pub(crate) fn public_key(&self) -> &SignaturePublicKey {
        &self.identity.signature_key
    }

    fn with<R>(&self, id: &ConversationId, f: impl FnOnce(&mut HubConversation) -> R) -> R {
        f(self.inner.lock().unwrap().conversations.entry(id.clone()).or_default())
    }

    /// The next commit meets this fault.
    pub(crate) fn fail_next(&self, fault: Fault) {
        self.inner.lock().unwrap().fault = Some(fault);
    }

    /// The fault that nobody met is gone.
    pub(crate) fn heal(&self) {
        self.inner.lock().unwrap().fault = None;
    }

    /// The newest commit that did not arrive at the hub.
    pub(crate) fn lost_commit(&self) -> Option<Vec<u8>> {
        self.inner.lock().unwrap().lost.clone()
    }

    pub(crate) fn epoch(&self, id: &ConversationId) -> u64 {
        self.with(id, |conversation| conversation.epoch)
    }

    pub(crate) fn log_len(&self, id: &ConversationId) -> usize {
        self.with(id, |conversation| conversation.log.len())
    }

    pub(crate) fn log_entry(&self, id: &ConversationId, index: usize) -> Option<Vec<u8>> {
        self.with(id, |conversation| conversation.log.get(index).cloned())
    }

    pub(crate) fn group_info(&self, id: &ConversationId) -> Vec<u8> {
        self.with(id, |conversation| conversation.group_info.clone())
    }

    pub(crate) fn verifiable_group_info(&self, id: &ConversationId) -> VerifiableGroupInfo {
        VerifiableGroupInfo::from_bytes(&self.group_info(id)).unwrap()
    }

    /// The newest Welcome, and where the log of its reader begins.
    pub(crate) fn welcome(&self, id: &ConversationId) -> (Vec<u8>, usize) {
        self.newest_welcome(id).unwrap()
    }

    /// All Welcomes, oldest first, and where the logs of their readers begin.
    pub(crate) fn welcomes(&self, id: &ConversationId) -> Vec<(Vec<u8>, usize)> {
        self.with(id, |conversation| conversation.welcomes.clone())
    }

    pub(crate) fn newest_welcome(&self, id: &ConversationId) -> Option<(Vec<u8>, usize)> {
        self.with(id, |conversation| conversation.welcomes.last().cloned())
    }

    /// A conversation that was ordered before.
    pub(crate) fn restore(&self, id: &ConversationId, epoch: u64, log: Vec<Vec<u8>>, group_info: Vec<u8>) {
        self.with(id, |conversation| {
            *conversation = HubConversation { epoch, log, group_info, welcomes: Vec::new() };
        });
    }

    /// Appends an application message or a proposal.
    pub(crate) fn post(&self, id: &ConversationId, message: Vec<u8>) {
        self.with(id, |conversation| conversation.log.push(message));
    }

    /// The hub itself proposes to add a device.
    pub(crate) fn propose_add(&self, id: &ConversationId, package: &KeyPackage) {
        self.propose_add_bytes(id, package.as_bytes());
    }

    pub(crate) fn propose_add_bytes(&self, id: &ConversationId, package: &[u8]) {
        let package = MlsMessage::from_bytes(package).unwrap();
        let proposal = self.observe(id).propose_add(package, Vec::new()).unwrap();
        self.post(id, proposal.to_bytes().unwrap());
    }

    fn observe(&self, id: &ConversationId) -> ExternalGroup<Observer> {
        let observer = ExternalClient::builder()
            .crypto_provider(AwsLcCryptoProvider::new())
            .identity_provider(AnyIdentity)
            .signer(self.signer.clone(), self.identity.clone())
            .build();
        let info = MlsMessage::from_bytes(&self.group_info(id)).unwrap();
        observer.observe_group(info, None, None).unwrap()
    }

    /// The hub itself proposes to remove a member.
    pub(crate) fn propose_removal(&self, id: &ConversationId, client: &ClientId) {
        let mut group = self.observe(id);
        let is_client = |member: &Member| {
            member.signing_identity.credential.as_basic().unwrap().identifier == client.as_bytes()
        };
        let index = group.roster().members_iter().find(is_client).unwrap().index;
        let proposal = group.propose_remove(index, Vec::new()).unwrap();
        self.post(id, proposal.to_bytes().unwrap());
    }

    fn order(&self, id: &ConversationId, bundle: MlsCommitBundle) -> CommitOutcome {
        let epoch = MlsMessage::from_bytes(&bundle.commit).unwrap().epoch().unwrap();
        self.with(id, |conversation| {
            if epoch != conversation.epoch {
                return CommitOutcome::Rejected(RejectReason::StaleEpoch {
                    current: Some(conversation.epoch),
                });
            }
            conversation.epoch += 1;
            conversation.log.push(bundle.commit);
            conversation.group_info = bundle.group_info.payload;
            let behind_commit = conversation.log.len();
            conversation.welcomes.extend(bundle.welcome.map(|welcome| (welcome, behind_commit)));
            conversation.log.extend(bundle.encrypted_message);
            CommitOutcome::Accepted
        })
    }
}

#[async_trait]
impl MlsTransport for Hub {
    async fn send_commit_bundle(
        &self,
        conversation: &ConversationId,
        bundle: MlsCommitBundle,
    ) -> CommitOutcome {
        let unknown = || CommitOutcome::Unknown { detail: "timeout".to_owned() };
        let fault = self.inner.lock().unwrap().fault.take();
        match fault {
            None => self.order(conversation, bundle),
            Some(Fault::LoseAnswer) => {
                assert_eq!(self.order(conversation, bundle), CommitOutcome::Accepted);
                unknown()
            }
            Some(Fault::LoseCommit) => {
                self.inner.lock().unwrap().lost = Some(bundle.commit);
                unknown()
            }
            Some(Fault::Hang) => {
                let outcome = self.order(conversation, bundle);
                self.hanging.notify_one();
                self.release.notified().await;
                outcome
            }
            Some(Fault::Refuse) => CommitOutcome::Rejected(RejectReason::Refused {
                code: "not-an-admin".to_owned(),
                detail: "Only admins may do that.".to_owned(),
            }),
        }
    }
}

/// How the library is set up for the hub.
type Observer =
    WithIdentityProvider<AnyIdentity, WithCryptoProvider<AwsLcCryptoProvider, ExternalBaseConfig>>;

/// Takes everybody for a member.
#[derive(Clone, Copy)]
pub(crate) struct AnyIdentity;

impl IdentityProvider for AnyIdentity {
    type Error = Infallible;

    fn validate_member(
        &self,
        _: &SigningIdentity,
        _: Option<MlsTime>,
        _: MemberValidationContext<'_>,
    ) -> Result<(), Infallible> {
        Ok(())
    }

    fn validate_external_sender(
        &self,
        _: &SigningIdentity,
        _: Option<MlsTime>,
        _: Option<&ExtensionList>,
    ) -> Result<(), Infallible> {
        Ok(())
    }

    fn identity(&self, identity: &SigningIdentity, _: &ExtensionList) -> Result<Vec<u8>, Infallible> {
        Ok(identity.signature_key.as_bytes().to_vec())
    }

    fn valid_successor(
        &self,
        _: &SigningIdentity,
        _: &SigningIdentity,
        _: &ExtensionList,
    ) -> Result<bool, Infallible> {
        Ok(true)
    }

    fn supported_types(&self) -> Vec<CredentialType> {
        vec![CredentialType::BASIC, CredentialType::X509]
    }
}

/// A key package with these certificates and a key that is not theirs.
pub(crate) fn foreign_key_package(chain: Vec<Vec<u8>>) -> Vec<u8> {
    let suite = AwsLcCryptoProvider::new().cipher_suite_provider(CipherSuite::CURVE25519_AES128).unwrap();
    let (secret, public) = suite.signature_key_generate().unwrap();
    let identity = SigningIdentity::new(CertificateChain::from(chain).into_credential(), public);
    let client = mls_rs::Client::builder()
        .crypto_provider(AwsLcCryptoProvider::new())
        .identity_provider(AnyIdentity)
        .signing_identity(identity, secret, CipherSuite::CURVE25519_AES128)
        .build();
    let package = client.generate_key_package_message(ExtensionList::new(), ExtensionList::new(), None);
    package.unwrap().to_bytes().unwrap()
}

/// A directory in memory where there is such a thing: what is tested here is not the disk.
pub(crate) fn temporary() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// A device on a store in a directory of its own.
pub(crate) struct Device {
    pub(crate) hub: Hub,
    home: Arc<TempDir>,
    pub(crate) config: SessionConfig,
    pub(crate) session: Session,
    pub(crate) credential: CredentialRef,
    /// How far it has read each log.
    pub(crate) cursors: HashMap<ConversationId, usize>,
}

/// The client id of a person's device: the name is in the user's UUID.
pub(crate) fn client_id(name: &str) -> ClientId {
    let mut user = [0; 16];
    let length = name.len().min(16);
    user[..length].copy_from_slice(&name.as_bytes()[..length]);
    let hex = hex::encode(user);
    let uuid = format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
    ClientId::from(format!("{uuid}:0000000000000001@hub.example"))
}

impl Device {
    pub(crate) async fn new(hub: &Hub, name: &str) -> Self {
        Self::with_config(hub, name, SessionConfig::default()).await
    }

    pub(crate) async fn with_config(hub: &Hub, name: &str, config: SessionConfig) -> Self {
        let credential = Credential::basic(client_id(name), Ciphersuite::default()).unwrap();
        Self::with_credential(hub, credential, config).await
    }

    pub(crate) async fn with_credential(hub: &Hub, credential: Credential, config: SessionConfig) -> Self {
        let home = Arc::new(temporary());
        let store = Store::create(home.path(), &KeySource::File).unwrap();
        let session = Session::open(store, Arc::new(hub.clone()), config.clone()).unwrap();
        let mut tx = session.new_transaction().await.unwrap();
        let credential = tx.add_credential(credential).unwrap();
        tx.finish().await.unwrap();
        Self { hub: hub.clone(), home, config, session, credential, cursors: HashMap::new() }
    }

    /// The device in a copy of a home.
    pub(crate) async fn of_home(hub: &Hub, home: &Path) -> Self {
        let copy = Arc::new(tempfile::tempdir().unwrap());
        copy_files(home, copy.path());
        let store = Store::open(copy.path(), &KeySource::File).unwrap();
        let config = SessionConfig::default();
        let session = Session::open(store, Arc::new(hub.clone()), config.clone()).unwrap();
        let credential = session.new_transaction().await.unwrap().find_credentials().unwrap().pop().unwrap();
        Self { hub: hub.clone(), home: copy, config, session, credential, cursors: HashMap::new() }
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.home.path().to_owned()
    }

    /// Another session on the same store, as another process would have it.
    pub(crate) fn second_session(&self) -> Self {
        let store = Store::open(self.home.path(), &KeySource::File).unwrap();
        Self {
            hub: self.hub.clone(),
            home: Arc::clone(&self.home),
            config: self.config.clone(),
            session: Session::open(store, Arc::new(self.hub.clone()), self.config.clone()).unwrap(),
            credential: self.credential.clone(),
            cursors: self.cursors.clone(),
        }
    }

    /// The device after a crash: all memory is gone, the disk is there.
    pub(crate) fn restarted(self) -> Self {
        self.restored(|| ())
    }

    /// The device after a crash with something done to its disk.
    pub(crate) fn restored(self, restore: impl FnOnce()) -> Self {
        let Self { hub, home, config, session, credential, cursors } = self;
        drop(session);
        restore();
        let store = Store::open(home.path(), &KeySource::File).unwrap();
        let session = Session::open(store, Arc::new(hub.clone()), config.clone()).unwrap();
        Self { hub, home, config, session, credential, cursors }
    }

    pub(crate) fn client_id(&self) -> ClientId {
        self.credential.client_id().clone()
    }

    pub(crate) async fn create(&mut self, id: &ConversationId) {
        let mut config = MlsConversationConfiguration {
            ciphersuite: self.credential.ciphersuite(),
            custom: self.config.joined.clone(),
            ..Default::default()
        };
        config.set_raw_external_senders(vec![self.hub.public_key().as_bytes().to_vec()]).unwrap();
        let mut tx = self.session.new_transaction().await.unwrap();
        tx.new_conversation(id, &self.credential, config).unwrap();
        tx.finish().await.unwrap();
        self.cursors.insert(id.clone(), 0);
    }

    pub(crate) async fn key_package(&self) -> KeyPackage {
        let mut tx = self.session.new_transaction().await.unwrap();
        let mut packages = tx.generate_key_packages(&self.credential, 1, None).unwrap();
        tx.finish().await.unwrap();
        packages.pop().unwrap()
    }

    pub(crate) async fn add(&mut self, id: &ConversationId, others: &mut [&mut Device]) {
        let mut packages = Vec::new();
        for other in others.iter() {
            packages.push(other.key_package().await);
        }
        self.change(id, packages, &[]).await.unwrap();
        for other in others.iter_mut() {
            other.welcome(id).await;
        }
    }

    /// One commit in a transaction of its own.
    pub(crate) async fn change(
        &mut self,
        id: &ConversationId,
        add: Vec<KeyPackage>,
        remove: &[ClientId],
    ) -> Result<(), EngineError> {
        let mut tx = self.session.new_transaction().await.unwrap();
        let mut guard = tx.conversation(id).await.unwrap();
        let changed = guard.change_members(add, remove, CommitOptions::default()).await;
        drop(tx);
        changed.map(drop)
    }

    pub(crate) async fn update(&mut self, id: &ConversationId) -> Result<(), EngineError> {
        self.update_with(id, CommitOptions::default()).await
    }

    pub(crate) async fn update_with(
        &mut self,
        id: &ConversationId,
        options: CommitOptions,
    ) -> Result<(), EngineError> {
        let mut tx = self.session.new_transaction().await.unwrap();
        let mut guard = tx.conversation(id).await.unwrap();
        let updated = guard.update_key_material_with(options).await;
        drop(tx);
        updated.map(drop)
    }

    /// Joins by the newest Welcome.
    pub(crate) async fn welcome(&mut self, id: &ConversationId) {
        let (welcome, behind_commit) = self.hub.welcome(id);
        let mut tx = self.session.new_transaction().await.unwrap();
        assert_eq!(tx.process_welcome(&welcome).unwrap().id, *id);
        tx.finish().await.unwrap();
        self.cursors.insert(id.clone(), behind_commit);
    }

    /// Joins by the Welcome that is for this device.
    pub(crate) async fn welcome_of(&mut self, id: &ConversationId) {
        for (welcome, behind_commit) in self.hub.welcomes(id) {
            let mut tx = self.session.new_transaction().await.unwrap();
            match tx.process_welcome(&welcome) {
                Err(EngineError::KeyPackageNotFound) => continue,
                joined => assert_eq!(joined.unwrap().id, *id),
            }
            tx.finish().await.unwrap();
            self.cursors.insert(id.clone(), behind_commit);
            return;
        }
        panic!("there is no Welcome for {}", self.client_id());
    }

    pub(crate) async fn join_externally(&mut self, id: &ConversationId) -> Result<(), EngineError> {
        let behind = self.hub.log_len(id);
        let mut tx = self.session.new_transaction().await.unwrap();
        let joined = tx.join_by_external_commit(self.hub.verifiable_group_info(id), &self.credential).await;
        drop(tx);
        // The old state, if there is one, goes on reading where it was until the join is known to be accepted.
        let is_sent = !matches!(joined, Err(EngineError::PendingCommit { .. }));
        if joined.is_ok() || is_sent && !self.session.conversation_exists(id).unwrap() {
            self.cursors.insert(id.clone(), behind);
        }
        joined.map(drop)
    }

    pub(crate) async fn encrypt(&mut self, id: &ConversationId, text: &str) -> Result<Vec<u8>, EngineError> {
        let mut tx = self.session.new_transaction().await?;
        let ciphertext = tx.conversation(id).await?.encrypt_message(text)?;
        tx.finish().await?;
        Ok(ciphertext)
    }

    pub(crate) async fn send(&mut self, id: &ConversationId, text: &str) {
        let ciphertext = self.encrypt(id, text).await.unwrap();
        self.hub.post(id, ciphertext);
    }

    pub(crate) async fn decrypt(
        &mut self,
        id: &ConversationId,
        message: &[u8],
    ) -> Result<MlsConversationDecryptMessage, EngineError> {
        let mut tx = self.session.new_transaction().await?;
        let result = tx.conversation(id).await?.decrypt_message(message)?;
        tx.finish().await?;
        Ok(result)
    }

    /// Commits what is pending.
    pub(crate) async fn commit_proposals(
        &mut self,
        id: &ConversationId,
    ) -> Result<Option<CommitSummary>, EngineError> {
        let mut tx = self.session.new_transaction().await?;
        let mut guard = tx.conversation(id).await?;
        guard.commit_pending_proposals_with(CommitOptions::default()).await
    }

    /// Reads the log to its end, one transaction per message.
    pub(crate) async fn sync(&mut self, id: &ConversationId) -> Vec<MlsConversationDecryptMessage> {
        let mut results = Vec::new();
        loop {
            let cursor = self.cursors.get(id).copied().unwrap_or_default();
            let Some(message) = self.hub.log_entry(id, cursor) else { return results };
            results.push(self.decrypt(id, &message).await.unwrap());
            self.cursors.insert(id.clone(), cursor + 1);
            if !results.last().unwrap().is_active {
                return results;
            }
        }
    }

    /// The newest entry of the log.
    pub(crate) fn newest(&self, id: &ConversationId) -> Vec<u8> {
        self.hub.log_entry(id, self.hub.log_len(id) - 1).unwrap()
    }

    /// Reads the log to its end; the texts in it.
    pub(crate) async fn read(&mut self, id: &ConversationId) -> Vec<String> {
        self.sync(id).await.into_iter().filter_map(text).collect()
    }

    pub(crate) fn epoch(&self, id: &ConversationId) -> u64 {
        self.session.conversation(id).unwrap().epoch()
    }

    pub(crate) fn members(&self, id: &ConversationId) -> Vec<ClientId> {
        self.session.conversation(id).unwrap().client_ids().unwrap()
    }
}

/// Copies the files of a directory over those of another.
pub(crate) fn copy_files(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

pub(crate) fn text(result: MlsConversationDecryptMessage) -> Option<String> {
    assert_eq!(result.app_msg.is_some(), result.outcome == Outcome::Application);
    result.app_msg.map(|bytes| String::from_utf8(bytes).unwrap())
}

#[allow(deprecated)] // it is told all the same
pub(crate) fn has_epoch_changed(result: &MlsConversationDecryptMessage) -> bool {
    result.has_epoch_changed
}

pub(crate) fn outcomes(results: &[MlsConversationDecryptMessage]) -> Vec<Outcome> {
    results.iter().map(|result| result.outcome).collect()
}

/// Everybody has read everything, and is in the same state as the hub.
pub(crate) fn assert_same_state(id: &ConversationId, devices: &[&Device]) {
    for device in devices {
        let view = device.session.conversation(id).unwrap();
        assert_eq!(view.epoch(), device.hub.epoch(id), "{}", device.client_id());
        assert!(view.pending_commit().is_none());
        let first = devices[0].session.conversation(id).unwrap();
        assert_eq!(view.epoch_authenticator().unwrap(), first.epoch_authenticator().unwrap());
        assert_eq!(view.client_ids().unwrap(), first.client_ids().unwrap());
    }
}

/// Another byte at the end of the message.
pub(crate) fn corrupted(message: &[u8]) -> Vec<u8> {
    let mut bytes = message.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    bytes
}

pub(crate) fn conversation() -> ConversationId {
    ConversationId::from("conversation")
}

/// Two devices, the first of which has created the conversation and added the second.
pub(crate) async fn two() -> (Hub, Device, Device, ConversationId) {
    let hub = Hub::new();
    let mut alice = Device::new(&hub, "alice").await;
    let mut bob = Device::new(&hub, "bob").await;
    let id = conversation();
    alice.create(&id).await;
    alice.add(&id, &mut [&mut bob]).await;
    alice.sync(&id).await;
    (hub, alice, bob, id)
}
