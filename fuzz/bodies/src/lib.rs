//! What the fuzz targets do: one function a target, from bytes to nothing, that panics where a promise is broken.
//!
//! `fuzz/fuzz_targets` puts libFuzzer around them; `tests/corpus.rs` runs them over the kept corpus in every test run.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "an event that a target does not use is none of its business, nor is one that comes later"
)]

pub mod amf0;
pub mod bodies;
pub mod chunks;
pub mod client;
#[cfg(feature = "shells")]
pub mod clip;
mod cursor;
mod deep_seeds;
pub mod fmp4;
pub mod intake;
#[cfg(feature = "shells")]
pub mod matroska;
pub mod media;
#[cfg(feature = "shells")]
pub mod mjpeg;
pub mod player;
#[cfg(feature = "shells")]
pub mod rtsp;
mod script;
pub mod seeds;
mod served;
pub mod server;
pub mod server_script;
pub mod signal;
pub mod source_clock;
#[cfg(feature = "shells")]
mod stream_seeds;
#[cfg(feature = "shells")]
pub mod token;
#[cfg(feature = "shells")]
pub mod webrtc;

/// A target's function.
pub type Body = fn(&[u8]);

/// All targets by name, as in `fuzz/fuzz_targets` and `fuzz/corpus`.
pub const TARGETS: &[(&str, Body)] = &[
    ("chunks", chunks::run),
    ("amf0", amf0::run),
    ("server", server::run),
    ("server_script", server_script::run),
    ("client", client::run),
    ("player", player::run),
    ("bodies", bodies::run),
    ("media", media::run),
    ("fmp4", fmp4::run),
    ("intake", intake::run),
    ("source_clock", source_clock::run),
    ("signal", signal::run),
    #[cfg(feature = "shells")]
    ("rtsp", rtsp::run),
    #[cfg(feature = "shells")]
    ("mjpeg", mjpeg::run),
    #[cfg(feature = "shells")]
    ("clip", clip::run),
    #[cfg(feature = "shells")]
    ("matroska", matroska::run),
    #[cfg(feature = "shells")]
    ("token", token::run),
    #[cfg(feature = "shells")]
    ("webrtc", webrtc::run),
];
