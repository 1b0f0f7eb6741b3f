//! Accounts, sessions and devices.
#![allow(clippy::unwrap_used)]

mod support;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;
use support::{
    hub::{Hub, PASSWORD, Person, types},
    mls::MlsDevice,
    open::Client,
};
use tertulia_api::{
    Base64, Code,
    account::{Device, Me, NewDevice, Session, User},
    event::EventPage,
};
use tertulia_domain::{AccountKind, DeviceId, Domain, UserId};
use tertulia_server::Rate;

fn credentials(handle: &str, password: &str) -> Value {
    json!({ "handle": handle, "password": password })
}

async fn session(client: &Client, path: &str, handle: &str) -> Session {
    client.post(path, &credentials(handle, PASSWORD)).await.done()
}

fn device(mls: &MlsDevice, label: &str) -> NewDevice {
    NewDevice {
        device: mls.device,
        label: label.into(),
        signature_key: Base64(mls.signature_key.clone()),
        key_packages: vec![Base64(mls.key_package())],
        last_resort: None,
    }
}

#[tokio::test]
async fn who_signs_up_can_log_in_and_out() {
    let hub = Hub::start().await;
    let client = Client::new(&hub);
    let signed_up = session(&client, "/v1/accounts", "@Alice").await;
    assert_eq!((signed_up.handle.as_str(), signed_up.domain.as_str()), ("alice", "localhost"));

    let logged_in = session(&client, "/v1/sessions", "ALICE").await;
    assert_eq!(logged_in.user, signed_up.user);
    assert_ne!(logged_in.token, signed_up.token);
    let second = client.with_token(&logged_in.token);
    let me: Me = second.get("/v1/self").await.done();
    let alice = Me {
        user: signed_up.user,
        handle: "alice".into(),
        domain: "localhost".into(),
        device: None,
        name: None,
        locale: None,
        kind: AccountKind::Person,
        expires_at: None,
    };
    assert_eq!(me, alice);

    second.send(Method::DELETE, "/v1/sessions/current").await.empty();
    second.get("/v1/self").await.refused(Code::Unauthenticated);
    client.with_token(&signed_up.token).get("/v1/self").await.done::<Me>();
}

#[tokio::test]
async fn refused_sign_ups_store_nothing() {
    let hub = Hub::start().await;
    let client = Client::new(&hub);
    session(&client, "/v1/accounts", "alice").await;
    let before = hub.rows();
    for (handle, password, code) in [
        ("alice", PASSWORD, Code::HandleTaken),
        ("@ALICE", PASSWORD, Code::HandleTaken),
        ("al ice", PASSWORD, Code::InvalidHandle),
        ("a", PASSWORD, Code::InvalidHandle),
        ("bob", "short", Code::InvalidPassword),
        ("bob", &"long".repeat(300), Code::InvalidPassword),
    ] {
        client.post("/v1/accounts", &credentials(handle, password)).await.refused(code);
    }
    assert_eq!(hub.rows(), before);
}

#[tokio::test]
async fn of_sign_ups_for_one_handle_at_the_same_time_one_succeeds() {
    let hub = Hub::start().await;
    let client = Client::new(&hub);
    let body = credentials("alice", PASSWORD);
    let attempts = (0..8).map(|_| client.post("/v1/accounts", &body));
    let answers = futures::future::join_all(attempts).await;
    let (created, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status == StatusCode::CREATED);
    assert_eq!(created.len(), 1);
    for answer in refused {
        answer.refused(Code::HandleTaken);
    }
    assert_eq!(hub.rows()["users"], 1);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_handle_get_the_same_answer() {
    let hub = Hub::start().await;
    let client = Client::new(&hub);
    session(&client, "/v1/accounts", "alice").await;
    let before = hub.rows();
    let wrong = client.post("/v1/sessions", &credentials("alice", "not her password")).await;
    let unknown = client.post("/v1/sessions", &credentials("nobody", "not her password")).await;
    assert_eq!(wrong.body, unknown.body);
    wrong.refused(Code::InvalidCredentials);
    client
        .post("/v1/sessions", &credentials("not a handle", PASSWORD))
        .await
        .refused(Code::InvalidCredentials);
    assert_eq!(hub.rows(), before);
}

#[tokio::test]
async fn guesses_at_a_password_are_limited() {
    let hub = Hub::start_with(tempfile::tempdir().unwrap(), |config| {
        config.limits.log_ins = Rate { burst: 3, period: Duration::from_hours(1) };
    })
    .await;
    let client = Client::new(&hub);
    for handle in ["alice", "bob"] {
        session(&client, "/v1/accounts", handle).await;
    }
    let wrong = credentials("alice", "not her password");
    for _ in 0..3 {
        client.post("/v1/sessions", &wrong).await.refused(Code::InvalidCredentials);
    }
    let problem = client.post("/v1/sessions", &wrong).await.refused(Code::RateLimited);
    assert!(problem.retry_after.unwrap() > 3000);
    // The right password does not help any more, so that nobody can tell that it was right.
    client.post("/v1/sessions", &credentials("alice", PASSWORD)).await.refused(Code::RateLimited);
    session(&client, "/v1/sessions", "bob").await;
}

#[tokio::test]
async fn guesses_at_the_same_time_are_counted_too() {
    let hub = Hub::start_with(tempfile::tempdir().unwrap(), |config| {
        config.limits.log_ins = Rate { burst: 3, period: Duration::from_hours(1) };
    })
    .await;
    let client = Client::new(&hub);
    session(&client, "/v1/accounts", "alice").await;
    let wrong = credentials("alice", "not her password");
    let answers = futures::future::join_all((0..12).map(|_| client.post("/v1/sessions", &wrong))).await;
    let looked_at = answers.iter().filter(|answer| answer.status == StatusCode::UNAUTHORIZED).count();
    assert_eq!(looked_at, 3);
}

#[tokio::test]
async fn guesses_at_many_handles_from_one_address_are_limited() {
    let hub = Hub::start_with(tempfile::tempdir().unwrap(), |config| {
        config.behind_proxy = true;
        config.limits.log_ins_per_address = Rate { burst: 3, period: Duration::from_hours(1) };
    })
    .await;
    let client = Client::new(&hub);
    session(&client, "/v1/accounts", "alice").await;
    let guess = async |address: &str, handle: &str| {
        let request = client.request(Method::POST, "/v1/sessions").header("x-forwarded-for", address);
        client.answer(request.json(&credentials(handle, "not her password"))).await
    };
    for handle in ["somebody", "anybody", "alice"] {
        guess("192.0.2.1", handle).await.refused(Code::InvalidCredentials);
    }
    for handle in ["everybody", "alice"] {
        guess("192.0.2.1", handle).await.refused(Code::RateLimited);
    }
    guess("192.0.2.2", "alice").await.refused(Code::InvalidCredentials);
}

#[tokio::test]
async fn sign_ups_and_requests_are_limited_as_configured() {
    let hub = Hub::start_with(tempfile::tempdir().unwrap(), |config| {
        config.limits.sign_ups = Rate { burst: 1, period: Duration::from_hours(1) };
        config.limits.requests = Rate { burst: 2, period: Duration::from_hours(1) };
    })
    .await;
    let client = Client::new(&hub);
    let alice = session(&client, "/v1/accounts", "alice").await;
    client.post("/v1/accounts", &credentials("bob", PASSWORD)).await.refused(Code::RateLimited);
    let alice = client.with_token(&alice.token);
    for _ in 0..2 {
        alice.get("/v1/self").await.done::<Me>();
    }
    alice.get("/v1/self").await.refused(Code::RateLimited);
}

#[tokio::test]
async fn who_makes_up_tokens_is_refused_before_they_are_looked_up() {
    let hub = Hub::start_with(tempfile::tempdir().unwrap(), |config| {
        config.behind_proxy = true;
        config.limits.unknown_tokens = Rate { burst: 3, period: Duration::from_hours(1) };
    })
    .await;
    let client = Client::new(&hub);
    let alice = session(&client, "/v1/accounts", "alice").await;
    let (bob, here) = (Person::sign_up(&hub, "bob").await, "192.0.2.1");
    let carol = Person::sign_up(&hub, "carol").await;
    let ask = async |token: &str, path: &str, address: &str| {
        let request = client.with_token(token).request(Method::GET, path);
        client.answer(request.header("x-forwarded-for", address)).await
    };
    ask(&bob.token, "/v1/events", here).await.done::<EventPage>();
    ask(&carol.token, "/v1/self", here).await.done::<Me>();
    // The last of these finds that there is none left, and has its answer.
    for number in 0..4 {
        ask(&format!("made up {number}"), "/v1/self", here).await.refused(Code::Unauthenticated);
    }
    for path in ["/v1/self", "/v1/events"] {
        let problem = ask("made up", path, here).await.refused(Code::RateLimited);
        assert!(problem.retry_after.is_some_and(|wait| wait > 3000));
    }
    // Whether a token is good does not show there. Who was here before is a neighbour and goes on; so does everybody elsewhere.
    ask(&alice.token, "/v1/self", here).await.refused(Code::RateLimited);
    ask(&bob.token, "/v1/self", here).await.done::<Me>();
    ask(&carol.token, "/v1/events", here).await.done::<EventPage>();
    ask(&alice.token, "/v1/self", "192.0.2.2").await.done::<Me>();
    // Without a token nothing is looked up.
    let request = client.request(Method::GET, "/v1/self").header("x-forwarded-for", here);
    client.answer(request).await.refused(Code::Unauthenticated);
}

#[tokio::test]
async fn users_are_found_by_id_and_by_handle() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let found: User = alice.get("/v1/users?handle=%40Bob").await.done();
    assert_eq!(
        found,
        User { user: bob.user, handle: "bob".into(), name: None, locale: None, kind: AccountKind::Person }
    );
    assert_eq!(alice.get(&format!("/v1/users/{}", bob.user)).await.done::<User>(), found);
    alice.get("/v1/users?handle=nobody").await.refused(Code::UnknownUser);
    alice.get(&format!("/v1/users/{}", UserId::random())).await.refused(Code::UnknownUser);
    alice.get("/v1/users?handle=%20").await.refused(Code::InvalidHandle);
    alice.get("/v1/users").await.refused(Code::BadRequest);
    alice.get("/v1/users/bob").await.refused(Code::BadRequest);
}

#[tokio::test]
async fn who_tries_handles_one_by_one_is_told_to_wait_however_they_ask() {
    let hub = Hub::start_with(tempfile::tempdir().unwrap(), |config| {
        config.limits.look_ups = Rate { burst: 3, period: Duration::from_hours(1) };
    })
    .await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (by_handle, nobody) = ("/v1/users?handle=bob", json!({ "handle": "nobody" }));
    // What is no handle is nobody's, and is not looked up.
    alice.get("/v1/users?handle=%20").await.refused(Code::InvalidHandle);
    alice.get(by_handle).await.done::<User>();
    alice.get("/v1/users?handle=nobody").await.refused(Code::UnknownUser);
    alice.post("/v1/connections", &nobody).await.refused(Code::InvalidUser);
    let problem = alice.get(by_handle).await.refused(Code::RateLimited);
    assert!(problem.retry_after.is_some_and(|wait| (3500..=3600).contains(&wait)), "{problem:?}");
    alice.post("/v1/connections", &nobody).await.refused(Code::RateLimited);
    alice.post("/v1/connections", &json!({ "handle": "bob" })).await.refused(Code::RateLimited);
    // Another device of hers is hers, and an id cannot be guessed.
    Person::log_in(&hub, "alice").await.get(by_handle).await.refused(Code::RateLimited);
    alice.get(&format!("/v1/users/{}", bob.user)).await.done::<User>();
    // Others have a rate of their own, and answering needs none.
    bob.connect(&alice).await;
    assert_eq!(alice.set_connection(&bob, "accepted").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_further_device_is_told_to_the_others_and_not_to_itself() {
    let hub = Hub::start().await;
    let laptop = Person::sign_up(&hub, "alice").await;
    let phone = Person::log_in(&hub, "alice").await;
    let events = laptop.events().await;
    assert_eq!(types(&events), ["device.added"]);
    assert_eq!(serde_json::to_value(&events[0]).unwrap()["device"], json!(phone.mls.device));
    assert!(phone.events().await.is_empty());

    let listed: Value = phone.get("/v1/devices").await.done();
    let ids: Vec<DeviceId> = listed["devices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|device| serde_json::from_value(device["device"].clone()).unwrap())
        .collect();
    assert_eq!(ids, [laptop.mls.device, phone.mls.device]);
    assert_eq!(phone.get("/v1/self").await.done::<Me>().device, Some(phone.mls.device));
}

#[tokio::test]
async fn a_device_registers_again_with_the_same_key_only() {
    let hub = Hub::start().await;
    let client = Client::new(&hub);
    let first = session(&client, "/v1/accounts", "alice").await;
    let domain: Domain = first.domain.parse().unwrap();
    let mls = MlsDevice::new(first.user, &domain);
    let new = device(&mls, "laptop");
    let registered: Device = client.with_token(&first.token).post("/v1/devices", &new).await.done();
    let before = hub.rows();
    assert_eq!(client.with_token(&first.token).post("/v1/devices", &new).await.done::<Device>(), registered);
    assert_eq!(hub.rows(), before, "the repeated request stored something");

    let second = session(&client, "/v1/sessions", "alice").await;
    assert_eq!(client.with_token(&second.token).post("/v1/devices", &new).await.done::<Device>(), registered);

    let third = client.with_token(&session(&client, "/v1/sessions", "alice").await.token);
    let identity = format!("{}:{}@{domain}", first.user, mls.device);
    let imposter = device(&MlsDevice::with_identity(first.user, mls.device, identity), "imposter");
    third.post("/v1/devices", &imposter).await.refused(Code::BadRequest);

    let other = device(&MlsDevice::new(first.user, &domain), "other");
    client.with_token(&first.token).post("/v1/devices", &other).await.refused(Code::BadRequest);
}

#[tokio::test]
async fn a_user_has_eight_devices_and_no_more() {
    let hub = Hub::start().await;
    Person::sign_up(&hub, "alice").await;
    for _ in 1..8 {
        Person::log_in(&hub, "alice").await;
    }
    let client = Client::new(&hub);
    let ninth = session(&client, "/v1/sessions", "alice").await;
    let before = hub.rows();
    let new = device(&MlsDevice::new(ninth.user, &Domain::localhost()), "ninth");
    client.with_token(&ninth.token).post("/v1/devices", &new).await.refused(Code::DeviceLimit);
    assert_eq!(hub.rows(), before);
}

#[tokio::test]
async fn a_device_that_cannot_be_is_refused() {
    type Change = fn(&mut NewDevice);
    let hub = Hub::start().await;
    let client = Client::new(&hub);
    let alice = session(&client, "/v1/accounts", "alice").await;
    let before = hub.rows();
    let good = device(&MlsDevice::new(alice.user, &Domain::localhost()), "laptop");
    let changed: [(Change, Code); 4] = [
        (|device| device.label = String::new(), Code::BadRequest),
        (|device| device.label = "x".repeat(65), Code::BadRequest),
        (|device| device.signature_key.0.truncate(31), Code::BadRequest),
        (|device| device.device = DeviceId::random(), Code::InvalidKeyPackage),
    ];
    let alice = client.with_token(&alice.token);
    for (change, code) in changed {
        let mut bad = good.clone();
        change(&mut bad);
        alice.post("/v1/devices", &bad).await.refused(code);
    }
    assert_eq!(hub.rows(), before);
    alice.get("/v1/key-packages/count").await.refused(Code::NoDevice);
}

#[tokio::test]
async fn accounts_outlive_a_restart_and_no_secret_is_stored_readable() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let hub = Hub::start_in(hub.stop().await).await;
    let client = Client::new(&hub);
    client.with_token(&alice.token).get("/v1/self").await.done::<Me>();
    session(&client, "/v1/sessions", "alice").await;
    let dir = hub.stop().await;
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        for secret in [PASSWORD, &alice.token] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
        }
    }
}

#[tokio::test]
async fn a_session_that_nobody_uses_for_long_ends_and_one_in_use_goes_on() {
    const DAY: i64 = 24 * 60 * 60 * 1000;
    let hub = Hub::start().await;
    let (alice, phone) = (Person::sign_up(&hub, "alice").await, Person::log_in(&hub, "alice").await);
    let used = |days: i64| {
        hub.change("UPDATE sessions SET used_at = used_at - ?1", [days * DAY]);
    };
    // In use at least once in 180 days, it goes on for ever.
    for _ in 0..3 {
        used(179);
        for device in [&alice, &phone] {
            device.get("/v1/self").await.bytes();
        }
    }
    // The phone lies in a drawer.
    for _ in 0..2 {
        used(100);
        alice.get("/v1/self").await.bytes();
    }
    phone.get("/v1/self").await.refused(Code::Unauthenticated);
    used(-200); // it is over for good
    phone.get("/v1/self").await.refused(Code::Unauthenticated);
    alice.get("/v1/self").await.bytes();
    // One from before this was known counts from its next use.
    hub.change("UPDATE sessions SET used_at = NULL", ());
    alice.get("/v1/self").await.bytes();
    used(181);
    alice.get("/v1/self").await.refused(Code::Unauthenticated);
}
