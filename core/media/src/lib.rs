//! What every part of Sightline means by a frame: the model between capture and viewer.
//!
//! Nothing here knows a container or a protocol. Video payloads are access units in **AVCC** form: NAL units,
//! each behind its length in four bytes, big-endian, without parameter sets that are already in the [`Track`]
//! (ISO/IEC 14496-15 §5.3.3). Audio payloads are raw AAC frames without ADTS headers.
//!
//! The crate is `no_std`. It allocates only with the feature `alloc`: the records of [`coded`], and frames that own their payload.
#![no_std]
#![deny(missing_docs, clippy::indexing_slicing, clippy::std_instead_of_core)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod aac;
pub mod annexb;
pub mod avc;
mod bits;
pub mod capture_mark;
#[cfg(feature = "alloc")]
pub mod coded;
mod frame;
#[cfg(feature = "alloc")]
pub mod intake;
#[cfg(feature = "alloc")]
mod metadata;
#[cfg_attr(not(feature = "alloc"), expect(dead_code, unreachable_pub, reason = "H.265 and other people's framing are for who allocates"))]
mod nal;
mod source_clock;
#[cfg(feature = "alloc")]
mod stream;
mod time;
mod track;

pub use capture_mark::CaptureMark;
pub use frame::{FRAME_OVERHEAD_BYTES, Frame};
#[cfg(feature = "alloc")]
pub use metadata::{Metadata, Property};
pub use nal::config_beside;
pub use source_clock::{Fault, Placed, SourceClock};
#[cfg(feature = "alloc")]
pub use stream::StreamConfig;
pub use time::{Instant, MediaTime, WallTime};
pub use track::{Codec, Track, TrackConfig, TrackId};
