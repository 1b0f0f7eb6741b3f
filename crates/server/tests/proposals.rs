//! Proposals of devices and of the hub.
#![allow(clippy::unwrap_used)]

mod support;

use mls_rs::{
    CipherSuite, Client, CryptoProvider as _, ExtensionList, Group, MlsMessage, client_builder::MlsConfig,
};
use mls_rs_crypto_awslc::AwsLcCryptoProvider;
use reqwest::Method;
use serde_json::json;
use std::time::Duration;
use support::{
    hub::{Answer, Hub, PASSWORD, Person, connect, one_to_one, types},
    mls::{self, Config, commit, leaf_of},
};
use tertulia_api::{
    Code,
    conversation::{CommitAccepted, ProposalAccepted},
    event::{EventBody, EventPage},
};
use tertulia_domain::ConversationId;

async fn propose(person: &Person, conversation: ConversationId, proposal: &MlsMessage) -> Answer {
    let path = format!("/v1/conversations/{conversation}/proposals");
    person.mls(Method::POST, &path, proposal.to_bytes().unwrap()).await
}

/// A device asks to be added (RFC 9420 section 12.1.8.2).
fn external_add(person: &Person, group_info: &[u8]) -> MlsMessage {
    external_add_by(&person.mls.client, group_info)
}

/// The same, as this program makes it.
fn external_add_by(client: &Client<impl MlsConfig>, group_info: &[u8]) -> MlsMessage {
    let none = ExtensionList::new;
    client.external_add_proposal(&mls::message(group_info), None, Vec::new(), none(), none(), None).unwrap()
}

/// Alice, and Bob who has a tablet too, in a group of Alice's that has one device of each.
async fn table(hub: &Hub) -> ([Person; 3], ConversationId, Group<Config>, Group<Config>) {
    let (alice, bob) = (Person::sign_up(hub, "alice").await, Person::sign_up(hub, "bob").await);
    connect(&alice, &bob).await;
    let (table, mut at_alice) = alice.new_group().await;
    let added = alice.add(table, &mut at_alice, &[bob.user]).await;
    let at_bob = bob.mls.join(&added.welcome.unwrap().to_bytes().unwrap());
    let tablet = Person::log_in(hub, "bob").await;
    ([alice, bob, tablet], table, at_alice, at_bob)
}

async fn remove_device(owner: &Person, device: &Person) {
    let path = format!("/v1/devices/{}/remove", device.mls.device);
    owner.post(&path, &json!({ "password": PASSWORD })).await.empty();
}

fn reference(proposal: &MlsMessage) -> Vec<u8> {
    let suite = AwsLcCryptoProvider::new().cipher_suite_provider(CipherSuite::CURVE25519_AES128).unwrap();
    proposal.clone().into_proposal_reference(&suite).unwrap().unwrap()
}

/// The proposals that a person was told are void.
async fn void(person: &Person, conversation: ConversationId) -> Vec<Vec<u8>> {
    let of = |event: tertulia_api::event::Event| match event.body {
        EventBody::ProposalsWithdrawn { entry, void, .. } if entry.conversation == conversation => void,
        _ => Vec::new(),
    };
    person.events().await.into_iter().flat_map(of).map(|reference| reference.0).collect()
}

/// The proposals that a person was told of.
async fn told(person: &Person, conversation: ConversationId) -> Vec<MlsMessage> {
    let of = |event: tertulia_api::event::Event| match event.body {
        EventBody::Proposal { entry, proposal } if entry.conversation == conversation => {
            Some(mls::message(&proposal.0))
        }
        _ => None,
    };
    person.events().await.into_iter().filter_map(of).collect()
}

#[tokio::test]
async fn an_external_add_is_accepted_for_the_requesters_own_device_and_committed_by_a_member() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (both, mut at_alice, _) = one_to_one(&alice, &bob).await;
    let tablet = Person::log_in(&hub, "bob").await;
    let add = external_add(&tablet, &tablet.group_info(both).await);
    let accepted: ProposalAccepted = propose(&tablet, both, &add).await.done();
    assert_eq!(accepted.epoch, 1);
    assert_eq!(propose(&tablet, both, &add).await.done::<ProposalAccepted>(), accepted, "once");

    // Every commit of the epoch has to include it.
    let without = commit(&mut at_alice, &[], &[]);
    alice.commit(both, &without).await.refused(Code::MissingProposals);
    at_alice.clear_pending_commit();
    for proposal in told(&alice, both).await {
        at_alice.process_incoming_message(proposal).unwrap();
    }
    let with = commit(&mut at_alice, &[], &[]);
    alice.committed(both, &mut at_alice, &with).await;
    let events = tablet.events().await;
    let welcome = events.iter().find_map(|event| match &event.body {
        EventBody::Commit { welcome: Some(welcome), .. } => Some(welcome.0.clone()),
        _ => None,
    });
    let at_tablet = tablet.mls.join(&welcome.unwrap());
    assert_eq!(at_tablet.current_epoch(), 2);
    assert_eq!(at_tablet.roster().members().len(), 3);
}

#[tokio::test]
async fn an_external_add_for_somebody_elses_device_or_of_who_is_no_member_is_refused() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let carol = Person::sign_up(&hub, "carol").await;
    let (both, ..) = one_to_one(&alice, &bob).await;
    let tablet = Person::log_in(&hub, "bob").await;
    let group_info = alice.group_info(both).await;
    let tablets = external_add(&tablet, &group_info);
    propose(&bob, both, &tablets).await.refused(Code::InvalidCommit);
    propose(&carol, both, &tablets).await.refused(Code::NoConversation);
    propose(&carol, both, &external_add(&carol, &group_info)).await.refused(Code::NoConversation);
    propose(&bob, both, &external_add(&carol, &group_info)).await.refused(Code::InvalidCommit);
    assert_eq!(hub.rows()["proposals"], 0);
}

#[tokio::test]
async fn a_member_proposes_new_keys_and_a_device_of_a_member_and_no_new_member() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let carol = Person::sign_up(&hub, "carol").await;
    connect(&alice, &bob).await;
    connect(&bob, &carol).await;
    let (table, mut at_alice) = alice.new_group().await;
    let added = alice.add(table, &mut at_alice, &[bob.user]).await;
    let mut at_bob = bob.mls.join(&added.welcome.unwrap().to_bytes().unwrap());
    let tablet = Person::log_in(&hub, "bob").await;

    let of_carol = mls::message(&bob.claim(&[carol.user]).await[0]);
    let of_carol = at_bob.propose_add(of_carol, Vec::new()).unwrap();
    propose(&bob, table, &of_carol).await.refused(Code::InvalidOperation);
    let removal = at_bob.propose_remove(leaf_of(&at_bob, &alice.mls), Vec::new()).unwrap();
    propose(&bob, table, &removal).await.refused(Code::InvalidCommit);
    assert_eq!(hub.rows()["proposals"], 0);
    at_bob.clear_proposal_cache();

    let update = at_bob.propose_update(Vec::new()).unwrap();
    propose(&alice, table, &update).await.refused(Code::InvalidCommit);
    propose(&bob, table, &update).await.done::<ProposalAccepted>();
    let tablets = mls::message(&bob.claim(&[bob.user]).await[0]);
    let add = at_bob.propose_add(tablets, Vec::new()).unwrap();
    propose(&bob, table, &add).await.done::<ProposalAccepted>();
    for proposal in told(&alice, table).await {
        at_alice.process_incoming_message(proposal).unwrap();
    }
    let bundle = commit(&mut at_alice, &[], &[]);
    alice.committed(table, &mut at_alice, &bundle).await;
    at_bob.process_incoming_message(bundle.commit).unwrap();
    assert_eq!(at_bob.roster().members().len(), 3);
    let at_tablet = tablet.mls.join(&bundle.welcome.unwrap().to_bytes().unwrap());
    assert_eq!(at_tablet.current_epoch(), at_bob.current_epoch());
}

#[tokio::test]
async fn proposals_are_gone_with_their_epoch() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (both, mut at_alice, mut at_bob) = one_to_one(&alice, &bob).await;
    let update = at_bob.propose_update(Vec::new()).unwrap();
    propose(&bob, both, &update).await.done::<ProposalAccepted>();
    // A device that joins from outside cannot include it; the epoch ends all the same.
    let tablet = Person::log_in(&hub, "alice").await;
    let (_, join) = tablet.mls.external_commit(&tablet.group_info(both).await, None);
    tablet.commit(both, &join).await.done::<CommitAccepted>();
    assert_eq!(hub.rows()["proposals"], 0);
    let late = at_bob.propose_update(Vec::new()).unwrap();
    assert_eq!(propose(&bob, both, &late).await.refused(Code::StaleEpoch).current_epoch, Some(2));
    at_alice.process_incoming_message(join.commit).unwrap();
    // What refers to one of an earlier epoch refers to nothing.
    let with_old = commit(&mut at_alice, &[], &[]);
    alice.committed(both, &mut at_alice, &with_old).await;
}

#[tokio::test]
async fn a_reference_that_the_hub_does_not_hold_is_proposal_not_found() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (both, mut at_alice, mut at_bob) = one_to_one(&alice, &bob).await;
    let update = at_bob.propose_update(Vec::new()).unwrap();
    at_alice.process_incoming_message(update).unwrap();
    let bundle = commit(&mut at_alice, &[], &[]);
    alice.commit(both, &bundle).await.refused(Code::ProposalNotFound);
}

#[tokio::test]
async fn pending_removals_by_the_hub_are_proposed_again_after_an_external_commit() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    connect(&alice, &bob).await;
    let (table, mut at_alice) = alice.new_group().await;
    alice.add(table, &mut at_alice, &[bob.user]).await;
    bob.post(&format!("/v1/conversations/{table}/leave"), &json!({})).await.empty();
    let before = told(&alice, table).await.len();
    let tablet = Person::log_in(&hub, "alice").await;
    let (mut at_tablet, join) = tablet.mls.external_commit(&tablet.group_info(table).await, None);
    tablet.commit(table, &join).await.done::<CommitAccepted>();
    let again = told(&alice, table).await;
    assert_eq!((before, again.len()), (1, 2));
    assert_eq!(types(&tablet.events().await).last().unwrap(), "conversation.proposal");
    at_tablet.process_incoming_message(again[1].clone()).unwrap();
    let bundle = commit(&mut at_tablet, &[], &[]);
    tablet.committed(table, &mut at_tablet, &bundle).await;
    assert_eq!(at_tablet.roster().members().len(), 2, "both of alice's devices");
}

#[tokio::test]
async fn a_device_is_not_proposed_for_a_subconversation() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (both, ..) = one_to_one(&alice, &bob).await;
    let path = format!("/v1/conversations/{both}/subconversation?name=call");
    let call: tertulia_api::conversation::Subconversation = alice.put(&path, &json!({})).await.done();
    let mut group = alice.mls.create_group(&call.group_id.0, &alice.hub_key);
    let bundle = commit(&mut group, &[], &[]);
    alice.committed(call.conversation, &mut group, &bundle).await;
    let add = external_add(&bob, &bob.group_info(call.conversation).await);
    propose(&bob, call.conversation, &add).await.refused(Code::InvalidOperation);
}

#[tokio::test]
async fn what_is_no_proposal_is_malformed_and_their_number_is_bounded() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (both, mut at_alice, mut at_bob) = one_to_one(&alice, &bob).await;
    let bundle = commit(&mut at_alice, &[], &[]);
    propose(&alice, both, &bundle.commit).await.refused(Code::MalformedMls);
    propose(&alice, both, &bundle.group_info).await.refused(Code::MalformedMls);
    for number in 1..=200_u8 {
        hub.change(
            "INSERT INTO proposals (conversation, epoch, ref, message) VALUES (?1, 1, ?2, ?2)",
            (both.as_bytes(), &[number; 16]),
        );
    }
    let update = at_bob.propose_update(Vec::new()).unwrap();
    propose(&bob, both, &update).await.refused(Code::ProposalLimit);
}

#[tokio::test]
async fn what_could_not_be_committed_together_is_not_pending_together() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    connect(&alice, &bob).await;
    let (table, mut at_alice) = alice.new_group().await;
    let added = alice.add(table, &mut at_alice, &[bob.user]).await;
    let mut at_bob = bob.mls.join(&added.welcome.unwrap().to_bytes().unwrap());
    let tablet = Person::log_in(&hub, "bob").await;
    let group_info = alice.group_info(table).await;
    propose(&tablet, table, &external_add(&tablet, &group_info)).await.done::<ProposalAccepted>();
    propose(&tablet, table, &external_add(&tablet, &group_info)).await.refused(Code::InvalidCommit);
    propose(&bob, table, &external_add(&bob, &group_info)).await.refused(Code::InvalidCommit);
    let first = at_bob.propose_update(Vec::new()).unwrap();
    propose(&bob, table, &first).await.done::<ProposalAccepted>();
    at_bob.clear_proposal_cache();
    let second = at_bob.propose_update(Vec::new()).unwrap();
    propose(&bob, table, &second).await.refused(Code::InvalidCommit);

    // Bob leaves: he is removed although he has proposed new keys, and his tablet need not be added any more.
    bob.post(&format!("/v1/conversations/{table}/leave"), &json!({})).await.empty();
    let [add, update, again, removal] = &told(&alice, table).await[..] else { panic!("not four proposals") };
    assert_eq!(void(&alice, table).await, [reference(add)]);
    assert_eq!(update, again, "what is not void is sent again");
    let none = commit(&mut at_alice, &[], &[]);
    alice.commit(table, &none).await.refused(Code::MissingProposals);
    at_alice.clear_pending_commit();
    at_alice.process_incoming_message(removal.clone()).unwrap();
    let bundle = commit(&mut at_alice, &[], &[]);
    alice.committed(table, &mut at_alice, &bundle).await;
    assert_eq!(at_alice.roster().members().len(), 1);
    assert_eq!(alice.conversation(table).await.members.len(), 1);
    bob.get(&format!("/v1/conversations/{table}")).await.refused(Code::NoConversation);
}

#[tokio::test]
async fn who_has_proposed_new_keys_commits_without_them() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (both, _, mut at_bob) = one_to_one(&alice, &bob).await;
    let update = at_bob.propose_update(Vec::new()).unwrap();
    propose(&bob, both, &update).await.done::<ProposalAccepted>();
    let bundle = commit(&mut at_bob, &[], &[]);
    bob.committed(both, &mut at_bob, &bundle).await;
}

#[tokio::test]
async fn a_removed_device_that_asked_to_be_added_keeps_nobody_from_committing() {
    let hub = Hub::start().await;
    let ([alice, bob, tablet], table, mut at_alice, mut at_bob) = table(&hub).await;
    let update = at_bob.propose_update(Vec::new()).unwrap();
    propose(&bob, table, &update).await.done::<ProposalAccepted>();
    let add = external_add(&tablet, &alice.group_info(table).await);
    propose(&tablet, table, &add).await.done::<ProposalAccepted>();
    remove_device(&bob, &tablet).await;
    assert_eq!(void(&alice, table).await, [reference(&add)]);
    assert_eq!(hub.rows()["proposals"], 1);

    // Who has not heard of it is refused, and who has goes on with what is still pending.
    at_alice.process_incoming_message(update.clone()).unwrap();
    at_alice.process_incoming_message(add).unwrap();
    let with = commit(&mut at_alice, &[], &[]);
    alice.commit(table, &with).await.refused(Code::ProposalNotFound);
    at_alice.clear_pending_commit();
    at_alice.clear_proposal_cache();
    let none = commit(&mut at_alice, &[], &[]);
    alice.commit(table, &none).await.refused(Code::MissingProposals);
    at_alice.clear_pending_commit();
    let again = told(&alice, table).await.pop().unwrap();
    assert_eq!(again, update);
    at_alice.process_incoming_message(again).unwrap();
    let bundle = commit(&mut at_alice, &[], &[]);
    alice.committed(table, &mut at_alice, &bundle).await;
    at_bob.process_incoming_message(bundle.commit).unwrap();
    assert_eq!(at_bob.roster().members().len(), 2);
}

#[tokio::test]
async fn who_leaves_without_a_leaf_takes_along_what_their_device_has_proposed() {
    let hub = Hub::start().await;
    let ([alice, bob, tablet], table, mut at_alice, _) = table(&hub).await;
    // Bob is a member whose only device in the group is gone.
    remove_device(&tablet, &bob).await;
    let removal = told(&alice, table).await.pop().unwrap();
    at_alice.process_incoming_message(removal).unwrap();
    let policy = mls::policy_in(&at_alice);
    let bundle = mls::commit_policy(&mut at_alice, &policy);
    alice.committed(table, &mut at_alice, &bundle).await;
    assert_eq!(alice.conversation(table).await.members.len(), 2);

    let add = external_add(&tablet, &alice.group_info(table).await);
    propose(&tablet, table, &add).await.done::<ProposalAccepted>();
    tablet.post(&format!("/v1/conversations/{table}/leave"), &json!({})).await.empty();
    assert_eq!(void(&alice, table).await, [reference(&add)]);
    let policy = mls::policy_in(&at_alice).without(|user| user == bob.user);
    let bundle = mls::commit_policy(&mut at_alice, &policy);
    alice.committed(table, &mut at_alice, &bundle).await;
    assert_eq!(alice.conversation(table).await.members.len(), 1);
}

#[tokio::test]
async fn a_device_is_not_proposed_by_a_key_package_that_clients_would_leave_out() {
    let hub = Hub::start().await;
    let ([alice, bob, tablet], table, mut at_alice, mut at_bob) = table(&hub).await;
    let group_info = alice.group_info(table).await;
    let lasting =
        tablet.mls.client.to_builder(None).key_package_lifetime(Duration::from_hours(86 * 24)).build();
    for (unfit, code) in [
        (external_add_by(&lasting, &group_info), Code::InvalidKeyPackage),
        (external_add_by(&tablet.mls.without_policies(), &group_info), Code::InvalidCommit),
    ] {
        propose(&tablet, table, &unfit).await.refused(code);
    }
    // Nor does a member propose it.
    let lasting = lasting.generate_key_package_message(ExtensionList::new(), ExtensionList::new(), None);
    let add = at_bob.propose_add(lasting.unwrap(), Vec::new()).unwrap();
    propose(&bob, table, &add).await.refused(Code::InvalidKeyPackage);
    assert_eq!(hub.rows()["proposals"], 0);
    let bundle = commit(&mut at_alice, &[], &[]);
    alice.committed(table, &mut at_alice, &bundle).await;
}

#[tokio::test]
async fn a_key_package_that_is_about_to_expire_need_not_be_committed() {
    let hub = Hub::start().await;
    let ([alice, _, tablet], table, mut at_alice, _) = table(&hub).await;
    let fleeting = tablet.mls.client.to_builder(None).key_package_lifetime(Duration::from_mins(10)).build();
    let add = external_add_by(&fleeting, &alice.group_info(table).await);
    propose(&tablet, table, &add).await.done::<ProposalAccepted>();
    // By this clock it is over already.
    let without = commit(&mut at_alice, &[], &[]);
    alice.committed(table, &mut at_alice, &without).await;
}

#[tokio::test]
async fn what_was_proposed_with_a_key_package_that_has_expired_is_withdrawn() {
    let hub = Hub::start().await;
    let ([alice, _, tablet], table, mut at_alice, _) = table(&hub).await;
    let add = external_add(&tablet, &alice.group_info(table).await);
    propose(&tablet, table, &add).await.done::<ProposalAccepted>();
    let end = alice.events().await.last().unwrap().cursor.clone();
    // A day later.
    hub.change("UPDATE proposals SET expires_at = expires_at - 86400000", ());
    let hub = Hub::start_in(hub.stop().await).await;
    let alice = Person { base: hub.base.clone(), ..alice };
    let page: EventPage = alice.get(&format!("/v1/events?wait=30&since={end}")).await.done();
    let [event] = &page.events[..] else { panic!("not one event") };
    let EventBody::ProposalsWithdrawn { entry, epoch: 1, void } = &event.body else { panic!("{event:?}") };
    assert_eq!((entry.sender, void[0].0.clone()), (None, reference(&add)));
    let bundle = commit(&mut at_alice, &[], &[]);
    alice.committed(table, &mut at_alice, &bundle).await;
}
