//! For who runs the hub.

use crate::{error::ApiError, state::AppState};
use axum::{extract::State, response::IntoResponse};
use http::header;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(healthz)).routes(routes!(metrics))
}

/// Is the hub well
///
/// Answers once the storage answers.
#[utoipa::path(get, path = "/healthz", tag = "operation", security(()),
    responses((status = 200, description = "The hub serves requests", body = String, content_type = "text/plain")))]
async fn healthz(State(state): State<AppState>) -> Result<&'static str, ApiError> {
    state.storage.read(|db| Ok(db.query_row("SELECT 1 FROM hub", (), |_| Ok(()))?)).await?;
    Ok("ok\n")
}

/// Numbers
///
/// In Prometheus's text format. They name no user, device or conversation.
#[utoipa::path(get, path = "/metrics", tag = "operation", security(()),
    responses((status = 200, description = "All numbers", body = String, content_type = "text/plain")))]
async fn metrics(State(state): State<AppState>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], state.metrics.render())
}
