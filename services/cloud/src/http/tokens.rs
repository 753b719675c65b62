//! `/api/v1/tokens`: API tokens, what people's programs show.

use super::{
    error::{ApiError, ApiResult},
    extract::{Body, Id},
    page::{Page, PageQuery, page_by_name},
    person::{Person, ROLE},
    users::user_name,
};
use crate::{
    clock::Clock,
    people::{
        names::{GroupPath, Role},
        tokens::{self, AddedToken, ApiToken, NewToken},
        users::PeopleError,
    },
    store::Store,
};
use axum::{Extension, Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};

/// One's own API tokens, without their secrets; an admin of all sees those of all.
#[utoipa::path(get, path = "/api/v1/tokens", operation_id = "list_tokens", params(PageQuery), responses((status = 200, description = "A page", body = Page<ApiToken>)))]
pub(super) async fn list(
    State(store): State<Store>,
    Extension(person): Extension<Person>,
    query: PageQuery,
) -> ApiResult<Json<Page<ApiToken>>> {
    let own = person.name().filter(|_| !person.rights().is_admin_of_all());
    let tokens = store.api_tokens(own).await?.into_iter();
    Ok(Json(page_by_name(tokens.map(|token| (token.id.clone(), token.into())), &query)))
}

/// A token to be made.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenToMake {
    /// What it is for, for people: 1 to 64 characters.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    /// How long it lasts, in seconds: two years at most, 90 days without it.
    #[schema(minimum = 1, maximum = 63_244_800)]
    ttl_sec: Option<u64>,
    /// It may do at most what this role may; without it, all that its user may.
    role: Option<Role>,
    /// On this group and below it alone; without it, wherever its user may.
    #[serde(default)]
    group: String,
    /// Whose it is: without it, one's own. Another's is made by an admin of all.
    user: Option<String>,
}

/// Makes an API token. It is in this answer alone.
///
/// It never may more than its user may at that moment. It makes no other tokens: what a leaked one has opened ends with it.
#[utoipa::path(post, path = "/api/v1/tokens", operation_id = "add_token", request_body = TokenToMake, responses(
    (status = 201, description = "The token", body = AddedToken),
    (status = 404, description = "`NOT_FOUND`: there is no such user, or no such group"),
    (status = 409, description = "`TOO_MANY`"),
))]
pub(super) async fn add(
    State(store): State<Store>,
    State(clock): State<Clock>,
    Extension(person): Extension<Person>,
    Body(wish): Body<TokenToMake>,
) -> ApiResult<(StatusCode, Json<AddedToken>)> {
    let TokenToMake { name, ttl_sec, role, group, user } = wish;
    if person.known().is_some() && person.session().is_none() {
        let problem = "an API token makes no other one: sign in for that";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "FORBIDDEN", problem).for_want_of_a_right(ROLE));
    }
    let user = match (user.as_deref().map(user_name).transpose()?, person.name()) {
        (Some(user), Some(own)) if user == *own => user,
        (Some(user), _) => {
            person.check_root(Role::Admin)?;
            user
        }
        (None, Some(own)) => own.clone(),
        (None, None) => {
            return Err(ApiError::bad_request("user: the operator has a token of its own; name the user whose this one is to be"));
        }
    };
    let group = GroupPath::new(&group).map_err(PeopleError::from)?;
    // Whether a group that is out of sight is there stays unsaid; the root means: wherever its user may.
    if !group.is_root() {
        person.check(Role::Viewer, &group, || PeopleError::GroupUnknown(group.clone()).into())?;
    }
    let new = NewToken { user, name, ttl_sec, role: role.unwrap_or(Role::Admin), group };
    Ok((StatusCode::CREATED, Json(tokens::add(&store, &clock, &person.actor(), new).await?)))
}

/// A token that was taken back.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct RemovedToken {
    id: String,
    /// Always true.
    removed: bool,
}

/// Takes an API token back: one's own; an admin of all takes any.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", operation_id = "remove_token", params(("id" = String, Path)), responses(
    (status = 200, description = "It is taken back", body = RemovedToken),
    (status = 404, description = "`NOT_FOUND`"),
))]
pub(super) async fn remove(State(store): State<Store>, Extension(person): Extension<Person>, Id(id): Id) -> ApiResult<Json<RemovedToken>> {
    let own = person.name().filter(|_| !person.rights().is_admin_of_all());
    tokens::remove(&store, &person.actor(), &id, own).await?;
    Ok(Json(RemovedToken { id, removed: true }))
}
