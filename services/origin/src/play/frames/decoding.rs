//! From access units to pictures in the order in which they are shown.

use super::pace::Pace;
use super::shown::Shown;
use crate::live::captured::Captured;
use crate::live::packet::Packet;
use sightline_h264::{Decoded, Decoder, Still};
use sightline_media::{Codec, TrackId, avc};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Pictures that a decoder may hold back (H.264 A.3.1: 16): of more, those that came first were lost.
const HELD_MAX: usize = 17;

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
    has_failed: bool,
}

/// Times of the pictures that went in and have not come out. What comes out has the earliest of each: a decoder gives pictures out in
/// the order of their times, and who looks at capture times wants them to rise as well.
#[derive(Default)]
struct Held {
    shown_micros: BinaryHeap<Reverse<i64>>,
    captured: BinaryHeap<Reverse<Captured>>,
    /// Some picture is shown at another time than it is decoded at.
    reorders: bool,
}

impl Held {
    fn push(&mut self, packet: &Packet) {
        self.reorders |= packet.frame.pts != packet.frame.dts;
        self.shown_micros.push(Reverse(packet.frame.pts.as_micros()));
        self.captured.push(Reverse(packet.captured));
        while self.captured.len() > HELD_MAX {
            self.pop();
        }
    }

    fn pop(&mut self) -> Option<(i64, Captured)> {
        Some((self.shown_micros.pop()?.0, self.captured.pop()?.0))
    }

    fn clear(&mut self) {
        self.shown_micros.clear();
        self.captured.clear();
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
            has_failed: false,
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
        let Some((at_micros, captured)) = self.held.pop() else { return };
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
        if let Some(still) = Still::of(picture) {
            show(Shown::new(still, number, captured, at_micros));
        }
    }
}
