//! Origins that come and go.

use crate::{
    events::{kind::EventKind, log::EventLog},
    servers::inventory::{Inventory, ServerView},
};
use serde_json::json;
use std::collections::BTreeMap;

/// Which servers were alive at the last look.
#[derive(Debug, Default)]
pub(super) struct Servers {
    alive: BTreeMap<String, bool>,
}

impl Servers {
    pub(super) async fn look(&mut self, inventory: &Inventory, events: &EventLog) {
        for ServerView { id, alive, kind, .. } in inventory.servers() {
            let was_alive = self.alive.insert(id.clone(), alive);
            if kind == "origin" && was_alive != Some(alive) {
                tracing::info!(server = id, is_alive = alive, "an origin changed");
                let kind = if alive { EventKind::ServerUp } else { EventKind::ServerDown };
                events.push(&id, kind, json!({})).await;
            }
        }
    }

    /// Servers of others are always taken for alive.
    pub(super) fn silent_count(&self) -> usize {
        self.alive.len() - self.alive_count()
    }

    pub(super) fn alive_count(&self) -> usize {
        self.alive.values().filter(|alive| **alive).count()
    }
}
