//! What the cloud looks after by itself, every second: changes by other processes, dead origins, aging keys, old rows.

mod changes;
mod servers;

use crate::{
    audit::refusals::Refusals,
    clock::Clock,
    devices::presence::Presence,
    events::log::EventLog,
    identity::{
        certificates::Certificates,
        signing_keys::{self, SigningKeys},
    },
    monitoring::Monitoring,
    mqtt::bus::Bus,
    readiness::Readiness,
    servers::{entered::Entered, inventory::Inventory},
    store::{Store, actor::Actor},
};
use changes::Changes;
use servers::Servers;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// How often the database is asked for changes: well within the ten seconds of specification §3.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How many looks come between two rounds of housekeeping.
const LOOKS_PER_HOUSEKEEPING: u32 = 30;

/// What it looks at.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) certificates: Certificates,
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) bus: Option<Bus>,
    pub(crate) inventory: Arc<Inventory>,
    pub(crate) entered: Arc<Entered>,
    pub(crate) presence: Arc<Presence>,
    pub(crate) events: Arc<EventLog>,
    pub(crate) keys: SigningKeys,
    pub(crate) monitoring: Monitoring,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) refusals: Arc<Refusals>,
}

impl Watch {
    /// Looks until `stop`. `seen` is the epoch up to which all changes are known.
    pub(crate) async fn run(mut self, seen: u64, stop: CancellationToken) {
        let mut interval = tokio::time::interval(LOOK_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut looks, mut changes, mut servers) = (0_u32, Changes::after(seen), Servers::default());
        loop {
            tokio::select! {
                () = stop.cancelled() => return self.refusals.flush().await,
                _ = interval.tick() => {}
            }
            self.refusals.sweep().await;
            if let Some(bus) = &self.bus {
                changes.look(&self.store, bus, &self.events).await;
            }
            if let Err(error) = self.entered.refresh().await {
                tracing::debug!(%error, "servers that were entered could not be read");
            }
            servers.look(&self.inventory, &self.events).await;
            self.readiness.look().await;
            self.events.store_waiting().await;
            self.certificates.look().await;
            self.renew_keys().await;
            self.measure(&servers);
            looks = looks.wrapping_add(1);
            if looks.is_multiple_of(LOOKS_PER_HOUSEKEEPING) {
                self.keep_house().await;
            }
            self.monitoring.recorder.run_upkeep();
        }
    }

    async fn renew_keys(&self) {
        if self.keys.is_due()
            && let Err(error) = signing_keys::rotate(&self.store, &self.clock, &Actor::System).await
        {
            tracing::warn!(%error, "signing keys were not rotated");
        }
        // Another process may have rotated them too.
        if let Err(error) = self.keys.reload().await {
            tracing::warn!(%error, "signing keys could not be read");
        }
    }

    async fn keep_house(&self) {
        if let Err(error) = self.presence.store_last_seen(&self.store).await {
            tracing::warn!(%error, "when devices were last seen was not stored");
        }
        self.store.fill_reserve();
        if let Err(error) = self.store.drop_removed_devices().await {
            tracing::warn!(%error, "the names of removed devices were not forgotten");
        }
        if let Err(error) = self.store.drop_old_sessions().await {
            tracing::warn!(%error, "old sessions were not dropped");
        }
        if let Err(error) = self.store.drop_old_answers().await {
            tracing::warn!(%error, "old answers were not dropped");
        }
    }

    fn measure(&self, servers: &Servers) {
        // Gauges have counts that stay far below 2^52.
        #[allow(clippy::cast_precision_loss)]
        {
            metrics::gauge!("sightline_devices_online").set(self.presence.online_count() as f64);
            let live = self.inventory.live_streams();
            let failing = live.values().filter(|live| live.stream.recording.as_deref() == Some("failing")).count();
            metrics::gauge!("sightline_streams_live").set(live.len() as f64);
            metrics::gauge!("sightline_recordings_failing").set(failing as f64);
            metrics::gauge!("sightline_servers_alive").set(servers.alive_count() as f64);
            metrics::gauge!("sightline_servers_silent").set(servers.silent_count() as f64);
        }
    }
}
