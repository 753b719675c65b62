//! Whether the database takes writes. Without them no camera gets a server and nothing is audited.

use crate::{
    clock::Clock,
    events::{kind::EventKind, log::EventLog},
    store::Store,
};
use serde_json::json;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long an answer holds: whoever asks more often than this costs no write. Anyone may ask.
const ANSWER_AGE_MAX: Duration = Duration::from_secs(1);
/// How long a trial write may take. A request to the allocator would wait no longer, either.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// How often it is tried while nobody asks and all is well: each trial is a write to the disk.
const TRIAL_INTERVAL: Duration = Duration::from_secs(30);

/// Tries writes, and tells when the answer changes: by a line of the log, an event and a metric.
#[derive(Debug)]
pub(crate) struct Readiness {
    store: Store,
    events: Arc<EventLog>,
    clock: Clock,
    last: Mutex<Option<Answer>>,
    /// Of those who ask at once, one tries.
    trial: tokio::sync::Mutex<()>,
}

/// What the last trial gave.
#[derive(Clone, Debug)]
struct Answer {
    at: Instant,
    problem: Option<String>,
}

impl Readiness {
    pub(crate) fn new(store: Store, events: Arc<EventLog>, clock: Clock) -> Self {
        Self { store, events, clock, last: Mutex::default(), trial: tokio::sync::Mutex::default() }
    }

    /// Why the cloud can't serve; `None` while it can.
    pub(crate) async fn problem(&self) -> Option<String> {
        let _one = self.trial.lock().await;
        match self.last() {
            Some(last) if self.clock.now().saturating_duration_since(last.at) < ANSWER_AGE_MAX => last.problem,
            last => self.ask(last).await,
        }
    }

    /// Asks where it is time to: once a second while there is a problem.
    pub(crate) async fn look(&self) {
        let is_due = self.last().is_none_or(|last| {
            let age = self.clock.now().saturating_duration_since(last.at);
            last.problem.is_some() || age >= TRIAL_INTERVAL
        });
        if is_due {
            self.problem().await;
        }
    }

    fn last(&self) -> Option<Answer> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn ask(&self, before: Option<Answer>) -> Option<String> {
        let problem = match tokio::time::timeout(TRIAL_TIMEOUT, self.store.try_write()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("another process holds the database's write lock".to_owned()),
        };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Answer { at: self.clock.now(), problem: problem.clone() });
        metrics::gauge!("sightline_store_writable").set(if problem.is_none() { 1.0 } else { 0.0 });
        let had_problem = before.is_some_and(|before| before.problem.is_some());
        match &problem {
            Some(problem) if !had_problem => {
                tracing::error!(problem, "the database takes no writes: requests are refused until it does");
                self.events.push("cloud", EventKind::StorageFailed, json!({ "reason": problem })).await;
            }
            None if had_problem => {
                tracing::info!("the database takes writes again");
                self.events.push("cloud", EventKind::StorageRecovered, json!({})).await;
            }
            Some(_) | None => {}
        }
        problem
    }
}
