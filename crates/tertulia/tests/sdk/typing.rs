//! Who is typing.

use crate::support::{Hub, connect, texts};
use futures::{Stream, StreamExt as _};
use std::pin::{Pin, pin};
use tertulia::{Client, ClientEvent, Result};

type Events<'a> = Pin<&'a mut dyn Stream<Item = Result<ClientEvent>>>;

/// The next that is about typing or a message.
async fn next(events: &mut Events<'_>) -> ClientEvent {
    loop {
        let event = events.next().await.expect("goes on").expect("no error");
        if matches!(event, ClientEvent::Typing { .. } | ClientEvent::Message(_)) {
            return event;
        }
    }
}

#[tokio::test]
async fn the_other_sees_who_types_until_they_stop_or_their_message_is_there() {
    let hub = Hub::start().await;
    let (alice, bob) = (hub.sign_up("alice").await, hub.sign_up("bob").await);
    let one_to_one = connect(&alice, &bob).await;
    let mut events = pin!(bob.events());
    while !matches!(events.next().await, Some(Ok(ClientEvent::CaughtUp))) {}
    let mut events: Events<'_> = events;
    alice.send(one_to_one, "so that the stream is live").await.expect("sends");
    assert!(matches!(next(&mut events).await, ClientEvent::Message(_)));
    let stored = hub.database("SELECT count(*) FROM log");

    let by_alice = |typing| ClientEvent::Typing { conversation: one_to_one, user: alice.me().user, typing };
    alice.typing(one_to_one, true).await.expect("tells");
    assert_eq!(next(&mut events).await, by_alice(true));
    alice.typing(one_to_one, true).await.expect("goes on");
    alice.typing(one_to_one, false).await.expect("tells");
    assert_eq!(next(&mut events).await, by_alice(false));
    assert_eq!(hub.database("SELECT count(*) FROM log"), stored, "nothing of it is stored");

    alice.typing(one_to_one, true).await.expect("tells");
    assert_eq!(next(&mut events).await, by_alice(true));
    alice.send(one_to_one, "here it is").await.expect("sends");
    assert_eq!(next(&mut events).await, by_alice(false));
    let ClientEvent::Message(message) = next(&mut events).await else { panic!("not the message") };
    assert_eq!(message.text, "here it is");
}

#[tokio::test]
async fn nothing_of_it_waits_for_who_is_away() {
    let hub = Hub::start().await;
    let (alice, bob) = (hub.sign_up("alice").await, hub.sign_up("bob").await);
    let one_to_one = connect(&alice, &bob).await;
    bob.sync().await.expect("syncs");
    alice.typing(one_to_one, true).await.expect("tells whoever is there");
    assert_eq!(bob.sync().await.expect("syncs").events, 0);
    assert!(texts(&bob, one_to_one).await.is_empty());
    let stranger: Client = hub.sign_up("carol").await;
    assert_eq!(stranger.typing(one_to_one, true).await.expect_err("not in it").code(), "no-conversation");
}
