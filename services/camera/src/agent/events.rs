//! What starts a stream or a clip without a person: motion and the clock. And the backlog of a stream that begins before it was started.

use bytes::Bytes;
use jiff::Timestamp;
use sightline_media::{Frame, Instant};
use sightline_pusher::MotionGate;
use std::{collections::VecDeque, time::Duration};

use crate::{
    preroll::{Held, Preroll, starts},
    schedule::Schedule,
};

/// The civil clock is looked at this often at least: it may be set while nothing here would tell.
const CLOCK_INTERVAL: Duration = Duration::from_secs(5);
/// The least wait for a window's edge: the two clocks do not tick together.
const EDGE_WAIT_MIN: Duration = Duration::from_millis(1);
/// A link that has not caught up with the present after this long never will: the stream goes on with the newest picture.
const CATCH_UP_MAX: Duration = Duration::from_secs(30);
/// Bytes that may wait so, in pre-rolls: live frames join behind.
const BACKLOG_PREROLLS_MAX: usize = 2;

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

/// The windows, and whether one is open.
pub(super) struct Calendar {
    schedule: Schedule,
    pub(super) is_open: bool,
    pub(super) look_at: Instant,
}

impl Calendar {
    pub(super) fn new(schedule: Schedule) -> Self {
        Self { schedule, is_open: false, look_at: Instant::ZERO }
    }

    /// Looks at the civil clock where it is time to.
    pub(super) fn look(&mut self, now: Instant, wall: Timestamp) {
        if now < self.look_at {
            return;
        }
        self.is_open = self.schedule.is_open(wall);
        let edge = self.schedule.next_change(wall).map_or(CLOCK_INTERVAL, |edge| edge.duration_since(wall).unsigned_abs());
        self.look_at = now + edge.clamp(EDGE_WAIT_MIN, CLOCK_INTERVAL);
    }
}

/// Frames of the past on their way to the pusher, which would take them for late: it gets them as the link takes them, each as if it was
/// captured now. Their media times stay what they are.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    frames: VecDeque<Held>,
    bytes: usize,
    bytes_max: usize,
    since: Instant,
}

impl Backlog {
    /// `preroll_bytes`: the most that the pre-roll may have.
    pub(super) fn new(preroll_bytes: usize) -> Self {
        Self { bytes_max: preroll_bytes.saturating_mul(BACKLOG_PREROLLS_MAX), ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.frames.clear();
        self.bytes = 0;
    }

    /// Begins with a pre-roll.
    pub(super) fn load(&mut self, preroll: &Preroll, now: Instant) {
        self.clear();
        self.since = now;
        self.frames.extend(preroll.frames().cloned());
        self.bytes = self.frames.iter().map(|held| held.frame.len()).sum();
    }

    /// A live frame, behind those that wait.
    pub(super) fn push(&mut self, frame: Frame<Bytes>, captured_at: Instant) {
        self.bytes += frame.len();
        self.frames.push_back(Held { frame, captured_at });
    }

    /// The next one. Where the link does not catch up, all before the newest IDR is left out.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Frame<Bytes>> {
        if now.since(self.since) > CATCH_UP_MAX || self.bytes > self.bytes_max {
            let newest = self.frames.iter().rposition(|held| starts(&held.frame)).unwrap_or(0);
            self.frames.drain(..newest);
            self.bytes = self.frames.iter().map(|held| held.frame.len()).sum();
            self.since = now;
            tracing::warn!(frames = newest, "the link is too slow for the pre-roll: the rest of it is left out");
        }
        let held = self.frames.pop_front()?;
        self.bytes = self.bytes.saturating_sub(held.frame.len());
        Some(held.frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Day, Window};
    use sightline_media::{MediaTime, TrackId};

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    #[test]
    fn a_clock_that_is_set_is_noticed_within_seconds() {
        let all = vec![Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun];
        let noon = Window { days: all, start: "12:00".into(), end: "13:00".into(), tz: "UTC".into() };
        let mut calendar = Calendar::new(Schedule::new(&[noon]).unwrap());
        let wall = |text: &str| text.parse::<Timestamp>().unwrap();
        // Started with the clock of a device that has no battery for it.
        calendar.look(at(0), wall("1970-01-01T00:00:03Z"));
        assert!(!calendar.is_open);
        // NTP sets it into the window; the next look is due soon, whatever the edge was.
        assert!(calendar.look_at <= at(5_000));
        calendar.look(at(5_000), wall("2026-11-23T12:30:00Z"));
        assert!(calendar.is_open);
        // And back, before it.
        calendar.look(at(10_000), wall("2026-11-23T11:59:58Z"));
        assert!(!calendar.is_open && calendar.look_at == at(12_000), "the edge is closer than the next look");
        calendar.look(at(12_000), wall("2026-11-23T12:00:00Z"));
        assert!(calendar.is_open);
    }

    #[test]
    fn what_does_not_catch_up_goes_on_with_the_newest_idr() {
        let mut ring = Preroll::new(Duration::from_secs(5), 1 << 20);
        let frame = |index: i64| Frame {
            track: TrackId::VIDEO,
            dts: MediaTime::from_millis(index * 100),
            pts: MediaTime::from_millis(index * 100),
            is_keyframe: index % 20 == 0,
            is_disposable: false,
            payload: Bytes::from_static(&[0; 100]),
        };
        (0..60).for_each(|index| ring.push(&frame(index), at(index.unsigned_abs() * 100)));
        let mut backlog = Backlog::new(1 << 20);
        backlog.load(&ring, at(6_000));
        assert_eq!(backlog.pop(at(6_000)).unwrap().dts, MediaTime::ZERO);
        (60..400).for_each(|index| backlog.push(frame(index), at(index.unsigned_abs() * 100)));
        assert_eq!(backlog.pop(at(36_000)).unwrap().dts.as_millis(), 100);
        let jumped = backlog.pop(at(36_001)).unwrap();
        assert!(jumped.is_keyframe && jumped.dts.as_millis() == 38_000, "{jumped:?}");
    }
}
