// What the examples of the guide stand on: a hub in memory, and devices whose stores are in directories that go with them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use tempfile::TempDir;
use tertulia_mls::{
    Ciphersuite, ClientId, CommitOutcome, ConversationId, Credential, CredentialRef, KeyPackage,
    MlsCommitBundle, MlsConversationConfiguration, MlsConversationDecryptMessage, MlsTransport, Result,
    Session, SessionConfig, VerifiableGroupInfo,
};
use tertulia_store::{KeySource, Store};

/// Keeps a log for each conversation. It answers as it is told to, else that it has accepted.
#[derive(Default)]
pub(crate) struct Hub(Mutex<State>);

#[derive(Default)]
struct State {
    conversations: HashMap<ConversationId, Log>,
    answer: Option<CommitOutcome>,
}

#[derive(Default)]
struct Log {
    epoch: u64,
    messages: Vec<Vec<u8>>,
    welcome: Vec<u8>,
    group_info: Vec<u8>,
}

#[async_trait::async_trait]
impl MlsTransport for Hub {
    async fn send_commit_bundle(&self, id: &ConversationId, bundle: MlsCommitBundle) -> CommitOutcome {
        let mut state = self.state();
        let answer = state.answer.take().unwrap_or(CommitOutcome::Accepted);
        // Of an unknown outcome it is the answer that is lost here, not the commit.
        if !matches!(answer, CommitOutcome::Rejected(_)) {
            let log = state.conversations.entry(id.clone()).or_default();
            log.epoch += 1;
            log.messages.push(bundle.commit);
            log.messages.extend(bundle.encrypted_message);
            log.welcome = bundle.welcome.unwrap_or_default();
            log.group_info = bundle.group_info.payload;
        }
        answer
    }
}

impl Hub {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics while it is held")
    }

    /// Answers the next commit with this.
    pub(crate) fn answer_next(&self, answer: CommitOutcome) {
        self.state().answer = Some(answer);
    }

    pub(crate) fn epoch(&self, id: &ConversationId) -> u64 {
        self.state().conversations[id].epoch
    }

    pub(crate) fn newest(&self, id: &ConversationId) -> Vec<u8> {
        self.state().conversations[id].messages.last().expect("something was said").clone()
    }

    pub(crate) fn welcome(&self, id: &ConversationId) -> Vec<u8> {
        self.state().conversations[id].welcome.clone()
    }

    pub(crate) fn group_info(&self, id: &ConversationId) -> Vec<u8> {
        self.state().conversations[id].group_info.clone()
    }

    pub(crate) fn verifiable_group_info(&self, id: &ConversationId) -> Result<VerifiableGroupInfo> {
        VerifiableGroupInfo::from_bytes(&self.group_info(id))
    }
}

/// The id of somebody's device, told apart by the first letter of the name.
pub(crate) fn client_id(name: &str) -> ClientId {
    ClientId::from(format!("f3b0c4a2-7d1e-4c55-9a38-2b6e0d9f1c{:02x}:1@hub.example", name.as_bytes()[0]))
}

pub(crate) struct Device {
    pub(crate) session: Session,
    pub(crate) credential: CredentialRef,
    pub(crate) home: TempDir,
}

impl Device {
    pub(crate) async fn new(hub: &Arc<Hub>, name: &str) -> Result<Self> {
        Self::with_config(hub, name, SessionConfig::default()).await
    }

    pub(crate) async fn with_config(hub: &Arc<Hub>, name: &str, config: SessionConfig) -> Result<Self> {
        let home = tempfile::tempdir().expect("a directory for temporary files");
        let store = Store::create(home.path(), &KeySource::File)?;
        let session = Session::open(store, hub.clone(), config)?;
        let mut tx = session.new_transaction().await?;
        let credential = tx.add_credential(Credential::basic(client_id(name), Ciphersuite::default())?)?;
        tx.finish().await?;
        Ok(Self { session, credential, home })
    }

    pub(crate) async fn key_packages(&self) -> Result<Vec<KeyPackage>> {
        let mut tx = self.session.new_transaction().await?;
        let packages = tx.generate_key_packages(&self.credential, 1, None)?;
        tx.finish().await?;
        Ok(packages)
    }

    pub(crate) async fn create(&self, id: &ConversationId) -> Result<()> {
        let mut tx = self.session.new_transaction().await?;
        tx.new_conversation(id, &self.credential, MlsConversationConfiguration::default())?;
        tx.finish().await
    }

    /// Adds another device, which joins.
    pub(crate) async fn add(&self, hub: &Hub, id: &ConversationId, other: &Self) -> Result<()> {
        let key_packages = other.key_packages().await?;
        let mut tx = self.session.new_transaction().await?;
        tx.conversation(id).await?.add_members(key_packages).await?;
        tx.finish().await?;
        let mut tx = other.session.new_transaction().await?;
        tx.process_welcome(&hub.welcome(id))?;
        tx.finish().await
    }

    pub(crate) async fn update(&self, id: &ConversationId) -> Result<()> {
        let mut tx = self.session.new_transaction().await?;
        tx.conversation(id).await?.update_key_material().await?;
        tx.finish().await
    }

    pub(crate) async fn encrypt(&self, id: &ConversationId, text: &str) -> Result<Vec<u8>> {
        let mut tx = self.session.new_transaction().await?;
        let message = tx.conversation(id).await?.encrypt_message(text)?;
        tx.finish().await?;
        Ok(message)
    }

    pub(crate) async fn receive(
        &self,
        id: &ConversationId,
        message: &[u8],
    ) -> Result<MlsConversationDecryptMessage> {
        let mut tx = self.session.new_transaction().await?;
        let received = tx.conversation(id).await?.decrypt_message(message)?;
        tx.finish().await?;
        Ok(received)
    }
}

/// Alice and Bob in a conversation that Alice has made.
pub(crate) async fn two() -> Result<(Arc<Hub>, Device, Device, ConversationId)> {
    let hub = Arc::new(Hub::default());
    let alice = Device::new(&hub, "alice").await?;
    let bob = Device::new(&hub, "bob").await?;
    let id = ConversationId::from("tertulia");
    alice.create(&id).await?;
    alice.add(&hub, &id, &bob).await?;
    Ok((hub, alice, bob, id))
}
