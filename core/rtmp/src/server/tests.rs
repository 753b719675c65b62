use super::*;
use crate::message::CSID_COMMAND;
use std::vec;

/// C0 C1 C2 as a careless client sends them: the echo is wrong.
pub(crate) fn opening() -> std::vec::Vec<u8> {
    let mut bytes = vec![0; OPENING_BYTES + PACKET_BYTES];
    bytes[0] = 3;
    bytes
}

pub(crate) fn command(outgoing: &Outgoing<'_>, stream_id: u32) -> std::vec::Vec<u8> {
    let mut body = [0; 2048];
    let length = outgoing.encode(&mut body).unwrap();
    let header = crate::chunk::MessageHeader { csid: CSID_COMMAND, timestamp: 0, length: length as u32, type_id: 20, stream_id };
    let mut bytes = vec![];
    crate::chunk::write(&header, [&body[..length], &[]], 128, |part| bytes.extend_from_slice(part));
    bytes
}

pub(crate) fn drain(session: &mut Session) -> (std::vec::Vec<u8>, std::vec::Vec<Event>) {
    let (mut bytes, mut events) = (vec![], vec![]);
    loop {
        match session.poll_output() {
            Output::Transmit(more) => bytes.extend_from_slice(&more),
            Output::Event(event) => events.push(event),
            Output::Timeout(_) => return (bytes, events),
        }
    }
}

pub(crate) fn connected() -> Session {
    let mut session = Session::new(Config::default(), Instant::ZERO, 1);
    // All at once, as a client may send what needs no answer.
    let connect = command(&Outgoing::Connect { app: "live/", tc_url: "rtmp://h/live/", is_player: false }, 0);
    session.handle_bytes(Instant::ZERO, &[opening(), connect].concat()).unwrap();
    let (bytes, _) = drain(&mut session);
    assert_eq!(bytes[0], 3);
    assert!(contains(&bytes, b"NetConnection.Connect.Success"));
    // Window, bandwidth, chunk size, then the result.
    let kinds: std::vec::Vec<u8> = [7, 7 + 16, 7 + 16 + 17].map(|at| bytes[OPENING_BYTES + PACKET_BYTES + at]).to_vec();
    assert_eq!(kinds, [5, 6, 1]);
    session
}

pub(crate) fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

#[test]
fn the_historical_commands_are_answered() {
    let mut session = connected();
    for (name, answer) in [
        ("releaseStream", "_result"),
        ("FCPublish", "_result"),
        ("FCUnpublish", "onFCUnpublish"),
        ("_checkbw", "_result"),
        ("notKnown", "_error"),
    ] {
        session.handle_bytes(Instant::ZERO, &command(&Outgoing::Named { command: name, transaction: 2.0, name: "s" }, 0)).unwrap();
        assert!(contains(&drain(&mut session).0, answer.as_bytes()), "{name}");
    }
    for name in ["pause", "notKnown"] {
        session.handle_bytes(Instant::ZERO, &command(&Outgoing::Named { command: name, transaction: 0.0, name: "s" }, 0)).unwrap();
        assert!(drain(&mut session).0.is_empty(), "{name}");
    }
}

/// FMLE's order: the stream is named, created, asked for. Nobody has checked its token until it is accepted.
#[test]
fn a_stream_that_is_only_announced_is_not_said_to_have_begun() {
    let announce = command(&Outgoing::Named { command: "FCPublish", transaction: 2.0, name: "s" }, 0);
    let ask =
        [command(&Outgoing::CreateStream { transaction: 4.0 }, 0), command(&Outgoing::Publish { transaction: 5.0, name: "s" }, 1)].concat();
    let begun = |bytes: &[u8]| contains(bytes, b"NetStream.Publish.Start");
    let mut refused = connected();
    refused.handle_bytes(Instant::ZERO, &[announce.clone(), ask.clone()].concat()).unwrap();
    assert!(!begun(&drain(&mut refused).0));
    refused.reject_publish("NetStream.Publish.BadName", "no");
    assert!(!begun(&drain(&mut refused).0));
    // Announced before, or after it was asked for.
    for order in [[announce.clone(), ask.clone()], [ask, announce]] {
        let mut session = connected();
        session.handle_bytes(Instant::ZERO, &order.concat()).unwrap();
        drain(&mut session);
        session.accept_publish();
        let answer = drain(&mut session).0;
        assert!(begun(&answer) && contains(&answer, b"onFCPublish"));
    }
}

#[test]
fn commands_out_of_order_are_refused() {
    let publish = command(&Outgoing::Publish { transaction: 5.0, name: "s" }, 1);
    let mut session = Session::new(Config::default(), Instant::ZERO, 1);
    let error = session.handle_bytes(Instant::ZERO, &[opening(), publish.clone()].concat()).unwrap_err();
    assert_eq!(error.cause, Cause::OutOfOrder("a command before connect"));
    // Without createStream it is odd and harmless.
    let mut session = connected();
    session.handle_bytes(Instant::ZERO, &publish).unwrap();
    assert!(matches!(&drain(&mut session).1[..], [Event::Quirk { .. }, Event::PublishRequested { .. }]));
}

#[test]
fn a_connection_carries_one_stream_and_may_begin_another_after_it() {
    let mut session = connected();
    let create = command(&Outgoing::CreateStream { transaction: 4.0 }, 0);
    let publish = command(&Outgoing::Publish { transaction: 5.0, name: "s?token=secret" }, 1);
    session.handle_bytes(Instant::ZERO, &[create, publish.clone()].concat()).unwrap();
    let (_, events) = drain(&mut session);
    assert!(
        matches!(&events[..], [Event::Quirk { .. }, Event::PublishRequested { name, query, .. }] if name == "s" && query.get("token") == Some("secret"))
    );
    assert!(!std::format!("{events:?} {session:?}").contains("secret"));
    session.accept_publish();
    session.handle_bytes(Instant::ZERO, &publish).unwrap();
    assert!(contains(&drain(&mut session).0, b"NetStream.Publish.BadName"));
    session.handle_bytes(Instant::ZERO, &command(&Outgoing::DeleteStream { stream_id: 1.0 }, 0)).unwrap();
    assert_eq!(drain(&mut session).1, [Event::Unpublished]);
    session.handle_bytes(Instant::ZERO, &publish).unwrap();
    assert_eq!(drain(&mut session).1.len(), 1);
}

fn at(secs: u64) -> Instant {
    Instant::from_micros(secs * 1_000_000)
}

/// createStream and publish.
fn publish() -> std::vec::Vec<u8> {
    [command(&Outgoing::CreateStream { transaction: 4.0 }, 0), command(&Outgoing::Publish { transaction: 5.0, name: "s" }, 1)].concat()
}

fn publishing(config: Config) -> Session {
    let mut session = Session::new(config, Instant::ZERO, 1);
    let connect = command(&Outgoing::Connect { app: "live", tc_url: "rtmp://h/live", is_player: false }, 0);
    session.handle_bytes(Instant::ZERO, &[opening(), connect, publish()].concat()).unwrap();
    session.accept_publish();
    drain(&mut session);
    session
}

#[test]
fn each_phase_of_a_connection_has_its_deadline() {
    let config = || Config { handshake_timeout: Duration::from_secs(4), command_timeout: Duration::from_secs(7), ..Config::default() };
    let mut session = Session::new(config(), Instant::ZERO, 1);
    assert_eq!(session.poll_output(), Output::Timeout(Some(at(4))));
    // A byte a second is not a handshake.
    for second in 0..4 {
        session.handle_bytes(at(second), &[3]).unwrap();
    }
    assert!(session.handle_timeout(at(3)).is_ok());
    assert_eq!(session.handle_timeout(at(4)).unwrap_err().cause, Cause::HandshakeTimeout);
    // S0 S1 S2 are out, C2 does not come.
    let mut session = Session::new(config(), Instant::ZERO, 1);
    session.handle_bytes(at(3), &opening()[..OPENING_BYTES]).unwrap();
    assert_eq!(session.handle_timeout(at(4)).unwrap_err().cause, Cause::HandshakeTimeout);
    // The commands' time begins where the handshake ends.
    session.handle_bytes(at(3), &opening()[OPENING_BYTES..]).unwrap();
    drain(&mut session);
    assert_eq!(session.poll_output(), Output::Timeout(Some(at(10))));
    assert!(session.handle_timeout(at(9)).is_ok());
    assert_eq!(session.handle_timeout(at(10)).unwrap_err().cause, Cause::CommandTimeout);
}

#[test]
fn ending_what_it_does_not_have_gives_a_peer_no_more_time() {
    let mut session = connected();
    for second in 1..10 {
        session.handle_bytes(at(second), &command(&Outgoing::DeleteStream { stream_id: 1.0 }, 0)).unwrap();
    }
    assert_eq!(session.handle_timeout(at(10)).unwrap_err().cause, Cause::CommandTimeout);
}

#[test]
fn a_publisher_must_send_enough_within_the_idle_time() {
    let mut session = publishing(Config::default());
    assert!(session.handle_timeout(at(29)).is_ok());
    // Audio of 100 bytes each ten seconds: alive until the idle time has passed since there was a kilobyte.
    let trickle = [&[4, 0, 0, 0, 0, 0, 100, 8, 1, 0, 0, 0][..], &[0; 100]].concat();
    for ten in 1..3 {
        session.handle_bytes(at(ten * 10), &trickle).unwrap();
        assert!(session.handle_timeout(at(ten * 10)).is_ok());
    }
    assert_eq!(session.handle_timeout(at(30)).unwrap_err().cause, Cause::IdleTimeout);
    session.handle_bytes(at(29), &trickle.repeat(9)).unwrap();
    assert!(session.handle_timeout(at(58)).is_ok());
    assert_eq!(session.handle_timeout(at(59)).unwrap_err().cause, Cause::IdleTimeout);
}

#[test]
fn after_a_stream_the_wait_for_the_next_begins_anew() {
    let mut session = publishing(Config::default());
    session.handle_bytes(at(20), &command(&Outgoing::DeleteStream { stream_id: 1.0 }, 0)).unwrap();
    assert!(session.handle_timeout(at(29)).is_ok());
    assert_eq!(session.handle_timeout(at(30)).unwrap_err().cause, Cause::CommandTimeout);
}

#[test]
fn a_peer_that_speaks_something_else_is_told_apart() {
    for (first, cause) in [(0x16, Cause::Version(0x16)), (b'G', Cause::Version(b'G')), (6, Cause::Version(6))] {
        let mut session = Session::new(Config::default(), Instant::ZERO, 1);
        assert_eq!(session.handle_bytes(Instant::ZERO, &[first]).unwrap_err().cause, cause);
    }
}

/// A peer that asks and does not read. Under Miri, where each answer is dear, most of what may wait for it waits already.
fn unread() -> Session {
    let mut session = connected();
    if cfg!(miri) {
        session.link.put(&vec![0; 255 * 1024]);
    }
    session
}

#[test]
fn a_peer_that_only_asks_is_cut_off() {
    let mut session = unread();
    let ping = [2, 0, 0, 0, 0, 0, 6, 4, 0, 0, 0, 0, 0, 6, 1, 2, 3, 4];
    assert_eq!(session.handle_bytes(Instant::ZERO, &ping.repeat(20_000)).unwrap_err().cause, Cause::Unread);
}

/// Begins messages of 4 MiB on one chunk stream after another, `step` bytes of each, and says how many bytes were taken before which end.
fn leave_unfinished(session: &mut Session, step: usize) -> (usize, Cause) {
    // Chunks as long as a step: the next one's header is a header.
    let size = u32::try_from(step).unwrap().to_be_bytes();
    session.handle_bytes(Instant::ZERO, &[&[2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0][..], &size].concat()).unwrap();
    let mut total = 0;
    for csid in 8..63_u8 {
        // Not `resize`: that is a loop, and a megabyte of it is minutes under Miri.
        let bytes = [&[csid, 0, 0, 0, 0x40, 0, 0, 9, 1, 0, 0, 0][..], &vec![0; step]].concat();
        if let Err(error) = session.handle_bytes(Instant::ZERO, &bytes) {
            return (total, error.cause);
        }
        total += step;
    }
    panic!("{total} bytes were taken");
}

#[test]
fn unfinished_messages_have_a_limit_together() {
    assert_eq!(leave_unfinished(&mut publishing(Config::default()), 1 << 20), (12 << 20, Cause::PartialBytes));
    let config = Config { partial_bytes_max: 3 << 20, ..Config::default() };
    assert_eq!(leave_unfinished(&mut publishing(config), 1 << 20), (3 << 20, Cause::PartialBytes));
}

#[test]
fn of_a_peer_that_was_not_let_in_little_is_kept() {
    assert_eq!(leave_unfinished(&mut connected(), 16 << 10), (64 << 10, Cause::PartialBytes));
}

#[test]
fn the_longest_message_is_a_setting() {
    let config = Config { message_bytes_max: 1000, ..Config::default() };
    let header = |length: u32| [&[6, 0, 0, 0][..], &length.to_be_bytes()[1..], &[9, 1, 0, 0, 0]].concat();
    assert!(publishing(config.clone()).handle_bytes(Instant::ZERO, &header(1000)).is_ok());
    let error = publishing(config).handle_bytes(Instant::ZERO, &header(1001)).unwrap_err();
    assert_eq!(error.cause, Cause::MessageLength(1001));
}

#[test]
fn more_chunk_streams_than_anyone_needs_are_refused() {
    let mut session = publishing(Config::default());
    let refused = (0..100_u8).find_map(|number| {
        let bytes = [0, number, 0, 0, 0, 0, 0, 0, 18, 1, 0, 0, 0];
        session.handle_bytes(Instant::ZERO, &bytes).err().map(|error| (number, error.cause))
    });
    // One carried the commands.
    assert_eq!(refused, Some((63, Cause::ChunkStreams)));
}

#[test]
fn a_silly_acknowledgement_window_is_answered_once_a_read() {
    let mut session = publishing(Config::default());
    session.handle_bytes(Instant::ZERO, &[2, 0, 0, 0, 0, 0, 4, 5, 0, 0, 0, 0, 0, 0, 0, 1]).unwrap();
    drain(&mut session);
    let data = [&[2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 1, 0, 0][..], &[6, 0, 0, 0, 0, 0x80, 0, 9, 1, 0, 0, 0], &[0; 0x8000]].concat();
    session.handle_bytes(Instant::ZERO, &data).unwrap();
    assert_eq!(drain(&mut session).0.len(), 16, "one acknowledgement for 32 KiB");
    session.handle_bytes(Instant::ZERO, &[0x86, 0, 0, 0]).unwrap();
    assert!(drain(&mut session).0.is_empty(), "and none for a few bytes");
}

#[test]
fn a_peer_that_asks_and_does_not_read_is_cut_off_with_commands_too() {
    let mut session = unread();
    let ask = command(&Outgoing::Named { command: "_checkbw", transaction: 2.0, name: "s" }, 0);
    assert_eq!(session.handle_bytes(Instant::ZERO, &ask.repeat(20_000)).unwrap_err().cause, Cause::Unread);
}

#[test]
fn a_stream_of_another_codec_is_reported_once_and_lives() {
    let mut session = connected();
    let start =
        [command(&Outgoing::CreateStream { transaction: 4.0 }, 0), command(&Outgoing::Publish { transaction: 5.0, name: "s" }, 1)].concat();
    session.handle_bytes(Instant::ZERO, &start).unwrap();
    session.accept_publish();
    drain(&mut session);
    let unknown = [6, 0, 0, 0, 0, 0, 5, 9, 1, 0, 0, 0, 0x90, b'x', b'y', b'z', b'1'];
    session.handle_bytes(Instant::ZERO, &[unknown, unknown].concat()).unwrap();
    assert!(matches!(&drain(&mut session).1[..], [Event::Unsupported { .. }]));
}

#[test]
fn aac_without_a_configuration_and_with_one_of_latm_are_announced_as_what_they_are() {
    let message = |at_millis: u32, body: &[u8]| {
        let header = crate::chunk::MessageHeader { csid: 6, timestamp: at_millis, length: body.len() as u32, type_id: 8, stream_id: 1 };
        let mut bytes = vec![];
        crate::chunk::write(&header, [body, &[]], 128, |part| bytes.extend_from_slice(part));
        bytes
    };
    let configs = |session: &mut Session| {
        let tracks = drain(session).1.into_iter().filter_map(|event| if let Event::Track(track) = event { Some(track) } else { None });
        tracks.map(|track| track.config.as_bytes().to_vec()).collect::<std::vec::Vec<_>>()
    };
    let mut session = publishing(Config::default());
    session.handle_bytes(Instant::ZERO, &message(0, &[0xaf, 0, 0x40, 0x00, 0x24, 0x10, 0x3f, 0xc0])).unwrap();
    assert_eq!(configs(&mut session), [[0x12, 0x08]], "LATM's StreamMuxConfig");

    let mut session = publishing(Config::default());
    for at in 0..30 {
        session.handle_bytes(Instant::ZERO, &message(at * 64, &[0xaf, 1, 0x01, 7, 7])).unwrap();
    }
    assert_eq!(configs(&mut session), [[0x14, 0x08]], "16,000 Hz, mono, by 1,024 samples in 64 ms");
}

/// Of `bytes`, at `at_millis`: a video message of the stream.
fn video(at_millis: u32, body: &[u8]) -> std::vec::Vec<u8> {
    let header = crate::chunk::MessageHeader { csid: 6, timestamp: at_millis, length: body.len() as u32, type_id: 9, stream_id: 1 };
    let mut bytes = vec![];
    crate::chunk::write(&header, [body, &[]], 128, |part| bytes.extend_from_slice(part));
    bytes
}

/// Encoders on chips hand each slice on as they have it.
#[test]
fn slices_in_messages_of_their_own_are_one_picture_again() {
    let mut session = publishing(Config::default());
    let header = [&[0x17, 0, 0, 0, 0][..], crate::conformance_tests::AVCC].concat();
    session.handle_bytes(Instant::ZERO, &video(0, &header)).unwrap();
    // Three slices a picture: `first_mb_in_slice` is 0, 1 and 2. The last one is marked as no key frame, as the second and third often are.
    let slice = |is_key: bool, first: u8, mark: u8| {
        let nal = if is_key { 0x65 } else { 0x41 };
        [mark | 7, 1, 0, 0, 0, 0, 0, 0, 3, nal, first, 0x84]
    };
    for picture in 0..3 {
        let is_key = picture == 0;
        for (at, first) in [0x88, 0x48, 0x68].into_iter().enumerate() {
            let bytes = video(picture * 40, &slice(is_key, first, if is_key && at == 0 { 0x10 } else { 0x20 }));
            session.handle_bytes(Instant::ZERO, &bytes).unwrap();
        }
    }
    let frames = |session: &mut Session| {
        let frames = drain(session).1.into_iter().filter_map(|event| if let Event::Frame(frame) = event { Some(frame) } else { None });
        frames.map(|frame| (frame.dts.as_millis(), frame.is_keyframe, frame.payload.len() / 7)).collect::<std::vec::Vec<_>>()
    };
    // The first slice of all has gone out before anything could tell.
    assert_eq!(frames(&mut session), [(0, true, 1), (0, true, 3), (40, false, 3)]);
    assert!(matches!(session.poll_output(), Output::Timeout(Some(at)) if at == Instant::ZERO + SLICES_WAIT));
    session.handle_timeout(Instant::ZERO + SLICES_WAIT).unwrap();
    assert_eq!(frames(&mut session), [(80, false, 3)], "nothing follows");
    for (at, first) in [(120, 0x88), (120, 0x48)] {
        session.handle_bytes(at_millis(at), &video(at, &slice(false, first, 0x20))).unwrap();
    }
    assert_eq!(frames(&mut session), []);
    let end = command(&Outgoing::Named { command: "closeStream", transaction: 0.0, name: "s" }, 1);
    session.handle_bytes(at_millis(200), &end).unwrap();
    assert_eq!(frames(&mut session), [(120, false, 2)], "the stream is over");
}

fn at_millis(millis: u32) -> Instant {
    Instant::from_micros(u64::from(millis) * 1_000)
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes: std::vec::Vec<u8>, is_publishing: bool) {
        let mut session = connected();
        if is_publishing {
            let start = [command(&Outgoing::CreateStream { transaction: 4.0 }, 0), command(&Outgoing::Publish { transaction: 5.0, name: "s" }, 1)].concat();
            session.handle_bytes(Instant::ZERO, &start).unwrap();
            session.accept_publish();
        }
        let _ = session.handle_bytes(Instant::ZERO, &bytes);
        drain(&mut session);
    }

    #[test]
    fn any_media_is_read_without_a_panic(bodies in proptest::collection::vec((8_u8..10, proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40)), 0..10)) {
        let mut demuxer = Demuxer::new();
        for (kind, mut body) in bodies {
            if let Some(first) = body.first_mut() {
                *first = if kind == 8 { 0xaf } else { 0x17 };
            }
            let (body, mut out) = (Bytes::from(body), VecDeque::<Event>::new());
            if kind == 8 { demuxer.audio(0, &body, &mut out) } else { demuxer.video(0, &body, &mut out) }
        }
    }
}
