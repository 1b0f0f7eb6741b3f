//! More members at once than one commit adds.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use common::{Device, Fault, Hub, assert_same_state, client_id, outcomes, text};
use tertulia_mls::{
    ClientId, CommitOptions, CommitOutcome, CommitSummary, ConversationId, EngineError, ErrorKind,
    KeyPackage, MlsCommitBundle, MlsTransport, Outcome, RejectReason, Session, SessionConfig,
};

/// Members that one commit adds.
const MOST: usize = 3;

/// A hub that fails with one of the commits that are sent to it.
struct FailsAt {
    hub: Hub,
    sent: AtomicUsize,
    /// Counted from 0.
    commit: usize,
    fault: Fault,
}

#[async_trait]
impl MlsTransport for FailsAt {
    async fn send_commit_bundle(&self, id: &ConversationId, bundle: MlsCommitBundle) -> CommitOutcome {
        if self.sent.fetch_add(1, Ordering::SeqCst) == self.commit {
            self.hub.fail_next(self.fault);
        }
        self.hub.send_commit_bundle(id, bundle).await
    }
}

/// Alice, alone in a conversation, whose commits add three members at most.
async fn alice(hub: &Hub) -> (Device, ConversationId) {
    let config = SessionConfig { adds_per_commit: MOST, ..SessionConfig::default() };
    let mut alice = Device::with_config(hub, "alice", config).await;
    let id = common::conversation();
    alice.create(&id).await;
    (alice, id)
}

/// Her next commits go to a hub that fails with one of them.
fn failing(alice: &mut Device, commit: usize, fault: Fault) {
    let hub = FailsAt { hub: alice.hub.clone(), sent: AtomicUsize::new(0), commit, fault };
    let store = alice.session.store().clone();
    alice.session = Session::open(store, Arc::new(hub), alice.config.clone()).unwrap();
}

async fn people(hub: &Hub, count: usize) -> (Vec<Device>, Vec<KeyPackage>) {
    let (mut devices, mut packages) = (Vec::new(), Vec::new());
    for number in 0..count {
        let device = Device::new(hub, &format!("person-{number}")).await;
        packages.push(device.key_package().await);
        devices.push(device);
    }
    (devices, packages)
}

fn ids(devices: &[Device]) -> Vec<ClientId> {
    devices.iter().map(Device::client_id).collect()
}

async fn change(
    device: &Device,
    add: Vec<KeyPackage>,
    remove: &[ClientId],
    options: CommitOptions,
) -> Result<CommitSummary, EngineError> {
    let id = common::conversation();
    let mut tx = device.session.new_transaction().await.unwrap();
    let summary = tx.conversation(&id).await.unwrap().change_members(add, remove, options).await;
    drop(tx);
    summary
}

/// What was done and why not more was.
fn in_part(result: Result<CommitSummary, EngineError>) -> (CommitSummary, EngineError) {
    match result {
        Err(EngineError::ChangedInPart { done, source }) => (*done, *source),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn many_members_come_by_several_commits_and_all_can_talk() {
    let hub = Hub::new();
    let (mut alice, id) = alice(&hub).await;
    let mut bob = Device::new(&hub, "bob").await;
    alice.add(&id, &mut [&mut bob]).await;
    alice.sync(&id).await;
    let (mut people, packages) = people(&hub, 2 * MOST + 1).await;

    // Each joins by the Welcome of the commit that added it.
    let options = CommitOptions::with_message("all are here");
    let summary = change(&alice, packages, &[client_id("bob")], options).await.unwrap();
    assert_eq!((summary.epoch, summary.added), (4, ids(&people)));
    assert_eq!(summary.removed, [client_id("bob")]);
    for device in &mut people {
        device.welcome_of(&id).await;
    }
    let seen = outcomes(&alice.sync(&id).await);
    assert_eq!(seen, [vec![Outcome::OwnCommitKnown; 3], vec![Outcome::OwnMessage]].concat());
    assert!(!bob.sync(&id).await.pop().unwrap().is_active);
    for device in &mut people {
        let last = device.sync(&id).await.pop().unwrap();
        assert_eq!(text(last).unwrap(), "all are here");
    }
    let (first, rest) = people.split_first_mut().unwrap();
    first.send(&id, "hello").await;
    for device in rest {
        assert_eq!(device.read(&id).await, ["hello"]);
    }
    assert_eq!(alice.read(&id).await, ["hello"]);
    let everybody: Vec<&Device> = people.iter().chain([&alice]).collect();
    assert_same_state(&id, &everybody);
}

#[tokio::test]
async fn as_many_as_one_commit_adds_come_by_one() {
    let hub = Hub::new();
    let (alice, id) = alice(&hub).await;
    let (people, packages) = people(&hub, MOST).await;
    let summary = change(&alice, packages, &[], CommitOptions::default()).await.unwrap();
    assert_eq!((summary.epoch, summary.added), (1, ids(&people)));
    assert_eq!(hub.log_len(&id), 1);
}

#[tokio::test]
async fn what_came_before_a_refused_commit_stands_and_the_rest_can_follow() {
    let hub = Hub::new();
    let (mut alice, id) = alice(&hub).await;
    let (mut people, packages) = people(&hub, 2 * MOST + 1).await;
    failing(&mut alice, 1, Fault::Refuse);
    let result = change(&alice, packages.clone(), &[], CommitOptions::with_message("lost")).await;
    assert_eq!(result.as_ref().unwrap_err().kind(), ErrorKind::Misuse);
    let (done, source) = in_part(result);
    assert_eq!((done.epoch, done.added), (1, ids(&people[..MOST])));
    assert!(matches!(source, EngineError::CommitRejected(RejectReason::Refused { .. })), "{source:?}");
    assert!(alice.session.pending_commit(&id).unwrap().is_none());
    let mut alice = alice.restarted();
    assert_eq!(alice.members(&id).len(), 1 + MOST);

    let rest = packages[MOST..].to_vec();
    let summary = change(&alice, rest, &[], CommitOptions::default()).await.unwrap();
    assert_eq!((summary.epoch, summary.added), (3, ids(&people[MOST..])));
    alice.sync(&id).await;
    for device in &mut people {
        device.welcome_of(&id).await;
        device.sync(&id).await;
    }
    let everybody: Vec<&Device> = people.iter().chain([&alice]).collect();
    assert_same_state(&id, &everybody);
}

#[tokio::test]
async fn a_batch_in_doubt_stays_pending_and_its_echo_brings_its_members() {
    let hub = Hub::new();
    let (mut alice, id) = alice(&hub).await;
    let (people, packages) = people(&hub, 3 * MOST).await;
    failing(&mut alice, 1, Fault::LoseAnswer);
    let result = change(&alice, packages, &[], CommitOptions::default()).await;
    assert_eq!(result.as_ref().unwrap_err().kind(), ErrorKind::Transient);
    let (done, source) = in_part(result);
    assert_eq!(done.added, ids(&people[..MOST]));
    assert!(matches!(source, EngineError::CommitOutcomeUnknown { .. }), "{source:?}");
    assert_eq!(alice.session.pending_commit(&id).unwrap().unwrap().epoch, 1);

    let mut alice = alice.restarted();
    let seen = alice.sync(&id).await;
    assert_eq!(outcomes(&seen), [Outcome::OwnCommitKnown, Outcome::OwnCommitMerged]);
    assert_eq!(seen[1].added, ids(&people[MOST..2 * MOST]));
    assert_eq!(hub.epoch(&id), 2, "the third was not sent");
}

#[tokio::test]
async fn a_crash_between_two_batches_leaves_the_first_one_in() {
    let hub = Hub::new();
    let (mut alice, id) = alice(&hub).await;
    let (people, packages) = people(&hub, 2 * MOST).await;
    failing(&mut alice, 1, Fault::Hang);
    tokio::select! {
        result = change(&alice, packages, &[], CommitOptions::default()) => panic!("{result:?}"),
        () = hub.hanging.notified() => {}
    }
    let mut alice = alice.restarted();
    assert_eq!(alice.members(&id).len(), 1 + MOST);
    let seen = alice.sync(&id).await;
    assert_eq!(outcomes(&seen), [Outcome::OwnCommitKnown, Outcome::OwnCommitMerged]);
    assert_eq!(alice.members(&id).len(), 1 + people.len());
}

#[tokio::test]
async fn nothing_is_committed_when_one_of_the_last_batch_cannot_be_added() {
    let hub = Hub::new();
    let (mut alice, id) = alice(&hub).await;
    let mut bob = Device::new(&hub, "bob").await;
    alice.add(&id, &mut [&mut bob]).await;
    let (people, packages) = people(&hub, 2 * MOST).await;
    for again in [&people[0], &bob] {
        let mut add = packages.clone();
        add.push(again.key_package().await);
        let refused = change(&alice, add, &[], CommitOptions::default()).await.unwrap_err();
        let (EngineError::AddedTwice(who) | EngineError::AlreadyMember(who)) = &refused else {
            panic!("{refused:?}")
        };
        assert_eq!(*who, again.client_id());
    }
    assert_eq!((hub.log_len(&id), alice.epoch(&id)), (1, 1));
    assert_eq!(alice.members(&id).len(), 2);
}

#[tokio::test]
async fn a_forged_key_package_is_found_by_the_commit_that_would_add_it() {
    let hub = Hub::new();
    let (alice, id) = alice(&hub).await;
    let (people, mut packages) = people(&hub, MOST + 1).await;
    let mut forged = packages.pop().unwrap().into_bytes();
    *forged.last_mut().unwrap() ^= 1;
    packages.push(KeyPackage::from_bytes(&forged).unwrap());
    let (done, source) = in_part(change(&alice, packages, &[], CommitOptions::default()).await);
    assert_eq!(done.added, ids(&people[..MOST]));
    assert!(matches!(source, EngineError::InvalidKeyPackage(_)), "{source:?}");
    assert!(alice.session.pending_commit(&id).unwrap().is_none());
    assert_eq!((hub.epoch(&id), alice.epoch(&id)), (1, 1));
}
