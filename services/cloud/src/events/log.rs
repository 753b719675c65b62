//! The event log: events go into the database, and to whoever listens.

use super::kind::{Event, EventKind};
use crate::{
    clock::Clock,
    store::{Store, error::StoreError},
};
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Mutex, broadcast};

/// Events that a slow listener may be behind before it misses some.
const EVENTS_BEHIND_MAX: usize = 256;

/// Stores events and passes them on.
#[derive(Debug)]
pub(crate) struct EventLog {
    store: Store,
    clock: Clock,
    listeners: broadcast::Sender<Event>,
    /// Events are stored and passed on in the order in which they come: it lets in one after another.
    order: Mutex<()>,
    is_closing: AtomicBool,
}

impl EventLog {
    pub(crate) fn new(store: Store, clock: Clock) -> Self {
        Self {
            store,
            clock,
            listeners: broadcast::channel(EVENTS_BEHIND_MAX).0,
            order: Mutex::default(),
            is_closing: AtomicBool::new(false),
        }
    }

    /// The cloud ends: events are passed on, and stored no more. That every device goes offline then would push out all that is kept.
    pub(crate) fn close(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
    }

    /// Stores an event and passes it on. `device` is the server's id for a server's event.
    pub(crate) async fn push(&self, device: &str, event: EventKind, detail: Value) {
        if self.is_closing.load(Ordering::Relaxed) {
            return self.pass_on(device, event, detail);
        }
        let _in_order = self.order.lock().await;
        let mut event = Event { seq: 0, time: self.clock.unix_secs(), device: device.to_owned(), event, detail };
        match self.store.append_event(&event).await {
            Ok(seq) => event.seq = seq,
            Err(error) => tracing::warn!(%error, device, event = event.event.as_str(), "an event was not stored"),
        }
        // Nobody has to listen.
        let _ = self.listeners.send(event);
    }

    /// Passes an event on that is not worth storing.
    pub(crate) fn pass_on(&self, device: &str, event: EventKind, detail: Value) {
        let _ = self.listeners.send(Event { seq: 0, time: self.clock.unix_secs(), device: device.to_owned(), event, detail });
    }

    /// Stored events below `before` (exclusive; `None`: from the newest), newest first.
    pub(crate) async fn events(&self, before: Option<u64>, device: Option<&str>, limit: u32) -> Result<Vec<Event>, StoreError> {
        self.store.events(before, device, limit).await
    }

    /// All events from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.listeners.subscribe()
    }
}
