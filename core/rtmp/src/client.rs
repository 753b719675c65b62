//! The camera's side: publishes one stream and never allocates.
//!
//! Feed [`Session::handle_bytes`] and [`Session::handle_timeout`], drain [`Session::poll_event`], write [`Session::pending`] and
//! say with [`Session::consumed`] how much of it the socket took. Between a `pending` and its `consumed` call nothing else.
//!
//! Where room is scarce, one session is made once ([`Session::idle`]) and begun anew for each connection ([`Session::begin`]): it is never
//! moved, and keeps its tracks.

mod config;
mod events;
mod inbox;
#[cfg(feature = "fuzzing")]
mod opened;
mod outgoing;
mod padding;

use crate::chunk::{CHUNK_SIZE_DEFAULT, CHUNK_SIZE_MAX};
use crate::error::{Cause, Error};
use crate::handshake::OPENING_BYTES;
use crate::message::command::{Command, Outgoing};
use crate::message::data::Announcement;
use crate::message::set_chunk_size::SetChunkSize;
use crate::message::window_ack_size::WindowAckSize;
use crate::message::{CSID_AUDIO, CSID_CONTROL, CSID_DATA, CSID_VIDEO, type_id};
use crate::wire::cut_text;
pub use config::{Config, UrlTooLong};
pub use events::Event;
use events::{Events, Said};
use heapless::{Deque, String};
use inbox::{Inbox, ServerMessage};
use outgoing::{Scratch, Sending};
use padding::Padding;
use sightline_media::{CaptureMark, Codec, Frame, Instant, MediaTime, Track, TrackConfig, capture_mark};

/// The longest `tcUrl`, in bytes: those of the cloud services are under 100.
pub const TC_URL_BYTES_MAX: usize = 160;
/// The longest publishing name with its query, in bytes: a stream of 64, `?token=`, a token of 384, and room for another's parameters.
pub const NAME_BYTES_MAX: usize = 512;

// Transaction numbers: each is used once, in this order. Only the answers to the first and fourth are waited for.
const TRANSACTION_CONNECT: f64 = 1.0;
const TRANSACTION_RELEASE_STREAM: f64 = 2.0;
const TRANSACTION_FC_PUBLISH: f64 = 3.0;
const TRANSACTION_CREATE_STREAM: f64 = 4.0;
const TRANSACTION_PUBLISH: f64 = 5.0;
const TRANSACTION_FC_UNPUBLISH: f64 = 6.0;

/// The queue holds as many frames as it can; the frame comes back.
#[derive(Clone, PartialEq, Eq)]
pub struct QueueFull<P>(pub Frame<P>);

impl<P> core::fmt::Debug for QueueFull<P> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("QueueFull")
    }
}

impl<P> core::fmt::Display for QueueFull<P> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the queue of frames is full")
    }
}

impl<P> core::error::Error for QueueFull<P> {}

/// How far the session is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// There is no connection.
    Idle,
    /// C0 C1 are written, in pieces, and the server's half is waited for.
    Handshake,
    /// C2 is to be written from S1, which the inbox holds.
    AnswerHandshake,
    Connect,
    AwaitConnected,
    /// Chunk size and window are to be sent.
    Settings,
    /// They are sent. Until [`Session::go_on`]; padding may be.
    Wait,
    /// The historical commands that nginx-rtmp and others expect before createStream are to be sent: releaseStream ...
    Release,
    /// ... and FCPublish.
    Announce,
    CreateStream,
    AwaitStream,
    Publish,
    AwaitPublishing,
    Publishing,
    /// FCUnpublish and deleteStream are to be sent.
    Close,
    /// deleteStream is to be sent.
    Delete,
    /// Nothing more is sent but answers.
    Ended,
}

/// How far the way into the server has come: what it was that failed where a connection ends early, because many servers only close.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// The server has not sent a byte yet.
    Unanswered,
    /// Its half of the handshake is not whole.
    Handshake,
    /// It has not accepted the application.
    Connect,
    /// It has not accepted the stream's name.
    Publish,
    /// It accepted, or the session has ended by the server's word or by ours, or never began.
    Done,
}

/// A publishing session over payloads `P`, with at most `QUEUE` frames waiting.
pub struct Session<P, const QUEUE: usize> {
    config: Config,
    phase: Phase,
    /// Makes C1.
    seed: u64,
    /// Bytes of C0, C1 and C2 that were put into the scratch.
    handshake_at: usize,
    deadline: Option<Instant>,
    tc_url: String<TC_URL_BYTES_MAX>,
    name: String<NAME_BYTES_MAX>,
    stream_id: u32,
    takes_hevc: bool,
    inbox: Inbox,
    scratch: Scratch,
    chunk_size: u32,
    sent: u64,
    video: Option<Slot>,
    audio: Option<Slot>,
    is_announced: bool,
    queue: Deque<Queued<P>, QUEUE>,
    sending: Option<Sending>,
    padding: Padding,
    first_dts: Option<MediaTime>,
    events: Events<P, QUEUE>,
}

/// A frame, and when it was captured where it is to say so.
struct Queued<P> {
    frame: Frame<P>,
    mark: Option<CaptureMark>,
}

/// A track and whether its sequence header is still to be sent.
struct Slot {
    track: Track,
    is_due: bool,
}

impl<P, const QUEUE: usize> core::fmt::Debug for Session<P, QUEUE> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // The name holds the token.
        f.debug_struct("Session").field("phase", &self.phase).field("sent", &self.sent).finish_non_exhaustive()
    }
}

impl<P: AsRef<[u8]>, const QUEUE: usize> Session<P, QUEUE> {
    /// Begins: the handshake's first bytes are pending at once.
    ///
    /// `tc_url` is the server with its application (`rtmp://host:1935/live`), `name` the stream (`key?token=…`). `seed` differs
    /// between connections; it need not be secret.
    ///
    /// # Errors
    /// [`UrlTooLong`].
    pub fn publish(config: Config, tc_url: &str, name: &str, now: Instant, seed: u64) -> Result<Self, UrlTooLong> {
        let mut session = Self::idle();
        session.begin(config, tc_url, name, now, seed)?;
        Ok(session)
    }

    /// A session without a connection: it takes tracks, and nothing is pending before [`Self::begin`].
    #[must_use]
    pub const fn idle() -> Self {
        Self {
            config: Config::DEFAULT,
            phase: Phase::Idle,
            seed: 0,
            handshake_at: 0,
            deadline: None,
            tc_url: String::new(),
            name: String::new(),
            stream_id: 0,
            takes_hevc: false,
            inbox: Inbox::new(),
            scratch: Scratch::new(),
            chunk_size: CHUNK_SIZE_DEFAULT,
            sent: 0,
            video: None,
            audio: None,
            is_announced: false,
            queue: Deque::new(),
            sending: None,
            padding: Padding::new(),
            first_dts: None,
            events: Events::new(),
        }
    }

    /// Begins on a new connection as [`Self::publish`] does, whatever was before. The tracks stay, and are sent to the server again.
    ///
    /// # Errors
    /// [`UrlTooLong`]: the session is as after [`Self::reset`].
    pub fn begin(&mut self, config: Config, tc_url: &str, name: &str, now: Instant, seed: u64) -> Result<(), UrlTooLong> {
        self.reset();
        self.tc_url.push_str(tc_url).map_err(|_| UrlTooLong)?;
        self.name.push_str(name).map_err(|_| UrlTooLong)?;
        self.config = Config { chunk_size: config.chunk_size.clamp(CHUNK_SIZE_DEFAULT, CHUNK_SIZE_MAX), ..config };
        self.phase = Phase::Handshake;
        self.seed = seed;
        self.deadline = Some(now + config.handshake_timeout);
        self.advance();
        Ok(())
    }

    /// The connection is gone: drops what waits, frames included. The tracks stay.
    pub fn reset(&mut self) {
        self.phase = Phase::Idle;
        self.handshake_at = 0;
        self.deadline = None;
        self.tc_url.clear();
        self.name.clear();
        self.stream_id = 0;
        self.takes_hevc = false;
        self.inbox.reset();
        self.scratch.clear();
        self.chunk_size = CHUNK_SIZE_DEFAULT;
        self.sent = 0;
        for slot in [&mut self.video, &mut self.audio].into_iter().flatten() {
            slot.is_due = true;
        }
        self.is_announced = false;
        self.queue.clear();
        self.sending = None;
        self.padding = Padding::new();
        self.first_dts = None;
        self.events.clear();
    }

    /// False before [`Self::begin`], and after [`Self::reset`].
    pub const fn has_begun(&self) -> bool {
        !matches!(self.phase, Phase::Idle)
    }

    /// The tracks that were set: video, then audio.
    pub fn tracks(&self) -> impl Iterator<Item = &Track> {
        [&self.video, &self.audio].into_iter().flatten().map(|slot| &slot.track)
    }

    /// Sets a track's decoder configuration: its sequence header goes out before the next frame of any track, again when it changes.
    pub fn set_track(&mut self, track: Track) {
        let slot = if track.config.codec().is_video() { &mut self.video } else { &mut self.audio };
        if slot.as_ref().is_none_or(|slot| slot.track != track) {
            *slot = Some(Slot { track, is_due: true });
        }
    }

    /// Forgets the tracks that the server does not take: their source may have another form of them.
    pub fn forget_untaken(&mut self) {
        let (is_video_taken, is_audio_taken) = {
            let is_taken = |slot: &Option<Slot>| slot.as_ref().is_none_or(|slot| self.is_taken(slot.track.config.codec()));
            (is_taken(&self.video), is_taken(&self.audio))
        };
        if !is_video_taken {
            self.video = None;
        }
        if !is_audio_taken {
            self.audio = None;
        }
    }

    /// Queues a frame; it may wait there before the server has accepted. A frame of a track that was never set is given back unsent.
    ///
    /// # Errors
    /// [`QueueFull`] gives the frame back.
    pub fn send_frame(&mut self, frame: Frame<P>) -> Result<(), QueueFull<P>> {
        self.send_marked(frame, None)
    }

    /// The same with the time of its capture written into it, if it is a picture that takes a mark. The payload itself stays as it is.
    ///
    /// # Errors
    /// [`QueueFull`] gives the frame back.
    pub fn send_marked(&mut self, frame: Frame<P>, mark: Option<CaptureMark>) -> Result<(), QueueFull<P>> {
        self.queue.push_back(Queued { frame, mark }).map_err(|queued| QueueFull(queued.frame))?;
        self.advance();
        Ok(())
    }

    /// Frames waiting, the one under way included.
    pub fn queue_len(&self) -> usize {
        self.queue.len()
    }

    /// How far it has come.
    pub fn stage(&self) -> Stage {
        match self.phase {
            Phase::Handshake if self.inbox.received() == 0 => Stage::Unanswered,
            Phase::Handshake | Phase::AnswerHandshake => Stage::Handshake,
            Phase::Connect | Phase::AwaitConnected => Stage::Connect,
            Phase::Settings
            | Phase::Wait
            | Phase::Release
            | Phase::Announce
            | Phase::CreateStream
            | Phase::AwaitStream
            | Phase::Publish
            | Phase::AwaitPublishing => Stage::Publish,
            Phase::Idle | Phase::Publishing | Phase::Close | Phase::Delete | Phase::Ended => Stage::Done,
        }
    }

    /// True from the server's answer to `connect` on: it speaks RTMP, and has the application. It may still refuse the stream.
    pub fn is_connected(&self) -> bool {
        matches!(
            self.phase,
            Phase::Settings
                | Phase::Wait
                | Phase::Release
                | Phase::Announce
                | Phase::CreateStream
                | Phase::AwaitStream
                | Phase::Publish
                | Phase::AwaitPublishing
                | Phase::Publishing
        )
    }

    /// At [`Event::Connected`]: at least `bytes` go out that say nothing. Ignored at any other time, and with chunks that are smaller than
    /// such a message.
    pub fn pad(&mut self, bytes: usize) {
        if self.phase == Phase::Wait && usize::try_from(self.chunk_size).is_ok_and(|size| size >= padding::BODY_BYTES) {
            self.padding.add(bytes);
        }
    }

    /// After [`Event::Connected`]: asks for the stream. Padding that has not gone out is left out.
    pub fn go_on(&mut self, now: Instant) {
        if self.phase == Phase::Wait {
            self.deadline = Some(now + self.config.publish_timeout);
            self.phase = Phase::Release;
            self.advance();
        }
    }

    /// Whether the server has said that it takes frames of this codec: known from [`Event::Publishing`] on. H.264 and AAC every server takes.
    pub fn is_taken(&self, codec: Codec) -> bool {
        match codec {
            Codec::H264 | Codec::Aac => true,
            Codec::Hevc => self.takes_hevc,
            // No camera of ours sends them.
            Codec::Av1 | Codec::Vp9 | Codec::Opus | Codec::Flac | Codec::Ac3 | Codec::Eac3 | Codec::Mp3 => false,
        }
    }

    /// True from the server's acceptance to the end.
    pub fn is_publishing(&self) -> bool {
        self.phase == Phase::Publishing
    }

    /// Bytes that were consumed since the connection began, the handshake included.
    pub fn bytes_sent(&self) -> u64 {
        self.sent
    }

    /// Takes what the server sent, in pieces of any size.
    ///
    /// # Errors
    /// The server breaks the protocol: hang up.
    pub fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) -> Result<(), Error> {
        let at_byte = self.inbox.received();
        self.read(now, bytes).map_err(|cause| Error { cause, at_byte })
    }

    fn read(&mut self, now: Instant, mut bytes: &[u8]) -> Result<(), Cause> {
        if self.phase == Phase::Handshake {
            if !self.inbox.read_handshake(&mut bytes)? {
                return Ok(());
            }
            self.phase = Phase::AnswerHandshake;
            self.deadline = Some(now + self.config.publish_timeout);
            self.advance();
        }
        // Whoever has all of C1 has sent S2; who sends more before that has not.
        let is_answering = self.handshake_at > OPENING_BYTES || (self.handshake_at == OPENING_BYTES && self.scratch.is_empty());
        if self.phase == Phase::AnswerHandshake && !is_answering && !bytes.is_empty() {
            return Err(Cause::OutOfOrder("a message before it had our half of the handshake"));
        }
        loop {
            match self.inbox.read(&mut bytes)? {
                Some(ServerMessage::Acknowledged(total)) => self.events.acknowledged = Some(total),
                Some(ServerMessage::StreamEof) => self.end(),
                Some(ServerMessage::Command(type_id)) => self.handle_command(type_id)?,
                Some(ServerMessage::Setting) => {}
                None => break,
            }
            // What a message changes is in force before the next, however the network cut them.
            self.advance();
        }
        self.advance();
        Ok(())
    }

    /// A deadline may have passed.
    ///
    /// # Errors
    /// The server did not answer in time: hang up.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return Ok(());
        }
        let cause = if self.phase == Phase::Handshake { Cause::HandshakeTimeout } else { Cause::PublishTimeout };
        Err(Error { cause, at_byte: self.inbox.received() })
    }

    /// When to call [`Session::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event<P>> {
        self.events.next()
    }

    /// What to write now: a header, then a slice of a payload; the slice alone comes first where the header is written. The first empty:
    /// nothing to write.
    pub fn pending(&self) -> [&[u8]; 2] {
        let parts = match (&self.sending, self.queue.front()) {
            (Some(sending), Some(queued)) if sending.is_mid_chunk() || self.scratch.is_empty() => {
                sending.pending(queued.frame.payload.as_ref())
            }
            _ if self.is_padding() => [self.padding.pending(), &[]],
            _ => [self.scratch.pending(), &[]],
        };
        // A link that takes exactly the header would see nothing left, and the stream would stand still.
        if let [[], payload] = parts { [payload, &[]] } else { parts }
    }

    /// The first `n` bytes of [`Session::pending`] were written.
    pub fn consumed(&mut self, n: usize) {
        self.sent += u64::try_from(n).unwrap_or(0);
        let is_padding = self.is_padding();
        match (&mut self.sending, self.queue.front()) {
            (Some(sending), Some(Queued { frame, .. })) if sending.is_mid_chunk() || self.scratch.is_empty() => {
                if sending.consumed(n, frame.payload.as_ref().len(), self.chunk_size) {
                    self.sending = None;
                    self.give_back_front();
                }
            }
            _ if is_padding => self.padding.consumed(n),
            _ => self.scratch.consumed(n),
        }
        self.advance();
    }

    fn is_padding(&self) -> bool {
        self.padding.is_mid_message() || (self.phase == Phase::Wait && self.scratch.is_empty())
    }

    /// Ends the stream after the message under way: FCUnpublish, deleteStream. Frames that wait are not sent.
    pub fn close(&mut self) {
        match self.phase {
            Phase::AwaitPublishing | Phase::Publishing => self.phase = Phase::Close,
            Phase::Idle | Phase::Close | Phase::Delete | Phase::Ended => {}
            Phase::Handshake
            | Phase::AnswerHandshake
            | Phase::Connect
            | Phase::AwaitConnected
            | Phase::Settings
            | Phase::Wait
            | Phase::Release
            | Phase::Announce
            | Phase::CreateStream
            | Phase::AwaitStream
            | Phase::Publish => self.phase = Phase::Ended,
        }
        self.deadline = None;
        self.advance();
    }

    fn end(&mut self) {
        if !matches!(self.phase, Phase::Ended | Phase::Delete | Phase::Close) {
            self.events.closed = true;
        }
        self.phase = Phase::Ended;
        self.deadline = None;
    }

    fn give_back_front(&mut self) {
        if let Some(Queued { frame, .. }) = self.queue.pop_front() {
            // When no one collects them, dropping gives the buffer back as well.
            let _ = self.events.frames.push_back(frame);
        }
    }

    /// A command of the server is in the inbox.
    fn handle_command(&mut self, type_id: u8) -> Result<(), Cause> {
        let mut command = Command::decode(type_id, self.inbox.body())?;
        let information = |command: &mut Command<'_>| {
            let mut found = None;
            while let Ok(Some(value)) = command.arguments.value() {
                if let crate::amf0::Value::Object(object) = value
                    && object.get("code").is_some()
                {
                    found = Some((cut_text(object.text("code").unwrap_or("")), cut_text(object.text("description").unwrap_or(""))));
                }
            }
            found.unwrap_or_default()
        };
        match (command.name, self.phase) {
            ("_result", Phase::AwaitConnected) if is(command.transaction, TRANSACTION_CONNECT) => {
                self.takes_hevc = takes_hevc(command.arguments);
                self.phase = Phase::Settings;
            }
            ("_result", Phase::AwaitStream) if is(command.transaction, TRANSACTION_CREATE_STREAM) => {
                command.arguments.value()?;
                let id = command.arguments.value()?.and_then(|value| value.as_number()).unwrap_or(1.0);
                // Saturates for what no server sends.
                self.stream_id = id as u32;
                self.phase = Phase::Publish;
            }
            ("_error", Phase::AwaitConnected) if is(command.transaction, TRANSACTION_CONNECT) => {
                let (code, description) = information(&mut command);
                self.reject(code, description);
            }
            ("_error", Phase::AwaitStream) if is(command.transaction, TRANSACTION_CREATE_STREAM) => {
                let (code, description) = information(&mut command);
                self.reject(code, description);
            }
            ("_error", Phase::AwaitPublishing) if command.transaction >= 5.0 => {
                let (code, description) = information(&mut command);
                self.reject(code, description);
            }
            ("onStatus", phase) => {
                let asked = reconnect_reference(command.arguments).map(|reference| crate::url::resolve(&self.tc_url, reference));
                if let Some(tc_url) = asked {
                    // One that can't be understood is no reason to stop.
                    if let Some(tc_url) = tc_url {
                        self.events.said = Said::Reconnect(tc_url);
                    }
                    return Ok(());
                }
                let (code, description) = information(&mut command);
                self.handle_status(phase, code, description);
            }
            ("close", _) => self.end(),
            _ => {}
        }
        Ok(())
    }

    fn handle_status(&mut self, phase: Phase, code: String<64>, description: String<128>) {
        match (code.as_str(), phase) {
            ("NetStream.Publish.Start", Phase::AwaitPublishing) => {
                self.phase = Phase::Publishing;
                self.deadline = None;
                self.events.publishing = true;
            }
            (
                "NetStream.Publish.BadName"
                | "NetStream.Publish.Denied"
                | "NetStream.Publish.Rejected"
                | "NetStream.Failed"
                | "NetConnection.Connect.Rejected"
                | "NetStream.Publish.Failed",
                Phase::AwaitConnected
                | Phase::Wait
                | Phase::Release
                | Phase::Announce
                | Phase::CreateStream
                | Phase::AwaitStream
                | Phase::AwaitPublishing,
            ) => self.reject(code, description),
            // The stream is someone else's now: no accident of the connection, and the same name again would only take it back.
            ("NetStream.Publish.BadName", Phase::Publishing) => self.reject(code, description),
            ("NetStream.Publish.BadName" | "NetStream.Unpublish.Success" | "NetConnection.Connect.Closed" | "NetStream.Failed", _) => {
                self.end()
            }
            _ => {}
        }
    }

    fn reject(&mut self, code: String<64>, description: String<128>) {
        self.events.said = Said::Rejected(code, description);
        self.phase = Phase::Ended;
        self.deadline = None;
    }

    /// Puts into the scratch what is to be sent next, or takes the next frame in hand.
    fn advance(&mut self) {
        loop {
            let is_mid_message = self.sending.as_ref().is_some_and(Sending::is_mid_chunk) || self.padding.is_mid_message();
            if !self.scratch.is_empty() || is_mid_message {
                return;
            }
            // Between two pieces of the handshake nothing may stand: a reply waits until the last of it.
            let is_shaking = self.handshake_at < OPENING_BYTES + crate::handshake::PACKET_BYTES;
            if let Some((type_id, body)) = (!is_shaking).then(|| self.inbox.take_reply()).flatten() {
                self.scratch.put_message(CSID_CONTROL, type_id, 0, 0, &body, self.chunk_size);
                return;
            }
            if self.sending.is_some() || !self.step() {
                return;
            }
        }
    }

    /// One step of the conversation, between messages. False when there is nothing to do.
    fn step(&mut self) -> bool {
        match self.phase {
            Phase::Handshake | Phase::AnswerHandshake if self.handshake_at < OPENING_BYTES => {
                self.handshake_at = self.scratch.put_opening(self.handshake_at, OPENING_BYTES, self.seed);
            }
            Phase::AnswerHandshake => {
                let rest = self.inbox.packet().get(self.handshake_at - OPENING_BYTES..).unwrap_or_default();
                let piece = rest.get(..rest.len().min(outgoing::SCRATCH_BYTES)).unwrap_or_default();
                self.scratch.put_bytes(piece);
                self.handshake_at += piece.len();
                if piece.len() == rest.len() {
                    self.inbox.forget_packet();
                    self.phase = Phase::Connect;
                }
            }
            Phase::Connect => {
                let app = crate::url::application(&self.tc_url);
                self.scratch.put_command(&Outgoing::Connect { app, tc_url: &self.tc_url, is_player: false }, 0, self.chunk_size);
                self.phase = Phase::AwaitConnected;
            }
            Phase::Settings => {
                self.put_settings();
                if self.config.waits_connected {
                    self.phase = Phase::Wait;
                    // The next one to be waited for is the caller.
                    self.deadline = None;
                    self.events.connected = true;
                } else {
                    self.phase = Phase::Release;
                }
            }
            // Only `publish` carries the query with the token: these are logged by servers, and none checks it here.
            Phase::Release => {
                let release = Outgoing::Named { command: "releaseStream", transaction: TRANSACTION_RELEASE_STREAM, name: bare(&self.name) };
                self.scratch.put_command(&release, 0, self.chunk_size);
                self.phase = Phase::Announce;
            }
            Phase::Announce => {
                let announce = Outgoing::Named { command: "FCPublish", transaction: TRANSACTION_FC_PUBLISH, name: bare(&self.name) };
                self.scratch.put_command(&announce, 0, self.chunk_size);
                self.phase = Phase::CreateStream;
            }
            Phase::CreateStream => {
                self.scratch.put_command(&Outgoing::CreateStream { transaction: TRANSACTION_CREATE_STREAM }, 0, self.chunk_size);
                self.phase = Phase::AwaitStream;
            }
            Phase::Publish => {
                let publish = Outgoing::Publish { transaction: TRANSACTION_PUBLISH, name: &self.name };
                self.scratch.put_command(&publish, self.stream_id, self.chunk_size);
                self.phase = Phase::AwaitPublishing;
            }
            Phase::Publishing => return self.next_frame(),
            Phase::Close => {
                let name = bare(&self.name);
                let unpublish = Outgoing::Named { command: "FCUnpublish", transaction: TRANSACTION_FC_UNPUBLISH, name };
                self.scratch.put_command(&unpublish, 0, self.chunk_size);
                self.phase = Phase::Delete;
            }
            Phase::Delete => {
                let delete = Outgoing::DeleteStream { stream_id: f64::from(self.stream_id) };
                self.scratch.put_command(&delete, 0, self.chunk_size);
                self.phase = Phase::Ended;
            }
            Phase::Idle
            | Phase::Handshake
            | Phase::AwaitConnected
            | Phase::AwaitStream
            | Phase::Wait
            | Phase::AwaitPublishing
            | Phase::Ended => return false,
        }
        true
    }

    fn put_settings(&mut self) {
        let size = SetChunkSize(self.config.chunk_size).encode();
        self.scratch.put_message(CSID_CONTROL, type_id::SET_CHUNK_SIZE, 0, 0, &size, self.chunk_size);
        self.chunk_size = self.config.chunk_size;
        let window = WindowAckSize(self.config.window_ack_size).encode();
        self.scratch.put_message(CSID_CONTROL, type_id::WINDOW_ACK_SIZE, 0, 0, &window, self.chunk_size);
    }

    /// Metadata, then the sequence headers that are due, then the frame. False when the queue is empty.
    fn next_frame(&mut self) -> bool {
        let Some(Queued { frame, mark }) = self.queue.front() else { return false };
        let base = *self.first_dts.get_or_insert(frame.dts);
        // Audio may begin a little before the first picture: no time is negative on the wire.
        let timestamp = crate::flv::timestamp_ms((frame.dts - base).max(MediaTime::ZERO));
        if !self.is_announced {
            self.is_announced = true;
            self.put_metadata();
            return true;
        }
        // All that are due, not only this frame's: a server that records or repackages needs every track before the first frame.
        if let Some(due) = [&mut self.video, &mut self.audio].into_iter().flatten().find(|slot| slot.is_due) {
            due.is_due = false;
            let codec = due.track.config.codec();
            let (csid, type_id) = channel(codec);
            let mut body: heapless::Vec<u8, { outgoing::BODY_BYTES_MAX }> = heapless::Vec::new();
            // A camera's records fit by construction: 5 and 512 bytes. A server's, which may not, is relayed by its own session.
            let _ = body.extend_from_slice(&crate::flv::sequence_header(codec));
            let _ = body.extend_from_slice(due.track.config.as_bytes());
            self.scratch.put_message(csid, type_id, self.stream_id, timestamp, &body, self.chunk_size);
            return true;
        }
        let slot = [&self.video, &self.audio].into_iter().flatten().find(|slot| slot.track.id == frame.track);
        let Some(codec) = slot.map(|slot| slot.track.config.codec()) else {
            self.give_back_front();
            return true;
        };
        let (csid, type_id) = channel(codec);
        let payload = frame.payload.as_ref();
        let mut head: heapless::Vec<u8, { outgoing::BODY_HEAD_BYTES_MAX }> = heapless::Vec::new();
        let _ = head.extend_from_slice(&crate::flv::frame_header(frame, codec));
        let mut marked = [0; capture_mark::HEAD_BYTES_MAX];
        let (bytes, instead_of) = mark.and_then(|mark| mark.put(codec, payload, &mut marked)).unwrap_or_default();
        // It fits by construction.
        let _ = head.extend_from_slice(marked.get(..bytes).unwrap_or_default());
        match Sending::new(csid, type_id, self.stream_id, timestamp, &head, instead_of..payload.len(), self.chunk_size) {
            Some(sending) => self.sending = Some(sending),
            // Longer than a message can be: no encoder here makes it.
            None => self.give_back_front(),
        }
        true
    }

    fn put_metadata(&mut self) {
        let mut announcement = Announcement::default();
        if let Some(Slot { track: Track { config: TrackConfig::H264(avc), .. }, .. }) = &self.video {
            announcement.video = Some(avc.picture());
        }
        if let Some(Slot { track: Track { config: TrackConfig::Aac(aac), .. }, .. }) = &self.audio {
            announcement.audio = Some((aac.sample_rate_hz(), aac.channels()));
        }
        let mut body = [0; outgoing::BODY_BYTES_MAX];
        if let Some(body) = announcement.encode(&mut body).and_then(|length| body.get(..length)) {
            self.scratch.put_message(CSID_DATA, type_id::DATA, self.stream_id, 0, body, self.chunk_size);
        }
    }
}

/// Whether the answer to `connect` names HEVC (E-RTMP v2, "Enhancing NetConnection connect Command").
fn takes_hevc(mut arguments: crate::amf0::Decoder<'_>) -> bool {
    use crate::amf0::Value;
    while let Ok(Some(value)) = arguments.value() {
        let Value::Object(object) = value else { continue };
        let in_map = matches!(object.get("videoFourCcInfoMap"), Some(Value::Object(map)) if ["hvc1", "*"].into_iter().any(|name| map.get(name).is_some()));
        let in_list = matches!(object.get("fourCcList"), Some(Value::Array(list))
            if list.elements().any(|element| matches!(element.as_str(), Some("hvc1" | "*"))));
        if in_map || in_list {
            return true;
        }
    }
    false
}

/// The `tcUrl` of a reconnect request, empty where it has none; `None` for any other status.
fn reconnect_reference(mut arguments: crate::amf0::Decoder<'_>) -> Option<&str> {
    while let Ok(Some(value)) = arguments.value() {
        if let crate::amf0::Value::Object(object) = value
            && object.text("code") == Some(crate::message::command::RECONNECT_REQUEST)
        {
            return Some(object.text("tcUrl").unwrap_or(""));
        }
    }
    None
}

/// The chunk stream and message type of a codec's messages.
fn channel(codec: Codec) -> (u32, u8) {
    if codec.is_video() { (CSID_VIDEO, type_id::VIDEO) } else { (CSID_AUDIO, type_id::AUDIO) }
}

/// The name without its query.
fn bare(name: &str) -> &str {
    name.split_once('?').map_or(name, |(name, _)| name)
}

fn is(transaction: f64, expected: f64) -> bool {
    (transaction - expected).abs() < 0.5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_small_enough_for_a_chip() {
        assert!(size_of::<Session<[usize; 2], 4>>() <= 5504, "{}", size_of::<Session<[usize; 2], 4>>());
    }

    #[test]
    fn what_comes_while_the_handshake_is_answered_leaves_the_answer_whole_and_a_session_begins_anew() {
        let mut session = Session::<&[u8], 4>::publish(Config::default(), "rtmp://h/live", "s", Instant::ZERO, 1).unwrap();
        for round in 0..2 {
            while !session.pending()[0].is_empty() {
                session.consumed(session.pending()[0].len());
            }
            let mut opening: std::vec::Vec<u8> = (0..=2 * crate::handshake::PACKET_BYTES).map(|at| (at / 7) as u8).collect();
            opening[0] = 3;
            session.handle_bytes(Instant::ZERO, &opening).unwrap();
            // A window, and a command that nobody has asked for.
            session.handle_bytes(Instant::ZERO, &[2, 0, 0, 0, 0, 0, 4, 5, 0, 0, 0, 0, 0, 1, 0, 0]).unwrap();
            session.handle_bytes(Instant::ZERO, &[3, 0, 0, 0, 0, 0, 4, 20, 0, 0, 0, 0, 2, 0, 1, b'x']).unwrap();
            let mut written = std::vec::Vec::new();
            while !session.pending()[0].is_empty() {
                written.extend_from_slice(session.pending()[0]);
                session.consumed(session.pending()[0].len());
            }
            assert_eq!(written[..crate::handshake::PACKET_BYTES], opening[1..=crate::handshake::PACKET_BYTES], "round {round}");
            assert_eq!(written[crate::handshake::PACKET_BYTES], 3, "then the connect");
            session.begin(Config::default(), "rtmp://h/live", "s", Instant::ZERO, 2).unwrap();
        }
        session.reset();
        assert!(!session.has_begun() && session.pending()[0].is_empty());
    }

    #[test]
    fn the_longest_messages_fit_the_scratch() {
        let (tc_url, name) = (std::format!("rtmp://h/{}", "x".repeat(TC_URL_BYTES_MAX - 9)), "n".repeat(NAME_BYTES_MAX));
        let connect = Outgoing::Connect { app: crate::url::application(&tc_url), tc_url: &tc_url, is_player: false };
        let named = Outgoing::Named { command: "releaseStream", transaction: TRANSACTION_RELEASE_STREAM, name: &name };
        for command in [connect, named, Outgoing::Publish { transaction: TRANSACTION_PUBLISH, name: &name }] {
            let mut body = [0; outgoing::BODY_BYTES_MAX];
            assert!(command.encode(&mut body).is_some(), "the body is too short for a command");
        }
        let mut scratch = Scratch::new();
        // An extended timestamp makes the longest headers.
        scratch.put_message(CSID_VIDEO, type_id::VIDEO, 1, u32::MAX, &[0; outgoing::BODY_BYTES_MAX], CHUNK_SIZE_DEFAULT);
        assert!(!scratch.is_empty());
    }

    #[test]
    fn long_urls_are_refused_and_the_token_is_not_shown() {
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        let publish = |tc_url: &str, name: &str| Session::<&[u8], 4>::publish(Config::default(), tc_url, name, Instant::ZERO, 1);
        assert_eq!(publish("rtmp://h/live", &long).err(), Some(UrlTooLong));
        assert_eq!(publish(&long, "s").err(), Some(UrlTooLong));
        let session = publish("rtmp://h/live", "s?token=secret").unwrap();
        assert!(!std::format!("{session:?}").contains("secret"));
    }

    #[test]
    fn a_server_that_never_answers_is_left_after_ten_seconds() {
        let mut session = Session::<&[u8], 4>::publish(Config::default(), "rtmp://h/live", "s", Instant::ZERO, 1).unwrap();
        let deadline = session.poll_timeout().unwrap();
        assert_eq!(deadline, Instant::from_micros(10_000_000));
        assert!(session.handle_timeout(Instant::from_micros(9_999_999)).is_ok());
        assert_eq!(session.handle_timeout(deadline).unwrap_err().cause, Cause::HandshakeTimeout);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: std::vec::Vec<u8>) {
            let mut session = Session::<&[u8], 4>::publish(Config::default(), "rtmp://h/live", "s", Instant::ZERO, 1).unwrap();
            let mut opening = std::vec![0; 1 + 2 * crate::handshake::PACKET_BYTES];
            opening[0] = 3;
            session.handle_bytes(Instant::ZERO, &opening).unwrap();
            while !session.pending()[0].is_empty() {
                session.consumed(session.pending()[0].len());
            }
            let _ = session.handle_bytes(Instant::ZERO, &bytes);
            while session.poll_event().is_some() {}
        }
    }
}
