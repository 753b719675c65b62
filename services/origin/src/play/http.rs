//! What viewers fetch over HTTP: FLV, HLS and snapshots, by playback id.

use super::hls::{self, Playlist};
use super::snapshot::snapshot;
use super::{Play, flv};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;

/// Live: never from a cache.
const NO_STORE: &str = "no-store";
/// A segment never changes.
const IMMUTABLE: &str = "public, max-age=3600, immutable";

/// The routes under `/live`.
pub(crate) fn router(play: Arc<Play>) -> Router {
    Router::new().route("/live/{file}", get(flv)).route("/live/{playback}/{file}", get(file)).with_state(play)
}

/// A JSON body `{"error": …}`.
fn error(status: StatusCode, message: &str) -> Response {
    let body = serde_json::json!({ "error": message }).to_string();
    with_headers(status, "application/json", NO_STORE, Body::from(body))
}

fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "no live stream has this playback id")
}

fn with_headers(status: StatusCode, kind: &'static str, cache: &'static str, body: Body) -> Response {
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

/// `/live/{playback}.flv`.
async fn flv(State(play): State<Arc<Play>>, Path(file): Path<String>) -> Response {
    let Some(stream) = file.strip_suffix(".flv").and_then(|playback| play.find(playback)) else { return not_found() };
    with_headers(StatusCode::OK, "video/x-flv", NO_STORE, flv::body(stream))
}

/// `/live/{playback}/…`.
async fn file(State(play): State<Arc<Play>>, Path((playback, file)): Path<(String, String)>) -> Response {
    let Some(stream) = play.find(&playback) else { return not_found() };
    match file.as_str() {
        "index.m3u8" => match hls::first_playlist(&play, &stream).await {
            Some(playlist) => with_headers(StatusCode::OK, "application/vnd.apple.mpegurl", NO_STORE, Body::from(playlist)),
            None => error(StatusCode::NOT_FOUND, "the stream has no segment yet: try again in a few seconds"),
        },
        "snapshot.jpg" => match snapshot(&play, &stream).await {
            Ok(jpeg) => with_headers(StatusCode::OK, "image/jpeg", NO_STORE, Body::from(jpeg)),
            Err(failure) => error(StatusCode::NOT_FOUND, &failure.to_string()),
        },
        _ => hls_part(&hls::playlist_of(&play, &stream), &file),
    }
}

/// `init-{n}.mp4` and `seg-{n}.m4s`.
fn hls_part(hls: &Playlist, file: &str) -> Response {
    let number = |prefix: &str, suffix: &str| -> Option<u64> { file.strip_prefix(prefix)?.strip_suffix(suffix)?.parse().ok() };
    let found = if let Some(number) = number("init-", ".mp4") {
        hls.init(number).map(|bytes| ("video/mp4", bytes))
    } else {
        number("seg-", ".m4s").and_then(|number| hls.segment(number)).map(|bytes| ("video/iso.segment", bytes))
    };
    match found {
        Some((kind, bytes)) => with_headers(StatusCode::OK, kind, IMMUTABLE, Body::from(bytes)),
        None => error(StatusCode::NOT_FOUND, "no such file of this stream; it may have left the playlist"),
    }
}
