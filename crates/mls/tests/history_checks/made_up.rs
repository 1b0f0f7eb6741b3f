//! What members make up, hold back or send too much of: what a device believes.

use mls_rs::mls_rs_codec::{MlsDecode, MlsEncode};
use mls_rs_core::key_package::KeyPackageData;
use tertulia_mls::{
    CommitOptions, EngineError, HistoryClient, HistorySharing, MAX_SHARED_SPANS, Outcome, SessionConfig,
};

use crate::{
    common::{Device, client_id, two},
    support::{
        Foreigner, add_sharing_nothing, bounds, changed, confirm, enable, forged, forget, made_up, replay,
        rotate, share, spans,
    },
};

#[tokio::test]
async fn a_made_up_span_of_epochs_that_a_member_saw_is_refused() {
    let (_hub, mut alice, mut bob, id) = two().await;
    let mut mallory = Foreigner::added(&mut alice, &id, "mallory").await;
    alice.update(&id).await.unwrap();
    bob.sync(&id).await;
    let lies = made_up(&id, 2).await;
    mallory.share(&[(&lies[0], Some(1)), (&lies[1], Some(2))]);
    assert_eq!(bob.sync(&id).await[0].outcome, Outcome::History);
    assert_eq!(spans(&bob, &id), [], "Bob has been there from epoch 1 on, and there was no history");
    // Nor can the place of a span be taken before it comes.
    enable(&alice, &id).await;
    let commit = bob.hub.log_entry(&id, bob.hub.log_len(&id) - 2).unwrap();
    bob.decrypt(&id, &commit).await.unwrap();
    let lies = made_up(&id, 4).await;
    mallory.share(&[(&lies[3], None)]);
    bob.decrypt(&id, &bob.newest(&id)).await.unwrap();
    assert_eq!(spans(&bob, &id), []);
    bob.sync(&id).await;
    assert_eq!(bounds(&bob, &id), [(4, None, true)]);
    assert_eq!(spans(&bob, &id)[0].secret, spans(&alice, &id)[0].secret);
}

#[tokio::test]
async fn a_member_who_missed_the_secret_takes_no_other_and_knows_where_the_span_ended() {
    let (hub, mut alice, mut bob, id) = two().await;
    let mut mallory = Foreigner::added(&mut alice, &id, "mallory").await;
    enable(&alice, &id).await;
    bob.sync(&id).await;
    alice.send(&id, "said").await;
    alice.update(&id).await.unwrap();
    rotate(&alice, &id).await.unwrap();
    bob.sync(&id).await;
    let genuine = spans(&alice, &id)[0].secret.clone();
    // As if the message had been lost.
    assert!(forget(&bob, &id, &genuine).await && !forget(&bob, &id, &genuine).await);
    assert_eq!(bounds(&bob, &id), [(5, None, true)]);

    let lies = made_up(&id, 3).await;
    mallory.share(&[(&lies[2], Some(4))]);
    let other_client = changed(&genuine, |content| content.first_epoch = 2);
    mallory.share(&[(&other_client, Some(4))]);
    let other_group = forged(&genuine);
    assert!(HistoryClient::open(&other_group, &SessionConfig::default()).is_ok());
    mallory.share(&[(&other_group, Some(4))]);
    bob.sync(&id).await;
    assert_eq!(bounds(&bob, &id), [(5, None, true)]);
    // The true secret with a false end.
    mallory.share(&[(&genuine, Some(3))]);
    bob.sync(&id).await;
    assert_eq!(bounds(&bob, &id), [(3, Some(4), true), (5, None, true)]);
    assert_eq!(spans(&bob, &id)[0].shared_by.as_ref(), Some(&mallory.client));
    assert_eq!(replay(&hub, &id, &spans(&bob, &id)[0].secret), ["said"]);
}

#[tokio::test]
async fn a_newcomer_keeps_what_it_cannot_check_side_by_side_until_reading_tells() {
    let (hub, mut alice, mut bob, id) = two().await;
    let mut mallory = Foreigner::added(&mut alice, &id, "mallory").await;
    enable(&alice, &id).await;
    alice.send(&id, "said").await;
    let mut tx = alice.session.new_transaction().await.unwrap();
    tx.conversation(&id).await.unwrap().disable_history_sharing().await.unwrap();
    tx.finish().await.unwrap();
    let mut carol = Device::new(&hub, "carol").await;
    add_sharing_nothing(&mut alice, &id, &mut carol).await;

    let lies = made_up(&id, 3).await;
    mallory.share(&[(&lies[2], Some(3))]);
    mallory.share(&[(&lies[2], Some(3)), (&made_up(&id, 3).await[2], Some(3))]);
    bob.sync(&id).await;
    share(&mut bob, &id, HistorySharing::Since(0)).await;
    carol.sync(&id).await;
    let held = spans(&carol, &id);
    let from: Vec<_> = held
        .iter()
        .map(|span| (span.first_epoch, span.last_epoch, span.is_verified, span.shared_by.clone().unwrap()))
        .collect();
    let unverified = |client| (3, Some(3), false, client);
    let liar = || unverified(mallory.client.clone());
    assert_eq!(from, [liar(), liar(), unverified(client_id("bob"))]);
    for lie in &held[..2] {
        assert_eq!(replay(&hub, &id, &lie.secret), [] as [&str; 0], "it is made up");
        assert!(forget(&carol, &id, &lie.secret).await);
    }
    assert_eq!(replay(&hub, &id, &held[2].secret), ["said"]);
    let carol = carol.restarted();
    assert_eq!(spans(&carol, &id), [held[2].clone()]);
    // Who was there has the one that it has checked, and no other.
    assert_eq!(bounds(&bob, &id), [(3, Some(3), true)]);
}

#[tokio::test]
async fn a_newcomer_confirms_the_open_span_by_reading_up_to_its_own_epoch() {
    let (hub, mut alice, mut bob, id) = two().await;
    let mut mallory = Foreigner::added(&mut alice, &id, "mallory").await;
    enable(&alice, &id).await;
    alice.send(&id, "said").await;
    bob.sync(&id).await;
    let mut carol = Device::new(&hub, "carol").await;
    add_sharing_nothing(&mut alice, &id, &mut carol).await;
    let lies = made_up(&id, 3).await;
    mallory.share(&[(&lies[2], None)]);
    carol.sync(&id).await;
    assert_eq!(spans(&carol, &id), [], "the history client of the made-up group is not in this one");
    let forged = forged(&spans(&alice, &id)[0].secret);
    mallory.share(&[(&forged, None)]);
    share(&mut alice, &id, HistorySharing::Current).await;
    carol.sync(&id).await;
    assert_eq!(bounds(&carol, &id), [(3, None, false); 2], "Carol cannot tell Mallory's from Alice's");
    // Carol can give them on as they are.
    let mut dave = Device::new(&hub, "dave").await;
    carol.change(&id, vec![dave.key_package().await], &[]).await.unwrap();
    dave.welcome(&id).await;
    dave.sync(&id).await;
    assert_eq!(bounds(&dave, &id), [(3, None, false); 2]);
    carol.sync(&id).await;

    let secret = spans(&carol, &id)[1].secret.clone();
    let mut reader = carol.session.open_history(&secret).unwrap();
    assert_eq!(*reader.secret(), secret);
    assert!(!confirm(&carol, &id, &reader).await, "it has read nothing yet");
    for index in 0..hub.log_len(&id) {
        let _ = reader.process(hub.log_entry(&id, index).unwrap());
    }
    assert!(confirm(&carol, &id, &reader).await);
    assert_eq!(bounds(&carol, &id), [(3, None, true)]);
    assert_eq!(spans(&carol, &id)[0].shared_by, Some(client_id("alice")));
    let liar = HistoryClient::open(&forged, &SessionConfig::default()).unwrap();
    assert!(!confirm(&carol, &id, &liar).await);
    rotate(&carol, &id).await.unwrap();
    assert!(!confirm(&carol, &id, &reader).await, "Carol is in another epoch");
    assert_eq!(bounds(&carol, &id), [(3, Some(5), true), (6, None, true)]);
}

#[tokio::test]
async fn a_secret_with_another_key_for_its_leaf_is_refused() {
    let (_hub, alice, bob, id) = two().await;
    enable(&alice, &id).await;
    let secret = spans(&alice, &id)[0].secret.clone();
    let same = changed(&secret, |_| ());
    assert_eq!(same, secret);
    assert!(bob.session.open_history(&same).is_ok());
    let other = changed(&secret, |content| {
        let mut data = KeyPackageData::mls_decode(&mut &content.key_package[..]).unwrap();
        data.leaf_node_key = data.init_key.clone();
        content.key_package = data.mls_encode_to_vec().unwrap();
    });
    let refused = bob.session.open_history(&other).unwrap_err();
    assert!(matches!(refused, EngineError::InvalidHistorySecret(_)));
}

#[tokio::test]
async fn a_message_with_too_many_spans_is_read_in_part_and_what_is_much_takes_several() {
    let (hub, mut alice, mut bob, id) = two().await;
    let mut mallory = Foreigner::added(&mut alice, &id, "mallory").await;
    let count = MAX_SHARED_SPANS + 4;
    enable(&alice, &id).await;
    for _ in 1..count {
        rotate(&alice, &id).await.unwrap();
    }
    bob.sync(&id).await;
    assert_eq!(spans(&bob, &id).len(), count);
    let package = Device::new(&hub, "dave").await.key_package().await;
    let mut tx = alice.session.new_transaction().await.unwrap();
    let options = CommitOptions::default().history(HistorySharing::Since(0));
    let refused = tx.conversation(&id).await.unwrap().change_members(vec![package], &[], options).await;
    assert!(matches!(refused, Err(EngineError::TooMany { requested: 20, max: 16 })), "{refused:?}");
    drop(tx);
    let mut carol = Device::new(&hub, "carol").await;
    add_sharing_nothing(&mut alice, &id, &mut carol).await;

    let lies = made_up(&id, count).await;
    let shared: Vec<_> = lies.iter().map(|secret| (secret, Some(secret.first_epoch()))).collect();
    mallory.share(&shared);
    carol.sync(&id).await;
    assert_eq!(spans(&carol, &id).len(), MAX_SHARED_SPANS);
    assert_eq!(share(&mut bob, &id, HistorySharing::Since(0)).await, 2);
    carol.sync(&id).await;
    let from_bob = || spans(&carol, &id).into_iter().filter(|span| span.shared_by == Some(client_id("bob")));
    assert_eq!(from_bob().count(), count);
    let genuine = spans(&bob, &id);
    assert!(from_bob().all(|span| genuine.iter().any(|held| held.secret == span.secret)));
}

#[tokio::test]
async fn the_examination_of_a_message_ends_with_the_first_secret_that_does_not_open() {
    let (hub, mut alice, mut bob, id) = two().await;
    let mut mallory = Foreigner::added(&mut alice, &id, "mallory").await;
    alice.update(&id).await.unwrap();
    bob.sync(&id).await;
    let mut carol = Device::new(&hub, "carol").await;
    add_sharing_nothing(&mut alice, &id, &mut carol).await;
    let lies = made_up(&id, 2).await;
    let broken = changed(&lies[0], |content| *content.welcome.last_mut().unwrap() ^= 1);
    mallory.share(&[(&broken, Some(1)), (&lies[1], Some(2))]);
    carol.sync(&id).await;
    assert_eq!(spans(&carol, &id), []);
    mallory.share(&[(&lies[1], Some(2))]);
    carol.sync(&id).await;
    assert_eq!(bounds(&carol, &id), [(2, Some(2), false)]);
}
