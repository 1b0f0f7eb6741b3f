//! The conversation of a user with themselves, and the 1:1 that exists without being created.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::json;
use support::{
    hub::{Hub, Person, connect},
    mls::{commit, encrypt},
};
use tertulia_api::{Code, conversation::Conversation};
use tertulia_domain::{ConversationId, ConversationType, Domain};

#[tokio::test]
async fn the_self_conversation_is_there_whenever_it_is_asked_for_and_has_the_users_id() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let own = ConversationId::self_of(alice.user);
    let before = hub.rows()["conversations"];
    let shown = alice.conversation(own).await;
    assert_eq!((shown.kind, shown.epoch), (ConversationType::SelfConversation, 0));
    assert_eq!(shown.members.len(), 1);
    assert_eq!(alice.conversation(own).await, shown);
    assert_eq!(hub.rows()["conversations"], before + 1, "created lazily, and once");
    bob.get(&format!("/v1/conversations/{own}")).await.refused(Code::NoConversation);
}

#[tokio::test]
async fn the_self_conversation_has_all_devices_of_one_user() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    connect(&alice, &bob).await;
    let (tablet, phone) = (Person::log_in(&hub, "alice").await, Person::log_in(&hub, "alice").await);
    let own = ConversationId::self_of(alice.user);

    // The first commit comes without anybody having read the conversation before.
    let mut at_alice = alice.mls.create_group(own.as_bytes(), &alice.hub_key);
    let key_packages = alice.claim(&[bob.user]).await;
    let with_bob = commit(&mut at_alice, &key_packages, &[]);
    alice.commit(own, &with_bob).await.refused(Code::InvalidOperation);
    at_alice.clear_pending_commit();
    let tablets = alice.claim(&[alice.user]).await;
    let first = commit(&mut at_alice, &tablets[..1], &[]);
    alice.committed(own, &mut at_alice, &first).await;
    drop(tablet);

    let (mut at_phone, join) = phone.mls.external_commit(&phone.group_info(own).await, None);
    phone.commit(own, &join).await.done::<tertulia_api::conversation::CommitAccepted>();
    phone.sent(own, encrypt(&mut at_phone, "muted")).await;
    assert_eq!(alice.conversation(own).await.epoch, 2);
}

#[tokio::test]
async fn nobody_leaves_or_renames_the_self_conversation() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let own = alice.conversation(ConversationId::self_of(alice.user)).await.conversation;
    alice.post(&format!("/v1/conversations/{own}/leave"), &json!({})).await.refused(Code::InvalidOperation);
}

#[tokio::test]
async fn reading_the_derived_1_to_1_of_two_connected_users_before_the_first_commit_returns_epoch_0() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    connect(&alice, &bob).await;
    let domain = Domain::localhost();
    let derived = ConversationId::one_to_one((&bob.user, &domain), (&alice.user, &domain)).id;
    for person in [&alice, &bob] {
        let shown: Conversation = person.conversation(derived).await;
        assert_eq!((shown.kind, shown.epoch), (ConversationType::OneToOne, 0));
        assert_eq!(shown.group_id.0, derived.as_bytes());
    }
}
