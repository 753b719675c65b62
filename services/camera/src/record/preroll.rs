//! The pre-roll: the last seconds of encoded frames. Streams and recordings that motion starts begin with them.

use bytes::Bytes;
use sightline_media::{Frame, Instant, Track, TrackId};
use std::{collections::VecDeque, time::Duration};

/// How much longer than the reach frames are kept while a stream starts: discovery, dialling and publishing in one slow round.
const HELD_MAX: Duration = Duration::from_secs(30);

/// A frame and when it was captured.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) frame: Frame<Bytes>,
    pub(crate) captured_at: Instant,
}

/// Frames from an IDR on that reach back at least so far, as long as they fit.
#[derive(Debug)]
pub(crate) struct Preroll {
    reach: Duration,
    bytes_max: usize,
    frames: VecDeque<Held>,
    bytes: usize,
    is_held: bool,
    video: Option<Track>,
}

impl Preroll {
    /// `reach`: from the newest frame back to the IDR that it begins with, at least.
    pub(crate) fn new(reach: Duration, bytes_max: usize) -> Self {
        Self { reach, bytes_max, frames: VecDeque::new(), bytes: 0, is_held: false, video: None }
    }

    /// Sets the track of the next frames, and drops frames of another one. True: it is another one.
    pub(crate) fn set_track(&mut self, track: &Track) -> bool {
        let is_other = track.id == TrackId::VIDEO && self.video.as_ref() != Some(track);
        if is_other {
            self.video = Some(track.clone());
            self.frames.clear();
            self.bytes = 0;
        }
        is_other
    }

    /// Takes the newest frame.
    pub(crate) fn push(&mut self, frame: &Frame<Bytes>, captured_at: Instant) {
        if self.frames.is_empty() && !starts(frame) {
            return;
        }
        self.bytes += frame.len();
        self.frames.push_back(Held { frame: frame.clone(), captured_at });
        self.trim();
    }

    /// An event wants all from the IDR at or before `from` on. It is kept until [`Self::release`]: the stream is not there yet.
    pub(crate) fn hold(&mut self, from: Instant) {
        self.is_held = true;
        let starts_by_then = |held: &Held| starts(&held.frame) && held.captured_at <= from;
        if let Some(first) = self.frames.iter().rposition(starts_by_then) {
            self.drop_before(first);
        }
    }

    /// Drops what is older than the reach again.
    pub(crate) fn release(&mut self) {
        self.is_held = false;
        self.trim();
    }

    /// All frames, oldest first. The first is an IDR.
    pub(crate) fn frames(&self) -> impl Iterator<Item = &Held> {
        self.frames.iter()
    }

    fn trim(&mut self) {
        let kept = if self.is_held { self.reach + HELD_MAX } else { self.reach };
        while let Some(next) = self.next_start() {
            let newest = self.frames.back().map_or(Instant::ZERO, |newest| newest.captured_at);
            let reaches = newest.since(self.frames[next].captured_at) >= kept;
            if !reaches && self.bytes <= self.bytes_max {
                return;
            }
            self.drop_before(next);
        }
        if self.bytes > self.bytes_max {
            // One group of pictures is larger than the limit: start over at the next IDR.
            self.drop_before(self.frames.len());
        }
    }

    /// Where the second group of pictures begins.
    fn next_start(&self) -> Option<usize> {
        self.frames.iter().skip(1).position(|held| starts(&held.frame)).map(|index| index + 1)
    }

    fn drop_before(&mut self, index: usize) {
        let gone = self.frames.drain(..index).map(|held| held.frame.len()).sum::<usize>();
        self.bytes = self.bytes.saturating_sub(gone);
    }
}

/// Whether a decoder can begin here.
pub(crate) fn starts(frame: &Frame<Bytes>) -> bool {
    frame.track == TrackId::VIDEO && frame.is_keyframe
}

#[cfg(test)]
mod tests {
    use super::*;
    use sightline_media::MediaTime;

    fn push(ring: &mut Preroll, index: u64, gop: u64, bytes: usize) {
        let time = MediaTime::from_millis(index.cast_signed() * 100);
        let payload = Bytes::from(vec![0; bytes]);
        let frame =
            Frame { track: TrackId::VIDEO, dts: time, pts: time, is_keyframe: index.is_multiple_of(gop), is_disposable: false, payload };
        ring.push(&frame, Instant::from_micros(index * 100_000));
    }

    /// From and to, in tenths of a second.
    fn span(ring: &Preroll) -> (i64, i64) {
        let mut times = ring.frames().map(|held| held.frame.dts.as_millis() / 100);
        let first = times.next().unwrap();
        (first, times.last().unwrap_or(first))
    }

    #[test]
    fn it_begins_with_an_idr_at_least_five_seconds_back_and_keeps_no_group_more() {
        let mut ring = Preroll::new(Duration::from_secs(5), 1 << 20);
        for index in 0..300 {
            push(&mut ring, index, 20, 100);
            let (first, last) = span(&ring);
            assert!(first % 20 == 0 && (last < 70 || (50..70).contains(&(last - first))), "{first} to {last}");
        }
    }

    #[test]
    fn while_it_is_held_nothing_goes_but_for_half_a_minute() {
        let mut ring = Preroll::new(Duration::from_secs(5), 1 << 20);
        (0..100).for_each(|index| push(&mut ring, index, 20, 100));
        let (first, _) = span(&ring);
        ring.hold(Instant::ZERO);
        (100..300).for_each(|index| push(&mut ring, index, 20, 100));
        assert_eq!(span(&ring), (first, 299));
        (300..900).for_each(|index| push(&mut ring, index, 20, 100));
        assert_eq!(span(&ring), (540, 899));
        ring.release();
        assert_eq!(span(&ring), (840, 899));
    }

    #[test]
    fn an_event_has_the_idr_before_its_beginning_and_no_older_one() {
        let mut ring = Preroll::new(Duration::from_secs(10), 1 << 20);
        (0..300).for_each(|index| push(&mut ring, index, 20, 100));
        ring.hold(Instant::from_micros(25_500_000));
        assert_eq!(span(&ring), (240, 299));
        (300..320).for_each(|index| push(&mut ring, index, 20, 100));
        assert_eq!(span(&ring), (240, 319));
    }

    #[test]
    fn bytes_are_bounded_by_whole_groups() {
        let mut ring = Preroll::new(Duration::from_secs(5), 3_000);
        (0..100).for_each(|index| push(&mut ring, index, 10, 100));
        assert!(ring.bytes <= 3_000 && span(&ring).0 % 10 == 0, "{} bytes", ring.bytes);
        (100..200).for_each(|index| push(&mut ring, index, 1_000, 100));
        assert_eq!(ring.frames().count(), 0, "no IDR came within what may be kept");
    }
}
