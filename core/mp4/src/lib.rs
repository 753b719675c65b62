//! Fragmented MP4 without I/O (ISO/IEC 14496-12 §8.8): initialisation segments and movie fragments from frames, and their index back.
//!
//! Every track runs on the 90 kHz clock and decode times are absolute: a gap in the stream stays a gap in the file, which
//! `shiguredo_mp4`'s own segment muxer would close. HLS segments and recordings share these boxes.
#![no_std]
#![deny(missing_docs, clippy::indexing_slicing, clippy::std_instead_of_core)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod error;
mod fragment;
mod init;
mod read;
#[cfg(test)]
mod samples;
mod segment_index;

pub use error::{Error, ReadError};
pub use fragment::{fragment, fragment_of, fragment_parts};
pub use init::{holds, init_segment};
pub use read::{BOX_HEADER_BYTES, BoxHeader, Sample, read_fragment, read_tracks};
pub use segment_index::{IndexEntry, index_room, read_segment_index, segment_index};

use core::num::NonZeroU32;
use sightline_media::TrackId;

/// Ticks a second of every track.
const TIMESCALE: NonZeroU32 = NonZeroU32::new(90_000).expect("not zero");

/// The MP4 track id of one of our tracks: ours begin at 0, MP4's at 1.
fn mp4_track_id(track: TrackId) -> u32 {
    u32::from(track.0) + 1
}
