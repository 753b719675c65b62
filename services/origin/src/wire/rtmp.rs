//! RTMP messages.

use crate::live::packet::Packet;
use bytes::{Bytes, BytesMut};
use sightline_media::MediaTime;
use sightline_rtmp::server::shared;
use std::sync::LazyLock;

pub(super) fn frame(packet: &Packet, chunk_size: u32) -> Bytes {
    shared::frame_message(&packet.frame, packet.config.codec_of(packet.frame.track), chunk_size)
}

/// That a publisher has begun: the same for all of them.
pub(super) fn publish() -> Bytes {
    static MESSAGE: LazyLock<Bytes> = LazyLock::new(shared::publish_message);
    MESSAGE.clone()
}

/// Metadata and sequence headers before a frame.
pub(super) fn headers(packet: &Packet, chunk_size: u32) -> Bytes {
    let mut out = BytesMut::new();
    if let Some(metadata) = &packet.config.metadata {
        // At zero, whenever the viewer comes: ffmpeg takes a later one for a track of text.
        out.extend_from_slice(&shared::metadata_message(metadata, MediaTime::ZERO, chunk_size));
    }
    for track in &packet.config.tracks {
        out.extend_from_slice(&shared::track_message(track, packet.frame.dts, chunk_size));
    }
    out.freeze()
}
