//! Commits whose fate is in doubt: crashes, lost answers, competitors, other processes.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Device, Fault, Hub, assert_same_state, client_id, has_epoch_changed, outcomes, two};
use tertulia_mls::{CommitIntent, CommitOptions, EngineError, ErrorKind, Outcome, RejectReason, Settlement};

/// Lets an update hang at the hub after it was taken, and then crashes the device.
async fn crash_while_sending(hub: &Hub, device: Device, options: CommitOptions) -> Device {
    let id = common::conversation();
    hub.fail_next(Fault::Hang);
    let mut tx = device.session.new_transaction().await.unwrap();
    {
        let mut guard = tx.conversation(&id).await.unwrap();
        tokio::select! {
            result = guard.update_key_material_with(options) => panic!("the hub does not answer, and yet {result:?}"),
            () = hub.hanging.notified() => {}
        }
    }
    assert!(matches!(tx.finish().await, Err(EngineError::TransactionFinished)));
    drop(tx);
    device.restarted()
}

async fn settle(device: &Device, hub_epoch: u64) -> Result<Settlement, EngineError> {
    let mut tx = device.session.new_transaction().await.unwrap();
    let mut guard = tx.conversation(&common::conversation()).await.unwrap();
    guard.settle_pending(hub_epoch).await
}

#[tokio::test]
async fn after_a_crash_a_commit_that_was_not_taken_still_says_what_it_was_for() {
    let (hub, mut alice, mut bob, id) = two().await;
    let package = Device::new(&hub, "carol").await.key_package().await;
    let unknown = |result: Result<(), EngineError>| {
        assert!(matches!(result, Err(EngineError::CommitOutcomeUnknown { .. })), "{result:?}");
    };
    hub.fail_next(Fault::LoseCommit);
    unknown(alice.change(&id, vec![package], &[client_id("bob")]).await);
    let mut alice = alice.restarted();
    let intent = |device: &Device| device.session.pending_commit(&id).unwrap().unwrap().intent;
    let members = CommitIntent::Members { add: vec![client_id("carol")], remove: vec![client_id("bob")] };
    assert_eq!(intent(&alice), Some(members));
    // Another's commit takes its place, and it is decided anew.
    bob.update(&id).await.unwrap();
    assert!(alice.sync(&id).await.pop().unwrap().dropped_pending);

    hub.fail_next(Fault::LoseCommit);
    unknown(alice.update(&id).await);
    let alice = alice.restarted();
    assert_eq!(intent(&alice), Some(CommitIntent::Update));

    hub.propose_removal(&id, &client_id("alice"));
    bob.sync(&id).await;
    hub.fail_next(Fault::LoseCommit);
    unknown(bob.commit_proposals(&id).await.map(drop));
    let bob = bob.restarted();
    assert_eq!(intent(&bob), Some(CommitIntent::Proposals));

    let mut dave = Device::new(&hub, "dave").await;
    hub.fail_next(Fault::LoseCommit);
    unknown(dave.join_externally(&id).await);
    let dave = dave.restarted();
    assert_eq!(intent(&dave), Some(CommitIntent::Join));
    assert_eq!(dave.session.pending_commits().unwrap().len(), 1);

    assert!(matches!(settle(&bob, hub.epoch(&id)).await.unwrap(), Settlement::Merged(_)));
    assert!(bob.session.pending_commit(&id).unwrap().is_none());
}

#[tokio::test]
async fn a_commit_that_the_hub_took_before_the_crash_is_merged_by_its_echo() {
    let (hub, alice, mut bob, id) = two().await;
    let mut alice = crash_while_sending(&hub, alice, CommitOptions::with_message("survives")).await;

    let pending = alice.session.conversation(&id).unwrap().pending_commit().cloned().unwrap();
    assert_eq!((pending.epoch, pending.is_join, pending.has_message), (1, false, true));
    assert_eq!(alice.session.pending_commits().unwrap(), [(id.clone(), pending)]);
    assert_eq!(alice.epoch(&id), 1);
    assert!(matches!(alice.encrypt(&id, "x").await, Err(EngineError::PendingCommit { epoch: 1 })));
    assert!(matches!(alice.update(&id).await, Err(EngineError::PendingCommit { epoch: 1 })));

    bob.send(&id, "in the old epoch").await;
    assert_eq!(bob.read(&id).await, ["survives"]);
    let seen = alice.sync(&id).await;
    assert_eq!(outcomes(&seen), [Outcome::OwnCommitMerged, Outcome::OwnMessage, Outcome::Application]);
    alice.send(&id, "not with the same key").await;
    assert_eq!(bob.read(&id).await, ["not with the same key"]);
    assert_same_state(&id, &[&alice, &bob]);
}

#[tokio::test]
async fn a_lost_answer_leaves_the_commit_pending_until_the_log_tells() {
    let (hub, mut alice, mut bob, id) = two().await;
    hub.fail_next(Fault::LoseAnswer);
    let unknown = alice.update(&id).await.unwrap_err();
    assert!(matches!(unknown, EngineError::CommitOutcomeUnknown { .. }));
    assert_eq!(unknown.kind(), ErrorKind::Transient);
    let mut alice = alice.restarted();
    assert_eq!(settle(&alice, 2).await.unwrap(), Settlement::AwaitLog { epoch: 1 });
    assert!(matches!(settle(&alice, 0).await, Err(EngineError::HubBehind { hub: 0, local: 1 })));
    let seen = alice.sync(&id).await.pop().unwrap();
    assert_eq!(seen.outcome, Outcome::OwnCommitMerged);
    assert!(has_epoch_changed(&seen));
    bob.sync(&id).await;
    assert_same_state(&id, &[&alice, &bob]);
}

#[tokio::test]
async fn a_lost_commit_is_sent_again() {
    let (hub, mut alice, mut bob, id) = two().await;
    let carol = Device::new(&hub, "carol").await;
    let package = carol.key_package().await;
    hub.fail_next(Fault::LoseCommit);
    let unknown = alice.change(&id, vec![package], &[]).await;
    assert!(matches!(unknown, Err(EngineError::CommitOutcomeUnknown { .. })));
    let mut alice = alice.restarted();
    let Settlement::Merged(summary) = settle(&alice, hub.epoch(&id)).await.unwrap() else { panic!() };
    assert_eq!(summary.added, [client_id("carol")]);
    assert_eq!(outcomes(&alice.sync(&id).await), [Outcome::OwnCommitKnown]);
    bob.sync(&id).await;
    assert_same_state(&id, &[&alice, &bob]);
}

#[tokio::test]
async fn a_commit_that_arrives_late_is_not_dropped_when_it_is_sent_again() {
    let (hub, mut alice, mut bob, id) = two().await;
    hub.fail_next(Fault::LoseAnswer);
    alice.update(&id).await.unwrap_err();
    // The hub's epoch was asked for before the commit arrived there.
    assert_eq!(settle(&alice, 1).await.unwrap(), Settlement::AwaitLog { epoch: 1 });
    assert!(alice.session.pending_commit(&id).unwrap().is_some());
    assert_eq!(outcomes(&alice.sync(&id).await), [Outcome::OwnCommitMerged]);
    bob.sync(&id).await;
    assert_same_state(&id, &[&alice, &bob]);
}

#[tokio::test]
async fn a_refused_commit_is_dropped_with_its_reason() {
    let (hub, mut alice, mut bob, id) = two().await;
    hub.fail_next(Fault::Refuse);
    let refused = alice.change(&id, vec![], &[client_id("bob")]).await;
    let Err(EngineError::CommitRejected(RejectReason::Refused { code, .. })) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(code, "not-an-admin");
    assert!(alice.session.pending_commit(&id).unwrap().is_none());
    alice.send(&id, "still here").await;
    assert_eq!(bob.read(&id).await, ["still here"]);
}

#[tokio::test]
async fn of_two_commits_for_one_epoch_one_wins_and_the_other_is_made_again() {
    let (_hub, mut alice, mut bob, id) = two().await;
    for _ in 0..5 {
        alice.update(&id).await.unwrap();
        let stale = bob.update(&id).await.unwrap_err();
        assert!(matches!(stale, EngineError::CommitRejected(RejectReason::StaleEpoch { current: Some(_) })));
        assert_eq!(stale.kind(), ErrorKind::Transient);
        assert!(!bob.sync(&id).await.pop().unwrap().dropped_pending);
        bob.update(&id).await.unwrap();
        alice.sync(&id).await;
        bob.sync(&id).await;
        assert_same_state(&id, &[&alice, &bob]);
    }
}

#[tokio::test]
async fn a_competitor_that_won_drops_the_commit_in_doubt() {
    let (hub, mut alice, mut bob, id) = two().await;
    hub.fail_next(Fault::LoseCommit);
    alice.update_with(&id, CommitOptions::with_message("never sent")).await.unwrap_err();
    bob.update(&id).await.unwrap();
    assert_eq!(settle(&alice, hub.epoch(&id)).await.unwrap(), Settlement::AwaitLog { epoch: 1 });
    let seen = alice.sync(&id).await.pop().unwrap();
    assert_eq!(seen.outcome, Outcome::Commit);
    assert!(seen.dropped_pending);
    assert!(alice.session.pending_commit(&id).unwrap().is_none());
    alice.send(&id, "and on").await;
    bob.sync(&id).await;
    alice.sync(&id).await;
    assert_same_state(&id, &[&alice, &bob]);
}

#[tokio::test]
async fn a_device_that_is_removed_while_its_commit_is_in_doubt_is_out() {
    let (hub, mut alice, mut bob, id) = two().await;
    hub.fail_next(Fault::LoseCommit);
    bob.update(&id).await.unwrap_err();
    alice.change(&id, vec![], &[client_id("bob")]).await.unwrap();
    let seen = bob.sync(&id).await.pop().unwrap();
    assert!(!seen.is_active && seen.dropped_pending);
    assert!(bob.session.pending_commits().unwrap().is_empty());
    assert!(bob.session.conversations().unwrap().is_empty());
}

#[tokio::test]
async fn a_join_in_doubt_is_settled_by_its_echo() {
    let (hub, mut alice, _bob, id) = two().await;
    let mut carol = Device::new(&hub, "carol").await;
    hub.fail_next(Fault::LoseAnswer);
    carol.join_externally(&id).await.unwrap_err();
    let mut carol = carol.restarted();
    assert!(!carol.session.conversation_exists(&id).unwrap());
    assert!(carol.session.pending_commit(&id).unwrap().unwrap().is_join);
    assert!(matches!(carol.session.conversation(&id), Err(EngineError::ConversationNotFound(_))));
    alice.sync(&id).await;
    alice.send(&id, "welcome").await;
    let seen = carol.sync(&id).await;
    assert_eq!(outcomes(&seen), [Outcome::OwnCommitMerged, Outcome::Application]);
    assert!(seen[0].external_join);
    assert_eq!(seen[0].added, [client_id("carol")]);
    carol.send(&id, "thank you").await;
    alice.sync(&id).await;
    assert_same_state(&id, &[&alice, &carol]);
}

#[tokio::test]
async fn a_join_that_came_too_late_is_dropped_and_made_again() {
    let (hub, mut alice, mut bob, id) = two().await;
    let mut carol = Device::new(&hub, "carol").await;
    hub.fail_next(Fault::LoseCommit);
    carol.join_externally(&id).await.unwrap_err();
    bob.send(&id, "before").await;
    alice.update(&id).await.unwrap();
    let seen = carol.sync(&id).await;
    assert_eq!(outcomes(&seen[..2]), [Outcome::StaleEpoch, Outcome::PendingJoinDropped]);
    assert!(seen[1].dropped_pending);
}

#[tokio::test]
async fn the_old_state_stays_until_the_hub_has_taken_the_new_one() {
    let (hub, mut alice, mut bob, id) = two().await;
    hub.fail_next(Fault::Refuse);
    assert!(matches!(bob.join_externally(&id).await, Err(EngineError::CommitRejected(_))));
    assert!(bob.session.pending_commit(&id).unwrap().is_none());
    alice.send(&id, "to the old state").await;
    assert_eq!(bob.read(&id).await, ["to the old state"]);

    // In doubt, and then a competitor: the old state follows it.
    hub.fail_next(Fault::LoseCommit);
    bob.join_externally(&id).await.unwrap_err();
    alice.update(&id).await.unwrap();
    let seen = bob.sync(&id).await.pop().unwrap();
    assert_eq!((seen.outcome, seen.dropped_pending), (Outcome::Commit, true));
    alice.sync(&id).await;
    assert_same_state(&id, &[&alice, &bob]);
}

#[tokio::test]
async fn an_own_commit_without_its_secrets_asks_for_a_new_join() {
    let (hub, mut alice, mut bob, id) = two().await;
    hub.fail_next(Fault::LoseAnswer);
    alice.update(&id).await.unwrap_err();
    let commit = hub.log_entry(&id, hub.log_len(&id) - 1).unwrap();
    forget_pending(&alice).await;
    let lost = alice.decrypt(&id, &commit).await.unwrap_err();
    assert!(matches!(lost, EngineError::OwnCommitLost));
    assert_eq!(lost.kind(), ErrorKind::LocalState);
    alice.join_externally(&id).await.unwrap();
    alice.sync(&id).await;
    bob.sync(&id).await;
    assert_same_state(&id, &[&alice, &bob]);
}

/// What a damaged home does: the pending record is gone, the group is there.
async fn forget_pending(device: &Device) {
    let id = common::conversation();
    let guard = device.session.store().lock().await.unwrap();
    let store = device.session.store();
    store.write(&guard, |tx| tx.delete_pending_commit(id.as_bytes())).unwrap();
}

#[tokio::test]
async fn other_transactions_go_on_while_the_hub_is_slow_and_may_settle_the_commit() {
    let (hub, alice, mut bob, id) = two().await;
    let mut other = alice.second_session();
    let carol = Device::new(&hub, "carol").await;
    let package = carol.key_package().await;
    hub.fail_next(Fault::Hang);
    let sending = tokio::spawn({
        let (session, id) = (alice.session.clone(), id.clone());
        async move {
            let mut tx = session.new_transaction().await.unwrap();
            let mut guard = tx.conversation(&id).await.unwrap();
            guard.change_members(vec![package], &[], CommitOptions::default()).await
        }
    });
    hub.hanging.notified().await;
    // The other process receives the log before the first one has its answer.
    assert_eq!(outcomes(&other.sync(&id).await), [Outcome::OwnCommitMerged]);
    other.send(&id, "meanwhile").await;
    hub.release.notify_one();
    let summary = sending.await.unwrap().unwrap();
    assert_eq!((summary.epoch, summary.added), (2, vec![client_id("carol")]));
    assert_eq!(bob.read(&id).await, ["meanwhile"]);
    assert_same_state(&id, &[&alice, &other, &bob]);
}

#[tokio::test]
async fn what_came_before_the_commit_in_the_transaction_is_durable() {
    let (hub, alice, mut bob, id) = two().await;
    hub.fail_next(Fault::LoseCommit);
    let mut tx = alice.session.new_transaction().await.unwrap();
    tx.set_data(b"checkpoint".to_vec()).unwrap();
    let mut guard = tx.conversation(&id).await.unwrap();
    let message = guard.encrypt_message("before the commit").unwrap();
    guard.update_key_material().await.unwrap_err();
    tx.abort();
    let alice = alice.restarted();
    assert_eq!(alice.session.new_transaction().await.unwrap().get_data().unwrap().unwrap(), b"checkpoint");
    // The key of the message is used up: the next message has another.
    assert!(matches!(settle(&alice, 1).await, Ok(Settlement::Merged(_))));
    let result = bob.decrypt(&id, &message).await.unwrap();
    assert_eq!(result.app_msg.unwrap(), b"before the commit");
}

#[tokio::test]
async fn a_transaction_goes_on_after_a_commit() {
    let (hub, alice, mut bob, id) = two().await;
    let mut tx = alice.session.new_transaction().await.unwrap();
    let mut guard = tx.conversation(&id).await.unwrap();
    guard.update_key_material().await.unwrap();
    hub.fail_next(Fault::Refuse);
    guard.update_key_material().await.unwrap_err();
    guard.update_key_material().await.unwrap();
    let message = guard.encrypt_message("after three").unwrap();
    tx.finish().await.unwrap();
    hub.post(&id, message);
    assert_eq!(bob.read(&id).await, ["after three"]);
    assert_same_state(&id, &[&alice, &bob]);
}
