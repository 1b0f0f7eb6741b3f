//! Taking another credential into use, and proposals that bring certificates.
#![allow(clippy::unwrap_used)]

mod common;

use common::{
    Device, Fault, Hub, assert_same_state, client_id, conversation, outcomes,
    pki::{Authority, Certify, policy, year},
};
use tertulia_mls::{
    CertificateError, CertificatePolicy, Ciphersuite, CommitOptions, Credential, CredentialRef, DeviceStatus,
    E2eiConversationState, EngineError, Outcome,
};

fn reason(error: EngineError) -> CertificateError {
    match error {
        EngineError::InvalidCertificate(reason) => reason,
        other => panic!("{other:?}"),
    }
}

/// Alice and Bob with basic credentials, who trust the authority.
async fn two(root: &Authority) -> (Hub, Device, Device) {
    let (hub, alice, bob, _) = common::two().await;
    for device in [&alice, &bob] {
        device.trust(root).await;
    }
    (hub, alice, bob)
}

async fn add(device: &Device, credential: Credential) -> CredentialRef {
    let mut tx = device.session.new_transaction().await.unwrap();
    let reference = tx.add_credential(credential).unwrap();
    tx.finish().await.unwrap();
    reference
}

async fn rotate(device: &Device, credential: &CredentialRef) -> Result<(), EngineError> {
    let mut tx = device.session.new_transaction().await.unwrap();
    let mut guard = tx.conversation(&conversation()).await.unwrap();
    guard.set_credential_by_ref(credential).await
}

#[tokio::test]
async fn a_conversation_moves_from_basic_credentials_to_certificates_and_on() {
    let root = Authority::root("root");
    let (_hub, mut alice, mut bob) = two(&root).await;
    let id = conversation();
    let certify = |name, serial, points| {
        root.certify(&Certify { serial, points, ..Certify::device(name) }).credential()
    };
    let alices = add(&alice, certify("alice", 1, &["http://crl.example/"])).await;
    rotate(&alice, &alices).await.unwrap();
    let seen = bob.sync(&id).await.pop().unwrap();
    assert_eq!((seen.added, seen.removed), (vec![], vec![]));
    assert_eq!(seen.crl_new_distribution_points, Some(vec!["http://crl.example/".to_owned()]));
    assert_eq!(seen.identity.unwrap().status, Some(DeviceStatus::Valid));
    let bobs = add(&bob, certify("bob", 2, &[])).await;
    rotate(&bob, &bobs).await.unwrap();
    alice.sync(&id).await;
    bob.sync(&id).await;
    let view = alice.session.conversation(&id).unwrap();
    assert_eq!(view.e2ei_conversation_state().unwrap(), E2eiConversationState::Verified);
    assert_same_state(&id, &[&alice, &bob]);

    // The new key signs, after a restart too, and the old credential is free.
    let (mut alice, mut bob) = (alice.restarted(), bob.restarted());
    let mut tx = alice.session.new_transaction().await.unwrap();
    assert!(matches!(tx.remove_credential(&alices), Err(EngineError::CredentialInUse)));
    tx.remove_key_packages_for(&alice.credential).unwrap();
    tx.remove_credential(&alice.credential).unwrap();
    tx.finish().await.unwrap();
    let newer = add(&alice, certify("alice", 3, &[])).await;
    rotate(&alice, &newer).await.unwrap();
    alice.send(&id, "with the third key").await;
    assert_eq!(bob.read(&id).await, ["with the third key"]);
    let identity = bob.identity(&id, &client_id("alice"));
    assert_eq!(identity.x509_identity.unwrap().serial_number, "03");
    bob.update(&id).await.unwrap();
    alice.sync(&id).await;
    bob.sync(&id).await;
    assert_same_state(&id, &[&alice, &bob]);
}

#[tokio::test]
async fn a_new_credential_survives_that_the_answer_is_lost() {
    let root = Authority::root("root");
    let (hub, alice, mut bob) = two(&root).await;
    let id = conversation();
    let alices = add(&alice, root.certify(&Certify::device("alice")).credential()).await;
    hub.fail_next(Fault::LoseAnswer);
    let unknown = rotate(&alice, &alices).await;
    assert!(matches!(unknown, Err(EngineError::CommitOutcomeUnknown { .. })));
    let mut alice = alice.restarted();
    let mut tx = alice.session.new_transaction().await.unwrap();
    for credential in [&alices, &alice.credential] {
        assert!(matches!(tx.remove_credential(credential), Err(EngineError::CredentialInUse)));
    }
    drop(tx);
    assert_eq!(outcomes(&alice.sync(&id).await), [Outcome::OwnCommitMerged]);
    alice.send(&id, "as a certified device").await;
    assert_eq!(bob.read(&id).await, ["as a certified device"]);
    assert_eq!(bob.identity(&id, &client_id("alice")).status, Some(DeviceStatus::Valid));
    alice.sync(&id).await;
    assert_same_state(&id, &[&alice, &bob]);
}

#[tokio::test]
async fn a_credential_that_does_not_fit_is_not_taken_into_use() {
    let (root, other) = (Authority::root("root"), Authority::root("other"));
    let (hub, alice, mut bob) = two(&root).await;
    let id = conversation();
    let untrusted = add(&alice, other.certify(&Certify::device("alice")).credential()).await;
    let refused = rotate(&alice, &untrusted).await.unwrap_err();
    assert_eq!(reason(refused), CertificateError::Untrusted);
    let expired = Certify { from: 2021, to: 2022, ..Certify::device("alice") };
    let expired = add(&alice, root.certify(&expired).credential()).await;
    assert_eq!(reason(rotate(&alice, &expired).await.unwrap_err()), CertificateError::Expired);
    let another = add(&alice, root.certify(&Certify::device("carol")).credential()).await;
    let refused = rotate(&alice, &another).await.unwrap_err();
    assert!(matches!(refused, EngineError::WrongClient(client) if client == client_id("carol")));
    let suite = Ciphersuite::MLS_128_DHKEMP256_AES128GCM_SHA256_P256;
    let p256 = add(&alice, Credential::basic(client_id("alice"), suite).unwrap()).await;
    let refused = rotate(&alice, &p256).await.unwrap_err();
    assert!(matches!(refused, EngineError::CiphersuiteMismatch { .. }), "{refused}");
    let refused = rotate(&alice, &bob.credential).await.unwrap_err();
    assert!(matches!(refused, EngineError::CredentialNotFound), "{refused}");
    assert_eq!(hub.epoch(&id), 1);

    // And there is no way back from a certificate.
    let good = add(&alice, root.certify(&Certify::device("alice")).credential()).await;
    rotate(&alice, &good).await.unwrap();
    assert_eq!(reason(rotate(&alice, &alice.credential).await.unwrap_err()), CertificateError::Downgrade);
    assert_eq!(alice.epoch(&id), 2);
    bob.sync(&id).await;
    assert_same_state(&id, &[&alice, &bob]);
}

#[tokio::test]
async fn the_others_refuse_a_certificate_that_is_not_good_and_the_way_back() {
    let (root, other) = (Authority::root("root"), Authority::root("other"));
    let hub = Hub::new();
    // Mallory's own device would let him.
    let report = policy(CertificatePolicy::Report);
    let basic = Credential::basic(client_id("mallory"), Ciphersuite::default()).unwrap();
    let mut mallory = Device::with_credential(&hub, basic, report).await;
    let mut alice = Device::certified(&hub, &root, &root.certify(&Certify::device("alice"))).await;
    let id = conversation();
    alice.create(&id).await;
    alice.add(&id, &mut [&mut mallory]).await;
    alice.sync(&id).await;
    let forged = add(&mallory, other.certify(&Certify::device("mallory")).credential()).await;
    rotate(&mallory, &forged).await.unwrap();
    let commit = hub.log_entry(&id, 1).unwrap();
    let refused = alice.decrypt(&id, &commit).await.unwrap_err();
    assert_eq!(reason(refused), CertificateError::Untrusted);
    alice.trust(&other).await;
    alice.sync(&id).await;
    rotate(&mallory, &mallory.credential).await.unwrap();
    let commit = hub.log_entry(&id, 2).unwrap();
    let refused = alice.decrypt(&id, &commit).await.unwrap_err();
    assert_eq!(reason(refused), CertificateError::Downgrade);
    assert_eq!(alice.epoch(&id), 2);
}

#[tokio::test]
async fn a_proposal_that_has_gone_bad_is_left_out_of_the_commit() {
    let root = Authority::root("root");
    let (hub, mut alice, mut bob) = two(&root).await;
    let id = conversation();
    let carol =
        root.certify(&Certify { to: 2050, points: &["http://crl.example/"], ..Certify::device("carol") });
    let carol = Device::certified(&hub, &root, &carol).await;
    let dave = Device::new(&hub, "dave").await;
    hub.propose_add(&id, &carol.key_package().await);
    hub.propose_add(&id, &dave.key_package().await);
    for device in [&mut alice, &mut bob] {
        let seen = device.sync(&id).await;
        assert_eq!(outcomes(&seen), [Outcome::Proposal; 2]);
        assert_eq!(seen[0].crl_new_distribution_points, Some(vec!["http://crl.example/".to_owned()]));
    }
    let mut tx = alice.session.new_transaction().await.unwrap();
    tx.judge_certificates_at(Some(year(2060))).unwrap();
    let mut guard = tx.conversation(&id).await.unwrap();
    let summary = guard.commit_pending_proposals_with(CommitOptions::default()).await.unwrap().unwrap();
    assert_eq!(summary.added, [client_id("dave")]);
    drop(tx);
    bob.sync(&id).await;
    alice.sync(&id).await;
    assert_same_state(&id, &[&alice, &bob]);
}

#[tokio::test]
async fn a_proposal_that_is_bad_is_refused() {
    let (root, other) = (Authority::root("root"), Authority::root("other"));
    let (hub, mut alice, _bob) = two(&root).await;
    let id = conversation();
    let mallory = Device::certified(&hub, &other, &other.certify(&Certify::device("mallory"))).await;
    hub.propose_add(&id, &mallory.key_package().await);
    let proposal = hub.log_entry(&id, 1).unwrap();
    let refused = alice.decrypt(&id, &proposal).await.unwrap_err();
    assert_eq!(reason(refused), CertificateError::Untrusted);
    assert_eq!(alice.session.conversation(&id).unwrap().pending_proposals(), 0);
    alice.encrypt(&id, "nothing is pending").await.unwrap();
}

#[tokio::test]
async fn a_certificate_with_another_key_than_its_own_is_refused() {
    let root = Authority::root("root");
    let (hub, mut alice, _bob) = two(&root).await;
    let id = conversation();
    let carol = root.certify(&Certify::device("carol"));
    let stolen = common::foreign_key_package(carol.chain.clone());
    let refused = tertulia_mls::KeyPackage::from_bytes(&stolen).unwrap_err();
    assert_eq!(reason(refused), CertificateError::WrongKey);
    hub.propose_add_bytes(&id, &stolen);
    let proposal = hub.log_entry(&id, 1).unwrap();
    let refused = alice.decrypt(&id, &proposal).await.unwrap_err();
    assert_eq!(reason(refused), CertificateError::WrongKey);
}
