//! Answers that several routes give.

use axum::body::Body;
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};

/// Live: never from a cache.
pub(crate) const NO_STORE: &str = "no-store";

/// As the cloud's API has it: a stable code, and a text for people.
pub(crate) fn error(status: StatusCode, code: &str, message: &str) -> Response {
    let body = serde_json::json!({ "error_code": code, "error_message": message }).to_string();
    with_headers(status, "application/json", NO_STORE, Body::from(body))
}

pub(crate) fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "NOT_FOUND", "no live stream has this playback id")
}

/// Of a route that has other methods.
pub(crate) fn not_allowed(message: &str, methods: &'static str) -> Response {
    let mut response = error(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

/// There will be something soon.
pub(crate) fn not_yet(message: &str) -> Response {
    let mut response = error(StatusCode::SERVICE_UNAVAILABLE, "NOT_READY", message);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("2"));
    response
}

pub(crate) fn with_headers(status: StatusCode, kind: &'static str, cache: &'static str, body: Body) -> Response {
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}
