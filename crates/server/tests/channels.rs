//! Channels: groups whose name and existence the whole team sees, through a real hub.
#![allow(clippy::unwrap_used)]

mod support;

use mls_rs::Group;
use reqwest::Method;
use serde_json::json;
use support::{
    hub::{Answer, Hub, Person, connect, types},
    mls::{Config, commit, commit_policy, encrypt, policy_of},
};
use tertulia_api::{
    Code,
    conversation::Conversation,
    event::EventBody,
    team::{Channel, Channels, Invitation, Team},
};
use tertulia_domain::{
    ConversationId, ConversationType, Protocol, Role, TeamId, policy::AddPermission, policy::Policy,
};

/// A team of alice, the owner, and others, members.
async fn team(owner: &Person, others: &[&Person]) -> TeamId {
    let team: Team = owner.post("/v1/team", &json!({ "name": "Café Gijón" })).await.done();
    for other in others {
        let invitation: Invitation = owner.post("/v1/team/invitations", &json!({})).await.done();
        other.post("/v1/team/join", &json!({ "code": invitation.code })).await.done::<Team>();
    }
    team.team
}

async fn create(person: &Person, team: TeamId, id: ConversationId, name: &str) -> Answer {
    let new = json!({ "conversation": id, "name": name });
    person.post(&format!("/v1/teams/{team}/channels"), &new).await
}

async fn created(person: &Person, team: TeamId, name: &str) -> (ConversationId, Group<Config>) {
    let id = ConversationId::random();
    create(person, team, id, name).await.done::<Conversation>();
    let policy = Policy::new(id, ConversationType::Channel, person.user).unwrap();
    (id, person.mls.create_with(id.as_bytes(), &person.hub_key, Some(&policy)))
}

async fn list(person: &Person, team: TeamId) -> Vec<Channel> {
    person.get(&format!("/v1/teams/{team}/channels")).await.done::<Channels>().channels
}

async fn rename(person: &Person, id: ConversationId, name: &str) -> Answer {
    person.put(&format!("/v1/conversations/{id}/channel-name"), &json!({ "name": name })).await
}

#[tokio::test]
async fn the_whole_team_sees_name_and_size_of_a_channel_and_nobody_else_does() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (carol, eve) = (Person::sign_up(&hub, "carol").await, Person::sign_up(&hub, "eve").await);
    let ours = team(&alice, &[&bob, &carol]).await;
    let theirs = team(&eve, &[]).await;
    assert!(list(&bob, ours).await.is_empty());
    let (news, mut at_alice) = created(&alice, ours, "  News ☕ ").await;
    alice.add(news, &mut at_alice, &[bob.user]).await;
    for reader in [&alice, &bob, &carol] {
        let [ref channel] = list(reader, ours).await[..] else { panic!("not one channel") };
        assert_eq!((channel.conversation, channel.name.as_str(), channel.members), (news, "News ☕", 2));
    }
    // To who is in no team or in another, it is as a team that does not exist, to the byte.
    let nowhere = TeamId::random();
    for path in [format!("/v1/teams/{ours}/channels"), format!("/v1/teams/{nowhere}/channels")] {
        let problem = eve.get(&path).await.refused(Code::NoTeam);
        assert_eq!(problem, eve.get(&format!("/v1/teams/{nowhere}/channels")).await.refused(Code::NoTeam));
    }
    create(&eve, ours, ConversationId::random(), "Ours").await.refused(Code::NoTeam);
    assert!(list(&eve, theirs).await.is_empty());
    // To see it is not to be in it.
    carol.get(&format!("/v1/conversations/{news}")).await.refused(Code::NoConversation);
    carol.send(news, encrypt(&mut at_alice, "x")).await.refused(Code::NoConversation);
    let shown = bob.conversation(news).await;
    assert_eq!(
        (shown.kind, shown.team, shown.name.as_deref()),
        (ConversationType::Channel, Some(ours), Some("News ☕"))
    );
    // The hub has no name of a group.
    let (group, _) = alice.new_group().await;
    assert_eq!(alice.conversation(group).await.name, None);
}

#[tokio::test]
async fn owners_and_admins_of_the_team_make_channels() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let ours = team(&alice, &[&bob]).await;
    let id = ConversationId::random();
    create(&bob, ours, id, "Bob's").await.refused(Code::ActionDenied);
    alice.put(&format!("/v1/team/members/{}/role", bob.user), &json!({ "role": "admin" })).await.empty();
    let made: Conversation = create(&bob, ours, id, "Bob's").await.done();
    assert_eq!(made.members[0].role.as_str(), "admin");
    // The same again is the same; nobody else has that id, and a group of that id is no channel.
    assert_eq!(create(&bob, ours, id, "Another name").await.done::<Conversation>(), made);
    create(&alice, ours, id, "Alice's").await.refused(Code::BadRequest);
    bob.post("/v1/conversations", &json!({ "conversation": id })).await.refused(Code::BadRequest);
    for name in ["", " ", "a\nb", &"x".repeat(257)] {
        create(&bob, ours, ConversationId::random(), name).await.refused(Code::InvalidName);
    }
    let taken = ConversationId::from_bytes(*bob.user.as_bytes());
    create(&bob, ours, taken, "Mine").await.refused(Code::BadRequest);
    assert_eq!(list(&alice, ours).await.len(), 1);
}

#[tokio::test]
async fn a_channel_is_renamed_by_request_by_who_may_and_its_members_are_told() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let carol = Person::sign_up(&hub, "carol").await;
    let ours = team(&alice, &[&bob, &carol]).await;
    let (news, mut at_alice) = created(&alice, ours, "News").await;
    alice.add(news, &mut at_alice, &[bob.user]).await;
    rename(&bob, news, "Bob's").await.refused(Code::ActionDenied);
    rename(&carol, news, "Carol's").await.refused(Code::NoConversation);
    rename(&alice, news, "").await.refused(Code::InvalidName);
    // Its name is not announced inside a message, nor a group's given to the hub.
    let announced = encrypt(&mut at_alice, "a name");
    let path = format!("/v1/conversations/{news}/name");
    alice.mls(Method::PUT, &path, announced).await.refused(Code::InvalidOperation);
    let (group, _) = alice.new_group().await;
    rename(&alice, group, "Secret").await.refused(Code::InvalidOperation);
    assert_eq!(list(&carol, ours).await[0].name, "News");

    for _ in 0..2 {
        rename(&alice, news, "Old news").await.empty();
    }
    assert_eq!(list(&carol, ours).await[0].name, "Old news");
    let events = bob.events().await;
    let EventBody::Renamed { entry, name } = &events.last().unwrap().body else { panic!("not renamed") };
    assert_eq!(
        (entry.conversation, name.as_str(), entry.sender.unwrap().user),
        (news, "Old news", alice.user)
    );
    let told = types(&events).into_iter().filter(|kind| kind == "conversation.renamed").count();
    assert_eq!(told, 1, "doing it again changes nothing");
    assert!(!types(&carol.events().await).contains(&"conversation.renamed".to_owned()));
}

#[tokio::test]
async fn a_channel_says_who_may_add_members() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let carol = Person::sign_up(&hub, "carol").await;
    let ours = team(&alice, &[&bob, &carol]).await;
    let (news, mut at_alice) = created(&alice, ours, "News").await;
    let bundle = alice.add(news, &mut at_alice, &[bob.user]).await;
    let mut at_bob = bob.mls.join(&bundle.welcome.unwrap().to_bytes().unwrap());

    let adding = commit(&mut at_bob, &bob.claim(&[carol.user]).await, &[]);
    bob.commit(news, &adding).await.refused(Code::ActionDenied);
    at_bob.clear_pending_commit();
    let open = policy_of(at_alice.context()).unwrap().with_add_permission(AddPermission::Everyone);
    let opening = commit_policy(&mut at_alice, &open);
    alice.committed(news, &mut at_alice, &opening).await;
    at_bob.process_incoming_message(opening.commit).unwrap();
    // Everyone adds, with the role `member` only.
    let raised = open.clone().with_members([carol.user], &Role::ADMIN);
    let key_packages = bob.claim(&[carol.user]).await;
    let adding = commit(&mut at_bob, &key_packages, &[]);
    bob.committed(news, &mut at_bob, &adding).await;
    assert_ne!(policy_of(at_bob.context()).unwrap(), raised);
    assert_eq!(policy_of(at_bob.context()).unwrap().role_of(carol.user), Some(Role::MEMBER));
    at_alice.process_incoming_message(adding.commit).unwrap();
    carol.sent(news, encrypt(&mut carol.mls.join(&adding.welcome.unwrap().to_bytes().unwrap()), "in")).await;
}

#[tokio::test]
async fn who_leaves_the_team_leaves_its_channels_and_others_stay() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let carol = Person::sign_up(&hub, "carol").await;
    let ours = team(&alice, &[&bob]).await;
    connect(&alice, &carol).await;
    let (news, mut at_alice) = created(&alice, ours, "News").await;
    alice.add(news, &mut at_alice, &[bob.user, carol.user]).await;
    bob.post("/v1/team/leave", &json!({})).await.empty();
    bob.get(&format!("/v1/conversations/{news}")).await.refused(Code::NoConversation);
    bob.get(&format!("/v1/teams/{ours}/channels")).await.refused(Code::NoTeam);
    let told = types(&alice.events().await);
    assert!(told.ends_with(&["conversation.members".into(), "conversation.proposal".into()]), "{told:?}");
    assert_eq!(list(&alice, ours).await[0].members, 2);
    // Carol is not in the team and stays: she was added as people are added to groups.
    assert_eq!(carol.conversation(news).await.members.len(), 2);
}

#[tokio::test]
async fn a_channel_that_nobody_is_in_is_no_more_and_one_goes_on_when_its_team_is_no_more() {
    let hub = Hub::start().await;
    let (alice, carol) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "carol").await);
    let ours = team(&alice, &[]).await;
    let (empty, _) = created(&alice, ours, "Empty").await;
    alice.post(&format!("/v1/conversations/{empty}/leave"), &json!({})).await.empty();
    assert!(list(&alice, ours).await.is_empty());
    create(&alice, ours, empty, "Empty").await.refused(Code::BadRequest);

    connect(&alice, &carol).await;
    let (news, mut at_alice) = created(&alice, ours, "News").await;
    let bundle = alice.add(news, &mut at_alice, &[carol.user]).await;
    let mut at_carol = carol.mls.join(&bundle.welcome.unwrap().to_bytes().unwrap());
    alice.post("/v1/team/leave", &json!({})).await.empty();
    let left = carol.conversation(news).await;
    assert_eq!((left.kind, left.team, left.name.as_deref()), (ConversationType::Channel, None, Some("News")));
    assert_eq!((left.protocol, left.members.len()), (Protocol::Mls, 1));
    // Carol goes on alone: the commit that takes alice out makes her admin.
    let removal = carol.events().await.into_iter().rev().find_map(|event| match event.body {
        EventBody::Proposal { proposal, .. } => Some(proposal.0),
        _ => None,
    });
    at_carol.process_incoming_message(support::mls::message(&removal.unwrap())).unwrap();
    let taking_out = commit(&mut at_carol, &[], &[]);
    carol.committed(news, &mut at_carol, &taking_out).await;
    rename(&carol, news, "Mine").await.empty();
    carol.sent(news, encrypt(&mut at_carol, "alone")).await;
    assert_eq!(carol.conversation(news).await.name.as_deref(), Some("Mine"));
}

#[tokio::test]
async fn a_team_has_a_bounded_number_of_channels() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let ours = team(&alice, &[]).await;
    let (first, _) = created(&alice, ours, "First").await;
    for _ in 1..500 {
        created(&alice, ours, "More").await;
    }
    create(&alice, ours, ConversationId::random(), "Too many").await.refused(Code::TeamLimit);
    assert_eq!(list(&alice, ours).await.len(), 500);
    alice.post(&format!("/v1/conversations/{first}/leave"), &json!({})).await.empty();
    created(&alice, ours, "Again").await;
}
