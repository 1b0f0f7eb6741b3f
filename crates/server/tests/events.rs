//! The event stream of a device, read in pages and live.
#![allow(clippy::unwrap_used)]

mod support;

use futures::SinkExt as _;
use mls_rs::{Extension, ExtensionList, extension::ExtensionType};
use reqwest::StatusCode;
use serde_json::json;
use std::collections::BTreeSet;
use support::{
    hub::{Answer, Hub, Person, connect, one_to_one, types},
    mls::{commit, encrypt},
    socket::{Socket, closed, next, open, try_open},
};
use tertulia_api::{
    Code,
    conversation::CommitAccepted,
    event::{EventBody, EventPage},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};
use tokio_tungstenite::tungstenite::{Error, Message, protocol::frame::coding::CloseCode};

async fn acknowledge(socket: &mut Socket, cursor: &str) {
    socket.send(Message::text(json!({ "type": "ack", "cursor": cursor }).to_string())).await.unwrap();
}

#[tokio::test]
async fn pages_of_any_size_hold_the_same_events_in_the_same_order() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (bob, carol) = (Person::sign_up(&hub, "bob").await, Person::sign_up(&hub, "carol").await);
    let (with_bob, mut to_bob, _) = one_to_one(&alice, &bob).await;
    let (with_carol, mut to_carol, _) = one_to_one(&alice, &carol).await;
    for n in 0..5 {
        alice.sent(with_bob, encrypt(&mut to_bob, &format!("to bob {n}"))).await;
        alice.sent(with_carol, encrypt(&mut to_carol, &format!("to carol {n}"))).await;
    }

    let all = alice.events().await;
    let sent: Vec<_> = all
        .iter()
        .filter_map(|event| match &event.body {
            EventBody::Message { entry, .. } => Some(entry.conversation),
            _ => None,
        })
        .collect();
    assert_eq!(sent, [with_bob, with_carol].repeat(5), "merged in the order of acceptance");
    for limit in [1, 2, 3, 7, 1000] {
        let (mut events, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let since = cursor.map(|cursor| format!("&since={cursor}")).unwrap_or_default();
            let page: EventPage = alice.get(&format!("/v1/events?limit={limit}{since}")).await.done();
            assert!(page.events.len() <= limit);
            assert!(page.events.last().is_none_or(|last| last.cursor == page.cursor));
            events.extend(page.events);
            cursor = Some(page.cursor);
            if !page.more {
                break;
            }
        }
        assert_eq!(events, all, "{limit} on a page");
    }
    let middle = &all[all.len() / 2];
    assert_eq!(alice.events_since(Some(&middle.cursor)).await, all[all.len() / 2 + 1..]);
    // In each conversation the numbers rise.
    for conversation in [with_bob, with_carol] {
        let entries = all.iter().filter_map(|event| event.body.entry());
        let in_log = entries.filter(|entry| entry.conversation == conversation && entry.sender.is_some());
        let numbers: Vec<_> = in_log.map(|entry| entry.sequence).collect();
        assert!(numbers.is_sorted() && numbers.iter().collect::<BTreeSet<_>>().len() == numbers.len());
    }
}

#[tokio::test]
async fn a_page_stops_at_its_size_in_bytes() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (conversation, mut at_alice, _) = one_to_one(&alice, &bob).await;
    let text = "x".repeat(180 * 1024);
    for _ in 0..25 {
        alice.sent(conversation, encrypt(&mut at_alice, &text)).await;
    }
    let answer = bob.get("/v1/events").await;
    assert!(answer.body.len() < 5 * 1024 * 1024, "{} bytes", answer.body.len());
    let page: EventPage = answer.done();
    assert!(page.more);
    let messages = types(&bob.events().await);
    assert_eq!(messages.iter().filter(|name| name.as_str() == "conversation.message").count(), 25);
}

#[tokio::test]
async fn a_device_reads_from_its_registration_on() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (conversation, mut at_alice, _) = one_to_one(&alice, &bob).await;
    alice.sent(conversation, encrypt(&mut at_alice, "before")).await;
    let laptop = Person::log_in(&hub, "bob").await;
    let page: EventPage = laptop.get("/v1/events").await.done();
    assert_eq!((page.events, page.more), (vec![], false));
    // Nor does a place that was read elsewhere lead there: the laptop is told, and goes on where it began.
    let earlier = bob.events().await[0].cursor.clone();
    let told = laptop.get(&format!("/v1/events?since={earlier}")).await.refused(Code::EventsMissed);
    assert_eq!(told.resume, Some(page.cursor));
    let after = alice.sent(conversation, encrypt(&mut at_alice, "after")).await;
    let events = laptop.events().await;
    let sequences: Vec<_> = events.iter().filter_map(|event| event.body.entry()).collect();
    assert_eq!(sequences.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), [after.sequence]);
}

#[tokio::test]
async fn cursors_of_other_hubs_and_other_nonsense_are_refused() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    for since in
        ["", "p", "7", "p-1", "p1", "p999999", "p1~p7", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]
    {
        alice.get(&format!("/v1/events?since={since}")).await.refused(Code::EventsMissed);
    }
    for query in ["limit=0", "limit=1001", "wait=61", "wait=x"] {
        alice.get(&format!("/v1/events?{query}")).await.refused(Code::BadRequest);
    }
    let Err(Error::Http(response)) = try_open(&alice, "?since=p999999").await else { panic!("refused") };
    let body = response.body().clone().unwrap_or_default();
    Answer { status: response.status(), body }.refused(Code::EventsMissed);
    alice.get("/v1/events/stream").await.refused(Code::BadRequest);
}

#[tokio::test]
async fn who_waits_is_woken_by_the_first_event() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (conversation, mut at_alice, _) = one_to_one(&alice, &bob).await;
    let end = bob.events().await.last().unwrap().cursor.clone();
    let path = format!("/v1/events?wait=60&since={end}");
    // Whether the message comes before or while bob waits: he gets it, long before the minute is over.
    let message = encrypt(&mut at_alice, "wake up");
    let (page, _) = tokio::join!(bob.get(&path), alice.send(conversation, message));
    assert_eq!(types(&page.done::<EventPage>().events), ["conversation.message"]);
}

#[tokio::test]
async fn a_socket_gives_what_is_there_and_what_comes() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (conversation, mut at_alice, _) = one_to_one(&alice, &bob).await;
    let stored = bob.events().await;
    let mut socket = open(&bob, "").await;
    for event in &stored {
        assert_eq!(&next(&mut socket).await, event);
    }
    for n in 0..300 {
        let sent = alice.sent(conversation, encrypt(&mut at_alice, &format!("live {n}"))).await;
        let event = next(&mut socket).await;
        assert_eq!(event.body.entry().unwrap().sequence, sent.sequence);
    }
    let bundle = commit(&mut at_alice, &[], &[]);
    alice.committed(conversation, &mut at_alice, &bundle).await;
    assert!(matches!(next(&mut socket).await.body, EventBody::Commit { epoch: 2, .. }));
}

#[tokio::test]
async fn what_is_not_acknowledged_comes_again() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (conversation, mut at_alice, _) = one_to_one(&alice, &bob).await;
    for n in 0..10 {
        alice.sent(conversation, encrypt(&mut at_alice, &format!("number {n}"))).await;
    }
    let all = bob.events().await;
    let mut socket = open(&bob, "").await;
    for _ in 0..all.len() {
        next(&mut socket).await;
    }
    acknowledge(&mut socket, &all[3].cursor).await;
    acknowledge(&mut socket, &all[1].cursor).await; // never goes back
    // The hub takes frames in order: once it has refused this one, it has stored the acknowledgements.
    socket.send(Message::text("{}")).await.unwrap();
    assert_eq!(closed(&mut socket).await, CloseCode::Policy);

    assert_eq!(bob.events().await, all[4..]);
    let mut socket = open(&bob, "").await;
    assert_eq!(next(&mut socket).await, all[4]);
    let mut socket = open(&bob, &format!("?since={}", all[7].cursor)).await;
    assert_eq!(next(&mut socket).await, all[8]);

    let hub = Hub::start_in(hub.stop().await).await;
    let bob = Person { base: hub.base.clone(), ..bob };
    assert_eq!(bob.events().await, all[4..]);
}

#[tokio::test]
async fn acknowledgements_that_come_one_upon_another_are_stored_once() {
    const MESSAGES: usize = 40;
    let hub = Hub::start_with(tempfile::tempdir().unwrap(), |config| {
        config.metrics = Some(([127, 0, 0, 1], 0).into());
    })
    .await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (conversation, mut at_alice, _) = one_to_one(&alice, &bob).await;
    for n in 0..MESSAGES {
        alice.sent(conversation, encrypt(&mut at_alice, &format!("number {n}"))).await;
    }
    let all = bob.events().await;
    let jobs = async || {
        let numbers = hub.numbers().await;
        let sum = numbers.lines().find_map(|line| line.strip_prefix("tertulia_writer_batch_jobs_sum "));
        sum.unwrap().parse::<f64>().unwrap()
    };
    let before = jobs().await;
    let mut socket = open(&bob, "").await;
    for _ in 0..5 {
        for event in &all {
            acknowledge(&mut socket, &event.cursor).await;
        }
    }
    socket.send(Message::text("{}")).await.unwrap();
    assert_eq!(closed(&mut socket).await, CloseCode::Policy);
    // Each that was stored was further than the one before: of the many there were never as many as there are events.
    let stored = jobs().await - before;
    assert!(stored < 20.0, "{stored} were stored");
    assert_eq!(bob.events().await, [], "the furthest counts");
}

#[tokio::test]
async fn a_socket_that_talks_nonsense_is_closed() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    for nonsense in [
        Message::text("hello"),
        Message::text(r#"{"type":"subscribe"}"#),
        Message::text(r#"{"type":"ack","cursor":"x"}"#),
        Message::text(r#"{"type":"ack","cursor":"p999999"}"#),
        Message::binary(vec![0; 16]),
    ] {
        let mut socket = open(&alice, "").await;
        socket.send(nonsense).await.unwrap();
        assert_eq!(closed(&mut socket).await, CloseCode::Policy);
    }
}

#[tokio::test]
async fn a_socket_ends_with_its_session_and_with_no_other() {
    let hub = Hub::start().await;
    let laptop = Person::sign_up(&hub, "alice").await;
    let phone = Person::log_in(&hub, "alice").await;
    let (mut of_laptop, mut of_phone) = (open(&laptop, "").await, open(&phone, "").await);
    assert_eq!(types(&[next(&mut of_laptop).await]), ["device.added"]);
    laptop.delete("/v1/sessions/current").await.empty();
    assert_eq!(closed(&mut of_laptop).await, CloseCode::Policy);

    let bob = Person::sign_up(&hub, "bob").await;
    bob.connect(&phone).await;
    assert_eq!(types(&[next(&mut of_phone).await]), ["connection.updated"]);
}

#[tokio::test]
async fn a_hub_that_stops_closes_its_sockets_and_answers_who_waits() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    connect(&alice, &bob).await;
    let mut socket = open(&alice, "").await;
    next(&mut socket).await;
    let end = bob.events().await.last().unwrap().cursor.clone();
    let path = format!("/v1/events?wait=60&since={end}");
    let waiting = tokio::spawn(async move { bob.get(&path).await });
    let (_dir, stopped) = hub.request_stop();
    assert_eq!(closed(&mut socket).await, CloseCode::Away);
    stopped.await.unwrap().unwrap();
    // It was answered, or came too late to be taken at all.
    if let Ok(answer) = waiting.await {
        assert_eq!(answer.done::<EventPage>().events, []);
    }
}

#[tokio::test]
async fn a_session_without_a_device_has_no_events() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let http = reqwest::Client::new();
    let credentials = json!({ "handle": "alice", "password": support::hub::PASSWORD });
    let session = http.post(format!("{}/v1/sessions", hub.base)).json(&credentials).send().await.unwrap();
    let session: tertulia_api::account::Session = session.json().await.unwrap();
    let without = Person { token: session.token, ..alice };
    without.get("/v1/events").await.refused(Code::NoDevice);
    let nobody = Person { token: "none".into(), ..without };
    nobody.get("/v1/events").await.refused(Code::Unauthenticated);
}

#[tokio::test]
async fn a_device_reads_and_waits_in_so_many_places_at_once() {
    let hub =
        Hub::start_with(tempfile::tempdir().unwrap(), |config| config.limits.readers_per_device = 2).await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (tablet, bob) = (Person::log_in(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (first, second) = (open(&alice, "").await, open(&alice, "").await);
    let Err(Error::Http(refused)) = try_open(&alice, "").await else { panic!("a third was opened") };
    assert_eq!(refused.status().as_u16(), Code::RateLimited.status());
    let problem = alice.get("/v1/events?wait=60").await.refused(Code::RateLimited);
    assert_eq!(problem.retry_after, Some(5));
    // Each device has its own.
    open(&tablet, "").await;
    tablet.get("/v1/events").await.done::<EventPage>();

    // A place that is given back can be taken again, also by who waits.
    drop(first);
    let since = loop {
        let answer = alice.get("/v1/events").await;
        if answer.status.as_u16() != Code::RateLimited.status() {
            break answer.done::<EventPage>().cursor;
        }
    };
    let path = format!("/v1/events?wait=60&since={since}");
    let waiting = async {
        loop {
            let answer = alice.get(&path).await;
            if answer.status.as_u16() != Code::RateLimited.status() {
                return answer.done::<EventPage>().events;
            }
        }
    };
    let something = async {
        while alice.get("/v1/events").await.status.as_u16() != Code::RateLimited.status() {}
        bob.connect(&alice).await;
    };
    let (events, ()) = tokio::join!(waiting, something);
    assert!(!events.is_empty());
    drop(second);
}

/// Asks for something over a connection of its own, and reads no more than how the answer begins.
async fn ask_and_do_not_read(person: &Person, path: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let address = person.base.strip_prefix("http://").unwrap().parse().unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: hub\r\nauthorization: Bearer {}\r\n\r\n", person.token);
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).await.unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200");
    stream
}

#[tokio::test]
async fn long_answers_that_are_not_read_take_places_of_their_device() {
    // More than the sockets between the two can hold.
    const LONG: usize = 16 << 20;
    let hub = Hub::start_with(tempfile::tempdir().unwrap(), |config| {
        config.limits.readers_per_device = 2;
        config.limits.commit_bytes = 2 * LONG;
    })
    .await;
    let alice = Person::sign_up(&hub, "alice").await;
    let phone = Person::log_in(&hub, "alice").await;
    let (conversation, mut group) = alice.new_group().await;
    let mut bundle = commit(&mut group, &[], &[]);
    group.apply_pending_commit().unwrap();
    let mut padding = ExtensionList::new();
    padding.set(Extension::new(ExtensionType::new(0xf0f0), vec![0; LONG]));
    bundle.group_info = group.group_info_message_allowing_ext_commit_with_extensions(true, padding).unwrap();
    alice.commit(conversation, &bundle).await.done::<CommitAccepted>();

    let path = format!("/v1/conversations/{conversation}/group-info");
    let first = ask_and_do_not_read(&alice, &path).await;
    let second = ask_and_do_not_read(&alice, &path).await;
    let problem = alice.get(&path).await.refused(Code::RateLimited);
    assert_eq!(problem.retry_after, Some(5));
    // They are the places in which it reads events.
    alice.get("/v1/events").await.refused(Code::RateLimited);
    // What is short needs none, and each device has its own.
    assert_eq!(alice.conversation(conversation).await.epoch, 1);
    assert_eq!(phone.group_info(conversation).await, bundle.group_info.to_bytes().unwrap());
    // What is not read any more is held no longer.
    drop(first);
    while alice.get("/v1/events").await.status == StatusCode::TOO_MANY_REQUESTS {}
    assert!(alice.group_info(conversation).await.len() > LONG);
    drop(second);
}
