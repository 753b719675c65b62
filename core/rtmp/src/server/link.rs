//! Messages in and out on the side that may allocate: assembles what comes, answers protocol control by itself.

use crate::chunk::{MessageHeader, Reader, write};
use crate::error::Cause;
use crate::message::abort::Abort;
use crate::message::acknowledgement::Acknowledgement;
use crate::message::command::{BODY_BYTES_MAX, Outgoing};
use crate::message::control::Control;
use crate::message::set_chunk_size::SetChunkSize;
use crate::message::set_peer_bandwidth::SetPeerBandwidth;
use crate::message::user_control::UserControl;
use crate::message::window_ack_size::WindowAckSize;
use crate::message::{CSID_COMMAND, CSID_CONTROL, type_id};
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};

/// Chunk streams that a peer may use. Encoders use 3 to 6; SRS and rtmp-runtime take as many.
const CHUNK_STREAMS_MAX: usize = 64;
/// What is set aside when a message begins, at most. A peer that has sent as much gets room for the rest that it announced, up to
/// four times what came: so a frame takes no more memory than it has bytes, and what was only announced takes none.
const FIRST_CAPACITY_BYTES: usize = 16 * 1024;
/// The same while a peer has only asked: room for a `connect`. With 64 chunk streams of one byte each it costs 32 KiB, not a megabyte.
const ASKING_CAPACITY_BYTES: usize = 512;
/// Answers that wait to be transmitted: several times what a whole conversation takes.
const OUTPUT_BYTES_MAX: usize = 256 * 1024;
/// Windows below this are taken as this: an acknowledgement a packet helps no one.
const WINDOW_BYTES_MIN: u32 = 4096;

/// A whole message.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) header: MessageHeader,
    pub(crate) body: Bytes,
}

/// One connection's two directions.
pub(crate) struct Link {
    reader: Reader<CHUNK_STREAMS_MAX>,
    partial: Vec<BytesMut>,
    partial_bytes: usize,
    partial_bytes_max: usize,
    first_capacity_bytes: usize,
    output: BytesMut,
    chunk_size: u32,
    received: u64,
    acknowledged: u64,
    window: u64,
}

impl Link {
    pub(crate) fn new() -> Self {
        Self {
            reader: Reader::new(),
            partial: Vec::new(),
            partial_bytes: 0,
            partial_bytes_max: super::PARTIAL_BYTES_MAX,
            first_capacity_bytes: FIRST_CAPACITY_BYTES,
            output: BytesMut::new(),
            chunk_size: crate::chunk::CHUNK_SIZE_DEFAULT,
            received: 0,
            acknowledged: 0,
            window: u64::from(super::WINDOW_BYTES),
        }
    }

    /// The longest message that is taken, in bytes.
    pub(crate) const fn limit_messages(&mut self, bytes: u32) {
        self.reader.set_message_bytes_max(bytes);
    }

    /// Of a peer that has no right yet little is kept.
    pub(crate) const fn limit_to_asking(&mut self) {
        self.partial_bytes_max = super::ASKING_BYTES_MAX;
        self.first_capacity_bytes = ASKING_CAPACITY_BYTES;
    }

    /// A publisher may leave this many bytes in unfinished messages.
    pub(crate) const fn limit_partial(&mut self, bytes: usize) {
        self.partial_bytes_max = bytes;
        self.first_capacity_bytes = FIRST_CAPACITY_BYTES;
    }

    /// Bytes of the peer so far.
    pub(crate) const fn received(&self) -> u64 {
        self.received
    }

    /// Bytes of the handshake, which are read elsewhere.
    pub(crate) fn count(&mut self, bytes: usize) {
        self.received += u64::try_from(bytes).unwrap_or(0);
    }

    /// The next message that is not protocol control; `None` when the input is used up.
    pub(crate) fn read(&mut self, input: &mut &[u8]) -> Result<Option<Message>, Cause> {
        loop {
            let before = input.len();
            let piece = self.reader.read(input);
            // Also what holds a fault: an error says where it is.
            self.received += u64::try_from(before - input.len()).unwrap_or(0);
            let Some(piece) = piece? else { return Ok(None) };
            let header = piece.header;
            while self.partial.len() <= piece.slot {
                self.partial.push(BytesMut::new());
            }
            let Some(partial) = self.partial.get_mut(piece.slot) else { return Ok(None) };
            let needed = partial.len() + piece.bytes.len();
            if needed > partial.capacity() {
                let announced = usize::try_from(header.length).unwrap_or(usize::MAX);
                let room = announced.min((needed * 4).max(self.first_capacity_bytes)).max(needed);
                let mut larger = BytesMut::with_capacity(room);
                larger.extend_from_slice(partial);
                *partial = larger;
            }
            partial.extend_from_slice(piece.bytes);
            self.partial_bytes += piece.bytes.len();
            if self.partial_bytes > self.partial_bytes_max {
                return Err(Cause::PartialBytes);
            }
            if !piece.is_last {
                continue;
            }
            // Taken whole: a later message never shares an allocation with frames that viewers still hold.
            let body = core::mem::take(partial).freeze();
            self.partial_bytes -= body.len();
            match Control::decode(header.type_id, &body)? {
                Some(control) => self.handle_control(control)?,
                None => return Ok(Some(Message { header, body })),
            }
        }
    }

    fn handle_control(&mut self, control: Control) -> Result<(), Cause> {
        match control {
            Control::SetChunkSize(SetChunkSize(size)) => self.reader.set_chunk_size(size)?,
            Control::Abort(Abort(csid)) => {
                let partial = self.reader.abort(csid).and_then(|slot| self.partial.get_mut(slot));
                if let Some(partial) = partial {
                    self.partial_bytes -= partial.len();
                    *partial = BytesMut::new();
                }
            }
            Control::WindowAckSize(WindowAckSize(window)) => self.window = u64::from(window.max(WINDOW_BYTES_MIN)),
            Control::UserControl(UserControl::PingRequest(number)) => {
                self.message(CSID_CONTROL, type_id::USER_CONTROL, 0, &UserControl::PingResponse(number).encode());
            }
            Control::UserControl(_) | Control::Acknowledgement(_) | Control::SetPeerBandwidth(_) => {}
        }
        self.check_output()
    }

    /// An error when the peer asks for more than it reads.
    pub(crate) fn check_output(&self) -> Result<(), Cause> {
        if self.output.len() > OUTPUT_BYTES_MAX { Err(Cause::Unread) } else { Ok(()) }
    }

    /// Sends an acknowledgement if a window has come in since the last. Call once per piece of input: one answers for many windows.
    pub(crate) fn acknowledge(&mut self) {
        if self.received - self.acknowledged >= self.window {
            self.acknowledged = self.received;
            let total = (self.received & 0xffff_ffff) as u32;
            self.message(CSID_CONTROL, type_id::ACKNOWLEDGEMENT, 0, &Acknowledgement(total).encode());
        }
    }

    /// Window, bandwidth and chunk size; what follows goes out in chunks of that size.
    pub(crate) fn open(&mut self, window: u32, chunk_size: u32) {
        self.message(CSID_CONTROL, type_id::WINDOW_ACK_SIZE, 0, &WindowAckSize(window).encode());
        let bandwidth = SetPeerBandwidth { window, limit: SetPeerBandwidth::DYNAMIC };
        self.message(CSID_CONTROL, type_id::SET_PEER_BANDWIDTH, 0, &bandwidth.encode());
        self.message(CSID_CONTROL, type_id::SET_CHUNK_SIZE, 0, &SetChunkSize(chunk_size).encode());
        self.chunk_size = chunk_size;
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    pub(crate) fn message(&mut self, csid: u32, type_id: u8, stream_id: u32, body: &[u8]) {
        let header = MessageHeader { csid, timestamp: 0, length: u32::try_from(body.len()).unwrap_or(u32::MAX), type_id, stream_id };
        let (output, chunk_size) = (&mut self.output, self.chunk_size);
        write(&header, [body, &[]], chunk_size, |part| output.extend_from_slice(part));
    }

    pub(crate) fn command(&mut self, stream_id: u32, command: &Outgoing<'_>) {
        let mut body = [0; BODY_BYTES_MAX];
        // Descriptions are ours and short; a code or description that did not fit would leave the peer waiting, so it is sent without.
        let length = command.encode(&mut body).unwrap_or(0);
        debug_assert!(length > 0, "the command is too long");
        self.message(CSID_COMMAND, type_id::COMMAND, stream_id, body.get(..length).unwrap_or(&[]));
    }

    /// What is to be transmitted.
    pub(crate) fn take_output(&mut self) -> Option<Bytes> {
        (!self.output.is_empty()).then(|| core::mem::take(&mut self.output).freeze())
    }
}
