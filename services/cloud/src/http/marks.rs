//! `/api/v1/streams/{device}/marks`: what was noted about a device's pictures.

use super::{
    devices::known,
    error::{ApiError, ApiResult},
    extract::{Body, Id},
    page::{Page, page_items},
    person::Person,
};
use crate::{
    marks::{Mark, MarkError, Marks, NewMark},
    store::Store,
};
use axum::{
    Extension, Json,
    extract::{Query, State},
    http::StatusCode,
};
use serde::Deserialize;
use sightline_signal::DeviceId;
use std::sync::Arc;

impl From<MarkError> for ApiError {
    fn from(error: MarkError) -> Self {
        match error {
            MarkError::Bad(problem) => Self::bad_request(problem),
            MarkError::TooMany => Self::new(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_MARKS", error.to_string()),
            MarkError::Store(error) => error.into(),
        }
    }
}

/// Notes something about a device's pictures.
///
/// Whoever follows the events hears of it as `mark_added`.
#[utoipa::path(post, path = "/api/v1/streams/{id}/marks", operation_id = "add_mark", params(("id" = DeviceId, Path)), request_body = NewMark, responses(
    (status = 201, description = "It is kept", body = Mark),
    (status = 404, description = "`NOT_FOUND`: there is no such device"),
    (status = 429, description = "`TOO_MANY_MARKS`: sixty at once, then one a second for each device"),
))]
pub(super) async fn add(
    State(store): State<Store>,
    State(marks): State<Arc<Marks>>,
    Extension(person): Extension<Person>,
    Id(id): Id,
    Body(new): Body<NewMark>,
) -> ApiResult<(StatusCode, Json<Mark>)> {
    let device = known(&store, &id).await?;
    Ok((StatusCode::CREATED, Json(marks.add(&person.actor(), &device.id, new).await?)))
}

/// Which marks.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct MarksQuery {
    /// From when on, milliseconds since 1970. A mark that began before and lasts until then is among them.
    from: Option<i64>,
    /// Up to when; that moment itself is not among them.
    to: Option<i64>,
    /// Items of the page: 100 without it, 1,000 at most.
    #[param(minimum = 0)]
    limit: Option<i64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// What was noted about a device's pictures, by time, newest first.
#[utoipa::path(get, path = "/api/v1/streams/{id}/marks", operation_id = "list_marks", params(("id" = DeviceId, Path), MarksQuery), responses(
    (status = 200, description = "A page", body = Page<Mark>),
    (status = 404, description = "`NOT_FOUND`: there is no such device"),
))]
pub(super) async fn list(
    State(store): State<Store>,
    Id(id): Id,
    query: Result<Query<MarksQuery>, axum::extract::rejection::QueryRejection>,
) -> ApiResult<Json<Page<Mark>>> {
    let Query(query) = query?;
    let limit = page_items(query.limit)?;
    let before = query.cursor.as_deref().map(read_cursor).transpose()?;
    let device = known(&store, &id).await?;
    let items = store.marks(&device.id, (query.from.unwrap_or(0), query.to.unwrap_or(i64::MAX)), before, limit).await?;
    let is_full = items.len() == usize::try_from(limit).unwrap_or(usize::MAX);
    let next = items.last().filter(|_| is_full).map(|mark| format!("{}.{}", mark.at, mark.id));
    Ok(Json(Page { items, next }))
}

/// The time and the number of the last mark of the page before.
fn read_cursor(cursor: &str) -> ApiResult<(i64, i64)> {
    let parts = cursor.split_once('.').and_then(|(at, id)| Some((at.parse().ok()?, id.parse().ok()?)));
    parts.ok_or_else(|| ApiError::bad_request("cursor is `next` of the page before"))
}
