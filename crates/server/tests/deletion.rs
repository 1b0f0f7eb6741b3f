//! Accounts that are deleted, with everything that follows, through a real hub.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::{
    hub::{Answer, Hub, PASSWORD, Person, connect, one_to_one, types},
    mls::{self, commit, encrypt},
    open::Client,
    socket::{closed, open},
};
use tertulia_api::{
    Code,
    connection::{Connection, Connections},
    conversation::{Conversation, Conversations},
    event::{Event, EventBody},
};
use tertulia_domain::{ConversationId, Role, RoleName, UserId, connection::Status};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

async fn delete_with(person: &Person, password: &str) -> Answer {
    person.post("/v1/self/delete", &json!({ "password": password })).await
}

async fn delete(person: &Person) {
    delete_with(person, PASSWORD).await.empty();
}

async fn statuses(of: &Person) -> Vec<(String, Status)> {
    let all: Connections = of.get("/v1/connections").await.done();
    all.connections.into_iter().map(|connection| (connection.handle, connection.status)).collect()
}

async fn conversations(of: &Person) -> Vec<Conversation> {
    of.get("/v1/conversations").await.done::<Conversations>().conversations
}

fn members(conversation: &Conversation) -> Vec<(UserId, RoleName)> {
    conversation.members.iter().map(|member| (member.user, member.role.clone())).collect()
}

/// The events after those that were there before.
fn since(events: Vec<Event>, before: &[Event]) -> Vec<Event> {
    events.into_iter().skip(before.len()).collect()
}

#[tokio::test]
async fn an_account_is_deleted_with_the_password_only() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let before = hub.rows();
    delete_with(&alice, "not her password").await.refused(Code::InvalidCredentials);
    assert_eq!(hub.rows(), before);
    alice.get("/v1/self").await.done::<Value>();
}

#[tokio::test]
async fn sessions_devices_and_key_packages_of_a_deleted_account_are_gone() {
    let hub = Hub::start().await;
    let laptop = Person::sign_up(&hub, "alice").await;
    let phone = Person::log_in(&hub, "alice").await;
    let mut socket = open(&phone, "").await;
    delete(&laptop).await;
    assert_eq!(closed(&mut socket).await, CloseCode::Policy);
    for device in [&laptop, &phone] {
        device.get("/v1/self").await.refused(Code::DeviceRemoved);
        device.get("/v1/events").await.refused(Code::DeviceRemoved);
    }
    let rows = hub.rows();
    for table in ["sessions", "devices", "key_packages", "spent_key_packages", "user_events"] {
        assert_eq!(rows[table], 0, "{table}");
    }
    let credentials = json!({ "handle": "alice", "password": PASSWORD });
    Client::new(&hub).post("/v1/sessions", &credentials).await.refused(Code::InvalidCredentials);
}

#[tokio::test]
async fn the_handle_of_a_deleted_account_is_given_to_nobody() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    delete(&alice).await;
    let credentials = json!({ "handle": "alice", "password": "an impostor's password" });
    Client::new(&hub).post("/v1/accounts", &credentials).await.refused(Code::HandleTaken);
    bob.get(&format!("/v1/users/{}", alice.user)).await.refused(Code::UnknownUser);
    bob.get("/v1/users?handle=alice").await.refused(Code::UnknownUser);
    let found: Value = bob.get("/v1/search/users?beginning=ali").await.done();
    assert_eq!(found["users"], json!([]));
}

#[tokio::test]
async fn a_deleted_user_cannot_be_asked_or_answered() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    alice.connect(&bob).await;
    delete(&alice).await;
    bob.post("/v1/connections", &json!({ "handle": "alice" })).await.refused(Code::InvalidUser);
    for status in Status::ALL {
        bob.set_connection(&alice, status.as_str()).await.refused(Code::InvalidUser);
    }
    bob.post("/v1/key-packages/claims", &json!({ "users": [alice.user] })).await.refused(Code::UnknownUser);
}

#[tokio::test]
async fn the_contacts_of_a_deleted_user_are_told_and_their_one_to_one_ends_for_good() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (conversation, mut at_alice, mut at_bob) = one_to_one(&alice, &bob).await;
    let message = encrypt(&mut at_alice, "farewell");
    alice.sent(conversation, message.clone()).await;
    delete(&alice).await;

    let events = bob.events().await;
    let EventBody::UserDeleted { user } = events.last().unwrap().body else { panic!("bob is not told") };
    assert_eq!(user, alice.user);
    assert_eq!(statuses(&bob).await, [("alice".to_owned(), Status::Cancelled)]);
    assert!(conversations(&bob).await.is_empty());
    bob.get(&format!("/v1/conversations/{conversation}")).await.refused(Code::NoConversation);
    bob.send(conversation, encrypt(&mut at_bob, "hello?")).await.refused(Code::NoConversation);
    // What was said before arrives all the same; and once it has, the hub forgets it.
    let arrived = events.iter().any(|event| match &event.body {
        EventBody::Message { message: found, .. } => found.0 == message,
        _ => false,
    });
    assert!(arrived);
    assert_eq!((hub.rows()["groups"], hub.rows()["leaves"]), (0, 0));
    let mut socket = open(&bob, "").await;
    let ack = json!({ "type": "ack", "cursor": events.last().unwrap().cursor }).to_string();
    futures::SinkExt::send(&mut socket, tokio_tungstenite::tungstenite::Message::text(ack)).await.unwrap();
    // Reading without a cursor begins after what was acknowledged.
    while !bob.events().await.is_empty() {}
    drop(socket);
    let carol = Person::sign_up(&hub, "carol").await;
    delete(&carol).await;
    let hub = Hub::start_in(hub.stop().await).await;
    assert_eq!((hub.rows()["conversations"], hub.rows()["log"]), (0, 0));
}

#[tokio::test]
async fn requests_to_and_from_a_deleted_user_become_cancelled() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (asked, ignoring) = (Person::sign_up(&hub, "bob").await, Person::sign_up(&hub, "carol").await);
    let (asking, blocking) = (Person::sign_up(&hub, "dave").await, Person::sign_up(&hub, "eve").await);
    alice.connect(&asked).await;
    alice.connect(&ignoring).await;
    ignoring.set_connection(&alice, "ignored").await.done::<Connection>();
    asking.connect(&alice).await;
    alice.connect(&blocking).await;
    blocking.set_connection(&alice, "blocked").await.done::<Connection>();
    let mut before = Vec::new();
    for person in [&asked, &ignoring, &asking, &blocking] {
        before.push(person.events().await);
    }
    delete(&alice).await;
    for (n, (person, status)) in [
        (&asked, Status::Cancelled),
        (&ignoring, Status::Cancelled),
        (&asking, Status::Cancelled),
        (&blocking, Status::Blocked),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(statuses(person).await, [("alice".to_owned(), status)]);
        assert!(conversations(person).await.is_empty());
        let told = types(&since(person.events().await, &before[n]));
        let expected: &[&str] = if status == Status::Blocked { &[] } else { &["connection.updated"] };
        assert_eq!(told, expected, "{}", person.handle);
    }
}

/// All that somebody sees of another's deletion, byte for byte but for the clock.
async fn seen_of_deletion(person: &Person, deleted: &Person, before: &[Event]) -> Vec<Value> {
    let mut seen: Vec<Value> = since(person.events().await, before)
        .iter()
        .map(|event| serde_json::to_value(&event.body).unwrap())
        .collect();
    for path in ["/v1/connections", "/v1/conversations", &format!("/v1/users/{}", deleted.user)] {
        seen.push(serde_json::from_slice(&person.get(path).await.body).unwrap());
    }
    let text = serde_json::to_string(&seen).unwrap();
    let text = text.replace(&deleted.user.to_string(), "them").replace(&deleted.handle, "them");
    let mut seen: Vec<Value> = serde_json::from_str(&text).unwrap();
    seen.iter_mut().for_each(forget_times_and_derived_ids);
    seen
}

fn forget_times_and_derived_ids(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !["updated_at", "conversation"].contains(&name.as_str()));
            fields.values_mut().for_each(forget_times_and_derived_ids);
        }
        Value::Array(values) => values.iter_mut().for_each(forget_times_and_derived_ids),
        _ => {}
    }
}

#[tokio::test]
async fn a_deletion_does_not_show_whether_the_deleted_user_blocked_one() {
    for connected in [false, true] {
        let hub = Hub::start().await;
        let mut seen = Vec::new();
        for (n, blocks) in [false, true].into_iter().enumerate() {
            let alice = Person::sign_up(&hub, &format!("alice{n}")).await;
            let bob = Person::sign_up(&hub, &format!("bob{n}")).await;
            if connected {
                connect(&bob, &alice).await;
            } else {
                bob.connect(&alice).await;
            }
            if blocks {
                alice.set_connection(&bob, "blocked").await.done::<Connection>();
            }
            let before = bob.events().await;
            delete(&alice).await;
            seen.push(seen_of_deletion(&bob, &alice, &before).await);
        }
        assert!(seen[0].len() > 3, "something is told");
        assert_eq!(seen[0], seen[1], "connected: {connected}");
    }
}

#[tokio::test]
async fn the_longest_member_follows_the_last_admin_and_the_hub_proposes_the_removal() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (bob, carol) = (Person::sign_up(&hub, "bob").await, Person::sign_up(&hub, "carol").await);
    connect(&alice, &bob).await;
    connect(&alice, &carol).await;
    let (group, mut at_alice) = alice.new_group().await;
    let bundle = alice.add(group, &mut at_alice, &[carol.user]).await;
    let mut at_carol = carol.mls.join(&bundle.welcome.unwrap().to_bytes().unwrap());
    let bundle = alice.add(group, &mut at_alice, &[bob.user]).await;
    at_carol.process_incoming_message(bundle.commit).unwrap();
    let before = carol.events().await;

    delete(&alice).await;
    let events = since(carol.events().await, &before);
    assert_eq!(types(&events), ["conversation.members", "user.deleted", "conversation.proposal"]);
    let EventBody::Proposal { proposal, .. } = &events[2].body else { panic!("not a proposal") };
    at_carol.process_incoming_message(mls::message(&proposal.0)).unwrap();
    // Whoever commits the removal makes the longest member admin with it.
    let heir = mls::policy_of(at_carol.context()).unwrap();
    assert_eq!(heir.members().map(|(user, _)| user).collect::<Vec<_>>(), [alice.user, carol.user, bob.user]);
    let bundle = commit(&mut at_carol, &[], &[]);
    carol.committed(group, &mut at_carol, &bundle).await;
    assert_eq!((hub.rows()["proposals"], at_carol.roster().members().len()), (0, 2));
    let conversation = bob.conversation(group).await;
    assert_eq!(members(&conversation), [(carol.user, RoleName::ADMIN), (bob.user, RoleName::MEMBER)]);
    let events = bob.events().await;
    let EventBody::Role { user, role, .. } = &events.last().unwrap().body else { panic!("not a role") };
    assert_eq!((*user, role), (carol.user, &RoleName::ADMIN));
}

#[tokio::test]
async fn where_there_is_no_mls_group_the_longest_member_follows_at_once() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (bob, carol) = (Person::sign_up(&hub, "bob").await, Person::sign_up(&hub, "carol").await);
    let group = ConversationId::random();
    let new = json!({ "conversation": group, "protocol": "pairwise" });
    alice.post("/v1/conversations", &new).await.done::<Conversation>();
    for other in [&carol, &bob] {
        connect(&alice, other).await;
        let members = format!("/v1/conversations/{group}/members");
        alice.post(&members, &json!({ "users": [other.user] })).await.empty();
    }
    delete(&alice).await;
    let conversation = bob.conversation(group).await;
    assert_eq!(members(&conversation), [(carol.user, RoleName::ADMIN), (bob.user, RoleName::MEMBER)]);
    let events = bob.events().await;
    let told = events.iter().find_map(|event| match &event.body {
        EventBody::Role { user, role, entry } => Some((*user, role.clone(), entry.sender)),
        _ => None,
    });
    assert_eq!(told, Some((carol.user, RoleName::ADMIN, None)), "the hub itself gives the role");
}

#[tokio::test]
async fn an_admin_who_remains_is_enough() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (bob, carol) = (Person::sign_up(&hub, "bob").await, Person::sign_up(&hub, "carol").await);
    connect(&alice, &bob).await;
    connect(&alice, &carol).await;
    let (group, mut at_alice) = alice.new_group().await;
    alice.add(group, &mut at_alice, &[bob.user]).await;
    alice.add(group, &mut at_alice, &[carol.user]).await;
    let policy = mls::policy_of(at_alice.context()).unwrap().with_role(carol.user, &Role::ADMIN);
    let bundle = mls::commit_policy(&mut at_alice, &policy);
    alice.committed(group, &mut at_alice, &bundle).await;
    delete(&alice).await;
    let conversation = bob.conversation(group).await;
    assert_eq!(members(&conversation), [(bob.user, RoleName::MEMBER), (carol.user, RoleName::ADMIN)]);
}

#[tokio::test]
async fn a_group_where_nobody_is_left_is_deleted() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (group, mut at_alice) = alice.new_group().await;
    let bundle = commit(&mut at_alice, &[], &[]);
    alice.committed(group, &mut at_alice, &bundle).await;
    delete(&alice).await;
    let rows = hub.rows();
    for table in ["conversations", "members", "groups", "leaves", "proposals", "log"] {
        assert_eq!(rows[table], 0, "{table}");
    }
    // So is one that its last member leaves.
    let (group, mut at_bob) = bob.new_group().await;
    let bundle = commit(&mut at_bob, &[], &[]);
    bob.committed(group, &mut at_bob, &bundle).await;
    bob.post(&format!("/v1/conversations/{group}/leave"), &json!({})).await.empty();
    bob.get(&format!("/v1/conversations/{group}")).await.refused(Code::NoConversation);
    assert_eq!((hub.rows()["groups"], hub.rows()["leaves"]), (0, 0));
    // Bob's device has not taken all of it yet.
    assert_eq!(
        types(&bob.events().await),
        ["conversation.joined", "conversation.commit", "conversation.members"]
    );
}

#[tokio::test]
async fn a_display_name_is_for_all_and_the_locale_for_the_connected() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let eve = Person::sign_up(&hub, "eve").await;
    for (name, locale) in
        [(json!(""), json!(null)), (json!("A\nB"), json!(null)), (json!(null), json!("not a locale"))]
    {
        let profile = json!({ "name": name, "locale": locale });
        alice.put("/v1/self/profile", &profile).await.refused(Code::InvalidProfile);
    }
    let profile = json!({ "name": " Alice Munro ", "locale": "es-mx" });
    alice.put("/v1/self/profile", &profile).await.empty();
    connect(&alice, &bob).await;
    let me: Value = alice.get("/v1/self").await.done();
    assert_eq!((&me["name"], &me["locale"]), (&json!("Alice Munro"), &json!("es-MX")));

    let by_id = format!("/v1/users/{}", alice.user);
    for path in [by_id.as_str(), "/v1/users?handle=alice"] {
        let by_stranger: Value = eve.get(path).await.done();
        assert_eq!(by_stranger, json!({ "user": alice.user, "handle": "alice", "name": "Alice Munro" }));
        assert_eq!(bob.get(path).await.done::<Value>()["locale"], "es-MX");
        assert_eq!(alice.get(path).await.done::<Value>()["locale"], "es-MX");
    }
    // A request alone shows nothing; and a block does not take away what was shown.
    eve.connect(&alice).await;
    assert_eq!(eve.get(&by_id).await.done::<Value>()["locale"], json!(null));
    alice.set_connection(&bob, "blocked").await.done::<Connection>();
    assert_eq!(bob.get(&by_id).await.done::<Value>()["locale"], "es-MX");
    // Who is blocked, blocks in turn and unblocks has still asked, and nobody has answered.
    alice.set_connection(&eve, "blocked").await.done::<Connection>();
    eve.set_connection(&alice, "blocked").await.done::<Connection>();
    assert_eq!(eve.set_connection(&alice, "accepted").await.done::<Connection>().status, Status::Sent);
    assert_eq!(eve.get(&by_id).await.done::<Value>()["locale"], json!(null));
    // What is left out is gone.
    alice.put("/v1/self/profile", &json!({})).await.empty();
    assert_eq!(bob.get(&by_id).await.done::<Value>(), json!({ "user": alice.user, "handle": "alice" }));
}

#[tokio::test]
async fn a_search_finds_twenty_by_the_beginning_of_the_handle_and_is_limited() {
    let hub = Hub::start_with(tempfile::tempdir().unwrap(), |config| {
        config.limits.searches =
            tertulia_server::Rate { burst: 8, period: std::time::Duration::from_hours(1) };
    })
    .await;
    let alice = Person::sign_up(&hub, "alice").await;
    let client = Client::new(&hub);
    for n in 0..22 {
        let credentials = json!({ "handle": format!("ana.{n:02}"), "password": PASSWORD });
        client.post("/v1/accounts", &credentials).await.done::<Value>();
    }
    let bob = Person::sign_up(&hub, "a_b").await;
    bob.put("/v1/self/profile", &json!({ "name": "Bob", "locale": "de" })).await.empty();
    connect(&alice, &bob).await;
    let search = async |beginning: &str| {
        let found: Value = alice.get(&format!("/v1/search/users?beginning={beginning}")).await.done();
        found["users"].as_array().unwrap().clone()
    };
    let found = search("ana").await;
    let handles: Vec<_> = found.iter().map(|user| user["handle"].as_str().unwrap().to_owned()).collect();
    assert_eq!(handles, (0..20).map(|n| format!("ana.{n:02}")).collect::<Vec<_>>());
    assert_eq!(search("@ANA.21").await.len(), 1);
    assert_eq!(search("ana.2").await.len(), 2);
    // An underscore is itself, and nobody's locale is in the answer.
    assert_eq!(search("a_").await, [json!({ "user": bob.user, "handle": "a_b", "name": "Bob" })]);
    assert!(search("zz").await.is_empty());
    for beginning in ["a", "", "ana%25", "%27"] {
        alice.get(&format!("/v1/search/users?beginning={beginning}")).await.refused(Code::InvalidHandle);
    }
    // Who blocks one is found as before.
    bob.set_connection(&alice, "blocked").await.done::<Connection>();
    assert_eq!(search("a_").await, [json!({ "user": bob.user, "handle": "a_b", "name": "Bob" })]);
    search("ana").await;
    search("ana").await;
    alice.get("/v1/search/users?beginning=ana").await.refused(Code::RateLimited);
    bob.get("/v1/search/users?beginning=ana").await.done::<Value>();
}
