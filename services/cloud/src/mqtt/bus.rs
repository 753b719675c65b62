//! The way to devices.

use super::{builtin::broker::Broker, downlink::Message};
use sightline_signal::DeviceId;
use std::sync::Arc;

/// What carries messages to and from devices. What comes from them arrives at `Uplink`.
#[derive(Clone, Debug)]
pub(crate) enum Bus {
    /// The broker in this process.
    Builtin(Arc<Broker>),
}

impl Bus {
    /// Publishes as the cloud.
    pub(crate) async fn publish(&self, device: &DeviceId, message: Message) {
        match self {
            Self::Builtin(broker) => broker.publish(device, message),
        }
    }

    /// Forgets what a device has left: its session, its will, its retained messages.
    pub(crate) fn forget(&self, device: &DeviceId) {
        match self {
            Self::Builtin(broker) => broker.forget(device),
        }
    }

    /// Ends a device's connection, if it has one.
    pub(crate) fn hang_up(&self, device: &DeviceId) -> bool {
        match self {
            Self::Builtin(broker) => broker.hang_up(device),
        }
    }
}
