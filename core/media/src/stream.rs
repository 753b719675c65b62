//! What a stream is made of at a time.

use crate::{Codec, Frame, Metadata, Track, TrackId};
use alloc::vec::Vec;

/// The tracks of a stream, and what its publisher says about it. Frames refer to the configuration that they were sent under.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct StreamConfig {
    /// Another number for each change within a stream; 0 is the configuration before the first.
    pub id: u64,
    /// By track id, ascending.
    pub tracks: Vec<Track>,
    /// What the publisher announced, if anything.
    pub metadata: Option<Metadata>,
}

impl StreamConfig {
    /// How a track is coded. Frames of a track that was never announced are taken for H.264 or AAC.
    #[must_use]
    pub fn codec_of(&self, id: TrackId) -> Codec {
        let otherwise = if id == TrackId::AUDIO { Codec::Aac } else { Codec::H264 };
        self.tracks.iter().find(|track| track.id == id).map_or(otherwise, |track| track.config.codec())
    }

    /// Whether the stream has this track.
    #[must_use]
    pub fn has(&self, id: TrackId) -> bool {
        self.tracks.iter().any(|track| track.id == id)
    }

    /// Whether a viewer or a file can begin with this frame: a key frame of the video, or any key frame of a stream without video.
    #[must_use]
    pub fn can_start_with<P>(&self, frame: &Frame<P>) -> bool {
        frame.is_keyframe && (frame.track == TrackId::VIDEO || !self.has(TrackId::VIDEO))
    }
}
