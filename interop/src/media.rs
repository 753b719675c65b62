//! What ffmpeg and ffprobe say of a stream or a file.

use crate::process::{eventually, output};
use serde_json::Value;
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// One demuxed packet: its stream's kind, its times in milliseconds, and a hash of its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    /// `video` or `audio`.
    pub kind: String,
    /// Decoding time.
    pub dts_ms: i64,
    /// MD5 of the packet's data.
    pub hash: String,
    /// Whether it is a key frame; false where it was not asked.
    pub is_keyframe: bool,
}

/// Everything that ffprobe demuxes from `input`, which may be a URL; of an endless one, the first `seconds`.
///
/// # Panics
/// If ffprobe fails.
#[must_use]
pub fn packets(input: &str, seconds: Option<u32>) -> Vec<Packet> {
    let limit = seconds.map(|seconds| format!("%+{seconds}"));
    match &limit {
        Some(limit) => read_packets(input, &["-read_intervals", limit]),
        None => read_packets(input, &[]),
    }
}

/// All packets of a file whose end is missing. ffmpeg looks through the headers of all fragments before it reads the first, and gives up the
/// whole file where the last of them is cut; without an index it reads as it goes.
///
/// # Panics
/// If ffprobe fails.
#[must_use]
pub fn packets_of_cut_file(input: &str) -> Vec<Packet> {
    read_packets(input, &["-fflags", "+ignidx"])
}

fn read_packets(input: &str, options: &[&str]) -> Vec<Packet> {
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
    command.args(options);
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

/// An ffmpeg that speaks Enhanced RTMP: `cargo xtask test` puts it there.
///
/// # Panics
/// If it is not there.
#[must_use]
pub fn enhanced_ffmpeg() -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/ffmpeg/imageio_ffmpeg/binaries");
    let found = std::fs::read_dir(&dir).ok().and_then(|mut entries| {
        entries.find_map(|entry| entry.ok().map(|entry| entry.path()).filter(|path| path.to_string_lossy().contains("ffmpeg-linux")))
    });
    found.unwrap_or_else(|| panic!("no ffmpeg in {}: run cargo xtask test once", dir.display()))
}

/// The packets of `input`, copied and hashed by `program`; of an endless one the first `seconds`.
///
/// # Panics
/// If the program fails.
#[must_use]
pub fn hashes(program: &Path, input: &str, seconds: Option<u32>) -> Vec<Packet> {
    let mut command = Command::new(program);
    command.args(["-v", "error", "-i", input]);
    if let Some(seconds) = seconds {
        command.args(["-t", &seconds.to_string()]);
    }
    let printed = output(command.args(["-map", "0:v?", "-map", "0:a?", "-c", "copy", "-f", "framehash", "-hash", "md5", "-"]));
    let printed = String::from_utf8_lossy(&printed).into_owned();
    // "#tb 0: 1/1000" and "#media_type 0: video", then "stream, dts, pts, duration, size, hash".
    let (mut kinds, mut bases) = (HashMap::new(), HashMap::new());
    let mut packets = Vec::new();
    for line in printed.lines() {
        if let Some((number, kind)) = line.strip_prefix("#media_type ").and_then(|rest| rest.split_once(": ")) {
            kinds.insert(number.to_owned(), kind.to_owned());
        } else if let Some((number, base)) = line.strip_prefix("#tb ").and_then(|rest| rest.split_once(": ")) {
            let (up, down) = base.split_once('/').expect("a fraction");
            bases.insert(number.to_owned(), up.parse::<f64>().expect("a number") / down.parse::<f64>().expect("a number"));
        } else if !line.starts_with('#') {
            let fields: Vec<&str> = line.split(',').map(str::trim).collect();
            let secs = fields[1].parse::<f64>().expect("a number") * bases[fields[0]];
            let kind = kinds[fields[0]].clone();
            packets.push(Packet { kind, dts_ms: (secs * 1000.0).round() as i64, hash: fields[5].to_owned(), is_keyframe: false });
        }
    }
    packets
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
    make_clip_with(path, seconds, size, fps, 2);
}

/// The same, with this many B-frames between two others.
///
/// # Panics
/// If ffmpeg fails.
pub fn make_clip_with(path: &Path, seconds: u32, size: &str, fps: u32, b_frames: u32) {
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
                &b_frames.to_string(),
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

/// Takes the newest segment of a playlist in MPEG-TS, and has GStreamer decode it by this chain; its streams as ffprobe names them, sorted.
///
/// # Panics
/// When there is none within a while, or GStreamer refuses it.
#[must_use]
pub fn ts_segment(playlist: &str, path: &Path, chain: &str) -> Vec<String> {
    let curl = |url: &str| Command::new("curl").args(["-sf", url]).output().expect("curl starts").stdout;
    let name = eventually("a playlist in MPEG-TS", Duration::from_secs(20), || {
        let text = String::from_utf8_lossy(&curl(playlist)).into_owned();
        text.lines().rfind(|line| line.starts_with("seg-")).map(str::to_owned)
    });
    let (folder, _) = playlist.rsplit_once('/').expect("a URL has a path");
    std::fs::write(path, curl(&format!("{folder}/{name}"))).expect("a file can be written");
    let pipeline = format!("filesrc location={} ! tsdemux ! {chain} ! fakesink", path.display());
    output(Command::new("gst-launch-1.0").arg("-q").args(pipeline.split(' ')));
    let found = output(Command::new("ffprobe").args(["-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0"]).arg(path));
    let found = String::from_utf8_lossy(&found);
    let mut codecs: Vec<String> = found.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
    codecs.sort();
    codecs.dedup();
    codecs
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

/// The access units of a byte stream with delimiters, which are left out: each as its NAL units, without start codes.
#[must_use]
pub fn avc_units(stream: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut units: Vec<Vec<Vec<u8>>> = Vec::new();
    for nal in sightline_media::annexb::NalUnits::new(stream) {
        match (nal.first().map_or(0, |header| header & 0x1f), units.last_mut()) {
            (9, _) | (_, None) => units.push(Vec::new()),
            (_, Some(unit)) => unit.push(nal.to_vec()),
        }
    }
    units
}
