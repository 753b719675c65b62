//! Which devices are connected, and what they last reported. In memory; only `last_seen` is stored, every half minute.

use crate::{
    clock::Clock,
    events::{kind::EventKind, log::EventLog, status},
    rate_limit::RateLimit,
    store::{Store, error::StoreError},
};
use serde_json::{Value, json};
use sightline_signal::{DeviceId, Online, StateReport};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Events of one device that are stored at once: a stream that begins, breaks and comes back a few times.
const EVENTS_BURST: u32 = 60;
/// Then one in this time. What exceeds it is passed on and not stored.
const EVENT_REFILL: Duration = Duration::from_secs(1);

/// Live state of all devices. Only devices that were let in are here, so the registry bounds it.
#[derive(Debug)]
pub(crate) struct Presence {
    tables: Mutex<Tables>,
    events: Arc<EventLog>,
    limit: RateLimit<DeviceId>,
    clock: Clock,
}

#[derive(Debug, Default)]
struct Tables {
    devices: HashMap<DeviceId, DeviceLive>,
    unsaved: HashMap<DeviceId, i64>,
}

/// One device.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeviceLive {
    /// The number of its MQTT connection. The broker ends one that is silent for one and a half keep-alives.
    connection: Option<u64>,
    /// What it last published on its topic `online`: some devices publish `false` before they hang up.
    said_online: Option<bool>,
    pub(crate) last_seen: Option<i64>,
    pub(crate) state: Option<StateReport>,
    pub(crate) last_status: Option<Value>,
}

impl DeviceLive {
    pub(crate) fn is_online(&self) -> bool {
        self.connection.is_some() && self.said_online != Some(false)
    }
}

impl Presence {
    pub(crate) fn new(events: Arc<EventLog>, clock: Clock) -> Self {
        Self { tables: Mutex::default(), events, limit: RateLimit::new(EVENTS_BURST, EVENT_REFILL), clock }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // Nothing panics under the lock; if it did, the tables would still be whole.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A device's state now.
    pub(crate) fn device(&self, id: &DeviceId) -> DeviceLive {
        self.tables().devices.get(id).cloned().unwrap_or_default()
    }

    /// How many devices are online.
    pub(crate) fn online_count(&self) -> usize {
        self.tables().devices.values().filter(|device| device.is_online()).count()
    }

    /// The device has sent something, over MQTT or HTTP.
    pub(crate) fn seen(&self, id: &DeviceId) {
        let now = self.clock.unix_secs();
        let mut tables = self.tables();
        tables.devices.entry(id.clone()).or_default().last_seen = Some(now);
        tables.unsaved.insert(id.clone(), now);
    }

    /// Stores when devices were last seen, as far as that has changed.
    pub(crate) async fn store_last_seen(&self, store: &Store) -> Result<(), StoreError> {
        let unsaved: Vec<(DeviceId, i64)> = std::mem::take(&mut self.tables().unsaved).into_iter().collect();
        if unsaved.is_empty() { Ok(()) } else { store.store_last_seen(&unsaved).await }
    }

    pub(crate) async fn connected(&self, id: &DeviceId, connection: u64) {
        self.seen(id);
        self.change_online(id, |device| {
            device.connection = Some(connection);
            device.said_online = None;
        })
        .await;
    }

    /// Ignored if a newer connection has taken over.
    pub(crate) async fn disconnected(&self, id: &DeviceId, connection: u64) {
        self.change_online(id, |device| {
            if device.connection == Some(connection) {
                device.connection = None;
            }
        })
        .await;
    }

    async fn change_online(&self, id: &DeviceId, change: impl FnOnce(&mut DeviceLive)) {
        let (before, after) = {
            let mut tables = self.tables();
            let device = tables.devices.entry(id.clone()).or_default();
            let before = device.is_online();
            change(device);
            (before, device.is_online())
        };
        if before != after {
            let kind = if after { EventKind::DeviceOnline } else { EventKind::DeviceOffline };
            self.push(id, kind, json!({})).await;
        }
    }

    /// Its retained message on `online`, or its will. What does not parse is ignored.
    pub(crate) async fn online_message(&self, id: &DeviceId, payload: &[u8]) {
        if let Ok(Online { online }) = serde_json::from_slice(payload) {
            self.change_online(id, |device| device.said_online = Some(online)).await;
        }
    }

    /// Its retained message on `stream/state`. What does not parse is ignored.
    pub(crate) fn state_message(&self, id: &DeviceId, payload: &[u8]) {
        if let Ok(state) = serde_json::from_slice(payload) {
            self.tables().devices.entry(id.clone()).or_default().state = Some(state);
        }
    }

    /// An event on its `stream/status`. What does not parse is ignored.
    pub(crate) async fn status_message(&self, id: &DeviceId, payload: &[u8]) {
        let Some((kind, detail)) = status::parse(payload) else { return };
        self.tables().devices.entry(id.clone()).or_default().last_status = Some(detail.clone());
        if kind == EventKind::StreamMetrics {
            self.events.pass_on(id.as_str(), kind, detail);
        } else {
            self.push(id, kind, detail).await;
        }
    }

    /// An event that the device chose to send: stored as long as it sends few.
    async fn push(&self, id: &DeviceId, kind: EventKind, detail: Value) {
        if self.limit.take(id.clone(), self.clock.now()).is_ok() {
            self.events.push(id.as_str(), kind, detail).await;
        } else {
            self.events.pass_on(id.as_str(), kind, detail);
        }
    }

    /// Its message on `motion`. What does not parse is ignored.
    pub(crate) async fn motion_message(&self, id: &DeviceId, payload: &[u8]) {
        let motion = serde_json::from_slice::<Value>(payload).ok().and_then(|value| value.get("motion").and_then(Value::as_bool));
        if let Some(motion) = motion {
            self.push(id, EventKind::Motion, json!({ "motion": motion })).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_dir::DataDir;

    #[tokio::test]
    async fn two_hundred_megabytes_of_status_leave_a_few_kilobytes() {
        let home = tempfile::tempdir().unwrap();
        let clock = Clock::default();
        let store = Store::open(&DataDir::open(home.path()).unwrap(), clock.clone()).await.unwrap();
        let events = Arc::new(EventLog::new(store, clock.clone()));
        let presence = Presence::new(Arc::clone(&events), clock);
        let id = DeviceId::new("cam").unwrap();
        let long = "x".repeat(1 << 20);
        let message = json!({"event": "connection_error", "message": long, "metrics": {"a": long, "stream_key": 7}}).to_string();
        let state = json!({"state": 3, "state_name": long, "quality": long}).to_string();
        for _ in 0..200 {
            presence.status_message(&id, message.as_bytes()).await;
            presence.state_message(&id, state.as_bytes());
            presence.motion_message(&id, message.as_bytes()).await;
        }
        let kept = events.events(None, None, 1000).await.unwrap();
        let bytes: usize = kept.iter().map(|event| event.detail.to_string().len()).sum();
        assert!((1..=200).contains(&kept.len()) && bytes <= kept.len() * 2048, "{bytes} bytes in {} events", kept.len());
        let live = presence.device(&id);
        assert!(live.last_status.unwrap().to_string().len() <= 2048 && live.state.is_none());
    }

    #[tokio::test]
    async fn presence_follows_the_newest_connection_and_the_device_s_own_word() {
        let home = tempfile::tempdir().unwrap();
        let clock = Clock::default();
        let store = Store::open(&DataDir::open(home.path()).unwrap(), clock.clone()).await.unwrap();
        let events = Arc::new(EventLog::new(store, clock.clone()));
        let presence = Presence::new(Arc::clone(&events), clock);
        let id = DeviceId::new("cam").unwrap();
        presence.connected(&id, 1).await;
        presence.connected(&id, 2).await;
        presence.disconnected(&id, 1).await;
        assert!(presence.device(&id).is_online(), "the second connection is still there");
        presence.online_message(&id, br#"{"online":false}"#).await;
        assert!(!presence.device(&id).is_online());
        presence.online_message(&id, br#"{"online":true}"#).await;
        presence.disconnected(&id, 2).await;
        assert!(!presence.device(&id).is_online());
        let kinds: Vec<_> = events.events(None, Some("cam"), 10).await.unwrap().into_iter().map(|event| event.event).collect();
        use EventKind::{DeviceOffline, DeviceOnline};
        assert_eq!(kinds, [DeviceOffline, DeviceOnline, DeviceOffline, DeviceOnline]);
    }
}
