//! `/api/v1/playback-keys` and `/api/v1/streams/{device}/playback`: who may watch.

use super::{
    devices::device_id,
    error::{ApiError, ApiResult},
    extract::{Body, Id},
    page::{Page, PageQuery, page_by_name},
    person::Person,
};
use crate::{
    clock::Clock,
    people::names::Role,
    playback::{self, AddedKey, Limits, ListedKey, NewKey, Playback, PlaybackError, PlaybackToken},
    store::Store,
};
use axum::{Extension, Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use sightline_signal::DeviceId;
use std::sync::Arc;

impl From<PlaybackError> for ApiError {
    fn from(error: PlaybackError) -> Self {
        match error {
            PlaybackError::Bad(problem) => Self::bad_request(problem),
            PlaybackError::DeviceUnknown(_) | PlaybackError::KeyUnknown(_) => {
                Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", error.to_string())
            }
            PlaybackError::TooMany => Self::new(StatusCode::CONFLICT, "TOO_MANY_KEYS", error.to_string()),
            PlaybackError::Store(error) => error.into(),
            PlaybackError::Crypto(_) | PlaybackError::Keys(_) => Self::internal(&error),
        }
    }
}

/// As much of an id is said again.
const KEY_ID_CHARS_MAX: usize = 64;

/// A way of playing, as the description has it; `playback::WAYS` are checked.
#[derive(utoipa::ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "it is the schema of a text")]
enum Way {
    Rtmp,
    Flv,
    Hls,
    Whep,
    Snapshot,
    Frames,
    Vod,
}

/// A right to begin to watch.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenWish {
    /// How long it is good, in seconds: 1 to 3600, 300 without it.
    #[schema(minimum = 1, maximum = 3600)]
    ttl_sec: Option<u32>,
    /// See `Limits`.
    #[serde(default)]
    address: String,
    /// See `Limits`.
    #[serde(default)]
    #[schema(value_type = Vec<Way>, max_items = 7)]
    ways: Vec<String>,
    /// See `Limits`.
    #[serde(default)]
    viewers_max: u32,
}

/// A short token to watch a device's stream.
///
/// Origins check it without asking anyone, so it can't be taken back: it ends by itself. A connection that has begun stays.
#[utoipa::path(post, path = "/api/v1/streams/{id}/playback", operation_id = "sign_playback_token", params(("id" = DeviceId, Path)), request_body = TokenWish, responses(
    (status = 200, description = "The token", body = PlaybackToken),
    (status = 404, description = "`NOT_FOUND`"),
))]
pub(super) async fn token(
    State(playback): State<Arc<Playback>>,
    Id(id): Id,
    Body(wish): Body<TokenWish>,
) -> ApiResult<Json<PlaybackToken>> {
    let TokenWish { ttl_sec, address, ways, viewers_max } = wish;
    Ok(Json(playback.token(&device_id(&id)?, ttl_sec, &Limits { address, ways, viewers_max }).await?))
}

/// A playback key to be made.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyWish {
    /// Whose stream it plays.
    #[schema(value_type = DeviceId)]
    device: String,
    /// What it is for, for people: 1 to 64 characters.
    #[schema(min_length = 1, max_length = 64, pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$")]
    name: String,
    /// How long it is good, in seconds: a link that is shared. Null: until it is taken back.
    #[schema(minimum = 1)]
    ttl_sec: Option<u64>,
    /// See `Limits`.
    #[serde(default)]
    address: String,
    /// See `Limits`.
    #[serde(default)]
    #[schema(value_type = Vec<Way>, max_items = 7)]
    ways: Vec<String>,
    /// See `Limits`.
    #[serde(default)]
    viewers_max: u32,
}

/// Makes a named key that plays one stream until it ends or is taken back.
///
/// Its secret is in this answer alone.
#[utoipa::path(post, path = "/api/v1/playback-keys", operation_id = "add_playback_key", request_body = KeyWish, responses(
    (status = 201, description = "The key", body = AddedKey),
    (status = 404, description = "`NOT_FOUND`"),
    (status = 409, description = "`TOO_MANY_KEYS`"),
))]
pub(super) async fn add(
    State(store): State<Store>,
    State(clock): State<Clock>,
    Extension(person): Extension<Person>,
    Body(wish): Body<KeyWish>,
) -> ApiResult<(StatusCode, Json<AddedKey>)> {
    let KeyWish { device, name, ttl_sec, address, ways, viewers_max } = wish;
    let device = device_id(&device)?;
    person.check_device(&store, Role::Operator, &device).await?;
    let new = NewKey { device, name, ttl_sec, limits: Limits { address, ways, viewers_max } };
    Ok((StatusCode::CREATED, Json(playback::add_key(&store, &clock, &person.actor(), new).await?)))
}

/// All playback keys with their last use, without their secrets: of devices that one may make some for.
#[utoipa::path(get, path = "/api/v1/playback-keys", operation_id = "list_playback_keys", params(PageQuery), responses((status = 200, description = "A page", body = Page<ListedKey>)))]
pub(super) async fn list(
    State(store): State<Store>,
    Extension(person): Extension<Person>,
    query: PageQuery,
) -> ApiResult<Json<Page<ListedKey>>> {
    let sight = person.sight(&store, Role::Operator).await?;
    let keys = playback::list_keys(&store).await?.into_iter().filter(|key| sight.has(key.device.as_str()));
    Ok(Json(page_by_name(keys.map(|key| (key.id.clone(), key)), &query)))
}

/// A playback key that was taken back.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct RemovedKey {
    id: String,
    /// Always true.
    removed: bool,
}

/// Takes a playback key back: whoever watches with it is cut off within ten seconds.
#[utoipa::path(delete, path = "/api/v1/playback-keys/{id}", operation_id = "remove_playback_key", params(("id" = String, Path)), responses(
    (status = 200, description = "It is taken back", body = RemovedKey),
    (status = 404, description = "`NOT_FOUND`"),
))]
pub(super) async fn remove(State(store): State<Store>, Extension(person): Extension<Person>, Id(id): Id) -> ApiResult<Json<RemovedKey>> {
    if !person.rights().is_admin_of_all() {
        let missing = || ApiError::from(PlaybackError::KeyUnknown(id.chars().take(KEY_ID_CHARS_MAX).collect()));
        let key = store.playback_keys().await?.into_iter().find(|key| key.id == id).ok_or_else(missing)?;
        // Of a device that is gone, its key is the installation's.
        let group = store.group_of(key.device.as_str()).await?.unwrap_or_default();
        person.check(Role::Operator, &group, missing)?;
    }
    playback::remove_key(&store, &person.actor(), &id).await?;
    Ok(Json(RemovedKey { id, removed: true }))
}
