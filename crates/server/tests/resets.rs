//! Groups that are begun anew.
#![allow(clippy::unwrap_used)]

mod support;

use futures::future::join_all;
use support::{
    hub::{Answer, Hub, Person, connect, one_to_one, types},
    mls::{self, commit, encrypt},
};
use tertulia_api::{
    Code,
    conversation::{Conversation, GroupReset},
    event::EventBody,
};
use tertulia_domain::{ConversationType, GroupId, policy::Policy};

async fn reset(person: &Person, shown: &Conversation) -> Answer {
    let body = GroupReset { group_id: shown.group_id.clone(), epoch: shown.epoch };
    person.post(&format!("/v1/conversations/{}/reset", shown.conversation), &body).await
}

#[tokio::test]
async fn a_reset_gives_a_new_group_id_at_epoch_0_with_the_same_members_and_an_event() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    connect(&alice, &bob).await;
    let (table, mut old) = alice.new_group().await;
    alice.add(table, &mut old, &[bob.user]).await;
    let before = alice.conversation(table).await;
    let after: Conversation = reset(&alice, &before).await.done();
    assert_eq!((after.epoch, &after.members), (0, &before.members));
    assert_eq!(after.group_id.0, GroupId::first(table).after_reset().to_bytes());
    alice.get(&format!("/v1/conversations/{table}/group-info")).await.refused(Code::NotFound);
    for person in [&alice, &bob] {
        let events = person.events().await;
        assert_eq!(types(&events).last().unwrap(), "conversation.mls-reset");
        let EventBody::GroupReset { entry, group_id } = &events.last().unwrap().body else {
            panic!("no reset")
        };
        assert_eq!((group_id, entry.sender.unwrap().user), (&after.group_id, alice.user));
    }
    // What is sent into the old group is stale, not wrong: the sender catches up.
    alice.send(table, encrypt(&mut old, "late")).await.refused(Code::StaleEpoch);
    let late = commit(&mut old, &[], &[]);
    alice.commit(table, &late).await.refused(Code::StaleEpoch);

    let policy = mls::policy_of(old.context()).unwrap();
    let mut new = alice.mls.create_with(&after.group_id.0, &alice.hub_key, Some(&policy));
    alice.add(table, &mut new, &[bob.user]).await;
    assert_eq!(bob.conversation(table).await.epoch, 1);
    assert_eq!(bob.conversation(table).await.members, before.members);
}

#[tokio::test]
async fn the_new_group_begins_with_the_roles_of_the_old_one_whoever_begins_it() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let carol = Person::sign_up(&hub, "carol").await;
    connect(&alice, &bob).await;
    connect(&alice, &carol).await;
    let (table, mut old) = alice.new_group().await;
    alice.add(table, &mut old, &[bob.user, carol.user]).await;
    let policy = mls::policy_of(old.context()).unwrap();
    let before = alice.conversation(table).await;
    let after: Conversation = reset(&alice, &before).await.done();
    // Carol leaves while there is no group, so that nobody can be asked to remove her.
    carol.post(&format!("/v1/conversations/{table}/leave"), &serde_json::json!({})).await.empty();

    // A member who begins it is no admin by that, nor is anybody forgotten or kept who has left.
    let as_admin = Policy::new(table, ConversationType::Group, bob.user).unwrap();
    for wrong in [as_admin, policy.clone()] {
        let mut group = bob.mls.create_with(&after.group_id.0, &bob.hub_key, Some(&wrong));
        let bundle = commit(&mut group, &bob.claim(&[alice.user]).await, &[]);
        bob.commit(table, &bundle).await.refused(Code::InvalidCommit);
    }
    let rightly = policy.without(|user| user == carol.user);
    let mut group = bob.mls.create_with(&after.group_id.0, &bob.hub_key, Some(&rightly));
    let bundle = commit(&mut group, &bob.claim(&[alice.user]).await, &[]);
    bob.committed(table, &mut group, &bundle).await;
    let members = bob.conversation(table).await.members;
    let stayed: Vec<_> = before.members.into_iter().filter(|member| member.user != carol.user).collect();
    assert_eq!(members, stayed, "with their roles");
}

#[tokio::test]
async fn only_an_admin_resets_a_group_and_either_user_a_1_to_1() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let carol = Person::sign_up(&hub, "carol").await;
    let (both, ..) = one_to_one(&alice, &bob).await;
    let (table, mut at_alice) = alice.new_group().await;
    alice.add(table, &mut at_alice, &[bob.user]).await;
    reset(&bob, &bob.conversation(table).await).await.refused(Code::ActionDenied);
    reset(&carol, &bob.conversation(table).await).await.refused(Code::NoConversation);
    let again: Conversation = reset(&bob, &bob.conversation(both).await).await.done();
    assert_eq!(again.epoch, 0);
    let asked = alice.connect(&carol).await;
    reset(&alice, &alice.conversation(asked).await).await.refused(Code::InvalidOperation);
}

#[tokio::test]
async fn a_group_that_has_moved_on_is_left_alone_and_a_new_one_is_not_replaced() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (table, mut group) = alice.new_group().await;
    let new = alice.conversation(table).await;
    assert_eq!(reset(&alice, &new).await.done::<Conversation>(), new, "it is at epoch 0 already");
    alice.add(table, &mut group, &[]).await;
    let shown = alice.conversation(table).await;
    let bundle = commit(&mut group, &[], &[]);
    alice.committed(table, &mut group, &bundle).await;
    let problem = reset(&alice, &shown).await.refused(Code::StaleEpoch);
    assert_eq!(problem.current_epoch, Some(2));
    let foreign = Conversation { group_id: vec![7; 16].into(), epoch: 2, ..shown };
    reset(&alice, &foreign).await.refused(Code::StaleEpoch);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_ask_at_once_one_is_heard_and_of_many_first_commits_one_wins() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let devices = join_all((0..6).map(|_| Person::log_in(&hub, "alice"))).await;
    let (table, mut group) = alice.new_group().await;
    alice.add(table, &mut group, &[]).await;
    let shown = alice.conversation(table).await;
    let asked = join_all(devices.iter().map(|device| reset(device, &shown))).await;
    let heard = asked.iter().filter(|answer| answer.status.is_success()).count();
    assert_eq!(heard, 1);
    let fresh = alice.conversation(table).await;
    assert_eq!(fresh.group_id.0, GroupId { conversation: table, generation: 1 }.to_bytes());

    let policy = mls::policy_of(group.context()).unwrap();
    let bundles: Vec<_> = devices
        .iter()
        .map(|device| {
            let mut group = device.mls.create_with(&fresh.group_id.0, &device.hub_key, Some(&policy));
            commit(&mut group, &[], &[])
        })
        .collect();
    let sent =
        join_all(devices.iter().zip(&bundles).map(|(device, bundle)| device.commit(table, bundle))).await;
    let mut won = 0;
    for answer in sent {
        if answer.status.is_success() {
            won += 1;
        } else {
            answer.refused(Code::StaleEpoch);
        }
    }
    assert_eq!(won, 1);
    // The others join it.
    let winner = devices[0].group_info(table).await;
    assert_eq!(mls::message(&winner).group_id().unwrap(), fresh.group_id.0);
}

#[tokio::test]
async fn who_is_blocked_resets_a_1_to_1_and_notices_nothing() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (both, ..) = one_to_one(&alice, &bob).await;
    alice.set_connection(&bob, "blocked").await;
    let after: Conversation = reset(&bob, &bob.conversation(both).await).await.done();
    let mut group = bob.mls.create_group(&after.group_id.0, &bob.hub_key);
    bob.add(both, &mut group, &[alice.user]).await;
    bob.sent(both, encrypt(&mut group, "are you there?")).await;
    assert!(alice.events().await.iter().all(|event| { !matches!(event.body, EventBody::GroupReset { .. }) }));
    reset(&alice, &after).await.refused(Code::NoConversation);
}

#[tokio::test]
async fn roles_given_between_a_reset_and_the_new_first_commit_are_refused_and_not_lost() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    connect(&alice, &bob).await;
    let (table, mut old) = alice.new_group().await;
    alice.add(table, &mut old, &[bob.user]).await;
    let after: Conversation = reset(&alice, &alice.conversation(table).await).await.done();
    let path = format!("/v1/conversations/{table}/members/{}/role", bob.user);
    alice.put(&path, &serde_json::json!({ "role": "admin" })).await.refused(Code::InvalidOperation);
    // Nor is anybody named who follows: the policy would not know of it.
    let leave = format!("/v1/conversations/{table}/leave");
    let named = serde_json::json!({ "successor": bob.user });
    alice.post(&leave, &named).await.refused(Code::LastAdmin);

    // By the first commit of the new group it is done for good.
    let policy = mls::policy_of(old.context()).unwrap().with_role(bob.user, &tertulia_domain::Role::ADMIN);
    let mut new = alice.mls.create_with(&after.group_id.0, &alice.hub_key, Some(&policy));
    let packages = alice.claim(&[bob.user]).await;
    let first = mls::commit_adding(&mut new, &packages, &policy);
    alice.committed(table, &mut new, &first).await;
    alice.post(&leave, &serde_json::json!({})).await.empty();
    let left = bob.conversation(table).await.members;
    assert_eq!(left.len(), 1);
    assert!(left[0].role == tertulia_domain::RoleName::ADMIN);
}
