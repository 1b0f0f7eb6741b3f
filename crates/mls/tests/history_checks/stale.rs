//! Removals by clients that know nothing of history: who is gone must not read on.

use tertulia_mls::{EngineError, HistorySharing, Outcome};

use crate::{
    common::{Device, assert_same_state, client_id, two},
    support::{
        Foreigner, add_sharing_nothing, bounds, enable, forget, forget_what_was_seen, made_up, replay,
        rotate, share, spans,
    },
};

#[tokio::test]
async fn a_removal_that_left_the_history_client_is_made_up_for_by_the_next_commit() {
    let (hub, mut alice, mut bob, id) = two().await;
    let mut carol = Device::new(&hub, "carol").await;
    alice.add(&id, &mut [&mut carol]).await;
    let mut frank = Foreigner::added(&mut alice, &id, "frank").await;
    enable(&alice, &id).await;
    bob.sync(&id).await;
    carol.sync(&id).await;
    let kept = spans(&carol, &id)[0].secret.clone();
    frank.remove(Some(&client_id("carol"))).await;

    let seen = alice.sync(&id).await.pop().unwrap();
    assert!(seen.outcome == Outcome::Commit && seen.needs_history_rotation && seen.delay.is_some());
    alice.send(&id, "Carol can read this").await;
    let mut alice = alice.restarted();
    assert!(alice.session.conversation(&id).unwrap().needs_history_rotation());
    assert!(bob.sync(&id).await.iter().any(|seen| seen.needs_history_rotation));
    assert_eq!(bounds(&alice, &id), [(4, None, true)]);

    alice.update(&id).await.unwrap();
    assert!(!alice.session.conversation(&id).unwrap().needs_history_rotation());
    alice.send(&id, "and not this").await;
    assert_eq!(replay(&hub, &id, &kept), ["Carol can read this"]);
    let seen = bob.sync(&id).await;
    assert!(seen.iter().all(|seen| !seen.needs_history_rotation && seen.delay.is_none()));
    assert!(!bob.session.conversation(&id).unwrap().needs_history_rotation());
    for device in [&alice, &bob] {
        assert_eq!(bounds(device, &id), [(4, Some(5), true), (6, None, true)]);
        assert_eq!(replay(&hub, &id, &spans(device, &id)[1].secret), ["and not this"]);
    }
    alice.sync(&id).await;
    frank.sync();
    assert_same_state(&id, &[&alice, &bob]);
}

#[tokio::test]
async fn history_is_rotated_on_purpose_after_a_removal_that_the_hub_proposed_and_another_client_committed() {
    let (hub, mut alice, mut bob, id) = two().await;
    let mut carol = Device::new(&hub, "carol").await;
    alice.add(&id, &mut [&mut carol]).await;
    let mut frank = Foreigner::added(&mut alice, &id, "frank").await;
    let refused = rotate(&alice, &id).await.unwrap_err();
    assert!(matches!(refused, EngineError::HistoryNotEnabled));
    enable(&alice, &id).await;
    hub.propose_removal(&id, &client_id("carol"));
    frank.remove(None).await;
    bob.sync(&id).await;
    let seen = alice.sync(&id).await.pop().unwrap();
    assert_eq!(seen.removed, [client_id("carol")]);
    assert!(seen.needs_history_rotation && bob.session.conversation(&id).unwrap().needs_history_rotation());
    rotate(&bob, &id).await.unwrap();
    alice.sync(&id).await;
    for device in [&alice, &bob] {
        assert!(!device.session.conversation(&id).unwrap().needs_history_rotation());
        assert_eq!(bounds(device, &id), [(4, Some(5), true), (6, None, true)]);
    }
    // Who comes back in its own place has not left.
    alice.join_externally(&id).await.unwrap();
    assert!(bob.sync(&id).await.iter().all(|seen| !seen.needs_history_rotation));
    assert_same_state(&id, &[&alice, &bob]);
}

#[tokio::test]
async fn a_store_that_did_not_watch_history_clients_begins_to() {
    let (hub, mut alice, mut bob, id) = two().await;
    let mut carol = Device::new(&hub, "carol").await;
    alice.add(&id, &mut [&mut carol]).await;
    let mut frank = Foreigner::added(&mut alice, &id, "frank").await;
    enable(&alice, &id).await;
    bob.sync(&id).await;
    let genuine = spans(&bob, &id)[0].secret.clone();
    forget_what_was_seen(&bob, &id).await;
    assert!(forget(&bob, &id, &genuine).await);
    // What it has not seen it cannot check. Without a history client in the roster an open span is made up all the same.
    let lies = made_up(&id, 4).await;
    frank.share(&[(&lies[3], None)]);
    share(&mut alice, &id, HistorySharing::Current).await;
    bob.sync(&id).await;
    assert_eq!(bounds(&bob, &id), [(4, None, false)]);
    assert_eq!(spans(&bob, &id)[0].secret, genuine);
    // From the next commit on that concerns history, nothing escapes it.
    frank.remove(Some(&client_id("carol"))).await;
    assert!(bob.sync(&id).await.pop().unwrap().needs_history_rotation);
    rotate(&bob, &id).await.unwrap();
    assert_eq!(bounds(&bob, &id), [(4, Some(5), false), (6, None, true)]);
    assert!(!bob.session.conversation(&id).unwrap().needs_history_rotation());
    let mut dave = Device::new(&hub, "dave").await;
    add_sharing_nothing(&mut bob, &id, &mut dave).await;
    let lies = made_up(&id, 7).await;
    frank.share(&[(&lies[5], Some(6)), (&lies[6], None)]);
    bob.sync(&id).await;
    assert_eq!(bounds(&bob, &id).len(), 2);
}
