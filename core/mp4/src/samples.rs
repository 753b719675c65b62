//! Tracks and frames for the tests of this crate.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use bytes::Bytes;
use sightline_media::{Frame, MediaTime, Track, TrackConfig, TrackId, aac::AudioConfig, avc::DecoderConfig};

pub(crate) fn video_track() -> Track {
    let sps = [
        0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x5a, 0x80, 0x80, 0x80, 0xa0, 0x00, 0x00, 0x7d, 0x20, 0x00,
        0x17, 0x70, 0x01, 0xe3, 0x06, 0x32, 0xc0,
    ];
    Track { id: TrackId::VIDEO, config: TrackConfig::H264(DecoderConfig::from_sets(&sps, &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0]).unwrap()) }
}

pub(crate) fn audio_track() -> Track {
    Track { id: TrackId::AUDIO, config: TrackConfig::Aac(AudioConfig::parse(&[0x12, 0x10]).unwrap()) }
}

pub(crate) fn frame(index: i64, is_keyframe: bool) -> Frame<Bytes> {
    let time = MediaTime::from_millis(index * 40);
    let payload = Bytes::from(alloc::format!("frame {index}"));
    Frame { track: TrackId::VIDEO, dts: time, pts: time, is_keyframe, is_disposable: false, payload }
}
