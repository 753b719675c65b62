//! `/api/v1/recordings`.

use super::error::ApiError;
use axum::http::StatusCode;

/// Recordings are with the origins; this version does not collect them.
pub(super) async fn list() -> ApiError {
    ApiError::new(
        StatusCode::NOT_IMPLEMENTED,
        "NOT_IMPLEMENTED",
        "recordings are listed by each origin; the cloud does not collect them yet",
    )
}
