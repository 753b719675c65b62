//! For machines: is it up, how is it, what can it do.

use crate::{monitoring::Monitoring, readiness::Readiness};
use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use std::sync::Arc;

/// While the process is up.
#[utoipa::path(get, path = "/healthz", operation_id = "alive", responses((status = 200, description = "`ok`", body = String, content_type = "text/plain")))]
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// While the database takes writes: without them no camera gets a server.
#[utoipa::path(get, path = "/readyz", operation_id = "ready", responses(
    (status = 200, description = "`ready`", body = String, content_type = "text/plain"),
    (status = 503, description = "Not ready, and why", body = String, content_type = "text/plain"),
))]
pub(super) async fn ready(State(readiness): State<Arc<Readiness>>) -> Response {
    match readiness.problem().await {
        None => "ready\n".into_response(),
        Some(problem) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {problem}\n")).into_response(),
    }
}

/// Metrics in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", operation_id = "metrics", responses((status = 200, description = "All metrics", body = String, content_type = "text/plain")))]
pub(super) async fn metrics(State(monitoring): State<Monitoring>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], monitoring.render()).into_response()
}
