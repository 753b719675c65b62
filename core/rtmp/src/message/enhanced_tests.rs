//! Messages as the specification lays them out; the numbers of the conformance list are in the crate's table.

use super::*;
use std::vec::Vec;

fn read_all(medium: Medium, body: &[u8]) -> Result<Vec<Packet<'_>>, Malformed> {
    let mut packets = Vec::new();
    read(medium, body, |packet| packets.push(packet)).map(|()| packets)
}

fn one(medium: Medium, body: &[u8]) -> Packet<'_> {
    let packets = read_all(medium, body).unwrap();
    assert_eq!(packets.len(), 1, "{packets:?}");
    packets[0]
}

const KEY: Kind = Kind::Frame { is_keyframe: true, is_disposable: false, composition_millis: 0 };

/// E-RTMP v2, "ExVideoTagHeader": CodedFrames has SI24 for AVC and HEVC only, CodedFramesX none.
#[test]
fn packet_types_0_to_5_and_their_composition_times() {
    let packet = |kind, codec, body| Packet { kind, codec, track: 0, nanos: 0, body };
    let inter = |millis| Kind::Frame { is_keyframe: false, is_disposable: false, composition_millis: millis };
    for (bytes, expected) in [
        (&b"\x90hvc1rec"[..], packet(Kind::SequenceStart, Some(Codec::Hevc), &b"rec"[..])),
        (
            b"\x91hvc1\0\0\x28nal",
            packet(Kind::Frame { is_keyframe: true, is_disposable: false, composition_millis: 40 }, Some(Codec::Hevc), b"nal"),
        ),
        (b"\xa1avc1\xff\xff\xd8nal", packet(inter(-40), Some(Codec::H264), b"nal")),
        (b"\xa1av01obu", packet(inter(0), Some(Codec::Av1), b"obu")),
        (b"\x91vp09vp9", packet(KEY, Some(Codec::Vp9), b"vp9")),
        (b"\x92hvc1", packet(Kind::Nothing, Some(Codec::Hevc), b"")),
        (b"\x93hvc1nal", packet(KEY, Some(Codec::Hevc), b"nal")),
        (b"\x94hvc1\x02", packet(Kind::Nothing, Some(Codec::Hevc), b"\x02")),
        (b"\x95hvc1ts", packet(Kind::Unsupported, Some(Codec::Hevc), b"ts")),
    ] {
        assert_eq!(one(Medium::Video, bytes), expected);
    }
    for (codec, four) in [
        (Codec::Opus, b"Opus"),
        (Codec::Flac, b"fLaC"),
        (Codec::Ac3, b"ac-3"),
        (Codec::Eac3, b"ec-3"),
        (Codec::Mp3, b".mp3"),
        (Codec::Aac, b"mp4a"),
    ] {
        assert_eq!(one(Medium::Audio, &[&[0x91][..], four, b"a"].concat()), packet(KEY, Some(codec), b"a"));
        assert_eq!(one(Medium::Audio, &[&[0x90][..], four, b"r"].concat()).kind, Kind::SequenceStart);
        assert_eq!(one(Medium::Audio, &[&[0x94][..], four, b"\0\x02"].concat()).kind, Kind::Nothing, "a channel layout");
        assert_eq!((codec_of(*four), four_cc(codec)), (Some(codec), *four));
    }
}

/// E-RTMP v2, "ModEx": sizes of 1 to 256 bytes and past them, several in a row, an offset of at least three bytes and under a millisecond.
#[test]
fn mod_ex_is_read_past_and_its_nanoseconds_count() {
    assert_eq!(one(Medium::Video, b"\x97\x02\x0f\x42\x3f\x03hvc1nal").nanos, 999_999);
    assert_eq!(one(Medium::Audio, b"\x97\x03\0\x01\0\xff\x01Opusa").nanos, 256, "a fourth byte is read past");
    assert_eq!(one(Medium::Video, b"\x97\x00\xee\x17\x02\x00\x00\x07\x03hvc1n").nanos, 7, "an unknown one before it");
    let long = [&b"\x97\xff\x01\x2b"[..], &[9; 300], b"\x13hvc1n"].concat();
    assert_eq!((one(Medium::Video, &long).nanos, one(Medium::Video, &long).body), (0, &b"n"[..]), "300 bytes");
    assert_eq!(read_all(Medium::Video, b"\x97\x02\x0f\x42\x40\x03hvc1"), Err(Malformed::ModEx), "a whole millisecond");
    assert_eq!(read_all(Medium::Video, b"\x97\x01\0\x01\x03hvc1"), Err(Malformed::ModEx), "two bytes");
    assert_eq!(read_all(Medium::Video, b"\x97\x02\0\0\x01\x17"), Err(Malformed::Truncated), "another is announced");
}

/// E-RTMP v2, "Multitrack": OneTrack, ManyTracks, ManyTracksManyCodecs; no nesting; sizes are checked.
#[test]
fn multitrack_messages_are_read_to_their_end() {
    let tracks = |medium, bytes| {
        read_all(medium, bytes).unwrap().iter().map(|packet| (packet.codec, packet.track, packet.body.to_vec())).collect::<Vec<_>>()
    };
    assert_eq!(tracks(Medium::Video, b"\x96\x01av01\x02obu"), [(Some(Codec::Av1), 2, b"obu".to_vec())]);
    assert_eq!(
        tracks(Medium::Video, b"\x96\x11av01\0\0\0\x01a\x01\0\0\x02bc"),
        [(Some(Codec::Av1), 0, b"a".to_vec()), (Some(Codec::Av1), 1, b"bc".to_vec())]
    );
    assert_eq!(
        tracks(Medium::Audio, b"\x95\x21Opus\0\0\0\x01amp4a\x01\0\0\x02bc"),
        [(Some(Codec::Opus), 0, b"a".to_vec()), (Some(Codec::Aac), 1, b"bc".to_vec())]
    );
    assert_eq!(read_all(Medium::Video, b"\x96\x06av01\0"), Err(Malformed::Multitrack), "nested");
    assert_eq!(read_all(Medium::Audio, b"\x95\x05Opus\0"), Err(Malformed::Multitrack), "nested");
    assert_eq!(read_all(Medium::Video, b"\x96\x31av01\0"), Err(Malformed::Multitrack), "no such type");
    assert_eq!(read_all(Medium::Video, b"\x96\x11av01\0\0\0\x05a"), Err(Malformed::Truncated), "past the end");
}

/// E-RTMP v2: a command frame has one byte and no body; for metadata the frame type is ignored.
#[test]
fn a_command_frame_has_no_body_and_metadata_ignores_the_frame_type() {
    assert_eq!(read_all(Medium::Video, b"\xd0\x01"), Ok(std::vec![]));
    assert_eq!(one(Medium::Video, b"\xd4hvc1\x02").kind, Kind::Nothing);
}

/// What is not known has no codec or is unsupported; the message's other tracks are read.
#[test]
fn an_unknown_codec_or_type_fails_in_a_controlled_way() {
    assert_eq!(one(Medium::Video, b"\x90xyz1rec").codec, None);
    assert_eq!(one(Medium::Video, b"\x9fhvc1").kind, Kind::Unsupported);
    assert_eq!(one(Medium::Audio, b"\x93Opus").kind, Kind::Unsupported);
    assert_eq!(read_all(Medium::Video, b"\x90hv"), Err(Malformed::Truncated));
    assert_eq!(read_all(Medium::Video, b"\x91hvc1\0\0"), Err(Malformed::Truncated));
    let packets = read_all(Medium::Video, b"\x96\x21xyz1\0\0\0\x01aav01\x01\0\0\x01b").unwrap();
    assert_eq!((packets[0].codec, packets[1].codec), (None, Some(Codec::Av1)));
}

#[test]
fn what_is_written_reads_back() {
    for codec in [Codec::Hevc, Codec::Av1, Codec::Vp9, Codec::Opus, Codec::Flac, Codec::Ac3, Codec::Eac3, Codec::Mp3] {
        let medium = if codec.is_video() { Medium::Video } else { Medium::Audio };
        let start = one(medium, &sequence_start(codec)).kind;
        assert_eq!(start, Kind::SequenceStart);
        for (is_keyframe, is_disposable, millis) in [(true, false, 0), (false, true, 0), (false, false, 80), (false, false, -40)] {
            let bytes = coded_frame(codec, is_keyframe, is_disposable, millis);
            let packet = one(medium, &bytes);
            assert_eq!((packet.codec, packet.body.len()), (Some(codec), 0));
            let composition_millis = if codec == Codec::Hevc { millis } else { 0 };
            let expected = if codec.is_video() { Kind::Frame { is_keyframe, is_disposable, composition_millis } } else { KEY };
            assert_eq!(packet.kind, expected, "{codec:?}");
        }
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(first in 0x80_u8.., bytes: Vec<u8>) {
        let body = [&[first][..], &bytes].concat();
        for medium in [Medium::Video, Medium::Audio] {
            let _ = read_all(medium, &body);
        }
    }
}
