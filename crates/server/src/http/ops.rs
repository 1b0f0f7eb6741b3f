//! For who runs the hub.

use crate::{error::ApiError, metrics::Metrics, storage::Storage};
use axum::{Router, extract::State, response::IntoResponse, routing::get};
use http::header;
use std::sync::Arc;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<Storage> {
    OpenApiRouter::new().routes(routes!(healthz))
}

/// Is the hub well
///
/// Answers once the storage answers: `ok`, or `storage-full` while there was no room for what was to be stored last. The hub then
/// goes on delivering, and takes messages again once there is room; to start it anew is of no use.
#[utoipa::path(get, path = "/healthz", tag = "operation", security(()),
    responses((status = 200, description = "The hub serves requests", body = String, content_type = "text/plain")))]
async fn healthz(State(storage): State<Storage>) -> Result<&'static str, ApiError> {
    storage.read(|db| Ok(db.prepare_cached("SELECT 1 FROM hub")?.query_row((), |_| Ok(()))?)).await?;
    Ok(if storage.is_full() { "storage-full\n" } else { "ok\n" })
}

/// What is served at the address for numbers: `/metrics` alone, in Prometheus's text format. They name no user, device or
/// conversation.
pub(crate) fn numbers(storage: Storage, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/metrics", get(render))
        .fallback(super::layers::not_found)
        .with_state((storage, metrics))
}

async fn render(
    State((storage, metrics)): State<(Storage, Arc<Metrics>)>,
) -> Result<impl IntoResponse, ApiError> {
    let database = storage.bytes().await?;
    let numbers = metrics.render(storage.waiting(), database);
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], numbers))
}
