//! Pictures as RTP payloads: H.264 (RFC 6184, packetization-mode 1) and H.265 (RFC 7798), and the header before them (RFC 3550 §5.1).
//!
//! Payloads are made once for all viewers of a stream. What differs between viewers is in the header, which is written for each.

use bytes::{Bytes, BytesMut};
use sightline_media::{Codec, TrackConfig, avc};

/// The longest UDP payload: what passes through every tunnel in use, and what browsers send themselves.
pub const DATAGRAM_BYTES: usize = 1200;
/// Bytes of a header: no extension, no other sources.
pub const HEADER_BYTES: usize = 12;
/// The longest payload, so that a packet with its tag is no longer than a datagram.
pub const PAYLOAD_BYTES_MAX: usize = DATAGRAM_BYTES - HEADER_BYTES - crate::srtp::RTP_OVERHEAD_BYTES;

/// The payload of a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Payload {
    /// The bytes behind the header.
    pub bytes: Bytes,
    /// The last of its picture.
    pub is_last: bool,
}

/// What is written before a payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// As the player named the codec.
    pub payload_type: u8,
    /// The last packet of a picture.
    pub marker: bool,
    /// The packet's number.
    pub sequence: u16,
    /// When the picture is shown, in the codec's ticks.
    pub timestamp: u32,
    /// Who sends.
    pub ssrc: u32,
}

impl Header {
    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> [u8; HEADER_BYTES] {
        let [a, b] = self.sequence.to_be_bytes();
        let [c, d, e, f] = self.timestamp.to_be_bytes();
        let [g, h, i, j] = self.ssrc.to_be_bytes();
        [0x80, (u8::from(self.marker) << 7) | (self.payload_type & 0x7f), a, b, c, d, e, f, g, h, i, j]
    }
}

/// How NAL units look in a codec.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Nal {
    Avc,
    Hevc,
}

impl Nal {
    const fn header_bytes(self) -> usize {
        match self {
            Self::Avc => 1,
            Self::Hevc => 2,
        }
    }

    fn kind(self, nal: &[u8]) -> u8 {
        let first = nal.first().copied().unwrap_or_default();
        match self {
            Self::Avc => first & 0x1f,
            Self::Hevc => (first >> 1) & 0x3f,
        }
    }

    /// Parameter sets and what else is small: several go into one packet.
    fn is_small(self, nal: &[u8]) -> bool {
        match self {
            Self::Avc => matches!(self.kind(nal), 6..=8),
            Self::Hevc => matches!(self.kind(nal), 32..=34 | 39 | 40),
        }
    }

    fn is_set(self, nal: &[u8]) -> bool {
        match self {
            Self::Avc => matches!(self.kind(nal), 7 | 8),
            Self::Hevc => matches!(self.kind(nal), 32..=34),
        }
    }

    /// Delimiters and filler, for the marker and the timestamp say the same; and kinds that are packets' own (RFC 6184 §5.2, RFC 7798 §4.4).
    fn is_needless(self, nal: &[u8]) -> bool {
        match self {
            Self::Avc => matches!(self.kind(nal), 9 | 12 | 24..) || nal.is_empty(),
            Self::Hevc => matches!(self.kind(nal), 35 | 38 | 48..) || nal.len() < 2,
        }
    }

    /// The header of a packet that holds several NAL units: STAP-A, or an aggregation packet. The importance is the highest of them.
    fn put_aggregate(self, nals: &[&[u8]], out: &mut BytesMut) {
        match self {
            Self::Avc => {
                let importance = nals.iter().filter_map(|nal| nal.first()).map(|header| header & 0x60).max().unwrap_or_default();
                out.extend_from_slice(&[importance | 24]);
            }
            // Layer 0, temporal id 1: what a camera has.
            Self::Hevc => out.extend_from_slice(&[48 << 1, 1]),
        }
    }

    /// The header of a piece of a NAL unit: FU-A, or a fragmentation unit.
    fn put_fragment(self, nal: &[u8], is_first: bool, is_last: bool, out: &mut BytesMut) {
        let ends = (u8::from(is_first) << 7) | (u8::from(is_last) << 6);
        let header = [nal.first().copied().unwrap_or_default(), nal.get(1).copied().unwrap_or_default()];
        match self {
            Self::Avc => out.extend_from_slice(&[(header[0] & 0xe0) | 28, ends | (header[0] & 0x1f)]),
            Self::Hevc => out.extend_from_slice(&[(header[0] & 0x81) | (49 << 1), header[1], ends | self.kind(nal)]),
        }
    }

    const fn fragment_bytes(self) -> usize {
        match self {
            Self::Avc => 2,
            Self::Hevc => 3,
        }
    }
}

/// The parameter sets of a configuration, as a picture's beginning needs them.
fn sets(config: &TrackConfig) -> Vec<&[u8]> {
    match config {
        TrackConfig::H264(config) => config.parameter_sets().collect(),
        TrackConfig::Coded(config) => config.hevc_parameter_sets().collect(),
        TrackConfig::Aac(_) => Vec::new(),
    }
}

/// A picture as payloads of at most `bytes_max`. A key frame has its parameter sets before it. Empty for codecs that have no way here.
#[must_use]
pub fn payloads(config: &TrackConfig, picture: &[u8], is_keyframe: bool, bytes_max: usize) -> Vec<Payload> {
    let nal = match config.codec() {
        Codec::H264 => Nal::Avc,
        Codec::Hevc => Nal::Hevc,
        Codec::Av1 | Codec::Vp9 | Codec::Aac | Codec::Opus | Codec::Flac | Codec::Ac3 | Codec::Eac3 | Codec::Mp3 => return Vec::new(),
    };
    let units = || avc::NalUnits::new(picture, avc::LENGTH_BYTES).filter(|unit| !nal.is_needless(unit));
    let needs_sets = is_keyframe && !units().any(|unit| nal.is_set(unit));
    let sets = if needs_sets { sets(config) } else { Vec::new() };
    let mut writer =
        Writer { nal, bytes_max: bytes_max.max(nal.fragment_bytes() + 1), small: Vec::new(), small_bytes: 0, payloads: Vec::new() };
    for unit in sets.into_iter().filter(|set| !nal.is_needless(set)).chain(units()) {
        writer.put(unit);
    }
    writer.flush();
    if let Some(last) = writer.payloads.last_mut() {
        last.is_last = true;
    }
    writer.payloads
}

struct Writer<'a> {
    nal: Nal,
    bytes_max: usize,
    /// Small units that wait for others to share a packet with, and what they would take in it.
    small: Vec<&'a [u8]>,
    small_bytes: usize,
    payloads: Vec<Payload>,
}

impl<'a> Writer<'a> {
    fn put(&mut self, unit: &'a [u8]) {
        // A length of two bytes before each in an aggregate.
        let taken = unit.len() + 2;
        if self.nal.is_small(unit) && self.nal.header_bytes() + taken <= self.bytes_max && unit.len() <= usize::from(u16::MAX) {
            if self.nal.header_bytes() + self.small_bytes + taken > self.bytes_max {
                self.flush();
            }
            self.small.push(unit);
            self.small_bytes += taken;
            return;
        }
        self.flush();
        if unit.len() <= self.bytes_max {
            self.push(Bytes::copy_from_slice(unit));
        } else {
            self.fragment(unit);
        }
    }

    fn flush(&mut self) {
        let small = core::mem::take(&mut self.small);
        self.small_bytes = 0;
        match small.as_slice() {
            [] => {}
            [alone] => self.push(Bytes::copy_from_slice(alone)),
            several => {
                let mut out = BytesMut::new();
                self.nal.put_aggregate(several, &mut out);
                for unit in several {
                    // Each is shorter than a packet.
                    out.extend_from_slice(&u16::try_from(unit.len()).unwrap_or(u16::MAX).to_be_bytes());
                    out.extend_from_slice(unit);
                }
                self.push(out.freeze());
            }
        }
    }

    /// All pieces but the last are equally long: the system may then send them as one.
    fn fragment(&mut self, unit: &[u8]) {
        let (header, room) = (self.nal.header_bytes(), self.bytes_max - self.nal.fragment_bytes());
        let body = unit.get(header..).unwrap_or_default();
        let count = body.len().div_ceil(room);
        let mut out = BytesMut::with_capacity(body.len() + count * self.nal.fragment_bytes());
        for (at, piece) in body.chunks(room).enumerate() {
            self.nal.put_fragment(unit, at == 0, at + 1 == count, &mut out);
            out.extend_from_slice(piece);
            let bytes = out.split().freeze();
            self.push(bytes);
        }
    }

    fn push(&mut self, bytes: Bytes) {
        self.payloads.push(Payload { bytes, is_last: false });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sightline_media::avc::DecoderConfig;

    const SPS: [u8; 29] = [
        0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x5a, 0x80, 0x80, 0x80, 0xa0, 0x00, 0x00, 0x7d, 0x20, 0x00,
        0x17, 0x70, 0x01, 0xe3, 0x06, 0x32, 0xc0,
    ];
    const PPS: [u8; 6] = [0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];

    /// x265, 1280x720; only an SPS.
    const HVCC: [u8; 70] = [
        1, 1, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 0x5d, 0xf0, 0, 0xfc, 0xfd, 0xf8, 0xf8, 0, 0, 0x0f, 1, 0xa1, 0, 1, 0, 0x2a, 0x42, 0x01,
        0x01, 0x01, 0x60, 0, 0, 3, 0, 0x90, 0, 0, 3, 0, 0, 3, 0, 0x5d, 0xa0, 0x02, 0x80, 0x80, 0x2d, 0x16, 0x59, 0x59, 0xa4, 0x93, 0x2b,
        0xc0, 0x5a, 0x70, 0x80, 0, 0, 0x1f, 0x48, 0, 3, 0x0d, 0x40, 0x40,
    ];

    fn config() -> TrackConfig {
        TrackConfig::H264(DecoderConfig::from_sets(&SPS, &PPS).unwrap())
    }

    fn picture(units: &[Vec<u8>]) -> Vec<u8> {
        units.iter().flat_map(|unit| [&u32::try_from(unit.len()).unwrap().to_be_bytes()[..], unit].concat()).collect()
    }

    /// What a receiver of H.264 puts together.
    fn assembled(payloads: &[Payload]) -> Vec<Vec<u8>> {
        let mut units: Vec<Vec<u8>> = Vec::new();
        for Payload { bytes, .. } in payloads {
            match bytes[0] & 0x1f {
                24 => {
                    let mut rest = &bytes[1..];
                    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
                        let (unit, behind) = behind.split_at(usize::from(u16::from_be_bytes(*length)));
                        units.push(unit.to_vec());
                        rest = behind;
                    }
                }
                28 => {
                    if bytes[1] & 0x80 != 0 {
                        units.push(vec![(bytes[0] & 0xe0) | (bytes[1] & 0x1f)]);
                    }
                    units.last_mut().unwrap().extend_from_slice(&bytes[2..]);
                }
                _ => units.push(bytes.to_vec()),
            }
        }
        units
    }

    /// The same of H.265.
    fn assembled_hevc(payloads: &[Payload]) -> Vec<Vec<u8>> {
        let mut units: Vec<Vec<u8>> = Vec::new();
        for Payload { bytes, .. } in payloads {
            match (bytes[0] >> 1) & 0x3f {
                48 => {
                    let mut rest = &bytes[2..];
                    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
                        let (unit, behind) = behind.split_at(usize::from(u16::from_be_bytes(*length)));
                        units.push(unit.to_vec());
                        rest = behind;
                    }
                }
                49 => {
                    if bytes[2] & 0x80 != 0 {
                        units.push(vec![(bytes[0] & 0x81) | ((bytes[2] & 0x3f) << 1), bytes[1]]);
                    }
                    units.last_mut().unwrap().extend_from_slice(&bytes[3..]);
                }
                _ => units.push(bytes.to_vec()),
            }
        }
        units
    }

    #[test]
    fn a_key_frame_has_its_parameter_sets_in_one_packet_before_it() {
        let slice = vec![0x65; 3000];
        let payloads = payloads(&config(), &picture(std::slice::from_ref(&slice)), true, PAYLOAD_BYTES_MAX);
        assert_eq!((payloads[0].bytes[0], payloads.len()), (0x78, 4));
        assert_eq!(assembled(&payloads), [SPS.to_vec(), PPS.to_vec(), slice]);
        assert!(payloads[3].is_last && payloads.iter().filter(|payload| payload.is_last).count() == 1);
        assert_eq!(payloads[1].bytes[..2], [0x7c, 0x85], "FU-A, the first piece of an IDR slice");
        assert_eq!(payloads[2].bytes[..2], [0x7c, 0x05]);
        assert_eq!(payloads[3].bytes[..2], [0x7c, 0x45]);
        assert_eq!(payloads[1].bytes.len(), payloads[2].bytes.len());
    }

    #[test]
    fn sets_that_are_in_the_picture_are_not_sent_twice_and_delimiters_are_not_sent() {
        let units = [vec![0x09, 0x10], SPS.to_vec(), PPS.to_vec(), vec![0x65, 1, 2, 3]];
        let payloads = payloads(&config(), &picture(&units), true, PAYLOAD_BYTES_MAX);
        assert_eq!(assembled(&payloads), units[1..]);
    }

    #[test]
    fn a_header_is_that_of_rfc_3550() {
        let header = Header { payload_type: 102, marker: true, sequence: 0x1234, timestamp: 0x5678_9abc, ssrc: 0xdef0_1122 };
        assert_eq!(header.bytes(), [0x80, 0xe6, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0, 0x11, 0x22]);
    }

    proptest! {
        #[test]
        fn the_units_come_together_again_whatever_fits_into_a_packet(
            units in prop::collection::vec((prop::sample::select(vec![1_u8, 5, 6, 7, 8]), prop::collection::vec(any::<u8>(), 0..4000)), 1..8),
            bytes_max in 40_usize..1500,
        ) {
            let units: Vec<Vec<u8>> = units.into_iter().map(|(kind, body)| [vec![0x60 | kind], body].concat()).collect();
            let payloads = payloads(&config(), &picture(&units), false, bytes_max);
            prop_assert!(payloads.iter().all(|payload| payload.bytes.len() <= bytes_max));
            prop_assert_eq!(assembled(&payloads), units);
        }

        #[test]
        fn those_of_h265_do_too(
            units in prop::collection::vec((prop::sample::select(vec![1_u8, 19, 32, 33, 34, 39]), prop::collection::vec(any::<u8>(), 1..4000)), 1..8),
            bytes_max in 40_usize..1500,
        ) {
            let units: Vec<Vec<u8>> = units.into_iter().map(|(kind, body)| [vec![kind << 1, 1], body].concat()).collect();
            let config = TrackConfig::Coded(sightline_media::coded::Config::parse(Codec::Hevc, &HVCC).unwrap());
            let payloads = payloads(&config, &picture(&units), false, bytes_max);
            prop_assert!(payloads.iter().all(|payload| payload.bytes.len() <= bytes_max));
            prop_assert_eq!(assembled_hevc(&payloads), units);
        }

        #[test]
        fn any_bytes_make_packets_without_a_panic(bytes: Vec<u8>, bytes_max in 0_usize..100) {
            let _ = payloads(&config(), &bytes, true, bytes_max);
        }
    }
}
