//! What an origin's report changes, and what it gets in return.

use super::{
    id::ServerId,
    inventory::{Inventory, TooManyOrigins},
    lives::{Lives, Turn},
};
use crate::{
    audit::{checkpoints::Checkpoints, refusals::Refusals},
    devices::{commands::Commands, on_demand::OnDemand},
    events::{kind::EventKind, log::EventLog},
    holds::Holds,
    identity::signing_keys::SigningKeys,
    playback::Playback,
    relays::Relays,
    store::{
        Store,
        actor::{Action, Actor},
        error::StoreError,
    },
};
use serde_json::json;
use sightline_signal::{
    DeviceId,
    report::{OriginDuel, OriginIncident, OriginRecordings, OriginRefusal, OriginReport, OriginStream, ReportAnswer},
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

/// The longest reason of an incident that is passed on, in bytes: a line of a console.
const REASON_BYTES_MAX: usize = 256;

/// Why a report was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReportError {
    #[error(transparent)]
    TooManyOrigins(#[from] TooManyOrigins),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Takes reports.
#[derive(Debug)]
pub(crate) struct Reports {
    pub(crate) store: Store,
    pub(crate) inventory: Arc<Inventory>,
    pub(crate) events: Arc<EventLog>,
    pub(crate) keys: SigningKeys,
    pub(crate) commands: Arc<Commands>,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) lives: Lives,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) playback: Arc<Playback>,
    pub(crate) relays: Arc<Relays>,
    pub(crate) holds: Arc<Holds>,
    pub(crate) on_demand: Arc<OnDemand>,
    /// Origins whose recordings will not reach back as far as their settings say.
    pub(crate) short: Mutex<BTreeSet<ServerId>>,
}

impl Reports {
    /// Takes a report of the origin `id`.
    pub(crate) async fn receive(&self, id: &ServerId, report: OriginReport) -> Result<ReportAnswer, ReportError> {
        let (boot_id, region, revoked_after) = (report.boot_id.clone(), report.region.clone(), report.revoked_after);
        let known_boot = self.inventory.boot_id(id.as_str());
        let (duels, incidents, refusals) = (report.duels.clone(), report.incidents.clone(), report.refusals.clone());
        let (streams, kept) = (report.streams.clone(), report.audit_checkpoint.clone());
        let (played, keys_version, relays_version) = (report.played.clone(), report.playback_keys_version, report.relays_version);
        let (holds_version, recordings) = (report.holds_version, report.recordings.clone());
        let is_new = self.inventory.report(report)?;
        if known_boot.as_deref() != Some(boot_id.as_str()) {
            self.booted(id, &boot_id, &region).await?;
        } else if is_new {
            tracing::info!(server = %id, "an origin is back");
        }
        // Before the answer, which brings the origin a newer one.
        if let Some(kept) = kept {
            self.checkpoints.shown_by(id, &kept).await?;
        }
        self.fought(id, &duels).await;
        self.happened(id, incidents).await;
        self.turned(id, &streams).await;
        self.refused(id, &refusals).await;
        if let Some(recordings) = recordings {
            self.foretold(id, &recordings).await;
        }
        self.on_demand.follow(id.as_str(), &streams).await?;
        self.playback.used(&played).await;
        let playback_keys = match keys_version {
            Some(version) => self.playback.for_origin(version).await?,
            None => None,
        };
        let holds = match holds_version {
            Some(version) => self.holds.for_origin(version).await?,
            None => None,
        };
        let relays = match relays_version {
            Some(version) => self.relays.for_origin(version).await?,
            None => None,
        };
        // An answer may get lost, so only the origin knows what it has applied.
        let (revoked, revoked_up_to) = match revoked_after {
            Some(cursor) => {
                let revoked = self.store.streams_revoked_after(cursor).await?;
                (revoked.items, Some(revoked.up_to))
            }
            None => (self.store.streams_revoked_last().await?, None),
        };
        let (jwks, audit_checkpoint) = (self.keys.jwks(), self.checkpoints.newest().await);
        Ok(ReportAnswer { jwks, revoked, revoked_up_to, audit_checkpoint, playback_keys, relays, holds })
    }

    /// Two have used one token. The one that has the device's key gets a fresh one, which ends the other's at its next connection; the origin
    /// lets the old one in from the holder's address alone.
    async fn fought(&self, id: &ServerId, duels: &[OriginDuel]) {
        let actor = Actor::Origin(id.clone());
        let mut devices = Vec::new();
        for duel in duels {
            let Ok(device) = DeviceId::new(&duel.device) else { continue };
            let playback = self.store.playback_of(&duel.stream);
            let detail = json!({
                "playback": playback, "epoch": duel.epoch, "holder": duel.holder, "rival": duel.rival, "attempts": duel.attempts,
                "server": id.to_string(),
            });
            tracing::warn!(server = %id, %device, holder = duel.holder, rival = duel.rival, "two publish with one token: one has stolen it");
            metrics::counter!("sightline_stream_duels_total").increment(1);
            self.store.log(&actor, Action::StreamDuel, device.as_str(), detail.clone()).await;
            self.events.push(device.as_str(), EventKind::StreamDuel, detail).await;
            devices.push(device);
        }
        self.commands.call_back(&devices).await;
    }

    /// What became of streams. A kind that is not known here is a newer origin's.
    async fn happened(&self, id: &ServerId, incidents: Vec<OriginIncident>) {
        for OriginIncident { kind, stream, device, playback, reason } in incidents {
            let kind = match kind.as_str() {
                "recording_failed" => EventKind::RecordingFailed,
                "recording_resumed" => EventKind::RecordingResumed,
                "stream_limited" => EventKind::StreamLimited,
                "relay_failed" => EventKind::RelayFailed,
                "relay_resumed" => EventKind::RelayResumed,
                "pull_failed" => EventKind::PullFailed,
                "pull_resumed" => EventKind::PullResumed,
                "store_failed" => EventKind::ServerStoreFailed,
                "store_resumed" => EventKind::ServerStoreResumed,
                _ => continue,
            };
            let reason = &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)];
            // Of no stream.
            if matches!(kind, EventKind::ServerStoreFailed | EventKind::ServerStoreResumed) {
                self.events.push(id.as_str(), kind, json!({ "message": reason })).await;
                continue;
            }
            // An edge knows of a stream what its viewers know.
            let (device, playback) = match DeviceId::new(&device) {
                Ok(device) => (device, self.store.playback_of(&stream)),
                Err(_) => match self.on_demand.device_of(&playback).await {
                    Ok(Some(device)) => (device, playback),
                    Ok(None) | Err(_) => continue,
                },
            };
            let detail = json!({ "playback": playback, "server": id.to_string(), "message": reason });
            self.events.push(device.as_str(), kind, detail).await;
        }
    }

    /// How far back an origin's recordings will reach: told when it is less than its settings say, before anything of it is lost, and when it is enough again.
    async fn foretold(&self, id: &ServerId, recordings: &OriginRecordings) {
        let &OriginRecordings { room_hours: Some(room_hours), keep_hours, held_bytes, .. } = recordings else { return };
        let is_enough = keep_hours == 0 || room_hours >= u64::from(keep_hours);
        // From day to day cameras send a little more or less: only what is clearly enough ends it.
        let is_plenty = keep_hours == 0 || room_hours >= u64::from(keep_hours) * 21 / 20;
        let changed = {
            let mut short = self.short.lock().unwrap_or_else(PoisonError::into_inner);
            if is_enough { is_plenty && short.remove(id) } else { short.insert(id.clone()) }
        };
        if changed {
            let kind = if is_enough { EventKind::ServerRecordingsEnough } else { EventKind::ServerRecordingsShort };
            let detail = json!({ "room_hours": room_hours, "keep_hours": keep_hours, "held_bytes": held_bytes });
            self.events.push(id.as_str(), kind, detail).await;
        }
    }

    /// Streams that began and ended, in one write: after a restart of an origin they are all of its streams.
    async fn turned(&self, id: &ServerId, streams: &[OriginStream]) {
        let turns = self.lives.follow(id.as_str(), streams);
        if turns.is_empty() {
            return;
        }
        let row = |Turn { is_begin, stream, device, epoch }: Turn| {
            let playback = self.store.playback_of(&stream);
            let action = if is_begin { Action::StreamBegin } else { Action::StreamEnd };
            (action, device, json!({ "playback": playback, "epoch": epoch, "server": id.to_string() }))
        };
        let rows: Vec<_> = turns.into_iter().map(row).collect();
        let actor = Actor::Origin(id.clone());
        let logged = match self.store.write(&actor).await {
            Ok(write) => write.commit_all(&rows).await,
            Err(error) => Err(error),
        };
        if let Err(error) = logged {
            tracing::error!(%error, server = %id, rows = rows.len(), "streams that began or ended are not in the audit log");
        }
    }

    /// Publishers that an origin has refused.
    async fn refused(&self, id: &ServerId, refusals: &[OriginRefusal]) {
        for OriginRefusal { address, reason, count } in refusals {
            let actor = address.parse().map_or_else(|_| Actor::Origin(id.clone()), Actor::Stranger);
            let reason = &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)];
            let detail = json!({ "server": id.to_string() });
            self.refusals.record_several(&actor, Action::StreamPublishRefuse, id.as_str(), reason, detail, *count).await;
        }
    }

    /// An origin has started. Its cameras are called at once: their own backoff would keep them away for up to a minute.
    async fn booted(&self, id: &ServerId, boot_id: &str, region: &str) -> Result<(), StoreError> {
        let actor = Actor::Origin(id.clone());
        let mut write = self.store.write(&actor).await?;
        let is_restart = write.origin_booted(id, boot_id).await?.is_some();
        let devices: Vec<DeviceId> = if is_restart { self.inventory.devices_on(id.as_str()) } else { Vec::new() };
        let detail = json!({ "region": region, "restarted": is_restart, "devices_called_back": devices.len() });
        write.commit(Action::ServerRegister, id.as_str(), detail).await?;
        tracing::info!(server = %id, restarted = is_restart, devices = devices.len(), "an origin registered");
        if is_restart {
            let detail = json!({ "devices_called_back": devices.len() });
            self.events.push(id.as_str(), EventKind::ServerRestarted, detail).await;
        }
        self.commands.call_back(&devices).await;
        Ok(())
    }
}
