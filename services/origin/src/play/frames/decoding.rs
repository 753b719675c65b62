//! From access units to pictures in the order in which they are shown.

use super::pace::Pace;
use super::shown::Shown;
use crate::clock::Clock;
use crate::live::packet::Packet;
use sightline_h264::{Decoded, Decoder, Still};
use sightline_media::{Codec, Instant, TrackId, avc};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// Pictures that a decoder may hold back (H.264 A.3.1: 16): of more, those that came first were lost.
const HELD_MAX: usize = 17;
/// How far the wall's clock is set before its new time counts, in microseconds: less is the time between two looks at clocks.
const WALL_STEP_MICROS: i64 = 50_000;

/// One stream's decoder.
pub(super) struct Decoding {
    /// `None` before the first picture, and after frames that are missing.
    decoder: Option<Decoder>,
    config_id: u64,
    held: Held,
    pace: Pace,
    number: u64,
    /// Pictures that were not counted yet.
    count: u64,
    last_micros: i64,
    /// From the origin's clock to the wall's, in microseconds.
    wall_offset_micros: Option<i64>,
    has_failed: bool,
}

/// Times of the pictures that went in and have not come out. What comes out has the earliest of each: a decoder gives pictures out in
/// the order of their times, and who looks at capture times wants them to rise as well.
#[derive(Default)]
struct Held {
    shown_micros: BinaryHeap<Reverse<i64>>,
    arrived: VecDeque<Instant>,
    /// Some picture is shown at another time than it is decoded at.
    reorders: bool,
}

impl Held {
    fn push(&mut self, packet: &Packet) {
        self.reorders |= packet.frame.pts != packet.frame.dts;
        self.shown_micros.push(Reverse(packet.frame.pts.as_micros()));
        self.arrived.push_back(packet.arrived_at);
        while self.arrived.len() > HELD_MAX {
            self.pop();
        }
    }

    fn pop(&mut self) -> Option<(i64, Instant)> {
        Some((self.shown_micros.pop()?.0, self.arrived.pop_front()?))
    }

    fn clear(&mut self) {
        self.shown_micros.clear();
        self.arrived.clear();
    }
}

impl Decoding {
    pub(super) fn new(number: u64) -> Self {
        Self {
            decoder: None,
            config_id: 0,
            held: Held::default(),
            pace: Pace::default(),
            number,
            count: 0,
            last_micros: i64::MIN,
            wall_offset_micros: None,
            has_failed: false,
        }
    }

    /// Where the wall's clock is.
    pub(super) fn set_wall(&mut self, clock: Clock) {
        let offset = clock.wall().unix_micros - i64::try_from(clock.now().as_micros()).unwrap_or(i64::MAX);
        // Kept while the clock is not set: capture times rise with arrival, whatever comes between two looks.
        if self.wall_offset_micros.is_none_or(|known| known.abs_diff(offset) > WALL_STEP_MICROS.unsigned_abs()) {
            self.wall_offset_micros = Some(offset);
        }
    }

    /// Frames are missing before the next.
    pub(super) fn skip(&mut self) {
        self.decoder = None;
    }

    /// Another codec came, or there is no memory: nothing comes of this any more.
    pub(super) fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// The next picture's number.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Pictures since it was last asked.
    pub(super) fn take_count(&mut self) -> u64 {
        std::mem::take(&mut self.count)
    }

    /// Decodes one access unit; `show` gets what comes out of it and is due.
    pub(super) fn decode(&mut self, packet: &Packet, interval_micros: i64, show: &mut dyn FnMut(Shown)) {
        let Some(avc) = packet.config.tracks.iter().find_map(|track| track.config.avc()) else {
            self.has_failed = packet.config.codec_of(TrackId::VIDEO) != Codec::H264;
            return;
        };
        let mut decoder = match self.decoder.take() {
            Some(decoder) if self.config_id == packet.config.id => decoder,
            // Another size or another publisher: what the one before holds back belongs to what was.
            _ if packet.frame.is_keyframe => match Decoder::for_stream() {
                Ok(decoder) => {
                    (self.config_id, self.held) = (packet.config.id, Held::default());
                    decoder
                }
                Err(error) => {
                    tracing::warn!(%error, "no decoder for readers of frames");
                    self.has_failed = true;
                    return;
                }
            },
            _ => return,
        };
        let sets = packet.frame.is_keyframe.then_some(avc);
        if packet.frame.is_keyframe {
            // Whatever was held back comes before it. Times that are left are of pictures that never came out.
            decoder.drain(|picture| self.give(picture, interval_micros, show));
            self.held.clear();
        }
        self.held.push(packet);
        let payload = &packet.frame.payload;
        if self.held.reorders {
            if let Some(picture) = decoder.decode(sets, payload, avc::LENGTH_BYTES) {
                self.give(&picture, interval_micros, show);
            }
        } else {
            if let Some(picture) = decoder.decode_in_order(sets, payload, avc::LENGTH_BYTES) {
                self.give(&picture, interval_micros, show);
            }
            self.held.clear();
        }
        self.decoder = Some(decoder);
    }

    fn give(&mut self, picture: &Decoded<'_>, interval_micros: i64, show: &mut dyn FnMut(Shown)) {
        let Some((at_micros, arrived)) = self.held.pop() else { return };
        // A picture that is late: the first B-frame of a stream that had none.
        if at_micros <= self.last_micros {
            return;
        }
        self.last_micros = at_micros;
        let number = self.number;
        (self.number, self.count) = (self.number + 1, self.count + 1);
        if !self.pace.is_due(at_micros, interval_micros) {
            return;
        }
        let arrived = i64::try_from(arrived.as_micros()).unwrap_or(i64::MAX);
        let captured = arrived.saturating_add(self.wall_offset_micros.unwrap_or_default());
        if let Some(still) = Still::of(picture) {
            show(Shown::new(still, number, captured, at_micros));
        }
    }
}
