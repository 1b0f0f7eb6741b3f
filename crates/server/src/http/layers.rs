//! What is done with every request, whatever it asks for.

use crate::{
    TRACE_TARGET,
    error::ApiError,
    metrics::{Metrics, known},
};
use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header};
use std::{
    any::Any,
    sync::Arc,
    time::{Duration, Instant},
};
use tertulia_api::Code;
use tracing::{Instrument as _, field::Empty};

/// Numbers the request, counts and times it, and marks the answer as nobody else's.
pub(super) async fn observe(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let id = format!("{:016x}", rand::random::<u64>());
    let method = known(request.method());
    // The pattern: a path itself would bring ids into logs and countless values into the numbers.
    let path = request.extensions().get::<MatchedPath>().map_or("unknown", MatchedPath::as_str).to_owned();
    let span = tracing::info_span!("request", id, method, path);
    let trace = tracing::info_span!(
        target: TRACE_TARGET,
        "request",
        otel.name = format!("{method} {path}"),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = path,
        http.response.status_code = Empty,
        tertulia.request.id = id, // as in the log
    );
    let start = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).instrument(trace.clone()).await;
    let status = response.status().as_u16();
    let time = start.elapsed();
    span.in_scope(|| tracing::debug!(status, ?time, "answered"));
    trace.record("http.response.status_code", status);
    if response.status().is_server_error() {
        trace.record("otel.status_code", "ERROR");
    }
    metrics.request(method, &path, status, time);

    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::try_from(id) {
        headers.insert("x-request-id", id);
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Bounds the time of a request. What it has handed to the writer is done all the same.
pub(super) async fn time_out(State(time): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(time, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::new(Code::Unavailable, "The request took too long.").into_response(),
    }
}

/// The answer to a request whose handler panicked. What the panic said is in the log, by the panic hook.
pub(super) fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    ApiError::internal("a handler panicked").into_response()
}

pub(super) async fn not_found() -> ApiError {
    Code::NotFound.into()
}

pub(super) async fn method_not_allowed() -> ApiError {
    Code::MethodNotAllowed.into()
}
