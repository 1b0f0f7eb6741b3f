//! The working group's vectors of a passive client: what it is given, how it joins, and the state after each commit of
//! others. Everything goes through the engine's own API onto a real store.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use serde::Deserialize;
use tertulia_mls::{
    Ciphersuite, ClientId, ClientIdError, ClientIdPolicy, CommitOutcome, ConversationId, Credential,
    JoinOptions, KeyPackage, KeyPackageSecrets, MlsCommitBundle, MlsTransport, Outcome, Session,
    SessionConfig,
};
use tertulia_store::{KeySource, Store};
use zeroize::Zeroizing;

/// The suites that the engine is to follow. The vectors also have 0x0004 and 0x0006, on curves that it does not have.
const SUITES: [u16; 5] = [1, 2, 3, 5, 7];

#[derive(Deserialize)]
struct Case {
    cipher_suite: u16,
    external_psks: Vec<Psk>,
    key_package: Hex,
    signature_priv: Hex,
    encryption_priv: Hex,
    init_priv: Hex,
    welcome: Hex,
    ratchet_tree: Option<Hex>,
    initial_epoch_authenticator: Hex,
    epochs: Vec<Epoch>,
}

#[derive(Deserialize)]
struct Psk {
    psk_id: Hex,
    psk: Hex,
}

#[derive(Deserialize)]
#[allow(clippy::struct_field_names)] // the vectors' name
struct Epoch {
    proposals: Vec<Hex>,
    commit: Hex,
    epoch_authenticator: Hex,
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Hex(Vec<u8>);

impl TryFrom<String> for Hex {
    type Error = hex::FromHexError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        hex::decode(text).map(Self)
    }
}

/// The members of the vectors have any names, and what counts is their key.
struct AnyId;

impl ClientIdPolicy for AnyId {
    fn canonical(&self, id: &ClientId) -> Result<ClientId, ClientIdError> {
        Ok(id.clone())
    }
}

/// A passive client sends nothing.
struct Nowhere;

#[async_trait]
impl MlsTransport for Nowhere {
    async fn send_commit_bundle(&self, _: &ConversationId, _: MlsCommitBundle) -> CommitOutcome {
        CommitOutcome::Unknown { detail: "a passive client sends nothing".to_owned() }
    }
}

#[tokio::test]
async fn a_passive_client_joins_by_welcome() {
    run(include_str!("vectors/passive-client-welcome.json"), 8).await;
}

#[tokio::test]
async fn a_passive_client_follows_each_kind_of_commit() {
    run(include_str!("vectors/passive-client-handling-commit.json"), 13).await;
}

#[tokio::test]
async fn a_passive_client_follows_two_hundred_random_commits() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("vectors/passive-client-random.json")).unwrap();
    assert_eq!(cases.len(), 1, "it is of suite 0x0001 only");
    let followed = follow(&cases[0]).await;
    println!("1 case, {followed} commits");
    assert_eq!(followed, 200);
}

/// Follows all cases of the supported suites, of which there are `per_suite` each.
async fn run(json: &str, per_suite: usize) {
    let cases: Vec<Case> = serde_json::from_str(json).unwrap();
    let mut followed: BTreeMap<u16, usize> = BTreeMap::new();
    let mut refused = BTreeSet::new();
    for case in &cases {
        if SUITES.contains(&case.cipher_suite) {
            follow(case).await;
            *followed.entry(case.cipher_suite).or_default() += 1;
        } else {
            assert!(Ciphersuite::from_number(case.cipher_suite).is_err());
            refused.insert(case.cipher_suite);
        }
    }
    println!("followed, by suite: {followed:?}; not supported: suites {refused:?}");
    assert_eq!(followed, SUITES.map(|suite| (suite, per_suite)).into());
}

/// Joins and follows, a transaction per step; the number of commits.
async fn follow(case: &Case) -> usize {
    let home = tempfile::tempdir().unwrap();
    let store = Store::create(home.path(), &KeySource::File).unwrap();
    let config = SessionConfig { client_id_policy: Arc::new(AnyId), ..SessionConfig::default() };
    let session = Session::open(store, Arc::new(Nowhere), config).unwrap();

    let key_package = KeyPackage::from_bytes(&case.key_package.0).unwrap();
    let mut tx = session.new_transaction().await.unwrap();
    tx.add_credential(
        Credential::from_parts(
            key_package.client_id().clone(),
            Ciphersuite::from_number(case.cipher_suite).unwrap(),
            &case.signature_priv.0,
            key_package.signature_key(),
        )
        .unwrap(),
    )
    .unwrap();
    for psk in &case.external_psks {
        tx.add_psk(&psk.psk_id.0, &psk.psk.0).unwrap();
    }
    let secrets = KeyPackageSecrets {
        init_key: Zeroizing::new(case.init_priv.0.clone()),
        encryption_key: Zeroizing::new(case.encryption_priv.0.clone()),
    };
    tx.import_key_package(&case.key_package.0, &secrets).unwrap();
    tx.finish().await.unwrap();

    let mut tx = session.new_transaction().await.unwrap();
    let options = match &case.ratchet_tree {
        Some(tree) => JoinOptions::with_ratchet_tree(tree.0.clone()),
        None => JoinOptions::default(),
    };
    let id = tx.process_welcome_with(&case.welcome.0, &options).unwrap().id;
    tx.finish().await.unwrap();
    let authenticator = || session.conversation(&id).unwrap().epoch_authenticator().unwrap();
    assert_eq!(authenticator(), case.initial_epoch_authenticator.0);

    for epoch in &case.epochs {
        let mut tx = session.new_transaction().await.unwrap();
        let mut guard = tx.conversation(&id).await.unwrap();
        for proposal in &epoch.proposals {
            assert_eq!(guard.decrypt_message(&proposal.0).unwrap().outcome, Outcome::Proposal);
        }
        assert_eq!(guard.decrypt_message(&epoch.commit.0).unwrap().outcome, Outcome::Commit);
        tx.finish().await.unwrap();
        assert_eq!(authenticator(), epoch.epoch_authenticator.0);
    }
    case.epochs.len()
}
