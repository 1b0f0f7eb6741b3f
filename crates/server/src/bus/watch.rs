//! Looks into the database for what no other node has told.

use super::{Bus, Message, NatsUrl, Others, nats};
use crate::{
    error::ApiError,
    state::AppState,
    storage::{Position, nodes},
};
use std::time::Duration;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval},
};

/// How often it is looked. What was not heard of by then has as long again to come.
const LOOK: Duration = Duration::from_secs(1);

/// How often it is said that something does not come.
const SAY: Duration = Duration::from_mins(1);

/// What a node does for its own devices to hear of what the others store.
pub(crate) struct Nodes {
    pub(crate) bus: Bus,
    /// The last position that was given out before this node began to listen.
    pub(crate) begun: Position,
    /// Where NATS is, and what waits to be sent.
    pub(crate) nats: Option<(NatsUrl, mpsc::Receiver<Message>)>,
}

impl Nodes {
    /// Begins, before the node serves anybody. Resolves later, when everything was sent that was to be.
    pub(crate) async fn begin(self, state: &AppState) -> Option<JoinHandle<()>> {
        let Self { bus, begun, nats } = self;
        let others = bus.nodes.clone()?;
        others.seen().begin(begun);
        let watch = Watch { bus: bus.clone(), others, has_nats: nats.is_some(), said: None };
        tokio::spawn(watch.run(state.clone(), begun));
        let (url, outbox) = nats?;
        let subject = nats::subject(state.observer.public_key());
        Some(nats::connect(&url, subject, outbox, state, &bus).await)
    }
}

struct Watch {
    bus: Bus,
    others: Others,
    has_nats: bool,
    /// When it was last said that something did not come.
    said: Option<Instant>,
}

impl Watch {
    async fn run(mut self, state: AppState, mut before: Position) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = state.shutdown.requested() => return,
            }
            match self.look(&state, before).await {
                Ok(now) => before = now,
                Err(error) => tracing::debug!(%error, "what other nodes have stored was not looked for"),
            }
        }
    }

    /// Wakes whoever something was stored for that was not heard of, though it was there at the last look. The position up to
    /// which there is something now.
    async fn look(&mut self, state: &AppState, before: Position) -> Result<Position, ApiError> {
        let now = state.storage.read(nodes::position).await?;
        let missing = self.others.seen().missing(before);
        let Some(missing) = missing else { return Ok(now) };
        match state.storage.read(move |db| nodes::changed(db, missing)).await? {
            Some(topics) => self.bus.wake.notify(topics),
            None => self.bus.wake.everybody(),
        }
        self.others.seen().note(missing);
        state.metrics.wake_ups_found();
        self.say();
        Ok(now)
    }

    fn say(&mut self) {
        if self.said.is_some_and(|said| said.elapsed() < SAY) {
            return;
        }
        if self.has_nats {
            tracing::warn!(
                "another node has stored something and its wake-up did not come over NATS; it was found in the log, later. \
                 Do all nodes have the same --nats?"
            );
        } else if self.said.is_none() {
            tracing::warn!(
                "another node of this hub uses the database, and this one has no --nats: what is accepted there reaches devices \
                 here up to two seconds later, and who is typing there not at all"
            );
        }
        self.said = Some(Instant::now());
    }
}
