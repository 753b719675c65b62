//! How each pull is, for metrics and the cloud.

use sightline_media::WallTime;
use sightline_signal::report::{OriginPull, OriginStream};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One stream's pull.
pub(super) struct PullState {
    inner: Mutex<Inner>,
}

struct Inner {
    upstream: String,
    since: i64,
    /// Why no upstream gives the stream; `None` while one does.
    error: Option<String>,
}

impl PullState {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It comes from this upstream; true where none gave it before.
    pub(super) fn comes_from(&self, upstream: &str, now: WallTime) -> bool {
        let mut inner = self.inner();
        (inner.upstream, inner.since) = (upstream.to_owned(), now.unix_secs());
        inner.error.take().is_some()
    }

    /// None gives it; true where one did before.
    pub(super) fn fail(&self, error: &str, now: WallTime) -> bool {
        let mut inner = self.inner();
        let was_well = inner.error.replace(error.to_owned()).is_none();
        if was_well {
            inner.since = now.unix_secs();
        }
        was_well
    }
}

/// All pulls, and what there was since the start.
#[derive(Default)]
pub(crate) struct PullStates {
    states: Mutex<BTreeMap<String, Arc<PullState>>>,
    begun: AtomicU64,
    switches: AtomicU64,
    failures: AtomicU64,
    received_bytes: AtomicU64,
}

impl PullStates {
    fn states(&self) -> MutexGuard<'_, BTreeMap<String, Arc<PullState>>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A pull that begins; `None` while there is one, or as many as `most`.
    pub(super) fn begin(&self, playback: &str, upstream: &str, now: WallTime, most: usize) -> Option<Arc<PullState>> {
        let mut states = self.states();
        if states.contains_key(playback) || states.len() >= most {
            return None;
        }
        let inner = Inner { upstream: upstream.to_owned(), since: now.unix_secs(), error: None };
        let state = Arc::new(PullState { inner: Mutex::new(inner) });
        states.insert(playback.to_owned(), state.clone());
        self.begun.fetch_add(1, Ordering::Relaxed);
        Some(state)
    }

    pub(super) fn has(&self, playback: &str) -> bool {
        self.states().contains_key(playback)
    }

    pub(super) fn end(&self, playback: &str) {
        self.states().remove(playback);
    }

    pub(super) fn receive(&self, bytes: usize) {
        self.received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// A stream goes on from another upstream.
    pub(super) fn switched(&self) {
        self.switches.fetch_add(1, Ordering::Relaxed);
    }

    /// A stream that is watched was lost.
    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// What the cloud is told, with what is known of the streams themselves.
    pub(crate) fn describe(&self, streams: &[OriginStream]) -> Vec<OriginPull> {
        let described = |(playback, state): (&String, &Arc<PullState>)| {
            let inner = state.inner();
            let stream = streams.iter().find(|stream| stream.playback == *playback);
            OriginPull {
                playback: playback.clone(),
                upstream: inner.upstream.clone(),
                state: if inner.error.is_some() { "waiting" } else { "pulling" }.to_owned(),
                since: inner.since,
                error: inner.error.clone(),
                viewers: stream.map_or(0, |stream| stream.viewers),
                width: stream.map_or(0, |stream| stream.width),
                height: stream.map_or(0, |stream| stream.height),
                fps: stream.map_or(0.0, |stream| stream.fps),
                bitrate_kbps: stream.map_or(0.0, |stream| stream.bitrate_kbps),
            }
        };
        self.states().iter().map(described).collect()
    }

    /// In the text format of Prometheus.
    pub(crate) fn metrics(&self) -> String {
        let (all, waiting) = {
            let states = self.states();
            (states.len(), states.values().filter(|state| state.inner().error.is_some()).count())
        };
        let mut text = String::from(
            "# HELP sightline_origin_pulls Streams that are taken from other origins, by state: waiting ones have none now.\n# TYPE sightline_origin_pulls gauge\n",
        );
        for (state, count) in [("pulling", all - waiting), ("waiting", waiting)] {
            let _ = writeln!(text, "sightline_origin_pulls{{state=\"{state}\"}} {count}");
        }
        for (name, help, value) in [
            ("sightline_origin_pulls_total", "Pulls that have begun, each with its first viewer.", &self.begun),
            (
                "sightline_origin_pull_switches_total",
                "Times that a stream went on from another upstream, or from the same one anew.",
                &self.switches,
            ),
            ("sightline_origin_pull_failures_total", "Times that no upstream gave a stream that is watched.", &self.failures),
            ("sightline_origin_pulled_bytes_total", "Bytes that came from other origins.", &self.received_bytes),
        ] {
            let value = value.load(Ordering::Relaxed);
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}\n");
        }
        text
    }
}
