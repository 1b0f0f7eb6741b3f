//! Join links, and coming in by them or by asking, through a real hub.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::json;
use std::time::Duration;
use support::{
    hub::{self, Answer, Hub, Person, connect, types},
    joins::{PERSONS, path, set_access, users},
    mls::{self, Bundle, commit, commit_adding, commit_policy, leaf_of, policy_in},
};
use tertulia_api::{
    Base64, Code,
    conversation::{Conversation, NewConversation},
    event::EventBody,
    join::{Joining, Link, LinkPreview},
    join_link::JoinLink,
    team::{Invitation, Team},
};
use tertulia_domain::{
    ConversationId, Protocol, Role, RoleName, UserId,
    access::{AccessMode, AccessRole},
};
use tertulia_server::{Limits, Rate};

type Group = mls_rs::Group<mls::Config>;

const PASSWORD: &str = "open, sesame";

/// A group with its members, which has a link.
struct Table {
    id: ConversationId,
    link: JoinLink,
    at_alice: Group,
}

/// Alice's group, with these members, and a link that the hub has yet to be told of.
async fn table(alice: &Person, members: &[&Person]) -> (Table, Vec<Group>) {
    let (id, mut at_alice) = alice.new_group().await;
    let users: Vec<UserId> = members.iter().map(|member| member.user).collect();
    let mut groups = Vec::new();
    if !users.is_empty() {
        let bundle = alice.add(id, &mut at_alice, &users).await;
        let welcome = bundle.welcome.unwrap().to_bytes().unwrap();
        groups.extend(members.iter().map(|member| member.mls.join(&welcome)));
    }
    let link = JoinLink::new(alice.base.parse().unwrap(), id);
    let policy = policy_in(&at_alice).with_link(Some(link.public_key()));
    let bundle = commit_policy(&mut at_alice, &policy);
    alice.committed(id, &mut at_alice, &bundle).await;
    for group in &mut groups {
        group.process_incoming_message(bundle.commit.clone()).unwrap();
    }
    set_access(alice, id, &[AccessMode::Invite, AccessMode::Code], &PERSONS).await.empty();
    (Table { id, link, at_alice }, groups)
}

async fn put_link(
    person: &Person,
    link: &JoinLink,
    password: Option<&str>,
    valid_for: Option<u64>,
) -> Answer {
    let new = json!({
        "code_hash": Base64(link.code_hash().to_vec()),
        "public_key": Base64(link.public_key().to_vec()),
        "password": password,
        "valid_for": valid_for,
    });
    person.put(&path(link.conversation(), "link"), &new).await
}

/// Comes with the code and the proof of this link.
async fn join(person: &Person, link: &JoinLink, password: Option<&str>) -> Answer {
    let proof = link.prove(person.user, &"localhost".parse().unwrap());
    let by = json!({ "code": link.code(), "password": password, "proof": Base64(proof.to_vec()) });
    person.post("/v1/join", &by).await
}

/// The commit with which somebody lets somebody in who has the link.
async fn letting_in(member: &Person, group: &mut Group, joiner: &Person, link: &JoinLink) -> Bundle {
    let key_packages = member.claim(&[joiner.user]).await;
    let proof = link.prove(joiner.user, &"localhost".parse().unwrap());
    let policy =
        policy_in(group).with_members([joiner.user], &Role::MEMBER).with_admitted([(joiner.user, proof)]);
    commit_adding(group, &key_packages, &policy)
}

#[tokio::test]
async fn a_link_is_made_by_who_may_and_is_that_of_the_group() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let carol = Person::sign_up(&hub, "carol").await;
    let one_to_one = connect(&alice, &bob).await;
    let (table, _) = table(&alice, &[&bob]).await;
    let rows = hub.rows();
    let path = path(table.id, "link");
    put_link(&carol, &table.link, None, None).await.refused(Code::NoConversation);
    put_link(&bob, &table.link, None, None).await.refused(Code::ActionDenied);
    let of_pair = JoinLink::new(hub.base.parse().unwrap(), one_to_one);
    put_link(&alice, &of_pair, None, None).await.refused(Code::InvalidOperation);
    put_link(&alice, &table.link, Some("short"), None).await.refused(Code::InvalidPassword);
    put_link(&alice, &table.link, None, Some(0)).await.refused(Code::BadRequest);
    let too_long = Limits::default().longest_link_validity.as_secs() + 1;
    put_link(&alice, &table.link, None, Some(too_long)).await.refused(Code::BadRequest);
    alice.get(&path).await.refused(Code::NoConversationCode);
    assert_eq!(hub.rows(), rows, "a refusal changes nothing");

    let link: Link = put_link(&alice, &table.link, None, None).await.done();
    assert!(!link.has_password);
    let link: Link = put_link(&alice, &table.link, Some(PASSWORD), Some(60)).await.done();
    assert_eq!(alice.get(&path).await.done::<Link>(), link, "there is one, the last");
    assert!(link.has_password);
    bob.get(&path).await.refused(Code::ActionDenied);
    carol.get(&path).await.refused(Code::NoConversation);
    bob.delete(&path).await.refused(Code::ActionDenied);
    alice.delete(&path).await.empty();
    alice.delete(&path).await.empty();
    alice.get(&path).await.refused(Code::NoConversationCode);

    // Without the mode there is no link.
    set_access(&alice, table.id, &[AccessMode::Invite], &PERSONS).await.empty();
    put_link(&alice, &table.link, None, None).await.refused(Code::NotAdmitted);
}

#[tokio::test]
async fn who_has_the_link_is_let_in_by_any_member_with_all_devices() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (bob, carol) = (Person::sign_up(&hub, "bob").await, Person::sign_up(&hub, "carol").await);
    let tablet = Person::log_in(&hub, "carol").await;
    connect(&alice, &bob).await;
    let (table, mut groups) = table(&alice, &[&bob]).await;
    let at_bob = &mut groups[0];
    put_link(&alice, &table.link, Some(PASSWORD), None).await.done::<Link>();

    let code = json!({ "code": table.link.code() });
    let preview: LinkPreview = carol.post("/v1/join/preview", &code).await.done();
    assert_eq!((preview.conversation, preview.members, preview.has_password), (table.id, 2, true));
    let rows = hub.rows();
    for wrong in [None, Some("open, barley"), Some("")] {
        join(&carol, &table.link, wrong).await.refused(Code::InvalidConversationPassword);
    }
    let forged = json!({ "code": table.link.code(), "password": PASSWORD, "proof": Base64(vec![1; 64]) });
    carol.post("/v1/join", &forged).await.refused(Code::InvalidJoinProof);
    let of_bob = table.link.prove(bob.user, &"localhost".parse().unwrap());
    let borrowed =
        json!({ "code": table.link.code(), "password": PASSWORD, "proof": Base64(of_bob.to_vec()) });
    carol.post("/v1/join", &borrowed).await.refused(Code::InvalidJoinProof);
    assert_eq!(hub.rows(), rows, "a refusal changes nothing");
    bob.post("/v1/key-packages/claims", &json!({ "users": [carol.user] })).await.refused(Code::NotConnected);

    let waiting = Joining { conversation: table.id, joined: false };
    for _ in 0..2 {
        assert_eq!(join(&carol, &table.link, Some(PASSWORD)).await.done::<Joining>(), waiting);
    }
    carol.get(&path(table.id, "link")).await.refused(Code::NoConversation);
    let asked: Vec<_> = bob
        .events()
        .await
        .into_iter()
        .filter_map(|event| match event.body {
            EventBody::JoinRequested { entry, epoch, user, handle, proof } => {
                Some((entry.sender, epoch, user, handle, proof))
            }
            _ => None,
        })
        .collect();
    let proof = Base64(table.link.prove(carol.user, &"localhost".parse().unwrap()).to_vec());
    assert_eq!(asked, [(None, 2, carol.user, "carol".to_owned(), Some(proof))], "told once");

    // Bob, who may add nobody and is not connected with Carol, lets her in: with all her devices, and as nothing but a member.
    let one = commit_adding(
        at_bob,
        &[carol.mls.key_package()],
        &policy_in(at_bob)
            .with_members([carol.user], &Role::MEMBER)
            .with_admitted([(carol.user, table.link.prove(carol.user, &"localhost".parse().unwrap()))]),
    );
    bob.commit(table.id, &one).await.refused(Code::DeviceMismatch);
    at_bob.clear_pending_commit();
    let bundle = letting_in(&bob, at_bob, &carol, &table.link).await;
    bob.committed(table.id, at_bob, &bundle).await;
    let welcome = bundle.welcome.unwrap().to_bytes().unwrap();
    for device in [&carol, &tablet] {
        device.mls.join(&welcome);
    }
    let conversation = carol.conversation(table.id).await;
    assert_eq!(users(&conversation), [alice.user, bob.user, carol.user]);
    assert_eq!(conversation.members[2].role, RoleName::MEMBER);
    assert_eq!(hub.rows()["join_requests"], 0);
    let joined = Joining { conversation: table.id, joined: true };
    assert_eq!(join(&carol, &table.link, Some(PASSWORD)).await.done::<Joining>(), joined);

    // The next commit drops the proof.
    let bundle = commit(at_bob, &[], &[]);
    bob.committed(table.id, at_bob, &bundle).await;
    assert!(policy_in(at_bob).entrance().admitted.is_empty());
}

#[tokio::test]
async fn a_member_lets_nobody_in_without_request_and_proof() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (bob, carol) = (Person::sign_up(&hub, "bob").await, Person::sign_up(&hub, "carol").await);
    connect(&alice, &bob).await;
    connect(&bob, &carol).await;
    let (table, mut groups) = table(&alice, &[&bob]).await;
    let at_bob = &mut groups[0];
    put_link(&alice, &table.link, None, None).await.done::<Link>();

    // With a proof that the hub has not been shown.
    let bundle = letting_in(&bob, at_bob, &carol, &table.link).await;
    bob.commit(table.id, &bundle).await.refused(Code::ActionDenied);
    at_bob.clear_pending_commit();
    join(&carol, &table.link, None).await.done::<Joining>();
    // With a request, and no proof, or that of another link, or a role that is more.
    let key_packages = bob.claim(&[carol.user]).await;
    let other = JoinLink::new(hub.base.parse().unwrap(), table.id);
    let proof = |link: &JoinLink| link.prove(carol.user, &"localhost".parse().unwrap());
    let present = policy_in(at_bob);
    let with = |role| present.clone().with_members([carol.user], role);
    for policy in [
        with(&Role::MEMBER),
        with(&Role::MEMBER).with_admitted([(carol.user, proof(&other))]),
        with(&Role::MEMBER).with_link(Some(other.public_key())).with_admitted([(carol.user, proof(&other))]),
        with(&Role::ADMIN).with_admitted([(carol.user, proof(&table.link))]),
    ] {
        let bundle = commit_adding(at_bob, &key_packages, &policy);
        bob.commit(table.id, &bundle).await.refused(Code::ActionDenied);
        at_bob.clear_pending_commit();
    }
    assert_eq!(users(&alice.conversation(table.id).await), [alice.user, bob.user]);

    // Whoever takes the request back is not let in.
    carol.delete(&path(table.id, "join")).await.empty();
    carol.delete(&path(table.id, "join")).await.empty();
    assert_eq!(types(&carol.events().await).last().unwrap(), "conversation.join-ended");
    let policy = with(&Role::MEMBER).with_admitted([(carol.user, proof(&table.link))]);
    let bundle = commit_adding(at_bob, &key_packages, &policy);
    bob.commit(table.id, &bundle).await.refused(Code::ActionDenied);
}

#[tokio::test]
async fn a_proof_lets_in_who_waits_and_nobody_who_was_in_took_it_back_or_came_by_a_link_that_is_none() {
    let hub = Hub::start().await;
    let (alice, carol) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "carol").await);
    // Alice could add Carol without any proof, so that it would pass for an invitation.
    connect(&alice, &carol).await;
    let (Table { id, link, mut at_alice }, _) = table(&alice, &[]).await;
    put_link(&alice, &link, None, None).await.done::<Link>();
    join(&carol, &link, None).await.done::<Joining>();
    let bundle = letting_in(&alice, &mut at_alice, &carol, &link).await;
    alice.committed(id, &mut at_alice, &bundle).await;
    let leaf = leaf_of(&at_alice, &carol.mls);
    let bundle = commit(&mut at_alice, &[], &[leaf]);
    alice.committed(id, &mut at_alice, &bundle).await;
    let refused = async |at_alice: &mut Group, why: &str| {
        let rows = hub.rows()["log"];
        let proof = link.prove(carol.user, &"localhost".parse().unwrap());
        let policy = policy_in(at_alice).with_members([carol.user], &Role::MEMBER);
        let policy = policy.with_admitted([(carol.user, proof)]);
        let bundle = commit_adding(at_alice, &[carol.mls.key_package()], &policy);
        alice.commit(id, &bundle).await.refused(Code::NotAdmitted);
        at_alice.clear_pending_commit();
        assert_eq!(hub.rows()["log"], rows, "{why}");
    };
    refused(&mut at_alice, "she was removed").await;
    join(&carol, &link, None).await.done::<Joining>();
    carol.delete(&path(id, "join")).await.empty();
    refused(&mut at_alice, "she took it back").await;
    join(&carol, &link, None).await.done::<Joining>();
    alice.delete(&path(id, "link")).await.empty();
    refused(&mut at_alice, "the link was taken back").await;

    // Without the proof it is an invitation, and says so.
    let bundle = commit(&mut at_alice, &[carol.mls.key_package()], &[]);
    alice.committed(id, &mut at_alice, &bundle).await;
    assert_eq!(users(&alice.conversation(id).await), [alice.user, carol.user]);
}

#[tokio::test]
async fn who_waits_and_comes_into_the_team_or_leaves_it_waits_on_only_if_admitted_then() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (bob, carol) = (Person::sign_up(&hub, "bob").await, Person::sign_up(&hub, "carol").await);
    alice.post("/v1/team", &json!({ "name": "Friends" })).await.done::<Team>();
    let enter = async |person: &Person| {
        let invitation: Invitation = alice.post("/v1/team/invitations", &json!({})).await.done();
        person.post("/v1/team/join", &json!({ "code": invitation.code })).await.done::<Team>();
    };
    enter(&bob).await;
    let open = async |roles: &[AccessRole]| {
        let id = ConversationId::random();
        let new = NewConversation { team: true, ..NewConversation::new(id) };
        alice.post("/v1/conversations", &new).await.done::<Conversation>();
        let mut at_alice = alice.mls.create_managed(id, &alice.hub_key);
        let policy = policy_in(&at_alice).with_open(true);
        let bundle = commit_policy(&mut at_alice, &policy);
        alice.committed(id, &mut at_alice, &bundle).await;
        set_access(&alice, id, &[AccessMode::Link], roles).await.empty();
        id
    };
    let (team, others) = (open(&[AccessRole::TeamMember]).await, open(&[AccessRole::NonTeamMember]).await);
    let all = open(&[AccessRole::TeamMember, AccessRole::NonTeamMember]).await;
    for (person, id) in [(&bob, team), (&bob, all), (&carol, others), (&carol, all)] {
        person.post(&path(id, "join"), &json!({})).await.done::<Joining>();
    }
    bob.post("/v1/team/leave", &json!({})).await.empty();
    enter(&carol).await;
    for (person, void) in [(&bob, team), (&carol, others)] {
        let ended: Vec<_> = person
            .events()
            .await
            .into_iter()
            .filter_map(|event| match event.body {
                EventBody::JoinEnded { conversation } => Some(conversation),
                _ => None,
            })
            .collect();
        assert_eq!(ended, [void]);
    }
    assert_eq!(hub.rows()["join_requests"], 2, "into the one that admits both");
}

#[tokio::test]
async fn a_code_that_is_unknown_has_expired_or_was_taken_back_is_answered_alike() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (mut table, _) = table(&alice, &[]).await;
    let unknown = JoinLink::new(hub.base.parse().unwrap(), table.id);
    let ask = async |link: &JoinLink| {
        let code = json!({ "code": link.code() });
        let preview = bob.post("/v1/join/preview", &code).await;
        let answer = join(&bob, link, Some(PASSWORD)).await;
        assert_eq!(preview.body, answer.body);
        let body = answer.body.clone();
        answer.refused(Code::NoConversationCode);
        body
    };
    let expected = ask(&unknown).await;

    put_link(&alice, &table.link, Some(PASSWORD), None).await.done::<Link>();
    hub.change("UPDATE join_links SET expires_at = 1", ());
    assert_eq!(ask(&table.link).await, expected, "expired");

    put_link(&alice, &table.link, Some(PASSWORD), None).await.done::<Link>();
    alice.delete(&path(table.id, "link")).await.empty();
    assert_eq!(ask(&table.link).await, expected, "taken back by request");

    put_link(&alice, &table.link, Some(PASSWORD), None).await.done::<Link>();
    let policy = policy_in(&table.at_alice).with_link(None);
    let bundle = commit_policy(&mut table.at_alice, &policy);
    alice.committed(table.id, &mut table.at_alice, &bundle).await;
    assert_eq!(ask(&table.link).await, expected, "taken back by a commit");

    let policy = policy_in(&table.at_alice).with_link(Some(table.link.public_key()));
    let bundle = commit_policy(&mut table.at_alice, &policy);
    alice.committed(table.id, &mut table.at_alice, &bundle).await;
    put_link(&alice, &table.link, Some(PASSWORD), None).await.done::<Link>();
    join(&bob, &table.link, Some(PASSWORD)).await.done::<Joining>();
    set_access(&alice, table.id, &[AccessMode::Invite], &PERSONS).await.empty();
    assert_eq!(ask(&table.link).await, expected, "narrowed");
    assert_eq!(hub.rows()["join_requests"], 0, "and the request is void");
    assert_eq!(types(&bob.events().await).last().unwrap(), "conversation.join-ended");
}

#[tokio::test]
async fn whose_link_is_replaced_while_they_wait_is_told() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (mut table, _) = table(&alice, &[]).await;
    put_link(&alice, &table.link, None, None).await.done::<Link>();
    join(&bob, &table.link, None).await.done::<Joining>();
    // The same link with another password changes nothing for who waits.
    put_link(&alice, &table.link, Some(PASSWORD), None).await.done::<Link>();
    assert_eq!(hub.rows()["join_requests"], 1);
    let next = JoinLink::new(hub.base.parse().unwrap(), table.id);
    let policy = policy_in(&table.at_alice).with_link(Some(next.public_key()));
    let bundle = commit_policy(&mut table.at_alice, &policy);
    alice.committed(table.id, &mut table.at_alice, &bundle).await;
    assert_eq!((hub.rows()["join_requests"], hub.rows()["join_links"]), (0, 0));
    assert_eq!(types(&bob.events().await).last().unwrap(), "conversation.join-ended");
    put_link(&alice, &next, None, None).await.done::<Link>();
    join(&bob, &next, None).await.done::<Joining>();
}

#[tokio::test]
async fn who_is_not_admitted_does_not_come_in_by_a_link() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (table, _) = table(&alice, &[]).await;
    let roles = [AccessRole::TeamMember, AccessRole::Guest];
    set_access(&alice, table.id, &[AccessMode::Code], &roles).await.empty();
    put_link(&alice, &table.link, None, None).await.done::<Link>();
    let rows = hub.rows();
    join(&bob, &table.link, None).await.refused(Code::NotAdmitted);
    assert_eq!(hub.rows(), rows, "a refusal changes nothing");
}

#[tokio::test]
async fn a_block_does_not_show_in_joining() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (bob, carol) = (Person::sign_up(&hub, "bob").await, Person::sign_up(&hub, "carol").await);
    connect(&alice, &bob).await;
    bob.set_connection(&alice, "blocked").await.done::<tertulia_api::connection::Connection>();
    let (mut table, _) = table(&alice, &[]).await;
    put_link(&alice, &table.link, None, None).await.done::<Link>();
    let answers = [join(&bob, &table.link, None).await, join(&carol, &table.link, None).await];
    assert_eq!(answers[0].body, answers[1].body);
    for joiner in [&bob, &carol] {
        let bundle = letting_in(&alice, &mut table.at_alice, joiner, &table.link).await;
        alice.committed(table.id, &mut table.at_alice, &bundle).await;
    }
    assert_eq!(users(&alice.conversation(table.id).await), [alice.user, bob.user, carol.user]);
}

#[tokio::test]
async fn into_an_open_conversation_one_asks_by_its_id() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (bob, carol) = (Person::sign_up(&hub, "bob").await, Person::sign_up(&hub, "carol").await);
    connect(&alice, &bob).await;
    connect(&bob, &carol).await;
    let (mut table, mut groups) = table(&alice, &[&bob]).await;
    let at_bob = &mut groups[0];
    let ask = path(table.id, "join");
    let rows = hub.rows();
    carol.post(&ask, &json!({})).await.refused(Code::NoConversation);
    carol.post(&path(ConversationId::random(), "join"), &json!({})).await.refused(Code::NoConversation);
    let opening = |group: &Group, open| policy_in(group).with_open(open);
    let bundle = commit_policy(at_bob, &opening(at_bob, true));
    bob.commit(table.id, &bundle).await.refused(Code::ActionDenied);
    at_bob.clear_pending_commit();
    assert_eq!(hub.rows(), rows, "a refusal changes nothing");

    let policy = opening(&table.at_alice, true);
    let bundle = commit_policy(&mut table.at_alice, &policy);
    alice.committed(table.id, &mut table.at_alice, &bundle).await;
    at_bob.process_incoming_message(bundle.commit).unwrap();
    let modes = [AccessMode::Invite, AccessMode::Link, AccessMode::Code];
    assert_eq!(alice.conversation(table.id).await.access, modes.into(), "the commit has done that too");

    // By the policy Bob could let her in; the hub wants that she has asked.
    let key_package = carol.mls.key_package();
    let bundle = commit(at_bob, &[key_package], &[]);
    bob.commit(table.id, &bundle).await.refused(Code::ActionDenied);
    at_bob.clear_pending_commit();
    let waiting = Joining { conversation: table.id, joined: false };
    assert_eq!(carol.post(&ask, &json!({})).await.done::<Joining>(), waiting);
    let key_packages = bob.claim(&[carol.user]).await;
    let bundle = commit(at_bob, &key_packages, &[]);
    bob.committed(table.id, at_bob, &bundle).await;
    table.at_alice.process_incoming_message(bundle.commit).unwrap();
    assert_eq!(users(&carol.conversation(table.id).await), [alice.user, bob.user, carol.user]);

    // Closed again, nobody asks, and who waits is told.
    let dora = Person::sign_up(&hub, "dora").await;
    dora.post(&ask, &json!({})).await.done::<Joining>();
    let policy = opening(&table.at_alice, false);
    let bundle = commit_policy(&mut table.at_alice, &policy);
    alice.committed(table.id, &mut table.at_alice, &bundle).await;
    assert_eq!(types(&dora.events().await).last().unwrap(), "conversation.join-ended");
    dora.post(&ask, &json!({})).await.refused(Code::NoConversation);
}

#[tokio::test]
async fn members_are_told_of_who_takes_a_request_back_and_once() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (mut table, _) = table(&alice, &[]).await;
    let policy = policy_in(&table.at_alice).with_open(true);
    let bundle = commit_policy(&mut table.at_alice, &policy);
    alice.committed(table.id, &mut table.at_alice, &bundle).await;
    let ask = path(table.id, "join");
    bob.post(&ask, &json!({})).await.done::<Joining>();
    for _ in 0..2 {
        bob.delete(&ask).await.empty();
    }
    let told = alice.events().await;
    assert_eq!(
        types(&told)[told.len() - 2..],
        ["conversation.join-requested", "conversation.join-withdrawn"]
    );
    let last = &told.last().unwrap().body;
    assert!(matches!(last, EventBody::JoinWithdrawn { user, .. } if *user == bob.user), "{last:?}");
    assert_eq!(types(&bob.events().await).last().unwrap(), "conversation.join-ended");
}

#[tokio::test]
async fn a_link_that_is_given_before_the_commit_is_one_with_the_commit_and_not_before() {
    let hub = Hub::start().await;
    let (alice, zoe) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "zoe").await);
    let (mut table, _) = table(&alice, &[]).await;
    put_link(&alice, &table.link, None, None).await.done::<Link>();
    let path = path(table.id, "link");
    let next = JoinLink::new(hub.base.parse().unwrap(), table.id);
    let other = JoinLink::new(hub.base.parse().unwrap(), table.id);
    for link in [&other, &next] {
        let prepared: Link = put_link(&alice, link, Some(PASSWORD), None).await.done();
        assert!(prepared.has_password);
    }
    assert_eq!(hub.rows()["prepared_links"], 1, "the last");
    assert!(!alice.get(&path).await.done::<Link>().has_password, "the first is still the conversation's");
    join(&zoe, &next, Some(PASSWORD)).await.refused(Code::NoConversationCode);

    let policy = policy_in(&table.at_alice).with_link(Some(next.public_key()));
    let bundle = commit_policy(&mut table.at_alice, &policy);
    alice.committed(table.id, &mut table.at_alice, &bundle).await;
    let shown: Link = alice.get(&path).await.done();
    assert_eq!((shown.public_key.0, shown.has_password), (next.public_key().to_vec(), true));
    assert_eq!((hub.rows()["prepared_links"], hub.rows()["join_links"]), (0, 1));
    join(&zoe, &table.link, None).await.refused(Code::NoConversationCode);
    join(&zoe, &next, Some(PASSWORD)).await.done::<Joining>();

    // What is taken back is taken back whole.
    put_link(&alice, &other, None, None).await.done::<Link>();
    alice.delete(&path).await.empty();
    assert_eq!((hub.rows()["prepared_links"], hub.rows()["join_links"]), (0, 0));
}

#[tokio::test]
async fn a_commit_that_leaves_the_entrance_as_it_is_leaves_what_the_hub_keeps_of_it() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (mut table, _) = table(&alice, &[]).await;
    put_link(&alice, &table.link, None, None).await.done::<Link>();
    // Whether it was looked at shows where the record is not what the policy says.
    hub.change("UPDATE join_links SET public_key = code_hash", ());
    let unchanged = commit(&mut table.at_alice, &[], &[]);
    alice.committed(table.id, &mut table.at_alice, &unchanged).await;
    assert_eq!(hub.rows()["join_links"], 1);
    let policy = policy_in(&table.at_alice).with_link(None);
    let changed = commit_policy(&mut table.at_alice, &policy);
    alice.committed(table.id, &mut table.at_alice, &changed).await;
    assert_eq!(hub.rows()["join_links"], 0);
}

#[tokio::test]
async fn into_a_pairwise_conversation_the_hub_lets_in_at_once() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (bob, carol) = (Person::sign_up(&hub, "bob").await, Person::sign_up(&hub, "carol").await);
    let id = ConversationId::random();
    let new = NewConversation { protocol: Protocol::Pairwise, ..NewConversation::new(id) };
    alice.post("/v1/conversations", &new).await.done::<Conversation>();
    set_access(&alice, id, &[AccessMode::Code, AccessMode::Link], &PERSONS).await.empty();
    let link = JoinLink::new(hub.base.parse().unwrap(), id);
    put_link(&alice, &link, None, None).await.done::<Link>();
    let joined = Joining { conversation: id, joined: true };
    assert_eq!(join(&bob, &link, None).await.done::<Joining>(), joined);
    assert_eq!(carol.post(&path(id, "join"), &json!({})).await.done::<Joining>(), joined);
    assert_eq!(users(&alice.conversation(id).await), [alice.user, bob.user, carol.user]);
    assert!(types(&bob.events().await).contains(&"conversation.joined".to_owned()));
    assert_eq!(types(&alice.events().await).last().unwrap(), "conversation.members");
}

#[tokio::test]
async fn into_a_mixed_conversation_one_is_let_in_by_commit() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let id = ConversationId::random();
    let new = NewConversation { protocol: Protocol::Pairwise, ..NewConversation::new(id) };
    alice.post("/v1/conversations", &new).await.done::<Conversation>();
    set_access(&alice, id, &[AccessMode::Code], &PERSONS).await.empty();
    let old = JoinLink::new(hub.base.parse().unwrap(), id);
    put_link(&alice, &old, None, None).await.done::<Link>();
    alice.put(&path(id, "protocol"), &json!({ "protocol": "mixed" })).await.empty();

    // The group's first commit says what its link is: the one that the hub alone had is none.
    let mut at_alice = alice.mls.create_managed(id, &alice.hub_key);
    let link = JoinLink::new(hub.base.parse().unwrap(), id);
    let policy = policy_in(&at_alice).with_link(Some(link.public_key()));
    let bundle = commit_policy(&mut at_alice, &policy);
    alice.committed(id, &mut at_alice, &bundle).await;
    join(&bob, &old, None).await.refused(Code::NoConversationCode);
    put_link(&alice, &link, None, None).await.done::<Link>();
    let waiting = Joining { conversation: id, joined: false };
    assert_eq!(join(&bob, &link, None).await.done::<Joining>(), waiting);
    let bundle = letting_in(&alice, &mut at_alice, &bob, &link).await;
    alice.committed(id, &mut at_alice, &bundle).await;
    assert_eq!(users(&bob.conversation(id).await), [alice.user, bob.user]);
}

#[tokio::test]
async fn passwords_are_guessed_no_faster_than_the_rate() {
    let slow = |config: &mut tertulia_server::ServerConfig| {
        config.limits.joins = Rate { burst: 3, period: Duration::from_hours(1) };
    };
    let hub = Hub::start_with(tempfile::tempdir().unwrap(), slow).await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (table, _) = table(&alice, &[]).await;
    put_link(&alice, &table.link, Some(PASSWORD), None).await.done::<Link>();
    for _ in 0..3 {
        join(&bob, &table.link, Some("a wrong guess")).await.refused(Code::InvalidConversationPassword);
    }
    let problem = join(&bob, &table.link, Some(PASSWORD)).await.refused(Code::RateLimited);
    assert!(problem.retry_after.unwrap() > 3000);
    let hash = hub.stored().text("SELECT password FROM join_links");
    assert!(hash.starts_with("$argon2id$"), "{hash}");
}

#[tokio::test]
async fn a_link_goes_with_its_conversation() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (table, _) = table(&alice, &[]).await;
    put_link(&alice, &table.link, None, None).await.done::<Link>();
    join(&bob, &table.link, None).await.done::<Joining>();
    // Nor does one who is no more wait.
    let dora = Person::sign_up(&hub, "dora").await;
    join(&dora, &table.link, None).await.done::<Joining>();
    dora.post("/v1/self/delete", &json!({ "password": hub::PASSWORD })).await.empty();
    assert_eq!(hub.rows()["join_requests"], 1);
    alice.post("/v1/key-packages/claims", &json!({ "users": [dora.user] })).await.refused(Code::UnknownUser);

    alice.post(&path(table.id, "leave"), &json!({})).await.empty();
    assert_eq!((hub.rows()["join_links"], hub.rows()["join_requests"]), (0, 0));
    assert_eq!(types(&bob.events().await).last().unwrap(), "conversation.join-ended");
    join(&bob, &table.link, None).await.refused(Code::NoConversationCode);
}
