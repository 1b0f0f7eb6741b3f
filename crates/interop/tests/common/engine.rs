//! A device with the engine, on a store on disk.

use std::sync::Arc;

use async_trait::async_trait;
use tempfile::TempDir;
use tertulia_mls::{
    Ciphersuite, ClientId, CommitOptions, ConversationId, Credential, CredentialRef, EngineError,
    JoinOptions, KeyPackage, MlsConversationConfiguration, MlsCustomConfiguration, MlsWirePolicy, Outcome,
    RejectReason, Session, SessionConfig, VerifiableGroupInfo,
};
use tertulia_store::{KeySource, Store};

use super::{
    Change, Device, GROUP, State, Style,
    hub::{Entry, Hub, Link, is_late_proposal, protocol_message},
};

pub(crate) struct EngineDevice {
    name: String,
    number: usize,
    style: Style,
    home: TempDir,
    hub: Hub,
    pub(crate) session: Session,
    credential: CredentialRef,
    cursor: usize,
}

fn group() -> ConversationId {
    ConversationId::from(GROUP)
}

fn custom(style: Style) -> MlsCustomConfiguration {
    let wire_policy = if style.encrypted { MlsWirePolicy::Ciphertext } else { MlsWirePolicy::Plaintext };
    MlsCustomConfiguration { wire_policy, ..MlsCustomConfiguration::default() }
}

fn open(home: &TempDir, store: Option<Store>, hub: &Hub, number: usize, style: Style) -> Session {
    let store = store.unwrap_or_else(|| Store::open(home.path(), &KeySource::File).unwrap());
    let config = SessionConfig { joined: custom(style), ..SessionConfig::default() };
    Session::open(store, Arc::new(Link { hub: hub.clone(), sender: number }), config).unwrap()
}

impl EngineDevice {
    pub(crate) async fn new(hub: &Hub, number: usize, style: Style) -> Self {
        let name = super::identity(number);
        let home = tempfile::tempdir().unwrap();
        let store = Store::create(home.path(), &KeySource::File).unwrap();
        let session = open(&home, Some(store), hub, number, style);
        let suite = Ciphersuite::from_number(style.suite).unwrap();
        let mut tx = session.new_transaction().await.unwrap();
        let credential = Credential::basic(ClientId::from(name.as_str()), suite).unwrap();
        let credential = tx.add_credential(credential).unwrap();
        tx.finish().await.unwrap();
        Self { name, number, style, home, hub: hub.clone(), session, credential, cursor: 0 }
    }

    /// A key package for any number of uses.
    pub(crate) async fn last_resort_key_package(&mut self) -> Vec<u8> {
        let mut tx = self.session.new_transaction().await.unwrap();
        let package = tx.generate_last_resort_key_package(&self.credential).unwrap();
        tx.finish().await.unwrap();
        package.into_bytes()
    }

    /// Joins by the newest Welcome at the hub, and this ratchet tree.
    pub(crate) async fn join_by_welcome_with(&mut self, options: &JoinOptions) {
        let (welcome, place) = self.hub.welcome();
        let mut tx = self.session.new_transaction().await.unwrap();
        assert_eq!(tx.process_welcome_with(&welcome, options).unwrap().id, group());
        tx.finish().await.unwrap();
        self.cursor = place;
    }

    /// Whether it refuses the newest Welcome at the hub for want of a ratchet tree.
    pub(crate) async fn cannot_join_without_a_tree(&mut self) -> bool {
        let (welcome, _) = self.hub.welcome();
        let mut tx = self.session.new_transaction().await.unwrap();
        matches!(tx.process_welcome(&welcome), Err(EngineError::InvalidWelcome(_)))
    }

    /// Adds somebody whom it may refuse.
    pub(crate) async fn try_to_add(&mut self, package: KeyPackage) -> Result<(), EngineError> {
        let mut tx = self.session.new_transaction().await.unwrap();
        let mut guard = tx.conversation(&group()).await.unwrap();
        guard.change_members(vec![package], &[], CommitOptions::default()).await.map(drop)
    }

    /// Reads what it may refuse.
    pub(crate) async fn try_to_read(&mut self, message: &[u8]) -> Result<Outcome, EngineError> {
        let mut tx = self.session.new_transaction().await.unwrap();
        let mut guard = tx.conversation(&group()).await.unwrap();
        guard.decrypt_message(message).map(|result| result.outcome)
    }

    /// Whether the hub took a commit.
    fn taken<T>(result: Result<T, EngineError>) -> bool {
        match result {
            Ok(_) => true,
            Err(EngineError::CommitRejected(RejectReason::StaleEpoch { .. })) => false,
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[async_trait(?Send)]
impl Device for EngineDevice {
    fn name(&self) -> &str {
        &self.name
    }

    fn number(&self) -> usize {
        self.number
    }

    fn state(&self) -> Option<State> {
        if !self.session.conversation_exists(&group()).unwrap() {
            return None;
        }
        let view = self.session.conversation(&group()).unwrap();
        let roster = view.client_ids().unwrap();
        Some(State {
            epoch: view.epoch(),
            authenticator: view.epoch_authenticator().unwrap(),
            exported: view.export_secret_key(48).unwrap().to_vec(),
            roster: roster.iter().map(|member| member.as_str().unwrap().to_owned()).collect(),
        })
    }

    fn leaf_of(&self, _: &str) -> Option<u32> {
        None
    }

    async fn key_package(&mut self, bare: bool) -> Vec<u8> {
        let mut tx = self.session.new_transaction().await.unwrap();
        let package = tx.generate_key_packages(&self.credential, 1, None).unwrap().pop().unwrap();
        tx.finish().await.unwrap();
        if bare { package.as_bare_bytes().to_vec() } else { package.into_bytes() }
    }

    async fn create(&mut self, external_sender: &[u8]) {
        let mut config = MlsConversationConfiguration {
            ciphersuite: Ciphersuite::from_number(self.style.suite).unwrap(),
            custom: custom(self.style),
            ..MlsConversationConfiguration::default()
        };
        config.set_raw_external_senders([external_sender]).unwrap();
        let mut tx = self.session.new_transaction().await.unwrap();
        tx.new_conversation(&group(), &self.credential, config).unwrap();
        tx.finish().await.unwrap();
    }

    async fn join_by_welcome(&mut self) {
        self.join_by_welcome_with(&JoinOptions::default()).await;
    }

    async fn join_externally(&mut self, bare: bool) {
        let group_info = VerifiableGroupInfo::from_bytes(&self.hub.group_info(bare)).unwrap();
        self.cursor = self.hub.log_len();
        let mut tx = self.session.new_transaction().await.unwrap();
        tx.join_by_external_commit(group_info, &self.credential).await.unwrap();
    }

    async fn commit(&mut self, add: &[Vec<u8>], remove: &[String]) -> bool {
        let add: Vec<_> = add.iter().map(|bytes| KeyPackage::from_bytes(bytes).unwrap()).collect();
        let remove: Vec<_> = remove.iter().map(|name| ClientId::from(name.as_str())).collect();
        let mut tx = self.session.new_transaction().await.unwrap();
        let mut guard = tx.conversation(&group()).await.unwrap();
        if add.is_empty() && remove.is_empty() {
            return Self::taken(guard.update_key_material_with(CommitOptions::default()).await);
        }
        Self::taken(guard.change_members(add, &remove, CommitOptions::default()).await)
    }

    async fn commit_proposals(&mut self) -> bool {
        let mut tx = self.session.new_transaction().await.unwrap();
        let mut guard = tx.conversation(&group()).await.unwrap();
        assert_ne!(guard.pending_proposals().unwrap(), 0);
        Self::taken(guard.commit_pending_proposals_with(CommitOptions::default()).await)
    }

    async fn overtake(&mut self) -> bool {
        false
    }

    async fn propose(&mut self, change: Change) {
        let mut tx = self.session.new_transaction().await.unwrap();
        let proposed = match change {
            Change::Add(package) => {
                tx.new_add_proposal(&group(), KeyPackage::from_bytes(&package).unwrap()).await
            }
            Change::Remove(name) => tx.new_remove_proposal(&group(), ClientId::from(name.as_str())).await,
            Change::Update => tx.new_update_proposal(&group()).await,
        };
        let proposal = proposed.unwrap().proposal;
        tx.finish().await.unwrap();
        self.hub.post(Some(self.number), proposal);
    }

    async fn forget_proposals(&mut self) {
        let mut tx = self.session.new_transaction().await.unwrap();
        tx.conversation(&group()).await.unwrap().clear_pending_proposals().unwrap();
        tx.finish().await.unwrap();
    }

    async fn encrypt(&mut self, text: &str) -> Vec<u8> {
        let mut tx = self.session.new_transaction().await.unwrap();
        let ciphertext = tx.conversation(&group()).await.unwrap().encrypt_message(text).unwrap();
        tx.finish().await.unwrap();
        ciphertext
    }

    async fn sync(&mut self) -> Vec<String> {
        let entries = self.hub.log_from(self.cursor);
        self.cursor += entries.len();
        if entries.is_empty() {
            return Vec::new();
        }
        let mut texts = Vec::new();
        let mut renewed = Vec::new();
        let mut tx = self.session.new_transaction().await.unwrap();
        let mut guard = tx.conversation(&group()).await.unwrap();
        for Entry { sender, message } in entries {
            let is_late = is_late_proposal(&protocol_message(&message), guard.epoch().unwrap());
            let result = guard.decrypt_message(&message).unwrap();
            renewed.extend(result.proposals);
            if is_late {
                assert_eq!(result.outcome, Outcome::StaleEpoch);
                continue;
            }
            if sender == Some(self.number) {
                let own = [Outcome::OwnMessage, Outcome::OwnCommitKnown, Outcome::OwnProposal];
                assert!(own.contains(&result.outcome), "{:?}", result.outcome);
                continue;
            }
            match result.outcome {
                Outcome::Application => texts.push(String::from_utf8(result.app_msg.unwrap()).unwrap()),
                Outcome::Commit | Outcome::Proposal => {}
                other => panic!("{other:?}"),
            }
            if !result.is_active {
                break;
            }
        }
        tx.finish().await.unwrap();
        for bundle in renewed {
            self.hub.post(Some(self.number), bundle.proposal);
        }
        texts
    }

    async fn restart(&mut self) {
        self.session = open(&self.home, None, &self.hub, self.number, self.style);
    }
}
