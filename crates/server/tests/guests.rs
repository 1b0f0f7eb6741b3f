//! Guests, who are let in for a while, and services, which say what they are, through a real hub.
#![allow(clippy::unwrap_used)]

mod support;

use reqwest::Method;
use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Duration};
use support::{
    hub::{Answer, Hub, PASSWORD, Person, connect},
    joins::{EVERYBODY, PERSONS, path, set_access},
    mls::{MlsDevice, commit, commit_policy, encrypt, policy_in},
    open::Client,
};
use tertulia_api::{
    Base64, Code,
    account::{Device, Me, NewDevice, Session, User, Users},
    conversation::Member,
    event::{EventBody, EventPage},
    join_link::JoinLink,
};
use tertulia_domain::{
    AccountKind, ConversationId, Domain, Role, UserId,
    access::{AccessMode, AccessRole},
};
use tertulia_server::Rate;

const HOUR: i64 = 60 * 60 * 1000;

async fn come_in(client: &Client, name: &str) -> Session {
    client.post("/v1/guests", &json!({ "name": name })).await.done()
}

/// A guest's device.
async fn device_of(client: &Client, session: &Session) -> Client {
    let mls = MlsDevice::new(session.user, &session.domain.parse::<Domain>().unwrap());
    let guest = client.with_token(&session.token);
    let device = NewDevice {
        device: mls.device,
        label: "test".into(),
        signature_key: Base64(mls.signature_key.clone()),
        key_packages: vec![Base64(mls.key_package())],
        last_resort: None,
    };
    guest.post("/v1/devices", &device).await.done::<Device>();
    guest
}

/// Makes somebody who has signed up a guest, for nothing but a link lets one into a conversation.
fn make_guest(hub: &Hub, person: &Person, expires_at: i64) {
    hub.change(
        "UPDATE users SET kind = 'guest', password = '', expires_at = ?2 WHERE id = ?1",
        (person.user.as_bytes(), expires_at),
    );
}

async fn put(client: &Client, path: &str, body: Value) -> Answer {
    client.answer(client.request(Method::PUT, path).json(&body)).await
}

#[tokio::test]
async fn a_guest_comes_in_with_a_name_and_a_time_and_nothing_else() {
    let hub = Hub::start().await;
    let client = Client::new(&hub);
    let session = come_in(&client, "  Ana ").await;
    assert!(session.handle.starts_with("guest-"), "{}", session.handle);
    assert_eq!((session.kind, session.domain.as_str()), (AccountKind::Guest, "localhost"));
    let created =
        hub.stored().number(&format!("SELECT created_at FROM users WHERE handle = '{}'", session.handle));
    assert_eq!(session.expires_at, Some(created + 24 * HOUR));
    let me: Me = client.with_token(&session.token).get("/v1/self").await.done();
    assert_eq!((me.kind, me.name.as_deref()), (AccountKind::Guest, Some("Ana")));
    assert_eq!((me.handle, me.expires_at), (session.handle, session.expires_at));
    for name in ["", "a\nb", &"x".repeat(129)] {
        client.post("/v1/guests", &json!({ "name": name })).await.refused(Code::InvalidProfile);
    }
}

#[tokio::test]
async fn what_takes_an_account_is_refused_to_a_guest_each_with_its_own_sentence() {
    let hub = Hub::start().await;
    let client = Client::new(&hub);
    let alice = Person::sign_up(&hub, "alice").await;
    let session = come_in(&client, "Ana").await;
    let guest = device_of(&client, &session).await;
    let (id, before) = (ConversationId::random(), hub.rows());
    let (nobody, password) = (UserId::random(), json!({ "password": PASSWORD }));
    let change = json!({ "password": PASSWORD, "new_password": PASSWORD });
    let answers = [
        guest.post("/v1/connections", &json!({ "handle": "alice" })).await,
        put(&guest, &format!("/v1/connections/{}", alice.user), json!({ "status": "blocked" })).await,
        guest.get("/v1/search/users?beginning=al").await,
        guest.post("/v1/conversations", &json!({ "conversation": id })).await,
        guest.post("/v1/conversations", &json!({ "conversation": id, "protocol": "pairwise" })).await,
        guest
            .post(&format!("/v1/teams/{nobody}/channels"), &json!({ "conversation": id, "name": "n" }))
            .await,
        guest.post("/v1/team", &json!({ "name": "Café Gijón" })).await,
        guest.post("/v1/team/join", &json!({ "code": "x" })).await,
        put(&guest, "/v1/self/password", change).await,
        guest.post("/v1/devices/00c0ffee00c0ffee/remove", &password).await,
    ];
    let sentences: BTreeSet<String> =
        answers.into_iter().map(|answer| answer.refused(Code::GuestDenied).detail).collect();
    assert_eq!(sentences.len(), 7, "{sentences:?}");
    assert_eq!(hub.rows(), before, "nothing was stored");
}

#[tokio::test]
async fn nobody_finds_a_guest_or_asks_one_for_a_connection() {
    let hub = Hub::start().await;
    let client = Client::new(&hub);
    let alice = Person::sign_up(&hub, "alice").await;
    let session = come_in(&client, "Ana").await;
    let found: Users = alice.get("/v1/search/users?beginning=guest-").await.done();
    assert_eq!(found.users, []);
    // As if there were no such user, to the byte.
    let of = |handle: &str| format!("/v1/users?handle={handle}");
    let nobody = alice.get(&of("guest-0")).await.refused(Code::UnknownUser);
    assert_eq!(alice.get(&of(&session.handle)).await.refused(Code::UnknownUser), nobody);
    let by_id = format!("/v1/users/{}", session.user);
    assert_eq!(alice.get(&by_id).await.refused(Code::UnknownUser), nobody);
    let ask = |handle: &str| json!({ "handle": handle });
    let nobody = alice.post("/v1/connections", &ask("guest-0")).await.refused(Code::InvalidUser);
    let asked = alice.post("/v1/connections", &ask(&session.handle)).await.refused(Code::InvalidUser);
    assert_eq!(asked, nobody);
    for status in ["accepted", "blocked"] {
        let path = format!("/v1/connections/{}", session.user);
        alice.put(&path, &json!({ "status": status })).await.refused(Code::InvalidUser);
    }
    assert_eq!(hub.rows()["connections"], 0);
    // Nor does a guest find anybody.
    let guest = client.with_token(&session.token);
    guest.get(&of("alice")).await.refused(Code::UnknownUser);
    guest.get(&by_id).await.done::<User>();
}

#[tokio::test]
async fn of_a_guest_whom_one_does_not_meet_nobody_gets_keys_and_the_guest_of_nobody_to_the_byte() {
    let hub = Hub::start().await;
    let client = Client::new(&hub);
    let alice = Person::sign_up(&hub, "alice").await;
    let session = come_in(&client, "Ana").await;
    let guest = device_of(&client, &session).await;
    let nobody = UserId::random();
    let claim = |user: UserId| json!({ "users": [user] });
    let pairwise = |user: UserId| json!({ "devices": [{ "user": user, "device": alice.mls.device }] });
    for (path, body) in [
        ("/v1/key-packages/claims", &claim as &dyn Fn(UserId) -> Value),
        ("/v1/pairwise-keys/claims", &pairwise),
    ] {
        let unknown = alice.post(path, &body(nobody)).await.refused(Code::UnknownUser);
        assert_eq!(alice.post(path, &body(session.user)).await.refused(Code::UnknownUser), unknown);
        assert_eq!(guest.post(path, &body(nobody)).await.refused(Code::UnknownUser), unknown);
        assert_eq!(guest.post(path, &body(alice.user)).await.refused(Code::UnknownUser), unknown);
    }
    let id = ConversationId::random();
    alice.post("/v1/conversations", &json!({ "conversation": id, "protocol": "pairwise" })).await.bytes();
    let members = path(id, "members");
    let unknown = alice.post(&members, &claim(nobody)).await.refused(Code::UnknownUser);
    assert_eq!(alice.post(&members, &claim(session.user)).await.refused(Code::UnknownUser), unknown);
    set_access(&alice, id, &[AccessMode::Invite], &[AccessRole::TeamMember]).await.empty();
    assert_eq!(alice.post(&members, &claim(session.user)).await.refused(Code::UnknownUser), unknown);
}

#[tokio::test]
async fn a_guest_who_is_an_admin_makes_no_link_and_opens_nothing() {
    let hub = Hub::start().await;
    let (alice, gus) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "gus").await);
    connect(&alice, &gus).await;
    let (id, mut at_alice) = alice.new_group().await;
    let bundle = alice.add(id, &mut at_alice, &[gus.user]).await;
    let mut at_gus = gus.mls.join(&bundle.welcome.unwrap().to_bytes().unwrap());
    let link = JoinLink::new(hub.base.parse().unwrap(), id);
    let policy = policy_in(&at_alice).with_role(gus.user, &Role::ADMIN).with_link(Some(link.public_key()));
    let bundle = commit_policy(&mut at_alice, &policy);
    alice.committed(id, &mut at_alice, &bundle).await;
    at_gus.process_incoming_message(bundle.commit).unwrap();
    let both = [AccessMode::Invite, AccessMode::Code];
    set_access(&alice, id, &both, &PERSONS).await.empty();
    make_guest(&hub, &gus, i64::MAX);

    let rows = hub.rows();
    let new = json!({
        "code_hash": Base64(link.code_hash().to_vec()),
        "public_key": Base64(link.public_key().to_vec()),
    });
    gus.put(&path(id, "link"), &new).await.refused(Code::GuestDenied);
    set_access(&gus, id, &both, &EVERYBODY).await.refused(Code::GuestDenied);
    let other = JoinLink::new(hub.base.parse().unwrap(), id);
    let present = policy_in(&at_gus);
    for policy in [present.clone().with_open(true), present.clone().with_link(Some(other.public_key()))] {
        let bundle = commit_policy(&mut at_gus, &policy);
        gus.commit(id, &bundle).await.refused(Code::GuestDenied);
        at_gus.clear_pending_commit();
    }
    assert_eq!(hub.rows(), rows, "a refusal changes nothing");

    // To let in fewer is to add nobody.
    gus.delete(&path(id, "link")).await.empty();
    let bundle = commit_policy(&mut at_gus, &present.with_link(None));
    gus.committed(id, &mut at_gus, &bundle).await;
    set_access(&gus, id, &[AccessMode::Invite], &PERSONS).await.empty();
    set_access(&gus, id, &both, &PERSONS).await.refused(Code::GuestDenied);
}

#[tokio::test]
async fn nobody_logs_in_as_a_guest() {
    let hub = Hub::start().await;
    let client = Client::new(&hub);
    let session = come_in(&client, "Ana").await;
    for password in ["", PASSWORD] {
        let credentials = json!({ "handle": session.handle, "password": password });
        client.post("/v1/sessions", &credentials).await.refused(Code::InvalidCredentials);
    }
    // Its one session has one device.
    device_of(&client, &session).await;
    let other = MlsDevice::new(session.user, &Domain::localhost());
    let second = json!({
        "device": other.device, "label": "second", "key_packages": [],
        "signature_key": Base64(other.signature_key.clone()),
    });
    let guest = client.with_token(&session.token);
    guest.post("/v1/devices", &second).await.refused(Code::BadRequest);
    // Handles like a guest's are for guests, and guests do not sign up.
    let account = |handle: &str, kind: &str| json!({ "handle": handle, "password": PASSWORD, "kind": kind });
    client.post("/v1/accounts", &account("guest-7", "person")).await.refused(Code::InvalidHandle);
    client.post("/v1/accounts", &account("ana", "guest")).await.refused(Code::BadRequest);
    client.post("/v1/accounts", &account("ana", "robot")).await.refused(Code::BadRequest);
}

#[tokio::test]
async fn guests_are_let_in_as_the_operator_says_and_no_faster_than_people_sign_up() {
    let shut = Hub::start_with(tempfile::tempdir().unwrap(), |config| config.guest_lifetime = None).await;
    let refused = Client::new(&shut).post("/v1/guests", &json!({ "name": "Ana" })).await;
    refused.refused(Code::GuestsOff);
    assert_eq!(shut.rows()["users"], 0);

    let slow = Hub::start_with(tempfile::tempdir().unwrap(), |config| {
        config.limits.sign_ups = Rate { burst: 2, period: Duration::from_hours(1) };
        config.guest_lifetime = Some(Duration::from_hours(1000 * 24));
    })
    .await;
    let client = Client::new(&slow);
    let session = come_in(&client, "Ana").await;
    let longest = session.expires_at.unwrap();
    come_in(&client, "Ana").await;
    client.post("/v1/guests", &json!({ "name": "Ana" })).await.refused(Code::RateLimited);
    let account = json!({ "handle": "ana", "password": PASSWORD });
    client.post("/v1/accounts", &account).await.refused(Code::RateLimited);
    slow.change("UPDATE users SET created_at = created_at + 2592000000", ());
    let created =
        slow.stored().number(&format!("SELECT created_at FROM users WHERE handle = '{}'", session.handle));
    assert_eq!(longest, created, "30 days at most");
}

#[tokio::test]
async fn in_a_conversation_a_guest_is_seen_as_one_and_reads_writes_and_leaves_but_adds_nobody() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let gus = Person::sign_up(&hub, "gus").await;
    connect(&alice, &gus).await;
    let (group, mut at_alice) = alice.new_group().await;
    let bundle = alice.add(group, &mut at_alice, &[gus.user]).await;
    let mut at_gus = gus.mls.join(&bundle.welcome.unwrap().to_bytes().unwrap());
    hub.change("DELETE FROM connections WHERE user_id = ?1 OR other = ?1", [gus.user.as_bytes()]);
    make_guest(&hub, &gus, i64::MAX);

    let members: Vec<Member> = alice.conversation(group).await.members;
    assert_eq!(
        members.iter().map(|member| member.kind).collect::<Vec<_>>(),
        [AccountKind::Person, AccountKind::Guest]
    );
    // They see each other's profiles; others do not see the guest's.
    let path = format!("/v1/users/{}", gus.user);
    assert_eq!(alice.get(&path).await.done::<User>().kind, AccountKind::Guest);
    bob.get(&path).await.refused(Code::UnknownUser);
    gus.get("/v1/users?handle=alice").await.done::<User>();
    gus.get("/v1/users?handle=bob").await.refused(Code::UnknownUser);

    gus.sent(group, encrypt(&mut at_gus, "hello")).await;
    let open = support::mls::policy_of(at_alice.context()).unwrap();
    let everybody = open.with_add_permission(tertulia_domain::policy::AddPermission::Everyone);
    let opening = support::mls::commit_policy(&mut at_alice, &everybody);
    alice.committed(group, &mut at_alice, &opening).await;
    at_gus.process_incoming_message(opening.commit).unwrap();
    let key_package = bob.mls.key_package();
    let adding = commit(&mut at_gus, &[key_package], &[]);
    let refused = gus.commit(group, &adding).await.refused(Code::GuestDenied);
    assert_eq!(refused.detail, "A guest cannot add others to a conversation.");
    at_gus.clear_pending_commit();
    assert_eq!(alice.conversation(group).await.members.len(), 2);
    gus.post(&format!("/v1/conversations/{group}/leave"), &json!({})).await.empty();
    assert_eq!(alice.conversation(group).await.members.len(), 1);
}

#[tokio::test]
async fn a_guest_adds_nobody_to_a_pairwise_group_either() {
    let hub = Hub::start().await;
    let (gus, bob) = (Person::sign_up(&hub, "gus").await, Person::sign_up(&hub, "bob").await);
    connect(&gus, &bob).await;
    let id = ConversationId::random();
    gus.post("/v1/conversations", &json!({ "conversation": id, "protocol": "pairwise" })).await.bytes();
    make_guest(&hub, &gus, i64::MAX);
    let users = json!({ "users": [bob.user] });
    gus.post(&format!("/v1/conversations/{id}/members"), &users).await.refused(Code::GuestDenied);
}

#[tokio::test]
async fn when_a_guests_time_is_over_the_account_ends_while_the_hub_runs() {
    let hub = Hub::start_with(tempfile::tempdir().unwrap(), |config| {
        config.guest_lifetime = Some(Duration::from_secs(3));
    })
    .await;
    let client = Client::new(&hub);
    let session = come_in(&client, "Ana").await;
    let guest = device_of(&client, &session).await;
    // Nothing happens to it until it is told that it is no more.
    guest.get("/v1/events?wait=60").await.refused(Code::DeviceRemoved);
    guest.get("/v1/self").await.refused(Code::DeviceRemoved);
    let rows = hub.rows();
    for table in ["sessions", "devices", "key_packages", "user_events"] {
        assert_eq!(rows[table], 0, "{table}");
    }
    assert_eq!(rows["users"], 0, "nothing refers to it");
}

#[tokio::test]
async fn of_an_ended_guest_nothing_stays_once_the_last_conversation_that_they_were_in_is_gone() {
    let hub = Hub::start().await;
    let (alice, gus) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "gus").await);
    connect(&alice, &gus).await;
    let (group, mut at_alice) = alice.new_group().await;
    alice.add(group, &mut at_alice, &[gus.user]).await;
    // Their own conversation is there once it was asked for.
    gus.conversation(ConversationId::self_of(gus.user)).await;
    for sql in [
        "DELETE FROM members WHERE conversation IN (SELECT conversation FROM connections)",
        "DELETE FROM conversations WHERE id IN (SELECT conversation FROM connections)",
        "DELETE FROM connections",
    ] {
        hub.change(sql, ());
    }
    make_guest(&hub, &gus, i64::MAX);
    gus.post("/v1/self/delete", &json!({ "password": "" })).await.empty();
    assert_eq!(hub.rows()["users"], 2, "who has spoken in the group is known by their id");
    alice.events().await;
    let acknowledged = "UPDATE devices SET acknowledged = (SELECT position FROM hub)";
    alice.post(&path(group, "leave"), &json!({})).await.empty();
    hub.change(acknowledged, ());
    let hub = Hub::start_in(hub.stop().await).await;
    let rows = hub.rows();
    assert_eq!((rows["users"], rows["conversations"], rows["members"]), (1, 0, 0));
}

#[tokio::test]
async fn guests_whose_time_ended_while_the_hub_was_off_are_seen_out_at_the_start_with_all_that_follows() {
    let hub = Hub::start().await;
    let client = Client::new(&hub);
    let (mut alice, gus) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "gus").await);
    connect(&alice, &gus).await;
    let (group, mut at_alice) = alice.new_group().await;
    alice.add(group, &mut at_alice, &[gus.user]).await;
    hub.change("DELETE FROM connections", ());
    // More than are seen out at once, one who is in a group, and one whose turn comes last.
    for _ in 0..90 {
        come_in(&client, "Ana").await;
    }
    let last = come_in(&client, "Last").await;
    device_of(&client, &last).await;
    hub.change("UPDATE users SET expires_at = 1 WHERE kind = 'guest'", ());
    hub.change("UPDATE users SET expires_at = 3 WHERE handle = ?1", [&last.handle]);
    make_guest(&hub, &gus, 2);
    let cursor = alice.get("/v1/events").await.done::<EventPage>().cursor;
    let hub = Hub::start_in(hub.stop().await).await;
    alice.base.clone_from(&hub.base);

    let told: EventPage = alice.get(&format!("/v1/events?since={cursor}&wait=60")).await.done();
    let EventBody::Members { left, .. } = &told.events[0].body else { panic!("{told:?}") };
    assert_eq!(left[..], [gus.user]);
    let last = Client::new(&hub).with_token(&last.token);
    last.get("/v1/events?wait=60").await.refused(Code::DeviceRemoved);
    let told: EventPage =
        alice.get(&format!("/v1/events?since={}&wait=60", told.events[0].cursor)).await.done();
    assert!(
        matches!(told.events[0].body, EventBody::Proposal { .. }),
        "its devices are to be removed: {told:?}"
    );
    let rows = hub.rows();
    assert_eq!((rows["sessions"], rows["devices"]), (1, 1), "alice's");
    let left =
        hub.stored().number("SELECT count(*) FROM users WHERE expires_at IS NOT NULL OR name IS NOT NULL");
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_guest_ends_the_account_without_a_password() {
    let hub = Hub::start().await;
    let client = Client::new(&hub);
    let session = come_in(&client, "Ana").await;
    let guest = device_of(&client, &session).await;
    guest.post("/v1/self/delete", &json!({ "password": "" })).await.empty();
    guest.get("/v1/self").await.refused(Code::DeviceRemoved);
}

#[tokio::test]
async fn a_service_says_so_and_is_otherwise_as_a_person() {
    let hub = Hub::start().await;
    let client = Client::new(&hub);
    let account = json!({ "handle": "clock", "password": PASSWORD, "kind": "service" });
    let session: Session = client.post("/v1/accounts", &account).await.done();
    assert_eq!((session.kind, session.expires_at), (AccountKind::Service, None));
    let clock = Person::log_in(&hub, "clock").await;
    let alice = Person::sign_up(&hub, "alice").await;
    assert_eq!(clock.get("/v1/self").await.done::<Me>().kind, AccountKind::Service);
    let found: Users = alice.get("/v1/search/users?beginning=cl").await.done();
    assert_eq!(found.users[0].kind, AccountKind::Service);
    assert_eq!(alice.get("/v1/users?handle=clock").await.done::<User>().kind, AccountKind::Service);
    let of_alice = clock.get("/v1/users?handle=alice").await.done::<Value>();
    assert!(of_alice.get("kind").is_none(), "a person's goes without saying: {of_alice}");

    connect(&alice, &clock).await;
    let (group, mut at_alice) = alice.new_group().await;
    let path = format!("/v1/conversations/{group}/access");
    let persons = json!({ "access": ["invite"], "access_roles": ["non_team_member"] });
    alice.put(&path, &persons).await.empty();
    let bundle = commit(&mut at_alice, &alice.claim(&[clock.user]).await, &[]);
    alice.commit(group, &bundle).await.refused(Code::NotAdmitted);
    at_alice.clear_pending_commit();
    let access = json!({ "access": ["invite"], "access_roles": ["non_team_member", "service"] });
    alice.put(&path, &access).await.empty();
    alice.add(group, &mut at_alice, &[clock.user]).await;
    assert_eq!(alice.conversation(group).await.members[1].kind, AccountKind::Service);
    let joined = clock.events().await.into_iter().find_map(|event| match event.body {
        EventBody::Members { joined, .. } => Some(joined),
        _ => None,
    });
    assert_eq!(joined.unwrap()[0].kind, AccountKind::Service);
    clock.post("/v1/team", &json!({ "name": "Clocks" })).await.bytes();
    let members: Value = clock.get("/v1/team/members").await.done();
    assert_eq!(members["members"][0]["kind"], "service");
}
