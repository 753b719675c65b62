//! `/api/v1/holds`: recordings that are to stay.

use super::{
    devices::{device_id, known},
    error::{ApiError, ApiResult},
    extract::{Body, Id},
    person::Person,
};
use crate::{
    holds::{HoldError, Holds, NewHold},
    people::names::Role,
    store::{Store, holds::HoldRow},
};
use axum::{
    Extension, Json,
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

impl From<HoldError> for ApiError {
    fn from(error: HoldError) -> Self {
        match error {
            HoldError::Bad(problem) => Self::bad_request(problem),
            HoldError::Unknown(_) => Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", error.to_string()),
            HoldError::TooMany => Self::new(StatusCode::CONFLICT, "TOO_MANY_HOLDS", error.to_string()),
            HoldError::Store(error) => error.into(),
        }
    }
}

/// A hold: no origin removes recordings of this device and this time, whatever its rules say.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Hold {
    id: i64,
    device: String,
    /// From when on, milliseconds since 1970.
    from: i64,
    /// Up to when, milliseconds since 1970.
    to: i64,
    reason: String,
    /// When it ends by itself, seconds since 1970; null: when it is taken back.
    ends_at: Option<i64>,
    /// Who has set it, as in the audit log.
    by: String,
    /// Seconds since 1970.
    created_at: i64,
}

impl From<HoldRow> for Hold {
    fn from(HoldRow { id, device, from, to, reason, ends_at, actor, created_at }: HoldRow) -> Self {
        Self { id, device, from, to, reason, ends_at, by: actor, created_at }
    }
}

/// All that hold now, by number: a thousand at the most.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct HoldList {
    items: Vec<Hold>,
}

/// Which holds.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct HoldsQuery {
    /// Of this device alone.
    device: Option<String>,
}

/// The recordings that are to stay.
#[utoipa::path(get, path = "/api/v1/holds", operation_id = "list_holds", params(HoldsQuery), responses(
    (status = 200, description = "All that hold now", body = HoldList),
))]
pub(super) async fn list(
    State(store): State<Store>,
    State(holds): State<Arc<Holds>>,
    Extension(person): Extension<Person>,
    query: Result<Query<HoldsQuery>, QueryRejection>,
) -> ApiResult<Json<HoldList>> {
    let Query(query) = query?;
    let sight = person.sight(&store, Role::Viewer).await?;
    let seen = holds.list(query.device.as_deref()).await?.into_iter().filter(|hold| sight.has(&hold.device));
    let items = seen.map(Hold::from).collect();
    Ok(Json(HoldList { items }))
}

/// Lets recordings of a device stay: origins know it within three seconds.
#[utoipa::path(post, path = "/api/v1/holds", operation_id = "add_hold", request_body = NewHold, responses(
    (status = 201, description = "They stay", body = Hold),
    (status = 404, description = "`NOT_FOUND`: there is no such device"),
    (status = 409, description = "`TOO_MANY_HOLDS`"),
))]
pub(super) async fn add(
    State(store): State<Store>,
    State(holds): State<Arc<Holds>>,
    Extension(person): Extension<Person>,
    Body(new): Body<NewHold>,
) -> ApiResult<(StatusCode, Json<Hold>)> {
    person.check_device(&store, Role::Operator, &device_id(&new.device)?).await?;
    let device = known(&store, &new.device).await?.id;
    let hold = holds.add(&person.actor(), &device, new).await?;
    Ok((StatusCode::CREATED, Json(hold.into())))
}

/// A hold that was taken back.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct RemovedHold {
    id: i64,
    /// Always true.
    removed: bool,
}

/// Takes a hold back: what the rules would have removed goes within a minute.
#[utoipa::path(delete, path = "/api/v1/holds/{id}", operation_id = "remove_hold", params(("id" = i64, Path)), responses(
    (status = 200, description = "It is taken back", body = RemovedHold),
    (status = 404, description = "`NOT_FOUND`: there is none, or it has ended"),
))]
pub(super) async fn remove(
    State(store): State<Store>,
    State(holds): State<Arc<Holds>>,
    Extension(person): Extension<Person>,
    Id(id): Id,
) -> ApiResult<Json<RemovedHold>> {
    let id = id.parse().map_err(|_| ApiError::not_found(format_args!("hold {id}")))?;
    let hold = holds.find(id).await?;
    // Of a device that is gone, it is the installation's.
    let group = store.group_of(&hold.device).await?.unwrap_or_default();
    person.check(Role::Admin, &group, || HoldError::Unknown(id).into())?;
    holds.remove(&person.actor(), hold.id).await?;
    Ok(Json(RemovedHold { id, removed: true }))
}
