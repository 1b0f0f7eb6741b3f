//! Who comes into a conversation, who goes, and who may do it, through a real hub.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::json;
use support::{
    hub::{Answer, Hub, Person, connect, one_to_one, types},
    mls::{self, commit, decrypt, encrypt, leaf_of},
};
use tertulia_api::{
    Code, UserDevice,
    conversation::{CommitAccepted, Conversation},
    event::{Event, EventBody},
};
use tertulia_domain::{
    ConversationId, ConversationType, Role, RoleName, UserId,
    policy::Policy,
    role::{Action, ActionSet},
};

fn name(person: &Person) -> UserDevice {
    UserDevice { user: person.user, device: person.mls.device }
}

fn proposals(events: &[Event]) -> Vec<Vec<u8>> {
    let proposal = |event: &Event| match &event.body {
        EventBody::Proposal { proposal, .. } => Some(proposal.0.clone()),
        _ => None,
    };
    events.iter().filter_map(proposal).collect()
}

fn members(conversation: &Conversation) -> Vec<(UserId, RoleName)> {
    conversation.members.iter().map(|member| (member.user, member.role.clone())).collect()
}

#[tokio::test]
async fn nobody_is_added_without_a_connection_and_the_role_for_it() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (bob, carol) = (Person::sign_up(&hub, "bob").await, Person::sign_up(&hub, "carol").await);
    connect(&alice, &bob).await;
    connect(&bob, &carol).await;
    let (conversation, mut at_alice) = alice.new_group().await;
    let bundle = alice.add(conversation, &mut at_alice, &[bob.user]).await;
    let mut at_bob = bob.mls.join(&bundle.welcome.unwrap().to_bytes().unwrap());
    let rows = hub.rows();

    let bundle = commit(&mut at_alice, &[carol.mls.key_package()], &[]);
    alice.commit(conversation, &bundle).await.refused(Code::NotConnected);
    let bundle = commit(&mut at_bob, &[carol.mls.key_package()], &[]);
    bob.commit(conversation, &bundle).await.refused(Code::ActionDenied);
    at_bob.clear_pending_commit();
    let alices_leaf = leaf_of(&at_bob, &alice.mls);
    let bundle = commit(&mut at_bob, &[], &[alices_leaf]);
    bob.commit(conversation, &bundle).await.refused(Code::ActionDenied);
    assert_eq!(hub.rows(), rows);
    assert_eq!(alice.conversation(conversation).await.epoch, 1);
}

#[tokio::test]
async fn a_member_does_not_throw_out_anothers_device_by_adding_it_again() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (bob, carol) = (Person::sign_up(&hub, "bob").await, Person::sign_up(&hub, "carol").await);
    for other in [&bob, &carol] {
        connect(&alice, other).await;
    }
    connect(&bob, &carol).await;
    let (conversation, mut at_alice) = alice.new_group().await;
    let bundle = alice.add(conversation, &mut at_alice, &[bob.user, carol.user]).await;
    let mut at_bob = bob.mls.join(&bundle.welcome.unwrap().to_bytes().unwrap());

    let leaves = [&carol, &alice].map(|person| leaf_of(&at_bob, &person.mls));
    for (person, leaf) in [&carol, &alice].into_iter().zip(leaves) {
        let bundle = commit(&mut at_bob, &[person.mls.key_package()], &[leaf]);
        bob.commit(conversation, &bundle).await.refused(Code::ActionDenied);
        at_bob.clear_pending_commit();
    }
    assert_eq!(alice.conversation(conversation).await.epoch, 1);

    // Who may remove members may do it, and everybody with devices of their own.
    let bundle = commit(&mut at_alice, &[carol.mls.key_package()], &leaves[..1]);
    alice.committed(conversation, &mut at_alice, &bundle).await;
    assert_eq!(members(&alice.conversation(conversation).await).len(), 3);
    at_bob.process_incoming_message(bundle.commit).unwrap();
    let phone = Person::log_in(&hub, "bob").await;
    let bundle = commit(&mut at_bob, &[phone.mls.key_package()], &[]);
    bob.committed(conversation, &mut at_bob, &bundle).await;
    let phones_leaf = leaf_of(&at_bob, &phone.mls);
    let bundle = commit(&mut at_bob, &[phone.mls.key_package()], &[phones_leaf]);
    bob.committed(conversation, &mut at_bob, &bundle).await;
    assert_eq!(hub.rows()["leaves"], 4);
}

#[tokio::test]
async fn in_a_one_to_one_nobody_throws_out_the_others_device() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (conversation, mut at_alice, _) = one_to_one(&alice, &bob).await;
    let bobs_leaf = leaf_of(&at_alice, &bob.mls);
    let bundle = commit(&mut at_alice, &[bob.mls.key_package()], &[bobs_leaf]);
    assert_eq!(alice.commit(conversation, &bundle).await.status.as_u16(), 403);
}

#[tokio::test]
async fn a_user_comes_and_goes_with_all_devices() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let laptop = Person::log_in(&hub, "bob").await;
    connect(&alice, &bob).await;
    let (conversation, mut at_alice) = alice.new_group().await;

    let bundle = commit(&mut at_alice, &[bob.mls.key_package()], &[]);
    let problem = alice.commit(conversation, &bundle).await.refused(Code::DeviceMismatch);
    assert_eq!(problem.missing, [name(&laptop)]);
    at_alice.clear_pending_commit();
    alice.add(conversation, &mut at_alice, &[bob.user]).await;

    let bobs_leaf = leaf_of(&at_alice, &bob.mls);
    let bundle = commit(&mut at_alice, &[], &[bobs_leaf]);
    let problem = alice.commit(conversation, &bundle).await.refused(Code::DeviceMismatch);
    assert_eq!(problem.missing, [name(&laptop)]);
    at_alice.clear_pending_commit();
    let laptops_leaf = leaf_of(&at_alice, &laptop.mls);
    let bundle = commit(&mut at_alice, &[], &[bobs_leaf, laptops_leaf]);
    alice.committed(conversation, &mut at_alice, &bundle).await;
    assert_eq!(members(&alice.conversation(conversation).await), [(alice.user, RoleName::ADMIN)]);
}

#[tokio::test]
async fn who_leaves_is_proposed_for_removal_until_removed() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (bob, carol) = (Person::sign_up(&hub, "bob").await, Person::sign_up(&hub, "carol").await);
    connect(&alice, &bob).await;
    connect(&alice, &carol).await;
    let (conversation, mut at_alice) = alice.new_group().await;
    let bundle = alice.add(conversation, &mut at_alice, &[bob.user, carol.user]).await;
    let welcome = bundle.welcome.unwrap().to_bytes().unwrap();
    let mut at_carol = carol.mls.join(&welcome);

    let leave = format!("/v1/conversations/{conversation}/leave");
    bob.post(&leave, &json!({})).await.empty();
    bob.post(&leave, &json!({})).await.refused(Code::NoConversation);
    alice.sent(conversation, encrypt(&mut at_alice, "bob is gone")).await;
    let events = bob.events().await;
    let EventBody::Members { left, .. } = &events.last().unwrap().body else { panic!("bob's log ends") };
    assert_eq!(left, &[bob.user]);

    // A commit that ignores the proposal is refused.
    let ignorant = commit(&mut at_alice, &[], &[]);
    alice.commit(conversation, &ignorant).await.refused(Code::MissingProposals);
    at_alice.clear_pending_commit();

    // An external commit cannot carry it. The hub proposes again.
    let phone = Person::log_in(&hub, "alice").await;
    let (mut at_phone, joining) = phone.mls.external_commit(&phone.group_info(conversation).await, None);
    phone.commit(conversation, &joining).await.done::<CommitAccepted>();
    let proposed = proposals(&carol.events().await);
    assert_eq!(proposed.len(), 2);
    at_carol.process_incoming_message(joining.commit).unwrap();
    at_carol.process_incoming_message(mls::message(&proposed[1])).unwrap();
    at_phone.process_incoming_message(mls::message(&proposed[1])).unwrap();

    // Any member commits the hub's proposal, whatever their role.
    let bundle = commit(&mut at_carol, &[], &[]);
    carol.committed(conversation, &mut at_carol, &bundle).await;
    assert_eq!(at_carol.roster().members().len(), 3);
    assert_eq!((hub.rows()["leaves"], hub.rows()["proposals"]), (3, 0));
    at_phone.process_incoming_message(bundle.commit).unwrap();
    let message = encrypt(&mut at_phone, "just us");
    phone.sent(conversation, message.clone()).await;
    assert_eq!(decrypt(&mut at_carol, &message), "just us");
}

#[tokio::test]
async fn who_comes_back_sees_both_times_and_nothing_between() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    connect(&alice, &bob).await;
    let (conversation, mut at_alice) = alice.new_group().await;
    alice.add(conversation, &mut at_alice, &[bob.user]).await;
    let first = alice.sent(conversation, encrypt(&mut at_alice, "with bob")).await;
    bob.post(&format!("/v1/conversations/{conversation}/leave"), &json!({})).await.empty();
    let proposed = proposals(&alice.events().await);
    at_alice.process_incoming_message(mls::message(&proposed[0])).unwrap();

    // The commit that removes bob's old leaf adds him again.
    let between = encrypt_despite_proposal(&mut at_alice, "without bob");
    alice.sent(conversation, between).await;
    at_alice.process_incoming_message(mls::message(&proposed[0])).unwrap();
    let bundle = alice.add(conversation, &mut at_alice, &[bob.user]).await;
    let mut at_bob = bob.mls.join(&bundle.welcome.unwrap().to_bytes().unwrap());
    let message = encrypt(&mut at_alice, "with bob again");
    let last = alice.sent(conversation, message.clone()).await;
    assert_eq!(decrypt(&mut at_bob, &message), "with bob again");

    let seen = bob.events().await.into_iter().filter_map(|event| match event.body {
        EventBody::Message { entry, .. } => Some(entry.sequence),
        _ => None,
    });
    assert_eq!(seen.collect::<Vec<_>>(), [first.sequence, last.sequence]);
}

/// MLS lets nobody who knows of a proposal write before it is committed; this one has not heard of it yet.
fn encrypt_despite_proposal(group: &mut mls_rs::Group<mls::Config>, text: &str) -> Vec<u8> {
    group.clear_proposal_cache();
    encrypt(group, text)
}

#[tokio::test]
async fn leaving_while_somebody_commits_leaves_one_removal_to_commit() {
    let hub = Hub::start().await;
    let (alice, bob) =
        (Person::sign_up(&hub, "alice").await, Person::open(&hub, "bob", "/v1/accounts", 20).await);
    connect(&alice, &bob).await;
    for _ in 0..10 {
        let (conversation, mut at_alice) = alice.new_group().await;
        alice.add(conversation, &mut at_alice, &[bob.user]).await;
        let before = alice.events().await.last().unwrap().cursor.clone();
        let bundle = commit(&mut at_alice, &[], &[]);
        let path = format!("/v1/conversations/{conversation}/leave");
        let left = json!({});
        let (left, committed) = tokio::join!(bob.post(&path, &left), alice.commit(conversation, &bundle));
        left.empty();
        if committed.status.is_success() {
            at_alice.apply_pending_commit().unwrap();
        } else {
            committed.refused(Code::MissingProposals);
            at_alice.clear_pending_commit();
        }
        let [proposal] = &proposals(&alice.events_since(Some(&before)).await)[..] else {
            panic!("one removal is proposed")
        };
        at_alice.process_incoming_message(mls::message(proposal)).unwrap();
        let bundle = commit(&mut at_alice, &[], &[]);
        alice.committed(conversation, &mut at_alice, &bundle).await;
        assert_eq!(at_alice.roster().members().len(), 1);
    }
    assert_eq!(hub.rows()["proposals"], 0);
}

/// The policy of a group, changed.
fn changed(group: &mls_rs::Group<mls::Config>, change: impl FnOnce(Policy) -> Policy) -> Policy {
    change(mls::policy_of(group.context()).unwrap())
}

#[tokio::test]
async fn the_last_admin_makes_somebody_else_one_before_leaving() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    connect(&alice, &bob).await;
    let (conversation, mut at_alice) = alice.new_group().await;
    alice.add(conversation, &mut at_alice, &[bob.user]).await;
    let leave = format!("/v1/conversations/{conversation}/leave");
    alice.post(&leave, &json!({})).await.refused(Code::LastAdmin);
    // The hub cannot give a role that stands in the group's signed context.
    alice.post(&leave, &json!({ "successor": bob.user })).await.refused(Code::LastAdmin);
    let role = format!("/v1/conversations/{conversation}/members/{}/role", bob.user);
    alice.put(&role, &json!({ "role": "admin" })).await.refused(Code::InvalidOperation);

    let policy = changed(&at_alice, |policy| policy.with_role(bob.user, &Role::ADMIN));
    let bundle = mls::commit_policy(&mut at_alice, &policy);
    alice.committed(conversation, &mut at_alice, &bundle).await;
    alice.post(&leave, &json!({})).await.empty();
    assert_eq!(members(&bob.conversation(conversation).await), [(bob.user, RoleName::ADMIN)]);
    let events = bob.events().await;
    assert_eq!(
        types(&events[events.len() - 4..]),
        ["conversation.commit", "conversation.role", "conversation.members", "conversation.proposal"]
    );
}

#[tokio::test]
async fn before_a_group_has_begun_its_roles_are_checked_in_a_fixed_order() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (conversation, _) = alice.new_group().await;
    let path = |user: UserId| format!("/v1/conversations/{conversation}/members/{user}/role");
    alice.put(&path(alice.user), &json!({ "role": "member" })).await.refused(Code::RoleElevation);
    alice.put(&path(alice.user), &json!({ "role": "owner" })).await.refused(Code::UnknownRole);
    alice.put(&path(UserId::random()), &json!({ "role": "admin" })).await.refused(Code::UnknownUser);
    alice.put(&path(alice.user), &json!({ "rôle": "admin" })).await.refused(Code::BadRequest);
}

#[tokio::test]
async fn roles_are_given_by_who_may() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (one, _, _) = one_to_one(&alice, &bob).await;
    let (conversation, mut at_alice) = alice.new_group().await;
    let bundle = alice.add(conversation, &mut at_alice, &[bob.user]).await;
    let mut at_bob = bob.mls.join(&bundle.welcome.unwrap().to_bytes().unwrap());
    let rows = hub.rows();

    let crown = changed(&at_bob, |policy| policy.with_role(bob.user, &Role::ADMIN));
    let bundle = mls::commit_policy(&mut at_bob, &crown);
    bob.commit(conversation, &bundle).await.refused(Code::ActionDenied);
    at_bob.clear_pending_commit();
    let coup = changed(&at_bob, |policy| policy.with_role(alice.user, &Role::MEMBER));
    bob.commit(conversation, &mls::commit_policy(&mut at_bob, &coup)).await.refused(Code::ActionDenied);
    at_bob.clear_pending_commit();
    let own = crown.clone().with_role(alice.user, &Role::MEMBER);
    let bundle = mls::commit_policy(&mut at_alice, &own);
    alice.commit(conversation, &bundle).await.refused(Code::RoleElevation);
    at_alice.clear_pending_commit();
    let scribe = Role::defined("scribe".parse().unwrap(), ActionSet::of(&[Action::Leave])).unwrap();
    // Who may give no role is told that, also of one that there is not.
    let unknown = changed(&at_bob, |policy| policy.with_role(alice.user, &scribe));
    bob.commit(conversation, &mls::commit_policy(&mut at_bob, &unknown)).await.refused(Code::ActionDenied);
    at_bob.clear_pending_commit();
    let unknown = changed(&at_alice, |policy| policy.with_role(bob.user, &scribe));
    alice.commit(conversation, &mls::commit_policy(&mut at_alice, &unknown)).await.refused(Code::UnknownRole);
    at_alice.clear_pending_commit();
    assert_eq!(hub.rows(), rows);

    let bundle = mls::commit_policy(&mut at_alice, &crown);
    alice.committed(conversation, &mut at_alice, &bundle).await;
    at_bob.process_incoming_message(bundle.commit).unwrap();
    let demoted = crown.with_role(alice.user, &Role::MEMBER);
    let bundle = mls::commit_policy(&mut at_bob, &demoted);
    bob.committed(conversation, &mut at_bob, &bundle).await;
    assert_eq!(
        members(&alice.conversation(conversation).await),
        [(alice.user, RoleName::MEMBER), (bob.user, RoleName::ADMIN)]
    );
    let events = bob.events().await;
    let EventBody::Role { user, role, .. } = &events.last().unwrap().body else { panic!("not a role") };
    assert_eq!((*user, role), (alice.user, &RoleName::MEMBER));

    let leave = format!("/v1/conversations/{one}/leave");
    alice.post(&leave, &json!({})).await.refused(Code::InvalidOperation);
}

#[tokio::test]
async fn a_policy_says_what_is_so() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let eve = Person::sign_up(&hub, "eve").await;
    connect(&alice, &bob).await;
    let (conversation, mut at_alice) = alice.new_group().await;

    // Without one, or with that of another conversation, no group begins.
    let mut without = alice.mls.create_group(conversation.as_bytes(), &alice.hub_key);
    let bundle = commit(&mut without, &[], &[]);
    alice.commit(conversation, &bundle).await.refused(Code::InvalidCommit);
    let other = Policy::new(ConversationId::random(), ConversationType::Group, alice.user).unwrap();
    let mut other = alice.mls.create_with(conversation.as_bytes(), &alice.hub_key, Some(&other));
    let bundle = commit(&mut other, &[], &[]);
    alice.commit(conversation, &bundle).await.refused(Code::InvalidCommit);
    let channel = Policy::new(conversation, ConversationType::Channel, alice.user).unwrap();
    let mut channel = alice.mls.create_with(conversation.as_bytes(), &alice.hub_key, Some(&channel));
    let bundle = commit(&mut channel, &[], &[]);
    alice.commit(conversation, &bundle).await.refused(Code::InvalidCommit);
    alice.add(conversation, &mut at_alice, &[bob.user]).await;
    let rows = hub.rows();

    // Nobody is a member in it who is not added, and nobody is left out who is there.
    for wrong in [
        changed(&at_alice, |policy| policy.with_members([eve.user], &Role::MEMBER)),
        changed(&at_alice, |policy| policy.without(|user| user == bob.user)),
    ] {
        let bundle = mls::commit_policy(&mut at_alice, &wrong);
        alice.commit(conversation, &bundle).await.refused(Code::InvalidCommit);
        at_alice.clear_pending_commit();
    }
    assert_eq!(hub.rows(), rows);
    // A 1:1 has none.
    let (one, _, _) = one_to_one(&alice, &eve).await;
    let policy = Policy::new(one, ConversationType::Group, alice.user).unwrap();
    let third = Person::sign_up(&hub, "third").await;
    let one = connect(&alice, &third).await;
    let mut at_alice = alice.mls.create_with(one.as_bytes(), &alice.hub_key, Some(&policy));
    let bundle = commit(&mut at_alice, &[third.mls.key_package()], &[]);
    alice.commit(one, &bundle).await.refused(Code::InvalidCommit);
}

#[tokio::test]
async fn a_one_to_one_holds_its_two_users_and_nobody_else() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let carol = Person::sign_up(&hub, "carol").await;
    connect(&alice, &carol).await;
    let conversation = connect(&alice, &bob).await;
    let group_id = alice.conversation(conversation).await.group_id.0;

    let mut alone = alice.mls.create_group(&group_id, &alice.hub_key);
    let bundle = commit(&mut alone, &[], &[]);
    alice.commit(conversation, &bundle).await.refused(Code::InvalidOperation);
    let mut crowd = alice.mls.create_group(&group_id, &alice.hub_key);
    let bundle = commit(&mut crowd, &[bob.mls.key_package(), carol.mls.key_package()], &[]);
    alice.commit(conversation, &bundle).await.refused(Code::InvalidOperation);

    let mut at_alice = alice.mls.create_group(&group_id, &alice.hub_key);
    alice.add(conversation, &mut at_alice, &[bob.user]).await;
    let bundle = commit(&mut at_alice, &[carol.mls.key_package()], &[]);
    alice.commit(conversation, &bundle).await.refused(Code::InvalidOperation);
    at_alice.clear_pending_commit();
    let bobs_leaf = leaf_of(&at_alice, &bob.mls);
    let bundle = commit(&mut at_alice, &[], &[bobs_leaf]);
    let answer = alice.commit(conversation, &bundle).await;
    assert_eq!(answer.status.as_u16(), 403);
    assert_eq!(alice.conversation(conversation).await.epoch, 1);
}

#[tokio::test]
async fn removing_oneself_by_commit_is_refused() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    connect(&alice, &bob).await;
    let (conversation, mut at_alice) = alice.new_group().await;
    let added = alice.add(conversation, &mut at_alice, &[bob.user]).await;
    let mut at_bob = bob.mls.join(&added.welcome.unwrap().to_bytes().unwrap());
    // MLS has no commit that removes its own leaf.
    let own = leaf_of(&at_bob, &bob.mls);
    assert!(at_bob.commit_builder().remove_member(own).unwrap().build().is_err());
    // Nor does the hub take one that removes its user from the policy.
    let without = mls::policy_in(&at_bob).without(|user| user == bob.user);
    let bundle = mls::commit_policy(&mut at_bob, &without);
    bob.commit(conversation, &bundle).await.refused(Code::InvalidCommit);
    let path = format!("/v1/conversations/{conversation}/members/{}", bob.user);
    bob.delete(&path).await.refused(Code::ActionDenied);
    assert_eq!(members(&alice.conversation(conversation).await).len(), 2);
}

#[tokio::test]
async fn who_may_delete_ends_a_group_for_everybody() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let eve = Person::sign_up(&hub, "eve").await;
    let (both, ..) = one_to_one(&alice, &bob).await;
    let (conversation, mut at_alice) = alice.new_group().await;
    let added = alice.add(conversation, &mut at_alice, &[bob.user]).await;
    let mut at_bob = bob.mls.join(&added.welcome.unwrap().to_bytes().unwrap());
    let call = format!("/v1/conversations/{conversation}/subconversation?name=call");
    let call: tertulia_api::conversation::Subconversation = bob.put(&call, &json!({})).await.done();
    let mut in_call = bob.mls.create_group(&call.group_id.0, &bob.hub_key);
    let bundle = commit(&mut in_call, &[], &[]);
    bob.committed(call.conversation, &mut in_call, &bundle).await;
    bob.sent(conversation, encrypt(&mut at_bob, "one for the road")).await;

    let path = format!("/v1/conversations/{conversation}");
    eve.delete(&path).await.refused(Code::NoConversation);
    bob.delete(&path).await.refused(Code::ActionDenied);
    alice.delete(&format!("/v1/conversations/{both}")).await.refused(Code::InvalidOperation);
    alice.delete(&format!("/v1/conversations/{}", alice.user)).await.refused(Code::NoConversation);
    alice.delete(&path).await.empty();

    let events = bob.events().await;
    assert_eq!(types(&events)[events.len() - 2..], ["conversation.message", "conversation.deleted"]);
    let EventBody::ConversationDeleted { entry } = &events.last().unwrap().body else {
        panic!("not deleted")
    };
    assert_eq!((entry.conversation, entry.sender), (conversation, Some(name(&alice))));
    assert_eq!(types(&alice.events().await).last().unwrap(), "conversation.deleted");
    for person in [&alice, &bob] {
        person.get(&path).await.refused(Code::NoConversation);
        person.delete(&path).await.refused(Code::NoConversation);
    }
    bob.send(conversation, encrypt(&mut at_bob, "hello?")).await.refused(Code::NoConversation);
    bob.send(call.conversation, encrypt(&mut in_call, "hello?")).await.refused(Code::NoConversation);
    // Nobody else takes its place.
    let new = json!({ "conversation": conversation });
    eve.post("/v1/conversations", &new).await.refused(Code::BadRequest);
}

#[tokio::test]
async fn a_long_log_of_a_deleted_group_goes_in_steps_and_after_a_crash() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (conversation, _) = alice.new_group().await;
    hub.change(
        "INSERT INTO log (position, conversation, sequence, kind, sent_at)
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
         SELECT -i, c.id, -i, 'deleted', 0 FROM n, conversations c WHERE c.id = ?1",
        [conversation.as_bytes()],
    );
    alice.delete(&format!("/v1/conversations/{conversation}")).await.empty();
    // As it is when the hub is killed after everybody has read to the end.
    hub.change("UPDATE devices SET acknowledged = (SELECT position FROM hub)", ());
    assert!(hub.rows()["log"] > 5000);
    let hub = Hub::start_in(hub.stop().await).await;
    let alice = Person { base: hub.base.clone(), ..alice };
    while hub.rows()["log"] > 0 {
        alice.get("/v1/self").await.done::<serde_json::Value>();
    }
    // The row goes with the last step.
    while hub.rows()["conversations"] > 0 {
        alice.get("/v1/self").await.done::<serde_json::Value>();
    }
}

/// What somebody is answered, by what they are to a group that is open to all who ask.
const ANSWERED: &str = "
          GET              PUT message-timer  DELETE           POST leave
none      no-conversation  no-conversation    no-conversation  no-conversation
waiting   no-conversation  no-conversation    no-conversation  no-conversation
left      no-conversation  no-conversation    no-conversation  no-conversation
member    done             action-denied      action-denied    done
admin     done             done               done             no-conversation
";

#[tokio::test]
async fn what_each_is_answered_by_what_they_are_to_a_group() {
    let hub = Hub::start().await;
    let mut people = Vec::new();
    for name in ["nona", "walter", "lefty", "mem", "ada"] {
        people.push(Person::sign_up(&hub, name).await);
    }
    let [_, waiting, left, member, admin] = &people[..] else { panic!("not five") };
    connect(admin, left).await;
    connect(admin, member).await;
    let (conversation, mut at_admin) = admin.new_group().await;
    admin.add(conversation, &mut at_admin, &[left.user, member.user]).await;
    let policy = mls::policy_in(&at_admin).with_open(true);
    let bundle = mls::commit_policy(&mut at_admin, &policy);
    admin.committed(conversation, &mut at_admin, &bundle).await;
    let path = format!("/v1/conversations/{conversation}");
    left.post(&format!("{path}/leave"), &json!({})).await.empty();
    waiting.post(&format!("{path}/join"), &json!({})).await.done::<tertulia_api::join::Joining>();

    let timer = json!({ "message_timer": 60_000 });
    for (row, person) in ANSWERED.lines().skip(2).zip(&people) {
        let expected: Vec<&str> = row.split_whitespace().skip(1).collect();
        let answers = [
            person.get(&path).await,
            person.put(&format!("{path}/message-timer"), &timer).await,
            person.delete(&path).await,
            person.post(&format!("{path}/leave"), &json!({})).await,
        ];
        let answered: Vec<String> = answers.into_iter().map(|answer| answered(&answer)).collect();
        assert_eq!(answered, expected, "{row}");
    }
}

/// The code of an answer, or that it is none.
fn answered(answer: &Answer) -> String {
    if answer.status.is_success() {
        return "done".to_owned();
    }
    let problem: tertulia_api::Problem = serde_json::from_slice(&answer.body).unwrap();
    problem.code
}
