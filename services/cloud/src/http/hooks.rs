//! `/api/v1/hooks`: endpoints that are told of events.

use super::{
    error::{ApiError, ApiResult},
    extract::{Body, Id},
    page::{Page, PageQuery, page_by_name},
    person::Person,
};
use crate::{
    hooks::{HookError, HookState, Hooks},
    store::hooks::HookRow,
};
use axum::{Extension, Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

impl From<HookError> for ApiError {
    fn from(error: HookError) -> Self {
        match error {
            HookError::Bad(problem) => Self::bad_request(problem),
            HookError::Unknown(_) => Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", error.to_string()),
            HookError::TooMany => Self::new(StatusCode::CONFLICT, "TOO_MANY_HOOKS", error.to_string()),
            HookError::Store(error) => error.into(),
            HookError::Crypto(_) => Self::internal(&error),
        }
    }
}

/// An endpoint that is told of events.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Hook {
    id: String,
    /// Where its messages go, without user, password and query.
    url: String,
    /// The kinds of events that it is told of; empty: all that are kept.
    events: Vec<String>,
    /// The only device whose events it is told of; null: all, servers' and the cloud's too.
    device: Option<String>,
    /// When it was made, seconds since 1970.
    created_at: i64,
    /// The `seq` of the last event that it has, or does not want.
    after: u64,
    /// Messages that it has taken since the cloud's start.
    taken: u64,
    /// Events that were gone before it took them: it was away for too long.
    lost: u64,
    /// Since when it takes none, seconds since 1970; null: it does.
    failing_since: Option<i64>,
    /// Why.
    error: Option<String>,
}

impl Hook {
    fn new(row: HookRow, state: HookState) -> Self {
        let (failing_since, error) = state.failing.unzip();
        Self {
            url: row.url.to_string(),
            events: row.events.split(',').filter(|kind| !kind.is_empty()).map(str::to_owned).collect(),
            device: (!row.device.is_empty()).then_some(row.device),
            id: row.id,
            created_at: row.created_at,
            after: row.after,
            taken: state.taken,
            lost: row.lost,
            failing_since,
            error,
        }
    }
}

/// All hooks, and how each is.
#[utoipa::path(get, path = "/api/v1/hooks", operation_id = "list_hooks", params(PageQuery), responses((status = 200, description = "A page", body = Page<Hook>)))]
pub(super) async fn list(State(hooks): State<Arc<Hooks>>, query: PageQuery) -> ApiResult<Json<Page<Hook>>> {
    let listed = hooks.list().await?.into_iter();
    Ok(Json(page_by_name(listed.map(|(row, state)| (row.id.clone(), Hook::new(row, state))), &query)))
}

/// A hook to be made.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HookWish {
    /// Where its messages go: `http(s)://…`, at most 600 bytes. A user and a password in it are sent as basic authentication.
    url: String,
    /// The kinds of events that it is told of; empty: all that are kept.
    #[serde(default)]
    events: Vec<String>,
    /// The only device whose events it is told of.
    #[serde(default)]
    device: Option<String>,
}

/// A hook that was made.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct AddedHook {
    #[serde(flatten)]
    hook: Hook,
    /// What its messages are signed with (Standard Webhooks, `whsec_…`). Shown this once.
    secret: String,
}

/// Makes a hook: each event from now on is a POST to it, signed, in order, and again until its answer is 2xx.
#[utoipa::path(post, path = "/api/v1/hooks", operation_id = "add_hook", request_body = HookWish, responses(
    (status = 201, description = "The hook, with its secret", body = AddedHook),
    (status = 409, description = "`TOO_MANY_HOOKS`"),
))]
pub(super) async fn add(
    State(hooks): State<Arc<Hooks>>,
    Extension(person): Extension<Person>,
    Body(HookWish { url, events, device }): Body<HookWish>,
) -> ApiResult<(StatusCode, Json<AddedHook>)> {
    let row = hooks.add(&person.actor(), &url, &events, device.as_deref()).await?;
    let secret = row.secret.reveal().clone();
    Ok((StatusCode::CREATED, Json(AddedHook { hook: Hook::new(row, HookState::default()), secret })))
}

/// What a hook is to be told again.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplayWish {
    /// All kept events with a higher `seq`.
    after: u64,
}

/// A hook that is told again.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Replayed {
    id: String,
    after: u64,
}

/// Tells a hook again, from an event on.
#[utoipa::path(post, path = "/api/v1/hooks/{id}/replay", operation_id = "replay_hook", params(("id" = String, Path)), request_body = ReplayWish, responses(
    (status = 200, description = "It is told again", body = Replayed),
    (status = 404, description = "`NOT_FOUND`"),
))]
pub(super) async fn replay(
    State(hooks): State<Arc<Hooks>>,
    Extension(person): Extension<Person>,
    Id(id): Id,
    Body(ReplayWish { after }): Body<ReplayWish>,
) -> ApiResult<Json<Replayed>> {
    hooks.replay(&person.actor(), &id, after).await?;
    Ok(Json(Replayed { id, after }))
}

/// A hook that was removed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct RemovedHook {
    id: String,
    /// Always true.
    removed: bool,
}

/// Removes a hook: it is told no more.
#[utoipa::path(delete, path = "/api/v1/hooks/{id}", operation_id = "remove_hook", params(("id" = String, Path)), responses(
    (status = 200, description = "It is removed", body = RemovedHook),
    (status = 404, description = "`NOT_FOUND`"),
))]
pub(super) async fn remove(
    State(hooks): State<Arc<Hooks>>,
    Extension(person): Extension<Person>,
    Id(id): Id,
) -> ApiResult<Json<RemovedHook>> {
    hooks.remove(&person.actor(), &id).await?;
    Ok(Json(RemovedHook { id, removed: true }))
}
