//! The backlog of a stream that begins before it was started: the pre-roll, and what came since.

use bytes::Bytes;
use sightline_media::{Frame, Instant};
use std::{collections::VecDeque, time::Duration};

use super::preroll::{Held, Preroll, starts};

/// A link that has not caught up with the present after this long never will: the stream goes on with the newest picture.
const CATCH_UP_MAX: Duration = Duration::from_secs(30);
/// The most that may wait, in pre-rolls: live frames join behind.
const BACKLOG_PREROLLS_MAX: usize = 2;

/// Frames of the past on their way to the pusher. It would take them for late, so it gets them as fast as the link takes them, each as if it was captured now.
/// Their media times stay as they are.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    frames: VecDeque<Held>,
    bytes: usize,
    bytes_max: usize,
    since: Instant,
}

impl Backlog {
    /// `preroll_bytes`: the most that the pre-roll may have.
    pub(crate) fn new(preroll_bytes: usize) -> Self {
        Self { bytes_max: preroll_bytes.saturating_mul(BACKLOG_PREROLLS_MAX), ..Self::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.frames.clear();
        self.bytes = 0;
    }

    /// Begins with a pre-roll.
    pub(crate) fn load(&mut self, preroll: &Preroll, now: Instant) {
        self.clear();
        self.since = now;
        self.frames.extend(preroll.frames().cloned());
        self.bytes = self.frames.iter().map(|held| held.frame.len()).sum();
    }

    /// A live frame, behind those that wait.
    pub(crate) fn push(&mut self, frame: Frame<Bytes>, captured_at: Instant) {
        self.bytes += frame.len();
        self.frames.push_back(Held { frame, captured_at });
    }

    /// The next one. Where the link does not catch up, all before the newest IDR is left out.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Frame<Bytes>> {
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
    use sightline_media::{MediaTime, TrackId};

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
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
