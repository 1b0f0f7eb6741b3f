//! Key packages that move between devices, and ratchet trees apart from their Welcome.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Device, Hub, assert_same_state, conversation};
use tertulia_mls::{
    Credential, CredentialRef, EngineError, ErrorKind, JoinOptions, KeyPackageSecrets, Session, SessionConfig,
};
use tertulia_store::{KeySource, Store};
use zeroize::Zeroizing;

/// A device with the same credential on another store.
async fn twin(hub: &Hub, credential: &Credential) -> (tempfile::TempDir, Session, CredentialRef) {
    let home = tempfile::tempdir().unwrap();
    let store = Store::create(home.path(), &KeySource::File).unwrap();
    let session = Session::open(store, std::sync::Arc::new(hub.clone()), SessionConfig::default()).unwrap();
    let mut tx = session.new_transaction().await.unwrap();
    let reference = tx.add_credential(credential.clone()).unwrap();
    tx.finish().await.unwrap();
    (home, session, reference)
}

#[tokio::test]
async fn a_key_package_that_moved_opens_its_welcome_on_the_new_device_only() {
    let hub = Hub::new();
    let mut alice = Device::new(&hub, "alice").await;
    let credential =
        Credential::basic(common::client_id("bob"), tertulia_mls::Ciphersuite::default()).unwrap();
    let old = Device::with_credential(&hub, credential.clone(), SessionConfig::default()).await;
    let (_home, new, _) = twin(&hub, &credential).await;
    let id = conversation();
    alice.create(&id).await;
    let package = old.key_package().await;

    let mut tx = old.session.new_transaction().await.unwrap();
    let (taken, secrets) = tx.take_key_package(package.reference()).unwrap().unwrap();
    assert_eq!(taken, package);
    assert!(tx.take_key_package(package.reference()).unwrap().is_none());
    tx.finish().await.unwrap();
    let mut tx = new.new_transaction().await.unwrap();
    assert_eq!(tx.import_key_package(taken.as_bytes(), &secrets).unwrap(), package);
    tx.finish().await.unwrap();

    alice.change(&id, vec![package], &[]).await.unwrap();
    let (welcome, _) = hub.welcome(&id);
    let mut tx = old.session.new_transaction().await.unwrap();
    assert!(matches!(tx.process_welcome(&welcome), Err(EngineError::KeyPackageNotFound)));
    drop(tx);
    let mut tx = new.new_transaction().await.unwrap();
    tx.process_welcome(&welcome).unwrap();
    assert_eq!(tx.key_package_count().unwrap(), 0);
    tx.finish().await.unwrap();
    assert_eq!(
        new.conversation(&id).unwrap().epoch_authenticator().unwrap(),
        alice.session.conversation(&id).unwrap().epoch_authenticator().unwrap()
    );
    assert_same_state(&id, &[&alice]);
}

#[tokio::test]
async fn keys_that_do_not_belong_together_are_not_imported() {
    let hub = Hub::new();
    let credential =
        Credential::basic(common::client_id("bob"), tertulia_mls::Ciphersuite::default()).unwrap();
    let old = Device::with_credential(&hub, credential.clone(), SessionConfig::default()).await;
    let (_home, new, reference) = twin(&hub, &credential).await;
    let package = old.key_package().await;
    let mut tx = old.session.new_transaction().await.unwrap();
    let (_, secrets) = tx.take_key_package(package.reference()).unwrap().unwrap();

    let mut tx = new.new_transaction().await.unwrap();
    let swapped = KeyPackageSecrets {
        init_key: secrets.encryption_key.clone(),
        encryption_key: secrets.init_key.clone(),
    };
    let half = KeyPackageSecrets { encryption_key: Zeroizing::new(Vec::new()), ..secrets.clone() };
    for (wrong, key) in [(swapped, "init key"), (half, "encryption key")] {
        let refused = tx.import_key_package(package.as_bytes(), &wrong).unwrap_err();
        assert!(matches!(refused, EngineError::KeyMismatch { what } if what == key), "{refused:?}");
        assert_eq!(refused.kind(), ErrorKind::Misuse);
    }
    let refused = tx.import_key_package(b"no key package", &secrets);
    assert!(matches!(refused, Err(EngineError::InvalidKeyPackage(_))));
    assert_eq!(tx.key_package_count().unwrap(), 0);
    tx.remove_credential(&reference).unwrap();
    let refused = tx.import_key_package(package.as_bytes(), &secrets);
    assert!(matches!(refused, Err(EngineError::CredentialNotFound)));
    assert!(!format!("{secrets:?}").contains(&hex::encode(&secrets.init_key[..])));
}

#[tokio::test]
async fn what_is_not_the_conversation_s_ratchet_tree_is_refused() {
    let hub = Hub::new();
    let mut alice = Device::new(&hub, "alice").await;
    let mut bob = Device::new(&hub, "bob").await;
    let id = conversation();
    alice.create(&id).await;
    alice.change(&id, vec![bob.key_package().await], &[]).await.unwrap();
    let (welcome, _) = hub.welcome(&id);
    let mut tx = bob.session.new_transaction().await.unwrap();
    let garbage = JoinOptions::with_ratchet_tree(*b"no ratchet tree");
    assert!(matches!(tx.process_welcome_with(&welcome, &garbage), Err(EngineError::MalformedMessage(_))));
    assert_eq!(tx.key_package_count().unwrap(), 1, "nothing is used up");
    drop(tx);
    bob.welcome(&id).await;
    assert_same_state(&id, &[&alice, &bob]);
}
