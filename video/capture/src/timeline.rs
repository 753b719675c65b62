//! A camera's RTP times on our own media time: the source's clock over all its connections, and decoding times, which RTP does not carry.

use sightline_media::{Fault, MediaTime, SourceClock, TrackId};
use std::time::Instant;

/// The most pictures that are reordered: H.264 §A.3.1 allows a decoded picture buffer of 16 frames.
const REORDER_MAX: usize = 16;
/// A picture that is shown longer before one that was decoded earlier is none that was reordered: the camera's clock stepped back.
const REORDER_SPAN_MAX: MediaTime = MediaTime::from_millis(500);

/// Maps the times of one camera, over all its connections.
#[derive(Debug)]
pub(crate) struct Timeline {
    start: Instant,
    clock: SourceClock,
    order: DecodingOrder,
    told: Vec<Fault>,
}

impl Timeline {
    /// The media time's zero is `start`.
    pub(crate) fn new(start: Instant) -> Self {
        let clock = SourceClock::since(sightline_media::Instant::ZERO);
        Self { start, clock, order: DecodingOrder::default(), told: Vec::new() }
    }

    /// A new connection begins: its times have nothing to do with those before.
    pub(crate) fn reconnect(&mut self) {
        self.clock.change_source();
        self.order.forget();
        self.told.clear();
    }

    /// The camera says that it shows up to this many pictures after others that were decoded later.
    pub(crate) fn expect_reordering(&mut self, pictures: usize) {
        self.order.depth = pictures.min(REORDER_MAX);
        self.order.is_said = true;
    }

    /// Decoding and presentation time of a frame that the camera says is at `camera` and that came at `now`.
    pub(crate) fn map(&mut self, track: TrackId, camera: MediaTime, now: Instant) -> (MediaTime, MediaTime) {
        let since_start = now.saturating_duration_since(self.start);
        let now = sightline_media::Instant::ZERO + since_start;
        let decoded = if track == TrackId::VIDEO { self.order.decoding_time(camera) } else { camera };
        let placed = self.clock.place(track, decoded, camera, now);
        if let Some(fault) = placed.fault.filter(|fault| !self.told.contains(fault)) {
            self.told.push(fault);
            tracing::warn!(what = fault.name(), "the camera's times are wrong; they are set right");
        }
        (placed.dts, placed.pts)
    }
}

/// Decoding times of frames that come in decoding order with presentation times.
///
/// The n-th frame is decoded when the n-th picture is shown, as many pictures earlier as B-frames need. How many that is the SPS may say; otherwise
/// it shows in the stream: each picture that belongs before one that was decoded already means one more. Nearly all cameras have none.
#[derive(Debug, Default)]
struct DecodingOrder {
    depth: usize,
    /// The depth is the SPS's word.
    is_said: bool,
    /// Presentation times that no frame was decoded at yet, rising.
    waiting: Vec<MediaTime>,
    last: Option<MediaTime>,
    /// The latest presentation time.
    latest: Option<MediaTime>,
}

impl DecodingOrder {
    /// The decoding time, by the camera's own clock: a step of that clock is a step here too.
    fn decoding_time(&mut self, pts: MediaTime) -> MediaTime {
        let is_step = self.latest.is_some_and(|latest| {
            let back = latest - pts;
            back > REORDER_SPAN_MAX || (back > MediaTime::ZERO && self.is_said && self.depth == 0)
        });
        if is_step {
            self.forget();
        }
        if self.last.is_some_and(|last| pts < last) && !self.is_said && self.depth < REORDER_MAX {
            self.depth += 1;
        }
        self.latest = self.latest.max(Some(pts));
        let at = self.waiting.partition_point(|&waiting| waiting <= pts);
        self.waiting.insert(at, pts);
        if self.waiting.len() > self.depth {
            let first = self.waiting.remove(0);
            self.rise(first)
        } else {
            // The first few are decoded one tick of RTMP after the other, just before the first is shown.
            let missing = i64::try_from(self.depth + 1 - self.waiting.len()).unwrap_or(0);
            self.rise(self.waiting[0] - MediaTime::from_millis(missing))
        }
    }

    /// Rises where pictures are reordered; a time that is said twice stays what it is, for the clock to see.
    fn rise(&mut self, time: MediaTime) -> MediaTime {
        let least = MediaTime::from_ticks(i64::from(self.depth > 0));
        let time = self.last.map_or(time, |last| time.max(last + least));
        self.last = Some(time);
        time
    }

    /// What is decoded next has nothing to do with what was.
    fn forget(&mut self) {
        self.waiting.clear();
        (self.last, self.latest) = (None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const FRAME: i64 = 3_600;

    /// Maps frames that come 40 ms apart.
    fn run(timeline: &mut Timeline, from_ms: u64, camera: &[i64]) -> Vec<(i64, i64)> {
        let times = camera.iter().zip(0..).map(|(&frame, index)| {
            let now = timeline.start + Duration::from_millis(from_ms + index * 40);
            let (dts, pts) = timeline.map(TrackId::VIDEO, MediaTime::from_ticks(frame * FRAME), now);
            (dts.ticks_90k, pts.ticks_90k)
        });
        times.collect()
    }

    #[test]
    fn a_camera_without_b_frames_keeps_its_own_steps() {
        let mut timeline = Timeline::new(Instant::now());
        let times = run(&mut timeline, 1_000, &[50, 51, 52, 54]);
        assert_eq!(times, [0, 1, 2, 4].map(|frame| (90_000 + frame * FRAME, 90_000 + frame * FRAME)));
    }

    #[test]
    fn decoding_times_rise_and_soon_are_never_after_the_picture_is_shown() {
        let mut timeline = Timeline::new(Instant::now());
        let times = run(&mut timeline, 0, &[0, 3, 1, 2, 6, 4, 5, 9, 7, 8, 12, 10, 11, 15, 13, 14]);
        assert!(times.windows(2).all(|pair| pair[1].0 > pair[0].0), "{times:?}");
        assert!(times[5..].iter().all(|(dts, pts)| dts <= pts), "{times:?}");
    }

    #[test]
    fn with_the_camera_s_word_no_picture_is_shown_before_it_is_decoded() {
        let mut timeline = Timeline::new(Instant::now());
        timeline.expect_reordering(2);
        let order = [0, 4, 2, 1, 3, 8, 6, 5, 7, 12, 10, 9, 11];
        let mut times = run(&mut timeline, 1_000, &order);
        timeline.reconnect();
        times.extend(run(&mut timeline, 20_000, &order));
        assert!(times.windows(2).all(|pair| pair[1].0 > pair[0].0), "{times:?}");
        assert!(times.iter().all(|(dts, pts)| dts <= pts && pts - dts <= 5 * FRAME), "{times:?}");
    }

    #[test]
    fn a_reconnect_and_a_jump_of_the_camera_s_clock_go_on_where_we_are() {
        let mut timeline = Timeline::new(Instant::now());
        run(&mut timeline, 0, &[0, 1, 2]);
        timeline.reconnect();
        let after = run(&mut timeline, 10_000, &[700_000, 700_001]);
        assert_eq!(after[0].1, 900_000);
        let jumped = run(&mut timeline, 10_080, &[3, 4]);
        assert_eq!(jumped, [(907_200, 907_200), (910_800, 910_800)]);
    }

    #[test]
    fn sound_with_a_wrong_zero_is_put_beside_the_picture() {
        let mut timeline = Timeline::new(Instant::now());
        let now = timeline.start + Duration::from_secs(1);
        timeline.map(TrackId::VIDEO, MediaTime::from_millis(0), now);
        let (_, near) = timeline.map(TrackId::AUDIO, MediaTime::from_millis(-200), now);
        assert_eq!(near, MediaTime::from_millis(800));
        timeline.reconnect();
        timeline.map(TrackId::VIDEO, MediaTime::from_millis(0), now);
        let (_, far) = timeline.map(TrackId::AUDIO, MediaTime::from_millis(90_000), now);
        // Behind the last frame of the connection before, which came at the same moment.
        assert_eq!(far, MediaTime::from_ticks(93_000));
    }

    /// gtxaspec/raptor#43: a step back of 1 to 3 s is no reordering, and costs a frame's time, not 0.64 s for good.
    #[test]
    fn a_step_back_is_no_reordering() {
        for (is_said, step_frames) in [(false, 25), (false, 75), (true, 25), (true, 2)] {
            let mut timeline = Timeline::new(Instant::now());
            if is_said {
                timeline.expect_reordering(0);
            }
            let camera: Vec<i64> = (0..50).chain(50 - step_frames..100).collect();
            let times = run(&mut timeline, 1_000, &camera);
            for (frame, (dts, pts)) in times.iter().enumerate() {
                let at = 90_000 + i64::try_from(frame).unwrap() * FRAME;
                assert!(pts == dts && (dts - at).abs() <= FRAME, "{frame}: {dts} {pts} {at}");
            }
        }
    }

    /// scottlamb/retina#64: times at another rate than announced.
    #[test]
    fn a_rate_that_is_wrong_is_not_followed() {
        let mut timeline = Timeline::new(Instant::now());
        let camera: Vec<i64> = (0..1000).map(|frame| frame * 10).collect();
        let times = run(&mut timeline, 0, &camera);
        let (dts, _) = times[999];
        assert!((dts - 999 * FRAME).abs() < 90_000, "{dts}");
    }
}
