//! Whether something moves: small luma pictures in, yes or no out (specification §1.2).
//!
//! Here are no clocks and no threads: pictures come with their times. When an event begins and ends is
//! [`sightline_pusher::MotionGate`]'s to say.

mod blobs;
mod detector;
mod watch;
mod zones;

pub(crate) use detector::Detector;
pub(crate) use watch::Watch;
pub use zones::{Zone, ZoneKind};
