//! `/api/v1/events`, as a list and as they happen.

use super::{
    error::ApiResult,
    page::{NewestQuery, Page},
};
use crate::events::{kind::Event, log::EventLog};
use axum::{
    Json,
    extract::State,
    http::{HeaderName, header},
    response::{
        IntoResponse,
        sse::{self, KeepAlive, Sse},
    },
};
use futures_util::StreamExt as _;
use std::{convert::Infallible, sync::Arc};
use tokio::sync::broadcast::error::RecvError;

/// Recent events, newest first.
#[utoipa::path(get, path = "/api/v1/events", operation_id = "list_events", params(NewestQuery), responses((status = 200, description = "A page", body = Page<Event>)))]
pub(super) async fn list(State(events): State<Arc<EventLog>>, query: NewestQuery) -> ApiResult<Json<Page<Event>>> {
    let limit = query.limit();
    let items = events.events(query.before().and_then(|before| u64::try_from(before).ok()), query.device.as_deref(), limit).await?;
    let is_full = items.len() == usize::try_from(limit).unwrap_or(usize::MAX);
    let next = items.last().filter(|_| is_full).map(|event| event.seq.to_string());
    Ok(Json(Page { items, next }))
}

/// Events as they happen.
///
/// Server-sent events: each one named `status`, its data an event as in the list. A listener that is too slow gets `missed`.
#[utoipa::path(get, path = "/api/v1/events/stream", operation_id = "follow_events", responses((status = 200, description = "Without an end", body = String, content_type = "text/event-stream")))]
pub(super) async fn stream(State(events): State<Arc<EventLog>>) -> impl IntoResponse {
    let stream = futures_util::stream::unfold(events.subscribe(), |mut events| async move {
        let event = match events.recv().await {
            Ok(event) => sse::Event::default().event("status").json_data(&event).unwrap_or_default(),
            Err(RecvError::Lagged(missed)) => sse::Event::default().event("missed").data(missed.to_string()),
            Err(RecvError::Closed) => return None,
        };
        Some((event, events))
    });
    // nginx holds events back until it has a buffer full of them, unless it is told not to.
    (
        [(HeaderName::from_static("x-accel-buffering"), "no"), (header::CACHE_CONTROL, "no-store")],
        Sse::new(stream.map(Ok::<_, Infallible>)).keep_alive(KeepAlive::default()),
    )
}
