//! The chunk stream (§5.3): messages cut into chunks that interleave.

mod reader;
mod writer;

pub(crate) use reader::{Piece, Reader};
pub(crate) use writer::{HEADER_BYTES_MAX, Header, continuation, first, write};

/// The chunk size before a Set Chunk Size (§5.4.1).
pub(crate) const CHUNK_SIZE_DEFAULT: u32 = 128;
/// The largest chunk size that we make. Taken is whatever the standard allows, up to 2^31-1 (§5.4.1): encoders set 10 MB, 128 MB and the largest number to say
/// "a chunk a message" (deepch/vdk#16, nareix/joy4#88), and a chunk is never longer than its message.
pub const CHUNK_SIZE_MAX: u32 = 1024 * 1024;
/// The longest message taken, in bytes: twice a 4K intra picture at the highest quality in use.
pub const MESSAGE_BYTES_MAX: u32 = 8 * 1024 * 1024;

/// What a message header says (§5.3.1.2), with its timestamp made absolute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MessageHeader {
    pub(crate) csid: u32,
    /// Milliseconds; wraps at 2^32.
    pub(crate) timestamp: u32,
    pub(crate) length: u32,
    pub(crate) type_id: u8,
    pub(crate) stream_id: u32,
}
