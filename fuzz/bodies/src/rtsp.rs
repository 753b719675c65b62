//! RTSP cameras of any kind: the same pictures and sound however the network cuts what they say, and all pictures that were sent whole.

use crate::cursor::{Cursor, sizes};
use bytes::Bytes;
use sightline_capture::SourceEvent;
use sightline_capture::fuzzing::{Said, Seen, rtsp};
use sightline_media::{MediaTime, Track, TrackId, avc};

/// The beginning of a camera's answers: streams that a description offers, each with the number of its payload's kind.
const VIDEO_H264: &str = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;\
    sprop-parameter-sets=Z2QAKKzZQHgCJ+XARAAAAwAEAAADAMg8YMZY,aOvjyyLA\r\na=control:track1\r\n";
const VIDEO_H264_BARE: &str = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track1\r\n";
const VIDEO_H265: &str = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H265/90000\r\na=fmtp:96 \
    sprop-vps=QAEMAf//AWAAAAMAkAAAAwAAAwBdlZgJ;sprop-sps=QgEBAWAAAAMAkAAAAwAAAwBdoAKAgC0WWVmkkyvAWnCAAAAfSAADDUBA;\
    sprop-pps=RAHBcrRiQA==\r\na=control:track1\r\n";
const SOUNDS: [&str; 7] = [
    "",
    "m=audio 0 RTP/AVP 0\r\na=control:track2\r\n",
    "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 PCMA/16000/1\r\na=control:track2\r\n",
    "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 L16/16000/2\r\na=control:track2\r\n",
    "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/16000/1\r\na=fmtp:97 streamtype=5;mode=AAC-hbr;config=1408;sizelength=13;\
     indexlength=3;indexdeltalength=3\r\na=control:track2\r\n",
    "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/16000/1\r\na=control:track2\r\n",
    "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MP4A-LATM/16000/1\r\na=fmtp:97 profile-level-id=15;object=2;cpresent=0;config=400028103FC0\r\n\
     a=control:track2\r\n",
];
const VIDEOS: [&str; 3] = [VIDEO_H264, VIDEO_H264_BARE, VIDEO_H265];
/// Ticks of a picture at 25 a second.
const PICTURE_TICKS: u32 = 3_600;
/// Pictures that a script has at most.
const PICTURES_MAX: usize = 16;

/// First byte: what the rest is; second: how it is cut.
pub fn run(data: &[u8]) {
    let mut cursor = Cursor::new(data);
    let (kind, cut) = (cursor.u8(), cursor.u8());
    match kind % 4 {
        // All that a camera says: its first connection, as long as two bytes say, and then its second.
        0 => {
            let length = usize::from(cursor.u16());
            let (first, second) = (cursor.take(length).to_vec(), cursor.rest().to_vec());
            both_ways(&[first, second], cut);
        }
        // What comes behind good answers, as it is.
        1 => {
            let said = [answers(kind).into_bytes(), cursor.rest().to_vec()].concat();
            both_ways(&[said], cut);
        }
        // Packets of choices behind good answers.
        2 => {
            let mut said = answers(kind).into_bytes();
            packets(&mut cursor, &mut said);
            both_ways(&[said], cut);
        }
        _ => whole_pictures(cut, &mut cursor),
    }
}

/// OPTIONS, DESCRIBE, a SETUP for each stream, PLAY: the number chooses the streams.
pub(crate) fn answers(kind: u8) -> String {
    let choice = usize::from(kind >> 2);
    let (video, sound) = (VIDEOS[choice % VIDEOS.len()], SOUNDS[choice / VIDEOS.len() % SOUNDS.len()]);
    answers_of(video, sound)
}

fn answers_of(video: &str, sound: &str) -> String {
    let sdp = format!("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=s\r\nt=0 0\r\n{video}{sound}");
    let setup = |cseq: u8, channel: u8| {
        format!(
            "RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\nSession: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved={channel}-{}\r\n\r\n",
            channel + 1
        )
    };
    let (first, second) = (setup(3, 0), if sound.is_empty() { String::new() } else { setup(4, 2) });
    format!(
        "RTSP/1.0 200 OK\r\nCSeq: 1\r\nPublic: OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER\r\n\r\n\
         RTSP/1.0 200 OK\r\nCSeq: 2\r\nContent-Base: rtsp://camera/1/\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}\
         {first}{second}RTSP/1.0 200 OK\r\nCSeq: {}\r\nSession: 1\r\n\r\n",
        sdp.len(),
        if sound.is_empty() { 4 } else { 5 }
    )
}

/// A packet: its channel and mark in a byte, how far its number and its time step, its length, its bytes.
fn packets(cursor: &mut Cursor<'_>, said: &mut Vec<u8>) {
    let (mut seq, mut ticks) = ([0_u16; 2], [0_u32; 2]);
    while !cursor.is_empty() {
        let (choice, step, length) = (cursor.u8(), cursor.u8(), usize::from(cursor.u8()) * if cursor.u8() & 1 == 0 { 1 } else { 6 });
        let lane = usize::from(choice >> 1 & 1);
        seq[lane] = seq[lane].wrapping_add(if choice & 0x20 == 0 { 1 } else { u16::from(step) });
        ticks[lane] = ticks[lane].wrapping_add(if choice & 0x40 == 0 { 0 } else { u32::from(step) * 400 });
        let payload = cursor.take(length);
        let first = if choice & 0x10 == 0 { 0x80 } else { cursor.u8() };
        let packet = rtp(first, if lane == 0 { 96 } else { 97 }, choice & 4 != 0, seq[lane], ticks[lane], payload);
        frame(choice & 3, &packet, said);
    }
}

fn rtp(first: u8, kind: u8, is_marked: bool, seq: u16, ticks: u32, payload: &[u8]) -> Vec<u8> {
    let head = [first, kind | if is_marked { 0x80 } else { 0 }];
    [&head[..], &seq.to_be_bytes(), &ticks.to_be_bytes(), &[0, 0, 0, 9], payload].concat()
}

fn frame(channel: u8, packet: &[u8], said: &mut Vec<u8>) {
    said.extend_from_slice(&[b'$', channel]);
    said.extend_from_slice(&u16::try_from(packet.len()).unwrap_or(u16::MAX).to_be_bytes());
    said.extend_from_slice(packet);
}

/// Whole, and cut as chosen: the same comes out.
fn both_ways(connections: &[Vec<u8>], cut: u8) {
    let (Some(whole), Some(split)) = (read(connections, None), read(connections, Some(cut))) else { return };
    let (one, other) = (check(&whole), check(&split));
    assert_eq!(one, other);
    assert_eq!((whole.trouble.code, whole.trouble.is_refusal), (split.trouble.code, split.trouble.is_refusal));
}

fn read(connections: &[Vec<u8>], cut: Option<u8>) -> Option<Seen> {
    let said = connections.iter().map(|bytes| match cut {
        None => Said::new(bytes.clone(), || usize::MAX),
        Some(cut) => Said::new(bytes.clone(), sizes(cut)),
    });
    rtsp(said.collect())
}

/// What a track gave, apart from its times.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Given {
    Track(Box<Track>),
    Frame(bool, Bytes),
}

/// What came of each track. Its times, which go by the wall's, rise; what it needs comes first.
fn check(seen: &Seen) -> [Vec<Given>; 2] {
    let (mut given, mut last): ([Vec<Given>; 2], [Option<MediaTime>; 2]) = ([vec![], vec![]], [None; 2]);
    for event in &seen.events {
        match event {
            SourceEvent::Track(track) => given[usize::from(track.id == TrackId::AUDIO)].push(Given::Track(track.clone())),
            SourceEvent::Frame(frame, _) => {
                let lane = usize::from(frame.track == TrackId::AUDIO);
                assert!(!given[lane].is_empty(), "a frame of a track that was not announced");
                assert!(frame.track == TrackId::AUDIO || frame.is_keyframe || last[0].is_some(), "it begins with a key frame");
                assert!(last[lane].is_none_or(|last| frame.dts > last), "times rise: {last:?} {:?}", frame.dts);
                assert!(frame.pts >= frame.dts);
                last[lane] = Some(frame.dts);
                if lane == 0 {
                    let mut units = avc::NalUnits::new(&frame.payload, avc::LENGTH_BYTES);
                    assert!(units.by_ref().count() > 0 && units.is_exhausted());
                }
                given[lane].push(Given::Frame(frame.is_keyframe, frame.payload.clone()));
            }
            SourceEvent::Picture(..) | SourceEvent::Pixels(..) | SourceEvent::Lost { .. } => panic!("nothing else comes of it"),
        }
    }
    given
}

/// Pictures of several slices, each in a packet, in fragments, or with others: all come out byte for byte but the last, which waits for the next.
fn whole_pictures(cut: u8, cursor: &mut Cursor<'_>) {
    let mut said = answers_of(VIDEO_H264, "").into_bytes();
    let (mut seq, mut pictures) = (cursor.u16(), vec![]);
    while !cursor.is_empty() && pictures.len() < PICTURES_MAX {
        let (choice, fragment) = (cursor.u8(), usize::from(cursor.u8()) + 1);
        let is_keyframe = pictures.is_empty() || choice & 4 != 0;
        let units: Vec<Vec<u8>> = (0..=choice & 3).map(|place| unit(is_keyframe, place == 0, cursor)).collect();
        let payloads = packetised(&units, choice, fragment);
        let ticks = PICTURE_TICKS * u32::try_from(pictures.len()).unwrap_or(0);
        for (place, payload) in payloads.iter().enumerate() {
            frame(0, &rtp(0x80, 96, place + 1 == payloads.len(), seq, ticks, payload), &mut said);
            seq = seq.wrapping_add(1);
        }
        let lengths = |unit: &Vec<u8>| [&u32::try_from(unit.len()).unwrap_or(0).to_be_bytes()[..], unit].concat();
        pictures.push(Given::Frame(is_keyframe, Bytes::from(units.iter().flat_map(lengths).collect::<Vec<u8>>())));
    }
    let Some(seen) = read(&[said], Some(cut)) else { return };
    let [came, _] = check(&seen);
    let came: Vec<&Given> = came.iter().filter(|given| matches!(given, Given::Frame(..))).collect();
    assert!(came.len() + 1 >= pictures.len(), "{} of {}: {}", came.len(), pictures.len(), seen.trouble);
    for (came, put) in came.into_iter().zip(&pictures) {
        assert_eq!(came, put);
    }
}

fn unit(is_keyframe: bool, is_first: bool, cursor: &mut Cursor<'_>) -> Vec<u8> {
    let length = usize::from(cursor.u8()) * 2;
    // No start code, no zero at the end; a slice behind the first says that it begins at a later macroblock.
    let body = cursor.take(length).iter().map(|byte| byte | 1);
    let head = [if is_keyframe { 0x65 } else { 0x41 }, if is_first { 0x88 } else { 0x42 }];
    head.into_iter().chain(body).chain([0x80]).collect()
}

/// Payloads of packets (RFC 6184): of each unit alone, of fragments, or of all at once.
fn packetised(units: &[Vec<u8>], choice: u8, fragment: usize) -> Vec<Vec<u8>> {
    match choice >> 4 & 3 {
        0 => units.to_vec(),
        1 => {
            let together = units.iter().flat_map(|unit| [&u16::try_from(unit.len()).unwrap_or(0).to_be_bytes()[..], unit].concat());
            vec![[0x78].into_iter().chain(together).collect()]
        }
        _ => units.iter().flat_map(|unit| fragments(unit, fragment)).collect(),
    }
}

/// FU-A (§5.8): two at least.
fn fragments(unit: &[u8], most: usize) -> Vec<Vec<u8>> {
    let (header, body) = (unit[0], &unit[1..]);
    let count = body.len().div_ceil(most);
    if count < 2 {
        return vec![unit.to_vec()];
    }
    let part = |(at, bytes): (usize, &[u8])| {
        let edge = if at == 0 { 0x80 } else { 0 } | if at + 1 == count { 0x40 } else { 0 };
        [&[header & 0xe0 | 28, header & 0x1f | edge], bytes].concat()
    };
    body.chunks(most).enumerate().map(part).collect()
}
