//! `/api/v1/devices`.

use super::{ApiError, ApiResult, Page, PageQuery, access::Peer};
use crate::{
    CloudError,
    audit::Operation,
    authority::OPERATOR,
    database::DeviceRow,
    state::{NotSent, State},
};
use axum::{
    Extension, Json,
    extract::{Path, Query, State as Shared, rejection::JsonRejection},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sightline_signal::{Command, CommandName, DeviceId, StateReport, playback_id};
use std::sync::Arc;

/// A device with its live state.
#[derive(Debug, Serialize)]
pub(super) struct DeviceView {
    id: DeviceId,
    playback: String,
    online: bool,
    /// The stream's state by name; absent before the device told it.
    state: Option<&'static str>,
    may_push: bool,
    created_at: i64,
    last_seen: Option<i64>,
    revoked_at: Option<i64>,
    /// The server of its newest allocation.
    server: Option<String>,
    /// What it last told on `stream/state`.
    report: Option<StateReport>,
    /// Its last status event.
    last_status: Option<Value>,
}

fn view(state: &State, row: &DeviceRow) -> DeviceView {
    let live = state.presence.device(&row.id);
    DeviceView {
        playback: playback_id(&row.stream).as_str().to_owned(),
        online: live.is_online(),
        state: live.state.as_ref().map(|report| report.state.name()),
        may_push: row.may_push,
        created_at: row.created_at,
        last_seen: live.last_seen.max(row.last_seen),
        revoked_at: row.revoked_at,
        server: state.inventory.server_of(&row.id),
        report: live.state,
        last_status: live.last_status,
        id: row.id.clone(),
    }
}

fn device_id(id: &str) -> ApiResult<DeviceId> {
    DeviceId::new(id).map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", error.to_string()))
}

pub(super) async fn known(state: &State, id: &str) -> ApiResult<DeviceRow> {
    let id = device_id(id)?;
    let row = state.database.device(&id).await.map_err(|error| ApiError::internal(&error))?;
    row.ok_or_else(|| ApiError::not_found(format_args!("device {id}")))
}

pub(super) async fn list(Shared(state): Shared<Arc<State>>, Query(query): Query<PageQuery>) -> ApiResult<Json<Page<DeviceView>>> {
    let (limit, after) = (query.limit(), query.cursor.as_deref().unwrap_or_default());
    // One more than the page tells whether there is a next one.
    let mut rows = state.database.devices(after, limit + 1).await.map_err(|error| ApiError::internal(&error))?;
    let has_next = rows.len() > usize::try_from(limit).unwrap_or(usize::MAX);
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next = rows.last().filter(|_| has_next).map(|row| row.id.as_str().to_owned());
    Ok(Json(Page { items: rows.iter().map(|row| view(&state, row)).collect(), next }))
}

pub(super) async fn show(Shared(state): Shared<Arc<State>>, Path(id): Path<String>) -> ApiResult<Json<DeviceView>> {
    Ok(Json(view(&state, &known(&state, &id).await?)))
}

/// `{"id"}`
#[derive(Debug, Deserialize)]
pub(super) struct NewDevice {
    id: String,
}

/// A new device. Certificate, key and token stay in files on the server: a private key does not travel through an API.
pub(super) async fn add(
    Shared(state): Shared<Arc<State>>,
    body: Result<Json<NewDevice>, JsonRejection>,
) -> ApiResult<(StatusCode, Json<Value>)> {
    let Json(new) = body.map_err(|error| bad_json(&error))?;
    let id = device_id(&new.id)?;
    match state.registry.add(&id, OPERATOR).await {
        Ok(_) => {
            state.presence.push(id.as_str(), "device_added", json!({}));
            let files = json!({
                "pem": format!("devices/{id}.pem"), "key": format!("devices/{id}.key"), "token": format!("devices/{id}.token"), "ca": "ca.pem",
            });
            Ok((StatusCode::CREATED, Json(json!({ "id": id, "files_in_data_dir": files }))))
        }
        Err(error @ (CloudError::DeviceExists(_) | CloudError::DeviceReserved(_))) => {
            Err(ApiError::new(StatusCode::CONFLICT, "DEVICE_EXISTS", error.to_string()))
        }
        Err(error) => Err(ApiError::internal(&error)),
    }
}

pub(super) async fn revoke(Shared(state): Shared<Arc<State>>, Path(id): Path<String>) -> ApiResult<Json<Value>> {
    let device = known(&state, &id).await?;
    state.registry.revoke(&device.id, OPERATOR).await.map_err(|error| ApiError::internal(&error))?;
    state.cut_off(&device.id).await;
    Ok(Json(json!({ "id": device.id, "revoked": true })))
}

/// The answer to a command.
#[derive(Debug, Serialize)]
pub(super) struct Commanded {
    command_id: String,
    /// `done`, `failed`, or `sent` if the device has not answered yet.
    status: &'static str,
    /// The device's own answer.
    result: Option<sightline_signal::CommandResult>,
}

pub(super) async fn command(
    Shared(state): Shared<Arc<State>>,
    Extension(peer): Extension<Peer>,
    Path(id): Path<String>,
    body: Result<Json<Command>, JsonRejection>,
) -> ApiResult<(StatusCode, Json<Commanded>)> {
    let Json(command) = body.map_err(|error| bad_json(&error))?;
    send(&state, &peer, &id, command).await
}

/// A fresh token inside the running connection, no frame lost: the device is told to ask for it.
pub(super) async fn rotate(
    Shared(state): Shared<Arc<State>>,
    Extension(peer): Extension<Peer>,
    Path(id): Path<String>,
) -> ApiResult<(StatusCode, Json<Commanded>)> {
    send(&state, &peer, &id, Command::bare(CommandName::Rotate)).await
}

async fn send(state: &State, peer: &Peer, id: &str, mut command: Command) -> ApiResult<(StatusCode, Json<Commanded>)> {
    let device = known(state, id).await?;
    if device.revoked_at.is_some() {
        return Err(ApiError::new(StatusCode::CONFLICT, "DEVICE_REVOKED", format!("device {} is revoked", device.id)));
    }
    let outcome = state.command(&device.id, &mut command).await;
    let detail = json!({
        "cmd": command.cmd, "command_id": command.command_id.as_str(), "from": peer.address.ip().to_string(), "sent": outcome.is_ok(),
    });
    state.database.audit_or_warn(&Operation { actor: OPERATOR, action: "device.command", subject: device.id.as_str(), detail }).await;
    let command_id = command.command_id.as_str().to_owned();
    match outcome {
        Ok(Some(result)) => {
            let status = if result.success { "done" } else { "failed" };
            Ok((StatusCode::OK, Json(Commanded { command_id, status, result: Some(result) })))
        }
        Ok(None) => Ok((StatusCode::ACCEPTED, Json(Commanded { command_id, status: "sent", result: None }))),
        Err(NotSent::Offline) => {
            Err(ApiError::new(StatusCode::CONFLICT, "DEVICE_OFFLINE", format!("device {} is not connected over MQTT", device.id)))
        }
        Err(NotSent::Busy) => Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "BUSY", "too many commands wait for their results")),
    }
}

pub(super) fn bad_json(error: &JsonRejection) -> ApiError {
    ApiError::new(error.status(), "BAD_REQUEST", error.body_text())
}
