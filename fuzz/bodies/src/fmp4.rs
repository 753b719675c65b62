//! fMP4 and HLS over tracks and frames that no encoder makes.

use crate::cursor::Cursor;
use crate::script::avc_record;
use bytes::Bytes;
use sightline_hls::{Config, Container, Lookup, Muxer, Run};
use sightline_media::{Frame, MediaTime, Track, TrackConfig, TrackId, WallTime, aac, avc};
use std::time::Duration;

/// Tracks, then frames.
pub fn run(data: &[u8]) {
    let mut cursor = Cursor::new(data);
    let mut tracks = vec![];
    let record = match cursor.u8() {
        0 => avc_record(0),
        choice => avc_record(choice),
    };
    if let Ok(config) = avc::DecoderConfig::parse(&record) {
        tracks.push(Track { id: TrackId::VIDEO, config: TrackConfig::H264(config) });
    }
    let length = usize::from(cursor.u8() % 33);
    if let Ok(config) = aac::AudioConfig::parse(cursor.take(length)) {
        tracks.push(Track { id: TrackId::AUDIO, config: TrackConfig::Aac(config) });
    }
    if let Ok(init) = sightline_mp4::init_segment(&tracks) {
        assert_boxes(&init);
    }
    let config = Config {
        segment_duration_min: Duration::from_millis(u64::from(cursor.u8()) * 20),
        playlist_segments: usize::from(cursor.u8() % 8),
        part_duration: Duration::from_millis(u64::from(cursor.u8()) * 4),
        container: Container::Mp4,
    };
    let container = if config.playlist_segments.is_multiple_of(2) { Container::Mp4 } else { Container::MpegTs };
    let config = Config { container, ..config };
    let mut muxer = Muxer::new(config, Run { first_sequence: 7, mark: 1 });
    let _ = muxer.set_tracks(&tracks);
    let (mut frames, mut ticks) = (vec![], 0_i64);
    while !cursor.is_empty() {
        let choice = cursor.u8();
        let step = i64::from(cursor.u16().cast_signed()) * if choice & 0x80 == 0 { 1 } else { 1 << 30 };
        ticks = ticks.saturating_add(step);
        let dts = MediaTime::from_ticks(ticks);
        let pts = MediaTime::from_ticks(ticks.saturating_add(i64::from(cursor.u16().cast_signed()) << (choice & 0x0f)));
        let payload = Bytes::from(vec![0x65; usize::from(cursor.u8())]);
        let track = if choice & 0x40 == 0 { TrackId::VIDEO } else { TrackId::AUDIO };
        let frame = Frame { track, dts, pts, is_keyframe: choice & 0x20 == 0, is_disposable: choice & 0x10 != 0, payload };
        muxer.push(&frame, WallTime::from_unix_micros(ticks));
        frames.push(frame);
        if choice == 0x7f {
            muxer.discontinue();
        }
    }
    if let Ok(fragment) = sightline_mp4::fragment(1, &frames, None) {
        assert_boxes(&fragment);
    }
    for is_over in [false, true] {
        if is_over {
            muxer.end();
        }
        assert_all_is_there(&muxer);
    }
}

/// What the playlist names is there, but for the part that comes next.
fn assert_all_is_there(muxer: &Muxer) {
    let Some(text) = muxer.playlist(false) else { return };
    assert!(text.starts_with("#EXTM3U") && muxer.playlist(true).is_some());
    for line in text.lines() {
        let name = if line.starts_with('#') { line.split('"').nth(1) } else { Some(line) };
        match name.map(|name| muxer.lookup(name)) {
            Some(Lookup::Media(bytes)) if line.ends_with(".ts") => {
                assert!(bytes.chunks(188).all(|packet| packet.len() == 188 && packet[0] == 0x47))
            }
            Some(Lookup::Init(bytes) | Lookup::Media(bytes)) => assert_boxes(&bytes),
            Some(Lookup::Soon) => assert!(line.contains("PRELOAD-HINT")),
            Some(Lookup::Gone) => panic!("{line} is listed and gone"),
            None => {}
        }
    }
}

/// The sizes of the outer boxes lead exactly to the end.
fn assert_boxes(bytes: &[u8]) {
    let mut rest = bytes;
    while let Some((size, _)) = rest.split_first_chunk::<4>() {
        let size = u32::from_be_bytes(*size) as usize;
        assert!(size >= 8 && size <= rest.len(), "a box of {size} bytes in {}", rest.len());
        rest = &rest[size..];
    }
    assert!(rest.is_empty());
}
