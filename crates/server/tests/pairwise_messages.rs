//! Pairwise messages: one ciphertext per device of every member, or the sender is told what differs.
#![allow(clippy::unwrap_used)]

mod support;

use support::{
    hub::{Hub, Person, connect},
    pairwise::{ciphertext_for, message_for, other_message_for},
};
use tertulia_api::{
    Base64, Code, Problem, UserDevice,
    pairwise::{DeviceMismatch, IgnoreMissing, PairwiseAccepted, PairwiseMessage},
};
use tertulia_domain::{ConversationId, DeviceId};

/// Alice, Bob with two devices, and a group of theirs; all devices have published keys.
struct Scene {
    hub: Hub,
    alice: Person,
    bob: Person,
    phone: Person,
    group: ConversationId,
}

impl Scene {
    async fn set() -> Self {
        let hub = Hub::start().await;
        let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
        connect(&alice, &bob).await;
        let phone = Person::open(&hub, "bob", "/v1/sessions", 1).await;
        for device in [&alice, &bob, &phone] {
            device.publish_pairwise(&[1, 2, 3]).await;
        }
        let group = alice.pairwise_group(&[&bob]).await;
        Self { hub, alice, bob, phone, group }
    }

    fn for_bob(&self) -> PairwiseMessage {
        message_for(&[self.bob.address(), self.phone.address()])
    }

    /// The problem, which must be the one that the contract names.
    async fn is_incomplete(&self, sender: &Person, message: &PairwiseMessage) -> Problem {
        let rows = self.hub.rows();
        let answer = sender.send_pairwise(self.group, message).await;
        let problem: Problem = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status.as_u16(), problem.status), (412, 412));
        assert_eq!(problem.code, Code::DeviceMismatch.as_str());
        assert_eq!(self.hub.rows(), rows, "nothing was sent");
        problem
    }
}

fn in_order(mut devices: Vec<UserDevice>) -> Vec<UserDevice> {
    devices.sort_unstable();
    devices
}

#[tokio::test]
async fn a_message_is_stored_once_and_each_device_sees_its_own_ciphertext_only() {
    let scene = Scene::set().await;
    let Scene { hub, alice, bob, phone, group } = &scene;
    let accepted: PairwiseAccepted = alice.send_pairwise(*group, &scene.for_bob()).await.done();
    assert_eq!(accepted.mismatch, DeviceMismatch::default());
    assert_eq!(bob.ciphertexts().await, [Some(ciphertext_for(bob.address()))]);
    assert_eq!(phone.ciphertexts().await, [Some(ciphertext_for(phone.address()))]);
    assert_eq!(alice.ciphertexts().await, [None], "the sending device");
    let stored = hub.rows();
    assert_eq!((stored["log"], stored["pairwise_ciphertexts"]), (2, 2), "members and the message");
}

#[tokio::test]
async fn a_message_that_leaves_out_a_device_is_not_sent_and_the_sender_learns_which() {
    let scene = Scene::set().await;
    let Scene { alice, bob, phone, .. } = &scene;
    let problem = scene.is_incomplete(alice, &message_for(&[bob.address()])).await;
    assert_eq!(problem.missing, [phone.address()]);
    // The sender's own other devices count too.
    let problem = scene.is_incomplete(phone, &message_for(&[alice.address()])).await;
    assert_eq!(problem.missing, [bob.address()]);
    let problem = scene.is_incomplete(alice, &message_for(&[])).await;
    assert_eq!(problem.missing, in_order(vec![bob.address(), phone.address()]));
}

#[tokio::test]
async fn missing_devices_can_be_ignored_of_all_or_of_named_users() {
    let scene = Scene::set().await;
    let Scene { alice, bob, phone, group, .. } = &scene;
    let to_one = |ignore_missing| PairwiseMessage { ignore_missing, ..message_for(&[bob.address()]) };
    scene.is_incomplete(alice, &to_one(IgnoreMissing::Users(vec![alice.user]))).await;
    for ignore in [IgnoreMissing::Users(vec![bob.user]), IgnoreMissing::Everybody] {
        let accepted: PairwiseAccepted = alice.send_pairwise(*group, &to_one(ignore)).await.done();
        assert_eq!(accepted.mismatch.missing, [phone.address()]);
    }
    assert_eq!(phone.ciphertexts().await, [None, None]);
}

#[tokio::test]
async fn redundant_and_deleted_ciphertexts_are_dropped_and_told_of() {
    let scene = Scene::set().await;
    let Scene { hub, alice, bob, phone, group } = &scene;
    let carol = Person::sign_up(hub, "carol").await;
    connect(alice, &carol).await;
    carol.publish_pairwise(&[1]).await;
    let gone = UserDevice { device: DeviceId::new(7), ..bob.address() };
    let all = [bob.address(), phone.address(), carol.address(), gone, alice.address()];
    let accepted: PairwiseAccepted = alice.send_pairwise(*group, &message_for(&all)).await.done();
    let redundant = in_order(vec![carol.address(), alice.address()]);
    assert_eq!(accepted.mismatch, DeviceMismatch { missing: vec![], redundant, deleted: vec![gone] });
    assert_eq!(hub.rows()["pairwise_ciphertexts"], 2);
    let few = message_for(&[bob.address(), carol.address(), gone]);
    let problem = scene.is_incomplete(alice, &few).await;
    assert_eq!(problem.missing, [phone.address()]);
    assert_eq!((problem.redundant, problem.deleted), (vec![carol.address()], vec![gone]));
}

#[tokio::test]
async fn the_same_bytes_are_the_same_message_whatever_devices_there_are_by_then() {
    let scene = Scene::set().await;
    let Scene { hub, alice, bob, phone, group } = &scene;
    let gone = UserDevice { device: DeviceId::new(7), ..bob.address() };
    let message = message_for(&[bob.address(), phone.address(), gone]);
    let first: PairwiseAccepted = alice.send_pairwise(*group, &message).await.done();
    let tablet = Person::open(hub, "bob", "/v1/sessions", 1).await;
    tablet.publish_pairwise(&[1]).await;
    let again: PairwiseAccepted = alice.send_pairwise(*group, &message).await.done();
    assert_eq!(first, again);
    assert_eq!(bob.ciphertexts().await.len(), 1);
    let problem = scene.is_incomplete(alice, &scene.for_bob()).await;
    assert_eq!(problem.missing, [tablet.address()], "other bytes are another message");
}

#[tokio::test]
async fn a_device_that_has_published_no_keys_need_not_be_written_to() {
    let scene = Scene::set().await;
    let silent = Person::open(&scene.hub, "bob", "/v1/sessions", 1).await;
    scene.alice.send_pairwise(scene.group, &scene.for_bob()).await.done::<PairwiseAccepted>();
    assert_eq!(silent.ciphertexts().await, [None]);
}

#[tokio::test]
async fn members_come_and_go_by_request_and_see_what_is_sent_in_between() {
    let scene = Scene::set().await;
    let Scene { hub, alice, bob, phone, group } = &scene;
    let carol = Person::sign_up(hub, "carol").await;
    carol.publish_pairwise(&[1, 2]).await;
    alice.add_to(*group, &[&carol]).await.refused(Code::NotConnected);
    connect(alice, &carol).await;
    connect(bob, &carol).await;
    bob.add_to(*group, &[&carol]).await.refused(Code::ActionDenied);
    let to_bob = |text| other_message_for(&[bob.address(), phone.address()], text);
    alice.send_pairwise(*group, &to_bob("before")).await.done::<PairwiseAccepted>();
    alice.add_to(*group, &[&carol, bob]).await.empty();
    alice.add_to(*group, &[&carol]).await.empty();
    let problem = scene.is_incomplete(alice, &to_bob("without carol")).await;
    assert_eq!(problem.missing, [carol.address()]);
    let to_all = message_for(&[bob.address(), phone.address(), carol.address()]);
    alice.send_pairwise(*group, &to_all).await.done::<PairwiseAccepted>();

    let carols = format!("/v1/conversations/{group}/members/{}", carol.user);
    bob.delete(&carols).await.refused(Code::ActionDenied);
    alice.delete(&carols).await.empty();
    alice.delete(&carols).await.refused(Code::UnknownUser);
    let own = format!("/v1/conversations/{group}/members/{}", alice.user);
    alice.delete(&own).await.refused(Code::LastAdmin);
    alice.send_pairwise(*group, &to_bob("after")).await.done::<PairwiseAccepted>();
    assert_eq!(carol.ciphertexts().await, [Some(ciphertext_for(carol.address()))]);
    carol.send_pairwise(*group, &to_all).await.refused(Code::NoConversation);
}

#[tokio::test]
async fn only_who_may_rename_announces_a_name() {
    let scene = Scene::set().await;
    let Scene { alice, bob, phone, group, .. } = &scene;
    let naming = |devices: &[UserDevice]| PairwiseMessage { announces_name: true, ..message_for(devices) };
    let by_bob = naming(&[alice.address(), phone.address()]);
    bob.send_pairwise(*group, &by_bob).await.refused(Code::ActionDenied);
    let by_alice = naming(&[bob.address(), phone.address()]);
    alice.send_pairwise(*group, &by_alice).await.done::<PairwiseAccepted>();
    let last = bob.events().await.pop().unwrap();
    assert_eq!(serde_json::to_value(&last).unwrap()["announces_name"], true);
}

#[tokio::test]
async fn what_is_too_large_twice_or_empty_is_refused_before_it_is_stored() {
    let scene = Scene::set().await;
    let Scene { hub, alice, bob, group, .. } = &scene;
    let rows = hub.rows();
    let sized = |size| {
        let mut message = scene.for_bob();
        message.ciphertexts[0].ciphertext = Base64(vec![1; size]);
        message
    };
    for size in [0, 64 * 1024 + 1] {
        alice.send_pairwise(*group, &sized(size)).await.refused(Code::BadRequest);
    }
    let twice = message_for(&[bob.address(), bob.address()]);
    alice.send_pairwise(*group, &twice).await.refused(Code::BadRequest);
    let many: Vec<_> = (0..1025).map(|n| UserDevice { device: DeviceId::new(n), ..bob.address() }).collect();
    alice.send_pairwise(*group, &message_for(&many)).await.refused(Code::BadRequest);
    assert_eq!(hub.rows(), rows);
    alice.send_pairwise(*group, &sized(64 * 1024)).await.done::<PairwiseAccepted>();
    let path = format!("/v1/conversations/{group}/pairwise-messages");
    let huge = alice.request(reqwest::Method::POST, &path).header("content-type", "application/json");
    alice.answer(huge.body(vec![b' '; 8 * 1024 * 1024 + 1])).await.refused(Code::PayloadTooLarge);
}
