//! One coded picture or audio frame.

use crate::{MediaTime, TrackId};

/// One access unit of video, or one frame of audio.
///
/// `P` is whatever holds the bytes: `Bytes` on a server, on a chip a handle whose drop gives the buffer back to the encoder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame<P> {
    /// Which track of its stream it belongs to.
    pub track: TrackId,
    /// When to decode. Never decreases within a track.
    pub dts: MediaTime,
    /// When to show. At least `dts` for H.264 as cameras make it; B-frames shift it.
    pub pts: MediaTime,
    /// True for an IDR picture (and for every audio frame): decoding can start here.
    pub is_keyframe: bool,
    /// True when no other frame refers to it, so that leaving it out harms nothing else.
    pub is_disposable: bool,
    /// The bytes: AVCC for H.264, raw for AAC (see the crate's page).
    pub payload: P,
}

impl<P> Frame<P> {
    /// The same frame around other bytes.
    pub fn map<Q>(self, payload: impl FnOnce(P) -> Q) -> Frame<Q> {
        Frame {
            track: self.track,
            dts: self.dts,
            pts: self.pts,
            is_keyframe: self.is_keyframe,
            is_disposable: self.is_disposable,
            payload: payload(self.payload),
        }
    }
}

/// What a frame costs besides its payload, in bytes, wherever frames are kept: its own structure, the payload's, a place in a list, the
/// headers of the wires. A frame of one byte is counted as five hundred.
pub const FRAME_OVERHEAD_BYTES: usize = 512;

impl<P: AsRef<[u8]>> Frame<P> {
    /// What keeping it costs in bytes: limits count this, so that frames without content are not free.
    pub fn cost_bytes(&self) -> usize {
        self.len() + FRAME_OVERHEAD_BYTES
    }

    /// The payload's length in bytes.
    pub fn len(&self) -> usize {
        self.payload.as_ref().len()
    }

    /// True when there is no payload.
    pub fn is_empty(&self) -> bool {
        self.payload.as_ref().is_empty()
    }
}
