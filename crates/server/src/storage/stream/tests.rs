#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use super::{PageLimits, Position, Reader, page};
use crate::{
    cursors::{Cursors, Reading},
    storage::{
        Connection, Sql, WriteTx, conversations,
        log::{self, Entry, Kind},
        sql::params,
        testing,
    },
    wake::Wake,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tertulia_api::{UserDevice, event::EventBody};
use tertulia_domain::{ConversationId, DeviceId, RoleName, UserId};

const USERS: usize = 4;
const CONVERSATIONS: usize = 3;

/// What every user is to see, by position, kept beside the storage in the plainest way.
#[derive(Default)]
struct Model {
    inside: [[bool; CONVERSATIONS]; USERS],
    seen: [BTreeMap<Position, &'static str>; USERS],
}

fn user(number: usize) -> UserId {
    UserId::from_bytes([u8::try_from(number).unwrap() + 1; 16])
}

fn conversation(number: usize) -> ConversationId {
    ConversationId::from_bytes([u8::try_from(number).unwrap() + 101; 16])
}

fn prepare(tx: &WriteTx<'_>) {
    for number in 0..USERS {
        tx.prepare_cached("INSERT INTO users (id, handle, password, created_at) VALUES (?1, ?2, '', 0)")
            .unwrap()
            .execute(params![Sql(user(number)), format!("user-{number}")])
            .unwrap();
    }
    for number in 0..CONVERSATIONS {
        conversations::create_one_to_one(tx, conversation(number), user(0), 0).unwrap();
    }
}

/// One random change, in the storage and in the model.
fn step(tx: &WriteTx<'_>, model: &mut Model, random: &mut StdRng) {
    let (who, whereto) = (random.random_range(0..USERS), random.random_range(0..CONVERSATIONS));
    match random.random_range(0..10) {
        0..2 if model.inside[who][whereto] => {
            conversations::leave_silently(tx, conversation(whereto), user(who)).unwrap();
            model.inside[who][whereto] = false;
        }
        0..4 => {
            conversations::join(tx, conversation(whereto), user(who), &RoleName::MEMBER, 0).unwrap();
            if !model.inside[who][whereto] {
                model.seen[who].insert(tx.last_position(), "joined");
            }
            model.inside[who][whereto] = true;
        }
        _ => {
            let body = vec![0; random.random_range(0..2000)];
            let entry = Entry { body: Some(&body), ..Entry::default() };
            let place = log::append(tx, conversation(whereto), Kind::Message, &entry).unwrap();
            for (seen, inside) in model.seen.iter_mut().zip(model.inside) {
                if inside[whereto] {
                    seen.insert(place.position, "message");
                }
            }
        }
    }
}

fn read(db: &Connection, who: usize, since: Position, limits: PageLimits) -> Vec<(Position, &'static str)> {
    let device = UserDevice { user: user(who), device: DeviceId::new(1) };
    let cursors = Cursors::new(&[7; 64]);
    let place = |cursor: &str| cursors.place(Reading::Events(device), cursor).unwrap();
    let (mut since, mut events) = (since, Vec::new());
    loop {
        let (page, end) = page(db, Reader { device, cursors: &cursors }, since.into(), limits).unwrap();
        assert!(page.events.len() <= limits.events);
        assert!(!page.more || !page.events.is_empty(), "a page makes way");
        for event in page.events {
            let name = match event.body {
                EventBody::Message { .. } => "message",
                EventBody::ConversationJoined { .. } => "joined",
                other => panic!("not of the model: {other:?}"),
            };
            events.push((place(&event.cursor).position, name));
        }
        assert_eq!(place(&page.cursor), end);
        since = end.position;
        if !page.more {
            return events;
        }
    }
}

#[tokio::test]
async fn everybody_sees_what_was_said_while_they_were_there_in_order_and_once() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir().unwrap();
    let storage = testing::open(&testing::location(dir.path()), Wake::default(), |_| ());

    let model = storage
        .write(move |tx| {
            prepare(tx);
            let mut model = Model::default();
            for _ in 0..600 {
                step(tx, &mut model, &mut random);
            }
            Ok((model, random))
        })
        .await;
    let (model, mut random) = model.unwrap();
    storage
        .read(move |db| {
            for who in 0..USERS {
                let expected: Vec<_> = model.seen[who].iter().map(|(&at, &what)| (at, what)).collect();
                for _ in 0..5 {
                    let limits = PageLimits {
                        events: random.random_range(1..50),
                        bytes: random.random_range(1..20_000),
                    };
                    let since = random.random_range(0..600);
                    let after: Vec<_> = expected.iter().copied().filter(|&(at, _)| at > since).collect();
                    assert_eq!(read(db, who, since, limits), after, "user {who} since {since}, {limits:?}");
                    assert_eq!(read(db, who, 0, limits), expected, "user {who}, {limits:?}");
                }
            }
            Ok(())
        })
        .await
        .unwrap();
}
