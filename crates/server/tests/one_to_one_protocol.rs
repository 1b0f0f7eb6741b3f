//! The protocol of a 1:1: chosen by either before its first commit, the same for who is blocked as for who hears nothing, and on
//! its way to MLS.
#![allow(clippy::unwrap_used)]

mod support;

use support::{
    hub::{Answer, Hub, Person, connect, one_to_one},
    mls::{Bundle, commit, encrypt},
    pairwise::{ciphertext_for, message_for, other_message_for},
};
use tertulia_api::{
    Code, Problem, UserDevice,
    connection::Connection,
    conversation::{CommitAccepted, MessageAccepted},
    event::EventBody,
    pairwise::{DeviceMismatch, PairwiseAccepted},
    team::{Invitation, Team},
};
use tertulia_domain::{ConversationId, Domain, Protocol};

/// Two friends with two devices each, all of which have published keys.
struct Friends {
    hub: Hub,
    alice: Person,
    bob: Person,
    phones: [Person; 2],
    direct: ConversationId,
}

impl Friends {
    async fn meet() -> Self {
        let hub = Hub::start().await;
        let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
        let direct = connect(&alice, &bob).await;
        let phones = [
            Person::open(&hub, "alice", "/v1/sessions", 1).await,
            Person::open(&hub, "bob", "/v1/sessions", 1).await,
        ];
        for device in [&alice, &bob, &phones[0], &phones[1]] {
            device.publish_pairwise(&[1, 2, 3]).await;
        }
        Self { hub, alice, bob, phones, direct }
    }

    /// Alice's message for everybody's devices.
    fn by_alice(&self, text: &str) -> tertulia_api::pairwise::PairwiseMessage {
        let [alices, bobs] = &self.phones;
        other_message_for(&[alices.address(), self.bob.address(), bobs.address()], text)
    }
}

/// The devices that a message was without, and so not sent.
fn missing(answer: &Answer) -> Vec<UserDevice> {
    let problem: Problem = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status.as_u16(), problem.code.as_str()), (412, Code::DeviceMismatch.as_str()));
    problem.missing
}

#[tokio::test]
async fn either_chooses_pairwise_before_the_first_commit_and_the_other_is_told() {
    let Friends { hub, alice, bob, direct, .. } = &Friends::meet().await;
    assert_eq!(
        alice.conversation(*direct).await.protocol,
        Protocol::Mls,
        "unless somebody chooses otherwise"
    );
    let log = hub.rows()["log"];
    bob.set_protocol(*direct, Protocol::Pairwise).await.empty();
    alice.set_protocol(*direct, Protocol::Pairwise).await.empty();
    assert_eq!(hub.rows()["log"], log + 1, "again is nothing new");
    for user in [alice, bob] {
        assert_eq!(user.conversation(*direct).await.protocol, Protocol::Pairwise);
    }
    let last = alice.events().await.pop().unwrap().body;
    assert!(matches!(last, EventBody::Protocol { protocol: Protocol::Pairwise, .. }), "{last:?}");
}

#[tokio::test]
async fn of_a_choice_and_a_first_commit_that_cross_the_first_holds() {
    let Friends { alice, bob, direct, .. } = &Friends::meet().await;
    let group_id = alice.conversation(*direct).await.group_id.0;
    let mut at_alice = alice.mls.create_group(&group_id, &alice.hub_key);
    let bundle = commit(&mut at_alice, &alice.claim(&[bob.user]).await, &[]);
    bob.set_protocol(*direct, Protocol::Pairwise).await.empty();
    alice.commit(*direct, &bundle).await.refused(Code::WrongProtocol);

    let hub = Hub::start().await;
    let (carol, dave) = (Person::sign_up(&hub, "carol").await, Person::sign_up(&hub, "dave").await);
    let (begun, _, _) = one_to_one(&carol, &dave).await;
    dave.set_protocol(begun, Protocol::Pairwise).await.refused(Code::InvalidProtocolTransition);
    // What was begun anew has begun.
    let at_hub = carol.conversation(begun).await;
    let reset = serde_json::json!({ "group_id": at_hub.group_id, "epoch": at_hub.epoch });
    assert!(carol.post(&format!("/v1/conversations/{begun}/reset"), &reset).await.status.is_success());
    assert_eq!(carol.conversation(begun).await.epoch, 0);
    dave.set_protocol(begun, Protocol::Pairwise).await.refused(Code::InvalidProtocolTransition);
}

#[tokio::test]
async fn nobody_chooses_before_the_request_is_accepted_nor_from_outside() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let direct = alice.connect(&bob).await;
    alice.set_protocol(direct, Protocol::Pairwise).await.refused(Code::InvalidOperation);
    bob.set_protocol(direct, Protocol::Pairwise).await.refused(Code::NoConversation);
    bob.set_connection(&alice, "accepted").await.done::<Connection>();
    let eve = Person::sign_up(&hub, "eve").await;
    eve.set_protocol(direct, Protocol::Pairwise).await.refused(Code::NoConversation);
    bob.set_protocol(direct, Protocol::Mixed).await.refused(Code::InvalidProtocolTransition);
    bob.set_protocol(direct, Protocol::Pairwise).await.empty();
}

/// Puts the two into a team. Their 1:1.
async fn team_mates(alice: &Person, bob: &Person) -> ConversationId {
    alice.post("/v1/team", &serde_json::json!({ "name": "Table" })).await.done::<Team>();
    let invited = alice.post("/v1/team/invitations", &serde_json::json!({})).await;
    let code = invited.done::<Invitation>().code;
    bob.post("/v1/team/join", &serde_json::json!({ "code": code })).await.done::<Team>();
    let domain = Domain::localhost();
    ConversationId::one_to_one((&alice.user, &domain), (&bob.user, &domain)).id
}

#[tokio::test]
async fn team_mates_choose_before_there_is_anything_of_their_one_to_one() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let direct = team_mates(&alice, &bob).await;
    for device in [&alice, &bob] {
        device.publish_pairwise(&[1]).await;
    }
    alice.set_protocol(direct, Protocol::Mixed).await.refused(Code::InvalidProtocolTransition);
    alice.set_protocol(direct, Protocol::Pairwise).await.empty();
    let accepted: PairwiseAccepted = bob.send_pairwise(direct, &message_for(&[alice.address()])).await.done();
    assert_eq!(accepted.mismatch, DeviceMismatch::default());
    assert_eq!(alice.ciphertexts().await, [Some(ciphertext_for(alice.address()))]);
    let stranger = Person::sign_up(&hub, "carol").await;
    stranger.set_protocol(direct, Protocol::Mixed).await.refused(Code::NoConversation);
}

#[tokio::test]
async fn of_the_one_to_one_of_team_mates_nothing_is_stored_before_a_commit_is_good() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let direct = team_mates(&alice, &bob).await;
    let group_id = alice.conversation(direct).await.group_id.0;
    let mut at_alice = alice.mls.create_group(&group_id, &alice.hub_key);
    let (rows, events) = (hub.rows(), (alice.events().await, bob.events().await));

    // Without the other; with a group info that another device has signed; of another epoch; of another group.
    let alone = commit(&mut at_alice, &[], &[]);
    alice.commit(direct, &alone).await.refused(Code::InvalidOperation);
    at_alice.clear_pending_commit();
    let packages = [bob.mls.key_package()];
    let good = commit(&mut at_alice, &packages, &[]);
    let other = commit(&mut bob.mls.create_group(&group_id, &bob.hub_key), &[], &[]);
    let mixed = Bundle { group_info: other.group_info, ..good.clone() };
    alice.commit(direct, &mixed).await.refused(Code::InvalidCommit);
    bob.commit(direct, &good).await.refused(Code::InvalidCommit);
    let elsewhere = commit(&mut alice.mls.create_group(b"another group", &alice.hub_key), &packages, &[]);
    alice.commit(direct, &elsewhere).await.refused(Code::MalformedMls);
    assert_eq!(hub.rows(), rows);
    assert_eq!((alice.events().await, bob.events().await), events);
    let stranger = Person::sign_up(&hub, "carol").await;
    stranger.commit(direct, &good).await.refused(Code::NoConversation);

    alice.commit(direct, &good).await.done::<CommitAccepted>();
    at_alice.apply_pending_commit().unwrap();
    assert_eq!(bob.conversation(direct).await.epoch, 1);
    let late = commit(&mut bob.mls.create_group(&group_id, &bob.hub_key), &[alice.mls.key_package()], &[]);
    assert_eq!(bob.commit(direct, &late).await.refused(Code::StaleEpoch).current_epoch, Some(1));
}

#[tokio::test]
async fn what_is_sent_to_who_blocks_is_taken_and_given_to_nobody_and_goes_on_after_the_block() {
    let friends = Friends::meet().await;
    let Friends { hub, alice, bob, phones: [alices_phone, bobs_phone], direct } = &friends;
    alice.set_protocol(*direct, Protocol::Pairwise).await.empty();
    alice.send_pairwise(*direct, &friends.by_alice("before")).await.done::<PairwiseAccepted>();
    bob.set_connection(alice, "blocked").await.done::<Connection>();

    // The devices of who blocks are as present as before.
    let without = other_message_for(&[alices_phone.address(), bob.address()], "one is missing");
    let rows = hub.rows();
    assert_eq!(missing(&alice.send_pairwise(*direct, &without).await), [bobs_phone.address()]);
    let accepted: PairwiseAccepted = alice.send_pairwise(*direct, &friends.by_alice("unheard")).await.done();
    assert_eq!(accepted.mismatch, DeviceMismatch::default());
    assert_eq!(
        hub.rows()["pairwise_ciphertexts"],
        rows["pairwise_ciphertexts"] + 1,
        "for her own phone alone"
    );
    assert_eq!(alice.claim_pairwise(&[bob.address(), bobs_phone.address()]).await.len(), 2);
    // A device that comes meanwhile is missing too, as if nothing were.
    let tablet = Person::open(hub, "bob", "/v1/sessions", 1).await;
    tablet.publish_pairwise(&[1]).await;
    let answer = alice.send_pairwise(*direct, &friends.by_alice("a device more")).await;
    assert_eq!(missing(&answer), [tablet.address()]);
    bob.send_pairwise(*direct, &message_for(&[])).await.refused(Code::NoConversation);
    assert_eq!(bob.ciphertexts().await.len(), 1);

    bob.set_connection(alice, "accepted").await.done::<Connection>();
    let everybody = [alices_phone.address(), bob.address(), bobs_phone.address(), tablet.address()];
    alice.send_pairwise(*direct, &other_message_for(&everybody, "after")).await.done::<PairwiseAccepted>();
    let heard = |of: &Person, text: &str| {
        let mut ciphertext = ciphertext_for(of.address());
        ciphertext.extend_from_slice(text.as_bytes());
        Some(ciphertext)
    };
    assert_eq!(bob.ciphertexts().await, [heard(bob, "before"), heard(bob, "after")]);
    let everybody_else = [alice.address(), alices_phone.address(), bobs_phone.address(), tablet.address()];
    bob.send_pairwise(*direct, &message_for(&everybody_else)).await.done::<PairwiseAccepted>();
    assert_eq!(alice.ciphertexts().await.pop(), Some(Some(ciphertext_for(alice.address()))));
}

#[tokio::test]
async fn a_one_to_one_goes_to_mls_by_either_and_all_devices_of_both_are_in_it() {
    let friends = Friends::meet().await;
    let Friends { alice, bob, direct, .. } = &friends;
    alice.set_protocol(*direct, Protocol::Pairwise).await.empty();
    bob.set_protocol(*direct, Protocol::Mixed).await.empty();
    let group_id = bob.conversation(*direct).await.group_id.0;
    let mut at_bob = bob.mls.create_group(&group_id, &bob.hub_key);
    let mut packages = bob.claim(&[alice.user]).await;
    packages.extend(bob.claim(&[bob.user]).await);
    let bundle = commit(&mut at_bob, &packages, &[]);
    bob.commit(*direct, &bundle).await.done::<CommitAccepted>();
    at_bob.apply_pending_commit().unwrap();
    alice.send_pairwise(*direct, &friends.by_alice("still pairwise")).await.done::<PairwiseAccepted>();

    let tablet = Person::open(&friends.hub, "alice", "/v1/sessions", 1).await;
    let outside = bob.set_protocol(*direct, Protocol::Mls).await.refused(Code::DeviceMismatch);
    assert_eq!(outside.missing, [tablet.address()]);
    let (_, joining) = tablet.mls.external_commit(&tablet.group_info(*direct).await, None);
    let committed = tablet.commit(*direct, &joining).await.done::<CommitAccepted>();
    assert_eq!(committed.epoch, 2);
    at_bob.process_incoming_message(joining.commit.clone()).unwrap();
    alice.set_protocol(*direct, Protocol::Mls).await.empty();
    bob.sent(*direct, encrypt(&mut at_bob, "by the group")).await;
    let refused = alice.send_pairwise(*direct, &friends.by_alice("too late")).await;
    refused.refused(Code::WrongProtocol);
    let sent: MessageAccepted = bob.sent(*direct, encrypt(&mut at_bob, "and on")).await;
    assert!(sent.sequence > 0);
    for back in [Protocol::Pairwise, Protocol::Mixed] {
        bob.set_protocol(*direct, back).await.refused(Code::InvalidProtocolTransition);
    }
}
