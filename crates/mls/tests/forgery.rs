//! Messages in the name of this device: forged by a member, altered on their way, or of a copy of its store.
#![allow(clippy::unwrap_used)]

mod common;

use common::{
    Device, Hub, conversation, copy_files,
    forger::{Forged, Forger},
    two,
};
use tertulia_mls::{Ciphersuite, CommitOptions, Credential, EngineError, Outcome, SessionConfig};

/// Alice is at the first leaf.
const ALICE: u32 = 0;

#[tokio::test]
async fn a_member_that_writes_in_the_name_of_another_forces_no_update() {
    let (_hub, mut alice, mut bob, id) = two().await;
    let mut mallory = Forger::join(&mut alice, &id).await;
    alice.sync(&id).await;
    alice.send(&id, "one").await;
    alice.send(&id, "two").await;
    assert_eq!(bob.read(&id).await, ["one", "two"]);
    mallory.sync(&alice, &id);

    let used_up = [0, 1].map(|generation| (generation, Forged::Garbage));
    let next = [Forged::Garbage, Forged::SignedByForger, Forged::Repeated].map(|forged| (2, forged));
    let ahead = [(3, Forged::SignedByForger), (900, Forged::Repeated), (u32::MAX, Forged::Garbage)];
    for (generation, what) in [&used_up[..], &next, &ahead].concat() {
        let forged = mallory.forge(ALICE, generation, what);
        for _ in 0..2 {
            let seen = alice.decrypt(&id, &forged).await.unwrap();
            assert_eq!((seen.outcome, seen.app_msg), (Outcome::OwnMessageUnproven, None), "{generation}");
            assert_eq!(seen.sender_client_id, None);
            alice = alice.restarted();
        }
        if what != Forged::Repeated {
            let refused = bob.decrypt(&id, &forged).await;
            assert!(!refused.is_ok_and(|seen| seen.outcome == Outcome::Application), "{generation}");
        }
    }
    assert!(!alice.session.conversation(&id).unwrap().is_restored());
    alice.send(&id, "three").await;
    assert_eq!(bob.read(&id).await, ["three"]);
}

#[tokio::test]
async fn what_went_with_a_commit_forces_no_update_when_a_member_repeats_it() {
    let (_hub, mut alice, mut bob, id) = two().await;
    let mut mallory = Forger::join(&mut alice, &id).await;
    alice.update_with(&id, CommitOptions::with_message("along")).await.unwrap();
    mallory.sync(&alice, &id);
    let forged = mallory.forge(ALICE, 1, Forged::Repeated);
    for _ in 0..2 {
        assert_eq!(alice.decrypt(&id, &forged).await.unwrap().outcome, Outcome::OwnMessageUnproven);
        alice = alice.restarted();
    }
    alice.send(&id, "and on").await;
    assert_eq!(bob.read(&id).await, ["along", "and on"]);
}

#[tokio::test]
async fn an_own_message_that_comes_back_altered_does_not_mute_the_device() {
    let (_hub, mut alice, mut bob, id) = two().await;
    let message = alice.encrypt(&id, "said once").await.unwrap();
    for place in 0..message.len() {
        let mut altered = message.clone();
        altered[place] ^= 0x40;
        if let Ok(seen) = alice.decrypt(&id, &altered).await {
            let harmless =
                [Outcome::OwnMessage, Outcome::OwnMessageUnproven, Outcome::StaleEpoch, Outcome::Buffered];
            assert!(harmless.contains(&seen.outcome), "{place}: {:?}", seen.outcome);
        }
    }
    assert_eq!(alice.decrypt(&id, &message).await.unwrap().outcome, Outcome::OwnMessage);
    let next = alice.encrypt(&id, "said next").await.unwrap();
    for message in [message, next] {
        assert_eq!(bob.decrypt(&id, &message).await.unwrap().outcome, Outcome::Application);
    }
}

/// As when the snapshot of a whole disk is restored.
async fn restored(suite: Ciphersuite) {
    let (hub, id) = (Hub::signing_for(suite), conversation());
    let credential = Credential::basic(common::client_id("alice"), suite).unwrap();
    let mut alice = Device::with_credential(&hub, credential, SessionConfig::default()).await;
    alice.create(&id).await;
    alice.send(&id, "before the snapshot").await;
    alice.sync(&id).await;
    let backup = tempfile::tempdir().unwrap();
    copy_files(&alice.home(), backup.path());
    let cursors = alice.cursors.clone();
    for n in 0..3 {
        alice.send(&id, &format!("after the snapshot: {n}")).await;
    }
    let home = alice.home();
    let mut alice = alice.restored(|| copy_files(backup.path(), &home));
    alice.cursors = cursors;
    // It has used one of the keys a second time before it reads: the next message proves it all the same.
    alice.encrypt(&id, "with a key that was used").await.unwrap();
    let seen = common::outcomes(&alice.sync(&id).await);
    assert_eq!(
        seen,
        [Outcome::OwnMessageUnproven, Outcome::OwnMessageUnknown, Outcome::OwnMessage],
        "{suite:?}"
    );
    assert!(matches!(alice.encrypt(&id, "no more").await, Err(EngineError::StateRestored)));
    alice.update(&id).await.unwrap();
    alice.encrypt(&id, "with a fresh key").await.unwrap();
}

#[tokio::test]
async fn a_restored_store_is_found_out_in_every_ciphersuite() {
    for suite in Ciphersuite::ALL {
        restored(suite).await;
    }
}
