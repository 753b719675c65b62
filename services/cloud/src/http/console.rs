//! The console: static files inside the binary, under a strict content security policy.

use super::{
    error::ApiError,
    live::{redirect_to_origin, redirect_to_recording},
};
use crate::{devices::on_demand::OnDemand, servers::inventory::Inventory};
use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use sightline_endpoint::Client;
use std::{fmt::Write as _, sync::Arc};

#[derive(rust_embed::RustEmbed)]
#[folder = "../../console"]
struct Files;

/// Versioned names never change their contents.
const CACHE_FOR_EVER: &str = "public, max-age=31536000, immutable";
/// Browsers ask for the rest again, by its hash.
const CACHE_REVALIDATE: &str = "no-cache";

/// The page that other pages may show in a frame: it shows what its address has a right to, and none of its buttons does anything to a camera.
const PLAYER: &str = "player.html";
/// What `js/embed.js` is made of.
const EMBEDDED: [&str; 3] = ["js/", "vendor/", "player.css"];

/// Every path that no route has.
pub(super) async fn serve(
    State(inventory): State<Arc<Inventory>>,
    State(on_demand): State<Arc<OnDemand>>,
    State(client): State<Client>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let path = uri.path().trim_start_matches('/');
    if let Some(rest) = path.strip_prefix("live/") {
        return redirect_to_origin(&inventory, &on_demand, rest, &uri).await;
    }
    if let Some(rest) = path.strip_prefix("vod/") {
        return redirect_to_recording(&inventory, &client, rest, &uri).await;
    }
    if path.starts_with("api/") || path.starts_with("stream/") {
        return ApiError::not_found(format_args!("route {method} {}", uri.path())).into_response();
    }
    if method != Method::GET && method != Method::HEAD {
        return ApiError::method_not_allowed(&method).into_response();
    }
    let name = if path.is_empty() { "index.html" } else { path };
    match Files::get(name) {
        Some(file) => serve_file(&inventory, name, file, &headers),
        None => ApiError::not_found(format_args!("page {}", uri.path())).into_response(),
    }
}

fn serve_file(inventory: &Inventory, name: &str, file: rust_embed::EmbeddedFile, headers: &HeaderMap) -> Response {
    let tag = file.metadata.sha256_hash().iter().take(16).fold(String::from("\""), |mut tag, byte| {
        let _ = write!(tag, "{byte:02x}");
        tag
    }) + "\"";
    let cache = if name.starts_with("vendor/") { CACHE_FOR_EVER } else { CACHE_REVALIDATE };
    let is_known = headers.get(header::IF_NONE_MATCH).is_some_and(|held| held.as_bytes() == tag.as_bytes());
    let mut response = if is_known { StatusCode::NOT_MODIFIED.into_response() } else { Body::from(file.data.into_owned()).into_response() };
    let mime = HeaderValue::from_str(file.metadata.mimetype()).unwrap_or(HeaderValue::from_static("application/octet-stream"));
    let fields = [
        (header::CONTENT_TYPE, mime),
        (header::CACHE_CONTROL, HeaderValue::from_static(cache)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    for (name, value) in fields {
        response.headers_mut().insert(name, value);
    }
    if name != PLAYER {
        response.headers_mut().insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    }
    if EMBEDDED.iter().any(|prefix| name.starts_with(prefix)) {
        // Pages of anywhere may use the player: it is no secret, and shows nothing without a right.
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    let framed_by = if name == PLAYER { "*" } else { "'none'" };
    if let Ok(policy) = HeaderValue::from_str(&content_security_policy(inventory, framed_by)) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// Nothing inline, nothing from elsewhere; streams also from the origins that are registered.
fn content_security_policy(inventory: &Inventory, framed_by: &str) -> String {
    let mut elsewhere = String::new();
    for server in inventory.servers() {
        // Only what is plainly an origin may enter a header that others write into.
        let is_plain = server.http_url.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:/[]".contains(&byte));
        if is_plain && (server.http_url.starts_with("http://") || server.http_url.starts_with("https://")) {
            let _ = write!(elsewhere, " {}", server.http_url.trim_end_matches('/'));
        }
    }
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data: blob:{elsewhere}; \
         media-src 'self' blob:{elsewhere}; connect-src 'self'{elsewhere}; worker-src 'self' blob:; manifest-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors {framed_by}"
    )
}
