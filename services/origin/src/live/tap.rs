//! Outputs that see every frame.

use crate::live::packet::Packet;
use sightline_media::Instant;
use std::sync::Arc;

/// An output that frames are pushed to: a recording, a playlist. Dropping it ends it.
///
/// It is called with the stream's lock held, so it must not wait; what takes long goes to a task of its own.
pub(crate) trait Tap: Send {
    /// The next frame. Its configuration is the packet's, and may be another than before.
    fn handle_packet(&mut self, packet: &Arc<Packet>, now: Instant) -> Next;

    /// Another publisher has the stream: frames may be missing before the next one.
    fn handle_takeover(&mut self) {}
}

/// Whether a tap wants more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    Stay,
    Leave,
}
