//! For who runs the hub.

use crate::{
    error::ApiError,
    metrics::Metrics,
    storage::{Storage, StorageError},
};
use axum::{Router, extract::State, response::IntoResponse, routing::get};
use http::header;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::Mutex, time::timeout};
use utoipa_axum::{router::OpenApiRouter, routes};

/// How old an answer of the storage may be. Anybody may ask, as often as they like.
const FRESH: Duration = Duration::from_secs(1);

/// How long the numbers wait for the size of the database. Who collects them waits for some seconds, and is to have the others even so.
const SIZE_WITHIN: Duration = Duration::from_secs(2);

/// Whether the storage answers, asked once for all who want to know.
#[derive(Clone)]
pub(crate) struct Health {
    storage: Storage,
    fresh: Duration,
    last: Arc<Mutex<Option<Said>>>,
}

/// What the storage has said.
struct Said {
    at: Instant,
    answer: Result<(), StorageError>,
}

impl Health {
    pub(crate) fn of(storage: Storage) -> Self {
        Self { storage, fresh: FRESH, last: Arc::default() }
    }

    /// What the storage said a moment ago, or says now. Who comes meanwhile waits for the same answer.
    async fn ask(&self) -> Result<(), ApiError> {
        let mut last = self.last.lock().await;
        if let Some(said) = last.as_ref().filter(|said| said.at.elapsed() < self.fresh) {
            return Ok(said.answer.clone()?);
        }
        let asked = self
            .storage
            .read(|db| Ok(db.prepare_cached("SELECT 1 FROM hub")?.query_row((), |_| Ok(()))?))
            .await;
        let answer = match &asked {
            Ok(()) => Some(Ok(())),
            Err(ApiError::Storage(error)) => Some(Err(error.clone())),
            Err(_) => None,
        };
        *last = answer.map(|answer| Said { at: Instant::now(), answer });
        asked
    }
}

pub(crate) fn router() -> OpenApiRouter<Health> {
    OpenApiRouter::new().routes(routes!(healthz))
}

/// Is the hub well
///
/// Answers once the storage answers, or has answered within the last second: `ok`, or `storage-full` while there was no room for
/// what was to be stored last. The hub then goes on delivering, and takes messages again once there is room; to start it anew is of
/// no use.
#[utoipa::path(get, path = "/healthz", tag = "operation", security(()),
    responses((status = 200, description = "The hub serves requests", body = String, content_type = "text/plain")))]
async fn healthz(State(health): State<Health>) -> Result<&'static str, ApiError> {
    health.ask().await?;
    Ok(if health.storage.is_full() { "storage-full\n" } else { "ok\n" })
}

/// What is served at the address for numbers: `/metrics` alone, in Prometheus's text format. They name no user, device or
/// conversation.
pub(crate) fn numbers(storage: Storage, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/metrics", get(render))
        .fallback(super::layers::not_found)
        .with_state((storage, metrics))
}

/// The numbers, also while the database is away: then they are needed most.
async fn render(State((storage, metrics)): State<(Storage, Arc<Metrics>)>) -> impl IntoResponse {
    let database = match timeout(SIZE_WITHIN, storage.bytes()).await {
        Ok(Ok(bytes)) => Some(bytes),
        Ok(Err(error)) => {
            tracing::debug!(%error, "how large the database is was not found out");
            None
        }
        Err(_) => None,
    };
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render(storage.waiting(), database))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{storage::testing, wake::Wake};

    #[tokio::test]
    async fn the_storage_is_not_asked_for_everybody_who_wants_to_know() {
        let dir = tempfile::tempdir().unwrap();
        let storage = testing::open(&testing::location(dir.path()), Wake::default(), |_| ());
        let health = Health { fresh: Duration::from_hours(1), ..Health::of(storage.clone()) };
        health.ask().await.unwrap();
        let gone = storage.write(|tx| Ok(tx.prepare_cached("DELETE FROM hub")?.execute(())?));
        assert_eq!(gone.await.unwrap(), 1);
        health.ask().await.unwrap();
        // When that was too long ago, it is asked again; and a failure is said again, too.
        let health = Health { fresh: Duration::ZERO, ..health };
        health.ask().await.unwrap_err();
        let health = Health { fresh: Duration::from_hours(1), ..health };
        health.ask().await.unwrap_err();
    }

    #[tokio::test]
    async fn numbers_are_told_without_the_size_of_a_database_that_does_not_answer() {
        let dir = tempfile::tempdir().unwrap();
        let storage = testing::open(&testing::location(dir.path()), Wake::default(), |_| ());
        let metrics = Arc::new(Metrics::new());
        let told = async || {
            let answer = render(State((storage.clone(), Arc::clone(&metrics)))).await.into_response();
            assert_eq!(answer.status(), http::StatusCode::OK);
            let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
            String::from_utf8(body.to_vec()).unwrap()
        };
        let (with, size) = (told().await, "tertulia_database_bytes");
        assert!(with.lines().any(|line| line.starts_with(size)), "{with}");
        let busy = testing::hold_readers(&storage).await;
        let without = told().await;
        assert!(!without.contains(size), "{without}");
        assert!(without.lines().any(|line| line.starts_with("tertulia_writer_queue ")), "{without}");
        drop(busy);
    }
}
