//! `POST /vod/coverage`: when something was recorded of many devices, for the cloud. Each is asked for with the right to see it.

use super::answers::{NO_STORE, error, with_headers};
use super::asker::Viewer;
use super::vod::Vod;
use crate::auth::wish::{Way, Wish};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use jiff::{SignedDuration, Timestamp};
use sightline_archive::{Shelf, Span, Spans};
use sightline_recording::joined;
use sightline_signal::DeviceId;
use sightline_signal::report::{CoverageAnswer, CoverageQuestion};
use std::sync::{Arc, Mutex, PoisonError};

/// Devices of a question: a page of a fleet.
const DEVICES_MAX: usize = 1_000;
/// The longest question: a thousand names with a token of 400 bytes each, and room.
const QUESTION_BYTES_MAX: usize = 1 << 20;
/// Parts of time that belong together: what is missing between them is no gap that anybody would miss.
const GAP: SignedDuration = SignedDuration::from_secs(1);

/// What complete files hold is read once: 100,000 files of five minutes are a year of one camera, or a day of 350.
const FILES_MAX: usize = 100_000;

/// The route.
pub(crate) fn router(vod: Arc<Vod>) -> Router {
    let asked = Asked { vod, known: Arc::new(Known(Mutex::new(Spans::new(FILES_MAX)))) };
    let route = post(coverage).layer(DefaultBodyLimit::max(QUESTION_BYTES_MAX));
    Router::new().route("/vod/coverage", route).method_not_allowed_fallback(super::http::other_method).with_state(asked)
}

#[derive(Clone)]
struct Asked {
    vod: Arc<Vod>,
    known: Arc<Known>,
}

#[derive(Debug)]
struct Known(Mutex<Spans>);

impl Known {
    /// Blocks on the disk. Others wait no longer than for one device.
    fn of(&self, shelf: &Shelf, range: (Timestamp, Timestamp)) -> Vec<Span> {
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spans.of(shelf, range).unwrap_or_default()
    }
}

/// The body is read whole before anything is looked at: its length is limited by the route.
async fn coverage(State(Asked { vod, known }): State<Asked>, viewer: Viewer, body: Bytes) -> Response {
    let Ok(question) = serde_json::from_slice::<CoverageQuestion>(&body) else {
        return error(StatusCode::BAD_REQUEST, "BAD_REQUEST", "the body is {\"from\", \"to\", \"devices\": [[name, token], …]}");
    };
    let at = |ms| Timestamp::from_millisecond(ms).ok();
    let (Some(from), Some(to)) = (at(question.from), at(question.to)) else {
        return error(StatusCode::BAD_REQUEST, "BAD_REQUEST", "from and to are milliseconds since 1970");
    };
    if from >= to || question.devices.len() > DEVICES_MAX {
        return error(StatusCode::BAD_REQUEST, "BAD_REQUEST", "from comes before to, and there are at most 1000 devices");
    }
    let mut asked: Vec<(String, Shelf)> = Vec::new();
    for (device, token) in question.devices {
        let Ok(device) = DeviceId::new(&device) else { continue };
        let playback = vod.playback(&device).await;
        let wish = Wish { token: Some(&token), ..viewer.wish(&playback, Way::Vod) };
        if vod.play.viewing.ask(wish).is_ok() {
            asked.push((device.as_str().to_owned(), vod.shelf(&device)));
        }
    }
    let look = move || {
        let of = |(device, shelf): (String, Shelf)| {
            let spans = joined(known.of(&shelf, (from, to)).into_iter().map(|span| (span.from, span.to)), GAP);
            let millis = |(from, to): (Timestamp, Timestamp)| (from.as_millisecond(), to.as_millisecond());
            (device, spans.into_iter().map(millis).collect::<Vec<_>>())
        };
        CoverageAnswer { devices: asked.into_iter().map(of).filter(|(_, spans)| !spans.is_empty()).collect() }
    };
    match vod.turn(look).await.map(|answer| serde_json::to_string(&answer)) {
        Some(Ok(text)) => with_headers(StatusCode::OK, "application/json", NO_STORE, Body::from(text)),
        Some(Err(_)) | None => {
            error(StatusCode::SERVICE_UNAVAILABLE, "RECORDING_UNREADABLE", "the recordings can't be looked at; the log says why")
        }
    }
}
