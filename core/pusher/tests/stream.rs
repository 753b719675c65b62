//! The pusher and a real RTMP server session, back to back in virtual time, over a link with a capacity, a delay, stalls and cuts.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use bytes::Bytes;
use sightline_media::{Frame, Instant, MediaTime, Track, TrackConfig, TrackId, WallTime, avc::DecoderConfig};
use sightline_pusher::{Action, Config, EncoderAction, FixedServer, FromDevice, Input, Pusher, ToDevice, Trigger};
use sightline_rtmp::server;
use sightline_signal::{Command, CommandResult, DeviceId, ErrorCode, Quality, Request, Response, Settings, StatusEvent, StreamState, Text};
use std::{collections::VecDeque, time::Duration};

/// The world moves in steps of this.
const STEP: Duration = Duration::from_millis(5);
/// What the kernel holds besides what is in flight.
const SOCKET_BYTES: usize = 32 * 1024;

/// A link: what it carries a step, and what it holds.
struct Link {
    bytes_per_second: f64,
    credit: f64,
    socket: VecDeque<u8>,
    acknowledged: u64,
    to_camera: VecDeque<Bytes>,
    server: server::Session,
}

/// Everything around one pusher.
struct World {
    now: Instant,
    pusher: Pusher<Bytes, 64>,
    link: Option<Link>,
    bytes_per_second: f64,
    /// Whether a dial is answered.
    listens: Vec<(&'static str, bool)>,
    accepts: bool,
    encoder: Option<Settings>,
    next_frame_at: Instant,
    frame: i64,
    wants_keyframe: bool,
    is_paused: bool,
    sent_tracks: bool,
    dials: Vec<(Instant, String)>,
    events: Vec<(Instant, StatusEvent)>,
    requests: Vec<Request>,
    results: Vec<CommandResult>,
    names: Vec<String>,
    received: Vec<(Instant, i64, bool)>,
    age_max: Duration,
}

fn track() -> Track {
    let sps = [
        0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x5a, 0x80, 0x80, 0x80, 0xa0, 0x00, 0x00, 0x7d, 0x20, 0x00,
        0x17, 0x70, 0x01, 0xe3, 0x06, 0x32, 0xc0,
    ];
    Track { id: TrackId::VIDEO, config: TrackConfig::H264(DecoderConfig::from_sets(&sps, &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0]).unwrap()) }
}

fn config(trigger: Trigger) -> Config {
    Config { trigger, reconnect_jitter: 0.0, quality: Quality::High, secure: false, ..Config::new(DeviceId::new("cam-1").unwrap()) }
}

fn fixed(urls: &[&str]) -> Option<FixedServer> {
    Some(FixedServer {
        tc_urls: urls.iter().map(|url| Text::try_from(*url).unwrap()).collect(),
        name: Text::try_from("name?token=t").unwrap(),
    })
}

impl World {
    fn new(config: Config) -> Self {
        Self {
            now: Instant::from_micros(1_000_000),
            pusher: Pusher::new(config, 42),
            link: None,
            bytes_per_second: 2e6,
            listens: vec![("", true)],
            accepts: true,
            encoder: None,
            next_frame_at: Instant::ZERO,
            frame: 0,
            wants_keyframe: false,
            is_paused: false,
            sent_tracks: false,
            dials: Vec::new(),
            events: Vec::new(),
            requests: Vec::new(),
            results: Vec::new(),
            names: Vec::new(),
            received: Vec::new(),
            age_max: Duration::ZERO,
        }
    }

    fn input(&mut self, input: Input<'_, Bytes>) {
        self.pusher.handle(self.now, input);
        self.act();
    }

    fn act(&mut self) {
        while let Some(action) = self.pusher.poll_action(WallTime::from_unix_micros(1_691_234_567_000_000)) {
            match action {
                Action::Dial { url } => self.dial(url.as_str()),
                Action::HangUp => self.link = None,
                Action::Encoder(EncoderAction::Start(settings)) => {
                    self.is_paused = false;
                    self.encoder = Some(settings);
                    self.wants_keyframe = true;
                    self.next_frame_at = self.now;
                }
                Action::Encoder(EncoderAction::Change(settings)) => self.encoder = self.encoder.map(|_| settings),
                Action::Encoder(EncoderAction::Keyframe) => self.wants_keyframe = true,
                Action::Encoder(EncoderAction::Stop) => self.encoder = None,
                Action::Encoder(EncoderAction::Pause) => self.is_paused = true,
                Action::Encoder(EncoderAction::Resume) => self.is_paused = false,
                Action::Signal(FromDevice::Request(request)) => self.requests.push(request),
                Action::Signal(FromDevice::Status(event)) => self.events.push((self.now, event)),
                Action::Signal(FromDevice::Result(result)) => self.results.push(result),
                Action::Signal(FromDevice::State(_)) | Action::Status(_) => {}
            }
        }
    }

    fn dial(&mut self, url: &str) {
        self.dials.push((self.now, url.to_owned()));
        let listens = self.listens.iter().find(|(prefix, _)| url.starts_with(prefix)).is_some_and(|(_, listens)| *listens);
        if !listens {
            self.pusher.handle(self.now, Input::LinkClosed(Some(ErrorCode::RtmpConnectTimeout)));
            return;
        }
        let server = server::Session::new(server::Config::default(), self.now, 7);
        let (socket, to_camera) = (VecDeque::new(), VecDeque::new());
        self.link = Some(Link { bytes_per_second: self.bytes_per_second, credit: 0.0, socket, acknowledged: 0, to_camera, server });
        self.pusher.handle(self.now, Input::LinkUp);
    }

    /// A frame of the size that the encoder's rate gives it; key frames are six times as large.
    fn encode(&mut self) {
        let Some(settings) = self.encoder else { return };
        while self.now >= self.next_frame_at {
            if !self.sent_tracks {
                self.sent_tracks = true;
                self.pusher.handle(self.now, Input::Track(track()));
            }
            self.next_frame_at += Duration::from_secs(1) / settings.fps;
            if self.is_paused {
                continue;
            }
            let is_keyframe = std::mem::take(&mut self.wants_keyframe) || self.frame % i64::from(settings.fps * 2) == 0;
            let mean = settings.bitrate_bps / settings.fps / 8;
            let bytes = if is_keyframe { mean * 6 } else { mean * 9 / 10 };
            let time = MediaTime::from_micros(i64::try_from(self.now.as_micros()).unwrap());
            let mut payload = vec![0; bytes.max(16) as usize];
            payload[..8].copy_from_slice(&self.frame.to_be_bytes());
            self.frame += 1;
            let frame =
                Frame { track: TrackId::VIDEO, dts: time, pts: time, is_keyframe, is_disposable: false, payload: Bytes::from(payload) };
            self.pusher.handle(self.now, Input::Frame(frame, self.now));
        }
    }

    fn carry(&mut self) {
        // The pusher fills the socket.
        while let Some(link) = &mut self.link {
            let [header, payload] = self.pusher.pending();
            let room = SOCKET_BYTES.saturating_sub(link.socket.len());
            let taken = room.min(header.len() + payload.len());
            if taken == 0 {
                break;
            }
            link.socket.extend(header.iter().chain(payload).take(taken));
            self.pusher.consumed(self.now, taken);
            self.act();
        }
        // The link carries what it can.
        let Some(link) = &mut self.link else { return };
        link.credit = (link.credit + link.bytes_per_second * STEP.as_secs_f64()).min(link.bytes_per_second * 0.02 + 1500.0);
        let carried = (link.credit as usize).min(link.socket.len());
        link.credit -= carried as f64;
        let bytes: Vec<u8> = link.socket.drain(..carried).collect();
        link.acknowledged += carried as u64;
        link.server.handle_bytes(self.now, &bytes).unwrap();
        loop {
            match link.server.poll_output() {
                server::Output::Transmit(bytes) => link.to_camera.push_back(bytes),
                server::Output::Event(server::Event::PublishRequested { name, .. }) => {
                    self.names.push(name);
                    if self.accepts { link.server.accept_publish() } else { link.server.reject_publish("NetStream.Publish.BadName", "no") }
                }
                server::Output::Event(server::Event::Frame(frame)) => {
                    let number = i64::from_be_bytes(frame.payload[..8].try_into().unwrap());
                    self.received.push((self.now, number, frame.is_keyframe));
                }
                server::Output::Event(_) => {}
                server::Output::Timeout(_) => break,
            }
        }
        let replies: Vec<Bytes> = link.to_camera.drain(..).collect();
        let (bytes, outstanding) = (link.acknowledged, link.socket.len() as u64);
        for reply in replies {
            self.input(Input::LinkBytes(&reply));
        }
        self.input(Input::Acknowledged { bytes, outstanding });
    }

    fn run(&mut self, seconds: f64) {
        let until = self.now + Duration::from_secs_f64(seconds);
        while self.now < until {
            self.now += STEP;
            self.encode();
            self.pusher.handle_timeout(self.now);
            self.act();
            self.carry();
            if let Some((_, StatusEvent::Metrics(event))) = self.events.last() {
                self.age_max = self.age_max.max(Duration::from_millis(u64::from(event.metrics.latency_ms)));
            }
        }
    }

    fn answer(&mut self, change: impl FnOnce(&mut Response)) {
        let text = r#"{"success":true,"request_id":"","rtmp_url":"rtmp://a/live/","stream_key":"name","max_bitrate":4000000,"recommended_fps":30,"expires_at":4600,"server_time":1000,"token":"t"}"#;
        let mut response: Response = sightline_signal::json::read(text.as_bytes()).unwrap();
        response.request_id.clone_from(&self.requests.last().unwrap().request_id);
        change(&mut response);
        self.input(Input::Signal(ToDevice::Response(response)));
    }

    fn command(&mut self, text: &str) {
        let command: Command = sightline_signal::json::read(text.as_bytes()).unwrap();
        self.input(Input::Signal(ToDevice::Command(command)));
    }

    /// A decoder at the far end never meets a frame whose reference it has not seen.
    fn assert_decodable(&self) {
        assert!(self.received.first().is_none_or(|first| first.2), "the first frame is a key frame");
        for pair in self.received.windows(2) {
            assert!(pair[1].1 == pair[0].1 + 1 || pair[1].2, "{:?} follows {:?}", pair[1], pair[0]);
            assert!(pair[1].1 > pair[0].1);
        }
    }

    fn errors(&self) -> Vec<(ErrorCode, u32, u32)> {
        let errors = self.events.iter().filter_map(|(_, event)| match event {
            StatusEvent::ConnectionError(error) => Some((error.error_code, error.reconnect_attempts, error.next_retry_in_sec)),
            StatusEvent::Started(_) | StatusEvent::Metrics(_) | StatusEvent::Stopped(_) => None,
        });
        errors.collect()
    }
}

#[test]
fn a_stream_arrives_whole_and_its_figures_agree() {
    let mut world = World::new(Config { server: fixed(&["rtmp://a/live"]), ..config(Trigger::Manual) });
    world.input(Input::Start);
    world.run(20.0);
    assert_eq!((world.pusher.state(), world.names.as_slice()), (StreamState::Streaming, &["name".to_owned()][..]));
    world.input(Input::Stop);
    world.run(3.0);
    assert_eq!(world.pusher.state(), StreamState::Idle);
    world.assert_decodable();
    let Some((_, StatusEvent::Stopped(stopped))) = world.events.last() else { panic!("{:?}", world.events.last()) };
    let last = stopped.final_metrics;
    assert_eq!(last.total_frames_sent, world.received.len() as u64);
    assert!(last.dropped_frames <= 2, "{last:?}");
    let secs = last.stream_duration_ms as f32 / 1000.0;
    assert!((last.average_fps * secs - last.total_frames_sent as f32).abs() < 1.0, "{last:?}");
    assert!((last.average_bitrate_kbps * secs * 125.0 / last.total_bytes_sent as f32 - 1.0).abs() < 0.001, "{last:?}");
}

#[test]
fn a_camera_that_is_gone_is_told_and_the_stream_stays() {
    let mut world = World::new(Config { server: fixed(&["rtmp://a/live"]), ..config(Trigger::Manual) });
    world.input(Input::Start);
    world.run(5.0);
    world.input(Input::SourceLost { code: ErrorCode::SourceLost, attempts: 3, next_retry: Duration::from_millis(3_500) });
    world.run(5.0);
    assert_eq!((world.pusher.state(), world.errors()), (StreamState::Streaming, vec![(ErrorCode::SourceLost, 3, 4)]));
}

#[test]
fn the_published_delays_are_the_real_ones() {
    let mut world = World::new(Config { server: fixed(&["rtmp://a/live"]), max_reconnect_attempts: 4, ..config(Trigger::Manual) });
    world.listens = vec![("", false)];
    world.input(Input::Start);
    world.run(200.0);
    let delays: Vec<(u32, u32)> = world.errors().iter().map(|(_, attempts, delay)| (*attempts, *delay)).collect();
    assert_eq!(delays, [(1, 10), (2, 20), (3, 40), (4, 0)]);
    let gaps: Vec<u64> = world.dials.windows(2).map(|pair| (pair[1].0.since(pair[0].0).as_millis() as u64 + 50) / 1000).collect();
    assert_eq!(gaps, [10, 20, 40]);
    assert_eq!(world.pusher.state(), StreamState::Error);
    // A person starts it again.
    world.listens = vec![("", true)];
    world.input(Input::Start);
    world.run(2.0);
    assert_eq!(world.pusher.state(), StreamState::Streaming);
}

#[test]
fn an_always_on_camera_never_gives_up() {
    let mut world = World::new(Config { server: fixed(&["rtmp://a/live"]), max_reconnect_attempts: 2, ..config(Trigger::AlwaysOn) });
    world.listens = vec![("", false)];
    world.run(2000.0);
    assert!(world.dials.len() > 6);
    let last = world.dials.len() - 1;
    assert_eq!(world.dials[last].0.since(world.dials[last - 1].0).as_secs(), 300);
    world.listens = vec![("", true)];
    world.input(Input::NetworkUp);
    world.run(1.0);
    assert_eq!(world.pusher.state(), StreamState::Streaming);
}

#[test]
fn the_cloud_is_asked_and_its_answer_obeyed() {
    let mut world = World::new(config(Trigger::AlwaysOn));
    world.run(0.1);
    assert_eq!((world.pusher.state(), world.requests.len()), (StreamState::Requesting, 1));
    assert_eq!((world.requests[0].device_id.as_str(), world.requests[0].max_bitrate), ("cam-1", 2_000_000));
    // Someone else's answer, then a refusal with a delay of its own.
    world.answer(|response| response.request_id = Text::try_from("other").unwrap());
    assert_eq!(world.pusher.state(), StreamState::Requesting);
    world.answer(|response| {
        let id = response.request_id.clone();
        *response = Response::failure(&id, ErrorCode::NoServerAvailable, "none", Some(25));
    });
    assert_eq!(world.errors(), [(ErrorCode::NoServerAvailable, 1, 25)]);
    world.run(26.0);
    assert_eq!(world.requests.len(), 2);
    world.answer(|response| response.max_bitrate = Some(800_000));
    world.run(2.0);
    assert_eq!((world.pusher.state(), world.pusher.settings().bitrate_bps), (StreamState::Streaming, 800_000));
    assert_eq!(world.dials[0].1, "rtmp://a/live");
}

#[test]
fn silence_from_the_cloud_is_a_timeout_and_its_return_is_used_at_once() {
    let mut world = World::new(config(Trigger::AlwaysOn));
    world.run(11.0);
    assert_eq!(world.errors(), [(ErrorCode::DiscoveryTimeout, 1, 10)]);
    world.input(Input::SignalUp);
    assert_eq!((world.pusher.state(), world.requests.len()), (StreamState::Requesting, 2));
    // While it waits for the answer, the same question again: the cloud answers it once.
    world.input(Input::SignalUp);
    assert_eq!((world.requests.len(), &world.requests[2].request_id), (3, &world.requests[1].request_id));
}

#[test]
fn a_refused_name_asks_the_cloud_again() {
    let mut world = World::new(config(Trigger::AlwaysOn));
    world.accepts = false;
    world.run(0.1);
    world.answer(|_| {});
    world.run(1.0);
    assert_eq!(world.errors(), [(ErrorCode::StreamKeyInvalid, 1, 10)]);
    world.accepts = true;
    world.run(10.0);
    assert_eq!(world.requests.len(), 2);
    world.answer(|_| {});
    world.run(1.0);
    assert_eq!(world.pusher.state(), StreamState::Streaming);
}

#[test]
fn a_dead_link_is_found_within_five_seconds_and_left() {
    let mut world = World::new(Config { server: fixed(&["rtmp://a/live"]), ..config(Trigger::AlwaysOn) });
    world.run(20.0);
    let cut_at = world.now;
    world.link.as_mut().unwrap().bytes_per_second = 0.0;
    world.run(8.0);
    let found = world.events.iter().find_map(|(at, event)| {
        matches!(event, StatusEvent::ConnectionError(error) if error.error_code == ErrorCode::SendTimeout).then_some(*at)
    });
    let found = found.expect("SEND_TIMEOUT").since(cut_at);
    assert!((Duration::from_secs(5)..Duration::from_millis(5300)).contains(&found), "{found:?}");
    // It had held for long: the next try comes at once, and begins with a key frame.
    assert_eq!((world.pusher.state(), world.dials.len()), (StreamState::Streaming, 2));
    world.run(5.0);
    world.assert_decodable();
}

#[test]
fn a_name_that_the_server_still_holds_for_the_lost_connection_is_asked_for_again_each_second() {
    let mut test = World::new(Config { server: fixed(&["rtmp://a/live"]), reconnect_jitter: 0.0, ..config(Trigger::AlwaysOn) });
    test.run(10.0);
    test.accepts = false;
    test.input(Input::LinkClosed(None));
    test.act();
    test.run(4.5);
    assert!(!test.pusher.is_streaming() && (4..=6).contains(&test.dials.len()), "{:?}", test.dials);
    test.accepts = true;
    test.run(1.5);
    assert!(test.pusher.is_streaming());
    let refusals: Vec<_> = test.errors().into_iter().filter(|(code, _, _)| *code == ErrorCode::StreamKeyInvalid).collect();
    assert!(refusals.iter().all(|(_, _, next_sec)| *next_sec == 1), "{refusals:?}");
    test.assert_decodable();
}

#[test]
fn the_next_server_is_tried_at_once() {
    let mut world = World::new(Config { server: fixed(&["rtmp://a/live", "rtmp://b/live"]), ..config(Trigger::AlwaysOn) });
    world.run(10.0);
    world.listens = vec![("rtmp://a", false), ("rtmp://b", true)];
    let cut_at = world.now;
    world.link = None;
    world.input(Input::LinkClosed(None));
    world.run(1.0);
    assert_eq!((world.pusher.state(), world.dials.last().unwrap().1.as_str()), (StreamState::Streaming, "rtmp://b/live"));
    assert!(world.dials.last().unwrap().0.since(cut_at) < Duration::from_secs(1));
}

#[test]
fn a_slow_link_lowers_the_rate_and_a_good_one_raises_it() {
    let mut world = World::new(Config { server: fixed(&["rtmp://a/live"]), ..config(Trigger::AlwaysOn) });
    world.bytes_per_second = 100_000.0;
    world.run(60.0);
    let low = world.pusher.settings().bitrate_bps;
    assert!((300_000..1_100_000).contains(&low), "{low} around 800 kbit/s: it probes");
    world.assert_decodable();
    assert!(world.age_max <= Duration::from_secs(3), "{:?}", world.age_max);
    let late =
        world.received.iter().filter(|(at, number, _)| *number > 100 && at.since(Instant::from_micros(1_000_000)).as_secs() > 20).count();
    assert!(late > 600, "{late} frames in the last 40 s");
    world.link.as_mut().unwrap().bytes_per_second = 2e6;
    world.run(40.0);
    assert_eq!(world.pusher.settings().bitrate_bps, 2_000_000);
    world.assert_decodable();
}

#[test]
fn a_link_below_the_least_rate_is_told_once_and_the_stream_goes_on() {
    let mut world = World::new(Config { server: fixed(&["rtmp://a/live"]), ..config(Trigger::AlwaysOn) });
    world.run(10.0);
    let told = |world: &World| world.errors().iter().filter(|(code, _, _)| *code == ErrorCode::BandwidthInsufficient).count();
    world.link.as_mut().unwrap().bytes_per_second = 9_000.0;
    world.run(60.0);
    assert!(told(&world) == 1 && world.pusher.is_streaming(), "{:?}", world.errors());
    world.link.as_mut().unwrap().bytes_per_second = 2e6;
    world.run(30.0);
    world.link.as_mut().unwrap().bytes_per_second = 9_000.0;
    world.run(60.0);
    assert_eq!(told(&world), 2, "it came back, and went again");
    world.assert_decodable();
}

#[test]
fn frames_that_a_stall_makes_too_old_are_left_out_and_a_decoder_does_not_notice() {
    let mut world = World::new(Config { server: fixed(&["rtmp://a/live"]), ..config(Trigger::AlwaysOn) });
    world.run(10.0);
    for _ in 0..5 {
        world.link.as_mut().unwrap().bytes_per_second = 1_000.0;
        world.run(4.0);
        world.link.as_mut().unwrap().bytes_per_second = 2e6;
        world.run(6.0);
    }
    assert_eq!(world.pusher.state(), StreamState::Streaming);
    world.assert_decodable();
    let missing = world.frame - world.received.len() as i64;
    assert!(missing > 10 && missing < 900, "{missing} frames left out of {}", world.frame);
}

#[test]
fn a_lost_stop_ends_by_its_lease() {
    let mut world = World::new(Config { server: fixed(&["rtmp://a/live"]), ..config(Trigger::OnDemand) });
    world.run(5.0);
    assert_eq!((world.pusher.state(), world.dials.len()), (StreamState::Standby, 0));
    world.command(r#"{"command_id":"1","cmd":"start","lease_sec":10}"#);
    world.run(8.0);
    world.command(r#"{"command_id":"2","cmd":"renew","lease_sec":10}"#);
    world.run(8.0);
    assert_eq!(world.pusher.state(), StreamState::Streaming);
    world.run(4.0);
    assert_eq!(world.pusher.state(), StreamState::Standby);
    assert!(matches!(world.events.last(), Some((_, StatusEvent::Stopped(_)))));
    assert_eq!(
        world.results.iter().map(|result| (result.command_id.as_str(), result.success)).collect::<Vec<_>>(),
        [("1", true), ("2", true)]
    );
}

#[test]
fn the_cloud_s_word_brings_a_waiting_camera_back_at_once() {
    let mut world = World::new(config(Trigger::AlwaysOn));
    world.run(0.1);
    world.answer(|_| {});
    world.run(30.0);
    world.listens = vec![("", false)];
    world.link = None;
    world.input(Input::LinkClosed(None));
    world.run(1.0);
    assert_eq!(world.pusher.state(), StreamState::Reconnecting);
    world.listens = vec![("", true)];
    world.command(r#"{"command_id":"r","cmd":"rotate"}"#);
    world.answer(|_| {});
    world.run(0.5);
    assert_eq!(world.pusher.state(), StreamState::Streaming);
}

#[test]
fn a_command_that_can_t_be_done_says_why_and_changes_nothing() {
    let mut world = World::new(Config { server: fixed(&["rtmp://a/live"]), ..config(Trigger::AlwaysOn) });
    world.run(2.0);
    let before = world.pusher.settings();
    world.command(r#"{"command_id":"1","cmd":"set_bitrate","bitrate_bps":10}"#);
    world.command(r#"{"command_id":"2","cmd":"set_quality","quality":"custom","width":641,"height":480,"fps":15,"bitrate_bps":500000}"#);
    assert_eq!(world.pusher.settings(), before);
    assert!(world.results.iter().all(|result| !result.success && result.error_code == Some(ErrorCode::InvalidQuality)));
    world.command(r#"{"command_id":"3","cmd":"set_quality","quality":"low"}"#);
    assert_eq!(world.encoder.map(|settings| (settings.width, settings.fps)), Some((640, 15)));
}

#[test]
fn a_new_token_is_fetched_inside_the_running_stream() {
    let mut world = World::new(config(Trigger::AlwaysOn));
    world.run(0.1);
    world.answer(|response| response.refresh_at = Some(1_020));
    world.run(25.0);
    assert_eq!((world.requests.len(), world.pusher.state(), world.dials.len()), (2, StreamState::Streaming, 1));
    world.answer(|_| {});
    world.run(5.0);
    assert_eq!((world.pusher.state(), world.dials.len()), (StreamState::Streaming, 1));
    world.assert_decodable();
}

/// E-RTMP v2, "Reconnect Request": to the next IDR on the old connection, then to the new server, if the cloud has named it.
#[test]
fn a_reconnect_request_is_followed_at_an_idr_and_only_within_the_set() {
    let mut world = World::new(Config { server: fixed(&["rtmp://a/live", "rtmp://b/live"]), ..config(Trigger::Manual) });
    world.input(Input::Start);
    world.run(12.0);
    let ask = |world: &mut World, tc_url| {
        assert!(world.link.as_mut().unwrap().server.request_reconnect(tc_url, "this server is going away"));
        world.run(5.0);
        (world.dials.len(), world.dials.last().unwrap().1.clone())
    };
    assert_eq!(ask(&mut world, Some("rtmp://elsewhere/live")), (1, "rtmp://a/live".to_owned()), "a host that no one named");
    assert_eq!(ask(&mut world, Some("rtmp://b/live")), (2, "rtmp://b/live".to_owned()));
    assert_eq!(ask(&mut world, Some("rtmp://a/live")), (2, "rtmp://b/live".to_owned()), "two servers do not toss it to and fro");
    world.run(6.0);
    assert_eq!(ask(&mut world, None), (3, "rtmp://b/live".to_owned()), "the same server again");
    assert_eq!((world.pusher.state(), world.errors()), (StreamState::Streaming, vec![]));
    world.assert_decodable();
    let gap = world.received.windows(2).map(|pair| pair[1].0.since(pair[0].0)).max().unwrap();
    assert!(gap < Duration::from_millis(300), "{gap:?}");
}

#[test]
fn a_server_that_only_closes_is_told_by_what_it_was_asked_for_last() {
    let cases: [(&[u8], ErrorCode); 3] = [
        (b"", ErrorCode::ServerOverloaded),
        (b"\x03half of a handshake", ErrorCode::RtmpHandshakeFailed),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ErrorCode::RtmpHandshakeFailed),
    ];
    for (answer, expected) in cases {
        let mut world = World::new(Config { server: fixed(&["rtmp://a/live"]), ..config(Trigger::Manual) });
        world.input(Input::Start);
        world.link = None;
        world.input(Input::LinkBytes(answer));
        world.input(Input::LinkClosed(None));
        assert_eq!(world.errors(), [(expected, 1, 10)], "{answer:?}");
    }
    // Its half of the handshake, and then the end.
    let mut world = World::new(Config { server: fixed(&["rtmp://a/live"]), ..config(Trigger::Manual) });
    world.input(Input::Start);
    world.link = None;
    let mut handshake = vec![3];
    handshake.resize(1 + 2 * 1536, 0);
    world.input(Input::LinkBytes(&handshake[..1537]));
    let sent: usize = world.pusher.pending().iter().map(|part| part.len()).sum();
    world.pusher.consumed(world.now, sent);
    world.input(Input::LinkBytes(&handshake[1537..]));
    while !world.pusher.pending()[0].is_empty() {
        let sent: usize = world.pusher.pending().iter().map(|part| part.len()).sum();
        world.pusher.consumed(world.now, sent);
    }
    world.input(Input::LinkClosed(None));
    assert_eq!(world.errors(), [(ErrorCode::RtmpConnectRejected, 1, 10)]);
}

#[test]
fn a_server_that_says_nothing_is_given_up_and_told() {
    let mut world = World::new(Config { server: fixed(&["rtmp://a/live"]), ..config(Trigger::Manual) });
    world.input(Input::Start);
    world.link = None;
    world.run(12.0);
    assert_eq!(world.errors()[0].0, ErrorCode::RtmpConnectTimeout);
}

#[test]
fn why_the_cloud_can_t_be_asked_is_told_instead_of_a_timeout() {
    let mut world = World::new(config(Trigger::AlwaysOn));
    world.run(0.1);
    world.input(Input::SignalDown(ErrorCode::ClockSkew));
    assert_eq!(world.errors(), [(ErrorCode::ClockSkew, 1, 10)]);
    // The next question has no answer either, for the same reason.
    world.run(20.5);
    assert_eq!(world.errors()[1].0, ErrorCode::ClockSkew);
    world.input(Input::SignalUp);
    world.run(0.1);
    assert_eq!((world.pusher.state(), world.requests.len()), (StreamState::Requesting, 3));
    world.run(10.0);
    assert_eq!(world.errors()[2].0, ErrorCode::DiscoveryTimeout);
}

#[test]
fn an_encoder_that_failed_for_good_ends_the_stream_until_a_command_starts_it() {
    let mut world = World::new(config(Trigger::AlwaysOn));
    world.run(0.1);
    world.answer(|_| {});
    world.run(3.0);
    assert!(world.pusher.is_streaming());
    world.input(Input::Failed(ErrorCode::EncoderFailed));
    assert_eq!((world.pusher.state(), world.errors()), (StreamState::Error, vec![(ErrorCode::EncoderFailed, 0, 0)]));
    assert!(world.events.iter().any(|(_, event)| matches!(event, StatusEvent::Stopped(_))) && world.link.is_none());
    world.run(600.0);
    assert_eq!((world.pusher.state(), world.dials.len()), (StreamState::Error, 1), "nothing starts it by itself");
    world.command(r#"{"command_id":"c","cmd":"start"}"#);
    world.run(2.0);
    assert!(world.pusher.is_streaming());
}
