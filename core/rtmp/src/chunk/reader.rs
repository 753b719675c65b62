//! Chunks out of bytes, fed in pieces of any size. Holds headers only: the caller decides where payloads go, so that the
//! camera's side needs no allocator and the server's side allocates what came, never what was announced.

use super::writer::{EXTENDED, HEADER_BYTES_MAX};
use super::{CHUNK_SIZE_DEFAULT, MESSAGE_BYTES_MAX, MessageHeader};
use crate::error::Cause;
use crate::wire::Fields;

/// Reads a chunk stream. `STREAMS` bounds the chunk streams that a peer may use.
#[derive(Debug)]
pub(crate) struct Reader<const STREAMS: usize> {
    streams: heapless::Vec<Stream, STREAMS>,
    chunk_size: u32,
    /// The longest message taken, in bytes.
    message_bytes_max: u32,
    /// Bytes taken and not yet understood: part of a header, or (after a missing extended timestamp) the payload's first bytes.
    held: [u8; HEADER_BYTES_MAX],
    held_len: usize,
    /// Bytes of `held` that were handed out as payload by the last call.
    held_lent: usize,
    payload: Option<Payload>,
}

/// The rest of the chunk being read.
#[derive(Clone, Copy, Debug)]
struct Payload {
    slot: usize,
    left: u32,
}

/// One chunk stream's memory (§5.3.1.2).
#[derive(Clone, Copy, Debug)]
struct Stream {
    header: MessageHeader,
    /// The timestamp field of the last header: absolute after type 0, else a difference. A type 3 that begins a message adds it.
    field: u32,
    has_extended: bool,
    /// Bytes of the present message that were read.
    received: u32,
    in_message: bool,
}

/// A piece of a message, as it came.
#[derive(Debug)]
pub(crate) struct Piece<'a> {
    /// The chunk stream's place, `0..STREAMS`.
    pub(crate) slot: usize,
    pub(crate) header: MessageHeader,
    pub(crate) bytes: &'a [u8],
    pub(crate) is_first: bool,
    pub(crate) is_last: bool,
}

/// How far a header goes.
enum Extent {
    /// More bytes are needed: this many in all.
    Needs(usize),
    /// It is this long, the extended timestamp included if there is one.
    Whole { fields: usize, has_extended: bool },
}

impl<const STREAMS: usize> Reader<STREAMS> {
    pub(crate) const fn new() -> Self {
        Self {
            streams: heapless::Vec::new(),
            chunk_size: CHUNK_SIZE_DEFAULT,
            message_bytes_max: MESSAGE_BYTES_MAX,
            held: [0; HEADER_BYTES_MAX],
            held_len: 0,
            held_lent: 0,
            payload: None,
        }
    }

    /// For the next connection.
    pub(crate) fn reset(&mut self) {
        self.streams.clear();
        self.chunk_size = CHUNK_SIZE_DEFAULT;
        self.message_bytes_max = MESSAGE_BYTES_MAX;
        self.held_len = 0;
        self.held_lent = 0;
        self.payload = None;
    }

    /// The longest message that is taken from here on, in bytes.
    #[cfg(feature = "server")]
    pub(crate) const fn set_message_bytes_max(&mut self, bytes: u32) {
        self.message_bytes_max = bytes;
    }

    /// Takes effect at the next chunk: the one being read keeps its size (nginx-rtmp once overran its buffer here).
    pub(crate) const fn set_chunk_size(&mut self, size: u32) -> Result<(), Cause> {
        if size == 0 || size > i32::MAX.cast_unsigned() {
            return Err(Cause::ChunkSize(size));
        }
        self.chunk_size = size;
        Ok(())
    }

    /// Abort Message (§5.4.2): forgets the unfinished message of a chunk stream and returns its slot.
    pub(crate) fn abort(&mut self, csid: u32) -> Option<usize> {
        let slot = self.slot_of(csid)?;
        let stream = self.streams.get_mut(slot)?;
        stream.in_message = false;
        stream.received = 0;
        Some(slot)
    }

    /// The next piece; `None` when `input` is used up. An error ends the stream.
    pub(crate) fn read<'r, 'i: 'r>(&'r mut self, input: &mut &'i [u8]) -> Result<Option<Piece<'r>>, Cause> {
        self.drop_lent();
        if self.payload.is_none() && !self.read_header(input)? {
            return Ok(None);
        }
        let Some(payload) = self.payload else { return Ok(None) };
        let Some(stream) = self.streams.get_mut(payload.slot) else { return Ok(None) };
        let from_held = self.held_len > 0;
        let available = if from_held { self.held_len } else { input.len() };
        if available == 0 && payload.left > 0 {
            return Ok(None);
        }
        let length = usize::try_from(payload.left).unwrap_or(usize::MAX).min(available);
        let count = u32::try_from(length).unwrap_or(payload.left);
        let is_first = stream.received == 0;
        stream.received += count;
        let is_last = stream.received >= stream.header.length;
        let header = stream.header;
        if is_last {
            stream.in_message = false;
            stream.received = 0;
        }
        self.payload = if count == payload.left { None } else { Some(Payload { left: payload.left - count, ..payload }) };
        let bytes = if from_held {
            self.held_lent = length;
            self.held.get(..length).unwrap_or(&[])
        } else {
            let (now, later) = input.split_at(length);
            *input = later;
            now
        };
        Ok(Some(Piece { slot: payload.slot, header, bytes, is_first, is_last }))
    }

    fn drop_lent(&mut self) {
        if self.held_lent > 0 {
            self.held.copy_within(self.held_lent..self.held_len, 0);
            self.held_len -= self.held_lent;
            self.held_lent = 0;
        }
    }

    /// Reads a header; false when the input ended first.
    fn read_header(&mut self, input: &mut &[u8]) -> Result<bool, Cause> {
        // Nearly all headers come whole. One that is at fault is read byte by byte, so that the count says where.
        if self.held_len == 0
            && let Ok(Extent::Whole { fields, has_extended }) = self.extent(input)
            && let Some((header, later)) = input.split_at_checked(fields + if has_extended { 4 } else { 0 })
            && let Some(room) = self.held.get_mut(..header.len())
        {
            room.copy_from_slice(header);
            *input = later;
            self.begin_chunk(fields, has_extended)?;
            return Ok(true);
        }
        loop {
            let held = self.held.get(..self.held_len).unwrap_or(&[]);
            match self.extent(held)? {
                Extent::Needs(count) => {
                    let Some((&byte, later)) = input.split_first() else { return Ok(false) };
                    debug_assert!(count > self.held_len);
                    let Some(room) = self.held.get_mut(self.held_len) else { return Ok(false) };
                    *room = byte;
                    self.held_len += 1;
                    *input = later;
                }
                Extent::Whole { fields, has_extended } => {
                    self.begin_chunk(fields, has_extended)?;
                    let used = fields + if has_extended { 4 } else { 0 };
                    self.held.copy_within(used..self.held_len, 0);
                    self.held_len -= used;
                    return Ok(true);
                }
            }
        }
    }

    fn slot_of(&self, csid: u32) -> Option<usize> {
        self.streams.iter().position(|stream| stream.header.csid == csid)
    }

    fn extent(&self, held: &[u8]) -> Result<Extent, Cause> {
        let Some((format, csid, basic)) = basic_header(held) else { return Ok(Extent::Needs(held.len() + 1)) };
        let fields = basic + [11, 7, 3, 0].get(usize::from(format)).copied().unwrap_or(0);
        let Some(tail) = held.get(fields..) else { return Ok(Extent::Needs(fields)) };
        if format < 3 {
            let has_extended = held.get(basic..).and_then(|bytes| Fields::new(bytes).u24()) == Some(EXTENDED);
            return Ok(if has_extended && tail.len() < 4 { Extent::Needs(fields + 4) } else { Extent::Whole { fields, has_extended } });
        }
        let stream = self.slot_of(csid).and_then(|slot| self.streams.get(slot)).ok_or(Cause::HeaderMissing { csid })?;
        if !stream.has_extended {
            return Ok(Extent::Whole { fields, has_extended: false });
        }
        // §5.3.1.3 repeats the extended timestamp here; old librtmp and ffmpeg leave it out. Four equal bytes are the timestamp
        // (SRS does the same). Others repeat the absolute time instead of the difference. The first byte that differs decides, so
        // that the end of a short message without it never waits for bytes that won't come.
        let could_be = |expected: u32| expected.to_be_bytes().starts_with(tail.get(..tail.len().min(4)).unwrap_or(&[]));
        if !could_be(stream.field) && !could_be(stream.header.timestamp) {
            return Ok(Extent::Whole { fields, has_extended: false });
        }
        Ok(if tail.len() < 4 { Extent::Needs(fields + 4) } else { Extent::Whole { fields, has_extended: true } })
    }

    /// Understands the header in `held` and sets up its chunk's payload.
    fn begin_chunk(&mut self, fields: usize, has_extended: bool) -> Result<(), Cause> {
        let held = self.held;
        let Some((format, csid, basic)) = basic_header(&held) else { return Ok(()) };
        let slot = self.slot_for(csid, format)?;
        let Some(stream) = self.streams.get_mut(slot) else { return Ok(()) };
        if format == 3 {
            if !stream.in_message {
                stream.header.timestamp = stream.header.timestamp.wrapping_add(stream.field);
            }
        } else {
            if stream.in_message {
                return Err(Cause::HeaderMidMessage { csid });
            }
            let extended = held.get(fields..).filter(|_| has_extended);
            stream.apply(format, Fields::new(held.get(basic..).unwrap_or(&[])), extended);
        }
        if stream.header.length > self.message_bytes_max {
            return Err(Cause::MessageLength(stream.header.length));
        }
        stream.in_message = true;
        let left = stream.header.length.saturating_sub(stream.received).min(self.chunk_size);
        self.payload = Some(Payload { slot, left });
        Ok(())
    }

    /// The chunk stream's slot. A first header may be of type 1 (librtmp's ping is), not of type 2 or 3.
    fn slot_for(&mut self, csid: u32, format: u8) -> Result<usize, Cause> {
        if let Some(slot) = self.slot_of(csid) {
            return Ok(slot);
        }
        if format > 1 {
            return Err(Cause::HeaderMissing { csid });
        }
        let header = MessageHeader { csid, timestamp: 0, length: 0, type_id: 0, stream_id: 0 };
        let stream = Stream { header, field: 0, has_extended: false, received: 0, in_message: false };
        self.streams.push(stream).map_err(|_| Cause::ChunkStreams)?;
        Ok(self.streams.len() - 1)
    }
}

impl Stream {
    /// Takes over the fields of a header of type 0, 1 or 2.
    fn apply(&mut self, format: u8, mut fields: Fields<'_>, extended: Option<&[u8]>) {
        let stamp = fields.u24().unwrap_or(0);
        self.has_extended = extended.is_some();
        self.field = extended.and_then(|bytes| Fields::new(bytes).u32()).unwrap_or(stamp);
        if format < 2 {
            self.header.length = fields.u24().unwrap_or(0);
            self.header.type_id = fields.u8().unwrap_or(0);
        }
        if format == 0 {
            self.header.stream_id = fields.u32_le().unwrap_or(0);
            self.header.timestamp = self.field;
        } else {
            self.header.timestamp = self.header.timestamp.wrapping_add(self.field);
        }
    }
}

/// Format, chunk stream id and length of the basic header (§5.3.1.1), once it is whole.
fn basic_header(held: &[u8]) -> Option<(u8, u32, usize)> {
    let (&first, rest) = held.split_first()?;
    let format = first >> 6;
    match first & 0x3f {
        0 => Some((format, 64 + u32::from(*rest.first()?), 2)),
        1 => {
            let [low, high] = *rest.first_chunk::<2>()?;
            Some((format, 64 + u32::from(u16::from_le_bytes([low, high])), 3))
        }
        csid => Some((format, u32::from(csid), 1)),
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
