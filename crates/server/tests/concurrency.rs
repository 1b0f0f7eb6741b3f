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

/// 50 different commits of five members to one epoch at the same moment, for as many epochs as `ROUNDS` says (1,000 unless
/// given): each time exactly one wins, and the others learn the epoch that it made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_50_concurrent_commits_to_one_epoch_exactly_one_wins() {
    const COMMITS: usize = 50;
    let rounds: u64 = std::env::var("ROUNDS").map_or(1000, |rounds| rounds.parse().unwrap());
    let hub = hub(|_| ()).await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (conversation, group) = alice.new_group().await;
    let mut members = vec![(alice, group)];
    for name in ["bob", "carol", "dave", "erin"] {
        let person = Person::sign_up(&hub, name).await;
        let (alice, group) = &mut members[0];
        connect(alice, &person).await;
        let added = alice.add(conversation, group, &[person.user]).await;
        for (_, group) in &mut members[1..] {
            group.process_incoming_message(added.commit.clone()).unwrap();
        }
        let group = person.mls.join(&added.welcome.unwrap().to_bytes().unwrap());
        members.push((person, group));
    }
    let begun = members[0].1.current_epoch();
    for round in 1..=rounds {
        // All are made before any is sent.
        let (bundles, secrets): (Vec<_>, Vec<_>) =
            (0..COMMITS).map(|index| mls::commit_detached(&mut members[index % 5].1)).unzip();
        let senders = members.iter().map(|(person, _)| person).cycle();
        let sent = senders.zip(&bundles).map(|(person, bundle)| person.commit(conversation, bundle));
        let answers = join_all(sent).await;
        let won: Vec<usize> =
            (0..COMMITS).filter(|&index| answers[index].status == StatusCode::CREATED).collect();
        let [winner] = won[..] else { panic!("round {round}: {} commits won", won.len()) };
        for (index, answer) in answers.into_iter().enumerate() {
            if index != winner {
                let current = answer.refused(Code::StaleEpoch).current_epoch;
                assert_eq!(current, Some(begun + round), "round {round}");
            }
        }
        let mut secrets = secrets.into_iter().nth(winner);
        for (index, (_, group)) in members.iter_mut().enumerate() {
            if index == winner % 5 {
                group.apply_detached_commit(secrets.take().unwrap()).unwrap();
            } else {
                group.process_incoming_message(bundles[winner].commit.clone()).unwrap();
            }
            assert_eq!(group.current_epoch(), begun + round);
        }
    }
    assert_eq!(members[0].0.conversation(conversation).await.epoch, begun + rounds);
}
