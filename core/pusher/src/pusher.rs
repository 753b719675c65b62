//! The state machine.

mod opening;
mod streaming;
mod telling;
mod timers;
mod wish;

use core::time::Duration;
use heapless::Deque;
use sightline_media::{Codec, Frame, Instant, Track, TrackId};
use sightline_rtmp::client;
use sightline_signal::{
    Command, CommandName, CustomQuality, ErrorCode, Quality, Response, Settings, StreamState, Text, effective_settings,
};

use crate::{
    backoff::Backoff,
    capture_clock::CaptureClock,
    config::{Config, Trigger},
    debut::Debut,
    describe::{describe, describe_timeout},
    flight::Flight,
    io::{EncoderAction, Input, Status, ToDevice},
    ladder::Ladder,
    outbox::{Event, Figures, Outbox, Verdict},
    queue::FrameQueue,
    rate::RateControl,
    servers::{Servers, place_of},
    tally::Tally,
};
use opening::Opening;
use timers::{Timer, Timers};
pub use wish::Commanded;
use wish::Wish;

/// Frames inside the session: the one whose bytes go out, and the next, so that the link never waits for this queue.
const SESSION_QUEUE: usize = 2;
/// A connection that held this long is retried at once when it ends; a shorter one waits its turn, or a server that accepts
/// and drops would be hammered.
const WORTH_RETRYING_AT_ONCE: Duration = Duration::from_secs(5);
/// After this long without a failure the next failure is the first.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);
/// A stream that has not held this long does not follow a reconnect request: two servers that send each other's cameras on must not
/// keep one moving for ever.
const RECONNECT_INTERVAL: Duration = Duration::from_secs(10);
/// Between tries once every set of servers has failed (always-on only).
const SLOW_RETRY: Duration = Duration::from_secs(300);
/// A frame that has waited for this share of the target latency is left out: what remains of it is for the way.
const STALE_SHARE: f32 = 2.0 / 3.0;
/// A server that has not noticed the end of our connection yet refuses the next one: "already publishing". The pusher tries again at this interval ...
const HELD_NAME_INTERVAL: Duration = Duration::from_secs(1);
/// ... up to this many attempts: nginx-rtmp notices a dead publisher within its 30 s ping, others sooner.
const HELD_NAME_TRIES: u32 = 30;
/// Between two requests to the cloud for a token that wins a name back: a thief that has the device's key as well shall not make the camera
/// ask without end.
const NAME_REQUEST_INTERVAL: Duration = Duration::from_secs(5);
/// For the goodbye to reach the server.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two requests for a key frame while the queue waits for one.
const KEYFRAME_REQUEST_INTERVAL: Duration = Duration::from_secs(1);

/// The camera's streaming brain. See the crate's page for how to drive it. `QUEUE` frames may wait for the link.
#[derive(Debug)]
pub struct Pusher<P, const QUEUE: usize> {
    /// Its `server` holds the present set of servers, wherever it came from: see [`Servers`].
    config: Config,
    /// The set of servers was given by hand, and no one is asked.
    is_server_fixed: bool,
    /// What was agreed: the preset, lowered by the answer.
    ceiling: Settings,
    /// What is asked of the encoder on a link that carries it: the ceiling, or less where the uplink was found to carry less.
    target: Settings,
    opening: Opening,
    state: StreamState,
    wish: Wish,
    timers: Timers,
    request_id: Text<64>,
    is_asking: bool,
    /// Why there is no way to the cloud, while there is none.
    signal_error: Option<ErrorCode>,
    /// What the server did not answer in time, until that is told.
    timed_out: Option<client::Stage>,
    servers: Option<Servers>,
    /// The server of the set that a reconnect request named.
    moves_to: Option<usize>,
    sets_exhausted: u32,
    backoff: Backoff,
    /// Made once, and begun anew for each link; it keeps the tracks.
    session: client::Session<P, SESSION_QUEUE>,
    streaming_since: Option<Instant>,
    /// `stream_started` waits for it.
    debut: Option<Debut>,
    /// Tries left for a name that the server may still hold for the connection that was lost.
    held_name_tries: u32,
    /// When the cloud was last asked for a token because the name was refused.
    asked_for_name_at: Option<Instant>,
    in_session: Deque<Instant, { SESSION_QUEUE + 1 }>,
    /// Of the frames in the session.
    session_bytes: u64,
    queue: FrameQueue<P, QUEUE>,
    rate: RateControl,
    ladder: Ladder,
    keyframe_asked_at: Option<Instant>,
    flight: Flight<QUEUE>,
    clock: CaptureClock,
    /// Names the session in status events.
    session_number: u32,
    tally: Option<Tally>,
    dropped_before: u64,
    outbox: Outbox,
}

/// Bytes of a pusher with a second of `ultra`, on a processor of 64 bits; on one of 32 the firmware's own assertions are the stricter ones.
const BYTES_MAX: usize = 11 * 1024;
const _: () = assert!(size_of::<Pusher<&[u8], 30>>() <= BYTES_MAX, "the pusher has grown: see docs/design/0004-memory-on-the-chip.md");

impl<P: AsRef<[u8]>, const QUEUE: usize> Pusher<P, QUEUE> {
    /// A pusher at rest. An always-on one starts with the first [`Self::handle_timeout`]. `seed`: other for each start of a
    /// device; it makes jitter and ids, no secrets.
    #[must_use]
    pub fn new(mut config: Config, seed: u64) -> Self {
        let servers = config.server.as_mut().map(Servers::fixed);
        let target = config.wanted();
        let mut timers = Timers::default();
        timers.set(Timer::Patience, (config.trigger == Trigger::AlwaysOn).then_some(Instant::ZERO));
        Self {
            ceiling: target,
            target,
            opening: Opening::default(),
            state: at_rest(config.trigger),
            wish: Wish::default(),
            timers,
            request_id: Text::new(),
            is_asking: false,
            signal_error: None,
            timed_out: None,
            is_server_fixed: servers.is_some(),
            servers,
            moves_to: None,
            sets_exhausted: 0,
            backoff: Backoff::new(config.reconnect_interval, config.reconnect_jitter, seed),
            session: client::Session::idle(),
            streaming_since: None,
            debut: None,
            held_name_tries: 0,
            asked_for_name_at: None,
            in_session: Deque::new(),
            session_bytes: 0,
            queue: FrameQueue::new(config.queue_frames_max, config.queue_bytes_max, config.target_latency.mul_f32(STALE_SHARE)),
            rate: RateControl::new(target.bitrate_bps, config.min_bitrate_bps, config.target_latency),
            ladder: Ladder::default(),
            keyframe_asked_at: None,
            flight: Flight::default(),
            clock: CaptureClock::default(),
            session_number: 0,
            tally: None,
            dropped_before: 0,
            outbox: Outbox::default(),
            config,
        }
    }

    /// Where the stream is.
    #[must_use]
    pub const fn state(&self) -> StreamState {
        self.state
    }

    /// The numbers that the encoder was last asked for.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.ladder.apply(Settings { bitrate_bps: self.rate.bitrate_bps(), ..self.target })
    }

    /// True while frames are taken.
    #[must_use]
    pub const fn is_streaming(&self) -> bool {
        matches!(self.state, StreamState::Streaming)
    }

    /// Whether the server takes frames of this codec; known while [`Self::is_streaming`].
    #[must_use]
    pub fn takes(&self, codec: Codec) -> bool {
        self.session.is_taken(codec)
    }

    /// True when every frame that was taken has gone out, or there is no stream.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.state != StreamState::Streaming || (self.queue.is_empty() && self.session.queue_len() == 0)
    }

    /// One thing that happened.
    pub fn handle(&mut self, now: Instant, input: Input<'_, P>) {
        if matches!(input, Input::SignalUp) {
            self.signal_error = None;
        }
        match input {
            Input::Signal(ToDevice::Response(response)) => self.on_response(now, response),
            Input::Signal(ToDevice::Command(command)) => self.on_command(now, command),
            Input::SignalDown(code) => {
                self.signal_error = Some(code);
                if self.state == StreamState::Requesting {
                    self.fail(now, code);
                }
            }
            Input::SignalUp => match self.state {
                // The question may have been lost with the old way: the same one again gets the same answer, and costs no second server.
                StreamState::Requesting if self.is_asking => self.outbox.request(),
                StreamState::Reconnecting if self.servers.is_none() => self.ask(now),
                // Nothing else says where a stream is that waits for its trigger.
                StreamState::Idle | StreamState::Standby | StreamState::Error => {
                    self.outbox.state(Figures::default());
                }
                StreamState::Requesting
                | StreamState::Connecting
                | StreamState::Streaming
                | StreamState::Reconnecting
                | StreamState::Stopping => {}
            },
            Input::NetworkUp => {
                if self.state == StreamState::Reconnecting {
                    self.begin(now);
                }
            }
            Input::LinkUp => self.on_link_up(now),
            Input::LinkClosed(code) => self.on_link_closed(now, code),
            Input::LinkBytes(bytes) => {
                if self.session.has_begun() && self.session.handle_bytes(now, bytes).is_err() {
                    self.lose(now, ErrorCode::RtmpHandshakeFailed);
                }
            }
            Input::Acknowledged { bytes, outstanding } => self.on_acknowledged(now, bytes, outstanding),
            Input::Track(track) => self.on_track(now, track),
            Input::SourceRate(fps) => self.on_source_rate(fps),
            Input::Frame(frame, captured_at) => self.on_frame(now, frame, captured_at),
            Input::Clock(wall) => self.clock.see_own(now, wall),
            Input::Past(is_past) => self.clock.pause(is_past),
            Input::Failed(code) => self.give_up(now, code),
            Input::SourceLost { code, attempts, next_retry } => self.report(code, next_retry, attempts),
            Input::Start => self.start(now, None),
            Input::StartFor(lease) => self.start(now, Some(lease)),
            Input::Stop => self.stop(now),
            Input::Trigger(is_open) => self.on_trigger(now, is_open),
            Input::Quality(settings) => self.set_target(Quality::of(settings), settings),
            Input::Bitrate(bitrate_bps) => self.set_target(self.config.quality, Settings { bitrate_bps, ..self.ceiling }),
            Input::AdaptiveBitrate(is_adaptive) => self.config.adaptive_bitrate = is_adaptive,
            Input::StreamKey(name) => {
                if let Some(server) = self.config.server.as_mut().filter(|_| self.is_server_fixed) {
                    server.name = name;
                    self.servers = Some(Servers::fixed(server));
                }
            }
        }
        self.settle(now);
    }

    /// Time passed: call it at [`Self::poll_timeout`], or whenever.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.timers.take_ended(Timer::Patience, now) {
            match self.state {
                StreamState::Idle => self.start(now, None),
                StreamState::Requesting => self.fail(now, self.signal_error.unwrap_or(ErrorCode::DiscoveryTimeout)),
                StreamState::Connecting => self.lose(now, ErrorCode::RtmpConnectTimeout),
                StreamState::Reconnecting => self.begin(now),
                StreamState::Stopping => self.rest(now),
                StreamState::Streaming | StreamState::Error | StreamState::Standby => {}
            }
        }
        if self.timers.take_ended(Timer::Lease, now) {
            self.end_lease(now);
        }
        if self.session.handle_timeout(now).is_err() {
            self.timed_out = Some(self.session.stage());
            self.lose(now, ErrorCode::RtmpConnectTimeout);
        }
        match self.state {
            StreamState::Streaming => self.tend(now),
            StreamState::Connecting => self.tend_check(now),
            StreamState::Idle
            | StreamState::Requesting
            | StreamState::Reconnecting
            | StreamState::Stopping
            | StreamState::Error
            | StreamState::Standby => {}
        }
        self.settle(now);
    }

    /// When to call [`Self::handle_timeout`], at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let always = [self.timers.get(Timer::Patience), self.timers.get(Timer::Lease), self.session.poll_timeout(), self.check_ends_at()];
        let streaming = if self.is_streaming() { self.streaming_timeouts() } else { Default::default() };
        always.into_iter().chain(streaming).flatten().min()
    }

    /// What ends while it streams: metrics, a tick of the rate control, a frame's time in the queue, the link's time to take bytes.
    fn streaming_timeouts(&self) -> [Option<Instant>; 5] {
        [
            self.debut.as_ref().map(Debut::ends_at),
            self.timers.get(Timer::Metrics),
            self.rate.next_tick(),
            if self.config.frame_dropping { self.queue.expires_at() } else { None },
            self.flight.progress_at().map(|at| at + self.config.send_timeout),
        ]
    }

    /// Bytes for the link, in two slices: write the first, then the second. The first empty: nothing to write.
    #[must_use]
    pub fn pending(&self) -> [&[u8]; 2] {
        self.session.pending()
    }

    /// The link took the first `bytes` of [`Self::pending`].
    pub fn consumed(&mut self, now: Instant, bytes: usize) {
        if self.session.has_begun() {
            self.session.consumed(bytes);
            self.flight.hand(now, bytes);
        }
        self.settle(now);
    }

    // What is rare is not inlined: the frame that every input pays for on a chip's stack would hold what all of them need.
    //
    // ---- from here on: what each input means --------------------------------------------------------------------------

    /// Ends for good: no link, no session, the last figures reported.
    #[inline(never)]
    fn rest(&mut self, now: Instant) {
        self.drop_link();
        if let Some(tally) = self.tally.take() {
            let dropped = self.queue.dropped() - self.dropped_before;
            self.outbox.event(Event::Stopped { session: self.session_number, metrics: tally.finish(now, dropped) });
        }
        self.forget_check();
        let state = if self.wish.is_any() { StreamState::Error } else { at_rest(self.config.trigger) };
        self.enter(state, None);
    }

    /// Dials, or asks where to.
    fn begin(&mut self, now: Instant) {
        match &mut self.servers {
            Some(servers) if !servers.is_expired(now) => self.dial(now),
            _ => self.ask(now),
        }
    }

    fn ask(&mut self, now: Instant) {
        self.send_request(now);
        self.enter(StreamState::Requesting, Some(now + self.config.discovery_timeout));
    }

    #[inline(never)]
    fn send_request(&mut self, now: Instant) {
        let mut request_id = text("stream_");
        push_hex(&mut request_id, self.backoff.next_random() as u32);
        push_hex(&mut request_id, self.backoff.next_random() as u32);
        self.request_id = request_id;
        self.is_asking = true;
        self.clock.ask(now);
        self.outbox.request();
    }

    #[inline(never)]
    fn on_response(&mut self, now: Instant, response: &Response) {
        if !self.is_asking || response.request_id != self.request_id {
            return;
        }
        self.is_asking = false;
        if let Some(unix_ms) = response.server_time_ms {
            self.clock.hear(now, unix_ms);
        }
        let waits = self.state == StreamState::Requesting;
        let in_use = self.server_in_use();
        let answered = if response.success { Servers::of(response, now, &mut self.config.server) } else { None };
        match answered {
            Some(mut servers) => {
                let place = in_use.as_ref().zip(self.config.server.as_ref()).map(|(in_use, set)| place_of(set, in_use));
                match place {
                    // A refresh moves nothing: the stream stays where it is, and the next server is the one after it.
                    Some(Some(place)) => servers.go_to(place),
                    Some(None) => servers.go_before_the_first(),
                    None => {}
                }
                let is_elsewhere = place == Some(None) && self.state == StreamState::Connecting;
                self.servers = Some(servers);
                if is_elsewhere {
                    let _ = self.advance();
                    self.dial(now);
                }
                self.ceiling = effective_settings(self.config.wanted(), response, self.config.source_fps_max);
                self.retarget();
                if waits {
                    self.dial(now);
                }
            }
            None if waits => {
                let code = response.error_code.unwrap_or(ErrorCode::NoServerAvailable);
                self.fail_after(now, code, response.retry_after.map(|secs| Duration::from_secs(u64::from(secs))));
            }
            None => {}
        }
    }

    /// The server that streams go to, or are on their way to.
    #[inline(never)]
    fn server_in_use(&self) -> Option<Text<192>> {
        let is_in_use = matches!(self.state, StreamState::Streaming | StreamState::Connecting);
        let (servers, set) = self.servers.as_ref().zip(self.config.server.as_ref()).filter(|_| is_in_use)?;
        set.tc_urls.get(servers.next()).cloned()
    }

    #[inline(never)]
    fn dial(&mut self, now: Instant) {
        let (Some(servers), Some(set)) = (&mut self.servers, &self.config.server) else { return };
        if servers.next() >= set.tc_urls.len() {
            servers.rewind();
        }
        self.outbox.hang_up();
        self.outbox.dial();
        self.session.reset();
        self.in_session.clear();
        self.session_bytes = 0;
        self.enter(StreamState::Connecting, Some(now + self.config.connect_timeout));
    }

    #[inline(never)]
    fn on_link_up(&mut self, now: Instant) {
        let (Some(servers), Some(set)) = (&self.servers, &self.config.server) else { return };
        if self.state != StreamState::Connecting || self.session.has_begun() {
            return;
        }
        let config = client::Config {
            chunk_size: self.config.chunk_size,
            handshake_timeout: self.config.handshake_timeout,
            publish_timeout: self.config.publish_timeout,
            waits_connected: true,
            ..client::Config::default()
        };
        let seed = self.backoff.next_random();
        let tc_url = set.tc_urls.get(servers.next()).map_or("", Text::as_str);
        match self.session.begin(config, tc_url, &set.name, now, seed) {
            Ok(()) => {
                self.timers.set(Timer::Patience, None);
                self.flight = Flight::new(now);
            }
            Err(_) => self.lose(now, ErrorCode::StreamKeyInvalid),
        }
    }

    fn on_link_closed(&mut self, now: Instant, code: Option<ErrorCode>) {
        match self.state {
            StreamState::Connecting => self.lose(now, code.unwrap_or_else(|| self.ended_early())),
            StreamState::Streaming => self.lose(now, code.unwrap_or(ErrorCode::ConnectionLost)),
            StreamState::Stopping => self.rest(now),
            StreamState::Idle | StreamState::Requesting | StreamState::Reconnecting | StreamState::Error | StreamState::Standby => {}
        }
    }

    /// A server that only closes has refused what it was asked for last: nginx-rtmp does so with an application that it does not have, and
    /// with a name that its owner's hook refuses. One without room, our origin too, closes unasked and unread.
    fn ended_early(&self) -> ErrorCode {
        if !self.session.has_begun() {
            return ErrorCode::RtmpConnectTimeout;
        }
        match self.session.stage() {
            client::Stage::Unanswered => ErrorCode::ServerOverloaded,
            client::Stage::Handshake => ErrorCode::RtmpHandshakeFailed,
            client::Stage::Connect => ErrorCode::RtmpConnectRejected,
            client::Stage::Publish => ErrorCode::StreamKeyInvalid,
            client::Stage::Done => ErrorCode::ConnectionLost,
        }
    }

    /// The source or the encoder failed for good: a stream that is wanted ends in error until someone starts it.
    #[inline(never)]
    fn give_up(&mut self, now: Instant, code: ErrorCode) {
        self.report(code, Duration::ZERO, 0);
        if !matches!(self.state, StreamState::Idle | StreamState::Standby) {
            self.rest(now);
        }
        self.outbox.status(Status { state: self.state, error: Some(code), next_retry: None });
    }

    /// The connection is gone, or was abandoned.
    #[inline(never)]
    fn lose(&mut self, now: Instant, code: ErrorCode) {
        if self.state == StreamState::Stopping {
            self.rest(now);
            return;
        }
        if self.check_was_cut() {
            self.drop_link();
            self.begin(now);
            return;
        }
        let held = self.streaming_since.map(|since| now.since(since));
        if held.is_some() {
            self.held_name_tries = HELD_NAME_TRIES;
        }
        self.drop_link();
        if self.config.auto_reconnect && held.is_some_and(|held| held >= WORTH_RETRYING_AT_ONCE) {
            self.report_error(code, Duration::ZERO);
            let _ = self.advance();
            self.begin(now);
        } else {
            self.fail(now, code);
        }
    }

    /// The server refused. A name that we had a moment ago is someone else's now, or still held for our own last connection: a fresh token
    /// takes it back from either, where there is a cloud that gives one. All else is a failure.
    #[inline(never)]
    fn on_rejected(&mut self, now: Instant, code: &str) {
        let is_name = code == "NetStream.Publish.BadName" && self.config.auto_reconnect;
        let was_ours = match self.state {
            StreamState::Streaming => !self.is_server_fixed,
            StreamState::Connecting => self.held_name_tries > 0,
            StreamState::Idle
            | StreamState::Requesting
            | StreamState::Reconnecting
            | StreamState::Stopping
            | StreamState::Error
            | StreamState::Standby => false,
        };
        if is_name && was_ours {
            if self.state == StreamState::Streaming {
                self.held_name_tries = HELD_NAME_TRIES;
                // What another does is no failure of ours: it shall not cost minutes.
                self.backoff.reset();
                self.sets_exhausted = 0;
            }
            self.held_name_tries = self.held_name_tries.saturating_sub(1);
            self.drop_link();
            let may_ask = self.asked_for_name_at.is_none_or(|at| now.since(at) >= NAME_REQUEST_INTERVAL);
            if may_ask && !self.is_server_fixed {
                self.asked_for_name_at = Some(now);
                self.report_error(ErrorCode::StreamKeyInvalid, Duration::ZERO);
                self.ask(now);
                return;
            }
            let delay = self.backoff.jittered(HELD_NAME_INTERVAL);
            self.report_error(ErrorCode::StreamKeyInvalid, delay);
            self.enter(StreamState::Reconnecting, Some(now + delay));
            return;
        }
        self.lose(now, if code.starts_with("NetStream.") { ErrorCode::StreamKeyInvalid } else { ErrorCode::RtmpConnectRejected });
    }

    #[inline(never)]
    fn drop_link(&mut self) {
        self.moves_to = None;
        self.announce();
        if self.streaming_since.take().is_some() {
            self.outbox.encoder(EncoderAction::Stop);
        }
        // What the session still held never arrived whole.
        self.queue.count_dropped(self.session.queue_len() as u64);
        self.session.reset();
        self.in_session.clear();
        self.session_bytes = 0;
        self.queue.clear_as_dropped();
        self.outbox.hang_up();
    }

    /// The server wants to be left, for another or for its own successor (E-RTMP v2, "Reconnect Request"). Only a server of the present
    /// set is gone to: the cloud named those, a server alone may name anyone.
    #[inline(never)]
    fn on_reconnect_request(&mut self, now: Instant, tc_url: &str) {
        let has_held = self.streaming_since.is_some_and(|since| now.since(since) >= RECONNECT_INTERVAL);
        let place = self.config.server.as_ref().filter(|_| self.servers.is_some()).and_then(|set| place_of(set, tc_url));
        if self.state == StreamState::Streaming && has_held && place.is_some() {
            self.moves_to = place;
            self.outbox.encoder(EncoderAction::Keyframe);
        }
    }

    /// Leaves for the server that was asked for, once all before the next IDR is sent.
    fn move_at_idr(&mut self, now: Instant) {
        let is_boundary = self.queue.next_is_idr() && self.session.queue_len() == 0;
        let Some(place) = self.moves_to.filter(|_| is_boundary) else { return };
        self.drop_link();
        if let Some(servers) = &mut self.servers {
            servers.go_to(place);
        }
        self.begin(now);
    }

    /// Moves on to the next server; false when the round is over, or there is none.
    fn advance(&mut self) -> bool {
        self.servers.as_mut().zip(self.config.server.as_ref()).is_some_and(|(servers, set)| servers.advance(set))
    }

    fn fail(&mut self, now: Instant, code: ErrorCode) {
        self.fail_after(now, code, None);
    }

    /// One try failed. The next server of the round is tried at once; after the round the backoff decides.
    #[inline(never)]
    fn fail_after(&mut self, now: Instant, code: ErrorCode, at_least: Option<Duration>) {
        let was_asking = self.state == StreamState::Requesting;
        let is_refused = matches!(code, ErrorCode::StreamKeyInvalid | ErrorCode::PermissionDenied | ErrorCode::RtmpConnectRejected);
        if !self.config.auto_reconnect {
            self.report_error(code, Duration::ZERO);
            self.rest(now);
            return;
        }
        if !was_asking && self.advance() {
            self.report_error(code, Duration::ZERO);
            self.begin(now);
            return;
        }
        let mut delay = self.backoff.fail().max(at_least.unwrap_or(Duration::ZERO));
        let attempts = self.backoff.failures();
        if attempts >= self.config.max_reconnect_attempts {
            self.sets_exhausted += 1;
            let sets = if self.is_server_fixed { 1 } else { 2 };
            if self.sets_exhausted >= sets {
                if self.config.trigger != Trigger::AlwaysOn {
                    self.report_error(code, Duration::ZERO);
                    self.rest(now);
                    return;
                }
                delay = self.backoff.jittered(SLOW_RETRY);
            } else {
                self.backoff.reset();
            }
        }
        if !self.is_server_fixed && (is_refused || attempts >= self.config.max_reconnect_attempts) {
            // A refused token is stale, and a set that failed that often may be too: ask again.
            self.servers = None;
        } else if let Some(servers) = &mut self.servers {
            servers.rewind();
        }
        self.report(code, delay, attempts);
        self.enter(StreamState::Reconnecting, Some(now + delay));
        self.outbox.status(Status { state: self.state, error: Some(code), next_retry: Some(delay) });
    }

    fn report_error(&mut self, code: ErrorCode, delay: Duration) {
        self.report(code, delay, self.backoff.failures());
    }

    fn report(&mut self, code: ErrorCode, delay: Duration, attempts: u32) {
        let next_retry_in_sec = u32::try_from(delay.as_millis().div_ceil(1000)).unwrap_or(u32::MAX);
        let message = self.timed_out.take().map_or_else(|| describe(code), describe_timeout);
        self.outbox.event(Event::Error { code, message, attempts, next_retry_in_sec });
    }

    #[inline(never)]
    fn on_track(&mut self, now: Instant, track: Track) {
        let is_taken = self.session.is_taken(track.config.codec());
        if self.session.tracks().any(|known| known.id == track.id && *known != track) {
            // Frames of the old configuration can't follow the new one.
            self.queue.clear_as_dropped();
        }
        self.session.set_track(track);
        // Another server may take it.
        if self.state == StreamState::Streaming && !is_taken {
            self.lose(now, ErrorCode::FrameFormatUnsupported);
        }
    }

    /// What is agreed and aimed at can't have more pictures than there are.
    #[inline(never)]
    fn on_source_rate(&mut self, fps: u32) {
        self.config.source_fps_max = fps.max(1);
        self.ceiling.fps = self.ceiling.fps.min(fps.max(1));
        self.retarget();
    }

    fn on_frame(&mut self, now: Instant, frame: Frame<P>, captured_at: Instant) {
        if self.state != StreamState::Streaming {
            return;
        }
        if frame.track == TrackId::VIDEO
            && let Some(tally) = &mut self.tally
        {
            tally.offer();
        }
        self.queue.push(frame, captured_at, now);
    }

    #[inline(never)]
    fn on_command(&mut self, now: Instant, command: &Command) {
        let lease = command.lease_sec.map(|secs| Duration::from_secs(u64::from(secs)));
        let mut refused = None;
        match command.cmd {
            CommandName::Start if !self.config.live_streaming => {
                refused = Some((ErrorCode::PermissionDenied, "enable_live_streaming is off on this device"));
            }
            CommandName::Start => self.start(now, lease),
            CommandName::Renew => {
                if let Some(until) = self.timers.get(Timer::Lease) {
                    // It lengthens: who watches for a moment does not end what an operator has started for an hour.
                    self.timers.set(Timer::Lease, Some(until.max(now + lease.unwrap_or(self.config.lease))));
                }
            }
            CommandName::Stop => self.stop(now),
            CommandName::Keyframe => self.outbox.encoder(EncoderAction::Keyframe),
            CommandName::Snapshot => {
                refused = Some((ErrorCode::FrameFormatUnsupported, "this camera gives no pictures of its own: fetch the origin's"))
            }
            CommandName::Rotate => self.rotate(now),
            CommandName::SetQuality => match self.quality_of(command) {
                Some((quality, settings)) => self.set_target(quality, settings),
                None => refused = Some((ErrorCode::InvalidQuality, "size, fps or bitrate_bps is missing or out of range")),
            },
            CommandName::SetBitrate => match command.bitrate_bps.filter(|&bps| bps >= CustomQuality::BITRATE_BPS_MIN) {
                Some(bitrate_bps) => self.set_target(self.config.quality, Settings { bitrate_bps, ..self.ceiling }),
                None => refused = Some((ErrorCode::InvalidQuality, "bitrate_bps is missing or under 50000")),
            },
        }
        self.outbox.result(Verdict { command_id: command.command_id.clone(), refused });
    }

    /// A fresh token. A running stream keeps running; one that waits for its turn is tried with it at once, because the cloud
    /// sends this when a server has come back.
    fn rotate(&mut self, now: Instant) {
        if self.is_server_fixed {
            return;
        }
        match self.state {
            StreamState::Reconnecting | StreamState::Error if self.wish.is_any() => {
                self.backoff.reset();
                self.ask(now);
            }
            StreamState::Streaming | StreamState::Connecting => self.send_request(now),
            StreamState::Idle
            | StreamState::Requesting
            | StreamState::Stopping
            | StreamState::Standby
            | StreamState::Reconnecting
            | StreamState::Error => {}
        }
    }

    fn quality_of(&self, command: &Command) -> Option<(Quality, Settings)> {
        let quality = command.quality?;
        let settings = match quality.settings() {
            Some(preset) => Settings { bitrate_bps: command.bitrate_bps.unwrap_or(preset.bitrate_bps), ..preset },
            None => Settings { width: command.width?, height: command.height?, fps: command.fps?, bitrate_bps: command.bitrate_bps? },
        };
        let fps_max = self.config.source_fps_max;
        // A preset is what the source makes of it; numbers of one's own are meant.
        let settings = if quality == Quality::Custom { settings } else { Settings { fps: settings.fps.min(fps_max), ..settings } };
        CustomQuality::new(settings, fps_max).ok().map(|checked| (quality, checked.settings()))
    }

    #[inline(never)]
    fn set_target(&mut self, quality: Quality, settings: Settings) {
        self.config.quality = quality;
        self.config.custom = CustomQuality::new(settings, settings.fps).ok();
        self.ceiling = settings;
        self.forget_check();
        if self.state == StreamState::Streaming {
            self.outbox.encoder(EncoderAction::Change(self.settings()));
        }
    }

    fn enter(&mut self, state: StreamState, patience: Option<Instant>) {
        self.timers.set(Timer::Patience, patience);
        if self.state != state {
            self.state = state;
            self.outbox.status(Status { state, error: None, next_retry: None });
            self.outbox.state(Figures::default());
        }
    }
}

/// Where a stream is that nobody wants now.
const fn at_rest(trigger: Trigger) -> StreamState {
    match trigger {
        Trigger::Manual | Trigger::AlwaysOn => StreamState::Idle,
        Trigger::Motion | Trigger::Scheduled | Trigger::OnDemand => StreamState::Standby,
    }
}

/// As much of `message` as fits; ours are ASCII.
fn text<const N: usize>(message: &str) -> Text<N> {
    Text::try_from(message.get(..message.len().min(N)).unwrap_or_default()).unwrap_or_default()
}

fn push_hex<const N: usize>(out: &mut Text<N>, value: u32) {
    use core::fmt::Write as _;
    // Eight digits fit wherever this is called.
    let _ = write!(out, "{value:08x}");
}
