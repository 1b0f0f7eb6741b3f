//! For who runs the hub.

use crate::{error::ApiError, state::AppState};
use axum::{Router, extract::State, response::IntoResponse, routing::get};
use http::header;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(healthz))
}

/// Is the hub well
///
/// Answers once the storage answers.
#[utoipa::path(get, path = "/healthz", tag = "operation", security(()),
    responses((status = 200, description = "The hub serves requests", body = String, content_type = "text/plain")))]
async fn healthz(State(state): State<AppState>) -> Result<&'static str, ApiError> {
    state.storage.read(|db| Ok(db.prepare_cached("SELECT 1 FROM hub")?.query_row((), |_| Ok(()))?)).await?;
    Ok("ok\n")
}

/// What is served at the address for numbers: `/metrics` alone, in Prometheus's text format. They name no user, device or
/// conversation.
pub(crate) fn numbers(state: AppState) -> Router {
    Router::new().route("/metrics", get(metrics)).fallback(super::layers::not_found).with_state(state)
}

async fn metrics(State(state): State<AppState>) -> Result<impl IntoResponse, ApiError> {
    let database = state.storage.bytes().await?;
    let numbers = state.metrics.render(state.storage.waiting(), database);
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], numbers))
}
