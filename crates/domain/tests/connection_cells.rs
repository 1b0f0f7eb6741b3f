//! The connection state machine against a table of every cell, written out in `connection_cells.txt`.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use tertulia_domain::connection::{
    Action, ConnectionError, Effects, LastRequest, OneToOneEffect, Presence, Status, Transition, transition,
};

const TABLE: &str = include_str!("connection_cells.txt");

type Cell = (String, String, String);

#[test]
fn every_cell_is_as_written_in_the_table() {
    let table = parse(TABLE);
    let mut used = BTreeSet::new();
    for action in actions() {
        for mine in rows() {
            for theirs in rows() {
                for (last, suffix) in LAST {
                    let cell = (action_name(action), row_name(mine), row_name(theirs));
                    let of_request = (cell.0.clone(), cell.1.clone(), format!("{}{suffix}", cell.2));
                    let (cell, expected) = table
                        .get_key_value(&of_request)
                        .or_else(|| table.get_key_value(&cell))
                        .unwrap_or_else(|| panic!("no line for {cell:?}"));
                    assert_eq!(
                        &outcome(transition(action, mine, theirs, last)),
                        expected,
                        "{cell:?} {last:?}"
                    );
                    used.insert(cell);
                }
            }
        }
    }
    assert_eq!(used, table.keys().collect(), "lines for cells that do not exist");
}

/// What became of the last request, and what stands for it behind a cell that depends on it.
const LAST: [(LastRequest, &str); 3] =
    [(LastRequest::Mine, "/mine"), (LastRequest::Theirs, "/theirs"), (LastRequest::Accepted, "/accepted")];

#[test]
fn the_table_has_a_line_for_each_cell_and_two_where_the_last_request_matters() {
    assert_eq!(parse(TABLE).len(), 7 * 7 * 7 + 2);
}

/// Cell → what follows the arrow, blanks evened out.
fn parse(table: &str) -> BTreeMap<Cell, String> {
    let mut cells = BTreeMap::new();
    for line in table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (cell, outcome) = line.split_once("->").unwrap_or_else(|| panic!("no arrow: {line}"));
        let &[action, mine, theirs] = cell.split_whitespace().collect::<Vec<_>>().as_slice() else {
            panic!("not a cell: {line}");
        };
        let cell = (action.to_owned(), mine.to_owned(), theirs.to_owned());
        let outcome = outcome.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(cells.insert(cell, outcome), None, "a second line for {line}");
    }
    cells
}

/// What the function answers, in the words of the table.
fn outcome(result: Result<Transition, ConnectionError>) -> String {
    match result {
        Err(error) => error.code().unwrap_or("half-pair").to_owned(),
        Ok(Transition { mine, theirs, effects, .. }) => {
            format!("{mine} {theirs} {}", effects_in_words(effects))
        }
    }
}

fn effects_in_words(effects: Effects) -> String {
    let presence = |presence, joins, leaves| match presence {
        Presence::Unchanged => "",
        Presence::Joins => joins,
        Presence::Leaves => leaves,
    };
    let words = [
        match effects.one_to_one {
            OneToOneEffect::Unchanged => "",
            OneToOneEffect::Pending => "request",
            OneToOneEffect::Open => "open",
            OneToOneEffect::Ended => "end",
        },
        presence(effects.me, "i-join", "i-leave"),
        presence(effects.them, "they-join", "they-leave"),
        if effects.event_to_me { "me" } else { "" },
        if effects.event_to_them { "them" } else { "" },
    ];
    let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
    if words.is_empty() { "-".to_owned() } else { words.join(" ") }
}

fn actions() -> impl Iterator<Item = Action> {
    std::iter::once(Action::Connect).chain(Status::ALL.iter().copied().map(Action::Set))
}

fn rows() -> impl Iterator<Item = Option<Status>> {
    std::iter::once(None).chain(Status::ALL.iter().copied().map(Some))
}

fn action_name(action: Action) -> String {
    match action {
        Action::Set(status) => status.to_string(),
        _ => "connect".to_owned(),
    }
}

fn row_name(row: Option<Status>) -> String {
    row.map_or_else(|| "none".to_owned(), |status| status.to_string())
}
