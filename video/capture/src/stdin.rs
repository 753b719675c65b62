//! Annex B on standard input: what `libcamera-vid -o -` or `ffmpeg -f h264 -` write.

use bytes::{Bytes, BytesMut};
use sightline_media::annexb;
use std::io::Read;

/// The longest access unit, in bytes: beyond it the input is no H.264.
const ACCESS_UNIT_BYTES_MAX: usize = 8 << 20;
/// Read at once.
const READ_BYTES: usize = 64 * 1024;

/// Cuts a byte stream into access units as it comes.
pub struct AccessUnits<R> {
    input: R,
    buffer: BytesMut,
    scanned: usize,
    has_picture: bool,
    is_finished: bool,
}

impl<R> std::fmt::Debug for AccessUnits<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessUnits").finish_non_exhaustive()
    }
}

impl<R: Read> AccessUnits<R> {
    pub fn new(input: R) -> Self {
        Self { input, buffer: BytesMut::new(), scanned: 0, has_picture: false, is_finished: false }
    }

    /// The next access unit, Annex B; `None` at the end. Waits for the first NAL unit of the one after it.
    pub fn next_unit(&mut self) -> std::io::Result<Option<Bytes>> {
        loop {
            if let Some(end) = self.find_end() {
                self.scanned = 0;
                self.has_picture = false;
                return Ok(Some(self.buffer.split_to(end).freeze()));
            }
            if self.is_finished {
                self.scanned = 0;
                let rest = std::mem::take(&mut self.buffer).freeze();
                return Ok((!rest.is_empty()).then_some(rest));
            }
            if self.buffer.len() > ACCESS_UNIT_BYTES_MAX {
                return Err(std::io::Error::other("8 MiB without the start of a new picture: the input is not H.264 in Annex B form"));
            }
            let at = self.buffer.len();
            self.buffer.resize(at + READ_BYTES, 0);
            let read = self.input.read(&mut self.buffer[at..])?;
            self.buffer.truncate(at + read);
            self.is_finished = read == 0;
        }
    }

    /// Where the access unit at the buffer's start ends: before the first NAL unit that begins another (H.264 §7.4.1.2.3).
    fn find_end(&mut self) -> Option<usize> {
        loop {
            let code = self.scanned + annexb::find_start_code(&self.buffer[self.scanned..])?;
            // Two bytes after the start code tell a picture's first slice.
            let &[header, first, ..] = self.buffer.get(code + 3..)? else { return None };
            if self.has_picture && begins_access_unit(header, first) {
                // A start code of four bytes begins with the zero before it.
                return Some(if code > 0 && self.buffer[code - 1] == 0 { code - 1 } else { code });
            }
            self.has_picture |= matches!(header & 0x1f, 1..=5);
            self.scanned = code + 3;
        }
    }
}

/// True for what can only come first: a delimiter, SPS, PPS, SEI, or a slice whose `first_mb_in_slice` is 0.
pub fn begins_access_unit(header: u8, first: u8) -> bool {
    match header & 0x1f {
        6..=9 | 14..=18 => true,
        1 | 2 | 5 => first & 0x80 != 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte a read: the worst pipe.
    struct Drip<'a>(&'a [u8]);
    impl Read for Drip<'_> {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else { return Ok(0) };
            out[0] = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    #[test]
    fn access_units_are_cut_the_same_whole_and_byte_by_byte() {
        let stream = [
            0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 2, 0, 0, 1, 0x65, 0x88, 9, 0, 0, 1, 0x65, 0x08, 9, 0, 0, 0, 1, 0x41, 0x9a, 7, 0, 0, 1,
            0x41, 0x9b, 8,
        ];
        let cut = |mut units: AccessUnits<Box<dyn Read>>| std::iter::from_fn(|| units.next_unit().unwrap()).collect::<Vec<_>>();
        let whole = cut(AccessUnits::new(Box::new(std::io::Cursor::new(stream.to_vec()))));
        assert_eq!(whole.iter().map(Bytes::len).collect::<Vec<_>>(), [24, 7, 6]);
        assert_eq!(whole, cut(AccessUnits::new(Box::new(Drip(Box::leak(Box::new(stream)))))));
    }
}
