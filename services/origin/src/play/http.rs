//! What viewers fetch over HTTP: FLV, HLS, snapshots and frames, by playback id; and where they begin with WHEP.

use super::answers::{NO_STORE, error, missing, not_allowed, not_found, not_yet, refused, with_headers};
use super::asker::Viewer;
use super::hls::{self, Answer, Kind, Question};
use super::snapshot::snapshot;
use super::whep::http as whep;
use super::{Play, flv, frames, ranges, times};
use crate::auth::wish::{PlayRefusal, Way};
use crate::callbacks::Verdict;
use crate::live::traffic::{Protocol, Traffic};
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::header::{CONTENT_TYPE, VIA};
use axum::http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, Version};
use axum::response::Response;
use axum::routing::{delete, get, post};
use sightline_hls::Lookup;
use std::sync::Arc;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::Predicate;

/// The type of a playlist.
const PLAYLIST: &str = "application/vnd.apple.mpegurl";

/// How long someone who asks again and again watches after a question, in segments: players ask for a playlist at least every target duration.
const ASKED_SEGMENTS: u32 = 3;

/// The routes under `/live`.
pub(crate) fn router(play: Arc<Play>) -> Router {
    let live = Router::new().route("/live/{file}", get(flv)).route("/live/{playback}/{file}", get(file).layer(playlists_compressed()));
    let live = live.route("/live/{playback}/frames", get(frames::http::get));
    let live = live.route("/live/{playback}/clock", get(times::get));
    let live = live.route("/live/{playback}/whep", post(whep::post).fallback(posted_only));
    let live = live.route("/live/{playback}/whep/{session}", delete(whep::delete).patch(whep::patch).fallback(ended_only));
    live.method_not_allowed_fallback(other_method).with_state(play)
}

/// Playlists are text that is asked for again and again (RFC 8216bis §6.2.1); what they name is compressed already.
fn playlists_compressed() -> CompressionLayer<impl Predicate> {
    let is_playlist =
        |_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions| headers.get(CONTENT_TYPE).is_some_and(|kind| kind == PLAYLIST);
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(is_playlist)
}

/// Whatever no route has.
pub(crate) async fn no_route() -> Response {
    error(StatusCode::NOT_FOUND, "NOT_FOUND", "there is nothing here: streams are at /live/{playback}.flv and /live/{playback}/index.m3u8")
}

pub(crate) async fn other_method() -> Response {
    not_allowed("this can only be read: GET or HEAD", "GET, HEAD, OPTIONS")
}

/// A WHEP player's first request.
async fn posted_only() -> Response {
    not_allowed("a WHEP player sends its offer here: POST", "POST, OPTIONS")
}

/// A WHEP session.
async fn ended_only() -> Response {
    not_allowed("a WHEP session is ended or told addresses: DELETE or PATCH", "DELETE, PATCH, OPTIONS")
}

/// `/live/{playback}.flv`.
async fn flv(State(play): State<Arc<Play>>, Path(file): Path<String>, viewer: Viewer) -> Response {
    let Some(playback) = file.strip_suffix(".flv") else { return not_found() };
    let subject = viewer.subject(playback);
    if play.callbacks.may_play(&subject, Way::Flv).await != Verdict::Allow {
        return refused(PlayRefusal::Callback);
    }
    let wish = viewer.wish(playback, Way::Flv);
    let edge = viewer.edge();
    let begun = match edge {
        Some(edge) => play.begin_edge(wish, edge).await,
        None => play.begin_or_wait(wish).await,
    };
    let (stream, mut admitted) = match begun {
        Ok(playing) => playing,
        Err(why) => return missing(why, &viewer.asked),
    };
    admitted.told = Some(play.callbacks.played(subject));
    let path = stream.pull().map(|pull| pull.path).unwrap_or_default();
    let mut response = with_headers(StatusCode::OK, "video/x-flv", NO_STORE, flv::body(stream, admitted, edge.is_some()));
    if let Ok(path) = HeaderValue::try_from(path.and(&play.own_name)) {
        response.headers_mut().insert(VIA, path);
    }
    // nginx holds back what it proxies until a buffer is full of it, unless it is told not to.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// How a file is asked for.
struct Asked {
    method: Method,
    headers: HeaderMap,
}

/// `/live/{playback}/…`.
async fn file(
    State(play): State<Arc<Play>>,
    Path((playback, file)): Path<(String, String)>,
    question: Result<Query<Question>, QueryRejection>,
    viewer: Viewer,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let of_file = Asked { method, headers };
    let way = if file == "snapshot.jpg" { Way::Snapshot } else { Way::Hls };
    if let Err(refusal) = play.viewing.ask(viewer.wish(&playback, way)) {
        return refused(refusal);
    }
    if play.callbacks.may_ask(&viewer.subject(&playback), way).await != Verdict::Allow {
        return refused(PlayRefusal::Callback);
    }
    let asked = Kind::of(&file);
    // Of a stream that was over a moment ago players learn it from its playlist.
    let last = asked.and_then(|kind| hls::last_playlist(&play, &playback, kind));
    let stream = match play.hub.find(&playback) {
        None if asked.is_none() && way == Way::Hls => {
            // Its files are named by its playlist: nobody begins with one.
            let found = hls::last_file(&play, &playback, &file);
            return if found == Lookup::Gone { not_found() } else { hls_file(None, &of_file, &file, found) };
        }
        // What an edge has dropped goes on at its upstream.
        None if last.is_some() && play.pulls.is_none() => {
            return last.map_or_else(not_found, |text| playlist(text, viewer.token.as_deref()));
        }
        _ => match play.find_or_wait(&playback, viewer.address).await {
            Ok(stream) => stream,
            Err(_) if last.is_some() => return last.map_or_else(not_found, |text| playlist(text, viewer.token.as_deref())),
            Err(why) => return missing(why, &viewer.asked),
        },
    };
    stream.ask(play.clock.now() + play.hls.segment_duration_min * ASKED_SEGMENTS);
    match (asked, file.as_str()) {
        (Some(kind), _) => {
            let answer = match question {
                Ok(Query(question)) => hls::playlist(&play, &stream, kind, question).await,
                Err(_) => Answer::Wrong("_HLS_msn and _HLS_part are numbers, each once"),
            };
            match answer {
                Answer::Text(text) => {
                    stream.traffic.send(Protocol::Hls, text.len());
                    playlist(text, viewer.token.as_deref())
                }
                Answer::Later => not_yet("the stream has no segment yet: try again in a few seconds"),
                Answer::Wrong(problem) => error(StatusCode::BAD_REQUEST, "BAD_REQUEST", problem),
                Answer::Nothing(problem) => error(StatusCode::NOT_FOUND, "NOT_IN_STREAM", problem),
                Answer::Full => {
                    let problem =
                        "as many streams are made into MPEG-TS as may be (limits.hls_ts_streams): play index.m3u8, or try again later";
                    error(StatusCode::SERVICE_UNAVAILABLE, "TOO_MANY_STREAMS", problem)
                }
            }
        }
        (None, "snapshot.jpg") => match snapshot(&play, &stream).await {
            Ok(jpeg) => {
                stream.traffic.send(Protocol::Snapshot, jpeg.len());
                with_headers(StatusCode::OK, "image/jpeg", NO_STORE, Body::from(jpeg))
            }
            Err(failure) => error(StatusCode::NOT_FOUND, "NO_PICTURE", &failure.to_string()),
        },
        (None, name) => hls_file(Some(&stream.traffic), &of_file, name, hls::file(&play, &stream, name).await),
    }
}

pub(super) fn playlist(text: String, token: Option<&str>) -> Response {
    let text = token.map_or_else(|| text.clone(), |token| with_token(&text, token));
    with_headers(StatusCode::OK, PLAYLIST, NO_STORE, Body::from(text))
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

/// `init-….mp4`, `seg-….m4s`, `seg-….ts` and `part-….m4s`.
fn hls_file(traffic: Option<&Traffic>, asked: &Asked, name: &str, found: Lookup) -> Response {
    let (kind, bytes) = match found {
        Lookup::Init(bytes) => ("video/mp4", bytes),
        Lookup::Media(bytes) => (if name.ends_with(".ts") { "video/mp2t" } else { "video/iso.segment" }, bytes),
        Lookup::Soon | Lookup::Gone => {
            let problem = "no such file of this stream, or it has left the playlist: index.m3u8, audio.m3u8 and ts.m3u8 name them";
            return error(StatusCode::NOT_FOUND, "NOT_FOUND", problem);
        }
    };
    if let Some(traffic) = traffic {
        traffic.send(Protocol::Hls, bytes.len());
    }
    ranges::answer(&asked.method, &asked.headers, name, kind, bytes)
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
