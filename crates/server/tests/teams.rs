//! Teams, their members, and what being in one means, through a real hub.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::{
    hub::{Answer, Hub, PASSWORD, Person, connect, types},
    mls::{commit, decrypt, encrypt},
};
use tertulia_api::{
    Code,
    connection::{Connection, Connections},
    conversation::{Conversation, Conversations},
    event::EventBody,
    team::{Invitation, Team, TeamMembers},
};
use tertulia_domain::{
    ConversationId, ConversationType, Domain, Role, RoleName, UserId,
    connection::Status,
    role::{Action, ActionSet},
    team::TeamRole::{self, Admin, Member, Owner},
};

async fn create(person: &Person) -> Team {
    person.post("/v1/team", &json!({ "name": "Café Gijón" })).await.done()
}

async fn invite(person: &Person) -> String {
    person.post("/v1/team/invitations", &json!({})).await.done::<Invitation>().code
}

async fn join_with(person: &Person, code: &str) -> Answer {
    person.post("/v1/team/join", &json!({ "code": code })).await
}

async fn join(person: &Person, inviter: &Person) -> Team {
    join_with(person, &invite(inviter).await).await.done()
}

async fn leave(person: &Person) -> Answer {
    person.post("/v1/team/leave", &json!({})).await
}

async fn set_role(person: &Person, of: &Person, role: &str) -> Answer {
    person.put(&format!("/v1/team/members/{}/role", of.user), &json!({ "role": role })).await
}

async fn remove(person: &Person, other: &Person) -> Answer {
    person.delete(&format!("/v1/team/members/{}", other.user)).await
}

async fn members(person: &Person) -> Vec<(String, TeamRole)> {
    let all: TeamMembers = person.get("/v1/team/members").await.done();
    all.members.into_iter().map(|member| (member.handle, member.role)).collect()
}

fn one_to_one_of(a: &Person, b: &Person) -> ConversationId {
    let hub = Domain::localhost();
    ConversationId::one_to_one((&a.user, &hub), (&b.user, &hub)).id
}

async fn conversations(of: &Person) -> Vec<Conversation> {
    of.get("/v1/conversations").await.done::<Conversations>().conversations
}

fn named(list: &[(&str, TeamRole)]) -> Vec<(String, TeamRole)> {
    list.iter().map(|(name, role)| ((*name).to_owned(), *role)).collect()
}

#[tokio::test]
async fn who_makes_a_team_is_its_owner_and_is_in_no_other() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    alice.get("/v1/team").await.refused(Code::NoTeam);
    alice.get("/v1/team/members").await.refused(Code::NoTeam);
    alice.post("/v1/team/invitations", &json!({})).await.refused(Code::NoTeam);
    leave(&alice).await.refused(Code::NoTeam);
    for name in ["", "a\nb"] {
        alice.post("/v1/team", &json!({ "name": name })).await.refused(Code::BadRequest);
    }
    let team = create(&alice).await;
    assert_eq!((team.name.as_str(), team.role), ("Café Gijón", Owner));
    assert_eq!(alice.get("/v1/team").await.done::<Team>(), team);
    alice.post("/v1/team", &json!({ "name": "Another" })).await.refused(Code::AlreadyInTeam);
    assert_eq!(types(&alice.events().await), ["team.member-joined"]);
}

#[tokio::test]
async fn an_invitation_is_accepted_once_and_in_time() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (carol, dave) = (Person::sign_up(&hub, "carol").await, Person::sign_up(&hub, "dave").await);
    let team = create(&alice).await;
    for valid_for in [0, 59, 30 * 24 * 3600 + 1] {
        let body = json!({ "valid_for": valid_for });
        alice.post("/v1/team/invitations", &body).await.refused(Code::BadRequest);
    }
    let code = invite(&alice).await;
    assert!(code.len() >= 43, "256 bits: {} characters", code.len());
    join_with(&bob, "made up").await.refused(Code::InvalidInvitation);
    let joined: Team = join_with(&bob, &code).await.done();
    assert_eq!((joined.team, joined.role), (team.team, Member));
    join_with(&carol, &code).await.refused(Code::InvalidInvitation);
    // Who is in a team does not use it up.
    let code = invite(&alice).await;
    join_with(&bob, &code).await.refused(Code::AlreadyInTeam);
    join_with(&carol, &code).await.done::<Team>();
    let code = invite(&alice).await;
    hub.change("UPDATE team_invitations SET expires_at = 1", ());
    join_with(&dave, &code).await.refused(Code::InvalidInvitation);
    assert_eq!(members(&bob).await, named(&[("alice", Owner), ("bob", Member), ("carol", Member)]));
    let told = types(&alice.events().await);
    assert_eq!(told, ["team.member-joined"].repeat(3));
    assert_eq!(types(&bob.events().await), ["team.member-joined"].repeat(2));
}

#[tokio::test]
async fn of_many_who_accept_one_invitation_at_the_same_time_one_joins() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    create(&alice).await;
    let code = invite(&alice).await;
    let mut people = Vec::new();
    for n in 0..6 {
        people.push(Person::sign_up(&hub, &format!("guest{n}")).await);
    }
    let answers = futures::future::join_all(people.iter().map(|guest| join_with(guest, &code))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status.is_success()).count(), 1);
    assert_eq!(members(&alice).await.len(), 2);
}

#[tokio::test]
async fn a_team_has_a_bounded_number_of_open_invitations() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    create(&alice).await;
    for _ in 0..100 {
        invite(&alice).await;
    }
    alice.post("/v1/team/invitations", &json!({})).await.refused(Code::TeamLimit);
    hub.change("UPDATE team_invitations SET expires_at = 1", ());
    invite(&alice).await;
    assert_eq!(hub.rows()["team_invitations"], 1);
}

#[tokio::test]
async fn owners_admins_and_members_do_what_their_roles_allow() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (carol, dave) = (Person::sign_up(&hub, "carol").await, Person::sign_up(&hub, "dave").await);
    create(&alice).await;
    join(&bob, &alice).await;
    join(&carol, &alice).await;
    set_role(&alice, &bob, "admin").await.empty();
    set_role(&alice, &bob, "admin").await.empty();
    set_role(&alice, &bob, "king").await.refused(Code::BadRequest);
    set_role(&alice, &dave, "admin").await.refused(Code::UnknownUser);
    set_role(&alice, &alice, "member").await.refused(Code::ActionDenied);
    set_role(&bob, &carol, "admin").await.refused(Code::ActionDenied);
    remove(&alice, &alice).await.refused(Code::ActionDenied);
    remove(&alice, &dave).await.refused(Code::UnknownUser);

    carol.post("/v1/team/invitations", &json!({})).await.refused(Code::ActionDenied);
    join(&dave, &bob).await;
    remove(&carol, &dave).await.refused(Code::ActionDenied);
    remove(&bob, &alice).await.refused(Code::ActionDenied);
    remove(&bob, &dave).await.empty();
    dave.get("/v1/team").await.refused(Code::NoTeam);
    assert_eq!(members(&alice).await, named(&[("alice", Owner), ("bob", Admin), ("carol", Member)]));
    let events = carol.events().await;
    assert_eq!(
        types(&events),
        ["team.member-joined", "team.role-changed", "team.member-joined", "team.member-left"]
    );
    let EventBody::TeamRoleChanged { member, .. } = &events[1].body else { panic!("not a role") };
    assert_eq!((member.user, member.role), (bob.user, Admin));
    assert_eq!(types(&dave.events().await), ["team.member-joined", "team.member-left"]);
}

#[tokio::test]
async fn the_last_owner_leaves_last_and_the_team_goes_with_its_last_member() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    create(&alice).await;
    join(&bob, &alice).await;
    leave(&alice).await.refused(Code::LastOwner);
    set_role(&alice, &bob, "owner").await.empty();
    leave(&alice).await.empty();
    assert_eq!(members(&bob).await, named(&[("bob", Owner)]));
    invite(&bob).await;
    leave(&bob).await.empty();
    let rows = hub.rows();
    for table in ["teams", "team_members", "team_invitations"] {
        assert_eq!(rows[table], 0, "{table}");
    }
}

#[tokio::test]
async fn a_deleted_owner_is_followed_by_the_longest_admin_and_the_team_is_told() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let carol = Person::sign_up(&hub, "carol").await;
    create(&alice).await;
    join(&bob, &alice).await;
    join(&carol, &alice).await;
    set_role(&alice, &carol, "admin").await.empty();
    alice.post("/v1/self/delete", &json!({ "password": PASSWORD })).await.empty();
    assert_eq!(members(&bob).await, named(&[("bob", Member), ("carol", Owner)]));
    let told = types(&bob.events().await).split_off(3);
    assert_eq!(told, ["team.member-left", "team.role-changed", "user.deleted"]);
}

#[tokio::test]
async fn team_mates_are_connected_and_cannot_be_asked_blocked_or_ignored() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    bob.put("/v1/self/profile", &json!({ "locale": "eu" })).await.empty();
    create(&alice).await;
    join(&bob, &alice).await;
    let before = hub.rows();
    alice.post("/v1/connections", &json!({ "handle": "bob" })).await.refused(Code::SameTeam);
    for status in Status::ALL {
        alice.set_connection(&bob, status.as_str()).await.refused(Code::SameTeam);
    }
    assert_eq!(hub.rows(), before);
    assert_eq!(hub.rows()["connections"], 0);
    let path = format!("/v1/users/{}", bob.user);
    assert_eq!(alice.get(&path).await.done::<Value>()["locale"], "eu");
    // Each may add the other to a group.
    let (group, mut at_alice) = alice.new_group().await;
    alice.add(group, &mut at_alice, &[bob.user]).await;
    assert_eq!(bob.conversation(group).await.members.len(), 2);
}

#[tokio::test]
async fn a_one_to_one_in_a_team_exists_without_being_created() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let eve = Person::sign_up(&hub, "eve").await;
    create(&alice).await;
    join(&bob, &alice).await;
    let id = one_to_one_of(&alice, &bob);
    let before = hub.rows();
    for (reader, first) in [(&alice, &alice), (&bob, &bob)] {
        let shown = reader.conversation(id).await;
        assert_eq!((shown.kind, shown.epoch), (ConversationType::OneToOne, 0));
        assert_eq!(shown.group_id.0, id.as_bytes());
        assert_eq!((shown.members.len(), shown.members[0].user), (2, first.user));
    }
    eve.get(&format!("/v1/conversations/{id}")).await.refused(Code::NoConversation);
    alice
        .get(&format!("/v1/conversations/{}", one_to_one_of(&alice, &eve)))
        .await
        .refused(Code::NoConversation);
    assert_eq!(hub.rows(), before, "reading stores nothing");

    // The first commit must add exactly the other.
    let mut alone = alice.mls.create_group(id.as_bytes(), &alice.hub_key);
    let bundle = commit(&mut alone, &[], &[]);
    alice.commit(id, &bundle).await.refused(Code::InvalidOperation);
    let mut at_alice = alice.mls.create_group(id.as_bytes(), &alice.hub_key);
    let bundle = alice.add(id, &mut at_alice, &[bob.user]).await;
    let mut at_bob = bob.mls.join(&bundle.welcome.unwrap().to_bytes().unwrap());
    let message = encrypt(&mut at_bob, "no request needed");
    bob.sent(id, message.clone()).await;
    assert_eq!(decrypt(&mut at_alice, &message), "no request needed");
    assert_eq!(conversations(&bob).await[0].epoch, 1);

    // Strangers get no such thing.
    let id = one_to_one_of(&alice, &eve);
    let mut at_eve = eve.mls.create_group(id.as_bytes(), &eve.hub_key);
    let bundle = commit(&mut at_eve, &[alice.mls.key_package()], &[]);
    eve.commit(id, &bundle).await.refused(Code::NoConversation);
}

#[tokio::test]
async fn connections_and_blocks_between_who_become_team_mates_are_no_more() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (carol, dave) = (Person::sign_up(&hub, "carol").await, Person::sign_up(&hub, "dave").await);
    connect(&alice, &bob).await;
    bob.set_connection(&alice, "blocked").await.done::<Connection>();
    carol.connect(&alice).await;
    connect(&bob, &dave).await;
    create(&alice).await;
    join(&bob, &alice).await;
    join(&carol, &alice).await;
    for person in [&alice, &carol] {
        let all: Connections = person.get("/v1/connections").await.done();
        assert!(all.connections.is_empty(), "{}", person.handle);
    }
    let kept: Connections = bob.get("/v1/connections").await.done();
    assert_eq!(kept.connections[0].handle, "dave");
    for (one, other) in [(&alice, &bob), (&carol, &alice)] {
        let id = one_to_one_of(one, other);
        for person in [one, other] {
            let shown = person.conversation(id).await;
            assert_eq!((shown.kind, shown.members.len()), (ConversationType::OneToOne, 2));
        }
    }
    // After the team they are strangers.
    leave(&bob).await.empty();
    bob.get(&format!("/v1/conversations/{}", one_to_one_of(&alice, &bob)))
        .await
        .refused(Code::NoConversation);
    alice
        .get(&format!("/v1/conversations/{}", one_to_one_of(&alice, &bob)))
        .await
        .refused(Code::NoConversation);
    assert_eq!(
        bob.conversation(one_to_one_of(&bob, &dave)).await.members.len(),
        2,
        "that one is not of the team"
    );
    alice.connect(&bob).await;
    bob.set_connection(&alice, "accepted").await.done::<Connection>();
    assert_eq!(alice.conversation(one_to_one_of(&alice, &bob)).await.members.len(), 2);
}

#[tokio::test]
async fn who_leaves_a_team_leaves_its_conversations() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let carol = Person::sign_up(&hub, "carol").await;
    let new = |team: bool| json!({ "conversation": ConversationId::random(), "team": team });
    alice.post("/v1/conversations", &new(true)).await.refused(Code::NoTeam);
    let team = create(&alice).await;
    join(&bob, &alice).await;
    connect(&bob, &carol).await;
    let mut groups = Vec::new();
    for in_team in [true, false] {
        let made: Conversation = bob.post("/v1/conversations", &new(in_team)).await.done();
        assert_eq!(made.team, in_team.then_some(team.team));
        let mut at_bob = bob.mls.create_managed(made.conversation, &bob.hub_key);
        bob.add(made.conversation, &mut at_bob, &[carol.user]).await;
        let bundle = bob.add(made.conversation, &mut at_bob, &[alice.user]).await;
        let at_alice = alice.mls.join(&bundle.welcome.unwrap().to_bytes().unwrap());
        groups.push((made.conversation, at_alice));
    }
    let (of_team, own) = (groups[0].0, groups[1].0);
    leave(&bob).await.empty();

    bob.get(&format!("/v1/conversations/{of_team}")).await.refused(Code::NoConversation);
    assert_eq!(bob.conversation(own).await.members.len(), 3);
    // The hub proposes the removal, and who is left carries it out.
    let proposed = alice.events().await.into_iter().rev().find_map(|event| match event.body {
        EventBody::Proposal { proposal, .. } => Some(proposal.0),
        _ => None,
    });
    let at_alice = &mut groups[0].1;
    at_alice.process_incoming_message(support::mls::message(&proposed.unwrap())).unwrap();
    let bundle = commit(at_alice, &[], &[]);
    alice.committed(of_team, at_alice, &bundle).await;
    assert_eq!(at_alice.roster().members().len(), 2);
    let left = alice.conversation(of_team).await;
    let roles: Vec<(UserId, RoleName)> =
        left.members.into_iter().map(|member| (member.user, member.role)).collect();
    let expected = [(carol.user, RoleName::ADMIN), (alice.user, RoleName::MEMBER)];
    assert_eq!(roles, expected, "the longest member follows");
    assert_eq!(types(&bob.events().await).last().unwrap(), "conversation.members");
    // Without the team its conversation goes on.
    leave(&alice).await.empty();
    assert_eq!(carol.conversation(of_team).await.team, None);
}

#[tokio::test]
async fn a_team_defines_roles_that_its_conversations_use() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let scribe = json!({ "name": "scribe", "actions": ["modify_name", "leave"] });
    alice.post("/v1/team/roles", &scribe).await.refused(Code::NoTeam);
    create(&alice).await;
    join(&bob, &alice).await;
    bob.post("/v1/team/roles", &scribe).await.refused(Code::ActionDenied);
    for (name, actions) in [
        ("x", json!([])),
        ("Scribe", json!([])),
        ("admin", json!([])),
        ("wire_member", json!([])),
        ("scribe", json!(["dance"])),
    ] {
        let role = json!({ "name": name, "actions": actions });
        alice.post("/v1/team/roles", &role).await.refused(Code::BadRequest);
    }
    assert_eq!(alice.post("/v1/team/roles", &scribe).await.done::<Value>(), scribe);
    alice.post("/v1/team/roles", &scribe).await.done::<Value>();
    let other = json!({ "name": "scribe", "actions": ["add_member"] });
    alice.post("/v1/team/roles", &other).await.refused(Code::RoleExists);
    assert_eq!(bob.get("/v1/team/roles").await.done::<Value>(), json!({ "roles": [scribe] }));
    assert_eq!(types(&bob.events().await), ["team.member-joined", "team.roles-changed"]);

    // A member of a conversation of the team can have it, with what the team says that it allows.
    let new = json!({ "conversation": ConversationId::random(), "team": true });
    let made: Conversation = alice.post("/v1/conversations", &new).await.done();
    let id = made.conversation;
    let mut at_alice = alice.mls.create_managed(id, &alice.hub_key);
    alice.add(id, &mut at_alice, &[bob.user]).await;
    let role = |actions: &[Action]| Role::defined("scribe".parse().unwrap(), ActionSet::of(actions)).unwrap();
    let give = |group: &mut mls_rs::Group<support::mls::Config>, role: &Role| {
        let policy = support::mls::policy_of(group.context()).unwrap().with_role(bob.user, role);
        support::mls::commit_policy(group, &policy)
    };
    let forged = give(&mut at_alice, &role(&[Action::AddMember]));
    alice.commit(id, &forged).await.refused(Code::UnknownRole);
    at_alice.clear_pending_commit();
    let bundle = give(&mut at_alice, &role(&[Action::ModifyName, Action::Leave]));
    alice.committed(id, &mut at_alice, &bundle).await;
    let bobs = bob.conversation(id).await.members.into_iter().find(|member| member.user == bob.user);
    assert_eq!(bobs.unwrap().role.as_str(), "scribe");

    // While somebody has it, it stays.
    bob.delete("/v1/team/roles/scribe").await.refused(Code::ActionDenied);
    alice.delete("/v1/team/roles/scribe").await.refused(Code::RoleInUse);
    alice.delete("/v1/team/roles/nobody").await.refused(Code::UnknownRole);
    let bundle = give(&mut at_alice, &Role::MEMBER);
    alice.committed(id, &mut at_alice, &bundle).await;
    alice.delete("/v1/team/roles/scribe").await.empty();
    assert_eq!(alice.get("/v1/team/roles").await.done::<Value>(), json!({ "roles": [] }));
    let late = give(&mut at_alice, &role(&[Action::ModifyName, Action::Leave]));
    alice.commit(id, &late).await.refused(Code::UnknownRole);
}

#[tokio::test]
async fn where_all_conversations_are_listed_each_has_the_roles_that_it_has_by_itself() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let carol = Person::sign_up(&hub, "carol").await;
    create(&alice).await;
    join(&bob, &alice).await;
    join(&carol, &alice).await;
    for (name, actions) in [("host", ["add_member", "leave"]), ("scribe", ["modify_name", "leave"])] {
        alice.post("/v1/team/roles", &json!({ "name": name, "actions": actions })).await.done::<Value>();
    }
    // In one Bob has a role that nobody has in the other, where Carol has one; and one has nothing to do with the team.
    let mut made = Vec::new();
    for (team, given) in [(true, Some((&bob, "host"))), (true, Some((&carol, "scribe"))), (false, None)] {
        let new = json!({ "conversation": ConversationId::random(), "team": team, "protocol": "pairwise" });
        let id = alice.post("/v1/conversations", &new).await.done::<Conversation>().conversation;
        let members = format!("/v1/conversations/{id}/members");
        alice.post(&members, &json!({ "users": [bob.user, carol.user] })).await.empty();
        if let Some((person, role)) = given {
            alice.put(&format!("{members}/{}/role", person.user), &json!({ "role": role })).await.empty();
        }
        made.push(id);
    }
    let both = vec!["host", "scribe"];
    for (person, expected) in [
        (&alice, [both.clone(), both.clone(), vec![]]),
        (&bob, [both, vec!["scribe"], vec![]]),
        (&carol, [vec!["host"], vec!["scribe"], vec![]]),
    ] {
        let listed = person.get("/v1/conversations").await.done::<Conversations>().conversations;
        for (id, expected) in made.iter().zip(expected) {
            let listed = listed.iter().find(|listed| listed.conversation == *id).unwrap();
            let names: Vec<_> = listed.roles.iter().map(|role| role.name.as_str()).collect();
            assert_eq!(names, expected);
            assert_eq!(*listed, person.conversation(*id).await);
        }
    }
}

#[tokio::test]
async fn a_role_of_the_team_works_in_a_pairwise_conversation_and_goes_with_it_to_mls() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let carol = Person::sign_up(&hub, "carol").await;
    create(&alice).await;
    join(&bob, &alice).await;
    join(&carol, &alice).await;
    let actions = ["add_member", "leave"];
    alice.post("/v1/team/roles", &json!({ "name": "host", "actions": actions })).await.done::<Value>();
    let new = json!({ "conversation": ConversationId::random(), "team": true, "protocol": "pairwise" });
    let id = alice.post("/v1/conversations", &new).await.done::<Conversation>().conversation;
    let members = format!("/v1/conversations/{id}/members");
    alice.post(&members, &json!({ "users": [bob.user] })).await.empty();
    let role_of_bob = format!("{members}/{}/role", bob.user);
    bob.post(&members, &json!({ "users": [carol.user] })).await.refused(Code::ActionDenied);
    alice.put(&role_of_bob, &json!({ "role": "nobody" })).await.refused(Code::UnknownRole);
    alice.put(&role_of_bob, &json!({ "role": "host" })).await.empty();
    alice.delete("/v1/team/roles/host").await.refused(Code::RoleInUse);
    bob.post(&members, &json!({ "users": [carol.user] })).await.empty();

    // Nobody has it any more: it can be deleted, and defined otherwise.
    alice.put(&role_of_bob, &json!({ "role": "member" })).await.empty();
    alice.delete("/v1/team/roles/host").await.empty();
    let actions = ["modify_name"];
    alice.post("/v1/team/roles", &json!({ "name": "host", "actions": actions })).await.done::<Value>();
    alice.put(&role_of_bob, &json!({ "role": "host" })).await.empty();
    bob.delete(&format!("{members}/{}", carol.user)).await.refused(Code::ActionDenied);

    // The first policy has it.
    alice.set_protocol(id, tertulia_domain::Protocol::Mixed).await.empty();
    let host: ActionSet = [Action::ModifyName].into_iter().collect();
    let host = Role::defined("host".parse().unwrap(), host).unwrap();
    let policy = tertulia_domain::policy::Policy::new(id, ConversationType::Group, alice.user).unwrap();
    let added = std::collections::BTreeMap::from([(bob.user, &host), (carol.user, &Role::MEMBER)]);
    let policy = added.into_iter().fold(policy, |policy, (user, role)| policy.with_members([user], role));
    let mut at_alice = alice.mls.create_managed(id, &alice.hub_key);
    let packages = alice.claim(&[bob.user, carol.user]).await;
    let first = support::mls::commit_adding(&mut at_alice, &packages, &policy);
    alice.committed(id, &mut at_alice, &first).await;
    let bobs = bob.conversation(id).await.members.into_iter().find(|member| member.user == bob.user);
    assert_eq!(bobs.unwrap().role.as_str(), "host");
    alice.delete("/v1/team/roles/host").await.refused(Code::RoleInUse);
}

#[tokio::test]
async fn who_leaves_a_team_has_left_the_calls_of_its_one_to_ones() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    create(&alice).await;
    join(&bob, &alice).await;
    let id = one_to_one_of(&alice, &bob);
    let mut at_alice = alice.mls.create_group(id.as_bytes(), &alice.hub_key);
    alice.add(id, &mut at_alice, &[bob.user]).await;
    let path = format!("/v1/conversations/{id}/subconversation?name=call");
    let call: tertulia_api::conversation::Subconversation = alice.put(&path, &json!({})).await.done();
    let mut in_call = alice.mls.create_group(&call.group_id.0, &alice.hub_key);
    let bundle = commit(&mut in_call, &[], &[]);
    alice.committed(call.conversation, &mut in_call, &bundle).await;
    assert_eq!(hub.rows()["sub_devices"], 1);
    leave(&bob).await.empty();
    alice.get(&path).await.refused(Code::NoConversation);
    alice.send(call.conversation, encrypt(&mut in_call, "still there?")).await.refused(Code::NoConversation);
    // Team mates again, they begin with an empty call.
    join(&bob, &alice).await;
    let call: tertulia_api::conversation::Subconversation = alice.get(&path).await.done();
    assert_eq!((call.epoch, call.devices), (0, Vec::new()));
}
