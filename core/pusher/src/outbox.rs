//! What waits for the shell: the contents of messages, not the messages, which are five times as long.

use heapless::Deque;
use sightline_signal::{ErrorCode, FinalMetrics, LatencyKind, Quality, RunningMetrics, StartMetrics, Text};

use crate::io::{EncoderAction, Status};

/// Events, results and changes of state that may wait each: the shell drains after every input, so two are common and four never.
const WAITING_MAX: usize = 4;

/// What an event is made of. `session`: the number that names it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// `place`: the server's in its set.
    Started {
        session: u32,
        place: usize,
        quality: Quality,
        metrics: StartMetrics,
    },
    Metrics {
        session: u32,
        metrics: RunningMetrics,
    },
    Stopped {
        session: u32,
        metrics: FinalMetrics,
    },
    Error {
        code: ErrorCode,
        /// For people.
        message: &'static str,
        attempts: u32,
        next_retry_in_sec: u32,
    },
}

/// What came of a command.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) command_id: Text<64>,
    pub(crate) refused: Option<(ErrorCode, &'static str)>,
}

/// The figures of a state report; all else is what is at the time of telling.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Figures {
    pub(crate) fps: f32,
    pub(crate) bitrate_kbps: f32,
    pub(crate) latency_ms: u32,
    pub(crate) latency_kind: LatencyKind,
    pub(crate) network_quality: f32,
}

/// The next thing to tell.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    HangUp,
    Dial,
    Encoder(EncoderAction),
    Status(Status),
    Result(Verdict),
    Request,
    Event(Event),
    State(Figures),
}

/// Actions by kind. The newest wins where only the newest matters.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    hang_up: bool,
    dial: bool,
    encoder: Option<EncoderAction>,
    keyframe: bool,
    pause: Option<bool>,
    statuses: Deque<Status, WAITING_MAX>,
    events: Deque<Event, WAITING_MAX>,
    results: Deque<Verdict, WAITING_MAX>,
    request: bool,
    state: Option<Figures>,
}

/// Pushes, at the cost of the oldest.
fn push_newest<T, const N: usize>(queue: &mut Deque<T, N>, item: T) {
    if queue.is_full() {
        queue.pop_front();
    }
    let _ = queue.push_back(item);
}

impl Outbox {
    pub(crate) fn hang_up(&mut self) {
        self.hang_up = true;
        self.dial = false;
    }

    pub(crate) fn dial(&mut self) {
        self.dial = true;
    }

    pub(crate) fn encoder(&mut self, action: EncoderAction) {
        match (action, self.encoder) {
            (EncoderAction::Keyframe, _) => self.keyframe = true,
            (EncoderAction::Pause, _) => self.pause = Some(true),
            (EncoderAction::Resume, _) => self.pause = Some(false),
            // A start that the shell has not seen yet takes the newer numbers with it.
            (EncoderAction::Change(settings), Some(EncoderAction::Start(_))) => self.encoder = Some(EncoderAction::Start(settings)),
            (EncoderAction::Start(_) | EncoderAction::Change(_) | EncoderAction::Stop, _) => self.encoder = Some(action),
        }
    }

    pub(crate) fn status(&mut self, status: Status) {
        push_newest(&mut self.statuses, status);
    }

    pub(crate) fn event(&mut self, event: Event) {
        push_newest(&mut self.events, event);
    }

    pub(crate) fn result(&mut self, result: Verdict) {
        push_newest(&mut self.results, result);
    }

    pub(crate) fn request(&mut self) {
        self.request = true;
    }

    pub(crate) fn state(&mut self, figures: Figures) {
        self.state = Some(figures);
    }

    /// The next one that is not for the cloud.
    pub(crate) fn poll_order(&mut self) -> Option<Told> {
        if core::mem::take(&mut self.hang_up) {
            return Some(Told::HangUp);
        }
        if core::mem::take(&mut self.dial) {
            return Some(Told::Dial);
        }
        if let Some(action) = self.encoder.take() {
            return Some(Told::Encoder(action));
        }
        if let Some(pause) = self.pause.take() {
            return Some(Told::Encoder(if pause { EncoderAction::Pause } else { EncoderAction::Resume }));
        }
        if core::mem::take(&mut self.keyframe) {
            return Some(Told::Encoder(EncoderAction::Keyframe));
        }
        self.statuses.pop_front().map(Told::Status)
    }

    /// The next one.
    pub(crate) fn poll(&mut self) -> Option<Told> {
        if let Some(order) = self.poll_order() {
            return Some(order);
        }
        if let Some(verdict) = self.results.pop_front() {
            return Some(Told::Result(verdict));
        }
        if core::mem::take(&mut self.request) {
            return Some(Told::Request);
        }
        if let Some(event) = self.events.pop_front() {
            return Some(Told::Event(event));
        }
        self.state.take().map(Told::State)
    }
}
