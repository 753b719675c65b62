//! `/api/v1/events`, as a list and as they happen: to each those of the devices that they see, and to whoever sees all, the installation's.

use super::{
    error::ApiResult,
    page::{NewestQuery, Page},
    person::{Person, Sight},
};
use crate::{
    clock::Clock,
    events::{kind::Event, log::EventLog},
    identity::operators::Operators,
    people::{
        names::{GroupPath, Role},
        sessions::Sessions,
    },
    store::{Store, error::StoreError},
};
use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderName, header},
    response::{
        IntoResponse,
        sse::{self, KeepAlive, Sse},
    },
};
use futures_util::StreamExt as _;
use std::{
    collections::HashMap,
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::broadcast::{Receiver, error::RecvError};

/// Events that are read at a time where only some are seen.
const EVENTS_PER_READ: u32 = 1000;
/// How long someone who follows events keeps rights that were taken meanwhile.
const RIGHTS_KEPT: Duration = Duration::from_secs(1);

/// Recent events, newest first.
#[utoipa::path(get, path = "/api/v1/events", operation_id = "list_events", params(NewestQuery), responses((status = 200, description = "A page", body = Page<Event>)))]
pub(super) async fn list(
    State(events): State<Arc<EventLog>>,
    State(store): State<Store>,
    Extension(person): Extension<Person>,
    query: NewestQuery,
) -> ApiResult<Json<Page<Event>>> {
    let limit = query.limit();
    let before = query.before().and_then(|before| u64::try_from(before).ok());
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let items = match person.sight(&store, Role::Viewer).await? {
        Sight::All => events.events(before, query.device.as_deref(), limit).await?,
        sight @ Sight::These(_) => seen(&events, &sight, before, query.device.as_deref(), most).await?,
    };
    let is_full = items.len() == most;
    let next = items.last().filter(|_| is_full).map(|event| event.seq.to_string());
    Ok(Json(Page { items, next }))
}

/// The newest events of devices in sight.
async fn seen(
    events: &EventLog,
    sight: &Sight,
    mut before: Option<u64>,
    device: Option<&str>,
    most: usize,
) -> Result<Vec<Event>, StoreError> {
    let mut items = Vec::new();
    while items.len() < most {
        let read = events.events(before, device, EVENTS_PER_READ).await?;
        let Some(last) = read.last() else { break };
        before = Some(last.seq);
        items.extend(read.into_iter().filter(|event| event.of_device().is_some_and(|device| sight.has(device))));
    }
    items.truncate(most);
    Ok(items)
}

/// Someone who follows events.
struct Follower {
    events: Receiver<Event>,
    person: Person,
    sessions: Arc<Sessions>,
    store: Store,
    operators: Operators,
    clock: Clock,
    looked_at: Instant,
    /// The groups of devices that were looked up since: a device may tell of itself many times a second.
    groups: HashMap<String, Option<GroupPath>>,
}

impl Follower {
    /// The next one that they see; `None`: they may follow no more, or there is none any more.
    async fn next(&mut self) -> Option<sse::Event> {
        loop {
            match self.events.recv().await {
                Ok(event) => {
                    if !self.is_still_here().await.ok()? {
                        return None;
                    }
                    if self.sees(&event).await.ok()? {
                        return Some(sse::Event::default().event("status").json_data(&event).unwrap_or_default());
                    }
                }
                Err(RecvError::Lagged(missed)) => return Some(sse::Event::default().event("missed").data(missed.to_string())),
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Whether their session lasts; and what they may do now.
    async fn is_still_here(&mut self) -> Result<bool, StoreError> {
        let now = self.clock.now();
        if now.saturating_duration_since(self.looked_at) < RIGHTS_KEPT {
            return Ok(true);
        }
        self.looked_at = now;
        self.groups.clear();
        let Some(known) = self.person.known() else {
            // Who needed to show nothing does so from the first user on.
            return Ok(!self.person.is_here() || self.operators.stays_open_here() || !self.store.has_users().await?);
        };
        let Some(known) = self.sessions.of_pass(known.pass.clone()).await? else { return Ok(false) };
        self.person = Person::user(known, self.person.from());
        Ok(true)
    }

    async fn sees(&mut self, event: &Event) -> Result<bool, StoreError> {
        if self.person.rights().sees_all() {
            return Ok(true);
        }
        let Some(device) = event.of_device() else { return Ok(false) };
        if !self.groups.contains_key(device) {
            self.groups.insert(device.to_owned(), self.store.group_of(device).await?);
        }
        let group = self.groups.get(device).and_then(Option::as_ref);
        Ok(group.is_some_and(|group| self.person.rights().sees(group)))
    }
}

/// Events as they happen.
///
/// Server-sent events: each one named `status`, its data an event as in the list. A listener that is too slow gets `missed`.
#[utoipa::path(get, path = "/api/v1/events/stream", operation_id = "follow_events", responses((status = 200, description = "Without an end", body = String, content_type = "text/event-stream")))]
pub(super) async fn stream(
    State(events): State<Arc<EventLog>>,
    State(sessions): State<Arc<Sessions>>,
    State(store): State<Store>,
    State(operators): State<Operators>,
    State(clock): State<Clock>,
    Extension(person): Extension<Person>,
) -> impl IntoResponse {
    let looked_at = clock.now();
    let follower = Follower { events: events.subscribe(), person, sessions, store, operators, clock, looked_at, groups: HashMap::new() };
    let stream = futures_util::stream::unfold(follower, async |mut follower| Some((follower.next().await?, follower)));
    // nginx holds events back until it has a buffer full of them, unless it is told not to.
    (
        [(HeaderName::from_static("x-accel-buffering"), "no"), (header::CACHE_CONTROL, "no-store")],
        Sse::new(stream.map(Ok::<_, Infallible>)).keep_alive(KeepAlive::default()),
    )
}
