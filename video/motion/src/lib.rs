//! Whether something moves: small luma pictures in, yes or no out (specification §1.2).
//!
//! No clock and no thread: pictures come with their times. When an event begins and ends is for the motion gate of `core/pusher` to decide.

mod blobs;
mod detector;
mod watch;
mod zones;

pub use detector::Detector;
pub use watch::Watch;
pub use zones::{Zone, ZoneError, ZoneKind};
