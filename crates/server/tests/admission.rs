//! Who is admitted to a conversation, and who goes when it is narrowed, through a real hub.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::json;
use support::{
    hub::{Hub, Person, connect, types},
    joins::{EVERYBODY, PERSONS, path, set_access, users},
    mls::{self, commit, commit_policy, policy_in},
};
use tertulia_api::{
    Code,
    conversation::{Conversation, NewConversation},
    event::EventBody,
    team::{Invitation, Team},
};
use tertulia_domain::{
    ConversationId, Protocol, Role,
    access::{AccessMode, AccessRole},
};

type Group = mls_rs::Group<mls::Config>;

#[tokio::test]
async fn a_new_conversation_is_by_invitation_and_says_so() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (id, _) = alice.new_group().await;
    let shown = alice.conversation(id).await;
    assert_eq!(shown.access, [AccessMode::Invite].into());
    assert_eq!(shown.access_roles, EVERYBODY.into());
    alice.post("/v1/team", &json!({ "name": "Friends" })).await.done::<Team>();
    let new = NewConversation { team: true, ..NewConversation::new(ConversationId::random()) };
    let in_team: Conversation = alice.post("/v1/conversations", &new).await.done();
    assert_eq!(in_team.access_roles, [AccessRole::TeamMember, AccessRole::NonTeamMember].into());
}

#[tokio::test]
async fn access_is_changed_by_who_may_after_the_checks_in_their_order() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let carol = Person::sign_up(&hub, "carol").await;
    let one_to_one = connect(&alice, &bob).await;
    let (id, mut at_alice) = alice.new_group().await;
    alice.add(id, &mut at_alice, &[bob.user]).await;
    let rows = hub.rows();
    let invite = [AccessMode::Invite];
    set_access(&carol, id, &invite, &PERSONS).await.refused(Code::NoConversation);
    set_access(&bob, id, &invite, &PERSONS).await.refused(Code::ActionDenied);
    set_access(&alice, one_to_one, &invite, &PERSONS).await.refused(Code::InvalidOperation);
    set_access(&alice, id, &[], &PERSONS).await.refused(Code::BadRequest);
    set_access(&alice, id, &[AccessMode::Private, AccessMode::Code], &PERSONS)
        .await
        .refused(Code::BadRequest);
    // Whether it is open stands in the group.
    set_access(&alice, id, &[AccessMode::Link], &PERSONS).await.refused(Code::InvalidOperation);
    assert_eq!(hub.rows(), rows, "a refusal changes nothing");
    assert_eq!(alice.conversation(id).await.access, invite.into());

    set_access(&alice, id, &[AccessMode::Private], &PERSONS).await.empty();
    set_access(&alice, id, &[AccessMode::Private], &PERSONS).await.empty();
    assert_eq!(bob.conversation(id).await.access, [AccessMode::Private].into());
    let events = bob.events().await;
    assert_eq!(types(&events).iter().filter(|kind| *kind == "conversation.access").count(), 1, "told once");
    let EventBody::Access { entry, access, access_roles } = &events.last().unwrap().body else { panic!() };
    assert_eq!(entry.sender.unwrap().user, alice.user);
    assert_eq!((access, access_roles), (&[AccessMode::Private].into(), &PERSONS.into()));
}

#[tokio::test]
async fn nobody_is_added_whom_the_conversation_does_not_admit() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (bob, carol) = (Person::sign_up(&hub, "bob").await, Person::sign_up(&hub, "carol").await);
    connect(&alice, &bob).await;
    let (id, mut at_alice) = alice.new_group().await;
    let bundle = commit(&mut at_alice, &[], &[]);
    alice.committed(id, &mut at_alice, &bundle).await;
    let pairwise = ConversationId::random();
    let new = NewConversation { protocol: Protocol::Pairwise, ..NewConversation::new(pairwise) };
    alice.post("/v1/conversations", &new).await.done::<Conversation>();
    let members = path(pairwise, "members");
    let rules: [(&[AccessMode], &[AccessRole]); 3] = [
        (&[AccessMode::Private], &PERSONS),
        (&[AccessMode::Code], &PERSONS),
        (&[AccessMode::Invite], &[AccessRole::Guest, AccessRole::Service, AccessRole::TeamMember]),
    ];
    for (modes, roles) in rules {
        for conversation in [id, pairwise] {
            set_access(&alice, conversation, modes, roles).await.empty();
        }
        let rows = hub.rows();
        // Connected or not makes no difference, and so neither does a block.
        for person in [&bob, &carol] {
            let bundle = commit(&mut at_alice, &[person.mls.key_package()], &[]);
            alice.commit(id, &bundle).await.refused(Code::NotAdmitted);
            at_alice.clear_pending_commit();
            alice.post(&members, &json!({ "users": [person.user] })).await.refused(Code::NotAdmitted);
        }
        assert_eq!(hub.rows(), rows, "a refusal changes nothing");
    }
    set_access(&alice, id, &[AccessMode::Invite], &PERSONS).await.empty();
    set_access(&alice, pairwise, &[AccessMode::Invite], &PERSONS).await.empty();
    alice.post(&members, &json!({ "users": [carol.user] })).await.refused(Code::NotConnected);
    alice.post(&members, &json!({ "users": [bob.user] })).await.empty();
    alice.add(id, &mut at_alice, &[bob.user]).await;
}

/// Alice's team with Bob, and Carol who is a friend of hers in none; a group of the three that belongs to the team.
async fn team_table(hub: &Hub, protocol: Protocol) -> (Person, Person, Person, ConversationId, Group) {
    let alice = Person::sign_up(hub, "alice").await;
    let (bob, carol) = (Person::sign_up(hub, "bob").await, Person::sign_up(hub, "carol").await);
    connect(&alice, &carol).await;
    alice.post("/v1/team", &json!({ "name": "Friends" })).await.done::<Team>();
    let invitation: Invitation = alice.post("/v1/team/invitations", &json!({ "valid_for": 60 })).await.done();
    bob.post("/v1/team/join", &json!({ "code": invitation.code })).await.done::<Team>();
    let id = ConversationId::random();
    let new = NewConversation { protocol, team: true, ..NewConversation::new(id) };
    alice.post("/v1/conversations", &new).await.done::<Conversation>();
    let mut at_alice = alice.mls.create_managed(id, &alice.hub_key);
    let both = [bob.user, carol.user];
    if protocol == Protocol::Mls {
        alice.add(id, &mut at_alice, &both).await;
    } else {
        alice.post(&path(id, "members"), &json!({ "users": both })).await.empty();
    }
    (alice, bob, carol, id, at_alice)
}

#[tokio::test]
async fn narrowing_removes_who_is_no_longer_admitted() {
    for protocol in [Protocol::Mls, Protocol::Pairwise] {
        let hub = Hub::start().await;
        let (alice, bob, carol, id, _) = team_table(&hub, protocol).await;
        set_access(&alice, id, &[AccessMode::Invite], &[AccessRole::TeamMember]).await.empty();
        let conversation = bob.conversation(id).await;
        assert_eq!(users(&conversation), [alice.user, bob.user]);
        carol.get(&path(id, "")[..path(id, "").len() - 1]).await.refused(Code::NoConversation);
        // Her log ends with it, and the others are told.
        for person in [&bob, &carol] {
            let left = person.events().await.into_iter().find_map(|event| match event.body {
                EventBody::Members { left, .. } if !left.is_empty() => Some(left),
                _ => None,
            });
            assert_eq!(left, Some(vec![carol.user]), "{protocol}");
        }
        let proposed = types(&bob.events().await).iter().any(|kind| kind == "conversation.proposal");
        assert_eq!(proposed, protocol == Protocol::Mls, "where there is a group, it is the hub's proposal");
    }
}

#[tokio::test]
async fn narrowing_keeps_who_asks_and_never_leaves_it_without_an_admin() {
    let hub = Hub::start().await;
    let (alice, bob, carol, id, mut at_alice) = team_table(&hub, Protocol::Mls).await;
    // Nobody of the team would be admitted; Alice asks for it, and stays.
    set_access(&alice, id, &[AccessMode::Invite], &[AccessRole::NonTeamMember]).await.empty();
    assert_eq!(users(&alice.conversation(id).await), [alice.user, carol.user]);
    bob.get(&path(id, "link")).await.refused(Code::NoConversation);

    // Somebody who may change the access, but is no admin, cannot throw out the only one.
    let removal = mls::message(
        &alice
            .events()
            .await
            .into_iter()
            .find_map(|event| match event.body {
                EventBody::Proposal { proposal, .. } => Some(proposal.0),
                _ => None,
            })
            .unwrap(),
    );
    at_alice.process_incoming_message(removal).unwrap();
    let bundle = commit(&mut at_alice, &[], &[]);
    alice.committed(id, &mut at_alice, &bundle).await;
    let role = json!({ "name": "porter", "actions": ["modify_access", "leave"] });
    assert!(alice.post("/v1/team/roles", &role).await.status.is_success());
    let porter = Role::defined(
        "porter".parse().unwrap(),
        [tertulia_domain::role::Action::ModifyAccess, tertulia_domain::role::Action::Leave]
            .into_iter()
            .collect(),
    );
    let policy = policy_in(&at_alice).with_role(carol.user, &porter.unwrap());
    let bundle = commit_policy(&mut at_alice, &policy);
    alice.committed(id, &mut at_alice, &bundle).await;
    let rows = hub.rows();
    set_access(&carol, id, &[AccessMode::Invite], &[AccessRole::Guest]).await.refused(Code::LastAdmin);
    assert_eq!(hub.rows(), rows, "a refusal changes nothing");
    assert_eq!(users(&carol.conversation(id).await), [alice.user, carol.user]);
}
