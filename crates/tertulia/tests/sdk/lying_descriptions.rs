//! A hub that lies about what a conversation is: what it says decides neither what a group begins with, nor its type and name.

use crate::{
    lying_hub::LyingHub,
    support::{Hub, PASSWORD, connect, group, handle, read},
};
use tertulia::{
    AccessMode, Client, Conversation, ConversationId, ConversationType, Error, Handshake, MessageTimer,
    Protocol, RoleName,
};
use tertulia_api::{
    conversation::{Conversation as Described, Member},
    event::{Event, EventBody, LogEntry},
    setting::Setting,
};
use tertulia_domain::UserId;

/// Alice with an honest hub, and Bob with one that lies to him.
struct Two {
    liar: LyingHub,
    alice: Client,
    bob: Client,
    one_to_one: ConversationId,
}

async fn two() -> (Hub, Two) {
    let hub = Hub::start().await;
    let liar = LyingHub::before(&hub).await;
    let alice = hub.sign_up("alice").await;
    let bob = Client::builder(hub.home("bob")).sign_up(&liar.url, "bob", PASSWORD).await;
    let bob = bob.expect("signs up");
    let one_to_one = connect(&alice, &bob).await;
    (hub, Two { liar, alice, bob, one_to_one })
}

fn event(body: EventBody) -> Event {
    Event { cursor: String::new(), body }
}

fn entry(conversation: ConversationId, sequence: u64) -> LogEntry {
    LogEntry { conversation, sequence, sent_at: 1, sender: None }
}

fn admin(user: UserId) -> Member {
    Member { user, handle: "mallory".into(), role: RoleName::ADMIN, kind: tertulia::AccountKind::Person }
}

/// A conversation that was not asked for.
type Lie = (&'static str, fn(&mut Described));

#[tokio::test]
async fn a_group_begins_as_it_was_asked_for_or_not_at_all() {
    let (_hub, two) = two().await;
    let lies: [Lie; 5] = [
        ("it is open", |made| {
            made.access.insert(AccessMode::Link);
        }),
        ("messages go pairwise for now", |made| made.protocol = Protocol::Mixed),
        ("somebody else is its admin", |made| made.members.push(admin(UserId::from_bytes([0x66; 16])))),
        ("its commits are encrypted", |made| made.handshake = Handshake::Ciphertext),
        ("it is a channel", |made| made.kind = ConversationType::Channel),
    ];
    for (what, lie) in lies {
        two.liar.describe(lie);
        let refused = two.bob.create_group("Friday table", &[handle("alice")]).await.expect_err(what);
        assert!(matches!(refused, Error::UntrustworthyHub { .. }), "{what}: {refused}");
    }
    two.liar.repent();
    assert_eq!(two.bob.groups().await, Vec::<String>::new(), "nothing is left lying about");
    let made = two.bob.create_group("Friday table", &[handle("alice")]).await.expect("as it was asked for");
    assert_eq!(made.members.len(), 2);
}

#[tokio::test]
async fn a_group_does_not_become_a_channel_whose_name_the_hub_knows() {
    let (_hub, two) = two().await;
    let table = group(&two.alice, "Friday table", &[&two.bob]).await;
    assert_eq!(
        two.bob.conversation_named(table.id).await,
        (ConversationType::Group, "Friday table".to_owned())
    );
    two.liar.describe(|conversation| {
        conversation.kind = ConversationType::Channel;
        conversation.name = Some("Mallory's table".to_owned());
    });
    two.liar.say_once(event(EventBody::ConversationJoined { entry: entry(table.id, 90) }));
    two.bob.sync().await.expect("syncs");
    assert_eq!(
        two.bob.conversation_named(table.id).await,
        (ConversationType::Group, "Friday table".to_owned())
    );

    // Of one that Bob comes to know with the lie, its policy says what it is.
    let other = group(&two.alice, "Thursday table", &[&two.bob]).await;
    two.bob.sync().await.expect("syncs");
    assert_eq!(
        two.bob.conversation_named(other.id).await,
        (ConversationType::Group, "Thursday table".to_owned())
    );
}

#[tokio::test]
async fn what_the_hub_sets_of_a_1_to_1_counts_for_nothing() {
    let (_hub, two) = two().await;
    two.alice.send(two.one_to_one, "just us").await.expect("sends");
    assert_eq!(read(&two.bob, two.one_to_one).await, ["just us"]);
    let timer = Some(MessageTimer::try_from(1000).expect("a second"));
    two.liar.say_once(event(EventBody::Setting {
        entry: entry(two.one_to_one, 90),
        setting: Setting::MessageTimer(timer),
    }));
    two.bob.sync().await.expect("syncs");
    assert_eq!(two.bob.conversation(two.one_to_one).await.expect("there").message_timer, None);
}

/// What the tests ask of a client.
trait Shown {
    async fn groups(&self) -> Vec<String>;
    async fn conversation_named(&self, id: ConversationId) -> (ConversationType, String);
}

impl Shown for Client {
    async fn groups(&self) -> Vec<String> {
        let all: Vec<Conversation> = self.conversations().await.expect("readable");
        all.into_iter()
            .filter(|one| one.kind != ConversationType::OneToOne)
            .filter_map(|one| one.name)
            .collect()
    }

    async fn conversation_named(&self, id: ConversationId) -> (ConversationType, String) {
        self.sync().await.expect("syncs");
        let shown = self.conversation(id).await.expect("there");
        (shown.kind, shown.name.unwrap_or_default())
    }
}
