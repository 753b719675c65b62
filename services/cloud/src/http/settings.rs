//! `/api/v1/devices/{id}/config`: settings from afar.

use super::{
    devices::known,
    error::{ApiError, ApiResult},
    extract::{Body, Id},
    person::Person,
    state::SettingsCheck,
};
use crate::{
    devices::settings::{self, SettingTables, SettingsView},
    mqtt::{bus::Bus, downlink::Message},
    store::{Store, settings::Tables},
};
use axum::{Extension, Json, extract::State, http::StatusCode};
use serde::Deserialize;
use sightline_signal::DeviceId;

/// What a device shall be set to, and what it says that it is set to.
#[utoipa::path(get, path = "/api/v1/devices/{id}/config", operation_id = "show_settings", params(("id" = DeviceId, Path)), responses(
    (status = 200, description = "Both", body = SettingsView),
    (status = 404, description = "`NOT_FOUND`"),
))]
pub(super) async fn show(State(store): State<Store>, Id(id): Id) -> ApiResult<Json<SettingsView>> {
    let device = known(&store, &id).await?;
    Ok(Json(store.settings(&device.id).await?.into()))
}

/// What is to differ from the device's file.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
pub(super) struct NewSettings {
    /// The file's tables that may be set from afar: `stream`, `motion`, `recording`, `schedule`.
    #[schema(value_type = SettingTables)]
    settings: Tables,
}

/// Sets a device from afar; the cloud gives the version.
///
/// The device checks again, with its own file beneath, and answers in `reported`.
#[utoipa::path(put, path = "/api/v1/devices/{id}/config", operation_id = "set_settings", params(("id" = DeviceId, Path)), request_body = NewSettings, responses(
    (status = 200, description = "Written down and published", body = SettingsView),
    (status = 400, description = "`BAD_REQUEST` names the key that can't be set from afar; `INVALID_SETTINGS` says what no camera takes"),
    (status = 404, description = "`NOT_FOUND`"),
    (status = 409, description = "`DEVICE_REVOKED`, or `NO_BROKER` where the built-in broker is off"),
))]
pub(super) async fn set(
    State(store): State<Store>,
    State(bus): State<Option<Bus>>,
    State(check): State<SettingsCheck>,
    Extension(person): Extension<Person>,
    Id(id): Id,
    Body(NewSettings { settings }): Body<NewSettings>,
) -> ApiResult<Json<SettingsView>> {
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
    let message = settings::set(&store, &person.actor(), &device.id, settings).await?;
    bus.publish(&device.id, Message::desired(message)).await;
    Ok(Json(store.settings(&device.id).await?.into()))
}
