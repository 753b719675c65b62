//! Errors of the API.

use crate::store::error::StoreError;
use axum::{
    Json,
    extract::rejection::{JsonRejection, PathRejection, QueryRejection},
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

/// A stable code, and a text for people.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ApiError {
    #[serde(skip)]
    #[schema(ignore)]
    status: StatusCode,
    /// Stable: what a program decides by.
    error_code: &'static str,
    /// For people; its words may change.
    error_message: String,
    /// Why a person had no right to it.
    #[serde(skip)]
    #[schema(ignore)]
    refused: Option<&'static str>,
}

/// A person had no right to what they asked for; an answer that says so carries it, for the audit log.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoRight(pub(super) &'static str);

pub(super) type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    pub(super) fn new(status: StatusCode, error_code: &'static str, error_message: impl Into<String>) -> Self {
        Self { status, error_code, error_message: error_message.into(), refused: None }
    }

    /// Because a person has no right to it: the audit log is told why.
    pub(super) fn for_want_of_a_right(mut self, why: &'static str) -> Self {
        self.refused = Some(why);
        self
    }

    /// Our fault: logged, and not explained to the client.
    pub(super) fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(%error, "an API request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "it failed here; the log says why")
    }

    pub(super) fn bad_request(problem: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", problem)
    }

    pub(super) fn method_not_allowed(method: &Method) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", format!("this path does not take {method}"))
    }

    pub(super) fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", format!("there is no {what}"))
    }
}

/// The database's trouble passes, and `/readyz` tells when: so it is no 500.
impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "an API request failed");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "STORAGE_FAILED", "the database can't do that now; /readyz and the log say why")
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status(), "BAD_REQUEST", rejection.body_text())
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        Self::new(rejection.status(), "BAD_REQUEST", rejection.body_text())
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(rejection.status(), "BAD_REQUEST", rejection.body_text())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, refused) = (self.status, self.refused);
        let mut response = (status, [(header::CACHE_CONTROL, "no-store")], Json(self)).into_response();
        if let Some(why) = refused {
            response.extensions_mut().insert(NoRight(why));
        }
        response
    }
}
