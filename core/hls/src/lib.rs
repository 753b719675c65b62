//! HLS without HTTP: frames in, segments, parts and playlists out (RFC 8216, and its second edition for low latency).
//! A [`Muxer`] makes one live playlist.
//!
//! What it holds to, whatever the frames are:
//! - `TARGETDURATION` and `PART-TARGET` never change. A segment that gets no key frame in time is cut without one.
//! - A URI never names two contents, and numbers never go back: both begin at a number that the caller takes from a clock, and names carry
//!   a mark of the run. A player's cache holds nothing of another run.
//! - What is listed is served, and for one playlist's length after it left.
//! - Parameter sets are in the key frames, too: readers that never ask for another initialisation segment decode a size change.
#![no_std]
#![deny(missing_docs, clippy::indexing_slicing, clippy::std_instead_of_core)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod muxer;
mod pace;
mod playlist;
mod segment;
mod sets;
mod ts;

pub use muxer::{Config, Container, Lookup, Muxer, Run, SEGMENT_BYTES_MAX, Wait};
