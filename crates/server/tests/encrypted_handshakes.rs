//! Conversations whose commits the hub cannot read, through a real hub.
#![allow(clippy::unwrap_used)]

mod support;

use futures::future::join_all;
use mls_rs::{Group, MlsMessageDescription, group::ContentType};
use reqwest::{Method, StatusCode};
use support::{
    hub::{Hub, Person, connect, types},
    mls::{self, Bundle, Config, commit, commit_policy, decrypt, encrypt, leaf_of, policy_of},
};
use tertulia_api::{
    Code,
    conversation::{Conversation, NewConversation, ProposalAccepted},
    event::EventBody,
};
use tertulia_domain::{ConversationId, Handshake, Role, RoleName, limits::MAX_PENDING_PROPOSALS};

/// A new conversation whose commits are encrypted, before its first commit.
async fn new_group(person: &Person) -> (ConversationId, Group<Config>) {
    let conversation = ConversationId::random();
    let new = NewConversation { handshake: Handshake::Ciphertext, ..NewConversation::new(conversation) };
    let made: Conversation = person.post("/v1/conversations", &new).await.done();
    assert_eq!(made.handshake, Handshake::Ciphertext);
    (conversation, person.mls.create_encrypted(conversation, &person.hub_key))
}

/// Alice, and bob and carol, who are connected with her.
async fn three(hub: &Hub) -> [Person; 3] {
    let (alice, bob) = (Person::sign_up(hub, "alice").await, Person::sign_up(hub, "bob").await);
    let carol = Person::sign_up(hub, "carol").await;
    connect(&alice, &bob).await;
    connect(&alice, &carol).await;
    [alice, bob, carol]
}

fn is_encrypted(bundle: &Bundle) -> bool {
    matches!(
        bundle.commit.description(),
        MlsMessageDescription::PrivateProtocolMessage { content_type: ContentType::Commit, .. }
    )
}

/// The last proposal of the hub that the person was told of.
async fn removal(person: &Person) -> mls_rs::MlsMessage {
    let events = person.events().await;
    let mut proposals = events.into_iter().filter_map(|event| match event.body {
        EventBody::Proposal { proposal, .. } => Some(proposal.0),
        _ => None,
    });
    mls::message(&proposals.next_back().unwrap())
}

#[tokio::test]
async fn a_group_whose_commits_are_encrypted_lives_its_whole_life_at_the_hub() {
    let hub = Hub::start().await;
    let [alice, bob, carol] = three(&hub).await;
    let (group, mut at_alice) = new_group(&alice).await;
    let adding = alice.add(group, &mut at_alice, &[bob.user, carol.user]).await;
    assert!(is_encrypted(&adding), "the first commit too");
    let welcome = adding.welcome.unwrap().to_bytes().unwrap();
    let (mut at_bob, mut at_carol) = (bob.mls.join(&welcome), carol.mls.join(&welcome));
    let shown = bob.conversation(group).await;
    assert_eq!((shown.epoch, shown.members.len(), shown.handshake), (1, 3, Handshake::Ciphertext));

    let said = encrypt(&mut at_alice, "hello both");
    alice.sent(group, said.clone()).await;
    assert_eq!(decrypt(&mut at_carol, &said), "hello both");

    // Roles are in the group info.
    let raised = policy_of(at_alice.context()).unwrap().with_role(bob.user, &Role::ADMIN);
    let raising = commit_policy(&mut at_alice, &raised);
    assert!(is_encrypted(&raising));
    alice.committed(group, &mut at_alice, &raising).await;
    for at in [&mut at_bob, &mut at_carol] {
        at.process_incoming_message(raising.commit.clone()).unwrap();
    }
    let members = carol.conversation(group).await.members;
    let bobs = members.iter().find(|member| member.user == bob.user).unwrap();
    assert_eq!(bobs.role, RoleName::ADMIN);

    // A further device joins from outside, readable, and commits encrypted like everybody.
    let tablet = Person::log_in(&hub, "alice").await;
    let (mut at_tablet, joining) = tablet.mls.external_commit(&tablet.group_info(group).await, None);
    assert!(!is_encrypted(&joining));
    tablet.commit(group, &joining).await.bytes();
    for at in [&mut at_alice, &mut at_bob, &mut at_carol] {
        at.process_incoming_message(joining.commit.clone()).unwrap();
    }
    let healing = commit(&mut at_tablet, &[], &[]);
    assert!(is_encrypted(&healing));
    tablet.committed(group, &mut at_tablet, &healing).await;
    for at in [&mut at_alice, &mut at_bob, &mut at_carol] {
        at.process_incoming_message(healing.commit.clone()).unwrap();
    }

    // Carol leaves: the hub proposes to take her out, in a form that all can read, and a commit has to.
    carol.post(&format!("/v1/conversations/{group}/leave"), &serde_json::json!({})).await.empty();
    let forgetful = commit(&mut at_bob, &[], &[]);
    bob.commit(group, &forgetful).await.refused(Code::MissingProposals);
    at_bob.clear_pending_commit();
    at_bob.process_incoming_message(removal(&bob).await).unwrap();
    at_alice.process_incoming_message(removal(&alice).await).unwrap();
    let taking_out = commit(&mut at_bob, &[], &[]);
    bob.committed(group, &mut at_bob, &taking_out).await;
    at_alice.process_incoming_message(taking_out.commit).unwrap();

    // Bob, an admin by now, removes alice with all her devices; the hub sees who is gone.
    let leaves = [leaf_of(&at_bob, &alice.mls), leaf_of(&at_bob, &tablet.mls)];
    let half = commit(&mut at_bob, &[], &leaves[..1]);
    bob.commit(group, &half).await.refused(Code::DeviceMismatch);
    at_bob.clear_pending_commit();
    let removing = commit(&mut at_bob, &[], &leaves);
    bob.committed(group, &mut at_bob, &removing).await;
    alice.get(&format!("/v1/conversations/{group}")).await.refused(Code::NoConversation);
    let left = bob.conversation(group).await;
    assert_eq!((left.members.len(), left.members[0].user), (1, bob.user));
}

#[tokio::test]
async fn the_rules_of_the_conversation_hold_for_commits_that_the_hub_cannot_read() {
    let hub = Hub::start().await;
    let [alice, bob, carol] = three(&hub).await;
    let eve = Person::sign_up(&hub, "eve").await;
    connect(&bob, &carol).await;
    let (group, mut at_alice) = new_group(&alice).await;
    let adding = alice.add(group, &mut at_alice, &[bob.user]).await;
    let mut at_bob = bob.mls.join(&adding.welcome.unwrap().to_bytes().unwrap());
    let before = hub.rows();

    let adds = commit(&mut at_bob, &[carol.mls.key_package()], &[]);
    bob.commit(group, &adds).await.refused(Code::ActionDenied);
    at_bob.clear_pending_commit();
    let removes = commit(&mut at_bob, &[], &[leaf_of(&at_alice, &alice.mls)]);
    bob.commit(group, &removes).await.refused(Code::ActionDenied);
    at_bob.clear_pending_commit();
    let raised = policy_of(at_bob.context()).unwrap().with_role(bob.user, &Role::ADMIN);
    let raises = commit_policy(&mut at_bob, &raised);
    bob.commit(group, &raises).await.refused(Code::ActionDenied);
    let stranger = commit(&mut at_alice, &[eve.mls.key_package()], &[]);
    alice.commit(group, &stranger).await.refused(Code::NotConnected);
    at_alice.clear_pending_commit();
    // A device that the user has not registered.
    let unknown = mls::MlsDevice::new(carol.user, &tertulia_domain::Domain::localhost());
    let unknown = commit(&mut at_alice, &[unknown.key_package()], &[]);
    alice.commit(group, &unknown).await.refused(Code::InvalidCommit);
    assert_eq!(hub.rows(), before);
    assert_eq!(alice.conversation(group).await.epoch, 1);
}

#[tokio::test]
async fn a_group_info_that_does_not_fit_is_refused_and_nothing_is_changed() {
    let hub = Hub::start().await;
    let [alice, bob, carol] = three(&hub).await;
    let (group, mut at_alice) = new_group(&alice).await;
    let adding = alice.add(group, &mut at_alice, &[bob.user]).await;
    let mut at_bob = bob.mls.join(&adding.welcome.clone().unwrap().to_bytes().unwrap());
    let (other, mut elsewhere) = new_group(&alice).await;
    let of_other = alice.add(other, &mut elsewhere, &[bob.user]).await.group_info;
    let (before, told) = (hub.rows(), alice.events().await.len());

    let right = commit(&mut at_alice, &[carol.mls.key_package()], &[]);
    at_alice.clear_pending_commit();
    let without_carol = commit(&mut at_alice, &[], &[]);
    at_alice.clear_pending_commit();
    let bobs = commit(&mut at_bob, &[], &[]);
    at_bob.clear_pending_commit();
    let with = |group_info: &mls_rs::MlsMessage| Bundle { group_info: group_info.clone(), ..right.clone() };
    let no_welcome = Bundle { welcome: None, ..right.clone() };
    let wrong_welcome = Bundle { welcome: right.welcome.clone(), ..without_carol.clone() };
    for (why, bundle, code) in [
        ("of the epoch before", with(&adding.group_info), Code::InconsistentGroupInfo),
        ("of another group", with(&of_other), Code::InconsistentGroupInfo),
        ("of another device", with(&bobs.group_info), Code::InvalidCommit),
        ("of a commit that adds nobody", with(&without_carol.group_info), Code::InvalidCommit),
        ("with nobody welcomed", no_welcome, Code::InvalidCommit),
        ("with somebody welcomed who is not added", wrong_welcome, Code::InvalidCommit),
    ] {
        let refused = alice.commit(group, &bundle).await;
        let problem = refused.refused(code);
        assert!(!problem.detail.is_empty(), "{why}");
    }
    // One bit of it is another, in its signature, in its tree or wherever.
    let bytes = right.group_info.to_bytes().unwrap();
    for place in [bytes.len() - 1, bytes.len() / 2, 30, 12] {
        let mut damaged = bytes.clone();
        damaged[place] ^= 1;
        let parts =
            [right.commit.to_bytes().unwrap(), damaged, right.welcome.as_ref().unwrap().to_bytes().unwrap()];
        let path = format!("/v1/conversations/{group}/commits");
        let answer = alice.mls(Method::POST, &path, parts.concat()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{place}");
    }
    assert_eq!((hub.rows(), alice.events().await.len()), (before, told));
    // The right one is taken all the same, by who sends it only.
    bob.commit(group, &right).await.refused(Code::InvalidCommit);
    alice.commit(group, &right).await.bytes();
    assert_eq!(carol.conversation(group).await.epoch, 2);
}

#[tokio::test]
async fn commits_are_sent_in_the_form_that_the_conversation_has() {
    let hub = Hub::start().await;
    let [alice, bob, _] = three(&hub).await;
    let key_packages = || vec![bob.mls.key_package()];
    // Readable, where they are to be encrypted; and encrypted, where they are to be readable.
    let (secret, _) = new_group(&alice).await;
    let mut readable = alice.mls.create_managed(secret, &alice.hub_key);
    let first = commit(&mut readable, &key_packages(), &[]);
    alice.commit(secret, &first).await.refused(Code::MalformedMls);
    let (open, _) = alice.new_group().await;
    let mut hidden = alice.mls.create_encrypted(open, &alice.hub_key);
    let first = commit(&mut hidden, &key_packages(), &[]);
    alice.commit(open, &first).await.refused(Code::MalformedMls);
    assert_eq!((alice.conversation(secret).await.epoch, alice.conversation(open).await.epoch), (0, 0));
    assert_eq!(alice.conversation(open).await.handshake, Handshake::Plaintext);
    let again = NewConversation { handshake: Handshake::Ciphertext, ..NewConversation::new(open) };
    let same: Conversation = alice.post("/v1/conversations", &again).await.done();
    assert_eq!(same.handshake, Handshake::Plaintext, "it is decided when a conversation is made, for good");
}

#[tokio::test]
async fn encrypted_proposals_are_passed_on_to_the_members() {
    let hub = Hub::start().await;
    let [alice, bob, carol] = three(&hub).await;
    let (group, mut at_alice) = new_group(&alice).await;
    let adding = alice.add(group, &mut at_alice, &[bob.user]).await;
    let mut at_bob = bob.mls.join(&adding.welcome.unwrap().to_bytes().unwrap());
    let path = format!("/v1/conversations/{group}/proposals");
    let proposal = at_bob.propose_update(Vec::new()).unwrap().to_bytes().unwrap();
    carol.mls(Method::POST, &path, proposal.clone()).await.refused(Code::NoConversation);
    let accepted: ProposalAccepted = bob.mls(Method::POST, &path, proposal.clone()).await.done();
    assert_eq!(bob.mls(Method::POST, &path, proposal.clone()).await.done::<ProposalAccepted>(), accepted);
    assert_eq!(types(&alice.events().await).last().unwrap(), "conversation.proposal");
    at_alice.process_incoming_message(mls::message(&proposal)).unwrap();
    let carrying_out = commit(&mut at_alice, &[], &[]);
    alice.committed(group, &mut at_alice, &carrying_out).await;
    at_bob.process_incoming_message(carrying_out.commit).unwrap();
    assert_eq!(at_bob.current_epoch(), 2);
    bob.mls(Method::POST, &path, proposal).await.done::<ProposalAccepted>(); // the same bytes, the same answer
    let late = at_bob.propose_update(Vec::new()).unwrap().to_bytes().unwrap();
    let moving_on = commit(&mut at_alice, &[], &[]);
    alice.committed(group, &mut at_alice, &moving_on).await;
    bob.mls(Method::POST, &path, late).await.refused(Code::StaleEpoch);
    // A readable one of a member belongs into a conversation whose commits are readable.
    let (open, mut at_alice) = alice.new_group().await;
    alice.add(open, &mut at_alice, &[bob.user]).await;
    let readable = at_alice.propose_update(Vec::new()).unwrap().to_bytes().unwrap();
    let path = format!("/v1/conversations/{open}/proposals");
    alice.mls(Method::POST, &path, readable).await.done::<ProposalAccepted>();
}

#[tokio::test]
async fn the_encrypted_proposals_of_an_epoch_are_bounded() {
    let hub = Hub::start().await;
    let [alice, bob, _] = three(&hub).await;
    let (group, mut at_alice) = new_group(&alice).await;
    let adding = alice.add(group, &mut at_alice, &[bob.user]).await;
    let mut at_bob = bob.mls.join(&adding.welcome.unwrap().to_bytes().unwrap());
    let path = format!("/v1/conversations/{group}/proposals");
    let mut first = None;
    for _ in 0..MAX_PENDING_PROPOSALS {
        let proposal = at_bob.propose_update(Vec::new()).unwrap().to_bytes().unwrap();
        bob.mls(Method::POST, &path, proposal.clone()).await.done::<ProposalAccepted>();
        first.get_or_insert(proposal);
    }
    let further = at_bob.propose_update(Vec::new()).unwrap().to_bytes().unwrap();
    let before = hub.rows();
    bob.mls(Method::POST, &path, further).await.refused(Code::ProposalLimit);
    assert_eq!(hub.rows(), before);
    bob.mls(Method::POST, &path, first.unwrap()).await.done::<ProposalAccepted>(); // it is there already
    // They are counted by the epoch.
    let moving_on = commit(&mut at_alice, &[], &[]);
    alice.committed(group, &mut at_alice, &moving_on).await;
    at_bob.process_incoming_message(moving_on.commit).unwrap();
    let proposal = at_bob.propose_update(Vec::new()).unwrap().to_bytes().unwrap();
    bob.mls(Method::POST, &path, proposal).await.done::<ProposalAccepted>();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_concurrent_commits_that_the_hub_cannot_read_exactly_one_wins() {
    const COMMITS: usize = 12;
    const ROUNDS: u64 = 10;
    let hub = Hub::start().await;
    let [alice, bob, carol] = three(&hub).await;
    let (group, mut at_alice) = new_group(&alice).await;
    let adding = alice.add(group, &mut at_alice, &[bob.user, carol.user]).await;
    let welcome = adding.welcome.unwrap().to_bytes().unwrap();
    let (at_bob, at_carol) = (bob.mls.join(&welcome), carol.mls.join(&welcome));
    let mut members = [(alice, at_alice), (bob, at_bob), (carol, at_carol)];
    for round in 1..=ROUNDS {
        let (bundles, secrets): (Vec<_>, Vec<_>) =
            (0..COMMITS).map(|index| mls::commit_detached(&mut members[index % 3].1)).unzip();
        let senders = members.iter().map(|(person, _)| person).cycle();
        let answers =
            join_all(senders.zip(&bundles).map(|(person, bundle)| person.commit(group, bundle))).await;
        let won: Vec<usize> =
            (0..COMMITS).filter(|&index| answers[index].status == StatusCode::CREATED).collect();
        let [winner] = won[..] else { panic!("round {round}: {} commits won", won.len()) };
        for (index, answer) in answers.into_iter().enumerate() {
            if index != winner {
                assert_eq!(answer.refused(Code::StaleEpoch).current_epoch, Some(1 + round));
            }
        }
        let mut secrets = secrets;
        for (index, (_, group)) in members.iter_mut().enumerate() {
            if index == winner % 3 {
                group.apply_detached_commit(secrets.remove(winner)).unwrap();
            } else {
                group.process_incoming_message(bundles[winner].commit.clone()).unwrap();
            }
            assert_eq!(group.current_epoch(), 1 + round);
        }
    }
}
