//! Connections between two users: one state machine as one pure function, [`transition`].
//!
//! A connection is directed. A pair of users has two rows, one each way, or none; *connected* means that both are
//! `accepted`. Members of one team are always connected and have no rows. "I" am the user who acts, "they" the other.
//!
//! # The request: [`Action::Connect`]
//!
//! [`check_request`] comes first. "Me" and "them" say who gets an event.
//!
//! | mine | theirs | result | effects |
//! |---|---|---|---|
//! | no rows | | (sent, pending) | the pending 1:1, with me alone in it; me, them |
//! | accepted | accepted | unchanged | none |
//! | accepted or sent | blocked | unchanged | none |
//! | blocked | any | `bad-connection-update` | |
//! | pending, ignored or cancelled | blocked | mine → sent | I am in the pending 1:1; me |
//! | not blocked | sent or accepted | (accepted, accepted) | I join the 1:1; me, them |
//! | not blocked | pending, ignored or cancelled | (sent, pending) | I am in the pending 1:1; me (if mine was not sent), them |
//!
//! # Changing my side: [`Action::Set`]
//!
//! Without rows it is `not-connected`. The status that I already have is unchanged, without effects.
//!
//! | from → to | theirs | result | effects |
//! |---|---|---|---|
//! | pending → ignored | any | mine only | me |
//! | pending or ignored → accepted | sent or pending | (accepted, accepted) | I join the 1:1; me, them |
//! | pending or ignored → accepted | blocked | mine only | I join the 1:1; me |
//! | any but blocked → blocked | any | mine only | I leave the 1:1; me |
//! | sent → cancelled | pending or ignored | (cancelled, cancelled) | I leave the 1:1, which ends; me, them |
//! | sent → cancelled | blocked or cancelled | mine only | I leave the 1:1, which ends; me |
//! | sent → accepted | sent | (accepted, accepted) | me, them |
//! | blocked → accepted or sent | accepted, or blocked unless the [last request](LastRequest) was mine | mine → accepted | I rejoin the 1:1; me |
//! | blocked → accepted or sent | sent | (accepted, accepted) | I rejoin the 1:1; me, them |
//! | blocked → accepted or sent | otherwise | mine → sent | I rejoin the 1:1; me |
//! | anything else | | `bad-connection-update` | |
//!
//! # The 1:1
//!
//! A user is in the 1:1 exactly while their row is `sent` or `accepted` ([`Status::is_in_one_to_one`]); what is written
//! of joining and leaving above follows from that. Its type is `connection` until somebody accepts, then `one_to_one` for
//! good ([`OneToOneEffect`]). It ends when a request is cancelled: nobody is in it then, and a new request starts it anew.
//!
//! # What the blocked see
//!
//! To who has sent or cancelled a request, a block looks like no answer: own row, own events and own place in the 1:1 are
//! the same in both cases. That is why an unanswered request that is sent again brings its sender no event (a blocked one
//! brings none), and why cancelling ends the 1:1 in either case. The caller keeps its part: it stores a row only if its
//! status changes, and shows a 1:1 to who is in it without regard to whether the other has left.
//!
//! Of two rows that are both `blocked` neither tells what was before. So a block that is answered with a block asks what became of the
//! [`LastRequest`]: who had asked in vain sees `sent` again after unblocking, as if nobody had answered.
//!
//! Two things do show it, to who was asked and not to who asks. Who was asked, and was then blocked by the asker, sees `sent` and not
//! `accepted` when answering with a request of their own. And who was asked by somebody who took that back, and then blocked
//! them, sees `accepted` and not `sent` after blocking in turn and unblocking.

mod deletion;
mod effects;
mod status;

pub use deletion::{Deletion, Told, after_deletion};
pub use effects::{Effects, OneToOneEffect, Presence, Transition};
pub use status::Status;

use crate::ids::UserId;
use effects::Events;

/// What a user asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// Send a connection request, or accept theirs.
    Connect,
    /// Give my row this status.
    Set(Status),
}

/// What became of the last request between the two. It matters where both rows are `blocked`, which do not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LastRequest {
    /// It was mine, and was not accepted.
    Mine,
    /// It was theirs, and was not accepted.
    Theirs,
    /// It was accepted.
    Accepted,
}

/// Why a connection does not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The states of the pair do not allow it. Read the connection again before trying another change.
    #[error("the connection cannot change to that from the state it is in")]
    BadConnectionUpdate,
    /// There are no rows to change. Send a request instead.
    #[error("there is no connection with this user")]
    NotConnected,
    /// Members of one team are always connected.
    #[error("members of one team are always connected, and cannot be blocked or ignored")]
    SameTeam,
    /// The other is the acting user, or nobody.
    #[error("one cannot connect with oneself or with a user who does not exist")]
    InvalidUser,
    /// The acting user has as many connections and open requests as allowed.
    #[error("there are {max} connections and open requests already, the most allowed")]
    ConnectionLimit {
        /// The limit.
        max: usize,
    },
    /// One row of the pair is there without the other: the stored data is damaged. No fault of the user's.
    #[error("a connection is stored with one of its two rows only")]
    HalfPair,
}

impl ConnectionError {
    /// The stable code of the error; none for [`HalfPair`](Self::HalfPair), which is not an answer for a user.
    pub const fn code(&self) -> Option<&'static str> {
        match self {
            Self::BadConnectionUpdate => Some("bad-connection-update"),
            Self::NotConnected => Some("not-connected"),
            Self::SameTeam => Some("same-team"),
            Self::InvalidUser => Some("invalid-user"),
            Self::ConnectionLimit { .. } => Some("connection-limit"),
            Self::HalfPair => None,
        }
    }
}

/// What becomes of a pair of rows when the user of row `mine` acts. The tables of this [module](self).
///
/// The caller serialises the actions on one pair, and applies the whole transition or nothing of it.
pub fn transition(
    action: Action,
    mine: Option<Status>,
    theirs: Option<Status>,
    last: LastRequest,
) -> Result<Transition, ConnectionError> {
    match (action, mine, theirs) {
        (Action::Connect, None, None) => Ok(Transition::first_request()),
        (Action::Set(_), None, None) => Err(ConnectionError::NotConnected),
        (Action::Connect, Some(mine), Some(theirs)) => connect(mine, theirs),
        (Action::Set(status), Some(mine), Some(theirs)) => set(status, mine, theirs, last),
        (_, Some(_), None) | (_, None, Some(_)) => Err(ConnectionError::HalfPair),
    }
}

/// Whether the two users are connected by their rows. Members of one team are without.
pub fn connected(mine: Option<Status>, theirs: Option<Status>) -> bool {
    mine == Some(Status::Accepted) && theirs == Some(Status::Accepted)
}

/// What is checked of a request before its [`transition`]. An `other` who was deleted does not exist.
pub fn check_request(
    me: UserId,
    other: UserId,
    other_exists: bool,
    same_team: bool,
) -> Result<(), ConnectionError> {
    if me == other || !other_exists {
        return Err(ConnectionError::InvalidUser);
    }
    check_update(false, same_team)
}

/// What is checked of an [`Action::Set`] before its [`transition`]. Who was never there has no rows, which is told by the
/// transition.
pub const fn check_update(other_is_deleted: bool, same_team: bool) -> Result<(), ConnectionError> {
    if other_is_deleted {
        return Err(ConnectionError::InvalidUser);
    }
    if same_team { Err(ConnectionError::SameTeam) } else { Ok(()) }
}

/// What is checked after a [`transition`] and before it is applied: that a row of mine that begins to count towards the
/// limit is no more than the last of `max`. `counted` are my rows that count already
/// ([`Status::counts_towards_limit`]).
pub const fn check_limit(transition: &Transition, counted: usize, max: usize) -> Result<(), ConnectionError> {
    if transition.newly_counted && counted >= max {
        return Err(ConnectionError::ConnectionLimit { max });
    }
    Ok(())
}

fn connect(mine: Status, theirs: Status) -> Result<Transition, ConnectionError> {
    use Status::{Accepted, Blocked, Cancelled, Ignored, Pending, Sent};
    let to = |mine_after, theirs_after, events| {
        Ok(Transition::between((mine, theirs), (mine_after, theirs_after), events))
    };
    match (mine, theirs) {
        (Accepted, Accepted) | (Accepted | Sent, Blocked) => to(mine, theirs, Events::NONE),
        (Blocked, _) => Err(ConnectionError::BadConnectionUpdate),
        (Pending | Ignored | Cancelled, Blocked) => to(Sent, Blocked, Events::ME),
        (_, Sent | Accepted) => to(Accepted, Accepted, Events::BOTH),
        (Sent, Pending | Ignored | Cancelled) => to(Sent, Pending, Events::THEM),
        (_, Pending | Ignored | Cancelled) => to(Sent, Pending, Events::BOTH),
    }
}

fn set(
    status: Status,
    mine: Status,
    theirs: Status,
    last: LastRequest,
) -> Result<Transition, ConnectionError> {
    use Status::{Accepted, Blocked, Cancelled, Ignored, Pending, Sent};
    let to = |mine_after, theirs_after, events| {
        Ok(Transition::between((mine, theirs), (mine_after, theirs_after), events))
    };
    if status == mine {
        return to(mine, theirs, Events::NONE);
    }
    match (mine, status, theirs) {
        (_, Blocked, _) => to(Blocked, theirs, Events::ME),
        (Pending, Ignored, _) => to(Ignored, theirs, Events::ME),
        (Pending | Ignored, Accepted, Sent | Pending)
        | (Sent, Accepted, Sent)
        | (Blocked, Accepted | Sent, Sent) => to(Accepted, Accepted, Events::BOTH),
        (Pending | Ignored, Accepted, Blocked) => to(Accepted, Blocked, Events::ME),
        (Sent, Cancelled, Pending | Ignored) => to(Cancelled, Cancelled, Events::BOTH),
        (Sent, Cancelled, Blocked | Cancelled) => to(Cancelled, theirs, Events::ME),
        // As if they had not answered, which is what they would not have done either.
        (Blocked, Accepted | Sent, Blocked) if last == LastRequest::Mine => to(Sent, theirs, Events::ME),
        (Blocked, Accepted | Sent, Accepted | Blocked) => to(Accepted, theirs, Events::ME),
        (Blocked, Accepted | Sent, Pending | Ignored | Cancelled) => to(Sent, theirs, Events::ME),
        _ => Err(ConnectionError::BadConnectionUpdate),
    }
}
