//! History: who is given a secret reads its span, and nothing else.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use common::{Device, Fault, Hub, assert_same_state, client_id, text, two};
use tertulia_mls::{
    ClientId, CommitOptions, ConversationGuard, ConversationId, EngineError, ErrorKind, HistoryClient,
    HistoryObserver, HistorySecret, HistorySharing, HistorySpan, MlsConversationDecryptMessage, Outcome,
    SessionConfig,
};

async fn enable(device: &Device, id: &ConversationId) {
    let mut tx = device.session.new_transaction().await.unwrap();
    tx.conversation(id).await.unwrap().enable_history_sharing().await.unwrap();
    tx.finish().await.unwrap();
}

async fn add_sharing(device: &Device, id: &ConversationId, newcomer: &mut Device, sharing: HistorySharing) {
    let package = newcomer.key_package().await;
    let mut tx = device.session.new_transaction().await.unwrap();
    let mut guard = tx.conversation(id).await.unwrap();
    let options = CommitOptions::default().history(sharing);
    guard.change_members(vec![package], &[], options).await.unwrap();
    tx.finish().await.unwrap();
    newcomer.welcome(id).await;
}

fn spans(device: &Device, id: &ConversationId) -> Vec<HistorySpan> {
    device.session.history_spans(id).unwrap()
}

fn bounds(device: &Device, id: &ConversationId) -> Vec<(u64, Option<u64>)> {
    spans(device, id).iter().map(|span| (span.first_epoch, span.last_epoch)).collect()
}

fn secrets(device: &Device, id: &ConversationId) -> Vec<HistorySecret> {
    spans(device, id).into_iter().map(|span| span.secret).collect()
}

fn log(hub: &Hub, id: &ConversationId) -> Vec<Vec<u8>> {
    (0..hub.log_len(id)).map(|index| hub.log_entry(id, index).unwrap()).collect()
}

/// Reads the whole log with a secret: the texts that can be read, and how often a message was outside the span.
fn replay(hub: &Hub, id: &ConversationId, secret: &HistorySecret) -> (Vec<String>, usize, usize) {
    let mut reader = HistoryClient::open(secret, &SessionConfig::default()).unwrap();
    let (mut texts, mut before, mut after) = (Vec::new(), 0, 0);
    for message in log(hub, id) {
        match reader.process(&message) {
            Ok(result) => texts.extend(text(result)),
            Err(EngineError::BeforeHistory { .. }) => before += 1,
            Err(EngineError::HistoryEnded { .. }) => after += 1,
            Err(error) => panic!("{error}: {error:?}"),
        }
    }
    (texts, before, after)
}

#[derive(Default)]
struct Heard(Mutex<Vec<(ConversationId, u64)>>);

#[async_trait]
impl HistoryObserver for Heard {
    async fn history_client_created(&self, conversation_id: ConversationId, secret: HistorySecret) {
        self.0.lock().unwrap().push((conversation_id, secret.first_epoch()));
    }
}

#[tokio::test]
async fn a_newcomer_reads_what_was_said_since_history_was_enabled() {
    let (hub, mut alice, mut bob, id) = two().await;
    alice.send(&id, "before history").await;
    enable(&alice, &id).await;
    assert!(alice.session.conversation(&id).unwrap().is_history_enabled().unwrap());
    bob.sync(&id).await;
    assert_eq!(bounds(&alice, &id), [(2, None)]);
    assert_eq!(secrets(&alice, &id), secrets(&bob, &id), "every member holds the secret");
    let received = &spans(&bob, &id)[0];
    assert!(received.is_verified && received.shared_by == Some(client_id("alice")));

    alice.send(&id, "from alice").await;
    bob.send(&id, "from bob").await;
    bob.update(&id).await.unwrap();
    bob.send(&id, "from bob's new leaf").await;
    alice.sync(&id).await;

    let mut carol = Device::new(&hub, "carol").await;
    // Bob, who did not enable it, shares as well.
    bob.change(&id, vec![carol.key_package().await], &[]).await.unwrap();
    carol.welcome(&id).await;
    let received = carol.sync(&id).await;
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].outcome, Outcome::History);
    assert!(received[0].app_msg.is_none() && received[0].sender_client_id == Some(client_id("bob")));
    carol.send(&id, "from carol").await;

    let secret = &spans(&carol, &id)[0].secret;
    let (texts, before, after) = replay(&hub, &id, secret);
    assert_eq!(texts, ["from alice", "from bob", "from bob's new leaf", "from carol"]);
    assert!(before >= 2 && after == 0, "{before} {after}");
    alice.sync(&id).await;
    bob.sync(&id).await;
    assert_same_state(&id, &[&alice, &bob, &carol]);
    // The history is of the group that Carol is in.
    let mut reader = carol.session.open_history(secret).unwrap();
    for message in log(&hub, &id) {
        let _ = reader.process(&message);
    }
    let view = carol.session.conversation(&id).unwrap();
    assert_eq!(reader.epoch(), view.epoch());
    assert_eq!(reader.epoch_authenticator().unwrap(), view.epoch_authenticator().unwrap());
}

#[tokio::test]
async fn who_leaves_reads_nothing_that_follows_with_the_secret_that_they_kept() {
    let (hub, mut alice, mut bob, id) = two().await;
    let mut carol = Device::new(&hub, "carol").await;
    alice.add(&id, &mut [&mut carol]).await;
    bob.sync(&id).await;
    enable(&alice, &id).await;
    bob.sync(&id).await;
    carol.sync(&id).await;
    let kept = spans(&carol, &id)[0].secret.clone();
    alice.send(&id, "with carol").await;

    alice.sync(&id).await;
    alice.change(&id, vec![], &[client_id("carol")]).await.unwrap();
    let seen = bob.sync(&id).await;
    let commit = seen.iter().find(|result| result.outcome == Outcome::Commit).unwrap();
    assert!(commit.removed.contains(&client_id("carol")) && commit.removed.contains(kept.client_id()));
    assert_eq!(seen.last().unwrap().outcome, Outcome::History, "the new secret comes along");
    alice.send(&id, "without carol").await;
    bob.sync(&id).await;

    assert_eq!(bounds(&alice, &id), [(3, Some(3)), (4, None)]);
    assert_eq!(secrets(&alice, &id), secrets(&bob, &id));
    assert!(!carol.sync(&id).await.pop().unwrap().is_active);
    assert_eq!(spans(&carol, &id), [], "the engine forgets with the conversation");

    let (texts, _, after) = replay(&hub, &id, &kept);
    assert_eq!(texts, ["with carol"]);
    assert_eq!(after, 2, "the new secret's message and the text");
    let (texts, _, after) = replay(&hub, &id, &spans(&bob, &id)[1].secret);
    assert_eq!((texts, after), (vec!["without carol".to_owned()], 0));
    alice.sync(&id).await;
    assert_same_state(&id, &[&alice, &bob]);
}

#[tokio::test]
async fn a_removal_that_the_hub_proposed_replaces_the_secret_too() {
    let (hub, mut alice, mut bob, id) = two().await;
    let mut carol = Device::new(&hub, "carol").await;
    alice.add(&id, &mut [&mut carol]).await;
    alice.sync(&id).await;
    enable(&alice, &id).await;
    bob.sync(&id).await;
    hub.propose_removal(&id, &client_id("carol"));
    bob.sync(&id).await;
    let mut tx = bob.session.new_transaction().await.unwrap();
    tx.conversation(&id).await.unwrap().commit_pending_proposals().await.unwrap();
    tx.finish().await.unwrap();
    alice.sync(&id).await;
    assert_eq!(bounds(&bob, &id), [(3, Some(3)), (4, None)]);
    assert_eq!(secrets(&alice, &id), secrets(&bob, &id));
}

#[tokio::test]
async fn members_choose_from_where_a_newcomer_reads() {
    let (hub, mut alice, mut bob, id) = two().await;
    enable(&alice, &id).await;
    alice.send(&id, "first span").await;
    bob.sync(&id).await;
    let mut carol = Device::new(&hub, "carol").await;
    add_sharing(&bob, &id, &mut carol, HistorySharing::Nothing).await;
    alice.sync(&id).await;
    assert_eq!(carol.sync(&id).await.len(), 0);
    assert_eq!(spans(&carol, &id), []);

    bob.sync(&id).await;
    bob.change(&id, vec![], &[client_id("carol")]).await.unwrap();
    bob.sync(&id).await;
    bob.send(&id, "second span").await;
    let mut dave = Device::new(&hub, "dave").await;
    add_sharing(&bob, &id, &mut dave, HistorySharing::Current).await;
    dave.sync(&id).await;
    assert_eq!(bounds(&dave, &id), [(4, None)]);
    assert_eq!(replay(&hub, &id, &spans(&dave, &id)[0].secret).0, ["second span"]);

    let mut erin = Device::new(&hub, "erin").await;
    add_sharing(&bob, &id, &mut erin, HistorySharing::Since(0)).await;
    erin.sync(&id).await;
    assert_eq!(bounds(&erin, &id), [(2, Some(3)), (4, None)]);
    let texts: Vec<_> = spans(&erin, &id).iter().flat_map(|span| replay(&hub, &id, &span.secret).0).collect();
    assert_eq!(texts, ["first span", "second span"]);
    assert_eq!(secrets(&erin, &id), secrets(&bob, &id));
}

#[tokio::test]
async fn who_joined_without_history_can_be_given_it_later() {
    let (hub, mut alice, mut bob, id) = two().await;
    enable(&alice, &id).await;
    bob.sync(&id).await;
    bob.send(&id, "said").await;
    let mut carol = Device::new(&hub, "carol").await;
    carol.join_externally(&id).await.unwrap();
    assert_eq!(spans(&carol, &id), []);
    let mut tx = carol.session.new_transaction().await.unwrap();
    let mut guard = tx.conversation(&id).await.unwrap();
    let none = guard.encrypt_history(HistorySharing::Current);
    assert!(matches!(none, Err(EngineError::HistoryNotHeld { epoch: 3 })));
    drop(tx);
    bob.sync(&id).await;
    let mut tx = bob.session.new_transaction().await.unwrap();
    let messages = tx.conversation(&id).await.unwrap().encrypt_history(HistorySharing::Current).unwrap();
    tx.finish().await.unwrap();
    for message in messages {
        hub.post(&id, message);
    }
    carol.sync(&id).await;
    assert_eq!(replay(&hub, &id, &spans(&carol, &id)[0].secret).0, ["said"]);
    alice.sync(&id).await;
    assert_eq!(secrets(&alice, &id), secrets(&carol, &id));
}

#[tokio::test]
async fn the_application_s_message_goes_along_with_history() {
    let (hub, mut alice, mut bob, id) = two().await;
    enable(&alice, &id).await;
    bob.sync(&id).await;
    let mut carol = Device::new(&hub, "carol").await;
    let package = carol.key_package().await;
    let mut tx = alice.session.new_transaction().await.unwrap();
    let mut guard = tx.conversation(&id).await.unwrap();
    guard.change_members(vec![package], &[], CommitOptions::with_message("welcome, Carol")).await.unwrap();
    drop(tx);
    carol.welcome(&id).await;
    alice.send(&id, "and more").await;
    assert_eq!(carol.read(&id).await, ["welcome, Carol", "and more"]);
    assert_eq!(bob.read(&id).await, ["welcome, Carol", "and more"]);
    assert_eq!(bounds(&carol, &id), [(2, None)]);
    assert_eq!(replay(&hub, &id, &spans(&carol, &id)[0].secret).0, ["welcome, Carol", "and more"]);
}

#[tokio::test]
async fn history_ends_when_it_is_disabled_and_misuse_is_told() {
    let (hub, mut alice, mut bob, id) = two().await;
    let commit = |error: EngineError| assert_eq!(error.kind(), ErrorKind::Misuse, "{error}");
    let mut tx = alice.session.new_transaction().await.unwrap();
    let mut guard = tx.conversation(&id).await.unwrap();
    let refused = guard.disable_history_sharing().await.unwrap_err();
    assert!(matches!(refused, EngineError::HistoryNotEnabled));
    commit(refused);
    guard.enable_history_sharing().await.unwrap();
    let refused = guard.enable_history_sharing().await.unwrap_err();
    assert!(matches!(refused, EngineError::HistoryEnabled));
    commit(refused);
    tx.finish().await.unwrap();
    alice.send(&id, "in").await;
    bob.sync(&id).await;
    let mut tx = bob.session.new_transaction().await.unwrap();
    let mut guard: ConversationGuard<'_> = tx.conversation(&id).await.unwrap();
    guard.disable_history_sharing().await.unwrap();
    assert!(!guard.is_history_enabled().unwrap());
    tx.finish().await.unwrap();
    alice.sync(&id).await;
    alice.send(&id, "out").await;
    bob.sync(&id).await;
    assert_eq!(bounds(&alice, &id), [(2, Some(2))]);
    assert_eq!(bounds(&bob, &id), [(2, Some(2))]);
    let secret = &spans(&bob, &id)[0].secret;
    assert_eq!(replay(&hub, &id, secret), (vec!["in".to_owned()], 2, 1));
    assert_same_state(&id, &[&alice, &bob]);
    // Nothing of a closed span goes to newcomers unless it is asked for.
    let mut carol = Device::new(&hub, "carol").await;
    alice.add(&id, &mut [&mut carol]).await;
    carol.sync(&id).await;
    assert_eq!(spans(&carol, &id), []);
    let mut tx = alice.session.new_transaction().await.unwrap();
    let mut guard = tx.conversation(&id).await.unwrap();
    let dave = Device::new(&hub, "dave").await.key_package().await;
    let options = CommitOptions::default().history(HistorySharing::Since(3));
    let refused = guard.change_members(vec![dave], &[], options).await.unwrap_err();
    assert!(matches!(refused, EngineError::HistoryNotHeld { epoch: 3 }));
}

#[tokio::test]
async fn the_end_of_a_span_is_told_and_its_last_messages_can_come_late() {
    let (hub, mut alice, mut bob, id) = two().await;
    enable(&alice, &id).await;
    bob.sync(&id).await;
    let late = bob.encrypt(&id, "late").await.unwrap();
    let secret = spans(&bob, &id)[0].secret.clone();
    let start = hub.log_len(&id) - 1;
    alice.sync(&id).await;
    let mut tx = alice.session.new_transaction().await.unwrap();
    tx.conversation(&id).await.unwrap().disable_history_sharing().await.unwrap();
    tx.finish().await.unwrap();

    let mut reader = bob.session.open_history(&secret).unwrap();
    let messages = log(&hub, &id);
    let mut ended: Vec<MlsConversationDecryptMessage> = Vec::new();
    for message in &messages[start..] {
        ended.push(reader.process(message).unwrap());
    }
    let ended = ended.pop().unwrap();
    assert!(ended.outcome == Outcome::Commit && !ended.is_active);
    assert_eq!(ended.removed, [secret.client_id().clone()]);
    assert_eq!(reader.last_epoch(), Some(2));
    assert_eq!(text(reader.process(&late).unwrap()).as_deref(), Some("late"));
    assert_eq!(reader.process(&late).unwrap().outcome, Outcome::Duplicate);
    assert_eq!(reader.process(messages.last().unwrap()).unwrap().outcome, Outcome::StaleEpoch);
    let early = reader.process(&messages[0]).unwrap_err();
    assert!(matches!(early, EngineError::BeforeHistory { epoch: 0, first: 2 }));
    alice.send(&id, "after").await;
    let after = reader.process(hub.log_entry(&id, hub.log_len(&id) - 1).unwrap()).unwrap_err();
    assert!(matches!(after, EngineError::HistoryEnded { epoch: 3, last: 2 }));
}

#[tokio::test]
async fn corrupted_messages_and_secrets_are_refused_and_the_reader_goes_on() {
    let (hub, mut alice, bob, id) = two().await;
    enable(&alice, &id).await;
    let secret = spans(&alice, &id)[0].secret.clone();
    alice.send(&id, "one").await;
    alice.update(&id).await.unwrap();
    alice.send(&id, "two").await;
    let messages = log(&hub, &id);
    let mut reader = bob.session.open_history(&secret).unwrap();
    let mut texts = Vec::new();
    for message in messages.iter().filter(|message| reader_takes(&secret, message, &messages)) {
        for position in (0..message.len()).step_by(41) {
            let mut bytes = message.clone();
            bytes[position] ^= 0x04;
            assert!(reader.process(&bytes).is_err(), "byte {position}");
            assert!(reader.process(&message[..position]).is_err());
        }
        texts.extend(text(reader.process(message).unwrap()));
    }
    assert_eq!(texts, ["one", "two"]);
    for position in (0..secret.as_bytes().len()).step_by(97) {
        let mut bytes = secret.as_bytes().to_vec();
        bytes[position] ^= 0x20;
        let refused = HistorySecret::from_bytes(&bytes).unwrap_err();
        assert!(matches!(refused, EngineError::InvalidHistorySecret(_)));
        assert_eq!(refused.kind(), ErrorKind::Peer);
    }
}

/// Whether the message is behind the commit that begins the span.
fn reader_takes(secret: &HistorySecret, message: &[u8], messages: &[Vec<u8>]) -> bool {
    let place = messages.iter().position(|other| other == message).unwrap();
    place as u64 >= secret.first_epoch()
}

#[tokio::test]
async fn the_hub_sees_nothing_of_the_secret() {
    let (hub, mut alice, mut bob, id) = two().await;
    enable(&alice, &id).await;
    bob.sync(&id).await;
    let mut carol = Device::new(&hub, "carol").await;
    alice.add(&id, &mut [&mut carol]).await;
    let secret = spans(&alice, &id)[0].secret.clone();
    let mut seen = log(&hub, &id).concat();
    seen.extend(hub.group_info(&id));
    seen.extend(hub.welcome(&id).0);
    let contains = |part: &[u8]| seen.windows(part.len()).any(|window| window == part);
    // Public in it are the names, the public key, the key package and the Welcome.
    assert!(contains(secret.client_id().as_bytes()));
    let bytes = secret.as_bytes();
    let name = bytes.windows(15).position(|window| window == b"history-client:").unwrap();
    // Behind the name, of 51 bytes: the public key, then the private one, each of 32 bytes and more with its length.
    let public = &bytes[name + 51 + 1..][..32];
    assert!(contains(public));
    let private = &bytes[name + 51 + 1 + 32 + 1..][..32];
    assert_ne!(private, [0; 32]);
    assert!(!contains(private));
    assert!(!contains(&bytes[bytes.len() - 32..]));
    let printed = format!("{secret:?} {:?}", spans(&alice, &id));
    assert!(!printed.contains(&hex::encode(private)));
}

#[tokio::test]
async fn a_secret_survives_a_restart_and_a_lost_answer() {
    let (hub, alice, mut bob, id) = two().await;
    hub.fail_next(Fault::LoseAnswer);
    let mut tx = alice.session.new_transaction().await.unwrap();
    let lost = tx.conversation(&id).await.unwrap().enable_history_sharing().await;
    assert!(matches!(lost, Err(EngineError::CommitOutcomeUnknown { .. })));
    drop(tx);
    assert_eq!(spans(&alice, &id), [], "nobody knows yet whether it counts");
    let mut alice = alice.restarted();
    let heard = Arc::new(Heard::default());
    alice.session.register_history_observer(heard.clone());
    alice.sync(&id).await;
    assert_eq!(*heard.0.lock().unwrap(), [(id.clone(), 2)]);
    bob.sync(&id).await;
    assert_eq!(bounds(&alice, &id), [(2, None)]);
    assert_eq!(secrets(&alice, &id), secrets(&bob, &id));
    let alice = alice.restarted();
    assert_eq!(secrets(&alice, &id), secrets(&bob, &id));

    // A commit that was not taken begins nothing.
    hub.fail_next(Fault::Refuse);
    let mut tx = alice.session.new_transaction().await.unwrap();
    let mut guard = tx.conversation(&id).await.unwrap();
    guard.remove_members(&[client_id("bob")]).await.unwrap_err();
    drop(tx);
    assert_eq!(bounds(&alice, &id), [(2, None)]);
}

#[tokio::test]
async fn observers_hear_of_secrets_when_they_are_on_disk() {
    let (hub, alice, mut bob, id) = two().await;
    let (at_alice, at_bob) = (Arc::new(Heard::default()), Arc::new(Heard::default()));
    alice.session.register_history_observer(at_alice.clone());
    bob.session.register_history_observer(at_bob.clone());
    enable(&alice, &id).await;
    assert_eq!(*at_alice.0.lock().unwrap(), [(id.clone(), 2)]);

    let secret = hub.log_entry(&id, hub.log_len(&id) - 1).unwrap();
    let commit = hub.log_entry(&id, hub.log_len(&id) - 2).unwrap();
    bob.decrypt(&id, &commit).await.unwrap();
    let mut tx = bob.session.new_transaction().await.unwrap();
    let received = tx.conversation(&id).await.unwrap().decrypt_message(&secret).unwrap();
    assert_eq!(received.outcome, Outcome::History);
    tx.abort();
    assert_eq!(*at_bob.0.lock().unwrap(), [], "what is aborted did not happen");
    bob.decrypt(&id, &secret).await.unwrap();
    assert_eq!(*at_bob.0.lock().unwrap(), [(id.clone(), 2)]);
    let again = bob.decrypt(&id, &secret).await.unwrap();
    assert_eq!(again.outcome, Outcome::Duplicate);
    assert_eq!(at_bob.0.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn history_can_be_removed_like_a_member_and_does_not_come_back() {
    let (_hub, mut alice, mut bob, id) = two().await;
    enable(&alice, &id).await;
    bob.sync(&id).await;
    let client: ClientId = spans(&bob, &id)[0].secret.client_id().clone();
    bob.change(&id, vec![], &[client]).await.unwrap();
    alice.sync(&id).await;
    assert!(!alice.session.conversation(&id).unwrap().is_history_enabled().unwrap());
    assert_eq!(bounds(&alice, &id), [(2, Some(2))]);
    assert_eq!(alice.members(&id).len(), 2);
    bob.sync(&id).await;
    assert_same_state(&id, &[&alice, &bob]);
}
