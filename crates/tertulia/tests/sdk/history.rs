//! Shared history: who comes later reads what was said before, as far as it was allowed, in its places and once.

use crate::support::{Hub, LossyNetwork, PASSWORD, connect, group, handle, read, texts, three_friends};
use std::time::Duration;
use tertulia::{Client, ConversationId, History, HistoryDepth, LinkOptions, Message, MessageQuery, Protocol};

pub(crate) const UNLIMITED: History = History::Unlimited;

fn depth(millis: u64) -> History {
    History::Depth(HistoryDepth::try_from(millis).expect("within the bounds"))
}

/// The messages that this home has read from shared history: what they say, and whether that is known to be true.
pub(crate) async fn older(client: &Client, id: ConversationId) -> Vec<(String, bool)> {
    let messages = client.messages(id, MessageQuery::default()).await.expect("readable");
    let older = |message: Message| Some((message.text, message.history?.verified));
    messages.into_iter().filter_map(older).collect()
}

fn known(texts: &[&str]) -> Vec<(String, bool)> {
    texts.iter().map(|text| ((*text).to_owned(), true)).collect()
}

/// Alice says these things, one after the other.
pub(crate) async fn say(alice: &Client, id: ConversationId, texts: &[&str]) {
    for text in texts {
        alice.send(id, text).await.expect("sends");
    }
}

#[tokio::test]
async fn who_is_added_reads_what_was_said_since_history_is_shared_in_its_places() {
    let (_hub, [alice, bob, carol]) = three_friends().await;
    let id = group(&alice, "Friday table", &[&bob]).await.id;
    say(&alice, id, &["before anybody thought of history"]).await;
    let shared = alice.set_history(id, UNLIMITED).await.expect("an admin may");
    assert_eq!(shared.history, UNLIMITED);
    say(&alice, id, &["first"]).await;
    bob.sync().await.expect("syncs");
    say(&bob, id, &["second"]).await;
    alice.add_members(id, &[handle("carol")]).await.expect("adds");
    say(&alice, id, &["welcome"]).await;

    let report = carol.sync().await.expect("syncs");
    assert_eq!((report.history, report.messages, report.suspicious), (2, 1, 0));
    assert_eq!(texts(&carol, id).await, ["first", "second", "welcome"]);
    assert_eq!(older(&carol, id).await, known(&["first", "second"]), "and has made sure of it");
    let messages = carol.messages(id, MessageQuery::default()).await.expect("readable");
    let from: Vec<_> = messages.iter().map(|message| message.from.clone().expect("a member")).collect();
    assert_eq!(from, [handle("alice"), handle("bob"), handle("alice")]);
    let by = messages[0].history.clone().expect("it is history").handle;
    assert_eq!(by, Some(handle("alice")), "who added her gave it");
    let table = carol.conversation(id).await.expect("there");
    assert_eq!((table.history, table.unread), (UNLIMITED, 1), "nobody has to read what is old");

    // However often, it is the same; and others have nothing of it.
    let again = carol.sync().await.expect("syncs");
    assert_eq!((again.history, again.messages), (0, 0));
    assert_eq!(read(&bob, id).await, ["before anybody thought of history", "first", "second", "welcome"]);
    assert!(older(&bob, id).await.is_empty());
}

#[tokio::test]
async fn only_admins_of_groups_on_mls_share_history() {
    let (_hub, [alice, bob, _]) = three_friends().await;
    let id = group(&alice, "Friday table", &[&bob]).await.id;
    assert_eq!(bob.set_history(id, UNLIMITED).await.expect_err("a member").code(), "action-denied");
    bob.sync().await.expect("syncs");
    assert_eq!(
        bob.conversation(id).await.expect("there").history,
        History::None,
        "and it is not tried again"
    );
    let one_to_one = bob.find("@alice").await.expect("connected");
    assert_eq!(bob.set_history(one_to_one, UNLIMITED).await.expect_err("a 1:1").code(), "invalid-operation");
    let pairwise =
        alice.create_group_with("By twos", &[handle("bob")], Protocol::Pairwise).await.expect("made").id;
    assert_eq!(alice.set_history(pairwise, UNLIMITED).await.expect_err("pairwise").code(), "wrong-protocol");
    let epoch = alice.epoch(id).await.expect("in it");
    alice.set_history(id, UNLIMITED).await.expect("an admin may");
    alice.set_history(id, UNLIMITED).await.expect("again");
    assert_eq!(alice.epoch(id).await.expect("in it"), epoch + 1, "one commit");
}

#[tokio::test]
async fn none_is_nothing_and_what_is_ended_is_not_given_to_who_comes_then() {
    let (_hub, [alice, bob, carol]) = three_friends().await;
    let id = group(&alice, "Friday table", &[]).await.id;
    say(&alice, id, &["never shared"]).await;
    alice.add_members(id, &[handle("bob")]).await.expect("adds");
    assert!(read(&bob, id).await.is_empty());
    alice.set_history(id, UNLIMITED).await.expect("shares");
    say(&alice, id, &["while it was shared"]).await;
    alice.set_history(id, History::None).await.expect("ends it");
    say(&alice, id, &["when it was over"]).await;
    alice.add_members(id, &[handle("carol")]).await.expect("adds");
    assert!(read(&carol, id).await.is_empty());
    // Begun again, it begins there.
    alice.set_history(id, UNLIMITED).await.expect("shares");
    say(&alice, id, &["from now on"]).await;
    assert_eq!(read(&carol, id).await, ["from now on"]);
    alice.remove_members(id, &[handle("carol")]).await.expect("removes");
    alice.add_members(id, &[handle("carol")]).await.expect("adds");
    carol.sync().await.expect("syncs");
    assert_eq!(carol.suspicions().await.expect("readable"), []);
}

#[tokio::test]
async fn a_removal_in_between_leaves_the_older_messages_to_be_read() {
    let (_hub, [alice, bob, carol]) = three_friends().await;
    let id = group(&alice, "Friday table", &[&bob]).await.id;
    alice.set_history(id, UNLIMITED).await.expect("shares");
    say(&alice, id, &["with bob"]).await;
    alice.remove_members(id, &[handle("bob")]).await.expect("removes");
    say(&alice, id, &["without bob"]).await;
    alice.add_members(id, &[handle("carol")]).await.expect("adds");
    assert_eq!(read(&carol, id).await, ["with bob", "without bob"]);
    // She cannot make sure of a span that was over when she came: alice says that it was so.
    let expected = [("with bob".to_owned(), false), ("without bob".to_owned(), true)];
    assert_eq!(older(&carol, id).await, expected);
    assert_eq!(carol.suspicions().await.expect("readable"), []);
}

#[tokio::test]
async fn a_depth_gives_what_is_of_that_age_and_a_wider_one_gives_more() {
    let (hub, [alice, bob, _]) = three_friends().await;
    let id = group(&alice, "Friday table", &[]).await.id;
    alice.set_history(id, depth(3_600_000)).await.expect("shares");
    say(&alice, id, &["two hours ago"]).await;
    hub.database("UPDATE log SET sent_at = sent_at - 7200000 WHERE kind = 'message'");
    say(&alice, id, &["just now"]).await;
    alice.add_members(id, &[handle("bob")]).await.expect("adds");
    assert_eq!(read(&bob, id).await, ["just now"]);
    alice.set_history(id, depth(1000)).await.expect("less");
    assert_eq!(read(&bob, id).await, ["just now"], "what was read was read");
    alice.set_history(id, UNLIMITED).await.expect("more");
    assert_eq!(read(&bob, id).await, ["two hours ago", "just now"]);
    assert_eq!(older(&bob, id).await.len(), 2);
    assert_eq!(bob.suspicions().await.expect("readable"), []);
}

#[tokio::test]
async fn who_comes_by_the_join_link_reads_it_too() {
    let (hub, [alice, bob, _]) = three_friends().await;
    let id = group(&alice, "Friday table", &[&bob]).await.id;
    alice.set_history(id, UNLIMITED).await.expect("shares");
    say(&alice, id, &["for who comes by the door"]).await;
    let link =
        alice.create_link(id, &LinkOptions::default()).await.expect("makes a link").link.expect("made here");
    let zoe = hub.sign_up("zoe").await;
    zoe.join(&link, None).await.expect("asks");
    bob.sync().await.expect("lets her in");
    assert_eq!(read(&zoe, id).await, ["for who comes by the door"]);
    assert_eq!(older(&zoe, id).await, known(&["for who comes by the door"]));
}

#[tokio::test]
async fn a_further_device_is_given_it_by_another_of_its_user() {
    let (hub, [alice, bob, _]) = three_friends().await;
    let id = group(&alice, "Friday table", &[&bob]).await.id;
    alice.set_history(id, UNLIMITED).await.expect("shares");
    bob.sync().await.expect("syncs");
    say(&alice, id, &["before the tablet"]).await;
    say(&bob, id, &["from the phone"]).await;
    let tablet = hub.log_in("bob", "tablet").await;
    tablet.sync().await.expect("joins");
    assert!(texts(&tablet, id).await.is_empty(), "nobody has seen it yet");
    alice.sync().await.expect("syncs");
    assert!(read(&tablet, id).await.is_empty(), "alice leaves it to bob's own");
    bob.sync().await.expect("gives it");
    assert_eq!(read(&tablet, id).await, ["before the tablet", "from the phone"]);
    assert_eq!(older(&tablet, id).await, known(&["before the tablet", "from the phone"]));
    // And can give it on itself.
    alice.sync().await.expect("syncs");
    assert_eq!(alice.suspicions().await.expect("readable").len(), 1, "bob has a further device");
}

#[tokio::test]
async fn a_device_that_has_lost_its_group_is_given_it_by_the_first_of_the_others() {
    let (hub, [alice, bob, carol]) = three_friends().await;
    let id = group(&alice, "Friday table", &[&bob]).await.id;
    alice.set_history(id, UNLIMITED).await.expect("shares");
    say(&alice, id, &["to be lost"]).await;
    assert_eq!(read(&bob, id).await, ["to be lost"]);
    drop(bob);
    hub.tamper("bob", "DELETE FROM mls_groups; DELETE FROM mls_epochs; DELETE FROM messages");
    let bob = Client::builder(hub.home("bob")).open().await.expect("opens");
    bob.sync().await.expect("joins anew");
    alice.sync().await.expect("gives it");
    assert_eq!(read(&bob, id).await, ["to be lost"]);
    // Bob can give on what he has been given: he adds nobody, but stays when alice has gone.
    alice.set_role(id, &handle("bob"), "admin").await.expect("makes him admin");
    alice.leave(id, None).await.expect("leaves");
    bob.sync().await.expect("syncs");
    connect(&bob, &carol).await;
    bob.add_members(id, &[handle("carol")]).await.expect("adds");
    assert_eq!(read(&carol, id).await, ["to be lost"]);
}

#[tokio::test]
async fn what_is_over_by_its_timer_is_not_shown_again() {
    let (hub, [alice, bob, _]) = three_friends().await;
    let id = group(&alice, "Friday table", &[]).await.id;
    alice.set_history(id, UNLIMITED).await.expect("shares");
    alice.set_message_timer(id, Some(Duration::from_hours(1))).await.expect("sets a timer");
    say(&alice, id, &["an hour of this is over"]).await;
    hub.database("UPDATE log SET sent_at = sent_at - 3600000 WHERE kind = 'message'");
    say(&alice, id, &["an hour of this begins"]).await;
    alice.add_members(id, &[handle("bob")]).await.expect("adds");
    assert_eq!(read(&bob, id).await, ["an hour of this begins"]);
    let messages = bob.messages(id, MessageQuery::default()).await.expect("readable");
    assert_eq!(messages[0].expires_at, Some(messages[0].sent_at + 3_600_000), "from its sending on");
}

#[tokio::test]
async fn reading_that_breaks_off_goes_on_and_shows_everything_once() {
    let hub = Hub::start().await;
    let network = LossyNetwork::before(&hub, "/history").await;
    let alice = hub.sign_up("alice").await;
    let bob =
        Client::builder(hub.home("bob")).sign_up(&network.url, "bob", PASSWORD).await.expect("signs up");
    connect(&alice, &bob).await;
    let id = group(&alice, "Friday table", &[]).await.id;
    alice.set_history(id, UNLIMITED).await.expect("shares");
    // More than fits a page, so that the second is asked for.
    let said: Vec<String> = (0..210).map(|number| format!("word {number}")).collect();
    for text in &said {
        alice.send(id, text).await.expect("sends");
    }
    alice.add_members(id, &[handle("bob")]).await.expect("adds");
    network.spare(1);
    network.lose_requests(true);
    bob.sync().await.expect_err("it breaks off");
    let part = texts(&bob, id).await;
    assert_eq!(part, said[..part.len()], "what was read is there");
    assert!(!part.is_empty() && part.len() < said.len());
    network.lose_requests(false);
    assert_eq!(read(&bob, id).await, said);
    assert_eq!(older(&bob, id).await.iter().filter(|(_, verified)| *verified).count(), said.len());
}

#[tokio::test]
async fn a_setting_that_was_interrupted_is_brought_to_its_end() {
    for lost in ["/history", "/commits"] {
        let hub = Hub::start().await;
        let network = LossyNetwork::before(&hub, lost).await;
        let alice = Client::builder(hub.home("alice")).sign_up(&network.url, "alice", PASSWORD).await;
        let (alice, bob) = (alice.expect("signs up"), hub.sign_up("bob").await);
        connect(&alice, &bob).await;
        let id = group(&alice, "Friday table", &[]).await.id;
        network.lose_requests(true);
        alice.set_history(id, UNLIMITED).await.expect_err("it breaks off");
        network.lose_requests(false);
        alice.sync().await.expect("does the rest");
        say(&alice, id, &["shared"]).await;
        alice.add_members(id, &[handle("bob")]).await.expect("adds");
        assert_eq!(read(&bob, id).await, ["shared"], "broken off at {lost}");
    }
}

#[tokio::test]
async fn a_group_that_is_begun_anew_goes_on_sharing() {
    let (_hub, [alice, bob, _]) = three_friends().await;
    let id = group(&alice, "Friday table", &[]).await.id;
    alice.set_history(id, UNLIMITED).await.expect("shares");
    say(&alice, id, &["lost with the old group"]).await;
    alice.reset_group(id).await.expect("begins anew");
    alice.sync().await.expect("syncs");
    say(&alice, id, &["in the new one"]).await;
    alice.add_members(id, &[handle("bob")]).await.expect("adds");
    assert_eq!(read(&bob, id).await, ["in the new one"]);
    assert_eq!(bob.suspicions().await.expect("readable"), []);
}

#[tokio::test]
async fn more_spans_than_go_with_a_commit_come_afterwards() {
    let (_hub, [alice, bob, _]) = three_friends().await;
    let id = group(&alice, "Friday table", &[]).await.id;
    // Each is less than the one before, so what is sent from then on has keys of its own.
    let narrower = (0..18_u64).map(|step| depth(3_600_000 - step * 1000));
    let mut said = Vec::new();
    for (number, history) in narrower.enumerate() {
        alice.set_history(id, history).await.expect("shares");
        said.push(format!("word {number}"));
        alice.send(id, &said[number]).await.expect("sends");
    }
    alice.add_members(id, &[handle("bob")]).await.expect("adds");
    assert_eq!(read(&bob, id).await, said[17..], "what is open goes with the commit");
    alice.sync().await.expect("gives the rest");
    assert_eq!(read(&bob, id).await, said);
    assert_eq!(bob.suspicions().await.expect("readable"), []);
}

#[tokio::test]
async fn where_less_is_shared_what_is_sent_then_has_keys_of_its_own() {
    let (_hub, [alice, _, _]) = three_friends().await;
    let id = group(&alice, "Friday table", &[]).await.id;
    let epoch = async || alice.epoch(id).await.expect("in it");
    let mut before = epoch().await;
    for (history, commits) in [
        (depth(60_000), 1),
        (UNLIMITED, 0),
        (depth(60_000), 1),
        (depth(60_000), 0),
        (depth(120_000), 0),
        (History::None, 1),
        (History::None, 0),
    ] {
        alice.set_history(id, history).await.expect("shares");
        let after = epoch().await;
        assert_eq!(after - before, commits, "{history}");
        before = after;
    }
}
