//! What all who are busy with one hub share: what was sent, what went wrong, when to hold still, and when to end.

use crate::{
    Outcome,
    ledger::{Fingerprint, Ledger},
};
use std::{
    collections::BTreeMap,
    fmt::Display,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tertulia_api::conversation::MessageAccepted;
use tertulia_transport::TransportError;
use tokio::{
    sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, watch},
    time::timeout,
};

/// How long may pass without anything happening that has to, on whatever machine this runs. It ends what hangs; nothing is
/// measured by it.
pub(crate) const PATIENCE: Duration = Duration::from_mins(3);

/// See the module.
pub(crate) struct World {
    ledger: Mutex<Ledger>,
    acknowledged: watch::Sender<usize>,
    refused: Mutex<BTreeMap<String, u64>>,
    refusals: watch::Sender<u64>,
    broken: Mutex<Vec<String>>,
    gate: RwLock<()>,
    over: watch::Sender<bool>,
    pub(crate) counts: Counts,
}

/// How often something was done.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Messages that were sent again after their acknowledgement.
    pub(crate) repeated: AtomicU64,
    /// Messages that were sent twice at the same time.
    pub(crate) raced: AtomicU64,
    /// Messages that were acknowledged at a later attempt than the first.
    pub(crate) retried: AtomicU64,
    /// Changes of members, by the clients of the SDK.
    pub(crate) commits: AtomicU64,
    /// Texts of the clients of the SDK.
    pub(crate) texts: AtomicU64,
    /// Times that a stream of events was opened anew.
    pub(crate) streams: AtomicU64,
    /// Pages of events that were read while nothing could be written.
    pub(crate) reads: AtomicU64,
}

impl World {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            ledger: Mutex::default(),
            acknowledged: watch::Sender::new(0),
            refused: Mutex::default(),
            refusals: watch::Sender::new(0),
            broken: Mutex::default(),
            gate: RwLock::new(()),
            over: watch::Sender::new(false),
            counts: Counts::default(),
        })
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a message was acknowledged.
    pub(crate) fn acknowledge(&self, message: Fingerprint, place: MessageAccepted) {
        let (result, count) = {
            let mut ledger = self.ledger();
            (ledger.acknowledge(message, place), ledger.acknowledged())
        };
        if let Err(broken) = result {
            self.broke(broken);
        }
        self.acknowledged.send_replace(count);
    }

    /// Waits until so many more messages were acknowledged.
    pub(crate) async fn progress(&self, more: usize) -> Outcome<()> {
        let mut acknowledged = self.acknowledged.subscribe();
        let wanted = *acknowledged.borrow() + more;
        let waited = timeout(PATIENCE, acknowledged.wait_for(|&count| count >= wanted)).await;
        match waited {
            Ok(_) => Ok(()),
            Err(_) => Err(format!("nothing is acknowledged any more; refusals: {:?}", self.refused()).into()),
        }
    }

    /// Notes that a request failed.
    pub(crate) fn refuse(&self, error: &TransportError) {
        self.refuse_with(error.code());
    }

    pub(crate) fn refuse_with(&self, code: &str) {
        *lock(&self.refused).entry(code.to_owned()).or_default() += 1;
        self.refusals.send_modify(|count| *count += 1);
    }

    /// Waits until requests were refused with this code so many times.
    pub(crate) async fn refusals(&self, code: &str, wanted: u64) -> Outcome<()> {
        let mut refusals = self.refusals.subscribe();
        let enough = || self.refused().get(code).is_some_and(|&count| count >= wanted);
        match timeout(PATIENCE, refusals.wait_for(|_| enough())).await {
            Ok(_) => Ok(()),
            Err(_) => Err(format!("nothing is refused with `{code}`, but {:?}", self.refused()).into()),
        }
    }

    /// Why requests failed, and how often.
    pub(crate) fn refused(&self) -> BTreeMap<String, u64> {
        lock(&self.refused).clone()
    }

    /// The same, and begins to count anew.
    pub(crate) fn take_refused(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut lock(&self.refused))
    }

    /// Notes that something is not as promised.
    pub(crate) fn broke(&self, what: impl Display) {
        lock(&self.broken).push(what.to_string());
    }

    /// All that is not as promised.
    pub(crate) fn take_broken(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.broken))
    }

    /// Holds those up who want everybody to be still, until what is begun now is done. None when all is over.
    pub(crate) async fn work(&self) -> Option<RwLockReadGuard<'_, ()>> {
        let working = self.gate.read().await;
        (!self.is_over()).then_some(working)
    }

    /// Waits until everybody is done with what they have begun, and lets nobody begin.
    pub(crate) async fn hold_still(&self) -> Outcome<RwLockWriteGuard<'_, ()>> {
        match timeout(PATIENCE, self.gate.write()).await {
            Ok(still) => Ok(still),
            Err(_) => {
                Err(format!("a request has no end, though it is repeated; refusals: {:?}", self.refused())
                    .into())
            }
        }
    }

    pub(crate) fn end(&self) {
        self.over.send_replace(true);
    }

    pub(crate) fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// Resolves when all is over.
    pub(crate) async fn ended(&self) {
        // An error would mean that this value is gone, and it is borrowed.
        let _ = self.over.subscribe().wait_for(|over| *over).await;
    }
}

/// One more.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
