//! `/api/v1/servers`.

use super::page::{Page, PageQuery, page_by_name};
use crate::servers::inventory::{Inventory, ServerView};
use axum::{Json, extract::State};
use std::sync::Arc;

/// Origins, and servers of others.
#[utoipa::path(get, path = "/api/v1/servers", operation_id = "list_servers", params(PageQuery), responses((status = 200, description = "A page", body = Page<ServerView>)))]
pub(super) async fn list(State(inventory): State<Arc<Inventory>>, query: PageQuery) -> Json<Page<ServerView>> {
    Json(page_by_name(inventory.servers().into_iter().map(|server| (server.id.clone(), server)), &query))
}
