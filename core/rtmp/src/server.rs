//! The server's side of one connection: a publisher, a player, or someone who only scans ports.
//!
//! Feed [`Session::handle_bytes`] and [`Session::handle_timeout`], then drain [`Session::poll_output`] until it gives
//! [`Output::Timeout`]. The session asks through [`Event::PublishRequested`] and [`Event::PlayRequested`] and waits for the answer.
//! After [`Session::accept_play`] the media does not pass through the session: the shell writes what [`shared`] made, between
//! the session's own whole messages.

mod clock;
mod demuxer;
mod link;
#[cfg(feature = "fuzzing")]
mod opened;
pub mod shared;

use crate::amf0::Value;
use crate::capabilities::Capabilities;
use crate::chunk::CHUNK_SIZE_MAX;
use crate::error::{Cause, Error};
use crate::handshake::{self, OPENING_BYTES, PACKET_BYTES};
use crate::message::aggregate;
use crate::message::command::{Command, Outgoing};
use crate::message::data::Metadata;
use crate::message::properties;
use crate::message::user_control::UserControl;
use crate::message::{CSID_CONTROL, Kind, type_id};
use crate::wire::cut_text;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;
pub(crate) use demuxer::{Demuxer, Media};
pub(crate) use link::{Link, Message};
use sightline_media::{Frame, Instant, Track};

/// The window that we announce, and after which we acknowledge until the peer sets its own: what FMS, nginx-rtmp and SRS use.
pub(crate) const WINDOW_BYTES: u32 = 2_500_000;
/// Streams that one connection may create. Encoders create one; a few create a second after a failure.
const STREAMS_MAX: u32 = 8;
/// The longest application and stream name with its query, in bytes: room for a token of 384 and another's parameters.
const NAME_BYTES_MAX: usize = 1024;

/// Bytes that a publisher may leave in unfinished messages of all its chunk streams together: one message of the largest size and
/// another under way beside it.
pub(crate) const PARTIAL_BYTES_MAX: usize = 12 * 1024 * 1024;
/// The same for a peer that was not let in yet: commands are under 2 KiB, and a first frame may follow them unasked.
pub(crate) const ASKING_BYTES_MAX: usize = 64 * 1024;
/// Messages that are kept of a publisher that was not let in yet: metadata, two sequence headers, and a second's frames.
const EARLY_MESSAGES_MAX: usize = 128;
/// How long a picture waits for slices that come in messages of their own, or for the next one, which tells that it is whole: two at five a second.
const SLICES_WAIT: Duration = Duration::from_millis(400);

/// The longest code and the longest description of a status, in bytes; longer ones are cut.
const STATUS_BYTES_MAX: usize = 256;

/// How a session behaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The largest chunk that we send, in bytes; 128 to 1 MiB.
    pub chunk_size: u32,
    /// The applications that a client may connect to; empty: all.
    pub apps: Vec<String>,
    /// How long from the connection's start to the end of the handshake.
    pub handshake_timeout: Duration,
    /// How long from there to a publish or play, and from a stream's end to the next.
    pub command_timeout: Duration,
    /// How long a publisher may take to send [`Config::idle_bytes_min`].
    pub idle_timeout: Duration,
    /// What a publisher must send within each [`Config::idle_timeout`], in bytes: one that trickles holds its stream's name for nothing.
    pub idle_bytes_min: u32,
    /// The longest message taken, in bytes; the field ends at 16 MiB.
    pub message_bytes_max: u32,
    /// Bytes that a publisher may leave in unfinished messages of all its chunk streams together. Until it is let in: 64 KiB.
    pub partial_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            chunk_size: 4096,
            apps: Vec::new(),
            handshake_timeout: Duration::from_secs(10),
            command_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            // AAC that carries silence makes 20 KiB in that time.
            idle_bytes_min: 1024,
            message_bytes_max: crate::chunk::MESSAGE_BYTES_MAX,
            partial_bytes_max: PARTIAL_BYTES_MAX,
        }
    }
}

/// A name's query, which may hold a token: `Debug` prints `***`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Query(String);

impl Query {
    /// The whole query, without its question mark.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value of the first parameter of that name, as it was sent.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        parameter(&self.0, key)
    }
}

/// The value of a query's first parameter of that name, as it was sent.
#[must_use]
pub fn parameter<'a>(query: &'a str, key: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| pair.split_once('=').filter(|(name, _)| *name == key)).map(|(_, value)| value)
}

impl core::fmt::Debug for Query {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(if self.0.is_empty() { "" } else { "***" })
    }
}

/// How a stream is to be published (§7.2.2.6). What is recorded is the server's to say, so a server may take all three alike.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PublishKind {
    /// Sent on, and not kept. Also for a client that names none.
    #[default]
    Live,
    /// Kept in a new file.
    Record,
    /// Kept behind what was kept before.
    Append,
}

/// What a peer asks or sends.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// It wants to publish: answer with [`Session::accept_publish`] or [`Session::reject_publish`].
    PublishRequested {
        /// The application, without query.
        app: String,
        /// The stream's name.
        name: String,
        /// What followed the name's `?`, or the application's if the name has none.
        query: Query,
        /// What it wants to be done with the stream.
        kind: PublishKind,
    },
    /// It wants to play: answer with [`Session::accept_play`] or [`Session::reject_play`].
    PlayRequested {
        /// The application, without query.
        app: String,
        /// The stream's name.
        name: String,
        /// As in [`Event::PublishRequested`].
        query: Query,
    },
    /// A track's decoder configuration, when it is new or has changed.
    Track(Box<Track>),
    /// A frame of a track that was announced.
    Frame(Frame<Bytes>),
    /// What the publisher says about its stream: the values behind `onMetaData`.
    Metadata(sightline_media::Metadata),
    /// Media that can't be taken: a codec, a broken configuration, frames without one. Said once a kind.
    Unsupported {
        /// What it was.
        what: &'static str,
    },
    /// Something that no standard allows and that harms nothing: it is taken. Said once a kind.
    Quirk {
        /// What it was, and who is known to do it.
        what: &'static str,
    },
    /// It asked for an application that is not here, and was refused; the shell hangs up.
    AppRefused {
        /// What it asked for, without query.
        app: String,
        /// What it was told: what is here, and how an address is taken apart.
        hint: String,
    },
    /// The publisher ended its stream and may begin another.
    Unpublished,
    /// The player ended its stream, or the peer closed in order.
    Closed,
}

/// What the shell must do.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    /// Write these bytes, in order.
    Transmit(Bytes),
    /// Something happened.
    Event(Event),
    /// Nothing more until bytes come or this time does.
    Timeout(Option<Instant>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    None,
    PublishAsked { stream_id: u32 },
    Publishing { stream_id: u32 },
    PlayAsked { stream_id: u32 },
    Playing { stream_id: u32 },
}

/// How far the handshake is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Opening {
    /// C0 and C1 are coming into `opening_bytes`.
    Awaiting,
    /// S0 S1 S2 are sent, this many bytes of C2 are still to come.
    Echo(usize),
    Done,
}

/// One connection.
pub struct Session {
    config: Config,
    seed: u64,
    opening: Opening,
    opening_bytes: Vec<u8>,
    link: Link,
    app: Option<(String, Query)>,
    capabilities: Capabilities,
    streams: u32,
    role: Role,
    demuxer: Demuxer,
    events: VecDeque<Event>,
    /// What a publisher sent behind `publish` without waiting for the answer; [`ASKING_BYTES_MAX`] at most, the rest is left out.
    early: Vec<Message>,
    /// The answer to `createStream` was not handed out yet.
    is_create_unanswered: bool,
    /// `FCPublish` came, and waits for `publish` to be answered.
    is_announced: bool,
    /// When the present phase began: the handshake, the commands, or those after a stream.
    phase_began: Instant,
    last_heard: Instant,
    /// When the publisher last had sent enough to count as alive, and its bytes then.
    alive: (Instant, u64),
}

impl core::fmt::Debug for Session {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Session").field("app", &self.app).field("role", &self.role).finish_non_exhaustive()
    }
}

impl Session {
    /// For a connection that was just accepted. `seed` differs between connections; it need not be secret.
    #[must_use]
    pub fn new(config: Config, now: Instant, seed: u64) -> Self {
        let chunk_size = config.chunk_size.clamp(crate::chunk::CHUNK_SIZE_DEFAULT, CHUNK_SIZE_MAX);
        let mut link = Link::new();
        link.limit_messages(config.message_bytes_max);
        link.limit_to_asking();
        Self {
            config: Config { chunk_size, ..config },
            seed,
            opening: Opening::Awaiting,
            opening_bytes: Vec::new(),
            link,
            app: None,
            capabilities: Capabilities::default(),
            streams: 0,
            role: Role::None,
            demuxer: Demuxer::new(),
            events: VecDeque::new(),
            early: Vec::new(),
            is_create_unanswered: false,
            is_announced: false,
            phase_began: now,
            last_heard: now,
            alive: (now, 0),
        }
    }

    /// Bytes of the peer so far.
    #[must_use]
    pub fn bytes_received(&self) -> u64 {
        self.link.received()
    }

    /// True from [`Session::accept_publish`] to the end of the stream.
    #[must_use]
    pub fn is_publishing(&self) -> bool {
        matches!(self.role, Role::Publishing { .. })
    }

    /// True from [`Session::accept_play`] to the end of the stream: the shell may write shared messages.
    #[must_use]
    pub fn is_playing(&self) -> bool {
        matches!(self.role, Role::Playing { .. })
    }

    /// The chunk size of shared messages for this connection.
    #[must_use]
    pub fn chunk_size(&self) -> u32 {
        self.config.chunk_size
    }

    /// What the peer said in `connect` that it can do; empty before it.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Asks the peer to connect anew (E-RTMP v2, "Reconnect Request"): to `tc_url`, or to this server again. It goes on until its next
    /// key frame and then leaves by itself; the session takes what it sends until then. False: the peer did not say that it can, and
    /// nothing was sent.
    pub fn request_reconnect(&mut self, tc_url: Option<&str>, description: &str) -> bool {
        let can = self.app.is_some() && self.capabilities.can_reconnect();
        if can {
            let tc_url = &cut_text::<{ crate::client::TC_URL_BYTES_MAX }>(tc_url.unwrap_or(""));
            self.link.command(0, &Outgoing::Reconnect { tc_url, description: &cut_text::<STATUS_BYTES_MAX>(description) });
        }
        can
    }

    /// Takes what the peer sent, in pieces of any size. Drain [`Session::poll_output`] afterwards.
    ///
    /// # Errors
    /// The peer breaks the protocol: write what is still to be transmitted if you like, and hang up.
    pub fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) -> Result<(), Error> {
        self.last_heard = now;
        let read = self.read(bytes);
        if self.link.received() - self.alive.1 >= u64::from(self.config.idle_bytes_min) {
            self.alive = (now, self.link.received());
        }
        read.map_err(|cause| Error { cause, at_byte: self.link.received() })
    }

    /// The peer has hung up: nothing follows. Drain [`Session::poll_output`] afterwards.
    pub fn handle_end(&mut self) {
        if self.is_publishing() {
            self.demuxer.flush(&mut self.events);
        }
    }

    /// A deadline may have passed.
    ///
    /// # Errors
    /// The peer was too slow: hang up.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        if self.is_publishing() && self.demuxer.is_holding() && now >= self.last_heard + SLICES_WAIT {
            self.demuxer.flush(&mut self.events);
        }
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return Ok(());
        }
        let cause = match (self.is_publishing(), self.opening) {
            (true, _) => Cause::IdleTimeout,
            (false, Opening::Done) => Cause::CommandTimeout,
            (false, Opening::Awaiting | Opening::Echo(_)) => Cause::HandshakeTimeout,
        };
        Err(Error { cause, at_byte: self.link.received() })
    }

    fn deadline(&self) -> Option<Instant> {
        match self.role {
            Role::None | Role::PublishAsked { .. } | Role::PlayAsked { .. } => {
                let is_open = self.opening == Opening::Done;
                Some(self.phase_began + if is_open { self.config.command_timeout } else { self.config.handshake_timeout })
            }
            Role::Publishing { .. } if self.demuxer.is_holding() => Some(self.last_heard + SLICES_WAIT),
            Role::Publishing { .. } => Some(self.alive.0 + self.config.idle_timeout),
            Role::Playing { .. } => None,
        }
    }

    /// What to do next; [`Output::Timeout`] ends the drain.
    pub fn poll_output(&mut self) -> Output {
        if let Some(bytes) = self.link.take_output() {
            self.is_create_unanswered = false;
            return Output::Transmit(bytes);
        }
        match self.events.pop_front() {
            Some(event) => Output::Event(event),
            None => Output::Timeout(self.deadline()),
        }
    }

    /// Lets the publisher begin.
    pub fn accept_publish(&mut self) {
        if let Role::PublishAsked { stream_id } = self.role {
            self.role = Role::Publishing { stream_id };
            self.alive = (self.last_heard, self.link.received());
            self.link.limit_partial(self.config.partial_bytes_max);
            self.demuxer = Demuxer::new();
            self.link.user_control(UserControl::StreamBegin(stream_id));
            if core::mem::take(&mut self.is_announced) {
                self.say_announced();
            }
            self.status(stream_id, "status", "NetStream.Publish.Start", "publishing");
            for message in core::mem::take(&mut self.early) {
                self.handle_body(&message);
            }
        }
    }

    /// Refuses the publisher, with a code such as `NetStream.Publish.BadName`. It may ask again; the shell hangs up if it should not.
    pub fn reject_publish(&mut self, code: &str, description: &str) {
        if let Role::PublishAsked { stream_id } = self.role {
            self.role = Role::None;
            self.early = Vec::new();
            self.status(stream_id, "error", code, description);
        }
    }

    /// Ends a running publish from our side, with a code: `NetStream.Publish.BadName` when a newer publisher took over.
    pub fn end_publish(&mut self, code: &str, description: &str) {
        if let Role::Publishing { stream_id } = self.role {
            self.role = Role::None;
            self.status(stream_id, "error", code, description);
        }
    }

    /// Lets the player begin; shared messages may follow what is transmitted now.
    pub fn accept_play(&mut self) {
        if let Role::PlayAsked { stream_id } = self.role {
            self.role = Role::Playing { stream_id };
            self.link.user_control(UserControl::StreamBegin(stream_id));
            self.status(stream_id, "status", "NetStream.Play.Reset", "playing and resetting");
            self.status(stream_id, "status", "NetStream.Play.Start", "started playing");
        }
    }

    /// Refuses the player, with a code such as `NetStream.Play.StreamNotFound`.
    pub fn reject_play(&mut self, code: &str, description: &str) {
        if let Role::PlayAsked { stream_id } = self.role {
            self.role = Role::None;
            self.status(stream_id, "error", code, description);
        }
    }

    /// Tells the player that the stream is over.
    pub fn end_play(&mut self) {
        if let Role::Playing { stream_id } = self.role {
            self.role = Role::None;
            self.link.user_control(UserControl::StreamEof(stream_id));
            self.status(stream_id, "status", "NetStream.Play.UnpublishNotify", "the stream has ended");
        }
    }

    fn status(&mut self, stream_id: u32, level: &'static str, code: &str, description: &str) {
        // ffmpeg prints the description and hides the code: an error's description begins with it.
        let described = if level == "error" { alloc::format!("{code}: {description}") } else { description.into() };
        let (code, description) = (&cut_text::<STATUS_BYTES_MAX>(code), &cut_text::<STATUS_BYTES_MAX>(&described));
        self.link.command(stream_id, &Outgoing::Status { command: "onStatus", level, code, description });
    }

    fn read(&mut self, mut bytes: &[u8]) -> Result<(), Cause> {
        self.read_opening(&mut bytes)?;
        if self.opening != Opening::Done {
            return Ok(());
        }
        while let Some(message) = self.link.read(&mut bytes)? {
            self.handle_message(message)?;
            self.link.check_output()?;
        }
        self.link.acknowledge();
        Ok(())
    }

    fn read_opening(&mut self, bytes: &mut &[u8]) -> Result<(), Cause> {
        if self.opening == Opening::Awaiting {
            let wanted = OPENING_BYTES - self.opening_bytes.len();
            let (now, later) = bytes.split_at(wanted.min(bytes.len()));
            self.opening_bytes.extend_from_slice(now);
            self.link.count(now.len());
            *bytes = later;
            if let Some(&version) = self.opening_bytes.first() {
                handshake::check_version(version)?;
            }
            if self.opening_bytes.len() < OPENING_BYTES {
                return Ok(());
            }
            let opening_bytes = core::mem::take(&mut self.opening_bytes);
            handshake::answer(opening_bytes.get(1..).unwrap_or(&[]), self.seed, |part| self.link.put(part));
            self.opening = Opening::Echo(PACKET_BYTES);
        }
        if let Opening::Echo(wanted) = self.opening {
            // C2 should echo S1. Some encoders send C1 again or zeros, and nothing depends on it.
            let skipped = wanted.min(bytes.len());
            *bytes = bytes.get(skipped..).unwrap_or(&[]);
            self.link.count(skipped);
            self.opening = if skipped == wanted { Opening::Done } else { Opening::Echo(wanted - skipped) };
            if self.opening == Opening::Done {
                self.phase_began = self.last_heard;
            }
        }
        Ok(())
    }

    fn handle_message(&mut self, message: Message) -> Result<(), Cause> {
        let header = message.header;
        match (Kind::of(header.type_id), self.role) {
            (Kind::Command, _) => return self.handle_command(header.type_id, header.stream_id, &message.body),
            (_, Role::Publishing { stream_id }) if stream_id == header.stream_id => self.handle_body(&message),
            (_, Role::PublishAsked { stream_id }) if stream_id == header.stream_id => self.keep_early(message),
            _ => {}
        }
        Ok(())
    }

    /// The sequence headers are among it: without them the stream could not be played until they come again, which they may never do.
    fn keep_early(&mut self, message: Message) {
        if self.early.is_empty() {
            self.events.push_back(Event::Quirk { what: "media before publish was answered" });
        }
        let kept_bytes: usize = self.early.iter().map(|message| message.body.len()).sum();
        if self.early.len() < EARLY_MESSAGES_MAX && kept_bytes + message.body.len() <= ASKING_BYTES_MAX {
            self.early.push(message);
        }
    }

    /// A message of the stream that was accepted.
    fn handle_body(&mut self, message: &Message) {
        if Kind::of(message.header.type_id) == Kind::Aggregate {
            for part in aggregate::parts(message.header.timestamp, &message.body) {
                self.handle_media(part.type_id, part.timestamp, &message.body.slice_ref(part.body));
            }
        } else {
            self.handle_media(message.header.type_id, message.header.timestamp, &message.body);
        }
    }

    /// Audio, video or data of the stream that was accepted.
    fn handle_media(&mut self, type_id: u8, timestamp: u32, body: &Bytes) {
        match Kind::of(type_id) {
            Kind::Audio => self.demuxer.audio(timestamp, body, &mut self.events),
            Kind::Video => self.demuxer.video(timestamp, body, &mut self.events),
            Kind::Data { is_amf3 } => {
                let skipped = usize::from(is_amf3 && body.first() == Some(&0));
                let body = body.slice(skipped..);
                // Broken metadata harms nothing: the stream is described by its sequence headers.
                if let Ok(Some(metadata)) = Metadata::decode(&body) {
                    for what in metadata.quirks() {
                        self.demuxer.quirk(what, &mut self.events);
                    }
                    self.events.push_back(Event::Metadata(properties::read(metadata.values)));
                }
            }
            Kind::Control | Kind::Command | Kind::Aggregate | Kind::Other => {}
        }
    }

    fn handle_command(&mut self, type_id: u8, stream_id: u32, body: &[u8]) -> Result<(), Cause> {
        let mut command = Command::decode(type_id, body)?;
        let transaction = command.transaction;
        if self.app.is_none() && command.name != "connect" {
            return Err(Cause::OutOfOrder("a command before connect"));
        }
        match command.name {
            "connect" => return self.handle_connect(&mut command),
            "createStream" => {
                self.streams += 1;
                if self.streams > STREAMS_MAX {
                    return Err(Cause::OutOfOrder("createStream more often than anyone needs"));
                }
                self.result(transaction, Some(f64::from(self.streams)));
                self.is_create_unanswered = true;
            }
            "publish" => return self.handle_publish(stream_id, &mut command),
            "play" => return self.handle_play(stream_id, &mut command),
            "deleteStream" => {
                command.arguments.value()?;
                let id = command.arguments.value()?.and_then(|value| value.as_number()).unwrap_or(0.0);
                // Saturates for what no client sends.
                self.end_stream(id as u32);
            }
            "closeStream" => self.end_stream(stream_id),
            "FCPublish" => self.handle_announced(transaction),
            "FCUnpublish" => self.fc_status("onFCUnpublish", "NetStream.Unpublish.Success", transaction),
            "FCSubscribe" => self.fc_status("onFCSubscribe", "NetStream.Play.Start", transaction),
            // Our own camera's padding, which comes by the hundred, asks for no answer.
            "_checkbw" if transaction <= 0.0 => {}
            "releaseStream" | "_checkbw" => self.result(transaction, None),
            "getStreamLength" => self.result(transaction, Some(0.0)),
            // A live stream has no pause; answers to our own are not needed.
            "pause" | "pauseRaw" | "seek" | "receiveAudio" | "receiveVideo" | "_result" | "_error" | "onStatus" => {}
            _ if transaction > 0.0 => {
                let description = "this server does not know the command";
                self.link.command(stream_id, &Outgoing::Error { transaction, code: "NetConnection.Call.Failed", description });
            }
            _ => {}
        }
        Ok(())
    }

    fn result(&mut self, transaction: f64, number: Option<f64>) {
        self.link.command(0, &Outgoing::Result { transaction, number });
    }

    /// librtmp's users wait for the notice, others for the result.
    /// `FCPublish` names a stream before `publish` asks for it. That it may begin is said when `publish` is answered: a client that believes
    /// the one would think that it is in without the other.
    fn handle_announced(&mut self, transaction: f64) {
        if transaction > 0.0 {
            self.result(transaction, None);
        }
        match self.role {
            Role::Publishing { .. } => self.say_announced(),
            Role::None | Role::PublishAsked { .. } | Role::PlayAsked { .. } | Role::Playing { .. } => self.is_announced = true,
        }
    }

    fn say_announced(&mut self) {
        let code = "NetStream.Publish.Start";
        self.link.command(0, &Outgoing::Status { command: "onFCPublish", level: "status", code, description: "" });
    }

    fn fc_status(&mut self, command: &'static str, code: &'static str, transaction: f64) {
        self.link.command(0, &Outgoing::Status { command, level: "status", code, description: "" });
        if transaction > 0.0 {
            self.result(transaction, None);
        }
    }

    fn handle_connect(&mut self, command: &mut Command<'_>) -> Result<(), Cause> {
        if self.app.is_some() {
            return Err(Cause::OutOfOrder("connect twice"));
        }
        let Some(Value::Object(object)) = command.arguments.value()? else { return Err(Cause::Amf0) };
        // rtmp://host//live and rtmp://host/live/ mean live.
        let asked = object.text("app").unwrap_or("").trim_matches('/');
        if asked.len() > NAME_BYTES_MAX {
            return Err(Cause::Amf0);
        }
        let (app, query) = split_query(asked);
        let transaction = command.transaction;
        self.capabilities = Capabilities::of(object);
        let is_enhanced = self.capabilities.is_enhanced();
        if !self.config.apps.is_empty() && !self.config.apps.iter().any(|allowed| allowed == app) {
            let code = "NetConnection.Connect.Rejected";
            let hint = app_hint(app, &self.config.apps);
            let description = &cut_text::<STATUS_BYTES_MAX>(&hint);
            self.link.command(0, &Outgoing::ConnectResult { transaction, is_accepted: false, is_enhanced, code, description });
            self.events.push_back(Event::AppRefused { app: app.into(), hint });
            return Ok(());
        }
        self.app = Some((app.into(), query));
        // The order that clients know: window, bandwidth, chunk size, then the result.
        self.link.open(WINDOW_BYTES, self.config.chunk_size);
        let (code, description) = ("NetConnection.Connect.Success", "connected");
        self.link.command(0, &Outgoing::ConnectResult { transaction, is_accepted: true, is_enhanced, code, description });
        Ok(())
    }

    /// Application, name and query of a publish or play.
    fn asked(&self, command: &mut Command<'_>) -> Result<(String, String, Query), Cause> {
        command.arguments.value()?;
        let asked = command.arguments.text()?;
        if asked.len() > NAME_BYTES_MAX {
            return Err(Cause::Amf0);
        }
        let (app, app_query) = self.app.clone().unwrap_or_default();
        let (name, query) = split_query(asked);
        Ok((app, name.trim_start_matches('/').into(), if query.0.is_empty() { app_query } else { query }))
    }

    fn handle_publish(&mut self, stream_id: u32, command: &mut Command<'_>) -> Result<(), Cause> {
        let (app, name, query) = self.asked(command)?;
        if self.role != Role::None {
            self.status(stream_id, "error", "NetStream.Publish.BadName", "this connection already has a stream");
            return Ok(());
        }
        if stream_id == 0 || stream_id > self.streams {
            self.events.push_back(Event::Quirk { what: "publish on a message stream that was not created" });
        } else if self.is_create_unanswered {
            self.events.push_back(Event::Quirk { what: "publish before createStream was answered" });
        }
        let kind = match command.arguments.value()?.and_then(|value| value.as_str()) {
            Some("record") => PublishKind::Record,
            Some("append") => PublishKind::Append,
            Some(_) | None => PublishKind::Live,
        };
        self.role = Role::PublishAsked { stream_id };
        self.events.push_back(Event::PublishRequested { app, name, query, kind });
        Ok(())
    }

    fn handle_play(&mut self, stream_id: u32, command: &mut Command<'_>) -> Result<(), Cause> {
        let (app, name, query) = self.asked(command)?;
        // Shared messages are the same for all viewers, the message stream id in them too.
        if self.role != Role::None || stream_id != shared::STREAM_ID || self.streams == 0 {
            self.status(stream_id, "error", "NetStream.Play.Failed", "play on the first stream of a connection that has no other");
            return Ok(());
        }
        self.role = Role::PlayAsked { stream_id };
        self.events.push_back(Event::PlayRequested { app, name, query });
        Ok(())
    }

    fn end_stream(&mut self, id: u32) {
        match self.role {
            Role::Publishing { stream_id } if stream_id == id => {
                self.role = Role::None;
                self.demuxer.flush(&mut self.events);
                self.status(stream_id, "status", "NetStream.Unpublish.Success", "unpublished");
                self.events.push_back(Event::Unpublished);
                // The wait for the next request begins anew. Only here: else who ends what it does not have would stay for ever.
                self.phase_began = self.last_heard;
            }
            Role::PublishAsked { stream_id } | Role::PlayAsked { stream_id } | Role::Playing { stream_id } if stream_id == id => {
                self.role = Role::None;
                self.early = Vec::new();
                self.events.push_back(Event::Closed);
            }
            Role::None | Role::PublishAsked { .. } | Role::Publishing { .. } | Role::PlayAsked { .. } | Role::Playing { .. } => {}
        }
    }
}

impl From<Media> for Event {
    fn from(media: Media) -> Self {
        match media {
            Media::Track(track) => Self::Track(track),
            Media::Frame(frame) => Self::Frame(frame),
            Media::Unsupported(what) => Self::Unsupported { what },
            Media::Quirk(what) => Self::Quirk { what },
        }
    }
}

/// What helps who asked for an application that is not here. Many type the whole address as the server and leave the key empty: then the application
/// stands before the first slash and the key behind it (ossrs/srs#796).
fn app_hint(asked: &str, apps: &[String]) -> String {
    let here = apps.join(", ");
    let (first, rest) = asked.split_once('/').unwrap_or((asked, ""));
    match apps.iter().find(|app| *app == first) {
        Some(app) => {
            alloc::format!("no application {asked:?}: the server is rtmp://HOST/{app} and the stream key {rest:?}, each in its own field")
        }
        None => alloc::format!("no application {asked:?}: this server has {here}; the address is rtmp://HOST/{here}/STREAM_KEY"),
    }
}

fn split_query(asked: &str) -> (&str, Query) {
    asked.split_once('?').map_or((asked, Query::default()), |(name, query)| (name, Query(query.into())))
}

impl Link {
    fn user_control(&mut self, event: UserControl) {
        self.message(CSID_CONTROL, type_id::USER_CONTROL, 0, &event.encode());
    }
}

#[cfg(test)]
pub(crate) mod tests;
