//! A segment and its parts.

use alloc::vec::Vec;
use bytes::Bytes;
use sightline_media::MediaTime;

/// A part of a segment: a fragment of MP4 of its own.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) duration_ticks: i64,
    /// It begins with a key frame.
    pub(crate) is_independent: bool,
    pub(crate) bytes: Bytes,
}

/// How long parts are together.
pub(crate) fn ticks_of(parts: &[Part]) -> i64 {
    parts.iter().fold(0, |ticks: i64, part| ticks.saturating_add(part.duration_ticks))
}

/// A segment that is whole: its parts in a row.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) sequence: u64,
    /// The number of its initialisation segment.
    pub(crate) init: u64,
    pub(crate) is_discontinuous: bool,
    /// Discontinuities before it, its own not counted.
    pub(crate) discontinuities: u64,
    pub(crate) duration_ticks: i64,
    /// The longest list that had it.
    pub(crate) list_ticks_max: i64,
    /// When its first frame was there, in microseconds since 1970.
    pub(crate) began_unix_micros: i64,
    /// Its parts may be listed: they keep to the target.
    pub(crate) has_parts: bool,
    pub(crate) parts: Vec<Part>,
    pub(crate) bytes: Bytes,
}

impl Segment {
    /// When it ended, in microseconds since 1970.
    pub(crate) fn ends_unix_micros(&self) -> i64 {
        self.began_unix_micros.saturating_add(MediaTime::from_ticks(self.duration_ticks).as_micros())
    }

    /// Whether it can be decoded by itself.
    #[cfg(test)]
    pub(crate) fn is_independent(&self) -> bool {
        self.parts.first().is_some_and(|part| part.is_independent)
    }
}
