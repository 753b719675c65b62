//! One hook: what it lacks is told, one after another.

use super::{HookState, Hooks, message};
use crate::{
    events::kind::{Event, EventKind},
    store::{error::StoreError, hooks::HookRow},
};
use serde_json::json;
use sightline_endpoint::Reply;
use std::{sync::Arc, time::Duration};
use tokio::sync::broadcast::error::RecvError;

/// How long one try may take.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// The first wait after a failure, and the longest.
const WAIT_LEAST: Duration = Duration::from_millis(500);
const WAIT_MOST: Duration = Duration::from_secs(60);
/// Events that are told between two notes of how far it is: so many are told again after a crash at most.
const BATCH: u32 = 16;
/// How often the table is looked at while no event is heard of: another process may have written one.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Tells one hook.
pub(super) struct Teller {
    pub(super) hooks: Arc<Hooks>,
    pub(super) row: HookRow,
    /// The number of the last event that it has, or does not want.
    pub(super) after: u64,
}

impl Teller {
    /// For ever: whoever spawns it ends it.
    pub(super) async fn run(mut self) {
        let mut heard = self.hooks.events.subscribe();
        loop {
            match self.tell_batch().await {
                Ok(0) => {}
                Ok(_) => continue,
                Err(error) => tracing::warn!(%error, hook = self.row.id, "a hook waits: the database can't be read or written"),
            }
            let look = tokio::time::sleep(LOOK_INTERVAL);
            tokio::pin!(look);
            loop {
                tokio::select! {
                    () = &mut look => break,
                    event = heard.recv() => match event {
                        // Number 0 is not in the table.
                        Ok(event) if event.seq > self.after => break,
                        Ok(_) => {}
                        Err(RecvError::Lagged(_)) => break,
                        Err(RecvError::Closed) => return,
                    }
                }
            }
        }
    }

    /// Tells what is there, and notes how far it is. Gives how many events that were.
    async fn tell_batch(&mut self) -> Result<usize, StoreError> {
        let events = self.hooks.store.events_after(self.after, BATCH).await?;
        let Some(first) = events.first() else { return Ok(0) };
        let lost = first.seq.saturating_sub(self.after + 1);
        if lost > 0 {
            tracing::warn!(hook = self.row.id, url = %self.row.url, lost, "a hook's endpoint has been away for too long: events are gone that it never took");
        }
        for event in &events {
            if self.wants(event) {
                self.tell(event).await;
            }
            self.after = event.seq;
        }
        self.hooks.store.hook_has(&self.row.id, self.row.turn, self.after, lost).await?;
        Ok(events.len())
    }

    fn wants(&self, event: &Event) -> bool {
        let HookRow { events, device, .. } = &self.row;
        (events.is_empty() || events.split(',').any(|kind| kind == event.event.as_str())) && (device.is_empty() || *device == event.device)
    }

    /// Until it was taken.
    async fn tell(&self, event: &Event) {
        let mut wait = WAIT_LEAST;
        while let Err(problem) = self.send(event).await {
            self.failed(problem).await;
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(WAIT_MOST);
        }
        self.taken().await;
    }

    async fn send(&self, event: &Event) -> Result<(), String> {
        let ask = message::of(event, &self.row.id, &self.row.secret, self.hooks.clock.unix_secs());
        match tokio::time::timeout(SEND_TIMEOUT, self.hooks.client.send(&self.row.url, ask)).await {
            Ok(Ok(Reply { status: 200..=299, .. })) => Ok(()),
            Ok(Ok(Reply { status, .. })) => Err(format!("it answers {status}")),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {} s", SEND_TIMEOUT.as_secs())),
        }
    }

    async fn taken(&self) {
        metrics::counter!("sightline_hook_messages_total", "outcome" => "taken").increment(1);
        let was_failing = {
            let mut states = self.hooks.states();
            let state = states.entry(self.row.id.clone()).or_default();
            state.taken += 1;
            state.failing.take().is_some()
        };
        if was_failing {
            tracing::info!(hook = self.row.id, url = %self.row.url, "a hook's endpoint takes messages again");
            self.report(EventKind::HookRecovered, json!({ "hook": self.row.id, "url": self.row.url.to_string() })).await;
        }
    }

    async fn failed(&self, problem: String) {
        metrics::counter!("sightline_hook_messages_total", "outcome" => "failed").increment(1);
        let is_first = {
            let (mut states, now) = (self.hooks.states(), self.hooks.clock.unix_secs());
            let HookState { failing, .. } = states.entry(self.row.id.clone()).or_default();
            let since = failing.as_ref().map(|(since, _)| *since);
            *failing = Some((since.unwrap_or(now), problem.clone()));
            since.is_none()
        };
        if is_first {
            tracing::warn!(hook = self.row.id, url = %self.row.url, problem, "a hook's endpoint does not take an event; it is told again until it does");
            self.report(EventKind::HookFailed, json!({ "hook": self.row.id, "url": self.row.url.to_string(), "reason": problem })).await;
        }
    }

    async fn report(&self, kind: EventKind, detail: serde_json::Value) {
        self.hooks.events.push("cloud", kind, detail).await;
    }
}
