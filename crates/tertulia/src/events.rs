//! The live stream of what happens.

use crate::{
    Client, ClientEvent, Connection, Error, Message, Request, RequestKind, Result, apply::Applied,
    client::now, connections::from_hub, envelopes::Waiting, reading::message, suspicion::noticed,
    typing::TypingNow,
};
use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use futures::{Stream, stream};
use std::{collections::VecDeque, time::Duration};
use tertulia_api::Code;
use tertulia_transport::{EventSocket, Frame, TransportError};
use tokio::time::Instant;

/// How many messages are read from the home at a time.
const BATCH: u32 = 200;
const MAX_DELAY: Duration = Duration::from_secs(30);

/// A connection on which the hub tells what happens after a cursor.
struct Live {
    socket: EventSocket,
    cursor: Option<String>,
}

/// Where a stream of events stands.
struct Events {
    client: Client,
    live: Option<Live>,
    /// Without an account: where the stream waits for envelopes, once it has what was there.
    waiting: Option<Waiting>,
    /// What is to be told.
    ready: VecDeque<ClientEvent>,
    /// The last message that was told, in the order in which messages came into the home.
    told: Option<i64>,
    /// The same of what the user's other devices told this one.
    told_by_own_devices: Option<i64>,
    /// The last suspicion that was told.
    told_suspicion: i64,
    typing: TypingNow,
    delays: ExponentialBackoff,
    failed: bool,
}

fn delays() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(MAX_DELAY)
        .without_max_times()
        .with_jitter()
        .build()
}

impl Client {
    /// What happens, as it happens: first what the hub has already, then live. A lost connection is made anew until it works, and
    /// nothing is lost or told twice. What the stream tells, the home holds already; messages that another process or another
    /// task brought into the home are told too.
    ///
    /// The stream ends with an error only when going on is of no use: the session was ended, or the home cannot be written.
    pub fn events(&self) -> impl Stream<Item = Result<ClientEvent>> + Send + use<> {
        // Messages that come in between this call and the first poll belong to the stream as well.
        let told = self.inner().store.read(|r| r.last_arrival()).ok();
        let noticed = self.inner().store.read(|r| r.suspicions_after(0)).unwrap_or_default();
        let events = Events {
            client: self.clone(),
            live: None,
            waiting: None,
            ready: VecDeque::new(),
            told,
            told_by_own_devices: told,
            told_suspicion: noticed.last().map_or(0, |last| last.id),
            typing: TypingNow::default(),
            delays: delays(),
            failed: false,
        };
        stream::unfold(events, |mut events| async move {
            if events.failed {
                return None;
            }
            let next = events.next().await;
            events.failed = next.is_err();
            Some((next, events))
        })
    }
}

impl Events {
    async fn next(&mut self) -> Result<ClientEvent> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            if let Err(error) = Box::pin(self.advance()).await {
                self.live = None;
                self.waiting = None;
                self.ready.extend(self.typing.all_gone());
                if !is_passing(&error) {
                    return Err(error);
                }
                let delay = self.delays.next().unwrap_or(MAX_DELAY);
                tracing::info!(code = error.code(), ?delay, "the stream of events broke, trying again");
                self.ready.push_back(ClientEvent::Disconnected { reason: error.to_string() });
                tokio::time::sleep(delay).await;
            }
        }
    }

    /// Connects, or waits for something to happen and writes it down.
    async fn advance(&mut self) -> Result<()> {
        if self.client.inner().hub.is_none() {
            return self.advance_by_envelopes().await;
        }
        let inner = self.client.inner();
        let Some(live) = &mut self.live else {
            self.client.sync().await?;
            self.tell_resets().await?;
            self.tell_messages()?;
            let cursor = self.client.inner().store.read(|r| r.cursor())?;
            let socket = self.client.hub()?.event_socket(cursor.as_deref()).await?;
            self.live = Some(Live { socket, cursor });
            self.delays = delays();
            self.ready.push_back(ClientEvent::CaughtUp);
            return Ok(());
        };
        let over = self.typing.next_expiry();
        let frame = tokio::select! {
            frame = live.socket.next() => frame?,
            () = until(over) => {
                self.ready.extend(self.typing.expired(Instant::now()));
                return Ok(());
            }
        };
        let event = match frame {
            Some(Frame::Event(event)) => *event,
            Some(Frame::Typing(notice)) => {
                // Of a conversation that is not here yet, nothing can be shown.
                let row = inner.store.read(|r| r.conversation(notice.conversation))?;
                if row.is_some_and(|row| row.active) && notice.user != inner.me.user {
                    self.ready.extend(self.typing.heard(notice, Instant::now()));
                }
                return Ok(());
            }
            // Of a later version.
            Some(_) => return Ok(()),
            None => {
                let hub = self.client.hub()?.address().to_string();
                let reason = "the hub closed the stream".to_owned();
                return Err(TransportError::Unreachable { hub, reason }.into());
            }
        };
        let cursor = event.cursor.clone();
        match self.client.take(live.cursor.take(), vec![event], cursor.clone()).await? {
            Some(applied) => {
                live.cursor = Some(cursor.clone());
                live.socket.acknowledge(&cursor).await?;
                self.tell(&applied)?;
                if applied.resets > 0 {
                    self.tell_resets().await?;
                }
                let to_join = self.client.to_join()?;
                if !applied.todo.is_empty() || !to_join.is_empty() {
                    let report = self.client.follow_up().await?;
                    if report.history > 0 {
                        let changed = applied.todo.replay.iter().copied();
                        self.ready.extend(changed.map(ClientEvent::ConversationChanged));
                    }
                    self.tell_messages()?;
                }
            }
            // Another process or another task has moved on; the stream begins again where the home stands now.
            None => self.live = None,
        }
        Ok(())
    }

    /// Takes what the carriers have, or waits until one of them has something.
    async fn advance_by_envelopes(&mut self) -> Result<()> {
        let Some(waiting) = &mut self.waiting else {
            let (connections, requests) = (self.client.connections().await?, self.client.requests().await?);
            self.client.sync().await?;
            self.tell_messages()?;
            self.tell_changed_connections(&connections).await?;
            let known = |request: &Request| requests.contains(request);
            self.tell_invitations(|request| !known(request)).await?;
            self.waiting = Some(Waiting::default());
            self.delays = delays();
            self.ready.push_back(ClientEvent::CaughtUp);
            return Ok(());
        };
        let applied = waiting.next(&self.client).await?;
        self.tell(&applied)?;
        if !applied.invited.is_empty() {
            self.tell_invitations(|request| applied.invited.contains(&request.conversation)).await?;
        }
        self.tell_messages()
    }

    /// Tells of these invitations to groups.
    async fn tell_invitations(&mut self, are_meant: impl Fn(&Request) -> bool) -> Result<()> {
        let requests = self.client.requests().await?;
        let of_groups = |request: &Request| request.kind == RequestKind::Group && are_meant(request);
        self.ready.extend(requests.into_iter().filter(of_groups).map(ClientEvent::Invited));
        Ok(())
    }

    /// Tells of the connections that are not as they were before.
    async fn tell_changed_connections(&mut self, before: &[Connection]) -> Result<()> {
        let now = self.client.connections().await?;
        let changed = now.into_iter().filter(|connection| !before.contains(connection));
        self.ready.extend(changed.map(ClientEvent::Connection));
        Ok(())
    }

    fn tell(&mut self, applied: &Applied) -> Result<()> {
        for connection in &applied.connections {
            if let Some(connection) = from_hub(connection) {
                self.ready.push_back(ClientEvent::Connection(connection));
            }
        }
        if applied.team_changed {
            self.ready.push_back(ClientEvent::TeamChanged);
        }
        self.ready.extend(applied.joined.iter().copied().map(ClientEvent::Joined));
        self.ready.extend(applied.joins_ended.iter().copied().map(ClientEvent::JoinEnded));
        self.ready.extend(applied.deleted_users.iter().copied().map(ClientEvent::UserDeleted));
        self.ready.extend(applied.changed.iter().copied().map(ClientEvent::ConversationChanged));
        self.tell_messages()
    }

    /// Tells the messages that came into the home since the last one that was told, and what was noticed.
    fn tell_messages(&mut self) -> Result<()> {
        let after = self.told_suspicion;
        for row in self.client.inner().store.read(|r| r.suspicions_after(after))? {
            self.told_suspicion = row.id;
            self.ready.extend(noticed(row).map(ClientEvent::Suspicion));
        }
        let store = &self.client.inner().store;
        let mut told = match self.told {
            Some(told) => told,
            None => store.read(|r| r.last_arrival())?,
        };
        loop {
            let batch = store.read(|r| {
                let rows = r.arrived_after(told, BATCH)?;
                rows.into_iter().map(|row| Ok((row.arrival, message(r, row)?))).collect::<Result<Vec<_>>>()
            })?;
            let Some((last, _)) = batch.last() else { break };
            told = *last;
            let is_over = |message: &Message| message.expires_at.is_some_and(|at| at <= now());
            let messages = batch.into_iter().map(|(_, message)| message).filter(|message| !is_over(message));
            for message in messages {
                self.ready.extend(self.typing.stopped(message.conversation, message.user));
                self.ready.push_back(ClientEvent::Message(message));
            }
        }
        self.told = Some(told);
        self.tell_what_own_devices_told()
    }

    /// Tells of every reset once for the home, whichever process of it took the event.
    async fn tell_resets(&mut self) -> Result<()> {
        let inner = self.client.inner();
        let resets = inner.store.read(|r| r.untold_resets())?;
        if resets.is_empty() {
            return Ok(());
        }
        let mut tx = inner.session.new_transaction().await?;
        let told = resets.clone();
        tx.store_write(move |w| {
            told.iter().try_for_each(|reset| w.set_resets_told(reset.conversation, reset.generation))
        })?;
        tx.finish().await?;
        self.ready.extend(resets.into_iter().map(|reset| ClientEvent::GroupReset {
            conversation: reset.conversation,
            by: reset.by,
            times: reset.generation,
        }));
        Ok(())
    }

    fn tell_what_own_devices_told(&mut self) -> Result<()> {
        let store = &self.client.inner().store;
        let mut told = match self.told_by_own_devices {
            Some(told) => told,
            None => store.read(|r| r.last_arrival())?,
        };
        loop {
            let (last, messages) = store.read(|r| self.client.told_by_own_devices(r, told, BATCH))?;
            let Some(last) = last else { break };
            told = last;
            self.ready.extend(messages.into_iter().map(ClientEvent::FromOwnDevice));
        }
        self.told_by_own_devices = Some(told);
        Ok(())
    }
}

/// Waits until then, or for ever.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Whether the stream goes on after this error: the hub may come back.
fn is_passing(error: &Error) -> bool {
    match error {
        Error::Store(error) => error.kind() == tertulia_store::ErrorKind::Transient,
        Error::NotSignedIn | Error::DeviceRemoved | Error::NoCarrier => false,
        error => error.hub_code() != Some(Code::Unauthenticated),
    }
}
