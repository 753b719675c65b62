//! fMP4 and HLS without HTTP: frames in, segments and playlists out (RFC 8216, ISO/IEC 14496-12 §8.8).
//!
//! A [`Muxer`] makes one live playlist. [`fmp4`] makes the same boxes for recordings.
#![no_std]
#![deny(missing_docs, clippy::indexing_slicing, clippy::std_instead_of_core)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod fmp4;
mod muxer;

pub use muxer::{Config, Muxer, SEGMENT_BYTES_MAX};
