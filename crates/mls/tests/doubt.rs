//! What cannot be known of a pending commit is not guessed.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Device, Fault, Hub, assert_same_state, client_id, conversation, outcomes, two};
use tertulia_mls::{
    ConversationId, EngineError, MlsCustomConfiguration, MlsWirePolicy, Outcome, RejectReason, SessionConfig,
    Settlement,
};

async fn settle(device: &Device, hub_epoch: u64) -> Settlement {
    let mut tx = device.session.new_transaction().await.unwrap();
    let mut guard = tx.conversation(&conversation()).await.unwrap();
    guard.settle_pending(hub_epoch).await.unwrap()
}

async fn give_up(device: &Device) -> bool {
    let mut tx = device.session.new_transaction().await.unwrap();
    let given_up = tx.conversation(&conversation()).await.unwrap().give_up_pending_commit().unwrap();
    tx.finish().await.unwrap();
    given_up
}

fn is_pending(device: &Device) -> bool {
    device.session.pending_commit(&conversation()).unwrap().is_some()
}

/// The hub refuses the second sending of Alice's commit.
async fn refuse_again(hub: &Hub, alice: Device) -> Device {
    let alice = alice.restarted();
    hub.fail_next(Fault::Refuse);
    let Settlement::Refused { epoch: 1, reason: RejectReason::Refused { code, .. } } =
        settle(&alice, 1).await
    else {
        panic!("it is refused")
    };
    assert_eq!(code, "not-an-admin");
    assert!(is_pending(&alice), "the first sending may have arrived");
    alice.restarted()
}

#[tokio::test]
async fn a_commit_that_is_refused_when_it_is_sent_again_may_have_been_taken_the_first_time() {
    let (hub, mut alice, mut bob, id) = two().await;
    hub.fail_next(Fault::LoseAnswer);
    alice.update(&id).await.unwrap_err();
    // Its epoch was asked for before the commit arrived there.
    let mut alice = refuse_again(&hub, alice).await;
    assert_eq!(outcomes(&alice.sync(&id).await), [Outcome::OwnCommitMerged]);
    bob.sync(&id).await;
    assert_same_state(&id, &[&alice, &bob]);
}

#[tokio::test]
async fn a_commit_that_is_refused_when_it_is_sent_again_is_dropped_when_another_takes_its_epoch() {
    let (hub, mut alice, mut bob, id) = two().await;
    hub.fail_next(Fault::LoseCommit);
    alice.update(&id).await.unwrap_err();
    let mut alice = refuse_again(&hub, alice).await;
    bob.update(&id).await.unwrap();
    let seen = alice.sync(&id).await.pop().unwrap();
    assert_eq!((seen.outcome, seen.dropped_pending), (Outcome::Commit, true));
    bob.sync(&id).await;
    assert_same_state(&id, &[&alice, &bob]);
}

#[tokio::test]
async fn a_commit_that_is_refused_when_it_is_sent_again_can_be_sent_once_more() {
    let (hub, mut alice, mut bob, id) = two().await;
    hub.fail_next(Fault::LoseCommit);
    alice.update(&id).await.unwrap_err();
    let mut alice = refuse_again(&hub, alice).await;
    assert!(matches!(settle(&alice, 1).await, Settlement::Merged(_)));
    alice.sync(&id).await;
    bob.sync(&id).await;
    assert_same_state(&id, &[&alice, &bob]);
}

#[tokio::test]
async fn a_commit_that_is_not_in_the_log_can_be_given_up() {
    let (hub, mut alice, mut bob, id) = two().await;
    hub.fail_next(Fault::LoseCommit);
    alice.update(&id).await.unwrap_err();
    let mut alice = refuse_again(&hub, alice).await;
    assert!(alice.sync(&id).await.is_empty());
    assert!(matches!(alice.encrypt(&id, "x").await, Err(EngineError::PendingCommit { epoch: 1 })));
    let mut tx = alice.session.new_transaction().await.unwrap();
    assert!(tx.conversation(&id).await.unwrap().give_up_pending_commit().unwrap());
    tx.abort();
    assert!(is_pending(&alice), "the transaction was not finished");
    assert!(give_up(&alice).await);
    assert!(!give_up(&alice).await, "there is none any more");
    let mut alice = alice.restarted();
    alice.send(&id, "and on").await;
    assert_eq!(bob.read(&id).await, ["and on"]);
    alice.update(&id).await.unwrap();
    alice.sync(&id).await;
    bob.sync(&id).await;
    assert_same_state(&id, &[&alice, &bob]);
}

#[tokio::test]
async fn a_commit_that_was_given_up_and_arrives_all_the_same_asks_for_a_new_join() {
    let (hub, mut alice, mut bob, id) = two().await;
    hub.fail_next(Fault::LoseAnswer);
    alice.update(&id).await.unwrap_err();
    assert!(give_up(&alice).await);
    let late = alice.newest(&id);
    assert!(matches!(alice.decrypt(&id, &late).await, Err(EngineError::OwnCommitLost)));
    alice.join_externally(&id).await.unwrap();
    alice.sync(&id).await;
    bob.sync(&id).await;
    assert_same_state(&id, &[&alice, &bob]);
}

/// Carol wants to join, and does not know whether the hub has taken her commit.
async fn joining(hub: &Hub, id: &ConversationId, fault: Fault) -> Device {
    let mut carol = Device::new(hub, "carol").await;
    hub.fail_next(fault);
    carol.join_externally(id).await.unwrap_err();
    carol.restarted()
}

#[tokio::test]
async fn a_pending_join_is_not_dropped_by_commits_that_nobody_of_the_group_has_signed() {
    let (hub, mut alice, _bob, id) = two().await;
    // Somebody else makes a group of the same name, and brings it to the same epoch.
    let elsewhere = Hub::new();
    let mut mallory = Device::new(&elsewhere, "mallory").await;
    mallory.create(&id).await;
    for _ in 0..2 {
        mallory.update(&id).await.unwrap();
        mallory.sync(&id).await;
    }
    let foreign = elsewhere.log_entry(&id, 1).unwrap();

    let mut carol = joining(&hub, &id, Fault::LoseAnswer).await;
    // Behind the signature are the two tags, of 33 bytes each.
    let mut forged = foreign.clone();
    let signature = forged.len() - 80;
    forged[signature] ^= 1;
    for commit in [foreign, forged] {
        let seen = carol.decrypt(&id, &commit).await.unwrap();
        assert_eq!((seen.outcome, seen.epoch), (Outcome::PendingJoinContested, 1));
        assert!(!seen.dropped_pending && is_pending(&carol));
    }
    let mut carol = carol.restarted();
    assert_eq!(outcomes(&carol.sync(&id).await), [Outcome::OwnCommitMerged]);
    alice.sync(&id).await;
    assert_same_state(&id, &[&alice, &carol]);
}

#[tokio::test]
async fn an_altered_commit_of_a_member_does_not_drop_a_pending_join_and_the_genuine_one_does() {
    let (hub, mut alice, _bob, id) = two().await;
    let mut carol = joining(&hub, &id, Fault::LoseCommit).await;
    alice.update(&id).await.unwrap();
    let genuine = alice.newest(&id);
    let mut altered = genuine.clone();
    let signature = altered.len() - 80;
    altered[signature] ^= 1;
    assert_eq!(carol.decrypt(&id, &altered).await.unwrap().outcome, Outcome::PendingJoinContested);
    assert!(is_pending(&carol));
    let seen = carol.decrypt(&id, &genuine).await.unwrap();
    assert_eq!((seen.outcome, seen.dropped_pending), (Outcome::PendingJoinDropped, true));
    assert!(!is_pending(&carol));
}

#[tokio::test]
async fn a_pending_join_is_dropped_by_a_commit_of_proposals_that_the_newcomer_has_not_seen() {
    let (hub, mut alice, _bob, id) = two().await;
    hub.propose_removal(&id, &client_id("bob"));
    alice.sync(&id).await;
    let mut carol = joining(&hub, &id, Fault::LoseCommit).await;
    alice.commit_proposals(&id).await.unwrap().unwrap();
    let seen = carol.decrypt(&id, &alice.newest(&id)).await.unwrap();
    assert_eq!(seen.outcome, Outcome::PendingJoinDropped);
}

#[tokio::test]
async fn a_pending_join_is_dropped_by_the_join_of_another() {
    let (hub, _alice, _bob, id) = two().await;
    let mut carol = joining(&hub, &id, Fault::LoseCommit).await;
    let mut dave = Device::new(&hub, "dave").await;
    dave.join_externally(&id).await.unwrap();
    assert_eq!(carol.decrypt(&id, &dave.newest(&id)).await.unwrap().outcome, Outcome::PendingJoinDropped);
    carol.join_externally(&id).await.unwrap();
    carol.sync(&id).await;
    dave.sync(&id).await;
    assert_same_state(&id, &[&carol, &dave]);
}

#[tokio::test]
async fn a_join_that_an_encrypted_commit_contests_stays_until_it_is_given_up() {
    let hub = Hub::new();
    let joined = MlsCustomConfiguration {
        wire_policy: MlsWirePolicy::Ciphertext,
        ..MlsCustomConfiguration::default()
    };
    let config = SessionConfig { joined, ..SessionConfig::default() };
    let mut alice = Device::with_config(&hub, "alice", config).await;
    let id = conversation();
    alice.create(&id).await;
    alice.update(&id).await.unwrap();
    alice.sync(&id).await;
    let mut carol = joining(&hub, &id, Fault::LoseCommit).await;
    alice.update(&id).await.unwrap();
    assert_eq!(outcomes(&carol.sync(&id).await), [Outcome::PendingJoinContested]);
    assert_eq!(settle(&carol, hub.epoch(&id)).await, Settlement::AwaitLog { epoch: 1 });
    assert!(is_pending(&carol));
    assert!(give_up(&carol).await);
    assert!(carol.session.pending_commits().unwrap().is_empty());
    carol.join_externally(&id).await.unwrap();
    alice.sync(&id).await;
    carol.sync(&id).await;
    assert_same_state(&id, &[&alice, &carol]);
}
