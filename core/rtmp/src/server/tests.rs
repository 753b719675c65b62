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
        ("FCPublish", "onFCPublish"),
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
    assert!(matches!(&events[..], [Event::PublishRequested { name, query, .. }] if name == "s" && query.get("token") == Some("secret")));
    assert!(!std::format!("{events:?} {session:?}").contains("secret"));
    session.accept_publish();
    session.handle_bytes(Instant::ZERO, &publish).unwrap();
    assert!(contains(&drain(&mut session).0, b"NetStream.Publish.BadName"));
    session.handle_bytes(Instant::ZERO, &command(&Outgoing::DeleteStream { stream_id: 1.0 }, 0)).unwrap();
    assert_eq!(drain(&mut session).1, [Event::Unpublished]);
    session.handle_bytes(Instant::ZERO, &publish).unwrap();
    assert_eq!(drain(&mut session).1.len(), 1);
}

#[test]
fn deadlines_of_a_connection_and_of_a_publisher() {
    let mut session = connected();
    let at = |secs: u64| Instant::from_micros(secs * 1_000_000);
    assert!(session.handle_timeout(at(9)).is_ok());
    assert_eq!(session.handle_timeout(at(10)).unwrap_err().cause, Cause::HandshakeTimeout);
    let start =
        [command(&Outgoing::CreateStream { transaction: 4.0 }, 0), command(&Outgoing::Publish { transaction: 5.0, name: "s" }, 1)].concat();
    session.handle_bytes(at(5), &start).unwrap();
    session.accept_publish();
    assert!(session.handle_timeout(at(34)).is_ok());
    assert_eq!(session.handle_timeout(at(35)).unwrap_err().cause, Cause::IdleTimeout);
}

#[test]
fn a_peer_that_speaks_something_else_is_told_apart() {
    for (first, cause) in [(0x16, Cause::Version(0x16)), (b'G', Cause::Version(b'G')), (6, Cause::Version(6))] {
        let mut session = Session::new(Config::default(), Instant::ZERO, 1);
        assert_eq!(session.handle_bytes(Instant::ZERO, &[first]).unwrap_err().cause, cause);
    }
}

#[test]
fn a_peer_that_only_asks_is_cut_off() {
    let mut session = connected();
    let ping = [2, 0, 0, 0, 0, 0, 6, 4, 0, 0, 0, 0, 0, 6, 1, 2, 3, 4];
    assert_eq!(session.handle_bytes(Instant::ZERO, &ping.repeat(20_000)).unwrap_err().cause, Cause::Unread);
}

#[test]
fn unfinished_messages_have_a_limit_together() {
    let mut session = connected();
    let mut total = 0;
    let mut refused = None;
    session.handle_bytes(Instant::ZERO, &[2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0x10, 0, 0]).unwrap();
    for csid in 8..40_u8 {
        let mut bytes = vec![csid, 0, 0, 0, 0x40, 0, 0, 9, 1, 0, 0, 0];
        bytes.resize(12 + (1 << 20), 0);
        total += 1 << 20;
        if let Err(error) = session.handle_bytes(Instant::ZERO, &bytes) {
            refused = Some(error.cause);
            break;
        }
    }
    assert_eq!(refused, Some(Cause::PartialBytes));
    assert!(total <= 13 << 20);
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
