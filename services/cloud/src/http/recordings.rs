//! `/api/v1/recordings`: what origins have recorded. They are asked each time: what they have on their disks is the truth, and the cloud keeps no copy of it.

use super::{
    devices::{device_id, known, seen},
    error::{ApiError, ApiResult},
    page::page_items,
    person::Person,
};
use crate::{
    people::names::Role,
    playback::{Limits, Playback},
    servers::inventory::{Inventory, ServerView},
    store::Store,
};
use axum::{
    Extension, Json,
    extract::{Query, State, rejection::QueryRejection},
};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use sightline_endpoint::{Client, EndpointUrl};
use sightline_signal::{
    DeviceId,
    report::{RecordedFile, RecordedList, UnreadableFile},
};
use std::{sync::Arc, time::Duration};

/// An origin that has not answered by then is named as one that could not be asked.
const ORIGIN_TIMEOUT: Duration = Duration::from_secs(3);
/// The longest list of an origin: a thousand files with 250 bytes each.
const LIST_BYTES_MAX: usize = 1 << 20;
/// The right to ask is used at once.
const TOKEN_TTL_SEC: u32 = 30;

/// Without a name as many devices are looked at: each is a question to each origin.
const DEVICES_MAX: u32 = 64;

/// Which recordings.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct RecordingsQuery {
    /// Whose; without it those of all, where there are not more than 64 devices.
    device: Option<String>,
    /// From when on, milliseconds since 1970. A file that began before and lasts until then is among them.
    from: Option<i64>,
    /// Up to when; that moment itself is not among them.
    to: Option<i64>,
    /// Items of the page: 100 without it, 1,000 at most.
    #[param(minimum = 0)]
    limit: Option<i64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// A recorded file. `/vod/{device}/{name}` of its server gives it; any range is at `/vod/{device}/{from}-{to}.m3u8` and `.mp4`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Recording {
    device: String,
    /// Where it is.
    server: String,
    #[serde(flatten)]
    file: RecordedFile,
}

/// A server that could not be asked: it may have more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Unreachable {
    pub(super) server: String,
    pub(super) reason: String,
}

/// A recorded file with something that can't be read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
pub(super) struct UnreadableRecording {
    device: String,
    server: String,
    #[serde(flatten)]
    file: UnreadableFile,
}

/// A page of recordings, oldest first.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Recordings {
    items: Vec<Recording>,
    /// The `cursor` of the next page.
    next: Option<String>,
    /// Servers that could not be asked.
    unreachable: Vec<Unreachable>,
    /// Files of the range that can't be read, or not wholly.
    unreadable: Vec<UnreadableRecording>,
}

/// What was recorded of a device, on all origins, oldest first.
#[utoipa::path(get, path = "/api/v1/recordings", operation_id = "list_recordings", params(RecordingsQuery), responses(
    (status = 200, description = "A page", body = Recordings),
    (status = 404, description = "`NOT_FOUND`: there is no such device"),
))]
pub(super) async fn list(
    State(store): State<Store>,
    State(inventory): State<Arc<Inventory>>,
    State(playback): State<Arc<Playback>>,
    State(client): State<Client>,
    Extension(person): Extension<Person>,
    query: Result<Query<RecordingsQuery>, QueryRejection>,
) -> ApiResult<Json<Recordings>> {
    let Query(query) = query?;
    let limit = usize::try_from(page_items(query.limit)?).unwrap_or(usize::MAX);
    let (since, skipped) = query.cursor.as_deref().map_or(Ok((i64::MIN, 0)), read_cursor)?;
    let (from, to) = (query.from.unwrap_or(0).max(0), query.to);
    if to.is_some_and(|to| to <= from) {
        return Err(ApiError::bad_request("to comes before from: the range is empty"));
    }
    let to = to.map_or_else(String::new, |to| format!("&to={to}"));
    // One more than fits tells whether there is another page.
    let range = format!("from={}{to}&limit={}", from.max(since), (limit + skipped + 1).min(1_000));
    let origins = inventory.servers().into_iter().filter(|server| server.kind == "origin" && !server.http_url.is_empty());
    let origins: Vec<_> = origins.collect();
    let (mut items, mut unreachable, mut unreadable) = (Vec::new(), Vec::<Unreachable>::new(), Vec::new());
    for device in devices(&store, &person, query.device.as_deref()).await? {
        let right = Limits { ways: vec!["vod".to_owned()], ..Limits::default() };
        let token = playback.token(&device, Some(TOKEN_TTL_SEC), &right).await?;
        let question = format!("/vod/{device}/list?{range}&token={}", token.reveal());
        let asked = join_all(origins.iter().map(|origin| ask(&client, origin, &question))).await;
        for (origin, answer) in origins.iter().zip(asked) {
            match answer {
                Ok(list) => {
                    let of = || (device.as_str().to_owned(), origin.id.clone());
                    let files = list.files.into_iter().filter(|file| file.from >= since);
                    items.extend(files.map(|file| (of(), file)).map(|((device, server), file)| Recording { device, server, file }));
                    let problems = list.unreadable.into_iter().map(|file| (of(), file));
                    unreadable.extend(problems.map(|((device, server), file)| UnreadableRecording { device, server, file }));
                }
                Err(reason) if unreachable.iter().all(|known| known.server != origin.id) => {
                    unreachable.push(Unreachable { server: origin.id.clone(), reason });
                }
                Err(_) => {}
            }
        }
    }
    items.sort_by(|a, b| (a.file.from, &a.server, &a.file.name).cmp(&(b.file.from, &b.server, &b.file.name)));
    items.drain(..skipped.min(items.len()));
    let next = items.get(limit).map(|first| {
        let given = items[..limit].iter().filter(|item| item.file.from == first.file.from).count();
        format!("{}.{}", first.file.from, given + if first.file.from == since { skipped } else { 0 })
    });
    items.truncate(limit);
    Ok(Json(Recordings { items, next, unreachable, unreadable }))
}

/// Whose recordings are meant.
async fn devices(store: &Store, person: &Person, named: Option<&str>) -> ApiResult<Vec<DeviceId>> {
    if let Some(named) = named {
        person.check_device(store, Role::Viewer, &device_id(named)?).await?;
        return Ok(vec![known(store, named).await?.id]);
    }
    let all = seen(store, person, "", DEVICES_MAX + 1).await?;
    if all.len() > DEVICES_MAX as usize {
        return Err(ApiError::bad_request(format!("device: name one, there are more than {DEVICES_MAX}")));
    }
    Ok(all.into_iter().filter(|device| device.revoked_at.is_none()).map(|device| device.id).collect())
}

/// When the first item of the page begins, and how many of those that begin then came before.
fn read_cursor(cursor: &str) -> ApiResult<(i64, usize)> {
    let parts = cursor.split_once('.').and_then(|(since, skipped)| Some((since.parse().ok()?, skipped.parse().ok()?)));
    parts.filter(|(_, skipped)| *skipped <= 1_000).ok_or_else(|| ApiError::bad_request("cursor is `next` of the page before"))
}

async fn ask(client: &Client, origin: &ServerView, question: &str) -> Result<RecordedList, String> {
    if !origin.alive {
        return Err("it does not report".to_owned());
    }
    let url = EndpointUrl::from(format!("{}{question}", origin.http_url.trim_end_matches('/')).as_str());
    match tokio::time::timeout(ORIGIN_TIMEOUT, client.fetch(&url, LIST_BYTES_MAX)).await {
        Ok(Ok((200, body))) => serde_json::from_slice(&body).map_err(|_| "its answer is no list".to_owned()),
        // It has nothing of this device.
        Ok(Ok((404, _))) => Ok(RecordedList::default()),
        Ok(Ok((status, _))) => Err(format!("it answers {status}")),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", ORIGIN_TIMEOUT.as_secs())),
    }
}
