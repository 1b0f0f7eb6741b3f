//! Sessions: their tokens are exchanged without losing anybody, become too old, and end when their user says so.
#![allow(clippy::unwrap_used)]

mod support;

use futures::StreamExt as _;
use reqwest::{Method, StatusCode};
use serde_json::json;
use support::{
    hub::{Hub, Person, one_to_one},
    mls::encrypt,
    open::Client,
    socket::{closed, open},
};
use tertulia_api::{
    Code,
    account::{Me, NewToken, OpenSessions, SessionsEnded},
};

async fn new_token(client: &Client) -> Client {
    let answer = client.post("/v1/sessions/current/token", &json!(null)).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    client.with_token(&answer.done::<NewToken>().token)
}

fn client(hub: &Hub, person: &Person) -> Client {
    Client::new(hub).with_token(&person.token)
}

#[tokio::test]
async fn a_token_is_good_until_the_one_that_follows_it_is_first_used() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let first = client(&hub, &alice);
    let mut socket = open(&alice, "").await;
    // Two answers are lost.
    let lost = new_token(&first).await;
    let lost_too = new_token(&first).await;
    let second = new_token(&first).await;
    first.get("/v1/self").await.done::<Me>();
    for void in [&lost, &lost_too] {
        void.get("/v1/self").await.refused(Code::Unauthenticated);
    }
    // The first use of the last one ends those before, and what is open with them.
    assert_eq!(second.get("/v1/self").await.done::<Me>().device, Some(alice.mls.device));
    first.get("/v1/self").await.refused(Code::Unauthenticated);
    first.post("/v1/sessions/current/token", &json!(null)).await.refused(Code::Unauthenticated);
    closed(&mut socket).await;
    assert!(socket.next().await.is_none_or(|end| end.is_err()));
    let sessions: OpenSessions = second.get("/v1/sessions").await.done();
    assert_eq!(sessions.sessions.len(), 1);
    // A token that was never used is void with its session.
    let third = new_token(&second).await;
    second.send(Method::DELETE, "/v1/sessions/current").await.empty();
    third.get("/v1/self").await.refused(Code::Unauthenticated);
}

#[tokio::test]
async fn a_token_that_is_too_old_is_good_for_being_exchanged_alone() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let old = client(&hub, &alice);
    let day = 24 * 60 * 60 * 1000_i64;
    hub.change("UPDATE sessions SET created_at = created_at - ?1", [91 * day]);
    for path in ["/v1/self", "/v1/events", "/v1/sessions", "/v1/devices"] {
        old.get(path).await.refused(Code::TokenExpired);
    }
    let new = new_token(&old).await;
    new.get("/v1/self").await.done::<Me>();
    // It is as old as its first use.
    hub.change("UPDATE sessions SET token_at = token_at - ?1", [89 * day]);
    new.get("/v1/self").await.done::<Me>();
    hub.change("UPDATE sessions SET token_at = token_at - ?1", [2 * day]);
    new.get("/v1/self").await.refused(Code::TokenExpired);
}

#[tokio::test]
async fn a_session_that_was_just_used_sends_and_reads_nothing_once_its_token_is_void_or_it_has_ended() {
    let hub = Hub::start().await;
    let (mut alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (conversation, mut at_alice, mut at_bob) = one_to_one(&alice, &bob).await;
    let mut say = |text: &str| encrypt(&mut at_alice, text);
    alice.sent(conversation, say("with the first token")).await;
    alice.events().await;

    // The new token is first used for a message, and the old one is void in the same moment.
    let old = alice.token.clone();
    let answer = alice.post("/v1/sessions/current/token", &json!(null)).await;
    let new = answer.done::<NewToken>().token;
    alice.sent(conversation, say("still with the first")).await;
    alice.token.clone_from(&new);
    alice.sent(conversation, say("with the second")).await;
    alice.token = old;
    alice.send(conversation, say("void")).await.refused(Code::Unauthenticated);
    alice.get("/v1/events").await.refused(Code::Unauthenticated);

    // It ends behind the hub's back, as another node of it may end it.
    alice.token = new;
    alice.sent(conversation, say("with the second still")).await;
    bob.sent(conversation, encrypt(&mut at_bob, "so far")).await;
    let stored = hub.rows()["log"];
    hub.change("DELETE FROM sessions WHERE created_at < ?1", [i64::MAX]);
    for person in [&alice, &bob] {
        person.get("/v1/events").await.refused(Code::Unauthenticated);
    }
    alice.send(conversation, say("over")).await.refused(Code::Unauthenticated);
    bob.send(conversation, encrypt(&mut at_bob, "over too")).await.refused(Code::Unauthenticated);
    assert_eq!(hub.rows()["log"], stored);
}

#[tokio::test]
async fn one_sees_and_ends_ones_own_sessions_and_nobody_elses() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (phone, tablet) = (Person::log_in(&hub, "alice").await, Person::log_in(&hub, "alice").await);
    let bob = Person::sign_up(&hub, "bob").await;
    let listed: OpenSessions = alice.get("/v1/sessions").await.done();
    let devices: Vec<_> = listed.sessions.iter().map(|session| (session.device, session.current)).collect();
    let of = |person: &Person, current| (Some(person.mls.device), current);
    assert!(
        [of(&alice, true), of(&phone, false), of(&tablet, false)].iter().all(|one| devices.contains(one))
    );
    assert_eq!(devices.len(), 3);
    let name = |person: &Person| {
        listed.sessions.iter().find(|one| one.device == Some(person.mls.device)).unwrap().session.clone()
    };

    bob.delete(&format!("/v1/sessions/{}", name(&phone))).await.refused(Code::NotFound);
    alice.delete("/v1/sessions/ffff").await.refused(Code::NotFound);
    phone.get("/v1/self").await.done::<Me>();
    let mut socket = open(&phone, "").await;
    alice.delete(&format!("/v1/sessions/{}", name(&phone))).await.empty();
    phone.get("/v1/self").await.refused(Code::Unauthenticated);
    closed(&mut socket).await;
    tablet.get("/v1/self").await.done::<Me>();
    assert_eq!(alice.delete("/v1/sessions").await.done::<SessionsEnded>().ended, 1);
    tablet.get("/v1/self").await.refused(Code::Unauthenticated);
    alice.get("/v1/self").await.done::<Me>();
    assert_eq!(bob.delete("/v1/sessions").await.done::<SessionsEnded>().ended, 0);
}

#[tokio::test]
async fn a_removed_device_is_told_so_with_whichever_token_it_comes() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let phone = Person::log_in(&hub, "alice").await;
    let (first, second) = {
        let first = client(&hub, &phone);
        let second = new_token(&first).await;
        (first, second)
    };
    let proof = json!({ "password": support::hub::PASSWORD });
    alice.post(&format!("/v1/devices/{}/remove", phone.mls.device), &proof).await.empty();
    first.get("/v1/self").await.refused(Code::DeviceRemoved);
    second.get("/v1/self").await.refused(Code::DeviceRemoved);
}
