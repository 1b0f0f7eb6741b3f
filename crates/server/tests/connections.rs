//! Connections over the API. Which change is allowed when is tested in `tertulia-domain`, over every case.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::hub::{Hub, Person, connect, types};
use tertulia_api::{
    Code,
    connection::{Connection, Connections},
    conversation::{Conversation, Conversations},
};
use tertulia_domain::{ConversationId, ConversationType, Domain, UserId, connection::Status};

async fn ask(from: &Person, to: &Person) -> Connection {
    from.post("/v1/connections", &json!({ "handle": to.handle })).await.done()
}

async fn set(from: &Person, to: &Person, status: &str) -> Connection {
    from.set_connection(to, status).await.done()
}

async fn statuses(of: &Person) -> Vec<(String, Status)> {
    let all: Connections = of.get("/v1/connections").await.done();
    all.connections.into_iter().map(|connection| (connection.handle, connection.status)).collect()
}

async fn conversations(of: &Person) -> Vec<Conversation> {
    of.get("/v1/conversations").await.done::<Conversations>().conversations
}

#[tokio::test]
async fn a_request_is_sent_and_accepted() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let sent = ask(&alice, &bob).await;
    let domain = Domain::localhost();
    let one_to_one = ConversationId::one_to_one((&alice.user, &domain), (&bob.user, &domain)).id;
    assert_eq!((sent.user, sent.status, sent.conversation), (bob.user, Status::Sent, one_to_one));
    assert_eq!(statuses(&bob).await, [("alice".to_owned(), Status::Pending)]);

    let [pending] = conversations(&alice).await.try_into().unwrap();
    assert_eq!((pending.conversation, pending.kind), (one_to_one, ConversationType::Connection));
    assert_eq!(pending.members.iter().map(|member| member.user).collect::<Vec<_>>(), [alice.user]);
    assert!(conversations(&bob).await.is_empty());

    assert_eq!(set(&bob, &alice, "accepted").await.status, Status::Accepted);
    assert_eq!(statuses(&alice).await, [("bob".to_owned(), Status::Accepted)]);
    for person in [&alice, &bob] {
        let [open] = conversations(person).await.try_into().unwrap();
        assert_eq!(
            (open.conversation, open.kind, open.members.len()),
            (one_to_one, ConversationType::OneToOne, 2)
        );
    }
    assert_eq!(
        types(&alice.events().await),
        ["connection.updated", "conversation.joined", "connection.updated"]
    );
    assert_eq!(
        types(&bob.events().await),
        ["connection.updated", "connection.updated", "conversation.joined"]
    );
}

#[tokio::test]
async fn crossing_requests_connect_whichever_comes_first() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (one, other) = tokio::join!(ask(&alice, &bob), ask(&bob, &alice));
    assert_eq!(one.conversation, other.conversation);
    for person in [&alice, &bob] {
        assert_eq!(statuses(person).await[0].1, Status::Accepted);
    }
    assert_eq!(hub.rows()["connections"], 2);
}

#[tokio::test]
async fn a_request_that_is_cancelled_ends_its_conversation() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    ask(&alice, &bob).await;
    set(&alice, &bob, "cancelled").await;
    assert!(conversations(&alice).await.is_empty());
    assert_eq!(statuses(&bob).await[0].1, Status::Cancelled);
    bob.set_connection(&alice, "accepted").await.refused(Code::BadConnectionUpdate);
    ask(&alice, &bob).await;
    assert_eq!(conversations(&alice).await[0].kind, ConversationType::Connection);
}

/// What somebody can find out: all answers and events, with times and cursors left out.
async fn everything_seen(person: &Person, other: &Person) -> Vec<Value> {
    let mut seen: Vec<Value> =
        person.events().await.iter().map(|event| serde_json::to_value(event).unwrap()).collect();
    for path in ["/v1/self", "/v1/connections", "/v1/conversations", &format!("/v1/users/{}", other.user)] {
        seen.push(person.get(path).await.done());
    }
    for status in ["accepted", "ignored", "sent"] {
        let answer = person.set_connection(other, status).await;
        seen.push(serde_json::from_slice(&answer.body).unwrap());
    }
    seen.push(serde_json::to_value(ask(person, other).await).unwrap());
    seen.iter_mut().for_each(forget_times_and_names);
    seen
}

fn forget_times_and_names(value: &mut Value) {
    const FORGOTTEN: [&str; 11] = [
        "cursor",
        "sent_at",
        "updated_at",
        "created_at",
        "user",
        "device",
        "conversation",
        "handle",
        "group_id",
        "sequence",
        "detail",
    ];
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !FORGOTTEN.contains(&name.as_str()));
            fields.values_mut().for_each(forget_times_and_names);
        }
        Value::Array(values) => values.iter_mut().for_each(forget_times_and_names),
        _ => {}
    }
}

#[tokio::test]
async fn who_is_blocked_sees_what_who_is_not_answered_sees() {
    let hub = Hub::start().await;
    let mut seen = Vec::new();
    for (n, reaction) in [None, Some("ignored"), Some("blocked")].into_iter().enumerate() {
        let alice = Person::sign_up(&hub, &format!("alice{n}")).await;
        let bob = Person::sign_up(&hub, &format!("bob{n}")).await;
        ask(&alice, &bob).await;
        if let Some(status) = reaction {
            set(&bob, &alice, status).await;
        }
        ask(&alice, &bob).await;
        seen.push(everything_seen(&alice, &bob).await);
    }
    assert_eq!(seen[0], seen[1], "ignoring shows");
    assert_eq!(seen[0], seen[2], "blocking shows");
}

#[tokio::test]
async fn who_blocks_leaves_the_one_to_one_and_comes_back_by_unblocking() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let one_to_one = connect(&alice, &bob).await;
    let seen_by_alice = conversations(&alice).await;
    let events_of_alice = alice.events().await;

    set(&bob, &alice, "blocked").await;
    assert!(conversations(&bob).await.is_empty());
    bob.get(&format!("/v1/conversations/{one_to_one}")).await.refused(Code::NoConversation);
    bob.post("/v1/connections", &json!({ "handle": "alice" })).await.refused(Code::BadConnectionUpdate);
    assert_eq!(conversations(&alice).await, seen_by_alice);
    assert_eq!(alice.events().await, events_of_alice);

    assert_eq!(set(&bob, &alice, "accepted").await.status, Status::Accepted);
    assert_eq!(conversations(&bob).await, seen_by_alice);
    assert_eq!(alice.events().await, events_of_alice);
    let last_two = types(&bob.events().await).split_off(4);
    assert_eq!(last_two, ["connection.updated", "conversation.joined"]);
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_stores_nothing() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let before = hub.rows();
    for (handle, code) in
        [("alice", Code::InvalidUser), ("nobody", Code::InvalidUser), ("no body", Code::InvalidHandle)]
    {
        alice.post("/v1/connections", &json!({ "handle": handle })).await.refused(code);
    }
    alice.set_connection(&bob, "accepted").await.refused(Code::NotConnected);
    alice.set_connection(&bob, "friends").await.refused(Code::BadRequest);
    let stranger = format!("/v1/connections/{}", UserId::random());
    alice.put(&stranger, &json!({ "status": "blocked" })).await.refused(Code::NotConnected);
    assert_eq!(hub.rows(), before);
}

#[tokio::test]
async fn open_requests_are_limited_and_incoming_ones_are_not_counted() {
    let hub = Hub::start_with(tempfile::tempdir().unwrap(), |config| {
        config.limits.connections_per_user = 2;
    })
    .await;
    let mut people = Vec::new();
    for handle in ["alice", "bob", "carol", "dave", "eve"] {
        people.push(Person::sign_up(&hub, handle).await);
    }
    let [alice, bob, carol, dave, eve] = people.as_slice() else { unreachable!("five have signed up") };
    ask(eve, alice).await;
    ask(alice, bob).await;
    ask(alice, carol).await;
    let before = hub.rows();
    alice.post("/v1/connections", &json!({ "handle": dave.handle })).await.refused(Code::ConnectionLimit);
    alice.set_connection(eve, "accepted").await.refused(Code::ConnectionLimit);
    assert_eq!(hub.rows(), before);
    set(alice, bob, "cancelled").await;
    assert_eq!(set(alice, eve, "accepted").await.status, Status::Accepted);
}
