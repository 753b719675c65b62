//! Frames as bytes: each is serialised once for each wire, and the bytes are shared by all viewers of a stream.
//!
//! The serialised forms lie beside the frame in the ring ([`Packet::form`]) and are made here, after the ring's lock is released: a key
//! frame takes longer to copy than any viewer should wait for the others.

mod flv;
mod rtmp;

use crate::live::packet::Packet;
use crate::live::ring::Cursor;
use crate::live::stream::Stream;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;

/// How a viewer is served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wire {
    /// RTMP messages, in chunks of this size: one for all viewers of an origin, since a packet keeps one form of it.
    Rtmp { chunk_size: u32 },
    /// FLV tags.
    Flv,
}

impl Wire {
    /// The frame.
    fn frame(self, packet: &Packet) -> Bytes {
        match self {
            Self::Rtmp { chunk_size } => packet.form(0, || rtmp::frame(packet, chunk_size)),
            Self::Flv => packet.form(1, || flv::frame(packet)),
        }
    }

    /// Metadata and sequence headers: what a viewer needs before this frame if it does not have it.
    fn headers(self, packet: &Packet) -> Bytes {
        match self {
            Self::Rtmp { chunk_size } => packet.form(2, || rtmp::headers(packet, chunk_size)),
            Self::Flv => packet.form(3, || flv::headers(packet)),
        }
    }

    /// What tells that a publisher has begun.
    fn publish(self) -> Option<Bytes> {
        match self {
            Self::Rtmp { .. } => Some(rtmp::publish()),
            Self::Flv => None,
        }
    }

    /// What comes before everything else.
    fn opening(self, packet: &Packet) -> Option<Bytes> {
        match self {
            Self::Rtmp { .. } => None,
            Self::Flv => Some(flv::opening(packet)),
        }
    }
}

/// Packets on their way from the ring to bytes; kept by readers so that it is allocated once.
pub(crate) type Scratch = Vec<Arc<Packet>>;

/// A viewer's place, and what it was sent before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct WireCursor {
    cursor: Cursor,
    /// The configuration whose headers it has; 0 is none.
    config_id: u64,
    /// The publisher that it was told of; 0 is none.
    publisher: u64,
    /// Of FLV, whose header promises them: whether there is sound, and whether there are pictures.
    promised: (bool, bool),
    is_over: bool,
}

impl WireCursor {
    /// The number of the first frame that it still needs; 0 before its first.
    pub(crate) fn needed_from(self) -> u64 {
        self.cursor.needed_from()
    }

    /// Sound or pictures that its header promises have gone: players wait for ever for sound that has gone
    /// (flv.js#746, mpegts.js#191). Nothing more comes.
    pub(crate) fn is_over(self) -> bool {
        self.is_over
    }

    /// Appends to `out` what comes next, about `bytes_max` at most.
    pub(crate) fn fill(&mut self, stream: &Stream, wire: Wire, scratch: &mut Scratch, out: &mut VecDeque<Bytes>, bytes_max: usize) {
        stream.take(&mut self.cursor, scratch, bytes_max);
        for packet in scratch.drain(..) {
            if packet.publisher != self.publisher {
                self.publisher = packet.publisher;
                out.extend(wire.publish());
            }
            if packet.config.id != self.config_id {
                let kinds = kinds(&packet);
                if self.config_id == 0 {
                    out.extend(wire.opening(&packet));
                    self.promised = kinds;
                }
                let is_gone = (self.promised.0 && !kinds.0) || (self.promised.1 && !kinds.1);
                if wire == Wire::Flv && is_gone {
                    self.is_over = true;
                    break;
                }
                self.config_id = packet.config.id;
                out.push_back(wire.headers(&packet));
            }
            out.push_back(wire.frame(&packet));
        }
    }
}

/// Whether there is sound, and whether there are pictures.
fn kinds(packet: &Packet) -> (bool, bool) {
    let has = |is_video: bool| packet.config.tracks.iter().any(|track| track.config.codec().is_video() == is_video);
    (has(false), has(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::ring::Limits;
    use crate::live::stream::Publisher;
    use sightline_media::{Frame, Instant, MediaTime, Track, TrackConfig, TrackId, aac::AudioConfig, avc::DecoderConfig};
    use tokio_util::sync::CancellationToken;

    /// A stream of sound with one frame.
    fn stream() -> Stream {
        let stream =
            Stream::new("p", Limits { gop_bytes: 10_000, gop_frames: 100, window_bytes: 10_000, window_frames: 100 }, Arc::default());
        stream.take_over("d", Publisher::of_test(1, CancellationToken::new()));
        let config = TrackConfig::Aac(AudioConfig::parse(&[0x12, 0x10]).unwrap());
        stream.set_track(1, Track { id: TrackId::AUDIO, config }).unwrap();
        // Behind the first, pictures might still come: it is only waited with.
        push(&stream, -1000);
        push(&stream, 0);
        stream
    }

    fn push(stream: &Stream, millis: i64) {
        push_of(stream, 1, millis);
    }

    fn push_of(stream: &Stream, publisher: u64, millis: i64) {
        let dts = MediaTime::from_millis(millis);
        let payload = Bytes::from_static(b"sound");
        let frame = Frame { track: TrackId::AUDIO, dts, pts: dts, is_keyframe: true, is_disposable: false, payload };
        let now = Instant::from_micros(u64::try_from(millis + 1000).unwrap() * 1000);
        stream.push(publisher, frame, now, sightline_media::WallTime::default()).unwrap();
    }

    fn fill(stream: &Stream, cursor: &mut WireCursor, wire: Wire) -> VecDeque<Bytes> {
        let mut out = VecDeque::new();
        cursor.fill(stream, wire, &mut Scratch::new(), &mut out, usize::MAX);
        out
    }

    #[test]
    fn a_viewer_begins_with_the_headers_and_has_them_once() {
        let (stream, mut cursor, wire) = (stream(), WireCursor::default(), Wire::Rtmp { chunk_size: 4096 });
        assert_eq!(fill(&stream, &mut cursor, wire).len(), 3, "that there is a publisher, headers and a frame");
        push(&stream, 20);
        assert_eq!(fill(&stream, &mut cursor, wire).len(), 1);
    }

    #[test]
    fn an_rtmp_viewer_hears_of_each_publisher_and_of_none_twice() {
        let (stream, mut cursor, wire) = (stream(), WireCursor::default(), Wire::Rtmp { chunk_size: 4096 });
        let notified = |out: VecDeque<Bytes>| {
            let told = |bytes: &Bytes| bytes.windows(28).any(|part| part == b"NetStream.Play.PublishNotify");
            out.iter().map(told).collect::<Vec<_>>()
        };
        assert_eq!(notified(fill(&stream, &mut cursor, wire)), [true, false, false]);
        stream.take_over("d", Publisher::of_test(2, CancellationToken::new()));
        let config = TrackConfig::Aac(AudioConfig::parse(&[0x12, 0x10]).unwrap());
        stream.set_track(2, Track { id: TrackId::AUDIO, config }).unwrap();
        push_of(&stream, 2, 1000);
        push_of(&stream, 2, 2000);
        // The configuration is as it was: its headers are not sent anew.
        assert_eq!(notified(fill(&stream, &mut cursor, wire)), [true, false]);
        push_of(&stream, 2, 2020);
        assert_eq!(notified(fill(&stream, &mut cursor, wire)), [false]);
        assert!(!notified(fill(&stream, &mut WireCursor::default(), Wire::Flv)).contains(&true));
    }

    #[test]
    fn an_flv_viewer_is_told_what_there_is() {
        let out = fill(&stream(), &mut WireCursor::default(), Wire::Flv);
        assert_eq!(out.len(), 3);
        assert_eq!(out[0][..5], *b"FLV\x01\x04");
    }

    #[test]
    fn an_flv_ends_where_what_its_header_promises_goes_and_not_where_more_comes() {
        let (stream, [mut flv, mut rtmp]) = (stream(), [WireCursor::default(); 2]);
        let wire = Wire::Rtmp { chunk_size: 4096 };
        fill(&stream, &mut flv, Wire::Flv);
        fill(&stream, &mut rtmp, wire);
        assert!(!flv.is_over());
        let sps = [
            0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x5a, 0x80, 0x80, 0x80, 0xa0, 0x00, 0x00, 0x7d, 0x20,
            0x00, 0x17, 0x70, 0x01, 0xe3, 0x06, 0x32, 0xc0,
        ];
        let config = TrackConfig::H264(DecoderConfig::from_sets(&sps, &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0]).unwrap());
        stream.set_track(1, Track { id: TrackId::VIDEO, config }).unwrap();
        push(&stream, 20);
        assert!(!fill(&stream, &mut flv, Wire::Flv).is_empty() && !flv.is_over(), "pictures have come: sound goes on");
        assert!(!fill(&stream, &mut rtmp, wire).is_empty() && !rtmp.is_over());
        // One that was promised pictures, of a stream that has sound alone now.
        let mut promised = WireCursor { promised: (true, true), config_id: u64::MAX, ..WireCursor::default() };
        assert!(fill(&self::stream(), &mut promised, Wire::Flv).is_empty() && promised.is_over());
    }

    #[test]
    fn all_viewers_share_the_same_bytes() {
        let stream = stream();
        for wire in [Wire::Flv, Wire::Rtmp { chunk_size: 128 }] {
            let [one, other] = [(); 2].map(|()| fill(&stream, &mut WireCursor::default(), wire));
            let (one, other) = (one.back().unwrap(), other.back().unwrap());
            assert_eq!(one.as_ptr(), other.as_ptr(), "{wire:?}");
        }
    }
}
