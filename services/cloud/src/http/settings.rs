//! `/api/v1/devices/{id}/config`: settings from afar.

use super::{
    access::Peer,
    devices::known,
    error::{ApiError, ApiResult},
    state::SettingsCheck,
};
use crate::{
    devices::settings::{self, SettingsView},
    mqtt::{bus::Bus, downlink::Message},
    store::{Store, settings::Tables},
};
use axum::{
    Extension, Json,
    extract::{Path, State, rejection::JsonRejection},
    http::StatusCode,
};
use serde::Deserialize;

pub(super) async fn show(State(store): State<Store>, Path(id): Path<String>) -> ApiResult<Json<SettingsView>> {
    let device = known(&store, &id).await?;
    Ok(Json(store.settings(&device.id).await?.into()))
}

/// `{"settings"}`
#[derive(Debug, Deserialize)]
pub(super) struct NewSettings {
    settings: Tables,
}

/// The device checks again, with its own file beneath, and answers in `reported`.
pub(super) async fn set(
    State(store): State<Store>,
    State(bus): State<Option<Bus>>,
    State(check): State<SettingsCheck>,
    Extension(peer): Extension<Peer>,
    Path(id): Path<String>,
    body: Result<Json<NewSettings>, JsonRejection>,
) -> ApiResult<Json<SettingsView>> {
    let Json(NewSettings { settings }) = body?;
    let device = known(&store, &id).await?;
    if device.revoked_at.is_some() {
        return Err(ApiError::new(StatusCode::CONFLICT, "DEVICE_REVOKED", format!("device {} is revoked", device.id)));
    }
    let Some(bus) = bus else {
        let problem = "settings reach devices over MQTT, and the built-in broker is off (mqtt.enabled)";
        return Err(ApiError::new(StatusCode::CONFLICT, "NO_BROKER", problem));
    };
    settings::check(&settings).map_err(|problem| ApiError::bad_request(problem.to_string()))?;
    check(&settings).map_err(|problem| ApiError::new(StatusCode::BAD_REQUEST, "INVALID_SETTINGS", problem))?;
    let message = settings::set(&store, &peer.operator(), &device.id, settings).await?;
    bus.publish(&device.id, Message::desired(message)).await;
    Ok(Json(store.settings(&device.id).await?.into()))
}
