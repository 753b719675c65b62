//! `/live/…` of an origin in another process.

use super::error::ApiError;
use crate::{devices::on_demand::OnDemand, servers::inventory::Inventory};
use axum::{
    http::{HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};

/// Redirects to the origin that has the stream, or where an on-demand camera is waited for. `rest` is what follows `/live/`.
pub(super) async fn redirect_to_origin(inventory: &Inventory, on_demand: &OnDemand, rest: &str, uri: &Uri) -> Response {
    let playback = rest.split(['.', '/']).next().unwrap_or_default();
    let live = inventory.live_streams().into_values().find(|live| live.stream.playback == playback);
    let http_url = match live {
        Some(live) => Some(live.http_url),
        // The origin checks the right to watch, and asks for the start.
        None => match on_demand.waiting_place(playback).await {
            Ok(place) => place,
            Err(error) => return ApiError::from(error).into_response(),
        },
    };
    let Some(http_url) = http_url.filter(|url| !url.is_empty()) else {
        return ApiError::not_found(format_args!("live stream {playback}")).into_response();
    };
    let target = format!("{}{}", http_url.trim_end_matches('/'), uri.path_and_query().map_or("", |path| path.as_str()));
    match HeaderValue::from_str(&target) {
        Ok(target) => (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, target)]).into_response(),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}
