//! Answers that several routes give.

use super::Missing;
use crate::auth::wish::PlayRefusal;
use crate::pull::SearchError;
use axum::body::Body;
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, LOCATION, RETRY_AFTER};
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

/// They may not.
pub(crate) fn refused(refusal: PlayRefusal) -> Response {
    error(refusal.status(), refusal.code(), &refusal.to_string())
}

/// Why there is nothing to watch. `rest` is the path and the query, for another origin.
pub(super) fn missing(why: Missing, rest: &str) -> Response {
    match why {
        Missing::Right(refusal) => refused(refusal),
        Missing::Stream => not_found(),
        Missing::Offline => {
            error(StatusCode::NOT_FOUND, "DEVICE_OFFLINE", "the camera of this stream starts for its viewers, and is not connected")
        }
        Missing::NotStarted(waited) => {
            let message = format!("the camera of this stream was told to start, and did not start within {} s", waited.as_secs());
            error(StatusCode::GATEWAY_TIMEOUT, "NOT_STARTED", &message)
        }
        Missing::Silent(waited) => {
            let message = format!("this stream is published, and no picture of it came within {} s", waited.as_secs());
            error(StatusCode::GATEWAY_TIMEOUT, "STREAM_SILENT", &message)
        }
        Missing::Upstream(why) => unfound(&why),
        Missing::Elsewhere(url) => match HeaderValue::try_from(format!("{}{rest}", url.trim_end_matches('/'))) {
            Ok(location) => {
                let mut response = error(StatusCode::TEMPORARY_REDIRECT, "ELSEWHERE", "another origin has this stream");
                response.headers_mut().insert(LOCATION, location);
                response
            }
            Err(_) => not_found(),
        },
    }
}

/// An edge's upstreams do not give it.
fn unfound(why: &SearchError) -> Response {
    let (status, code) = match why {
        SearchError::Nowhere => return not_found(),
        SearchError::Offline => (StatusCode::NOT_FOUND, "DEVICE_OFFLINE"),
        SearchError::NotStarted => (StatusCode::GATEWAY_TIMEOUT, "NOT_STARTED"),
        SearchError::Silent => (StatusCode::GATEWAY_TIMEOUT, "STREAM_SILENT"),
        SearchError::Loop(_) => (StatusCode::LOOP_DETECTED, "EDGE_LOOP"),
        SearchError::TooManyEdges(_) => (StatusCode::LOOP_DETECTED, "TOO_MANY_EDGES"),
        SearchError::Failed(_) => (StatusCode::BAD_GATEWAY, "UPSTREAM_FAILED"),
    };
    error(status, code, &why.to_string())
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
