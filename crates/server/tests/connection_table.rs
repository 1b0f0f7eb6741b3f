//! The table of connections through the real API: every cell, both orders of crossing actions, and random courses of action,
//! with the pure function of the domain as the model.
#![allow(clippy::unwrap_used)]

mod support;

use futures::future::join_all;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::json;
use std::collections::{BTreeMap, VecDeque};
use support::database::Stored;
use support::hub::{Answer, Hub, Person};
use support::race;
use tertulia_api::{
    Code,
    connection::{Connection, Connections},
    conversation::Conversations,
    event::{Event, EventBody},
};
use tertulia_domain::{
    ConversationId, ConversationType, Domain,
    connection::{Action, LastRequest, OneToOneEffect, Presence, Status, transition},
};

/// The rows of two users, each way.
type Rows = [Option<Status>; 2];

/// What a user's devices are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Row(Status),
    Joined,
}

/// What the model says of a pair: its rows, the type of its 1:1, and what each was told so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Model {
    rows: Rows,
    one_to_one: Option<ConversationType>,
    /// Who joined the 1:1 last.
    joined_last: Option<usize>,
    told: [Vec<Told>; 2],
}

impl Model {
    /// What is answered to user `me` of the pair: the status of their row, or the code of an error.
    fn act(&mut self, me: usize, action: Action) -> Result<Status, Code> {
        let they = 1 - me;
        let last = match (self.one_to_one, self.joined_last) {
            (Some(ConversationType::OneToOne), _) => LastRequest::Accepted,
            (_, Some(last)) if last == they => LastRequest::Theirs,
            _ => LastRequest::Mine,
        };
        let done = transition(action, self.rows[me], self.rows[they], last)
            .map_err(|error| error.code().map_or(Code::Internal, |code| code.parse().unwrap()))?;
        self.rows[me] = Some(done.mine);
        self.rows[they] = Some(done.theirs);
        let effects = done.effects;
        for (user, status, told) in
            [(me, done.mine, effects.event_to_me), (they, done.theirs, effects.event_to_them)]
        {
            self.told[user].extend(told.then_some(Told::Row(status)));
        }
        match effects.one_to_one {
            OneToOneEffect::Unchanged => {}
            OneToOneEffect::Pending => self.one_to_one = Some(ConversationType::Connection),
            OneToOneEffect::Open => self.one_to_one = Some(ConversationType::OneToOne),
            OneToOneEffect::Ended => self.one_to_one = None,
        }
        for (user, presence) in [(me, effects.me), (they, effects.them)] {
            if presence == Presence::Joins {
                self.joined_last = Some(user);
                self.told[user].push(Told::Joined);
            }
        }
        Ok(done.mine)
    }

    fn after(course: &[(usize, Action)]) -> Self {
        let mut model = Self::default();
        for &(who, action) in course {
            let _ = model.act(who, action);
        }
        model
    }
}

fn actions() -> Vec<Action> {
    std::iter::once(Action::Connect).chain(Status::ALL.iter().copied().map(Action::Set)).collect()
}

fn rows() -> Vec<Option<Status>> {
    std::iter::once(None).chain(Status::ALL.iter().copied().map(Some)).collect()
}

fn key(rows: Rows) -> [Option<&'static str>; 2] {
    rows.map(|row| row.map(Status::as_str))
}

/// The shortest course of actions to each pair of rows that two users can bring about.
fn courses() -> BTreeMap<[Option<&'static str>; 2], Vec<(usize, Action)>> {
    let mut found = BTreeMap::from([(key([None, None]), Vec::new())]);
    let mut open = VecDeque::from([Vec::new()]);
    while let Some(course) = open.pop_front() {
        for action in actions() {
            for who in [0, 1] {
                let longer: Vec<_> = course.iter().copied().chain([(who, action)]).collect();
                let reached = key(Model::after(&longer).rows);
                found.entry(reached).or_insert_with(|| {
                    open.push_back(longer.clone());
                    longer
                });
            }
        }
    }
    found
}

/// Two users of a hub, who can begin anew.
struct Pair {
    people: [Person; 2],
    one_to_one: ConversationId,
    /// Where the streams of events were read to.
    read: [Option<String>; 2],
    /// The hub's database.
    stored: Stored,
}

impl Pair {
    async fn new(hub: &Hub, number: usize) -> Self {
        let people = [
            Person::sign_up(hub, &format!("alice{number}")).await,
            Person::sign_up(hub, &format!("bob{number}")).await,
        ];
        let domain = Domain::localhost();
        let one_to_one =
            ConversationId::one_to_one((&people[0].user, &domain), (&people[1].user, &domain)).id;
        let stored = hub.stored();
        Self { people, one_to_one, read: [None, None], stored }
    }

    async fn several(hub: &Hub, count: usize) -> Vec<Self> {
        join_all((0..count).map(|number| Self::new(hub, number))).await
    }

    async fn act(&self, who: usize, action: Action) -> Answer {
        let (me, other) = (&self.people[who], &self.people[1 - who]);
        match action {
            Action::Set(status) => me.set_connection(other, status.as_str()).await,
            _ => me.post("/v1/connections", &json!({ "handle": other.handle })).await,
        }
    }

    /// Makes them strangers again, behind the hub's back. Their events were all read.
    fn begin_anew(&self) {
        for sql in [
            "DELETE FROM members WHERE conversation = ?1",
            "DELETE FROM connections WHERE conversation = ?1",
            "DELETE FROM conversations WHERE id = ?1",
        ] {
            self.stored.execute(sql, [self.one_to_one.as_bytes()]);
        }
    }

    /// Gives one of them a row that no action leads to, behind the hub's back.
    fn set_row(&self, who: usize, row: Option<Status>) {
        let (me, other) = (self.people[who].user, self.people[1 - who].user);
        let (me, other) = (me.as_bytes(), other.as_bytes());
        match row {
            Some(status) => self.stored.execute(
                "UPDATE connections SET status = ?3 WHERE user_id = ?1 AND other = ?2",
                (me, other, status.as_str()),
            ),
            None => {
                self.stored.execute("DELETE FROM connections WHERE user_id = ?1 AND other = ?2", (me, other));
            }
        }
    }

    /// What each was told since the last time.
    async fn told(&mut self) -> [Vec<Told>; 2] {
        let mut told = [Vec::new(), Vec::new()];
        for who in [0, 1] {
            let events = self.people[who].events_since(self.read[who].as_deref()).await;
            if let Some(last) = events.last() {
                self.read[who] = Some(last.cursor.clone());
            }
            told[who] = events.iter().map(what_is_told).collect();
        }
        told
    }

    async fn rows(&self) -> Rows {
        let mut rows = [None, None];
        for (who, row) in rows.iter_mut().enumerate() {
            let all: Connections = self.people[who].get("/v1/connections").await.done();
            *row = all.connections.first().map(|connection| connection.status);
        }
        rows
    }

    /// The type that the 1:1 has for each; none to who is not in it.
    async fn seen_one_to_one(&self) -> [Option<ConversationType>; 2] {
        let mut seen = [None, None];
        for (who, kind) in seen.iter_mut().enumerate() {
            let all: Conversations = self.people[who].get("/v1/conversations").await.done();
            *kind = all.conversations.first().map(|conversation| conversation.kind);
        }
        seen
    }
}

fn what_is_told(event: &Event) -> Told {
    match &event.body {
        EventBody::ConnectionUpdated { connection } => Told::Row(connection.status),
        EventBody::ConversationJoined { .. } => Told::Joined,
        other => panic!("nothing of a connection: {other:?}"),
    }
}

#[track_caller]
fn check_answer(answer: Answer, expected: Result<Status, Code>, context: &str) {
    match expected {
        Ok(status) => {
            assert!(answer.status.is_success(), "{context}: {}", String::from_utf8_lossy(&answer.body));
            assert_eq!(answer.done::<Connection>().status, status, "{context}");
        }
        Err(code) => drop(answer.refused(code)),
    }
}

/// What each sees of the 1:1, by the model.
fn expected_one_to_one(model: &Model) -> [Option<ConversationType>; 2] {
    model.rows.map(|row| model.one_to_one.filter(|_| row.is_some_and(Status::is_in_one_to_one)))
}

#[tokio::test]
async fn every_cell_of_the_table_is_so_through_the_api() {
    const PAIRS: usize = 6;
    let hub = Hub::start_with(tempfile::tempdir().unwrap(), race::without_limit).await;
    let courses = courses();
    let mut cells = Vec::new();
    for mine in rows() {
        for theirs in rows() {
            cells.extend(actions().into_iter().map(|action| ([mine, theirs], action)));
        }
    }
    assert_eq!(cells.len(), 7 * 7 * 7);
    let share = cells.len().div_ceil(PAIRS);
    let pairs = Pair::several(&hub, PAIRS).await;
    let work = pairs.into_iter().zip(cells.chunks(share)).map(async |(mut pair, cells)| {
        for &(before, action) in cells {
            check_cell(&mut pair, courses.get(&key(before)), before, action).await;
        }
    });
    join_all(work).await;
}

async fn check_cell(pair: &mut Pair, course: Option<&Vec<(usize, Action)>>, before: Rows, action: Action) {
    let context = format!("{action:?} with {before:?}");
    pair.begin_anew();
    // A cell that no course leads to is made of one that is near.
    let connected = vec![(0, Action::Connect), (1, Action::Connect)];
    let mut model = Model::after(course.unwrap_or(&connected));
    for &(who, action) in course.unwrap_or(&connected) {
        assert!(pair.act(who, action).await.status.is_success(), "{context}");
    }
    if course.is_none() {
        for who in [0, 1] {
            pair.set_row(who, before[who]);
        }
        model.rows = before;
    }
    assert_eq!(pair.rows().await, before, "{context}");
    pair.told().await;
    model.told = Default::default();

    let unchanged = model.clone();
    let expected = model.act(0, action);
    if expected.is_err() {
        assert_eq!(model, unchanged);
    }
    check_answer(pair.act(0, action).await, expected, &context);
    assert_eq!(pair.rows().await, model.rows, "{context}");
    assert_eq!(pair.seen_one_to_one_if(course.is_some()).await, expected_if(&model, course), "{context}");
    let told = pair.told().await;
    let expected = if course.is_some() { model.told } else { without_joins(model.told) };
    let told = if course.is_some() { told } else { without_joins(told) };
    assert_eq!(told, expected, "{context}");
}

/// Who was in the 1:1 before is known only of cells that a course leads to.
fn without_joins(told: [Vec<Told>; 2]) -> [Vec<Told>; 2] {
    told.map(|told| told.into_iter().filter(|&told| told != Told::Joined).collect())
}

fn expected_if(model: &Model, course: Option<&Vec<(usize, Action)>>) -> [Option<ConversationType>; 2] {
    if course.is_some() { expected_one_to_one(model) } else { [None, None] }
}

impl Pair {
    async fn seen_one_to_one_if(&self, known: bool) -> [Option<ConversationType>; 2] {
        if known { self.seen_one_to_one().await } else { [None, None] }
    }
}

#[tokio::test]
async fn both_orders_of_crossing_actions_end_as_the_model_says() {
    const PAIRS: usize = 6;
    let hub = Hub::start_with(tempfile::tempdir().unwrap(), race::without_limit).await;
    let mut crossings = Vec::new();
    // Of two states that are each other's mirror image one is enough: each user does everything.
    for (_, course) in courses().into_iter().filter(|([mine, theirs], _)| mine <= theirs) {
        for one in actions() {
            for other in actions() {
                for order in [[(0, one), (1, other)], [(1, other), (0, one)]] {
                    crossings.push((course.clone(), order));
                }
            }
        }
    }
    let share = crossings.len().div_ceil(PAIRS);
    let pairs = Pair::several(&hub, PAIRS).await;
    let work = pairs.into_iter().zip(crossings.chunks(share)).map(async |(mut pair, crossings)| {
        for (course, order) in crossings {
            pair.begin_anew();
            let mut model = Model::default();
            for &(who, action) in course.iter().chain(order) {
                let context = format!("{who} {action:?} in {course:?} then {order:?}");
                let expected = model.act(who, action);
                check_answer(pair.act(who, action).await, expected, &context);
            }
            assert_eq!(pair.told().await, model.told, "{course:?} then {order:?}");
            assert_eq!(pair.rows().await, model.rows, "{course:?} then {order:?}");
        }
    });
    join_all(work).await;
}

#[tokio::test]
async fn actions_at_the_same_time_are_done_one_after_the_other() {
    const PAIRS: usize = 6;
    let hub = Hub::start_with(tempfile::tempdir().unwrap(), race::without_limit).await;
    let mut crossings = Vec::new();
    let asked = vec![(0, Action::Connect)];
    let connected = vec![(0, Action::Connect), (1, Action::Connect)];
    for course in [Vec::new(), asked, connected] {
        for one in actions() {
            for other in actions() {
                crossings.push((course.clone(), one, other));
            }
        }
    }
    let share = crossings.len().div_ceil(PAIRS);
    let pairs = Pair::several(&hub, PAIRS).await;
    let work = pairs.into_iter().zip(crossings.chunks(share)).map(async |(mut pair, crossings)| {
        for (course, one, other) in crossings {
            pair.begin_anew();
            for &(who, action) in course {
                pair.act(who, action).await.done::<Connection>();
            }
            let (first, second) = tokio::join!(pair.act(0, *one), pair.act(1, *other));
            let seen = (
                [first, second].map(|answer| answer.status.is_success()),
                pair.rows().await,
                pair.told().await,
            );
            let either = [[(0, *one), (1, *other)], [(1, *other), (0, *one)]].map(|order| {
                let mut model = Model::after(course);
                let mut done = [false, false];
                for (who, action) in order {
                    done[who] = model.act(who, action).is_ok();
                }
                (done, model.rows, model.told)
            });
            assert!(either.contains(&seen), "{course:?}, {one:?} and {other:?}: {seen:?}");
        }
    });
    join_all(work).await;
}

#[tokio::test]
async fn a_thousand_random_courses_end_as_the_model_says() {
    const PAIRS: usize = 8;
    const COURSES: usize = 1000;
    const STEPS: usize = 8;
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let actions = actions();
    let courses: Vec<Vec<(usize, Action)>> = (0..COURSES)
        .map(|_| {
            let step = |random: &mut StdRng| {
                (random.random_range(0..2), actions[random.random_range(0..actions.len())])
            };
            (0..STEPS).map(|_| step(&mut random)).collect()
        })
        .collect();

    let hub = Hub::start_with(tempfile::tempdir().unwrap(), race::without_limit).await;
    let pairs = Pair::several(&hub, PAIRS).await;
    let work =
        pairs.into_iter().zip(courses.chunks(COURSES.div_ceil(PAIRS))).map(async |(mut pair, courses)| {
            for course in courses {
                pair.begin_anew();
                let mut model = Model::default();
                for &(who, action) in course {
                    let context = format!("seed {seed}, {who} {action:?} in {course:?}");
                    let expected = model.act(who, action);
                    check_answer(pair.act(who, action).await, expected, &context);
                }
                assert_eq!(pair.rows().await, model.rows, "seed {seed}, {course:?}");
                assert_eq!(
                    pair.seen_one_to_one().await,
                    expected_one_to_one(&model),
                    "seed {seed}, {course:?}"
                );
                assert_eq!(pair.told().await, model.told, "seed {seed}, {course:?}");
            }
        });
    join_all(work).await;
}
