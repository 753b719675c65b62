//! What follows a revocation, which [`super::registry::Registry::revoke`] writes: the device's connection is cut.

use crate::{
    events::{kind::EventKind, log::EventLog},
    mqtt::{bus::Bus, downlink::Message},
};
use serde_json::json;
use sightline_signal::DeviceId;

/// Cuts a revoked device's connection, forgets what it has left in the broker, and publishes for those who watch that it is gone.
pub(crate) async fn cut_off(bus: &Bus, events: &EventLog, device: &DeviceId) {
    let was_there = bus.hang_up(device);
    bus.forget(device);
    if was_there {
        tracing::info!(%device, "the connection of a revoked device was cut");
        events.push(device.as_str(), EventKind::DeviceRevoked, json!({})).await;
    }
    bus.publish(device, Message::offline()).await;
}
