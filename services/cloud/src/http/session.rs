//! `/api/v1/session`: sign-in, sign-out, and who one is.

use super::{
    access::{self, COOKIE, Peer, address},
    error::{ApiError, ApiResult},
    extract::Body,
    person::{Person, ROLE},
};
use crate::{
    people::{
        grants::Grant,
        passwords::Password,
        sessions::{Sessions, SignInError, SignedIn},
    },
    store::Store,
};
use axum::{
    Extension, Json,
    extract::{FromRequest as _, Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

impl From<SignInError> for ApiError {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::Wrong => Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", error.to_string()),
            SignInError::TooOften(_) => Self::new(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_TRIES", error.to_string()),
            SignInError::Crowded(error) => error.into(),
            SignInError::Crypto(_) => Self::internal(&error),
            SignInError::People(error) => error.into(),
            SignInError::Store(error) => error.into(),
        }
    }
}

/// Too often: with the time after which it is worth another try.
fn refused(error: SignInError) -> Response {
    let wait = if let SignInError::TooOften(wait) = &error { Some(wait.as_secs() + 1) } else { None };
    let mut response = ApiError::from(error).into_response();
    if let Some(seconds) = wait {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// Who signs in.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Credentials {
    name: String,
    #[schema(value_type = String)]
    password: Password,
}

/// Who one is here.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Session {
    /// The user's name; null: the operator.
    name: Option<String>,
    /// How they came: `session`, `token` (an API token), `operator` (its token or certificate), or `here` (from this machine, where there is no user yet).
    #[schema(value_type = String)]
    way: &'static str,
    /// What they may do.
    grants: Vec<Grant>,
    /// When it ends, seconds since 1970; null: it does not.
    ends_at: Option<i64>,
    /// Whether there are users who sign in.
    has_users: bool,
}

/// Signs in: a cookie for a name and a password.
///
/// The cookie is `HttpOnly` and `SameSite=Strict`, over HTTPS `Secure`, and another one each time. A session that the browser had ends.
#[utoipa::path(post, path = "/api/v1/session", operation_id = "sign_in", request_body = Credentials, responses(
    (status = 200, description = "Signed in; `Set-Cookie` has the session", body = Session),
    (status = 401, description = "`UNAUTHORIZED`: the name or the password is wrong"),
    (status = 429, description = "`TOO_MANY_TRIES`: wrong passwords; `Retry-After` says until when"),
    (status = 503, description = "`BUSY`: too many sign in at once; or `STORAGE_FAILED`"),
))]
pub(super) async fn sign_in(State(sessions): State<Arc<Sessions>>, State(store): State<Store>, request: Request) -> Response {
    let (from, is_secure) = (address(&request), is_secure(&request));
    let old = access::cookie(request.headers()).map(str::to_owned);
    let Credentials { name, password } = match Body::from_request(request, &()).await {
        Ok(Body(credentials)) => credentials,
        Err(error) => return error.into_response(),
    };
    let SignedIn { user, cookie, ends_at } = match sessions.sign_in(from, &name, password, old.as_deref()).await {
        Ok(signed_in) => signed_in,
        Err(error) => return refused(error),
    };
    let grants = match store.grants(&user).await {
        Ok(grants) => grants,
        Err(error) => return ApiError::from(error).into_response(),
    };
    let session = Session { name: Some(user.to_string()), way: "session", grants, ends_at: Some(ends_at), has_users: true };
    with_cookie(Json(session).into_response(), cookie.reveal(), Some(sessions.session_sec()), is_secure)
}

/// Over HTTPS, by itself or before a proxy: whoever lies about that harms their own browser alone.
fn is_secure(request: &Request) -> bool {
    let is_tls = request.extensions().get::<Peer>().is_some_and(|peer| peer.is_tls);
    is_tls || request.headers().get("x-forwarded-proto").is_some_and(|scheme| scheme == "https")
}

fn with_cookie(mut response: Response, value: &str, lasts_sec: Option<u32>, is_secure: bool) -> Response {
    let secure = if is_secure { "; Secure" } else { "" };
    let lasts_sec = lasts_sec.unwrap_or(0);
    let cookie = format!("{COOKIE}={value}; Path=/; Max-Age={lasts_sec}; HttpOnly; SameSite=Strict{secure}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Who one is, and what one may do.
#[utoipa::path(get, path = "/api/v1/session", operation_id = "show_session", responses((status = 200, description = "Who one is", body = Session)))]
pub(super) async fn show(State(store): State<Store>, Extension(person): Extension<Person>) -> ApiResult<Json<Session>> {
    Ok(Json(Session {
        name: person.name().map(ToString::to_string),
        way: person.way(),
        grants: person.rights().grants().to_vec(),
        ends_at: person.known().map(|known| known.ends_at),
        has_users: store.has_users().await?,
    }))
}

/// Someone who has signed out.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct SignedOut {
    /// Always true.
    signed_out: bool,
}

/// Signs out: the session ends, and the browser forgets its cookie.
#[utoipa::path(delete, path = "/api/v1/session", operation_id = "sign_out", responses((status = 200, description = "Signed out", body = SignedOut)))]
pub(super) async fn sign_out(State(sessions): State<Arc<Sessions>>, Extension(person): Extension<Person>) -> ApiResult<Response> {
    if let (Some(user), Some(session)) = (person.name(), person.session()) {
        sessions.sign_out(&person.actor(), user, session).await?;
    }
    Ok(with_cookie(Json(SignedOut { signed_out: true }).into_response(), "", None, false))
}

/// One's own new password.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PasswordChange {
    /// The one of now.
    #[schema(value_type = String)]
    password: Password,
    /// The next one: at least 8 characters.
    #[schema(value_type = String)]
    new_password: Password,
}

/// Changes one's own password. All other sessions of one's own end.
#[utoipa::path(put, path = "/api/v1/session/password", operation_id = "change_password", request_body = PasswordChange, responses(
    (status = 200, description = "It is changed", body = Session),
    (status = 429, description = "`TOO_MANY_TRIES`: wrong passwords; `Retry-After` says until when"),
))]
pub(super) async fn change_password(
    State(sessions): State<Arc<Sessions>>,
    State(store): State<Store>,
    Extension(person): Extension<Person>,
    Body(PasswordChange { password, new_password }): Body<PasswordChange>,
) -> ApiResult<Response> {
    let (Some(user), Some(session)) = (person.name(), person.session()) else {
        let problem = "only who has signed in with a password has one to change";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "FORBIDDEN", problem).for_want_of_a_right(ROLE));
    };
    match sessions.change_password(person.from(), user, session, (password, new_password)).await {
        Ok(()) => Ok(show(State(store), Extension(person.clone())).await?.into_response()),
        Err(error) => Ok(refused(error)),
    }
}
