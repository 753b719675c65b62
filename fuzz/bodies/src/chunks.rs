//! The chunk stream: the same messages however the network cuts them.

use crate::cursor::{Cursor, sizes};

/// First byte: how the input is cut; the rest are chunks.
pub fn run(data: &[u8]) {
    let mut cursor = Cursor::new(data);
    let cut = cursor.u8();
    let bytes = cursor.rest();
    let whole = sightline_rtmp::fuzzing::chunks(bytes, || usize::MAX);
    assert_eq!(sightline_rtmp::fuzzing::chunks(bytes, sizes(cut)), whole);
    assert_eq!(sightline_rtmp::fuzzing::chunks(bytes, || 1), whole);
}
