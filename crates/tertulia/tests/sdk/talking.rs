//! People talk: through a real hub, with real homes.

use crate::support::{Hub, connect, group, handle, read, texts, three_friends};
use futures::StreamExt as _;
use tertulia::{Client, ClientEvent, ConnectionStatus, ConversationType, Error, MessageQuery};

#[tokio::test]
async fn two_people_connect_and_talk() {
    let hub = Hub::start().await;
    let (alice, bob) = (hub.sign_up("alice").await, hub.sign_up("bob").await);
    alice.connect(&handle("bob")).await.expect("asks");
    let early = alice.find("@bob").await.expect("the 1:1 is there");
    let refused = alice.send(early, "Too early?").await.expect_err("nobody accepted yet");
    assert_eq!(refused.code(), "not-connected");
    let one_to_one = connect(&alice, &bob).await;
    assert_eq!(one_to_one, early);

    let sent = alice.send(one_to_one, "Shall we meet again?").await.expect("sends");
    assert_eq!(read(&bob, one_to_one).await, ["Shall we meet again?"]);
    bob.send(one_to_one, "Friday, as ever.").await.expect("answers");
    assert_eq!(read(&alice, one_to_one).await, ["Shall we meet again?", "Friday, as ever."]);

    let seen = bob.messages(one_to_one, MessageQuery::default()).await.expect("readable");
    assert_eq!((seen[0].sequence, seen[0].sent_at), (sent.sequence, sent.sent_at));
    assert_eq!(seen[0].from, Some(handle("alice")));
    let conversation = alice.conversation(one_to_one).await.expect("there");
    assert_eq!((conversation.kind, conversation.name.as_deref()), (ConversationType::OneToOne, Some("@bob")));
}

#[tokio::test]
async fn the_longest_text_that_is_taken_passes_the_hub_and_one_byte_more_is_refused_here() {
    let (_hub, [alice, bob, _]) = three_friends().await;
    let table = group(&alice, &"a long name ".repeat(20), &[&bob]).await;
    let refused = alice.send(table.id, &"x".repeat(1 << 20)).await.expect_err("too long");
    let Error::TextTooLong { max, .. } = refused else { panic!("{refused}") };
    let longest = "x".repeat(max);
    alice.send(table.id, &longest).await.expect("passes");
    assert_eq!(read(&bob, table.id).await, [longest]);
    assert_eq!(
        alice.send(table.id, &"x".repeat(max + 1)).await.expect_err("too long").code(),
        "text-too-long"
    );
}

#[tokio::test]
async fn what_somebody_said_before_they_were_removed_is_read_by_who_removed_them() {
    let (_hub, [alice, bob, carol]) = three_friends().await;
    let table = group(&alice, "Friday table", &[&bob, &carol]).await;
    bob.sync().await.expect("joins");
    alice.sync().await.expect("syncs");
    bob.send(table.id, "A last word.").await.expect("sends");
    // Her home has not taken it yet, and the hub has it before her commit.
    alice.remove_members(table.id, &[handle("bob")]).await.expect("removes");
    assert_eq!(read(&alice, table.id).await, ["A last word."]);
    assert_eq!(read(&carol, table.id).await, ["A last word."]);
}

#[tokio::test]
async fn a_group_is_named_changed_and_left() {
    let (_hub, [alice, bob, carol]) = three_friends().await;
    let table = group(&alice, "Friday table", &[&bob]).await;
    assert_eq!(bob.find("Friday table").await.expect("by its name"), table.id);

    alice.send(table.id, "before carol").await.expect("sends");
    alice.add_members(table.id, &[handle("carol")]).await.expect("adds");
    alice.send(table.id, "after carol").await.expect("sends");
    assert_eq!(read(&carol, table.id).await, ["after carol"]);
    assert_eq!(carol.conversation(table.id).await.expect("there").name.as_deref(), Some("Friday table"));

    let denied = bob.rename(table.id, "Bob's table").await.expect_err("bob is no admin");
    assert_eq!(denied.code(), "action-denied");
    alice.rename(table.id, "Saturday table").await.expect("renames");
    bob.sync().await.expect("syncs");
    assert_eq!(bob.conversation(table.id).await.expect("there").name.as_deref(), Some("Saturday table"));

    let last = alice.leave(table.id, None).await.expect_err("nobody else is admin");
    assert_eq!(last.code(), "last-admin");
    alice.set_role(table.id, &handle("bob"), "admin").await.expect("bob becomes admin");
    alice.leave(table.id, None).await.expect("leaves");
    assert_eq!(alice.send(table.id, "Am I here?").await.expect_err("no").code(), "no-conversation");
    bob.sync().await.expect("commits the removal");
    bob.send(table.id, "without alice").await.expect("sends");
    assert_eq!(read(&carol, table.id).await, ["after carol", "without alice"]);
    assert_eq!(read(&alice, table.id).await, ["before carol", "after carol"]);
    let members = carol.conversation(table.id).await.expect("there").members;
    let handles: Vec<_> = members.into_iter().map(|member| member.handle).collect();
    assert_eq!(handles, [Some(handle("bob")), Some(handle("carol"))]);
}

/// What another device of the user has done, and what the other user has asked, may be news to the one that unblocks.
#[tokio::test]
async fn to_unblock_takes_back_a_block_wherever_it_was_made_and_accepts_no_request() {
    let hub = Hub::start().await;
    let (alice, bob, carol) =
        (hub.sign_up("alice").await, hub.sign_up("bob").await, hub.sign_up("carol").await);
    let tablet = hub.log_in("alice", "tablet").await;
    let status = async |client: &Client, other: &Client| {
        client.sync().await.expect("syncs");
        let connections = client.connections().await.expect("readable");
        connections.iter().find(|row| row.user == other.me().user).map(|row| row.status)
    };
    let nothing = alice.unblock(&handle("bob")).await.expect_err("there is nothing between them");
    assert_eq!(nothing.code(), "not-connected");

    // Bob asks, and no device of Alice's has heard of it.
    bob.connect(&handle("alice")).await.expect("asks");
    let row = tablet.unblock(&handle("bob")).await.expect("nothing is blocked");
    assert_eq!(row.status, ConnectionStatus::Pending);
    for device in [&alice, &tablet] {
        assert_eq!(status(device, &bob).await, Some(ConnectionStatus::Pending));
    }
    assert_eq!(status(&bob, &alice).await, Some(ConnectionStatus::Sent), "she has accepted nothing");

    // She blocks Carol on one device, and takes it back on the other.
    connect(&alice, &carol).await;
    assert_eq!(status(&tablet, &carol).await, Some(ConnectionStatus::Accepted));
    alice.block(&handle("carol")).await.expect("blocks");
    let row = tablet.unblock(&handle("carol")).await.expect("unblocks");
    assert_eq!(row.status, ConnectionStatus::Accepted);
    for device in [&alice, &tablet] {
        assert_eq!(status(device, &carol).await, Some(ConnectionStatus::Accepted));
    }
}

#[tokio::test]
async fn who_is_removed_reads_nothing_that_comes_later() {
    let (_hub, [alice, bob, carol]) = three_friends().await;
    let table = group(&alice, "Friday table", &[&bob, &carol]).await;
    alice.send(table.id, "all of us").await.expect("sends");
    alice.remove_members(table.id, &[handle("carol")]).await.expect("removes");
    alice.send(table.id, "the two of us").await.expect("sends");
    assert_eq!(read(&bob, table.id).await, ["all of us", "the two of us"]);
    assert_eq!(read(&carol, table.id).await, ["all of us"]);
    assert!(!carol.conversation(table.id).await.expect("still there").active);
    assert_eq!(carol.send(table.id, "Hello?").await.expect_err("no").code(), "no-conversation");

    alice.add_members(table.id, &[handle("carol")]).await.expect("adds her again");
    alice.send(table.id, "all of us again").await.expect("sends");
    assert_eq!(read(&carol, table.id).await, ["all of us", "all of us again"]);
}

#[tokio::test]
async fn a_further_device_joins_everything_and_talks() {
    let hub = Hub::start().await;
    let (alice, bob) = (hub.sign_up("alice").await, hub.sign_up("bob").await);
    let one_to_one = connect(&alice, &bob).await;
    let table = group(&alice, "Friday table", &[&bob]).await;
    alice.send(one_to_one, "only for the first device").await.expect("sends");

    let tablet = hub.log_in("bob", "bob-tablet").await;
    alice.sync().await.expect("sees the tablet");
    alice.send(one_to_one, "for both").await.expect("sends");
    alice.send(table.id, "in the group").await.expect("sends");
    assert_eq!(read(&tablet, one_to_one).await, ["for both"]);
    assert_eq!(read(&tablet, table.id).await, ["in the group"]);
    assert_eq!(tablet.find("Friday table").await.expect("it learned the name"), table.id);
    tablet.send(table.id, "from the tablet").await.expect("sends");
    for client in [&alice, &bob] {
        assert_eq!(read(client, table.id).await.last().expect("something"), "from the tablet");
    }
    assert_eq!(read(&bob, one_to_one).await, ["only for the first device", "for both"]);
    assert_eq!(bob.devices().await.expect("asks").len(), 2);
}

#[tokio::test]
async fn a_blocked_person_notices_nothing_and_is_heard_again_later() {
    let hub = Hub::start().await;
    let (alice, bob) = (hub.sign_up("alice").await, hub.sign_up("bob").await);
    let one_to_one = connect(&alice, &bob).await;
    alice.send(one_to_one, "hello").await.expect("sends");
    assert_eq!(read(&bob, one_to_one).await, ["hello"]);

    alice.block(&handle("bob")).await.expect("blocks");
    bob.send(one_to_one, "are you there?").await.expect("nothing tells bob");
    assert_eq!(read(&alice, one_to_one).await, ["hello"]);
    assert_eq!(alice.send(one_to_one, "no").await.expect_err("blocked").code(), "not-connected");

    alice.unblock(&handle("bob")).await.expect("unblocks");
    alice.sync().await.expect("joins again");
    bob.sync().await.expect("sees that she did");
    bob.send(one_to_one, "and now?").await.expect("sends");
    assert_eq!(read(&alice, one_to_one).await, ["hello", "and now?"]);
    alice.send(one_to_one, "yes").await.expect("sends");
    assert_eq!(read(&bob, one_to_one).await.last().expect("something"), "yes");
}

#[tokio::test]
async fn requests_are_ignored_cancelled_and_answered_late() {
    let hub = Hub::start().await;
    let (alice, bob) = (hub.sign_up("alice").await, hub.sign_up("bob").await);
    alice.connect(&handle("bob")).await.expect("asks");
    bob.ignore(&handle("alice")).await.expect("ignores");
    alice.sync().await.expect("syncs");
    assert_eq!(alice.connections().await.expect("there")[0].status.to_string(), "sent");
    alice.cancel(&handle("bob")).await.expect("cancels");
    assert_eq!(bob.accept(&handle("alice")).await.expect_err("gone").code(), "bad-connection-update");
    bob.connect(&handle("alice")).await.expect("asks the other way round");
    alice.sync().await.expect("syncs");
    alice.accept(&handle("bob")).await.expect("accepts");
    bob.sync().await.expect("syncs");
    let one_to_one = bob.find("@alice").await.expect("there");
    bob.send(one_to_one, "at last").await.expect("sends");
    assert_eq!(read(&alice, one_to_one).await, ["at last"]);
}

#[tokio::test]
async fn what_is_sent_while_the_hub_is_away_is_queued_and_arrives_once() {
    let mut hub = Hub::start().await;
    let (alice, bob) = (hub.sign_up("alice").await, hub.sign_up("bob").await);
    let one_to_one = connect(&alice, &bob).await;
    alice.send(one_to_one, "first").await.expect("sends");
    hub.stop().await;
    let queued = alice.send(one_to_one, "second").await.expect_err("the hub is away");
    assert!(matches!(&queued, Error::Queued { cause } if cause.code() == "hub-unreachable"), "{queued}");
    alice.queue(one_to_one, "third").await.expect("needs no hub");
    drop(alice);
    hub.restart().await;
    // A fresh process of the same home sends what the other left.
    let alice = Client::builder(hub.home("alice")).open().await.expect("opens");
    assert_eq!(alice.sync().await.expect("syncs").sent, 2);
    assert_eq!(read(&bob, one_to_one).await, ["first", "second", "third"]);
    assert_eq!(read(&alice, one_to_one).await, ["first", "second", "third"]);
}

#[tokio::test]
async fn the_stream_of_events_tells_each_message_once() {
    let mut hub = Hub::start().await;
    let (alice, bob) = (hub.sign_up("alice").await, hub.sign_up("bob").await);
    let one_to_one = connect(&alice, &bob).await;
    alice.send(one_to_one, "before the stream").await.expect("sends");
    let mut events =
        Box::pin(bob.events().filter_map(async |event| match event.expect("the stream goes on") {
            ClientEvent::Message(message) => Some(message.text),
            _ => None,
        }));
    assert_eq!(events.next().await.expect("told"), "before the stream");
    alice.send(one_to_one, "live").await.expect("sends");
    assert_eq!(events.next().await.expect("told"), "live");

    // What another process of the same home takes from the hub is told here as well.
    alice.send(one_to_one, "taken by another").await.expect("sends");
    let other = Client::builder(hub.home("bob")).open().await.expect("opens");
    other.sync().await.expect("syncs");
    assert_eq!(events.next().await.expect("told"), "taken by another");

    hub.stop().await;
    hub.restart().await;
    alice.send(one_to_one, "after a restart").await.expect("sends");
    assert_eq!(events.next().await.expect("told"), "after a restart");
    bob.send(one_to_one, "own words too").await.expect("sends");
    assert_eq!(events.next().await.expect("told"), "own words too");
    assert_eq!(texts(&bob, one_to_one).await.len(), 5);
}

#[tokio::test]
async fn a_home_belongs_to_one_account() {
    let hub = Hub::start().await;
    hub.sign_up("alice").await;
    let again = Client::builder(hub.home("alice")).sign_up(&hub.url, "alia", crate::support::PASSWORD).await;
    assert_eq!(again.expect_err("alice lives here").code(), "home-in-use");
    let empty = Client::builder(hub.home("nobody")).open().await;
    assert_eq!(empty.expect_err("nobody lives here").code(), "not-signed-in");
    let taken = Client::builder(hub.home("other")).sign_up(&hub.url, "alice", crate::support::PASSWORD).await;
    assert_eq!(taken.expect_err("the handle is taken").code(), "handle-taken");
    let wrong = Client::builder(hub.home("other")).log_in(&hub.url, "alice", "wrong horse battery").await;
    assert_eq!(wrong.expect_err("the password is wrong").code(), "invalid-credentials");
    hub.log_in("alice", "other").await;
}
