//! What devices say of themselves, and what happened lately. In memory; only `last_seen` is written down, lazily.

use crate::data_dir::unix_secs;
use serde::Serialize;
use serde_json::{Map, Value, json};
use sightline_signal::{DeviceId, Online, StateReport};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::broadcast;

/// Events that are kept for `/api/v1/events`: a page of a console, not an archive.
pub(crate) const EVENTS_KEPT_MAX: usize = 1000;
/// Events that a slow listener may be behind before it misses some.
const EVENTS_BEHIND_MAX: usize = 256;
/// The longest text of a device's status that is passed on, in bytes.
const STATUS_TEXT_BYTES_MAX: usize = 256;

/// Live state of all devices. It holds only devices that were let in, so the registry bounds it.
#[derive(Debug)]
pub(crate) struct Presence {
    tables: Mutex<Tables>,
    events: broadcast::Sender<Event>,
}

#[derive(Debug, Default)]
struct Tables {
    devices: HashMap<DeviceId, DeviceLive>,
    events: VecDeque<Event>,
    event_seq: u64,
    unsaved: HashMap<DeviceId, i64>,
}

/// One device.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeviceLive {
    /// The number of its MQTT connection. The broker ends one that is silent for one and a half keep-alives.
    connection: Option<u64>,
    /// What it last published on its `online` topic, for devices that say good-bye before they hang up.
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

/// Something that happened.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Event {
    /// Rises by one; 0 for `stream_metrics`, which is passed on but not kept.
    pub(crate) seq: u64,
    /// By the cloud's clock, seconds since 1970.
    pub(crate) time: i64,
    /// The device, or the server for `server_up` and `server_down`.
    pub(crate) device: String,
    /// `stream_started`, `stream_stopped`, `connection_error`, `stream_metrics`, `motion`, `device_online`, `device_offline`,
    /// `device_added`, `device_revoked`, `allocated`, `server_up`, `server_down`, `server_restarted`.
    pub(crate) event: String,
    /// What the event says; a device's own words, with secrets struck out.
    pub(crate) detail: Value,
}

impl Presence {
    pub(crate) fn new() -> Self {
        Self { tables: Mutex::default(), events: broadcast::channel(EVENTS_BEHIND_MAX).0 }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // Nothing panics while it holds the lock; if it did, the tables would still be whole.
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

    /// It was heard of, over MQTT or HTTP.
    pub(crate) fn seen(&self, id: &DeviceId) {
        let now = unix_secs();
        let mut tables = self.tables();
        tables.devices.entry(id.clone()).or_default().last_seen = Some(now);
        tables.unsaved.insert(id.clone(), now);
    }

    /// Takes what is to be written down.
    pub(crate) fn take_unsaved(&self) -> Vec<(DeviceId, i64)> {
        std::mem::take(&mut self.tables().unsaved).into_iter().collect()
    }

    pub(crate) fn connected(&self, id: &DeviceId, connection: u64) {
        self.seen(id);
        self.change_online(id, |device| {
            device.connection = Some(connection);
            device.said_online = None;
        });
    }

    /// Ignored if a newer connection has taken over.
    pub(crate) fn disconnected(&self, id: &DeviceId, connection: u64) {
        self.change_online(id, |device| {
            if device.connection == Some(connection) {
                device.connection = None;
            }
        });
    }

    fn change_online(&self, id: &DeviceId, change: impl FnOnce(&mut DeviceLive)) {
        let (before, after) = {
            let mut tables = self.tables();
            let device = tables.devices.entry(id.clone()).or_default();
            let before = device.is_online();
            change(device);
            (before, device.is_online())
        };
        if before != after {
            self.push(id.as_str(), if after { "device_online" } else { "device_offline" }, json!({}));
        }
    }

    /// Its retained `online` message, or its will. What does not parse is ignored.
    pub(crate) fn online_message(&self, id: &DeviceId, payload: &[u8]) {
        if let Ok(Online { online }) = serde_json::from_slice(payload) {
            self.change_online(id, |device| device.said_online = Some(online));
        }
    }

    /// Its retained `stream/state`. What does not parse is ignored.
    pub(crate) fn state_message(&self, id: &DeviceId, payload: &[u8]) {
        if let Ok(state) = serde_json::from_slice(payload) {
            self.tables().devices.entry(id.clone()).or_default().state = Some(state);
        }
    }

    /// An event on its `stream/status`. What does not parse is ignored.
    pub(crate) fn status_message(&self, id: &DeviceId, payload: &[u8]) {
        let Ok(Value::Object(said)) = serde_json::from_slice(payload) else { return };
        let Some(name) = said.get("event").and_then(Value::as_str).filter(|name| STATUS_EVENTS.contains(name)) else { return };
        let (name, detail) = (name.to_owned(), Value::Object(without_secrets(said)));
        self.tables().devices.entry(id.clone()).or_default().last_status = Some(detail.clone());
        if name == "stream_metrics" {
            let event = Event { seq: 0, time: unix_secs(), device: id.as_str().to_owned(), event: name, detail };
            let _ = self.events.send(event);
        } else {
            self.push(id.as_str(), &name, detail);
        }
    }

    /// Its `motion` message. What does not parse is ignored.
    pub(crate) fn motion_message(&self, id: &DeviceId, payload: &[u8]) {
        let motion = serde_json::from_slice::<Value>(payload).ok().and_then(|value| value.get("motion").and_then(Value::as_bool));
        if let Some(motion) = motion {
            self.push(id.as_str(), "motion", json!({ "motion": motion }));
        }
    }

    /// Keeps an event and passes it on.
    pub(crate) fn push(&self, device: &str, event: &str, detail: Value) {
        let mut tables = self.tables();
        tables.event_seq += 1;
        let event = Event { seq: tables.event_seq, time: unix_secs(), device: device.to_owned(), event: event.to_owned(), detail };
        if tables.events.len() >= EVENTS_KEPT_MAX {
            tables.events.pop_front();
        }
        tables.events.push_back(event.clone());
        drop(tables);
        // No listener is no fault.
        let _ = self.events.send(event);
    }

    /// Kept events below `before` (exclusive; `None`: from the newest), newest first.
    pub(crate) fn events(&self, before: Option<u64>, device: Option<&str>, limit: usize) -> Vec<Event> {
        let tables = self.tables();
        let wanted = |event: &&Event| before.is_none_or(|before| event.seq < before) && device.is_none_or(|device| event.device == device);
        tables.events.iter().rev().filter(wanted).take(limit).cloned().collect()
    }

    /// All events from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }
}

/// The seed's events (specification §2).
const STATUS_EVENTS: [&str; 4] = ["stream_started", "stream_metrics", "stream_stopped", "connection_error"];
/// The fields of those events that are passed on. A device of the seed publishes its stream key in clear: that one is not here.
const STATUS_FIELDS: [&str; 12] = [
    "message",
    "error_code",
    "timestamp",
    "state",
    "server_url",
    "quality",
    "session_id",
    "metrics",
    "final_metrics",
    "reconnect_attempts",
    "next_retry_in_sec",
    "event",
];

fn without_secrets(said: Map<String, Value>) -> Map<String, Value> {
    said.into_iter()
        .filter(|(key, _)| STATUS_FIELDS.contains(&key.as_str()))
        .map(|(key, value)| match value {
            Value::String(text) => {
                // A URL may carry name and token behind the question mark.
                let text = if key == "server_url" { text.split('?').next().unwrap_or_default() } else { text.as_str() };
                let end = text.floor_char_boundary(STATUS_TEXT_BYTES_MAX);
                (key, Value::String(text[..end].to_owned()))
            }
            Value::Object(figures) => {
                let figures = figures.into_iter().filter(|(_, value)| !value.is_object() && !value.is_array()).take(32);
                (key, Value::Object(figures.collect()))
            }
            Value::Array(_) => (key, Value::Null),
            other @ (Value::Null | Value::Bool(_) | Value::Number(_)) => (key, other),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_device_s_stream_key_is_never_passed_on() {
        let presence = Presence::new();
        let id = DeviceId::new("cam").unwrap();
        let said =
            br#"{"event":"stream_started","stream_key":"secret","token":"secret","server_url":"rtmp://h/live/x?token=secret","state":3}"#;
        presence.status_message(&id, said);
        presence.status_message(&id, b"{not json");
        presence.status_message(&id, br#"{"event":"made_up"}"#);
        let events = presence.events(None, None, 10);
        assert_eq!(events.len(), 1);
        assert!(!serde_json::to_string(&events).unwrap().contains("secret"), "{events:?}");
    }

    #[test]
    fn presence_follows_the_newest_connection_and_the_device_s_own_word() {
        let presence = Presence::new();
        let id = DeviceId::new("cam").unwrap();
        presence.connected(&id, 1);
        presence.connected(&id, 2);
        presence.disconnected(&id, 1);
        assert!(presence.device(&id).is_online(), "the second connection is still there");
        presence.online_message(&id, br#"{"online":false}"#);
        assert!(!presence.device(&id).is_online());
        presence.online_message(&id, br#"{"online":true}"#);
        presence.disconnected(&id, 2);
        assert!(!presence.device(&id).is_online());
        let names: Vec<_> = presence.events(None, Some("cam"), 10).into_iter().map(|event| event.event).collect();
        assert_eq!(names, ["device_offline", "device_online", "device_offline", "device_online"]);
    }
}
