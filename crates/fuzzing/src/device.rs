//! Devices on real stores, in memory where the system has a file system for that.

use std::{fs, path::Path};

use tempfile::TempDir;
use tertulia_mls::{
    Ciphersuite, ClientId, ConversationGuard, ConversationId, Credential, CredentialRef, KeyPackage, Session,
    SessionConfig,
};
use tertulia_store::{KeySource, Store};

use crate::hub::Hub;

pub(crate) struct Device {
    home: TempDir,
    pub(crate) hub: Hub,
    pub(crate) session: Session,
    pub(crate) credential: CredentialRef,
}

impl Device {
    pub(crate) async fn new(hub: &Hub, number: u8) -> Self {
        let credential = Credential::basic(client_id(number), Ciphersuite::default()).expect("a key pair");
        Self::with_credential(hub, credential, SessionConfig::default()).await
    }

    pub(crate) async fn with_credential(hub: &Hub, credential: Credential, config: SessionConfig) -> Self {
        let home = directory();
        let store = Store::create(home.path(), &KeySource::File).expect("the directory is new");
        let session = open(store, hub, config);
        let mut tx = session.new_transaction().await.expect("nobody else writes");
        let credential = tx.add_credential(credential).expect("the first credential");
        tx.finish().await.expect("the disk works");
        Self { home, hub: hub.clone(), session, credential }
    }

    /// Another device with the same content of its home.
    pub(crate) fn copy(&self, hub: &Hub) -> Self {
        let home = directory();
        copy_files(self.home.path(), home.path());
        let session = open(reopen(home.path()), hub, SessionConfig::default());
        Self { home, hub: hub.clone(), session, credential: self.credential.clone() }
    }

    /// Forgets what is in memory.
    pub(crate) fn restart(&mut self) {
        self.session = open(reopen(self.home.path()), &self.hub, SessionConfig::default());
    }

    pub(crate) fn client_id(&self) -> &ClientId {
        self.credential.client_id()
    }

    pub(crate) async fn key_package(&self) -> KeyPackage {
        let mut tx = self.session.new_transaction().await.expect("nobody else writes");
        let mut packages = tx.generate_key_packages(&self.credential, 1, None).expect("one key package");
        tx.finish().await.expect("the disk works");
        packages.pop().expect("one was asked for")
    }
}

/// What a conversation is like inside a transaction: after an error it is the same.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Inside {
    epoch: u64,
    /// From the key schedule of the epoch: equal only in equal states.
    exported: Vec<u8>,
    members: Vec<ClientId>,
    proposals: usize,
}

impl Inside {
    /// None while there is no conversation behind the guard.
    pub(crate) fn of(guard: &mut ConversationGuard<'_>) -> Option<Self> {
        guard.is_joined().expect("the store can be read").then(|| Self {
            epoch: guard.epoch().expect("it is joined"),
            exported: guard.export_secret_key(32).expect("32 bytes can be exported").to_vec(),
            members: guard.client_ids().expect("it is joined"),
            proposals: guard.pending_proposals().expect("it is joined"),
        })
    }
}

pub(crate) fn conversation() -> ConversationId {
    ConversationId::from("fuzzed")
}

pub(crate) fn client_id(number: u8) -> ClientId {
    ClientId::from(format!("f3b0c4a2-7d1e-4c55-9a38-2b6e0d9f1c{number:02x}:1@hub.example"))
}

fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("there is a place for temporary files")
}

fn reopen(home: &Path) -> Store {
    Store::open(home, &KeySource::File).expect("the home is whole")
}

fn open(store: Store, hub: &Hub, config: SessionConfig) -> Session {
    Session::open(store, std::sync::Arc::new(hub.clone()), config).expect("the store is whole")
}

fn copy_files(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("the home is there") {
        let entry = entry.expect("the home is there");
        if entry.file_type().expect("the home is there").is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).expect("a small file can be copied");
        }
    }
}
