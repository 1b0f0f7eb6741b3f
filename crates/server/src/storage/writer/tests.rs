#![allow(clippy::unwrap_used)]
use super::*;
use crate::{
    storage::{Location, Sql, Storage, sql::params, testing},
    wake::Wake,
};
use futures::future::join_all;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tertulia_api::Code;

struct Fixture {
    dir: TempDir,
    location: Location,
    storage: Storage,
    wake: Wake,
    batches: Arc<Mutex<Vec<usize>>>,
}

fn open() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let (wake, batches) = (Wake::default(), Arc::new(Mutex::new(Vec::new())));
    let sizes = Arc::clone(&batches);
    let committed = move |batch: Batch| sizes.lock().unwrap().push(batch.jobs);
    let location = testing::location(dir.path());
    let storage = testing::open(&location, wake.clone(), committed);
    Fixture { dir, location, storage, wake, batches }
}

type Work<T> = Box<dyn FnOnce(&WriteTx<'_>) -> Result<T, ApiError> + Send>;

/// Sends jobs that are all waiting when the writer is released.
async fn together<T: Send + 'static>(storage: &Storage, jobs: Vec<Work<T>>) -> Vec<Result<T, ApiError>> {
    let release = testing::hold(storage).await;
    let mut waiting: Vec<_> = jobs.into_iter().map(|job| Box::pin(storage.write(job))).collect();
    for job in &mut waiting {
        assert!(futures::poll!(job.as_mut()).is_pending());
    }
    drop(release);
    join_all(waiting).await
}

fn note(tx: &WriteTx<'_>, text: &str) -> Result<Position, ApiError> {
    let position = tx.next_position();
    tx.prepare_cached("INSERT INTO users (id, handle, password, created_at) VALUES (?1, ?2, '', 0)")?
        .execute(params![Sql(UserId::random()), text])?;
    Ok(position)
}

async fn noted(storage: &Storage) -> Vec<String> {
    let read = |db: &Connection| {
        let mut statement = db.prepare_cached("SELECT handle FROM users ORDER BY handle")?;
        let texts = statement.query_map((), |row| row.get(0))?;
        Ok(texts.collect::<Result<_, _>>()?)
    };
    storage.read(read).await.unwrap()
}

#[tokio::test]
async fn jobs_that_wait_together_share_one_transaction() {
    let Fixture { storage, batches, dir: _dir, .. } = open();
    let jobs = (0..20).map(|n| -> Work<Position> { Box::new(move |tx| note(tx, &format!("n{n:02}"))) });
    let answers = together(&storage, jobs.collect()).await;
    let positions: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(positions, (1..=20).collect::<Vec<_>>());
    assert_eq!(*batches.lock().unwrap(), [1, 20]);
    assert_eq!(noted(&storage).await.len(), 20);
}

#[tokio::test]
async fn a_job_that_fails_or_panics_undoes_itself_alone() {
    let Fixture { storage, dir: _dir, .. } = open();
    let jobs: Vec<Work<Position>> = vec![
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
    let Fixture { storage, location, dir: _dir, .. } = open();
    let Location::File { .. } = location else { return }; // a bound that only SQLite has
    let pages = |tx: &WriteTx<'_>, most: i64| {
        Ok(tx
            .prepare_cached(&format!("PRAGMA max_page_count = {most}"))?
            .query_row((), |row| row.get::<i64>(0))?)
    };
    let full = storage.write(move |tx| pages(tx, 1)).await.unwrap(); // no lower than what is in use
    let jobs: Vec<Work<Position>> = vec![
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
    let subscription = wake.subscribe(user);
    let undone = storage.write(move |tx| -> Result<(), ApiError> {
        tx.wake(user);
        Err(Code::NotConnected.into())
    });
    assert!(undone.await.is_err());
    assert!(futures::poll!(Box::pin(subscription.changed())).is_pending());
    storage
        .write(move |tx| {
            tx.wake(user);
            note(tx, "seen")
        })
        .await
        .unwrap();
    subscription.changed().await;
    assert_eq!(noted(&storage).await, ["seen"]);
}

#[tokio::test]
async fn positions_go_on_after_a_restart() {
    let Fixture { dir: _dir, location, storage, .. } = open();
    assert_eq!(storage.write(|tx| note(tx, "before")).await.unwrap(), 1);
    drop(storage);
    let storage = testing::open(&location, Wake::default(), |_| ());
    assert_eq!(storage.write(|tx| note(tx, "after")).await.unwrap(), 2);
}
