//! `/api/v1/servers`.

use super::{
    error::{ApiError, ApiResult},
    extract::{Body, Id},
    page::{Page, PageQuery, page_by_name},
    person::Person,
};
use crate::{
    clock::Clock,
    servers::{
        entered::{self, Entered, NewServer, ServerError},
        id::ServerId,
        inventory::{Inventory, ServerView},
    },
    store::Store,
};
use axum::{Extension, Json, body::Bytes, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

impl From<ServerError> for ApiError {
    fn from(error: ServerError) -> Self {
        match error {
            ServerError::Bad(problem) => Self::bad_request(problem),
            ServerError::Unknown(_) => Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", error.to_string()),
            ServerError::Exists(_) => Self::new(StatusCode::CONFLICT, "EXISTS", error.to_string()),
            ServerError::TooMany => Self::new(StatusCode::CONFLICT, "TOO_MANY_SERVERS", error.to_string()),
            ServerError::Store(error) => error.into(),
        }
    }
}

/// Origins, and servers of others.
#[utoipa::path(get, path = "/api/v1/servers", operation_id = "list_servers", params(PageQuery), responses((status = 200, description = "A page", body = Page<ServerView>)))]
pub(super) async fn list(State(inventory): State<Arc<Inventory>>, query: PageQuery) -> Json<Page<ServerView>> {
    Json(page_by_name(inventory.servers().into_iter().map(|server| (server.id.clone(), server)), &query))
}

/// A server that was entered.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct EnteredServer {
    id: String,
    name: String,
    region: String,
    /// Where cameras publish, without user, password and query.
    rtmp_url: String,
    capacity_kbps: u64,
}

/// Enters an RTMP server of others: cameras are sent there from now on.
#[utoipa::path(post, path = "/api/v1/servers", operation_id = "add_server", request_body = NewServer, responses(
    (status = 201, description = "It is entered", body = EnteredServer),
    (status = 409, description = "`EXISTS` or `TOO_MANY_SERVERS`"),
))]
pub(super) async fn add(
    State(store): State<Store>,
    State(clock): State<Clock>,
    State(inventory): State<Arc<Inventory>>,
    State(known): State<Arc<Entered>>,
    Extension(person): Extension<Person>,
    Body(new): Body<NewServer>,
) -> ApiResult<(StatusCode, Json<EnteredServer>)> {
    if inventory.knows(&new.id) {
        return Err(ServerError::Exists(new.id).into());
    }
    let server = entered::add(&store, &clock, &person.actor(), new).await?;
    known.refresh().await?;
    let rtmp_url = format!("{:?}", server.rtmp_url);
    Ok((
        StatusCode::CREATED,
        Json(EnteredServer { id: server.id, name: server.name, region: server.region, rtmp_url, capacity_kbps: server.capacity_kbps }),
    ))
}

/// A server that was removed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct RemovedServer {
    id: String,
    /// Always true.
    removed: bool,
}

/// Removes a server that was entered here. What streams there goes on, and is sent elsewhere when it asks again.
#[utoipa::path(delete, path = "/api/v1/servers/{id}", operation_id = "remove_server", params(("id" = String, Path)), responses(
    (status = 200, description = "It is removed", body = RemovedServer),
    (status = 404, description = "`NOT_FOUND`: there is none, or it is one of the settings, or an origin"),
))]
pub(super) async fn remove(
    State(store): State<Store>,
    State(known): State<Arc<Entered>>,
    Extension(person): Extension<Person>,
    Id(id): Id,
) -> ApiResult<Json<RemovedServer>> {
    entered::remove(&store, &person.actor(), &id).await?;
    known.refresh().await?;
    Ok(Json(RemovedServer { id, removed: true }))
}

/// What is to become of it. Without a body it is drained.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DrainWish {
    /// false: it is given cameras again.
    #[serde(default = "yes")]
    drain: bool,
}

const fn yes() -> bool {
    true
}

/// Whether a server is drained.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Drained {
    id: String,
    draining: bool,
}

/// Gives a server no cameras any more, and calls away those that it has: before work on it. `{"drain": false}` takes that back.
#[utoipa::path(post, path = "/api/v1/servers/{id}/drain", operation_id = "drain_server", params(("id" = String, Path)), request_body = Option<DrainWish>, responses(
    (status = 200, description = "So it is, over restarts too", body = Drained),
    (status = 404, description = "`NOT_FOUND`"),
))]
pub(super) async fn drain(
    State(store): State<Store>,
    State(clock): State<Clock>,
    State(inventory): State<Arc<Inventory>>,
    State(known): State<Arc<Entered>>,
    Extension(person): Extension<Person>,
    Id(id): Id,
    body: Bytes,
) -> ApiResult<Json<Drained>> {
    let wish = if body.is_empty() { Ok(DrainWish { drain: true }) } else { serde_json::from_slice(&body) };
    let DrainWish { drain } = wish.map_err(|error| ApiError::bad_request(format!("the body is {{\"drain\": true}} or false: {error}")))?;
    let server =
        ServerId::new(&id).ok().filter(|_| inventory.knows(&id)).ok_or_else(|| ApiError::not_found(format_args!("server {id}")))?;
    entered::drain(&store, &clock, &person.actor(), &server, drain).await?;
    known.refresh().await?;
    Ok(Json(Drained { id, draining: drain }))
}
