//! Big-endian fields out of a slice and into one.

use heapless::String;

/// Reads fields from the front of a slice; every read past the end is `None`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u24(&mut self) -> Option<u32> {
        self.array().map(|[a, b, c]| u32::from_be_bytes([0, a, b, c]))
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// The one little-endian field of RTMP: the message stream id.
    pub(crate) fn u32_le(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn f64(&mut self) -> Option<f64> {
        self.array().map(f64::from_be_bytes)
    }
}

/// Writes fields into a slice. Remembers an overflow instead of failing each call: [`Writer::finish`] returns it.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    out: &'a mut [u8],
    at: usize,
    has_overflowed: bool,
}

impl<'a> Writer<'a> {
    pub(crate) const fn new(out: &'a mut [u8]) -> Self {
        Self { out, at: 0, has_overflowed: false }
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) {
        match self.out.get_mut(self.at..).and_then(|room| room.get_mut(..bytes.len())) {
            Some(room) if !self.has_overflowed => {
                room.copy_from_slice(bytes);
                self.at += bytes.len();
            }
            Some(_) | None => self.has_overflowed = true,
        }
    }

    /// Bytes written; `None` when they did not fit.
    pub(crate) const fn finish(self) -> Option<usize> {
        if self.has_overflowed { None } else { Some(self.at) }
    }
}

/// The low 24 bits, big-endian.
pub(crate) const fn u24(value: u32) -> [u8; 3] {
    let [_, a, b, c] = value.to_be_bytes();
    [a, b, c]
}

/// As much of a text as fits, in whole characters.
pub(crate) fn cut_text<const N: usize>(text: &str) -> String<N> {
    let mut kept = String::new();
    for character in text.chars() {
        if kept.push(character).is_err() {
            break;
        }
    }
    kept
}

/// A signed number of 24 bits, from the unsigned one that its bytes make.
pub(crate) const fn signed_24(value: u32) -> i32 {
    (value << 8).cast_signed() >> 8
}
