//! The one writer: requests that wait at the same time share one durable transaction.
//!
//! Making a transaction durable costs one flush of the disk however much is in it. So the writer takes every job that
//! waits, runs each in a savepoint of its own, commits once, and only then answers. A job that fails undoes itself and
//! nothing else; a commit that fails, fails for all.
//!
//! Jobs of one kind may also share their statements ([`Together`]). Nobody whose job waits has an answer yet, so the order in
//! which waiting jobs are done is free.

use super::{Connection, StorageError};
use crate::{
    bus::{Bus, Change, Positions},
    error::ApiError,
    wake::Topic,
};
use std::{
    any::{Any, TypeId},
    cell::{Cell, RefCell},
    collections::BTreeSet,
    ops::Deref,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};
use tertulia_conversation::topic::ContentTopic;
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
    /// Whether there was room for what it brought; none if it brought nothing, or failed for another reason.
    pub(crate) room: Option<bool>,
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

    /// Wakes who waits for envelopes in this content topic once the transaction is committed.
    pub(crate) fn wake_readers(&self, topic: ContentTopic) {
        self.woken.borrow_mut().insert(Topic::Content(topic));
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

/// Work that costs less if several do it at once.
pub(crate) trait Together: Sized + Send + 'static {
    /// What comes of it.
    type Answer: Send + 'static;

    /// Does the work of all, as if one after the other. What is refused has changed nothing; with an error of the storage
    /// all is undone, and each is done alone.
    fn run(tx: &WriteTx<'_>, all: &[&Self]) -> Result<Vec<Result<Self::Answer, ApiError>>, ApiError>;
}

/// Does jobs of one kind together, and says what becomes of their changes.
type RunAll = fn(&WriteTx<'_>, &mut [Box<dyn Job>]) -> Outcome;

/// Something to be done in the writer's transaction.
pub(super) trait Job: Any + Send {
    /// Does it, and says what becomes of its changes.
    fn run(&mut self, tx: &WriteTx<'_>) -> Outcome;

    /// How it is done together with others of its kind, if it can be.
    fn together(&self) -> Option<(TypeId, RunAll)> {
        None
    }

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
    F: FnOnce(&WriteTx<'_>) -> Result<T, ApiError> + Send + 'static,
    T: Send + 'static,
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

/// A job that can share its statements.
struct Joint<W: Together> {
    work: W,
    result: Option<Result<W::Answer, ApiError>>,
    reply: oneshot::Sender<Result<W::Answer, ApiError>>,
}

impl<W: Together> Joint<W> {
    fn of<'a>(job: &'a mut (dyn Job + 'static)) -> Option<&'a mut Self> {
        (job as &mut dyn Any).downcast_mut()
    }

    fn run_all(tx: &WriteTx<'_>, jobs: &mut [Box<dyn Job>]) -> Outcome {
        let mut jobs: Vec<&mut Self> = jobs.iter_mut().filter_map(|job| Self::of(&mut **job)).collect();
        let all: Vec<&W> = jobs.iter().map(|job| &job.work).collect();
        let results = catch_unwind(AssertUnwindSafe(|| W::run(tx, &all)))
            .unwrap_or_else(|_| Err(StorageError::Panicked.into()));
        match results {
            Ok(results) => {
                for (job, result) in jobs.iter_mut().zip(results) {
                    job.result = Some(result);
                }
                Outcome::Kept
            }
            Err(ApiError::Storage(error)) => Outcome::Failed(error),
            Err(_) => Outcome::Undone,
        }
    }
}

impl<W: Together> Job for Joint<W> {
    fn run(&mut self, tx: &WriteTx<'_>) -> Outcome {
        let result = catch_unwind(AssertUnwindSafe(|| W::run(tx, &[&self.work])))
            .unwrap_or_else(|_| Err(StorageError::Panicked.into()));
        // For one there is one.
        let result = result.and_then(|mut one| one.pop().unwrap_or_else(|| Err(StorageError::Closed.into())));
        match self.result.insert(result) {
            Ok(_) => Outcome::Kept,
            Err(ApiError::Storage(error)) => Outcome::Failed(error.clone()),
            Err(_) => Outcome::Undone,
        }
    }

    fn together(&self) -> Option<(TypeId, RunAll)> {
        Some((TypeId::of::<W>(), Self::run_all))
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

    /// The same for work that shares its statements with others of its kind.
    pub(super) async fn write_together<W: Together>(&self, work: W) -> Result<W::Answer, ApiError> {
        let (reply, answer) = oneshot::channel();
        let joint = Joint { work, result: None, reply };
        self.jobs.send(Box::new(joint)).await.map_err(|_| StorageError::Closed)?;
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
        bus: &Bus,
        committed: impl Fn(Batch),
    ) {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        while self.0.blocking_recv_many(&mut batch, MAX_BATCH) > 0 {
            let begun = Instant::now();
            let mut woken = BTreeSet::new();
            let result = begin(&mut connection, &connect)
                .and_then(|()| run_batch(&connection, &mut batch, &mut woken))
                .map_err(|error| {
                    if error.is_failed_write() && connection.has_no_room() {
                        StorageError::Full
                    } else {
                        error
                    }
                });
            let room = match &result {
                Ok((_, room)) => *room,
                Err(StorageError::Full) => Some(false),
                Err(_) => None,
            };
            committed(Batch { jobs: batch.len(), time: begun.elapsed(), stored: result.is_ok(), room });
            // Also after a failure: of a commit it may be that only its answer was lost.
            bus.announce(Change {
                positions: result.as_ref().ok().map(|(positions, _)| *positions),
                topics: woken,
            });
            let answer = result.map(drop).inspect_err(|error| {
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
    let Err(mut error) = connection.begin_writing() else { return Ok(()) };
    if connection.has_ended(&error) {
        // A standby keeps the connection, and the transaction that it has refused.
        *connection = connect().inspect_err(|_| undo(connection))?;
        tracing::info!("the database is there again");
        match connection.begin_writing() {
            Ok(()) => return Ok(()),
            Err(again) => error = again,
        }
    }
    // It has begun as far as the server is concerned: the next transaction would be refused.
    undo(connection);
    Err(error.into())
}

/// Runs all jobs in the transaction and commits it. What is to be woken goes into `woken`. The positions that were given out, and
/// whether there was room, as [`Batch::room`]; or why nothing was stored.
fn run_batch(
    connection: &Connection,
    batch: &mut [Box<dyn Job>],
    woken: &mut BTreeSet<Topic>,
) -> Result<(Positions, Option<bool>), StorageError> {
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
) -> Result<(Positions, Option<bool>), StorageError> {
    let start: Position =
        connection.prepare_cached("SELECT position FROM hub")?.query_row((), |row| row.get(0))?;
    let position = Cell::new(start);
    batch.sort_by_key(|job| kind(&**job)); // those that are done alone stay in their order, before the others
    let mut is_full = false;
    for jobs in batch.chunk_by_mut(|a, b| kind(&**a).is_some() && kind(&**a) == kind(&**b)) {
        if let [first, _, ..] = jobs
            && let Some((_, run_all)) = first.together()
            && matches!(step(connection, &position, woken, |tx| run_all(tx, jobs))?, Outcome::Kept)
        {
            continue;
        }
        for job in jobs {
            let outcome = step(connection, &position, woken, |tx| job.run(tx))?;
            is_full |= matches!(outcome, Outcome::Failed(StorageError::Full));
        }
    }
    let moved = (position.get() != start).then(|| position.get());
    connection.commit(moved)?;
    let positions = Positions { after: start, upto: position.get() };
    Ok((positions, (is_full || moved.is_some()).then_some(!is_full)))
}

/// Jobs of the same kind can be done together; of no kind, they are done alone.
fn kind(job: &dyn Job) -> Option<TypeId> {
    job.together().map(|(kind, _)| kind)
}

/// Does something that is undone as a whole, or kept. What became of it, unless the transaction is lost.
fn step(
    connection: &Connection,
    position: &Cell<Position>,
    woken: &mut BTreeSet<Topic>,
    run: impl FnOnce(&WriteTx<'_>) -> Outcome,
) -> Result<Outcome, StorageError> {
    let mark = position.get();
    connection.savepoint()?;
    let tx = WriteTx { connection, position, woken: RefCell::default() };
    let outcome = run(&tx);
    let newly_woken = tx.woken.into_inner();
    // SQLite undoes the whole transaction by itself on some errors, such as a full disk. The jobs before this one are lost
    // then, and going on would store the rest without a transaction.
    if connection.lost_transaction() {
        return Err(match outcome {
            Outcome::Failed(error) => error,
            Outcome::Kept | Outcome::Undone => StorageError::Damaged("a job ended the transaction"),
        });
    }
    if matches!(outcome, Outcome::Kept) {
        connection.release_savepoint()?;
        woken.extend(newly_woken);
    } else {
        connection.undo_to_savepoint()?;
        position.set(mark);
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests;
