//! HEVC, AV1 and VP9 from an ffmpeg that speaks Enhanced RTMP, through the origin, to its viewers: RTMP, HTTP-FLV, HLS and the recordings.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use interop::{
    Process, Stack, media,
    process::{eventually, output},
    stack,
};
use std::{path::Path, process::Command, time::Duration};

/// A clip of 25 seconds with sound, coded by Debian's ffmpeg.
fn make_clip(path: &Path, encoder: &[&str]) {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-f", "lavfi", "-i", "sine=frequency=440"]);
    command.args(["-t", "25"]).args(encoder).args(["-g", "50", "-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "64k"]);
    output(command.arg(path));
}

fn of_kind<'a>(packets: &'a [media::Packet], kind: &str) -> Vec<&'a str> {
    packets.iter().filter(|packet| packet.kind == kind).map(|packet| packet.hash.as_str()).collect()
}

/// The received hashes are a run of the file's.
fn assert_is_run_of(received: &[&str], file: &[&str], what: &str) {
    assert!(received.len() > 100, "{what}: only {} packets", received.len());
    assert!(
        file.windows(received.len()).any(|run| run == received),
        "{what}: {} received packets are no run of the file's {}",
        received.len(),
        file.len()
    );
}

fn carries(name: &str, encoder: &[&str]) {
    let ffmpeg = media::enhanced_ffmpeg();
    let stack = Stack::start();
    let _ = stack.add_device("cam");
    let clip = stack.file("clip.mp4");
    make_clip(&clip, encoder);
    let mut command = Command::new(&ffmpeg);
    command.args(["-v", "warning", "-re", "-i"]).arg(&clip);
    let publisher = Process::start("publisher", &stack.file(""), command.args(["-c", "copy", "-f", "flv", &stack.publish_url("cam")]));
    let playback = eventually("the stream is live", Duration::from_secs(20), || {
        stack::streams(&stack.http).0.first().and_then(|stream| stream["playback"].as_str().map(str::to_owned))
    });
    let file = media::hashes(&ffmpeg, clip.to_str().unwrap(), None);
    for url in [format!("rtmp://{}/live/{playback}", stack.rtmp), format!("http://{}/live/{playback}.flv", stack.origin_http)] {
        let received = media::hashes(&ffmpeg, &url, Some(5));
        for kind in ["video", "audio"] {
            assert_is_run_of(&of_kind(&received, kind), &of_kind(&file, kind), &format!("{kind} of {url}"));
        }
    }
    let hls = format!("http://{}/live/{playback}/index.m3u8", stack.origin_http);
    let played = eventually("HLS has a segment", Duration::from_secs(20), || {
        let text = Command::new("curl").args(["-sf", &hls]).output().ok()?;
        String::from_utf8_lossy(&text.stdout).contains(".m4s").then(|| media::probe(&hls))
    });
    assert_eq!((played["codec_name"].as_str(), played["width"].as_i64(), played["height"].as_i64()), (Some(name), Some(320), Some(180)));
    // In MPEG-TS what it carries: AV1 and VP9 are left out, and the sound stays.
    let ts = hls.replace("index.m3u8", "ts.m3u8");
    let (chain, codecs): (_, &[&str]) =
        if name == "hevc" { ("h265parse ! libde265dec", &["aac", "hevc"]) } else { ("aacparse ! avdec_aac", &["aac"]) };
    assert_eq!(media::ts_segment(&ts, &stack.file("segment.ts"), chain), codecs);
    let described = stack::streams(&stack.http).0;
    assert_eq!(
        (described[0]["width"].as_i64(), described[0]["height"].as_i64()),
        (Some(320), Some(180)),
        "the fleet's page knows the size"
    );
    drop(publisher);
    let recording = eventually("the recording is there", Duration::from_secs(5), || stack.recordings("cam", "mp4").first().cloned());
    std::thread::sleep(Duration::from_secs(1));
    let recorded = media::decode(&recording);
    assert!(recorded > 100, "the recording decodes from its first frame to its last");
    assert_played_back(&stack, name, recorded);
}

/// What was recorded is listed, and given back whole as one MP4 and by a playlist.
fn assert_played_back(stack: &Stack, codec: &str, recorded: usize) {
    let vod = format!("http://{}/vod/cam", stack.origin_http);
    let list: serde_json::Value = serde_json::from_slice(&output(Command::new("curl").args(["-sf", &format!("{vod}/list")]))).unwrap();
    let file = &list["files"][0];
    assert!(file["codec"].as_str().unwrap().eq_ignore_ascii_case(codec), "{list}");
    assert_eq!((file["width"].as_i64(), file["height"].as_i64()), (Some(320), Some(180)), "{list}");
    let range = format!("{vod}/{}-{}", file["from"], file["to"].as_i64().unwrap() + 1);
    let (clip, by_hls) = (stack.file("vod.mp4"), stack.file("by-hls.mp4"));
    output(Command::new("curl").args(["-sf", &format!("{range}.mp4"), "-o"]).arg(&clip));
    output(Command::new("ffmpeg").args(["-v", "error", "-y", "-i", &format!("{range}.m3u8"), "-c", "copy"]).arg(&by_hls));
    for (what, found) in [("one MP4", media::decode(&clip)), ("a playlist", media::decode(&by_hls))] {
        assert_eq!(found, recorded, "pictures of {what}");
    }
}

#[test]
fn hevc_from_ffmpeg_reaches_every_kind_of_viewer() {
    carries("hevc", &["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=error"]);
}

#[test]
fn av1_from_ffmpeg_reaches_every_kind_of_viewer() {
    carries("av1", &["-c:v", "libsvtav1", "-preset", "10"]);
}

#[test]
fn vp9_from_ffmpeg_reaches_every_kind_of_viewer() {
    carries("vp9", &["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"]);
}
