//! Subconversations: who takes part in something.

use crate::support::{Hub, connect, group, handle, read, three_friends};
use tertulia::{Client, DeviceId, SubConversation};

fn devices(sub: &SubConversation) -> Vec<DeviceId> {
    let mut devices: Vec<_> = sub.members().expect("in it").into_iter().map(|member| member.device).collect();
    devices.sort_unstable();
    devices
}

fn those(clients: &[&Client]) -> Vec<DeviceId> {
    let mut devices: Vec<_> = clients.iter().map(|client| client.me().device).collect();
    devices.sort_unstable();
    devices
}

#[tokio::test]
async fn devices_join_a_call_for_themselves_share_a_secret_and_leave() {
    let hub = Hub::start().await;
    let (alice, bob) = (hub.sign_up("alice").await, hub.sign_up("bob").await);
    connect(&alice, &bob).await;
    let table = group(&alice, "Friday table", &[&bob]).await;
    let tablet = hub.log_in("bob", "tablet").await;
    alice.sync().await.expect("sees the tablet");
    let [at_alice, at_bob, at_tablet] =
        [&alice, &bob, &tablet].map(|client| client.sub_conversation(table.id, "call").expect("a name"));
    assert!(at_alice.export_secret(32).is_err(), "nobody is in it");

    at_alice.join().await.expect("begins it");
    at_tablet.join().await.expect("joins it");
    alice.sync().await.expect("syncs");
    assert_eq!(devices(&at_alice), those(&[&alice, &tablet]));
    assert_eq!(devices(&at_tablet), those(&[&alice, &tablet]));
    assert!(!at_bob.is_joined().expect("readable"), "each device joins for itself");
    let secret = at_alice.export_secret(32).expect("a key");
    assert_eq!(secret, at_tablet.export_secret(32).expect("a key"));
    let listed = bob.sub_conversations(table.id).await.expect("listed");
    assert_eq!(listed.iter().map(|listed| listed.sub_conversation.name()).collect::<Vec<_>>(), ["call"]);

    at_bob.join().await.expect("joins it");
    for client in [&alice, &tablet] {
        client.sync().await.expect("syncs");
    }
    let next = at_bob.export_secret(32).expect("a key");
    assert_ne!(next, secret, "who joins gets a key of its own epoch");
    assert_eq!(next, at_alice.export_secret(32).expect("a key"));

    at_tablet.leave().await.expect("leaves");
    assert!(!at_tablet.is_joined().expect("readable"));
    for client in [&alice, &bob, &alice] {
        client.sync().await.expect("carries out what the hub proposed");
    }
    assert_eq!(devices(&at_alice), those(&[&alice, &bob]));
    assert_eq!(at_alice.export_secret(32).expect("a key"), at_bob.export_secret(32).expect("a key"));
    assert_ne!(at_alice.export_secret(32).expect("a key"), next, "who has left does not know it");

    at_alice.leave().await.expect("leaves");
    at_bob.leave().await.expect("leaves as the last");
    assert!(alice.sub_conversations(table.id).await.expect("listed").is_empty());
    at_bob.join().await.expect("begins a new one");
    at_tablet.join().await.expect("joins the new one");
    bob.sync().await.expect("syncs");
    assert_eq!(devices(&at_bob), those(&[&bob, &tablet]));
    alice.send(table.id, "the parent is as it was").await.expect("sends");
    assert_eq!(read(&bob, table.id).await, ["the parent is as it was"]);
}

#[tokio::test]
async fn what_is_said_in_a_call_reaches_those_in_it_and_is_not_listed() {
    let (_hub, [alice, bob, carol]) = three_friends().await;
    let table = group(&alice, "Friday table", &[&bob, &carol]).await;
    let call = alice.sub_conversation(table.id, "call").expect("a name");
    call.join().await.expect("begins it");
    bob.sub_conversation(table.id, "call").expect("a name").join().await.expect("joins it");
    alice.sync().await.expect("syncs");
    alice.send(call.id(), "can you hear me?").await.expect("sends");
    assert_eq!(read(&bob, call.id()).await, ["can you hear me?"]);
    assert!(read(&carol, call.id()).await.is_empty());
    for client in [&alice, &bob, &carol] {
        assert_eq!(
            client.conversations().await.expect("listed").len(),
            2 + usize::from(client.me().user == alice.me().user)
        );
    }
}

#[tokio::test]
async fn who_is_removed_from_the_parent_is_removed_from_the_call() {
    let (_hub, [alice, bob, carol]) = three_friends().await;
    let table = group(&alice, "Friday table", &[&bob, &carol]).await;
    let [at_alice, at_bob, at_carol] =
        [&alice, &bob, &carol].map(|client| client.sub_conversation(table.id, "call").expect("a name"));
    for sub in [&at_alice, &at_bob, &at_carol] {
        sub.join().await.expect("joins");
    }
    for client in [&alice, &bob] {
        client.sync().await.expect("syncs");
    }
    let before = at_carol.export_secret(32).expect("a key");
    alice.remove_members(table.id, &[handle("carol")]).await.expect("removes");
    for client in [&carol, &bob, &alice, &bob] {
        client.sync().await.expect("syncs");
    }
    assert!(!at_carol.is_joined().expect("readable"));
    assert_eq!(devices(&at_alice), those(&[&alice, &bob]));
    let after = at_alice.export_secret(32).expect("a key");
    assert_ne!(after, before);
    assert_eq!(after, at_bob.export_secret(32).expect("a key"));
    at_carol.join().await.expect_err("is no member");
}

#[tokio::test]
async fn an_admin_ends_a_call_for_everybody() {
    let hub = Hub::start().await;
    let (alice, bob) = (hub.sign_up("alice").await, hub.sign_up("bob").await);
    connect(&alice, &bob).await;
    let table = group(&alice, "Friday table", &[&bob]).await;
    let (at_alice, at_bob) = (
        alice.sub_conversation(table.id, "call").expect("a name"),
        bob.sub_conversation(table.id, "call").expect("a name"),
    );
    at_bob.join().await.expect("begins it");
    assert_eq!(at_bob.delete().await.expect_err("bob is no admin").code(), "action-denied");
    at_alice.delete().await.expect("ends it");
    bob.sync().await.expect("hears of it");
    assert!(!at_bob.is_joined().expect("readable"));
    at_alice.join().await.expect("begins anew");
    at_bob.join().await.expect("joins");
    alice.sync().await.expect("syncs");
    assert_eq!(devices(&at_alice), those(&[&alice, &bob]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_devices_that_join_at_once_one_begins_and_the_others_join_it() {
    let (_hub, [alice, bob, carol]) = three_friends().await;
    let table = group(&alice, "Friday table", &[&bob, &carol]).await;
    let clients = [&alice, &bob, &carol];
    let subs = clients.map(|client| client.sub_conversation(table.id, "call").expect("a name"));
    let joined = subs.clone().map(|sub| tokio::spawn(async move { sub.join().await }));
    for joined in joined {
        joined.await.expect("runs").expect("joins");
    }
    for client in clients {
        client.sync().await.expect("syncs");
    }
    for sub in &subs {
        assert_eq!(devices(sub), those(&clients));
        assert_eq!(sub.export_secret(16).expect("a key"), subs[0].export_secret(16).expect("a key"));
    }
}
