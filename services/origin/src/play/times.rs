//! `/live/{playback}/clock`: when the newest picture was captured, by which a player tells how old the one is that it shows.

use super::Play;
use super::answers::{NO_STORE, error, not_found, not_yet, refused, with_headers};
use super::asker::Viewer;
use crate::auth::wish::Way;
use crate::live::captured::AgePath;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use std::sync::Arc;
use std::time::Duration;

/// No player shows what is older: it has a wrong clock.
const AGE_MAX: Duration = Duration::from_secs(3600);

/// What a player says of itself.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Told {
    /// How it plays.
    via: Option<String>,
    /// How old the picture on its screen is, in milliseconds.
    age_ms: Option<u64>,
}

/// Its right is looked at as that of every way; the operator's endpoint is not asked, as the player has just begun by a way that has asked it.
pub(super) async fn get(
    State(play): State<Arc<Play>>,
    Path(playback): Path<String>,
    told: Result<Query<Told>, QueryRejection>,
    viewer: Viewer,
) -> Response {
    let Ok(Query(told)) = told else {
        return error(StatusCode::BAD_REQUEST, "BAD_REQUEST", "via is whep, flv or hls, and age_ms a whole number of milliseconds");
    };
    let path = match told.via.as_deref().map(AgePath::named) {
        None => None,
        Some(Some(path)) if path != AgePath::Arrival => Some(path),
        Some(_) => return error(StatusCode::BAD_REQUEST, "BAD_REQUEST", "via is whep, flv or hls"),
    };
    let way = match path {
        Some(AgePath::Whep) => Way::Whep,
        Some(AgePath::Flv) => Way::Flv,
        Some(AgePath::Hls | AgePath::Arrival) | None => Way::Hls,
    };
    if let Err(refusal) = play.viewing.ask(viewer.wish(&playback, way)) {
        return refused(refusal);
    }
    let Some(stream) = play.hub.find(&playback) else { return not_found() };
    if let Some((path, age)) = path.zip(told.age_ms.map(Duration::from_millis)).filter(|(_, age)| *age <= AGE_MAX) {
        stream.count_age(path, age, play.clock.now());
    }
    let Some(newest) = stream.newest() else { return not_yet("the stream has no picture yet: try again in a few seconds") };
    let body = serde_json::json!({
        "now_unix_us": play.clock.wall().unix_micros,
        "media_ticks": newest.pts.ticks_90k,
        "captured_unix_us": newest.captured.at.unix_micros,
        "captured_by": newest.captured.by.name(),
        "clock_error_ms": newest.captured.by.clock_error_ms(),
    });
    with_headers(StatusCode::OK, "application/json", NO_STORE, Body::from(body.to_string()))
}
