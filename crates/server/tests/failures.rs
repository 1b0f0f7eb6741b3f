//! A hub that cannot do as it should: what clients are told, and that it goes on.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::json;
use support::{
    database::on_postgres,
    hub::{Hub, PASSWORD, Person, connect},
    mls::encrypt,
    open::Client,
};
use tertulia_api::{
    Code,
    conversation::{Conversation, MessageAccepted},
    event::EventBody,
};

#[tokio::test]
async fn a_full_hub_stores_nothing_and_still_answers_what_is_there() {
    if on_postgres() {
        return; // a server's disk is not ours to bound
    }
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    connect(&alice, &bob).await;
    let (group, mut at_alice) = alice.new_group().await;
    alice.add(group, &mut at_alice, &[bob.user]).await;

    // As large as it is, and not larger.
    let dir = hub.stop().await;
    let full = Hub::start_with(dir, |config| config.limits.database_bytes = Some(4096)).await;
    let alice = Person { base: full.base.clone(), ..alice };
    let mut last = None;
    let before = loop {
        // Pages that are in use may have room left.
        let before = full.rows();
        let answer = alice.send(group, encrypt(&mut at_alice, &"x".repeat(10_000))).await;
        if !answer.status.is_success() {
            answer.refused(Code::StorageFull);
            assert_eq!(Client::new(&full).get("/healthz").await.bytes(), b"storage-full\n");
            break before;
        }
        last = Some(answer.done::<MessageAccepted>().sequence);
    };
    assert_eq!(full.rows(), before);
    let bob = Person { base: full.base.clone(), ..bob };
    let told = bob.events().await;
    let mut messages = told.iter().filter_map(|event| match &event.body {
        EventBody::Message { entry, .. } => Some(entry.sequence),
        _ => None,
    });
    assert_eq!(messages.next_back(), last, "what was accepted is delivered");

    // With room again, the same request succeeds.
    let roomy = Hub::start_in(full.stop().await).await;
    let alice = Person { base: roomy.base.clone(), ..alice };
    let _: MessageAccepted = alice.send(group, encrypt(&mut at_alice, "room again")).await.done();
    assert_eq!(Client::new(&roomy).get("/healthz").await.bytes(), b"ok\n");
}

#[tokio::test]
async fn while_another_process_holds_the_database_the_hub_is_unavailable_and_then_goes_on() {
    let hub = Hub::start().await;
    let client = Client::new(&hub);
    let bob = json!({ "handle": "bob", "password": PASSWORD });
    let other = hub.stored().hold();
    client.post("/v1/accounts", &bob).await.refused(Code::Unavailable);
    drop(other);
    assert!(client.post("/v1/accounts", &bob).await.status.is_success());
}

#[tokio::test]
async fn a_damaged_row_fails_its_own_requests_and_no_others() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    connect(&alice, &bob).await;
    let (damaged, _) = alice.new_group().await;
    let (sound, mut at_alice) = alice.new_group().await;
    hub.change("UPDATE members SET role = 'No Role' WHERE conversation = ?1", [damaged.as_bytes()]);
    let problem = alice.get(&format!("/v1/conversations/{damaged}")).await.refused(Code::Internal);
    assert!(!problem.detail.contains("No Role"), "what is inside is not told");
    let _: Conversation = alice.get(&format!("/v1/conversations/{sound}")).await.done();
    alice.add(sound, &mut at_alice, &[bob.user]).await;
}
