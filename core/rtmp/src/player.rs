//! Plays a stream from an RTMP server: for tests, for load, and one day for relays. Allocates.

use crate::amf0::Value;
use crate::error::{Cause, Error};
use crate::handshake::{self, OPENING_BYTES, PACKET_BYTES};
use crate::message::aggregate;
use crate::message::command::{Command, Outgoing};
use crate::message::user_control::UserControl;
use crate::message::{CSID_CONTROL, Kind, type_id};
use crate::server::{Demuxer, Link, Media, Message};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use sightline_media::{Frame, Track};

/// The player's buffer as it announces it, in milliseconds: as ffmpeg and VLC do.
const BUFFER_MILLIS: u32 = 3000;
/// What we send goes out in chunks of this size; only commands do.
const CHUNK_SIZE: u32 = 4096;

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A track's decoder configuration, when it is new or has changed.
    Track(Box<Track>),
    /// A frame.
    Frame(Frame<Bytes>),
    /// The server said something: `NetStream.Play.Start`, `NetStream.Play.StreamNotFound`, `NetConnection.Connect.Rejected`.
    Status {
        /// Its code.
        code: String,
        /// Its words.
        description: String,
        /// True for level `error` and for `_error`.
        is_error: bool,
    },
    /// The server says that the stream is over.
    Ended,
    /// Media that can't be taken, or is taken though no standard allows it. Said once a kind.
    Remark {
        /// What it was.
        what: &'static str,
    },
}

impl From<Media> for Event {
    fn from(media: Media) -> Self {
        match media {
            Media::Track(track) => Self::Track(track),
            Media::Frame(frame) => Self::Frame(frame),
            Media::Unsupported(what) | Media::Quirk(what) => Self::Remark { what },
        }
    }
}

/// What the shell must do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Write these bytes.
    Transmit(Bytes),
    /// Something happened.
    Event(Event),
    /// Nothing more until bytes come.
    Idle,
}

/// One connection that plays.
pub struct Session {
    link: Link,
    tc_url: String,
    name: String,
    opening_bytes: Vec<u8>,
    is_open: bool,
    demuxer: Demuxer,
    events: VecDeque<Event>,
}

impl core::fmt::Debug for Session {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Session").field("tc_url", &self.tc_url).finish_non_exhaustive()
    }
}

impl Session {
    /// Begins: the handshake's first bytes are to be transmitted at once. `tc_url` is `rtmp://host:port/app`, `name` the stream.
    #[must_use]
    pub fn play(tc_url: &str, name: &str, seed: u64) -> Self {
        let mut link = Link::new();
        let mut opening = [0; OPENING_BYTES];
        handshake::write_opening(&mut opening, 0, seed);
        link.put(&opening);
        Self {
            link,
            tc_url: tc_url.into(),
            name: name.into(),
            opening_bytes: Vec::new(),
            is_open: false,
            demuxer: Demuxer::new(),
            events: VecDeque::new(),
        }
    }

    /// As [`Self::play`], with the handshake done and not to be sent, for fuzz targets: thousands of bytes that are the same each time.
    #[cfg(feature = "fuzzing")]
    #[doc(hidden)]
    #[must_use]
    pub fn opened(tc_url: &str, name: &str) -> Self {
        let (tc_url, name) = (tc_url.into(), name.into());
        let (opening_bytes, events) = (Vec::new(), VecDeque::new());
        let mut session = Self { link: Link::new(), tc_url, name, opening_bytes, is_open: false, demuxer: Demuxer::new(), events };
        session.link.count(OPENING_BYTES + PACKET_BYTES);
        session.connect();
        session
    }

    fn connect(&mut self) {
        self.is_open = true;
        let app = crate::url::application(&self.tc_url);
        self.link.command(0, &Outgoing::Connect { app, tc_url: &self.tc_url, is_player: true });
    }

    /// Bytes of the server so far.
    #[must_use]
    pub fn bytes_received(&self) -> u64 {
        self.link.received()
    }

    /// Takes what the server sent.
    ///
    /// # Errors
    /// The server breaks the protocol: hang up.
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.read(bytes).map_err(|cause| Error { cause, at_byte: self.link.received() })
    }

    /// What to do next; [`Output::Idle`] ends the drain.
    pub fn poll_output(&mut self) -> Output {
        if let Some(bytes) = self.link.take_output() {
            return Output::Transmit(bytes);
        }
        self.events.pop_front().map_or(Output::Idle, Output::Event)
    }

    fn read(&mut self, mut bytes: &[u8]) -> Result<(), Cause> {
        if !self.is_open {
            let wanted = OPENING_BYTES + PACKET_BYTES - self.opening_bytes.len();
            let (now, later) = bytes.split_at(wanted.min(bytes.len()));
            self.opening_bytes.extend_from_slice(now);
            self.link.count(now.len());
            bytes = later;
            if let Some(&version) = self.opening_bytes.first() {
                handshake::check_version(version)?;
            }
            if self.opening_bytes.len() < OPENING_BYTES + PACKET_BYTES {
                return Ok(());
            }
            self.link.put(self.opening_bytes.get(1..OPENING_BYTES).unwrap_or(&[]));
            self.opening_bytes = Vec::new();
            self.connect();
        }
        while let Some(message) = self.link.read(&mut bytes)? {
            self.handle_message(&message)?;
        }
        self.link.acknowledge();
        Ok(())
    }

    fn handle_message(&mut self, message: &Message) -> Result<(), Cause> {
        let header = message.header;
        match Kind::of(header.type_id) {
            Kind::Command => return self.handle_command(header.type_id, &message.body),
            Kind::Audio => self.demuxer.audio(header.timestamp, &message.body, &mut self.events),
            Kind::Video => self.demuxer.video(header.timestamp, &message.body, &mut self.events),
            Kind::Aggregate => {
                for part in aggregate::parts(header.timestamp, &message.body) {
                    let body = message.body.slice_ref(part.body);
                    match Kind::of(part.type_id) {
                        Kind::Audio => self.demuxer.audio(part.timestamp, &body, &mut self.events),
                        Kind::Video => self.demuxer.video(part.timestamp, &body, &mut self.events),
                        Kind::Control | Kind::Data { .. } | Kind::Command | Kind::Aggregate | Kind::Other => {}
                    }
                }
            }
            Kind::Control | Kind::Data { .. } | Kind::Other => {}
        }
        Ok(())
    }

    fn handle_command(&mut self, type_id: u8, body: &[u8]) -> Result<(), Cause> {
        let mut command = Command::decode(type_id, body)?;
        let first = command.arguments.value()?;
        let second = command.arguments.value()?;
        match command.name {
            "_result" if command.transaction < 1.5 => {
                self.link.open(super::server::WINDOW_BYTES, CHUNK_SIZE);
                self.link.command(0, &Outgoing::CreateStream { transaction: 2.0 });
            }
            "_result" => {
                let id = second.and_then(|value| value.as_number()).unwrap_or(1.0);
                // Saturates for what no server sends.
                let stream_id = id as u32;
                self.link.command(stream_id, &Outgoing::Play { transaction: 3.0, name: &self.name });
                let buffer = UserControl::SetBufferLength { stream_id, millis: BUFFER_MILLIS };
                self.link.message(CSID_CONTROL, type_id::USER_CONTROL, 0, &buffer.encode());
            }
            "_error" | "onStatus" => {
                let Some(Value::Object(object)) = second.or(first) else { return Ok(()) };
                let code: String = object.text("code").unwrap_or("").into();
                let is_error = command.name == "_error" || object.text("level") == Some("error");
                let has_ended = code == "NetStream.Play.UnpublishNotify" || code == "NetStream.Play.Stop";
                let description = object.text("description").unwrap_or("").into();
                self.events.push_back(Event::Status { code, description, is_error });
                if has_ended {
                    self.events.push_back(Event::Ended);
                }
            }
            _ => {}
        }
        Ok(())
    }
}
