//! What viewers fetch over HTTP: FLV, HLS and snapshots, by playback id.

use super::hls::{self, Answer, Question};
use super::snapshot::snapshot;
use super::{Missing, Play, flv};
use crate::auth::wish::{PlayRefusal, Way, Wish};
use crate::callbacks::{Subject, Verdict};
use crate::live::traffic::{Protocol, Traffic};
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sightline_hls::Lookup;
use sightline_listen::http::ClientAddress;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// Live: never from a cache.
const NO_STORE: &str = "no-store";
/// The application whose rules hold: the first part of the path.
const APP: &str = "live";
/// A segment never changes.
const IMMUTABLE: &str = "public, max-age=3600, immutable";

/// The routes under `/live`.
pub(crate) fn router(play: Arc<Play>) -> Router {
    let live = Router::new().route("/live/{file}", get(flv)).route("/live/{playback}/{file}", get(file));
    live.method_not_allowed_fallback(other_method).with_state(play)
}

/// As the cloud's API has it: a stable code, and a text for people.
fn error(status: StatusCode, code: &str, message: &str) -> Response {
    let body = serde_json::json!({ "error_code": code, "error_message": message }).to_string();
    with_headers(status, "application/json", NO_STORE, Body::from(body))
}

fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "NOT_FOUND", "no live stream has this playback id")
}

/// Whatever no route has.
pub(crate) async fn no_route() -> Response {
    error(StatusCode::NOT_FOUND, "NOT_FOUND", "there is nothing here: streams are at /live/{playback}.flv and /live/{playback}/index.m3u8")
}

pub(crate) async fn other_method() -> Response {
    let mut response = error(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", "this can only be read: GET or HEAD");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    response
}

/// There will be something soon.
fn not_yet(message: &str) -> Response {
    let mut response = error(StatusCode::SERVICE_UNAVAILABLE, "NOT_READY", message);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("2"));
    response
}

fn with_headers(status: StatusCode, kind: &'static str, cache: &'static str, body: Body) -> Response {
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}

/// Who asks, and what they show: `?token=`, or `Authorization: Bearer`.
struct Viewer {
    address: IpAddr,
    token: Option<String>,
    query: String,
}

#[derive(Default, serde::Deserialize)]
struct Shown {
    token: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Viewer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // Mounted without our door, nobody says who asks: an address that no right is bound to.
        let address = parts.extensions.get().map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |ClientAddress(address)| *address);
        let shown = Query::<Shown>::try_from_uri(&parts.uri).map(|Query(shown)| shown.token).unwrap_or_default();
        let bearer = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let token = shown.or_else(|| bearer.map(|token| token.trim().to_owned())).filter(|token| !token.is_empty());
        Ok(Self { address, token, query: parts.uri.query().unwrap_or_default().to_owned() })
    }
}

impl Viewer {
    fn wish<'a>(&'a self, playback: &'a str, way: Way) -> Wish<'a> {
        Wish { app: APP, playback, token: self.token.as_deref(), address: self.address, way }
    }
}

impl Viewer {
    /// For an operator's endpoint; without what only players of HLS add.
    fn subject(&self, playback: &str) -> Subject {
        let own = self.query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("_HLS_"));
        let query = own.collect::<Vec<_>>().join("&");
        Subject { app: APP.to_owned(), name: playback.to_owned(), query, address: self.address }
    }
}

fn refused(refusal: PlayRefusal) -> Response {
    error(refusal.status(), refusal.code(), &refusal.to_string())
}

/// `/live/{playback}.flv`.
async fn flv(State(play): State<Arc<Play>>, Path(file): Path<String>, viewer: Viewer) -> Response {
    let Some(playback) = file.strip_suffix(".flv") else { return not_found() };
    let subject = viewer.subject(playback);
    if play.callbacks.may_play(&subject, Way::Flv).await != Verdict::Allow {
        return refused(PlayRefusal::Callback);
    }
    let (stream, mut admitted) = match play.begin(viewer.wish(playback, Way::Flv)) {
        Ok(playing) => playing,
        Err(Missing::Stream) => return not_found(),
        Err(Missing::Right(refusal)) => return refused(refusal),
    };
    admitted.told = Some(play.callbacks.played(subject));
    let mut response = with_headers(StatusCode::OK, "video/x-flv", NO_STORE, flv::body(stream, admitted));
    // nginx holds back what it proxies until a buffer is full of it, unless it is told not to.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// `/live/{playback}/…`.
async fn file(
    State(play): State<Arc<Play>>,
    Path((playback, file)): Path<(String, String)>,
    question: Result<Query<Question>, QueryRejection>,
    viewer: Viewer,
) -> Response {
    let way = if file == "snapshot.jpg" { Way::Snapshot } else { Way::Hls };
    if let Err(refusal) = play.viewing.ask(viewer.wish(&playback, way)) {
        return refused(refusal);
    }
    if play.callbacks.may_ask(&viewer.subject(&playback), way).await != Verdict::Allow {
        return refused(PlayRefusal::Callback);
    }
    let Some(stream) = play.hub.find(&playback) else { return last_words(&play, &playback, &file, viewer.token.as_deref()) };
    match file.as_str() {
        "index.m3u8" => {
            let answer = match question {
                Ok(Query(question)) => hls::playlist(&play, &stream, question).await,
                Err(_) => Answer::Wrong("_HLS_msn and _HLS_part are numbers, and _HLS_skip is YES"),
            };
            match answer {
                Answer::Text(text) => {
                    stream.traffic.send(Protocol::Hls, text.len());
                    playlist(text, viewer.token.as_deref())
                }
                Answer::Later => not_yet("the stream has no segment yet: try again in a few seconds"),
                Answer::Wrong(problem) => error(StatusCode::BAD_REQUEST, "BAD_REQUEST", problem),
            }
        }
        "snapshot.jpg" => match snapshot(&play, &stream).await {
            Ok(jpeg) => {
                stream.traffic.send(Protocol::Snapshot, jpeg.len());
                with_headers(StatusCode::OK, "image/jpeg", NO_STORE, Body::from(jpeg))
            }
            Err(failure) => error(StatusCode::NOT_FOUND, "NO_PICTURE", &failure.to_string()),
        },
        name => hls_file(Some(&stream.traffic), hls::file(&play, &stream, name).await),
    }
}

/// Of a stream that was over a moment ago: players that have its playlist learn it from there.
fn last_words(play: &Play, playback: &str, file: &str, token: Option<&str>) -> Response {
    if file == "index.m3u8" {
        return hls::last_playlist(play, playback).map_or_else(not_found, |text| playlist(text, token));
    }
    let found = hls::last_file(play, playback, file);
    if found == Lookup::Gone { not_found() } else { hls_file(None, found) }
}

fn playlist(text: String, token: Option<&str>) -> Response {
    let text = token.map_or_else(|| text.clone(), |token| with_token(&text, token));
    with_headers(StatusCode::OK, "application/vnd.apple.mpegurl", NO_STORE, Body::from(text))
}

/// A playlist whose files carry the token that it was asked for with: a player adds nothing to what it reads there.
fn with_token(playlist: &str, token: &str) -> String {
    // Ours have no character that means something in a URL; whatever else was shown is no right, or stands under an origin that asks for none.
    if !token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')) {
        return playlist.to_owned();
    }
    let mut text = String::with_capacity(playlist.len() * 2);
    for line in playlist.lines() {
        match line.split_once("URI=\"").and_then(|(before, rest)| Some((before, rest.split_once('"')?))) {
            Some((before, (name, after))) if line.starts_with('#') => text.extend([before, "URI=\"", name, "?token=", token, "\"", after]),
            _ if line.starts_with('#') || line.is_empty() => text.push_str(line),
            _ => text.extend([line, "?token=", token]),
        }
        text.push('\n');
    }
    text
}

/// `init-….mp4`, `seg-….m4s` and `part-….m4s`.
fn hls_file(traffic: Option<&Traffic>, found: Lookup) -> Response {
    let (kind, bytes) = match found {
        Lookup::Init(bytes) => ("video/mp4", bytes),
        Lookup::Media(bytes) => ("video/iso.segment", bytes),
        Lookup::Soon | Lookup::Gone => {
            return error(StatusCode::NOT_FOUND, "NOT_FOUND", "no such file of this stream; it may have left the playlist");
        }
    };
    if let Some(traffic) = traffic {
        traffic.send(Protocol::Hls, bytes.len());
    }
    with_headers(StatusCode::OK, kind, IMMUTABLE, Body::from(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_of_a_playlist_carries_the_token_that_it_was_asked_for_with() {
        let plain = "#EXTM3U\n#EXT-X-MAP:URI=\"init-1.mp4\"\n#EXT-X-PART:DURATION=0.2,URI=\"part-1.0.m4s\",INDEPENDENT=YES\n#EXTINF:3.0,\nseg-1.m4s\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"part-2.0.m4s\"\n";
        let shown = with_token(plain, "a.b-_C");
        assert_eq!(shown.matches("?token=a.b-_C").count(), 4, "{shown}");
        assert!(shown.contains("URI=\"part-1.0.m4s?token=a.b-_C\",INDEPENDENT=YES\n") && shown.contains("\nseg-1.m4s?token=a.b-_C\n"));
        assert_eq!(shown.replace("?token=a.b-_C", ""), plain);
        assert_eq!(with_token(plain, "\"\n#"), plain, "nothing of a stranger's stands in a playlist");
    }
}
