//! `/api/v1/coverage`: when something was recorded of many cameras, where time is missing, and why.

use super::{
    devices::{device_id, known, seen},
    error::{ApiError, ApiResult},
    page::page_items,
    person::Person,
    recordings::Unreachable,
};
use crate::{
    clock::Clock,
    events::kind::{Event, EventKind},
    people::names::Role,
    playback::{Limits, Playback},
    servers::inventory::{Inventory, ServerView},
    store::{Store, devices::DeviceRow},
};
use axum::{
    Extension, Json,
    body::Bytes,
    extract::{Query, State, rejection::QueryRejection},
};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use sightline_endpoint::{Client, EndpointUrl};
use sightline_signal::report::{CoverageAnswer, CoverageQuestion};
use std::{sync::Arc, time::Duration};

/// An origin that has not answered by then is named as one that could not be asked. It may have to look at each file of a day once.
const ORIGIN_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer of an origin: a thousand devices, each with a hundred spans of 30 bytes, and room.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// The rights to ask are used at once.
const TOKEN_TTL_SEC: u32 = 30;
/// A day without a `from`.
const RANGE_MS: i64 = 86_400_000;
/// A month.
const RANGE_MS_MAX: i64 = 31 * RANGE_MS;
/// Less than this is no gap that anybody would miss.
const GAP_MS: i64 = 1_000;
/// What was captured a moment ago is not on the disk yet: a fragment of two seconds, and a key frame's distance.
const UNWRITTEN_MS: i64 = 8_000;
/// A cause may be told a little before the last picture's end.
const BEFORE_SEC: i64 = 10;
/// Events of a device that are looked through for the causes of its gaps.
const EVENTS_MAX: u32 = 1_000;

/// Of when, and of whom.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct CoverageQuery {
    /// From when on, milliseconds since 1970; without it, a day before `to`.
    from: Option<i64>,
    /// Up to when; without it, until now. At most 31 days after `from`.
    to: Option<i64>,
    /// One device alone.
    device: Option<String>,
    /// Devices of the page: 100 without it, 1,000 at most.
    #[param(minimum = 0)]
    limit: Option<i64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// A time of which there are recordings.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Covered {
    /// Milliseconds since 1970.
    from: i64,
    /// Milliseconds since 1970.
    to: i64,
    /// Where they are.
    server: String,
}

/// A time of which there are none.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Missing {
    /// Milliseconds since 1970.
    from: i64,
    /// Milliseconds since 1970.
    to: i64,
    reason: Cause,
    /// What was said about it; empty: nothing.
    message: String,
}

/// Why nothing was recorded, as far as events tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Cause {
    /// The server could not write.
    RecordingFailed,
    /// The server ended the stream, which sent more than it may.
    StreamLimited,
    /// The camera had no connection.
    CameraOffline,
    /// The camera was there and did not stream: nobody watched, nothing moved, or it was told to stop.
    NotStreaming,
    /// No event tells: they are kept for a while only.
    Unknown,
}

/// A camera's time.
#[derive(Clone, PartialEq, Debug, Serialize, utoipa::ToSchema)]
pub(super) struct DeviceCoverage {
    device: String,
    /// In order; those of several servers may overlap.
    spans: Vec<Covered>,
    /// What no server has, since the device was let in.
    gaps: Vec<Missing>,
    /// Hundredths of the time since then of which there are recordings.
    percent: f64,
}

/// A page, by device.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Coverage {
    /// The range that was looked at, milliseconds since 1970.
    from: i64,
    to: i64,
    items: Vec<DeviceCoverage>,
    /// The `cursor` of the next page.
    next: Option<String>,
    /// Servers that could not be asked: they may have more.
    unreachable: Vec<Unreachable>,
}

/// When something was recorded of each camera, where time is missing, and why: a day of a fleet in one call.
#[utoipa::path(get, path = "/api/v1/coverage", operation_id = "coverage", params(CoverageQuery), responses(
    (status = 200, description = "A page", body = Coverage),
    (status = 404, description = "`NOT_FOUND`: there is no such device"),
))]
pub(super) async fn coverage(
    State(store): State<Store>,
    State(inventory): State<Arc<Inventory>>,
    State(playback): State<Arc<Playback>>,
    State(client): State<Client>,
    State(clock): State<Clock>,
    Extension(person): Extension<Person>,
    query: Result<Query<CoverageQuery>, QueryRejection>,
) -> ApiResult<Json<Coverage>> {
    let Query(query) = query?;
    let limit = page_items(query.limit)?;
    let now = clock.unix_millis();
    let (from, to) = range(&query, now)?;
    let mut devices = match &query.device {
        Some(device) => {
            person.check_device(&store, Role::Viewer, &device_id(device)?).await?;
            vec![known(&store, device).await?]
        }
        None => seen(&store, &person, query.cursor.as_deref().unwrap_or_default(), limit).await?,
    };
    let is_full = query.device.is_none() && devices.len() == usize::try_from(limit).unwrap_or(usize::MAX);
    let next = devices.last().filter(|_| is_full).map(|last| last.id.to_string());
    devices.retain(|device| device.revoked_at.is_none());
    let (found, unreachable) = ask_all(&inventory, &playback, &client, &devices, (from, to)).await?;
    let mut items = Vec::new();
    for device in devices {
        items.push(of_device(&store, &device, &found, (from, to), now).await?);
    }
    Ok(Json(Coverage { from, to, items, next, unreachable }))
}

fn range(query: &CoverageQuery, now: i64) -> ApiResult<(i64, i64)> {
    let to = query.to.unwrap_or(now);
    let from = query.from.unwrap_or(to.saturating_sub(RANGE_MS));
    if from < 0 || from >= to || to.saturating_sub(from) > RANGE_MS_MAX {
        return Err(ApiError::bad_request("from and to are milliseconds since 1970, from before to, and at most 31 days apart"));
    }
    Ok((from, to))
}

/// What each origin has, by its id.
type Found = Vec<(String, CoverageAnswer)>;

async fn ask_all(
    inventory: &Inventory,
    playback: &Playback,
    client: &Client,
    devices: &[DeviceRow],
    (from, to): (i64, i64),
) -> ApiResult<(Found, Vec<Unreachable>)> {
    let right = Limits { ways: vec!["vod".to_owned()], ..Limits::default() };
    let mut asked = Vec::with_capacity(devices.len());
    for device in devices {
        let token = playback.token(&device.id, Some(TOKEN_TTL_SEC), &right).await?;
        asked.push((device.id.to_string(), token.reveal().to_owned()));
    }
    let question =
        serde_json::to_vec(&CoverageQuestion { from, to, devices: asked }).map_err(|error| ApiError::bad_request(error.to_string()))?;
    let question = Bytes::from(question);
    let servers = inventory.servers().into_iter();
    let origins: Vec<_> = servers.filter(|server| server.kind == "origin" && !server.http_url.is_empty()).collect();
    let answers = join_all(origins.iter().map(|origin| ask(client, origin, question.clone()))).await;
    let (mut found, mut unreachable) = (Vec::new(), Vec::new());
    for (origin, answer) in origins.into_iter().zip(answers) {
        match answer {
            Ok(answer) => found.push((origin.id, answer)),
            Err(reason) => unreachable.push(Unreachable { server: origin.id, reason }),
        }
    }
    Ok((found, unreachable))
}

async fn ask(client: &Client, origin: &ServerView, question: Bytes) -> Result<CoverageAnswer, String> {
    if !origin.alive {
        return Err("it does not report".to_owned());
    }
    let url = EndpointUrl::from(format!("{}/vod/coverage", origin.http_url.trim_end_matches('/')).as_str());
    match tokio::time::timeout(ORIGIN_TIMEOUT, client.post(&url, question, ANSWER_BYTES_MAX)).await {
        Ok(Ok((200, body))) => serde_json::from_slice(&body).map_err(|_| "its answer is no coverage".to_owned()),
        Ok(Ok((404 | 405, _))) => Err("it is an older version, which can't be asked for many cameras at once".to_owned()),
        Ok(Ok((status, _))) => Err(format!("it answers {status}")),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", ORIGIN_TIMEOUT.as_secs())),
    }
}

async fn of_device(store: &Store, device: &DeviceRow, found: &Found, (from, to): (i64, i64), now: i64) -> ApiResult<DeviceCoverage> {
    let to = to.min(now);
    let mut spans: Vec<Covered> = Vec::new();
    for (server, answer) in found {
        let of = answer.devices.get(device.id.as_str()).into_iter().flatten();
        spans.extend(of.map(|&(from, to)| Covered { from, to, server: server.clone() }));
    }
    spans.sort_by_key(|span| (span.from, span.to));
    // What was recorded before a device was let in again was its, too.
    let since = from.max(device.created_at.saturating_mul(1000)).min(spans.first().map_or(i64::MAX, |first| first.from.max(from)));
    let mut holes = holes(spans.iter().map(|span| (span.from, span.to)), (since, to));
    holes.pop_if(|(from, to)| *to == now && *from > now - UNWRITTEN_MS);
    let gaps = match holes.first() {
        None => Vec::new(),
        Some((first, _)) => {
            let events = store.events_of(&device.id, (first / 1000 - BEFORE_SEC, to / 1000), EVENTS_MAX).await?;
            holes.iter().map(|&hole| missing(hole, &events)).collect()
        }
    };
    let missing_ms: i64 = holes.iter().map(|(from, to)| to - from).sum();
    let all_ms = to.saturating_sub(since).max(1);
    let percent = (1000.0 * (all_ms - missing_ms).max(0) as f64 / all_ms as f64).round() / 10.0;
    Ok(DeviceCoverage { device: device.id.to_string(), spans, gaps, percent })
}

/// What of a range none of the spans has; they are in the order of their beginnings.
fn holes(spans: impl Iterator<Item = (i64, i64)>, (from, to): (i64, i64)) -> Vec<(i64, i64)> {
    let mut found = Vec::new();
    let mut end = from;
    for (began, ended) in spans.chain([(to, to)]) {
        if began.min(to) - end > GAP_MS {
            found.push((end, began.min(to)));
        }
        end = end.max(ended);
    }
    found
}

/// What events tell about a gap.
const CAUSES: [(EventKind, Cause); 4] = [
    (EventKind::RecordingFailed, Cause::RecordingFailed),
    (EventKind::StreamLimited, Cause::StreamLimited),
    (EventKind::DeviceOffline, Cause::CameraOffline),
    (EventKind::StreamStopped, Cause::NotStreaming),
];

/// The gravest cause that an event names, from shortly before the gap to its end.
fn missing((from, to): (i64, i64), events: &[Event]) -> Missing {
    let within = (from / 1000 - BEFORE_SEC)..=(to / 1000);
    let mut found: Option<(Cause, &Event)> = None;
    for event in events.iter().filter(|event| within.contains(&event.time)) {
        let Some(&(_, cause)) = CAUSES.iter().find(|(kind, _)| *kind == event.event) else { continue };
        if found.is_none_or(|(known, _)| (cause as u8) < (known as u8)) {
            found = Some((cause, event));
        }
    }
    let message = found.and_then(|(_, event)| event.detail.get("message")?.as_str()).unwrap_or_default().to_owned();
    Missing { from, to, reason: found.map_or(Cause::Unknown, |(cause, _)| cause), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_span_has_is_missing_at_both_ends_and_between() {
        let of = |spans: &[(i64, i64)]| holes(spans.iter().copied(), (10_000, 100_000));
        assert_eq!(of(&[]), [(10_000, 100_000)]);
        assert_eq!(of(&[(0, 20_000), (15_000, 30_000), (30_500, 60_000), (70_000, 200_000)]), [(60_000, 70_000)]);
        assert_eq!(of(&[(20_000, 30_000)]), [(10_000, 20_000), (30_000, 100_000)]);
        assert_eq!(of(&[(20_000, 99_500)]), [(10_000, 20_000)], "less than a second");
        assert_eq!(of(&[(200_000, 300_000)]), [(10_000, 100_000)]);
    }

    #[test]
    fn the_gravest_cause_that_an_event_names_counts() {
        let event = |time, event, message: &str| Event {
            seq: 1,
            time,
            device: "cam-1".to_owned(),
            event,
            detail: serde_json::json!({ "message": message }),
        };
        let events = [
            event(15, EventKind::StreamStopped, ""),
            event(40, EventKind::DeviceOffline, ""),
            event(100, EventKind::RecordingFailed, "no space left on device"),
        ];
        let cause = |from, to| missing((from, to), &events).reason;
        assert_eq!(cause(20_000, 30_000), Cause::NotStreaming);
        assert_eq!(cause(20_000, 60_000), Cause::CameraOffline);
        assert_eq!(cause(60_000, 90_000), Cause::Unknown);
        let full = missing((30_000, 120_000), &events);
        assert_eq!((full.reason, full.message.as_str()), (Cause::RecordingFailed, "no space left on device"));
    }
}
