use super::*;
use alloc::vec;
use sightline_media::{TrackId, avc::DecoderConfig};

fn pictures() -> Track {
    let sps = [
        0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x5a, 0x80, 0x80, 0x80, 0xa0, 0x00, 0x00, 0x7d, 0x20, 0x00,
        0x17, 0x70, 0x01, 0xe3, 0x06, 0x32, 0xc0,
    ];
    Track { id: TrackId::VIDEO, config: TrackConfig::H264(DecoderConfig::from_sets(&sps, &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0]).unwrap()) }
}

fn sound() -> Track {
    Track { id: TrackId::AUDIO, config: TrackConfig::Aac(AudioConfig::parse(&[0x12, 0x10]).unwrap()) }
}

fn frame(track: TrackId, ticks: i64, bytes: usize) -> Frame<Bytes> {
    let time = MediaTime::from_ticks(ticks);
    let mut payload = vec![0x88; bytes];
    if track == TrackId::VIDEO {
        payload.splice(0..0, [&u32::try_from(bytes + 1).unwrap().to_be_bytes()[..], &[0x65]].concat());
    }
    let pts = if track == TrackId::VIDEO { time + MediaTime::from_ticks(7_200) } else { time };
    Frame { track, dts: time, pts, is_keyframe: true, is_disposable: false, payload: payload.into() }
}

/// What one packet says.
#[derive(Debug)]
struct Packet {
    pid: u16,
    is_start: bool,
    counter: u8,
    clock: Option<u64>,
    payload: Vec<u8>,
}

fn packets(bytes: &[u8]) -> Vec<Packet> {
    assert_eq!(bytes.len() % PACKET_BYTES, 0);
    let read = |packet: &[u8]| {
        assert_eq!(packet[0], 0x47);
        let (field, payload) = match packet[3] & 0x30 {
            0x10 => (&[][..], &packet[4..]),
            control => {
                let (field, rest) = packet[5..].split_at(usize::from(packet[4]));
                assert!(control == 0x30 || rest.is_empty());
                (field, rest)
            }
        };
        let clock = field
            .first()
            .filter(|flags| **flags & 0x10 > 0)
            .map(|_| u64::from(u32::from_be_bytes(field[1..5].try_into().unwrap())) << 1 | u64::from(field[5] >> 7));
        Packet {
            pid: u16::from_be_bytes([packet[1] & 0x1f, packet[2]]),
            is_start: packet[1] & 0x40 > 0,
            counter: packet[3] & 0x0f,
            clock,
            payload: payload.to_vec(),
        }
    };
    bytes.chunks(PACKET_BYTES).map(read).collect()
}

/// PTS and DTS of a PES packet's header.
fn times(pes: &[u8]) -> (u64, u64) {
    let read = |at: usize| {
        let bits = |index: usize| u64::from(pes[at + index]);
        (bits(0) >> 1 & 7) << 30 | bits(1) << 22 | (bits(2) >> 1) << 15 | bits(3) << 7 | bits(4) >> 1
    };
    (read(9), if pes[7] & 0x40 > 0 { read(14) } else { read(9) })
}

#[test]
fn frames_of_any_size_are_whole_behind_their_headers_and_counters_go_on() {
    let (mut writer, tracks) = (Writer::default(), [pictures(), sound()]);
    let mut counters = alloc::collections::BTreeMap::new();
    for (number, bytes) in (0..400).chain([20_000, 70_000]).enumerate() {
        let at = i64::try_from(number).unwrap() * 3_600;
        let frames = [frame(TrackId::VIDEO, at, bytes), frame(TrackId::AUDIO, at, bytes.min(1_000))];
        let written = packets(&writer.write(&frames, &tracks));
        assert_eq!((written[0].pid, written[1].pid), (PAT_PID, PMT_PID));
        for packet in written.iter().filter(|packet| !packet.payload.is_empty()) {
            let before = counters.insert(packet.pid, packet.counter);
            assert!(before.is_none_or(|before| packet.counter == (before + 1) & 15), "{packet:?}");
        }
        let of = |pid| written.iter().filter(|packet| packet.pid == pid).flat_map(|packet| packet.payload.clone()).collect::<Vec<u8>>();
        let (picture, heard) = (of(PICTURES_PID), of(SOUND_PID));
        let expected = [&[0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1][..], &frames[0].payload[4..]].concat();
        assert_eq!(picture[19..], expected, "{bytes}");
        assert_eq!(&heard[21..], &frames[1].payload[..]);
        assert_eq!(usize::from(u16::from_be_bytes([heard[4], heard[5]])), heard.len() - 6);
        let read = sightline_media::aac::adts_frames(&heard[14..]).next().unwrap();
        assert_eq!(read.config().unwrap().as_bytes(), sound().config.as_bytes());
    }
}

#[test]
fn times_wrap_at_33_bits_and_the_clock_is_before_them_and_never_late() {
    let (mut writer, tracks) = (Writer::default(), [pictures()]);
    let (begin, mut last) = ((1_i64 << 33) - 90_000, None::<u64>);
    for second in 0..4 {
        let at = begin + second * 90_000;
        let written = packets(&writer.write(&[frame(TrackId::VIDEO, at, 500)], &tracks));
        for clock in written.iter().filter_map(|packet| packet.clock) {
            let step = last.map_or(1, |last| clock.wrapping_sub(last) & TIME_MASK);
            assert!((1..=9_000).contains(&step), "{step}");
            last = Some(clock);
        }
        let start = written.iter().find(|packet| packet.pid == PICTURES_PID && packet.is_start).unwrap();
        let (pts, dts) = times(&start.payload);
        let expected = |ticks: i64| (ticks + DELAY_TICKS).cast_unsigned() & TIME_MASK;
        assert_eq!((pts, dts, start.clock), (expected(at + 7_200), expected(at), Some(at.cast_unsigned() & TIME_MASK)));
    }
}

#[test]
fn tables_name_what_is_there_and_carry_their_checksums() {
    for (tracks, kinds) in [(vec![pictures(), sound()], vec![0x1b, 0x0f]), (vec![pictures()], vec![0x1b]), (vec![sound()], vec![0x0f])] {
        let written = packets(&Writer::default().write(&[], &tracks));
        for table in &written {
            let length = usize::from(table.payload[3]) + 3;
            assert_eq!(crc32(&table.payload[1..=length]), 0, "a section with its checksum has none left");
        }
        let map = &written[1].payload[13..];
        assert_eq!(map.chunks(5).take(kinds.len()).map(|stream| stream[0]).collect::<Vec<u8>>(), kinds);
    }
}

#[test]
fn opus_is_left_out_and_what_is_not_carried_at_all_is_refused() {
    let opus = sightline_media::coded::Config::parse(Codec::Opus, b"OpusHead\x01\x02\x00\x00\x80\xbb\x00\x00\x00\x00\x00");
    assert!(opus.is_ok_and(|config| !holds(&TrackConfig::Coded(config))));
    assert!(holds(&pictures().config) && holds(&sound().config));
}
