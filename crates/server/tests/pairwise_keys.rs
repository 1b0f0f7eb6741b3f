//! Keys for pairwise sessions: one-time keys are claimed once, and the fallback key is never used up.
#![allow(clippy::unwrap_used)]

mod support;

use std::{collections::BTreeMap, sync::Arc};
use support::hub::{Hub, Person, connect};
use tertulia_api::{
    Base64, Code, UserDevice,
    event::EventBody,
    pairwise::{PairwiseKeyCount, PairwiseKeyUpload},
};
use tertulia_domain::{DeviceId, pairwise::SignedKey};

async fn two(hub: &Hub) -> (Person, Person) {
    let (alice, bob) = (Person::sign_up(hub, "alice").await, Person::sign_up(hub, "bob").await);
    connect(&alice, &bob).await;
    (alice, bob)
}

#[tokio::test]
async fn one_time_keys_are_claimed_once_and_the_fallback_key_is_never_used_up() {
    let hub = Hub::start().await;
    let (alice, bob) = two(&hub).await;
    assert_eq!(bob.publish_pairwise(&[1, 2, 3]).await, 3);
    let mut claimed = Vec::new();
    for _ in 0..5 {
        let [key] = alice.claim_pairwise(&[bob.address()]).await.try_into().unwrap();
        assert_eq!((key.user, key.device), (bob.user, bob.mls.device));
        assert_eq!(key.signature_key.0, bob.mls.signature_key);
        let signed = if key.fallback {
            SignedKey::Fallback([255; 32])
        } else {
            SignedKey::OneTime(key.key.key.0.clone().try_into().unwrap())
        };
        assert_eq!(key.key, bob.signed(signed), "it comes as it was uploaded");
        claimed.push((key.key.key.0[0], key.fallback));
    }
    assert_eq!(claimed, [(1, false), (2, false), (3, false), (255, true), (255, true)]);
    assert_eq!(bob.get("/v1/pairwise-keys/count").await.done::<PairwiseKeyCount>().count, 0);
}

#[tokio::test]
async fn of_keys_that_many_claim_at_the_same_time_none_is_given_twice() {
    let hub = Hub::start().await;
    let (alice, bob) = two(&hub).await;
    let numbers: Vec<u8> = (0..100).collect();
    assert_eq!(bob.publish_pairwise(&numbers).await, 100);
    let (alice, address) = (Arc::new(alice), bob.address());
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let alice = Arc::clone(&alice);
            tokio::spawn(async move {
                let mut mine = Vec::new();
                for _ in 0..8 {
                    mine.extend(alice.claim_pairwise(&[address]).await);
                }
                mine
            })
        })
        .collect();
    let mut times: BTreeMap<u8, usize> = BTreeMap::new();
    for task in tasks {
        for key in task.await.unwrap() {
            *times.entry(key.key.key.0[0]).or_default() += 1;
        }
    }
    assert_eq!(times.remove(&255), Some(16 * 8 - 100), "the rest got the fallback key");
    assert_eq!(times, numbers.iter().map(|&number| (number, 1)).collect());
}

#[tokio::test]
async fn keys_that_are_uploaded_again_are_not_offered_again() {
    let hub = Hub::start().await;
    let (alice, bob) = two(&hub).await;
    bob.publish_pairwise(&[1, 2]).await;
    alice.claim_pairwise(&[bob.address()]).await;
    // The answer to the upload was lost.
    assert_eq!(bob.publish_pairwise(&[1, 2]).await, 1);
    assert_eq!(bob.publish_pairwise(&[1, 2, 3]).await, 2);
    let claimed: Vec<_> =
        [alice.claim_pairwise(&[bob.address()]).await, alice.claim_pairwise(&[bob.address()]).await].concat();
    assert_eq!(claimed.iter().map(|key| key.key.key.0[0]).collect::<Vec<_>>(), [2, 3]);
}

#[tokio::test]
async fn with_a_new_incarnation_of_the_device_the_keys_of_the_former_are_gone() {
    let hub = Hub::start().await;
    let (alice, bob) = two(&hub).await;
    bob.publish_pairwise(&[1, 2, 3]).await;
    let anew = bob.pairwise_upload(4, &[0, 1]);
    let without_fallback = PairwiseKeyUpload { fallback: None, ..anew.clone() };
    bob.upload_pairwise(&without_fallback).await.refused(Code::BadRequest);
    assert_eq!(bob.upload_pairwise(&anew).await.done::<PairwiseKeyCount>().count, 2);
    assert_eq!(bob.publish_pairwise(&[7, 8, 9]).await, 2, "the former one comes too late");
    let [key] = alice.claim_pairwise(&[bob.address()]).await.try_into().unwrap();
    assert_eq!(key.key.key.0[0], 0);
}

#[tokio::test]
async fn keys_are_checked_when_they_are_uploaded() {
    let hub = Hub::start().await;
    let (alice, bob) = two(&hub).await;
    let good = bob.pairwise_upload(0, &[1]);
    let mut of_another = good.clone();
    of_another.one_time_keys[0].key = alice.signed(SignedKey::OneTime([1; 32]));
    let mut as_something_else = good.clone();
    as_something_else.one_time_keys[0].key = bob.signed(SignedKey::Fallback([1; 32]));
    let mut fallback = good.clone();
    fallback.fallback = Some(bob.signed(SignedKey::OneTime([255; 32])));
    let mut short = good.clone();
    short.one_time_keys[0].key.key = Base64(vec![1; 31]);
    let mut long = good.clone();
    long.one_time_keys[0].key.signature.0.push(0);
    let identity = PairwiseKeyUpload { identity_key: Base64(vec![1; 32]), ..good.clone() };
    for wrong in [of_another, as_something_else, fallback, short, long, identity] {
        bob.upload_pairwise(&wrong).await.refused(Code::InvalidPairwiseKey);
    }
    let mut large = good.clone();
    large.one_time_keys[0].id = u64::MAX;
    bob.upload_pairwise(&large).await.refused(Code::BadRequest);
    assert_eq!(hub.rows()["pairwise_devices"], 0);

    bob.upload_pairwise(&good).await.done::<PairwiseKeyCount>();
    let numbers: Vec<u8> = (2..=101).collect();
    bob.upload_pairwise(&bob.pairwise_upload(0, &numbers)).await.refused(Code::PairwiseKeyLimit);
    assert_eq!(bob.get("/v1/pairwise-keys/count").await.done::<PairwiseKeyCount>().count, 1);
}

#[tokio::test]
async fn keys_are_claimed_by_who_may_write_to_their_owner_only() {
    let hub = Hub::start().await;
    let (alice, bob) = two(&hub).await;
    let eve = Person::sign_up(&hub, "eve").await;
    bob.publish_pairwise(&[1]).await;
    eve.try_claim_pairwise(&[bob.address()]).await.refused(Code::NotConnected);
    let nobody = UserDevice { user: tertulia_domain::UserId::random(), ..bob.address() };
    alice.try_claim_pairwise(&[nobody]).await.refused(Code::UnknownUser);
    // Devices that there are not, one that has published nothing, and the own one are left out.
    let unknown = UserDevice { device: DeviceId::new(1), ..bob.address() };
    let silent = Person::open(&hub, "bob", "/v1/sessions", 0).await;
    let claimed = alice.claim_pairwise(&[unknown, silent.address(), alice.address()]).await;
    assert_eq!(claimed, []);
    assert_eq!(hub.rows()["pairwise_keys"], 1);
    let many: Vec<_> = (0..501).map(|n| UserDevice { device: DeviceId::new(n), ..bob.address() }).collect();
    alice.try_claim_pairwise(&many).await.refused(Code::BadRequest);
}

#[tokio::test]
async fn the_owner_is_told_once_when_one_time_keys_fall_below_the_threshold() {
    let hub =
        Hub::start_with(tempfile::tempdir().unwrap(), |config| config.limits.one_time_keys_low = 2).await;
    let (alice, bob) = two(&hub).await;
    let told = async || {
        let low = |event: tertulia_api::event::Event| match event.body {
            EventBody::PairwiseKeysLow { device, count } => Some((device, count)),
            _ => None,
        };
        bob.events().await.into_iter().filter_map(low).collect::<Vec<_>>()
    };
    bob.publish_pairwise(&[1, 2, 3]).await;
    alice.claim_pairwise(&[bob.address()]).await;
    assert!(told().await.is_empty(), "two are left");
    for _ in 0..3 {
        alice.claim_pairwise(&[bob.address()]).await;
    }
    assert_eq!(told().await, [(bob.mls.device, 1)]);
    // Too few are no supply; enough are, and when they have gone it is said again.
    bob.publish_pairwise(&[4]).await;
    alice.claim_pairwise(&[bob.address()]).await;
    assert_eq!(told().await.len(), 1);
    bob.publish_pairwise(&[5, 6]).await;
    alice.claim_pairwise(&[bob.address()]).await;
    assert_eq!(told().await, [(bob.mls.device, 1), (bob.mls.device, 1)]);
    let others = alice.events().await;
    assert!(others.iter().all(|event| !matches!(event.body, EventBody::PairwiseKeysLow { .. })));
}
