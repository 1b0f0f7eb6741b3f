//! What an application does on the device that dies: cursor, messages and outbox move with the keys.

use std::{net::SocketAddr, path::Path, sync::Arc};

use serde::{Deserialize, Serialize};
use tertulia_domain::{ConversationType, DeviceId, Protocol, Sequence, UserId};
use tertulia_mls::{
    Ciphersuite, ClientId, CommitOptions, ConversationId, Credential, CredentialRef, EngineError, KeyPackage,
    MlsConversationConfiguration, Session, SessionConfig, TransactionContext, VerifiableGroupInfo,
};
use tertulia_store::{
    ConversationRecord, KeySource, NewMessage, NewOutboxMessage, OutboxKind, OutboxMessage, Store, StoreError,
};

use crate::{
    common::client_id,
    network::Remote,
    state::{State, state},
};

pub(crate) const NAME: &str = "bob";
const OWN: UserId = UserId::from_bytes([0xB0; 16]);
const OTHERS: UserId = UserId::from_bytes([0xA1; 16]);

/// What the application is about to do when it dies. Afterwards it goes on with [`Application::recover`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Action {
    Create,
    /// The key package of whom to add.
    Add(Vec<u8>),
    /// Whom to remove.
    Remove(Vec<u8>),
    Update,
    /// An update, and a message in the epoch after it.
    UpdateWithMessage(String),
    Join,
    Send(String),
    /// Receives and settles whatever there is.
    Recover,
}

/// The device with its application.
pub(crate) struct Application {
    pub(crate) session: Session,
    home: std::path::PathBuf,
    credential: CredentialRef,
    remote: Arc<Remote>,
    id: ConversationId,
}

impl Application {
    /// Makes the device's store.
    pub(crate) async fn install(home: &Path, address: SocketAddr) {
        let store = Store::create(home, &KeySource::File).unwrap();
        let session =
            Session::open(store, Arc::new(Remote::connect(address)), SessionConfig::default()).unwrap();
        let mut tx = session.new_transaction().await.unwrap();
        tx.add_credential(Credential::basic(client_id(NAME), Ciphersuite::default()).unwrap()).unwrap();
        tx.finish().await.unwrap();
    }

    pub(crate) async fn open(home: &Path, address: SocketAddr, id: &ConversationId) -> Self {
        let store = Store::open(home, &KeySource::File).unwrap();
        let remote = Arc::new(Remote::connect(address));
        let session = Session::open(store, remote.clone(), SessionConfig::default()).unwrap();
        let tx = session.new_transaction().await.unwrap();
        let credential = tx.find_credentials().unwrap().pop().unwrap();
        drop(tx);
        Self { session, home: home.to_owned(), credential, remote, id: id.clone() }
    }

    /// One thing, and then whatever there is to receive and to settle.
    pub(crate) async fn perform(&self, action: &Action) -> Result<(), EngineError> {
        let done = match action {
            Action::Create => self.create().await,
            Action::Add(package) => self.change(vec![KeyPackage::from_bytes(package)?], &[]).await,
            Action::Remove(client) => self.change(vec![], &[ClientId::from(client.as_slice())]).await,
            Action::Update => self.update(CommitOptions::default()).await,
            Action::UpdateWithMessage(text) => {
                self.update(CommitOptions::with_message(text.as_bytes())).await
            }
            Action::Join => self.join().await,
            Action::Send(text) => self.send(text).await,
            Action::Recover => Ok(()),
        };
        match done {
            // It came too late, was refused, or is in doubt: what is received next tells, or the hub.
            Ok(()) | Err(EngineError::CommitRejected(_) | EngineError::CommitOutcomeUnknown { .. }) => {}
            Err(error) => return Err(error),
        }
        self.recover().await
    }

    /// What an application does after a start: catch up, settle, be a member, send what is in the outbox.
    pub(crate) async fn recover(&self) -> Result<(), EngineError> {
        for _ in 0..10 {
            self.welcome().await?;
            self.sync().await?;
            let exists = self.session.conversation_exists(&self.id)?;
            let done = if self.session.pending_commit(&self.id)?.is_some() {
                self.settle().await
            } else if self.remote.group_info(&self.id).is_none() {
                self.create().await
            } else if !exists {
                self.join().await
            } else if self.session.conversation(&self.id)?.pending_proposals() > 0 {
                self.commit_proposals().await
            } else {
                return self.flush().await;
            };
            match done {
                Ok(()) | Err(EngineError::CommitRejected(_) | EngineError::CommitOutcomeUnknown { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        panic!("the device does not come to rest");
    }

    /// What is on the disk is what the session says, after whatever failed.
    pub(crate) fn assert_memory_is_disk(&self) {
        let fresh = Store::open(&self.home, &KeySource::File).unwrap();
        let fresh = Session::open(fresh, self.remote.clone(), SessionConfig::default()).unwrap();
        assert_eq!(self.state(), state_if_joined(&fresh, &self.id));
        assert_eq!(self.session.pending_commits().unwrap(), fresh.pending_commits().unwrap());
    }

    pub(crate) fn state(&self) -> Option<State> {
        state_if_joined(&self.session, &self.id)
    }

    /// All texts in the order in which they were read, and all that were sent and acknowledged.
    pub(crate) fn texts(&self) -> (Vec<String>, Vec<String>) {
        let rows = self.session.store().read(|r| r.messages(domain(&self.id), None, None)).unwrap();
        let (own, others): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.sender == OWN);
        let texts = |rows: Vec<tertulia_store::MessageRow>| rows.into_iter().map(|row| row.text).collect();
        (texts(others), texts(own))
    }

    pub(crate) async fn key_package(&self) -> KeyPackage {
        let mut tx = self.session.new_transaction().await.unwrap();
        let mut packages = tx.generate_key_packages(&self.credential, 1, None).unwrap();
        tx.finish().await.unwrap();
        packages.pop().unwrap()
    }

    async fn create(&self) -> Result<(), EngineError> {
        let mut tx = self.session.new_transaction().await?;
        if !tx.conversation_exists(&self.id)? {
            tx.new_conversation(&self.id, &self.credential, MlsConversationConfiguration::default())?;
            self.at(&mut tx, 0)?;
        }
        tx.finish().await?;
        // The first commit brings the group info to the hub.
        self.update(CommitOptions::default()).await
    }

    async fn change(&self, add: Vec<KeyPackage>, remove: &[ClientId]) -> Result<(), EngineError> {
        let mut tx = self.session.new_transaction().await?;
        let mut guard = tx.conversation(&self.id).await?;
        guard.change_members(add, remove, CommitOptions::default()).await?;
        tx.finish().await
    }

    async fn update(&self, options: CommitOptions) -> Result<(), EngineError> {
        let mut tx = self.session.new_transaction().await?;
        tx.conversation(&self.id).await?.update_key_material_with(options).await?;
        tx.finish().await
    }

    async fn commit_proposals(&self) -> Result<(), EngineError> {
        let mut tx = self.session.new_transaction().await?;
        tx.conversation(&self.id).await?.commit_pending_proposals().await?;
        tx.finish().await
    }

    async fn join(&self) -> Result<(), EngineError> {
        let info = VerifiableGroupInfo::from_bytes(&self.remote.group_info(&self.id).unwrap())?;
        let mut tx = self.session.new_transaction().await?;
        tx.join_by_external_commit(info, &self.credential).await?;
        tx.finish().await
    }

    async fn welcome(&self) -> Result<(), EngineError> {
        if self.session.conversation_exists(&self.id)? {
            return Ok(());
        }
        let Some((welcome, behind_commit)) = self.remote.welcome(&self.id) else { return Ok(()) };
        let mut tx = self.session.new_transaction().await?;
        match tx.process_welcome(&welcome) {
            Ok(_) => self.at(&mut tx, behind_commit)?,
            // It is somebody else's, or was used.
            Err(EngineError::KeyPackageNotFound) => return Ok(()),
            Err(error) => return Err(error),
        }
        tx.finish().await
    }

    /// Reads the log to its end: each message is decrypted, stored and counted as read in one transaction.
    pub(crate) async fn sync(&self) -> Result<(), EngineError> {
        loop {
            let place = self.cursor()?;
            let Some(message) = self.remote.entry(&self.id, place) else { return Ok(()) };
            let mut tx = self.session.new_transaction().await?;
            let result = match tx.conversation(&self.id).await {
                Ok(mut guard) => guard.decrypt_message(&message)?,
                // Not a member, nor about to be one.
                Err(EngineError::ConversationNotFound(_)) => return Ok(()),
                Err(error) => return Err(error),
            };
            if let Some(text) = result.app_msg {
                let row = self.row(place, OTHERS, &text);
                let conversation = self.record();
                tx.store_write(move |w| {
                    w.put_conversation(&conversation)?;
                    new(w.insert_message(&row)?)
                })?;
            }
            self.at(&mut tx, place + 1)?;
            tx.finish().await?;
        }
    }

    async fn settle(&self) -> Result<(), EngineError> {
        let hub_epoch = self.remote.epoch(&self.id);
        let mut tx = self.session.new_transaction().await?;
        tx.conversation(&self.id).await?.settle_pending(hub_epoch).await?;
        tx.finish().await
    }

    pub(crate) async fn send(&self, text: &str) -> Result<(), EngineError> {
        let mut tx = self.session.new_transaction().await?;
        let ciphertext = tx.conversation(&self.id).await?.encrypt_message(text)?;
        let message = NewOutboxMessage {
            conversation: domain(&self.id),
            kind: OutboxKind::Message,
            content: text.as_bytes().to_vec(),
            created_at: 0,
        };
        let conversation = self.record();
        tx.store_write(move |w| {
            w.put_conversation(&conversation)?;
            let id = w.put_into_outbox(&message)?;
            w.set_ciphertext(id, &ciphertext)
        })?;
        tx.finish().await?;
        self.flush().await
    }

    /// Sends what is in the outbox, byte for byte as it was encrypted.
    async fn flush(&self) -> Result<(), EngineError> {
        for OutboxMessage { id, content, ciphertext, .. } in
            self.session.store().read(|r| r.outbox_of(domain(&self.id)))?
        {
            let place = self.remote.post(&self.id, ciphertext.unwrap());
            let row = self.row(place, OWN, &content);
            let mut tx = self.session.new_transaction().await?;
            tx.store_write(move |w| {
                w.remove_from_outbox(id)?;
                new(w.insert_message(&row)?)
            })?;
            tx.finish().await?;
        }
        Ok(())
    }

    /// The place in the log that is read next.
    fn cursor(&self) -> Result<usize, EngineError> {
        let cursor = self.session.store().read(|r| r.cursor())?.unwrap_or_default();
        let own = cursor.split_once(' ').filter(|(id, _)| *id == hex::encode(self.id.as_bytes()));
        Ok(own.map_or(0, |(_, place)| place.parse().unwrap()))
    }

    fn at(&self, tx: &mut TransactionContext, place: usize) -> Result<(), EngineError> {
        let cursor = format!("{} {place}", hex::encode(self.id.as_bytes()));
        tx.store_write(move |w| w.set_cursor(&cursor))
    }

    fn record(&self) -> ConversationRecord {
        let (kind, protocol) = (ConversationType::Group, Protocol::Mls);
        ConversationRecord { id: domain(&self.id), kind, epoch: 0, protocol, created_at: 0 }
    }

    fn row(&self, place: usize, sender: UserId, text: &[u8]) -> NewMessage {
        let mut message_id = [0; 32];
        message_id[..8].copy_from_slice(&place.to_be_bytes());
        NewMessage {
            conversation: domain(&self.id),
            sequence: Sequence::new(place as u64),
            sender,
            sender_device: DeviceId::new(1),
            sent_at: 0,
            message_id,
            content: text.to_vec(),
            text: Some(String::from_utf8(text.to_vec()).unwrap()),
            expires: None,
        }
    }
}

/// The store takes a message that it has as a repetition: here it would be one that was read twice.
fn new(is_new: bool) -> Result<(), StoreError> {
    if is_new { Ok(()) } else { Err(StoreError::Damaged { what: "a message was read twice" }) }
}

fn domain(id: &ConversationId) -> tertulia_domain::ConversationId {
    let mut bytes = [0; 16];
    for (byte, of_id) in bytes.iter_mut().zip(id.as_bytes()) {
        *byte = *of_id;
    }
    tertulia_domain::ConversationId::from_bytes(bytes)
}

fn state_if_joined(session: &Session, id: &ConversationId) -> Option<State> {
    session.conversation_exists(id).unwrap().then(|| state(session, id))
}
