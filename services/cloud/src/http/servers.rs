//! `/api/v1/servers`.

use super::page::{Page, PageQuery, page_by_name};
use crate::servers::inventory::{Inventory, ServerView};
use axum::{Json, extract::State};
use std::sync::Arc;

pub(super) async fn list(State(inventory): State<Arc<Inventory>>, query: PageQuery) -> Json<Page<ServerView>> {
    Json(page_by_name(inventory.servers().into_iter().map(|server| (server.id.clone(), server)), &query))
}
