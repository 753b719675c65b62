//! What waits to be told to the shell.

use heapless::Deque;
use sightline_media::WallTime;
use sightline_signal::{CommandResult, Request, StateReport, StatusEvent, Text};

use crate::io::{Action, EncoderAction, FromDevice, Status};

/// Events, results and changes of state that may wait each: the shell drains after every input, so two are common and four never.
const WAITING_MAX: usize = 4;

/// Actions by kind. The newest wins where only the newest matters.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    hang_up: bool,
    dial: Option<Text<192>>,
    encoder: Option<EncoderAction>,
    keyframe: bool,
    pause: Option<bool>,
    statuses: Deque<Status, WAITING_MAX>,
    events: Deque<StatusEvent, WAITING_MAX>,
    results: Deque<CommandResult, WAITING_MAX>,
    request: Option<Request>,
    state: Option<StateReport>,
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
        self.dial = None;
    }

    pub(crate) fn dial(&mut self, url: Text<192>) {
        self.dial = Some(url);
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

    pub(crate) fn event(&mut self, event: StatusEvent) {
        push_newest(&mut self.events, event);
    }

    pub(crate) fn result(&mut self, result: CommandResult) {
        push_newest(&mut self.results, result);
    }

    pub(crate) fn request(&mut self, request: Request) {
        self.request = Some(request);
    }

    pub(crate) fn state(&mut self, state: StateReport) {
        self.state = Some(state);
    }

    /// The next action; what leaves the device is stamped with the wall clock here.
    pub(crate) fn poll(&mut self, wall: WallTime) -> Option<Action> {
        let timestamp = wall.unix_secs();
        if core::mem::take(&mut self.hang_up) {
            return Some(Action::HangUp);
        }
        if let Some(url) = self.dial.take() {
            return Some(Action::Dial { url });
        }
        if let Some(action) = self.encoder.take() {
            return Some(Action::Encoder(action));
        }
        if let Some(pause) = self.pause.take() {
            return Some(Action::Encoder(if pause { EncoderAction::Pause } else { EncoderAction::Resume }));
        }
        if core::mem::take(&mut self.keyframe) {
            return Some(Action::Encoder(EncoderAction::Keyframe));
        }
        if let Some(status) = self.statuses.pop_front() {
            return Some(Action::Status(status));
        }
        if let Some(result) = self.results.pop_front() {
            return Some(Action::Signal(FromDevice::Result(CommandResult { timestamp, ..result })));
        }
        if let Some(request) = self.request.take() {
            return Some(Action::Signal(FromDevice::Request(Request { timestamp, ..request })));
        }
        if let Some(mut event) = self.events.pop_front() {
            *match &mut event {
                StatusEvent::Started(event) => &mut event.timestamp,
                StatusEvent::Metrics(event) => &mut event.timestamp,
                StatusEvent::Stopped(event) => &mut event.timestamp,
                StatusEvent::ConnectionError(event) => &mut event.timestamp,
            } = timestamp;
            return Some(Action::Signal(FromDevice::Status(event)));
        }
        let state = self.state.take()?;
        Some(Action::Signal(FromDevice::State(StateReport { timestamp, ..state })))
    }
}
