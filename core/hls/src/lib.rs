//! HLS without HTTP: frames in, segments and playlists out (RFC 8216). A [`Muxer`] makes one live playlist.
#![no_std]
#![deny(missing_docs, clippy::indexing_slicing, clippy::std_instead_of_core)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod muxer;

pub use muxer::{Config, Muxer, SEGMENT_BYTES_MAX};
