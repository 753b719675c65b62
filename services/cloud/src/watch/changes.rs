//! Revocations and settings that any process has stored.

use crate::{
    devices::revocation::cut_off,
    events::log::EventLog,
    mqtt::{bus::Bus, downlink::Message},
    store::Store,
};

/// Follows the changes in the database. A cursor moves on only when its changes were read, so none is missed.
#[derive(Debug)]
pub(super) struct Changes {
    revocations: u64,
    settings: u64,
}

impl Changes {
    /// Begins behind the epoch `seen`.
    pub(super) fn after(seen: u64) -> Self {
        Self { revocations: seen, settings: seen }
    }

    pub(super) async fn look(&mut self, store: &Store, bus: &Bus, events: &EventLog) {
        match store.devices_revoked_after(self.revocations).await {
            Ok(revoked) => {
                for device in &revoked.items {
                    cut_off(bus, events, device).await;
                }
                self.revocations = revoked.up_to;
            }
            Err(error) => tracing::warn!(%error, "revoked devices could not be looked up"),
        }
        match store.settings_changed_after(self.settings).await {
            Ok(changes) => {
                // A change that came by HTTP is published a second time: devices pass over a version that they know.
                for change in changes {
                    bus.publish(&change.device, Message::desired(change.message)).await;
                    self.settings = change.epoch;
                }
            }
            Err(error) => tracing::warn!(%error, "settings for devices could not be looked up"),
        }
    }
}
