//! Sessions back to back in virtual time: what one gives to write, the other reads in pieces of every size.

use crate::client::{self, Config, Event};
use crate::player;
use crate::server::{self, Output, shared};
use crate::url::RtmpUrl;
use bytes::Bytes;
use core::time::Duration;
use sightline_media::{CaptureMark, Codec, Frame, Instant, MediaTime, Track, TrackConfig, TrackId, WallTime, aac, avc};
use std::string::ToString;
use std::vec;
use std::vec::Vec;

type Client = client::Session<Vec<u8>, 4>;

const SPS: [u8; 24] = [0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0, 0, 3, 0, 4, 0, 0, 3, 0, 0xc8, 0x3c];
const PPS: [u8; 6] = [0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];

fn video_track() -> Track {
    Track { id: TrackId::VIDEO, config: TrackConfig::H264(avc::DecoderConfig::from_sets(&SPS, &PPS).unwrap()) }
}

fn audio_track() -> Track {
    Track { id: TrackId::AUDIO, config: TrackConfig::Aac(aac::AudioConfig::parse(&[0x12, 0x10]).unwrap()) }
}

fn frame(track: TrackId, millis: i64, length: usize) -> Frame<Vec<u8>> {
    let mut payload = u32::try_from(length).unwrap().to_be_bytes().to_vec();
    payload.push(0x65);
    payload.resize(4 + length, 7);
    let is_video = track == TrackId::VIDEO;
    let dts = MediaTime::from_millis(millis);
    Frame { track, dts, pts: dts + MediaTime::from_millis(if is_video { 80 } else { 0 }), is_keyframe: true, is_disposable: false, payload }
}

struct Pair {
    client: Client,
    server: server::Session,
    now: Instant,
    step: usize,
    from_client: Vec<Event<Vec<u8>>>,
    from_server: Vec<server::Event>,
    accepts: bool,
}

impl Pair {
    fn new(step: usize, config: Config) -> Self {
        let client = Client::publish(config, "rtmp://h/live", "cam?token=t0k3n", Instant::ZERO, 1).unwrap();
        let apps = vec!["live".to_string()];
        let server = server::Session::new(server::Config { apps, ..server::Config::default() }, Instant::ZERO, 2);
        Self { client, server, now: Instant::ZERO, step, from_client: Vec::new(), from_server: Vec::new(), accepts: true }
    }

    /// Moves bytes both ways until neither has any.
    fn run(&mut self) {
        loop {
            let mut moved = false;
            let [first, second] = self.client.pending();
            assert!(!first.is_empty() || second.is_empty(), "who looks at the first slice alone would stop here for ever");
            let pending = [first, second].concat();
            let taken = pending.len().min(self.step);
            if taken > 0 {
                self.client.consumed(taken);
                self.server.handle_bytes(self.now, &pending[..taken]).unwrap();
                moved = true;
            }
            loop {
                match self.server.poll_output() {
                    Output::Transmit(bytes) => {
                        for piece in bytes.chunks(self.step) {
                            self.client.handle_bytes(self.now, piece).unwrap();
                        }
                        moved = true;
                    }
                    Output::Event(event) => {
                        if let server::Event::PublishRequested { .. } = event {
                            if self.accepts {
                                self.server.accept_publish();
                            } else {
                                self.server.reject_publish("NetStream.Publish.BadName", "the token has expired");
                            }
                        }
                        self.from_server.push(event);
                    }
                    Output::Timeout(_) => break,
                }
            }
            while let Some(event) = self.client.poll_event() {
                self.from_client.push(event);
            }
            self.now += Duration::from_millis(1);
            if !moved {
                return;
            }
        }
    }

    fn frames(&self) -> Vec<Frame<Vec<u8>>> {
        let frames =
            self.from_server.iter().filter_map(|event| if let server::Event::Frame(frame) = event { Some(frame.clone()) } else { None });
        frames.map(|frame| frame.map(|payload| payload.to_vec())).collect()
    }
}

#[test]
fn split_at_every_byte_a_stream_arrives_as_it_was_sent() {
    // Single bytes are tens of thousands of calls: under Miri, pieces that are no chunk's length, and all at once.
    let (steps, chunk_sizes, large) = if cfg!(miri) {
        (&[29, 1_000_000][..], &[128, 65_536][..], 900)
    } else {
        (&[1, 3, 100, 1_000_000][..], &[128, 4096, 65_536][..], 9000)
    };
    for &step in steps {
        for &chunk_size in chunk_sizes {
            let mut pair = Pair::new(step, Config { chunk_size, ..Config::default() });
            pair.client.set_track(video_track());
            pair.client.set_track(audio_track());
            pair.run();
            assert!(pair.client.is_publishing());
            let sent = [
                frame(TrackId::VIDEO, 5000, large),
                frame(TrackId::AUDIO, 5010, 100),
                frame(TrackId::VIDEO, 5040, 1),
                frame(TrackId::VIDEO, 5080, 4091),
            ];
            for frame in sent.clone() {
                pair.client.send_frame(frame).unwrap();
            }
            pair.run();
            assert_eq!(pair.client.queue_len(), 0);
            let [server::Event::PublishRequested { app, name, query, .. }, ..] = &pair.from_server[..] else { panic!("no request") };
            let request = Some((app.as_str(), name.as_str(), query.get("token")));
            assert_eq!(request, Some(("live", "cam", Some("t0k3n"))));
            let rebased: Vec<_> =
                sent.iter().map(|frame| Frame { dts: frame.dts - sent[0].dts, pts: frame.pts - sent[0].dts, ..frame.clone() }).collect();
            assert_eq!(pair.frames(), rebased, "step {step}, chunks of {chunk_size}");
            let given_back: Vec<_> = pair
                .from_client
                .iter()
                .filter_map(|event| if let Event::FrameSent(frame) = event { Some(frame.clone()) } else { None })
                .collect();
            assert_eq!(given_back, sent);
            assert!(pair.from_server.iter().any(|event| matches!(event, server::Event::Metadata(_))));
            pair.client.close();
            pair.run();
            assert_eq!(pair.from_server.last(), Some(&server::Event::Unpublished));
            assert_eq!(pair.client.bytes_sent(), pair.server.bytes_received());
        }
    }
}

#[test]
fn a_marked_picture_arrives_with_its_mark_behind_its_delimiter_and_its_slices_as_they_were() {
    let mark = CaptureMark { captured: WallTime::from_unix_micros(1_795_000_000_000_000), clock_error_ms: Some(3), number: 9 };
    let slice = |bytes: usize| [&u32::try_from(bytes).unwrap().to_be_bytes()[..], &[0x65], &vec![0x88; bytes - 1]].concat();
    let delimited = [&[0, 0, 0, 2, 9, 0xf0][..], &slice(5000)].concat();
    for step in [1, 7, 1_000_000] {
        for chunk_size in [128, 4096] {
            let mut pair = Pair::new(step, Config { chunk_size, ..Config::default() });
            pair.client.set_track(video_track());
            pair.run();
            let picture = |at: i64, payload: &[u8]| frame(TrackId::VIDEO, at, 1).map(|_| payload.to_vec());
            let pictures = [picture(0, &delimited), picture(40, &slice(4091)), picture(80, &slice(1))];
            for picture in pictures.clone() {
                pair.client.send_marked(picture, Some(mark)).unwrap();
                pair.run();
            }
            let come = pair.frames();
            let kinds = |payload: &[u8]| sightline_media::avc::NalUnits::new(payload, 4).map(|nal| nal[0] & 0x1f).collect::<Vec<_>>();
            assert_eq!(come.iter().map(|frame| kinds(&frame.payload)).collect::<Vec<_>>(), [vec![9, 6, 5], vec![6, 5], vec![6, 5]]);
            assert!(come.iter().all(|frame| CaptureMark::find(sightline_media::Codec::H264, &frame.payload) == Some(mark)));
            assert!(come[0].payload.ends_with(&slice(5000)) && come[1].payload.ends_with(&slice(4091)));
            assert_eq!(pair.client.bytes_sent(), pair.server.bytes_received());
        }
    }
}

#[test]
fn padding_before_the_publish_says_nothing_to_the_server() {
    for step in [if cfg!(miri) { 97 } else { 1 }, 700, 1_000_000] {
        let mut pair = Pair::new(step, Config { waits_connected: true, ..Config::default() });
        pair.client.pad(10_000);
        pair.run();
        assert!(pair.from_client == [Event::Connected] && pair.from_server.is_empty() && pair.client.is_connected());
        let before = pair.server.bytes_received();
        pair.client.pad(10_000);
        pair.run();
        assert_eq!(pair.server.bytes_received() - before, 10 * 1036);
        // In the middle of a message, too, the stream is asked for behind it.
        pair.client.pad(5000);
        let taken = pair.client.pending()[0].len().min(100);
        let piece = pair.client.pending()[0][..taken].to_vec();
        pair.client.consumed(taken);
        pair.server.handle_bytes(pair.now, &piece).unwrap();
        pair.client.go_on(pair.now);
        pair.client.set_track(video_track());
        pair.client.send_frame(frame(TrackId::VIDEO, 0, 100)).unwrap();
        pair.run();
        assert!(pair.client.is_publishing() && pair.frames().len() == 1);
        pair.client.pad(5000);
        assert_eq!(pair.client.pending(), [&[][..], &[]], "a stream is not padded");
    }
    let mut small = Pair::new(1000, Config { waits_connected: true, chunk_size: 512, ..Config::default() });
    small.run();
    small.client.pad(10_000);
    assert!(small.client.pending()[0].is_empty(), "a message has to fit a chunk");
}

#[test]
fn a_link_that_takes_just_the_header_sees_that_there_is_more() {
    let mut pair = Pair::new(1_000_000, Config::default());
    pair.client.set_track(video_track());
    pair.run();
    pair.client.send_frame(frame(TrackId::VIDEO, 0, 10_000)).unwrap();
    let mut wire = Vec::new();
    loop {
        let [first, second] = pair.client.pending();
        if first.is_empty() {
            assert!(second.is_empty(), "{} bytes behind nothing", second.len());
            break;
        }
        wire.extend_from_slice(first);
        let taken = first.len();
        pair.client.consumed(taken);
    }
    assert!(wire.len() > 10_000 && pair.client.queue_len() == 0);
}

#[test]
fn frames_may_wait_before_the_server_accepts_and_the_queue_has_a_limit() {
    let mut pair = Pair::new(1000, Config::default());
    for at in 0..4 {
        pair.client.send_frame(frame(TrackId::VIDEO, at * 40, 50)).unwrap();
    }
    assert_eq!(pair.client.send_frame(frame(TrackId::VIDEO, 200, 50)).unwrap_err().0.dts.as_millis(), 200);
    pair.client.set_track(video_track());
    pair.run();
    assert_eq!(pair.frames().len(), 4);
}

#[test]
fn a_sequence_header_goes_out_again_when_it_changes() {
    let mut pair = Pair::new(1000, Config::default());
    pair.client.set_track(video_track());
    pair.client.send_frame(frame(TrackId::VIDEO, 0, 50)).unwrap();
    pair.run();
    pair.client.set_track(video_track());
    pair.client.send_frame(frame(TrackId::VIDEO, 40, 50)).unwrap();
    pair.run();
    let mut other = SPS;
    other[3] = 0x1f;
    let changed = Track { id: TrackId::VIDEO, config: TrackConfig::H264(avc::DecoderConfig::from_sets(&other, &PPS).unwrap()) };
    pair.client.set_track(changed.clone());
    pair.client.send_frame(frame(TrackId::VIDEO, 80, 50)).unwrap();
    pair.run();
    let tracks: Vec<_> = pair
        .from_server
        .iter()
        .filter_map(|event| if let server::Event::Track(track) = event { Some((**track).clone()) } else { None })
        .collect();
    assert_eq!(tracks, [video_track(), changed]);
    assert_eq!(pair.frames().len(), 3);
}

#[test]
fn a_refused_publish_says_why() {
    let mut pair = Pair::new(7, Config::default());
    pair.accepts = false;
    pair.run();
    let Some(Event::Rejected { code, description }) = pair.from_client.last() else { panic!("{:?}", pair.from_client) };
    assert_eq!((code.as_str(), description.as_str()), ("NetStream.Publish.BadName", "NetStream.Publish.BadName: the token has expired"));
    assert_eq!(pair.client.poll_timeout(), None);
}

/// E-RTMP v2: the client sends HEVC by its FourCC to a server that has said that it takes it.
#[test]
fn hevc_arrives_as_it_was_sent_at_a_server_that_takes_it() {
    let codes: Vec<u8> = [
        &[0x40, 1, 0x0c, 1, 0xff, 0xff, 1, 0x60, 0, 0, 3, 0, 0x90, 0, 0, 3, 0, 0, 3, 0, 0x5d, 0x95, 0x98, 9][..],
        &[
            0x42, 1, 1, 1, 0x60, 0, 0, 3, 0, 0x90, 0, 0, 3, 0, 0, 3, 0, 0x5d, 0xa0, 2, 0x80, 0x80, 0x2d, 0x16, 0x59, 0x59, 0xa4, 0x93,
            0x2b, 0xc0, 0x5a, 0x70, 0x80, 0, 0, 0x1f, 0x48, 0, 3, 0x0d, 0x40, 0x40,
        ],
        &[0x44, 1, 0xc1, 0x72, 0xb4, 0x62, 0x40],
        &[0x26, 1, 0xaf, 9],
    ]
    .into_iter()
    .flat_map(|unit| [&[0, 0, 0, 1][..], unit].concat())
    .collect();
    let taken = sightline_media::intake::Intake::new(sightline_media::intake::Family::Hevc).take(&codes, true).unwrap();
    let track = Track { id: TrackId::VIDEO, config: taken.config.unwrap() };
    let mut pair = Pair::new(1000, Config::default());
    pair.client.set_track(track.clone());
    assert!(!pair.client.is_taken(sightline_media::Codec::Hevc), "it has not said so yet");
    pair.run();
    assert!(pair.client.is_taken(sightline_media::Codec::Hevc) && !pair.client.is_taken(sightline_media::Codec::Av1));
    let payload = taken.payload.unwrap();
    let dts = MediaTime::from_millis(40);
    let sent = Frame { track: TrackId::VIDEO, dts, pts: dts + dts, is_keyframe: true, is_disposable: false, payload };
    pair.client.send_frame(sent.clone()).unwrap();
    pair.run();
    let told = pair.from_server.iter().find_map(|event| if let server::Event::Track(track) = event { Some(track) } else { None });
    assert_eq!(told.map(|told| &**told), Some(&track));
    assert_eq!(pair.frames(), [Frame { dts: MediaTime::ZERO, pts: dts, ..sent }]);
}

#[test]
fn a_refused_application_says_why() {
    let mut pair = Pair::new(1000, Config::default());
    pair.client = Client::publish(Config::default(), "rtmp://h/other", "cam", Instant::ZERO, 1).unwrap();
    pair.run();
    assert!(matches!(&pair.from_client[..], [Event::Rejected { code, .. }] if code == "NetConnection.Connect.Rejected"));
    let [server::Event::AppRefused { app, hint }] = &pair.from_server[..] else { panic!("{:?}", pair.from_server) };
    assert_eq!((app.as_str(), hint.contains("this server has live")), ("other", true), "{hint}");
}

#[test]
fn a_publisher_that_is_taken_over_hears_it() {
    let mut pair = Pair::new(1000, Config::default());
    pair.run();
    pair.server.end_publish("NetStream.Publish.BadName", "a newer publisher took over");
    pair.run();
    let [Event::Publishing, Event::Rejected { code, .. }] = &pair.from_client[..] else { panic!("{:?}", pair.from_client) };
    assert_eq!(code.as_str(), "NetStream.Publish.BadName", "it is told why: to come back with the same name would be no use");
}

#[test]
fn acknowledgements_come_at_each_window_and_pings_are_answered_in_between() {
    let mut pair = Pair::new(1500, Config { window_ack_size: 8192, ..Config::default() });
    pair.client.set_track(video_track());
    pair.run();
    for at in 0..4 {
        pair.client.send_frame(frame(TrackId::VIDEO, at * 40, 20_000)).unwrap();
    }
    // Metadata and sequence header first, then the frame.
    while pair.client.pending()[1].is_empty() {
        pair.client.consumed(pair.client.pending()[0].len());
    }
    // Half a chunk is out when the ping comes: the answer waits for the chunk's end.
    pair.client.consumed(2000);
    pair.client.handle_bytes(pair.now, &[2, 0, 0, 0, 0, 0, 6, 4, 0, 0, 0, 0, 0, 6, 1, 2, 3, 4]).unwrap();
    let rest = pair.client.pending().concat();
    assert!(rest.len() > 2000 && rest.iter().all(|&byte| byte == 7));
    pair.client.consumed(rest.len());
    let [answer, payload] = pair.client.pending();
    assert_eq!((&answer[12..], payload), (&[0, 7, 1, 2, 3, 4][..], &[][..]));
    pair.client.consumed(answer.len());
    assert_eq!(pair.client.pending()[0], [0xc6], "the frame goes on");
    // The server never saw the first bytes: begin anew to count acknowledgements.
    let mut pair = Pair::new(1500, Config { window_ack_size: 8192, ..Config::default() });
    pair.client.set_track(video_track());
    pair.run();
    for at in 0..4 {
        pair.client.send_frame(frame(TrackId::VIDEO, at * 40, 20_000)).unwrap();
    }
    pair.run();
    let acknowledged: Vec<u64> =
        pair.from_client.iter().filter_map(|event| if let Event::Acknowledged { bytes } = event { Some(*bytes) } else { None }).collect();
    assert!(acknowledged.len() >= 9, "{acknowledged:?}");
    assert!(acknowledged.windows(2).all(|two| two[1] - two[0] >= 8192 && two[1] - two[0] < 8192 + 1500), "{acknowledged:?}");
}

#[test]
fn acknowledgements_count_past_32_bits() {
    let mut pair = Pair::new(1500, Config::default());
    pair.run();
    let mut heard = Vec::new();
    for total in [0x7000_0000, 0xe000_0000, 0x1000_0000, 0x0fff_ffff_u32] {
        let mut message = vec![2, 0, 0, 0, 0, 0, 4, 3, 0, 0, 0, 0];
        message.extend_from_slice(&total.to_be_bytes());
        pair.client.handle_bytes(pair.now, &message).unwrap();
        while let Some(event) = pair.client.poll_event() {
            heard.push(event);
        }
    }
    assert_eq!(heard, [0x7000_0000, 0xe000_0000, 0x1_1000_0000].map(|bytes| Event::Acknowledged { bytes }));
}

/// A player against a server session, fed with shared messages.
#[test]
fn a_player_gets_what_was_serialised_once() {
    let tracks = [video_track(), audio_track()];
    let frames: Vec<Frame<Bytes>> = [
        frame(TrackId::VIDEO, 0xffff_ffd0, 5000),
        frame(TrackId::AUDIO, 0xffff_fff0, 60),
        frame(TrackId::VIDEO, 0x1_0000_0008, 300),
        frame(TrackId::VIDEO, 0x1_0100_0008, 9000),
    ]
    .into_iter()
    .map(|frame| frame.map(Bytes::from))
    .collect();
    // Single bytes are thousands of calls: too many for Miri.
    for step in [if cfg!(miri) { 29 } else { 1 }, 1000] {
        let mut player = player::Session::play("rtmp://h/live", "id", 1);
        let mut server = server::Session::new(server::Config::default(), Instant::ZERO, 2);
        let (mut heard, mut asked) = (Vec::new(), None);
        loop {
            let mut moved = false;
            loop {
                match player.poll_output() {
                    player::Output::Transmit(bytes) => server.handle_bytes(Instant::ZERO, &bytes).unwrap(),
                    player::Output::Event(event) => heard.push(event),
                    player::Output::Idle => break,
                }
                moved = true;
            }
            loop {
                match server.poll_output() {
                    Output::Transmit(bytes) => bytes.chunks(step).for_each(|piece| player.handle_bytes(piece).unwrap()),
                    Output::Event(event) => {
                        asked = Some(event);
                        server.accept_play();
                    }
                    Output::Timeout(_) => break,
                }
                moved = true;
            }
            if !moved {
                break;
            }
        }
        assert!(matches!(asked, Some(server::Event::PlayRequested { name, .. }) if name == "id"));
        assert!(server.is_playing() && server.poll_output() == Output::Timeout(None));
        let metadata = shared::metadata_message(&sightline_media::Metadata::default(), frames[0].dts, server.chunk_size());
        let headers = tracks.iter().map(|track| shared::track_message(track, frames[0].dts, server.chunk_size()));
        let codec = |id| if id == TrackId::AUDIO { Codec::Aac } else { Codec::H264 };
        let shared = frames.iter().map(|frame| shared::frame_message(frame, codec(frame.track), server.chunk_size()));
        for message in core::iter::once(metadata).chain(headers).chain(shared) {
            message.chunks(step).for_each(|piece| player.handle_bytes(piece).unwrap());
        }
        player.handle_bytes(&shared::end_message()).unwrap();
        let mut got = Vec::new();
        let mut has_ended = false;
        while let player::Output::Event(event) = player.poll_output() {
            match event {
                player::Event::Frame(frame) => got.push(frame),
                player::Event::Ended => has_ended = true,
                player::Event::Track(_) | player::Event::Status { .. } | player::Event::Remark { .. } => heard.push(event),
            }
        }
        assert_eq!(got, frames);
        assert!(
            has_ended && heard.iter().any(|event| matches!(event, player::Event::Status { code, .. } if code == "NetStream.Play.Start"))
        );
    }
}

#[test]
fn the_url_of_a_lease_gives_the_session_its_parts() {
    let url = RtmpUrl::parse("rtmp://h:1935/live/cam?token=t").unwrap();
    assert_eq!((url.app, url.name), ("live", "cam?token=t"));
}
