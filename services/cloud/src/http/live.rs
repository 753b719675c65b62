//! `/live/…` and `/vod/…` of origins in other processes.

use super::error::ApiError;
use crate::{
    devices::on_demand::OnDemand,
    servers::inventory::{Inventory, ServerView},
};
use axum::{
    http::{HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use futures_util::future::join_all;
use sightline_endpoint::{Client, EndpointUrl};
use std::time::Duration;

/// An origin that has not answered by then has nothing.
const ORIGIN_TIMEOUT: Duration = Duration::from_secs(3);
/// The answer about one file.
const LIST_BYTES_MAX: usize = 64 << 10;

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
    redirect(&http_url, uri)
}

/// Redirects to the origin that has recorded what is asked for: those that live are asked, with the right that the viewer shows. `rest` is what follows `/vod/`.
pub(super) async fn redirect_to_recording(inventory: &Inventory, client: &Client, rest: &str, uri: &Uri) -> Response {
    if rest.split('/').filter(|part| !part.is_empty()).count() != 2 {
        return ApiError::not_found(format_args!("page /vod/{rest}")).into_response();
    }
    let servers = inventory.servers().into_iter();
    let mut origins: Vec<_> = servers.filter(|server| server.alive && server.kind == "origin" && !server.http_url.is_empty()).collect();
    let has_it = async |origin: &ServerView| {
        let Some(question) = question(rest, uri.query()) else { return false };
        let url = EndpointUrl::from(format!("{}{question}", origin.http_url.trim_end_matches('/')).as_str());
        let asked = tokio::time::timeout(ORIGIN_TIMEOUT, client.fetch(&url, LIST_BYTES_MAX)).await;
        matches!(asked, Ok(Ok((200, body))) if body.windows(8).any(|bytes| bytes == b"\"name\":\""))
    };
    if origins.len() > 1 {
        let found = join_all(origins.iter().map(has_it)).await;
        // Where none has it, the first one says so, or that a right is needed.
        let place = found.iter().position(|has_it| *has_it).unwrap_or(0);
        origins.swap(0, place);
    }
    match origins.first() {
        Some(origin) => redirect(&origin.http_url, uri),
        None => ApiError::not_found(format_args!("recording {rest}: no origin is there")).into_response(),
    }
}

/// What an origin is asked, to know whether it has something of a range, a moment or a file.
fn question(rest: &str, query: Option<&str>) -> Option<String> {
    let (device, file) = rest.split_once('/')?;
    let stem = file.split_once('.').map_or(file, |(stem, _)| stem);
    let (from, to) = match stem.split_once('-') {
        Some((from, to)) if !stem.contains('T') => (from.parse().ok()?, to.parse().ok()?),
        _ => {
            let at: i64 = stem.parse().ok()?;
            (at, at.checked_add(1)?)
        }
    };
    let shown = query.into_iter().flat_map(|query| query.split('&')).find(|pair| pair.starts_with("token="));
    let shown = shown.map_or_else(String::new, |token| format!("&{token}"));
    Some(format!("/vod/{device}/list?from={from}&to={to}&limit=1{shown}"))
}

fn redirect(http_url: &str, uri: &Uri) -> Response {
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
