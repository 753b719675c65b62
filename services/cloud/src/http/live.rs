//! `/live/…` of an origin in another process.

use super::error::ApiError;
use crate::{devices::on_demand::OnDemand, servers::inventory::Inventory};
use axum::{
    http::{HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};

/// Redirects to the origin that has the stream, or where an on-demand camera is waited for. `rest` is what follows `/live/`.
pub(super) async fn redirect_to_origin(inventory: &Inventory, on_demand: &OnDemand, rest: &str, uri: &Uri) -> Response {
    if !is_route_of_viewers(rest) {
        return ApiError::not_found(format_args!("page /live/{rest}")).into_response();
    }
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

/// Whether an origin has such a route. Where it is mounted in this process and has it, nobody comes here: a redirect of all else would lead to itself.
fn is_route_of_viewers(rest: &str) -> bool {
    let parts: Vec<&str> = rest.split('/').collect();
    match parts.as_slice() {
        [file] => file.ends_with(".flv"),
        [playback, file] => !playback.is_empty() && !file.is_empty(),
        [playback, "whep", session] => !playback.is_empty() && !session.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_an_origin_has_is_redirected_to_one() {
        for rest in ["p.flv", "p/index.m3u8", "p/ts.m3u8", "p/whep", "p/whep/s", "p/seg-1-2.m4s"] {
            assert!(is_route_of_viewers(rest), "{rest}");
        }
        for rest in ["", "p", "p/", "p/index.m3u8/", "p/../index.m3u8", "p/a/b", "p/whep/", "p//x", "/index.m3u8"] {
            assert!(!is_route_of_viewers(rest), "{rest}");
        }
    }
}
