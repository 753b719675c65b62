//! The event log: events go into the database, and to whoever listens.

use super::kind::{Event, EventKind};
use crate::{
    clock::Clock,
    store::{Store, error::StoreError},
};
use serde_json::Value;
use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::broadcast;

/// Events that a slow listener may be behind before it misses some.
const EVENTS_BEHIND_MAX: usize = 256;
/// Events that wait for a database which does not take them: as many as it keeps. Above it the oldest go.
const EVENTS_WAITING_MAX: usize = 1000;
/// Events that are stored at a time.
const EVENTS_PER_WRITE_MAX: usize = 64;
/// How long who reports an event waits for it to be stored. A device that comes in waits for no one else's write lock.
const STORE_WAIT: Duration = Duration::from_millis(250);

/// Stores events and passes them on.
#[derive(Debug)]
pub(crate) struct EventLog {
    store: Store,
    clock: Clock,
    listeners: broadcast::Sender<Event>,
    waiting: Mutex<Waiting>,
    /// One stores at a time, so that events are stored and passed on in the order in which they come.
    order: tokio::sync::Mutex<()>,
    is_closing: AtomicBool,
}

/// Events that are not stored yet, the oldest first.
#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Event>,
    /// How many of them, from the oldest on, the listeners have: the database did not take them at once.
    told: usize,
}

impl EventLog {
    pub(crate) fn new(store: Store, clock: Clock) -> Self {
        Self {
            store,
            clock,
            listeners: broadcast::channel(EVENTS_BEHIND_MAX).0,
            waiting: Mutex::default(),
            order: tokio::sync::Mutex::default(),
            is_closing: AtomicBool::new(false),
        }
    }

    /// The cloud ends: events are passed on, and stored no more. That every device goes offline then would push out all that is kept.
    pub(crate) fn close(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
    }

    /// Stores an event and passes it on. `device` is the server's id for a server's event.
    ///
    /// Where the database does not take it, it is passed on with number 0, and stored once the database does.
    pub(crate) async fn push(&self, device: &str, event: EventKind, detail: Value) {
        if self.is_closing.load(Ordering::Relaxed) {
            return self.pass_on(device, event, detail);
        }
        self.wait_in_line(Event { seq: 0, time: self.clock.unix_secs(), device: device.to_owned(), event, detail });
        // Who takes over stores this event, too.
        let _ = tokio::time::timeout(STORE_WAIT, self.store_waiting()).await;
    }

    fn wait_in_line(&self, event: Event) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.events.len() >= EVENTS_WAITING_MAX {
            waiting.events.pop_front();
            waiting.told = waiting.told.saturating_sub(1);
            metrics::counter!("sightline_events_lost_total").increment(1);
        }
        waiting.events.push_back(event);
    }

    /// Stores what waits, until nothing does or the database refuses.
    pub(crate) async fn store_waiting(&self) {
        let _in_order = self.order.lock().await;
        loop {
            let batch: Vec<Event> = {
                let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                waiting.events.iter().take(EVENTS_PER_WRITE_MAX).cloned().collect()
            };
            if batch.is_empty() {
                return;
            }
            match self.store.append_events(&batch).await {
                Ok(seqs) => self.stored(&seqs),
                Err(error) => return self.refused(&error),
            }
        }
    }

    /// The oldest of those that wait are stored, under these numbers.
    fn stored(&self, seqs: &[u64]) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for seq in seqs {
            let Some(mut event) = waiting.events.pop_front() else { return };
            event.seq = *seq;
            let is_told = waiting.told > 0;
            waiting.told = waiting.told.saturating_sub(1);
            if !is_told {
                // Nobody has to listen.
                let _ = self.listeners.send(event);
            }
        }
    }

    /// Listeners need not wait for the disk.
    fn refused(&self, error: &StoreError) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let untold = waiting.events.len() - waiting.told.min(waiting.events.len());
        if untold > 0 {
            tracing::warn!(%error, waiting = waiting.events.len(), "events are not stored yet; they are kept in memory and tried again");
        }
        for event in waiting.events.iter().skip(waiting.told) {
            let _ = self.listeners.send(event.clone());
        }
        waiting.told = waiting.events.len();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_dir::DataDir;
    use serde_json::json;

    #[tokio::test]
    async fn events_that_the_database_refuses_are_passed_on_and_stored_once_it_takes_them() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&DataDir::open(home.path()).unwrap(), Clock::default()).await.unwrap();
        let events = EventLog::new(store.clone(), Clock::default());
        let mut heard = events.subscribe();
        store.limit_pages(true).await;
        for number in 0..3 {
            events.push("cam", EventKind::Motion, json!({ "number": number, "filler": "x".repeat(9000) })).await;
            assert_eq!((heard.recv().await.unwrap().seq, events.events(None, None, 10).await.unwrap().len()), (0, 0));
        }
        store.limit_pages(false).await;
        events.push("cam", EventKind::Motion, json!({ "number": 3 })).await;
        // The first three are not told twice.
        assert_eq!(heard.recv().await.unwrap().seq, 4);
        let stored = events.events(None, None, 10).await.unwrap();
        assert_eq!(stored.iter().map(|event| event.detail["number"].as_u64().unwrap()).collect::<Vec<_>>(), [3, 2, 1, 0]);
    }
}
