//! How each relay is, for metrics, the cloud and the console.

use super::config::Relay;
use crate::live::stream::Stream;
use sightline_media::WallTime;
use sightline_signal::report::OriginRelay;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// How far a relay is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Connecting,
    Publishing,
    Waiting,
}

impl State {
    const ALL: [Self; 3] = [Self::Connecting, Self::Publishing, Self::Waiting];

    const fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Publishing => "publishing",
            Self::Waiting => "waiting",
        }
    }
}

/// One stream's relay to one target.
pub(super) struct RelayState {
    name: String,
    target: String,
    inner: Mutex<Inner>,
    sent_bytes: AtomicU64,
    lost_frames: AtomicU64,
    rule: Relay,
    /// Its rule is gone.
    pub(super) stop: CancellationToken,
}

struct Inner {
    state: State,
    since: i64,
    /// Why the last try failed; `None` once the target takes the stream.
    error: Option<String>,
    /// Of connections before the present one.
    sent_before: u64,
    connects: u64,
}

impl RelayState {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True where it had failed before.
    pub(super) fn set(&self, state: State, now: WallTime) -> bool {
        let mut inner = self.inner();
        if state == State::Connecting {
            inner.connects += 1;
            inner.sent_before = self.sent_bytes.load(Ordering::Relaxed);
        }
        (inner.state, inner.since) = (state, now.unix_secs());
        state == State::Publishing && inner.error.take().is_some()
    }

    /// True where it did not fail the time before.
    pub(super) fn fail(&self, error: &str, now: WallTime) -> bool {
        let mut inner = self.inner();
        (inner.state, inner.since) = (State::Waiting, now.unix_secs());
        inner.error.replace(error.to_owned()).is_none()
    }

    /// Bytes that the present connection took.
    pub(super) fn sent(&self, bytes: u64) {
        let before = self.inner().sent_before;
        self.sent_bytes.store(before + bytes, Ordering::Relaxed);
    }

    pub(super) fn lose_frame(&self) {
        self.lost_frames.fetch_add(1, Ordering::Relaxed);
    }

    fn describe(&self) -> OriginRelay {
        let inner = self.inner();
        OriginRelay {
            name: self.name.clone(),
            target: self.target.clone(),
            state: inner.state.name().to_owned(),
            since: inner.since,
            error: inner.error.clone(),
            connects: inner.connects,
            sent_bytes: self.sent_bytes.load(Ordering::Relaxed),
            lost_frames: self.lost_frames.load(Ordering::Relaxed),
        }
    }
}

/// All of them, by playback id and the relay's name.
#[derive(Default)]
pub(crate) struct RelayStates {
    states: Mutex<BTreeMap<(String, String), Arc<RelayState>>>,
    /// Of relays that have ended.
    sent_before: AtomicU64,
    lost_before: AtomicU64,
}

impl RelayStates {
    fn states(&self) -> MutexGuard<'_, BTreeMap<(String, String), Arc<RelayState>>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state of a relay that begins; `None` while there is one.
    pub(super) fn begin(&self, stream: &Stream, rule: &Relay) -> Option<Arc<RelayState>> {
        let mut states = self.states();
        let key = (stream.playback.clone(), rule.name.clone());
        if states.contains_key(&key) {
            return None;
        }
        let inner = Inner { state: State::Connecting, since: 0, error: None, sent_before: 0, connects: 0 };
        let state = Arc::new(RelayState {
            name: rule.name.clone(),
            target: rule.url.to_string(),
            inner: Mutex::new(inner),
            sent_bytes: AtomicU64::new(0),
            lost_frames: AtomicU64::new(0),
            rule: rule.clone(),
            stop: CancellationToken::new(),
        });
        states.insert(key, state.clone());
        Some(state)
    }

    /// Ends those of a stream that are not among these rules.
    pub(super) fn keep(&self, playback: &str, wanted: &[Relay]) {
        let states = self.states();
        let of_stream = states.iter().filter(|((of, _), _)| of == playback).map(|(_, state)| state);
        of_stream.filter(|state| !wanted.contains(&state.rule)).for_each(|state| state.stop.cancel());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.states().is_empty()
    }

    pub(super) fn end(&self, stream: &Stream, rule: &Relay) {
        if let Some(ended) = self.states().remove(&(stream.playback.clone(), rule.name.clone())) {
            self.sent_before.fetch_add(ended.sent_bytes.load(Ordering::Relaxed), Ordering::Relaxed);
            self.lost_before.fetch_add(ended.lost_frames.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// The relays of a stream.
    pub(crate) fn of(&self, playback: &str) -> Vec<OriginRelay> {
        let states = self.states();
        states.iter().filter(|((of, _), _)| of == playback).map(|(_, state)| state.describe()).collect()
    }

    /// In the text format of Prometheus.
    pub(crate) fn metrics(&self) -> String {
        let all: Vec<OriginRelay> = self.states().values().map(|state| state.describe()).collect();
        let sum = |pick: fn(&OriginRelay) -> u64| all.iter().map(pick).sum::<u64>();
        let mut text =
            String::from("# HELP sightline_origin_relays Relays to other servers, by state.\n# TYPE sightline_origin_relays gauge\n");
        for state in State::ALL {
            let count = all.iter().filter(|relay| relay.state == state.name()).count();
            let _ = writeln!(text, "sightline_origin_relays{{state=\"{}\"}} {count}", state.name());
        }
        let sent = self.sent_before.load(Ordering::Relaxed) + sum(|relay| relay.sent_bytes);
        let lost = self.lost_before.load(Ordering::Relaxed) + sum(|relay| relay.lost_frames);
        for (name, help, value) in [
            ("sightline_origin_relay_sent_bytes_total", "Bytes that relays' targets took.", sent),
            ("sightline_origin_relay_lost_frames_total", "Frames that were left out because a relay's target was too slow.", lost),
        ] {
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}\n");
        }
        text
    }
}
