//! Races, on one node or on several.

use super::{
    hub::{Hub, Person, connect},
    mls,
    open::Client,
};
use futures::future::join_all;
use reqwest::StatusCode;
use std::collections::HashSet;
use tertulia_api::{
    Base64, Code,
    account::{ClaimedKeyPackages, KeyPackageClaim, KeyPackageCount, KeyPackageUpload},
};
use tertulia_server::{Rate, ServerConfig};

const CLAIMS: usize = 10_000;
const TASKS: usize = 32;

/// A hub that refuses nothing for being asked too often.
pub fn without_limit(config: &mut ServerConfig) {
    config.limits.requests = Rate::UNLIMITED;
    config.limits.look_ups = Rate::UNLIMITED;
}

/// A hub that [`claims`] can be made on.
pub fn many_claims(config: &mut ServerConfig) {
    without_limit(config);
    config.limits.key_packages_per_device = CLAIMS;
    config.limits.key_packages_bytes = 16 << 20;
}

/// As many as the variable `ROUNDS` says, or else these.
pub fn rounds(otherwise: u64) -> u64 {
    std::env::var("ROUNDS").map_or(otherwise, |rounds| rounds.parse().unwrap())
}

/// 10,000 claims from 32 tasks, over all the nodes: no key package is handed out twice, and each is handed out.
pub async fn claims(nodes: &[&Hub]) {
    let alice = Person::sign_up(nodes[0], "alice").await;
    let bob = Person::open(nodes[0], "bob", "/v1/accounts", 0).await;
    connect(&alice, &bob).await;
    for _ in 0..CLAIMS / 1000 {
        let key_packages = (0..1000).map(|_| Base64(bob.mls.key_package())).collect();
        let upload = KeyPackageUpload { key_packages, last_resort: None };
        bob.post("/v1/key-packages", &upload).await.done::<KeyPackageCount>();
    }
    let tasks = (0..TASKS).map(|task| {
        let alice = Client::new(nodes[task % nodes.len()]).with_token(&alice.token);
        let user = bob.user;
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

/// 50 different commits of five members, who are at all the nodes, to one epoch at the same moment, for so many epochs: each
/// time exactly one wins, and the others learn the epoch that it made.
pub async fn commits(nodes: &[&Hub], rounds: u64) {
    const COMMITS: usize = 50;
    let alice = Person::sign_up(nodes[0], "alice").await;
    let (conversation, group) = alice.new_group().await;
    let mut members = vec![(alice, group)];
    for (name, node) in ["bob", "carol", "dave", "erin"].into_iter().zip(nodes.iter().cycle().skip(1)) {
        let person = Person::sign_up(node, name).await;
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
