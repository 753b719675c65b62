//! The rest of the API: lists, events, keys, health.

use super::{ApiError, ApiResult, Page, PageQuery, page_by_name};
use crate::{
    audit::{self, AuditEntry},
    inventory::ServerView,
    presence::Event,
    state::State,
};
use axum::{
    Json,
    extract::{Query, State as Shared},
    http::{StatusCode, header},
    response::{
        IntoResponse, Response,
        sse::{self, KeepAlive, Sse},
    },
};
use futures_util::Stream;
use serde::Serialize;
use sightline_signal::{DeviceId, StreamState, report::Jwks};
use std::{
    convert::Infallible,
    sync::{Arc, PoisonError},
};
use tokio::sync::broadcast::error::RecvError;

/// A live stream: what the origin measures, joined with what the camera says.
#[derive(Debug, Serialize)]
pub(super) struct StreamView {
    device: String,
    playback: String,
    state: &'static str,
    width: u32,
    height: u32,
    fps: f64,
    bitrate_kbps: f64,
    latency_ms: Option<u32>,
    latency_kind: Option<sightline_signal::LatencyKind>,
    viewers: u64,
    server: String,
    since: i64,
    network_quality: Option<f32>,
    quality: Option<&'static str>,
    /// Where to play over RTMP; HTTP players use `/live/{playback}` of this host.
    rtmp_url: String,
}

pub(super) async fn streams(Shared(state): Shared<Arc<State>>, Query(query): Query<PageQuery>) -> Json<Page<StreamView>> {
    let views = state.inventory.live_streams().into_iter().map(|(device, live)| {
        let report = DeviceId::new(&device).ok().and_then(|id| state.presence.device(&id).state);
        let stream = live.stream;
        let view = StreamView {
            playback: stream.playback.clone(),
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
            rtmp_url: format!("{}/{}", live.rtmp_url.trim_end_matches('/'), stream.playback),
            device: device.clone(),
        };
        (device, view)
    });
    Json(page_by_name(views, &query))
}

pub(super) async fn servers(Shared(state): Shared<Arc<State>>, Query(query): Query<PageQuery>) -> Json<Page<ServerView>> {
    Json(page_by_name(state.inventory.servers().into_iter().map(|server| (server.id.clone(), server)), &query))
}

/// Recent events, newest first.
pub(super) async fn events(Shared(state): Shared<Arc<State>>, Query(query): Query<PageQuery>) -> ApiResult<Json<Page<Event>>> {
    let limit = usize::try_from(query.limit()).unwrap_or(usize::MAX);
    let items = state.presence.events(query.before()?, query.device.as_deref(), limit);
    let next = items.last().filter(|_| items.len() == limit).map(|event| event.seq.to_string());
    Ok(Json(Page { items, next }))
}

/// Server-sent events: each one named `status`, its data an event as in the list. A listener that is too slow gets `missed`.
pub(super) async fn event_stream(Shared(state): Shared<Arc<State>>) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    let stream = futures_util::stream::unfold(state.presence.subscribe(), |mut events| async move {
        let event = match events.recv().await {
            Ok(event) => sse::Event::default().event("status").json_data(&event).unwrap_or_default(),
            Err(RecvError::Lagged(missed)) => sse::Event::default().event("missed").data(missed.to_string()),
            Err(RecvError::Closed) => return None,
        };
        Some((Ok(event), events))
    });
    Sse::new(stream).keep_alive(KeepAlive::default())
}

/// Recordings lie with the origins; this version does not collect them.
pub(super) async fn recordings() -> ApiError {
    ApiError::new(
        StatusCode::NOT_IMPLEMENTED,
        "NOT_IMPLEMENTED",
        "recordings are listed by each origin; the cloud does not collect them yet",
    )
}

pub(super) async fn audit(Shared(state): Shared<Arc<State>>, Query(query): Query<PageQuery>) -> ApiResult<Json<Page<AuditEntry>>> {
    let limit = query.limit();
    let items = audit::entries(&state.database, query.before()?, limit).await.map_err(|error| ApiError::internal(&error))?;
    let next = items.last().filter(|entry| entry.seq > 1).map(|entry| entry.seq.to_string());
    Ok(Json(Page { items, next }))
}

pub(super) async fn jwks(Shared(state): Shared<Arc<State>>) -> Json<Jwks> {
    Json(state.keys.read().unwrap_or_else(PoisonError::into_inner).jwks().clone())
}

pub(super) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], include_str!("openapi.json")).into_response()
}

pub(super) async fn metrics(Shared(state): Shared<Arc<State>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], state.metrics.render()).into_response()
}

/// Ready while the database answers.
pub(super) async fn ready(Shared(state): Shared<Arc<State>>) -> Response {
    match sqlx::query("SELECT 1").execute(state.database.pool()).await {
        Ok(_) => "ready\n".into_response(),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n").into_response(),
    }
}

/// One digit: more would say more than was measured.
fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
