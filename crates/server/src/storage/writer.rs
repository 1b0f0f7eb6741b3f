//! The one writer: requests that wait at the same time share one durable transaction.
//!
//! Making a transaction durable costs one flush of the disk however much is in it. So the writer takes every job that
//! waits, runs each in a savepoint of its own, commits once, and only then answers. A job that fails undoes itself and
//! nothing else; a commit that fails, fails for all.

use super::StorageError;
use crate::{error::ApiError, wake::Wake};
use rusqlite::{Connection, TransactionBehavior};
use std::{
    cell::{Cell, RefCell},
    ops::Deref,
    panic::{AssertUnwindSafe, catch_unwind},
};
use tertulia_domain::UserId;
use tokio::sync::{mpsc, oneshot};

/// A place in the order of everything that the hub stored. See `schema.sql`.
pub(crate) type Position = i64;

/// Most jobs in one transaction: bounds how long the first of them waits.
const MAX_BATCH: usize = 256;

/// The transaction of one job. Derefs to the connection, for `prepare_cached`.
pub(crate) struct WriteTx<'a> {
    connection: &'a Connection,
    position: &'a Cell<Position>,
    woken: RefCell<Vec<UserId>>,
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

    /// Wakes the devices of these users once the transaction is committed.
    pub(crate) fn wake(&self, users: impl IntoIterator<Item = UserId>) {
        self.woken.borrow_mut().extend(users);
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
        position: Position,
        wake: &Wake,
        committed: impl Fn(usize),
    ) {
        let position = Cell::new(position);
        let mut batch = Vec::with_capacity(MAX_BATCH);
        while self.0.blocking_recv_many(&mut batch, MAX_BATCH) > 0 {
            let start = position.get();
            let result = run_batch(&mut connection, &mut batch, &position);
            committed(batch.len());
            let answer = match result {
                Ok(woken) => {
                    wake.notify(woken);
                    Ok(())
                }
                Err(error) => {
                    tracing::error!(%error, jobs = batch.len(), "a transaction failed");
                    position.set(start);
                    Err(error)
                }
            };
            for job in batch.drain(..) {
                job.answer(answer.clone());
            }
        }
        let checkpoint = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()));
        if let Err(error) = checkpoint {
            tracing::warn!(%error, "the write-ahead log was not folded in; the next start does it");
        }
    }
}

/// Runs all jobs in one transaction and commits it. The users to wake, or why nothing was stored.
fn run_batch(
    connection: &mut Connection,
    batch: &mut [Box<dyn Job>],
    position: &Cell<Position>,
) -> Result<Vec<UserId>, StorageError> {
    let start = position.get();
    let mut woken = Vec::new();
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for job in batch {
        let mark = position.get();
        let savepoint = transaction.savepoint()?;
        let tx = WriteTx { connection: &savepoint, position, woken: RefCell::default() };
        let outcome = job.run(&tx);
        let job_woken = tx.woken.into_inner();
        // SQLite undoes the whole transaction by itself on some errors, such as a full disk. The jobs before this one
        // are lost then, and going on would store the rest without a transaction.
        if savepoint.is_autocommit() {
            return Err(match outcome {
                Outcome::Failed(error) => error,
                Outcome::Kept | Outcome::Undone => StorageError::Damaged("a job ended the transaction"),
            });
        }
        if matches!(outcome, Outcome::Kept) {
            savepoint.commit()?;
            woken.extend(job_woken);
        } else {
            savepoint.finish()?;
            position.set(mark);
        }
    }
    if position.get() != start {
        transaction.prepare_cached("UPDATE hub SET position = ?1")?.execute([position.get()])?;
    }
    transaction.commit()?;
    Ok(woken)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::storage::{Opened, Storage};
    use futures::future::join_all;
    use std::sync::{Arc, Mutex, mpsc};
    use tempfile::TempDir;
    use tertulia_api::Code;
    use tertulia_domain::Domain;

    struct Fixture {
        dir: TempDir,
        storage: Storage,
        wake: Wake,
        batches: Arc<Mutex<Vec<usize>>>,
    }

    fn open() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let (wake, batches) = (Wake::default(), Arc::new(Mutex::new(Vec::new())));
        let sizes = Arc::clone(&batches);
        let committed = move |jobs| sizes.lock().unwrap().push(jobs);
        let Opened { storage, .. } =
            Storage::open(&dir.path().join("hub.db"), &Domain::localhost(), wake.clone(), committed).unwrap();
        Fixture { dir, storage, wake, batches }
    }

    /// Holds the writer until the answer is dropped, so that jobs pile up behind it.
    async fn hold(storage: &Storage) -> mpsc::Sender<()> {
        let (release, held) = mpsc::channel::<()>();
        let (started, starts) = oneshot::channel();
        let storage = storage.clone();
        tokio::spawn(async move {
            let work = move |_: &WriteTx<'_>| {
                let _ = started.send(());
                let _ = held.recv();
                Ok(())
            };
            storage.write(work).await
        });
        starts.await.unwrap();
        release
    }

    /// Sends jobs that are all waiting when the writer is released.
    async fn together<T: Send + 'static>(
        storage: &Storage,
        jobs: Vec<Box<dyn FnOnce(&WriteTx<'_>) -> Result<T, ApiError> + Send>>,
    ) -> Vec<Result<T, ApiError>> {
        let release = hold(storage).await;
        let mut waiting: Vec<_> = jobs.into_iter().map(|job| Box::pin(storage.write(job))).collect();
        for job in &mut waiting {
            assert!(futures::poll!(job.as_mut()).is_pending());
        }
        drop(release);
        join_all(waiting).await
    }

    fn note(tx: &WriteTx<'_>, text: &str) -> Result<Position, ApiError> {
        let position = tx.next_position();
        tx.execute(
            "INSERT INTO users (id, handle, password, created_at) VALUES (randomblob(16), ?1, '', 0)",
            [text],
        )?;
        Ok(position)
    }

    async fn noted(storage: &Storage) -> Vec<String> {
        let read = |db: &Connection| {
            let mut statement = db.prepare("SELECT handle FROM users ORDER BY handle")?;
            let texts = statement.query_map((), |row| row.get(0))?;
            Ok(texts.collect::<Result<_, _>>()?)
        };
        storage.read(read).await.unwrap()
    }

    #[tokio::test]
    async fn jobs_that_wait_together_share_one_transaction() {
        let Fixture { storage, batches, dir: _dir, .. } = open();
        let jobs = (0..20).map(|n| -> Box<dyn FnOnce(&WriteTx<'_>) -> _ + Send> {
            Box::new(move |tx| note(tx, &format!("n{n:02}")))
        });
        let answers = together(&storage, jobs.collect()).await;
        let positions: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
        assert_eq!(positions, (1..=20).collect::<Vec<_>>());
        assert_eq!(*batches.lock().unwrap(), [1, 20]);
        assert_eq!(noted(&storage).await.len(), 20);
    }

    #[tokio::test]
    async fn a_job_that_fails_or_panics_undoes_itself_alone() {
        let Fixture { storage, dir: _dir, .. } = open();
        let jobs: Vec<Box<dyn FnOnce(&WriteTx<'_>) -> Result<Position, ApiError> + Send>> = vec![
            Box::new(|tx| note(tx, "first")),
            Box::new(|tx| note(tx, "refused").and(Err(Code::NotConnected.into()))),
            Box::new(|tx| {
                note(tx, "panicked")?;
                panic!("on purpose")
            }),
            Box::new(|tx| note(tx, "last")),
        ];
        let answers = together(&storage, jobs).await;
        assert!(matches!(answers[0], Ok(1)));
        assert!(matches!(&answers[1], Err(ApiError::Refused(problem)) if problem.code == "not-connected"));
        assert!(matches!(answers[2], Err(ApiError::Storage(StorageError::Panicked))));
        assert!(matches!(answers[3], Ok(2)), "positions of undone jobs are given out again");
        assert_eq!(noted(&storage).await, ["first", "last"]);
    }

    #[tokio::test]
    async fn a_full_disk_fails_the_whole_transaction_and_passes() {
        let Fixture { storage, dir: _dir, .. } = open();
        let pages = |tx: &WriteTx<'_>, most: i64| {
            Ok(tx.query_row(&format!("PRAGMA max_page_count = {most}"), (), |row| row.get::<_, i64>(0))?)
        };
        let full = storage.write(move |tx| pages(tx, 1)).await.unwrap(); // no lower than what is in use
        let jobs: Vec<Box<dyn FnOnce(&WriteTx<'_>) -> Result<Position, ApiError> + Send>> = vec![
            Box::new(|tx| note(tx, "small")),
            Box::new(|tx| note(tx, &"large".repeat(10_000))),
            Box::new(|tx| note(tx, "after")),
        ];
        for answer in together(&storage, jobs).await {
            assert!(matches!(answer, Err(ApiError::Storage(StorageError::Full))), "{answer:?}");
        }
        assert!(noted(&storage).await.is_empty());

        storage.write(move |tx| pages(tx, full + 1000)).await.unwrap();
        assert_eq!(storage.write(|tx| note(tx, "room again")).await.unwrap(), 1);
        assert_eq!(noted(&storage).await, ["room again"]);
    }

    #[tokio::test]
    async fn a_wake_up_comes_after_the_commit_and_only_then() {
        let Fixture { storage, wake, dir: _dir, .. } = open();
        let user = UserId::random();
        let mut subscription = wake.subscribe(user);
        let undone = storage.write(move |tx| -> Result<(), ApiError> {
            tx.wake([user]);
            Err(Code::NotConnected.into())
        });
        assert!(undone.await.is_err());
        assert!(futures::poll!(Box::pin(subscription.changed())).is_pending());
        storage
            .write(move |tx| {
                tx.wake([user]);
                note(tx, "seen")
            })
            .await
            .unwrap();
        subscription.changed().await;
        assert_eq!(noted(&storage).await, ["seen"]);
    }

    #[tokio::test]
    async fn positions_go_on_after_a_restart() {
        let Fixture { dir, storage, .. } = open();
        assert_eq!(storage.write(|tx| note(tx, "before")).await.unwrap(), 1);
        drop(storage);
        let opened =
            Storage::open(&dir.path().join("hub.db"), &Domain::localhost(), Wake::default(), |_| ()).unwrap();
        assert_eq!(opened.storage.write(|tx| note(tx, "after")).await.unwrap(), 2);
    }
}
