//! `/api/v1/groups`: groups of devices.

use super::{
    error::{ApiError, ApiResult},
    extract::{Body, Id},
    page::{Page, PageQuery, page_by_name},
    person::Person,
};
use crate::{
    people::{
        groups::{self, Group},
        names::{GroupPath, Role},
        passwords::Crowded,
        users::PeopleError,
    },
    store::Store,
};
use axum::{Extension, Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};

impl From<PeopleError> for ApiError {
    fn from(error: PeopleError) -> Self {
        let conflict = |code| Self::new(StatusCode::CONFLICT, code, error.to_string());
        match error {
            PeopleError::Bad(_) | PeopleError::Name(_) | PeopleError::Password(_) => Self::bad_request(error.to_string()),
            PeopleError::UserUnknown(name) => Self::not_found(format_args!("user {name}")),
            PeopleError::GroupUnknown(path) => Self::not_found(format_args!("group {path}")),
            PeopleError::DeviceUnknown(device) => Self::not_found(format_args!("device {device}")),
            PeopleError::TokenUnknown(id) => Self::not_found(format_args!("API token {id}")),
            PeopleError::UserExists(_) | PeopleError::GroupExists(_) => conflict("EXISTS"),
            PeopleError::GroupNotEmpty { .. } => conflict("GROUP_NOT_EMPTY"),
            PeopleError::LastAdmin(_) => conflict("LAST_ADMIN"),
            PeopleError::TooMany { .. } => conflict("TOO_MANY"),
            PeopleError::Crypto(_) => Self::internal(&error),
            PeopleError::Store(error) => error.into(),
        }
    }
}

impl From<Crowded> for ApiError {
    fn from(error: Crowded) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "BUSY", error.to_string())
    }
}

/// A group's path in a body or a path.
pub(super) fn group_path(text: &str) -> ApiResult<GroupPath> {
    GroupPath::new(text).map_err(|error| ApiError::bad_request(error.to_string()))
}

/// The groups that one sees: those of one's rights, and all below them.
#[utoipa::path(get, path = "/api/v1/groups", operation_id = "list_groups", params(PageQuery), responses((status = 200, description = "A page", body = Page<Group>)))]
pub(super) async fn list(
    State(store): State<Store>,
    Extension(person): Extension<Person>,
    query: PageQuery,
) -> ApiResult<Json<Page<Group>>> {
    let groups = store.groups().await?.into_iter().filter(|group| person.rights().sees(&group.path));
    Ok(Json(page_by_name(groups.map(|group| (group.path.as_str().to_owned(), group.into())), &query)))
}

/// A group to be made.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewGroup {
    /// Its path: names between slashes, such as `site-a/hall-2`.
    path: String,
}

/// A group that was made.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct AddedGroup {
    #[schema(value_type = String)]
    path: GroupPath,
}

/// Makes a group, and those above it that are not there yet. It needs the role `admin` on the group right above it.
#[utoipa::path(post, path = "/api/v1/groups", operation_id = "add_group", request_body = NewGroup, responses(
    (status = 201, description = "It is made", body = AddedGroup),
    (status = 409, description = "`EXISTS` or `TOO_MANY`"),
))]
pub(super) async fn add(
    State(store): State<Store>,
    Extension(person): Extension<Person>,
    Body(NewGroup { path }): Body<NewGroup>,
) -> ApiResult<(StatusCode, Json<AddedGroup>)> {
    let path = group_path(&path)?;
    check_above(&person, &path)?;
    groups::add(&store, &person.actor(), &path).await?;
    Ok((StatusCode::CREATED, Json(AddedGroup { path })))
}

/// A group that was removed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct RemovedGroup {
    #[schema(value_type = String)]
    path: GroupPath,
    /// Always true.
    removed: bool,
}

/// Removes a group that holds nothing, with what was granted on it. It needs the role `admin` on the group right above it.
///
/// Slashes of the path stand as they are, or as `%2F`.
#[utoipa::path(delete, path = "/api/v1/groups/{*path}", operation_id = "remove_group", params(("path" = String, Path)), responses(
    (status = 200, description = "It is removed", body = RemovedGroup),
    (status = 404, description = "`NOT_FOUND`"),
    (status = 409, description = "`GROUP_NOT_EMPTY`"),
))]
pub(super) async fn remove(
    State(store): State<Store>,
    Extension(person): Extension<Person>,
    Id(path): Id,
) -> ApiResult<Json<RemovedGroup>> {
    let path = group_path(&path)?;
    check_above(&person, &path)?;
    groups::remove(&store, &person.actor(), &path).await?;
    Ok(Json(RemovedGroup { path, removed: true }))
}

/// Of a group that is in sight one hears what is missing, of another one that it is not there.
fn check_above(person: &Person, path: &GroupPath) -> ApiResult<()> {
    let above = path.parent().unwrap_or_default();
    let missing = || ApiError::not_found(format_args!("group {path}"));
    match (person.rights().sees(path), person.rights().sees(&above)) {
        (true, false) => Err(person.check_root(Role::Admin).err().unwrap_or_else(missing)),
        (true, true) | (false, _) => person.check(Role::Admin, &above, missing),
    }
}
