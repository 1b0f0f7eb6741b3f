//! The table of connections with real clients: every cell that two people can bring about with what a client offers, against the
//! pure function of the domain.

use crate::support::{Hub, handle, read};
use std::collections::{BTreeSet, VecDeque};
use tertulia::{Client, Connection};
use tertulia_domain::connection::{Action, Status, transition};

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

fn after(rows: Rows, who: usize, action: Action) -> Rows {
    match transition(action, rows[who], rows[1 - who]) {
        Ok(done) => {
            let mut rows = rows;
            (rows[who], rows[1 - who]) = (Some(done.mine), Some(done.theirs));
            rows
        }
        Err(_) => rows,
    }
}

fn name(row: Option<Status>) -> &'static str {
    row.map_or("none", Status::as_str)
}

/// An action with the rows of who acts and of the other.
type Cell = (&'static str, &'static str, &'static str);

fn cell(rows: Rows, who: usize, action: &'static str) -> Cell {
    (action, name(rows[who]), name(rows[1 - who]))
}

/// The first steps on the shortest way from these rows to a cell that is open, that cell included. None if there is no way.
fn way(rows: Rows, open: &BTreeSet<Cell>) -> Option<Vec<(usize, &'static str, Action)>> {
    let key = |rows: Rows| rows.map(name);
    let mut seen = BTreeSet::from([key(rows)]);
    let mut waiting = VecDeque::from([(rows, Vec::new())]);
    while let Some((rows, steps)) = waiting.pop_front() {
        for who in [0, 1] {
            for (action_name, action) in actions() {
                let longer: Vec<_> = steps.iter().copied().chain([(who, action_name, action)]).collect();
                if open.contains(&cell(rows, who, action_name)) {
                    return Some(longer);
                }
                let reached = after(rows, who, action);
                if seen.insert(key(reached)) {
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
    let mut waiting = vec![[None, None]];
    while let Some(rows) = waiting.pop() {
        if seen.insert(rows.map(name)) {
            for who in [0, 1] {
                for (action_name, action) in actions() {
                    cells.insert(cell(rows, who, action_name));
                    waiting.push(after(rows, who, action));
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
        let mut rows: Rows = [None, None];
        let before = open.len();
        while let Some(steps) = way(rows, &open) {
            for (who, action_name, action) in steps {
                let now = cell(rows, who, action_name);
                let answer = act(&people[who], &people[1 - who], action_name).await;
                match transition(action, rows[who], rows[1 - who]) {
                    Ok(done) => assert_eq!(answer.expect("is done").status, done.mine, "{now:?}"),
                    Err(error) => {
                        assert_eq!(Some(answer.expect_err("is refused").code()), error.code(), "{now:?}");
                    }
                }
                rows = after(rows, who, action);
                for (who, client) in people.iter().enumerate() {
                    assert_eq!(row(client).await, rows[who], "user {who} after {now:?}");
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
