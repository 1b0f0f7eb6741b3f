//! Messages that are late, double, forged, corrupted or out of place.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Device, Hub, assert_same_state, client_id, corrupted, two};
use tertulia_mls::{ConversationId, EngineError, ErrorKind, MAX_MESSAGE_BYTES, Outcome};

#[tokio::test]
async fn a_corrupted_message_does_not_cost_the_genuine_one() {
    let (_hub, mut alice, mut bob, id) = two().await;
    let genuine = alice.encrypt(&id, "genuine").await.unwrap();
    let forged = bob.decrypt(&id, &corrupted(&genuine)).await.unwrap_err();
    assert!(matches!(forged, EngineError::InvalidMessage(_)));
    assert_eq!(forged.kind(), ErrorKind::Peer);
    assert_eq!(bob.decrypt(&id, &genuine).await.unwrap().app_msg.unwrap(), b"genuine");
}

#[tokio::test]
async fn an_error_in_the_middle_of_a_transaction_takes_back_itself_only() {
    let (_hub, mut alice, bob, id) = two().await;
    let mut messages = Vec::new();
    for n in 0..4 {
        messages.push(alice.encrypt(&id, &n.to_string()).await.unwrap());
    }
    let mut tx = bob.session.new_transaction().await.unwrap();
    let mut guard = tx.conversation(&id).await.unwrap();
    let sent_before = guard.encrypt_message("before").unwrap();
    assert_eq!(guard.decrypt_message(&messages[0]).unwrap().app_msg.unwrap(), b"0");
    assert_eq!(guard.decrypt_message(&messages[2]).unwrap().app_msg.unwrap(), b"2");
    for forged in [corrupted(&messages[1]), corrupted(&messages[3])] {
        assert!(guard.decrypt_message(&forged).is_err());
    }
    // What was read before is still read, what was not can be.
    assert_eq!(guard.decrypt_message(&messages[0]).unwrap().outcome, Outcome::Duplicate);
    assert_eq!(guard.decrypt_message(&messages[2]).unwrap().outcome, Outcome::Duplicate);
    assert_eq!(guard.decrypt_message(&messages[1]).unwrap().app_msg.unwrap(), b"1");
    assert_eq!(guard.decrypt_message(&messages[3]).unwrap().app_msg.unwrap(), b"3");
    let sent_after = guard.encrypt_message("after").unwrap();
    tx.finish().await.unwrap();
    // Nor is a key used twice.
    assert_eq!(alice.decrypt(&id, &sent_before).await.unwrap().app_msg.unwrap(), b"before");
    assert_eq!(alice.decrypt(&id, &sent_after).await.unwrap().app_msg.unwrap(), b"after");
    let mut bob = bob.restarted();
    for message in &messages {
        assert_eq!(bob.decrypt(&id, message).await.unwrap().outcome, Outcome::Duplicate);
    }
}

#[tokio::test]
async fn every_truncation_and_many_corruptions_are_refused() {
    let (hub, mut alice, mut bob, id) = two().await;
    let message = alice.encrypt(&id, "x").await.unwrap();
    bob.update(&id).await.unwrap();
    let commit = hub.log_entry(&id, hub.log_len(&id) - 1).unwrap();
    let (welcome, _) = hub.welcome(&id);
    let info = hub.group_info(&id);
    let mut tx = alice.session.new_transaction().await.unwrap();
    for bytes in [&message, &commit, &welcome, &info] {
        for length in (0..bytes.len()).step_by(7) {
            let mut guard = tx.conversation(&id).await.unwrap();
            assert!(guard.decrypt_message(&bytes[..length]).is_err());
            assert!(tx.process_welcome(&bytes[..length]).is_err());
        }
    }
    for position in (0..commit.len()).step_by(3) {
        let mut bytes = commit.clone();
        bytes[position] ^= 0x10;
        let result = tx.conversation(&id).await.unwrap().decrypt_message(&bytes);
        // A header may be changed into one of the past or of the future; nothing is accepted.
        let ignored = |outcome| matches!(outcome, Outcome::StaleEpoch | Outcome::Buffered);
        assert!(result.is_err() || ignored(result.unwrap().outcome), "{position}");
    }
    let mut guard = tx.conversation(&id).await.unwrap();
    assert_eq!(guard.decrypt_message(&commit).unwrap().outcome, Outcome::Commit);
    assert!(matches!(guard.decrypt_message(&welcome), Err(EngineError::UnexpectedMessage)));
    let huge = vec![0; MAX_MESSAGE_BYTES + 1];
    assert!(matches!(guard.decrypt_message(huge), Err(EngineError::MalformedMessage(None))));
    tx.finish().await.unwrap();
    bob.sync(&id).await;
    assert_same_state(&id, &[&alice, &bob]);
}

#[tokio::test]
async fn own_and_double_messages_have_an_outcome_and_change_nothing() {
    let (hub, mut alice, mut bob, id) = two().await;
    let message = alice.encrypt(&id, "once").await.unwrap();
    assert_eq!(alice.decrypt(&id, &message).await.unwrap().outcome, Outcome::OwnMessage);
    assert_eq!(bob.decrypt(&id, &message).await.unwrap().outcome, Outcome::Application);
    assert_eq!(bob.decrypt(&id, &message).await.unwrap().outcome, Outcome::Duplicate);
    alice.update(&id).await.unwrap();
    let commit = hub.log_entry(&id, hub.log_len(&id) - 1).unwrap();
    assert_eq!(alice.decrypt(&id, &commit).await.unwrap().outcome, Outcome::OwnCommitKnown);
    assert_eq!(bob.decrypt(&id, &commit).await.unwrap().outcome, Outcome::Commit);
    assert_eq!(bob.decrypt(&id, &commit).await.unwrap().outcome, Outcome::StaleEpoch);
    assert_eq!(alice.decrypt(&id, &message).await.unwrap().outcome, Outcome::OwnMessage, "of a past epoch");
    bob.sync(&id).await;
    alice.sync(&id).await;
    assert_same_state(&id, &[&alice, &bob]);
}

#[tokio::test]
async fn messages_out_of_order_are_read() {
    let (_hub, mut alice, mut bob, id) = two().await;
    let mut messages = Vec::new();
    for n in 0..5 {
        messages.push(alice.encrypt(&id, &n.to_string()).await.unwrap());
    }
    for n in [1, 0, 4, 2, 3] {
        assert_eq!(bob.decrypt(&id, &messages[n]).await.unwrap().app_msg.unwrap(), n.to_string().as_bytes());
    }
}

#[tokio::test]
async fn a_message_that_comes_after_more_later_ones_than_allowed_is_refused() {
    let (_hub, mut alice, mut bob, id) = two().await;
    let mut messages = Vec::new();
    for n in 0..5 {
        messages.push(alice.encrypt(&id, &n.to_string()).await.unwrap());
    }
    bob.decrypt(&id, &messages[4]).await.unwrap();
    for n in [0, 1] {
        // Its key is deleted: nobody can tell it from one that was read.
        assert_eq!(bob.decrypt(&id, &messages[n]).await.unwrap().outcome, Outcome::Duplicate);
    }
    for n in [3, 2] {
        assert_eq!(bob.decrypt(&id, &messages[n]).await.unwrap().app_msg.unwrap(), n.to_string().as_bytes());
    }
}

#[tokio::test]
async fn a_sender_may_skip_a_thousand_messages_and_not_one_more() {
    let (_hub, mut alice, mut bob, id) = two().await;
    let mut messages = Vec::new();
    for n in 0..=1001 {
        messages.push(alice.encrypt(&id, &n.to_string()).await.unwrap());
    }
    let refused = bob.decrypt(&id, &messages[1001]).await.unwrap_err();
    assert!(matches!(refused, EngineError::TooFarAhead { generation: 1001, max: 1000 }), "{refused}");
    assert_eq!(bob.decrypt(&id, &messages[0]).await.unwrap().app_msg.unwrap(), b"0", "nothing was used up");
    assert_eq!(bob.decrypt(&id, &messages[1001]).await.unwrap().app_msg.unwrap(), b"1001");
}

#[tokio::test]
async fn late_messages_of_the_last_three_epochs_are_read_once_and_older_ones_not() {
    let (_hub, mut alice, mut bob, id) = two().await;
    let mut late = Vec::new();
    for n in 0..5 {
        late.push(alice.encrypt(&id, &n.to_string()).await.unwrap());
        alice.update(&id).await.unwrap();
    }
    bob.sync(&id).await;
    let mut bob = bob.restarted();
    for (n, message) in late.iter().enumerate() {
        let result = bob.decrypt(&id, message).await.unwrap();
        let expected = if n < 2 { Outcome::StaleEpoch } else { Outcome::Application };
        assert_eq!(result.outcome, expected, "{n}");
        assert_eq!(result.epoch, n as u64 + 1);
    }
    assert_eq!(bob.decrypt(&id, &late[4]).await.unwrap().outcome, Outcome::Duplicate);
    let forged = bob.decrypt(&id, &corrupted(&late[4])).await;
    assert!(forged.is_err() || forged.unwrap().outcome == Outcome::Duplicate);
}

#[tokio::test]
async fn a_message_of_another_conversation_is_named() {
    let (hub, mut alice, mut bob, id) = two().await;
    let other = ConversationId::from("other");
    alice.create(&other).await;
    let message = alice.encrypt(&other, "x").await.unwrap();
    let wrong = bob.decrypt(&id, &message).await;
    assert!(matches!(wrong, Err(EngineError::WrongConversation(named)) if named == other));
    assert_eq!(hub.epoch(&other), 0);
}

#[tokio::test]
async fn the_length_of_a_short_text_does_not_show() {
    let (_hub, mut alice, _bob, id) = two().await;
    let short = alice.encrypt(&id, "no").await.unwrap().len();
    let longer = alice.encrypt(&id, "perhaps").await.unwrap().len();
    assert_eq!(short, longer);
}

#[tokio::test]
async fn a_long_transaction_with_an_error_at_its_end_is_restored() {
    let (_hub, mut alice, bob, id) = two().await;
    let mut tx = alice.session.new_transaction().await.unwrap();
    let mut guard = tx.conversation(&id).await.unwrap();
    let messages: Vec<_> = (0..600).map(|n| guard.encrypt_message(format!("{n}")).unwrap()).collect();
    tx.finish().await.unwrap();
    let last = alice.encrypt(&id, "last").await.unwrap();
    let mut tx = bob.session.new_transaction().await.unwrap();
    let mut guard = tx.conversation(&id).await.unwrap();
    for (n, message) in messages.iter().enumerate() {
        assert_eq!(guard.decrypt_message(message).unwrap().app_msg.unwrap(), n.to_string().as_bytes());
    }
    assert!(guard.decrypt_message(corrupted(&last)).is_err());
    assert_eq!(guard.decrypt_message(&messages[599]).unwrap().outcome, Outcome::Duplicate);
    assert_eq!(guard.decrypt_message(&last).unwrap().app_msg.unwrap(), b"last");
    tx.finish().await.unwrap();
}

#[tokio::test]
async fn a_forged_commit_does_not_stop_a_group() {
    let (hub, mut alice, mut bob, id) = two().await;
    let mut carol = Device::new(&hub, "carol").await;
    alice.add(&id, &mut [&mut carol]).await;
    bob.sync(&id).await;
    alice.change(&id, vec![], &[client_id("carol")]).await.unwrap();
    let commit = hub.log_entry(&id, hub.log_len(&id) - 1).unwrap();
    assert!(bob.decrypt(&id, &corrupted(&commit)).await.is_err());
    assert_eq!(bob.members(&id).len(), 3);
    bob.sync(&id).await;
    alice.sync(&id).await;
    assert_same_state(&id, &[&alice, &bob]);
}

#[tokio::test]
async fn each_conversation_keeps_as_many_past_epochs_as_it_is_to() {
    let hub = Hub::new();
    let mut alice = Device::new(&hub, "alice").await;
    let mut bob = Device::new(&hub, "bob").await;
    assert_eq!(bob.config.joined.prior_epochs, 3);
    // Settings are taken when a conversation comes to the device, and stay with it.
    let ids = [ConversationId::from("three"), ConversationId::from("one"), ConversationId::from("five")];
    let mut texts = Vec::new();
    for (id, kept) in ids.iter().zip([3, 1, 5]) {
        bob.config.joined.prior_epochs = kept;
        bob = bob.restarted();
        alice.create(id).await;
        alice.add(id, &mut [&mut bob]).await;
        alice.sync(id).await;
        let mut sent = Vec::new();
        for _ in 0..6 {
            sent.push(alice.encrypt(id, "late").await.unwrap());
            alice.update(id).await.unwrap();
            alice.sync(id).await;
        }
        texts.push((id, kept, sent));
    }
    for (id, kept, sent) in texts {
        bob.sync(id).await;
        bob = bob.restarted();
        for (epochs_late, message) in (1..).zip(sent.iter().rev()) {
            let outcome = bob.decrypt(id, message).await.unwrap().outcome;
            let expected = if epochs_late > kept { Outcome::StaleEpoch } else { Outcome::Application };
            assert_eq!(outcome, expected, "{epochs_late} epochs late in {id:?}");
        }
    }
}
