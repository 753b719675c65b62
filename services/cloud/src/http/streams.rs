//! `/api/v1/streams`.

use super::page::{Page, PageQuery, page_by_name};
use crate::{
    devices::presence::Presence,
    servers::inventory::{Inventory, LiveStream},
};
use axum::{Json, extract::State};
use serde::Serialize;
use sightline_signal::{DeviceId, LatencyKind, StreamState, report::OriginRelay};
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
    /// As the camera says; null until it reports.
    latency_ms: Option<u32>,
    latency_kind: Option<LatencyKind>,
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
    query: PageQuery,
) -> Json<Page<StreamView>> {
    let live = inventory.live_streams().into_iter();
    Json(page_by_name(live.map(|(device, live)| (device.clone(), view(&presence, device, live))), &query))
}

fn view(presence: &Presence, device: String, live: LiveStream) -> StreamView {
    let report = DeviceId::new(&device).ok().and_then(|id| presence.device(&id).state);
    let stream = live.stream;
    StreamView {
        state: report.as_ref().map_or(StreamState::Streaming, |report| report.state).name(),
        width: stream.width,
        height: stream.height,
        fps: rounded(stream.fps),
        bitrate_kbps: rounded(stream.bitrate_kbps),
        latency_ms: report.as_ref().map(|report| report.latency_ms),
        latency_kind: report.as_ref().map(|report| report.latency_kind),
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

/// One digit: more would claim more than was measured.
fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
