//! A stream's own time: it goes on over changes of publisher and over jumps of their clocks, and never runs backward.

use sightline_media::{Frame, Instant, MediaTime, TrackId};

/// A publisher's time may differ this much from the wait that the origin saw before it counts as a jump, in ticks: 10 s. Links stall and catch up by seconds.
const JUMP_TICKS: i64 = 10 * MediaTime::TICKS_PER_SECOND;
/// The least distance between the last frame of one publisher and the first of the next, in ticks: 1/30 s.
const GAP_TICKS_MIN: i64 = MediaTime::TICKS_PER_SECOND / 30;

/// Maps a publisher's times to the stream's.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    offset: MediaTime,
    /// The present publisher's last frame: its own time, and when it came.
    last_in: Option<(MediaTime, Instant)>,
    /// The stream's latest time, and when.
    latest_out: Option<(MediaTime, Instant)>,
    /// The last times given, by track: decoding times never decrease within one.
    by_track: [Option<MediaTime>; 2],
}

impl Timeline {
    /// The next frame comes from another publisher.
    pub(crate) fn change_publisher(&mut self) {
        self.last_in = None;
    }

    /// Gives the frame the stream's time. `now` is when it came.
    pub(crate) fn place<P>(&mut self, frame: &mut Frame<P>, now: Instant) {
        let has_jumped = self.last_in.is_none_or(|(last, at)| {
            let waited = ticks(now.since(at));
            let stepped = (frame.dts - last).ticks_90k;
            (stepped - waited).abs() > JUMP_TICKS
        });
        if has_jumped {
            let start = self.latest_out.map_or(frame.dts, |(latest, at)| {
                // The wall's time that passed, so that the stream stays as long as it was watched.
                MediaTime::from_ticks(latest.ticks_90k + ticks(now.since(at)).max(GAP_TICKS_MIN))
            });
            self.offset = start - frame.dts;
        }
        self.last_in = Some((frame.dts, now));
        let composition = frame.pts - frame.dts;
        let last = self.by_track.get_mut(usize::from(frame.track != TrackId::VIDEO));
        let mut dts = frame.dts + self.offset;
        if let Some(last) = last {
            dts = last.map_or(dts, |last| dts.max(last));
            *last = Some(dts);
        }
        if self.latest_out.is_none_or(|(latest, _)| dts >= latest) {
            self.latest_out = Some((dts, now));
        }
        frame.dts = dts;
        frame.pts = dts + composition;
    }
}

fn ticks(wait: core::time::Duration) -> i64 {
    MediaTime::from_micros(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX)).ticks_90k
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(timeline: &mut Timeline, dts_ms: i64, now_ms: u64) -> i64 {
        let dts = MediaTime::from_millis(dts_ms);
        let mut frame = Frame {
            track: TrackId::VIDEO,
            dts,
            pts: dts + MediaTime::from_millis(80),
            is_keyframe: true,
            is_disposable: false,
            payload: (),
        };
        timeline.place(&mut frame, Instant::from_micros(now_ms * 1000));
        assert_eq!((frame.pts - frame.dts).as_millis(), 80);
        frame.dts.as_millis()
    }

    #[test]
    fn another_publisher_goes_on_where_the_last_one_was() {
        let mut timeline = Timeline::default();
        assert_eq!(place(&mut timeline, 5000, 0), 5000);
        assert_eq!(place(&mut timeline, 5040, 40), 5040);
        timeline.change_publisher();
        assert_eq!(place(&mut timeline, 0, 2040), 7040, "two seconds passed");
        assert_eq!(place(&mut timeline, 40, 2080), 7080);
        timeline.change_publisher();
        assert_eq!(place(&mut timeline, 1_000_000, 2081), 7113, "at least one frame on");
    }

    #[test]
    fn jumps_are_taken_out_and_stalls_are_not() {
        let mut timeline = Timeline::default();
        place(&mut timeline, 0, 0);
        assert_eq!(place(&mut timeline, 5000, 5), 5000, "a link that catches up");
        assert_eq!(place(&mut timeline, 5040, 9000), 5040, "a link that stalls");
        assert_eq!(place(&mut timeline, 0x7fff_ffff, 9040), 5080, "a jump ahead");
        assert_eq!(place(&mut timeline, 10, 9080), 5120, "and back");
        assert_eq!(place(&mut timeline, 0, 9120), 5120, "a step back waits");
    }
}
