//! What goes out: a scratch for control messages, and a frame whose payload is lent chunk by chunk.

use crate::chunk::CHUNK_SIZE_DEFAULT;
use crate::chunk::{HEADER_BYTES_MAX, Header, MESSAGE_BYTES_MAX, MessageHeader, continuation, first, write};
use crate::handshake;
use crate::message::command::Outgoing;
use crate::message::{CSID_COMMAND, type_id};
use heapless::Vec;
use sightline_media::capture_mark;

/// The longest body put into the scratch, in bytes: a `connect` or `publish` of the longest names, an `avcC` of 512.
pub(super) const BODY_BYTES_MAX: usize = 640;
/// One such message in the smallest chunks: a first header, and five bytes before each further chunk where the timestamp is extended.
pub(super) const SCRATCH_BYTES: usize = BODY_BYTES_MAX + HEADER_BYTES_MAX + 5 * BODY_BYTES_MAX / CHUNK_SIZE_DEFAULT as usize;

/// Control bytes that wait to be written: a message, or a piece of the handshake.
pub(super) struct Scratch {
    bytes: Vec<u8, SCRATCH_BYTES>,
    at: usize,
}

impl Scratch {
    pub(super) const fn new() -> Self {
        Self { bytes: Vec::new(), at: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(super) fn pending(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or(&[])
    }

    pub(super) fn consumed(&mut self, count: usize) {
        self.at += count;
        if self.is_empty() {
            self.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.at = 0;
    }

    /// C0 C1 from byte `at` to `end`, or as much of it as there is room for; where the piece ends.
    pub(super) fn put_opening(&mut self, at: usize, end: usize, seed: u64) -> usize {
        let from = self.bytes.len();
        let length = (end - at).min(SCRATCH_BYTES - from);
        // It was cut to fit.
        let _ = self.bytes.resize_default(from + length);
        handshake::write_opening(self.bytes.get_mut(from..).unwrap_or_default(), at, seed);
        at + length
    }

    pub(super) fn put_bytes(&mut self, bytes: &[u8]) {
        // What is put together fits: see the type and its test.
        let fits = self.bytes.extend_from_slice(bytes).is_ok();
        debug_assert!(fits, "the scratch is too small");
    }

    pub(super) fn put_message(&mut self, csid: u32, type_id: u8, stream_id: u32, timestamp: u32, body: &[u8], chunk_size: u32) {
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let header = MessageHeader { csid, timestamp, length, type_id, stream_id };
        write(&header, [body, &[]], chunk_size, |part| self.put_bytes(part));
    }

    pub(super) fn put_command(&mut self, command: &Outgoing<'_>, stream_id: u32, chunk_size: u32) {
        let mut body = [0; BODY_BYTES_MAX];
        let length = command.encode(&mut body);
        debug_assert!(length.is_some(), "the command is too long");
        if let Some(body) = length.and_then(|length| body.get(..length)) {
            self.put_message(CSID_COMMAND, type_id::COMMAND, stream_id, 0, body, chunk_size);
        }
    }
}

/// What goes in front of a payload: the body's header, and the mark of its capture.
pub(super) const BODY_HEAD_BYTES_MAX: usize = crate::flv::BODY_HEADER_BYTES_MAX + capture_mark::HEAD_BYTES_MAX;
const _: () = assert!(BODY_HEAD_BYTES_MAX < CHUNK_SIZE_DEFAULT as usize, "it is in the first chunk, which is never smaller");
/// First chunk header and what goes in front of the payload.
const HEAD_BYTES_MAX: usize = HEADER_BYTES_MAX + BODY_HEAD_BYTES_MAX;

/// The frame under way. Its payload stays in the queue; this knows how far it has gone.
pub(super) struct Sending {
    /// The present chunk's header, in the first chunk with the body's header.
    head: Vec<u8, HEAD_BYTES_MAX>,
    head_at: usize,
    /// The present chunk's part of the payload: from `at` to `chunk_end`.
    at: usize,
    chunk_end: usize,
    is_mid_chunk: bool,
    continuation: Header,
}

impl Sending {
    /// `body_head` goes before what of the payload is in `part`. `None` when the message would be longer than a message may be.
    pub(super) fn new(
        csid: u32,
        type_id: u8,
        stream_id: u32,
        timestamp: u32,
        body_head: &[u8],
        part: core::ops::Range<usize>,
        chunk_size: u32,
    ) -> Option<Self> {
        let length = u32::try_from(part.len() + body_head.len()).ok().filter(|&length| length <= MESSAGE_BYTES_MAX)?;
        let header = MessageHeader { csid, timestamp, length, type_id, stream_id };
        let continuation = continuation(&header);
        let chunk_size = usize::try_from(chunk_size).ok()?;
        let mut head = Vec::new();
        head.extend_from_slice(&first(&header)).ok()?;
        head.extend_from_slice(body_head).ok()?;
        let chunk_end = part.end.min(part.start.saturating_add(chunk_size.saturating_sub(body_head.len())));
        Some(Self { head, head_at: 0, at: part.start, chunk_end, is_mid_chunk: false, continuation })
    }

    /// True between the first byte of a chunk and its last: nothing may come in between.
    pub(super) const fn is_mid_chunk(&self) -> bool {
        self.is_mid_chunk
    }

    pub(super) fn pending<'a>(&'a self, payload: &'a [u8]) -> [&'a [u8]; 2] {
        [self.head.get(self.head_at..).unwrap_or(&[]), payload.get(self.at..self.chunk_end).unwrap_or(&[])]
    }

    /// Goes on by `count` bytes; true when the message is done.
    pub(super) fn consumed(&mut self, count: usize, payload_len: usize, chunk_size: u32) -> bool {
        let of_head = count.min(self.head.len() - self.head_at);
        self.head_at += of_head;
        self.at = (self.at + count - of_head).min(self.chunk_end);
        self.is_mid_chunk = true;
        if self.head_at < self.head.len() || self.at < self.chunk_end {
            return false;
        }
        self.is_mid_chunk = false;
        if self.at >= payload_len {
            return true;
        }
        self.head.clear();
        // A continuation's header is shorter than a first one's.
        let _ = self.head.extend_from_slice(&self.continuation);
        self.head_at = 0;
        self.chunk_end = payload_len.min(self.at.saturating_add(usize::try_from(chunk_size).unwrap_or(usize::MAX)));
        false
    }
}
