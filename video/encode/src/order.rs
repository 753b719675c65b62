//! Orders to a pipeline.

use sightline_signal::Settings;

/// What the encoder shall do. It takes effect within one key-frame interval.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EncoderOrder {
    /// Begin with a key frame.
    Start(Settings),
    /// Other numbers while it runs.
    Change(Settings),
    /// A key frame as soon as possible.
    Keyframe,
    /// Encode nothing until [`Self::Resume`]. The next frame then refers to the last encoded one, so it needs no key frame. A source that is H.264 already can't
    /// be paused.
    Pause,
    /// Go on.
    Resume,
    /// Nothing is sent: it may stop.
    Stop,
    /// Whether the far end takes H.265. Where it does not, it becomes H.264, from the next key frame on.
    Hevc(bool),
}
