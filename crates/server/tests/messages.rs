//! Application messages through a real hub.
#![allow(clippy::unwrap_used)]

mod support;

use reqwest::Method;
use support::{
    hub::{Hub, Person, connect, one_to_one, types},
    mls::{commit, decrypt, encrypt, leaf_of},
};
use tertulia_api::{Code, conversation::MessageAccepted, event::EventBody};
use tertulia_domain::ConversationId;

#[tokio::test]
async fn two_people_read_what_they_write_to_each_other() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (conversation, mut at_alice, mut at_bob) = one_to_one(&alice, &bob).await;

    let first = alice.sent(conversation, encrypt(&mut at_alice, "hello bob")).await;
    let second = bob.sent(conversation, encrypt(&mut at_bob, "hello alice")).await;
    assert!(second.sequence > first.sequence);

    let mut texts = Vec::new();
    for event in bob.events().await {
        if let EventBody::Message { entry, message } = event.body
            && entry.sender.unwrap().user == alice.user
        {
            assert_eq!((entry.sequence, entry.sent_at), (first.sequence, first.sent_at));
            texts.push(decrypt(&mut at_bob, &message.0));
        }
    }
    assert_eq!(texts, ["hello bob"]);
}

#[tokio::test]
async fn a_message_that_is_sent_twice_is_stored_once() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (conversation, mut at_alice, _) = one_to_one(&alice, &bob).await;
    let message = encrypt(&mut at_alice, "once");
    let first = alice.sent(conversation, message.clone()).await;
    let rows = hub.rows();

    // Also long after: the epoch that the message was sent in has passed.
    for _ in 0..4 {
        let bundle = commit(&mut at_alice, &[], &[]);
        alice.committed(conversation, &mut at_alice, &bundle).await;
    }
    let again: MessageAccepted = alice.send(conversation, message).await.done();
    assert_eq!(first, again);
    assert_eq!(hub.rows()["log"], rows["log"] + 4);
}

#[tokio::test]
async fn nobody_sends_before_the_request_is_accepted() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let conversation = alice.connect(&bob).await;
    let mut group = alice.mls.create_group(conversation.as_bytes(), &alice.hub_key);
    let bundle = commit(&mut group, &[], &[]);
    group.apply_pending_commit().unwrap();
    let message = encrypt(&mut group, "too early");
    alice.send(conversation, message.clone()).await.refused(Code::NotConnected);
    alice.commit(conversation, &bundle).await.refused(Code::NotConnected);
    // To bob, who is asked, the conversation is not there yet.
    bob.send(conversation, message).await.refused(Code::NoConversation);
    assert_eq!(hub.rows()["log"], 0);
}

#[tokio::test]
async fn a_conversation_one_is_not_in_is_like_one_that_is_not_there() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let eve = Person::sign_up(&hub, "eve").await;
    let (conversation, mut at_alice, _) = one_to_one(&alice, &bob).await;
    let message = encrypt(&mut at_alice, "not for eve");
    let rows = hub.rows();
    for id in [conversation, ConversationId::random()] {
        let path = format!("/v1/conversations/{id}");
        eve.send(id, message.clone()).await.refused(Code::NoConversation);
        eve.mls(Method::PUT, &format!("{path}/name"), message.clone()).await.refused(Code::NoConversation);
        eve.get(&path).await.refused(Code::NoConversation);
        eve.get(&format!("{path}/group-info")).await.refused(Code::NoConversation);
        let bundle = commit(&mut at_alice, &[], &[]);
        at_alice.clear_pending_commit();
        eve.commit(id, &bundle).await.refused(Code::NoConversation);
        let leave = serde_json::json!({});
        eve.post(&format!("{path}/leave"), &leave).await.refused(Code::NoConversation);
    }
    assert_eq!(hub.rows(), rows);
}

#[tokio::test]
async fn messages_of_the_last_two_epochs_are_taken_and_no_others() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (conversation, mut at_alice, mut at_bob) = one_to_one(&alice, &bob).await;
    let late: Vec<_> = (0..2).map(|n| encrypt(&mut at_bob, &format!("of epoch 1, number {n}"))).collect();
    for _ in 0..2 {
        let bundle = commit(&mut at_alice, &[], &[]);
        alice.committed(conversation, &mut at_alice, &bundle).await;
    }
    bob.sent(conversation, late[0].clone()).await;

    let bundle = commit(&mut at_alice, &[], &[]);
    at_alice.apply_pending_commit().unwrap();
    let early = encrypt(&mut at_alice, "of an epoch that the hub has not seen");
    let problem = alice.send(conversation, early.clone()).await.refused(Code::StaleEpoch);
    assert_eq!(problem.current_epoch, Some(3));
    alice.commit(conversation, &bundle).await.done::<tertulia_api::conversation::CommitAccepted>();
    alice.sent(conversation, early).await;
    let problem = bob.send(conversation, late[1].clone()).await.refused(Code::StaleEpoch);
    assert_eq!(problem.current_epoch, Some(4));
}

#[tokio::test]
async fn of_who_comes_again_nothing_is_taken_that_they_encrypted_before() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    connect(&alice, &bob).await;
    let (conversation, mut at_alice) = alice.new_group().await;
    let bundle = alice.add(conversation, &mut at_alice, &[bob.user]).await;
    let mut at_bob = bob.mls.join(&bundle.welcome.unwrap().to_bytes().unwrap());
    let late: Vec<_> = (0..2).map(|n| encrypt(&mut at_bob, &format!("of before, number {n}"))).collect();
    let of_alice = encrypt(&mut at_alice, "of before, by who was there all along");

    let bobs_leaf = leaf_of(&at_alice, &bob.mls);
    let bundle = commit(&mut at_alice, &[], &[bobs_leaf]);
    alice.committed(conversation, &mut at_alice, &bundle).await;
    bob.send(conversation, late[0].clone()).await.refused(Code::NoConversation);
    let bundle = alice.add(conversation, &mut at_alice, &[bob.user]).await;
    let problem = bob.send(conversation, late[1].clone()).await.refused(Code::StaleEpoch);
    assert_eq!(problem.current_epoch, Some(3));
    alice.sent(conversation, of_alice).await;
    // With the keys that he has now he is heard, also when the others have moved on.
    let mut at_bob = bob.mls.join(&bundle.welcome.unwrap().to_bytes().unwrap());
    let anew = encrypt(&mut at_bob, "anew");
    let bundle = commit(&mut at_alice, &[], &[]);
    alice.committed(conversation, &mut at_alice, &bundle).await;
    let sent = bob.sent(conversation, anew).await;
    let heard = alice.events().await.into_iter().find_map(|event| match event.body {
        EventBody::Message { entry, message } if entry.sequence == sent.sequence => Some(message.0),
        _ => None,
    });
    assert_eq!(decrypt(&mut at_alice, &heard.unwrap()), "anew");
}

#[tokio::test]
async fn a_device_that_is_not_in_the_group_cannot_send_into_it() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (conversation, mut at_alice, _) = one_to_one(&alice, &bob).await;
    let laptop = Person::log_in(&hub, "alice").await;
    let message = encrypt(&mut at_alice, "from elsewhere");
    laptop.send(conversation, message).await.refused(Code::StaleEpoch);
}

#[tokio::test]
async fn what_is_not_a_message_is_refused_and_leaves_nothing_behind() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (conversation, mut at_alice, _) = one_to_one(&alice, &bob).await;
    let other = connect(&alice, &Person::sign_up(&hub, "carol").await).await;
    let good = encrypt(&mut at_alice, "good");
    let bundle = commit(&mut at_alice, &[], &[]).body();
    at_alice.clear_pending_commit();
    let rows = hub.rows();

    let twice = [good.clone(), good.clone()].concat();
    for wrong in [&[][..], &good[..good.len() - 1], &good[1..], &twice, &bundle, b"hello"] {
        alice.send(conversation, wrong.to_vec()).await.refused(Code::MalformedMls);
    }
    alice.send(other, good.clone()).await.refused(Code::MalformedMls);
    let path = format!("/v1/conversations/{conversation}/messages");
    for media_type in ["application/json", "text/plain", "message", ""] {
        let answer = alice.mls_as(Method::POST, &path, good.clone(), media_type).await;
        answer.refused(Code::UnsupportedMediaType);
    }
    alice.send(conversation, vec![0; 256 * 1024 + 1]).await.refused(Code::PayloadTooLarge);
    alice
        .mls(Method::POST, "/v1/conversations/not-an-id/messages", good.clone())
        .await
        .refused(Code::BadRequest);
    assert_eq!(hub.rows(), rows);

    let answer = alice.mls_as(Method::POST, &path, good, "Message/MLS; charset=binary").await;
    answer.done::<MessageAccepted>();
}

#[tokio::test]
async fn who_is_blocked_cannot_tell() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (conversation, _, mut at_bob) = one_to_one(&alice, &bob).await;
    let before = bob.conversation(conversation).await;
    let seen = alice.events().await.len();

    alice.set_connection(&bob, "blocked").await.done::<tertulia_api::connection::Connection>();
    bob.sent(conversation, encrypt(&mut at_bob, "are you there?")).await;
    let bundle = commit(&mut at_bob, &[], &[]);
    bob.committed(conversation, &mut at_bob, &bundle).await;
    let after = bob.conversation(conversation).await;
    assert_eq!(after.members, before.members);
    assert_eq!(after.kind, before.kind);

    // Alice has left, silently, and gets nothing of it.
    let events = alice.events().await;
    assert_eq!(types(&events[seen..]), ["connection.updated"]);
    alice.get(&format!("/v1/conversations/{conversation}")).await.refused(Code::NoConversation);

    // Unblocking puts her back from there on.
    alice.set_connection(&bob, "accepted").await.done::<tertulia_api::connection::Connection>();
    let sent = bob.sent(conversation, encrypt(&mut at_bob, "welcome back")).await;
    let events = alice.events().await;
    let mut later = types(&events[seen + 1..]);
    later.sort();
    assert_eq!(later, ["connection.updated", "conversation.joined", "conversation.message"]);
    assert!(
        events.iter().any(|event| event.body.entry().is_some_and(|entry| entry.sequence == sent.sequence))
    );
    let bobs: Vec<_> = bob.events().await;
    let own = types(&bobs).iter().filter(|name| name.as_str() == "connection.updated").count();
    assert_eq!(own, 2, "bob's side changed when he was asked and when he accepted, and not since");
}

#[tokio::test]
async fn a_name_is_announced_by_who_may_rename() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (one, mut in_one, _) = one_to_one(&alice, &bob).await;
    let (conversation, mut at_alice) = alice.new_group().await;
    let bundle = alice.add(conversation, &mut at_alice, &[bob.user]).await;
    let mut at_bob = bob.mls.join(&bundle.welcome.unwrap().to_bytes().unwrap());

    let path = format!("/v1/conversations/{conversation}/name");
    let name = encrypt(&mut at_alice, "Tertulia de los jueves");
    alice.mls(Method::PUT, &path, name.clone()).await.done::<MessageAccepted>();
    let events = bob.events().await;
    let last = events.last().unwrap();
    let EventBody::Name { message, .. } = &last.body else { panic!("not a name: {last:?}") };
    assert_eq!(decrypt(&mut at_bob, &message.0), "Tertulia de los jueves");

    let answer = bob.mls(Method::PUT, &path, encrypt(&mut at_bob, "Coup")).await;
    answer.refused(Code::ActionDenied);
    let path = format!("/v1/conversations/{one}/name");
    let problem = alice.mls(Method::PUT, &path, encrypt(&mut in_one, "Us")).await;
    assert!(["action-denied", "invalid-operation"].contains(&problem_code(&problem.body).as_str()));
}

fn problem_code(body: &[u8]) -> String {
    serde_json::from_slice::<tertulia_api::Problem>(body).unwrap().code
}
