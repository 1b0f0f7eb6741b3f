//! The table of connections with real clients: every cell that two people can bring about with what a client offers, against the
//! pure function of the domain.

use crate::support::{Hub, handle, read};
use std::collections::{BTreeSet, VecDeque};
use tertulia::{Client, Connection};
use tertulia_domain::connection::{
    Action, ConnectionError, LastRequest, OneToOneEffect, Presence, Status, Transition, transition,
};

/// The rows of two users, each way, by their names.
type Rows = [Option<Status>; 2];

/// What a person can do, as the domain has it.
fn actions() -> [(&'static str, Action); 5] {
    [
        ("connect", Action::Connect),
        ("accept", Action::Set(Status::Accepted)),
        ("ignore", Action::Set(Status::Ignored)),
        ("block", Action::Set(Status::Blocked)),
        ("cancel", Action::Set(Status::Cancelled)),
    ]
}

/// What there is between two users.
#[derive(Clone, Copy, Default)]
struct Pair {
    rows: Rows,
    /// Whether the last request was accepted.
    is_accepted: bool,
    /// Who joined the 1:1 last.
    joined_last: usize,
}

impl Pair {
    fn change(&self, who: usize, action: Action) -> Result<Transition, ConnectionError> {
        let last = match (self.is_accepted, self.joined_last == who) {
            (true, _) => LastRequest::Accepted,
            (false, true) => LastRequest::Mine,
            (false, false) => LastRequest::Theirs,
        };
        transition(action, self.rows[who], self.rows[1 - who], last)
    }

    fn after(mut self, who: usize, action: Action) -> Self {
        let Ok(done) = self.change(who, action) else { return self };
        (self.rows[who], self.rows[1 - who]) = (Some(done.mine), Some(done.theirs));
        match done.effects.one_to_one {
            OneToOneEffect::Unchanged => {}
            effect => self.is_accepted = effect == OneToOneEffect::Open,
        }
        for (user, presence) in [(who, done.effects.me), (1 - who, done.effects.them)] {
            if presence == Presence::Joins {
                self.joined_last = user;
            }
        }
        self
    }

    fn key(&self) -> ([&'static str; 2], bool, usize) {
        (self.rows.map(name), self.is_accepted, self.joined_last)
    }
}

fn name(row: Option<Status>) -> &'static str {
    row.map_or("none", Status::as_str)
}

/// An action with the rows of who acts and of the other, and whether the last request was the other's or was accepted.
type Cell = (&'static str, &'static str, &'static str, bool);

fn cell(pair: &Pair, who: usize, action: &'static str) -> Cell {
    let answers = pair.is_accepted || pair.joined_last != who;
    (action, name(pair.rows[who]), name(pair.rows[1 - who]), answers)
}

/// The first steps on the shortest way from this state to a cell that is open, that cell included. None if there is no way.
fn way(pair: Pair, open: &BTreeSet<Cell>) -> Option<Vec<(usize, &'static str, Action)>> {
    let mut seen = BTreeSet::from([pair.key()]);
    let mut waiting = VecDeque::from([(pair, Vec::new())]);
    while let Some((pair, steps)) = waiting.pop_front() {
        for who in [0, 1] {
            for (action_name, action) in actions() {
                let longer: Vec<_> = steps.iter().copied().chain([(who, action_name, action)]).collect();
                if open.contains(&cell(&pair, who, action_name)) {
                    return Some(longer);
                }
                let reached = pair.after(who, action);
                if seen.insert(reached.key()) {
                    waiting.push_back((reached, longer));
                }
            }
        }
    }
    None
}

/// All cells that can be reached.
fn cells() -> BTreeSet<Cell> {
    let (mut cells, mut seen) = (BTreeSet::new(), BTreeSet::new());
    let mut waiting = vec![Pair::default()];
    while let Some(pair) = waiting.pop() {
        if seen.insert(pair.key()) {
            for who in [0, 1] {
                for (action_name, action) in actions() {
                    cells.insert(cell(&pair, who, action_name));
                    waiting.push(pair.after(who, action));
                }
            }
        }
    }
    cells
}

async fn act(me: &Client, other: &Client, action: &str) -> tertulia::Result<Connection> {
    let other = &other.me().handle;
    match action {
        "connect" => me.connect(other).await,
        "accept" => me.accept(other).await,
        "ignore" => me.ignore(other).await,
        "block" => me.block(other).await,
        "cancel" => me.cancel(other).await,
        other => panic!("no action: {other}"),
    }
}

/// The row that a device shows of its user, once it has heard what there is.
async fn row(client: &Client) -> Option<Status> {
    client.sync().await.expect("syncs");
    let mut connections = client.connections().await.expect("readable");
    assert!(connections.len() <= 1);
    connections.pop().map(|connection| connection.status)
}

#[tokio::test]
async fn every_cell_that_two_clients_can_bring_about_is_as_the_table_says() {
    let hub = Hub::start().await;
    let mut open = cells();
    let all = open.len();
    let mut pairs = 0;
    while !open.is_empty() {
        pairs += 1;
        let people = [hub.sign_up(&format!("alice{pairs}")).await, hub.sign_up(&format!("bob{pairs}")).await];
        let mut pair = Pair::default();
        let before = open.len();
        while let Some(steps) = way(pair, &open) {
            for (who, action_name, action) in steps {
                let now = cell(&pair, who, action_name);
                let answer = act(&people[who], &people[1 - who], action_name).await;
                match pair.change(who, action) {
                    Ok(done) => assert_eq!(answer.expect("is done").status, done.mine, "{now:?}"),
                    Err(error) => {
                        assert_eq!(Some(answer.expect_err("is refused").code()), error.code(), "{now:?}");
                    }
                }
                pair = pair.after(who, action);
                for (who, client) in people.iter().enumerate() {
                    assert_eq!(row(client).await, pair.rows[who], "user {who} after {now:?}");
                }
                open.remove(&now);
            }
        }
        assert!(open.len() < before, "cells that no way leads to: {open:?}");
    }
    assert!(all > 50, "the table is not that small: {all}");

    // Whatever was between two people: once both have accepted, they talk.
    let [alice, bob] = [hub.sign_up("alice").await, hub.sign_up("bob").await];
    let courses = ["connect", "accept", "block", "accept"];
    for (turn, action) in courses.into_iter().enumerate() {
        let (me, other) = if turn == 0 { (&alice, &bob) } else { (&bob, &alice) };
        act(me, other, action).await.expect("is done");
    }
    let connected = alice.connect(&handle("bob")).await.expect("they are");
    alice.send(connected.conversation, "after all").await.expect("sends");
    assert_eq!(read(&bob, connected.conversation).await, ["after all"]);
}
