//! Refusals in the audit log: one row at the first of a kind, and one with their number when its minute is over.
//!
//! Who is refused chooses how often that happens. So an identity gets two rows a minute for each action and reason, whatever it does.

use crate::{
    clock::Clock,
    store::{
        Store,
        actor::{Action, Actor},
    },
};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Refusals of one kind are counted over this time.
const WINDOW: Duration = Duration::from_secs(60);
/// Kinds that are counted at a time. What exceeds them is in the metric alone.
const KINDS_MAX: usize = 10_000;

/// Writes refusals.
#[derive(Debug)]
pub(crate) struct Refusals {
    store: Store,
    clock: Clock,
    counts: Mutex<HashMap<(String, &'static str, String), Counted>>,
}

/// Refusals of one kind since the row that was written.
#[derive(Debug)]
struct Counted {
    actor: Actor,
    action: Action,
    subject: String,
    since: Instant,
    more: u64,
}

impl Refusals {
    pub(crate) fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock, counts: Mutex::default() }
    }

    /// Logs a refusal, or counts it if its kind has a row already. `detail` is an object; the reason is added to it.
    pub(crate) async fn record(&self, actor: &Actor, action: Action, subject: &str, reason: &str, detail: Value) {
        self.record_several(actor, action, subject, reason, detail, 1).await;
    }

    /// The same of `count` refusals of one kind, which another process has counted: the first row has their number.
    pub(crate) async fn record_several(&self, actor: &Actor, action: Action, subject: &str, reason: &str, mut detail: Value, count: u64) {
        metrics::counter!("sightline_refusals_total", "action" => action.as_str()).increment(count);
        let key = (actor.to_string(), action.as_str(), reason.to_owned());
        let now = self.clock.now();
        let ended = {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            let is_full = counts.len() >= KINDS_MAX;
            match counts.get_mut(&key) {
                Some(counted) if now.saturating_duration_since(counted.since) < WINDOW => {
                    counted.more = counted.more.saturating_add(count);
                    return;
                }
                Some(counted) => {
                    counted.since = now;
                    std::mem::take(&mut counted.more)
                }
                None if is_full => return,
                None => {
                    let (actor, subject) = (actor.clone(), subject.to_owned());
                    counts.insert(key, Counted { actor, action, subject, since: now, more: 0 });
                    0
                }
            }
        };
        if let Some(fields) = detail.as_object_mut() {
            fields.insert("reason".into(), reason.into());
            if ended > 0 {
                fields.insert("count_before".into(), ended.into());
            }
            if count > 1 {
                fields.insert("count".into(), count.into());
            }
        }
        self.store.log(actor, action, subject, detail).await;
    }

    /// Writes the number of those whose minute is over.
    pub(crate) async fn sweep(&self) {
        let now = self.clock.now();
        self.write(|counted| now.saturating_duration_since(counted.since) >= WINDOW).await;
    }

    /// Writes all that is counted: the cloud ends.
    pub(crate) async fn flush(&self) {
        self.write(|_| true).await;
    }

    async fn write(&self, is_over: impl Fn(&Counted) -> bool) {
        let over: Vec<_> = {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            counts.extract_if(|_, counted| is_over(counted)).collect()
        };
        for ((_, _, reason), counted) in over.into_iter().filter(|(_, counted)| counted.more > 0) {
            let detail = json!({ "reason": reason, "count": counted.more });
            self.store.log(&counted.actor, counted.action, &counted.subject, detail).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_dir::DataDir;
    use sightline_signal::DeviceId;

    #[tokio::test]
    async fn five_hundred_refusals_are_two_rows_with_their_number() {
        let home = tempfile::tempdir().unwrap();
        let clock = Clock::default();
        let store = Store::open(&DataDir::open(home.path()).unwrap(), clock.clone()).await.unwrap();
        let refusals = Refusals::new(store.clone(), clock.clone());
        let actor = Actor::Device(DeviceId::new("cam").unwrap());
        for number in 0..514 {
            refusals.record(&actor, Action::MqttConnectRefuse, "cam", "revoked", json!({ "number": number })).await;
        }
        refusals.record(&Actor::Cli, Action::MqttConnectRefuse, "cam", "revoked", json!({})).await;
        let rows = async || store.audit_entries(None, 100).await.unwrap();
        assert_eq!(rows().await.len(), 2, "one of each actor");
        clock.advance(WINDOW);
        refusals.sweep().await;
        refusals.sweep().await;
        let rows = rows().await;
        assert_eq!((rows.len(), rows[0].detail.as_str()), (3, r#"{"count":513,"reason":"revoked"}"#));
    }
}
