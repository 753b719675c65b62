//! `POST /api/v1/servers/{id}/report`: an origin registers and reports its load; it gets keys and revocations.

use super::{
    access::bearer,
    error::{ApiError, ApiResult},
    extract::{Body, Id, Report},
    state::ClusterKey,
};
use crate::{
    devices::on_demand::OnDemand,
    secrets::is_secret,
    servers::{
        id::ServerId,
        reports::{ReportError, Reports},
    },
};
use axum::{
    Json,
    extract::{FromRef, FromRequestParts, State},
    http::{StatusCode, request::Parts},
};
use sightline_signal::DeviceId;
use sightline_signal::report::{OriginReport, ReportAnswer, WantedAnswer, WantedStream};
use std::sync::Arc;

/// Streams of one report: five times what one origin carries.
const STREAMS_MAX: usize = 5000;
/// The longest name, region or URL of an origin: what fits into a response (`Server`).
const NAME_BYTES_MAX: usize = 64;
/// Duels of one report: what an origin remembers.
const DUELS_MAX: usize = 256;
/// Incidents of one report: what an origin sends at most.
const INCIDENTS_MAX: usize = 256;
/// Refusals of one report: what an origin tells apart.
const REFUSALS_MAX: usize = 256;
/// Uses of playback keys of one report: what an origin keeps.
const PLAYED_MAX: usize = 10_000;
/// See [`NAME_BYTES_MAX`].
const REGION_BYTES_MAX: usize = 32;
/// See [`NAME_BYTES_MAX`].
const URL_BYTES_MAX: usize = 190;

/// An origin registers and reports its load, every two seconds.
#[utoipa::path(post, path = "/api/v1/servers/{id}/report", operation_id = "report_origin", params(("id" = DeviceId, Path)), request_body = OriginReport, responses(
    (status = 200, description = "Keys and revocations", body = ReportAnswer),
    (status = 503, description = "`TOO_MANY_ORIGINS` or `STORAGE_FAILED`"),
))]
pub(super) async fn report(
    _: OfCluster,
    State(reports): State<Arc<Reports>>,
    Id(id): Id,
    Report(report): Report<OriginReport>,
) -> ApiResult<Json<ReportAnswer>> {
    let taken = take(&reports, &id, report).await;
    count(taken.is_ok());
    taken.map(Json)
}

fn count(is_taken: bool) {
    let outcome = if is_taken { "taken" } else { "refused" };
    metrics::counter!("sightline_server_reports_total", "outcome" => outcome).increment(1);
}

/// Who shows the cluster key. Asked before the body: a report may be long, and a stranger's is not read.
#[derive(Debug)]
pub(super) struct OfCluster;

impl<S: Send + Sync> FromRequestParts<S> for OfCluster
where
    ClusterKey: FromRef<S>,
{
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        if is_secret(bearer(&parts.headers), &ClusterKey::from_ref(state).sha256) {
            return Ok(Self);
        }
        count(false);
        let problem = "show the cluster key of data_dir/cluster.key as Authorization: Bearer";
        Err(ApiError::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", problem))
    }
}

/// An origin asks for a playback id that someone wants to watch and that it does not have: an on-demand camera is told to start.
#[utoipa::path(post, path = "/api/v1/servers/{id}/wanted", operation_id = "want_stream", params(("id" = DeviceId, Path)), request_body = WantedStream, responses(
    (status = 200, description = "What was done", body = WantedAnswer),
    (status = 503, description = "`STORAGE_FAILED`"),
))]
pub(super) async fn wanted(
    _: OfCluster,
    State(on_demand): State<Arc<OnDemand>>,
    Id(id): Id,
    Body(wanted): Body<WantedStream>,
) -> ApiResult<Json<WantedAnswer>> {
    let id = ServerId::new(&id).map_err(|error| ApiError::bad_request(error.to_string()))?;
    let WantedStream { playback, gave_up_after_sec } = wanted;
    if let Some(waited_sec) = gave_up_after_sec {
        on_demand.gave_up(id.as_str(), &playback, waited_sec).await?;
        return Ok(Json(WantedAnswer::default()));
    }
    Ok(Json(on_demand.want(id.as_str(), &playback).await?))
}

async fn take(reports: &Reports, id: &str, report: OriginReport) -> ApiResult<ReportAnswer> {
    let id = check(id, &report)?;
    match reports.receive(&id, report).await {
        Ok(answer) => Ok(answer),
        Err(error @ ReportError::TooManyOrigins(_)) => {
            Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "TOO_MANY_ORIGINS", error.to_string()))
        }
        Err(ReportError::Store(error)) => Err(error.into()),
    }
}

fn check(id: &str, report: &OriginReport) -> ApiResult<ServerId> {
    let bad = |reason: &str| Err(ApiError::bad_request(reason));
    if report.server_id != id {
        return bad("server_id is not the id of the path");
    }
    let id = ServerId::new(id).map_err(|error| ApiError::bad_request(error.to_string()))?;
    if report.name.len() > NAME_BYTES_MAX
        || report.region.len() > REGION_BYTES_MAX
        || report.boot_id.is_empty()
        || report.boot_id.len() > NAME_BYTES_MAX
    {
        return bad("name and boot_id have at most 64 bytes, region 32, and boot_id is not empty");
    }
    if [&report.rtmp_url, &report.rtmps_url, &report.http_url].iter().any(|url| url.len() > URL_BYTES_MAX) {
        return bad("a URL has at most 190 bytes");
    }
    if report.streams.len() > STREAMS_MAX {
        return bad("a report has at most 5000 streams");
    }
    let is_bounded = |text: &String| text.len() <= NAME_BYTES_MAX;
    if report.duels.len() > DUELS_MAX || !report.duels.iter().all(|duel| is_bounded(&duel.holder) && is_bounded(&duel.rival)) {
        return bad("a report has at most 256 duels, and an address at most 64 bytes");
    }
    if report.incidents.len() > INCIDENTS_MAX {
        return bad("a report has at most 256 incidents");
    }
    if report.refusals.len() > REFUSALS_MAX {
        return bad("a report has at most 256 refusals");
    }
    let relays = || report.streams.iter().flat_map(|stream| &stream.relays);
    if relays().count() > STREAMS_MAX || relays().any(|relay| [&relay.name, &relay.state].iter().any(|text| text.len() > NAME_BYTES_MAX)) {
        return bad("a report has at most 5000 relays, and a relay's name and state at most 64 bytes");
    }
    if report.played.len() > PLAYED_MAX || !report.played.iter().all(|used| is_bounded(&used.id) && is_bounded(&used.address)) {
        return bad("a report has at most 10000 uses of playback keys, and an id and an address at most 64 bytes");
    }
    Ok(id)
}
