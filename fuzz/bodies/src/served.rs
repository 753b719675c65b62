//! A server session and all that came of it.

use sightline_media::{Codec, Instant};
use sightline_rtmp::server::{Config, Event, Output, Session};
use sightline_rtmp::{Cause, fuzzing};
use std::time::Duration;

/// S0 S1 S2.
const OPENING_BYTES: usize = 1 + 2 * 1536;

fn config() -> Config {
    Config { apps: vec!["live".into()], chunk_size: 128, ..Config::default() }
}

pub(crate) struct Served {
    pub(crate) session: Session,
    pub(crate) events: Vec<Event>,
    pub(crate) failed: Option<Cause>,
    /// Whether publishers and players are let in.
    pub(crate) accepts: bool,
    now: Instant,
    sent: Vec<u8>,
    /// Of the handshake, in what was sent.
    opening_bytes: usize,
}

impl Served {
    pub(crate) fn new(now: Instant) -> Self {
        Self::of(Session::new(config(), now, 7), now, OPENING_BYTES)
    }

    /// With the handshake done.
    pub(crate) fn opened(now: Instant) -> Self {
        Self::of(Session::opened(config(), now, 7), now, 0)
    }

    fn of(session: Session, now: Instant, opening_bytes: usize) -> Self {
        Self { session, events: vec![], failed: None, accepts: true, now, sent: vec![], opening_bytes }
    }

    /// Hands bytes over in pieces, then answers what was asked.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut size: impl FnMut() -> usize) {
        let mut rest = bytes;
        while !rest.is_empty() && self.failed.is_none() {
            let (piece, later) = rest.split_at(size().clamp(1, rest.len()));
            rest = later;
            self.failed = self.session.handle_bytes(self.now, piece).err().as_ref().map(told);
        }
        self.drain();
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
        if self.failed.is_none() {
            self.failed = self.session.handle_timeout(self.now).err().as_ref().map(told);
        }
        self.drain();
    }

    pub(crate) fn drain(&mut self) {
        loop {
            match self.session.poll_output() {
                Output::Transmit(bytes) => self.sent.extend_from_slice(&bytes),
                Output::Event(event) => {
                    match (&event, self.accepts) {
                        (Event::PublishRequested { .. }, true) => self.session.accept_publish(),
                        (Event::PublishRequested { .. }, false) => self.session.reject_publish("NetStream.Publish.BadName", "no"),
                        (Event::PlayRequested { .. }, true) => self.session.accept_play(),
                        (Event::PlayRequested { .. }, false) => self.session.reject_play("NetStream.Play.StreamNotFound", "no"),
                        _ => {}
                    }
                    self.events.push(event);
                }
                Output::Timeout(_) => return,
            }
        }
    }

    /// What was sent is a handshake and then chunks, whatever came.
    pub(crate) fn check_sent(&self) {
        let capabilities = self.session.capabilities();
        assert!(capabilities.is_enhanced() || !capabilities.can_reconnect());
        assert!(capabilities.can_decode(Codec::H264) && (capabilities.is_enhanced() || !capabilities.can_decode(Codec::Hevc)));
        assert!(self.session.chunk_size() >= 128 && !(self.session.is_publishing() && self.session.is_playing()));
        let Some(chunks) = self.sent.get(self.opening_bytes..) else {
            assert!(self.sent.is_empty(), "half a handshake was sent");
            return;
        };
        let (_, failed) = fuzzing::chunks(chunks, || usize::MAX);
        assert_eq!(failed, None, "what was sent can't be read");
    }
}

/// Why a session ended: in words, too.
pub(crate) fn told(error: &sightline_rtmp::Error) -> Cause {
    assert!(error.to_string().contains("at byte") && format!("{error:?}").contains("cause"), "{error}");
    error.cause
}

/// The same bytes cut in two ways gave the same, which is then forgotten. False: from here on they can't be compared. A peer that only asks is cut
/// off by how much waits unread, and that is another where more is read at once.
pub(crate) fn agree(one: &mut Served, other: &mut Served) -> bool {
    if [one.failed, other.failed].contains(&Some(Cause::Unread)) {
        let shared = one.events.len().min(other.events.len());
        assert_eq!(one.events[..shared], other.events[..shared]);
        return false;
    }
    // As text: a number of metadata that is none is not equal to itself.
    let is_same = one.events == other.events || format!("{:?}", one.events) == format!("{:?}", other.events);
    assert!(is_same && one.failed == other.failed, "{:?} {:?}\n{:?} {:?}", one.events, one.failed, other.events, other.failed);
    let is_once = |event: &Event| matches!(event, Event::Track(_) | Event::Quirk { .. } | Event::Unpublished | Event::Closed);
    let again = one.events.windows(2).find(|pair| pair[0] == pair[1] && is_once(&pair[0]));
    assert!(again.is_none(), "it is said twice: {again:?}");
    // Compared once: an input of thousands of messages is not compared thousands of times.
    words_of(&one.events);
    one.events.clear();
    other.events.clear();
    true
}

/// What logs and failing tests would show. Of few: it takes long.
pub(crate) fn words_of<E: std::fmt::Debug>(events: &[E]) {
    assert!(events.iter().take(2).all(|event| !format!("{event:?}").is_empty()));
}
