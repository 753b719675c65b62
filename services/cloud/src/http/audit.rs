//! `/api/v1/audit`.

use super::{
    error::ApiResult,
    page::{Page, PageQuery},
};
use crate::{audit::chain::AuditEntry, store::Store};
use axum::{Json, extract::State};

pub(super) async fn list(State(store): State<Store>, query: PageQuery) -> ApiResult<Json<Page<AuditEntry>>> {
    let items = store.audit_entries(query.before()?, query.limit()).await?;
    let next = items.last().filter(|entry| entry.seq > 1).map(|entry| entry.seq.to_string());
    Ok(Json(Page { items, next }))
}
