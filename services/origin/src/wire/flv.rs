//! FLV tags.

use crate::live::packet::Packet;
use bytes::{Bytes, BytesMut};
use sightline_media::{MediaTime, TrackId};
use sightline_rtmp::flv;

pub(super) fn frame(packet: &Packet) -> Bytes {
    flv::frame_tag(&packet.frame, packet.config.codec_of(packet.frame.track))
}

/// Metadata and sequence headers before a frame.
pub(super) fn headers(packet: &Packet) -> Bytes {
    let mut out = BytesMut::new();
    if let Some(metadata) = &packet.config.metadata {
        out.extend_from_slice(&flv::metadata_tag(metadata, MediaTime::ZERO));
    }
    for track in &packet.config.tracks {
        out.extend_from_slice(&flv::track_tag(track, packet.frame.dts));
    }
    out.freeze()
}

/// The header of the file that a viewer downloads without end.
pub(super) fn opening(packet: &Packet) -> Bytes {
    Bytes::copy_from_slice(&flv::file_header(packet.config.has(TrackId::VIDEO), packet.config.has(TrackId::AUDIO)))
}
