//! What a publisher sends: access units of a camera's sizes whose bytes say whose they are, which, when they left, and whether they
//! are whole. Nothing decodes them: servers pass them on.

use bytes::Bytes;
use sightline_media::{Track, TrackConfig, TrackId, avc};
use std::time::Duration;

/// A camera's usual rate.
pub(crate) const FRAME_INTERVAL: Duration = Duration::from_millis(40);
/// Two seconds.
pub(crate) const GOP_FRAMES: u32 = 50;
/// How much further a stream is in its group of pictures than the one before it: cameras do not send their key frames together.
const GOP_PHASE_FRAMES: u64 = 7;
/// Of a group of pictures at 1 Mbit/s.
const GOP_BYTES: usize = 250_000;
/// A still scene's key frame is six to eight times its other frames.
const KEY_BYTES: usize = 33_000;
/// The mean of the others.
const INTER_BYTES: usize = (GOP_BYTES - KEY_BYTES) / 49;
/// NAL length, NAL header and three bytes that align what follows; then stream, counter, time and sum.
const PREFIX_BYTES: usize = 8;
const HEADER_BYTES: usize = PREFIX_BYTES + 4 * 8;

/// What a frame says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp {
    /// Whose it is.
    pub(crate) stream: u64,
    /// From 0, one more each frame.
    pub(crate) counter: u64,
    /// Microseconds since the run began.
    pub(crate) sent_micros: u64,
}

/// The decoder configuration: a 1080p camera's.
pub(crate) fn track() -> Result<Track, avc::ConfigError> {
    const SPS: [u8; 24] =
        [0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0, 0, 3, 0, 4, 0, 0, 3, 0, 0xc8, 0x3c];
    const PPS: [u8; 6] = [0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];
    Ok(Track { id: TrackId::VIDEO, config: TrackConfig::H264(avc::DecoderConfig::from_sets(&SPS, &PPS)?) })
}

/// A frame's place in its group of pictures.
fn place(stream: u64, counter: u64) -> u64 {
    (counter + stream * GOP_PHASE_FRAMES) % u64::from(GOP_FRAMES)
}

pub(crate) fn is_key(stream: u64, counter: u64) -> bool {
    place(stream, counter) == 0
}

/// A frame's size: key frames alike, the others between a half and one and a half of their mean.
fn bytes_of(stream: u64, counter: u64) -> usize {
    if is_key(stream, counter) {
        return KEY_BYTES & !7;
    }
    // Weyl's sequence: evenly spread, the same in every run.
    let spread = usize::try_from((counter + stream).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52).unwrap_or(0);
    (INTER_BYTES / 2 + INTER_BYTES * spread / 4096) & !7
}

/// Bytes of the group of pictures that a stream is in after this many frames: what a cache of it holds.
pub(crate) fn group_bytes(stream: u64, sent: u64) -> usize {
    let Some(last) = sent.checked_sub(1) else { return 0 };
    let first = last.saturating_sub(place(stream, last));
    (first..sent).map(|counter| bytes_of(stream, counter)).sum()
}

/// A frame in AVCC form.
pub(crate) fn frame(stamp: Stamp) -> Bytes {
    let length = bytes_of(stamp.stream, stamp.counter);
    let mut out = Vec::with_capacity(length);
    out.extend_from_slice(&u32::try_from(length - 4).unwrap_or(0).to_be_bytes());
    out.extend_from_slice(&[if is_key(stamp.stream, stamp.counter) { 0x65 } else { 0x41 }, 0xff, 0xff, 0xff]);
    out.extend_from_slice(&stamp.stream.to_be_bytes());
    out.extend_from_slice(&stamp.counter.to_be_bytes());
    out.extend_from_slice(&stamp.sent_micros.to_be_bytes());
    out.extend_from_slice(&[0; 8]);
    let mut word = stamp.counter | 1;
    while out.len() < length {
        word = word.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(stamp.sent_micros | 1);
        out.extend_from_slice(&word.to_be_bytes());
    }
    let sum = sum_of(&out).to_be_bytes();
    out.splice(HEADER_BYTES - 8..HEADER_BYTES, sum);
    Bytes::from(out)
}

/// Reads a frame's stamp; `None` if a byte of it is not what was sent.
pub(crate) fn read(payload: &[u8]) -> Option<Stamp> {
    let field = |place: usize| payload.get(PREFIX_BYTES + place * 8..)?.first_chunk().copied().map(u64::from_be_bytes);
    let stamp = Stamp { stream: field(0)?, counter: field(1)?, sent_micros: field(2)? };
    let is_whole = field(3)? == sum_of(payload) && payload.len() == bytes_of(stamp.stream, stamp.counter);
    is_whole.then_some(stamp)
}

/// All words but the sum's own, each weighed by its place, so that pieces in the wrong order show.
fn sum_of(payload: &[u8]) -> u64 {
    let mut sum = 0_u64;
    let (words, _) = payload.as_chunks::<8>();
    for (place, word) in (1_u64..).zip(words) {
        if place != (HEADER_BYTES / 8) as u64 {
            sum = sum.wrapping_add(u64::from_be_bytes(*word).wrapping_mul(place << 1 | 1));
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_tells_who_it_is_and_whether_it_is_whole() {
        for (stream, counter) in [(0, 0), (0, 1), (3, 49), (1, 50), (7, 1000)] {
            let stamp = Stamp { stream, counter, sent_micros: 77 };
            let bytes = frame(stamp);
            assert_eq!(read(&bytes), Some(stamp));
            for at in [0, 9, 17, 39, bytes.len() - 1] {
                let mut broken = bytes.to_vec();
                broken[at] ^= 1;
                assert_eq!(read(&broken), None, "byte {at} of frame {counter}");
            }
            assert_eq!(read(&bytes[..bytes.len() - 8]), None);
        }
    }

    #[test]
    fn a_stream_has_one_megabit_a_second() {
        for stream in 0..3 {
            let bytes: usize = (0..u64::from(GOP_FRAMES) * 50).map(|counter| frame(Stamp { stream, counter, sent_micros: 0 }).len()).sum();
            let bits_per_second = bytes * 8 / 100;
            assert!((980_000..1_020_000).contains(&bits_per_second), "{bits_per_second}");
        }
        assert!(track().is_ok());
    }

    #[test]
    fn a_cache_holds_from_the_last_key_frame_on() {
        assert_eq!(group_bytes(0, 0), 0);
        assert_eq!(group_bytes(0, 1), 33_000);
        assert_eq!(group_bytes(0, 3), 33_000 + bytes_of(0, 1) + bytes_of(0, 2));
        assert_eq!(group_bytes(0, 51), 33_000);
        assert_eq!(group_bytes(1, 44), 33_000, "frame 43 of stream 1 is a key frame");
    }
}
