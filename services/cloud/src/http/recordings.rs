//! `/api/v1/recordings`.

use super::error::ApiError;
use axum::http::StatusCode;

/// Recordings are with the origins; this version does not collect them.
#[utoipa::path(get, path = "/api/v1/recordings", operation_id = "list_recordings", responses((status = 501, description = "`NOT_IMPLEMENTED`")))]
pub(super) async fn list() -> ApiError {
    ApiError::new(
        StatusCode::NOT_IMPLEMENTED,
        "NOT_IMPLEMENTED",
        "recordings are listed by each origin; the cloud does not collect them yet",
    )
}
