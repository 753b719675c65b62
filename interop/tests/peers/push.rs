//! `sightline push` to the server that everyone has: nginx with its RTMP module.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use interop::{
    Process, media, nginx,
    process::{eventually, free_port, sightline},
};
use std::{path::Path, process::Command, time::Duration};
use tempfile::TempDir;

#[test]
fn the_moving_scene_plays_from_nginx() {
    let dir = TempDir::new().unwrap();
    let (_nginx, url) = nginx::start(dir.path());
    let mut push =
        Process::start("push", dir.path(), Command::new(sightline()).args(["push", "test", &format!("{url}/scene"), "--quality", "low"]));
    let stream = eventually("nginx plays it", Duration::from_secs(20), || {
        let probed = Command::new("ffprobe")
            .args(["-v", "error", "-rw_timeout", "4000000", "-show_streams", "-of", "json", &format!("{url}/scene")])
            .output()
            .ok()?;
        let streams: serde_json::Value = serde_json::from_slice(&probed.stdout).ok()?;
        streams["streams"].as_array()?.iter().find(|stream| stream["codec_type"] == "video").cloned()
    });
    assert_eq!((stream["codec_name"].as_str(), stream["width"].as_i64(), stream["height"].as_i64()), (Some("h264"), Some(640), Some(480)));
    push.signal("-INT");
    assert!(push.wait(Duration::from_secs(10)).success());
    assert!(push.log().contains("sent "), "{}", push.log());
}

#[test]
fn a_file_pushed_once_is_recorded_by_nginx_byte_for_byte() {
    let dir = TempDir::new().unwrap();
    let (_nginx, url) = nginx::start(dir.path());
    let clip = dir.path().join("clip.mp4");
    media::make_clip(&clip, 4, "320x240", 25);
    let mut push = Process::start(
        "push",
        dir.path(),
        Command::new(sightline()).args(["push", clip.to_str().unwrap(), &format!("{url}/once"), "--once"]),
    );
    assert!(push.wait(Duration::from_secs(30)).success(), "{}", push.log());
    let hashes = |path: &Path, kind: &str| {
        let packets = media::packets(path.to_str().unwrap(), None);
        packets.into_iter().filter(|packet| packet.kind == kind).map(|packet| packet.hash).collect::<Vec<_>>()
    };
    let recording = eventually("nginx has closed its recording", Duration::from_secs(10), || {
        let path = dir.path().join("once.flv");
        (path.exists() && hashes(&path, "video").len() == 100).then_some(path)
    });
    for kind in ["video", "audio"] {
        assert_eq!(hashes(&recording, kind), hashes(&clip, kind), "{kind}");
    }
}

/// Hashes of what nginx recorded of one push, once it has as many frames as expected.
fn recorded(dir: &Path, name: &str, frames: usize) -> Vec<String> {
    let path = dir.join(format!("{name}.flv"));
    eventually("nginx has closed its recording", Duration::from_secs(10), || {
        let packets = media::packets(path.exists().then(|| path.to_str())??, None);
        let hashes: Vec<String> = packets.into_iter().filter(|packet| packet.kind == "video").map(|packet| packet.hash).collect();
        (hashes.len() >= frames).then_some(hashes)
    })
}

#[test]
fn flv_fragmented_mp4_and_annex_b_are_read_by_our_own_means() {
    let dir = TempDir::new().unwrap();
    let (_nginx, url) = nginx::start(dir.path());
    let clip = dir.path().join("clip.mp4");
    media::make_clip(&clip, 3, "320x240", 25);
    let expected: Vec<String> = media::packets(clip.to_str().unwrap(), None)
        .into_iter()
        .filter(|packet| packet.kind == "video")
        .map(|packet| packet.hash)
        .collect();
    for (name, options) in [
        ("plain.flv", &["-f", "flv"][..]),
        ("parts.mp4", &["-movflags", "frag_keyframe+empty_moov+default_base_moof"]),
        ("stream.h264", &["-an", "-f", "h264"]),
    ] {
        let file = dir.path().join(name);
        interop::process::output(
            Command::new("ffmpeg").args(["-v", "error", "-i"]).arg(&clip).args(["-c", "copy"]).args(options).arg(&file),
        );
        // No ffmpeg on the PATH: what is read here is read by us.
        let mut command = Command::new(sightline());
        // Not the file's own name: nginx records into the same directory.
        let stream = &format!("pushed-{}", name.replace('.', "-"));
        let mut push = Process::start(
            stream,
            dir.path(),
            command.env("PATH", "/nonexistent").args(["push", file.to_str().unwrap(), &format!("{url}/{stream}"), "--once"]),
        );
        assert!(push.wait(Duration::from_secs(20)).success(), "{name}: {}", push.log());
        let received = recorded(dir.path(), stream, expected.len());
        if name == "stream.h264" {
            // A byte stream has no times for its B-frames, and its parameter sets are told apart: as many pictures, no more.
            assert_eq!(received.len(), expected.len(), "{name}");
        } else {
            assert_eq!(received, expected, "{name}");
        }
    }
}

#[test]
fn a_file_above_the_preset_is_scaled_and_encoded_again() {
    let dir = TempDir::new().unwrap();
    let (_nginx, url) = nginx::start(dir.path());
    let clip = dir.path().join("clip.mp4");
    media::make_clip(&clip, 4, "1280x720", 30);
    let mut push = Process::start(
        "push",
        dir.path(),
        Command::new(sightline()).env("PATH", "/nonexistent").args([
            "push",
            clip.to_str().unwrap(),
            &format!("{url}/small"),
            "--quality",
            "low",
            "--once",
        ]),
    );
    assert!(push.wait(Duration::from_secs(30)).success(), "{}", push.log());
    let frames = recorded(dir.path(), "small", 40).len();
    // Half of the 120 that the file has; a machine that is busy for a moment sends a few less or more.
    assert!((45..=75).contains(&frames), "{frames} frames of 4 s at 15 fps");
    let stream = media::probe(dir.path().join("small.flv").to_str().unwrap());
    assert_eq!((stream["width"].as_i64(), stream["height"].as_i64()), (Some(640), Some(360)));
}

#[test]
fn a_pipe_is_a_source() {
    let dir = TempDir::new().unwrap();
    let (_nginx, url) = nginx::start(dir.path());
    let script = format!(
        "ffmpeg -v error -re -f lavfi -i testsrc2=size=320x240:rate=25 -t 4 -c:v libx264 -tune zerolatency -g 25 -f h264 - | {} push - {url}/pipe",
        sightline().display()
    );
    let mut pipe = Process::start("pipe", dir.path(), Command::new("sh").args(["-c", &script]));
    assert!(pipe.wait(Duration::from_secs(30)).success(), "{}", pipe.log());
    let frames = recorded(dir.path(), "pipe", 60).len();
    assert!(frames <= 100, "{frames}");
}

#[test]
fn a_server_that_is_not_there_is_said_so() {
    let dir = TempDir::new().unwrap();
    let url = format!("rtmp://127.0.0.1:{}/live/x?token=secret-in-the-url", free_port());
    let mut push = Process::start("push", dir.path(), Command::new(sightline()).args(["push", "test", &url, "--quality", "low"]));
    assert_eq!(push.wait(Duration::from_secs(60)).code(), Some(1));
    let log = push.log();
    assert!(log.contains("RTMP_CONNECT_TIMEOUT") && log.contains("refused"), "{log}");
    assert!(!log.contains("secret-in-the-url"), "the key is in the log: {log}");
}
