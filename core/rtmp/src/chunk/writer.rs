//! Messages into chunks. Always a type-0 header and type-3 continuations: no state, so that one serialisation serves every viewer.

use super::MessageHeader;
use heapless::Vec;

/// Basic header (3), message header (11), extended timestamp (4).
pub(crate) const HEADER_BYTES_MAX: usize = 18;

/// A chunk's header.
pub(crate) type Header = Vec<u8, HEADER_BYTES_MAX>;

/// Timestamps from here on travel in the extended field (§5.3.1.3).
pub(super) const EXTENDED: u32 = 0x00ff_ffff;

/// The header of a message's first chunk, type 0.
pub(crate) fn first(message: &MessageHeader) -> Header {
    let mut header = basic(0, message.csid);
    let stamp = message.timestamp.min(EXTENDED);
    for bytes in [&crate::wire::u24(stamp)[..], &crate::wire::u24(message.length), &[message.type_id], &message.stream_id.to_le_bytes()] {
        put(&mut header, bytes);
    }
    if stamp == EXTENDED {
        put(&mut header, &message.timestamp.to_be_bytes());
    }
    header
}

/// The header of every further chunk, type 3. It repeats the extended timestamp, as §5.3.1.3 says.
pub(crate) fn continuation(message: &MessageHeader) -> Header {
    let mut header = basic(3, message.csid);
    if message.timestamp >= EXTENDED {
        put(&mut header, &message.timestamp.to_be_bytes());
    }
    header
}

fn basic(format: u8, csid: u32) -> Header {
    let mut header = Header::new();
    let format = format << 6;
    let [_, _, high, low] = csid.saturating_sub(64).to_be_bytes();
    match csid {
        0..=63 => put(&mut header, &[format | csid.to_le_bytes()[0]]),
        64..=319 => put(&mut header, &[format, low]),
        _ => put(&mut header, &[format | 1, low, high]),
    }
    header
}

fn put(header: &mut Header, bytes: &[u8]) {
    // 18 bytes fit by construction.
    let _ = header.extend_from_slice(bytes);
}

/// Hands the bytes of a whole message, chunk by chunk, to `put`. The body comes in two parts so that a media header needs no copy before its payload.
pub(crate) fn write(message: &MessageHeader, body: [&[u8]; 2], chunk_size: u32, mut put: impl FnMut(&[u8])) {
    let chunk_size = usize::try_from(chunk_size).unwrap_or(usize::MAX).max(1);
    put(&first(message));
    let continuation = continuation(message);
    let mut room = chunk_size;
    for mut part in body {
        while !part.is_empty() {
            if room == 0 {
                put(&continuation);
                room = chunk_size;
            }
            let (now, later) = part.split_at(part.len().min(room));
            put(now);
            room -= now.len();
            part = later;
        }
    }
}
