//! Recordings as files, for camera and origin: one [`Writer`] appends fragments, keeps the directory within its limits and repairs
//! what a power cut left; [`list`] and [`export`] read them back.
//!
//! Everything here blocks on the disk: call it on a thread that may wait. `core/recording` decides where fragments and files are cut.
#![deny(missing_docs)]

mod export;
mod keeper;
mod retention;
mod segment;
mod shelf;
mod source;
mod spans;
mod writer;

pub use export::{Clip, ClipReader, Exported, Recording, RecordingsError, Unreadable, export, list, visit, visit_on};
pub use keeper::{Held, Keeper, Kept, Looked, Wishes};
pub use retention::{ClockTrust, Retention};
pub use segment::{Segment, SegmentError, complete_bytes};
pub use shelf::{Copied, Shelf};
pub use source::Source;
pub use spans::{Span, Spans};
pub use writer::{Durability, Formats, Plan, Stem, Writer, make_private_dir, sync};
