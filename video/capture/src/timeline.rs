//! A camera's RTP times on our own media time: monotonic over reconnects, and with decoding times, which RTP does not carry.

use sightline_media::{MediaTime, TrackId};
use std::time::{Duration, Instant};

/// A step of the camera's time that differs by more than this from the time that passed here is a jump of its clock (an RTP time that began anew, a
/// wrong `rtptime` in RTP-Info), not jitter of the network.
const JUMP_MAX: MediaTime = MediaTime::from_millis(3_000);
/// The most pictures that are reordered: H.264 §A.3.1 allows a decoded picture buffer of 16 frames.
const REORDER_MAX: usize = 16;

/// Maps the times of one camera, over all its connections.
#[derive(Debug)]
pub(crate) struct Timeline {
    start: Instant,
    /// What is added to the camera's times; none before the first frame of a connection.
    offset: Option<MediaTime>,
    video: Lane,
    audio: Lane,
}

/// What is known of one track.
#[derive(Debug, Default)]
struct Lane {
    /// The camera's time, corrected, of the last frame, and when it came.
    last: Option<(MediaTime, Instant)>,
    /// Added on top, after a jump of this track alone.
    correction: MediaTime,
    order: DecodingOrder,
}

impl Timeline {
    /// The media time's zero is `start`.
    pub(crate) fn new(start: Instant) -> Self {
        Self { start, offset: None, video: Lane::default(), audio: Lane::default() }
    }

    /// A new connection begins: its times have nothing to do with those before.
    pub(crate) fn reconnect(&mut self) {
        self.offset = None;
        for lane in [&mut self.video, &mut self.audio] {
            lane.last = None;
            lane.correction = MediaTime::ZERO;
            lane.order.forget_waiting();
        }
    }

    /// The camera says that it shows up to this many pictures after others that were decoded later.
    pub(crate) fn expect_reordering(&mut self, pictures: usize) {
        let order = &mut self.video.order;
        order.depth = order.depth.max(pictures.min(REORDER_MAX));
    }

    /// Decoding and presentation time of a frame that the camera says is at `camera` and that came at `now`.
    pub(crate) fn map(&mut self, track: TrackId, camera: MediaTime, now: Instant) -> (MediaTime, MediaTime) {
        let arrival = media_time(now.saturating_duration_since(self.start));
        let offset = *self.offset.get_or_insert(arrival - camera);
        let is_video = track == TrackId::VIDEO;
        let lane = if is_video { &mut self.video } else { &mut self.audio };
        let mut pts = camera + offset + lane.correction;
        // The first frame is held against the clock, each other against the one before it, so that a camera's slow drift is no jump.
        let expected = lane.last.map_or(arrival, |(last, at)| last + media_time(now.saturating_duration_since(at)));
        let difference = expected - pts;
        if difference > JUMP_MAX || MediaTime::ZERO - difference > JUMP_MAX {
            lane.correction = lane.correction + difference;
            lane.order.forget_waiting();
            pts = expected;
        }
        lane.last = Some((pts, now));
        if is_video {
            (lane.order.decoding_time(pts), pts)
        } else {
            let time = lane.order.rise(pts);
            (time, time)
        }
    }
}

fn media_time(elapsed: Duration) -> MediaTime {
    MediaTime::from_micros(i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX))
}

/// Decoding times of frames that come in decoding order with presentation times.
///
/// The n-th frame is decoded when the n-th picture is shown, as many pictures earlier as B-frames need. How many that is the SPS may say; otherwise
/// it shows in the stream: each picture that belongs before one that was decoded already means one more. Nearly all cameras have none.
#[derive(Debug, Default)]
struct DecodingOrder {
    depth: usize,
    /// Presentation times that no frame was decoded at yet, rising.
    waiting: Vec<MediaTime>,
    last: Option<MediaTime>,
}

impl DecodingOrder {
    fn decoding_time(&mut self, pts: MediaTime) -> MediaTime {
        if self.last.is_some_and(|last| pts < last) && self.depth < REORDER_MAX {
            self.depth += 1;
        }
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

    /// Never the time of the frame before, nor an earlier one.
    fn rise(&mut self, time: MediaTime) -> MediaTime {
        let time = self.last.map_or(time, |last| time.max(last + MediaTime::from_ticks(1)));
        self.last = Some(time);
        time
    }

    fn forget_waiting(&mut self) {
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(far, MediaTime::from_millis(1_000));
    }
}
