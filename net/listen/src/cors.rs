//! Pages of anywhere may play: what is under `/live/` and `/vod/` answers to all of them, whatever the answer is. Who knows a playback id may play.

use axum::extract::Request;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE, ALLOW,
};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

/// What is public.
const PREFIXES: [&str; 2] = ["/live/", "/vod/"];
/// What may be asked for: WHEP's players send an offer, and end their session.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PATCH, DELETE, OPTIONS");
/// What a POST may hold (RFC 9725 §4.2).
const ACCEPT_POST: (HeaderName, HeaderValue) = (HeaderName::from_static("accept-post"), HeaderValue::from_static("application/sdp"));
const ANY: HeaderValue = HeaderValue::from_static("*");
/// For how long a browser need not ask again, in seconds.
const MAX_AGE_SEC: HeaderValue = HeaderValue::from_static("86400");
/// A page of the internet may play from a server of the local network: Chromium asks for this.
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// A layer over all routes: adds the headers to what is public, and answers the preflight there.
pub async fn live(request: Request, next: Next) -> Response {
    if !PREFIXES.iter().any(|prefix| request.uri().path().starts_with(prefix)) {
        return next.run(request).await;
    }
    let is_preflight = request.method() == Method::OPTIONS;
    let mut response = if is_preflight { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, ANY);
    if is_preflight {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, ANY);
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE_SEC);
        headers.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
        headers.insert(ALLOW, METHODS);
        headers.insert(ACCEPT_POST.0, ACCEPT_POST.1);
    }
    response
}
