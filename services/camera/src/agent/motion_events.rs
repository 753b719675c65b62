//! What starts a stream or a clip without a person: events of motion, and the clock.

use sightline_media::Instant;
use sightline_pusher::{Input, MotionGate};
use sightline_signal::topic::Topic;
use std::time::Duration;

use super::{Running, wall_of};
use crate::{cloud::outbox::Outgoing, record::preroll::Preroll};

/// Between the last picture in which nothing moved and the word that something does: three key frames two seconds apart.
pub(super) const DETECTION_MAX: Duration = Duration::from_secs(6);

/// Motion: when an event is, and what came before it.
pub(super) struct MotionEvents {
    pub(super) gate: MotionGate,
    pub(super) preroll: Preroll,
    /// What an event begins with before anything moves.
    pub(super) lead: Duration,
    /// Whether an event starts the stream.
    pub(super) starts_stream: bool,
    /// An event waits for its stream, which is to begin with the pre-roll.
    pub(super) awaits_stream: bool,
}

impl MotionEvents {
    /// Where the stream and the clip of an event begin, at the latest, before which nothing moved at `since`.
    pub(super) fn begins_before(&self, since: Instant) -> Instant {
        let lead_micros = u64::try_from(self.lead.as_micros()).unwrap_or(u64::MAX);
        Instant::from_micros(since.as_micros().saturating_sub(lead_micros))
    }
}

impl Running {
    /// What is due.
    pub(super) fn tend(&mut self, now: Instant) {
        let change = self.motion.as_mut().and_then(|motion| motion.gate.handle_timeout(now));
        self.change_event(now, change, now);
        if let Some(calendar) = &mut self.calendar {
            calendar.look(now, jiff::Timestamp::now());
        }
        self.pull_trigger(now);
    }

    /// When something is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let gate = self.motion.as_ref().and_then(|motion| motion.gate.poll_timeout());
        let look_at = self.calendar.as_ref().map(|calendar| calendar.look_at);
        [self.pusher.poll_timeout(), gate, look_at].into_iter().flatten().min()
    }

    /// An event of motion begins, or is over. `since`: nothing moved then yet.
    pub(super) fn change_event(&mut self, now: Instant, change: Option<bool>, since: Instant) {
        let (Some(is_on), Some(motion)) = (change, &mut self.motion) else { return };
        tracing::info!(motion = is_on, "motion");
        let recorder = self.recorder.as_mut().filter(|recorder| recorder.waits_for_motion());
        if is_on {
            motion.preroll.hold(motion.begins_before(since));
            motion.awaits_stream = motion.starts_stream && !self.pusher.is_streaming();
            if let Some(recorder) = recorder {
                recorder.begin();
                motion.preroll.frames().for_each(|held| recorder.push(&held.frame, wall_of(held.captured_at, now)));
            }
        } else {
            motion.awaits_stream = false;
            if let Some(recorder) = recorder {
                recorder.end();
            }
        }
        if !motion.awaits_stream {
            motion.preroll.release();
        }
        if let Some(mqtt) = &self.mqtt {
            let payload = serde_json::json!({ "motion": is_on }).to_string().into_bytes();
            mqtt.publish(Outgoing::new(Topic::Motion, payload));
        }
        self.pull_trigger(now);
    }

    /// Notifies the pusher when motion and the clock together want something else.
    fn pull_trigger(&mut self, now: Instant) {
        let moves = self.motion.as_ref().is_some_and(|motion| motion.starts_stream && motion.gate.is_open());
        let is_triggered = !self.is_stopping && (moves || self.calendar.as_ref().is_some_and(|calendar| calendar.is_open));
        if is_triggered != self.is_triggered {
            self.is_triggered = is_triggered;
            self.pusher.handle(now, Input::Trigger(is_triggered));
        }
    }
}
