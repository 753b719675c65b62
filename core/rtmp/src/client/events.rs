//! What a session reports to its owner.

use super::TC_URL_BYTES_MAX;
use heapless::{Deque, String};
use sightline_media::Frame;

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event<P> {
    /// The server has the application, and the stream is not asked for before [`super::Session::go_on`]. Only with [`super::Config::waits_connected`].
    Connected,
    /// The server accepted the publish.
    Publishing,
    /// The server refused the application or the stream.
    Rejected {
        /// Its code: `NetStream.Publish.BadName`, `NetConnection.Connect.Rejected`.
        code: String<64>,
        /// Its words, cut to 128 bytes.
        description: String<128>,
    },
    /// The server has received this many bytes since the connection began; unwrapped past 2^32.
    Acknowledged {
        /// The total.
        bytes: u64,
    },
    /// All bytes of a frame were consumed; the payload comes back.
    FrameSent(Frame<P>),
    /// The server ended the stream.
    Closed,
    /// The server asks to connect anew, and takes what is sent until then (E-RTMP v2, "Reconnect Request"). Whether the host may be
    /// trusted is the caller's to say.
    ReconnectRequested {
        /// Where to: the server with its application. The present one where the server named none. Of several requests, the last.
        tc_url: String<TC_URL_BYTES_MAX>,
    },
}

/// The server's last word. One place for both: a publisher that was refused need not reconnect.
pub(super) enum Said {
    Nothing,
    Rejected(String<64>, String<128>),
    Reconnect(String<TC_URL_BYTES_MAX>),
}

/// What has happened and was not collected yet: the latest of each kind, and every frame.
pub(super) struct Events<P, const QUEUE: usize> {
    pub(super) connected: bool,
    pub(super) publishing: bool,
    pub(super) said: Said,
    pub(super) acknowledged: Option<u64>,
    pub(super) frames: Deque<Frame<P>, QUEUE>,
    pub(super) closed: bool,
}

impl<P, const QUEUE: usize> Events<P, QUEUE> {
    pub(super) const fn new() -> Self {
        Self { connected: false, publishing: false, said: Said::Nothing, acknowledged: None, frames: Deque::new(), closed: false }
    }

    /// In place: a chip has no room to build it elsewhere first.
    pub(super) fn clear(&mut self) {
        self.connected = false;
        self.publishing = false;
        self.said = Said::Nothing;
        self.acknowledged = None;
        self.frames.clear();
        self.closed = false;
    }

    /// Frames come first: the encoder waits for its buffers.
    pub(super) fn next(&mut self) -> Option<Event<P>> {
        if let Some(frame) = self.frames.pop_front() {
            return Some(Event::FrameSent(frame));
        }
        if core::mem::take(&mut self.connected) {
            return Some(Event::Connected);
        }
        if core::mem::take(&mut self.publishing) {
            return Some(Event::Publishing);
        }
        match core::mem::replace(&mut self.said, Said::Nothing) {
            Said::Nothing => {}
            Said::Rejected(code, description) => return Some(Event::Rejected { code, description }),
            Said::Reconnect(tc_url) => return Some(Event::ReconnectRequested { tc_url }),
        }
        if let Some(bytes) = self.acknowledged.take() {
            return Some(Event::Acknowledged { bytes });
        }
        core::mem::take(&mut self.closed).then_some(Event::Closed)
    }
}
