//! `/api/v1/users`: who may sign in, and what they may do.

use super::{
    error::{ApiError, ApiResult},
    extract::{Body, Id},
    page::{Page, PageQuery, page_by_name},
    person::Person,
};
use crate::{
    people::{
        grants::Grant,
        names::UserName,
        passwords::Password,
        sessions::Sessions,
        users::{self, PeopleError, User},
    },
    store::Store,
};
use axum::{Extension, Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

pub(super) fn user_name(text: &str) -> ApiResult<UserName> {
    UserName::new(text).map_err(|error| ApiError::bad_request(error.to_string()))
}

async fn known(store: &Store, name: &UserName) -> ApiResult<User> {
    let user = store.user(name).await?.ok_or_else(|| PeopleError::UserUnknown(name.clone()))?;
    Ok(user.into())
}

/// What a new password is kept as.
async fn hashed(sessions: &Sessions, password: Option<Password>) -> ApiResult<Option<String>> {
    let Some(password) = password else { return Ok(None) };
    password.check().map_err(PeopleError::from)?;
    Ok(Some(sessions.passwords().hash(password).await?.map_err(PeopleError::from)?))
}

/// All users.
#[utoipa::path(get, path = "/api/v1/users", operation_id = "list_users", params(PageQuery), responses((status = 200, description = "A page", body = Page<User>)))]
pub(super) async fn list(State(store): State<Store>, query: PageQuery) -> ApiResult<Json<Page<User>>> {
    let users = store.users().await?.into_iter();
    Ok(Json(page_by_name(users.map(|user| (user.name.as_str().to_owned(), user.into())), &query)))
}

/// One user.
#[utoipa::path(get, path = "/api/v1/users/{name}", operation_id = "show_user", params(("name" = String, Path)), responses(
    (status = 200, description = "The user", body = User),
    (status = 404, description = "`NOT_FOUND`"),
))]
pub(super) async fn show(State(store): State<Store>, Id(name): Id) -> ApiResult<Json<User>> {
    Ok(Json(known(&store, &user_name(&name)?).await?))
}

/// A user to be added.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewUser {
    /// 1 to 64 of `a-z 0-9 . _ + - @`; capitals count as small letters.
    name: String,
    /// At least 8 characters; without one, nobody signs in by this name, and API tokens work all the same.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    password: Option<Password>,
    /// What they may do.
    #[serde(default)]
    grants: Vec<Grant>,
}

/// Adds a user. From the first one on, this machine's own browser has to sign in, too.
#[utoipa::path(post, path = "/api/v1/users", operation_id = "add_user", request_body = NewUser, responses(
    (status = 201, description = "The user", body = User),
    (status = 404, description = "`NOT_FOUND`: there is no such group"),
    (status = 409, description = "`EXISTS` or `TOO_MANY`"),
))]
pub(super) async fn add(
    State(store): State<Store>,
    State(sessions): State<Arc<Sessions>>,
    Extension(person): Extension<Person>,
    Body(NewUser { name, password, grants }): Body<NewUser>,
) -> ApiResult<(StatusCode, Json<User>)> {
    let name = user_name(&name)?;
    let password = hashed(&sessions, password).await?;
    users::add(&store, &person.actor(), &name, password.as_deref(), &grants).await?;
    Ok((StatusCode::CREATED, Json(known(&store, &name).await?)))
}

/// What of a user is to change.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UserChange {
    /// Another password: all their sessions end. API tokens stay.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    password: Option<Password>,
    /// Exactly what they may do from now on.
    #[serde(default)]
    grants: Option<Vec<Grant>>,
}

/// Changes a user's password, or what they may do.
#[utoipa::path(patch, path = "/api/v1/users/{name}", operation_id = "change_user", params(("name" = String, Path)), request_body = UserChange, responses(
    (status = 200, description = "The user", body = User),
    (status = 404, description = "`NOT_FOUND`: there is no such user, or no such group"),
    (status = 409, description = "`LAST_ADMIN`: nobody would be left who may change this"),
))]
pub(super) async fn change(
    State(store): State<Store>,
    State(sessions): State<Arc<Sessions>>,
    Extension(person): Extension<Person>,
    Id(name): Id,
    Body(UserChange { password, grants }): Body<UserChange>,
) -> ApiResult<Json<User>> {
    let name = user_name(&name)?;
    known(&store, &name).await?;
    let password = hashed(&sessions, password).await?;
    if let Some(grants) = grants {
        users::set_grants(&store, &person.actor(), &name, &grants).await?;
    }
    if let Some(password) = password {
        // Their own browser, where they do it to themselves, stays signed in.
        let own = person.session().filter(|_| person.name() == Some(&name)).map_or(&[][..], |sha256| &sha256[..]);
        users::set_password(&store, &person.actor(), &name, &password, own).await?;
    }
    Ok(Json(known(&store, &name).await?))
}

/// A user who was removed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct RemovedUser {
    #[schema(value_type = String)]
    name: UserName,
    /// Always true.
    removed: bool,
}

/// Removes a user: their sessions and API tokens end at once.
#[utoipa::path(delete, path = "/api/v1/users/{name}", operation_id = "remove_user", params(("name" = String, Path)), responses(
    (status = 200, description = "They are removed", body = RemovedUser),
    (status = 404, description = "`NOT_FOUND`"),
    (status = 409, description = "`LAST_ADMIN`: nobody would be left who may change this"),
))]
pub(super) async fn remove(State(store): State<Store>, Extension(person): Extension<Person>, Id(name): Id) -> ApiResult<Json<RemovedUser>> {
    let name = user_name(&name)?;
    users::remove(&store, &person.actor(), &name).await?;
    Ok(Json(RemovedUser { name, removed: true }))
}
