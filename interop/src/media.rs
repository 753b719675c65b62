//! What ffmpeg and ffprobe say of a stream or a file.

use crate::process::output;
use serde_json::Value;
use std::{path::Path, process::Command};

/// One demuxed packet: its stream's kind, its times in milliseconds, and a hash of its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    /// `video` or `audio`.
    pub kind: String,
    /// Decoding time.
    pub dts_ms: i64,
    /// MD5 of the packet's data.
    pub hash: String,
    /// Whether it is a key frame.
    pub is_keyframe: bool,
}

/// Everything that ffprobe demuxes from `input`, which may be a URL; of an endless one, the first `seconds`.
///
/// # Panics
/// If ffprobe fails.
#[must_use]
pub fn packets(input: &str, seconds: Option<u32>) -> Vec<Packet> {
    let mut command = Command::new("ffprobe");
    command.args([
        "-v",
        "error",
        "-show_packets",
        "-show_data_hash",
        "md5",
        "-show_entries",
        "packet=codec_type,dts_time,data_hash,flags",
        "-of",
        "json",
    ]);
    if let Some(seconds) = seconds {
        command.args(["-read_intervals", &format!("%+{seconds}")]);
    }
    let printed: Value = serde_json::from_slice(&output(command.arg(input))).expect("JSON");
    let packets = printed["packets"].as_array().cloned().unwrap_or_default();
    packets
        .iter()
        .map(|packet| Packet {
            kind: packet["codec_type"].as_str().unwrap_or_default().to_owned(),
            dts_ms: packet["dts_time"].as_str().and_then(|time| time.parse::<f64>().ok()).map_or(0, |secs| (secs * 1000.0).round() as i64),
            hash: packet["data_hash"].as_str().unwrap_or_default().to_owned(),
            is_keyframe: packet["flags"].as_str().is_some_and(|flags| flags.starts_with('K')),
        })
        .collect()
}

/// Decodes the whole of a file with ffmpeg and gives the number of frames; any error of the decoder fails the test.
///
/// # Panics
/// On a decoder's error.
#[must_use]
pub fn decode(input: &Path) -> usize {
    let run = Command::new("ffmpeg")
        .args(["-v", "error", "-xerror", "-i"])
        .arg(input)
        .args(["-map", "0:v", "-f", "framehash", "-"])
        .output()
        .expect("ffmpeg runs");
    let complaints = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success() && complaints.trim().is_empty(), "{}: {complaints}", input.display());
    String::from_utf8_lossy(&run.stdout).lines().filter(|line| !line.starts_with('#')).count()
}

/// Makes a clip as a camera's would be: H.264 with B-frames, and AAC.
///
/// # Panics
/// If ffmpeg fails.
pub fn make_clip(path: &Path, seconds: u32, size: &str, fps: u32) {
    output(
        Command::new("ffmpeg")
            .args([
                "-v",
                "error",
                "-y",
                "-f",
                "lavfi",
                "-i",
                &format!("testsrc2=size={size}:rate={fps}"),
                "-f",
                "lavfi",
                "-i",
                "sine=frequency=440:sample_rate=44100",
                "-t",
            ])
            .arg(seconds.to_string())
            .args([
                "-c:v",
                "libx264",
                "-preset",
                "veryfast",
                "-profile:v",
                "high",
                "-bf",
                "2",
                "-g",
                &(fps * 2).to_string(),
                "-b:v",
                "600k",
                "-pix_fmt",
                "yuv420p",
            ])
            .args(["-c:a", "aac", "-b:a", "64k"])
            .arg(path),
    );
}

/// Waits until a URL gives a stream that ffprobe can name, and gives its first video stream.
///
/// # Panics
/// If ffprobe finds none.
#[must_use]
pub fn probe(input: &str) -> Value {
    let printed = output(Command::new("ffprobe").args([
        "-v",
        "error",
        "-show_streams",
        "-select_streams",
        "v",
        "-of",
        "json",
        "-rw_timeout",
        "8000000",
        input,
    ]));
    let printed: Value = serde_json::from_slice(&printed).expect("JSON");
    printed["streams"][0].clone()
}
