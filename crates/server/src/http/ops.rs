//! For who runs the hub.

use crate::{error::ApiError, http::extract::FromThisMachine, state::AppState};
use axum::{extract::State, response::IntoResponse};
use http::header;
use tertulia_api::Code;
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
    state.storage.read(|db| Ok(db.prepare_cached("SELECT 1 FROM hub")?.query_row((), |_| Ok(()))?)).await?;
    Ok("ok\n")
}

/// Numbers
///
/// In Prometheus's text format. They name no user, device or conversation. Unless the hub is configured to tell
/// everybody, they are only for who asks from the same machine, and not through a proxy.
#[utoipa::path(get, path = "/metrics", tag = "operation", security(()),
    responses((status = 200, description = "All numbers", body = String, content_type = "text/plain")),
    extensions(("x-problems" = json!(["not-found"]))))]
async fn metrics(
    State(state): State<AppState>,
    FromThisMachine(local): FromThisMachine,
) -> Result<impl IntoResponse, ApiError> {
    if !local && !state.metrics_public {
        return Err(Code::NotFound.into());
    }
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], state.metrics.render()))
}
