//! The HTTP port: one address for plain HTTP and HTTPS, with or without a client certificate.

mod access;
mod api;
mod console;
mod devices;
mod listener;
mod reports;
mod requests;
mod settings;

pub(crate) use listener::serve;

use crate::state::State;
use axum::{
    Json, Router,
    extract::DefaultBodyLimit,
    http::{StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};

/// The longest body of any request but a report.
const BODY_BYTES_MAX: usize = 16 << 10;
/// The longest report: a thousand streams at some 300 bytes each, and room.
const REPORT_BYTES_MAX: usize = 1 << 20;
/// How long a handler may take until its answer begins. A slow peer that sends its body by the byte ends here.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(15);
/// Items of a list if the query says nothing.
const PAGE_ITEMS_DEFAULT: u32 = 100;
/// Items of a list at the most.
const PAGE_ITEMS_MAX: u32 = 1000;

/// All routes.
pub(crate) fn router(state: Arc<State>, extra: Router) -> Router {
    let operator = Router::new()
        .route("/api/v1/devices", get(devices::list).post(devices::add))
        .route("/api/v1/devices/{id}", get(devices::show).delete(devices::revoke))
        .route("/api/v1/devices/{id}/command", post(devices::command))
        .route("/api/v1/devices/{id}/config", get(settings::show).put(settings::set))
        .route("/api/v1/devices/{id}/rotate", post(devices::rotate))
        .route("/api/v1/streams", get(api::streams))
        .route("/api/v1/servers", get(api::servers))
        .route("/api/v1/events", get(api::events))
        .route("/api/v1/events/stream", get(api::event_stream))
        .route("/api/v1/recordings", get(api::recordings))
        .route("/api/v1/audit", get(api::audit))
        .layer(middleware::from_fn_with_state(Arc::clone(&state), access::operator_only));
    let others = Router::new()
        .route("/api/v1/servers/{id}/report", post(reports::report).layer(DefaultBodyLimit::max(REPORT_BYTES_MAX)))
        .route("/stream/request", post(requests::request))
        .route("/.well-known/jwks.json", get(api::jwks))
        .route("/api/openapi.json", get(api::openapi))
        .route("/metrics", get(api::metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(api::ready));
    let ours = operator
        .merge(others)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(deadline))
        .merge(Router::new().fallback(console::serve))
        .with_state(state);
    extra.merge(ours)
}

async fn deadline(request: axum::extract::Request, next: middleware::Next) -> Response {
    match tokio::time::timeout(HANDLER_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::new(StatusCode::REQUEST_TIMEOUT, "TIMEOUT", "the request took too long").into_response(),
    }
}

/// An error of the API: a stable code and a text for people.
#[derive(Clone, Debug, Serialize)]
struct ApiError {
    #[serde(skip)]
    status: StatusCode,
    error_code: &'static str,
    error_message: String,
}

impl ApiError {
    fn new(status: StatusCode, error_code: &'static str, error_message: impl Into<String>) -> Self {
        Self { status, error_code, error_message: error_message.into() }
    }

    fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "an API request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "it failed here; the log says why")
    }

    fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", format!("there is no {what}"))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status;
        (status, [(header::CACHE_CONTROL, "no-store")], Json(self)).into_response()
    }
}

type ApiResult<T> = Result<T, ApiError>;

/// A page of a list.
#[derive(Debug, Serialize)]
struct Page<T> {
    items: Vec<T>,
    /// The `cursor` of the next page.
    next: Option<String>,
}

/// `?limit=&cursor=`
#[derive(Debug, Default, Deserialize)]
struct PageQuery {
    limit: Option<u32>,
    cursor: Option<String>,
    device: Option<String>,
}

impl PageQuery {
    fn limit(&self) -> u32 {
        self.limit.unwrap_or(PAGE_ITEMS_DEFAULT).clamp(1, PAGE_ITEMS_MAX)
    }

    /// A cursor that counts down.
    fn before<T: std::str::FromStr>(&self) -> ApiResult<Option<T>> {
        let parse = |cursor: &String| {
            cursor.parse().map_err(|_| ApiError::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", "cursor is no cursor of this list"))
        };
        self.cursor.as_ref().map(parse).transpose()
    }
}

/// A page of items that are sorted by name, from behind the cursor.
fn page_by_name<T>(items: impl Iterator<Item = (String, T)>, query: &PageQuery) -> Page<T> {
    let (limit, after) = (usize::try_from(query.limit()).unwrap_or(usize::MAX), query.cursor.as_deref().unwrap_or_default());
    let mut rest = items.filter(|(name, _)| after.is_empty() || name.as_str() > after).peekable();
    let (mut page, mut next) = (Vec::new(), None);
    while let Some((name, item)) = rest.next() {
        page.push(item);
        if page.len() == limit {
            next = rest.peek().is_some().then_some(name);
            break;
        }
    }
    Page { items: page, next }
}
