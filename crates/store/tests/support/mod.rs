//! What the scenarios share: a home in a temporary directory, and messages to put into it.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the scenario")]

pub(crate) mod process;

use rusqlite::Connection;
use std::{fs, future::Future, path::Path, pin::Pin, task::Poll};
use tempfile::TempDir;
use tertulia_domain::{ConversationId, ConversationType, DeviceId, Protocol, Sequence, UserId};
use tertulia_store::{ConversationRecord, KeySource, NewMessage, Store};

pub(crate) const CONVERSATION: ConversationId = ConversationId::from_bytes([0xC0; 16]);
pub(crate) const ALICE: UserId = UserId::from_bytes([0xA1; 16]);

/// A store in a home of its own, which is removed with the first of the two.
pub(crate) fn new_store() -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::create(&directory.path().join("home"), &KeySource::File).unwrap();
    (directory, store)
}

pub(crate) fn conversation() -> ConversationRecord {
    let protocol = Protocol::Mls;
    ConversationRecord {
        id: CONVERSATION,
        kind: ConversationType::Group,
        epoch: 1,
        protocol,
        created_at: 1_000,
    }
}

pub(crate) fn message(sequence: u64, sender: UserId, text: Option<&str>) -> NewMessage {
    let mut message_id = [0; 32];
    message_id[..8].copy_from_slice(&sequence.to_be_bytes());
    NewMessage {
        conversation: CONVERSATION,
        sequence: Sequence::new(sequence),
        sender,
        sender_device: DeviceId::new(u64::MAX),
        sent_at: 1_700_000_000_000,
        message_id,
        content: text.unwrap_or("not a text").as_bytes().to_vec(),
        text: text.map(str::to_owned),
        expires: None,
    }
}

/// The database itself, past the store, opened with the key from the key file.
pub(crate) fn raw(home: &Path) -> Connection {
    let key = fs::read_to_string(home.join("key")).unwrap();
    let connection = Connection::open(home.join("tertulia.db")).unwrap();
    connection.execute_batch(&format!("PRAGMA key = \"x'{}'\";", key.trim())).unwrap();
    connection
}

pub(crate) fn passphrase(text: &str) -> KeySource {
    KeySource::Passphrase(zeroize::Zeroizing::new(text.to_owned()))
}

/// A key that an application would keep.
pub(crate) fn given(byte: u8) -> KeySource {
    KeySource::Given(zeroize::Zeroizing::new([byte; 32]))
}

/// Copies the files of a home into another directory.
pub(crate) fn copy_home(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// Whether a future is not done when it is asked once. A future of `Store::lock` asks for the lock before it waits for it.
pub(crate) async fn is_waiting<F: Future>(future: &mut Pin<Box<F>>) -> bool {
    std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
}
