//! Doors to what is private here, for the fuzz targets in `fuzz/`. No part of the interface: they come with the feature `fuzzing`.

use crate::amf0::{Decoder, Value};
use crate::chunk::Reader;
use crate::error::Cause;
use crate::message::type_id;
use alloc::vec::Vec;

/// A message as chunks carried it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunked {
    /// The chunk stream.
    pub csid: u32,
    /// Milliseconds; wraps at 2^32.
    pub timestamp: u32,
    /// The message type id.
    pub type_id: u8,
    /// The message stream id.
    pub stream_id: u32,
    /// The whole body.
    pub body: Vec<u8>,
}

/// Chunk streams of the reader here: few, so that the limit is met.
const STREAMS: usize = 8;

/// Reads a chunk stream in pieces of the sizes given (none is empty), obeys Set Chunk Size, and says which messages came and what
/// ended them.
pub fn chunks(bytes: &[u8], mut size: impl FnMut() -> usize) -> (Vec<Chunked>, Option<Cause>) {
    let mut reader = Reader::<STREAMS>::new();
    let mut bodies: Vec<Vec<u8>> = alloc::vec![Vec::new(); STREAMS];
    let mut messages = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (mut input, later) = rest.split_at(size().clamp(1, rest.len()));
        rest = later;
        loop {
            let piece = match reader.read(&mut input) {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                Err(cause) => return (messages, Some(cause)),
            };
            let Some(body) = bodies.get_mut(piece.slot) else { return (messages, None) };
            if piece.is_first {
                body.clear();
            }
            body.extend_from_slice(piece.bytes);
            if !piece.is_last {
                continue;
            }
            let (header, body) = (piece.header, core::mem::take(body));
            if let (type_id::SET_CHUNK_SIZE, Some(size)) = (header.type_id, body.first_chunk::<4>())
                && let Err(cause) = reader.set_chunk_size(u32::from_be_bytes(*size))
            {
                return (messages, Some(cause));
            }
            let (csid, timestamp, stream_id) = (header.csid, header.timestamp, header.stream_id);
            messages.push(Chunked { csid, timestamp, type_id: header.type_id, stream_id, body });
        }
    }
    (messages, None)
}

/// Reads AMF0 values to the end or the first that can't be read, looks into objects, and says how many there were at the top.
pub fn amf0(bytes: &[u8]) -> usize {
    let (mut decoder, mut count) = (Decoder::new(bytes), 0);
    while let Ok(Some(value)) = decoder.value() {
        count += 1;
        if let Value::Object(object) = value {
            let _ = (object.get("a"), object.text("code"));
        }
    }
    count
}

/// C1 of a client that signs it, in schema 0 or 1: the digest of the complex handshake can't be guessed.
#[must_use]
pub fn signed_c1(schema: u8, seed: u64) -> [u8; 1536] {
    crate::handshake::digest::signed_c1(if schema == 0 { 8 } else { 772 }, seed)
}
