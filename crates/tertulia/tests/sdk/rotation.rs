//! Keys that have become old are replaced. The time is the test's own.

use std::time::{Duration, SystemTime};

use crate::support::{Hub, PASSWORD, connect, group, read};
use tertulia::Client;

const DAY: Duration = Duration::from_hours(24);

#[tokio::test]
async fn keys_are_replaced_within_thirty_days_and_not_before_they_are_due() {
    let hub = Hub::start().await;
    let (alice, bob) = (hub.sign_up("alice").await, hub.sign_up("bob").await);
    let one_to_one = connect(&alice, &bob).await;
    let table = group(&alice, "Friday table", &[&bob]).await;
    // A 1:1's group begins with its first message.
    alice.send(one_to_one, "hello").await.expect("sends");
    bob.sync().await.expect("joins both");
    let start = SystemTime::now();
    let epochs = (bob.epoch(one_to_one).await.expect("in it"), bob.epoch(table.id).await.expect("in it"));
    assert_eq!(bob.sync().await.expect("syncs").rotated, 0);
    assert_eq!(bob.rotate_keys(start + 20 * DAY).await.expect("nothing to do"), 0);
    assert_eq!(bob.rotate_keys(start + 31 * DAY).await.expect("rotates"), 2);
    assert_eq!(bob.rotate_keys(start + 31 * DAY).await.expect("nothing to do"), 0);
    assert_eq!(bob.rotate_keys(start + 51 * DAY).await.expect("nothing to do"), 0);
    bob.send(one_to_one, "with new keys").await.expect("sends");
    bob.send(table.id, "here too").await.expect("sends");
    assert_eq!(read(&alice, one_to_one).await, ["hello", "with new keys"]);
    assert_eq!(read(&alice, table.id).await, ["here too"]);
    let after = (alice.epoch(one_to_one).await.expect("in it"), alice.epoch(table.id).await.expect("in it"));
    assert_eq!(after, (epochs.0 + 1, epochs.1 + 1));
}

#[tokio::test]
async fn one_conversation_that_cannot_rotate_does_not_stop_the_others() {
    let hub = Hub::start().await;
    let (alice, bob) = (hub.sign_up("alice").await, hub.sign_up("bob").await);
    let one_to_one = connect(&alice, &bob).await;
    let table = group(&alice, "Friday table", &[&bob]).await;
    // A 1:1's group begins with its first message.
    alice.send(one_to_one, "hello").await.expect("sends");
    bob.sync().await.expect("joins both");
    alice.sync().await.expect("catches up");
    // Bob does not know yet that the group has gone on.
    assert_eq!(alice.rotate_keys(SystemTime::now() + 31 * DAY).await.expect("rotates"), 2);
    bob.send(one_to_one, "catches up by sending").await.expect("sends");
    bob.sync().await.expect("catches up");
    alice.remove_members(table.id, &["bob".parse().expect("a handle")]).await.expect("removes");
    let rotated = bob.rotate_keys(SystemTime::now() + 31 * DAY).await.expect("goes on");
    assert_eq!(rotated, 1, "the 1:1; the table is no longer his to change");
}

#[tokio::test]
async fn an_application_can_leave_keys_as_they_are() {
    let hub = Hub::start().await;
    let alice = hub.sign_up("alice").await;
    let bob = Client::builder(hub.home("bob"))
        .key_rotation(None)
        .sign_up(&hub.url, "bob", PASSWORD)
        .await
        .expect("signs up");
    let one_to_one = connect(&alice, &bob).await;
    bob.send(one_to_one, "hello").await.expect("begins the group");
    assert!(bob.epoch(one_to_one).await.expect("in it") > 0);
    assert_eq!(bob.rotate_keys(SystemTime::now() + 1000 * DAY).await.expect("nothing to do"), 0);
}
