//! Tests against real peers: what they share. The tests are in `tests/`, a file a subject.
//!
//! Every process that is started here ends with its owner, by its id; every port is the system's choice; everything is on loopback.

pub mod browser;
pub mod camera;
pub mod chip;
pub mod cross;
pub mod dice;
pub mod guest;
pub mod media;
pub mod narrow;
pub mod nginx;
pub mod process;
pub mod quirk_camera;
pub mod quirk_mjpeg;
pub mod stack;

pub use process::Process;
pub use stack::{Demo, Stack, Streams};
