//! `/api/v1/audit`.

use super::{
    error::ApiResult,
    page::{NewestQuery, Page},
};
use crate::{audit::chain::AuditEntry, store::Store};
use axum::{Json, extract::State};

/// The audit log, newest first.
#[utoipa::path(get, path = "/api/v1/audit", operation_id = "list_audit", params(NewestQuery), responses((status = 200, description = "A page", body = Page<AuditEntry>)))]
pub(super) async fn list(State(store): State<Store>, query: NewestQuery) -> ApiResult<Json<Page<AuditEntry>>> {
    let items = store.audit_entries(query.before(), query.limit()).await?;
    let next = items.last().filter(|entry| entry.seq > 1).map(|entry| entry.seq.to_string());
    Ok(Json(Page { items, next }))
}
