//! Many at once, and each counts once.
#![allow(clippy::unwrap_used)]

mod support;

use futures::future::join_all;
use reqwest::StatusCode;
use std::{collections::HashSet, sync::Arc};
use support::{
    hub::{Hub, Person, connect},
    mls,
};
use tertulia_api::{
    Base64, Code,
    account::{ClaimedKeyPackages, KeyPackageClaim, KeyPackageCount, KeyPackageUpload},
};
use tertulia_server::{Rate, ServerConfig};

/// A hub that refuses nothing for being asked too often.
async fn hub(change: impl FnOnce(&mut ServerConfig)) -> Hub {
    Hub::start_with(tempfile::tempdir().unwrap(), |config| {
        config.limits.requests = Rate::UNLIMITED;
        change(config);
    })
    .await
}

/// 10,000 claims from 32 tasks: no key package is handed out twice, and each is handed out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_10_000_key_packages_claimed_from_32_tasks_none_is_handed_out_twice() {
    const CLAIMS: usize = 10_000;
    const TASKS: usize = 32;
    let hub = hub(|config| {
        config.limits.key_packages_per_device = CLAIMS;
        config.limits.key_packages_bytes = 16 << 20;
    })
    .await;
    let alice = Arc::new(Person::sign_up(&hub, "alice").await);
    let bob = Person::open(&hub, "bob", "/v1/accounts", 0).await;
    connect(&alice, &bob).await;
    for _ in 0..CLAIMS / 1000 {
        let key_packages = (0..1000).map(|_| Base64(bob.mls.key_package())).collect();
        let upload = KeyPackageUpload { key_packages, last_resort: None };
        bob.post("/v1/key-packages", &upload).await.done::<KeyPackageCount>();
    }
    let tasks = (0..TASKS).map(|task| {
        let (alice, user) = (Arc::clone(&alice), bob.user);
        tokio::spawn(async move {
            let mut claimed = Vec::new();
            for _ in (task..CLAIMS).step_by(TASKS) {
                let claim = KeyPackageClaim { users: vec![user] };
                let answer: ClaimedKeyPackages = alice.post("/v1/key-packages/claims", &claim).await.done();
                claimed.extend(answer.key_packages.into_iter().map(|claimed| claimed.key_package.0));
            }
            claimed
        })
    });
    let mut given = HashSet::new();
    for claimed in join_all(tasks).await {
        for key_package in claimed.unwrap() {
            assert!(given.insert(key_package), "a key package was handed out twice");
        }
    }
    assert_eq!(given.len(), CLAIMS);
    assert!(alice.claim(&[bob.user]).await.is_empty());
}

/// 50 different commits to one epoch at the same moment, for as many epochs as `ROUNDS` says (1,000 unless given): each time
/// exactly one wins, and the others learn the epoch that it made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_50_concurrent_commits_to_one_epoch_exactly_one_wins() {
    const COMMITS: usize = 50;
    let rounds: u64 = std::env::var("ROUNDS").map_or(1000, |rounds| rounds.parse().unwrap());
    let hub = hub(|_| ()).await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (conversation, mut group) = alice.new_group().await;
    let first = mls::commit(&mut group, &[], &[]);
    alice.committed(conversation, &mut group, &first).await;
    for round in 1..=rounds {
        // All are made before any is sent.
        let (bundles, secrets): (Vec<_>, Vec<_>) =
            (0..COMMITS).map(|_| mls::commit_detached(&mut group)).unzip();
        let answers = join_all(bundles.iter().map(|bundle| alice.commit(conversation, bundle))).await;
        let won: Vec<usize> =
            (0..COMMITS).filter(|&index| answers[index].status == StatusCode::CREATED).collect();
        let [winner] = won[..] else { panic!("round {round}: {} commits won", won.len()) };
        for (index, answer) in answers.into_iter().enumerate() {
            if index != winner {
                let current = answer.refused(Code::StaleEpoch).current_epoch;
                assert_eq!(current, Some(round + 1), "round {round}");
            }
        }
        let secrets = secrets.into_iter().nth(winner).unwrap();
        group.apply_detached_commit(secrets).unwrap();
        assert_eq!(group.current_epoch(), round + 1);
    }
    assert_eq!(alice.conversation(conversation).await.epoch, rounds + 1);
}
