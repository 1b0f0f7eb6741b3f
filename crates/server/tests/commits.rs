//! Commits through a real hub.
#![allow(clippy::unwrap_used)]

mod support;

use futures::future::join_all;
use serde_json::json;
use support::{
    hub::{Hub, Person, connect, one_to_one, types},
    mls::{self, commit, decrypt, encrypt, leaf_of},
};
use tertulia_api::{
    Code, UserDevice,
    account::HubKeys,
    conversation::{CommitAccepted, Conversation, MessageAccepted, NewConversation},
    event::{Event, EventBody},
};
use tertulia_domain::{ConversationId, RoleName, UserId};

fn name(person: &Person) -> UserDevice {
    UserDevice { user: person.user, device: person.mls.device }
}

fn members(conversation: &Conversation) -> Vec<(UserId, RoleName)> {
    conversation.members.iter().map(|member| (member.user, member.role.clone())).collect()
}

#[tokio::test]
async fn a_group_grows_and_shrinks_by_commits() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (bob, carol) = (Person::sign_up(&hub, "bob").await, Person::sign_up(&hub, "carol").await);
    connect(&alice, &bob).await;
    connect(&alice, &carol).await;

    let (conversation, mut at_alice) = alice.new_group().await;
    let bundle = alice.add(conversation, &mut at_alice, &[bob.user, carol.user]).await;
    let welcome = bundle.welcome.unwrap().to_bytes().unwrap();
    let (mut at_bob, mut at_carol) = (bob.mls.join(&welcome), carol.mls.join(&welcome));
    let shown = bob.conversation(conversation).await;
    assert_eq!(shown.epoch, 1);
    assert_eq!(members(&shown)[0], (alice.user, RoleName::ADMIN));
    assert_eq!(shown.members.len(), 3);

    alice.sent(conversation, encrypt(&mut at_alice, "hello both")).await;
    let carols_leaf = leaf_of(&at_alice, &carol.mls);
    let bundle = commit(&mut at_alice, &[], &[carols_leaf]);
    alice.committed(conversation, &mut at_alice, &bundle).await;
    alice.sent(conversation, encrypt(&mut at_alice, "not for carol")).await;

    // Carol's log ends with her removal; bob's goes on.
    let events = carol.events().await;
    let names = types(&events);
    let from_group = names.iter().position(|name| name == "conversation.commit").unwrap();
    assert_eq!(
        names[from_group..],
        [
            "conversation.commit",
            "conversation.members",
            "conversation.message",
            "conversation.commit",
            "conversation.members"
        ]
    );
    let EventBody::Members { left, .. } = &events.last().unwrap().body else { panic!("not members") };
    assert_eq!(left, &[carol.user]);
    carol.get(&format!("/v1/conversations/{conversation}")).await.refused(Code::NoConversation);
    carol.send(conversation, encrypt(&mut at_carol, "let me in")).await.refused(Code::NoConversation);

    let mut texts = Vec::new();
    for event in bob.events().await {
        match event.body {
            EventBody::Message { message, .. } => texts.push(decrypt(&mut at_bob, &message.0)),
            EventBody::Commit { commit, epoch: 2, .. } => {
                at_bob.process_incoming_message(mls::message(&commit.0)).unwrap();
            }
            _ => {}
        }
    }
    assert_eq!(texts, ["hello both", "not for carol"]);
}

#[tokio::test]
async fn the_welcome_is_for_the_added_device_and_the_message_for_all() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    connect(&alice, &bob).await;
    let (conversation, mut at_alice) = alice.new_group().await;
    let key_packages = alice.claim(&[bob.user]).await;
    let mut bundle = commit(&mut at_alice, &key_packages, &[]);
    at_alice.apply_pending_commit().unwrap();
    bundle.message = Some(mls::message(&encrypt(&mut at_alice, "the first words")));
    let accepted: CommitAccepted = alice.commit(conversation, &bundle).await.done();

    let of = |events: Vec<Event>| {
        events.into_iter().find_map(|event| match event.body {
            EventBody::Commit { entry, welcome, message, epoch, .. } => {
                Some((entry, welcome, message, epoch))
            }
            _ => None,
        })
    };
    let (entry, welcome, message, epoch) = of(bob.events().await).unwrap();
    assert_eq!((entry.sequence, epoch), (accepted.sequence, accepted.epoch));
    assert_eq!(entry.sender, Some(name(&alice)));
    let mut at_bob = bob.mls.join(&welcome.unwrap().0);
    assert_eq!(decrypt(&mut at_bob, &message.unwrap().0), "the first words");
    let (_, welcome, message, _) = of(alice.events().await).unwrap();
    assert!(welcome.is_none() && message.is_some());
}

#[tokio::test]
async fn a_commit_that_is_sent_twice_is_accepted_once() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (conversation, mut at_alice) = alice.new_group().await;
    let bundle = commit(&mut at_alice, &[], &[]);
    let first: CommitAccepted = alice.commit(conversation, &bundle).await.done();
    let rows = hub.rows();
    let again: CommitAccepted = alice.commit(conversation, &bundle).await.done();
    assert_eq!(first, again);
    assert_eq!(hub.rows(), rows);
}

#[tokio::test]
async fn of_twenty_commits_to_one_epoch_exactly_one_wins() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (conversation, mut at_alice, mut at_bob) = one_to_one(&alice, &bob).await;

    for round in 1..=20 {
        let mut of_alice: Vec<_> = (0..10).map(|_| mls::commit_detached(&mut at_alice)).collect();
        let mut of_bob: Vec<_> = (0..10).map(|_| mls::commit_detached(&mut at_bob)).collect();
        let sent_by_alice = of_alice.iter().map(|(bundle, _)| alice.commit(conversation, bundle));
        let sent_by_bob = of_bob.iter().map(|(bundle, _)| bob.commit(conversation, bundle));
        let (alices, bobs) = futures::join!(join_all(sent_by_alice), join_all(sent_by_bob));

        let mut winners = Vec::new();
        for (number, answer) in alices.into_iter().chain(bobs).enumerate() {
            if answer.status.is_success() {
                assert_eq!(answer.done::<CommitAccepted>().epoch, round + 1);
                winners.push(number);
            } else {
                assert_eq!(answer.refused(Code::StaleEpoch).current_epoch, Some(round + 1));
            }
        }
        assert_eq!(winners.len(), 1, "round {round}");
        let winner = winners[0];
        let (own, other, (bundle, secrets)) = if winner < 10 {
            (&mut at_alice, &mut at_bob, of_alice.swap_remove(winner))
        } else {
            (&mut at_bob, &mut at_alice, of_bob.swap_remove(winner - 10))
        };
        own.apply_detached_commit(secrets).unwrap();
        other.process_incoming_message(bundle.commit).unwrap();
    }
    let message = encrypt(&mut at_alice, "still together");
    alice.sent(conversation, message.clone()).await;
    assert_eq!(decrypt(&mut at_bob, &message), "still together");
    let commits = bob.events().await;
    let commits = types(&commits).iter().filter(|name| name.as_str() == "conversation.commit").count();
    assert_eq!(commits, 21);
}

#[tokio::test]
async fn a_leaf_has_the_key_that_its_device_registered() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    connect(&alice, &bob).await;
    let (conversation, mut at_alice) = alice.new_group().await;
    // Bob's name with a key of somebody else's.
    let identity = format!("{}:{}@localhost", bob.user, bob.mls.device);
    let impostor = mls::MlsDevice::with_identity(bob.user, bob.mls.device, identity);
    let bundle = commit(&mut at_alice, &[impostor.key_package()], &[]);
    alice.commit(conversation, &bundle).await.refused(Code::InvalidCommit);
    assert_eq!(hub.rows()["leaves"], 0);
}

#[tokio::test]
async fn a_further_device_joins_by_external_commit() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let eve = Person::sign_up(&hub, "eve").await;
    let (conversation, mut at_alice, mut at_bob) = one_to_one(&alice, &bob).await;
    let phone = Person::log_in(&hub, "bob").await;
    let info = phone.group_info(conversation).await;

    let (_, foreign) = eve.mls.external_commit(&info, None);
    eve.commit(conversation, &foreign).await.refused(Code::NoConversation);
    bob.commit(conversation, &foreign).await.refused(Code::InvalidCommit);

    let (mut at_phone, bundle) = phone.mls.external_commit(&info, None);
    assert_eq!(phone.commit(conversation, &bundle).await.done::<CommitAccepted>().epoch, 2);
    at_alice.process_incoming_message(bundle.commit.clone()).unwrap();
    at_bob.process_incoming_message(bundle.commit).unwrap();
    let message = encrypt(&mut at_phone, "from the phone");
    phone.sent(conversation, message.clone()).await;
    assert_eq!(decrypt(&mut at_alice, &message), "from the phone");

    // One that has lost its state comes back in the place of its earlier leaf.
    let own = leaf_of(&at_alice, &phone.mls);
    let (_, bundle) = phone.mls.external_commit(&phone.group_info(conversation).await, Some(own));
    assert_eq!(phone.commit(conversation, &bundle).await.done::<CommitAccepted>().epoch, 3);
    assert_eq!(hub.rows()["leaves"], 3);
}

#[tokio::test]
async fn a_proposal_that_the_hub_does_not_hold_cannot_be_committed() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (conversation, mut at_alice, mut at_bob) = one_to_one(&alice, &bob).await;
    let update = at_bob.propose_update(Vec::new()).unwrap();
    at_alice.process_incoming_message(update).unwrap();
    let bundle = commit(&mut at_alice, &[], &[]);
    alice.commit(conversation, &bundle).await.refused(Code::ProposalNotFound);
}

#[tokio::test]
async fn of_a_commit_the_first_failing_step_answers() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (carol, dave) = (Person::sign_up(&hub, "carol").await, Person::sign_up(&hub, "dave").await);
    let phone = Person::log_in(&hub, "carol").await;
    Person::log_in(&hub, "dave").await;
    for (a, b) in [(&alice, &bob), (&alice, &carol), (&bob, &carol)] {
        connect(a, b).await;
    }
    let (group, mut at_alice) = alice.new_group().await;
    let bundle = alice.add(group, &mut at_alice, &[bob.user]).await;
    let mut at_bob = bob.mls.join(&bundle.welcome.unwrap().to_bytes().unwrap());
    let (one_of_carols, one_of_daves) = ([carol.mls.key_package()], [dave.mls.key_package()]);

    // Role, then connection, then whether all devices are there: of a user whom the sender may not add, no device is named.
    let by_bob = commit(&mut at_bob, &one_of_carols, &[]);
    let denied = bob.commit(group, &by_bob).await.refused(Code::ActionDenied);
    assert!(denied.missing.is_empty());
    let stranger = alice.commit(group, &commit(&mut at_alice, &one_of_daves, &[])).await;
    assert!(stranger.refused(Code::NotConnected).missing.is_empty());
    at_alice.clear_pending_commit();
    let incomplete = alice.commit(group, &commit(&mut at_alice, &one_of_carols, &[])).await;
    assert_eq!(incomplete.refused(Code::DeviceMismatch).missing, [name(&phone)]);
    at_alice.clear_pending_commit();

    // The epoch before all of them.
    let renewal = commit(&mut at_alice, &[], &[]);
    alice.committed(group, &mut at_alice, &renewal).await;
    assert_eq!(bob.commit(group, &by_bob).await.refused(Code::StaleEpoch).current_epoch, Some(2));
}

#[tokio::test]
async fn damaged_bundles_leave_nothing_behind() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (conversation, mut at_alice, mut at_bob) = one_to_one(&alice, &bob).await;
    let good = commit(&mut at_alice, &[], &[]);
    let body = good.body();
    let rows = hub.rows();
    let path = format!("/v1/conversations/{conversation}/commits");
    let post = async |body: &[u8]| alice.mls(reqwest::Method::POST, &path, body.to_vec()).await;

    for wrong in [&[][..], &body[..body.len() - 1], &body[..40], &good.commit.to_bytes().unwrap(), b"hello"] {
        post(wrong).await.refused(Code::MalformedMls);
    }
    post(&vec![0; 8 * 1024 * 1024 + 1]).await.refused(Code::PayloadTooLarge);
    alice.post(&path, &json!({})).await.refused(Code::UnsupportedMediaType);
    let mut other_info = good.clone();
    other_info.group_info = commit(&mut at_bob, &[], &[]).group_info;
    alice.commit(conversation, &other_info).await.refused(Code::InconsistentGroupInfo);
    bob.commit(conversation, &good).await.refused(Code::InvalidCommit);
    let mut new_group = alice.mls.create_group(b"another group", &alice.hub_key);
    let bundle = commit(&mut new_group, &[], &[]);
    alice.commit(conversation, &bundle).await.refused(Code::MalformedMls);
    assert_eq!(hub.rows(), rows);
    alice.commit(conversation, &good).await.done::<CommitAccepted>();
    let problem = bob.commit(conversation, &commit_of_epoch_one(&mut at_bob)).await.refused(Code::StaleEpoch);
    assert_eq!(problem.current_epoch, Some(2));
}

fn commit_of_epoch_one(group: &mut mls_rs::Group<mls::Config>) -> mls::Bundle {
    group.clear_pending_commit();
    commit(group, &[], &[])
}

#[tokio::test]
async fn creating_a_group_again_changes_nothing() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let one = connect(&alice, &bob).await;
    let conversation = ConversationId::random();
    let new = NewConversation::new(conversation);
    let first: Conversation = alice.post("/v1/conversations", &new).await.done();
    let rows = hub.rows();
    let again: Conversation = alice.post("/v1/conversations", &new).await.done();
    assert_eq!(first, again);
    bob.post("/v1/conversations", &new).await.refused(Code::BadRequest);
    // Ids that others can know are not for groups.
    for id in [one, ConversationId::self_of(bob.user)] {
        let new = NewConversation::new(id);
        alice.post("/v1/conversations", &new).await.refused(Code::BadRequest);
    }
    assert_eq!(hub.rows(), rows);
    alice.get(&format!("/v1/conversations/{conversation}/group-info")).await.refused(Code::NotFound);
    assert_eq!(types(&alice.events().await).last().map(String::as_str), Some("conversation.joined"));
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (conversation, mut at_alice, mut at_bob) = one_to_one(&alice, &bob).await;
    alice.sent(conversation, encrypt(&mut at_alice, "before")).await;
    let (before, seen) = (bob.conversation(conversation).await, bob.events().await);

    let hub = Hub::start_in(hub.stop().await).await;
    let alice = Person { base: hub.base.clone(), ..alice };
    let bob = Person { base: hub.base.clone(), ..bob };
    let keys: HubKeys = alice.get("/v1/mls/keys").await.done();
    assert_eq!(keys.external_sender.0, alice.hub_key);
    assert_eq!(bob.conversation(conversation).await, before);
    assert_eq!(bob.events().await, seen);
    let bundle = commit(&mut at_alice, &[], &[]);
    alice.committed(conversation, &mut at_alice, &bundle).await;
    at_bob.process_incoming_message(bundle.commit).unwrap();
    let message = encrypt(&mut at_alice, "after");
    let sent: MessageAccepted = alice.send(conversation, message.clone()).await.done();
    assert_eq!(decrypt(&mut at_bob, &message), "after");
    let events = bob.events().await;
    assert_eq!(events.last().unwrap().body.entry().unwrap().sequence, sent.sequence);
    assert!(events.windows(2).all(|pair| pair[0].cursor != pair[1].cursor));
}

#[tokio::test]
async fn an_external_commit_needs_a_group_that_has_begun() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let tablet = Person::log_in(&hub, "alice").await;
    let (conversation, at_alice) = alice.new_group().await;
    tablet.get(&format!("/v1/conversations/{conversation}/group-info")).await.refused(Code::NotFound);
    // With the group as its creator has it, before anybody has seen it.
    let unseen = at_alice.group_info_message_allowing_ext_commit(true).unwrap();
    let (_, join) = tablet.mls.external_commit(&unseen.to_bytes().unwrap(), None);
    tablet.commit(conversation, &join).await.refused(Code::InvalidCommit);
    assert_eq!(alice.conversation(conversation).await.epoch, 0);
}
