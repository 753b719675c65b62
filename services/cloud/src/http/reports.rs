//! `POST /api/v1/servers/{id}/report`: an origin registers, tells its load, and hears keys and revocations.

use super::{
    ApiError, ApiResult,
    access::{bearer, is_secret},
};
use crate::{audit::Operation, state::State};
use axum::{
    Json,
    extract::{Path, State as Shared},
    http::{HeaderMap, StatusCode},
};
use serde_json::json;
use sightline_signal::{
    DeviceId,
    report::{OriginReport, ReportAnswer},
};
use std::sync::{Arc, PoisonError};

/// Streams of one origin that are read.
const STREAMS_MAX: usize = 5000;
/// The longest name, region or URL of an origin: what fits into a response (`Server`).
const NAME_BYTES_MAX: usize = 64;
const URL_BYTES_MAX: usize = 190;

pub(super) async fn report(
    Shared(state): Shared<Arc<State>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(report): Json<OriginReport>,
) -> ApiResult<Json<ReportAnswer>> {
    if !is_secret(bearer(&headers), &state.cluster_key_sha256) {
        return Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            "UNAUTHORIZED",
            "show the cluster key of data_dir/cluster.key as Authorization: Bearer",
        ));
    }
    check(&id, &report)?;
    let (boot_id, region) = (report.boot_id.clone(), report.region.clone());
    let known_boot = state.inventory.boot_id(&id);
    let is_new = state
        .inventory
        .report(report)
        .map_err(|_| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "TOO_MANY_ORIGINS", "too many origins are registered"))?;
    if known_boot.as_deref() != Some(boot_id.as_str()) {
        booted(&state, &id, &boot_id, &region).await?;
    } else if is_new {
        tracing::info!(server = id, "an origin is back");
    }
    let revoked = state.database.revoked_streams().await.map_err(|error| ApiError::internal(&error))?;
    let jwks = state.keys.read().unwrap_or_else(PoisonError::into_inner).jwks().clone();
    Ok(Json(ReportAnswer { jwks, revoked }))
}

fn check(id: &str, report: &OriginReport) -> ApiResult<()> {
    let bad = |reason: &str| Err(ApiError::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", reason));
    if report.server_id != id {
        return bad("server_id is not the id of the path");
    }
    if DeviceId::new(id).is_err() {
        return bad("a server id is 1 to 64 of A-Z a-z 0-9 _ -");
    }
    if report.name.len() > NAME_BYTES_MAX || report.region.len() > 32 || report.boot_id.is_empty() || report.boot_id.len() > NAME_BYTES_MAX
    {
        return bad("name and boot_id have at most 64 bytes, region 32, and boot_id is not empty");
    }
    if [&report.rtmp_url, &report.rtmps_url, &report.http_url].iter().any(|url| url.len() > URL_BYTES_MAX) {
        return bad("a URL has at most 190 bytes");
    }
    if report.streams.len() > STREAMS_MAX {
        return bad("a report has at most 5000 streams");
    }
    Ok(())
}

/// An origin has started. Its cameras are told at once: their own backoff would keep them away for up to a minute.
async fn booted(state: &State, id: &str, boot_id: &str, region: &str) -> ApiResult<()> {
    let before = state.database.origin_booted(id, boot_id).await.map_err(|error| ApiError::internal(&error))?;
    let devices = if before.is_some() { state.inventory.devices_on(id) } else { Vec::new() };
    tracing::info!(server = id, restarted = before.is_some(), devices = devices.len(), "an origin registered");
    let actor = format!("origin:{id}");
    let detail = json!({ "region": region, "restarted": before.is_some(), "devices_called_back": devices.len() });
    state.database.audit_or_warn(&Operation { actor: &actor, action: "server.register", subject: id, detail }).await;
    if before.is_some() {
        state.presence.push(id, "server_restarted", json!({ "devices_called_back": devices.len() }));
    }
    state.call_back(&devices).await;
    Ok(())
}
