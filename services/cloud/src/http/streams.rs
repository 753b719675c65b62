//! `/api/v1/streams`.

use super::{
    error::ApiResult,
    page::{Page, PageQuery, page_by_name},
    person::Person,
};
use crate::{
    devices::presence::Presence,
    people::names::Role,
    servers::inventory::{Inventory, LiveStream},
    store::Store,
};
use axum::{Extension, Json, extract::State};
use serde::Serialize;
use sightline_signal::{
    DeviceId, LatencyKind, StreamState,
    report::{OriginRelay, OriginStream, PathAge},
};
use std::sync::Arc;

/// A live stream: what the origin measures, joined with what the camera reports.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Stream)]
pub(super) struct StreamView {
    device: String,
    playback: String,
    state: &'static str,
    /// Size, `fps` and `bitrate_kbps` as the origin measures them over two seconds.
    width: u32,
    height: u32,
    fps: f64,
    bitrate_kbps: f64,
    /// `end_to_end`: from capture to viewers' screens, the median of the way that is the fastest of those that are watched. `ack`: from capture to the origin.
    /// Both where the camera writes into its pictures when it captured them, over the last minute. Else as the camera says; null until it reports.
    latency_ms: Option<u32>,
    latency_kind: Option<LatencyKind>,
    /// Whose word it is when pictures were captured: `camera`, or `arrival`, the origin's own. Null: not known.
    captured_by: Option<String>,
    /// How far the camera's clock may be from the cloud's, in milliseconds; null: it has not been compared.
    clock_error_ms: Option<u16>,
    /// How old its pictures were in the last minute: as they came to the origin, and on viewers' screens.
    ages: Vec<PathAge>,
    viewers: u64,
    server: String,
    /// When its publisher began.
    since: i64,
    network_quality: Option<f32>,
    quality: Option<&'static str>,
    /// `on`, `failing`; `None`: its origin does not record it.
    recording: Option<String>,
    /// Where to play over RTMP; empty: its origin offers none. HTTP players use `/live/{playback}` of this host.
    rtmp_url: String,
    /// Its relays to other servers.
    relays: Vec<OriginRelay>,
}

/// Live streams.
#[utoipa::path(get, path = "/api/v1/streams", operation_id = "list_streams", params(PageQuery), responses((status = 200, description = "A page", body = Page<StreamView>)))]
pub(super) async fn list(
    State(inventory): State<Arc<Inventory>>,
    State(presence): State<Arc<Presence>>,
    State(store): State<Store>,
    Extension(person): Extension<Person>,
    query: PageQuery,
) -> ApiResult<Json<Page<StreamView>>> {
    let sight = person.sight(&store, Role::Viewer).await?;
    let live = inventory.live_streams().into_iter().filter(|(device, _)| sight.has(device));
    Ok(Json(page_by_name(live.map(|(device, live)| (device.clone(), view(&presence, device, live))), &query)))
}

fn view(presence: &Presence, device: String, live: LiveStream) -> StreamView {
    let report = DeviceId::new(&device).ok().and_then(|id| presence.device(&id).state);
    let stream = live.stream;
    let latency = latency(&stream).or(report.as_ref().map(|report| (report.latency_ms, report.latency_kind)));
    StreamView {
        state: report.as_ref().map_or(StreamState::Streaming, |report| report.state).name(),
        width: stream.width,
        height: stream.height,
        fps: rounded(stream.fps),
        bitrate_kbps: rounded(stream.bitrate_kbps),
        latency_ms: latency.map(|(ms, _)| ms),
        latency_kind: latency.map(|(_, kind)| kind),
        captured_by: stream.captured_by,
        clock_error_ms: stream.clock_error_ms,
        ages: stream.ages,
        viewers: stream.viewers,
        server: live.server,
        since: stream.since,
        network_quality: report.as_ref().map(|report| report.network_quality),
        quality: report.as_ref().map(|report| report.quality.name()),
        recording: stream.recording,
        rtmp_url: match live.rtmp_url.trim_end_matches('/') {
            "" => String::new(),
            url => format!("{url}/{}", stream.playback),
        },
        playback: stream.playback,
        relays: stream.relays,
        device,
    }
}

/// What was measured from a camera's own marks: on a screen, or as far as the origin.
fn latency(stream: &OriginStream) -> Option<(u32, LatencyKind)> {
    if stream.captured_by.as_deref() != Some("camera") {
        return None;
    }
    let (arrivals, screens): (Vec<_>, Vec<_>) = stream.ages.iter().partition(|age| age.path == "arrival");
    let least = |ages: Vec<&PathAge>| ages.into_iter().map(|age| age.p50_ms).min();
    let on_screens = least(screens).map(|ms| (ms, LatencyKind::EndToEnd));
    on_screens.or(least(arrivals).map(|ms| (ms, LatencyKind::Ack)))
}

/// One digit: more would claim more than was measured.
fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
