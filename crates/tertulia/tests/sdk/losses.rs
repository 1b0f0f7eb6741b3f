//! Lost answers: the hub has done it, and nobody heard so.

use crate::support::{Hub, LossyNetwork, PASSWORD, connect, group, handle, read};
use tertulia::{Client, ErrorKind};

#[tokio::test]
async fn a_group_made_with_a_lost_answer_is_made_once() {
    let hub = Hub::start().await;
    let network = LossyNetwork::before(&hub, "/commits").await;
    let bob = hub.sign_up("bob").await;
    let alice =
        Client::builder(hub.home("alice")).sign_up(&network.url, "alice", PASSWORD).await.expect("signs up");
    let one_to_one = connect(&alice, &bob).await;
    network.lose(1);
    alice.send(one_to_one, "first words").await.expect("sends");
    network.lose(1);
    let table = group(&alice, "Friday table", &[&bob]).await;
    assert!(network.has_lost_all());
    alice.send(table.id, "at the table").await.expect("sends");
    assert_eq!(read(&bob, one_to_one).await, ["first words"]);
    assert_eq!(read(&bob, table.id).await, ["at the table"]);
    assert_eq!(alice.epoch(table.id).await.expect("in it"), bob.epoch(table.id).await.expect("in it"));
    assert_eq!(bob.conversation(table.id).await.expect("there").name.as_deref(), Some("Friday table"));
}

#[tokio::test]
async fn members_added_and_removed_with_lost_answers_are_so_once() {
    let hub = Hub::start().await;
    let network = LossyNetwork::before(&hub, "/commits").await;
    let (bob, carol) = (hub.sign_up("bob").await, hub.sign_up("carol").await);
    let alice =
        Client::builder(hub.home("alice")).sign_up(&network.url, "alice", PASSWORD).await.expect("signs up");
    connect(&alice, &bob).await;
    connect(&alice, &carol).await;
    let table = group(&alice, "Friday table", &[&bob]).await;
    network.lose(1);
    alice.add_members(table.id, &[handle("carol")]).await.expect("adds");
    assert!(network.has_lost_all());
    alice.send(table.id, "three of us").await.expect("sends");
    network.lose(1);
    alice.remove_members(table.id, &[handle("carol")]).await.expect("removes");
    assert!(network.has_lost_all());
    alice.send(table.id, "two of us").await.expect("sends");
    assert_eq!(read(&bob, table.id).await, ["three of us", "two of us"]);
    assert_eq!(read(&carol, table.id).await, ["three of us"]);
}

/// The commit never reached the hub, and when it is sent again the hub wants a proposal in it that came meanwhile.
#[tokio::test]
async fn a_commit_that_was_lost_and_is_then_refused_is_given_up_and_done_anew() {
    let hub = Hub::start().await;
    let network = LossyNetwork::before(&hub, "/commits").await;
    let (bob, carol) = (hub.sign_up("bob").await, hub.sign_up("carol").await);
    let alice =
        Client::builder(hub.home("alice")).sign_up(&network.url, "alice", PASSWORD).await.expect("signs up");
    connect(&alice, &bob).await;
    connect(&alice, &carol).await;
    let table = group(&alice, "Friday table", &[&bob]).await;
    bob.sync().await.expect("is in it");
    network.lose_requests(true);
    let lost = alice.add_members(table.id, &[handle("carol")]).await.expect_err("the hub cannot be reached");
    assert_eq!(lost.kind(), ErrorKind::Transient, "{lost}");
    bob.leave(table.id, None).await.expect("leaves");
    network.lose_requests(false);
    alice.sync().await.expect("finds out");
    alice.add_members(table.id, &[handle("carol")]).await.expect("adds");
    alice.send(table.id, "the two of us").await.expect("sends");
    assert_eq!(read(&carol, table.id).await, ["the two of us"]);
    let members = alice.conversation(table.id).await.expect("there").members;
    assert_eq!(members.len(), 2, "Bob has left");
    assert_eq!(alice.epoch(table.id).await.expect("in it"), carol.epoch(table.id).await.expect("in it"));
}

#[tokio::test]
async fn a_device_that_joins_with_a_lost_answer_is_in_the_group() {
    let hub = Hub::start().await;
    let network = LossyNetwork::before(&hub, "/commits").await;
    let (alice, bob) = (hub.sign_up("alice").await, hub.sign_up("bob").await);
    let one_to_one = connect(&alice, &bob).await;
    alice.send(one_to_one, "before the tablet").await.expect("sends");
    network.lose(1);
    let tablet =
        Client::builder(hub.home("tablet")).log_in(&network.url, "bob", PASSWORD).await.expect("logs in");
    assert!(network.has_lost_all());
    alice.sync().await.expect("sees the tablet");
    alice.send(one_to_one, "for both").await.expect("sends");
    assert_eq!(read(&tablet, one_to_one).await, ["for both"]);
    tablet.send(one_to_one, "from the tablet").await.expect("sends");
    assert_eq!(read(&bob, one_to_one).await.last().expect("something"), "from the tablet");
}

#[tokio::test]
async fn a_message_whose_answer_is_lost_arrives_once() {
    let hub = Hub::start().await;
    let network = LossyNetwork::before(&hub, "/messages").await;
    let bob = hub.sign_up("bob").await;
    let alice =
        Client::builder(hub.home("alice")).sign_up(&network.url, "alice", PASSWORD).await.expect("signs up");
    let one_to_one = connect(&alice, &bob).await;
    alice.send(one_to_one, "one").await.expect("sends");
    network.lose(1);
    let queued = alice.send(one_to_one, "two").await.expect_err("nobody heard of it");
    assert_eq!(queued.code(), "queued");
    alice.sync().await.expect("finds out");
    alice.send(one_to_one, "three").await.expect("sends");
    assert_eq!(read(&bob, one_to_one).await, ["one", "two", "three"]);
    assert_eq!(read(&alice, one_to_one).await, ["one", "two", "three"]);
}

#[tokio::test]
async fn a_text_that_waited_does_not_undo_a_new_name() {
    let hub = Hub::start().await;
    let (alice, bob) = (hub.sign_up("alice").await, hub.sign_up("bob").await);
    connect(&alice, &bob).await;
    let table = group(&alice, "Old table", &[&bob]).await;
    bob.queue(table.id, "written at the old table").await.expect("queues");
    alice.rename(table.id, "New table").await.expect("renames");
    bob.sync().await.expect("syncs");
    alice.sync().await.expect("syncs");
    for client in [&alice, &bob] {
        assert_eq!(client.conversation(table.id).await.expect("there").name.as_deref(), Some("New table"));
    }
}

#[tokio::test]
async fn what_could_not_be_made_leaves_nothing_behind() {
    let hub = Hub::start().await;
    let (alice, carol) = (hub.sign_up("alice").await, hub.sign_up("carol").await);
    connect(&alice, &carol).await;
    carol.block(&handle("alice")).await.expect("blocks");
    let refused =
        alice.create_group("Secret", &[handle("carol")]).await.expect_err("carol is not to be added");
    assert_eq!(refused.code(), "not-connected");
    alice.create_group("Secret", &[]).await.expect("the name is free");
    let found = alice.find("Secret").await.expect("the one that there is");
    assert!(alice.conversation(found).await.expect("there").active);
    let oneself = alice.remove_members(found, &[handle("alice")]).await.expect_err("one leaves");
    assert_eq!(oneself.code(), "leave-instead");
}

#[tokio::test]
async fn what_the_hub_will_never_take_leaves_the_outbox_and_is_counted() {
    let hub = Hub::start().await;
    let (alice, bob) = (hub.sign_up("alice").await, hub.sign_up("bob").await);
    let one_to_one = connect(&alice, &bob).await;
    alice.queue(one_to_one, "written before the block").await.expect("queues");
    alice.block(&handle("bob")).await.expect("blocks");
    assert_eq!(alice.sync().await.expect("syncs").refused, 1);
    assert_eq!(alice.sync().await.expect("syncs").refused, 0);
    assert!(read(&bob, one_to_one).await.is_empty());
}
