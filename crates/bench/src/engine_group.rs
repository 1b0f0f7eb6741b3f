//! A group on disk, seen by two of its members.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
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
    last: Arc<LastBundle>,
    _homes: TempDir,
}

/// An orderer that takes every commit and keeps the last one.
#[derive(Default)]
struct LastBundle(Mutex<Option<MlsCommitBundle>>);

impl LastBundle {
    fn take(&self) -> MlsCommitBundle {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().expect("a commit was just accepted")
    }
}

#[async_trait::async_trait]
impl MlsTransport for LastBundle {
    async fn send_commit_bundle(&self, _: &ConversationId, bundle: MlsCommitBundle) -> CommitOutcome {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(bundle);
        CommitOutcome::Accepted
    }
}

impl EngineGroup {
    /// A group of so many members, at least two.
    ///
    /// # Panics
    ///
    /// When there is no place for temporary files.
    pub async fn with_members(members: usize) -> Result<Self> {
        let homes = tempfile::tempdir().expect("there is a place for temporary files");
        let last = Arc::new(LastBundle::default());
        let session = |name: &str| open(&homes.path().join(name), Arc::clone(&last));
        let (writer, reader, others) = (session("writer")?, session("reader")?, session("others")?);
        let creator = add_credential(&writer).await?;
        let mut key_packages = make_key_packages(&reader, 1).await?;
        key_packages.extend(make_key_packages(&others, members.saturating_sub(2)).await?);

        let id = ConversationId::from("a group to measure");
        let mut tx = writer.new_transaction().await?;
        tx.new_conversation(&id, &creator, MlsConversationConfiguration::default())?;
        tx.conversation(&id).await?.add_members(key_packages).await?;
        tx.finish().await?;

        let welcome = last.take().welcome.expect("a commit that adds members comes with a Welcome");
        let mut tx = reader.new_transaction().await?;
        tx.process_welcome(&welcome)?;
        tx.finish().await?;
        Ok(Self { id, writer, reader, last, _homes: homes })
    }

    /// Encrypts a message, in a durable transaction of its own.
    pub async fn encrypt(&self, text: &[u8]) -> Result<Vec<u8>> {
        let mut tx = self.writer.new_transaction().await?;
        let message = tx.conversation(&self.id).await?.encrypt_message(text)?;
        tx.finish().await?;
        Ok(message)
    }

    /// Encrypts so many messages, in one durable transaction.
    pub async fn encrypt_many(&self, text: &[u8], count: u64) -> Result<Vec<Vec<u8>>> {
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
        Ok(self.last.take().commit)
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

fn open(home: &Path, transport: Arc<LastBundle>) -> Result<Session> {
    Session::open(Store::create(home, &KeySource::File)?, transport, SessionConfig::default())
}

async fn add_credential(session: &Session) -> Result<CredentialRef> {
    let mut tx = session.new_transaction().await?;
    let credential = tx.add_credential(new_credential()?)?;
    tx.finish().await?;
    Ok(credential)
}

/// Key packages of so many new devices, all kept by one session.
async fn make_key_packages(session: &Session, devices: usize) -> Result<Vec<KeyPackage>> {
    let mut key_packages = Vec::with_capacity(devices);
    let mut tx = session.new_transaction().await?;
    for _ in 0..devices {
        let credential = tx.add_credential(new_credential()?)?;
        key_packages.extend(tx.generate_key_packages(&credential, 1, None)?);
    }
    tx.finish().await?;
    Ok(key_packages)
}

fn new_credential() -> Result<Credential> {
    let domain: Domain = "bench.localhost".parse().expect("a valid domain");
    let address = DeviceAddress { user: UserId::random(), device: DeviceId::random(), domain };
    Credential::basic(ClientId::from(address.to_identity()), Ciphersuite::default())
}
