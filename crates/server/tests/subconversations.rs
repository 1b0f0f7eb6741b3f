//! Subconversations through a real hub.
#![allow(clippy::unwrap_used)]

mod support;

use mls_rs::Group;
use reqwest::Method;
use serde_json::json;
use support::{
    hub::{Answer, Hub, PASSWORD, Person, connect, one_to_one, types},
    mls::{self, Bundle, Config, commit, decrypt, encrypt, leaf_of},
};
use tertulia_api::{
    Code, UserDevice,
    conversation::{CommitAccepted, Conversations, GroupReset, Subconversation, Subconversations},
    event::{Event, EventBody},
};
use tertulia_domain::{ConversationId, GroupId};

fn device(person: &Person) -> UserDevice {
    UserDevice { user: person.user, device: person.mls.device }
}

fn address(parent: ConversationId, name: &str) -> String {
    let path = format!("/v1/conversations/{parent}/subconversation");
    let url = url::Url::parse_with_params("http://hub", [("name", name)]).unwrap();
    format!("{path}?{}", url.query().unwrap())
}

async fn show(person: &Person, parent: ConversationId, name: &str) -> Subconversation {
    person.get(&address(parent, name)).await.done()
}

async fn open(person: &Person, parent: ConversationId, name: &str) -> Answer {
    person.put(&address(parent, name), &json!({})).await
}

async fn leave(person: &Person, parent: ConversationId, name: &str) {
    let path = address(parent, name).replace("subconversation?", "subconversation/leave?");
    person.post(&path, &json!({})).await.empty();
}

async fn delete(person: &Person, shown: &Subconversation) -> Answer {
    let body = GroupReset { group_id: shown.group_id.clone(), epoch: shown.epoch };
    let path = address(shown.address.parent, shown.address.name.as_str());
    person.answer(person.request(Method::DELETE, &path).json(&body)).await
}

/// Makes the first commit of a subconversation.
async fn begin(person: &Person, sub: &Subconversation) -> Group<Config> {
    let mut group = person.mls.create_group(&sub.group_id.0, &person.hub_key);
    let bundle = commit(&mut group, &[], &[]);
    person.committed(sub.conversation, &mut group, &bundle).await;
    group
}

/// An external commit, and the group after it.
async fn external(person: &Person, id: ConversationId, replaces: Option<u32>) -> (Group<Config>, Bundle) {
    person.mls.external_commit(&person.group_info(id).await, replaces)
}

async fn join(person: &Person, id: ConversationId) -> Group<Config> {
    let (group, bundle) = external(person, id, None).await;
    person.commit(id, &bundle).await.done::<CommitAccepted>();
    group
}

/// A group of alice with these members, its epoch 1 at alice.
async fn parent(alice: &Person, members: &[&Person]) -> (ConversationId, Group<Config>) {
    for member in members {
        connect(alice, member).await;
    }
    let (conversation, mut group) = alice.new_group().await;
    let users: Vec<_> = members.iter().map(|member| member.user).collect();
    alice.add(conversation, &mut group, &users).await;
    (conversation, group)
}

/// What happened in one conversation.
async fn heard(person: &Person, id: ConversationId) -> Vec<Event> {
    let of_it = |event: &Event| event.body.entry().is_some_and(|entry| entry.conversation == id);
    person.events().await.into_iter().filter(of_it).collect()
}

fn proposals(events: &[Event]) -> Vec<Vec<u8>> {
    let proposal = |event: &Event| match &event.body {
        EventBody::Proposal { proposal, .. } => Some(proposal.0.clone()),
        _ => None,
    };
    events.iter().filter_map(proposal).collect()
}

#[tokio::test]
async fn a_subconversation_is_an_mls_group_of_its_own_that_devices_join_by_external_commit() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (table, _) = parent(&alice, &[&bob]).await;
    let call: Subconversation = open(&alice, table, "call").await.done();
    assert_eq!((call.epoch, call.devices.len()), (0, 0));
    assert_ne!(call.conversation, table);
    assert_eq!(call.group_id.0, GroupId::first(call.conversation).to_bytes());
    assert_eq!(call.conversation, ConversationId::subconversation(table, &"call".parse().unwrap()));

    let mut at_alice = begin(&alice, &call).await;
    let mut at_bob = join(&bob, call.conversation).await;
    let shown = show(&bob, table, "call").await;
    assert_eq!((shown.epoch, shown.devices), (2, vec![device(&alice), device(&bob)]));
    assert_eq!(alice.conversation(table).await.epoch, 1, "the parent's group is another one");

    // Messages of it stand in the same stream, in the conversation of its id.
    let events = heard(&alice, call.conversation).await;
    let EventBody::Commit { commit, .. } = &events[1].body else { panic!("not bob's commit") };
    at_alice.process_incoming_message(mls::message(&commit.0)).unwrap();
    alice.sent(call.conversation, encrypt(&mut at_alice, "can you hear me?")).await;
    let EventBody::Message { message, .. } = &heard(&bob, call.conversation).await[1].body else {
        panic!("not a message")
    };
    assert_eq!(decrypt(&mut at_bob, &message.0), "can you hear me?");
    let listed: Conversations = alice.get("/v1/conversations").await.done();
    assert!(listed.conversations.iter().all(|listed| listed.conversation != call.conversation));
}

#[tokio::test]
async fn a_subconversation_that_nobody_has_joined_is_at_epoch_0_and_stores_nothing() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (table, _) = parent(&alice, &[]).await;
    let rows = hub.rows();
    let shown = show(&alice, table, "call").await;
    assert_eq!((shown.epoch, shown.devices.len()), (0, 0));
    let listed: Subconversations =
        alice.get(&format!("/v1/conversations/{table}/subconversations")).await.done();
    assert!(listed.subconversations.is_empty());
    assert_eq!(hub.rows(), rows);
}

#[tokio::test]
async fn a_name_has_1_to_255_printable_ascii_characters_other_than_the_space() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (table, _) = parent(&alice, &[]).await;
    for name in ["a", ".", "..", "a/b?c#d%20&e=+", &"x".repeat(255)] {
        let opened: Subconversation = open(&alice, table, name).await.done();
        assert_eq!(opened.address.name.as_str(), name);
    }
    for name in ["", " ", "two words", "line\n", "caf\u{e9}", &"x".repeat(256)] {
        open(&alice, table, name).await.refused(Code::BadRequest);
    }
}

#[tokio::test]
async fn only_a_device_that_is_in_the_parents_group_may_join() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (table, _) = parent(&alice, &[&bob]).await;
    // A device of a member that has not joined the parent, and somebody who is not a member.
    let tablet = Person::log_in(&hub, "bob").await;
    let carol = Person::sign_up(&hub, "carol").await;
    let call: Subconversation = open(&alice, table, "call").await.done();
    open(&tablet, table, "call").await.refused(Code::ParentNotJoined);
    open(&carol, table, "call").await.refused(Code::NoConversation);
    begin(&alice, &call).await;
    let group_info = format!("/v1/conversations/{}/group-info", call.conversation);
    tablet.get(&group_info).await.refused(Code::ParentNotJoined);
    carol.get(&group_info).await.refused(Code::NoConversation);
    // Also with a GroupInfo that another device has handed on.
    let leaked = alice.group_info(call.conversation).await;
    let (_, bundle) = tablet.mls.external_commit(&leaked, None);
    tablet.commit(call.conversation, &bundle).await.refused(Code::ParentNotJoined);
    let (_, bundle) = carol.mls.external_commit(&leaked, None);
    carol.commit(call.conversation, &bundle).await.refused(Code::NoConversation);
    assert_eq!(show(&alice, table, "call").await.devices, [device(&alice)]);
}

#[tokio::test]
async fn a_parent_is_a_group_or_a_1_to_1() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let asked = alice.connect(&bob).await;
    let own = alice.conversation(ConversationId::self_of(alice.user)).await.conversation;
    open(&alice, own, "call").await.refused(Code::InvalidOperation);
    open(&alice, asked, "call").await.refused(Code::InvalidOperation);
    let (both, ..) = one_to_one(&alice, &bob).await;
    let call: Subconversation = open(&alice, both, "call").await.done();
    begin(&alice, &call).await;
    join(&bob, call.conversation).await;
    // A subconversation has none of its own.
    open(&alice, call.conversation, "call").await.refused(Code::InvalidOperation);
}

#[tokio::test]
async fn nobody_is_added_to_a_subconversation_and_nobody_removed_who_has_not_left() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (table, _) = parent(&alice, &[&bob]).await;
    let call: Subconversation = open(&alice, table, "call").await.done();
    let mut at_alice = begin(&alice, &call).await;
    let adding = commit(&mut at_alice, &alice.claim(&[bob.user]).await, &[]);
    alice.commit(call.conversation, &adding).await.refused(Code::InvalidOperation);
    at_alice.clear_pending_commit();
    let mut at_bob = join(&bob, call.conversation).await;
    let removing = {
        let alices = leaf_of(&at_bob, &alice.mls);
        commit(&mut at_bob, &[], &[alices])
    };
    bob.commit(call.conversation, &removing).await.refused(Code::InvalidOperation);
    assert_eq!(show(&alice, table, "call").await.epoch, 2);
}

#[tokio::test]
async fn leaving_is_per_device_and_the_hub_proposes_the_removal() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (table, _) = parent(&alice, &[&bob]).await;
    let tablet = Person::log_in(&hub, "bob").await;
    join(&tablet, table).await;
    let call: Subconversation = open(&alice, table, "call").await.done();
    begin(&alice, &call).await;
    let mut at_bob = join(&bob, call.conversation).await;
    let mut at_tablet = join(&tablet, call.conversation).await;
    let joining = heard(&tablet, call.conversation).await;
    let EventBody::Commit { commit: joined, .. } = &joining[0].body else { panic!("not a commit") };
    at_bob.process_incoming_message(mls::message(&joined.0)).unwrap();

    leave(&bob, table, "call").await;
    leave(&bob, table, "call").await;
    let left = show(&alice, table, "call").await;
    assert_eq!(left.devices, [device(&alice), device(&tablet)], "the other device of bob stays");
    let proposal = &proposals(&heard(&tablet, call.conversation).await)[..];
    let [proposal] = proposal else { panic!("not one proposal: {}", proposal.len()) };
    bob.send(call.conversation, encrypt(&mut at_bob, "still here")).await.refused(Code::StaleEpoch);

    // Whoever commits must carry it out, and nothing of this reaches the device that has left.
    let before = heard(&bob, call.conversation).await.len();
    let without = commit(&mut at_tablet, &[], &[]);
    tablet.commit(call.conversation, &without).await.refused(Code::MissingProposals);
    at_tablet.clear_pending_commit();
    at_tablet.process_incoming_message(mls::message(proposal)).unwrap();
    let with = commit(&mut at_tablet, &[], &[]);
    tablet.committed(call.conversation, &mut at_tablet, &with).await;
    assert_eq!(at_tablet.roster().members().len(), 2);
    assert_eq!(heard(&bob, call.conversation).await.len(), before);
}

#[tokio::test]
async fn a_device_that_has_left_comes_back_by_an_external_commit_and_its_removal_is_not_proposed_again() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let carol = Person::sign_up(&hub, "carol").await;
    let (table, _) = parent(&alice, &[&bob, &carol]).await;
    let call: Subconversation = open(&alice, table, "call").await.done();
    begin(&alice, &call).await;
    let at_bob = join(&bob, call.conversation).await;
    join(&carol, call.conversation).await;
    leave(&bob, table, "call").await;
    leave(&carol, table, "call").await;
    let (_, bundle) = external(&bob, call.conversation, Some(leaf_of(&at_bob, &bob.mls))).await;
    bob.commit(call.conversation, &bundle).await.done::<CommitAccepted>();
    assert_eq!(show(&alice, table, "call").await.devices, [device(&alice), device(&bob)]);
    // Carol's removal was pending and could not be carried out: it is proposed again at the new epoch.
    let names = types(&heard(&bob, call.conversation).await);
    assert_eq!(names[names.len() - 2..], ["conversation.commit", "conversation.proposal"]);
    assert_eq!(hub.rows()["proposals"], 1);
}

#[tokio::test]
async fn the_last_leaver_resets_the_subconversation_to_a_new_group_at_epoch_0() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (table, _) = parent(&alice, &[]).await;
    let call: Subconversation = open(&alice, table, "call").await.done();
    let mut old = begin(&alice, &call).await;
    leave(&alice, table, "call").await;
    let fresh = show(&alice, table, "call").await;
    assert_eq!((fresh.epoch, fresh.devices.len()), (0, 0));
    assert_eq!(fresh.group_id.0, GroupId::first(call.conversation).after_reset().to_bytes());
    alice.send(call.conversation, encrypt(&mut old, "from the old group")).await.refused(Code::StaleEpoch);
    begin(&alice, &fresh).await;
    assert_eq!(show(&alice, table, "call").await.epoch, 1);
}

#[tokio::test]
async fn removal_from_the_parent_removes_from_every_subconversation() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (table, mut at_alice) = parent(&alice, &[&bob]).await;
    for name in ["call", "board"] {
        let sub: Subconversation = open(&alice, table, name).await.done();
        begin(&alice, &sub).await;
        join(&bob, sub.conversation).await;
    }
    let only_bob: Subconversation = open(&bob, table, "bob").await.done();
    begin(&bob, &only_bob).await;

    let bobs = leaf_of(&at_alice, &bob.mls);
    let bundle = commit(&mut at_alice, &[], &[bobs]);
    alice.committed(table, &mut at_alice, &bundle).await;
    for name in ["call", "board"] {
        let sub = show(&alice, table, name).await;
        assert_eq!(sub.devices, [device(&alice)], "{name}");
        assert_eq!(proposals(&heard(&alice, sub.conversation).await).len(), 1, "{name}");
        bob.get(&format!("/v1/conversations/{}/group-info", sub.conversation))
            .await
            .refused(Code::NoConversation);
    }
    assert_eq!(show(&alice, table, "bob").await.epoch, 0, "nobody is left in it");
}

#[tokio::test]
async fn leaving_the_parent_leaves_every_subconversation() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (table, _) = parent(&alice, &[&bob]).await;
    let call: Subconversation = open(&alice, table, "call").await.done();
    begin(&alice, &call).await;
    join(&bob, call.conversation).await;
    bob.post(&format!("/v1/conversations/{table}/leave"), &json!({})).await.empty();
    assert_eq!(show(&alice, table, "call").await.devices, [device(&alice)]);
    assert_eq!(proposals(&heard(&alice, call.conversation).await).len(), 1);
}

#[tokio::test]
async fn who_blocks_the_other_has_left_the_call_and_nothing_else_shows() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (both, ..) = one_to_one(&alice, &bob).await;
    // What bob sees of the call when alice leaves it is what he sees when she blocks him.
    let mut seen = Vec::new();
    for blocks in [false, true] {
        let call: Subconversation = open(&bob, both, "call").await.done();
        begin(&bob, &call).await;
        join(&alice, call.conversation).await;
        if blocks {
            alice.set_connection(&bob, "blocked").await;
        } else {
            leave(&alice, both, "call").await;
        }
        let events = types(&heard(&bob, call.conversation).await);
        let shown = show(&bob, both, "call").await;
        seen.push((events[events.len() - 3..].to_vec(), shown.devices, shown.epoch));
        leave(&bob, both, "call").await;
    }
    assert_eq!(seen[0], seen[1]);
    let again: Subconversation = open(&bob, both, "call").await.done();
    begin(&bob, &again).await;
}

#[tokio::test]
async fn deleting_a_subconversation_resets_it_and_takes_the_right_to_delete() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (table, _) = parent(&alice, &[&bob]).await;
    let call: Subconversation = open(&bob, table, "call").await.done();
    begin(&bob, &call).await;
    let shown = show(&alice, table, "call").await;
    delete(&bob, &shown).await.refused(Code::ActionDenied);
    delete(&alice, &Subconversation { epoch: 7, ..shown.clone() }).await.refused(Code::StaleEpoch);
    let ended: Subconversation = delete(&alice, &shown).await.done();
    assert_eq!((ended.epoch, ended.devices.len()), (0, 0));
    assert_ne!(ended.group_id, shown.group_id);
    delete(&alice, &shown).await.refused(Code::StaleEpoch);
    // Who was in it is told, and hears no more of it.
    let names = types(&heard(&bob, call.conversation).await);
    assert_eq!(names, ["conversation.commit", "conversation.mls-reset"]);
    let rejoined: Subconversation = open(&bob, table, "call").await.done();
    begin(&bob, &rejoined).await;
}

#[tokio::test]
async fn a_conversation_has_a_bounded_number_of_subconversations() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (table, _) = parent(&alice, &[]).await;
    for number in 0..100 {
        open(&alice, table, &format!("s{number}")).await.done::<Subconversation>();
    }
    open(&alice, table, "one more").await.refused(Code::BadRequest);
    open(&alice, table, "one-more").await.refused(Code::SubconversationLimit);
    open(&alice, table, "s0").await.done::<Subconversation>();
}

#[tokio::test]
async fn a_removed_device_is_in_no_subconversation_any_more() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (id, mut at_alice) = parent(&alice, &[&bob]).await;
    let tablet = Person::log_in(&hub, "alice").await;
    let (_, joining) = external(&tablet, id, None).await;
    tablet.commit(id, &joining).await.done::<CommitAccepted>();
    at_alice.process_incoming_message(joining.commit).unwrap();
    open(&alice, id, "call").await.done::<Subconversation>();
    let call = show(&alice, id, "call").await;
    begin(&alice, &call).await;
    join(&tablet, call.conversation).await;
    assert_eq!(show(&alice, id, "call").await.devices, [device(&alice), device(&tablet)]);

    let path = format!("/v1/devices/{}/remove", tablet.mls.device);
    alice.post(&path, &json!({ "password": PASSWORD })).await.empty();
    assert_eq!(show(&alice, id, "call").await.devices, [device(&alice)]);
    let last = alice.events().await;
    let proposed = |id: ConversationId| {
        last.iter()
            .any(|event| matches!(&event.body, EventBody::Proposal { entry, .. } if entry.conversation == id))
    };
    assert!(proposed(id) && proposed(call.conversation));
}

#[tokio::test]
async fn a_conversation_that_ends_takes_its_subconversations_with_it() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (id, mut at_alice) = alice.new_group().await;
    let bundle = commit(&mut at_alice, &[], &[]);
    alice.committed(id, &mut at_alice, &bundle).await;
    open(&alice, id, "call").await.done::<Subconversation>();
    let call = show(&alice, id, "call").await;
    begin(&alice, &call).await;
    assert_eq!((hub.rows()["conversations"], hub.rows()["sub_devices"]), (2, 1));

    alice.post(&format!("/v1/conversations/{id}/leave"), &json!({})).await.empty();
    // What is hers to read stays until she has read it, or is no more.
    alice.post("/v1/self/delete", &json!({ "password": PASSWORD })).await.empty();
    let dir = hub.stop().await;
    let rows = Hub::start_in(dir).await.rows();
    for table in ["conversations", "sub_devices", "members", "groups", "leaves", "log"] {
        assert_eq!(rows[table], 0, "{table}");
    }
}
