//! All streams of the origin, and the fence before each: which publisher may have it.

use crate::auth::{Grant, Refusal, playback_of};
use crate::clock::Clock;
use crate::config::Config;
use crate::record::Recorder;
use crate::ring::Limits;
use crate::stream::{Publisher, Stream};
use sightline_signal::report::{OriginStream, RevokedStream};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Fences kept. One is forgotten when no token of its epoch can be valid any more, an hour after it was signed.
const FENCES_MAX: usize = 100_000;

/// All streams.
pub(crate) struct Hub {
    clock: Clock,
    chunk_size: u32,
    limits: Limits,
    hls: sightline_hls::Config,
    grace: Duration,
    record: Option<crate::record::Settings>,
    inner: Mutex<Inner>,
    next_publisher: AtomicU64,
    tasks: TaskTracker,
    /// A stream began or ended: the cloud is told at once.
    pub(crate) changed: Notify,
}

#[derive(Default)]
struct Inner {
    /// By playback id.
    streams: HashMap<String, Arc<Stream>>,
    /// By publishing name.
    fences: HashMap<String, Fence>,
}

/// The highest epoch of a stream that was seen.
#[derive(Default)]
struct Fence {
    epoch: u64,
    /// The token of that epoch: its reconnect may take over.
    token: String,
    expires_at: i64,
    /// Lower ones were taken back.
    revoked_below: u64,
}

impl Fence {
    fn check(&self, grant: &Grant) -> Result<(), Refusal> {
        let Some(epoch) = grant.epoch else { return Ok(()) };
        if epoch < self.revoked_below {
            return Err(Refusal::Revoked);
        }
        let is_reconnect = epoch == self.epoch && (self.token.is_empty() || self.token == grant.token);
        if epoch > self.epoch || is_reconnect { Ok(()) } else { Err(Refusal::OldEpoch) }
    }
}

/// A publisher's hold on its stream; ends with it.
pub(crate) struct Hold {
    pub(crate) stream: Arc<Stream>,
    pub(crate) id: u64,
    /// Cancelled when another takes over or the right is taken back.
    pub(crate) stop: CancellationToken,
    hub: Arc<Hub>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.stream.leave(self.id, self.hub.clock.now());
        self.hub.changed.notify_one();
    }
}

impl Hub {
    pub(crate) fn new(config: &Config, clock: Clock, tasks: TaskTracker) -> Self {
        let limits = &config.limits;
        let record = (config.record.enabled && (config.record.flv || config.record.fmp4)).then(|| crate::record::Settings {
            dir: config.recordings_dir(),
            flv: config.record.flv,
            fmp4: config.record.fmp4,
        });
        Self {
            clock,
            chunk_size: config.rtmp.chunk_size.clamp(128, sightline_rtmp::CHUNK_SIZE_MAX),
            limits: Limits {
                gop_bytes: limits.gop_cache_bytes,
                window_bytes: limits.viewer_queue_bytes,
                window_frames: limits.viewer_queue_frames,
            },
            hls: sightline_hls::Config {
                segment_duration_min: Duration::from_secs(config.http.hls_segment_sec),
                playlist_segments: config.http.hls_segments,
            },
            grace: Duration::from_secs(limits.publisher_grace_sec),
            record,
            inner: Mutex::default(),
            next_publisher: AtomicU64::new(1),
            tasks,
            changed: Notify::new(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a publisher have its stream, or says why not. The one before it is told to end.
    pub(crate) fn begin(self: &Arc<Self>, grant: &Grant) -> Result<Hold, Refusal> {
        let id = self.next_publisher.fetch_add(1, Ordering::Relaxed);
        let stop = CancellationToken::new();
        let now = self.clock.now();
        let unix = self.clock.wall();
        let mut inner = self.inner();
        if inner.fences.len() >= FENCES_MAX {
            inner.fences.retain(|_, fence| fence.expires_at > unix.unix_secs());
        }
        let fence = inner.fences.entry(grant.stream.clone()).or_default();
        fence.check(grant)?;
        if let Some(epoch) = grant.epoch {
            fence.epoch = epoch;
            fence.token.clone_from(&grant.token);
            fence.expires_at = grant.expires_at;
        }
        let playback = playback_of(&grant.stream);
        let make = || Arc::new(Stream::new(&grant.stream, &playback, self.chunk_size, self.limits, self.hls));
        let stream = inner.streams.entry(playback.clone()).or_insert_with(make).clone();
        let epoch = grant.epoch.unwrap_or(0);
        let recorder = self.record.as_ref().map(|settings| Recorder::start(settings, &grant.device, epoch, unix, &self.tasks));
        stream.take_over(&grant.device, Publisher { id, epoch, since_unix_secs: unix.unix_secs(), stop: stop.clone(), recorder });
        drop(inner);
        stream.snapshot.forget(now);
        self.changed.notify_one();
        Ok(Hold { stream, id, stop, hub: self.clone() })
    }

    /// The stream of a playback id.
    pub(crate) fn find(&self, playback: &str) -> Option<Arc<Stream>> {
        self.inner().streams.get(playback).cloned()
    }

    pub(crate) fn describe(&self) -> Vec<OriginStream> {
        let streams: Vec<Arc<Stream>> = self.inner().streams.values().cloned().collect();
        streams.iter().filter_map(|stream| stream.describe()).collect()
    }

    /// Takes rights back: publishers with a lower epoch end, and none begins.
    pub(crate) fn revoke(&self, revoked: &[RevokedStream]) {
        for RevokedStream { stream, epoch_min } in revoked {
            let found = {
                let mut inner = self.inner();
                let fence = inner.fences.entry(stream.clone()).or_default();
                fence.revoked_below = fence.revoked_below.max(*epoch_min);
                inner.streams.get(&playback_of(stream)).cloned()
            };
            if let Some(stream) = found {
                stream.revoke(*epoch_min);
            }
        }
    }

    /// Gives up the streams whose publisher has not come back in time; `all`: every one, at the end.
    pub(crate) fn sweep(&self, all: bool) {
        let now = self.clock.now();
        self.inner().streams.retain(|_, stream| {
            let is_over = all || stream.abandoned_for(now).is_some_and(|waited| waited >= self.grace);
            if is_over {
                stream.ended.cancel();
            }
            !is_over
        });
    }

    /// Where recordings lie, if there are any.
    pub(crate) fn recordings_dir(&self) -> Option<&PathBuf> {
        self.record.as_ref().map(|settings| &settings.dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(epoch: u64, token: &str) -> Grant {
        Grant { device: "d".into(), stream: "s".into(), epoch: Some(epoch), token: token.into(), expires_at: 0 }
    }

    #[test]
    fn higher_takes_over_same_reconnects_lower_is_refused() {
        let fence = Fence { epoch: 5, token: "five".into(), expires_at: 0, revoked_below: 0 };
        assert_eq!(fence.check(&grant(6, "six")), Ok(()));
        assert_eq!(fence.check(&grant(5, "five")), Ok(()));
        assert_eq!(fence.check(&grant(5, "other")), Err(Refusal::OldEpoch));
        assert_eq!(fence.check(&grant(4, "four")), Err(Refusal::OldEpoch));
        let fence = Fence { revoked_below: 7, ..fence };
        assert_eq!(fence.check(&grant(6, "six")), Err(Refusal::Revoked));
        assert_eq!(fence.check(&grant(7, "seven")), Ok(()));
    }
}
