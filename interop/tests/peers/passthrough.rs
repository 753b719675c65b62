//! An H.264 file goes out as it is: the access units at the far end are the file's, byte for byte.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use interop::{Demo, media};
use std::time::Duration;

/// The received hashes are a run of the file's, which is played round and round.
fn assert_is_run_of(received: &[String], file: &[String], what: &str) {
    assert!(received.len() > file.len() / 2, "{what}: only {} packets", received.len());
    let fits = |start: usize| received.iter().enumerate().all(|(index, hash)| *hash == file[(start + index) % file.len()]);
    assert!((0..file.len()).any(fits), "{what}: {} received packets are no run of the file's {}", received.len(), file.len());
}

#[test]
fn an_mp4_arrives_byte_for_byte_with_its_b_frames_and_its_sound() {
    let dir = tempfile::TempDir::new().unwrap();
    let clip = dir.path().join("clip.mp4");
    media::make_clip(&clip, 6, "640x360", 25);
    let file = media::packets(clip.to_str().unwrap(), None);
    let demo = Demo::start(&["--source", clip.to_str().unwrap()]);
    let playback = demo.playback();
    for url in [format!("http://{}/live/{playback}.flv", demo.http), format!("rtmp://{}/live/{playback}", demo.rtmp)] {
        let received = media::packets(&url, Some(8));
        for kind in ["video", "audio"] {
            let hashes = |packets: &[media::Packet]| {
                packets.iter().filter(|packet| packet.kind == kind).map(|packet| packet.hash.clone()).collect::<Vec<_>>()
            };
            assert_is_run_of(&hashes(&received), &hashes(&file), &format!("{kind} of {url}"));
        }
        let times: Vec<i64> = received.iter().filter(|packet| packet.kind == "video").map(|packet| packet.dts_ms).collect();
        assert!(times.windows(2).all(|pair| pair[1] > pair[0]), "{url}: decoding times rise");
    }
    // HLS plays too: ffmpeg reads the playlist, the initialisation segment and the fragments.
    let hls = format!("http://{}/live/{playback}/index.m3u8", demo.http);
    let stream = interop::process::eventually("HLS has a segment", Duration::from_secs(15), || {
        let text = std::process::Command::new("curl").args(["-sf", &hls]).output().ok()?;
        String::from_utf8_lossy(&text.stdout).contains(".m4s").then(|| media::probe(&hls))
    });
    assert_eq!((stream["codec_name"].as_str(), stream["width"].as_i64()), (Some("h264"), Some(640)));
    // And in MPEG-TS, by GStreamer too, with its B-frames.
    let segment = dir.path().join("segment.ts");
    let codecs = media::ts_segment(&hls.replace("index.m3u8", "ts.m3u8"), &segment, "h264parse ! avdec_h264");
    assert_eq!(codecs, ["aac", "h264"]);
    assert!(media::decode(&segment) > 20, "it decodes from its first picture to its last");
}
