//! Devices that are removed, and sessions that end, through a real hub.
#![allow(clippy::unwrap_used)]

mod support;

use reqwest::StatusCode;
use serde_json::{Value, json};
use std::time::Duration;
use support::{
    hub::{Answer, Hub, PASSWORD, Person, connect, one_to_one, types},
    mls::{self, commit, encrypt, leaf_of},
    open::Client,
    socket::{closed, open, try_open},
};
use tertulia_api::{
    Base64, Code,
    account::{KeyPackageUpload, Me, NewDevice, Session},
    event::{Event, EventBody, EventPage},
};
use tertulia_domain::{ConversationId, DeviceId};
use tertulia_server::Rate;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

async fn remove_as(person: &Person, device: DeviceId, password: &str) -> Answer {
    person.post(&format!("/v1/devices/{device}/remove"), &json!({ "password": password })).await
}

async fn remove(person: &Person, device: &Person) {
    remove_as(person, device.mls.device, PASSWORD).await.empty();
}

/// What the hub proposed last in this conversation.
fn last_proposal(events: &[Event], conversation: ConversationId) -> Vec<u8> {
    let proposal = events.iter().rev().find_map(|event| match &event.body {
        EventBody::Proposal { entry, proposal } if entry.conversation == conversation => {
            Some(proposal.0.clone())
        }
        _ => None,
    });
    proposal.expect("the hub proposed something")
}

#[tokio::test]
async fn a_device_is_removed_with_the_password_only() {
    let hub = Hub::start().await;
    let (laptop, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let phone = Person::log_in(&hub, "alice").await;
    let before = hub.rows();
    remove_as(&laptop, phone.mls.device, "not her password").await.refused(Code::InvalidCredentials);
    remove_as(&laptop, bob.mls.device, PASSWORD).await.refused(Code::NotFound);
    remove_as(&laptop, DeviceId::random(), PASSWORD).await.refused(Code::NotFound);
    assert_eq!(hub.rows(), before);

    remove(&laptop, &phone).await;
    let listed: Value = laptop.get("/v1/devices").await.done();
    assert_eq!(listed["devices"].as_array().unwrap().len(), 1);
    assert_eq!(types(&laptop.events().await), ["device.added", "device.removed"]);
    remove_as(&laptop, phone.mls.device, PASSWORD).await.refused(Code::NotFound);
}

#[tokio::test]
async fn guessing_the_password_of_an_open_session_is_slowed_down_like_logging_in() {
    let hub = Hub::start_with(tempfile::tempdir().unwrap(), |config| {
        config.limits.log_ins = Rate { burst: 3, period: Duration::from_hours(1) };
    })
    .await;
    let alice = Person::sign_up(&hub, "alice").await;
    for guess in ["one guess", "two guesses", "three guesses"] {
        remove_as(&alice, alice.mls.device, guess).await.refused(Code::InvalidCredentials);
    }
    remove_as(&alice, alice.mls.device, PASSWORD).await.refused(Code::RateLimited);
    let change = json!({ "password": PASSWORD, "new_password": "another password" });
    alice.put("/v1/self/password", &change).await.refused(Code::RateLimited);
    alice.get("/v1/self").await.done::<Me>();
}

#[tokio::test]
async fn a_removed_device_is_told_so_and_can_do_nothing_any_more() {
    let hub = Hub::start().await;
    let (laptop, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let phone = Person::log_in(&hub, "alice").await;
    let (conversation, mut at_laptop, _) = one_to_one(&laptop, &bob).await;
    remove(&laptop, &phone).await;

    phone.get("/v1/self").await.refused(Code::DeviceRemoved);
    phone.get("/v1/events").await.refused(Code::DeviceRemoved);
    phone.send(conversation, encrypt(&mut at_laptop, "hello")).await.refused(Code::DeviceRemoved);
    let upload = KeyPackageUpload { key_packages: vec![Base64(phone.mls.key_package())], last_resort: None };
    phone.post("/v1/key-packages", &upload).await.refused(Code::DeviceRemoved);
    assert!(try_open(&phone, "").await.is_err());
    assert_eq!(hub.rows()["key_packages"], 5, "the phone's are gone; one of bob's was used");

    // Nor does it come back, not even with the password.
    let credentials = json!({ "handle": "alice", "password": PASSWORD });
    let session: Session = Client::new(&hub).post("/v1/sessions", &credentials).await.done();
    let again = NewDevice {
        device: phone.mls.device,
        label: "phone".into(),
        signature_key: Base64(phone.mls.signature_key.clone()),
        key_packages: Vec::new(),
        last_resort: None,
    };
    let client = Client::new(&hub).with_token(&session.token);
    client.post("/v1/devices", &again).await.refused(Code::DeviceRemoved);
}

#[tokio::test]
async fn what_a_removed_device_has_open_ends_at_once() {
    let hub = Hub::start().await;
    let laptop = Person::sign_up(&hub, "alice").await;
    let phone = Person::log_in(&hub, "alice").await;
    let mut socket = open(&phone, "").await;
    let waiting = phone.get("/v1/events?wait=60");
    let (answer, ()) = tokio::join!(waiting, remove(&laptop, &phone));
    answer.refused(Code::DeviceRemoved);
    assert_eq!(closed(&mut socket).await, CloseCode::Policy);
}

#[tokio::test]
async fn the_hub_proposes_to_remove_a_removed_device_from_every_group() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let phone = Person::log_in(&hub, "bob").await;
    let (one, mut at_alice_one, _) = one_to_one(&alice, &bob).await;
    let (group, mut at_alice) = alice.new_group().await;
    let bundle = alice.add(group, &mut at_alice, &[bob.user]).await;
    let mut at_bob = bob.mls.join(&bundle.welcome.unwrap().to_bytes().unwrap());
    assert_eq!(hub.rows()["leaves"], 6);

    remove(&bob, &phone).await;
    assert_eq!(hub.rows()["proposals"], 2);
    // Whoever leaves it out is refused.
    let ignorant = commit(&mut at_alice, &[], &[]);
    alice.commit(group, &ignorant).await.refused(Code::MissingProposals);
    at_alice.clear_pending_commit();

    // Anybody carries it out, whatever their role; and the user stays a member with the devices that are left.
    let proposal = last_proposal(&bob.events().await, group);
    at_bob.process_incoming_message(mls::message(&proposal)).unwrap();
    let bundle = commit(&mut at_bob, &[], &[]);
    bob.committed(group, &mut at_bob, &bundle).await;
    assert_eq!(alice.conversation(group).await.members.len(), 2);

    // In the 1:1 by the other, by a removal of her own.
    let phones_leaf = leaf_of(&at_alice_one, &phone.mls);
    let bundle = commit(&mut at_alice_one, &[], &[phones_leaf]);
    alice.committed(one, &mut at_alice_one, &bundle).await;
    assert_eq!((hub.rows()["leaves"], hub.rows()["proposals"]), (4, 0));
    assert_eq!(alice.conversation(one).await.members.len(), 2);
}

#[tokio::test]
async fn a_device_that_joins_while_another_is_removed_has_the_removal_proposed_again() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let phone = Person::log_in(&hub, "bob").await;
    let (one, mut at_alice, _) = one_to_one(&alice, &bob).await;
    remove(&bob, &phone).await;

    let tablet = Person::log_in(&hub, "bob").await;
    let (_, joining) = tablet.mls.external_commit(&tablet.group_info(one).await, None);
    tablet.commit(one, &joining).await.done::<Value>();
    at_alice.process_incoming_message(joining.commit).unwrap();
    let proposal = last_proposal(&alice.events().await, one);
    at_alice.process_incoming_message(mls::message(&proposal)).unwrap();
    let bundle = commit(&mut at_alice, &[], &[]);
    alice.committed(one, &mut at_alice, &bundle).await;
    assert_eq!((hub.rows()["leaves"], hub.rows()["proposals"]), (3, 0));
}

#[tokio::test]
async fn a_commit_that_adds_a_device_removed_meanwhile_is_refused() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let phone = Person::log_in(&hub, "bob").await;
    connect(&alice, &bob).await;
    let (group, mut at_alice) = alice.new_group().await;
    let claimed = alice.claim(&[bob.user]).await;
    assert_eq!(claimed.len(), 2);
    remove(&bob, &phone).await;
    let bundle = commit(&mut at_alice, &claimed, &[]);
    alice.commit(group, &bundle).await.refused(Code::InvalidCommit);
    at_alice.clear_pending_commit();
    alice.add(group, &mut at_alice, &[bob.user]).await;
    assert_eq!(hub.rows()["leaves"], 2);
}

#[tokio::test]
async fn a_changed_password_ends_all_other_sessions_and_what_they_have_open() {
    let hub = Hub::start().await;
    let client = Client::new(&hub);
    let laptop = Person::sign_up(&hub, "alice").await;
    let phone = Person::log_in(&hub, "alice").await;
    let mut socket = open(&phone, "").await;
    let before = hub.rows();
    for (old, new, code) in [
        ("not her password", "another password", Code::InvalidCredentials),
        (PASSWORD, "short", Code::InvalidPassword),
    ] {
        let change = json!({ "password": old, "new_password": new });
        laptop.put("/v1/self/password", &change).await.refused(code);
    }
    assert_eq!(hub.rows(), before);
    phone.get("/v1/self").await.done::<Me>();

    let change = json!({ "password": PASSWORD, "new_password": "another password" });
    let waiting = phone.get("/v1/events?wait=60");
    let (waited, changed) = tokio::join!(waiting, laptop.put("/v1/self/password", &change));
    changed.empty();
    waited.refused(Code::Unauthenticated);
    assert_eq!(closed(&mut socket).await, CloseCode::Policy);
    phone.get("/v1/self").await.refused(Code::Unauthenticated);
    laptop.get("/v1/events").await.done::<EventPage>();

    let old = json!({ "handle": "alice", "password": PASSWORD });
    client.post("/v1/sessions", &old).await.refused(Code::InvalidCredentials);
    let new = json!({ "handle": "alice", "password": "another password" });
    let session: Session = client.post("/v1/sessions", &new).await.done();
    // The device goes on where it was.
    let again = NewDevice {
        device: phone.mls.device,
        label: "phone".into(),
        signature_key: Base64(phone.mls.signature_key.clone()),
        key_packages: Vec::new(),
        last_resort: None,
    };
    let answer = client.with_token(&session.token).post("/v1/devices", &again).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(hub.rows()["devices"], 2);
}

#[tokio::test]
async fn of_password_changes_at_the_same_time_one_wins() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let changes: Vec<_> = (0..4)
        .map(|n| json!({ "password": PASSWORD, "new_password": format!("password number {n}") }))
        .collect();
    let answers =
        futures::future::join_all(changes.iter().map(|change| alice.put("/v1/self/password", change))).await;
    let (changed, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status == StatusCode::NO_CONTENT);
    assert_eq!(changed.len(), 1);
    for answer in refused {
        answer.refused(Code::InvalidCredentials);
    }
}
