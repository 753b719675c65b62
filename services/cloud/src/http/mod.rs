//! The HTTP port: one address for plain HTTP and HTTPS, with or without a client certificate.

mod access;
mod audit;
mod commands;
mod console;
mod devices;
mod error;
mod events;
mod health;
mod keys;
mod listener;
mod live;
mod page;
mod recordings;
mod reports;
mod requests;
mod servers;
mod settings;
pub(crate) mod state;
mod streams;

pub(crate) use listener::serve;

use crate::monitoring;
use axum::{
    Router,
    extract::{DefaultBodyLimit, MatchedPath},
    http::StatusCode,
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use error::ApiError;
use state::Http;
use std::time::{Duration, Instant};
use tower_http::compression::CompressionLayer;

/// The longest body of any request but a report.
const BODY_BYTES_MAX: usize = 16 << 10;
/// The longest report: a thousand streams at some 300 bytes each, and room.
const REPORT_BYTES_MAX: usize = 1 << 20;
/// How long a handler may take until its answer begins. It ends a slow peer that sends its body byte by byte.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(15);

/// All routes.
pub(crate) fn router(http: Http, extra: Router) -> Router {
    let operator = Router::new()
        .route("/api/v1/devices", get(devices::list).post(devices::add))
        .route("/api/v1/devices/{id}", get(devices::show).delete(devices::revoke))
        .route("/api/v1/devices/{id}/command", post(commands::command))
        .route("/api/v1/devices/{id}/config", get(settings::show).put(settings::set))
        .route("/api/v1/devices/{id}/remove", post(devices::remove))
        .route("/api/v1/devices/{id}/rotate", post(commands::rotate))
        .route("/api/v1/streams", get(streams::list))
        .route("/api/v1/servers", get(servers::list))
        .route("/api/v1/events", get(events::list))
        .route("/api/v1/events/stream", get(events::stream))
        .route("/api/v1/recordings", get(recordings::list))
        .route("/api/v1/audit", get(audit::list))
        .layer(middleware::from_fn_with_state(http.clone(), access::operator_only));
    let others = Router::new()
        .route("/api/v1/servers/{id}/report", post(reports::report).layer(DefaultBodyLimit::max(REPORT_BYTES_MAX)))
        .route("/api/v1/devices/{id}/certificate", post(requests::certificate))
        .route("/stream/request", post(requests::request))
        .route("/.well-known/jwks.json", get(keys::jwks))
        .route("/api/openapi.json", get(health::openapi))
        .route("/metrics", get(health::metrics))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready));
    let ours = operator
        .merge(others)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(deadline))
        .merge(Router::new().fallback(console::serve).layer(CompressionLayer::new()))
        .layer(middleware::from_fn(count))
        .with_state(http);
    extra.merge(ours).layer(middleware::from_fn(sightline_listen::cors::live))
}

async fn method_not_allowed(method: axum::http::Method) -> ApiError {
    ApiError::method_not_allowed(&method)
}

/// Counts requests, by the pattern of their path. What has none is the console, or is not here.
async fn count(request: axum::extract::Request, next: middleware::Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let began = Instant::now();
    let response = next.run(request).await;
    monitoring::answered(route.as_ref().map_or("other", MatchedPath::as_str), response.status().as_u16(), began.elapsed());
    response
}

async fn deadline(request: axum::extract::Request, next: middleware::Next) -> Response {
    match tokio::time::timeout(HANDLER_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::new(StatusCode::REQUEST_TIMEOUT, "TIMEOUT", "the request took too long").into_response(),
    }
}
