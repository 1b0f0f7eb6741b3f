//! 1:1s whose messages go from device to device: how they come to be, what a block does to them, and their way to MLS.

use crate::{
    lying_hub::LyingHub,
    support::{Hub, LossyNetwork, PASSWORD, connect, handle, read, texts},
};
use tertulia::{Client, ConversationId, Error, Protocol, Suspicion};
use tertulia_api::event::{Event, EventBody, LogEntry};

/// Alice and Bob with two devices each, and their 1:1.
struct Four {
    _hub: Hub,
    alice: Client,
    alices_phone: Client,
    bob: Client,
    bobs_phone: Client,
    direct: ConversationId,
}

impl Four {
    async fn meet() -> Self {
        let hub = Hub::start().await;
        let (alice, bob) = (hub.sign_up("alice").await, hub.sign_up("bob").await);
        let direct = connect(&alice, &bob).await;
        let alices_phone = hub.log_in("alice", "alices-phone").await;
        let bobs_phone = hub.log_in("bob", "bobs-phone").await;
        let four = Self { _hub: hub, alice, alices_phone, bob, bobs_phone, direct };
        for device in four.devices() {
            device.sync().await.expect("syncs");
        }
        four
    }

    fn devices(&self) -> [&Client; 4] {
        [&self.alice, &self.alices_phone, &self.bob, &self.bobs_phone]
    }

    /// Each of these reads the same.
    async fn all_read(&self, devices: &[&Client], said: &[String]) {
        for device in devices {
            let report = device.sync().await.expect("syncs");
            assert_eq!(report.undecryptable, 0);
            assert_eq!(report.suspicious, 0);
            assert_eq!(texts(device, self.direct).await, said, "{}", device.me().device);
        }
    }
}

async fn protocol(of: &Client, id: ConversationId) -> Protocol {
    of.conversation(id).await.expect("there").protocol
}

#[tokio::test]
async fn two_people_talk_pairwise_through_a_block_and_go_to_mls_with_their_history() {
    let four = Four::meet().await;
    let Four { alice, alices_phone, bob, bobs_phone, direct, .. } = &four;
    let chosen = alice.choose_pairwise(*direct).await.expect("chooses");
    assert_eq!(chosen.protocol, Protocol::Pairwise);
    let mut said = Vec::new();
    for (turn, speaker) in [alice, bob, alices_phone, bobs_phone, alice].into_iter().enumerate() {
        let text = format!("turn {turn}");
        speaker.sync().await.expect("syncs");
        speaker.send(*direct, &text).await.expect("sends");
        said.push(text);
    }
    four.all_read(&four.devices(), &said).await;

    // Nothing tells Alice that Bob does not listen.
    bobs_phone.block(&handle("alice")).await.expect("blocks");
    bob.sync().await.expect("hears of it");
    let mut hers = said.clone();
    for speaker in [alice, alices_phone, alice] {
        speaker.sync().await.expect("syncs");
        speaker.send(*direct, "into the void").await.expect("is taken");
        hers.push("into the void".to_owned());
    }
    four.all_read(&[alice, alices_phone], &hers).await;
    four.all_read(&[bob, bobs_phone], &said).await;
    let refused = bob.send(*direct, "no").await.expect_err("he has blocked her");
    assert_eq!(refused.code(), "not-connected");

    bobs_phone.unblock(&handle("alice")).await.expect("unblocks");
    for (turn, speaker) in [bobs_phone, alice, bob, alices_phone].into_iter().enumerate() {
        let text = format!("again {turn}");
        speaker.sync().await.expect("syncs");
        speaker.send(*direct, &text).await.expect("sends");
        said.push(text.clone());
        hers.push(text);
    }
    four.all_read(&[alice, alices_phone], &hers).await;
    four.all_read(&[bob, bobs_phone], &said).await;

    // Either takes it on, while both go on talking.
    let (migrated, sent) = tokio::join!(bob.migrate(*direct), alice.send(*direct, "meanwhile"));
    assert_eq!(migrated.expect("migrates").protocol, Protocol::Mls);
    sent.expect("sends");
    for speaker in [alices_phone, bobs_phone, alice] {
        speaker.sync().await.expect("syncs");
        speaker.send(*direct, "on MLS").await.expect("sends");
    }
    for mine in [&mut said, &mut hers] {
        mine.extend(["meanwhile", "on MLS", "on MLS", "on MLS"].map(ToOwned::to_owned));
    }
    four.all_read(&[alice, alices_phone], &hers).await;
    four.all_read(&[bob, bobs_phone], &said).await;
    for device in four.devices() {
        assert_eq!(protocol(device, *direct).await, Protocol::Mls);
    }
}

#[tokio::test]
async fn who_blocks_during_a_migration_finds_the_group_afterwards() {
    let four = Four::meet().await;
    let Four { alice, alices_phone, bob, bobs_phone, direct, .. } = &four;
    bob.choose_pairwise(*direct).await.expect("chooses");
    bob.send(*direct, "before").await.expect("sends");
    bob.block(&handle("alice")).await.expect("blocks");
    bobs_phone.sync().await.expect("hears of it");
    alice.sync().await.expect("syncs");
    assert_eq!(alice.migrate(*direct).await.expect("nothing is in the way").protocol, Protocol::Mls);
    alice.send(*direct, "into the void").await.expect("is taken");
    bob.unblock(&handle("alice")).await.expect("unblocks");
    // Each of his devices joins by itself when it hears of it.
    for device in [bobs_phone, alice] {
        device.sync().await.expect("syncs");
    }
    alice.send(*direct, "after").await.expect("sends");
    four.all_read(&[bob, bobs_phone], &["before".to_owned(), "after".to_owned()]).await;
    bobs_phone.send(*direct, "here I am").await.expect("sends");
    let hers = ["before", "into the void", "after", "here I am"].map(ToOwned::to_owned);
    four.all_read(&[alice, alices_phone], &hers).await;
}

#[tokio::test]
async fn who_blocked_when_the_other_chose_comes_back_to_what_was_chosen() {
    let four = Four::meet().await;
    let Four { alice, bob, bobs_phone, direct, .. } = &four;
    bob.block(&handle("alice")).await.expect("blocks");
    alice.choose_pairwise(*direct).await.expect("nothing tells her");
    bob.unblock(&handle("alice")).await.expect("unblocks");
    assert_eq!(protocol(bob, *direct).await, Protocol::Pairwise);
    bob.send(*direct, "hello").await.expect("sends");
    four.all_read(&[alice, bobs_phone], &["hello".to_owned()]).await;
}

#[tokio::test]
async fn a_first_message_that_crosses_the_choice_goes_pairwise() {
    let four = Four::meet().await;
    let Four { alice, bob, direct, .. } = &four;
    alice.choose_pairwise(*direct).await.expect("chooses");
    // Bob has not heard of it, and would begin a group.
    bob.send(*direct, "hello").await.expect("sends");
    assert_eq!(protocol(bob, *direct).await, Protocol::Pairwise);
    four.all_read(&four.devices(), &["hello".to_owned()]).await;
}

#[tokio::test]
async fn a_group_whose_beginning_was_interrupted_gives_way_to_the_choice() {
    let hub = Hub::start().await;
    let network = LossyNetwork::before(&hub, "/commits").await;
    let alice = hub.sign_up("alice").await;
    let bob = Client::builder(hub.home("bob")).sign_up(&network.url, "bob", PASSWORD).await;
    let bob = bob.expect("signs up");
    let direct = connect(&alice, &bob).await;
    network.lose_requests(true);
    let queued = bob.send(direct, "hello").await.expect_err("nothing gets through");
    assert!(matches!(queued, Error::Queued { .. }), "{queued}");
    alice.choose_pairwise(direct).await.expect("chooses");
    network.lose_requests(false);
    bob.sync().await.expect("syncs");
    assert_eq!(bob.sync().await.expect("syncs").refused, 0);
    assert_eq!(read(&alice, direct).await, ["hello"]);
    assert_eq!(protocol(&bob, direct).await, Protocol::Pairwise);
}

#[tokio::test]
async fn once_something_was_said_it_is_too_late_to_choose() {
    let four = Four::meet().await;
    let Four { alice, bob, direct, .. } = &four;
    alice.send(*direct, "hello").await.expect("sends");
    let refused = bob.choose_pairwise(*direct).await.expect_err("it has begun");
    assert_eq!(refused.code(), "invalid-protocol-transition");
    let group = bob.create_group("table", &[]).await.expect("a group").id;
    let refused = bob.choose_pairwise(group).await.expect_err("no 1:1");
    assert!(matches!(refused, Error::NotAOneToOne), "{refused}");
    four.all_read(&four.devices(), &["hello".to_owned()]).await;
}

/// Alice and Carol with an honest hub, and Bob, who knows both, with one that lies to him.
async fn with_a_liar() -> (Hub, LyingHub, [Client; 3], ConversationId) {
    let hub = Hub::start().await;
    let liar = LyingHub::before(&hub).await;
    let (alice, carol) = (hub.sign_up("alice").await, hub.sign_up("carol").await);
    let bob = Client::builder(hub.home("bob")).sign_up(&liar.url, "bob", PASSWORD).await;
    let bob = bob.expect("signs up");
    let direct = connect(&alice, &bob).await;
    connect(&carol, &bob).await;
    (hub, liar, [alice, bob, carol], direct)
}

#[tokio::test]
async fn nobody_else_is_written_to_or_heard_in_a_one_to_one_whatever_the_hub_says() {
    let (hub, liar, [alice, bob, carol], direct) = with_a_liar().await;
    // Bob has sessions with both.
    let trio = bob.create_group_with("trio", &[handle("alice"), handle("carol")], Protocol::Pairwise).await;
    let trio = trio.expect("a group").id;
    carol.sync().await.expect("syncs");
    let third = carol.me().user;
    liar.describe(move |conversation| {
        let mut more = conversation.members[0].clone();
        more.user = third;
        more.handle = "carol".to_owned();
        conversation.members.push(more);
    });
    alice.choose_pairwise(direct).await.expect("chooses");
    bob.block(&handle("alice")).await.expect("so that he is told anew who is in it");
    bob.unblock(&handle("alice")).await.expect("unblocks");
    bob.send(direct, "for alice only").await.expect("sends");
    assert_eq!(read(&alice, direct).await, ["for alice only"]);
    assert_eq!(hub.database("SELECT count(*) FROM log WHERE extra LIKE '%redundant%'"), 0);
    // What Carol has said elsewhere is not shown in it.
    liar.change_events(move |events| {
        for event in events {
            if let EventBody::Pairwise { entry, .. } = &mut event.body {
                entry.conversation = direct;
            }
        }
    });
    carol.send(trio, "in the trio").await.expect("sends");
    bob.sync().await.expect("syncs");
    assert_eq!(texts(&bob, direct).await, ["for alice only"]);
    let noticed = bob.suspicions().await.expect("readable").pop().expect("noticed").suspicion;
    assert!(matches!(&noticed, Suspicion::Misplaced { reason } if reason.contains("belong")), "{noticed}");
}

#[tokio::test]
async fn a_one_to_one_that_is_on_mls_is_not_taken_from_it() {
    let (_hub, liar, [alice, bob, _carol], direct) = with_a_liar().await;
    alice.send(direct, "by the group").await.expect("sends");
    assert_eq!(read(&bob, direct).await, ["by the group"]);
    let protocol = Protocol::Pairwise;
    let entry = LogEntry { conversation: direct, sequence: 99, sent_at: 1, sender: None };
    liar.say_once(Event { cursor: String::new(), body: EventBody::Protocol { entry, protocol } });
    bob.sync().await.expect("syncs");
    let noticed = bob.suspicions().await.expect("readable").pop().expect("noticed");
    assert_eq!(noticed.suspicion, Suspicion::TurnedBack { protocol });
    bob.send(direct, "still").await.expect("sends");
    assert_eq!(read(&alice, direct).await, ["by the group", "still"]);
}
