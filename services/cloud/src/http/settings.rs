//! `/api/v1/devices/{id}/config`: settings from afar.

use super::{
    ApiError, ApiResult,
    access::Peer,
    devices::{bad_json, known},
};
use crate::{
    device_settings::{SettingsView, Tables, problem_of},
    state::State,
};
use axum::{
    Extension, Json,
    extract::{Path, State as Shared, rejection::JsonRejection},
    http::StatusCode,
};
use serde::Deserialize;
use sightline_signal::topic::Topic;
use std::sync::Arc;

pub(super) async fn show(Shared(state): Shared<Arc<State>>, Path(id): Path<String>) -> ApiResult<Json<SettingsView>> {
    let device = known(&state, &id).await?;
    state.settings.of(&device.id).await.map(|row| Json(row.into())).map_err(|error| ApiError::internal(&error))
}

/// `{"settings"}`
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    settings: Tables,
}

/// The device checks what the values mean, and answers in `reported`.
pub(super) async fn set(
    Shared(state): Shared<Arc<State>>,
    Extension(peer): Extension<Peer>,
    Path(id): Path<String>,
    body: Result<Json<Wanted>, JsonRejection>,
) -> ApiResult<Json<SettingsView>> {
    let Json(Wanted { settings }) = body.map_err(|error| bad_json(&error))?;
    let device = known(&state, &id).await?;
    if device.revoked_at.is_some() {
        return Err(ApiError::new(StatusCode::CONFLICT, "DEVICE_REVOKED", format!("device {} is revoked", device.id)));
    }
    let Some(broker) = &state.broker else {
        let problem = "settings reach devices over MQTT, and the built-in broker is off (mqtt.enabled)";
        return Err(ApiError::new(StatusCode::CONFLICT, "NO_BROKER", problem));
    };
    if let Some(problem) = problem_of(&settings) {
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", problem));
    }
    let address = peer.address.ip().to_string();
    let internal = |error: sqlx::Error| ApiError::internal(&error);
    let (_, message) = state.settings.set(&device.id, settings, &address).await.map_err(internal)?;
    broker.publish(&device.id, Topic::ConfigDesired, message, true).await;
    state.settings.of(&device.id).await.map(|row| Json(row.into())).map_err(internal)
}
