//! What ffmpeg writes for us: the same items however its pipe cuts them.

use crate::cursor::{Cursor, sizes};
use sightline_capture::fuzzing::{Item, matroska};
use std::io::Read;

/// Gives at most as many bytes at once as the sizes say.
struct Drip<'a, F>(&'a [u8], F);

impl<F: FnMut() -> usize> Read for Drip<'_, F> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let limit = into.len().min((self.1)());
        into.get_mut(..limit).map_or(Ok(0), |into| self.0.read(into))
    }
}

/// First byte: how the input is cut; the rest is the stream.
pub fn run(data: &[u8]) {
    let mut cursor = Cursor::new(data);
    let cut = cursor.u8();
    let bytes = cursor.rest();
    let whole = items(bytes);
    assert_eq!(items(Drip(bytes, sizes(cut))), whole);
}

fn items(input: impl Read) -> (Vec<(i64, Vec<u8>)>, Option<String>) {
    let mut items = vec![];
    let ended = matroska(input, |item| {
        items.push(match item {
            Item::Picture(picture, time) => (time.ticks_90k, picture.planes().concat()),
            Item::Sound(frame) => (frame.dts.ticks_90k, frame.payload.to_vec()),
        });
    });
    (items, ended.err())
}
