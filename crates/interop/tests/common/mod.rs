//! Members of both implementations behind one trait, and the hub between them.
#![allow(dead_code, clippy::unwrap_used)] // each test file uses a part of it

pub(crate) mod crypto;
pub(crate) mod engine;
pub(crate) mod hub;
pub(crate) mod openmls_member;

use async_trait::async_trait;

/// The one conversation of a test.
pub(crate) const GROUP: &str = "a group of two implementations";

/// How members speak in a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    /// Number of the ciphersuite.
    pub(crate) suite: u16,
    /// Handshake messages are `PrivateMessage`s.
    pub(crate) encrypted: bool,
}

/// What members must agree about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) epoch: u64,
    pub(crate) authenticator: Vec<u8>,
    pub(crate) exported: Vec<u8>,
    /// In the order of the leaves.
    pub(crate) roster: Vec<String>,
}

/// A change by reference.
pub(crate) enum Change {
    /// By a key package.
    Add(Vec<u8>),
    Remove(String),
    Update,
}

/// A device that may be a member. What it commits, it has not applied before the hub took it.
#[async_trait(?Send)]
pub(crate) trait Device {
    fn name(&self) -> &str;
    fn number(&self) -> usize;
    /// What it knows of the group; none when it is no member.
    fn state(&self) -> Option<State>;
    /// The leaf of a member, if it is a member itself and can tell.
    fn leaf_of(&self, name: &str) -> Option<u32>;
    /// A key package for one use, as an `MLSMessage` or bare.
    async fn key_package(&mut self, bare: bool) -> Vec<u8>;
    async fn create(&mut self, external_sender: &[u8]);
    /// By the newest Welcome at the hub.
    async fn join_by_welcome(&mut self);
    /// By external commit, in its own old place if it has one. It gets the group info as an `MLSMessage` or bare.
    async fn join_externally(&mut self, bare: bool);
    /// Commits changes, or with none of them an update. Says whether the hub took it.
    async fn commit(&mut self, add: &[Vec<u8>], remove: &[String]) -> bool;
    /// Commits what is proposed.
    async fn commit_proposals(&mut self) -> bool;
    /// Makes a commit that comes in before the next one of another member; false if it cannot.
    async fn overtake(&mut self) -> bool;
    /// Proposes, and posts the proposal.
    async fn propose(&mut self, change: Change);
    /// Forgets what is proposed, own and others', so that its next commit leaves it out.
    async fn forget_proposals(&mut self);
    async fn encrypt(&mut self, text: &str) -> Vec<u8>;
    /// Reads the log to its end; the texts in it. Posts what it proposes again because a commit has left it out.
    async fn sync(&mut self) -> Vec<String>;
    /// Forgets what is in memory.
    async fn restart(&mut self);
}

/// The identity of the device `number`, in the form of the existing clients.
pub(crate) fn identity(number: usize) -> String {
    format!("f3b0c4a2-7d1e-4c55-9a38-{:012x}:{:x}@example.com", number, 0xc0ff_ee00 + number)
}
