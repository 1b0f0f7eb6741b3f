use super::Status;

/// What a change of a connection comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// The status of my row afterwards.
    pub mine: Status,
    /// The status of their row afterwards.
    pub theirs: Status,
    /// Whether my row counts towards my limit and did not before: see [`check_limit`](super::check_limit).
    pub newly_counted: bool,
    /// What else there is to do.
    pub effects: Effects,
}

/// What a change of a connection brings about beyond the two rows, in the order in which it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effects {
    /// What becomes of the 1:1, before anybody joins or leaves.
    pub one_to_one: OneToOneEffect,
    /// Whether I join or leave the 1:1.
    pub me: Presence,
    /// Whether they join or leave the 1:1.
    pub them: Presence,
    /// Whether my devices are told of my row.
    pub event_to_me: bool,
    /// Whether their devices are told of their row. A request that is sent again tells of a row that is as it was.
    pub event_to_them: bool,
}

/// What becomes of the 1:1 as a conversation. Its id is derived from the two users, so it is always the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OneToOneEffect {
    /// It stays as it is.
    Unchanged,
    /// It is of type `connection` from now on, and created if there is none.
    Pending,
    /// It is of type `one_to_one` from now on, and created if there is none. Often it was already.
    Open,
    /// It ends, with nobody left in it.
    Ended,
}

/// Whether a user joins or leaves the 1:1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// As before, in it or not.
    Unchanged,
    /// The user was not in it and is now.
    Joins,
    /// The user was in it and is no more. The other is not told.
    Leaves,
}

/// Who gets an event.
#[derive(Clone, Copy)]
pub(super) struct Events {
    me: bool,
    them: bool,
}

impl Events {
    pub(super) const NONE: Self = Self { me: false, them: false };
    pub(super) const ME: Self = Self { me: true, them: false };
    pub(super) const THEM: Self = Self { me: false, them: true };
    pub(super) const BOTH: Self = Self { me: true, them: true };
}

impl Transition {
    /// From no rows to (sent, pending).
    pub(super) const fn first_request() -> Self {
        Self {
            mine: Status::Sent,
            theirs: Status::Pending,
            newly_counted: true,
            effects: Effects {
                one_to_one: OneToOneEffect::Pending,
                me: Presence::Joins,
                them: Presence::Unchanged,
                event_to_me: true,
                event_to_them: true,
            },
        }
    }

    /// From one pair of statuses to another. Who joins or leaves the 1:1, and what it is then, follows from them.
    pub(super) fn between(before: (Status, Status), after: (Status, Status), events: Events) -> Self {
        let (mine, theirs) = after;
        let me = Presence::between(before.0, mine);
        let them = Presence::between(before.1, theirs);
        let accepted = |pair: (Status, Status)| pair.0 == Status::Accepted || pair.1 == Status::Accepted;

        let cancels = before.0 == Status::Sent && mine == Status::Cancelled;
        let opens = accepted(after) && !accepted(before);
        let somebody_joins = me == Presence::Joins || them == Presence::Joins;
        let one_to_one = if cancels {
            OneToOneEffect::Ended
        } else if !somebody_joins && !opens {
            OneToOneEffect::Unchanged
        } else if accepted(after) {
            OneToOneEffect::Open
        } else {
            OneToOneEffect::Pending
        };

        Self {
            mine,
            theirs,
            newly_counted: mine.counts_towards_limit() && !before.0.counts_towards_limit(),
            effects: Effects { one_to_one, me, them, event_to_me: events.me, event_to_them: events.them },
        }
    }
}

impl Presence {
    const fn between(before: Status, after: Status) -> Self {
        match (before.is_in_one_to_one(), after.is_in_one_to_one()) {
            (false, true) => Self::Joins,
            (true, false) => Self::Leaves,
            _ => Self::Unchanged,
        }
    }
}
