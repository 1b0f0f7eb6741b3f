//! A device on a bad line: its socket is cut again and again.
#![allow(clippy::unwrap_used)]

mod support;

use futures::SinkExt as _;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::json;
use std::collections::HashMap;
use support::{
    hub::{Hub, Person, one_to_one},
    mls::{Config, encrypt},
    socket::{Socket, next, open},
};
use tertulia_api::event::{Event, EventPage};
use tertulia_domain::ConversationId;
use tokio_tungstenite::tungstenite::Message;

const RECONNECTIONS: usize = 1000;

/// Most events that are read in one connection.
const AT_ONCE: usize = 6;

/// What a device keeps: the events, each once, and up to where it has them.
#[derive(Default)]
struct Kept {
    events: Vec<Event>,
    by_number: HashMap<(ConversationId, u64), usize>,
    /// Where it would go on by its own account.
    cursor: Option<String>,
}

impl Kept {
    /// Keeps an event unless it is there, by its conversation and number; then it has to be the same.
    fn take(&mut self, event: Event) {
        let entry = event.body.entry().expect("nothing else happens to this user");
        if let Some(&place) = self.by_number.get(&(entry.conversation, entry.sequence)) {
            assert_eq!(self.events[place], event, "another event of the same number");
        } else {
            self.by_number.insert((entry.conversation, entry.sequence), self.events.len());
            self.cursor = Some(event.cursor.clone());
            self.events.push(event);
        }
    }
}

async fn acknowledge(socket: &mut Socket, cursor: &str) {
    socket.send(Message::text(json!({ "type": "ack", "cursor": cursor }).to_string())).await.unwrap();
}

/// Somebody who writes to the device's user.
struct Writer {
    person: Person,
    conversation: ConversationId,
    group: mls_rs::Group<Config>,
    said: usize,
}

impl Writer {
    async fn say(&mut self) {
        let message = encrypt(&mut self.group, &format!("number {}", self.said));
        self.person.sent(self.conversation, message).await;
        self.said += 1;
    }
}

#[tokio::test]
async fn a_device_that_reconnects_a_thousand_times_loses_nothing_and_sees_nothing_twice() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let hub = Hub::start().await;
    let bob = Person::sign_up(&hub, "bob").await;
    let mut writers = Vec::new();
    for handle in ["alice", "carol"] {
        let person = Person::sign_up(&hub, handle).await;
        let (conversation, group, _) = one_to_one(&person, &bob).await;
        writers.push(Writer { person, conversation, group, said: 0 });
    }
    let begin = bob.get("/v1/events?limit=1000").await.done::<EventPage>().cursor;
    let mut socket = open(&bob, "").await;
    acknowledge(&mut socket, &begin).await;
    // The hub takes frames in order, and closes the socket at what it does not know: the acknowledgement is stored by then.
    socket.send(Message::text("{}")).await.unwrap();
    support::socket::closed(&mut socket).await;

    let (mut kept, mut sent) = (Kept::default(), 0);
    for _ in 0..RECONNECTIONS {
        // Some is there before the device connects, some comes while it is connected.
        let (before, during) = (random.random_range(0..=1), random.random_range(0..=1));
        for _ in 0..before {
            writers[random.random_range(0..2)].say().await;
            sent += 1;
        }
        // It goes on where it stands, or leaves it to the hub to know that, which may be behind.
        let since = kept.cursor.as_ref().filter(|_| random.random_bool(0.5));
        let query = since.map(|since| format!("?since={since}")).unwrap_or_default();
        let mut socket = open(&bob, &query).await;
        for _ in 0..during {
            writers[random.random_range(0..2)].say().await;
            sent += 1;
        }
        // So many are sure to come.
        let most = (sent - kept.events.len()).min(AT_ONCE);
        for _ in 0..random.random_range(0..=most) {
            let event = next(&mut socket).await;
            let cursor = event.cursor.clone();
            kept.take(event);
            if random.random_bool(0.4) {
                // What it has had before may be acknowledged again.
                acknowledge(&mut socket, &cursor).await;
            }
        }
        if random.random_bool(0.3) {
            // In good order; or else the line is cut, whatever is on its way.
            let _ = socket.close(None).await;
        }
    }
    let query = kept.cursor.as_ref().map(|since| format!("?since={since}")).unwrap_or_default();
    let mut socket = open(&bob, &query).await;
    while kept.events.len() < sent {
        kept.take(next(&mut socket).await);
    }

    // The log as it is, read in one go.
    assert_eq!(kept.events, bob.events_since(Some(&begin)).await, "seed {seed}");
    assert_eq!(sent, writers.iter().map(|writer| writer.said).sum::<usize>());
    assert!(sent > RECONNECTIONS / 2, "there was something to lose: {sent}");
}
