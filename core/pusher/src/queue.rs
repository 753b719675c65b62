//! Frames that wait for the link, and which of them to leave out (specification §1.6).

use core::time::Duration;
use heapless::Deque;
use sightline_media::{Frame, Instant, TrackId};

#[derive(Debug)]
struct Waiting<P> {
    frame: Frame<P>,
    captured_at: Instant,
}

/// A bounded queue of frames that is never older than its target, and never breaks a decoder: after a frame that others refer
/// to is left out, nothing of its track follows until the next IDR.
#[derive(Debug)]
pub(crate) struct FrameQueue<P, const QUEUE: usize> {
    waiting: Deque<Waiting<P>, QUEUE>,
    bytes: usize,
    bytes_max: usize,
    frames_max: usize,
    age_max: Duration,
    needs_idr: bool,
    dropped: u64,
}

impl<P: AsRef<[u8]>, const QUEUE: usize> FrameQueue<P, QUEUE> {
    pub(crate) const fn new(frames_max: usize, bytes_max: usize, age_max: Duration) -> Self {
        Self { waiting: Deque::new(), bytes: 0, bytes_max, frames_max, age_max, needs_idr: true, dropped: 0 }
    }

    /// Frames left out since the start of the process.
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Frames that were lost outside of the queue.
    pub(crate) const fn count_dropped(&mut self, frames: u64) {
        self.dropped += frames;
    }

    /// True while nothing of the video can be sent before an IDR.
    pub(crate) const fn needs_idr(&self) -> bool {
        self.needs_idr
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// True when the frame that is next begins a group of pictures.
    pub(crate) fn next_is_idr(&self) -> bool {
        self.waiting.front().is_some_and(|next| next.frame.track == TrackId::VIDEO && next.frame.is_keyframe)
    }

    /// When the oldest frame was captured.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.waiting.front().map(|oldest| oldest.captured_at)
    }

    /// How old the oldest frame is.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        self.waiting.front().map_or(Duration::ZERO, |oldest| now.since(oldest.captured_at))
    }

    /// When the oldest frame will be too old.
    pub(crate) fn expires_at(&self) -> Option<Instant> {
        self.waiting.front().map(|oldest| oldest.captured_at + self.age_max)
    }

    /// Takes a frame, or leaves it out.
    pub(crate) fn push(&mut self, frame: Frame<P>, captured_at: Instant, now: Instant) {
        let starts_anew = frame.track == TrackId::VIDEO && frame.is_keyframe;
        // What is too old goes first: it may take this frame's reference with it.
        self.expire(now);
        if self.needs_idr && frame.track == TrackId::VIDEO && !frame.is_keyframe {
            self.dropped += 1;
            return;
        }
        let has_room = |queue: &Self| {
            !queue.waiting.is_full() && queue.waiting.len() < queue.frames_max && queue.bytes.saturating_add(frame.len()) <= queue.bytes_max
        };
        if !has_room(self) {
            if frame.is_disposable {
                self.dropped += 1;
                return;
            }
            self.drop_to_idr();
            if self.needs_idr && !starts_anew && frame.track == TrackId::VIDEO {
                self.dropped += 1;
                return;
            }
            if !has_room(self) && !self.waiting.is_empty() {
                // An IDR and its followers fill the queue: the newest IDR wins, anything else is left out.
                self.clear_as_dropped();
                if !starts_anew {
                    self.dropped += 1;
                    self.needs_idr = true;
                    return;
                }
            }
        }
        if starts_anew {
            self.needs_idr = false;
        }
        self.bytes += frame.len();
        if self.waiting.push_back(Waiting { frame, captured_at }).is_err() {
            // Only a queue of capacity zero gets here.
            self.dropped += 1;
        }
    }

    /// Leaves out what is too old.
    pub(crate) fn expire(&mut self, now: Instant) {
        while self.age(now) >= self.age_max && !self.waiting.is_empty() {
            self.drop_to_idr();
        }
    }

    /// Leaves out the oldest frame and what refers to it: all before the next IDR, or everything.
    fn drop_to_idr(&mut self) {
        let mut is_first = true;
        while let Some(next) = self.waiting.front() {
            if !is_first && next.frame.track == TrackId::VIDEO && next.frame.is_keyframe {
                return;
            }
            is_first = false;
            self.pop_as_dropped();
        }
        self.needs_idr = true;
    }

    /// Leaves everything out.
    pub(crate) fn clear_as_dropped(&mut self) {
        while self.pop_as_dropped() {}
        self.needs_idr = true;
    }

    fn pop_as_dropped(&mut self) -> bool {
        let Some(gone) = self.waiting.pop_front() else { return false };
        self.bytes = self.bytes.saturating_sub(gone.frame.len());
        self.dropped += 1;
        true
    }

    /// The oldest frame and when it was captured.
    pub(crate) fn pop(&mut self) -> Option<(Frame<P>, Instant)> {
        let Waiting { frame, captured_at } = self.waiting.pop_front()?;
        self.bytes = self.bytes.saturating_sub(frame.len());
        Some((frame, captured_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sightline_media::MediaTime;
    use std::vec::Vec;

    fn video(index: i64, is_keyframe: bool) -> Frame<Vec<u8>> {
        let time = MediaTime::from_millis(index * 40);
        Frame { track: TrackId::VIDEO, dts: time, pts: time, is_keyframe, is_disposable: false, payload: std::vec![0; 100] }
    }

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    /// A decoder's view: after a gap, only an IDR.
    fn assert_decodable(sent: &[(i64, bool)]) {
        for pair in sent.windows(2) {
            assert!(pair[1].0 == pair[0].0 + 1 || pair[1].1, "{pair:?} has a gap without an IDR");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_left_out_a_decoder_sees_no_gap_without_an_idr(
            gop in 1_i64..30,
            takes in proptest::collection::vec(0_usize..4, 1..300),
            bytes_max in 150_usize..3000,
        ) {
            let mut queue: FrameQueue<Vec<u8>, 16> = FrameQueue::new(16, bytes_max, Duration::from_millis(400));
            let mut sent = Vec::new();
            let mut offered = 0;
            for (index, take) in takes.iter().enumerate() {
                let index = index as i64;
                let now = at(index as u64 * 40);
                queue.push(video(index, index % gop == 0), now, now);
                offered += 1;
                proptest::prop_assert!(queue.age(now) <= Duration::from_millis(400));
                for _ in 0..*take {
                    if let Some((frame, _)) = queue.pop() {
                        sent.push((frame.dts.as_millis() / 40, frame.is_keyframe));
                    }
                }
            }
            let waiting = queue.waiting.len() as u64;
            proptest::prop_assert_eq!(sent.len() as u64 + waiting + queue.dropped(), offered);
            proptest::prop_assert!(sent.first().is_none_or(|first| first.1));
            assert_decodable(&sent);
        }
    }

    #[test]
    fn a_disposable_frame_is_left_out_alone() {
        let mut queue: FrameQueue<Vec<u8>, 16> = FrameQueue::new(2, 10_000, Duration::from_secs(3));
        queue.push(video(0, true), at(0), at(0));
        queue.push(video(1, false), at(40), at(40));
        queue.push(Frame { is_disposable: true, ..video(2, false) }, at(80), at(80));
        assert_eq!((queue.dropped(), queue.needs_idr()), (1, false));
    }

    #[test]
    fn the_queue_keeps_from_the_newest_idr_on() {
        let mut queue: FrameQueue<Vec<u8>, 16> = FrameQueue::new(16, 10_000, Duration::from_millis(300));
        for index in 0..10 {
            queue.push(video(index, index % 4 == 0), at(index as u64 * 40), at(index as u64 * 40));
        }
        let (first, _) = queue.pop().unwrap();
        assert!(first.is_keyframe && first.dts.as_millis() == 160, "{first:?}");
        assert_eq!(queue.dropped(), 4);
    }
}
