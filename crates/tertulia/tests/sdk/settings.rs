//! What is set of conversations: for all members, and by each for themselves.

use crate::support::{Hub, PASSWORD, connect, group, handle, read, texts};
use std::time::{Duration, SystemTime};
use tertulia::{
    AddPermission, Client, Conversation, ConversationId, GroupOptions, MessageQuery, OwnSetting, Protocol,
    ReceiptMode, ReceiptStatus,
};

const MINUTE: Duration = Duration::from_mins(1);

/// Alice, Bob and Carol, of whom each is connected with Alice, and a group of theirs.
async fn table(hub: &Hub) -> ([Client; 3], ConversationId) {
    let [alice, bob, carol] =
        [hub.sign_up("alice").await, hub.sign_up("bob").await, hub.sign_up("carol").await];
    connect(&alice, &bob).await;
    connect(&alice, &carol).await;
    let table = group(&alice, "Friday table", &[&bob, &carol]).await;
    ([alice, bob, carol], table.id)
}

async fn described(client: &Client, id: ConversationId) -> Conversation {
    client.sync().await.expect("syncs");
    client.conversation(id).await.expect("there")
}

/// The number of the last message.
async fn last(client: &Client, id: ConversationId) -> u64 {
    let messages = client.messages(id, MessageQuery::default()).await.expect("readable");
    messages.last().expect("there is one").sequence
}

fn in_an_hour() -> SystemTime {
    SystemTime::now() + 60 * MINUTE
}

/// The messages that a home has of a conversation, shown or not.
fn stored(hub: &Hub, home: &str, id: ConversationId) -> i64 {
    let id = id.as_uuid().simple();
    hub.number(home, &format!("SELECT count(*) FROM messages WHERE hex(conversation) = upper('{id}')"))
}

#[tokio::test]
async fn a_message_is_deleted_for_good_a_while_after_it_was_read() {
    let hub = Hub::start().await;
    let ([alice, bob, carol], table) = table(&hub).await;
    alice.send(table, "for good").await.expect("sends");
    let set = alice.set_message_timer(table, Some(MINUTE)).await.expect("sets it");
    assert_eq!(set.message_timer.map(tertulia::MessageTimer::as_millis), Some(60_000));
    assert_eq!(described(&bob, table).await.message_timer, set.message_timer, "all are told");

    let sent = alice.send(table, "for a minute").await.expect("sends");
    assert_eq!(sent.expires_at, Some(sent.sent_at + 60_000), "its author has read it");
    assert_eq!(read(&bob, table).await, ["for good", "for a minute"]);
    assert_eq!(read(&carol, table).await, ["for good", "for a minute"]);
    bob.mark_read(table, last(&bob, table).await).await.expect("marks");
    let shown = bob.messages(table, MessageQuery::default()).await.expect("readable");
    assert_eq!(shown[0].expires_at, None);
    assert!(shown[1].expires_at.is_some_and(|at| at >= sent.sent_at + 60_000));

    for (client, home) in [(&alice, "alice"), (&bob, "bob")] {
        let before = stored(&hub, home, table);
        assert_eq!(client.expire_messages(SystemTime::now()).await.expect("looks"), 0, "not yet");
        assert_eq!(client.expire_messages(in_an_hour()).await.expect("deletes"), 1);
        assert_eq!(texts(client, table).await, ["for good"]);
        assert_eq!(stored(&hub, home, table), before - 1, "it is gone, and not only out of sight");
        assert_eq!(read(client, table).await, ["for good"], "and does not come back");
    }
    // Carol has not read it.
    assert_eq!(carol.expire_messages(in_an_hour()).await.expect("looks"), 0);
    assert_eq!(texts(&carol, table).await, ["for good", "for a minute"]);
}

#[tokio::test]
async fn who_comes_back_knows_who_came_and_what_was_set_meanwhile() {
    let hub = Hub::start().await;
    let ([alice, bob, _], table) = table(&hub).await;
    let dave = hub.sign_up("dave").await;
    connect(&alice, &dave).await;
    assert_eq!(described(&bob, table).await.members.len(), 3);

    alice.remove_members(table, &[handle("bob")]).await.expect("removes");
    // Bob has never heard of Dave, and is not told of either.
    alice.add_members(table, &[handle("dave")]).await.expect("adds");
    alice.set_message_timer(table, Some(MINUTE)).await.expect("sets it");
    assert!(!described(&bob, table).await.active);
    alice.add_members(table, &[handle("bob")]).await.expect("adds");

    let (described, wanted) = (described(&bob, table).await, described(&alice, table).await);
    assert!(described.active);
    assert_eq!(described.members, wanted.members);
    assert_eq!(described.message_timer, wanted.message_timer);
    dave.sync().await.expect("syncs");
    dave.send(table, "hello, Bob").await.expect("sends");
    bob.sync().await.expect("syncs");
    let messages = bob.messages(table, MessageQuery::default()).await.expect("readable");
    assert_eq!(messages.last().expect("Dave's").from, Some(handle("dave")));
}

#[tokio::test]
async fn each_message_keeps_the_time_that_it_says_whatever_is_set_later() {
    let hub = Hub::start().await;
    let ([alice, bob, _], table) = table(&hub).await;
    alice.set_message_timer(table, Some(MINUTE)).await.expect("sets it");
    alice.send(table, "for a minute").await.expect("sends");
    alice.set_message_timer(table, None).await.expect("ends it");
    alice.send(table, "for good").await.expect("sends");
    alice.set_message_timer(table, Some(2 * MINUTE)).await.expect("sets it");
    assert_eq!(read(&bob, table).await, ["for a minute", "for good"]);
    bob.mark_read(table, last(&bob, table).await).await.expect("marks");
    assert_eq!(bob.expire_messages(in_an_hour()).await.expect("deletes"), 1);
    assert_eq!(texts(&bob, table).await, ["for good"]);
    // What the hub says of the timer now does not reach back.
    assert!(described(&bob, table).await.message_timer.is_some());
    assert_eq!(texts(&bob, table).await, ["for good"]);
}

#[tokio::test]
async fn what_is_over_is_deleted_when_the_home_is_opened_and_when_it_is_read() {
    let hub = Hub::start().await;
    let ([alice, bob, _], table) = table(&hub).await;
    alice.set_message_timer(table, Some(MINUTE)).await.expect("sets it");
    for turn in ["opened", "read", "synchronised"] {
        alice.send(table, "for a minute").await.expect("sends");
        bob.sync().await.expect("syncs");
        bob.mark_read(table, last(&bob, table).await).await.expect("marks");
        let before = stored(&hub, "bob", table);
        // Its minute is over.
        hub.tamper("bob", "UPDATE messages SET expires_at = 1 WHERE expires_at IS NOT NULL");
        match turn {
            "opened" => drop(Client::builder(hub.home("bob")).open().await.expect("opens")),
            "read" => assert!(texts(&bob, table).await.is_empty()),
            _ => drop(bob.sync().await.expect("syncs")),
        }
        assert_eq!(stored(&hub, "bob", table), before - 1, "{turn}");
    }
}

#[tokio::test]
async fn a_timer_is_for_those_who_may_and_within_its_bounds() {
    let hub = Hub::start().await;
    let ([alice, bob, _], table) = table(&hub).await;
    let denied = bob.set_message_timer(table, Some(MINUTE)).await.expect_err("bob is no admin");
    assert_eq!(denied.code(), "action-denied");
    for wrong in [Duration::from_millis(999), Duration::from_hours(24 * 366)] {
        let refused = alice.set_message_timer(table, Some(wrong)).await.expect_err("out of bounds");
        assert_eq!(refused.code(), "invalid-timer");
    }
    let one_to_one = alice.find("@bob").await.expect("their 1:1");
    let refused = alice.set_message_timer(one_to_one, Some(MINUTE)).await.expect_err("no group");
    assert_eq!(refused.code(), "invalid-operation");
}

/// Who has told what of the last message, as this home has it.
async fn receipts(client: &Client, id: ConversationId) -> Vec<(String, ReceiptStatus)> {
    client.sync().await.expect("syncs");
    let messages = client.messages(id, MessageQuery::default()).await.expect("readable");
    let told = &messages.last().expect("there is one").receipts;
    let handle = |receipt: &tertulia::Receipt| receipt.handle.clone().expect("known").to_string();
    let mut told: Vec<_> = told.iter().map(|receipt| (handle(receipt), receipt.status)).collect();
    told.sort();
    told
}

#[tokio::test]
async fn nobody_learns_what_was_read_unless_receipts_are_on() {
    let hub = Hub::start().await;
    let ([alice, bob, _], table) = table(&hub).await;
    alice.send(table, "who has read this?").await.expect("sends");
    bob.sync().await.expect("syncs");
    let log = hub.database("SELECT count(*) FROM log");
    bob.mark_read(table, last(&bob, table).await).await.expect("marks");
    bob.sync().await.expect("syncs");
    assert_eq!(hub.database("SELECT count(*) FROM log"), log, "nothing was sent");
    assert!(receipts(&alice, table).await.is_empty());
}

#[tokio::test]
async fn with_receipts_on_the_others_see_who_has_read() {
    for protocol in [Protocol::Mls, Protocol::Pairwise] {
        let hub = Hub::start().await;
        let ([alice, bob, carol], _) = table(&hub).await;
        let both = [handle("bob"), handle("carol")];
        let table = alice.create_group_with("Receipts", &both, protocol).await.expect("a group").id;
        let set = alice.set_receipt_mode(table, ReceiptMode::On).await.expect("sets it");
        assert_eq!(set.receipt_mode, ReceiptMode::On);
        alice.send(table, "one").await.expect("sends");
        alice.send(table, "two").await.expect("sends");
        assert_eq!(read(&bob, table).await, ["one", "two"]);
        assert_eq!(described(&bob, table).await.unread, 2);
        bob.mark_read(table, last(&bob, table).await).await.expect("marks");
        let by_bob = ("bob".to_owned(), ReceiptStatus::Read);
        assert_eq!(receipts(&alice, table).await, std::slice::from_ref(&by_bob));
        assert_eq!(receipts(&carol, table).await, std::slice::from_ref(&by_bob), "everybody in it sees it");
        // A receipt is no message: nothing is shown, nothing is unread.
        assert_eq!(texts(&alice, table).await, ["one", "two"]);
        assert_eq!(described(&alice, table).await.unread, 0);

        // What was told is not told again; and without the network it is told later.
        let log = hub.database("SELECT count(*) FROM log");
        bob.mark_read(table, last(&bob, table).await).await.expect("marks");
        carol.mark_read_offline(table, last(&carol, table).await).await.expect("marks");
        assert_eq!(hub.database("SELECT count(*) FROM log"), log);
        assert_eq!(carol.sync().await.expect("syncs").sent, 1);
        let by_carol = ("carol".to_owned(), ReceiptStatus::Read);
        assert_eq!(receipts(&alice, table).await, [by_bob, by_carol]);
        let first = &alice.messages(table, MessageQuery::default()).await.expect("readable")[0];
        assert_eq!(first.receipts.len(), 2, "of the earlier message too");
    }
}

/// What this home has set of a conversation, with the references.
async fn own(client: &Client, id: ConversationId) -> [Option<Option<String>>; 3] {
    let conversation = described(client, id).await;
    [conversation.muted, conversation.archived, conversation.hidden]
        .map(|flag| flag.map(|flag| flag.reference))
}

#[tokio::test]
async fn what_one_sets_for_oneself_reaches_ones_own_devices_and_nobody_else() {
    let hub = Hub::start().await;
    let ([alice, bob, _], table) = table(&hub).await;
    let one_to_one = alice.find("@bob").await.expect("their 1:1");
    let phone = hub.log_in("alice", "phone").await;
    for device in [&alice, &phone, &alice, &bob] {
        device.sync().await.expect("syncs");
    }
    let before = hub.database(
        "SELECT count(*) FROM log WHERE conversation <> (SELECT id FROM users WHERE handle = 'alice')",
    );
    alice.set_muted(table, true, Some("until Monday")).await.expect("sets it");
    alice.set_hidden(one_to_one, true, None).await.expect("sets it");
    assert_eq!(own(&alice, table).await, [Some(Some("until Monday".to_owned())), None, None], "at once");
    assert_eq!(own(&phone, table).await, [Some(Some("until Monday".to_owned())), None, None]);
    assert_eq!(own(&phone, one_to_one).await, [None, None, Some(None)]);
    // Each of the settings goes its own way.
    phone.set_archived(table, true, None).await.expect("sets it");
    phone.set_muted(table, false, None).await.expect("takes it back");
    assert_eq!(own(&alice, table).await, [None, Some(None), None]);

    let listed = |all: Vec<Conversation>| all.into_iter().map(|one| one.id).collect::<Vec<_>>();
    assert!(!listed(alice.conversations().await.expect("readable")).contains(&one_to_one));
    assert!(listed(alice.all_conversations().await.expect("readable")).contains(&one_to_one));
    alice.set_hidden(one_to_one, false, None).await.expect("takes it back");
    assert!(listed(alice.conversations().await.expect("readable")).contains(&one_to_one));

    // Bob receives nothing at all, and the hub has nothing that says so in a conversation with others.
    let report = bob.sync().await.expect("syncs");
    assert_eq!((report.events, own(&bob, table).await), (0, [None, None, None]));
    let after = hub.database(
        "SELECT count(*) FROM log WHERE conversation <> (SELECT id FROM users WHERE handle = 'alice')",
    );
    assert_eq!(after, before);
}

#[tokio::test]
async fn a_device_that_logs_in_later_gets_what_was_set_before() {
    let hub = Hub::start().await;
    let ([alice, _, carol], table) = table(&hub).await;
    alice.set_archived(table, true, Some("after the harvest")).await.expect("sets it");
    let with_carol = alice.find("@carol").await.expect("their 1:1");
    alice.set_muted(with_carol, true, None).await.expect("sets it");
    let phone = hub.log_in("alice", "phone").await;
    // The one lets the other in and tells it.
    for device in [&alice, &phone, &alice, &phone] {
        device.sync().await.expect("syncs");
    }
    assert_eq!(own(&phone, table).await, [None, Some(Some("after the harvest".to_owned())), None]);
    assert_eq!(own(&phone, with_carol).await, [Some(None), None, None]);
    assert_eq!(own(&carol, with_carol).await, [None, None, None]);
    // What is told again does not undo what was set since.
    phone.set_archived(table, false, None).await.expect("takes it back");
    let tablet = hub.log_in("alice", "tablet").await;
    for device in [&alice, &phone, &tablet, &alice, &phone, &tablet] {
        device.sync().await.expect("syncs");
    }
    for device in [&alice, &phone, &tablet] {
        assert_eq!(own(device, table).await, [None, None, None]);
        assert_eq!(own(device, with_carol).await, [Some(None), None, None]);
    }
}

#[tokio::test]
async fn what_is_set_without_the_hub_is_told_later_and_the_last_one_counts_everywhere() {
    let mut hub = Hub::start().await;
    let ([alice, _, _], table) = table(&hub).await;
    let phone = hub.log_in("alice", "phone").await;
    for device in [&alice, &phone, &alice] {
        device.sync().await.expect("syncs");
    }
    hub.stop().await;
    alice.set_muted(table, true, Some("alice's laptop")).await.expect("sets it here");
    phone.set_muted(table, true, Some("her phone")).await.expect("sets it there");
    assert!(alice.conversation(table).await.expect("there").muted.is_some(), "at once");
    hub.restart().await;
    for device in [&phone, &alice, &phone, &alice] {
        device.sync().await.expect("syncs");
    }
    let expected = [Some(Some("alice's laptop".to_owned())), None, None];
    for device in [&alice, &phone] {
        assert_eq!(own(device, table).await, expected, "it was told last");
    }
    let refused = alice.set_own(table, OwnSetting::Muted, true, Some(&"x".repeat(257))).await;
    assert_eq!(refused.expect_err("too long").code(), "payload-too-long");
    let unknown = alice.set_muted(ConversationId::random(), true, None).await;
    assert_eq!(unknown.expect_err("unknown").code(), "unknown-target");
}

#[tokio::test]
async fn who_may_add_is_set_by_request_while_pairwise_and_kept_on_the_way_to_mls() {
    let hub = Hub::start().await;
    let ([alice, bob, _], _) = table(&hub).await;
    let dave = hub.sign_up("dave").await;
    connect(&bob, &dave).await;
    let pair = alice.create_group_with("Pair", &[handle("bob")], Protocol::Pairwise).await.expect("made").id;
    assert_eq!(described(&bob, pair).await.add_permission, AddPermission::Admins);
    let denied = bob.add_members(pair, &[handle("dave")]).await.expect_err("only admins");
    assert_eq!(denied.code(), "action-denied");
    let denied = bob.set_add_permission(pair, AddPermission::Everyone).await.expect_err("bob is none");
    assert_eq!(denied.code(), "action-denied");
    alice.set_add_permission(pair, AddPermission::Everyone).await.expect("by request");
    assert_eq!(described(&bob, pair).await.add_permission, AddPermission::Everyone);
    bob.add_members(pair, &[handle("dave")]).await.expect("everyone may");
    for device in [&dave, &bob, &alice] {
        device.sync().await.expect("syncs");
    }
    alice.migrate(pair).await.expect("goes to MLS");
    for device in [&alice, &bob, &dave] {
        let group = described(device, pair).await;
        assert_eq!((group.protocol, group.add_permission), (Protocol::Mls, AddPermission::Everyone));
    }
}

fn made_under(parent: ConversationId) -> GroupOptions {
    let mut options = GroupOptions::default();
    options.parent = Some(parent);
    options
}

#[tokio::test]
async fn a_group_is_made_under_another_and_outlives_it() {
    let hub = Hub::start().await;
    let ([alice, bob, carol], parent) = table(&hub).await;
    let under = [handle("alice")];
    let child = bob.create_group_as("Minutes", &under, made_under(parent)).await.expect("made");
    assert_eq!(child.parent, Some(parent));
    assert_eq!(described(&alice, child.id).await.parent, Some(parent));
    let phone = Client::builder(hub.home("phone")).log_in(&hub.url, "bob", PASSWORD).await.expect("logs in");
    assert_eq!(described(&phone, child.id).await.parent, Some(parent));
    let refused = carol.create_group_as("Mine", &[], made_under(child.id)).await;
    assert_eq!(refused.expect_err("carol is not in it").code(), "no-conversation");
    // The parent ends.
    bob.leave(parent, None).await.expect("leaves");
    carol.leave(parent, None).await.expect("leaves");
    alice.sync().await.expect("syncs");
    alice.leave(parent, None).await.expect("leaves");
    bob.send(child.id, "still here").await.expect("sends");
    assert_eq!(read(&alice, child.id).await, ["still here"]);
}
