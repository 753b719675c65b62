//! `/api/v1/devices`.

use super::{
    error::{ApiError, ApiResult},
    extract::{Body, Id},
    groups::group_path,
    page::{Page, PageQuery},
    person::Person,
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
    people::{
        groups,
        names::{GroupPath, Role},
    },
    servers::inventory::Inventory,
    store::{Store, devices::DeviceRow},
};
use axum::{Extension, Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sightline_signal::{DeviceId, ErrorCode, StateReport};
use std::sync::Arc;

/// Devices that are read at a time where only some are seen.
const DEVICES_PER_READ: u32 = 1000;

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
    /// The group that it is in; empty: the root.
    #[schema(value_type = String)]
    group: GroupPath,
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
        group: row.group.clone(),
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

/// The devices above `after` that someone sees, by id.
pub(super) async fn seen(store: &Store, person: &Person, after: &str, limit: u32) -> ApiResult<Vec<DeviceRow>> {
    if person.rights().sees_all() {
        return Ok(store.devices(after, limit).await?);
    }
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let (mut rows, mut after) = (Vec::new(), after.to_owned());
    while rows.len() < most {
        let read = store.devices(&after, DEVICES_PER_READ).await?;
        let Some(last) = read.last() else { break };
        last.id.as_str().clone_into(&mut after);
        rows.extend(read.into_iter().filter(|row| person.rights().sees(&row.group)));
    }
    rows.truncate(most);
    Ok(rows)
}

/// All devices with their live state.
#[utoipa::path(get, path = "/api/v1/devices", operation_id = "list_devices", params(PageQuery), responses((status = 200, description = "A page", body = Page<DeviceView>)))]
pub(super) async fn list(
    State(store): State<Store>,
    State(presence): State<Arc<Presence>>,
    State(inventory): State<Arc<Inventory>>,
    Extension(person): Extension<Person>,
    query: PageQuery,
) -> ApiResult<Json<Page<DeviceView>>> {
    let (limit, after) = (query.limit(), query.cursor.as_deref().unwrap_or_default());
    // One more than the page, to know whether there is a next one.
    let mut rows = seen(&store, &person, after, limit + 1).await?;
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
    /// The group that it is put into; empty: the root.
    #[serde(default)]
    group: String,
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
    State(store): State<Store>,
    State(registry): State<Arc<Registry>>,
    State(events): State<Arc<EventLog>>,
    Extension(person): Extension<Person>,
    Body(new): Body<NewDevice>,
) -> ApiResult<(StatusCode, Json<Enrolled>)> {
    let id = device_id(&new.id)?;
    let group = group_path(&new.group)?;
    if !group.is_root() && store.groups().await?.iter().all(|known| known.path != group) {
        return Err(ApiError::not_found(format_args!("group {group}")));
    }
    match registry.add(&person.actor(), &id).await {
        Ok(_) => {
            if !group.is_root() {
                groups::put(&store, &person.actor(), &id, &group).await?;
            }
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

/// What of a device is to change.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DeviceChange {
    /// The group that it is put into; empty: the root.
    group: String,
}

/// Puts a device into another group: whoever has a right on that one sees it from now on, and nobody else.
#[utoipa::path(patch, path = "/api/v1/devices/{id}", operation_id = "change_device", params(("id" = DeviceId, Path)), request_body = DeviceChange, responses(
    (status = 200, description = "The device", body = DeviceView),
    (status = 404, description = "`NOT_FOUND`: there is no such device, or no such group"),
))]
pub(super) async fn change(
    State(store): State<Store>,
    State(presence): State<Arc<Presence>>,
    State(inventory): State<Arc<Inventory>>,
    Extension(person): Extension<Person>,
    Id(id): Id,
    Body(DeviceChange { group }): Body<DeviceChange>,
) -> ApiResult<Json<DeviceView>> {
    let (device, group) = (known(&store, &id).await?, group_path(&group)?);
    person.check(Role::Admin, &group, || ApiError::not_found(format_args!("group {group}")))?;
    groups::put(&store, &person.actor(), &device.id, &group).await?;
    Ok(Json(view(&store, &presence, &inventory, known(&store, &id).await?)))
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
    Extension(person): Extension<Person>,
    Id(id): Id,
) -> ApiResult<Json<Revoked>> {
    let device = known(&store, &id).await?;
    registry.revoke(&person.actor(), &device.id).await.map_err(|error| ApiError::internal(&error))?;
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
    Extension(person): Extension<Person>,
    Id(id): Id,
) -> ApiResult<Json<Removed>> {
    let device = known(&store, &id).await?;
    registry.remove(&person.actor(), &device.id).await.map_err(|error| ApiError::internal(&error))?;
    if let Some(bus) = bus {
        cut_off(&bus, &events, &device.id).await;
    }
    Ok(Json(Removed { id: device.id, removed: true }))
}
