//! Cameras that stream because someone watches: an origin asks for a playback id that it does not have, the camera is told to start on a
//! short lease, and the lease is renewed for as long as origins report that someone watches. Nothing stops it: the lease ends by itself.

use super::{commands::Commands, presence::Presence};
use crate::{
    clock::Clock,
    events::{kind::EventKind, log::EventLog},
    servers::inventory::Inventory,
    store::{
        Store,
        actor::{Action, Actor},
        error::StoreError,
    },
};
use serde_json::json;
use sightline_signal::{
    Command, CommandName, DeviceId, StreamState,
    report::{OriginStream, WantedAnswer, WantedState},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The part of a lease after which it is renewed while someone watches: messages may get lost, one after another.
const RENEWALS_PER_LEASE: u32 = 4;
/// How often a camera that does not come is told again.
const START_INTERVAL: Duration = Duration::from_secs(3);
/// How often it is said of a camera that it did not come.
const GAVE_UP_INTERVAL: Duration = Duration::from_secs(10);
/// How long it is believed what a camera last said of its trigger.
const TRIGGER_KEPT: Duration = Duration::from_secs(30);
/// Cameras whose trigger is read for one report: others have their turn with the next ones.
const TRIGGERS_PER_REPORT: usize = 20;
/// How often the playback ids are made anew where one is asked for that is not among them: a device that was added a moment ago.
const IDS_INTERVAL: Duration = Duration::from_secs(2);
/// Devices that are read at a time.
const DEVICES_PER_READ: u32 = 1000;

/// What is known of a camera.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// Its trigger is `on_demand`, and when that was read.
    trigger: Option<(bool, Instant)>,
    /// When it was last told to start, or its lease renewed.
    told_at: Option<Instant>,
    gave_up_at: Option<Instant>,
}

/// Devices by playback id.
#[derive(Debug, Default)]
struct Ids {
    made_at: Option<Instant>,
    devices: HashMap<String, DeviceId>,
}

/// Starts cameras for viewers.
#[derive(Debug)]
pub(crate) struct OnDemand {
    store: Store,
    inventory: Arc<Inventory>,
    presence: Arc<Presence>,
    commands: Arc<Commands>,
    events: Arc<EventLog>,
    clock: Clock,
    lease_sec: u32,
    ids: tokio::sync::Mutex<Ids>,
    known: Mutex<HashMap<DeviceId, Known>>,
}

impl OnDemand {
    pub(crate) fn new(
        store: Store,
        inventory: Arc<Inventory>,
        presence: Arc<Presence>,
        commands: Arc<Commands>,
        events: Arc<EventLog>,
        clock: Clock,
        lease_sec: u32,
    ) -> Self {
        Self { store, inventory, presence, commands, events, clock, lease_sec, ids: tokio::sync::Mutex::default(), known: Mutex::default() }
    }

    /// Never held across an await.
    fn known(&self) -> MutexGuard<'_, HashMap<DeviceId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Someone wants to watch what the origin `server` does not have.
    pub(crate) async fn want(&self, server: &str, playback: &str) -> Result<WantedAnswer, StoreError> {
        let live = self.inventory.live_streams().into_values().find(|live| live.stream.playback == playback);
        if let Some(live) = live.filter(|live| live.server != server && !live.http_url.is_empty()) {
            return Ok(WantedAnswer { state: WantedState::Elsewhere, http_url: live.http_url });
        }
        Ok(WantedAnswer { state: self.start(server, playback).await?, http_url: String::new() })
    }

    async fn start(&self, server: &str, playback: &str) -> Result<WantedState, StoreError> {
        let Some(device) = self.device_of(playback).await? else { return Ok(WantedState::Unknown) };
        if !self.is_on_demand(&device).await? {
            return Ok(WantedState::NotOnDemand);
        }
        if !self.presence.device(&device).is_online() {
            return Ok(WantedState::Offline);
        }
        let now = self.clock.now();
        let is_due = {
            let mut known = self.known();
            let known = known.entry(device.clone()).or_default();
            let is_due = known.told_at.is_none_or(|at| now.saturating_duration_since(at) >= START_INTERVAL);
            if is_due {
                known.told_at = Some(now);
            }
            is_due
        };
        // A thousand viewers are one start.
        if is_due {
            self.tell(&device, server).await?;
        }
        Ok(WantedState::Starting)
    }

    /// Tells a camera to start, or one that streams to go on.
    async fn tell(&self, device: &DeviceId, server: &str) -> Result<(), StoreError> {
        let state = self.presence.device(device).state.map(|report| report.state);
        let is_under_way = [StreamState::Requesting, StreamState::Connecting, StreamState::Streaming, StreamState::Reconnecting]
            .map(Some)
            .contains(&state);
        let cmd = if is_under_way { CommandName::Renew } else { CommandName::Start };
        let mut command = Command { lease_sec: Some(self.lease_sec), ..Command::bare(cmd) };
        Commands::name(&mut command);
        if cmd == CommandName::Start {
            let detail = json!({ "cmd": cmd, "command_id": command.command_id.as_str(), "from": "viewer", "server": server });
            self.store.write(&Actor::System).await?.commit(Action::DeviceCommand, device.as_str(), detail).await?;
            metrics::counter!("sightline_starts_by_viewers_total").increment(1);
            tracing::info!(%device, server, "a viewer starts a camera");
        }
        self.commands.tell(device, &command).await;
        Ok(())
    }

    /// What an origin reports of its streams: the leases of those that are watched are renewed.
    pub(crate) async fn follow(&self, server: &str, streams: &[OriginStream]) -> Result<(), StoreError> {
        let (now, mut read) = (self.clock.now(), 0);
        let renew_interval = Duration::from_secs(self.lease_sec.into()) / RENEWALS_PER_LEASE;
        for stream in streams.iter().filter(|stream| stream.is_watched || stream.viewers > 0) {
            let Ok(device) = DeviceId::new(&stream.device) else { continue };
            let known = self.known().get(&device).copied().unwrap_or_default();
            if known.told_at.is_some_and(|at| now.saturating_duration_since(at) < renew_interval) {
                continue;
            }
            let is_fresh = known.trigger.is_some_and(|(_, at)| now.saturating_duration_since(at) < TRIGGER_KEPT);
            read += usize::from(!is_fresh);
            if read > TRIGGERS_PER_REPORT || !self.is_on_demand(&device).await? {
                continue;
            }
            self.known().entry(device.clone()).or_default().told_at = Some(now);
            self.tell(&device, server).await?;
        }
        Ok(())
    }

    /// Viewers have waited in vain.
    pub(crate) async fn gave_up(&self, server: &str, playback: &str, waited_sec: u64) -> Result<(), StoreError> {
        let Some(device) = self.device_of(playback).await? else { return Ok(()) };
        let now = self.clock.now();
        {
            let mut known = self.known();
            let known = known.entry(device.clone()).or_default();
            if known.gave_up_at.is_some_and(|at| now.saturating_duration_since(at) < GAVE_UP_INTERVAL) {
                return Ok(());
            }
            known.gave_up_at = Some(now);
        }
        tracing::warn!(%device, server, waited_sec, "a camera that a viewer has started did not come");
        let message = format!("it was told to start for a viewer, and sent no picture within {waited_sec} s");
        self.events
            .push(device.as_str(), EventKind::StartFailed, json!({ "playback": playback, "server": server, "message": message }))
            .await;
        Ok(())
    }

    /// Whether a camera starts because someone watches, as it last said.
    async fn is_on_demand(&self, device: &DeviceId) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let known = self.known().get(device).and_then(|known| known.trigger);
        if let Some((is_on_demand, _)) = known.filter(|(_, at)| now.saturating_duration_since(*at) < TRIGGER_KEPT) {
            return Ok(is_on_demand);
        }
        let row = self.store.settings(device).await?;
        let trigger = row.reported.as_ref().and_then(|reported| reported.settings.get("stream")?.get("trigger")?.as_str());
        let is_on_demand = trigger == Some("on_demand");
        self.known().entry(device.clone()).or_default().trigger = Some((is_on_demand, now));
        Ok(is_on_demand)
    }

    /// Whose stream it is, of those that may publish.
    pub(crate) async fn device_of(&self, playback: &str) -> Result<Option<DeviceId>, StoreError> {
        let mut ids = self.ids.lock().await;
        if let Some(device) = ids.devices.get(playback) {
            // Revoked or added anew, it has another name now.
            let row = self.store.device(device).await?.filter(|row| row.revoked_at.is_none() && row.may_push);
            if let Some(row) = row.filter(|row| self.store.playback_of(&row.stream) == playback) {
                return Ok(Some(row.id));
            }
        }
        let now = self.clock.now();
        if ids.made_at.is_some_and(|at| now.saturating_duration_since(at) < IDS_INTERVAL) {
            return Ok(None);
        }
        let (mut devices, mut after) = (HashMap::new(), String::new());
        loop {
            let rows = self.store.devices(&after, DEVICES_PER_READ).await?;
            let Some(last) = rows.last() else { break };
            last.id.as_str().clone_into(&mut after);
            let active = rows.iter().filter(|row| row.revoked_at.is_none() && row.may_push);
            devices.extend(active.map(|row| (self.store.playback_of(&row.stream), row.id.clone())));
        }
        *ids = Ids { made_at: Some(now), devices };
        let found = ids.devices.get(playback).cloned();
        drop(ids);
        // Of devices that are gone nothing stays.
        if found.is_none() {
            let now = self.clock.now();
            self.known().retain(|_, known| known.trigger.is_some_and(|(_, at)| now.saturating_duration_since(at) < TRIGGER_KEPT));
        }
        Ok(found)
    }

    /// Where viewers of a camera that would start may wait for it: the origin that it was on, or another one that lives.
    pub(crate) async fn waiting_place(&self, playback: &str) -> Result<Option<String>, StoreError> {
        let Some(device) = self.device_of(playback).await? else { return Ok(None) };
        if !self.is_on_demand(&device).await? {
            return Ok(None);
        }
        let last = self.inventory.server_of(&device);
        let mut servers: Vec<_> =
            self.inventory.servers().into_iter().filter(|server| server.alive && !server.http_url.is_empty()).collect();
        servers.sort_by_key(|server| Some(&server.id) != last.as_ref());
        Ok(servers.into_iter().next().map(|server| server.http_url))
    }
}
