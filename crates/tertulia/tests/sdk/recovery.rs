//! Groups that are begun anew, and devices that heal.

use crate::support::{Hub, connect, group, handle, read, texts, three_friends};
use futures::StreamExt as _;
use std::pin::pin;
use tertulia::{Client, ClientEvent, ConversationId};

async fn same_epoch(clients: &[&Client], conversation: ConversationId) {
    let first = clients[0].epoch(conversation).await.expect("in the group");
    for client in clients {
        assert_eq!(client.epoch(conversation).await.expect("in the group"), first);
    }
}

#[tokio::test]
async fn a_group_that_an_admin_begins_anew_has_the_same_members_and_messages() {
    let hub = Hub::start().await;
    let (alice, bob) = (hub.sign_up("alice").await, hub.sign_up("bob").await);
    connect(&alice, &bob).await;
    let table = group(&alice, "Friday table", &[&bob]).await;
    let tablet = hub.log_in("bob", "tablet").await;
    alice.sync().await.expect("syncs");
    alice.send(table.id, "before").await.expect("sends");
    assert_eq!(read(&tablet, table.id).await, ["before"]);
    let epoch = alice.epoch(table.id).await.expect("in it");

    alice.reset_group(table.id).await.expect("resets");
    assert!(alice.epoch(table.id).await.expect("in it") < epoch, "the epochs begin anew");
    for client in [&bob, &tablet] {
        assert_eq!(client.sync().await.expect("syncs").resets, 1);
    }
    bob.send(table.id, "after").await.expect("sends");
    tablet.sync().await.expect("syncs");
    tablet.send(table.id, "and on").await.expect("sends");
    for client in [&alice, &bob, &tablet] {
        assert_eq!(read(client, table.id).await, ["before", "after", "and on"]);
        let shown = client.conversation(table.id).await.expect("there");
        assert_eq!((shown.name.as_deref(), shown.members.len()), (Some("Friday table"), 2));
    }
    same_epoch(&[&alice, &bob, &tablet], table.id).await;
    // It goes on as any group does.
    let carol = hub.sign_up("carol").await;
    connect(&alice, &carol).await;
    alice.add_members(table.id, &[handle("carol")]).await.expect("adds");
    alice.send(table.id, "welcome").await.expect("sends");
    assert_eq!(read(&carol, table.id).await, ["welcome"]);
}

#[tokio::test]
async fn a_reset_is_told_once_with_who_asked_for_it() {
    let hub = Hub::start().await;
    let (alice, bob) = (hub.sign_up("alice").await, hub.sign_up("bob").await);
    connect(&alice, &bob).await;
    let table = group(&alice, "Friday table", &[&bob]).await;
    // One happens while nobody listens, one while the stream is live.
    alice.reset_group(table.id).await.expect("resets");
    bob.sync().await.expect("syncs");
    let told = |event: ClientEvent| match event {
        ClientEvent::GroupReset { conversation, by, times } => Some((conversation, by, times)),
        _ => None,
    };
    let mut events = pin!(bob.events());
    let mut resets = Vec::new();
    while resets.is_empty() {
        resets.extend(told(events.next().await.expect("goes on").expect("no error")));
    }
    alice.reset_group(table.id).await.expect("resets");
    while resets.len() < 2 {
        resets.extend(told(events.next().await.expect("goes on").expect("no error")));
    }
    let by = Some(alice.me().user);
    assert_eq!(resets, [(table.id, by, 1), (table.id, by, 2)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_the_devices_that_begin_the_new_group_exactly_one_wins_and_the_others_join() {
    let (_hub, [alice, bob, carol]) = three_friends().await;
    let table = group(&alice, "Friday table", &[&bob, &carol]).await;
    alice.set_role(table.id, &handle("bob"), "admin").await.expect("bob is admin");
    for client in [&bob, &carol] {
        client.sync().await.expect("syncs");
    }
    for round in 0..5 {
        // Two ask for it and one more has something to say, all at once.
        let (first, second, third) = tokio::join!(
            tokio::spawn({
                let alice = alice.clone();
                async move { alice.reset_group(table.id).await }
            }),
            tokio::spawn({
                let bob = bob.clone();
                async move { bob.reset_group(table.id).await }
            }),
            tokio::spawn({
                let carol = carol.clone();
                async move { carol.send(table.id, &format!("round {round}")).await }
            }),
        );
        first.expect("runs").unwrap_or_else(|error| panic!("round {round}: {error}"));
        second.expect("runs").unwrap_or_else(|error| panic!("round {round}: {error}"));
        third.expect("runs").unwrap_or_else(|error| panic!("round {round}: {error}"));
        for client in [&alice, &bob, &carol, &alice, &bob, &carol] {
            client.sync().await.unwrap_or_else(|error| panic!("round {round}: {error}"));
        }
        same_epoch(&[&alice, &bob, &carol], table.id).await;
        alice.send(table.id, &format!("after round {round}")).await.expect("sends");
        for client in [&bob, &carol] {
            let last = read(client, table.id).await.pop().expect("something");
            assert_eq!(last, format!("after round {round}"));
        }
    }
}

#[tokio::test]
async fn who_is_in_a_group_before_hearing_of_the_commit_that_made_it_stays_in_it() {
    let hub = Hub::start().await;
    let (alice, bob) = (hub.sign_up("alice").await, hub.sign_up("bob").await);
    let both = connect(&alice, &bob).await;
    alice.send(both, "first").await.expect("makes the group and sends");
    bob.send(both, "second").await.expect("joins the group and sends");
    alice.sync().await.expect("syncs");
    let epoch = alice.epoch(both).await.expect("in it");
    for _ in 0..2 {
        bob.sync().await.expect("hears of the beginning");
        assert_eq!(bob.epoch(both).await.expect("in it"), epoch);
    }
    alice.send(both, "third").await.expect("sends");
    assert_eq!(read(&bob, both).await.last().map(String::as_str), Some("third"));
    assert_eq!(alice.epoch(both).await.expect("in it"), epoch, "nobody had to come back");
}

#[tokio::test]
async fn a_1_to_1_is_begun_anew_by_either_and_a_member_of_a_group_may_not() {
    let hub = Hub::start().await;
    let (alice, bob) = (hub.sign_up("alice").await, hub.sign_up("bob").await);
    let both = connect(&alice, &bob).await;
    alice.send(both, "before").await.expect("sends");
    bob.sync().await.expect("syncs");
    bob.reset_group(both).await.expect("resets");
    alice.send(both, "after").await.expect("sends");
    assert_eq!(read(&bob, both).await, ["before", "after"]);
    let table = group(&alice, "Friday table", &[&bob]).await;
    assert_eq!(bob.reset_group(table.id).await.expect_err("is no admin").code(), "action-denied");
}

#[tokio::test]
async fn what_waited_in_the_outbox_is_encrypted_for_the_new_group() {
    let hub = Hub::start().await;
    let (alice, bob) = (hub.sign_up("alice").await, hub.sign_up("bob").await);
    connect(&alice, &bob).await;
    let table = group(&alice, "Friday table", &[&bob]).await;
    bob.queue(table.id, "written before").await.expect("queues");
    alice.reset_group(table.id).await.expect("resets");
    bob.send(table.id, "written after").await.expect("sends");
    assert_eq!(read(&alice, table.id).await, ["written before", "written after"]);
}

#[tokio::test]
async fn who_comes_back_after_a_reset_is_in_the_new_group() {
    let hub = Hub::start().await;
    let (alice, bob) = (hub.sign_up("alice").await, hub.sign_up("bob").await);
    connect(&alice, &bob).await;
    let table = group(&alice, "Friday table", &[&bob]).await;
    alice.remove_members(table.id, &[handle("bob")]).await.expect("removes");
    bob.sync().await.expect("is out");
    alice.reset_group(table.id).await.expect("resets");
    alice.add_members(table.id, &[handle("bob")]).await.expect("adds");
    alice.send(table.id, "welcome back").await.expect("sends");
    assert_eq!(read(&bob, table.id).await, ["welcome back"]);
    bob.send(table.id, "thanks").await.expect("sends");
    assert_eq!(read(&alice, table.id).await, ["welcome back", "thanks"]);
}

#[tokio::test]
async fn a_reset_ends_the_calls_of_the_group() {
    let hub = Hub::start().await;
    let (alice, bob) = (hub.sign_up("alice").await, hub.sign_up("bob").await);
    connect(&alice, &bob).await;
    let table = group(&alice, "Friday table", &[&bob]).await;
    let [at_alice, at_bob] =
        [&alice, &bob].map(|client| client.sub_conversation(table.id, "call").expect("a name"));
    at_alice.join().await.expect("begins it");
    at_bob.join().await.expect("joins it");
    alice.reset_group(table.id).await.expect("resets");
    bob.sync().await.expect("syncs");
    for sub in [&at_alice, &at_bob] {
        assert!(!sub.is_joined().expect("readable"));
    }
    at_bob.join().await.expect("begins a new one");
    at_alice.join().await.expect("joins it");
    bob.sync().await.expect("syncs");
    assert_eq!(at_alice.members().expect("in it").len(), 2);
    assert_eq!(at_alice.export_secret(32).expect("a key"), at_bob.export_secret(32).expect("a key"));
}

/// A cursor of another hub, or of a version of this one that made others.
#[tokio::test]
async fn a_device_whose_cursor_the_hub_cannot_read_misses_nothing_and_sees_nothing_twice() {
    let hub = Hub::start().await;
    let (alice, bob) = (hub.sign_up("alice").await, hub.sign_up("bob").await);
    connect(&alice, &bob).await;
    let table = group(&alice, "Friday table", &[&bob]).await;
    alice.send(table.id, "before").await.expect("sends");
    assert_eq!(read(&bob, table.id).await, ["before"]);
    let told = bob.suspicions().await.expect("readable").len();
    drop(bob);
    for (cursor, text) in [("p12", "one"), ("p9~p12", "two"), ("AAAA", "three")] {
        hub.tamper("bob", &format!("UPDATE settings SET value = '{cursor}' WHERE name = 'cursor'"));
        alice.send(table.id, text).await.expect("sends");
        let bob = Client::builder(hub.home("bob")).open().await.expect("opens");
        bob.sync().await.expect("goes on");
        bob.send(table.id, text).await.expect("sends");
    }
    let bob = Client::builder(hub.home("bob")).open().await.expect("opens");
    let said = ["before", "one", "one", "two", "two", "three", "three"];
    assert_eq!(read(&bob, table.id).await, said);
    assert_eq!(read(&alice, table.id).await, said);
    assert_eq!(bob.suspicions().await.expect("readable").len(), told, "there is nothing to be told");
    same_epoch(&[&alice, &bob], table.id).await;
}

/// A device whose home is an old copy: its group is epochs behind, and its cursor with it.
#[tokio::test]
async fn a_device_whose_group_is_behind_heals_by_itself() {
    let hub = Hub::start().await;
    let (alice, bob) = (hub.sign_up("alice").await, hub.sign_up("bob").await);
    connect(&alice, &bob).await;
    let table = group(&alice, "Friday table", &[&bob]).await;
    for change in ["one", "two", "three", "four"] {
        let guest = hub.sign_up(change).await;
        connect(&alice, &guest).await;
        alice.add_members(table.id, &[guest.me().handle.clone()]).await.expect("adds");
    }
    // Bob has seen none of it; what he says now is stale, and said again in the present epoch.
    bob.send(table.id, "what did I miss?").await.expect("sends");
    assert_eq!(read(&alice, table.id).await, ["what did I miss?"]);
    same_epoch(&[&alice, &bob], table.id).await;
}

#[tokio::test]
async fn a_device_whose_stored_group_is_damaged_heals_by_itself() {
    let hub = Hub::start().await;
    let (alice, bob) = (hub.sign_up("alice").await, hub.sign_up("bob").await);
    connect(&alice, &bob).await;
    let table = group(&alice, "Friday table", &[&bob]).await;
    alice.send(table.id, "before").await.expect("sends");
    assert_eq!(read(&bob, table.id).await, ["before"]);
    drop(bob);
    hub.tamper("bob", "UPDATE mls_groups SET state = x'00112233'");
    let bob = Client::builder(hub.home("bob")).open().await.expect("opens");
    alice.send(table.id, "while it was damaged").await.expect("sends");
    bob.sync().await.expect("heals");
    same_epoch(&[&bob], table.id).await;
    bob.send(table.id, "here again").await.expect("sends");
    alice.sync().await.expect("sees that bob is in it with new keys");
    alice.send(table.id, "good").await.expect("sends");
    bob.sync().await.expect("syncs");
    let heard = texts(&bob, table.id).await;
    assert_eq!(heard.first().map(String::as_str), Some("before"));
    assert_eq!(heard[heard.len() - 2..], ["here again", "good"]);
    assert_eq!(read(&alice, table.id).await.last().map(String::as_str), Some("good"));
    same_epoch(&[&alice, &bob], table.id).await;
}

#[tokio::test]
async fn a_device_whose_stored_group_is_gone_heals_by_itself() {
    let hub = Hub::start().await;
    let (alice, bob) = (hub.sign_up("alice").await, hub.sign_up("bob").await);
    connect(&alice, &bob).await;
    let table = group(&alice, "Friday table", &[&bob]).await;
    drop(bob);
    hub.tamper("bob", "DELETE FROM mls_groups");
    let bob = Client::builder(hub.home("bob")).open().await.expect("opens");
    bob.sync().await.expect("joins again, with nothing else to do");
    same_epoch(&[&bob], table.id).await;
    bob.send(table.id, "with new keys").await.expect("sends");
    alice.sync().await.expect("syncs");
    alice.send(table.id, "and with them").await.expect("sends");
    assert_eq!(read(&bob, table.id).await, ["with new keys", "and with them"]);
    assert_eq!(read(&alice, table.id).await, ["with new keys", "and with them"]);
    same_epoch(&[&alice, &bob], table.id).await;
}
