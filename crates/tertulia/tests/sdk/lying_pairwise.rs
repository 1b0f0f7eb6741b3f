//! A hub that lies about pairwise messages: it moves them, repeats them, says that others wrote them, and asks for more of them
//! than it may.

use crate::{
    lying_hub::LyingHub,
    support::{Hub, PASSWORD, connect, handle, read, texts},
    watch::Watch,
};
use tertulia::{Client, ConversationId, Error, Protocol, Suspicion};
use tertulia_api::{
    UserDevice,
    event::{Event, EventBody, LogEntry},
};

/// Alice with an honest hub, Bob with one that lies to him, and two pairwise groups of both.
struct Setting {
    hub: Hub,
    liar: LyingHub,
    alice: Client,
    bob: Client,
    table: ConversationId,
    attic: ConversationId,
    /// What Bob's events tell.
    watch: Watch,
}

impl Setting {
    async fn new() -> Self {
        let hub = Hub::start().await;
        let liar = LyingHub::before(&hub).await;
        let alice = hub.sign_up("alice").await;
        let bob = Client::builder(hub.home("bob")).sign_up(&liar.url, "bob", PASSWORD).await;
        let bob = bob.expect("signs up");
        connect(&alice, &bob).await;
        let make = async |name| {
            let made = alice.create_group_with(name, &[handle("bob")], Protocol::Pairwise).await;
            made.expect("a group").id
        };
        let (table, attic) = (make("table").await, make("attic").await);
        bob.sync().await.expect("joins");
        let watch = Watch::over(&bob).await;
        Self { hub, liar, alice, bob, table, attic, watch }
    }

    /// What Bob's home has noticed.
    async fn suspicions(&self) -> Vec<Suspicion> {
        let noticed = self.bob.suspicions().await.expect("readable");
        noticed.into_iter().map(|noticed| noticed.suspicion).collect()
    }
}

fn is_misplaced(suspicion: &Suspicion, what: &str) -> bool {
    matches!(suspicion, Suspicion::Misplaced { reason } if reason.ends_with(what))
}

/// Changes the pairwise messages among these events.
fn in_messages(events: &mut [Event], mut change: impl FnMut(&mut LogEntry, &mut bool)) {
    for event in events {
        if let EventBody::Pairwise { entry, announces_name, ciphertext: Some(_) } = &mut event.body {
            change(entry, announces_name);
        }
    }
}

#[tokio::test]
async fn a_message_that_the_hub_moves_is_not_shown_where_it_does_not_belong() {
    let setting = Setting::new().await;
    let Setting { liar, alice, bob, table, attic, .. } = &setting;
    let (moved, moved_into) = (*table, *attic);
    liar.change_events(move |events| {
        in_messages(events, |entry, _| {
            if entry.conversation == moved {
                entry.conversation = moved_into;
            }
        });
    });
    alice.send(*table, "for the table").await.expect("sends");
    assert_eq!(bob.sync().await.expect("syncs").undecryptable, 1);
    assert!(texts(bob, *attic).await.is_empty() && texts(bob, *table).await.is_empty());
    let noticed = bob.suspicions().await.expect("readable");
    assert!(is_misplaced(&noticed[0].suspicion, "another conversation"), "{noticed:?}");
    // Where it belongs it can still be read, and so can what follows.
    liar.repent();
    alice.send(*table, "and another").await.expect("sends");
    assert_eq!(read(bob, *table).await, ["and another"]);
    setting.watch.tells_all().await;
}

#[tokio::test]
async fn a_message_is_not_shown_as_another_devices_nor_as_a_new_name() {
    let setting = Setting::new().await;
    let Setting { hub, liar, alice, bob, table, .. } = &setting;
    let carol = hub.sign_up("carol").await;
    let carols = UserDevice { user: carol.me().user, device: carol.me().device };
    liar.change_events(move |events| in_messages(events, |entry, _| entry.sender = Some(carols)));
    alice.send(*table, "by alice").await.expect("sends");
    bob.sync().await.expect("syncs");
    liar.change_events(|events| in_messages(events, |_, announces_name| *announces_name = true));
    alice.send(*table, "no name").await.expect("sends");
    bob.sync().await.expect("syncs");
    liar.repent();
    assert_eq!(read(bob, *table).await, Vec::<String>::new());
    assert_eq!(bob.conversation(*table).await.expect("there").name.as_deref(), Some("table"));
    assert!(is_misplaced(setting.suspicions().await.last().expect("noticed"), "another purpose"));
    setting.watch.tells_all().await;
}

#[tokio::test]
async fn a_message_that_is_delivered_again_is_not_shown_again() {
    let setting = Setting::new().await;
    let Setting { liar, alice, bob, table, .. } = &setting;
    alice.send(*table, "once").await.expect("sends");
    assert_eq!(read(bob, *table).await, ["once"]);
    let mut again = liar.seen();
    again.retain(|event| matches!(event.body, EventBody::Pairwise { .. }));
    let mut again = again.pop().expect("it was seen");
    if let EventBody::Pairwise { entry, .. } = &mut again.body {
        entry.sequence += 1;
    }
    again.cursor.clear();
    liar.say_once(again);
    assert_eq!(bob.sync().await.expect("syncs").undecryptable, 1);
    assert_eq!(texts(bob, *table).await, ["once"]);
    setting.watch.tells_all().await;
}

#[tokio::test]
async fn nothing_is_encrypted_for_a_device_of_who_is_no_member() {
    let setting = Setting::new().await;
    let Setting { hub, liar, alice, bob, table, .. } = &setting;
    let carol = hub.sign_up("carol").await;
    connect(alice, &carol).await;
    // To Bob the hub says nothing of Carol, and asks him to encrypt for her.
    liar.change_events(|events| {
        for event in events {
            if let EventBody::Members { joined, .. } = &mut event.body {
                joined.clear();
            }
        }
    });
    alice.add_members(*table, &[handle("carol")]).await.expect("adds");
    let queued = bob.send(*table, "for alice only").await.expect_err("the hub is not to be trusted");
    let Error::Queued { cause } = queued else { panic!("{queued}") };
    assert!(matches!(*cause, Error::UntrustworthyHub { .. }), "{cause}");
    assert_eq!(read(&carol, *table).await, Vec::<String>::new());
    setting.watch.tells_all().await;
}

#[tokio::test]
async fn a_further_device_of_a_member_is_told_to_who_writes_to_it_and_who_reads_it() {
    let setting = Setting::new().await;
    let Setting { hub, alice, bob, table, .. } = &setting;
    alice.send(*table, "known").await.expect("sends");
    bob.send(*table, "known").await.expect("sends");
    assert_eq!(setting.suspicions().await, [], "devices that were there from the start");
    let tablet = hub.log_in("alice", "alices-tablet").await;
    let phone = hub.log_in("alice", "alices-phone").await;
    tablet.send(*table, "from the tablet").await.expect("sends");
    bob.sync().await.expect("reads it");
    let of = |device: &Client| Suspicion::NewDevice { user: device.me().user, device: device.me().device };
    assert_eq!(setting.suspicions().await, [of(&tablet)]);
    bob.send(*table, "to the phone too").await.expect("sends");
    assert_eq!(setting.suspicions().await, [of(&tablet), of(&phone)]);
    setting.watch.tells_all().await;
}

#[tokio::test]
async fn a_protocol_does_not_turn_back() {
    let setting = Setting::new().await;
    let Setting { liar, alice, bob, table, .. } = &setting;
    alice.migrate(*table).await.expect("migrates");
    assert_eq!(read(bob, *table).await, Vec::<String>::new());
    let protocol = Protocol::Pairwise;
    let entry = LogEntry { conversation: *table, sequence: 99, sent_at: 1, sender: None };
    liar.say_once(Event { cursor: String::new(), body: EventBody::Protocol { entry, protocol } });
    bob.sync().await.expect("syncs");
    assert_eq!(setting.suspicions().await.last(), Some(&Suspicion::TurnedBack { protocol }));
    assert_eq!(bob.conversation(*table).await.expect("there").protocol, Protocol::Mls);
    bob.send(*table, "by the group").await.expect("sends");
    assert_eq!(read(alice, *table).await, ["by the group"]);
    setting.watch.tells_all().await;
}
