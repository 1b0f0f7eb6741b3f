//! What the nodes of one hub tell one another: that there is something new, and where; and who is typing.
//!
//! A node that shares its database with others wakes its own devices and tells the others what it stored, over NATS if it
//! has one. Nothing depends on their hearing of it: each node knows which [positions](Seen) it has heard of, compares them with
//! the database once a second, and looks into the log for what is missing. So a wake-up that is lost costs two seconds at most,
//! whatever has happened to NATS, or to the node that should have sent it.
//!
//! | what fails | what happens |
//! |---|---|
//! | a message of NATS is lost | its positions are missing at the next look but one, and found in the log |
//! | NATS is away, for one node or for all | the same, for everything that others store; the library connects again by itself |
//! | NATS is there again | all devices look again, since not every wake-up has a position |
//! | a node dies | what it had stored and not told of is found in the log |
//! | the database is away | nothing is stored anywhere; the look is taken again when it is there |

mod message;
mod nats;
mod seen;
mod watch;

pub use nats::{NatsUrl, NatsUrlError};
pub(crate) use watch::Nodes;

use self::{message::Message, seen::Seen};
use crate::{
    storage::Position,
    wake::{Topic, Wake},
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tertulia_api::typing::Typing;
use tokio::sync::mpsc;

/// Messages that wait for NATS; of more, the latest are not sent, and what they say is found in the log.
const WAITING: usize = 1024;

/// Positions that belong together: those after one, up to and with another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Positions {
    pub(crate) after: Position,
    pub(crate) upto: Position,
}

/// What a transaction has brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// The positions that it gave out; none if it is not known whether it was stored.
    pub(crate) positions: Option<Positions>,
    /// Who is to look.
    pub(crate) topics: BTreeSet<Topic>,
}

/// The way to everybody who waits, on this node and on the others. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Bus {
    wake: Wake,
    /// None if there can be no other node.
    nodes: Option<Others>,
}

#[derive(Clone)]
struct Others {
    seen: Arc<Mutex<Seen>>,
    /// None without NATS.
    outbox: Option<mpsc::Sender<Message>>,
}

impl Bus {
    /// Of the only node.
    pub(crate) const fn local(wake: Wake) -> Self {
        Self { wake, nodes: None }
    }

    /// Of one node of several, and what is to be sent to the others if there is a way to them.
    pub(crate) fn of_nodes(wake: Wake, has_nats: bool) -> (Self, Option<mpsc::Receiver<Message>>) {
        let (outbox, waiting) = has_nats.then(|| mpsc::channel(WAITING)).unzip();
        (Self { wake, nodes: Some(Others { seen: Arc::default(), outbox }) }, waiting)
    }

    /// Tells everybody what a transaction of this node has brought. Never blocks.
    pub(crate) fn announce(&self, change: Change) {
        self.wake.notify(change.topics.iter().copied());
        let Some(nodes) = &self.nodes else { return };
        if let Some(positions) = change.positions {
            nodes.seen().note(positions);
        }
        let is_empty =
            change.topics.is_empty() && change.positions.is_none_or(|given| given.after == given.upto);
        if !is_empty {
            nodes.send(Message::Change(change));
        }
    }

    /// Tells the other nodes that somebody is typing.
    pub(crate) fn typing(&self, notice: Typing) {
        if let Some(nodes) = &self.nodes {
            nodes.send(Message::Typing(notice));
        }
    }

    /// Takes in what another node has brought.
    fn heard(&self, change: Change) {
        self.wake.notify(change.topics);
        if let (Some(nodes), Some(positions)) = (&self.nodes, change.positions) {
            nodes.seen().note(positions);
        }
    }
}

impl Others {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, message: Message) {
        if let Some(outbox) = &self.outbox {
            let _ = outbox.try_send(message); // what finds no room is found in the log
        }
    }
}
