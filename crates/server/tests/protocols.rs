//! The encryption protocol of a conversation: what each takes, and the way from pairwise over mixed to mls.
#![allow(clippy::unwrap_used)]

mod support;

use support::{
    hub::{Hub, Person, connect, one_to_one},
    mls::{commit, encrypt},
    pairwise::message_for,
};
use tertulia_api::{
    Code,
    conversation::{CommitAccepted, Conversation, MessageAccepted, NewConversation},
    event::EventBody,
    pairwise::PairwiseAccepted,
};
use tertulia_domain::{ConversationId, Protocol};

async fn pair(hub: &Hub) -> (Person, Person, ConversationId) {
    let (alice, bob) = (Person::sign_up(hub, "alice").await, Person::sign_up(hub, "bob").await);
    connect(&alice, &bob).await;
    for device in [&alice, &bob] {
        device.publish_pairwise(&[1, 2, 3]).await;
    }
    let group = alice.pairwise_group(&[&bob]).await;
    (alice, bob, group)
}

#[tokio::test]
async fn a_conversation_is_on_mls_unless_it_was_created_otherwise() {
    let hub = Hub::start().await;
    let (alice, bob, pairwise) = pair(&hub).await;
    let (plain, _) = alice.new_group().await;
    assert_eq!(alice.conversation(plain).await.protocol, Protocol::Mls);
    assert_eq!(bob.conversation(pairwise).await.protocol, Protocol::Pairwise);
    let mixed =
        NewConversation { protocol: Protocol::Mixed, ..NewConversation::new(ConversationId::random()) };
    alice.post("/v1/conversations", &mixed).await.refused(Code::BadRequest);
    // Creating it again does not change it.
    let again = NewConversation::new(pairwise);
    let made: Conversation = alice.post("/v1/conversations", &again).await.done();
    assert_eq!(made.protocol, Protocol::Pairwise);
}

#[tokio::test]
async fn a_conversation_that_is_not_on_mls_has_a_bounded_number_of_members() {
    let hub = Hub::start().await;
    let (alice, _bob, group) = pair(&hub).await;
    let carol = Person::sign_up(&hub, "carol").await;
    connect(&alice, &carol).await;
    // As many as would be there after years.
    for number in 1..=126_u8 {
        hub.change(
            "INSERT INTO users (id, handle, password, created_at) VALUES (?1, ?2, '', 0)",
            (&[number; 16], format!("filler{number}").as_str()),
        );
    }
    let members = "INSERT INTO members (conversation, user_id, role, joined_position)
                   SELECT ?1, id, 'member', 1 FROM users WHERE handle LIKE 'filler%'";
    hub.change(members, [group.as_bytes()]);
    alice.add_to(group, &[&carol]).await.refused(Code::MemberLimit);
    hub.change("DELETE FROM members WHERE user_id = (SELECT id FROM users WHERE handle = 'filler1')", ());
    assert!(alice.add_to(group, &[&carol]).await.status.is_success());
}

#[tokio::test]
async fn a_conversation_on_mls_takes_no_pairwise_messages_and_no_members_by_request() {
    let hub = Hub::start().await;
    let (alice, bob, _) = pair(&hub).await;
    let (group, mut at_alice) = alice.new_group().await;
    alice.add(group, &mut at_alice, &[bob.user]).await;
    let message = message_for(&[bob.address()]);
    alice.send_pairwise(group, &message).await.refused(Code::WrongProtocol);
    alice.add_to(group, &[&bob]).await.refused(Code::WrongProtocol);
    let bobs = format!("/v1/conversations/{group}/members/{}", bob.user);
    alice.delete(&bobs).await.refused(Code::WrongProtocol);
    let (direct, _, _) = one_to_one(&alice, &Person::sign_up(&hub, "carol").await).await;
    alice.send_pairwise(direct, &message).await.refused(Code::WrongProtocol);
}

#[tokio::test]
async fn while_pairwise_there_is_no_group_and_while_mixed_messages_still_go_pairwise() {
    let hub = Hub::start().await;
    let (alice, bob, group) = pair(&hub).await;
    let mut at_alice = alice.mls.create_managed(group, &alice.hub_key);
    let packages = alice.claim(&[bob.user]).await;
    let mut bundle = commit(&mut at_alice, &packages, &[]);
    alice.commit(group, &bundle).await.refused(Code::WrongProtocol);

    alice.set_protocol(group, Protocol::Mixed).await.empty();
    at_alice.apply_pending_commit().unwrap();
    let message = encrypt(&mut at_alice, "not yet");
    // Nor with the commit.
    bundle.message = Some(support::mls::message(&message));
    alice.commit(group, &bundle).await.refused(Code::WrongProtocol);
    bundle.message = None;
    alice.commit(group, &bundle).await.done::<CommitAccepted>();
    alice.send(group, message).await.refused(Code::WrongProtocol);
    alice.send_pairwise(group, &message_for(&[bob.address()])).await.done::<PairwiseAccepted>();

    alice.set_protocol(group, Protocol::Mls).await.empty();
    alice.sent(group, encrypt(&mut at_alice, "now")).await;
    let late = message_for(&[bob.address(), alice.address()]);
    alice.send_pairwise(group, &late).await.refused(Code::WrongProtocol);
}

#[tokio::test]
async fn the_protocol_goes_one_step_at_a_time_and_never_back() {
    let hub = Hub::start().await;
    let (alice, bob, group) = pair(&hub).await;
    let refused = Code::InvalidProtocolTransition;
    alice.set_protocol(group, Protocol::Mls).await.refused(refused);
    alice.set_protocol(group, Protocol::Pairwise).await.empty();
    let rows = hub.rows();
    alice.set_protocol(group, Protocol::Mixed).await.empty();
    alice.set_protocol(group, Protocol::Mixed).await.empty();
    assert_eq!(hub.rows()["log"], rows["log"] + 1, "again is nothing new");
    alice.set_protocol(group, Protocol::Pairwise).await.refused(refused);
    let mut at_alice = alice.mls.create_managed(group, &alice.hub_key);
    alice.add(group, &mut at_alice, &[bob.user]).await;
    alice.set_protocol(group, Protocol::Mls).await.empty();
    for back in [Protocol::Pairwise, Protocol::Mixed] {
        alice.set_protocol(group, back).await.refused(refused);
    }
    let told: Vec<_> = bob
        .events()
        .await
        .into_iter()
        .filter_map(|event| match event.body {
            EventBody::Protocol { protocol, .. } => Some(protocol),
            _ => None,
        })
        .collect();
    assert_eq!(told, [Protocol::Mixed, Protocol::Mls]);
}

#[tokio::test]
async fn only_an_admin_changes_the_protocol_of_a_group() {
    let hub = Hub::start().await;
    let (alice, bob, group) = pair(&hub).await;
    bob.set_protocol(group, Protocol::Mixed).await.refused(Code::ActionDenied);
    let eve = Person::sign_up(&hub, "eve").await;
    eve.set_protocol(group, Protocol::Mixed).await.refused(Code::NoConversation);
    let own = ConversationId::self_of(alice.user);
    alice.conversation(own).await;
    alice.set_protocol(own, Protocol::Mixed).await.refused(Code::InvalidOperation);
}

#[tokio::test]
async fn only_an_admin_makes_the_group_of_a_conversation_that_has_members() {
    let hub = Hub::start().await;
    let (alice, bob, group) = pair(&hub).await;
    alice.set_protocol(group, Protocol::Mixed).await.empty();
    let mut at_bob = bob.mls.create_managed(group, &bob.hub_key);
    let bundle = commit(&mut at_bob, &bob.claim(&[alice.user]).await, &[]);
    bob.commit(group, &bundle).await.refused(Code::ActionDenied);
    assert_eq!(bob.conversation(group).await.epoch, 0);
}

#[tokio::test]
async fn finalising_needs_every_members_devices_in_the_group() {
    let hub = Hub::start().await;
    let (alice, bob, group) = pair(&hub).await;
    alice.set_protocol(group, Protocol::Mixed).await.empty();
    let outside = alice.set_protocol(group, Protocol::Mls).await.refused(Code::DeviceMismatch);
    assert_eq!(outside.missing.len(), 2, "there is no group yet");
    let mut at_alice = alice.mls.create_managed(group, &alice.hub_key);
    alice.add(group, &mut at_alice, &[bob.user]).await;
    let phone = Person::open(&hub, "bob", "/v1/sessions", 1).await;
    let outside = alice.set_protocol(group, Protocol::Mls).await.refused(Code::DeviceMismatch);
    assert_eq!(outside.missing, [phone.address()]);
    let (mut at_phone, bundle) = phone.mls.external_commit(&phone.group_info(group).await, None);
    phone.commit(group, &bundle).await.done::<CommitAccepted>();
    alice.set_protocol(group, Protocol::Mls).await.empty();
    let sent: MessageAccepted = phone.sent(group, encrypt(&mut at_phone, "all here")).await;
    assert!(sent.sequence > 0);
}
