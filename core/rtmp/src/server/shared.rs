//! A frame serialised once for all players of a stream: whole messages, the same bytes for each.
//!
//! Every message has a type-0 header and absolute timestamps, so none depends on what a player got before it.

use crate::chunk::{MessageHeader, write};
use crate::message::command::{BODY_BYTES_MAX, Outgoing};
use crate::message::properties;
use crate::message::user_control::UserControl;
use crate::message::{CSID_AUDIO, CSID_COMMAND, CSID_CONTROL, CSID_DATA, CSID_VIDEO, type_id};
use bytes::{Bytes, BytesMut};
use sightline_media::{Codec, Frame, MediaTime, Metadata, Track};

/// The message stream of every play: the first that a connection creates.
pub(crate) const STREAM_ID: u32 = 1;

/// A frame as a whole message in chunks of `chunk_size` (the sessions' [`chunk_size`](super::Session::chunk_size)).
///
/// The payload is copied once, here, and never again: one contiguous write a viewer is cheaper than the list of slices that
/// chunk headers between payload slices would be.
#[must_use]
pub fn frame_message(frame: &Frame<Bytes>, codec: Codec, chunk_size: u32) -> Bytes {
    media(codec, frame.dts, [&crate::flv::frame_header(frame, codec), &frame.payload], chunk_size)
}

/// A track's sequence header as a whole message.
#[must_use]
pub fn track_message(track: &Track, at: MediaTime, chunk_size: u32) -> Bytes {
    let codec = track.config.codec();
    media(codec, at, [&crate::flv::sequence_header(codec), track.config.as_bytes()], chunk_size)
}

/// Metadata as a whole message.
#[must_use]
pub fn metadata_message(metadata: &Metadata, at: MediaTime, chunk_size: u32) -> Bytes {
    message(CSID_DATA, type_id::DATA, at, [&properties::write(metadata), &[]], chunk_size)
}

/// The end of a stream: StreamEOF, then `NetStream.Play.UnpublishNotify`, for a player on the first message stream.
#[must_use]
pub fn end_message() -> Bytes {
    let mut out = BytesMut::new();
    put(&mut out, CSID_CONTROL, type_id::USER_CONTROL, 0, &UserControl::StreamEof(STREAM_ID).encode());
    put_status(&mut out, "NetStream.Play.UnpublishNotify", "the stream has ended");
    out.freeze()
}

/// `NetStream.Play.PublishNotify`: a publisher has begun, for a player on the first message stream.
#[must_use]
pub fn publish_message() -> Bytes {
    let mut out = BytesMut::new();
    put_status(&mut out, "NetStream.Play.PublishNotify", "a publisher has begun");
    out.freeze()
}

fn put_status(out: &mut BytesMut, code: &str, description: &str) {
    let mut body = [0; BODY_BYTES_MAX];
    let length = Outgoing::Status { command: "onStatus", level: "status", code, description }.encode(&mut body);
    put(out, CSID_COMMAND, type_id::COMMAND, STREAM_ID, length.and_then(|length| body.get(..length)).unwrap_or(&[]));
}

fn put(out: &mut BytesMut, csid: u32, type_id: u8, stream_id: u32, body: &[u8]) {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let header = MessageHeader { csid, timestamp: 0, length, type_id, stream_id };
    write(&header, [body, &[]], crate::chunk::CHUNK_SIZE_MAX, |part| out.extend_from_slice(part));
}

fn media(codec: Codec, at: MediaTime, body: [&[u8]; 2], chunk_size: u32) -> Bytes {
    let (csid, type_id) = if codec.is_video() { (CSID_VIDEO, type_id::VIDEO) } else { (CSID_AUDIO, type_id::AUDIO) };
    message(csid, type_id, at, body, chunk_size)
}

fn message(csid: u32, type_id: u8, at: MediaTime, body: [&[u8]; 2], chunk_size: u32) -> Bytes {
    let length: usize = body.iter().map(|part| part.len()).sum();
    let header = MessageHeader {
        csid,
        timestamp: crate::flv::timestamp_ms(at),
        length: u32::try_from(length).unwrap_or(u32::MAX),
        type_id,
        stream_id: STREAM_ID,
    };
    let chunks = length / usize::try_from(chunk_size).unwrap_or(usize::MAX).max(1) + 1;
    // Eighteen bytes for the first header, at most five for each other.
    let mut out = BytesMut::with_capacity(length + 18 + chunks * 5);
    write(&header, body, chunk_size, |part| out.extend_from_slice(part));
    out.freeze()
}
