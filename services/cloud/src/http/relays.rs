//! `/api/v1/streams/{device}/relays` and `/api/v1/relays`: streams that go on to other servers.

use super::{
    devices::{device_id, known},
    error::{ApiError, ApiResult},
    extract::{Body, Id, IdAndName},
    page::{Page, PageQuery, page_by_name},
    person::Person,
};
use crate::{
    relays::{RelayError, Relays, Scope, target},
    servers::inventory::Inventory,
    store::{Store, relays::RelayRow},
};
use axum::{Extension, Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use sightline_signal::{DeviceId, report::OriginRelay};
use std::sync::Arc;

impl From<RelayError> for ApiError {
    fn from(error: RelayError) -> Self {
        match error {
            RelayError::Bad(problem) => Self::bad_request(problem),
            RelayError::DeviceUnknown(_) | RelayError::Unknown(_) => Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", error.to_string()),
            RelayError::Exists(_) => Self::new(StatusCode::CONFLICT, "EXISTS", error.to_string()),
            RelayError::TooMany => Self::new(StatusCode::CONFLICT, "TOO_MANY_RELAYS", error.to_string()),
            RelayError::Store(error) => error.into(),
        }
    }
}

/// Who has set a relay.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
enum SetBy {
    /// This API: it can be removed here.
    Api,
    /// The origin's settings, or a pattern: what removes it is there.
    Elsewhere,
}

/// A relay of one device's stream.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct StreamRelay {
    name: String,
    /// Where it goes, without the key: `rtmp://host:port/app/***`.
    target: String,
    set_by: SetBy,
    /// `idle` (the stream is not live), `connecting`, `publishing`, `waiting` (it failed, and is tried again).
    state: String,
    /// Since when, seconds since 1970; null while it is idle.
    since: Option<i64>,
    /// Why the last try failed; null while the target takes the stream.
    error: Option<String>,
    /// Connections so far.
    connects: u64,
    /// Bytes that the target took.
    sent_bytes: u64,
    /// Frames that were left out because the target was too slow.
    lost_frames: u64,
}

impl StreamRelay {
    fn live(relay: OriginRelay, set_by: SetBy) -> Self {
        let OriginRelay { name, target, state, since, error, connects, sent_bytes, lost_frames } = relay;
        Self { name, target, set_by, state, since: Some(since), error, connects, sent_bytes, lost_frames }
    }

    fn idle(row: &RelayRow) -> Self {
        let (name, target, state) = (row.rule.name.clone(), target(&row.rule), "idle".to_owned());
        Self { name, target, set_by: SetBy::Api, state, since: None, error: None, connects: 0, sent_bytes: 0, lost_frames: 0 }
    }
}

/// The relays of one stream.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct StreamRelays {
    items: Vec<StreamRelay>,
}

/// A device's relays to other servers: how each is.
#[utoipa::path(get, path = "/api/v1/streams/{id}/relays", operation_id = "list_stream_relays", params(("id" = DeviceId, Path)), responses(
    (status = 200, description = "Those that were set for it here, and those of settings and patterns while the stream is live", body = StreamRelays),
    (status = 404, description = "`NOT_FOUND`: there is no such device"),
))]
pub(super) async fn of_stream(
    State(store): State<Store>,
    State(inventory): State<Arc<Inventory>>,
    State(relays): State<Arc<Relays>>,
    Id(id): Id,
) -> ApiResult<Json<StreamRelays>> {
    let device = known(&store, &id).await?;
    let set_here = relays.list(Some(&device.id)).await?;
    let live = inventory.live_streams().remove(device.id.as_str());
    let mut items: Vec<_> = live
        .map(|live| live.stream.relays)
        .unwrap_or_default()
        .into_iter()
        .map(|relay| {
            let is_ours = set_here.iter().any(|row| row.rule.name == relay.name);
            StreamRelay::live(relay, if is_ours { SetBy::Api } else { SetBy::Elsewhere })
        })
        .collect();
    let idle: Vec<_> = set_here.iter().filter(|row| items.iter().all(|item| item.name != row.rule.name)).map(StreamRelay::idle).collect();
    items.extend(idle);
    items.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Json(StreamRelays { items }))
}

/// A relay to be set for one device's stream.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StreamRelayWish {
    /// Names it, for people and to remove it: 1 to 64 bytes without a slash.
    name: String,
    /// Where to: `rtmp(s)://host[:port]/application/key`, at most 600 bytes. No answer shows the key.
    url: String,
}

/// Sends a device's stream on to another server, whenever it is live: within three seconds.
#[utoipa::path(post, path = "/api/v1/streams/{id}/relays", operation_id = "add_stream_relay", params(("id" = DeviceId, Path)), request_body = StreamRelayWish, responses(
    (status = 201, description = "It is set", body = StreamRelay),
    (status = 404, description = "`NOT_FOUND`"),
    (status = 409, description = "`EXISTS` or `TOO_MANY_RELAYS`"),
))]
pub(super) async fn add_to_stream(
    State(relays): State<Arc<Relays>>,
    Extension(person): Extension<Person>,
    Id(id): Id,
    Body(StreamRelayWish { name, url }): Body<StreamRelayWish>,
) -> ApiResult<(StatusCode, Json<StreamRelay>)> {
    let row = relays.add(&person.actor(), Scope::Device(device_id(&id)?), &name, url).await?;
    Ok((StatusCode::CREATED, Json(StreamRelay::idle(&row))))
}

/// A relay that was removed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct RemovedRelay {
    name: String,
    /// Always true.
    removed: bool,
}

/// Ends a relay of a device's stream that was set here, within three seconds.
#[utoipa::path(delete, path = "/api/v1/streams/{id}/relays/{name}", operation_id = "remove_stream_relay", params(("id" = DeviceId, Path), ("name" = String, Path)), responses(
    (status = 200, description = "It is removed", body = RemovedRelay),
    (status = 404, description = "`NOT_FOUND`"),
))]
pub(super) async fn remove_from_stream(
    State(relays): State<Arc<Relays>>,
    Extension(person): Extension<Person>,
    IdAndName(id, name): IdAndName,
) -> ApiResult<Json<RemovedRelay>> {
    relays.remove(&person.actor(), Some(&device_id(&id)?), &name).await?;
    Ok(Json(RemovedRelay { name, removed: true }))
}

/// A relay of streams by a pattern.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct PatternRelay {
    name: String,
    /// A publishing name or a device's id, or a pattern with `*`.
    streams: String,
    /// Where they go, without the key; `rtmp://host:port/app/***`.
    target: String,
    /// When it was set, seconds since 1970.
    created_at: i64,
}

impl From<RelayRow> for PatternRelay {
    fn from(row: RelayRow) -> Self {
        Self { target: target(&row.rule), name: row.rule.name, streams: row.rule.streams, created_at: row.created_at }
    }
}

/// Relays of streams by a pattern. How each is stands with its streams.
#[utoipa::path(get, path = "/api/v1/relays", operation_id = "list_relays", params(PageQuery), responses((status = 200, description = "A page", body = Page<PatternRelay>)))]
pub(super) async fn list(State(relays): State<Arc<Relays>>, query: PageQuery) -> ApiResult<Json<Page<PatternRelay>>> {
    let rows = relays.list(None).await?.into_iter();
    Ok(Json(page_by_name(rows.map(|row| (row.rule.name.clone(), row.into())), &query)))
}

/// A relay to be set by a pattern.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PatternRelayWish {
    /// Names it, for people and to remove it: 1 to 64 bytes without a slash.
    name: String,
    /// A publishing name or a device's id, or a pattern with `*`: 1 to 128 bytes.
    streams: String,
    /// Where to: `rtmp(s)://host[:port]/application`: each stream goes on under its own name. With a key behind it for one stream alone.
    url: String,
}

/// Sends streams on to another server, whenever they are live.
#[utoipa::path(post, path = "/api/v1/relays", operation_id = "add_relay", request_body = PatternRelayWish, responses(
    (status = 201, description = "It is set", body = PatternRelay),
    (status = 409, description = "`EXISTS` or `TOO_MANY_RELAYS`"),
))]
pub(super) async fn add(
    State(relays): State<Arc<Relays>>,
    Extension(person): Extension<Person>,
    Body(PatternRelayWish { name, streams, url }): Body<PatternRelayWish>,
) -> ApiResult<(StatusCode, Json<PatternRelay>)> {
    let row = relays.add(&person.actor(), Scope::Pattern(streams), &name, url).await?;
    Ok((StatusCode::CREATED, Json(row.into())))
}

/// Ends a relay by a pattern, within three seconds.
#[utoipa::path(delete, path = "/api/v1/relays/{name}", operation_id = "remove_relay", params(("name" = String, Path)), responses(
    (status = 200, description = "It is removed", body = RemovedRelay),
    (status = 404, description = "`NOT_FOUND`"),
))]
pub(super) async fn remove(
    State(relays): State<Arc<Relays>>,
    Extension(person): Extension<Person>,
    Id(name): Id,
) -> ApiResult<Json<RemovedRelay>> {
    relays.remove(&person.actor(), None, &name).await?;
    Ok(Json(RemovedRelay { name, removed: true }))
}
