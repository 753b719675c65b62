//! Streams, free of any wire: frames and configurations in a ring, the stream's own time, its publisher and its outputs.
//!
//! An output that must see every frame is a [`tap::Tap`]: frames are pushed to it. One that serves viewers at their own pace holds a
//! [`ring::Cursor`] and pulls. What an output keeps for a stream lies in its [`extensions`]. So a new output is a file of its own in
//! `play/` or `record/`, and nothing here changes.

pub(crate) mod captured;
pub(crate) mod extensions;
pub(crate) mod hub;
pub(crate) mod incidents;
pub(crate) mod packet;
pub(crate) mod rate;
pub(crate) mod readers;
pub(crate) mod refusals;
pub(crate) mod ring;
pub(crate) mod stream;
pub(crate) mod tap;
pub(crate) mod traffic;
