//! Points of the conformance table (the crate's page) that take whole sessions: each test's number is the point's.

use crate::chunk::{MessageHeader, write};
use crate::client::{self, Event as ClientEvent};
use crate::error::Cause;
use crate::handshake::{OPENING_BYTES, PACKET_BYTES, digest};
use crate::message::aggregate::tests::part;
use crate::message::command::Outgoing;
use crate::server::tests::{command, connected, contains, drain, opening};
use crate::server::{Config, Event, Output, PublishKind, Session};
use crate::wire::u24;
use sightline_media::{Codec, Frame, Instant, MediaTime, Track, TrackConfig, TrackId, avc};
use std::string::String;
use std::vec;
use std::vec::Vec;

pub(crate) const AVCC: &[u8] = &[
    1, 0x64, 0, 0x28, 0xff, 0xe1, 0, 24, 0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0, 0, 3, 0, 4, 0, 0,
    3, 0, 0xc8, 0x3c, 1, 0, 6, 0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0,
];

/// A message on the published stream.
fn message(type_id: u8, timestamp: u32, body: &[u8]) -> Vec<u8> {
    let header = MessageHeader { csid: 6, timestamp, length: u32::try_from(body.len()).unwrap(), type_id, stream_id: 1 };
    let mut bytes = Vec::new();
    write(&header, [body, &[]], 128, |piece| bytes.extend_from_slice(piece));
    bytes
}

fn video(timestamp: u32, head: [u8; 5], payload: &[u8]) -> Vec<u8> {
    message(9, timestamp, &[&head[..], payload].concat())
}

fn nal(first: u8) -> [u8; 6] {
    [0, 0, 0, 2, first, 7]
}

fn publishing() -> Session {
    let mut session = connected();
    let start = [command(&Outgoing::CreateStream { transaction: 4.0 }, 0), command(&Outgoing::Publish { transaction: 5.0, name: "s" }, 1)];
    session.handle_bytes(Instant::ZERO, &start.concat()).unwrap();
    session.accept_publish();
    drain(&mut session);
    session
}

fn events(session: &mut Session, bytes: &[u8]) -> Vec<Event> {
    session.handle_bytes(Instant::ZERO, bytes).unwrap();
    drain(session).1
}

fn frames(events: &[Event]) -> Vec<(TrackId, i64, i64, bool)> {
    let frame = |event: &Event| {
        let Event::Frame(frame) = event else { return None };
        Some((frame.track, frame.dts.as_millis(), frame.pts.as_millis(), frame.is_keyframe))
    };
    events.iter().filter_map(frame).collect()
}

/// Flash and ffmpeg sign C1; the answer is signed in the same schema, and a broken signature gets the simple answer.
#[test]
fn p05_the_digest_handshake_in_both_schemas_and_the_fall_back() {
    for (base, breaks) in [(8, false), (772, false), (8, true)] {
        let mut c1 = digest::signed_c1(base, 5);
        if breaks {
            c1[1000] ^= 1;
        }
        let mut session = Session::new(Config::default(), Instant::ZERO, 1);
        session.handle_bytes(Instant::ZERO, &[&[3], &c1[..], &[0; PACKET_BYTES]].concat()).unwrap();
        let (answer, _) = drain(&mut session);
        assert_eq!(answer.len(), OPENING_BYTES + PACKET_BYTES);
        let is_echo = answer[OPENING_BYTES..] == c1;
        assert_eq!((is_echo, answer[5..9] == [0; 4]), (breaks, breaks));
        let connect = command(&Outgoing::Connect { app: "live", tc_url: "rtmp://h/live", is_player: false }, 0);
        session.handle_bytes(Instant::ZERO, &connect).unwrap();
        assert!(contains(&drain(&mut session).0, b"NetConnection.Connect.Success"));
    }
}

/// Baidu's SDK sets 60,000, OBS 4,096, ffmpeg 60,000, SRS 60,000; the largest allowed; the top bit must be zero (§5.4.1).
#[test]
fn p17_chunk_sizes_of_products_between_and_inside_messages() {
    for size in [1_u32, 128, 4096, 60_000, 65_536, 1 << 20] {
        let mut session = publishing();
        let mut bytes = message(1, 0, &size.to_be_bytes());
        let body = [&[0x17, 0, 0, 0, 0][..], AVCC].concat();
        let header = MessageHeader { csid: 6, timestamp: 0, length: u32::try_from(body.len()).unwrap(), type_id: 9, stream_id: 1 };
        write(&header, [&body, &[]], size, |piece| bytes.extend_from_slice(piece));
        assert!(matches!(&events(&mut session, &bytes)[..], [Event::Track(_)]), "{size}");
    }
    let top = message(1, 0, &0x8000_1000_u32.to_be_bytes());
    assert_eq!(publishing().handle_bytes(Instant::ZERO, &top).unwrap_err().cause, Cause::ChunkSize(0x8000_1000));
}

/// FMLE and Wowza send aggregates; the parts' times move to the aggregate's (§7.1.6).
#[test]
fn p21_an_aggregate_is_its_parts() {
    let mut session = publishing();
    let parts = [
        part(9, 90_000, &[&[0x17, 0, 0, 0, 0][..], AVCC].concat()),
        part(8, 90_000, &[0xaf, 0, 0x12, 0x10]),
        part(9, 90_000, &[&[0x17, 1, 0, 0, 0][..], &nal(0x65)].concat()),
        part(8, 90_023, &[0xaf, 1, 1, 2, 3]),
    ];
    let got = events(&mut session, &message(22, 1000, &parts.concat()));
    assert_eq!(frames(&got), [(TrackId::VIDEO, 1000, 1000, true), (TrackId::AUDIO, 1023, 1023, true)]);
    assert_eq!(got.len(), 4);
}

/// OBS once kept its chunk sizes from the connection before (obs-studio 2868): a new session knows nothing of the old one.
#[test]
fn p22_a_new_connection_begins_with_the_standards_chunk_size() {
    let mut session = client::Session::<&[u8], 4>::publish(client::Config::default(), "rtmp://h/live", "s", Instant::ZERO, 1).unwrap();
    let mut answer = vec![0; OPENING_BYTES + PACKET_BYTES];
    answer[0] = 3;
    session.handle_bytes(Instant::ZERO, &answer).unwrap();
    let mut skipped = 0;
    while skipped < OPENING_BYTES + PACKET_BYTES {
        let piece = session.pending()[0].len();
        session.consumed(piece);
        skipped += piece;
    }
    assert_eq!(skipped, OPENING_BYTES + PACKET_BYTES, "nothing else goes out with the handshake");
    let connect = session.pending()[0];
    assert_eq!((connect[0], connect[12 + 128]), (3, 0xc3), "type 0, and a continuation behind 128 bytes");
}

/// nginx-rtmp acknowledges every 5,000,000 bytes, some servers never: nothing waits for it.
#[test]
fn p24_a_publisher_goes_on_without_acknowledgements() {
    let mut session = client::Session::<Vec<u8>, 4>::publish(client::Config::default(), "rtmp://h/live", "s", Instant::ZERO, 1).unwrap();
    let mut answer = vec![0; OPENING_BYTES + PACKET_BYTES];
    answer[0] = 3;
    session.handle_bytes(Instant::ZERO, &answer).unwrap();
    flush(&mut session);
    for answer in [
        command(
            &Outgoing::ConnectResult {
                transaction: 1.0,
                is_accepted: true,
                is_enhanced: false,
                code: "NetConnection.Connect.Success",
                description: "",
            },
            0,
        ),
        command(&Outgoing::Result { transaction: 4.0, number: Some(1.0) }, 0),
        command(&Outgoing::Status { command: "onStatus", level: "status", code: "NetStream.Publish.Start", description: "" }, 1),
    ] {
        session.handle_bytes(Instant::ZERO, &answer).unwrap();
        flush(&mut session);
    }
    assert!(session.is_publishing());
    session.set_track(Track { id: TrackId::VIDEO, config: TrackConfig::H264(avc::DecoderConfig::parse(AVCC).unwrap()) });
    let before = session.bytes_sent();
    for at in 0..120 {
        let time = MediaTime::from_millis(at * 40);
        let frame =
            Frame { track: TrackId::VIDEO, dts: time, pts: time, is_keyframe: true, is_disposable: false, payload: vec![0; 100_000] };
        session.send_frame(frame).unwrap();
        flush(&mut session);
    }
    assert!(session.bytes_sent() - before > 12_000_000);
}

fn flush(session: &mut client::Session<Vec<u8>, 4>) {
    loop {
        let count = session.pending().iter().map(|part| part.len()).sum();
        if count == 0 {
            break;
        }
        session.consumed(count);
    }
    while session.poll_event().is_some() {}
}

/// Flash servers ask for the bandwidth; a publisher that is asked with `onBWDone` or `_onbwcheck` need not answer.
#[test]
fn p31_bandwidth_checks_hold_no_one_up() {
    let mut session = connected();
    session.handle_bytes(Instant::ZERO, &command(&Outgoing::Named { command: "_checkbw", transaction: 7.0, name: "" }, 0)).unwrap();
    assert!(contains(&drain(&mut session).0, b"_result"));
    let mut client = client::Session::<Vec<u8>, 4>::publish(client::Config::default(), "rtmp://h/live", "s", Instant::ZERO, 1).unwrap();
    let mut answer = vec![0; OPENING_BYTES + PACKET_BYTES];
    answer[0] = 3;
    client.handle_bytes(Instant::ZERO, &answer).unwrap();
    flush(&mut client);
    for name in ["onBWDone", "_onbwcheck", "_onbwdone"] {
        client.handle_bytes(Instant::ZERO, &command(&Outgoing::Named { command: name, transaction: 0.0, name: "" }, 0)).unwrap();
        assert_eq!(client.poll_event(), None);
    }
}

/// A connection may create eight streams and uses one at a time (§7.2.1.3).
#[test]
fn p32_streams_of_a_connection_are_counted_and_limited() {
    let mut session = connected();
    for number in 1..=8_u8 {
        session.handle_bytes(Instant::ZERO, &command(&Outgoing::CreateStream { transaction: 4.0 }, 0)).unwrap();
        let answer = command(&Outgoing::Result { transaction: 4.0, number: Some(f64::from(number)) }, 0);
        assert_eq!(drain(&mut session).0[12..], answer[12..]);
    }
    let ninth = session.handle_bytes(Instant::ZERO, &command(&Outgoing::CreateStream { transaction: 4.0 }, 0));
    assert!(matches!(ninth.unwrap_err().cause, Cause::OutOfOrder(_)));
}

/// §7.2.2.6: the three kinds; media counts on the stream that its header names.
#[test]
fn p33_live_record_and_append_and_the_stream_in_the_header() {
    for (word, kind) in
        [("live", PublishKind::Live), ("record", PublishKind::Record), ("append", PublishKind::Append), ("", PublishKind::Live)]
    {
        let mut session = connected();
        let mut publish = b"\x02\x00\x07publish\x00\x40\x14\0\0\0\0\0\0\x05\x02\x00\x01k".to_vec();
        if !word.is_empty() {
            publish.extend_from_slice(&[2, 0, word.len() as u8]);
            publish.extend_from_slice(word.as_bytes());
        }
        let create = command(&Outgoing::CreateStream { transaction: 4.0 }, 0);
        let got = events(&mut session, &[create, message(20, 0, &publish)].concat());
        assert!(matches!(&got[..], [Event::Quirk { .. }, Event::PublishRequested { kind: asked, .. }] if *asked == kind), "{word}");
    }
    let mut session = publishing();
    let mut elsewhere = video(0, [0x17, 0, 0, 0, 0], AVCC);
    elsewhere[8] = 2;
    assert!(events(&mut session, &elsewhere).is_empty());
}

/// The historical commands before and after createStream, in any order (librtmp, FMLE, OBS).
#[test]
fn p30_release_and_fc_commands_before_and_after_create_stream() {
    let named = |name: &'static str| command(&Outgoing::Named { command: name, transaction: 2.0, name: "s" }, 0);
    let create = command(&Outgoing::CreateStream { transaction: 4.0 }, 0);
    let publish = command(&Outgoing::Publish { transaction: 5.0, name: "s" }, 1);
    for order in [
        [named("releaseStream"), named("FCPublish"), create.clone(), publish.clone()],
        [create.clone(), named("releaseStream"), named("FCPublish"), publish.clone()],
        [create.clone(), publish.clone(), named("FCPublish"), named("releaseStream")],
    ] {
        let mut session = connected();
        session.handle_bytes(Instant::ZERO, &order.concat()).unwrap();
        let (_, events) = drain(&mut session);
        assert!(matches!(&events[..], [Event::Quirk { .. }, Event::PublishRequested { .. }]));
        session.accept_publish();
        assert!(contains(&drain(&mut session).0, b"onFCPublish"));
    }
}

/// VP9's configuration has no size: the track is reported with the first key frame whose header can be read, and no frame comes before it.
#[test]
fn vp9_waits_for_a_key_frame_that_says_its_size() {
    let mut session = publishing();
    let record = [&b"\x90vp09\x01\0\0\0"[..], &[0, 21, 0x82, 2, 2, 2, 0, 0]].concat();
    let frame = |first: u8, bytes: &[u8]| message(9, 40, &[&[first][..], b"vp09", bytes].concat());
    let junk = [0, 0, 0, 0];
    let key = [0x82, 0x49, 0x83, 0x42, 0x00, 0x27, 0xf0, 0x16, 0x70, 0];
    let got = events(&mut session, &[message(9, 0, &record), frame(0x93, &junk), frame(0xa3, &[0x86])].concat());
    assert!(matches!(&got[..], [Event::Unsupported { .. }]), "{got:?}");
    let got = events(&mut session, &[frame(0x93, &key), frame(0xa3, &[0x86])].concat());
    assert!(
        matches!(&got[..], [Event::Track(track), Event::Frame(_), Event::Frame(_)] if matches!(&track.config, TrackConfig::Coded(config) if config.size() == Some((640, 360))))
    );
}

/// What products are known to do that no standard allows and that harms nothing: taken, and named once each.
#[test]
fn cameras_that_are_not_strict_are_taken_and_named() {
    let quirks = |events: &[Event]| {
        events.iter().filter_map(|event| if let Event::Quirk { what } = event { Some(*what) } else { None }).collect::<Vec<_>>()
    };
    let (header, key) = (video(0, [0x17, 0, 0, 0, 0], AVCC), video(0, [0x17, 1, 0, 0, 0], &nal(0x65)));
    let endless = message(18, 0, b"\x02\x00\x0aonMetaData\x08\0\0\0\x07\x00\x05width\x00\x40\x94\0\0\0\0\0\0");
    // Encoders on chips: all in one piece, the answers unread.
    let create = command(&Outgoing::CreateStream { transaction: 4.0 }, 0);
    let publish = command(&Outgoing::Publish { transaction: 5.0, name: "s" }, 1);
    let all = [&create[..], &publish, &endless, &header, &key].concat();
    let mut session = connected();
    session.handle_bytes(Instant::ZERO, &all).unwrap();
    let asked = drain(&mut session).1;
    assert_eq!(quirks(&asked), ["publish before createStream was answered", "media before publish was answered"]);
    session.accept_publish();
    let got = drain(&mut session).1;
    assert_eq!(quirks(&got), ["metadata without an end marker", "metadata with a wrong array count"]);
    assert!(got.iter().any(|event| matches!(event, Event::Metadata(metadata) if metadata.properties.len() == 1)), "players get it whole");
    assert!(got.iter().any(|event| matches!(event, Event::Track(_))) && frames(&got).len() == 1, "nothing of it is lost");
    // Many cameras: the sequence headers before every key frame.
    let got = events(&mut session, &[&header[..], &key, &header, &key].concat());
    assert_eq!((quirks(&got), frames(&got).len()), (std::vec!["a sequence header again, unchanged"], 2));
    // Of a publisher that is refused nothing is left.
    let mut session = connected();
    session.handle_bytes(Instant::ZERO, &all).unwrap();
    drain(&mut session);
    session.reject_publish("NetStream.Publish.BadName", "no");
    assert!(drain(&mut session).1.is_empty());
    session.handle_bytes(Instant::ZERO, &publish).unwrap();
    session.accept_publish();
    assert!(frames(&drain(&mut session).1).is_empty());
}

/// What a publisher may send before it is let in is bounded in bytes and in number; the rest is left out.
#[test]
fn what_comes_before_publish_is_answered_is_bounded() {
    let mut session = connected();
    let asked = [command(&Outgoing::CreateStream { transaction: 4.0 }, 0), command(&Outgoing::Publish { transaction: 5.0, name: "s" }, 1)];
    session.handle_bytes(Instant::ZERO, &asked.concat()).unwrap();
    session.handle_bytes(Instant::ZERO, &video(0, [0x17, 0, 0, 0, 0], AVCC)).unwrap();
    // Miri sees the bound as well, and is through with fewer.
    for number in 0..if cfg!(miri) { 140 } else { 1000 } {
        session.handle_bytes(Instant::ZERO, &video(number, [0x17, 1, 0, 0, 0], &nal(0x65))).unwrap();
    }
    drain(&mut session);
    session.accept_publish();
    assert_eq!(frames(&drain(&mut session).1).len(), 127);
}

/// Codes of the standard and of Flash (§7.2.2) that a client acts upon; `Connect.Rejected` is `session_tests::a_refused_application_says_why`.
#[test]
fn p36_the_codes_of_publish_and_play() {
    let told = |act: fn(&mut Session), ask: Outgoing<'_>| {
        let mut session = connected();
        session
            .handle_bytes(Instant::ZERO, &[command(&Outgoing::CreateStream { transaction: 4.0 }, 0), command(&ask, 1)].concat())
            .unwrap();
        drain(&mut session);
        act(&mut session);
        String::from_utf8_lossy(&drain(&mut session).0).into_owned()
    };
    let publish = Outgoing::Publish { transaction: 5.0, name: "s" };
    let play = Outgoing::Play { transaction: 5.0, name: "s" };
    assert!(told(Session::accept_publish, publish).contains("NetStream.Publish.Start"));
    assert!(told(|session| session.reject_publish("NetStream.Publish.BadName", "no"), publish).contains("NetStream.Publish.BadName"));
    let played = told(Session::accept_play, play);
    assert!(played.find("NetStream.Play.Reset").unwrap() < played.find("NetStream.Play.Start").unwrap());
    assert!(told(|session| session.reject_play("NetStream.Play.StreamNotFound", "no"), play).contains("NetStream.Play.StreamNotFound"));
    let ended = String::from_utf8_lossy(&crate::server::shared::end_message()).into_owned();
    assert!(ended.contains("NetStream.Play.UnpublishNotify"));
    let mut session = publishing();
    session.handle_bytes(Instant::ZERO, &command(&Outgoing::DeleteStream { stream_id: 1.0 }, 0)).unwrap();
    assert!(contains(&drain(&mut session).0, b"NetStream.Unpublish.Success"));
}

/// Hikvision and Dahua bridges send the sequence header before every key frame: it is reported once, and again when it changes.
#[test]
fn p41_a_sequence_header_is_told_when_it_is_new() {
    let mut session = publishing();
    let header = video(0, [0x17, 0, 0, 0, 0], AVCC);
    let mut other = AVCC.to_vec();
    other[11] = 0x1f;
    let bytes = [
        header.clone(),
        video(0, [0x17, 1, 0, 0, 0], &nal(0x65)),
        header.clone(),
        video(40, [0x17, 1, 0, 0, 0], &nal(0x65)),
        video(80, [0x17, 0, 0, 0, 0], &other),
    ];
    let got = events(&mut session, &bytes.concat());
    assert_eq!(got.iter().filter(|event| matches!(event, Event::Track(_))).count(), 2);
    assert_eq!(frames(&got).len(), 2);
    // Frames before any header can't be decoded.
    let got = events(&mut publishing(), &video(0, [0x17, 1, 0, 0, 0], &nal(0x65)));
    assert!(matches!(&got[..], [Event::Unsupported { .. }]));
}

/// §7.1.4: the AudioSpecificConfig first; HE-AAC is AAC; G.711 and MP3 by format number have no container here, and are named.
#[test]
fn p44_aac_needs_its_configuration_and_others_are_named() {
    let mut session = publishing();
    assert!(
        matches!(&events(&mut session, &message(8, 0, &[0xaf, 1, 1, 2]))[..], [Event::Unsupported { what }] if what.contains("before"))
    );
    let got = events(&mut session, &[message(8, 0, &[0xaf, 0, 0x2b, 0x11, 0x88, 0]), message(8, 0, &[0xaf, 1, 1, 2])].concat());
    assert!(
        matches!(&got[..], [Event::Track(track), Event::Frame(_)] if matches!(&track.config, TrackConfig::Aac(aac) if aac.object_type() == 5))
    );
    assert!(matches!(&events(&mut session, &message(8, 0, &[0x72, 1, 2]))[..], [Event::Unsupported { what }] if what.contains("G.711")));
}

/// Nothing waits for the other medium.
#[test]
fn p45_video_alone_and_audio_alone_begin_at_once() {
    let got = events(&mut publishing(), &[video(0, [0x17, 0, 0, 0, 0], AVCC), video(0, [0x17, 1, 0, 0, 0], &nal(0x65))].concat());
    assert_eq!(frames(&got), [(TrackId::VIDEO, 0, 0, true)]);
    let got = events(&mut publishing(), &[message(8, 0, &[0xaf, 0, 0x12, 0x10]), message(8, 5, &[0xaf, 1, 1])].concat());
    assert_eq!(frames(&got), [(TrackId::AUDIO, 5, 5, true)]);
}

/// Audio and video out of step with each other, each in order: both keep their times.
#[test]
fn p46_tracks_may_be_out_of_step() {
    let bytes = [
        video(0, [0x17, 0, 0, 0, 0], AVCC),
        message(8, 0, &[0xaf, 0, 0x12, 0x10]),
        video(1000, [0x17, 1, 0, 0, 0], &nal(0x65)),
        message(8, 300, &[0xaf, 1, 1]),
        video(1040, [0x27, 1, 0, 0, 0], &nal(0x41)),
        message(8, 323, &[0xaf, 1, 1]),
    ];
    let got = frames(&events(&mut publishing(), &bytes.concat()));
    assert_eq!(got.iter().map(|frame| frame.1).collect::<Vec<_>>(), [1000, 300, 1040, 323]);
}

/// Timecodes, captions and our own stamps travel in SEI: the access unit is not touched.
#[test]
fn p47_sei_stays_in_the_access_unit() {
    let unit = [&[0, 0, 0, 3, 6, 5, 0x80][..], &nal(0x65)].concat();
    let got = events(&mut publishing(), &[video(0, [0x17, 0, 0, 0, 0], AVCC), video(0, [0x17, 1, 0, 0, 0], &unit)].concat());
    assert!(matches!(&got[..], [_, Event::Frame(frame)] if frame.payload[..] == unit));
}

/// What a client says of Enhanced RTMP is answered; a client that says nothing sees nothing of it, nor of reconnect requests.
#[test]
fn p49_p57_capabilities_are_answered_to_those_who_have_them() {
    let said = |is_player: bool| {
        let mut session = Session::new(Config::default(), Instant::ZERO, 1);
        let connect = command(&Outgoing::Connect { app: "live", tc_url: "rtmp://h/live", is_player }, 0);
        session.handle_bytes(Instant::ZERO, &[opening(), connect].concat()).unwrap();
        (drain(&mut session).0, session)
    };
    let (answer, mut session) = said(false);
    assert!(contains(&answer, b"videoFourCcInfoMap") && contains(&answer, b"hvc1") && contains(&answer, b"capsEx"));
    assert!(session.capabilities().can_reconnect() && session.request_reconnect(Some("rtmp://other/live"), "going away"));
    let request = drain(&mut session).0;
    assert!(contains(&request, b"NetConnection.Connect.ReconnectRequest") && contains(&request, b"rtmp://other/live"));
    // A player of ours decodes anything and does not reconnect by itself.
    let (_, mut player) = said(true);
    assert!(player.capabilities().can_decode(Codec::Av1) && !player.request_reconnect(None, "") && drain(&mut player).0.is_empty());

    let mut legacy = Session::new(Config::default(), Instant::ZERO, 1);
    let connect = b"\x02\x00\x07connect\x00\x3f\xf0\0\0\0\0\0\0\x03\x00\x03app\x02\x00\x04live\0\0\x09";
    let mut connect = message(20, 0, connect);
    connect[8] = 0;
    legacy.handle_bytes(Instant::ZERO, &[opening(), connect].concat()).unwrap();
    let answer = drain(&mut legacy).0;
    assert!(contains(&answer, b"Connect.Success") && !contains(&answer, b"FourCc") && !contains(&answer, b"capsEx"));
    assert!(!legacy.request_reconnect(None, "") && drain(&mut legacy).0.is_empty());
}

/// HEVC by FourCC, by codec id 12, and AV1 beside Opus, with a nanosecond offset; unknown ones are named and the connection lives.
#[test]
fn p50_p54_other_codecs_become_tracks_and_frames() {
    let hvcc = hvcc();
    let mut session = publishing();
    let mut bytes = message(9, 0, &[&b"\x90hvc1"[..], &hvcc].concat());
    bytes.extend(message(9, 40, &[&b"\x91hvc1\0\0\x50"[..], &nal(0x26)].concat()));
    bytes.extend(message(9, 80, &[&b"\xa7\x02\x07\xa1\x20\x03hvc1"[..], &nal(0x02)].concat()));
    bytes.extend(message(8, 80, &[&b"\x90Opus"[..], b"OpusHead\x01\x02\0\0\x80\xbb\0\0\0\0\0"].concat()));
    bytes.extend(message(8, 80, b"\x91Opussound"));
    bytes.extend(message(9, 90, b"\x90xyz1what"));
    bytes.extend(message(9, 120, &[&b"\xa3hvc1"[..], &nal(0x02)].concat()));
    let got = events(&mut session, &bytes);
    let codecs: Vec<_> =
        got.iter().filter_map(|event| if let Event::Track(track) = event { Some(track.config.codec()) } else { None }).collect();
    assert_eq!(codecs, [Codec::Hevc, Codec::Opus]);
    assert_eq!(frames(&got)[..2], [(TrackId::VIDEO, 40, 120, true), (TrackId::VIDEO, 80, 80, false)]);
    assert_eq!(frames(&got).len(), 4);
    let ticks: Vec<_> =
        got.iter().filter_map(|event| if let Event::Frame(frame) = event { Some(frame.dts.ticks_90k) } else { None }).collect();
    assert_eq!(ticks[1], 80 * 90 + 45, "half a millisecond later");
    assert_eq!(got.iter().filter(|event| matches!(event, Event::Unsupported { .. })).count(), 1);

    let legacy = [video(0, [0x1c, 0, 0, 0, 0], &hvcc), video(40, [0x1c, 1, 0, 0, 0], &nal(0x26))].concat();
    let got = events(&mut publishing(), &legacy);
    assert!(matches!(&got[..], [Event::Quirk { .. }, Event::Track(track), Event::Frame(_)] if track.config.codec() == Codec::Hevc));
}

/// A second video track of a multitrack publisher has an id of its own, and is told apart from the first.
#[test]
fn p52_tracks_of_a_multitrack_message() {
    let hvcc = hvcc();
    let start = |track: u8| [&b"\x96\x00hvc1"[..], &[track], &hvcc].concat();
    let unit = nal(0x26);
    let both = [&b"\x96\x13hvc1\0"[..], &u24(6), &unit, &[1], &u24(6), &unit].concat();
    let got = events(&mut publishing(), &[message(9, 0, &start(0)), message(9, 0, &start(1)), message(9, 40, &both)].concat());
    let tracks: Vec<_> = got.iter().filter_map(|event| if let Event::Track(track) = event { Some(track.id) } else { None }).collect();
    assert_eq!(tracks, [TrackId::VIDEO, TrackId::video(1).unwrap()]);
    assert_eq!(frames(&got), [(TrackId::VIDEO, 40, 40, true), (TrackId::video(1).unwrap(), 40, 40, true)]);
}

/// x265's record of a 1280x720 stream.
fn hvcc() -> Vec<u8> {
    let sps = [
        0x42, 0x01, 0x01, 0x01, 0x60, 0, 0, 3, 0, 0x90, 0, 0, 3, 0, 0, 3, 0, 0x5d, 0xa0, 0x02, 0x80, 0x80, 0x2d, 0x16, 0x59, 0x59, 0xa4,
        0x93, 0x2b, 0xc0, 0x5a, 0x70, 0x80, 0, 0, 0x1f, 0x48, 0, 3, 0x0d, 0x40, 0x40,
    ];
    let head =
        [1, 1, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 0x5d, 0xf0, 0, 0xfc, 0xfd, 0xf8, 0xf8, 0, 0, 0x0f, 1, 0xa1, 0, 1, 0, sps.len() as u8];
    [&head[..], &sps].concat()
}

/// The client hears a reconnect request, resolves it, and goes on sending.
#[test]
fn p56_a_client_is_asked_to_reconnect() {
    let mut client =
        client::Session::<Vec<u8>, 4>::publish(client::Config::default(), "rtmp://h:1936/live", "s", Instant::ZERO, 1).unwrap();
    let mut answer = vec![0; OPENING_BYTES + PACKET_BYTES];
    answer[0] = 3;
    client.handle_bytes(Instant::ZERO, &answer).unwrap();
    flush(&mut client);
    for (asked, heard) in [
        ("", Some("rtmp://h:1936/live")),
        ("//other/live", Some("rtmp://other/live")),
        ("not a url", None),
        ("", Some("rtmp://h:1936/live")),
    ] {
        client.handle_bytes(Instant::ZERO, &command(&Outgoing::Reconnect { tc_url: asked, description: "" }, 0)).unwrap();
        let expected = heard.map(|url| ClientEvent::ReconnectRequested { tc_url: url.try_into().unwrap() });
        assert_eq!(client.poll_event(), expected);
    }
    assert!(!matches!(client.poll_event(), Some(ClientEvent::Closed)));
}

/// A client that only opens and closes leaves nothing to be done.
#[test]
fn p01_nothing_is_sent_before_the_peer_speaks() {
    let mut session = Session::new(Config::default(), Instant::ZERO, 1);
    assert!(matches!(session.poll_output(), Output::Timeout(Some(_))));
    assert_eq!(session.bytes_received(), 0);
}

/// What needs no answer may come in one piece: C0 C1 C2 and connect. C2 is zeros here, and nothing depends on it.
#[test]
fn p03_p07_the_handshake_and_connect_in_one_piece_with_a_wrong_echo() {
    let mut session = Session::new(Config::default(), Instant::ZERO, 1);
    let connect = command(&Outgoing::Connect { app: "live", tc_url: "rtmp://h/live", is_player: false }, 0);
    session.handle_bytes(Instant::ZERO, &[opening(), connect].concat()).unwrap();
    assert!(contains(&drain(&mut session).0, b"NetConnection.Connect.Success"));
}

/// librtmp reads them in this order (§7.2.1.1).
#[test]
fn p29_window_bandwidth_and_chunk_size_come_before_the_result() {
    let mut session = Session::new(Config::default(), Instant::ZERO, 1);
    let connect = command(&Outgoing::Connect { app: "live", tc_url: "rtmp://h/live", is_player: false }, 0);
    session.handle_bytes(Instant::ZERO, &[opening(), connect].concat()).unwrap();
    let bytes = drain(&mut session).0;
    // Type ids stand behind seven bytes of header; the bodies are of 4, 5 and 4 bytes.
    let messages = &bytes[OPENING_BYTES + PACKET_BYTES..];
    assert_eq!([7, 23, 40, 56].map(|at| messages[at]), [5, 6, 1, 20]);
}
