//! Endpoints that are told of events: signed, in order, again until each was taken, over restarts, and anew where someone asks.
//!
//! What is told is the table of events itself: a hook is a place in it, so there is no second queue that could hold something else. Each hook has a
//! task of its own: one that is dead holds up no other.

mod message;
mod teller;

use crate::{
    clock::Clock,
    events::{kind::EventKind, log::EventLog},
    secrets::{CryptoError, command_id},
    store::{
        Store,
        actor::{Action, Actor},
        error::StoreError,
        hooks::HookRow,
    },
};
use serde_json::json;
use sightline_endpoint::{Client, EndpointUrl};
use sightline_signal::DeviceId;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use teller::Teller;
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Hooks of an installation: each is a task and reads the table of events.
const HOOKS_MAX: i64 = 32;
/// The longest address, in bytes.
const URL_BYTES_MAX: usize = 600;
/// How often the table is looked at for what another process has changed.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Why there is no hook.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HookError {
    #[error("{0}")]
    Bad(String),
    #[error("there is no hook {0}")]
    Unknown(String),
    #[error("there are {HOOKS_MAX} hooks already: remove some")]
    TooMany,
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How a hook is, as this process sees it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct HookState {
    /// Messages that its endpoint has taken since the start.
    pub(crate) taken: u64,
    /// Since when it takes none, seconds since 1970, and why.
    pub(crate) failing: Option<(i64, String)>,
}

/// All hooks.
#[derive(Debug)]
pub(crate) struct Hooks {
    store: Store,
    events: Arc<EventLog>,
    clock: Clock,
    client: Client,
    states: Mutex<BTreeMap<String, HookState>>,
    changed: Notify,
}

impl Hooks {
    pub(crate) fn new(store: Store, events: Arc<EventLog>, clock: Clock, allow_private_addresses: bool) -> Self {
        let client = Client::new(allow_private_addresses, "hooks.allow_private_addresses");
        Self { store, events, clock, client, states: Mutex::default(), changed: Notify::new() }
    }

    fn states(&self) -> MutexGuard<'_, BTreeMap<String, HookState>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells, until `stop`.
    pub(crate) async fn run(self: Arc<Self>, tasks: TaskTracker, stop: CancellationToken) {
        let mut running: BTreeMap<(String, u64), CancellationToken> = BTreeMap::new();
        loop {
            match self.store.hooks().await {
                Ok(rows) => self.tell_these(rows, &mut running, &tasks, &stop),
                Err(error) => tracing::warn!(%error, "the hooks can't be read; those that are known go on"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.changed.notified() => {}
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
        }
    }

    fn tell_these(
        self: &Arc<Self>,
        rows: Vec<HookRow>,
        running: &mut BTreeMap<(String, u64), CancellationToken>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) {
        running.retain(|(id, turn), stop| {
            let stays = rows.iter().any(|row| row.id == *id && row.turn == *turn);
            if !stays {
                stop.cancel();
            }
            stays
        });
        self.states().retain(|id, _| rows.iter().any(|row| row.id == *id));
        for row in rows {
            running.entry((row.id.clone(), row.turn)).or_insert_with(|| {
                let stop = stop.child_token();
                let teller = Teller { hooks: self.clone(), after: row.after, row };
                let until = stop.clone();
                tasks.spawn(async move {
                    tokio::select! {
                        () = until.cancelled() => {}
                        () = teller.run() => {}
                    }
                });
                stop
            });
        }
        // Gauges have counts that stay far below 2^52.
        #[allow(clippy::cast_precision_loss)]
        metrics::gauge!("sightline_hooks_failing").set(self.states().values().filter(|state| state.failing.is_some()).count() as f64);
    }

    /// All of them, with how each is.
    pub(crate) async fn list(&self) -> Result<Vec<(HookRow, HookState)>, StoreError> {
        let rows = self.store.hooks().await?;
        let states = self.states();
        Ok(rows
            .into_iter()
            .map(|row| {
                let state = states.get(&row.id).cloned().unwrap_or_default();
                (row, state)
            })
            .collect())
    }

    /// Adds one, to be told of what comes from now on. Its secret is shown this once.
    pub(crate) async fn add(&self, actor: &Actor, url: &str, events: &[String], device: Option<&str>) -> Result<HookRow, HookError> {
        let endpoint = EndpointUrl::from(url);
        if !endpoint.is_http() || url.len() > URL_BYTES_MAX {
            return Err(HookError::Bad(format!("url: an http:// or https:// address of at most {URL_BYTES_MAX} bytes")));
        }
        if let Some(unknown) = events.iter().find(|kind| kind.parse::<EventKind>().is_err()) {
            let shown: String = unknown.chars().take(64).collect();
            return Err(HookError::Bad(format!("events: {shown:?} is no kind of event; docs/protocol/http.md has all")));
        }
        if events.len() > EventKind::ALL.len() {
            return Err(HookError::Bad("events: each kind once".to_owned()));
        }
        let device = device.map(DeviceId::new).transpose().map_err(|error| HookError::Bad(format!("device: {error}")))?;
        let row = HookRow {
            id: command_id().as_str().to_owned(),
            url: endpoint,
            secret: message::new_secret()?,
            events: events.join(","),
            device: device.map(|device| device.as_str().to_owned()).unwrap_or_default(),
            after: 0,
            turn: 0,
            lost: 0,
            created_at: self.clock.unix_secs(),
        };
        let mut write = self.store.write(actor).await?;
        if write.hooks().await? >= HOOKS_MAX {
            return Err(HookError::TooMany);
        }
        write.add_hook(&row).await?;
        let detail = json!({ "url": row.url.to_string(), "events": row.events, "device": row.device, "from": actor.from() });
        write.commit(Action::HookAdd, &row.id, detail).await?;
        self.changed.notify_one();
        Ok(row)
    }

    /// Tells one anew of all events above `after` that are kept.
    pub(crate) async fn replay(&self, actor: &Actor, id: &str, after: u64) -> Result<(), HookError> {
        let mut write = self.store.write(actor).await?;
        if !write.replay_hook(id, after).await? {
            return Err(HookError::Unknown(id.chars().take(64).collect()));
        }
        write.commit(Action::HookReplay, id, json!({ "after": after, "from": actor.from() })).await?;
        self.changed.notify_one();
        Ok(())
    }

    /// Removes one: it is told no more.
    pub(crate) async fn remove(&self, actor: &Actor, id: &str) -> Result<(), HookError> {
        let mut write = self.store.write(actor).await?;
        if !write.remove_hook(id).await? {
            return Err(HookError::Unknown(id.chars().take(64).collect()));
        }
        write.commit(Action::HookRemove, id, json!({ "from": actor.from() })).await?;
        self.changed.notify_one();
        Ok(())
    }
}
