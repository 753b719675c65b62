//! Everything around one pusher, in virtual time: a cloud that is asked, a link with a capacity, stalls and cuts, and a real RTMP server session.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use bytes::Bytes;
use sightline_media::{Frame, Instant, MediaTime, Track, TrackConfig, TrackId, WallTime, avc::DecoderConfig};
use sightline_pusher::{Action, Config, EncoderAction, FixedServer, FromDevice, Input, Pusher, ToDevice, Trigger};
use sightline_rtmp::server;
use sightline_signal::{Command, CommandResult, DeviceId, ErrorCode, Quality, Request, Response, Settings, StatusEvent, Text};
use std::{collections::VecDeque, time::Duration};

/// The world moves in steps of this, unless a test takes longer ones.
const STEP: Duration = Duration::from_millis(5);
/// While it streams under Miri, where a step costs a fifth of a second.
const MIRI_STEP: Duration = Duration::from_millis(200);
/// So many frames of the encoder's are one: under Miri fewer, and as much larger.
pub(crate) const FRAMES_IN_ONE: u32 = if cfg!(miri) { 5 } else { 1 };
/// With others of nine tenths, the rate is the encoder's over two seconds.
const KEYFRAME_MEANS: u32 = if cfg!(miri) { 2 } else { 6 };
/// What the kernel holds besides what is in flight.
const SOCKET_BYTES: usize = 32 * 1024;
/// What a link carries at once, where the world waits for it.
const PACKET_BYTES: usize = 1460;

/// A link: what it carries a step, and what it holds.
pub(crate) struct Link {
    pub(crate) bytes_per_second: f64,
    pub(crate) credit: f64,
    pub(crate) socket: Vec<u8>,
    pub(crate) acknowledged: u64,
    pub(crate) to_camera: VecDeque<Bytes>,
    pub(crate) server: server::Session,
}

/// Everything around one pusher.
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) pusher: Pusher<Bytes, 64>,
    pub(crate) link: Option<Link>,
    pub(crate) bytes_per_second: f64,
    /// Whether a dial is answered.
    pub(crate) listens: Vec<(&'static str, bool)>,
    pub(crate) accepts: bool,
    pub(crate) encoder: Option<Settings>,
    pub(crate) next_frame_at: Instant,
    pub(crate) frame: i64,
    pub(crate) wants_keyframe: bool,
    pub(crate) is_paused: bool,
    pub(crate) sent_tracks: bool,
    pub(crate) dials: Vec<(Instant, String)>,
    pub(crate) events: Vec<(Instant, StatusEvent)>,
    pub(crate) requests: Vec<Request>,
    pub(crate) results: Vec<CommandResult>,
    pub(crate) names: Vec<String>,
    pub(crate) tokens: Vec<String>,
    pub(crate) received: Vec<(Instant, i64, bool)>,
    /// Frames that the server got, those included that [`Self::received`] has forgotten.
    pub(crate) received_total: u64,
    pub(crate) age_max: Duration,
    pub(crate) step: Duration,
}

pub(crate) fn track() -> Track {
    let sps = [
        0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x5a, 0x80, 0x80, 0x80, 0xa0, 0x00, 0x00, 0x7d, 0x20, 0x00,
        0x17, 0x70, 0x01, 0xe3, 0x06, 0x32, 0xc0,
    ];
    Track { id: TrackId::VIDEO, config: TrackConfig::H264(DecoderConfig::from_sets(&sps, &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0]).unwrap()) }
}

/// A length of four bytes and the NAL unit's header, before the frame's number.
const SLICE_HEAD_BYTES: usize = 5;

/// A number's many zeros with a one behind them would be a start code, which no NAL unit holds.
const NO_ZERO: u8 = 0x80;

/// One NAL unit, as an encoder's: a server that looks through the frame is through with it at once.
fn slice_of(bytes: usize, number: i64, is_keyframe: bool) -> Vec<u8> {
    let mut payload = vec![0; bytes];
    payload[..4].copy_from_slice(&u32::try_from(bytes - 4).unwrap().to_be_bytes());
    payload[4] = if is_keyframe { 0x65 } else { 0x41 };
    payload[SLICE_HEAD_BYTES..][..8].copy_from_slice(&number.to_be_bytes().map(|byte| byte ^ NO_ZERO));
    payload
}

pub(crate) fn config(trigger: Trigger) -> Config {
    let config = Config::new(DeviceId::new("cam-1").unwrap());
    // Under Miri, where each chunk costs as much as a frame, fewer.
    let chunk_size = if cfg!(miri) { 65_536 } else { config.chunk_size };
    Config { trigger, reconnect_jitter: 0.0, quality: Quality::High, secure: false, chunk_size, ..config }
}

pub(crate) fn fixed(urls: &[&str]) -> Option<FixedServer> {
    Some(FixedServer {
        tc_urls: urls.iter().map(|url| Text::try_from(*url).unwrap()).collect(),
        name: Text::try_from("name?token=t").unwrap(),
    })
}

impl World {
    pub(crate) fn new(config: Config) -> Self {
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
            tokens: Vec::new(),
            received: Vec::new(),
            received_total: 0,
            age_max: Duration::ZERO,
            step: STEP,
        }
    }

    pub(crate) fn input(&mut self, input: Input<'_, Bytes>) {
        self.pusher.handle(self.now, input);
        self.act();
    }

    pub(crate) fn act(&mut self) {
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

    pub(crate) fn dial(&mut self, url: &str) {
        self.dials.push((self.now, url.to_owned()));
        let listens = self.listens.iter().find(|(prefix, _)| url.starts_with(prefix)).is_some_and(|(_, listens)| *listens);
        if !listens {
            self.pusher.handle(self.now, Input::LinkClosed(Some(ErrorCode::RtmpConnectTimeout)));
            return;
        }
        let server = server::Session::new(server::Config::default(), self.now, 7);
        let (socket, to_camera) = (Vec::new(), VecDeque::new());
        self.link = Some(Link { bytes_per_second: self.bytes_per_second, credit: 0.0, socket, acknowledged: 0, to_camera, server });
        self.pusher.handle(self.now, Input::LinkUp);
    }

    /// A frame of the size that the encoder's rate gives it; key frames are [`KEYFRAME_MEANS`] times as large.
    pub(crate) fn encode(&mut self) {
        let Some(settings) = self.encoder else { return };
        while self.now >= self.next_frame_at {
            if !self.sent_tracks {
                self.sent_tracks = true;
                self.pusher.handle(self.now, Input::Track(track()));
            }
            self.next_frame_at += Duration::from_secs(1) * FRAMES_IN_ONE / settings.fps;
            if self.is_paused {
                continue;
            }
            let is_keyframe = std::mem::take(&mut self.wants_keyframe) || self.frame % i64::from(settings.fps * 2 / FRAMES_IN_ONE) == 0;
            let mean = settings.bitrate_bps / settings.fps / 8 * FRAMES_IN_ONE;
            let bytes = if is_keyframe { mean * KEYFRAME_MEANS } else { mean * 9 / 10 };
            let time = MediaTime::from_micros(i64::try_from(self.now.as_micros()).unwrap());
            let payload = slice_of(bytes.max(16) as usize, self.frame, is_keyframe);
            self.frame += 1;
            let frame =
                Frame { track: TrackId::VIDEO, dts: time, pts: time, is_keyframe, is_disposable: false, payload: Bytes::from(payload) };
            self.pusher.handle(self.now, Input::Frame(frame, self.now));
        }
    }

    /// `passed` went by since the last time: the link may carry more of it than the socket holds at once.
    pub(crate) fn carry(&mut self, passed: Duration) {
        let step = self.step();
        let Some(link) = &mut self.link else { return };
        link.credit =
            (link.credit + link.bytes_per_second * passed.as_secs_f64()).min(link.bytes_per_second * step.as_secs_f64() * 4.0 + 1500.0);
        self.fill_socket();
        self.carry_socket();
        while self.link.as_ref().is_some_and(|link| link.socket.is_empty() && link.credit >= 1.0) && !self.pusher.pending()[0].is_empty() {
            self.fill_socket();
            self.carry_socket();
        }
    }

    fn fill_socket(&mut self) {
        while let Some(link) = &mut self.link {
            let [header, payload] = self.pusher.pending();
            let room = SOCKET_BYTES.saturating_sub(link.socket.len());
            let taken = room.min(header.len() + payload.len());
            if taken == 0 {
                break;
            }
            let from_header = taken.min(header.len());
            link.socket.extend_from_slice(&header[..from_header]);
            link.socket.extend_from_slice(&payload[..taken - from_header]);
            self.pusher.consumed(self.now, taken);
            self.act();
        }
    }

    /// What the link has credit for, and what the server answers.
    fn carry_socket(&mut self) {
        let Some(link) = &mut self.link else { return };
        let carried = (link.credit as usize).min(link.socket.len());
        link.credit -= carried as f64;
        let left = link.socket.split_off(carried);
        let bytes = std::mem::replace(&mut link.socket, left);
        link.acknowledged += carried as u64;
        link.server.handle_bytes(self.now, &bytes).unwrap();
        loop {
            match link.server.poll_output() {
                server::Output::Transmit(bytes) => link.to_camera.push_back(bytes),
                server::Output::Event(server::Event::PublishRequested { name, query, .. }) => {
                    self.names.push(name);
                    self.tokens.push(query.get("token").unwrap_or_default().to_owned());
                    if self.accepts { link.server.accept_publish() } else { link.server.reject_publish("NetStream.Publish.BadName", "no") }
                }
                server::Output::Event(server::Event::Frame(frame)) => {
                    let number = i64::from_be_bytes(
                        <[u8; 8]>::try_from(&frame.payload[SLICE_HEAD_BYTES..][..8]).unwrap().map(|byte| byte ^ NO_ZERO),
                    );
                    self.received.push((self.now, number, frame.is_keyframe));
                    self.received_total += 1;
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

    fn step(&self) -> Duration {
        if cfg!(miri) && self.pusher.is_streaming() { self.step.max(MIRI_STEP) } else { self.step }
    }

    /// The next step. Under Miri, where each is dear, not before something is to happen: a frame, a packet's arrival, or what the pusher waits for.
    fn next_at(&self, until: Instant) -> Instant {
        let step = self.now + self.step();
        if !cfg!(miri) {
            return step;
        }
        let frame = self.encoder.map(|_| self.next_frame_at);
        let packet = self.link.as_ref().filter(|link| link.bytes_per_second > 0.0).and_then(|link| {
            let waiting = link.socket.len() + self.pusher.pending()[0].len();
            let missing = waiting.min(PACKET_BYTES) as f64 - link.credit;
            (waiting > 0).then(|| self.now + Duration::from_secs_f64(missing.max(0.0) / link.bytes_per_second))
        });
        [frame, packet, self.pusher.poll_timeout()].into_iter().flatten().fold(until, Instant::min).max(step)
    }

    pub(crate) fn run(&mut self, seconds: f64) {
        let until = self.now + Duration::from_secs_f64(seconds);
        while self.now < until {
            let before = self.now;
            self.now = self.next_at(until);
            self.encode();
            self.pusher.handle_timeout(self.now);
            self.act();
            self.carry(self.now.since(before));
            if let Some((_, StatusEvent::Metrics(event))) = self.events.last() {
                self.age_max = self.age_max.max(Duration::from_millis(u64::from(event.metrics.latency_ms)));
            }
        }
    }

    pub(crate) fn answer(&mut self, change: impl FnOnce(&mut Response)) {
        let text = r#"{"success":true,"request_id":"","rtmp_url":"rtmp://a/live/","stream_key":"name","max_bitrate":4000000,"recommended_fps":30,"expires_at":4600,"server_time":1000,"token":"t"}"#;
        let mut response: Response = sightline_signal::json::read(text.as_bytes()).unwrap();
        response.request_id.clone_from(&self.requests.last().unwrap().request_id);
        change(&mut response);
        self.input(Input::Signal(ToDevice::Response(&response)));
    }

    pub(crate) fn command(&mut self, text: &str) {
        let command: Command = sightline_signal::json::read(text.as_bytes()).unwrap();
        self.input(Input::Signal(ToDevice::Command(&command)));
    }

    /// A decoder at the far end never meets a frame whose reference it has not seen.
    pub(crate) fn assert_decodable(&self) {
        let is_whole = self.received_total == self.received.len() as u64;
        assert!(!is_whole || self.received.first().is_none_or(|first| first.2), "the first frame is a key frame");
        for pair in self.received.windows(2) {
            assert!(pair[1].1 == pair[0].1 + 1 || pair[1].2, "{:?} follows {:?}", pair[1], pair[0]);
            assert!(pair[1].1 > pair[0].1);
        }
    }

    pub(crate) fn errors(&self) -> Vec<(ErrorCode, u32, u32)> {
        let errors = self.events.iter().filter_map(|(_, event)| match event {
            StatusEvent::ConnectionError(error) => Some((error.error_code, error.reconnect_attempts, error.next_retry_in_sec)),
            StatusEvent::Started(_) | StatusEvent::Metrics(_) | StatusEvent::Stopped(_) => None,
        });
        errors.collect()
    }

    /// Of this link, and of those to come.
    pub(crate) fn set_rate(&mut self, bytes_per_second: f64) {
        self.bytes_per_second = bytes_per_second;
        if let Some(link) = &mut self.link {
            link.bytes_per_second = bytes_per_second;
        }
    }

    /// What waits in the camera and in its kernel.
    pub(crate) fn held_bytes(&self) -> usize {
        self.pusher.pending().concat().len() + self.link.as_ref().map_or(0, |link| link.socket.len())
    }

    /// A long run keeps no more than what the next check needs.
    pub(crate) fn forget_all_but_the_last(&mut self) {
        self.received.drain(..self.received.len().saturating_sub(1));
        self.events.drain(..self.events.len().saturating_sub(1));
        self.dials.clear();
        self.names.clear();
        self.tokens.clear();
    }
}
