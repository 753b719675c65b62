//! The state machine while it streams: frames into the session, acknowledgements out of the link, the encoder's numbers.

use core::time::Duration;
use sightline_media::{Instant, TrackId};
use sightline_rtmp::client;
use sightline_signal::{ErrorCode, StartMetrics, StreamState};

use super::timers::Timer;
use super::{HEALTHY_AFTER, KEYFRAME_REQUEST_INTERVAL, Pusher, SESSION_QUEUE};
use crate::{
    debut::Debut,
    io::EncoderAction,
    outbox::{Event, Figures},
    rate::{Decision, LinkSample},
    servers::Servers,
    tally::Tally,
};

/// Bytes that may be on their way where only RTMP acknowledges: servers do so each 32 KiB at best, so that fewer than some windows
/// would make the link wait for its acknowledgements.
const UNREPORTED_WINDOW_BYTES: u64 = 96 * 1024;

impl<P: AsRef<[u8]>, const QUEUE: usize> Pusher<P, QUEUE> {
    pub(super) fn on_publishing(&mut self, now: Instant) {
        // Of a codec that an earlier server took. A source that has no other form of its pictures announces them again, and the stream ends then.
        self.session.forget_untaken();
        self.streaming_since = Some(now);
        self.held_name_tries = 0;
        self.rate.restart(now);
        self.keyframe_asked_at = Some(now);
        self.timers.set(Timer::Metrics, Some(now + self.config.metrics_interval));
        if self.tally.is_none() {
            self.tally = Some(Tally::new(now));
            self.dropped_before = self.queue.dropped();
            self.session_number = self.backoff.next_random() as u32;
        }
        let settings = self.settings();
        self.outbox.encoder(EncoderAction::Start(settings));
        self.enter(StreamState::Streaming, None);
        self.debut = Some(Debut::new(now));
    }

    /// Tells that the stream has started, with what was measured since; with what the encoder was set to where that is nothing yet.
    #[inline(never)]
    pub(super) fn announce(&mut self) {
        let Some(debut) = self.debut.take() else { return };
        let settings = self.settings();
        let measured = debut.measured();
        let size = self.picture();
        self.outbox.event(Event::Started {
            session: self.session_number,
            place: self.servers.as_ref().map_or(0, Servers::next),
            quality: self.quality(),
            metrics: StartMetrics {
                fps: measured.map_or(settings.fps as f32, |measured| measured.fps),
                bitrate_kbps: measured.map_or(settings.bitrate_bps as f32 / 1000.0, |measured| measured.bitrate_kbps),
                is_connected: true,
                width: size.map(|(width, _)| width),
                height: size.map(|(_, height)| height),
                uplink_kbps: self.opening.uplink_bps.take().map(|bps| bps as f32 / 1000.0),
            },
        });
    }

    pub(super) fn tend(&mut self, now: Instant) {
        if self.config.frame_dropping {
            self.queue.expire(now);
        }
        if self.flight.is_empty() && self.pending()[0].is_empty() {
            self.flight.rest(now);
        } else if self.flight.progress_at().is_some_and(|at| now.since(at) >= self.config.send_timeout) {
            self.lose(now, ErrorCode::SendTimeout);
            return;
        }
        if self.config.adaptive_bitrate {
            let sample = self.sample(now);
            match self.rate.tick(now, sample) {
                Some(Decision::Rate) => self.outbox.encoder(EncoderAction::Change(self.settings())),
                Some(Decision::Hold(is_held)) => {
                    self.outbox.encoder(if is_held { EncoderAction::Pause } else { EncoderAction::Resume });
                    self.outbox.encoder(EncoderAction::Change(self.settings()));
                }
                Some(Decision::Starved) => self.report_error(ErrorCode::BandwidthInsufficient, Duration::ZERO),
                None => {}
            }
            if self.ladder.tick(now, self.rate.bitrate_bps() as f32 / self.target.bitrate_bps.max(1) as f32) {
                self.outbox.encoder(EncoderAction::Change(self.settings()));
            }
        }
        self.tend_picked(now);
        if self.streaming_since.is_some_and(|since| now.since(since) >= HEALTHY_AFTER) {
            self.backoff.reset();
            self.sets_exhausted = 0;
        }
        if !self.is_asking && self.servers.as_ref().and_then(Servers::refresh_at).is_some_and(|at| now >= at) {
            self.send_request(now);
        }
        if self.debut.as_ref().is_some_and(|debut| now >= debut.ends_at()) {
            self.announce();
        }
        if self.timers.take_ended(Timer::Metrics, now) {
            self.announce();
            self.timers.set(Timer::Metrics, Some(now + self.config.metrics_interval));
            self.publish_metrics(now);
        }
    }

    /// When the oldest frame that has not arrived was captured: on its way, in the session, or in the queue behind it.
    fn oldest(&self) -> Option<Instant> {
        self.flight.oldest().or_else(|| self.in_session.front().copied()).or_else(|| self.queue.oldest())
    }

    fn sample(&self, now: Instant) -> LinkSample {
        LinkSample {
            lag: self.oldest().map_or(Duration::ZERO, |oldest| now.since(oldest).saturating_sub(self.flight.base())),
            delivered_bps: self.flight.delivered_bps(now),
            fresh_bps: self.flight.fresh_bps(now),
            arrived: self.flight.acknowledged(),
        }
    }

    pub(super) fn on_acknowledged(&mut self, now: Instant, bytes: u64, outstanding: u64) {
        let Self { flight, tally, .. } = self;
        flight.report(now, bytes, outstanding, |latency| {
            if let Some(tally) = tally {
                tally.acknowledged(latency);
            }
        });
        self.tend_check(now);
    }

    /// The age of the oldest frame that the link has not taken: in the session, or in the queue behind it.
    fn queue_age(&self, now: Instant) -> Duration {
        self.in_session.front().map_or_else(|| self.queue.age(now), |captured_at| now.since(*captured_at))
    }

    fn publish_metrics(&mut self, now: Instant) {
        let age = self.queue_age(now);
        let dropped = self.queue.dropped() - self.dropped_before;
        let target_latency = self.config.target_latency;
        let Some(tally) = &mut self.tally else { return };
        let metrics = tally.report(now, dropped, age, target_latency);
        self.outbox.event(Event::Metrics { session: self.session_number, metrics });
        self.outbox.state(Figures {
            fps: metrics.fps,
            bitrate_kbps: metrics.bitrate_kbps,
            latency_ms: metrics.latency_ms,
            latency_kind: metrics.latency_kind,
            network_quality: metrics.network_quality,
        });
    }

    /// How much may be on its way: what is in the network can't be taken back.
    fn window_bytes(&self, now: Instant) -> u64 {
        if !self.config.adaptive_bitrate {
            return u64::MAX;
        }
        let window = self.rate.window_bytes(self.flight.delivered_bps(now));
        if self.flight.reports() { window } else { window.max(UNREPORTED_WINDOW_BYTES) }
    }

    /// Moves what can move: events out of the session, frames into it, a key frame asked for.
    pub(super) fn settle(&mut self, now: Instant) {
        while let Some(event) = self.session.poll_event() {
            match event {
                client::Event::Connected => self.on_connected(now),
                client::Event::Publishing => self.on_publishing(now),
                client::Event::Rejected { code, .. } => self.on_rejected(now, &code),
                client::Event::Acknowledged { bytes } => {
                    let Self { flight, tally, .. } = self;
                    flight.acknowledged_by_server(now, bytes, |latency| {
                        if let Some(tally) = tally {
                            tally.acknowledged(latency);
                        }
                    });
                }
                client::Event::FrameSent(frame) => {
                    let captured_at = self.in_session.pop_front().unwrap_or(now);
                    self.session_bytes = self.session_bytes.saturating_sub(frame.len() as u64);
                    if frame.track == TrackId::VIDEO {
                        self.flight.hand_frame(captured_at);
                    }
                    if let Some(debut) = &mut self.debut {
                        debut.sent(now, frame.track, frame.len());
                    }
                    if let Some(tally) = &mut self.tally {
                        match frame.track {
                            TrackId::VIDEO => tally.sent(frame.len(), now.since(captured_at)),
                            _ => tally.sent_other(frame.len()),
                        }
                    }
                }
                client::Event::Closed => self.lose(now, ErrorCode::ConnectionLost),
                client::Event::ReconnectRequested { tc_url } => self.on_reconnect_request(now, &tc_url),
            }
        }
        self.move_at_idr(now);
        let window = self.window_bytes(now);
        if self.session.has_begun() {
            let holds = self.moves_to.is_some() && self.queue.next_is_idr();
            while self.state == StreamState::Streaming && self.session.queue_len() < SESSION_QUEUE && !holds {
                if self.flight.unacknowledged() + self.session_bytes >= window {
                    break;
                }
                let Some((frame, captured_at)) = self.queue.pop() else { break };
                self.session_bytes += frame.len() as u64;
                let is_marked = frame.track == TrackId::VIDEO && self.config.marks_pictures;
                let mark = if is_marked { self.clock.mark(captured_at, self.queue.dropped()) } else { None };
                if self.session.send_marked(frame, mark).is_err() {
                    break;
                }
                let _ = self.in_session.push_back(captured_at);
            }
            if self.state == StreamState::Stopping && self.session.queue_len() == 0 && self.session.pending()[0].is_empty() {
                self.rest(now);
            }
        }
        let asked = self.keyframe_asked_at.map_or(Duration::MAX, |at| now.since(at));
        if self.state == StreamState::Streaming && self.queue.needs_idr() && asked >= KEYFRAME_REQUEST_INTERVAL {
            self.keyframe_asked_at = Some(now);
            self.outbox.encoder(EncoderAction::Keyframe);
        }
    }
}
