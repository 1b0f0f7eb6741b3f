//! External pre-shared keys in Welcomes and commits.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Device, Hub, assert_same_state, conversation, two};
use tertulia_mls::{CommitOptions, EngineError, ErrorKind, Outcome};

async fn add_psk(device: &Device, id: &[u8], secret: &[u8]) {
    let mut tx = device.session.new_transaction().await.unwrap();
    tx.add_psk(id, secret).unwrap();
    tx.finish().await.unwrap();
}

#[tokio::test]
async fn members_with_the_same_pre_shared_key_reach_the_same_epoch() {
    let (_, mut alice, bob, id) = two().await;
    add_psk(&alice, b"contract", b"sixteen secret bytes").await;
    add_psk(&bob, b"contract", b"sixteen secret bytes").await;
    alice.update_with(&id, CommitOptions::with_message("Are you you?").with_psk("contract")).await.unwrap();
    let mut bob = bob.restarted();
    assert_eq!(bob.read(&id).await, ["Are you you?"]);
    alice.sync(&id).await;
    assert_same_state(&id, &[&alice, &bob]);
}

#[tokio::test]
async fn a_member_without_the_pre_shared_key_waits_for_it() {
    let (hub, mut alice, mut bob, id) = two().await;
    add_psk(&alice, b"contract", b"secret").await;
    let at = hub.log_len(&id);
    alice.update_with(&id, CommitOptions::default().with_psk("contract")).await.unwrap();
    let commit = hub.log_entry(&id, at).unwrap();
    let epoch = bob.epoch(&id);
    let error = bob.decrypt(&id, &commit).await.unwrap_err();
    assert!(matches!(error, EngineError::PskMissing) && error.kind() == ErrorKind::Transient);
    assert_eq!(bob.epoch(&id), epoch);

    add_psk(&bob, b"contract", b"another secret").await;
    assert!(matches!(bob.decrypt(&id, &commit).await, Err(EngineError::InvalidMessage(_))));
    add_psk(&bob, b"contract", b"secret").await;
    assert_eq!(bob.decrypt(&id, &commit).await.unwrap().outcome, Outcome::Commit);
    alice.sync(&id).await;
    assert_same_state(&id, &[&alice, &bob]);
}

#[tokio::test]
async fn a_welcome_whose_pre_shared_key_comes_later_is_not_spent() {
    let hub = Hub::new();
    let mut alice = Device::new(&hub, "alice").await;
    let mut bob = Device::new(&hub, "bob").await;
    let id = conversation();
    alice.create(&id).await;
    add_psk(&alice, b"contract", b"secret").await;
    let package = bob.key_package().await;
    let mut tx = alice.session.new_transaction().await.unwrap();
    let mut guard = tx.conversation(&id).await.unwrap();
    guard.change_members(vec![package], &[], CommitOptions::default().with_psk("contract")).await.unwrap();
    drop(tx);

    let mut tx = bob.session.new_transaction().await.unwrap();
    assert!(matches!(tx.process_welcome(&hub.welcome(&id).0), Err(EngineError::PskMissing)));
    assert_eq!(tx.key_package_count().unwrap(), 1);
    tx.add_psk(b"contract", b"secret").unwrap();
    tx.finish().await.unwrap();
    bob.welcome(&id).await;
    assert_same_state(&id, &[&alice, &bob]);
}

#[tokio::test]
async fn what_is_no_pre_shared_key_is_refused() {
    let (_, mut alice, _, id) = two().await;
    let refused = alice.update_with(&id, CommitOptions::default().with_psk("contract")).await;
    assert!(matches!(refused, Err(EngineError::PskNotFound)));
    assert!(alice.session.pending_commit(&id).unwrap().is_none());

    let mut tx = alice.session.new_transaction().await.unwrap();
    for (psk, secret, length) in [(0, 1, 0), (1, 0, 0), (1025, 1, 1025), (1, 1025, 1025)]
        .map(|(psk, secret, length)| (vec![7; psk], vec![7; secret], length))
    {
        let refused = tx.add_psk(&psk, &secret);
        assert!(matches!(refused, Err(EngineError::InvalidPsk { got, max: 1024 }) if got == length));
    }
    for n in 0..1024_u32 {
        tx.add_psk(&n.to_be_bytes(), b"secret").unwrap();
    }
    assert!(matches!(tx.add_psk(b"more", b"secret"), Err(EngineError::TooMany { max: 1024, .. })));
    tx.add_psk(&7_u32.to_be_bytes(), b"replaced").unwrap();
    assert_eq!(tx.psk_ids().unwrap().len(), 1024);
    assert!(tx.remove_psk(&7_u32.to_be_bytes()).unwrap());
    assert!(!tx.remove_psk(&7_u32.to_be_bytes()).unwrap());
    tx.finish().await.unwrap();
    let tx = alice.session.new_transaction().await.unwrap();
    assert_eq!(tx.psk_ids().unwrap().len(), 1023);
}
