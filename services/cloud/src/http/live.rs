//! `/live/…` of an origin in another process.

use super::error::ApiError;
use crate::servers::inventory::Inventory;
use axum::{
    http::{HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};

/// Redirects to the origin that has the stream. `rest` is what follows `/live/`.
pub(super) fn redirect_to_origin(inventory: &Inventory, rest: &str, uri: &Uri) -> Response {
    let playback = rest.split(['.', '/']).next().unwrap_or_default();
    let live = inventory.live_streams().into_values().find(|live| live.stream.playback == playback);
    let Some(live) = live.filter(|live| !live.http_url.is_empty()) else {
        return ApiError::not_found(format_args!("live stream {playback}")).into_response();
    };
    let target = format!("{}{}", live.http_url.trim_end_matches('/'), uri.path_and_query().map_or("", |path| path.as_str()));
    match HeaderValue::from_str(&target) {
        Ok(target) => (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, target)]).into_response(),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}
