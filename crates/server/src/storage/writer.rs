//! The one writer: requests that wait at the same time share one durable transaction.
//!
//! Making a transaction durable costs one flush of the disk however much is in it. So the writer takes every job that
//! waits, runs each in a savepoint of its own, commits once, and only then answers. A job that fails undoes itself and
//! nothing else; a commit that fails, fails for all.

use super::{Connection, StorageError};
use crate::{
    error::ApiError,
    wake::{Topic, Wake},
};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    ops::Deref,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};
use tertulia_domain::{ConversationId, UserId};
use tokio::sync::{mpsc, oneshot};

/// A place in the order of everything that the hub stored. See `schema.sql`.
pub(crate) type Position = i64;

/// Most jobs in one transaction: bounds how long the first of them waits.
const MAX_BATCH: usize = 256;

/// A transaction that was committed, or failed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batch {
    /// Jobs that shared it.
    pub(crate) jobs: usize,
    /// From its beginning until it was durable.
    pub(crate) time: Duration,
    /// Whether it was stored.
    pub(crate) stored: bool,
}

/// The transaction of one job. Derefs to the connection, for `prepare_cached`.
pub(crate) struct WriteTx<'a> {
    connection: &'a Connection,
    position: &'a Cell<Position>,
    woken: RefCell<BTreeSet<Topic>>,
}

impl WriteTx<'_> {
    /// The next position.
    pub(crate) fn next_position(&self) -> Position {
        self.position.set(self.position.get() + 1);
        self.position.get()
    }

    /// The last position that was given out.
    pub(crate) fn last_position(&self) -> Position {
        self.position.get()
    }

    /// Wakes the devices of this user once the transaction is committed.
    pub(crate) fn wake(&self, user: UserId) {
        self.woken.borrow_mut().insert(Topic::User(user));
    }

    /// Wakes the devices that follow this conversation once the transaction is committed.
    pub(crate) fn wake_followers(&self, conversation: ConversationId) {
        self.woken.borrow_mut().insert(Topic::Conversation(conversation));
    }
}

impl Deref for WriteTx<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

/// What becomes of a job's changes.
pub(super) enum Outcome {
    /// They are kept.
    Kept,
    /// They are undone, because the job was refused.
    Undone,
    /// They are undone, because the storage failed.
    Failed(StorageError),
}

/// Something to be done in the writer's transaction.
pub(super) trait Job: Send {
    /// Does it, and says what becomes of its changes.
    fn run(&mut self, tx: &WriteTx<'_>) -> Outcome;

    /// Tells who waits. With an error nothing was stored, whatever [`run`](Self::run) said.
    fn answer(self: Box<Self>, committed: Result<(), StorageError>);
}

struct Call<F, T> {
    work: Option<F>,
    result: Option<Result<T, ApiError>>,
    reply: oneshot::Sender<Result<T, ApiError>>,
}

impl<F, T> Job for Call<F, T>
where
    F: FnOnce(&WriteTx<'_>) -> Result<T, ApiError> + Send,
    T: Send,
{
    fn run(&mut self, tx: &WriteTx<'_>) -> Outcome {
        let Some(work) = self.work.take() else { return Outcome::Undone };
        // The savepoint is rolled back after a panic, and nothing else of the job outlives it.
        let result = catch_unwind(AssertUnwindSafe(|| work(tx)))
            .unwrap_or_else(|_| Err(StorageError::Panicked.into()));
        match self.result.insert(result) {
            Ok(_) => Outcome::Kept,
            Err(ApiError::Storage(error)) => Outcome::Failed(error.clone()),
            Err(_) => Outcome::Undone,
        }
    }

    fn answer(self: Box<Self>, committed: Result<(), StorageError>) {
        let result = match committed {
            Ok(()) => self.result.unwrap_or_else(|| Err(StorageError::Closed.into())),
            Err(error) => Err(error.into()),
        };
        // Who asked may have gone; the work is done all the same.
        let _ = self.reply.send(result);
    }
}

/// The way to the writer. Cheap to clone; the writer ends when the last one is gone.
#[derive(Clone)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Box<dyn Job>>,
}

impl Writer {
    /// A writer, and what its thread has to [`run`](Queue::run).
    pub(super) fn new(waiting: usize) -> (Self, Queue) {
        let (jobs, queue) = mpsc::channel(waiting);
        (Self { jobs }, Queue(queue))
    }

    /// Jobs that wait.
    pub(super) fn waiting(&self) -> usize {
        self.jobs.max_capacity() - self.jobs.capacity()
    }

    /// Does `work` in a transaction, and answers when it is durable.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&WriteTx<'_>) -> Result<T, ApiError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let call = Call { work: Some(work), result: None, reply };
        self.jobs.send(Box::new(call)).await.map_err(|_| StorageError::Closed)?;
        answer.await.map_err(|_| StorageError::Closed)?
    }
}

/// The jobs that wait for the writer.
pub(super) struct Queue(mpsc::Receiver<Box<dyn Job>>);

impl Queue {
    /// Runs jobs until the last [`Writer`] is gone, then leaves the database without a write-ahead log.
    pub(super) fn run(
        mut self,
        mut connection: Connection,
        connect: impl Fn() -> Result<Connection, StorageError>,
        wake: &Wake,
        committed: impl Fn(Batch),
    ) {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        while self.0.blocking_recv_many(&mut batch, MAX_BATCH) > 0 {
            let begun = Instant::now();
            let mut woken = BTreeSet::new();
            let result = begin(&mut connection, &connect)
                .and_then(|()| run_batch(&connection, &mut batch, &mut woken));
            committed(Batch { jobs: batch.len(), time: begun.elapsed(), stored: result.is_ok() });
            // Also after a failure: of a commit it may be that only its answer was lost.
            wake.notify(woken);
            let answer = result.inspect_err(|error| {
                tracing::error!(%error, jobs = batch.len(), "a transaction failed");
            });
            for job in batch.drain(..) {
                job.answer(answer.clone());
            }
        }
        if let Err(error) = connection.fold_in() {
            tracing::warn!(%error, "the write-ahead log was not folded in; the next start does it");
        }
    }
}

/// Begins a transaction, on another connection if this one has ended.
fn begin(
    connection: &mut Connection,
    connect: impl Fn() -> Result<Connection, StorageError>,
) -> Result<(), StorageError> {
    match connection.begin_writing() {
        Err(_) if connection.is_closed() => {}
        Err(error) => {
            undo(connection);
            return Err(error.into());
        }
        Ok(()) => return Ok(()),
    }
    *connection = connect()?;
    tracing::info!("the database is there again");
    Ok(connection.begin_writing()?)
}

/// Runs all jobs in the transaction and commits it. What is to be woken goes into `woken`; or why nothing was stored.
fn run_batch(
    connection: &Connection,
    batch: &mut [Box<dyn Job>],
    woken: &mut BTreeSet<Topic>,
) -> Result<(), StorageError> {
    let done = run_jobs(connection, batch, woken);
    if done.is_err() {
        undo(connection);
    }
    done
}

/// Undoes a transaction that failed. What went wrong first is what counts.
fn undo(connection: &Connection) {
    if connection.lost_transaction() {
        return;
    }
    if let Err(error) = connection.run("ROLLBACK") {
        tracing::warn!(%error, "a transaction that failed was not undone in good order");
    }
}

fn run_jobs(
    connection: &Connection,
    batch: &mut [Box<dyn Job>],
    woken: &mut BTreeSet<Topic>,
) -> Result<(), StorageError> {
    let start: Position =
        connection.prepare_cached("SELECT position FROM hub")?.query_row((), |row| row.get(0))?;
    let position = Cell::new(start);
    for job in batch {
        let mark = position.get();
        connection.run("SAVEPOINT job")?;
        let tx = WriteTx { connection, position: &position, woken: RefCell::default() };
        let outcome = job.run(&tx);
        let job_woken = tx.woken.into_inner();
        // SQLite undoes the whole transaction by itself on some errors, such as a full disk. The jobs before this one
        // are lost then, and going on would store the rest without a transaction.
        if connection.lost_transaction() {
            return Err(match outcome {
                Outcome::Failed(error) => error,
                Outcome::Kept | Outcome::Undone => StorageError::Damaged("a job ended the transaction"),
            });
        }
        if matches!(outcome, Outcome::Kept) {
            connection.run("RELEASE SAVEPOINT job")?;
            woken.extend(job_woken);
        } else {
            connection.run("ROLLBACK TO SAVEPOINT job; RELEASE SAVEPOINT job")?;
            position.set(mark);
        }
    }
    if position.get() != start {
        connection.prepare_cached("UPDATE hub SET position = ?1")?.execute([position.get()])?;
    }
    Ok(connection.run("COMMIT")?)
}

#[cfg(test)]
mod tests;
