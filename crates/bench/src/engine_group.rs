//! A group on disk, seen by two of its members.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tertulia_domain::{DeviceAddress, DeviceId, Domain, UserId};
use tertulia_mls::{
    Ciphersuite, ClientId, CommitOutcome, ConversationId, Credential, CredentialRef, KeyPackage,
    MlsCommitBundle, MlsConversationConfiguration, MlsTransport, Result, Session, SessionConfig,
};
use tertulia_store::{KeySource, Store};

/// A group of which one member writes and another reads, each with an encrypted keystore on disk of its own. The others are
/// leaves of the tree and nothing more.
///
/// Its homes are in the directory for temporary files; set `TMPDIR` to measure another disk.
pub struct EngineGroup {
    id: ConversationId,
    writer: Session,
    reader: Session,
    orderer: Arc<Orderer>,
    adding: Duration,
    welcome: Vec<u8>,
    homes: TempDir,
}

/// An orderer that takes every commit and keeps the last one.
#[derive(Default)]
struct Orderer(Mutex<Option<MlsCommitBundle>>);

impl Orderer {
    fn take(&self) -> MlsCommitBundle {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().expect("a commit was just accepted")
    }
}

#[async_trait::async_trait]
impl MlsTransport for Orderer {
    async fn send_commit_bundle(&self, _: &ConversationId, bundle: MlsCommitBundle) -> CommitOutcome {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(bundle);
        CommitOutcome::Accepted
    }
}

impl EngineGroup {
    /// A group of a writer, those of the key packages, and a reader.
    ///
    /// # Panics
    ///
    /// When there is no place for temporary files.
    pub async fn new(others: Vec<KeyPackage>) -> Result<Self> {
        Self::with_joins(others, 1).await
    }

    /// The same, with so many devices of the reader, of which the first joins here and the others by
    /// [`rejoin`](Self::rejoin).
    pub async fn with_joins(mut others: Vec<KeyPackage>, joins: usize) -> Result<Self> {
        let homes = tempfile::tempdir().expect("there is a place for temporary files");
        let orderer = Arc::new(Orderer::default());
        let writer = open(&homes.path().join("writer"), &orderer)?;
        let reader = open(&homes.path().join("reader"), &orderer)?;
        let creator = add_credential(&writer).await?;
        for _ in 0..joins {
            others.push(key_package(&reader).await?);
        }

        let id = ConversationId::from(b"group to measure");
        let mut tx = writer.new_transaction().await?;
        tx.new_conversation(&id, &creator, MlsConversationConfiguration::default())?;
        tx.finish().await?;
        let begun = Instant::now();
        let mut tx = writer.new_transaction().await?;
        tx.conversation(&id).await?.add_members(others).await?;
        tx.finish().await?;
        let adding = begun.elapsed();

        let welcome = orderer.take().welcome.expect("a commit that adds members comes with a Welcome");
        let group = Self { id, writer, reader, orderer, adding, welcome, homes };
        group.join().await?;
        Ok(group)
    }

    /// How long it took to add everybody, until it was durable.
    pub fn adding(&self) -> Duration {
        self.adding
    }

    /// Wipes the reader's conversation and joins it anew with another of its devices. How long the joining took.
    pub async fn rejoin(&self) -> Result<Duration> {
        let mut tx = self.reader.new_transaction().await?;
        tx.wipe_conversation(&self.id)?;
        tx.finish().await?;
        let begun = Instant::now();
        self.join().await?;
        Ok(begun.elapsed())
    }

    async fn join(&self) -> Result<()> {
        let mut tx = self.reader.new_transaction().await?;
        tx.process_welcome(&self.welcome)?;
        tx.finish().await
    }

    /// The group's id.
    pub fn id(&self) -> &ConversationId {
        &self.id
    }

    /// The reader's engine.
    pub fn reader(&self) -> &Session {
        &self.reader
    }

    /// Where the reader's store is.
    pub fn reader_home(&self) -> PathBuf {
        self.homes.path().join("reader")
    }

    /// Encrypts a message, in a durable transaction of its own.
    pub async fn encrypt(&self, text: &[u8]) -> Result<Vec<u8>> {
        let mut tx = self.writer.new_transaction().await?;
        let message = tx.conversation(&self.id).await?.encrypt_message(text)?;
        tx.finish().await?;
        Ok(message)
    }

    /// Encrypts so many messages, in one durable transaction.
    pub async fn encrypt_many(&self, text: &[u8], count: usize) -> Result<Vec<Vec<u8>>> {
        let mut tx = self.writer.new_transaction().await?;
        let mut conversation = tx.conversation(&self.id).await?;
        let messages = (0..count).map(|_| conversation.encrypt_message(text)).collect::<Result<_>>()?;
        tx.finish().await?;
        Ok(messages)
    }

    /// Renews the writer's keys with a commit; its two durable transactions are those of every commit. Returns the commit.
    pub async fn commit(&self) -> Result<Vec<u8>> {
        let mut tx = self.writer.new_transaction().await?;
        tx.conversation(&self.id).await?.update_key_material().await?;
        tx.finish().await?;
        Ok(self.orderer.take().commit)
    }

    /// Decrypts a message, or applies a commit, as the reader, in a durable transaction of its own.
    pub async fn receive(&self, message: &[u8]) -> Result<()> {
        self.receive_many(std::slice::from_ref(&message)).await
    }

    /// Receives these, in one durable transaction.
    pub async fn receive_many(&self, messages: &[impl AsRef<[u8]>]) -> Result<()> {
        let mut tx = self.reader.new_transaction().await?;
        let mut conversation = tx.conversation(&self.id).await?;
        for message in messages {
            conversation.decrypt_message(message.as_ref())?;
        }
        tx.finish().await
    }
}

fn open(home: &Path, orderer: &Arc<Orderer>) -> Result<Session> {
    let store = Store::create(home, &KeySource::File)?;
    Session::open(store, Arc::clone(orderer) as Arc<dyn MlsTransport>, SessionConfig::default())
}

async fn add_credential(session: &Session) -> Result<CredentialRef> {
    let domain: Domain = "bench.localhost".parse().expect("a valid domain");
    let address = DeviceAddress { user: UserId::random(), device: DeviceId::random(), domain };
    let client = ClientId::from(address.to_identity());
    let mut tx = session.new_transaction().await?;
    let credential = tx.add_credential(Credential::basic(client, Ciphersuite::default())?)?;
    tx.finish().await?;
    Ok(credential)
}

/// The key package of a new device, kept by this session.
async fn key_package(session: &Session) -> Result<KeyPackage> {
    let credential = add_credential(session).await?;
    let mut tx = session.new_transaction().await?;
    let mut key_packages = tx.generate_key_packages(&credential, 1, None)?;
    tx.finish().await?;
    Ok(key_packages.pop().expect("one was asked for"))
}
