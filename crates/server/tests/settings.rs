//! What is set for all members of a conversation: who may, who is told, and that nothing else changes.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::{
    hub::{Hub, Person, connect, one_to_one, types},
    mls::commit,
};
use tertulia_api::{
    Code, UserDevice,
    conversation::{CommitAccepted, Conversation, NewConversation},
    event::EventBody,
    setting::Setting,
};
use tertulia_domain::{ConversationId, MessageTimer, ReceiptMode, policy::AddPermission};

/// Each setting with a value that it has not by default.
fn all() -> [(&'static str, Value); 3] {
    [
        ("message-timer", json!({ "message_timer": 86_400_000 })),
        ("receipt-mode", json!({ "receipt_mode": "on" })),
        ("add-permission", json!({ "add_permission": "everyone" })),
    ]
}

fn path(conversation: ConversationId, what: &str) -> String {
    format!("/v1/conversations/{conversation}/{what}")
}

/// What this person's events say was set, and by which device.
async fn told(person: &Person) -> Vec<(Setting, Option<UserDevice>)> {
    let events = person.events().await;
    let setting = |body| match body {
        EventBody::Setting { entry, setting } => Some((setting, entry.sender)),
        _ => None,
    };
    events.into_iter().filter_map(|event| setting(event.body)).collect()
}

/// Alice and Bob, who are connected, and a pairwise group of theirs.
async fn pair(hub: &Hub) -> (Person, Person, ConversationId) {
    let (alice, bob) = (Person::sign_up(hub, "alice").await, Person::sign_up(hub, "bob").await);
    connect(&alice, &bob).await;
    let group = alice.pairwise_group(&[&bob]).await;
    (alice, bob, group)
}

#[tokio::test]
async fn an_admin_sets_and_all_members_are_told_once() {
    let hub = Hub::start().await;
    let (alice, bob, group) = pair(&hub).await;
    for _ in 0..2 {
        for (what, body) in all() {
            alice.put(&path(group, what), &body).await.empty();
        }
    }
    let by_alice = Some(alice.address());
    let day = MessageTimer::try_from(86_400_000).unwrap();
    let expected = [
        (Setting::MessageTimer(Some(day)), by_alice),
        (Setting::ReceiptMode(ReceiptMode::On), by_alice),
        (Setting::AddPermission(AddPermission::Everyone), by_alice),
    ];
    for member in [&alice, &bob] {
        assert_eq!(told(member).await, expected, "setting it again changes nothing");
        let shown = member.conversation(group).await.settings;
        assert_eq!((shown.message_timer, shown.receipt_mode), (Some(day), ReceiptMode::On));
        assert_eq!(shown.add_permission, AddPermission::Everyone);
    }
    alice.put(&path(group, "message-timer"), &json!({ "message_timer": null })).await.empty();
    assert_eq!(bob.conversation(group).await.settings.message_timer, None);
    assert_eq!(told(&bob).await.last().unwrap().0, Setting::MessageTimer(None));
}

#[tokio::test]
async fn membership_comes_before_the_action_and_the_action_before_the_type() {
    let hub = Hub::start().await;
    let (alice, bob, group) = pair(&hub).await;
    let carol = Person::sign_up(&hub, "carol").await;
    let (direct, _, _) = one_to_one(&alice, &carol).await;
    let own = ConversationId::self_of(alice.user);
    alice.conversation(own).await;
    let rows = hub.rows();
    for (what, body) in all() {
        carol.put(&path(group, what), &body).await.refused(Code::NoConversation);
        carol.put(&path(ConversationId::random(), what), &body).await.refused(Code::NoConversation);
        bob.put(&path(group, what), &body).await.refused(Code::ActionDenied);
        // In their 1:1 and with oneself everybody has all actions, and there is nothing to be set.
        carol.put(&path(direct, what), &body).await.refused(Code::InvalidOperation);
        alice.put(&path(own, what), &body).await.refused(Code::InvalidOperation);
    }
    assert_eq!(hub.rows(), rows, "what is refused leaves nothing behind");
}

#[tokio::test]
async fn a_team_role_with_one_action_sets_that_and_nothing_else() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let bob = Person::sign_up(&hub, "bob").await;
    connect(&alice, &bob).await;
    let group = alice.pairwise_group(&[&bob]).await;
    let actions = ["modify_message_timer", "modify_receipt_mode", "modify_add_permission"];
    for (allowed, action) in actions.iter().enumerate() {
        // Roles of teams reach a conversation by the policy of its group; here they are put into the hub's hands.
        let sql = format!(
            "DELETE FROM conversation_roles;
             INSERT INTO conversation_roles SELECT id, 'clerk', {} FROM conversations WHERE type = 'group';
             UPDATE members SET role = 'clerk' WHERE user_id = (SELECT id FROM users WHERE handle = 'bob')
                 AND conversation IN (SELECT id FROM conversations WHERE type = 'group')",
            tertulia_domain::role::ActionSet::of(&[action.parse().unwrap()]).bits()
        );
        hub.stored().batch(&sql);
        for (which, (what, body)) in all().into_iter().enumerate() {
            let answer = bob.put(&path(group, what), &body).await;
            if which == allowed {
                answer.empty();
            } else {
                answer.refused(Code::ActionDenied);
            }
        }
    }
}

#[tokio::test]
async fn a_timer_out_of_its_bounds_is_refused_and_so_is_an_unknown_mode() {
    let hub = Hub::start().await;
    let (alice, _, group) = pair(&hub).await;
    for timer in [json!(0), json!(999), json!(31_536_000_001_u64), json!(-1), json!("1 day"), json!(1000.5)] {
        let body = json!({ "message_timer": timer });
        alice.put(&path(group, "message-timer"), &body).await.refused(Code::BadRequest);
    }
    alice.put(&path(group, "message-timer"), &json!({})).await.refused(Code::BadRequest);
    for timer in [1000_u64, 31_536_000_000] {
        alice.put(&path(group, "message-timer"), &json!({ "message_timer": timer })).await.empty();
    }
    alice.put(&path(group, "receipt-mode"), &json!({ "receipt_mode": 1 })).await.refused(Code::BadRequest);
    alice
        .put(&path(group, "add-permission"), &json!({ "add_permission": "nobody" }))
        .await
        .refused(Code::BadRequest);
}

#[tokio::test]
async fn where_everyone_may_add_a_member_adds_whom_they_are_connected_with() {
    let hub = Hub::start().await;
    let (alice, bob, group) = pair(&hub).await;
    let (carol, dave) = (Person::sign_up(&hub, "carol").await, Person::sign_up(&hub, "dave").await);
    connect(&bob, &carol).await;
    bob.add_to(group, &[&carol]).await.refused(Code::ActionDenied);
    let everyone = json!({ "add_permission": "everyone" });
    alice.put(&path(group, "add-permission"), &everyone).await.empty();
    bob.add_to(group, &[&dave]).await.refused(Code::NotConnected);
    bob.add_to(group, &[&carol]).await.empty();
    assert_eq!(alice.conversation(group).await.members.len(), 3);
}

#[tokio::test]
async fn in_an_mls_group_who_may_add_stands_in_its_context() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    connect(&alice, &bob).await;
    let (group, mut at_alice) = alice.new_group().await;
    let everyone = json!({ "add_permission": "everyone" });
    alice.put(&path(group, "add-permission"), &everyone).await.refused(Code::InvalidOperation);
    alice.add(group, &mut at_alice, &[bob.user]).await;
    alice.put(&path(group, "add-permission"), &everyone).await.refused(Code::InvalidOperation);
    bob.put(&path(group, "add-permission"), &everyone).await.refused(Code::ActionDenied);
    // The others are the hub's to keep, with MLS as without.
    alice.put(&path(group, "receipt-mode"), &json!({ "receipt_mode": "on" })).await.empty();
    assert_eq!(bob.conversation(group).await.settings.receipt_mode, ReceiptMode::On);
    let update = commit(&mut at_alice, &[], &[]);
    alice.commit(group, &update).await.done::<CommitAccepted>();
    assert_eq!(types(&bob.events().await).last().map(String::as_str), Some("conversation.commit"));
}

#[tokio::test]
async fn a_conversation_is_made_under_one_that_its_creator_is_in() {
    let hub = Hub::start().await;
    let (alice, bob, parent) = pair(&hub).await;
    let carol = Person::sign_up(&hub, "carol").await;
    let new =
        |parent| NewConversation { parent: Some(parent), ..NewConversation::new(ConversationId::random()) };
    let rows = hub.rows();
    carol.post("/v1/conversations", &new(parent)).await.refused(Code::NoConversation);
    carol.post("/v1/conversations", &new(ConversationId::random())).await.refused(Code::NoConversation);
    assert_eq!(hub.rows(), rows, "nothing is made");
    let own = ConversationId::self_of(alice.user);
    alice.conversation(own).await;
    alice.post("/v1/conversations", &new(own)).await.refused(Code::InvalidOperation);

    // A member without any rights in the parent may.
    let asked = new(parent);
    let made: Conversation = bob.post("/v1/conversations", &asked).await.done();
    assert_eq!(made.parent, Some(parent));
    let again: Conversation = bob.post("/v1/conversations", &asked).await.done();
    assert_eq!(again, made, "the same request has the same answer");
    assert_eq!(alice.conversation(parent).await.parent, None);
    // Nothing becomes of the child when the parent ends.
    bob.post(&path(parent, "leave"), &json!({})).await.empty();
    alice.post(&path(parent, "leave"), &json!({})).await.empty();
    assert_eq!(bob.conversation(made.conversation).await, made);
}
