//! What comes in: the server's handshake, its control messages and its commands, in one small buffer.

use crate::chunk::{Piece, Reader};
use crate::error::Cause;
use crate::handshake::{self, PACKET_BYTES};
use crate::message::abort::Abort;
use crate::message::acknowledgement::Acknowledgement;
use crate::message::control::Control;
use crate::message::set_chunk_size::SetChunkSize;
use crate::message::user_control::UserControl;
use crate::message::window_ack_size::WindowAckSize;
use crate::message::{Kind, type_id};
use heapless::Vec;

/// Chunk streams that a server may use towards a publisher. Those in use take 2, 3, 5 and 6.
const CHUNK_STREAMS_MAX: usize = 6;
/// The longest control message, in bytes: a user control event.
const CONTROL_BYTES_MAX: usize = 16;
/// Windows below this are taken as this: an acknowledgement a packet helps no one.
const WINDOW_BYTES_MIN: u64 = 4096;
/// Until the server says otherwise: what FMS, nginx-rtmp and SRS use.
const WINDOW_BYTES_DEFAULT: u64 = 2_500_000;

/// What the server sent, as far as a publisher needs it.
pub(super) enum ServerMessage {
    /// Handled here: a setting of the connection.
    Setting,
    /// The bytes that the server has, in all, unwrapped.
    Acknowledged(u64),
    StreamEof,
    /// A command of this message type is in [`Inbox::body`].
    Command(u8),
}

/// The reader and what it collects.
pub(super) struct Inbox {
    reader: Reader<CHUNK_STREAMS_MAX>,
    /// In the handshake S1, then one command at a time. What is longer is cut: what matters in a command comes first.
    body: Vec<u8, PACKET_BYTES>,
    /// `body` holds S1, until all of it has been echoed.
    is_packet: bool,
    /// The chunk stream whose message `body` collects.
    body_owner: Option<usize>,
    /// A control message, which may come between the chunks of a command.
    control: Vec<u8, CONTROL_BYTES_MAX>,
    handshake_bytes: usize,
    received: u64,
    acknowledged: u64,
    window: u64,
    /// What the server acknowledged, unwrapped.
    heard_total: u64,
    ping: Option<u32>,
}

impl Inbox {
    pub(super) const fn new() -> Self {
        Self {
            reader: Reader::new(),
            body: Vec::new(),
            is_packet: true,
            body_owner: None,
            control: Vec::new(),
            handshake_bytes: 0,
            received: 0,
            acknowledged: 0,
            window: WINDOW_BYTES_DEFAULT,
            heard_total: 0,
            ping: None,
        }
    }

    /// For the next connection. In place: a chip's stack has no room for a second one.
    pub(super) fn reset(&mut self) {
        self.reader.reset();
        self.body.clear();
        self.is_packet = true;
        self.body_owner = None;
        self.control.clear();
        self.handshake_bytes = 0;
        self.received = 0;
        self.acknowledged = 0;
        self.window = WINDOW_BYTES_DEFAULT;
        self.heard_total = 0;
        self.ping = None;
    }

    /// Bytes of the server so far.
    pub(super) const fn received(&self) -> u64 {
        self.received
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    /// S1, until it is forgotten.
    pub(super) fn packet(&self) -> &[u8] {
        &self.body
    }

    pub(super) fn forget_packet(&mut self) {
        self.body.clear();
        self.is_packet = false;
    }

    /// As if the server's half had come and had been answered.
    #[cfg(feature = "fuzzing")]
    pub(super) fn skip_handshake(&mut self) {
        self.handshake_bytes = 1 + 2 * PACKET_BYTES;
        self.count(self.handshake_bytes);
        self.forget_packet();
    }

    fn count(&mut self, bytes: usize) {
        self.received += u64::try_from(bytes).unwrap_or(0);
    }

    /// Reads S0 S1 S2; true when they are whole. S2 should echo C1; many servers send something else, and nothing depends on it.
    pub(super) fn read_handshake(&mut self, input: &mut &[u8]) -> Result<bool, Cause> {
        while self.handshake_bytes < 1 + 2 * PACKET_BYTES {
            let (wanted, is_s1) = match self.handshake_bytes {
                0 => (1, false),
                at @ 1..=PACKET_BYTES => (1 + PACKET_BYTES - at, true),
                at => (1 + 2 * PACKET_BYTES - at, false),
            };
            let Some((now, later)) = input.split_at_checked(wanted.min(input.len())) else { return Ok(false) };
            let Some(&first) = now.first() else { return Ok(false) };
            if self.handshake_bytes == 0 {
                handshake::check_version(first)?;
            }
            if is_s1 {
                // S1 fits exactly.
                let _ = self.body.extend_from_slice(now);
            }
            *input = later;
            self.handshake_bytes += now.len();
            self.count(now.len());
        }
        Ok(true)
    }

    /// The next message; `None` when the input is used up.
    pub(super) fn read(&mut self, input: &mut &[u8]) -> Result<Option<ServerMessage>, Cause> {
        loop {
            let before = input.len();
            let piece = self.reader.read(input)?;
            self.received += u64::try_from(before - input.len()).unwrap_or(0);
            let Some(piece) = piece else { return Ok(None) };
            let type_id = piece.header.type_id;
            let is_last = piece.is_last;
            let kind = Kind::of(type_id);
            if kind == Kind::Control {
                collect(&mut self.control, &piece);
                if is_last && let Some(control) = Control::decode(type_id, &self.control)? {
                    return self.handle_control(control).map(Some);
                }
            } else if kind == Kind::Command {
                let slot = piece.slot;
                // A second command between the chunks of a first: no server does it, and the first is kept. A command that comes before
                // all of S1 has been echoed answers nothing, and is passed over to its end.
                let is_expected = if piece.is_first { self.body_owner.is_none() } else { self.body_owner == Some(slot) };
                if self.is_packet || !is_expected {
                    continue;
                }
                collect(&mut self.body, &piece);
                self.body_owner = (!is_last).then_some(slot);
                if is_last {
                    return Ok(Some(ServerMessage::Command(type_id)));
                }
            }
        }
    }

    fn handle_control(&mut self, control: Control) -> Result<ServerMessage, Cause> {
        match control {
            Control::SetChunkSize(SetChunkSize(size)) => self.reader.set_chunk_size(size)?,
            Control::Abort(Abort(csid)) => {
                if self.reader.abort(csid) == self.body_owner {
                    self.body_owner = None;
                }
            }
            Control::Acknowledgement(Acknowledgement(total)) => {
                let step = total.wrapping_sub((self.heard_total & 0xffff_ffff) as u32);
                // A step of half the range or more is one that came late.
                if step < 1 << 31 {
                    self.heard_total += u64::from(step);
                    return Ok(ServerMessage::Acknowledged(self.heard_total));
                }
            }
            Control::WindowAckSize(WindowAckSize(window)) => self.window = u64::from(window).max(WINDOW_BYTES_MIN),
            Control::UserControl(UserControl::PingRequest(number)) => self.ping = Some(number),
            Control::UserControl(UserControl::StreamEof(_)) => return Ok(ServerMessage::StreamEof),
            Control::UserControl(_) | Control::SetPeerBandwidth(_) => {}
        }
        Ok(ServerMessage::Setting)
    }

    /// An answer that is due, a ping's first. At most one of each waits: pings faster than we can write are answered once.
    pub(super) fn take_reply(&mut self) -> Option<(u8, Vec<u8, CONTROL_BYTES_MAX>)> {
        let mut body = Vec::new();
        if let Some(number) = self.ping.take() {
            // Six and four bytes fit by construction.
            let _ = body.extend_from_slice(&UserControl::PingResponse(number).encode());
            return Some((type_id::USER_CONTROL, body));
        }
        if self.received - self.acknowledged >= self.window {
            self.acknowledged = self.received;
            let _ = body.extend_from_slice(&Acknowledgement((self.received & 0xffff_ffff) as u32).encode());
            return Some((type_id::ACKNOWLEDGEMENT, body));
        }
        None
    }
}

fn collect<const N: usize>(into: &mut Vec<u8, N>, piece: &Piece<'_>) {
    if piece.is_first {
        into.clear();
    }
    let room = N - into.len();
    let kept = piece.bytes.get(..piece.bytes.len().min(room)).unwrap_or(&[]);
    // It was cut to fit.
    let _ = into.extend_from_slice(kept);
}
