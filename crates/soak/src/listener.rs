//! Those who listen: on a WebSocket that is opened anew whenever it breaks, from where it broke.

use crate::{
    Outcome,
    ledger::Logged,
    member::Member,
    world::{PATIENCE, World, count},
};
use rand::{RngExt as _, rngs::StdRng};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tertulia_transport::{EventSocket, Frame};
use tokio::{sync::watch, time::timeout};

/// After so many events they are acknowledged.
const ACKNOWLEDGED: u32 = 16;

/// What one of them has heard.
pub(crate) struct Heard {
    log: Mutex<Vec<Logged>>,
    upto: watch::Sender<u64>,
}

impl Heard {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { log: Mutex::default(), upto: watch::Sender::new(0) })
    }

    /// Waits until everything up to this entry was heard, and compares it with the log.
    pub(crate) async fn compare(&self, log: &[Logged]) -> Outcome<()> {
        let Some(last) = log.last() else { return Ok(()) };
        let mut upto = self.upto.subscribe();
        let is_late = timeout(PATIENCE, upto.wait_for(|&upto| upto >= last.sequence)).await.is_err();
        if is_late {
            let upto = *upto.borrow();
            return Err(format!("a stream stays at {upto}, and the log is at {}", last.sequence).into());
        }
        if *self.log.lock().unwrap_or_else(PoisonError::into_inner) == log {
            Ok(())
        } else {
            Err("what a stream told is not what is in the log".into())
        }
    }

    /// Notes an entry; false if it is not the next one.
    fn note(&self, entry: Logged) -> bool {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let follows = log.last().is_none_or(|last| last.sequence + 1 == entry.sequence);
        log.push(entry);
        self.upto.send_replace(entry.sequence);
        follows
    }
}

/// Listens until all is over.
pub(crate) async fn listen(world: Arc<World>, member: Member, heard: Arc<Heard>, mut random: StdRng) {
    let mut cursor = None;
    loop {
        tokio::select! {
            () = world.ended() => return,
            () = listen_once(&world, &member, &heard, &mut cursor) => {}
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(5..60))).await;
    }
}

/// Listens until the connection breaks.
async fn listen_once(world: &World, member: &Member, heard: &Heard, cursor: &mut Option<String>) {
    let mut socket: EventSocket = match member.hub().event_socket(cursor.as_deref()).await {
        Ok(socket) => socket,
        Err(error) => {
            world.refuse(&error);
            if !error.is_transient() {
                world.broke(format!("a stream cannot be opened from where it broke: {error}"));
            }
            return;
        }
    };
    count(&world.counts.streams);
    let mut unacknowledged = 0;
    while let Ok(Some(frame)) = socket.next().await {
        let Frame::Event(event) = frame else { continue };
        *cursor = Some(event.cursor.clone());
        if let Some(entry) = Logged::of(&event, member.conversation())
            && !heard.note(entry)
        {
            world.broke(format!("a stream told of entry {} out of turn", entry.sequence));
        }
        unacknowledged += 1;
        if unacknowledged == ACKNOWLEDGED {
            unacknowledged = 0;
            if socket.acknowledge(&event.cursor).await.is_err() {
                return;
            }
        }
    }
}
