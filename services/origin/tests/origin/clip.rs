//! Pictures and sound from the real ffmpeg: two seconds, a key frame every half second.

use bytes::Bytes;
use sightline_media::{Frame, MediaTime, Track, TrackConfig, TrackId, aac, avc};
use std::sync::OnceLock;

#[derive(Clone)]
pub(crate) struct Clip {
    pub(crate) tracks: Vec<Track>,
    pub(crate) frames: Vec<Frame<Bytes>>,
}

/// How long the clip is, in milliseconds.
const CLIP_MS: i64 = 2000;

/// Made once a process.
pub(crate) fn clip() -> &'static Clip {
    static CLIP: OnceLock<Clip> = OnceLock::new();
    CLIP.get_or_init(|| make("320x180", ""))
}

/// The same with larger pictures.
pub(crate) fn larger_clip() -> &'static Clip {
    static CLIP: OnceLock<Clip> = OnceLock::new();
    CLIP.get_or_init(|| make("640x360", ""))
}

/// The same as the first, with four slices a picture.
pub(crate) fn sliced_clip() -> &'static Clip {
    static CLIP: OnceLock<Clip> = OnceLock::new();
    CLIP.get_or_init(|| make("320x180", "-x264-params slices=4 "))
}

fn make(size: &str, more: &str) -> Clip {
    let inputs = format!("-f lavfi -i testsrc2=size={size}:rate=25 -f lavfi -i sine=frequency=440:sample_rate=44100 -t 2");
    let codecs = format!("-c:v libx264 -preset ultrafast -tune zerolatency {more}-g 12 -b:v 400k -c:a aac -b:a 64k -f flv -");
    let made = std::process::Command::new("ffmpeg")
        .args("-v error".split(' ').chain(inputs.split(' ')).chain(codecs.split(' ')))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    read(&made.stdout)
}

fn u24(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]])
}

fn read(flv: &[u8]) -> Clip {
    let mut clip = Clip { tracks: vec![], frames: vec![] };
    let mut rest = &flv[13..];
    while rest.len() > 15 {
        let length = u24(&rest[1..]) as usize;
        let dts = MediaTime::from_millis(i64::from(u24(&rest[4..]) | u32::from(rest[7]) << 24));
        let body = &rest[11..11 + length];
        match (rest[0], body[1]) {
            (9, 0) => {
                clip.tracks.push(Track { id: TrackId::VIDEO, config: TrackConfig::H264(avc::DecoderConfig::parse(&body[5..]).unwrap()) })
            }
            (8, 0) => {
                clip.tracks.push(Track { id: TrackId::AUDIO, config: TrackConfig::Aac(aac::AudioConfig::parse(&body[2..]).unwrap()) })
            }
            (9, 1) => {
                let pts = dts + MediaTime::from_millis(i64::from(u24(&body[2..])));
                let payload = Bytes::copy_from_slice(&body[5..]);
                clip.frames.push(Frame { track: TrackId::VIDEO, dts, pts, is_keyframe: body[0] >> 4 == 1, is_disposable: false, payload });
            }
            (8, 1) => {
                let payload = Bytes::copy_from_slice(&body[2..]);
                clip.frames.push(Frame { track: TrackId::AUDIO, dts, pts: dts, is_keyframe: true, is_disposable: false, payload });
            }
            _ => {}
        }
        rest = &rest[15 + length..];
    }
    clip
}

impl Clip {
    /// Pictures a second.
    pub(crate) fn fps(&self) -> f64 {
        let pictures = self.frames.iter().filter(|frame| frame.track == TrackId::VIDEO).count();
        pictures as f64 * 1_000.0 / CLIP_MS as f64
    }

    /// The clip over and over, its time going on.
    pub(crate) fn repeated(&self) -> impl Iterator<Item = Frame<Bytes>> + Send + '_ {
        (0..).flat_map(move |round: i64| {
            let shift = MediaTime::from_millis(round * CLIP_MS);
            self.frames.iter().map(move |frame| Frame { dts: frame.dts + shift, pts: frame.pts + shift, ..frame.clone() })
        })
    }
}
