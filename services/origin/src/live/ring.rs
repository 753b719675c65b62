//! A stream's last frames, shared by all its viewers. There is no queue for each viewer: each has a place in this one ([`Cursor`]), so
//! a frame is kept once, and a slow viewer costs a number.

use crate::live::packet::Packet;
use std::collections::VecDeque;
use std::sync::Arc;

/// A viewer's place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Cursor {
    /// The next frame; `None` before the first.
    next: Option<u64>,
}

impl Cursor {
    /// The number of the first frame that it still needs; 0 before its first.
    pub(crate) fn needed_from(self) -> u64 {
        self.next.unwrap_or(0)
    }
}

/// How many frames are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Of the present group of pictures, in bytes: what the frames cost, their payload and what it takes to keep them.
    pub(crate) gop_bytes: usize,
    /// The same in frames.
    pub(crate) gop_frames: usize,
    /// Of it and those before it, in bytes: how far a viewer may be behind. What no viewer needs any more is not kept.
    pub(crate) window_bytes: usize,
    /// The same in frames.
    pub(crate) window_frames: usize,
}

/// The last frames.
#[derive(Debug)]
pub(crate) struct Ring {
    limits: Limits,
    packets: VecDeque<Arc<Packet>>,
    /// The number of `packets`' first.
    base: u64,
    bytes: usize,
    last_start: Option<u64>,
}

impl Ring {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, packets: VecDeque::new(), base: 1, bytes: 0, last_start: None }
    }

    /// The number that the next frame will have.
    pub(crate) fn head(&self) -> u64 {
        self.base + self.packets.len() as u64
    }

    /// Where a viewer could begin now.
    pub(crate) fn last_start(&self) -> Option<&Arc<Packet>> {
        self.last_start.and_then(|number| self.get(number))
    }

    fn get(&self, number: u64) -> Option<&Arc<Packet>> {
        usize::try_from(number.checked_sub(self.base)?).ok().and_then(|at| self.packets.get(at))
    }

    /// The frames that a viewer who began now would get.
    pub(crate) fn group(&self) -> impl Iterator<Item = &Arc<Packet>> {
        let start = self.last_start.unwrap_or_else(|| self.head());
        self.packets.iter().skip(usize::try_from(start - self.base).unwrap_or(usize::MAX))
    }

    /// Adds a frame. Frames before both `needed_from` and the last key frame are dropped.
    pub(crate) fn push(&mut self, packet: Arc<Packet>, needed_from: u64) {
        if packet.config.can_start_with(&packet.frame) {
            self.last_start = Some(self.head());
        }
        self.bytes += packet.frame.cost_bytes();
        self.packets.push_back(packet);
        self.trim(needed_from);
    }

    fn trim(&mut self, needed_from: u64) {
        let Limits { gop_bytes, gop_frames, window_bytes, window_frames } = self.limits;
        while self.last_start.is_none_or(|start| self.base < start)
            && self.packets.len() > 1
            && (self.base < needed_from || self.bytes > window_bytes || self.packets.len() > window_frames)
        {
            self.pop();
        }
        // A group of pictures without end: viewers that keep up stay, new ones wait for the next key frame.
        if self.bytes > gop_bytes || self.packets.len() > gop_frames {
            self.last_start = None;
            while (self.bytes > window_bytes || self.packets.len() > window_frames) && self.packets.len() > 1 {
                self.pop();
            }
        }
    }

    fn pop(&mut self) {
        if let Some(packet) = self.packets.pop_front() {
            self.bytes -= packet.frame.cost_bytes();
            self.base += 1;
        }
    }

    /// Appends to `out` the frames that come next for a viewer, about `bytes_max` at most; true when it had to skip to a key frame.
    pub(crate) fn take(&self, cursor: &mut Cursor, out: &mut Vec<Arc<Packet>>, bytes_max: usize) -> bool {
        let mut has_skipped = false;
        let mut next = match cursor.next {
            Some(next) if next >= self.base => next,
            before => {
                let Some(start) = self.last_start else { return false };
                has_skipped = before.is_some();
                start
            }
        };
        let mut taken_bytes = 0;
        while taken_bytes < bytes_max {
            let Some(packet) = self.get(next) else { break };
            taken_bytes += packet.frame.payload.len();
            out.push(packet.clone());
            next += 1;
        }
        cursor.next = Some(next);
        has_skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use sightline_media::{Frame, MediaTime, StreamConfig, Track, TrackConfig, TrackId, aac::AudioConfig};

    /// What one of the frames below costs.
    const FRAME: usize = 100 + sightline_media::FRAME_OVERHEAD_BYTES;
    const LIMITS: Limits = Limits { gop_bytes: 10 * FRAME, gop_frames: 1000, window_bytes: 3 * FRAME, window_frames: 100 };

    fn config(id: u64) -> Arc<StreamConfig> {
        let track = Track { id: TrackId::AUDIO, config: TrackConfig::Aac(AudioConfig::parse(&[0x12, 0x10]).unwrap()) };
        Arc::new(StreamConfig { id, tracks: vec![track], metadata: None })
    }

    fn push(ring: &mut Ring, at: i64, is_keyframe: bool) {
        let dts = MediaTime::from_millis(at);
        let payload = Bytes::from(vec![0; 100]);
        let frame = Frame { track: TrackId::VIDEO, dts, pts: dts, is_keyframe, is_disposable: false, payload };
        ring.push(Arc::new(Packet::new(frame, config(1))), 0);
    }

    fn numbers(ring: &Ring, cursor: &mut Cursor) -> (usize, bool) {
        let mut out = Vec::new();
        let has_skipped = ring.take(cursor, &mut out, usize::MAX);
        (out.len(), has_skipped)
    }

    #[test]
    fn a_viewer_begins_at_the_last_key_frame_with_its_headers() {
        let mut ring = Ring::new(LIMITS);
        let mut cursor = Cursor::default();
        push(&mut ring, 0, false);
        assert_eq!(numbers(&ring, &mut cursor), (0, false));
        push(&mut ring, 40, true);
        push(&mut ring, 80, false);
        assert_eq!(numbers(&ring, &mut cursor), (2, false));
        push(&mut ring, 120, false);
        assert_eq!(numbers(&ring, &mut cursor), (1, false));
        assert_eq!(numbers(&ring, &mut cursor), (0, false));
    }

    #[test]
    fn a_viewer_that_is_behind_the_window_skips_to_the_last_key_frame() {
        let mut ring = Ring::new(LIMITS);
        push(&mut ring, 0, true);
        let mut cursor = Cursor::default();
        assert_eq!(numbers(&ring, &mut cursor), (1, false));
        for at in 1..4 {
            push(&mut ring, at * 40, false);
        }
        for at in 4..6 {
            push(&mut ring, at * 40, at == 4);
        }
        assert_eq!(numbers(&ring, &mut cursor), (2, true), "the key frame and the one after it");
    }

    #[test]
    fn what_no_viewer_needs_goes_with_the_next_key_frame() {
        let mut ring = Ring::new(LIMITS);
        let packet = |at: i64, is_keyframe| {
            let dts = MediaTime::from_millis(at * 40);
            let payload = Bytes::from_static(b"picture");
            let frame = Frame { track: TrackId::VIDEO, dts, pts: dts, is_keyframe, is_disposable: false, payload };
            Arc::new(Packet::new(frame, config(1)))
        };
        let mut cursor = Cursor::default();
        for at in 0..4 {
            ring.push(packet(at, at == 0), cursor.needed_from());
        }
        assert_eq!(numbers(&ring, &mut cursor), (4, false));
        ring.push(packet(4, false), u64::MAX);
        assert_eq!(ring.packets.len(), 5, "of its own group nothing goes");
        ring.push(packet(5, true), cursor.needed_from());
        assert_eq!(ring.packets.len(), 2, "the viewer has the first four");
        assert_eq!(numbers(&ring, &mut cursor), (2, false), "and misses nothing");
        ring.push(packet(6, true), u64::MAX);
        assert_eq!(ring.group().count(), 1);
        assert_eq!(ring.packets.len(), 1);
    }

    #[test]
    fn frames_of_one_byte_are_not_free() {
        let mut ring = Ring::new(Limits { gop_bytes: 32 << 20, gop_frames: 16_384, window_bytes: 4 << 20, window_frames: 512 });
        let byte = Bytes::from_static(b"x");
        for at in 0..100_000 {
            let dts = MediaTime::from_millis(0);
            let frame = Frame { track: TrackId::VIDEO, dts, pts: dts, is_keyframe: at == 0, is_disposable: false, payload: byte.clone() };
            ring.push(Arc::new(Packet::new(frame, config(1))), 0);
            assert!(ring.packets.len() <= 16_384);
        }
        assert!(ring.packets.len() <= 512, "a group that is over its limit keeps what viewers are behind");
        assert!(ring.packets.capacity() <= 32_768);
    }

    #[test]
    fn a_group_of_pictures_without_end_does_not_fill_the_memory() {
        let mut ring = Ring::new(LIMITS);
        push(&mut ring, 0, true);
        for at in 1..100 {
            push(&mut ring, at * 40, false);
            assert!(ring.bytes <= LIMITS.gop_bytes);
        }
        assert_eq!(numbers(&ring, &mut Cursor::default()), (0, false), "new viewers wait");
        push(&mut ring, 4000, true);
        assert_eq!(numbers(&ring, &mut Cursor::default()), (1, false));
    }
}
