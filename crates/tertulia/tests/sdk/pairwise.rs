//! Conversations whose messages go from device to device.

use crate::support::{Hub, LossyNetwork, PASSWORD, connect, handle, read, texts};
use tertulia::{
    Client, Conversation, ConversationId, Error, ErrorKind, Handle, MessageQuery, Protocol, Suspicion,
};

/// Alice, Bob and Carol, of whom each is connected with Alice.
async fn three(hub: &Hub) -> [Client; 3] {
    let [alice, bob, carol] =
        [hub.sign_up("alice").await, hub.sign_up("bob").await, hub.sign_up("carol").await];
    connect(&alice, &bob).await;
    connect(&alice, &carol).await;
    [alice, bob, carol]
}

/// A pairwise group of `admin` with `members`, all of whom have seen it.
async fn pairwise(admin: &Client, members: &[&Client]) -> ConversationId {
    let handles: Vec<Handle> = members.iter().map(|member| member.me().handle.clone()).collect();
    let group = admin.create_group_with("tertulia", &handles, Protocol::Pairwise).await.expect("a group");
    assert_eq!(group.protocol, Protocol::Pairwise);
    for member in members {
        let report = member.sync().await.expect("joins");
        assert_eq!(report.undecryptable, 0);
    }
    group.id
}

async fn described(client: &Client, id: ConversationId) -> Conversation {
    client.sync().await.expect("syncs");
    client.conversation(id).await.expect("there")
}

#[tokio::test]
async fn three_people_with_four_devices_talk_pairwise() {
    let hub = Hub::start().await;
    let [alice, bob, carol] = three(&hub).await;
    let phone = hub.log_in("bob", "bobs-phone").await;
    let group = pairwise(&alice, &[&bob, &carol, &phone]).await;
    let everybody = [&alice, &bob, &carol, &phone];
    let mut said = Vec::new();
    for (turn, speaker) in everybody.into_iter().cycle().take(9).enumerate() {
        let text = format!("{turn} by {}", speaker.me().handle);
        speaker.send(group, &text).await.expect("sends");
        said.push(text);
        if turn % 2 == 0 {
            for device in everybody {
                let report = device.sync().await.expect("syncs");
                assert_eq!(report.undecryptable, 0);
            }
        }
    }
    for device in everybody {
        assert_eq!(read(device, group).await, said);
        assert_eq!(described(device, group).await.name.as_deref(), Some("tertulia"));
    }
    let messages = carol.messages(group, MessageQuery::default()).await.expect("readable");
    assert_eq!(messages[1].from, Some(handle("bob")));
    assert_eq!((messages[3].user, messages[3].device), (phone.me().user, phone.me().device));
}

#[tokio::test]
async fn published_keys_are_filled_up_when_they_were_used() {
    let hub = Hub::start().await;
    let [alice, bob, _carol] = three(&hub).await;
    let keys = |of: &Client| {
        let user = of.me().user.as_uuid().simple();
        hub.database(&format!("SELECT count(*) FROM pairwise_keys WHERE hex(user_id) = upper('{user}')"))
    };
    assert_eq!((keys(&alice), keys(&bob)), (50, 50));
    let group = pairwise(&alice, &[&bob]).await;
    assert_eq!((keys(&alice), keys(&bob)), (50, 49), "enough for a while");
    // Others have used most of them.
    hub.database("DELETE FROM pairwise_keys WHERE id > 10");
    bob.send(group, "on the session that there is").await.expect("sends");
    bob.sync().await.expect("syncs");
    assert_eq!(keys(&bob), 10, "nothing tells of it yet");
    let phone = hub.log_in("alice", "alices-phone").await;
    phone.send(group, "on a session of its own").await.expect("sends");
    bob.sync().await.expect("syncs");
    assert_eq!(keys(&bob), 50);
    assert_eq!(read(&bob, group).await, ["on the session that there is", "on a session of its own"]);
}

#[tokio::test]
async fn both_ends_may_begin_at_once() {
    let hub = Hub::start().await;
    let [alice, bob, carol] = three(&hub).await;
    let group = pairwise(&alice, &[&bob, &carol]).await;
    // Neither has heard of the other, although both have of Alice.
    bob.send(group, "from bob").await.expect("sends");
    carol.send(group, "from carol").await.expect("sends");
    for device in [&alice, &bob, &carol] {
        assert_eq!(read(device, group).await, ["from bob", "from carol"]);
    }
    carol.send(group, "and on").await.expect("sends");
    bob.send(group, "and on, too").await.expect("sends");
    for device in [&alice, &bob, &carol] {
        assert_eq!(read(device, group).await, ["from bob", "from carol", "and on", "and on, too"]);
    }
}

#[tokio::test]
async fn a_device_that_is_added_between_gets_what_is_sent_from_then_on() {
    let hub = Hub::start().await;
    let [alice, bob, carol] = three(&hub).await;
    let group = pairwise(&alice, &[&bob, &carol]).await;
    alice.send(group, "before").await.expect("sends");
    let phone = hub.log_in("bob", "bobs-phone").await;
    // Alice learns of it by the hub's answer, and sends to it of her own accord.
    alice.send(group, "after").await.expect("sends");
    assert_eq!(read(&phone, group).await, ["after"]);
    assert_eq!(read(&bob, group).await, ["before", "after"]);
    phone.send(group, "from the phone").await.expect("sends");
    for device in [&alice, &bob, &carol] {
        assert_eq!(read(device, group).await, ["before", "after", "from the phone"]);
    }
}

#[tokio::test]
async fn members_come_and_go_and_whoever_is_gone_reads_nothing_more() {
    let hub = Hub::start().await;
    let [alice, bob, carol] = three(&hub).await;
    let group = pairwise(&alice, &[&bob]).await;
    alice.send(group, "without carol").await.expect("sends");
    alice.add_members(group, &[handle("carol")]).await.expect("adds");
    alice.send(group, "with carol").await.expect("sends");
    assert_eq!(read(&carol, group).await, ["with carol"]);
    assert_eq!(described(&carol, group).await.name.as_deref(), Some("tertulia"));
    bob.sync().await.expect("sees carol");
    let refused = bob.remove_members(group, &[handle("carol")]).await.expect_err("not an admin");
    assert_eq!(refused.code(), "action-denied");
    alice.remove_members(group, &[handle("carol")]).await.expect("removes");
    alice.send(group, "without carol again").await.expect("sends");
    assert_eq!(read(&carol, group).await, ["with carol"]);
    assert!(!described(&carol, group).await.active);
    assert_eq!(read(&bob, group).await, ["without carol", "with carol", "without carol again"]);
    let refused = bob.rename(group, "bob's").await.expect_err("not an admin");
    assert_eq!(refused.code(), "action-denied");
    alice.rename(group, "ours").await.expect("renames");
    assert_eq!(described(&bob, group).await.name.as_deref(), Some("ours"));
}

#[tokio::test]
async fn a_message_whose_sending_a_restart_interrupts_arrives_once() {
    let hub = Hub::start().await;
    let network = LossyNetwork::before(&hub, "pairwise-messages").await;
    let bob = hub.sign_up("bob").await;
    let alice = Client::builder(hub.home("alice"));
    let alice = alice.sign_up(&network.url, "alice", PASSWORD).await.expect("signs up");
    connect(&alice, &bob).await;
    let group = pairwise(&alice, &[&bob]).await;
    alice.send(group, "first").await.expect("sends");

    // Encrypted, and kept with the keys that it has used, but not sent.
    network.lose_requests(true);
    let queued = alice.send(group, "interrupted").await.expect_err("nothing gets through");
    assert!(matches!(queued, Error::Queued { .. }), "{queued}");
    drop(alice);
    let alice = Client::builder(hub.home("alice")).open().await.expect("opens");
    network.lose_requests(false);
    // Sent, but the answer is lost; and a device comes in between.
    network.lose(1);
    alice.sync().await.expect_err("the answer is lost");
    assert!(network.has_lost_all());
    drop(alice);
    let alice = Client::builder(hub.home("alice")).open().await.expect("opens");
    let phone = hub.log_in("bob", "bobs-phone").await;
    assert_eq!(alice.sync().await.expect("syncs").sent, 1);
    alice.send(group, "last").await.expect("sends");
    assert_eq!(read(&alice, group).await, ["first", "interrupted", "last"]);
    assert_eq!(read(&bob, group).await, ["first", "interrupted", "last"]);
    assert_eq!(read(&phone, group).await, ["last"]);
}

#[tokio::test]
async fn a_conversation_is_migrated_and_its_history_is_still_there() {
    let hub = Hub::start().await;
    let [alice, bob, carol] = three(&hub).await;
    let group = pairwise(&alice, &[&bob, &carol]).await;
    let mut said = vec!["one".to_owned(), "two".to_owned()];
    alice.send(group, "one").await.expect("sends");
    bob.send(group, "two").await.expect("sends");

    let refused = bob.migrate(group).await.expect_err("not an admin");
    assert_eq!((refused.code(), refused.kind()), ("action-denied", ErrorKind::Misuse));
    assert_eq!(alice.migrate(group).await.expect("migrates").protocol, Protocol::Mls);
    assert_eq!(alice.migrate(group).await.expect("nothing to do").protocol, Protocol::Mls);
    for (device, text) in [(&carol, "three"), (&alice, "four"), (&bob, "five")] {
        device.sync().await.expect("joins");
        device.send(group, text).await.expect("sends");
        said.push(text.to_owned());
    }
    for device in [&alice, &bob, &carol] {
        assert_eq!(read(device, group).await, said);
        let conversation = described(device, group).await;
        assert_eq!((conversation.protocol, conversation.name.as_deref()), (Protocol::Mls, Some("tertulia")));
    }
    // From now on it is as any other: whoever comes reads what is sent from then on.
    let phone = hub.log_in("carol", "carols-phone").await;
    alice.sync().await.expect("sees the phone");
    alice.send(group, "six").await.expect("sends");
    assert_eq!(read(&phone, group).await, ["six"]);
}

#[tokio::test]
async fn roles_go_along_and_whoever_leaves_names_a_successor_before_and_after() {
    let hub = Hub::start().await;
    let [alice, bob, carol] = three(&hub).await;
    let group = pairwise(&alice, &[&bob, &carol]).await;
    let refused = alice.leave(group, None).await.expect_err("the last admin");
    assert_eq!(refused.code(), "last-admin");
    alice.set_role(group, &handle("bob"), "admin").await.expect("promotes");
    bob.sync().await.expect("hears of it");
    // Not the one who made the conversation makes the group.
    bob.migrate(group).await.expect("migrates");
    for device in [&alice, &carol] {
        let members = described(device, group).await.members;
        let roles: Vec<_> = members
            .iter()
            .map(|m| (m.handle.as_ref().map_or("?", Handle::as_str), m.role.as_str()))
            .collect();
        assert_eq!(roles, [("alice", "admin"), ("bob", "admin"), ("carol", "member")]);
    }
    alice.rename(group, "by alice").await.expect("still an admin");
    assert_eq!(described(&carol, group).await.name.as_deref(), Some("by alice"));
    let refused = carol.rename(group, "by carol").await.expect_err("still none");
    assert_eq!(refused.code(), "action-denied");
    let attic = pairwise(&alice, &[&carol]).await;
    alice.leave(attic, Some(&handle("carol"))).await.expect("leaves");
    carol.sync().await.expect("is admin now");
    carol.rename(attic, "mine").await.expect("renames");
}

#[tokio::test]
async fn a_migration_goes_on_where_it_was_interrupted() {
    for (path, losses) in [("/protocol", 1), ("/protocol", 2), ("/commits", 1)] {
        let hub = Hub::start().await;
        let network = LossyNetwork::before(&hub, path).await;
        let bob = hub.sign_up("bob").await;
        let alice = Client::builder(hub.home("alice"));
        let alice = alice.sign_up(&network.url, "alice", PASSWORD).await.expect("signs up");
        connect(&alice, &bob).await;
        let group = pairwise(&alice, &[&bob]).await;
        alice.send(group, "history").await.expect("sends");
        let mut alice = alice;
        network.lose(losses);
        for _ in 0..=losses {
            if alice.migrate(group).await.is_ok() {
                break;
            }
            // The process ends, and another one begins.
            drop(alice);
            alice = Client::builder(hub.home("alice")).open().await.expect("opens");
        }
        assert!(network.has_lost_all(), "{path}");
        assert_eq!(alice.migrate(group).await.expect("it is done").protocol, Protocol::Mls, "{path}");
        alice.send(group, "on MLS").await.expect("sends");
        assert_eq!(read(&bob, group).await, ["history", "on MLS"], "{path}");
        bob.send(group, "indeed").await.expect("sends");
        assert_eq!(read(&alice, group).await, ["history", "on MLS", "indeed"], "{path}");
    }
}

#[tokio::test]
async fn while_a_migration_is_under_way_messages_go_pairwise_and_what_waits_for_it_goes_by_mls() {
    let hub = Hub::start().await;
    let network = LossyNetwork::before(&hub, "pairwise-messages").await;
    let alice = hub.sign_up("alice").await;
    let bob = Client::builder(hub.home("bob"));
    let bob = bob.sign_up(&network.url, "bob", PASSWORD).await.expect("signs up");
    connect(&alice, &bob).await;
    let group = pairwise(&alice, &[&bob]).await;
    bob.send(group, "pairwise").await.expect("sends");
    // Encrypted pairwise, and then the conversation moves on.
    network.lose_requests(true);
    bob.send(group, "too late").await.expect_err("nothing gets through");
    alice.migrate(group).await.expect("migrates");
    network.lose_requests(false);
    assert_eq!(bob.sync().await.expect("syncs").sent, 1);
    assert_eq!(read(&alice, group).await, ["pairwise", "too late"]);
    assert_eq!(texts(&bob, group).await, ["pairwise", "too late"]);
}

#[tokio::test]
async fn a_device_that_comes_during_a_migration_is_taken_along() {
    let hub = Hub::start().await;
    let network = LossyNetwork::before(&hub, "/protocol").await;
    let bob = hub.sign_up("bob").await;
    let alice = Client::builder(hub.home("alice"));
    let alice = alice.sign_up(&network.url, "alice", PASSWORD).await.expect("signs up");
    connect(&alice, &bob).await;
    let group = pairwise(&alice, &[&bob]).await;
    network.lose(2);
    alice.migrate(group).await.expect_err("the first answer is lost");
    alice.migrate(group).await.expect_err("so is the second");
    let phone = hub.log_in("bob", "bobs-phone").await;
    assert_eq!(alice.migrate(group).await.expect("migrates").protocol, Protocol::Mls);
    alice.send(group, "all here").await.expect("sends");
    for device in [&bob, &phone] {
        assert_eq!(read(device, group).await, ["all here"]);
    }
}

/// The policy that the members have signed counts, with its order, and not the one that could be made of what the hub says.
#[tokio::test]
async fn a_group_that_is_begun_anew_during_a_migration_is_begun_by_any_admin() {
    let hub = Hub::start().await;
    let [alice, bob, carol] = three(&hub).await;
    // Bob's requests to finish never arrive: it stays mixed.
    let network = LossyNetwork::before(&hub, "/protocol").await;
    let dave = Client::builder(hub.home("dave"));
    let dave = dave.sign_up(&network.url, "dave", PASSWORD).await.expect("signs up");
    for other in [&alice, &bob, &carol] {
        connect(&dave, other).await;
    }
    connect(&bob, &carol).await;
    let group = pairwise(&dave, &[&alice, &bob]).await;
    dave.set_role(group, &handle("bob"), "admin").await.expect("promotes");
    network.spare(1);
    network.lose_requests(true);
    dave.migrate(group).await.expect_err("it cannot be finished");
    for device in [&alice, &bob] {
        device.sync().await.expect("syncs");
        assert_eq!(described(device, group).await.protocol, Protocol::Mixed);
    }
    // Who comes now is behind the others, whatever their id is.
    bob.add_members(group, &[handle("carol")]).await.expect("adds");
    carol.sync().await.expect("syncs");
    let order: Vec<_> = described(&bob, group).await.members.iter().map(|member| member.user).collect();
    bob.reset_group(group).await.expect("resets");
    network.lose_requests(false);
    for device in [&alice, &carol, &dave] {
        device.sync().await.expect("is in the new one");
    }
    assert_eq!(bob.migrate(group).await.expect("migrates").protocol, Protocol::Mls);
    for device in [&alice, &bob, &carol, &dave] {
        device.sync().await.expect("syncs");
        let members = described(device, group).await.members;
        assert_eq!(members.iter().map(|member| member.user).collect::<Vec<_>>(), order);
        device.send(group, "here").await.expect("sends");
        assert!(device.suspicions().await.expect("readable").iter().all(|noticed| {
            !matches!(noticed.suspicion, Suspicion::ForbiddenCommit { .. } | Suspicion::ForbiddenGroup { .. })
        }));
    }
    assert_eq!(read(&carol, group).await, ["here"; 4]);
}

#[tokio::test]
async fn a_text_is_only_as_long_as_a_ciphertext_for_each_device_may_be() {
    let hub = Hub::start().await;
    let [alice, bob, _] = three(&hub).await;
    let group = pairwise(&alice, &[&bob]).await;
    let longest = "x".repeat(44 * 1024);
    alice.send(group, &longest).await.expect("fits");
    let refused = alice.send(group, &"x".repeat(46 * 1024)).await.expect_err("does not fit");
    assert!(matches!(refused, Error::TextTooLong { .. }), "{refused}");
    assert_eq!(read(&bob, group).await, [longest]);
}
