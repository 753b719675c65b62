//! The messages for the shell, made from what waits in the outbox and from the present figures.

use sightline_media::WallTime;
use sightline_signal::{
    CommandResult, ConnectionError, Request, StateReport, StatusEvent, StreamMetrics, StreamStarted, StreamState, StreamStopped, Text,
};

use super::{Pusher, push_hex, text};
use crate::{
    io::{Action, FromDevice},
    outbox::{Event, Figures, Told, Verdict},
};

impl<P: AsRef<[u8]>, const QUEUE: usize> Pusher<P, QUEUE> {
    /// The next thing for the shell to do. `wall` stamps what leaves the device; it may be wrong by years.
    pub fn poll_action(&mut self, wall: WallTime) -> Option<Action> {
        let told = self.outbox.poll()?;
        Some(self.action(told, wall))
    }

    /// The same, of what needs no way to the cloud: for a shell that has no room for another message now. Messages wait, the newest of them.
    pub fn poll_order(&mut self, wall: WallTime) -> Option<Action> {
        let told = self.outbox.poll_order()?;
        Some(self.action(told, wall))
    }

    fn action(&self, told: Told, wall: WallTime) -> Action {
        let timestamp = wall.unix_secs();
        match told {
            Told::HangUp => Action::HangUp,
            Told::Dial => Action::Dial { url: self.tc_url() },
            Told::Encoder(action) => Action::Encoder(action),
            Told::Status(status) => Action::Status(status),
            Told::Result(verdict) => Action::Signal(FromDevice::Result(result(verdict, timestamp))),
            Told::Request => Action::Signal(FromDevice::Request(self.request(timestamp))),
            Told::Event(event) => Action::Signal(FromDevice::Status(self.event(event, timestamp))),
            Told::State(figures) => Action::Signal(FromDevice::State(self.state_report(figures, timestamp))),
        }
    }

    /// The next server's; empty where there is none.
    fn tc_url(&self) -> Text<192> {
        self.servers.as_ref().map_or_else(Text::new, |servers| self.tc_url_at(servers.next()))
    }

    fn tc_url_at(&self, place: usize) -> Text<192> {
        self.config.server.as_ref().and_then(|set| set.tc_urls.get(place)).cloned().unwrap_or_default()
    }

    fn request(&self, timestamp: i64) -> Request {
        Request {
            request_id: self.request_id.clone(),
            device_id: self.config.device.clone(),
            stream_type: text(if self.config.secure { "rtmps" } else { "rtmp" }),
            quality: self.config.quality,
            preferred_region: self.config.region.clone(),
            max_bitrate: self.config.wanted().bitrate_bps,
            supports_adaptive: self.config.adaptive_bitrate,
            timestamp,
        }
    }

    fn event(&self, event: Event, timestamp: i64) -> StatusEvent {
        match event {
            Event::Started { session, place, quality, metrics } => StatusEvent::Started(StreamStarted {
                message: text("Live streaming started"),
                timestamp,
                state: StreamState::Streaming,
                server_url: with_slash(self.tc_url_at(place)),
                stream_key: text("***"),
                quality,
                session_id: session_id(session),
                metrics,
            }),
            Event::Metrics { session, metrics } => {
                StatusEvent::Metrics(StreamMetrics { timestamp, session_id: session_id(session), metrics })
            }
            Event::Stopped { session, metrics } => StatusEvent::Stopped(StreamStopped {
                message: text("Live streaming stopped"),
                timestamp,
                session_id: session_id(session),
                final_metrics: metrics,
            }),
            Event::Error { code, message, attempts, next_retry_in_sec } => StatusEvent::ConnectionError(ConnectionError {
                message: text(message),
                error_code: code,
                timestamp,
                reconnect_attempts: attempts,
                next_retry_in_sec,
            }),
        }
    }

    /// The size of the pictures, as their configuration has it.
    pub(super) fn picture(&self) -> Option<(u32, u32)> {
        self.session.tracks().find_map(|track| track.config.size())
    }

    fn state_report(&self, figures: Figures, timestamp: i64) -> StateReport {
        let (width, height) = self.picture().unwrap_or((self.target.width, self.target.height));
        let Figures { fps, bitrate_kbps, latency_ms, latency_kind, network_quality } = figures;
        StateReport {
            state: self.state,
            state_name: text(self.state.name()),
            quality: self.quality(),
            width,
            height,
            fps,
            bitrate_kbps,
            latency_ms,
            latency_kind,
            network_quality,
            timestamp,
        }
    }
}

fn result(verdict: Verdict, timestamp: i64) -> CommandResult {
    let Verdict { command_id, refused } = verdict;
    CommandResult {
        command_id,
        success: refused.is_none(),
        error_code: refused.map(|(code, _)| code),
        error_message: refused.map(|(_, message)| text(message)),
        timestamp,
    }
}

/// The application's URL as answers have it: with a slash at its end.
fn with_slash(mut tc_url: Text<192>) -> Text<192> {
    // One that is so long stays without.
    let _ = tc_url.push('/');
    tc_url
}

fn session_id(session: u32) -> Text<32> {
    let mut id = Text::new();
    push_hex(&mut id, session);
    id
}
