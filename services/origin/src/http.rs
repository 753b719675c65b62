//! What viewers fetch over HTTP: FLV, HLS and snapshots, by playback id.

use crate::Shared;
use crate::config::Play;
use crate::ring::{Cursor, Wire};
use crate::snapshot::snapshot;
use crate::stream::{Playlist, Stream, ViewerCount};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream::unfold;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Bytes taken from the ring at a time; what hyper holds for a viewer beyond the ring stays near it.
const BATCH_BYTES: usize = 64 * 1024;
/// How long the first request for a playlist may wait for its first segment: a group of pictures of a camera that saves, within what
/// players wait for an answer.
const FIRST_SEGMENT_WAIT: Duration = Duration::from_secs(10);
/// Live: never from a cache.
const NO_STORE: &str = "no-store";
/// A segment never changes.
const IMMUTABLE: &str = "public, max-age=3600, immutable";

/// The routes under `/live`.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new().route("/live/{file}", get(flv)).route("/live/{playback}/{file}", get(file)).with_state(shared)
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

fn find(shared: &Shared, playback: &str) -> Option<Arc<Stream>> {
    if shared.config.auth.play == Play::Open { shared.hub.find(playback) } else { None }
}

/// `/live/{playback}.flv`.
async fn flv(State(shared): State<Arc<Shared>>, Path(file): Path<String>) -> Response {
    let Some(stream) = file.strip_suffix(".flv").and_then(|playback| find(&shared, playback)) else { return not_found() };
    let viewer =
        FlvViewer { head: stream.watch(), _count: stream.count_lone_viewer(), stream, cursor: Cursor::default(), out: VecDeque::new() };
    let body = Body::from_stream(unfold(viewer, FlvViewer::next));
    with_headers(StatusCode::OK, "video/x-flv", NO_STORE, body)
}

/// One HTTP-FLV viewer: a place in the ring. It is asked for more when its connection has room, and skips if that takes too long.
struct FlvViewer {
    stream: Arc<Stream>,
    head: watch::Receiver<u64>,
    cursor: Cursor,
    out: VecDeque<Bytes>,
    _count: ViewerCount,
}

impl FlvViewer {
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        loop {
            if let Some(bytes) = self.out.pop_front() {
                return Some((Ok(bytes), self));
            }
            self.head.borrow_and_update();
            self.stream.fill(&mut self.cursor, Wire::Flv, &mut self.out, BATCH_BYTES);
            if !self.out.is_empty() {
                continue;
            }
            tokio::select! {
                () = self.stream.ended.cancelled() => return None,
                changed = self.head.changed() => changed.ok()?,
            }
        }
    }
}

/// `/live/{playback}/…`.
async fn file(State(shared): State<Arc<Shared>>, Path((playback, file)): Path<(String, String)>) -> Response {
    let Some(stream) = find(&shared, &playback) else { return not_found() };
    match file.as_str() {
        "index.m3u8" => match playlist(&shared, &stream).await {
            Some(playlist) => with_headers(StatusCode::OK, "application/vnd.apple.mpegurl", NO_STORE, Body::from(playlist)),
            None => error(StatusCode::NOT_FOUND, "the stream has no segment yet: try again in a few seconds"),
        },
        "snapshot.jpg" => match snapshot(&stream, shared.clock.now()).await {
            Ok(jpeg) => with_headers(StatusCode::OK, "image/jpeg", NO_STORE, Body::from(jpeg)),
            Err(failure) => error(StatusCode::NOT_FOUND, &failure.to_string()),
        },
        _ => hls_part(&stream, &file),
    }
}

/// The playlist, as soon as it has a segment: segments are made from the first request on.
async fn playlist(shared: &Shared, stream: &Stream) -> Option<String> {
    let mut head = stream.watch();
    let first = async {
        loop {
            head.borrow_and_update();
            match stream.playlist(shared.clock.now()) {
                Playlist::Ready(playlist) => return Some(playlist),
                Playlist::None => return None,
                Playlist::Coming => head.changed().await.ok()?,
            }
        }
    };
    tokio::time::timeout(FIRST_SEGMENT_WAIT, first).await.ok().flatten()
}

/// `init-{n}.mp4` and `seg-{n}.m4s`.
fn hls_part(stream: &Stream, file: &str) -> Response {
    let number = |prefix: &str, suffix: &str| -> Option<u64> { file.strip_prefix(prefix)?.strip_suffix(suffix)?.parse().ok() };
    let found = if let Some(number) = number("init-", ".mp4") {
        stream.hls_init(number).map(|bytes| ("video/mp4", bytes))
    } else {
        number("seg-", ".m4s").and_then(|number| stream.hls_segment(number)).map(|bytes| ("video/iso.segment", bytes))
    };
    match found {
        Some((kind, bytes)) => with_headers(StatusCode::OK, kind, IMMUTABLE, Body::from(bytes)),
        None => error(StatusCode::NOT_FOUND, "no such file of this stream; it may have left the playlist"),
    }
}
