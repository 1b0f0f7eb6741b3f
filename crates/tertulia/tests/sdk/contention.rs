//! Several devices at the same moment.

use crate::support::{Hub, connect, group, handle, read, three_friends};
use tertulia::Client;

/// Two devices commit at the same moment, a hundred times: one wins, the other catches up and repeats by itself, and both end in
/// the same epoch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_devices_that_commit_at_once_both_get_their_change() {
    let hub = Hub::start().await;
    let alice = hub.sign_up("alice").await;
    let friends = ["bob", "carol"];
    for friend in friends {
        let friend = hub.sign_up(friend).await;
        connect(&alice, &friend).await;
    }
    let table = group(&alice, "Friday table", &[]).await;
    let tablet = hub.log_in("alice", "alice-tablet").await;
    for round in 0..50 {
        for adding in [true, false] {
            let change = |client: Client, who: &'static str| async move {
                let who = [handle(who)];
                if adding {
                    client.add_members(table.id, &who).await
                } else {
                    client.remove_members(table.id, &who).await
                }
            };
            let (first, second) = tokio::join!(
                tokio::spawn(change(alice.clone(), friends[0])),
                tokio::spawn(change(tablet.clone(), friends[1])),
            );
            for done in [first, second] {
                done.expect("runs").unwrap_or_else(|error| panic!("round {round}, adding {adding}: {error}"));
            }
        }
        alice.sync().await.expect("syncs");
        tablet.sync().await.expect("syncs");
        assert_eq!(
            alice.epoch(table.id).await.expect("in the group"),
            tablet.epoch(table.id).await.expect("in the group"),
            "round {round}"
        );
    }
    let members = tablet.conversation(table.id).await.expect("there").members;
    assert_eq!(members.len(), 1, "all that was added was removed");
    alice.send(table.id, "done").await.expect("sends");
    assert_eq!(read(&tablet, table.id).await, ["done"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_messages_of_four_devices_are_in_one_order_for_all() {
    let (hub, [alice, bob, carol]) = three_friends().await;
    let table = group(&alice, "Friday table", &[&bob, &carol]).await;
    let tablet = hub.log_in("bob", "bob-tablet").await;
    let devices = [alice, bob, carol, tablet];
    for device in &devices {
        device.sync().await.expect("syncs");
    }
    let sending: Vec<_> = (0..20)
        .map(|number| {
            let device = devices[number % devices.len()].clone();
            tokio::spawn(
                async move { device.send(table.id, &format!("message {number}")).await.expect("sends") },
            )
        })
        .collect();
    for sent in sending {
        sent.await.expect("runs");
    }
    let order = read(&devices[0], table.id).await;
    assert_eq!(order.len(), 20);
    for device in &devices[1..] {
        assert_eq!(read(device, table.id).await, order);
    }
}

/// Both begin the 1:1's group at the same moment; one of the two groups is the conversation's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_first_messages_at_once_meet_in_one_group() {
    let hub = Hub::start().await;
    for round in 0..10 {
        let (a, b) = (hub.sign_up(&format!("a{round}")).await, hub.sign_up(&format!("b{round}")).await);
        let one_to_one = connect(&a, &b).await;
        let (first, second) = tokio::join!(a.send(one_to_one, "you first"), b.send(one_to_one, "no, you"));
        first.and(second).unwrap_or_else(|error| panic!("round {round}: {error}"));
        let order = read(&a, one_to_one).await;
        assert_eq!(order.len(), 2, "round {round}");
        assert_eq!(read(&b, one_to_one).await, order, "round {round}");
    }
}

/// Whoever is in the group by a Welcome that they have not read yet has read everything once they have answered.
#[tokio::test]
async fn who_answers_without_having_read_anything_reads_what_was_said_before() {
    let hub = Hub::start().await;
    let (alice, bob) = (hub.sign_up("alice").await, hub.sign_up("bob").await);
    let one_to_one = connect(&alice, &bob).await;
    alice.send(one_to_one, "you first").await.expect("sends");
    bob.send(one_to_one, "no, you").await.expect("sends");
    assert_eq!(read(&bob, one_to_one).await, ["you first", "no, you"]);
    assert_eq!(read(&alice, one_to_one).await, ["you first", "no, you"]);
}

#[tokio::test]
async fn who_was_added_by_another_admin_meanwhile_is_removed_without_fetching_before() {
    let (hub, [alice, bob, _carol]) = three_friends().await;
    let dave = hub.sign_up("dave").await;
    connect(&bob, &dave).await;
    let table = group(&alice, "table", &[&bob]).await.id;
    alice.set_role(table, &handle("bob"), "admin").await.expect("promotes");
    bob.sync().await.expect("is admin now");
    bob.add_members(table, &[handle("dave")]).await.expect("adds");
    let members = alice.remove_members(table, &[handle("dave")]).await.expect("removes").members;
    assert_eq!(members.len(), 2);
}
