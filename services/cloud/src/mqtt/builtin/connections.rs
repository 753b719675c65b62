//! Which devices are connected, and how to hang up on them.

use sightline_signal::DeviceId;
use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::broadcast;

/// The connections of all devices.
#[derive(Debug, Default)]
pub(super) struct Connections {
    next: AtomicU64,
    devices: Mutex<HashMap<DeviceId, Listed>>,
}

/// A connection's number, and what ends it.
pub(super) type Listed = (u64, broadcast::Sender<()>);

impl Connections {
    /// A number that no connection had before.
    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Lists a connection; gives the older one of the same device, which the library's takeover ends once the new one is let in.
    pub(super) fn insert(&self, device: &DeviceId, number: u64, hang_up: broadcast::Sender<()>) -> Option<Listed> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner).insert(device.clone(), (number, hang_up))
    }

    /// Lists the older connection again in place of one that was not let in, unless a newer one has taken its place.
    pub(super) fn restore(&self, device: &DeviceId, number: u64, older: Option<Listed>) {
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        if devices.get(device).is_some_and(|(newest, _)| *newest == number) {
            match older {
                Some(older) => devices.insert(device.clone(), older),
                None => devices.remove(device),
            };
        }
    }

    /// Does nothing if a newer connection has taken over.
    pub(super) fn remove(&self, device: &DeviceId, number: u64) {
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        if devices.get(device).is_some_and(|(newest, _)| *newest == number) {
            devices.remove(device);
        }
    }

    pub(super) fn has(&self, device: &DeviceId) -> bool {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner).contains_key(device)
    }

    /// Ends a device's connection; false if it has none.
    pub(super) fn hang_up(&self, device: &DeviceId) -> bool {
        let devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        devices.get(device).is_some_and(|(_, hang_up)| hang_up.send(()).is_ok())
    }
}
