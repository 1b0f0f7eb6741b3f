//! Who is typing: told at the moment to who is there, and kept nowhere.
#![allow(clippy::unwrap_used)]

mod support;

use futures::StreamExt as _;
use serde_json::{Value, json};
use std::time::Duration;
use support::{
    hub::{Answer, Hub, Person, connect, one_to_one},
    pairwise::message_for,
    socket::{Socket, next, open},
};
use tertulia_api::{Code, event::EventBody, pairwise::PairwiseAccepted};
use tertulia_domain::ConversationId;
use tertulia_server::Rate;
use tokio_tungstenite::tungstenite::Message;

async fn types(person: &Person, conversation: ConversationId, status: &str) -> Answer {
    person.post(&format!("/v1/conversations/{conversation}/typing"), &json!({ "status": status })).await
}

/// The next frame, whatever it is.
async fn frame(socket: &mut Socket) -> Value {
    loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) => {}
            other => panic!("not a frame: {other:?}"),
        }
    }
}

/// A socket on which this conversation's joining was told, so that the hub is listening for it.
async fn listening(person: &Person, conversation: ConversationId) -> Socket {
    let mut socket = open(person, "").await;
    loop {
        match next(&mut socket).await.body {
            EventBody::ConversationJoined { entry } if entry.conversation == conversation => return socket,
            _ => {}
        }
    }
}

fn notice(conversation: ConversationId, user: &Person, status: &str) -> Value {
    json!({ "type": "conversation.typing", "conversation": conversation, "user": user.user, "status": status })
}

/// Alice, Bob and Carol in a pairwise group of Alice's.
async fn three(hub: &Hub) -> ([Person; 3], ConversationId) {
    let alice = Person::sign_up(hub, "alice").await;
    let bob = Person::sign_up(hub, "bob").await;
    let carol = Person::sign_up(hub, "carol").await;
    connect(&alice, &bob).await;
    connect(&alice, &carol).await;
    for device in [&alice, &bob, &carol] {
        device.publish_pairwise(&[1, 2, 3]).await;
    }
    let group = alice.pairwise_group(&[&bob, &carol]).await;
    ([alice, bob, carol], group)
}

#[tokio::test]
async fn the_others_who_are_connected_are_told_and_nothing_is_stored() {
    let hub = Hub::start().await;
    let ([alice, bob, carol], group) = three(&hub).await;
    let mut at_bob = listening(&bob, group).await;
    let mut at_alice = open(&alice, "").await;
    let rows = hub.rows();
    types(&alice, group, "started").await.empty();
    types(&alice, group, "stopped").await.empty();
    types(&bob, group, "started").await.empty();
    assert_eq!(hub.rows(), rows);
    // What Bob has not read of the log comes between; who types is told nothing of it.
    let mut heard = Vec::new();
    while heard.len() < 2 {
        let frame = frame(&mut at_bob).await;
        if frame["type"] == "conversation.typing" {
            assert!(frame.get("cursor").is_none(), "there is nothing to be acknowledged");
            heard.push(frame);
        }
    }
    assert_eq!(heard, [notice(group, &alice, "started"), notice(group, &alice, "stopped")]);

    // Who comes later hears of messages, and nothing of who was typing before.
    let message = message_for(&[alice.address(), bob.address()]);
    carol.send_pairwise(group, &message).await.done::<PairwiseAccepted>();
    let mut late = open(&carol, "").await;
    for socket in [&mut late, &mut at_alice] {
        loop {
            let frame = frame(socket).await;
            assert_ne!((&frame["type"], &frame["user"]), (&json!("conversation.typing"), &json!(alice.user)));
            if frame["type"] == "conversation.pairwise" {
                break;
            }
        }
    }
    for member in [&alice, &bob, &carol] {
        let stored = serde_json::to_string(&member.events().await).unwrap();
        assert!(!stored.contains("typing"));
    }
}

#[tokio::test]
async fn only_members_type_and_where_they_may_send() {
    let hub = Hub::start().await;
    let ([alice, bob, _], group) = three(&hub).await;
    let dave = Person::sign_up(&hub, "dave").await;
    types(&dave, group, "started").await.refused(Code::NoConversation);
    types(&alice, ConversationId::random(), "started").await.refused(Code::NoConversation);
    let asked = dave.connect(&alice).await;
    types(&dave, asked, "started").await.refused(Code::NotConnected);
    let own = ConversationId::self_of(alice.user);
    alice.conversation(own).await;
    types(&alice, own, "started").await.refused(Code::InvalidOperation);
    types(&alice, group, "dancing").await.refused(Code::BadRequest);
    // It takes no right but to be in it.
    types(&bob, group, "started").await.empty();
}

#[tokio::test]
async fn who_is_blocked_gets_the_same_answer_and_who_blocks_hears_nothing() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (direct, _, _) = one_to_one(&alice, &bob).await;
    let mut at_bob = listening(&bob, direct).await;
    let heard = types(&alice, direct, "started").await;
    while frame(&mut at_bob).await != notice(direct, &alice, "started") {}

    bob.set_connection(&alice, "blocked").await.done::<Value>();
    let unheard = types(&alice, direct, "started").await;
    assert_eq!((heard.status, heard.body), (unheard.status, unheard.body));
    types(&bob, direct, "started").await.refused(Code::NoConversation);
    // The next that Bob hears of is something else.
    Person::sign_up(&hub, "carol").await.connect(&bob).await;
    loop {
        let frame = frame(&mut at_bob).await;
        assert_ne!(frame["type"], "conversation.typing");
        if frame["connection"]["handle"] == "carol" {
            break;
        }
    }
}

#[tokio::test]
async fn one_types_only_so_often() {
    let hub = Hub::start_with(tempfile::tempdir().unwrap(), |config| {
        config.limits.typing = Rate { burst: 2, period: Duration::from_hours(1) };
    })
    .await;
    let ([alice, bob, _], group) = three(&hub).await;
    for _ in 0..2 {
        types(&alice, group, "started").await.empty();
    }
    types(&alice, group, "started").await.refused(Code::RateLimited);
    types(&bob, group, "started").await.empty();
}
