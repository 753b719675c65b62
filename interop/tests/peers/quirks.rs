//! Cameras with several quirks at once, through the whole of the agent. One by one, and faster: video/capture/tests.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use interop::{
    Process, media, nginx,
    process::{eventually, output, sightline},
    quirk_camera::{Clip, QuirkCamera, Quirks, RtpInfo, Sound, SoundSetup, Ssrc},
    quirk_mjpeg::{self, QuirkMjpeg},
};
use std::{path::Path, process::Command, time::Duration};
use tempfile::TempDir;

fn push(dir: &Path, source: &str, target: &str) -> Process {
    Process::start("push", dir, Command::new(sightline()).args(["push", source, target]))
}

/// A file, and the same as a camera has it.
fn clip(dir: &Path) -> (Vec<media::Packet>, Clip) {
    let file = dir.join("clip.mp4");
    // At the rate at which the camera sends.
    media::make_clip_with(&file, 2, "320x240", 50, 0);
    let bits = "h264_mp4toannexb,h264_metadata=aud=insert";
    let stream = output(
        Command::new("ffmpeg").args(["-v", "error", "-i"]).arg(&file).args(["-an", "-c", "copy", "-bsf:v", bits, "-f", "h264", "-"]),
    );
    (media::packets(file.to_str().unwrap(), None), Clip { units: media::avc_units(&stream) })
}

fn recorded(path: &Path, kind: &str, least: usize) -> Vec<media::Packet> {
    eventually(&format!("{least} packets of {kind} are recorded"), Duration::from_secs(60), || {
        let length = std::fs::metadata(path).map_or(0, |file| file.len());
        let packets = if length > 0 { media::packets(path.to_str().unwrap(), None) } else { Vec::new() };
        (packets.iter().filter(|packet| packet.kind == kind).count() >= least).then_some(packets)
    })
}

fn warnings(log: &str) -> Vec<&str> {
    log.lines().filter(|line| line.contains("WARN")).collect()
}

/// langhuihui/monibuca#390, bluenviron/gortsplib#687, scottlamb/retina#79, scottlamb/retina#45.
#[test]
fn a_camera_of_many_quirks_arrives_byte_for_byte_and_its_g711_as_aac() {
    let dir = TempDir::new().unwrap();
    let (_nginx, url) = nginx::start(dir.path());
    let (file, clip) = clip(dir.path());
    let quirks = Quirks {
        sound: Sound::Pcma,
        ssrc: Ssrc::NewEachKeyFrame,
        rtp_info: RtpInfo::WrongSeq,
        needs_options: true,
        long_headers: true,
        noise: true,
        ..Quirks::default()
    };
    let camera = QuirkCamera::start(clip, quirks);
    let mut pushed = push(dir.path(), &camera.url(), &format!("{url}/quirks"));
    let recording = dir.path().join("quirks.flv");
    let packets = recorded(&recording, "video", 150);
    let hashes = |packets: &[media::Packet]| -> Vec<String> {
        packets.iter().filter(|packet| packet.kind == "video").map(|packet| packet.hash.clone()).collect()
    };
    let (received, sent) = (hashes(&packets), hashes(&file));
    let fits = |start: usize| received.iter().enumerate().all(|(index, hash)| *hash == sent[(start + index) % sent.len()]);
    assert!((0..sent.len()).any(fits), "{} pictures are no run of the camera's {}", received.len(), sent.len());
    let sound = output(Command::new("ffprobe").args(["-v", "error", "-select_streams", "a", "-show_entries"]).args([
        "stream=codec_name,sample_rate,channels",
        "-of",
        "csv=p=0",
        recording.to_str().unwrap(),
    ]));
    assert_eq!(String::from_utf8_lossy(&sound).trim(), "aac,8000,1");
    pushed.signal("-INT");
    assert!(pushed.wait(Duration::from_secs(15)).success(), "{}", pushed.log());
    let (decoded, log) = (media::decode(&recording), pushed.log());
    assert!(decoded >= 145, "{decoded} pictures are decoded");
    assert!(warnings(&log).is_empty(), "{log}");
}

/// langhuihui/monibuca#390, google/ExoPlayer#9614.
#[test]
fn a_camera_s_sound_that_can_t_go_on_is_one_warning() {
    let dir = TempDir::new().unwrap();
    let (_nginx, url) = nginx::start(dir.path());
    let (_, clip) = clip(dir.path());
    let refused = Quirks { sound: Sound::Aac, sound_setup: SoundSetup::Refused(500), ..Quirks::default() };
    let unreadable = Quirks { sound: Sound::AacWithBrokenPackets, ..Quirks::default() };
    for (name, quirks, expected) in [
        ("speex", Quirks { sound: Sound::Speex, ..Quirks::default() }, "it is SPEEX"),
        ("refused", refused, "the camera refuses it"),
        ("unreadable", unreadable, "packets of the camera's sound can't be read"),
    ] {
        let camera = QuirkCamera::start(clip.clone(), quirks);
        let pushed = push(dir.path(), &camera.url(), &format!("{url}/{name}"));
        let recording = dir.path().join(format!("{name}.flv"));
        recorded(&recording, "video", 60);
        let log = pushed.log();
        assert!(matches!(warnings(&log)[..], [warning] if warning.contains(expected)), "{name}:\n{log}");
        // Players stand still for a sound that is announced and does not come.
        let kinds =
            output(Command::new("ffprobe").args(["-v", "error", "-show_entries", "stream=codec_type", "-of", "csv=p=0"]).arg(&recording));
        assert_eq!(String::from_utf8_lossy(&kinds).trim(), "video", "{name}");
    }
}

/// AlexxIT/go2rtc#725, AlexxIT/go2rtc#545.
#[test]
fn an_mjpeg_camera_of_many_quirks_is_encoded() {
    let dir = TempDir::new().unwrap();
    let (_nginx, url) = nginx::start(dir.path());
    let pictures = output(
        Command::new("ffmpeg").args(["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=10", "-frames:v", "20"]).args([
            "-pix_fmt",
            "yuvj420p",
            "-c:v",
            "mjpeg",
            "-f",
            "image2pipe",
            "-",
        ]),
    );
    let starts: Vec<usize> = pictures.windows(3).enumerate().filter(|(_, bytes)| *bytes == [0xff, 0xd8, 0xff]).map(|(at, _)| at).collect();
    let pictures: Vec<Vec<u8>> = starts
        .iter()
        .enumerate()
        .map(|(index, &at)| pictures[at..starts.get(index + 1).copied().unwrap_or(pictures.len())].to_vec())
        .collect();
    let quirks = quirk_mjpeg::Quirks {
        head: quirk_mjpeg::Head::ContentLength("-1"),
        length: quirk_mjpeg::Length::Off(100),
        has_text_between: true,
        ..quirk_mjpeg::Quirks::default()
    };
    let camera = QuirkMjpeg::start(pictures, quirks);
    let mut pushed = push(dir.path(), &camera.url(), &format!("{url}/mjpeg"));
    let recording = dir.path().join("mjpeg.flv");
    recorded(&recording, "video", 40);
    pushed.signal("-INT");
    assert!(pushed.wait(Duration::from_secs(15)).success(), "{}", pushed.log());
    assert!(media::decode(&recording) >= 35);
    let log = pushed.log();
    assert!(matches!(warnings(&log)[..], [warning] if warning.contains("not as long as it says")), "{log}");
}
