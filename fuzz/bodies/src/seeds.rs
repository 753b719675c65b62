//! Where fuzzing begins: what our own sessions say to each other, scripts of usual conversations, and the corner cases that have names.
//! `examples/seeds.rs` writes them into the corpus.

use crate::script::avc_record;
use sightline_media::{Frame, Instant, MediaTime, Track, TrackConfig, TrackId, aac, avc};
use sightline_rtmp::client::{Config, Session};
use sightline_rtmp::fuzzing;
use sightline_rtmp::player;
use sightline_rtmp::server::{self, Event, Output};

/// Pairs of target and input.
#[must_use]
pub fn all() -> Vec<(&'static str, Vec<u8>)> {
    let (publisher, answers, player) = conversations();
    let mut seeds: Vec<(&'static str, Vec<u8>)> = vec![];
    // The handshake is a target's own; what follows it are chunks.
    let chunks = publisher.get(1 + 2 * 1536..).unwrap_or_default();
    seeds.push(("chunks", [&[9][..], chunks].concat()));
    seeds.push(("chunks", [&[0][..], answers.get(1 + 2 * 1536..).unwrap_or_default()].concat()));
    for state in [0, 1] {
        let bytes = if state == 0 { &publisher[..] } else { chunks };
        seeds.push(("server", [&[state, 100][..], bytes].concat()));
    }
    seeds.push(("server", [&[0, 0][..], &player].concat()));
    for state in [2, 3] {
        for chunk in [&[2, 0, 0, 0, 0, 0, 6, 4, 0, 0, 0, 0, 0, 6, 1, 2, 3, 4][..], &[2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 16, 0]] {
            seeds.push(("server", [&[state, 7][..], chunk].concat()));
        }
    }
    scripts(&mut seeds);
    values(&mut seeds);
    enhanced(&mut seeds);
    pictures(&mut seeds);
    times(&mut seeds);
    for schema in [0, 1] {
        let signed = [&[0, 50, 3][..], &fuzzing::signed_c1(schema, 7), publisher.get(1 + 1536..).unwrap_or_default()].concat();
        seeds.push(("server", signed));
    }
    #[cfg(feature = "shells")]
    seeds.extend(crate::stream_seeds::all());
    seeds.extend(crate::deep_seeds::all());
    seeds
}

/// What a publisher says, what it hears, and what a player says.
fn conversations() -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let (mut said, mut heard, mut played) = (vec![], vec![], vec![]);
    let config = Config { window_ack_size: 5000, ..Config::default() };
    let Ok(mut client) = Session::<Vec<u8>, 8>::publish(config, "rtmp://h/live", "cam?token=t", Instant::ZERO, 1) else {
        return Default::default();
    };
    let mut server = server::Session::new(server::Config::default(), Instant::ZERO, 2);
    let tracks = tracks();
    tracks.iter().for_each(|track| client.set_track(track.clone()));
    for number in 0..6 {
        let dts = MediaTime::from_millis(number * 40);
        let is_video = number % 2 == 0;
        let payload = if is_video { [&[0, 0, 1, 0x2c, 0x65][..], &[7; 299]].concat() } else { vec![3; 20] };
        let track = if is_video { TrackId::VIDEO } else { TrackId::AUDIO };
        let _ = client.send_frame(Frame { track, dts, pts: dts, is_keyframe: number == 0, is_disposable: false, payload });
    }
    for _ in 0..20 {
        let pending = client.pending().concat();
        client.consumed(pending.len());
        said.extend_from_slice(&pending);
        let _ = server.handle_bytes(Instant::ZERO, &pending);
        loop {
            match server.poll_output() {
                Output::Transmit(bytes) => {
                    let _ = client.handle_bytes(Instant::ZERO, &bytes);
                    heard.extend_from_slice(&bytes);
                }
                Output::Event(Event::PublishRequested { .. }) => server.accept_publish(),
                Output::Event(_) => {}
                Output::Timeout(_) => break,
            }
        }
    }
    let mut server = server::Session::new(server::Config::default(), Instant::ZERO, 2);
    let mut player = player::Session::play("rtmp://h/live", "cam", 1);
    for _ in 0..6 {
        while let player::Output::Transmit(bytes) = player.poll_output() {
            played.extend_from_slice(&bytes);
            let _ = server.handle_bytes(Instant::ZERO, &bytes);
        }
        loop {
            match server.poll_output() {
                Output::Transmit(bytes) => {
                    let _ = player.handle_bytes(&bytes);
                }
                Output::Event(_) => server.accept_play(),
                Output::Timeout(_) => break,
            }
        }
    }
    (said, heard, played)
}

/// A record, sets and pictures, in each framing.
fn pictures(seeds: &mut Vec<(&'static str, Vec<u8>)>) {
    let record = avc_record(0);
    let Ok(config) = avc::DecoderConfig::parse(&record) else { return };
    let sets: Vec<&[u8]> = config.parameter_sets().collect();
    let units = [&sets[..], &[&[6, 6, 1, 0xc4, 0x80][..], &[0x65, 0x88, 0x84, 0x21], &[0x41, 0x9a, 0x24]]].concat();
    let part = |kind: u8, bytes: &[u8]| {
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        [&[kind][..], &length.to_be_bytes(), bytes].concat()
    };
    let lengths = |bytes: usize| -> Vec<u8> {
        let of = |unit: &&[u8]| [u32::try_from(unit.len()).unwrap_or(0).to_be_bytes().get(4 - bytes..).unwrap_or_default(), unit].concat();
        units.iter().flat_map(of).collect()
    };
    let codes: Vec<u8> = units.iter().flat_map(|unit| [&[0, 0, 0, 1][..], unit].concat()).collect();
    let within = [&u32::try_from(codes.len()).unwrap_or(0).to_be_bytes()[..], &codes].concat();
    for payload in [lengths(4), lengths(2), lengths(1), codes, within] {
        let with_record = [part(0, &record), part(5, &payload), part(1, &payload)].concat();
        seeds.push(("intake", [&[0][..], &with_record].concat()));
        seeds.push(("intake", [&[0][..], &part(5, &payload)].concat()));
    }
    let hevc: &[&[u8]] = &[
        &[0x40, 1, 0x0c, 1, 0xff, 0xff, 1, 0x60, 0, 0, 3, 0, 0x90, 0, 0, 3, 0, 0, 3, 0, 0x5d, 0x95, 0x98, 9],
        &[
            0x42, 1, 1, 1, 0x60, 0, 0, 3, 0, 0x90, 0, 0, 3, 0, 0, 3, 0, 0x5d, 0xa0, 2, 0x80, 0x80, 0x2d, 0x16, 0x59, 0x59, 0xa4, 0x93,
            0x2b, 0xc0, 0x5a, 0x70, 0x80, 0, 0, 0x1f, 0x48, 0, 3, 0x0d, 0x40, 0x40,
        ],
        &[0x44, 1, 0xc1, 0x72, 0xb4, 0x62, 0x40],
        &[0x26, 1, 0xaf, 9],
    ];
    let codes: Vec<u8> = hevc.iter().flat_map(|unit| [&[0, 0, 0, 1][..], unit].concat()).collect();
    seeds.push(("intake", [&[1][..], &part(1, &codes)].concat()));
}

/// Right times, a step back, a rate that is wrong, none at all, another connection.
fn times(seeds: &mut Vec<(&'static str, Vec<u8>)>) {
    let frame = |kind: u8, step: i16, wait_ms: u16| [&[kind | 4][..], &step.to_be_bytes(), &[0, 40], &wait_ms.to_be_bytes()].concat();
    for (step, odd) in [(40, 40), (40, -2000), (40, 5000), (400, 400), (10, 10), (0, 0)] {
        let frames: Vec<u8> = (0..90_u8).flat_map(|at| frame(at & 1, if at == 60 { odd } else { step }, 20)).collect();
        seeds.push(("source_clock", [&[0][..], &frames].concat()));
    }
    seeds.push(("source_clock", [&[1][..], &frame(0, 40, 40), &frame(0xf0, -40, 900), &frame(0xf3, 40, 1)].concat()));
}

fn tracks() -> Vec<Track> {
    let video =
        avc::DecoderConfig::parse(&avc_record(0)).ok().map(|config| Track { id: TrackId::VIDEO, config: TrackConfig::H264(config) });
    let audio = aac::AudioConfig::parse(&[0x12, 0x10]).ok().map(|config| Track { id: TrackId::AUDIO, config: TrackConfig::Aac(config) });
    video.into_iter().chain(audio).collect()
}

/// Conversations in the language of `script.rs`. In the server's each instruction on the wire has a byte behind it that says whether it waits.
fn scripts(seeds: &mut Vec<(&'static str, Vec<u8>)>) {
    let connect: &[u8] = &[0, 0, 0, 0];
    let create: &[u8] = &[1, 0, 0];
    let publish: &[u8] = &[2, 0, 0, 1, 0];
    let play: &[u8] = &[3, 0, 0, 0, 0];
    let header: &[u8] = &[8, 12, 0, 0, 0];
    let key: &[u8] = &[9, 12, 1, 0, 0, 3, 0x65, 1, 2, 20, 0];
    let audio: &[u8] = &[10, 8, 0, 0, 11, 8, 1, 0, 2, 5, 6, 1, 0];
    let delete: &[u8] = &[4, 0, 1, 0];
    let metadata: &[u8] = b"\x07\x10\x01\x00\x05width\x00\x40\x94\0\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let control: &[u8] = &[13, 4, 2, 0, 15, 4, 2, 2, 0, 0, 15, 4, 1, 0, 0, 0, 14, 4, 3, 0];
    for (name, parts) in [
        (0, vec![connect, create, publish, metadata, header, key, audio, delete, publish, header, key]),
        (0x10, vec![connect, control, create, play, &[255, 3, 0], &[22, 100]]),
        (0, vec![connect, &[6, 0, 0, 2, 0, 6, 0, 1, 3, 0, 0x86, 0, 8, 1, 0], create, publish, &[16, 12, 0, 0, 4, 1, 2, 3, 4, 1, 0]]),
        (0, vec![connect, create, publish, header, &[9, 0x2c, 1, 0, 0, 0, 200, 0], &[20, 0], key, &[21, 255, 21, 255]]),
        (0, vec![connect, create, publish, &[17, 12, 2, 1, 1, 2, 0x17, 0, 1, 0, 1, 2, 2, 0xaf, 1, 1, 0, 0], &[22, 0]]),
        (0, vec![connect, create, &[22, 200], publish, create, create, &[5, 0, 0]]),
    ] {
        seeds.push(("server_script", [&[name, 30][..], &parts.concat()].concat()));
    }
    let result: &[u8] = &[18, 0, 0, 1, 0, 0];
    let created: &[u8] = &[18, 0, 0, 4, 0, 1];
    let started: &[u8] = &[0x92, 4, 2, 0, 0, 0];
    for parts in [
        vec![&[22, 1][..], &[22, 2], &[0], result, created, started, &[22, 10, 22, 18], &[15, 4, 0, 2, 0], &[22, 0]],
        vec![result, created, &[18, 0, 2, 0, 1, 2]],
        vec![&[18, 0, 1, 1, 2, 2][..]],
        vec![&[13, 4, 1][..], result, &[255, 4], created, started, &[21, 255]],
        vec![result, created, started, &[18, 0, 2, 0, 4, 0], &[18, 0, 4, 0, 0, 0]],
    ] {
        seeds.push(("client", [&[0, 20][..], &parts.concat()].concat()));
        seeds.push(("client", [&[2, 20][..], &parts.concat()].concat()));
    }
    for parts in [
        vec![
            result,
            created,
            &[18, 0, 2, 0, 5, 0],
            &[8, 12, 0, 0],
            &[9, 12, 1, 0, 0, 3, 0x65, 1, 2, 20],
            &[10, 8, 0, 11, 8, 1, 0, 2, 5, 6, 1],
        ],
        vec![result, created, &[18, 0, 2, 0, 6, 0]],
        vec![&[18, 0, 1, 1, 2, 2][..]],
        vec![&[13, 4, 2][..], &[15, 4, 2, 2, 0], &[255, 9]],
        vec![&[16, 12, 0, 0, 4, 1, 2, 3, 4, 1][..], &[17, 12, 2, 1, 1, 2, 0x17, 0, 1, 0, 1, 2, 2, 0xaf, 1, 1, 0]],
    ] {
        seeds.push(("player", [&[0, 20][..], &parts.concat()].concat()));
    }
}

fn values(seeds: &mut Vec<(&'static str, Vec<u8>)>) {
    for amf0 in [
        &b"\x02\x00\x07connect\x00\x3f\xf0\0\0\0\0\0\0\x03\x00\x03app\x02\x00\x04live\x00\x01a\x01\x01\x00\x07nothing\x05\0\0\x09"[..],
        b"\x08\xff\xff\xff\xff\x00\x01w\x00\x40\x94\0\0\0\0\0\0",
        b"\x0a\0\0\0\x02\x0b\0\0\0\0\0\0\0\0\0\0\x07\0\x01\x0f\0\0\0\x01x\x10\0\x01T\0\0\x09\x06\x0d\x0c\0\0\0\x02ok",
        b"rtmps://[::1]:1936/live?a=b/cam?token=x",
        b"rtmp://host:1935/live/cam",
    ] {
        seeds.push(("amf0", amf0.to_vec()));
    }
    seeds.push(("amf0", [3, 0, 1, b'a'].repeat(20)));
    let record = avc_record(0);
    let (sps, pps) = (&record[8..32], &record[35..]);
    let annex_b = [&[0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1][..], sps, &[0, 0, 1], pps, &[0, 0, 1, 6, 5, 0x80, 0, 0, 1, 0x65, 7, 8]].concat();
    let high = [0x67, 0x64, 0, 0x1f, 0xac, 0xb2, 0, 0xa0, 0x0b, 0x76, 2, 0x20, 0, 0, 3, 0, 0x20, 0, 0, 6, 0x41, 0xe3, 6, 0x32, 0x40];
    for media in [
        [&[0][..], &record].concat(),
        [&[1, 24][..], sps, pps].concat(),
        [&[1, 25][..], &high, pps].concat(),
        [&[2][..], &annex_b].concat(),
        [&[0x33][..], &[0, 0, 0, 3, 0x65, 1, 2, 0, 0, 0, 1, 6]].concat(),
        vec![4, 0x12, 0x10],
        vec![4, 0xf8, 0xf8, 0x30, 0x60, 1, 2, 3],
    ] {
        seeds.push(("media", media));
    }
    let body = |type_id: u8, time: u8, body: &[u8]| [&[type_id, 0, time, 0, body.len() as u8][..], body].concat();
    let sequence = body(0, 0, &[&[0x17, 0, 0, 0, 0][..], &record].concat());
    let frame = body(0, 40, &[0x17, 1, 0, 0, 80, 0, 0, 0, 2, 0x65, 1]);
    let (asc, aac) = (body(1, 0, &[0xaf, 0, 0x12, 0x10]), body(1, 20, &[0xaf, 1, 1, 2, 3]));
    let short = [&[0x17, 0, 0, 0, 0][..], &record[..4], &[0xfd], &record[5..]].concat();
    let metadata =
        body(2, 0, b"\x02\x00\x0d@setDataFrame\x02\x00\x0aonMetaData\x08\0\0\0\x01\x00\x05width\x00\x40\x94\0\0\0\0\0\0\0\0\x09");
    for parts in [
        [&metadata[..], &sequence, &frame, &asc, &aac, &frame].concat(),
        [body(0, 0, &short), body(0, 40, &[0x27, 1, 0xff, 0xff, 0xb0, 0, 2, 0x41, 1, 0, 1, 6])].concat(),
        [body(0, 0, &[0x90, b'h', b'v', b'c', b'1', 1, 2, 3]), body(1, 0, &[0x90, b'O', b'p', b'u', b's'])].concat(),
        [body(0, 0, &[0x1c, 0, 0, 0, 0, 1]), body(0, 0, &[0x57, 0]), body(1, 0, &[0x72, 1])].concat(),
        [&sequence[..], &body(3, 0, &[9, 0, 0, 5, 0, 0, 7, 0, 0, 0, 0, 0x17, 2, 0, 0, 0, 0, 0, 0, 16])].concat(),
    ] {
        seeds.push(("bodies", parts));
    }
    for frames in [
        vec![],
        vec![0x20, 14, 16, 0, 0, 9],
        vec![0, 14, 16, 0, 0, 9, 0x60, 14, 16, 0, 100, 9, 0x20, 14, 16, 0xff, 0, 9, 0x7f, 0, 0, 0, 0, 1],
    ] {
        for start in [&[0, 2, 0x12, 0x10, 10, 3][..], &[0, 0, 0, 0]] {
            seeds.push(("fmp4", [start, &frames.repeat(4)].concat()));
        }
    }
    for text in [
        r#"{"d":"cam-1","s":"s1","e":5,"exp":1,"o":"","b":1}"#,
        r#"{"request_id":"r1","device_id":"cam-1","quality":"high","custom":{"width":1280}}"#,
        r#"{"command":"start","request_id":"a","lease_sec":60}"#,
        r#"{"server_id":"o","streams":[{"stream":"s","device":"d"}]}"#,
        "devices/cam-1/stream/request",
        "cam-1",
    ] {
        seeds.push(("signal", text.as_bytes().to_vec()));
    }
}

/// An `hvcC` of x265 for 1280x720, and an `av1C` of libaom for 640x360.
const HVCC: &[u8] = &[
    1, 1, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 0x5d, 0xf0, 0, 0xfc, 0xfd, 0xf8, 0xf8, 0, 0, 0x0f, 1, 0xa1, 0, 1, 0, 0x2a, 0x42, 1, 1, 1,
    0x60, 0, 0, 3, 0, 0x90, 0, 0, 3, 0, 0, 3, 0, 0x5d, 0xa0, 2, 0x80, 0x80, 0x2d, 0x16, 0x59, 0x59, 0xa4, 0x93, 0x2b, 0xc0, 0x5a, 0x70,
    0x80, 0, 0, 0x1f, 0x48, 0, 3, 0x0d, 0x40, 0x40,
];
const AV1C: &[u8] = &[0x81, 4, 0x0c, 0, 0x0a, 10, 0, 0, 0, 0x22, 0x62, 0x27, 0xf5, 0x9c, 0, 0];
const VPCC: &[u8] = &[1, 0, 0, 0, 0, 21, 0x82, 2, 2, 2, 0, 0];
const VP9_KEY: &[u8] = &[0x82, 0x49, 0x83, 0x42, 0, 0x27, 0xf0, 0x16, 0x70, 0];

/// Enhanced RTMP: every packet type, several tracks, finer times, other codecs; aggregates and AMF3 data.
fn enhanced(seeds: &mut Vec<(&'static str, Vec<u8>)>) {
    let flac = [&b"fLaC\x80\0\0\x22"[..], &[7; 34]].concat();
    for (kind, record) in
        [(0x82, HVCC), (0x83, AV1C), (0x84, VPCC), (0x84, VP9_KEY), (0x80, b"OpusHead\x01\x02\0\0\x80\xbb\0\0\0\0\0"), (0x81, &flac)]
    {
        seeds.push(("media", [&[kind][..], record].concat()));
    }
    let body = |type_id: u8, time: u8, parts: &[&[u8]]| {
        let body = parts.concat();
        [&[type_id, 0, time][..], &(body.len() as u16).to_be_bytes(), &body].concat()
    };
    let (hevc, idr) = (body(0, 0, &[b"\x90hvc1", HVCC]), [0, 0, 0, 4, 0x26, 1, 2, 3]);
    let nanos: &[u8] = &[0x97, 2, 0x0f, 0x42, 0x3f, 3];
    let track = |number: u8, bytes: &[u8]| [&[number, 0, 0, bytes.len() as u8][..], bytes].concat();
    let strict_array = b"\x02\0\x0aonMetaData\x08\0\0\0\x01\0\x01a\x0a\0\0\0\x01\x05\0\0\x09";
    let amf3 = b"\0\x02\0\x0aonMetaData\x11\x0a\x0b\x01\x0bwidth\x04\x85\x00\x07x\x05\x40\0\0\0\0\0\0\0\x01";
    let tag = |kind: u8, bytes: &[u8]| {
        let length = bytes.len() as u8;
        [&[kind, 0, 0, length, 0, 0, 9, 0, 0, 0, 0][..], bytes, &[0, 0, 0, length + 11]].concat()
    };
    for parts in [
        [&hevc[..], &body(0, 40, &[b"\x91hvc1\0\0\x50", &idr]), &body(0, 80, &[b"\xa3hvc1", &idr]), &body(0, 90, &[b"\xa2hvc1"])].concat(),
        [&hevc[..], &body(0, 40, &[nanos, b"hvc1", &idr]), &body(0, 41, &[b"\x94hvc1", strict_array]), &body(0, 42, &[&[0xd3, 0]])]
            .concat(),
        [body(0, 0, &[b"\x90av01", AV1C]), body(0, 40, &[b"\x91av01", &[0x12, 0, 0x32, 1, 9]]), body(0, 41, &[b"\x95av01", AV1C])].concat(),
        [body(0, 0, &[b"\x90vp09", VPCC]), body(0, 40, &[b"\x91vp09", VP9_KEY]), body(0, 80, &[b"\xa1vp09", &[0x86]])].concat(),
        [body(0, 0, &[b"\x96\x00hvc1\x01", HVCC]), body(0, 40, &[b"\x96\x01hvc1\x01", &idr])].concat(),
        [
            body(0, 0, &[b"\x96\x10hvc1", &track(0, HVCC), &track(2, HVCC)]),
            body(0, 40, &[b"\x96\x13hvc1", &track(0, &idr), &track(2, &idr)]),
        ]
        .concat(),
        [body(0, 0, &[b"\x96\x20", b"hvc1", &track(0, HVCC), b"av01", &track(1, AV1C)]), body(0, 9, &[b"\x96\x23hvc1", &track(0, &idr)])]
            .concat(),
        [body(1, 0, &[b"\x90Opus", b"OpusHead\x01\x02\0\0\x80\xbb\0\0\0\0\0"]), body(1, 20, &[b"\x91Opus", &[0xfc, 1, 2]])].concat(),
        [body(1, 0, &[b"\x90fLaC", &flac]), body(1, 20, &[b"\x91fLaC", &[0xff, 0xf8]]), body(1, 21, &[b"\x94fLaC", &[1, 2, 0, 0, 0, 3]])]
            .concat(),
        [body(1, 0, &[b"\x91ac-3", &[0x0b, 0x77]]), body(1, 20, &[b"\x91ec-3", &[0x0b, 0x77]]), body(1, 30, &[b"\x91.mp3", &[0xff, 0xfb]])]
            .concat(),
        [body(1, 0, &[b"\x95\x00mp4a\x01", &[0x12, 0x10]]), body(1, 20, &[b"\x95\x01mp4a\x01", &[1, 2, 3]])].concat(),
        [body(0, 0, &[&[0x1c, 0, 0, 0, 0], HVCC]), body(0, 40, &[&[0x1c, 1, 0, 0, 0], &idr])].concat(),
        [hevc.clone(), body(3, 100, &[&tag(9, &[b"\x93hvc1", &idr[..]].concat()), &tag(18, strict_array), &tag(8, &[0xaf, 1, 2])])]
            .concat(),
        [body(4, 0, &[amf3]), body(2, 0, &[strict_array])].concat(),
    ] {
        seeds.push(("bodies", parts));
    }
    let caps = |form: u8, codec: u8| [0x80, 12, 0, 15, 7, form, codec];
    for (form, codec) in [(0, 0), (1, 2), (3, 4), (5, 0)] {
        let script = [&[0, 30][..], &caps(form, codec), &[0], &[1, 12, 0, 2, 12, 0, 0, 0, 16, 12, 0x10, 0, 4, 1, 2, 3, 4, 0, 0]].concat();
        seeds.push(("server_script", script));
    }
}
