//! A device with an application, which keeps what it has read beside the keys.

use std::{collections::BTreeSet, pin::Pin, sync::Arc};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tertulia_mls::{
    Ciphersuite, ClientId, CommitOptions, ConversationId, Credential, CredentialRef, EngineError, KeyPackage,
    MlsBufferedConversationDecryptMessage, MlsConversationConfiguration, MlsConversationDecryptMessage,
    Outcome, Session, SessionConfig, Settlement, VerifiableGroupInfo,
};
use tertulia_store::{KeySource, Store};

use crate::{
    common,
    wire::{Wire, now},
};

/// A commit, and the messages that waited for it.
pub(crate) type Operation = Pin<Box<dyn Future<Output = Result<Vec<Replayed>, EngineError>>>>;

pub(crate) type Replayed = MlsBufferedConversationDecryptMessage;

/// A text that was read, and who is said to have sent it.
pub(crate) type Read = (String, Option<ClientId>);

/// What the application remembers, in the same transactions as the engine.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// All places of the log before this one are done with.
    pub(crate) cursor: usize,
    /// Further places that are done with.
    ahead: BTreeSet<usize>,
    /// The texts that were read, each with its sender.
    pub(crate) read: BTreeSet<String>,
    /// Proposals, made or renewed, that the hub has not got yet. They go before any commit, which may refer to them.
    outgoing: Vec<String>,
}

impl Memory {
    pub(crate) fn is_done(&self, place: usize) -> bool {
        place < self.cursor || self.ahead.contains(&place)
    }

    fn done(&mut self, place: usize) {
        self.ahead.insert(place);
        while self.ahead.remove(&self.cursor) {
            self.cursor += 1;
        }
    }

    /// As a member anew: everything from here on is to be read again.
    fn begin_at(&mut self, place: usize) {
        self.cursor = place;
        self.ahead.clear();
    }
}

/// What a device proposes.
pub(crate) enum Change {
    Add(KeyPackage),
    Remove(ClientId),
    Update,
}

/// What became of a message that was handed to the engine.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Handed {
    /// It is done with, and need not come again.
    Done(Outcome),
    /// It cannot be read, nor ever will.
    Refused,
    /// This device is out.
    NotMember,
}

pub(crate) struct Device {
    pub(crate) name: String,
    pub(crate) wire: Arc<Wire>,
    pub(crate) memory: Memory,
    pub(crate) session: Session,
    pub(crate) credential: CredentialRef,
    config: SessionConfig,
    id: ConversationId,
    home: TempDir,
}

impl Device {
    pub(crate) fn new(name: &str, id: &ConversationId, config: SessionConfig) -> Self {
        let home = common::temporary();
        let store = Store::create(home.path(), &KeySource::File).unwrap();
        let wire = Arc::new(Wire::default());
        let session = Session::open(store, wire.clone(), config.clone()).unwrap();
        let mut tx = now(session.new_transaction()).unwrap();
        let credential = Credential::basic(common::client_id(name), Ciphersuite::default()).unwrap();
        let credential = tx.add_credential(credential).unwrap();
        now(tx.finish()).unwrap();
        Self {
            name: name.to_owned(),
            wire,
            memory: Memory::default(),
            session,
            credential,
            config,
            id: id.clone(),
            home,
        }
    }

    /// All memory is gone, the disk is there.
    pub(crate) fn restart(&mut self) {
        let store = Store::open(self.home.path(), &KeySource::File).unwrap();
        self.wire = Arc::new(Wire::default());
        self.session = Session::open(store, self.wire.clone(), self.config.clone()).unwrap();
        let memory = self.session.store().read(|r| r.data()).unwrap();
        self.memory = memory.map_or_else(Memory::default, |bytes| serde_json::from_slice(&bytes).unwrap());
    }

    pub(crate) fn client_id(&self) -> ClientId {
        self.credential.client_id().clone()
    }

    pub(crate) fn is_member(&self) -> bool {
        self.session.conversation_exists(&self.id).unwrap()
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.session.pending_commit(&self.id).unwrap().is_some()
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.session.conversation(&self.id).unwrap().epoch()
    }

    pub(crate) fn members(&self) -> Vec<ClientId> {
        self.session.conversation(&self.id).unwrap().client_ids().unwrap()
    }

    pub(crate) fn proposals(&self) -> usize {
        self.session.conversation(&self.id).unwrap().pending_proposals()
    }

    pub(crate) fn create(&self, external_sender: &[u8]) {
        let mut config =
            MlsConversationConfiguration { custom: self.config.joined.clone(), ..Default::default() };
        config.set_raw_external_senders([external_sender]).unwrap();
        let mut tx = now(self.session.new_transaction()).unwrap();
        tx.new_conversation(&self.id, &self.credential, config).unwrap();
        now(tx.finish()).unwrap();
    }

    pub(crate) fn key_package(&self) -> KeyPackage {
        let mut tx = now(self.session.new_transaction()).unwrap();
        let mut packages = tx.generate_key_packages(&self.credential, 1, None).unwrap();
        now(tx.finish()).unwrap();
        packages.pop().unwrap()
    }

    pub(crate) fn encrypt(&self, text: &str) -> Result<Vec<u8>, EngineError> {
        let mut tx = now(self.session.new_transaction())?;
        let ciphertext = now(tx.conversation(&self.id))?.encrypt_message(text)?;
        now(tx.finish())?;
        Ok(ciphertext)
    }

    /// Does everything that receiving takes and gives the transaction up, as if the process had ended before its end.
    pub(crate) fn receive_in_vain(&self, message: &[u8]) {
        let mut tx = now(self.session.new_transaction()).unwrap();
        if let Ok(mut guard) = now(tx.conversation(&self.id)) {
            drop(guard.decrypt_message(message));
        }
    }

    /// Hands the message at a place of the log to the engine. `new_texts` are told.
    pub(crate) fn receive(&mut self, place: usize, message: &[u8], new_texts: &mut Vec<Read>) -> Handed {
        let mut tx = now(self.session.new_transaction()).unwrap();
        let result = match now(tx.conversation(&self.id)) {
            Ok(mut guard) => guard.decrypt_message(message),
            Err(EngineError::ConversationNotFound(_)) => return Handed::NotMember,
            Err(error) => panic!("{}: {error:?}", self.name),
        };
        let mut memory = self.memory.clone();
        let handed = match result {
            Ok(result) => {
                let outcome = result.outcome;
                let begins = result.external_join && outcome == Outcome::OwnCommitMerged;
                memory.outgoing.extend(result.proposals.iter().map(|renewed| hex::encode(&renewed.proposal)));
                self.note(result, &mut memory, new_texts);
                if begins {
                    memory.begin_at(place);
                }
                Handed::Done(outcome)
            }
            Err(EngineError::InvalidMessage(_)) => Handed::Refused,
            Err(error) => panic!("{} at {place}: {error:?}", self.name),
        };
        memory.done(place);
        tx.set_data(serde_json::to_vec(&memory).unwrap()).unwrap();
        now(tx.finish()).unwrap();
        self.memory = memory;
        handed
    }

    fn note(&self, result: MlsConversationDecryptMessage, memory: &mut Memory, new_texts: &mut Vec<Read>) {
        self.note_text(result.outcome, result.app_msg, result.sender_client_id, memory, new_texts);
        self.note_replayed(result.buffered_messages.into_iter().flatten(), memory, new_texts);
    }

    fn note_replayed(
        &self,
        replayed: impl IntoIterator<Item = Replayed>,
        memory: &mut Memory,
        new_texts: &mut Vec<Read>,
    ) {
        for message in replayed {
            let Replayed { outcome, app_msg, sender_client_id, .. } = message;
            self.note_text(outcome, app_msg, sender_client_id, memory, new_texts);
        }
    }

    fn note_text(
        &self,
        outcome: Outcome,
        text: Option<Vec<u8>>,
        sender: Option<ClientId>,
        memory: &mut Memory,
        new_texts: &mut Vec<Read>,
    ) {
        assert_eq!(text.is_some(), outcome == Outcome::Application);
        if let Some(text) = text {
            let text = String::from_utf8(text).unwrap();
            assert!(memory.read.insert(text.clone()), "{} reads {text} twice", self.name);
            new_texts.push((text, sender));
        }
    }

    /// Proposes something, to be sent later.
    pub(crate) fn propose(&mut self, change: Change) -> Result<(), EngineError> {
        let mut tx = now(self.session.new_transaction())?;
        let bundle = match change {
            Change::Add(package) => now(tx.new_add_proposal(&self.id, package)),
            Change::Remove(client) => now(tx.new_remove_proposal(&self.id, client)),
            Change::Update => now(tx.new_update_proposal(&self.id)),
        }?;
        let mut memory = self.memory.clone();
        memory.outgoing.push(hex::encode(bundle.proposal));
        tx.set_data(serde_json::to_vec(&memory).unwrap())?;
        now(tx.finish())?;
        self.memory = memory;
        Ok(())
    }

    /// The proposals that the hub has not got yet.
    pub(crate) fn outgoing(&self) -> Vec<Vec<u8>> {
        self.memory.outgoing.iter().map(|proposal| hex::decode(proposal).unwrap()).collect()
    }

    /// The hub has got them.
    pub(crate) fn sent(&mut self) {
        self.memory.outgoing.clear();
        let mut tx = now(self.session.new_transaction()).unwrap();
        tx.set_data(serde_json::to_vec(&self.memory).unwrap()).unwrap();
        now(tx.finish()).unwrap();
    }

    /// Opens a Welcome, whose reader begins at `place`. Whether it was for this device.
    pub(crate) fn welcome(&mut self, welcome: &[u8], place: usize, new_texts: &mut Vec<Read>) -> bool {
        let mut tx = now(self.session.new_transaction()).unwrap();
        let joined = match tx.process_welcome(welcome) {
            Ok(joined) => joined,
            Err(EngineError::KeyPackageNotFound) => return false,
            Err(error) => panic!("{}: {error:?}", self.name),
        };
        let mut memory = self.memory.clone();
        self.note_replayed(joined.buffered_messages.into_iter().flatten(), &mut memory, new_texts);
        memory.begin_at(place);
        tx.set_data(serde_json::to_vec(&memory).unwrap()).unwrap();
        now(tx.finish()).unwrap();
        self.memory = memory;
        true
    }

    /// After a commit: what waited for it was read. After a join, what came to the old state may have gone with it, and has
    /// to come again.
    pub(crate) fn keep(&mut self, replayed: Vec<Replayed>, has_joined: bool, new_texts: &mut Vec<Read>) {
        let mut memory = self.memory.clone();
        self.note_replayed(replayed, &mut memory, new_texts);
        if has_joined {
            memory.begin_at(memory.cursor);
        }
        let mut tx = now(self.session.new_transaction()).unwrap();
        tx.set_data(serde_json::to_vec(&memory).unwrap()).unwrap();
        now(tx.finish()).unwrap();
        self.memory = memory;
    }

    // Commits, which wait for the network.

    pub(crate) fn change(&self, add: Vec<KeyPackage>, remove: Vec<ClientId>) -> Operation {
        let (session, id) = (self.session.clone(), self.id.clone());
        Box::pin(async move {
            let mut tx = session.new_transaction().await?;
            let mut guard = tx.conversation(&id).await?;
            let summary = guard.change_members(add, &remove, CommitOptions::default()).await?;
            tx.finish().await?;
            Ok(summary.buffered_messages.unwrap_or_default())
        })
    }

    pub(crate) fn update(&self, message: Option<String>) -> Operation {
        let (session, id) = (self.session.clone(), self.id.clone());
        Box::pin(async move {
            let options = message.map_or_else(CommitOptions::default, CommitOptions::with_message);
            let mut tx = session.new_transaction().await?;
            let summary = tx.conversation(&id).await?.update_key_material_with(options).await?;
            tx.finish().await?;
            Ok(summary.buffered_messages.unwrap_or_default())
        })
    }

    pub(crate) fn commit_proposals(&self) -> Operation {
        let (session, id) = (self.session.clone(), self.id.clone());
        Box::pin(async move {
            let mut tx = session.new_transaction().await?;
            let options = CommitOptions::default();
            let summary = tx.conversation(&id).await?.commit_pending_proposals_with(options).await?;
            tx.finish().await?;
            Ok(summary.and_then(|summary| summary.buffered_messages).unwrap_or_default())
        })
    }

    pub(crate) fn settle(&self, hub_epoch: u64) -> Operation {
        let (session, id) = (self.session.clone(), self.id.clone());
        Box::pin(async move {
            let mut tx = session.new_transaction().await?;
            let settled = tx.conversation(&id).await?.settle_pending(hub_epoch).await?;
            tx.finish().await?;
            Ok(match settled {
                Settlement::Merged(summary) => summary.buffered_messages.unwrap_or_default(),
                _ => Vec::new(),
            })
        })
    }

    pub(crate) fn join(&self, group_info: VerifiableGroupInfo) -> Operation {
        let (session, credential) = (self.session.clone(), self.credential.clone());
        Box::pin(async move {
            let mut tx = session.new_transaction().await?;
            let joined = tx.join_by_external_commit(group_info, &credential).await?;
            tx.finish().await?;
            Ok(joined.buffered_messages.unwrap_or_default())
        })
    }
}
