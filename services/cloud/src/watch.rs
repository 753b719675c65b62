//! What the cloud looks after by itself: revocations and settings made by another process, dead origins, aging keys.

use crate::{data_dir::unix_secs, device_settings::Wish, inventory::ServerView, signing_keys, state::State};
use serde_json::json;
use sightline_signal::{DeviceId, topic::Topic};
use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, PoisonError},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// How often the database is asked for revoked devices and new keys: well within the ten seconds of specification §3.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Between the time that a wish bears and its being in the database: a writer waits for others, at most this long.
const WRITE_SECS_MAX: i64 = 10;
/// How many looks lie between two writings of `last_seen`.
const LOOKS_PER_SAVE: u32 = 30;

/// Looks until `stop`.
pub(crate) async fn run(state: Arc<State>, stop: CancellationToken) {
    let mut interval = tokio::time::interval(LOOK_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut looks, mut alive, mut wishes) = (0_u32, BTreeMap::new(), Wishes { since: unix_secs(), told: BTreeMap::new() });
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = interval.tick() => {}
        }
        cut_off_revoked(&state).await;
        wishes.tell(&state).await;
        tell_of_servers(&state, &mut alive);
        renew_keys(&state).await;
        // Gauges hold counts that stay far below 2^52.
        #[allow(clippy::cast_precision_loss)]
        {
            metrics::gauge!("sightline_devices_online").set(state.presence.online_count() as f64);
            metrics::gauge!("sightline_streams_live").set(state.inventory.live_streams().len() as f64);
            metrics::gauge!("sightline_servers_alive").set(alive.values().filter(|alive| **alive).count() as f64);
        }
        looks = looks.wrapping_add(1);
        if looks.is_multiple_of(LOOKS_PER_SAVE) {
            state.store_last_seen().await;
        }
        state.metrics.run_upkeep();
    }
}

async fn cut_off_revoked(state: &State) {
    let connected: Vec<DeviceId> = state.broker.as_ref().map(|broker| broker.connected()).unwrap_or_default();
    if connected.is_empty() {
        return;
    }
    match state.database.revoked_devices().await {
        Ok(revoked) => {
            let revoked: HashSet<&str> = revoked.iter().map(String::as_str).collect();
            for device in connected.iter().filter(|device| revoked.contains(device.as_str())) {
                state.cut_off(device).await;
            }
        }
        Err(error) => tracing::warn!(%error, "revoked devices could not be looked up"),
    }
}

/// Settings that were wished for by another process, and which of them were told to the devices.
struct Wishes {
    since: i64,
    told: BTreeMap<DeviceId, Wish>,
}

impl Wishes {
    /// One that came by HTTP is told a second time: devices pass over a version that they know.
    async fn tell(&mut self, state: &State) {
        let Some(broker) = &state.broker else { return };
        let now = unix_secs();
        let wishes = match state.settings.since(self.since - WRITE_SECS_MAX).await {
            Ok(wishes) => wishes,
            Err(error) => return tracing::warn!(%error, "settings for devices could not be looked up"),
        };
        let mut told = BTreeMap::new();
        for (device, wish, message) in wishes {
            if self.told.get(&device) != Some(&wish) {
                broker.publish(&device, Topic::ConfigDesired, message, true).await;
            }
            told.insert(device, wish);
        }
        *self = Self { since: now, told };
    }
}

fn tell_of_servers(state: &State, alive: &mut BTreeMap<String, bool>) {
    for ServerView { id, alive: is_alive, kind, .. } in state.inventory.servers() {
        let was_alive = alive.insert(id.clone(), is_alive);
        if kind == "origin" && was_alive != Some(is_alive) {
            tracing::info!(server = id, is_alive, "an origin changed");
            state.presence.push(&id, if is_alive { "server_up" } else { "server_down" }, json!({}));
        }
    }
}

async fn renew_keys(state: &State) {
    let is_due = state.keys.read().unwrap_or_else(PoisonError::into_inner).is_due();
    if is_due && let Err(error) = signing_keys::rotate(&state.database, "system").await {
        tracing::warn!(%error, "signing keys were not rotated");
    }
    // Another process may have rotated them too.
    match signing_keys::SigningKeys::read(&state.database).await {
        Ok(keys) => *state.keys.write().unwrap_or_else(PoisonError::into_inner) = keys,
        Err(error) => tracing::warn!(%error, "signing keys could not be read"),
    }
}
