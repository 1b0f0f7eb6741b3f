//! The relay, in a hub and alone: what it takes, what it gives, and what it refuses.
#![allow(clippy::unwrap_used)]

mod support;

use futures::{SinkExt as _, StreamExt as _, future::join_all};
use serde_json::json;
use std::{collections::BTreeSet, time::Duration};
use support::{
    database::on_postgres,
    hub::{Answer, Hub},
    open::Client,
    relay::{Alone, Envelopes, easy, now, post, post_worked, read, shown, stamp, topic},
    socket::{Socket, closed},
};
use tempfile::TempDir;
use tertulia_api::{
    Code,
    relay::{EnvelopeTaken, RelayPages, RelayTerms},
};
use tertulia_conversation::{topic::ContentTopic, work::Stamp};
use tertulia_server::{Rate, RelayLimits};
use tertulia_transport::{Cursor, Page, Position, Relay, RelayNews, RelaySocket, TransportError};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Message, protocol::frame::coding::CloseCode},
};

/// A hub whose relay has these terms.
async fn hub_with(dir: TempDir, change: impl FnOnce(&mut RelayLimits)) -> Hub {
    let mut limits = easy();
    change(&mut limits);
    Hub::start_with(dir, |config| config.relay = Some(limits)).await
}

async fn hub() -> Hub {
    hub_with(tempfile::tempdir().unwrap(), |_| ()).await
}

fn client(base: &str) -> Relay {
    Relay::new(base).unwrap()
}

/// All that there is in a topic, page by page.
async fn all(relay: &Relay, topic: ContentTopic, limit: u32) -> Vec<(Position, Vec<u8>)> {
    let (mut envelopes, mut cursor) = (Vec::new(), None);
    loop {
        let page = relay.page(&topic, cursor, limit).await.unwrap();
        assert!(!page.missed);
        envelopes.extend(page.envelopes);
        if !page.more {
            return envelopes;
        }
        cursor = Some(page.cursor);
    }
}

fn numbered(envelopes: &[Vec<u8>]) -> Vec<(Position, Vec<u8>)> {
    (1..).map(Position).zip(envelopes.iter().cloned()).collect()
}

fn refused(error: TransportError) -> String {
    match error {
        TransportError::Refused(problem) => problem.code,
        other => panic!("not a refusal: {other}"),
    }
}

/// The next envelope on a socket.
async fn next(socket: &mut RelaySocket) -> (ContentTopic, Position, Vec<u8>, Cursor) {
    loop {
        match socket.next().await.unwrap().expect("the socket is open") {
            RelayNews::Envelope { topic, position, bytes, cursor } => {
                return (topic, position, bytes, cursor);
            }
            RelayNews::CaughtUp { .. } => {}
            other => panic!("not an envelope: {other:?}"),
        }
    }
}

async fn caught_up(socket: &mut RelaySocket) -> Vec<(ContentTopic, Cursor)> {
    loop {
        match socket.next().await.unwrap().expect("the socket is open") {
            RelayNews::CaughtUp { topics } => return topics,
            RelayNews::Envelope { .. } => {}
            other => panic!("not caught up: {other:?}"),
        }
    }
}

#[tokio::test]
async fn what_is_posted_is_kept_once_and_read_in_order_in_a_hub_and_alone() {
    let (hub, alone) = (hub().await, Alone::start().await);
    for base in [&hub.base, &alone.base] {
        let (relay, mut envelopes) = (client(base), Envelopes::new());
        let terms = relay.terms().await.unwrap();
        assert_eq!((terms.difficulty, terms.max_envelope, terms.log.len()), (4, (1 << 20) + 112, 32));
        assert!(terms.now.abs_diff(now()) < 60 && terms.retention == 14 * 24 * 3600);

        let (a, b) = (topic(7), topic(300));
        let (of_a, of_b): (Vec<_>, Vec<_>) =
            ((0..5).map(|_| envelopes.next()).collect(), (0..2).map(|_| envelopes.next()).collect());
        for (topic, of_topic) in [(a, &of_a), (b, &of_b)] {
            for (position, envelope) in (1..).zip(of_topic) {
                assert_eq!(relay.post(&topic, envelope).await.unwrap(), Position(position));
            }
        }
        // Once more, whatever stamp it has; and the same bytes elsewhere are something else.
        assert_eq!(relay.post(&a, &of_a[2]).await.unwrap(), Position(3));
        assert_eq!(relay.post(&b, &of_a[2]).await.unwrap(), Position(3));
        for limit in [1, 2, 256] {
            assert_eq!(all(&relay, a, limit).await, numbered(&of_a));
            assert_eq!(all(&relay, b, limit).await.len(), 3);
        }
        assert!(all(&relay, topic(8), 10).await.is_empty());

        // From where one has come to, from now on, and of both at once.
        let first = relay.page(&a, None, 4).await.unwrap();
        assert!(first.more && first.envelopes.len() == 4);
        let rest = relay.page(&a, Some(first.cursor), 4).await.unwrap();
        assert_eq!(rest.envelopes, [(Position(5), of_a[4].clone())]);
        let end = relay.page(&a, Some(rest.cursor.clone()), 4).await.unwrap();
        assert_eq!(end, Page { envelopes: vec![], cursor: rest.cursor.clone(), missed: false, more: false });
        assert_eq!(relay.page(&a, Some(Cursor::newest()), 4).await.unwrap(), end);
        let both = relay.wait(&[(a, Some(rest.cursor)), (b, None)], Duration::ZERO).await.unwrap();
        assert_eq!(
            both.iter().map(|(topic, page)| (*topic, page.envelopes.len())).collect::<Vec<_>>(),
            [(b, 3)]
        );
    }
    assert!(alone.number("tertulia_relay_envelopes_total{what=\"new\"}").await > 7.0);
    assert!(alone.number("tertulia_relay_envelopes_total{what=\"known\"}").await > 0.0);
    hub.stop().await;
    alone.stop().await;
}

#[tokio::test]
async fn a_topic_behind_one_that_fills_the_answer_has_a_page_that_says_that_there_is_more() {
    let (relay, mut envelopes) = (Alone::start().await, Envelopes::new());
    let (to, full, behind) = (client(&relay.base), topic(7), topic(300));
    let start =
        |pages: Vec<(ContentTopic, Page)>| pages.into_iter().map(|(topic, page)| (topic, Some(page.cursor)));
    let places: Vec<_> =
        start(to.wait(&[(full, None), (behind, None)], Duration::ZERO).await.unwrap()).collect();
    assert_eq!(places.len(), 2);
    for _ in 0..300 {
        to.post(&full, &envelopes.next()).await.unwrap();
    }
    let said = envelopes.next();
    to.post(&behind, &said).await.unwrap();
    let pages = to.wait(&places, Duration::ZERO).await.unwrap();
    let [(first, filled), (second, empty)] = &pages[..] else { panic!("two pages: {pages:?}") };
    assert_eq!((*first, *second), (full, behind));
    assert!(filled.more && filled.envelopes.len() > 200 && filled.envelopes.len() <= 256);
    let expected =
        Page { envelopes: vec![], cursor: places[1].1.clone().unwrap(), missed: false, more: true };
    assert_eq!(*empty, expected, "it goes on where it was");
    // Asked for first, it has its turn; and where there is nothing there is no page.
    let turned: Vec<_> = [
        (behind, places[1].1.clone()),
        (topic(8), Some(Cursor::newest())),
        (full, Some(filled.cursor.clone())),
    ]
    .into();
    let pages = to.wait(&turned, Duration::ZERO).await.unwrap();
    assert_eq!(pages[0].1.envelopes, [(Position(1), said)]);
    let rest = &pages.last().unwrap().1;
    assert_eq!((filled.envelopes.len() + rest.envelopes.len(), rest.more), (300, false));
    let places: Vec<_> = start(pages).collect();
    assert!(to.wait(&places, Duration::ZERO).await.unwrap().is_empty());
    relay.stop().await;
}

#[tokio::test]
async fn an_envelope_of_any_size_class_up_to_the_largest_is_given_back_as_it_was() {
    let (relay, mut envelopes) = (Alone::start().await, Envelopes::new());
    let to = client(&relay.base);
    let posted: Vec<_> = (10..=20).map(|class| envelopes.of_class(1 << class)).collect();
    for envelope in &posted {
        to.post(&topic(0), envelope).await.unwrap();
    }
    assert_eq!(all(&to, topic(0), 256).await, numbered(&posted));
    let mut socket = to.subscribe(&[(topic(0), None)]).await.unwrap();
    for (number, envelope) in (1..).zip(&posted) {
        let (_, position, bytes, _) = next(&mut socket).await;
        assert_eq!((position, &bytes), (Position(number), envelope));
    }
    let too_large = envelopes.of_class(1 << 21);
    assert_eq!(refused(to.post(&topic(0), &too_large).await.unwrap_err()), "payload-too-large");
    relay.stop().await;
}

#[tokio::test]
async fn each_refusal_says_what_is_wrong_and_keeps_nothing() {
    let (hub, mut envelopes) = (hub().await, Envelopes::new());
    let (base, talk) = (hub.base.as_str(), topic(300));
    let (name, envelope) = (talk.to_string(), envelopes.next());
    let good = stamp(talk, &envelope);

    post(base, "/tertulia/1/talk-999/proto", &good, envelope.clone()).await.refused(Code::UnknownTopic);
    post(base, "", &good, envelope.clone()).await.refused(Code::UnknownTopic);
    post(base, &name, "17", envelope.clone()).await.refused(Code::BadRequest);

    // The work is for this envelope, topic and hour.
    let other = envelopes.next();
    let too_easy = |topic: ContentTopic, envelope: &[u8]| {
        let mut numbers = (0..).map(|number| Stamp { hour: now() / 3600, number });
        shown(numbers.find(|stamp| stamp.verify(&topic, envelope, 4, now()).is_err()).unwrap())
    };
    let problem = post(base, &name, &too_easy(talk, &other), other).await.refused(Code::TooLittleWork);
    assert!(problem.detail.contains("4 are asked for"), "{}", problem.detail);
    for hours in [-2, 2] {
        let at = now().checked_add_signed(hours * 3600).unwrap();
        let stamp = shown(Stamp::make(&talk, &envelope, 4, at).unwrap());
        post(base, &name, &stamp, envelope.clone()).await.refused(Code::StaleStamp);
    }

    // It is no store for whatever one has.
    let nothing = Vec::new();
    let file = b"what somebody would like to have kept".to_vec();
    let mut damaged = envelope.clone();
    damaged[40] ^= 1;
    let padded = [&envelope[..], &[0]].concat();
    for bytes in [nothing, file, damaged, padded] {
        post_worked(base, talk, &bytes).await.refused(Code::NotAnEnvelope);
    }
    let too_large = vec![0; (1 << 20) + 113];
    post_worked(base, talk, &too_large).await.refused(Code::PayloadTooLarge);
    // What is long takes more work.
    let long = envelopes.of_class(1 << 18);
    let short_of = (0..).map(|number| Stamp { hour: now() / 3600, number });
    let mut short_of = short_of.filter(|stamp| stamp.verify(&talk, &long, 4, now()).is_ok());
    let short_of = short_of.find(|stamp| stamp.verify(&talk, &long, 8, now()).is_err()).unwrap();
    let problem = post(base, &name, &shown(short_of), long).await.refused(Code::TooLittleWork);
    assert!(problem.detail.contains("8 are asked for"), "{}", problem.detail);
    let request = reqwest::Client::new().post(format!("{base}/v1/relay/envelopes")).body(envelope.clone());
    assert_eq!(request.send().await.unwrap().status(), 400);
    let request = reqwest::Client::new().post(format!("{base}/v1/relay/envelopes"));
    let request =
        request.header("tertulia-topic", &name).header("tertulia-stamp", &good).body(envelope.clone());
    assert_eq!(request.send().await.unwrap().status(), 415);

    // Of several things that are wrong the first is told, in the order of docs/spec/relay.md.
    let ask = async |headers: &[(&str, &str)]| {
        let request = reqwest::Client::new().post(format!("{base}/v1/relay/envelopes")).body("junk");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let response = request.send().await.unwrap();
        Answer { status: response.status(), body: response.bytes().await.unwrap().to_vec() }
    };
    let (unknown, named) =
        (("tertulia-topic", "/tertulia/1/talk-999/proto"), ("tertulia-topic", name.as_str()));
    let missing = ask(&[("tertulia-stamp", "17")]).await.refused(Code::BadRequest);
    assert!(missing.detail.contains("tertulia-topic"), "{}", missing.detail);
    ask(&[unknown, ("tertulia-stamp", "17")]).await.refused(Code::UnknownTopic);
    let missing = ask(&[named]).await.refused(Code::BadRequest);
    assert!(missing.detail.contains("tertulia-stamp"), "{}", missing.detail);
    ask(&[named, ("tertulia-stamp", &good)]).await.refused(Code::UnsupportedMediaType);

    assert!(all(&client(base), talk, 256).await.is_empty());
    // What a later version adds is none of the relay's business.
    let later = [&envelope[..], &[0x58, 7]].concat();
    assert_eq!(post_worked(base, talk, &later).await.done::<EnvelopeTaken>().position, 1);

    for wrong in [
        json!({ "topics": [] }),
        json!({ "topics": [{ "topic": name }, { "topic": name }] }),
        json!({ "topics": [{ "topic": name, "after": "17" }] }),
        json!({ "topics": [{ "topic": name }], "limit": 0 }),
        json!({ "topics": [{ "topic": name }], "limit": 257 }),
        json!({ "topics": [{ "topic": name }], "wait": 31 }),
        json!({ "topics": [{ "topic": name }], "since": 1 }),
    ] {
        read(base, wrong).await.refused(Code::BadRequest);
    }
    read(base, json!({ "topics": [{ "topic": "/waku/2/default/proto" }] })).await.refused(Code::UnknownTopic);
    let many: Vec<_> = (0..513).map(|_| json!({ "topic": name })).collect();
    read(base, json!({ "topics": many })).await.refused(Code::BadRequest);
    hub.stop().await;
}

#[tokio::test]
async fn a_client_does_the_work_anew_when_the_terms_have_changed() {
    let (relay, mut envelopes) = (Alone::start().await, Envelopes::new());
    let to = client(&relay.base);
    to.post(&topic(1), &envelopes.next()).await.unwrap();
    let port: u16 = relay.base.rsplit(':').next().unwrap().parse().unwrap();
    let dir = relay.stop().await;
    // The same address, and other terms: the client has the old ones.
    let mut config = tertulia_server::RelayConfig::new(([127, 0, 0, 1], port).into(), dir.path());
    config.limits = RelayLimits { difficulty: 14, ..easy() };
    let server = tertulia_server::RelayServer::bind(config).await.unwrap();
    let running = tokio::spawn(server.run(std::future::pending()));
    assert_eq!(to.post(&topic(1), &envelopes.next()).await.unwrap(), Position(2));
    running.abort();
}

#[tokio::test]
async fn many_who_post_at_once_get_positions_without_gaps_and_the_same_bytes_one() {
    let (hub, mut envelopes) = (hub().await, Envelopes::new());
    let relay = client(&hub.base);
    relay.terms().await.unwrap();
    let posted: Vec<_> = (0..40).map(|_| envelopes.next()).collect();
    // Each by three at once.
    let positions = join_all((0..120).map(|number| {
        let (relay, envelope) = (relay.clone(), &posted[number % 40]);
        async move { (number % 40, relay.post(&topic(9), envelope).await.unwrap()) }
    }))
    .await;
    let distinct: BTreeSet<_> = positions.iter().copied().collect();
    assert_eq!(distinct.len(), 40, "the same bytes have got several positions");
    let numbers: BTreeSet<_> = distinct.iter().map(|(_, position)| position.0).collect();
    assert_eq!(numbers, (1..=40).collect());
    let kept = all(&relay, topic(9), 7).await;
    for (number, position) in distinct {
        assert_eq!(kept[usize::try_from(position.0).unwrap() - 1], (position, posted[number].clone()));
    }
    hub.stop().await;
}

#[tokio::test]
async fn a_restart_keeps_envelopes_positions_and_cursors_and_another_database_is_noticed() {
    let (hub, mut envelopes) = (hub().await, Envelopes::new());
    let posted: Vec<_> = (0..4).map(|_| envelopes.next()).collect();
    let relay = client(&hub.base);
    for envelope in &posted[..3] {
        relay.post(&topic(5), envelope).await.unwrap();
    }
    let (log, cursor) =
        (relay.terms().await.unwrap().log, relay.page(&topic(5), None, 2).await.unwrap().cursor);

    let hub = hub_with(hub.stop().await, |_| ()).await;
    let relay = client(&hub.base);
    assert_eq!(relay.terms().await.unwrap().log, log);
    assert_eq!(relay.post(&topic(5), &posted[1]).await.unwrap(), Position(2));
    assert_eq!(relay.post(&topic(5), &posted[3]).await.unwrap(), Position(4));
    assert_eq!(all(&relay, topic(5), 256).await, numbered(&posted));
    let page = relay.page(&topic(5), Some(cursor.clone()), 256).await.unwrap();
    assert_eq!((page.envelopes.len(), page.missed), (2, false));
    hub.stop().await;

    // In the place of that relay another one, which knows nothing.
    let other = Alone::start().await;
    let relay = client(&other.base);
    assert_ne!(relay.terms().await.unwrap().log, log);
    let page = relay.page(&topic(5), Some(cursor.clone()), 256).await.unwrap();
    assert_eq!((page.envelopes.len(), page.missed), (0, true));
    relay.post(&topic(5), &posted[0]).await.unwrap();
    let mut socket = relay.subscribe(&[(topic(5), Some(cursor))]).await.unwrap();
    let RelayNews::Missed { topic: of, cursor } = socket.next().await.unwrap().unwrap() else {
        panic!("missed")
    };
    assert_eq!(of, topic(5));
    assert_eq!(next(&mut socket).await.2, posted[0]);
    let page = relay.page(&topic(5), Some(cursor), 256).await.unwrap();
    assert_eq!((page.envelopes.len(), page.missed), (1, false));
    other.stop().await;
}

#[tokio::test]
async fn who_waits_is_answered_when_something_comes_and_when_the_time_is_over() {
    let (relay, mut envelopes) = (Alone::start().await, Envelopes::new());
    let to = client(&relay.base);
    let posted = envelopes.next();
    let end = to.page(&topic(1), None, 1).await.unwrap().cursor;
    let waiting = {
        let to = to.clone();
        let places = [(topic(1), Some(end)), (topic(2), None)];
        tokio::spawn(async move { to.wait(&places, Duration::from_secs(30)).await.unwrap() })
    };
    while relay.number("tertulia_relay_places_taken").await < 1.0 {
        tokio::task::yield_now().await;
    }
    to.post(&topic(3), &envelopes.next()).await.unwrap();
    to.post(&topic(1), &posted).await.unwrap();
    let pages = waiting.await.unwrap();
    let of_1 = pages.iter().find(|(of, _)| *of == topic(1)).unwrap();
    assert_eq!(of_1.1.envelopes, [(Position(1), posted)]);

    // A second is the shortest wait that there is.
    let nothing = to.wait(&[(topic(2), Some(Cursor::newest()))], Duration::from_secs(1)).await.unwrap();
    assert!(nothing.iter().all(|(_, page)| page.envelopes.is_empty() && !page.missed));

    // A relay that stops holds nobody up.
    let waiting = {
        let to = to.clone();
        tokio::spawn(async move { to.wait(&[(topic(2), None)], Duration::from_secs(30)).await })
    };
    while relay.number("tertulia_relay_places_taken").await < 1.0 {
        tokio::task::yield_now().await;
    }
    let (_dir, running) = relay.request_stop();
    running.await.unwrap().unwrap();
    assert!(waiting.await.unwrap().unwrap().iter().all(|(_, page)| page.envelopes.is_empty()));
}

#[tokio::test]
async fn a_socket_gives_what_is_there_says_so_and_then_gives_what_comes_in_all_topics() {
    let (hub, mut envelopes) = (hub().await, Envelopes::new());
    let relay = client(&hub.base);
    let topics: Vec<_> = ContentTopic::all().collect();
    let before: Vec<_> = (0..100).map(|_| envelopes.next()).collect();
    for (number, envelope) in before.iter().enumerate() {
        relay.post(&topics[number % 3], envelope).await.unwrap();
    }
    // All topics that there are.
    let mut socket =
        relay.subscribe(&topics.iter().map(|topic| (*topic, None)).collect::<Vec<_>>()).await.unwrap();
    let mut seen = BTreeSet::new();
    let cursors = loop {
        match socket.next().await.unwrap().unwrap() {
            RelayNews::Envelope { topic, position, bytes, .. } => {
                assert!(seen.insert((topic, position, bytes)));
            }
            RelayNews::CaughtUp { topics } => break topics,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((seen.len(), cursors.len()), (100, 512));
    for (number, envelope) in before.iter().enumerate() {
        let position = Position(number as u64 / 3 + 1);
        assert!(seen.contains(&(topics[number % 3], position, envelope.clone())));
    }
    // Each topic brings the next one.
    let mut last = None;
    for topic in topics.iter().rev().take(50) {
        let envelope = envelopes.next();
        relay.post(topic, &envelope).await.unwrap();
        let (of, position, bytes, cursor) = next(&mut socket).await;
        assert_eq!((of, position, bytes), (*topic, Position(1), envelope));
        last = Some((*topic, cursor));
    }
    // And with the cursors it goes on.
    let (of, cursor) = last.unwrap();
    let envelope = envelopes.next();
    relay.post(&of, &envelope).await.unwrap();
    let mut other = relay.subscribe(&[(of, Some(cursor)), (topic(0), Some(Cursor::newest()))]).await.unwrap();
    assert_eq!(next(&mut other).await.2, envelope);
    assert_eq!(caught_up(&mut other).await.len(), 2);
    let envelope = envelopes.next();
    relay.post(&topic(0), &envelope).await.unwrap();
    assert_eq!(next(&mut other).await.2, envelope);

    let stopped = hub.request_stop();
    while socket.next().await.unwrap().is_some() {}
    stopped.1.await.unwrap().unwrap();
}

async fn raw_socket(base: &str) -> Socket {
    connect_async(format!("{}/v1/relay/stream", base.replacen("http", "ws", 1))).await.unwrap().0
}

#[tokio::test]
async fn a_socket_on_which_something_else_is_said_is_closed() {
    let relay = Alone::start_with(tempfile::tempdir().unwrap(), |limits| {
        limits.body_timeout = Duration::from_millis(300);
    })
    .await;
    let good = json!({ "topics": [{ "topic": topic(1).to_string() }] }).to_string();
    for first in [
        "hello",
        r#"{"topics":[]}"#,
        r#"{"topics":[{"topic":"/waku/2/default/proto"}]}"#,
        r#"{"topics":[{"topic":"/tertulia/1/talk-1/proto","after":"x"}]}"#,
    ] {
        let mut socket = raw_socket(&relay.base).await;
        socket.send(Message::text(first)).await.unwrap();
        assert_eq!(closed(&mut socket).await, CloseCode::Policy, "{first}");
    }
    let mut silent = raw_socket(&relay.base).await;
    assert_eq!(closed(&mut silent).await, CloseCode::Policy);
    let mut twice = raw_socket(&relay.base).await;
    twice.send(Message::text(good.clone())).await.unwrap();
    twice.send(Message::text(good)).await.unwrap();
    assert_eq!(closed(&mut twice).await, CloseCode::Policy);
    let no_upgrade = reqwest::Client::new().get(format!("{}/v1/relay/stream", relay.base));
    Answer::to(no_upgrade).await.refused(Code::BadRequest);
    relay.stop().await;
}

#[tokio::test]
async fn what_was_kept_for_long_enough_is_cut_and_who_has_not_read_it_is_told() {
    let (hub, mut envelopes) = (hub().await, Envelopes::new());
    let relay = client(&hub.base);
    let posted: Vec<_> = (0..1203).map(|_| envelopes.next()).collect();
    for some in posted.chunks(50) {
        let topic = topic(5);
        join_all(some.iter().map(|envelope| relay.post(&topic, envelope))).await;
    }
    relay.post(&topic(6), &posted[0]).await.unwrap();
    let kept = all(&relay, topic(5), 256).await;
    let early = relay.page(&topic(5), None, 2).await.unwrap().cursor;
    let late = relay.page(&topic(5), None, 256).await.unwrap();
    assert!(late.more && late.envelopes.len() > 2);
    // All but three are older than two weeks.
    let old = i64::try_from(now() * 1000).unwrap() - 15 * 24 * 3600 * 1000;
    hub.change("UPDATE relay_envelopes SET taken_at = ?1 WHERE topic = 5 AND position <= 1200", [old]);
    let hub = hub_with(hub.stop().await, |_| ()).await;
    while hub.stored().number("SELECT count(*) FROM relay_envelopes WHERE topic = 5") > 3 {
        tokio::task::yield_now().await;
    }
    let relay = client(&hub.base);
    // Who comes now misses nothing; who has read before does.
    assert_eq!(all(&relay, topic(5), 256).await, kept[1200..]);
    for cursor in [early.clone(), late.cursor] {
        let page = relay.page(&topic(5), Some(cursor), 256).await.unwrap();
        assert_eq!((&page.envelopes[..], page.missed, page.more), (&kept[1200..], true, false));
        let page = relay.page(&topic(5), Some(page.cursor), 256).await.unwrap();
        assert_eq!((page.envelopes.len(), page.missed), (0, false));
    }
    let mut socket = relay.subscribe(&[(topic(5), Some(early))]).await.unwrap();
    assert!(
        matches!(socket.next().await.unwrap(), Some(RelayNews::Missed { topic: of, .. }) if of == topic(5))
    );
    assert_eq!(next(&mut socket).await.1, Position(1201));
    // The others are untouched, positions go on, and the bytes are counted.
    assert_eq!(all(&relay, topic(6), 256).await.len(), 1);
    assert_eq!(relay.post(&topic(5), &envelopes.next()).await.unwrap(), Position(1204));
    let bytes = hub.stored().number("SELECT bytes FROM relay_topics WHERE topic = 5");
    assert_eq!(
        bytes,
        hub.stored().number("SELECT CAST(sum(size) AS BIGINT) FROM relay_envelopes WHERE topic = 5")
    );
    hub.stop().await;
}

#[tokio::test]
async fn a_topic_and_a_relay_that_are_full_refuse_until_something_has_gone() {
    let mut envelopes = Envelopes::new();
    let size = envelopes.next().len() as u64;
    let small = |limits: &mut RelayLimits| (limits.topic_bytes, limits.bytes) = (4 * size, 6 * size);
    let hub = hub_with(tempfile::tempdir().unwrap(), small).await;
    let relay = client(&hub.base);
    for _ in 0..4 {
        relay.post(&topic(1), &envelopes.next()).await.unwrap();
    }
    let again = envelopes.next();
    post_worked(&hub.base, topic(1), &again).await.refused(Code::RelayFull);
    relay.post(&topic(2), &envelopes.next()).await.unwrap();
    relay.post(&topic(3), &envelopes.next()).await.unwrap();
    let error = relay.post(&topic(4), &again).await.unwrap_err();
    assert!(error.is_transient());
    assert_eq!(refused(error), "relay-full");
    // What is there can be read, and said again.
    let kept = all(&relay, topic(1), 256).await;
    assert_eq!(relay.post(&topic(1), &kept[0].1).await.unwrap(), Position(1));

    // A day later half of the room is made free, of what was there most of.
    let yesterday = i64::try_from(now() * 1000).unwrap() - 25 * 3600 * 1000;
    hub.change("UPDATE relay_envelopes SET taken_at = ?1 WHERE position <= 3", [yesterday]);
    let hub = hub_with(hub.stop().await, small).await;
    let relay = client(&hub.base);
    while hub.stored().number("SELECT count(*) FROM relay_envelopes") > 3 {
        tokio::task::yield_now().await;
    }
    assert_eq!(relay.post(&topic(1), &again).await.unwrap(), Position(5));
    hub.stop().await;
}

#[tokio::test]
async fn one_address_cannot_take_what_is_for_all() {
    let relay = Alone::start_with(tempfile::tempdir().unwrap(), |limits| {
        let hour = Duration::from_hours(1);
        limits.posts = Rate { burst: 3, period: hour };
        limits.reads = Rate { burst: 20, period: hour };
        limits.places_per_address = 2;
    })
    .await;
    let mut envelopes = Envelopes::new();
    for _ in 0..3 {
        let envelope = envelopes.next();
        post_worked(&relay.base, topic(1), &envelope).await.done::<EnvelopeTaken>();
    }
    let problem = post_worked(&relay.base, topic(1), &envelopes.next()).await.refused(Code::RateLimited);
    assert!(problem.retry_after.unwrap() > 1000);

    let mut held = [raw_socket(&relay.base).await, raw_socket(&relay.base).await];
    for socket in &mut held {
        let subscribe = json!({ "topics": [{ "topic": topic(2).to_string() }] });
        socket.send(Message::text(subscribe.to_string())).await.unwrap();
        socket.next().await.unwrap().unwrap(); // all that there is was given
    }
    let some = json!({ "topics": [{ "topic": topic(1).to_string() }] });
    read(&relay.base, some.clone()).await.refused(Code::RateLimited);
    assert!(relay.number("tertulia_refused_total{limit=\"relay_places\"}").await > 0.0);
    drop(held);
    while relay.number("tertulia_relay_places_taken").await > 0.0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(read(&relay.base, some.clone()).await.done::<RelayPages>().pages[0].envelopes.len(), 3);
    while read(&relay.base, some.clone()).await.status != 429 {}
    relay.stop().await;
}

#[tokio::test]
async fn an_envelope_that_does_not_come_holds_its_place_for_a_time_only() {
    let relay = Alone::start_with(tempfile::tempdir().unwrap(), |limits| {
        limits.body_timeout = Duration::from_millis(300);
    })
    .await;
    let address = relay.base.strip_prefix("http://").unwrap();
    for request in [
        format!(
            "POST /v1/relay/envelopes HTTP/1.1\r\nhost: {address}\r\ntertulia-topic: {}\r\ntertulia-stamp: 1:1\r\n\
             content-type: application/octet-stream\r\ncontent-length: 1000\r\n\r\nabc",
            topic(1)
        ),
        format!(
            "POST /v1/relay/read HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
             content-length: 1000\r\n\r\n{{"
        ),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 503");
    }
    assert!(relay.number("tertulia_relay_places_taken").await < 1.0);
    relay.stop().await;
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_closed_and_holds_nobody_up() {
    let relay = Alone::start_with(tempfile::tempdir().unwrap(), |limits| {
        limits.reader_timeout = Duration::from_millis(500);
    })
    .await;
    let mut envelopes = Envelopes::new();
    let to = client(&relay.base);
    let mut idle = raw_socket(&relay.base).await;
    let subscribe = json!({ "topics": [{ "topic": topic(1).to_string() }] });
    idle.send(Message::text(subscribe.to_string())).await.unwrap();
    let mut reader = to.subscribe(&[(topic(1), None)]).await.unwrap();
    // More than the system holds for who does not read.
    for number in 1..=60 {
        let envelope = envelopes.of_class(1 << 18);
        to.post(&topic(1), &envelope).await.unwrap();
        let (_, position, bytes, _) = next(&mut reader).await;
        assert_eq!((position, bytes), (Position(number), envelope));
    }
    while relay.number("tertulia_relay_places_taken").await > 1.0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(next_position(&to, &mut reader, &mut envelopes).await, Position(61));
    relay.stop().await;
}

async fn next_position(to: &Relay, reader: &mut RelaySocket, envelopes: &mut Envelopes) -> Position {
    to.post(&topic(1), &envelopes.next()).await.unwrap();
    next(reader).await.1
}

#[tokio::test]
async fn every_topic_can_be_used_at_once_by_many() {
    let (relay, mut envelopes) = (Alone::start().await, Envelopes::new());
    let to = client(&relay.base);
    to.terms().await.unwrap();
    let topics: Vec<_> = ContentTopic::all().collect();
    // Eight who read, each a part of all, of which the parts overlap.
    let mut sockets = Vec::new();
    for part in 0..8 {
        let places: Vec<_> = topics.iter().skip(part * 32).step_by(2).map(|topic| (*topic, None)).collect();
        let mut socket = to.subscribe(&places).await.unwrap();
        caught_up(&mut socket).await;
        sockets.push((places, socket));
    }
    let posted: Vec<_> =
        topics.iter().flat_map(|topic| [*topic; 4]).map(|topic| (topic, envelopes.next())).collect();
    for some in posted.chunks(64) {
        for answer in join_all(some.iter().map(|(topic, envelope)| to.post(topic, envelope))).await {
            assert!((1..=4).contains(&answer.unwrap().0));
        }
    }
    for (places, socket) in &mut sockets {
        let mut seen = BTreeSet::new();
        for _ in 0..places.len() * 4 {
            let (topic, position, ..) = next(socket).await;
            assert!(seen.insert((topic, position)), "it came twice");
        }
        assert!(
            places.iter().all(|(topic, _)| (1..=4).all(|number| seen.contains(&(*topic, Position(number)))))
        );
    }
    relay.stop().await;
}

#[tokio::test]
async fn a_hub_can_be_without_a_relay_and_a_relay_is_no_hub() {
    let hub = Hub::start_with(tempfile::tempdir().unwrap(), |config| config.relay = None).await;
    let client = Client::new(&hub);
    client.get("/v1/relay").await.refused(Code::NotFound);
    let description: serde_json::Value = client.get("/v1/openapi.json").await.done();
    assert!(description["paths"].as_object().unwrap().keys().all(|path| !path.contains("relay")));
    hub.stop().await;

    let relay = Alone::start().await;
    let get = |path: &'static str| reqwest::get(format!("{}{path}", relay.base));
    assert_eq!(get("/healthz").await.unwrap().text().await.unwrap(), "ok\n");
    assert_eq!(get("/v1/self").await.unwrap().status(), 404);
    let description: serde_json::Value = get("/v1/openapi.json").await.unwrap().json().await.unwrap();
    let mut paths: Vec<_> = description["paths"].as_object().unwrap().keys().cloned().collect();
    paths.sort();
    assert_eq!(paths, ["/healthz", "/v1/relay", "/v1/relay/envelopes", "/v1/relay/read", "/v1/relay/stream"]);
    let terms: RelayTerms = get("/v1/relay").await.unwrap().json().await.unwrap();
    assert_eq!(terms.difficulty, 4);
    let dir = relay.stop().await;
    // Its file has what the writer counts with, and envelopes; no table of a hub.
    let file = rusqlite::Connection::open(dir.path().join("relay.db")).unwrap();
    let mut tables =
        file.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").unwrap();
    let tables: Vec<String> = tables.query_map((), |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(tables, ["hub", "relay_envelopes", "relay_log", "relay_topics"]);
}

#[tokio::test]
async fn who_reads_a_hub_that_was_restored_notices() {
    if on_postgres() {
        return; // its server makes the backups
    }
    let (hub, mut envelopes) = (hub().await, Envelopes::new());
    let relay = client(&hub.base);
    let before = envelopes.next();
    relay.post(&topic(1), &before).await.unwrap();
    let (place, log) = (tempfile::tempdir().unwrap(), relay.terms().await.unwrap().log);
    let backup = place.path().join("backup");
    tertulia_server::back_up(hub.dir.path(), &backup).unwrap();
    relay.post(&topic(1), &envelopes.next()).await.unwrap();
    let cursor = relay.page(&topic(1), None, 256).await.unwrap().cursor;
    let dir = hub.stop().await;
    tertulia_server::restore(&backup, dir.path(), true).unwrap();

    let hub = hub_with(dir, |_| ()).await;
    let relay = client(&hub.base);
    assert_ne!(relay.terms().await.unwrap().log, log);
    // The second position is given out once more, for something else, and nobody takes it for what was there.
    let other = envelopes.next();
    assert_eq!(relay.post(&topic(1), &other).await.unwrap(), Position(2));
    let page = relay.page(&topic(1), Some(cursor), 256).await.unwrap();
    assert_eq!((page.envelopes, page.missed), (numbered(&[before, other]), true));
    hub.stop().await;
}
