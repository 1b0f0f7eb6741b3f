//! Messages that come before what they need.
#![allow(clippy::unwrap_used)]

mod common;

use common::{
    Device, Fault, Hub, assert_same_state, client_id, conversation, corrupted, has_epoch_changed, text, two,
};
use rand::{SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use tertulia_mls::{
    CommitOptions, EngineError, ErrorKind, MlsBufferedConversationDecryptMessage, MlsCustomConfiguration,
    MlsWirePolicy, Outcome, SessionConfig,
};

fn outcomes(messages: Option<&Vec<MlsBufferedConversationDecryptMessage>>) -> Vec<Outcome> {
    messages.into_iter().flatten().map(|message| message.outcome).collect()
}

fn texts(messages: Option<&Vec<MlsBufferedConversationDecryptMessage>>) -> Vec<String> {
    let texts = messages.into_iter().flatten().filter_map(|message| message.app_msg.clone());
    texts.map(|text| String::from_utf8(text).unwrap()).collect()
}

#[tokio::test]
async fn a_message_of_the_next_epoch_is_read_after_its_commit() {
    let (_hub, mut alice, mut bob, id) = two().await;
    alice.update(&id).await.unwrap();
    let commit = alice.newest(&id);
    let early = alice.encrypt(&id, "early").await.unwrap();
    for _ in 0..2 {
        let seen = bob.decrypt(&id, &early).await.unwrap();
        assert_eq!((seen.outcome, seen.epoch, seen.app_msg), (Outcome::Buffered, 1, None));
    }
    let mut bob = bob.restarted();
    let seen = bob.decrypt(&id, &commit).await.unwrap();
    assert_eq!((seen.outcome, seen.epoch), (Outcome::Commit, 2));
    let freed = seen.buffered_messages.unwrap();
    assert_eq!(freed.len(), 1, "a duplicate is not kept");
    assert_eq!(freed[0].outcome, Outcome::Application);
    assert_eq!(freed[0].app_msg.as_deref(), Some(&b"early"[..]));
    assert_eq!(freed[0].sender_client_id, Some(client_id("alice")));
    assert_eq!(freed[0].epoch, 2);
    assert_eq!(bob.decrypt(&id, &early).await.unwrap().outcome, Outcome::Duplicate);
}

#[tokio::test]
async fn a_corrupted_message_for_the_next_epoch_does_not_block_the_commit() {
    let (_hub, mut alice, mut bob, id) = two().await;
    alice.update(&id).await.unwrap();
    let commit = alice.newest(&id);
    let genuine = alice.encrypt(&id, "genuine").await.unwrap();
    alice.update(&id).await.unwrap();
    let next = alice.newest(&id);
    for poison in [corrupted(&genuine), genuine.clone(), corrupted(&next)] {
        assert_eq!(bob.decrypt(&id, &poison).await.unwrap().outcome, Outcome::Buffered);
    }
    let mut bob = bob.restarted();
    let seen = bob.decrypt(&id, &commit).await.unwrap();
    assert_eq!((seen.outcome, seen.epoch, seen.is_active), (Outcome::Commit, 2, true));
    assert_eq!(
        outcomes(seen.buffered_messages.as_ref()),
        [Outcome::Dropped, Outcome::Application, Outcome::Dropped],
        "the key of the genuine message is not burnt by the corrupted one"
    );
    for dropped in seen.buffered_messages.unwrap() {
        assert_eq!(dropped.dropped.is_some(), dropped.outcome == Outcome::Dropped);
        assert!(
            dropped.dropped.is_none_or(|reason| reason.kind == ErrorKind::Peer && !reason.text.is_empty())
        );
    }
    assert_eq!(bob.decrypt(&id, &next).await.unwrap().outcome, Outcome::Commit);
    assert_same_state(&id, &[&alice, &bob]);
}

#[tokio::test]
async fn several_epochs_that_come_backwards_are_read_with_the_first_commit() {
    let (hub, mut alice, mut bob, id) = two().await;
    let begin = hub.log_len(&id);
    for n in 0..4 {
        alice.update(&id).await.unwrap();
        alice.send(&id, &n.to_string()).await;
    }
    for place in (begin + 1..hub.log_len(&id)).rev() {
        let seen = bob.decrypt(&id, &hub.log_entry(&id, place).unwrap()).await.unwrap();
        assert_eq!(seen.outcome, Outcome::Buffered);
    }
    let seen = bob.decrypt(&id, &hub.log_entry(&id, begin).unwrap()).await.unwrap();
    assert_eq!((seen.epoch, has_epoch_changed(&seen)), (2, true));
    assert_eq!(texts(seen.buffered_messages.as_ref()), ["0", "1", "2", "3"]);
    assert_eq!(seen.buffered_messages.unwrap().last().unwrap().epoch, 5);
    assert_same_state(&id, &[&alice, &bob]);
}

#[tokio::test]
async fn a_shuffled_log_is_read_whole() {
    let seed = std::env::var("SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let hub = Hub::new();
    let id = conversation();
    let joined = MlsCustomConfiguration { prior_epochs: 20, ..MlsCustomConfiguration::default() };
    let config = SessionConfig { joined, ..SessionConfig::default() };
    let mut alice = Device::new(&hub, "alice").await;
    let mut bob = Device::with_config(&hub, "bob", config).await;
    let mut carol = Device::new(&hub, "carol").await;
    alice.create(&id).await;
    alice.add(&id, &mut [&mut bob, &mut carol]).await;
    alice.sync(&id).await;
    let begin = hub.log_len(&id);
    let mut expected = Vec::new();
    for n in 0..6 {
        // One message of an epoch, so that the tolerance within an epoch does not matter.
        alice.send(&id, &n.to_string()).await;
        expected.push(n.to_string());
        if n % 2 == 0 {
            hub.propose_removal(&id, &client_id("carol"));
            alice.sync(&id).await;
            alice.commit_proposals(&id).await.unwrap().unwrap();
            alice.change(&id, vec![carol.key_package().await], &[]).await.unwrap();
        } else {
            alice.update(&id).await.unwrap();
        }
        alice.sync(&id).await;
    }
    let mut places: Vec<usize> = (begin..hub.log_len(&id)).collect();
    places.shuffle(&mut random);
    let mut read = Vec::new();
    for place in places {
        let seen = bob.decrypt(&id, &hub.log_entry(&id, place).unwrap()).await.unwrap();
        assert!(!outcomes(seen.buffered_messages.as_ref()).contains(&Outcome::Dropped), "{seen:?}");
        read.extend(texts(seen.buffered_messages.as_ref()));
        read.extend(text(seen));
    }
    read.sort();
    assert_eq!(read, expected);
    assert_same_state(&id, &[&alice, &bob]);
}

#[tokio::test]
async fn an_own_commit_frees_what_came_before_its_echo() {
    let (hub, mut alice, mut bob, id) = two().await;
    hub.fail_next(Fault::LoseAnswer);
    assert!(alice.update(&id).await.is_err());
    bob.sync(&id).await;
    let reply = bob.encrypt(&id, "reply").await.unwrap();
    assert_eq!(alice.decrypt(&id, &reply).await.unwrap().outcome, Outcome::Buffered);
    let echo = alice.newest(&id);
    let seen = alice.decrypt(&id, &echo).await.unwrap();
    assert_eq!(seen.outcome, Outcome::OwnCommitMerged);
    assert_eq!(texts(seen.buffered_messages.as_ref()), ["reply"]);
}

#[tokio::test]
async fn an_accepted_commit_frees_what_came_before_the_answer() {
    let (hub, alice, mut bob, id) = two().await;
    hub.fail_next(Fault::Hang);
    let mut other = alice.second_session();
    let sending = async {
        let mut tx = alice.session.new_transaction().await.unwrap();
        let mut guard = tx.conversation(&id).await.unwrap();
        guard.update_key_material_with(CommitOptions::default()).await.unwrap()
    };
    let replying = async {
        hub.hanging.notified().await;
        bob.sync(&id).await;
        let reply = bob.encrypt(&id, "reply").await.unwrap();
        assert_eq!(other.decrypt(&id, &reply).await.unwrap().outcome, Outcome::Buffered);
        hub.release.notify_one();
    };
    let (summary, ()) = tokio::join!(sending, replying);
    assert_eq!(texts(summary.buffered_messages.as_ref()), ["reply"]);
}

#[tokio::test]
async fn an_external_join_frees_what_came_before_it_and_drops_what_is_stale() {
    let (hub, mut alice, mut bob, id) = two().await;
    alice.update(&id).await.unwrap();
    let missed = alice.encrypt(&id, "missed").await.unwrap();
    assert_eq!(bob.decrypt(&id, &missed).await.unwrap().outcome, Outcome::Buffered);
    alice.update(&id).await.unwrap();
    hub.fail_next(Fault::LoseAnswer);
    assert!(bob.join_externally(&id).await.is_err());
    let join = bob.newest(&id);
    alice.sync(&id).await;
    let early = alice.encrypt(&id, "welcome back").await.unwrap();
    assert_eq!(bob.decrypt(&id, &early).await.unwrap().outcome, Outcome::Buffered);
    let seen = bob.decrypt(&id, &join).await.unwrap();
    assert_eq!((seen.outcome, seen.external_join), (Outcome::OwnCommitMerged, true));
    assert_eq!(outcomes(seen.buffered_messages.as_ref()), [Outcome::StaleEpoch, Outcome::Application]);
    assert_eq!(texts(seen.buffered_messages.as_ref()), ["welcome back"]);
}

#[tokio::test]
async fn a_welcome_frees_what_came_while_a_join_was_pending() {
    let (hub, mut alice, _bob, id) = two().await;
    let mut carol = Device::new(&hub, "carol").await;
    let package = carol.key_package().await;
    hub.fail_next(Fault::LoseCommit);
    assert!(carol.join_externally(&id).await.is_err());
    alice.change(&id, vec![package], &[]).await.unwrap();
    let early = alice.encrypt(&id, "hello").await.unwrap();
    assert_eq!(carol.decrypt(&id, &early).await.unwrap().outcome, Outcome::Buffered);
    let (welcome, _) = hub.welcome(&id);
    let mut tx = carol.session.new_transaction().await.unwrap();
    let joined = tx.process_welcome(&welcome).unwrap();
    tx.finish().await.unwrap();
    assert_eq!(texts(joined.buffered_messages.as_ref()), ["hello"]);
}

#[tokio::test]
async fn the_buffer_is_bounded_and_near_messages_come_before_far_ones() {
    let (hub, mut alice, _, id) = two().await;
    let config = SessionConfig { max_buffered_messages: 2, ..SessionConfig::default() };
    let mut carol = Device::with_config(&hub, "carol", config).await;
    alice.add(&id, &mut [&mut carol]).await;
    alice.update(&id).await.unwrap();
    let first = alice.newest(&id);
    alice.update(&id).await.unwrap();
    let second = alice.newest(&id);
    let mut far = Vec::new();
    for n in 0..3 {
        far.push(alice.encrypt(&id, &n.to_string()).await.unwrap());
    }
    assert_eq!(carol.decrypt(&id, &far[0]).await.unwrap().outcome, Outcome::Buffered);
    assert_eq!(carol.decrypt(&id, &far[1]).await.unwrap().outcome, Outcome::Buffered);
    let full = carol.decrypt(&id, &far[2]).await.unwrap_err();
    assert!(matches!(full, EngineError::BufferFull { messages: 2, .. }));
    assert_eq!(full.kind(), ErrorKind::Transient);

    let seen = carol.decrypt(&id, &second).await.unwrap();
    assert_eq!(seen.outcome, Outcome::Buffered);
    let gone = seen.buffered_messages.unwrap();
    assert_eq!(gone.len(), 1);
    assert_eq!(gone[0].dropped.as_ref().unwrap().kind, ErrorKind::Transient);
    let seen = carol.decrypt(&id, &first).await.unwrap();
    assert_eq!(outcomes(seen.buffered_messages.as_ref()), [Outcome::Commit, Outcome::Application]);
    assert_eq!(texts(seen.buffered_messages.as_ref()), ["0"]);
    // The bound of bytes is one too.
    carol.session = {
        let config = SessionConfig { max_buffered_bytes: 100, ..SessionConfig::default() };
        tertulia_mls::Session::open(carol.session.store().clone(), std::sync::Arc::new(hub.clone()), config)
            .unwrap()
    };
    alice.update(&id).await.unwrap();
    let long = alice.encrypt(&id, &"x".repeat(100)).await.unwrap();
    assert!(matches!(
        carol.decrypt(&id, &long).await,
        Err(EngineError::BufferFull { messages: 0, bytes: 0 })
    ));
}

#[tokio::test]
async fn a_commit_waits_for_its_proposals() {
    for wire_policy in [MlsWirePolicy::Plaintext, MlsWirePolicy::Ciphertext] {
        let hub = Hub::new();
        let id = conversation();
        let joined = MlsCustomConfiguration { wire_policy, ..MlsCustomConfiguration::default() };
        let config = SessionConfig { joined, ..SessionConfig::default() };
        let mut alice = Device::with_config(&hub, "alice", config.clone()).await;
        let mut bob = Device::with_config(&hub, "bob", config.clone()).await;
        let mut carol = Device::with_config(&hub, "carol", config.clone()).await;
        let mut dave = Device::with_config(&hub, "dave", config).await;
        alice.create(&id).await;
        alice.add(&id, &mut [&mut bob, &mut carol, &mut dave]).await;
        alice.sync(&id).await;

        let mut tx = alice.session.new_transaction().await.unwrap();
        let one = tx.new_remove_proposal(&id, client_id("carol")).await.unwrap().proposal;
        let two = tx.new_remove_proposal(&id, client_id("dave")).await.unwrap().proposal;
        tx.finish().await.unwrap();
        alice.commit_proposals(&id).await.unwrap().unwrap();
        let commit = alice.newest(&id);
        let early = alice.encrypt(&id, "without them").await.unwrap();

        assert_eq!(bob.decrypt(&id, &early).await.unwrap().outcome, Outcome::Buffered);
        for _ in 0..2 {
            assert_eq!(bob.decrypt(&id, &commit).await.unwrap().outcome, Outcome::Buffered);
        }
        let mut bob = bob.restarted();
        let seen = bob.decrypt(&id, &two).await.unwrap();
        assert_eq!((seen.outcome, seen.buffered_messages), (Outcome::Proposal, None));
        let seen = bob.decrypt(&id, &one).await.unwrap();
        assert_eq!(seen.outcome, Outcome::Proposal);
        assert_eq!(outcomes(seen.buffered_messages.as_ref()), [Outcome::Commit, Outcome::Application]);
        assert_eq!(texts(seen.buffered_messages.as_ref()), ["without them"]);
        let mut removed = seen.buffered_messages.unwrap().swap_remove(0).removed;
        removed.sort();
        assert_eq!(removed, [client_id("carol"), client_id("dave")]);
        assert_same_state(&id, &[&alice, &bob]);
    }
}

#[tokio::test]
async fn a_commit_that_waits_is_dropped_when_another_takes_its_epoch() {
    let (hub, mut alice, mut bob, id) = two().await;
    let mut carol = Device::new(&hub, "carol").await;
    alice.add(&id, &mut [&mut carol]).await;
    bob.sync(&id).await;
    // Alice commits a proposal that Bob has not got, but the hub takes another's commit.
    let mut tx = alice.session.new_transaction().await.unwrap();
    tx.new_remove_proposal(&id, client_id("carol")).await.unwrap();
    tx.finish().await.unwrap();
    hub.fail_next(Fault::LoseCommit);
    assert!(alice.commit_proposals(&id).await.is_err());
    let waiting = hub.lost_commit().unwrap();
    assert_eq!(bob.decrypt(&id, &waiting).await.unwrap().outcome, Outcome::Buffered);
    carol.update(&id).await.unwrap();
    let winning = carol.newest(&id);
    let seen = bob.decrypt(&id, &winning).await.unwrap();
    assert_eq!(seen.outcome, Outcome::Commit);
    assert_eq!(outcomes(seen.buffered_messages.as_ref()), [Outcome::StaleEpoch]);
    assert_eq!(bob.decrypt(&id, &winning).await.unwrap().buffered_messages, None);
}

#[tokio::test]
async fn who_is_removed_by_a_buffered_commit_loses_the_conversation_and_the_buffer() {
    let (_hub, mut alice, mut bob, id) = two().await;
    alice.update(&id).await.unwrap();
    let first = alice.newest(&id);
    alice.change(&id, vec![], &[client_id("bob")]).await.unwrap();
    let removal = alice.newest(&id);
    let after = alice.encrypt(&id, "he is gone").await.unwrap();
    for message in [&after, &removal] {
        assert_eq!(bob.decrypt(&id, message).await.unwrap().outcome, Outcome::Buffered);
    }
    let seen = bob.decrypt(&id, &first).await.unwrap();
    assert!(!seen.is_active);
    let freed = seen.buffered_messages.unwrap();
    assert_eq!((freed.len(), freed[0].is_active), (1, false));
    assert!(!bob.session.conversation_exists(&id).unwrap());
    // Back again, nothing of the old buffer is there.
    alice.add(&id, &mut [&mut bob]).await;
    alice.update(&id).await.unwrap();
    assert_eq!(bob.sync(&id).await.pop().unwrap().buffered_messages, None);
}

#[tokio::test]
async fn abort_leaves_the_buffer_as_it_was() {
    let (_hub, mut alice, bob, id) = two().await;
    alice.update(&id).await.unwrap();
    let commit = alice.newest(&id);
    let early = alice.encrypt(&id, "early").await.unwrap();
    let mut tx = bob.session.new_transaction().await.unwrap();
    let mut guard = tx.conversation(&id).await.unwrap();
    guard.decrypt_message(&early).unwrap();
    tx.abort();
    let mut tx = bob.session.new_transaction().await.unwrap();
    let mut guard = tx.conversation(&id).await.unwrap();
    assert_eq!(guard.decrypt_message(&commit).unwrap().buffered_messages, None);
    tx.abort();
    // In one transaction it goes as it does in several.
    let mut tx = bob.session.new_transaction().await.unwrap();
    let mut guard = tx.conversation(&id).await.unwrap();
    guard.decrypt_message(&early).unwrap();
    assert_eq!(texts(guard.decrypt_message(&commit).unwrap().buffered_messages.as_ref()), ["early"]);
}

#[tokio::test]
async fn what_two_own_commits_of_a_transaction_free_comes_with_each_and_the_last_again_after_an_abort() {
    let (hub, alice, mut bob, id) = two().await;
    let mut other = alice.second_session();
    let mut tx = alice.session.new_transaction().await.unwrap();
    let mut guard = tx.conversation(&id).await.unwrap();
    let mut freed = Vec::new();
    for text in ["after the first", "after the second"] {
        // Bob is told of the commit before Alice has her answer, and what he says comes to her other process.
        hub.fail_next(Fault::Hang);
        let (summary, ()) = tokio::join!(guard.update_key_material_with(CommitOptions::default()), async {
            hub.hanging.notified().await;
            bob.sync(&id).await;
            let early = bob.encrypt(&id, text).await.unwrap();
            assert_eq!(other.decrypt(&id, &early).await.unwrap().outcome, Outcome::Buffered);
            hub.release.notify_one();
        });
        freed.push(texts(summary.unwrap().buffered_messages.as_ref()));
    }
    assert_eq!(freed, [["after the first"], ["after the second"]]);
    tx.abort();

    // The commits stand, and with the second what the first had freed.
    let mut alice = alice.restarted();
    assert_eq!(alice.epoch(&id), bob.epoch(&id));
    let next = bob.encrypt(&id, "and on").await.unwrap();
    let seen = alice.decrypt(&id, &next).await.unwrap();
    assert_eq!(text(seen.clone()).unwrap(), "and on");
    assert_eq!(texts(seen.buffered_messages.as_ref()), ["after the second"]);
    let next = bob.encrypt(&id, "once").await.unwrap();
    assert_eq!(alice.decrypt(&id, &next).await.unwrap().buffered_messages, None);
    assert_same_state(&id, &[&alice, &bob]);
}
