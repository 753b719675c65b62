//! `/api/v1/devices`.

use super::{
    access::Peer,
    error::{ApiError, ApiResult},
    extract::{Body, Id},
    page::{Page, PageQuery},
};
use crate::{
    devices::{
        presence::Presence,
        registry::{Registry, RegistryError},
        revocation::cut_off,
    },
    events::{kind::EventKind, log::EventLog},
    identity::certificates::device_certificate_until,
    mqtt::bus::Bus,
    servers::inventory::Inventory,
    store::{Store, devices::DeviceRow},
};
use axum::{Extension, Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sightline_signal::{DeviceId, ErrorCode, StateReport};
use std::sync::Arc;

/// A device with its live state.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Device)]
pub(super) struct DeviceView {
    id: DeviceId,
    playback: String,
    online: bool,
    /// The stream's state by name; absent until the device reports it.
    state: Option<&'static str>,
    may_push: bool,
    created_at: i64,
    last_seen: Option<i64>,
    revoked_at: Option<i64>,
    /// When its newest certificate ends.
    certificate_until: i64,
    /// The server of its newest allocation.
    server: Option<String>,
    /// What it last reported on `stream/state`.
    report: Option<StateReport>,
    /// Its last status event.
    last_status: Option<Value>,
}

fn view(store: &Store, presence: &Presence, inventory: &Inventory, row: DeviceRow) -> DeviceView {
    let live = presence.device(&row.id);
    DeviceView {
        playback: store.playback_of(&row.stream),
        online: live.is_online(),
        state: live.state.as_ref().map(|report| report.state.name()),
        may_push: row.may_push,
        created_at: row.created_at,
        last_seen: live.last_seen.max(row.last_seen),
        revoked_at: row.revoked_at,
        certificate_until: device_certificate_until(&row),
        server: inventory.server_of(&row.id),
        report: live.state,
        last_status: live.last_status,
        id: row.id,
    }
}

pub(super) fn device_id(id: &str) -> ApiResult<DeviceId> {
    DeviceId::new(id).map_err(|error| ApiError::bad_request(error.to_string()))
}

/// The device of a path.
pub(super) async fn known(store: &Store, id: &str) -> ApiResult<DeviceRow> {
    let id = device_id(id)?;
    store.device(&id).await?.ok_or_else(|| ApiError::not_found(format_args!("device {id}")))
}

/// All devices with their live state.
#[utoipa::path(get, path = "/api/v1/devices", operation_id = "list_devices", params(PageQuery), responses((status = 200, description = "A page", body = Page<DeviceView>)))]
pub(super) async fn list(
    State(store): State<Store>,
    State(presence): State<Arc<Presence>>,
    State(inventory): State<Arc<Inventory>>,
    query: PageQuery,
) -> ApiResult<Json<Page<DeviceView>>> {
    let (limit, after) = (query.limit(), query.cursor.as_deref().unwrap_or_default());
    // One more than the page, to know whether there is a next one.
    let mut rows = store.devices(after, limit + 1).await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_next = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| has_next).map(|row| row.id.as_str().to_owned());
    Ok(Json(Page { items: rows.into_iter().map(|row| view(&store, &presence, &inventory, row)).collect(), next }))
}

/// One device.
#[utoipa::path(get, path = "/api/v1/devices/{id}", operation_id = "show_device", params(("id" = DeviceId, Path)), responses(
    (status = 200, description = "The device", body = DeviceView),
    (status = 404, description = "`NOT_FOUND`"),
))]
pub(super) async fn show(
    State(store): State<Store>,
    State(presence): State<Arc<Presence>>,
    State(inventory): State<Arc<Inventory>>,
    Id(id): Id,
) -> ApiResult<Json<DeviceView>> {
    Ok(Json(view(&store, &presence, &inventory, known(&store, &id).await?)))
}

/// A device to let in.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
pub(super) struct NewDevice {
    #[schema(value_type = DeviceId)]
    id: String,
}

/// A device that was let in, and where its files are, in the data directory of the cloud.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Enrolled {
    id: DeviceId,
    files_in_data_dir: EnrolledFiles,
}

/// Paths below the data directory.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct EnrolledFiles {
    /// Its certificate.
    pem: String,
    /// Its private key.
    key: String,
    /// Its bearer token.
    token: String,
    /// The authority that it checks the cloud by.
    ca: String,
}

/// A device that was revoked.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Revoked {
    id: DeviceId,
    /// Always true.
    revoked: bool,
}

/// Lets a device in.
///
/// Certificate, key and token stay in files on the server: a private key does not travel through an API.
#[utoipa::path(post, path = "/api/v1/devices", operation_id = "add_device", request_body = NewDevice, responses(
    (status = 201, description = "It is let in", body = Enrolled),
    (status = 409, description = "`DEVICE_EXISTS`, or `DEVICE_RESERVED` for an id of the system"),
))]
pub(super) async fn add(
    State(registry): State<Arc<Registry>>,
    State(events): State<Arc<EventLog>>,
    Extension(peer): Extension<Peer>,
    Body(new): Body<NewDevice>,
) -> ApiResult<(StatusCode, Json<Enrolled>)> {
    let id = device_id(&new.id)?;
    match registry.add(&peer.operator(), &id).await {
        Ok(_) => {
            events.push(id.as_str(), EventKind::DeviceAdded, json!({})).await;
            let of_device = |end: &str| format!("devices/{id}.{end}");
            let files = EnrolledFiles { pem: of_device("pem"), key: of_device("key"), token: of_device("token"), ca: "ca.pem".to_owned() };
            Ok((StatusCode::CREATED, Json(Enrolled { id, files_in_data_dir: files })))
        }
        Err(error @ RegistryError::DeviceExists(_)) => Err(ApiError::new(StatusCode::CONFLICT, "DEVICE_EXISTS", error.to_string())),
        Err(error @ RegistryError::DeviceReserved(_)) => {
            Err(ApiError::new(StatusCode::CONFLICT, ErrorCode::DeviceReserved.as_str(), error.to_string()))
        }
        Err(error) => Err(ApiError::internal(&error)),
    }
}

/// Revokes a device: its connection and its stream end within ten seconds.
#[utoipa::path(delete, path = "/api/v1/devices/{id}", operation_id = "revoke_device", params(("id" = DeviceId, Path)), responses(
    (status = 200, description = "It is revoked, now or before", body = Revoked),
    (status = 404, description = "`NOT_FOUND`"),
))]
pub(super) async fn revoke(
    State(store): State<Store>,
    State(registry): State<Arc<Registry>>,
    State(bus): State<Option<Bus>>,
    State(events): State<Arc<EventLog>>,
    Extension(peer): Extension<Peer>,
    Id(id): Id,
) -> ApiResult<Json<Revoked>> {
    let device = known(&store, &id).await?;
    registry.revoke(&peer.operator(), &device.id).await.map_err(|error| ApiError::internal(&error))?;
    if let Some(bus) = bus {
        cut_off(&bus, &events, &device.id).await;
    }
    Ok(Json(Revoked { id: device.id, revoked: true }))
}

/// A device that was removed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Removed {
    id: DeviceId,
    /// Always true.
    removed: bool,
}

/// Removes a device for good.
///
/// Its identity, its files and what was kept for it. Its tokens are void, its connections end; the audit log stays.
#[utoipa::path(post, path = "/api/v1/devices/{id}/remove", operation_id = "remove_device", params(("id" = DeviceId, Path)), responses(
    (status = 200, description = "It is removed", body = Removed),
    (status = 404, description = "`NOT_FOUND`"),
))]
pub(super) async fn remove(
    State(store): State<Store>,
    State(registry): State<Arc<Registry>>,
    State(bus): State<Option<Bus>>,
    State(events): State<Arc<EventLog>>,
    Extension(peer): Extension<Peer>,
    Id(id): Id,
) -> ApiResult<Json<Removed>> {
    let device = known(&store, &id).await?;
    registry.remove(&peer.operator(), &device.id).await.map_err(|error| ApiError::internal(&error))?;
    if let Some(bus) = bus {
        cut_off(&bus, &events, &device.id).await;
    }
    Ok(Json(Removed { id: device.id, removed: true }))
}
