//! Keys are rotated in time, and not more often. The time is the test's own.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, SystemTime};

use common::{Device, Hub, assert_same_state, conversation};
use tertulia_mls::{ConversationId, MlsCustomConfiguration, SessionConfig};

const DAY: Duration = Duration::from_hours(24);
const SPAN: Duration = Duration::from_hours(30 * 24);

fn config() -> SessionConfig {
    let joined = MlsCustomConfiguration { key_rotation_span: Some(SPAN), ..Default::default() };
    SessionConfig { joined, ..Default::default() }
}

/// Alice and Bob, who rotate, in a conversation that was made at the returned time or up to a few seconds later.
async fn two() -> (Hub, Device, Device, ConversationId, SystemTime) {
    let hub = Hub::new();
    let mut alice = Device::with_config(&hub, "alice", config()).await;
    let mut bob = Device::with_config(&hub, "bob", config()).await;
    let id = conversation();
    let now = SystemTime::now();
    alice.create(&id).await;
    alice.add(&id, &mut [&mut bob]).await;
    (hub, alice, bob, id, now)
}

async fn rotate(device: &Device, id: &ConversationId, now: SystemTime) -> bool {
    let mut tx = device.session.new_transaction().await.unwrap();
    let done = tx.conversation(id).await.unwrap().rotate_key_material_if_due(now).await.unwrap();
    tx.finish().await.unwrap();
    done.is_some()
}

fn next(device: &Device, id: &ConversationId) -> SystemTime {
    device.session.conversation(id).unwrap().next_key_rotation().unwrap()
}

#[tokio::test]
async fn each_device_rotates_once_within_the_span() {
    let (_hub, mut alice, mut bob, id, start) = two().await;
    for device in [&alice, &bob] {
        let due = next(device, &id);
        // The clock of the engine counts whole seconds.
        assert!(due >= start + SPAN * 3 / 4 - DAY / 24 && due <= start + SPAN + DAY / 24);
        assert_eq!(device.session.key_rotations_due(start + SPAN / 2).unwrap(), []);
        assert!(!rotate(device, &id, start + SPAN / 2).await);
    }
    let mut now = start + SPAN + DAY;
    let epoch = alice.session.conversation(&id).unwrap().epoch();
    for round in 1..=3 {
        assert_eq!(alice.session.key_rotations_due(now).unwrap(), std::slice::from_ref(&id));
        assert!(rotate(&alice, &id, now).await);
        bob.sync(&id).await;
        assert!(rotate(&bob, &id, now).await);
        alice.sync(&id).await;
        for device in [&alice, &bob] {
            assert_eq!(device.session.key_rotations_due(now).unwrap(), []);
            assert!(!rotate(device, &id, now + SPAN / 2).await);
            let due = next(device, &id);
            assert!(due >= now + SPAN * 3 / 4 - DAY && due <= now + SPAN);
        }
        assert_eq!(alice.session.conversation(&id).unwrap().epoch(), epoch + 2 * round);
        now += SPAN;
    }
    assert_same_state(&id, &[&alice, &bob]);
}

#[tokio::test]
async fn a_commit_for_another_reason_counts_as_a_rotation() {
    let (_hub, mut alice, mut bob, id, start) = two().await;
    let far = start + SPAN * 10;
    assert!(rotate(&alice, &id, far).await);
    bob.sync(&id).await;
    let before = next(&alice, &id);
    alice.sync(&id).await;
    bob.update(&id).await.unwrap();
    assert!(next(&bob, &id) <= start + SPAN + DAY, "counted from now, by the clock");
    alice.sync(&id).await;
    assert_eq!(next(&alice, &id), before, "another's commit gives this device no new keys");
}

#[tokio::test]
async fn what_is_due_survives_a_restart_and_goes_with_the_conversation() {
    let (_hub, alice, _bob, id, start) = two().await;
    let due = next(&alice, &id);
    let alice = alice.restarted();
    assert_eq!(next(&alice, &id), due);
    assert_eq!(alice.session.key_rotations_due(start + SPAN * 2).unwrap(), std::slice::from_ref(&id));
    let mut tx = alice.session.new_transaction().await.unwrap();
    tx.wipe_conversation(&id).unwrap();
    tx.finish().await.unwrap();
    assert_eq!(alice.session.key_rotations_due(start + SPAN * 2).unwrap(), []);
}

#[tokio::test]
async fn a_rotation_whose_answer_is_lost_is_settled_and_not_repeated() {
    let (hub, mut alice, _bob, id, start) = two().await;
    let now = start + SPAN * 2;
    hub.fail_next(common::Fault::LoseAnswer);
    let mut tx = alice.session.new_transaction().await.unwrap();
    let lost = tx.conversation(&id).await.unwrap().rotate_key_material_if_due(now).await;
    assert!(matches!(lost, Err(tertulia_mls::EngineError::CommitOutcomeUnknown { .. })));
    drop(tx);
    assert_eq!(alice.session.key_rotations_due(now).unwrap(), [], "the pending commit comes first");
    alice.sync(&id).await;
    assert_eq!(alice.session.key_rotations_due(start + SPAN / 2).unwrap(), []);
    assert_eq!(hub.epoch(&id), 2);
}

#[tokio::test]
async fn without_a_span_nothing_is_ever_due() {
    let hub = Hub::new();
    let mut alice = Device::new(&hub, "alice").await;
    let id = conversation();
    alice.create(&id).await;
    alice.update(&id).await.unwrap();
    let view = alice.session.conversation(&id).unwrap();
    assert_eq!(view.next_key_rotation(), None);
    let far = SystemTime::now() + SPAN * 100;
    assert_eq!(alice.session.key_rotations_due(far).unwrap(), []);
    assert!(!rotate(&alice, &id, far).await);
}

#[tokio::test]
async fn devices_that_came_together_do_not_rotate_together() {
    let hub = Hub::new();
    let mut alice = Device::with_config(&hub, "alice", config()).await;
    let start = SystemTime::now();
    let mut dues = std::collections::BTreeSet::new();
    for name in 0..40_u8 {
        let id = ConversationId::from(vec![name; 16]);
        alice.create(&id).await;
        dues.insert(next(&alice, &id).duration_since(start).unwrap().as_secs() / 3600);
    }
    // 180 hours to choose from. That 40 dates fall into fewer than 15 of them does not happen.
    assert!(dues.len() >= 15, "{dues:?}");
}
