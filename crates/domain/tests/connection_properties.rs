//! What holds of connections however two users act, alone or in turns.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use proptest::prelude::*;
use tertulia_domain::{
    ConversationType, UserId,
    connection::{
        Action, ConnectionError, LastRequest, OneToOneEffect, Presence, Status, Transition, check_limit,
        check_request, check_update, connected, transition,
    },
};

/// A hub's record of a pair of users, kept by nothing but the transitions. `false` is the one user, `true` the other.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Pair {
    rows: [Option<Status>; 2],
    in_one_to_one: [bool; 2],
    one_to_one: Option<ConversationType>,
    /// Who joined the 1:1 last.
    joined_last: Option<usize>,
}

/// All that the acting user and their devices can see of an action.
#[derive(Debug, PartialEq, Eq)]
struct View {
    answer: Result<(), ConnectionError>,
    row: Option<Status>,
    in_one_to_one: bool,
    one_to_one: Option<ConversationType>,
    ended: bool,
    event: bool,
}

impl Pair {
    fn act(&mut self, who: bool, action: Action) -> Result<Transition, ConnectionError> {
        let (me, they) = (usize::from(who), usize::from(!who));
        let done = transition(action, self.rows[me], self.rows[they], self.last_request(me))?;
        self.rows[me] = Some(done.mine);
        self.rows[they] = Some(done.theirs);
        match done.effects.one_to_one {
            OneToOneEffect::Unchanged => {}
            OneToOneEffect::Pending => self.one_to_one = Some(ConversationType::Connection),
            OneToOneEffect::Open => self.one_to_one = Some(ConversationType::OneToOne),
            OneToOneEffect::Ended => self.one_to_one = None,
        }
        for (user, presence) in [(me, done.effects.me), (they, done.effects.them)] {
            match presence {
                Presence::Unchanged => {}
                Presence::Joins => {
                    assert!(self.one_to_one.is_some(), "joined what does not exist: {self:?}");
                    assert!(!self.in_one_to_one[user], "joined twice: {self:?}");
                    self.in_one_to_one[user] = true;
                    self.joined_last = Some(user);
                }
                Presence::Leaves => {
                    assert!(self.in_one_to_one[user], "left without being in: {self:?}");
                    self.in_one_to_one[user] = false;
                }
            }
        }
        Ok(done)
    }

    /// Who asks joins the 1:1, and who is asked does not before they accept.
    fn last_request(&self, me: usize) -> LastRequest {
        match (self.one_to_one, self.joined_last) {
            (Some(ConversationType::OneToOne), _) => LastRequest::Accepted,
            (_, Some(last)) if last != me => LastRequest::Theirs,
            _ => LastRequest::Mine,
        }
    }

    /// Acts, and tells what the acting user sees of it.
    fn seen_acting(&mut self, who: bool, action: Action) -> View {
        let result = self.act(who, action);
        let me = usize::from(who);
        View {
            answer: result.map(|_| ()),
            row: self.rows[me],
            in_one_to_one: self.in_one_to_one[me],
            one_to_one: self.one_to_one.filter(|_| self.in_one_to_one[me]),
            ended: result.is_ok_and(|done| done.effects.one_to_one == OneToOneEffect::Ended),
            event: result.is_ok_and(|done| done.effects.event_to_me),
        }
    }

    fn connected(self) -> bool {
        connected(self.rows[0], self.rows[1])
    }
}

fn every_action() -> Vec<Action> {
    std::iter::once(Action::Connect).chain(Status::ALL.iter().copied().map(Action::Set)).collect()
}

/// Every state that two users can bring a pair into.
fn reachable() -> BTreeSet<Pair> {
    let mut found = BTreeSet::from([Pair::default()]);
    let mut open = vec![Pair::default()];
    while let Some(pair) = open.pop() {
        for action in every_action() {
            for who in [false, true] {
                let mut next = pair;
                let _ = next.act(who, action);
                if found.insert(next) {
                    open.push(next);
                }
            }
        }
    }
    found
}

fn an_action() -> impl Strategy<Value = Action> {
    proptest::sample::select(every_action())
}

#[test]
fn there_is_never_one_row_without_the_other() {
    for pair in reachable() {
        assert_eq!(pair.rows[0].is_some(), pair.rows[1].is_some(), "{pair:?}");
    }
}

#[test]
fn the_effects_alone_keep_the_one_to_one_right() {
    for pair in reachable() {
        for user in [0, 1] {
            let Some(status) = pair.rows[user] else { continue };
            assert_eq!(pair.in_one_to_one[user], status.is_in_one_to_one(), "{pair:?}");
            if pair.in_one_to_one[user] {
                assert_eq!(pair.one_to_one, status.one_to_one_type(), "{pair:?}");
            }
        }
        if pair.connected() {
            assert_eq!(pair.one_to_one, Some(ConversationType::OneToOne));
            assert_eq!(pair.in_one_to_one, [true, true]);
        }
    }
}

#[test]
fn who_is_connected_stays_so_until_one_blocks() {
    for pair in reachable().into_iter().filter(|pair| pair.connected()) {
        for action in every_action().into_iter().filter(|&a| a != Action::Set(Status::Blocked)) {
            let mut next = pair;
            let _ = next.act(false, action);
            assert_eq!(next, pair, "{action:?}");
        }
    }
}

#[test]
fn what_is_refused_and_what_is_already_so_tells_nobody() {
    for pair in reachable() {
        for action in every_action() {
            let mut next = pair;
            match next.act(false, action) {
                Err(_) => assert_eq!(next, pair),
                Ok(done) if pair.rows[0] == Some(done.mine) => assert!(!done.effects.event_to_me),
                Ok(done) => assert!(done.effects.event_to_me, "{pair:?} {action:?}"),
            }
        }
    }
}

#[test]
fn blocking_changes_nothing_on_the_other_side() {
    for pair in reachable().into_iter().filter(|pair| pair.rows[0].is_some()) {
        let mut next = pair;
        let done = next.act(false, Action::Set(Status::Blocked)).unwrap();
        assert_eq!(Some(done.theirs), pair.rows[1]);
        assert!(!done.effects.event_to_them);
        assert_eq!(done.effects.them, Presence::Unchanged);
    }
}

#[test]
fn crossing_requests_are_accepted_in_either_order() {
    for first in [false, true] {
        let mut pair = Pair::default();
        pair.act(first, Action::Connect).unwrap();
        let second = pair.act(!first, Action::Connect).unwrap();
        assert!(pair.connected());
        assert!(second.effects.event_to_me && second.effects.event_to_them);
        // Either request may also be repeated after a lost answer.
        pair.act(first, Action::Connect).unwrap();
        pair.act(!first, Action::Connect).unwrap();
        assert!(pair.connected());
    }
}

#[test]
fn a_request_to_who_ignores_becomes_pending_again() {
    let mut pair = Pair::default();
    pair.act(false, Action::Connect).unwrap();
    pair.act(true, Action::Set(Status::Ignored)).unwrap();
    let again = pair.act(false, Action::Connect).unwrap();
    assert_eq!(pair.rows, [Some(Status::Sent), Some(Status::Pending)]);
    assert!(again.effects.event_to_them);
}

#[test]
fn blocking_and_unblocking_leaves_a_connection_as_it_was() {
    let mut pair = Pair::default();
    pair.act(false, Action::Connect).unwrap();
    pair.act(true, Action::Connect).unwrap();
    let before = pair;
    pair.act(true, Action::Set(Status::Blocked)).unwrap();
    assert!(!pair.connected());
    pair.act(true, Action::Set(Status::Accepted)).unwrap();
    assert_eq!(pair, before);
}

#[test]
fn first_checks_come_in_their_order() {
    let (me, other) = (UserId::from_bytes([1; 16]), UserId::from_bytes([2; 16]));
    assert_eq!(check_request(me, other, true, false), Ok(()));
    assert_eq!(check_request(me, me, true, true), Err(ConnectionError::InvalidUser));
    assert_eq!(check_request(me, other, false, true), Err(ConnectionError::InvalidUser));
    assert_eq!(check_request(me, other, true, true), Err(ConnectionError::SameTeam));
    assert_eq!(check_update(false, true), Err(ConnectionError::SameTeam));
    assert_eq!(check_update(false, false), Ok(()));
}

#[test]
fn only_what_begins_to_count_is_held_to_the_limit() {
    let counting: Vec<_> = Status::ALL.iter().filter(|status| status.counts_towards_limit()).collect();
    assert_eq!(counting, [&Status::Sent, &Status::Accepted]);

    let transition = |action, mine, theirs| transition(action, mine, theirs, LastRequest::Mine);
    let request = transition(Action::Connect, None, None).unwrap();
    assert_eq!(check_limit(&request, 999, 1000), Ok(()));
    assert_eq!(check_limit(&request, 1000, 1000), Err(ConnectionError::ConnectionLimit { max: 1000 }));

    let (sent, pending) = (Some(Status::Sent), Some(Status::Pending));
    let accept = transition(Action::Set(Status::Accepted), pending, sent).unwrap();
    assert!(check_limit(&accept, 1000, 1000).is_err());
    for frees_or_keeps in [Action::Connect, Action::Set(Status::Cancelled), Action::Set(Status::Blocked)] {
        let done = transition(frees_or_keeps, sent, pending).unwrap();
        assert_eq!(check_limit(&done, 1000, 1000), Ok(()));
    }
    for &mine in Status::ALL {
        for action in every_action() {
            if let Ok(done) = transition(action, Some(mine), sent) {
                let counts = done.mine.counts_towards_limit() && !mine.counts_towards_limit();
                assert_eq!(done.newly_counted, counts);
            }
        }
    }
}

/// A world in which the other blocks, and one in which they do nothing instead, from every state that two users can bring about and
/// for whatever one then does. Where one can tell the worlds apart is written in the module, and it is nowhere else.
#[test]
fn a_block_shows_in_the_two_ways_that_are_known_and_in_no_other() {
    let (me, they) = (0, 1);
    let mut seen = BTreeSet::new();
    let mut open: Vec<(Pair, Pair)> = reachable()
        .into_iter()
        .filter(|pair| pair.rows[they].is_some_and(|theirs| theirs != Status::Blocked))
        .map(|pair| {
            let mut blocked = pair;
            blocked.act(true, Action::Set(Status::Blocked)).unwrap();
            (pair, blocked)
        })
        .collect();
    let mut known = [0, 0];
    while let Some((plain, blocked)) = open.pop() {
        for action in every_action() {
            let (mut next, mut next_blocked) = (plain, blocked);
            let differs = next.seen_acting(false, action) != next_blocked.seen_acting(false, action);
            let is_unblocking = matches!(action, Action::Set(Status::Accepted | Status::Sent))
                && plain.rows[me] == Some(Status::Blocked);
            let was_asked =
                matches!(plain.rows[me], Some(Status::Pending | Status::Ignored | Status::Cancelled))
                    && plain.rows[they] == Some(Status::Sent);
            if !differs {
                if seen.insert((next, next_blocked)) {
                    open.push((next, next_blocked));
                }
            } else if action == Action::Connect && was_asked {
                known[0] += 1;
            } else if is_unblocking
                && plain.rows[they] == Some(Status::Cancelled)
                && plain.last_request(me) == LastRequest::Theirs
            {
                known[1] += 1;
            } else {
                panic!("{action:?} tells {plain:?} from {blocked:?}");
            }
        }
    }
    assert!(known[0] > 0 && known[1] > 0, "the module says that these show: {known:?}");
}

proptest! {
    #[test]
    fn any_course_of_events_keeps_the_pair_whole(
        course in proptest::collection::vec((any::<bool>(), an_action()), 0..40),
    ) {
        let mut pair = Pair::default();
        for (who, action) in course {
            let before = pair;
            if pair.act(who, action).is_err() {
                prop_assert_eq!(pair, before);
            }
            prop_assert_eq!(pair.rows[0].is_some(), pair.rows[1].is_some());
        }
    }

    /// Two requests, whatever lies between them that is neither a block nor a refusal of the first.
    #[test]
    fn crossing_requests_end_connected(first in any::<bool>(), resent in 0..3_usize, ignored in any::<bool>()) {
        let mut pair = Pair::default();
        for _ in 0..=resent {
            pair.act(first, Action::Connect).unwrap();
        }
        if ignored {
            pair.act(!first, Action::Set(Status::Ignored)).unwrap();
        }
        pair.act(!first, Action::Connect).unwrap();
        prop_assert!(pair.connected());
    }

    /// One world in which the request is blocked and two in which it is not answered; the requester sees the same in all three
    /// whatever they do, blocking in turn included.
    #[test]
    fn a_blocked_requester_sees_what_an_unanswered_one_sees(
        actions in proptest::collection::vec(an_action(), 0..20),
    ) {
        let mut unanswered = Pair::default();
        unanswered.act(false, Action::Connect).unwrap();
        let (mut ignored, mut blocked) = (unanswered, unanswered);
        ignored.act(true, Action::Set(Status::Ignored)).unwrap();
        blocked.act(true, Action::Set(Status::Blocked)).unwrap();
        for action in actions {
            let seen = unanswered.seen_acting(false, action);
            prop_assert_eq!(&ignored.seen_acting(false, action), &seen);
            prop_assert_eq!(&blocked.seen_acting(false, action), &seen);
        }
    }

    /// The same for a connection: who is blocked later sees what a connected user sees, also if they block in turn.
    #[test]
    fn a_blocked_contact_sees_what_a_connected_one_sees(
        actions in proptest::collection::vec(an_action(), 0..20),
    ) {
        let mut open = Pair::default();
        open.act(false, Action::Connect).unwrap();
        open.act(true, Action::Connect).unwrap();
        let mut blocked = open;
        blocked.act(true, Action::Set(Status::Blocked)).unwrap();
        for action in actions {
            prop_assert_eq!(blocked.seen_acting(false, action), open.seen_acting(false, action));
        }
    }

    /// Accepting a request whose sender has blocked in the meantime looks like accepting it.
    #[test]
    fn accepting_who_blocks_looks_like_accepting(ignored_first in any::<bool>()) {
        let mut open = Pair::default();
        open.act(true, Action::Connect).unwrap();
        if ignored_first {
            open.act(false, Action::Set(Status::Ignored)).unwrap();
        }
        let mut blocked = open;
        blocked.act(true, Action::Set(Status::Blocked)).unwrap();
        let accept = Action::Set(Status::Accepted);
        prop_assert_eq!(blocked.seen_acting(false, accept), open.seen_acting(false, accept));
    }
}
