//! Files and pipes as they really are, pushed to nginx: what arrives is held against what ffmpeg finds in the file.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use interop::{
    Process, media, nginx,
    process::{eventually, output, sightline},
};
use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tempfile::TempDir;

fn ffmpeg(dir: &Path, args: &str, name: &str) -> PathBuf {
    let out = dir.join(name);
    output(Command::new("ffmpeg").current_dir(dir).args(["-v", "error", "-y"]).args(args.split_whitespace()).arg(&out));
    out
}

/// Three seconds, 75 pictures, a key frame each second, and sound.
fn make_base(dir: &Path) -> PathBuf {
    ffmpeg(
        dir,
        "-f lavfi -i testsrc2=size=320x180:rate=25 -f lavfi -i sine=frequency=440:sample_rate=44100 -t 3 -c:v libx264 -preset ultrafast \
         -profile:v baseline -g 25 -sc_threshold 0 -pix_fmt yuv420p -c:a aac -b:a 64k",
        "base.mp4",
    )
}

/// A file, how it is made, how it is pushed, and what arrives.
struct Case {
    name: &'static str,
    made: &'static str,
    args: &'static [&'static str],
    size: (i64, i64),
    pictures: std::ops::RangeInclusive<usize>,
    sound: std::ops::RangeInclusive<usize>,
    says: &'static str,
}

impl Case {
    fn new(name: &'static str, made: &'static str) -> Self {
        Self { name, made, args: &[], size: (320, 180), pictures: 75..=75, sound: 125..=135, says: "" }
    }
}

/// All at once: each takes its three seconds.
fn push_all(cases: &[Case]) {
    let dir = TempDir::new().unwrap();
    let (_nginx, url) = nginx::start(dir.path());
    let files = dir.path().join("files");
    std::fs::create_dir(&files).unwrap();
    make_base(&files);
    let start = |case: &Case| {
        let file = if case.made.is_empty() { files.join("base.mp4") } else { ffmpeg(&files, case.made, case.name) };
        let stream = case.name.replace('.', "-");
        let mut command = Command::new(sightline());
        command.arg("push").arg(file).args([&format!("{url}/{stream}"), "--once"]).args(case.args);
        (stream.clone(), Process::start(&stream, dir.path(), &mut command))
    };
    let pushes: Vec<_> = cases.iter().map(start).collect();
    for (case, (stream, mut push)) in cases.iter().zip(pushes) {
        assert!(push.wait(Duration::from_secs(40)).success(), "{}: {}", case.name, push.log());
        assert!(push.log().contains(case.says), "{}: {}", case.name, push.log());
        let recording = dir.path().join(format!("{stream}.flv"));
        let path = recording.to_str().unwrap();
        let count = |kind: &str| media::packets(path, None).iter().filter(|packet| packet.kind == kind).count();
        eventually(case.name, Duration::from_secs(10), || (recording.exists() && case.pictures.contains(&count("video"))).then_some(()));
        assert!(case.sound.contains(&count("audio")), "{}: {} frames of sound", case.name, count("audio"));
        assert!(case.pictures.contains(&media::decode(&recording)), "{}", case.name);
        let stream = media::probe(path);
        assert_eq!((stream["width"].as_i64().unwrap(), stream["height"].as_i64().unwrap()), case.size, "{}", case.name);
    }
}

/// Sources: gpac/mp4box.js#120, and field reports of lost sound and of pushes that never end.
#[test]
fn what_ffmpeg_reads_arrives_whole_with_its_sound_and_ends() {
    push_all(&[
        Case::new("hevc.mkv", "-i base.mp4 -c:v libx265 -preset ultrafast -x265-params log-level=none -c:a copy"),
        Case::new("stream.ts", "-i base.mp4 -c copy"),
        Case::new("old.avi", "-i base.mp4 -c:v mpeg4 -c:a mp3"),
        Case { sound: 0..=0, ..Case::new("raw.h265", "-i base.mp4 -an -c:v libx265 -preset ultrafast -x265-params log-level=none") },
        Case::new("layer3.mp4", "-i base.mp4 -c:v copy -c:a mp3"),
        Case { says: "2 tracks of sound: the first", ..Case::new("two.mkv", "-i base.mp4 -map 0:v -map 0:a -map 0:a -c copy") },
    ]);
}

/// Sources: cisco/openh264#2629, kaltura/nginx-vod-module#486, gpac#1405.
#[test]
fn what_players_can_t_show_as_it_is_is_encoded_or_passed_on_with_a_warning() {
    let low = &["--quality", "low"];
    // 15 pictures a second of 25.
    let thinned = || Case { args: low, pictures: 44..=47, ..Case::new("", "") };
    let high10 = "-i base.mp4 -c:v libx264 -preset ultrafast -profile:v high10 -pix_fmt yuv420p10le -c:a copy";
    push_all(&[
        Case { name: "ten.mp4", made: high10, ..thinned() },
        Case { name: "ten-through.mp4", made: high10, says: "more than 8 bits", ..Case::new("", "") },
        Case { name: "fields.mp4", made: "-i base.mp4 -c:v libx264 -preset ultrafast -flags +ilme+ildct -c:a copy", ..thinned() },
        Case { name: "wide.mp4", made: "-i base.mp4 -c:v libx264 -preset ultrafast -pix_fmt yuv422p -c:a copy", ..thinned() },
        Case { name: "turned.mp4", made: "-i base.mp4 -c copy -metadata:s:v rotate=270", size: (180, 320), ..thinned() },
        Case { name: "turned-through.mp4", made: "-i base.mp4 -c copy -metadata:s:v rotate=270", says: "turned", ..Case::new("", "") },
        Case { pictures: 62..=63, sound: 107..=112, ..Case::new("cut.mp4", "-ss 0.5 -i base.mp4 -c copy") },
    ]);
}

/// Runs a push with other programs before those of the PATH.
fn push_with(dir: &Path, file: &Path, url: &str, script: Option<&str>) -> Process {
    let bin = dir.join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let mut command = Command::new(sightline());
    if let Some(script) = script {
        let real = output(Command::new("sh").args(["-c", "command -v ffmpeg"]));
        let real = String::from_utf8(real).unwrap();
        let path = bin.join("ffmpeg");
        std::fs::write(&path, format!("#!/bin/sh\n{}\n", script.replace("REAL", real.trim()))).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        command.env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
    } else {
        command.env("PATH", "/nonexistent");
    }
    Process::start("push", dir, command.arg("push").arg(file).args([url, "--once"]))
}

#[test]
fn an_ffmpeg_that_hangs_talks_without_end_or_is_missing_is_no_silence() {
    let dir = TempDir::new().unwrap();
    let (_nginx, url) = nginx::start(dir.path());
    make_base(dir.path());
    let file = ffmpeg(dir.path(), "-i base.mp4 -c copy", "stream.mkv");
    let refused = |script, says: &str| {
        let mut push = push_with(dir.path(), &file, &format!("{url}/refused"), script);
        let status = push.wait(Duration::from_secs(30));
        let log = push.log();
        assert!(status.code() == Some(1) && log.contains("stream.mkv") && log.contains(says), "{log}");
    };
    refused(None, "`ffmpeg`, and there is none on the PATH: install ffmpeg");
    refused(Some("exec sleep 60"), "no picture within 5 s");
    refused(Some("echo '[error] out of luck' >&2; exit 3"), "out of luck");
    // More than a pipe holds, before the first picture.
    let noisy = "head -c 300000 /dev/zero | tr '\\0' 'x' >&2; exec REAL \"$@\"";
    let mut push = push_with(dir.path(), &file, &format!("{url}/noisy"), Some(noisy));
    assert!(push.wait(Duration::from_secs(30)).success(), "{}", push.log());
    assert!(push.log().contains("sent 75 frames"), "{}", push.log());
}

#[test]
fn a_pipe_that_is_faster_than_real_time_loses_nothing_and_one_that_is_no_h264_is_refused() {
    let dir = TempDir::new().unwrap();
    let (_nginx, url) = nginx::start(dir.path());
    make_base(dir.path());
    let b_frames = "-i base.mp4 -an -c:v libx264 -preset ultrafast -bf 2 -b_strategy 0 -g 25";
    let small = std::fs::read(ffmpeg(dir.path(), b_frames, "small.h264")).unwrap();
    let large = std::fs::read(ffmpeg(dir.path(), &format!("{b_frames} -vf scale=640:360"), "large.h264")).unwrap();
    let file = dir.path().join("both.h264");
    std::fs::write(&file, [small, large].concat()).unwrap();
    let pipe = |input: &str, name: &str| {
        let script = format!("{input} | {} push - {url}/{name}", sightline().display());
        Process::start(name, dir.path(), Command::new("sh").args(["-c", &script]))
    };
    let mut both = pipe(&format!("cat {}", file.display()), "both");
    let mut none = pipe("(echo no pictures in here; sleep 12)", "none");
    assert!(both.wait(Duration::from_secs(40)).success(), "{}", both.log());
    let recording = dir.path().join("both.flv");
    eventually("all of it is recorded", Duration::from_secs(10), || {
        let packets = media::packets(recording.to_str().unwrap(), None);
        (packets.iter().filter(|packet| packet.kind == "video").count() == 150).then_some(())
    });
    assert_eq!(media::decode(&recording), 150);
    assert_eq!(none.wait(Duration::from_secs(60)).code(), Some(1), "{}", none.log());
    assert!(none.log().contains("source -: no picture within 5 s"), "{}", none.log());
}

/// Of the same kind as files of another codec: what programs write into pipes.
#[test]
fn a_pipe_of_another_kind_is_read_by_ffmpeg_or_says_what_it_takes() {
    let dir = TempDir::new().unwrap();
    let (_nginx, url) = nginx::start(dir.path());
    make_base(dir.path());
    let push = |file: &Path, name: &str, path: &str| {
        let script = format!("exec {path} {} push - {url}/{name} < {}", sightline().display(), file.display());
        Process::start(name, dir.path(), Command::new("sh").args(["-c", &script]))
    };
    let h265 = "-c:v libx265 -preset ultrafast -x265-params log-level=none";
    let cases = [
        ("stream.ts", "-i base.mp4 -c copy".to_owned(), true),
        ("odd.mkv", format!("-i base.mp4 {h265} -c:a pcm_s16le"), true),
        ("fast.mp4", "-i base.mp4 -c copy -movflags +faststart".to_owned(), true),
        ("raw.h265", format!("-i base.mp4 -an {h265}"), false),
        ("raw.mjpeg", "-i base.mp4 -an -c:v mjpeg".to_owned(), false),
    ];
    let begin = |(name, made, has_sound): &(&'static str, String, bool)| {
        let file = ffmpeg(dir.path(), made, name);
        let stream = name.replace('.', "-");
        (*name, *has_sound, push(&file, &stream, ""), dir.path().join(format!("{stream}.flv")))
    };
    let running: Vec<_> = cases.iter().map(begin).collect();
    // Its index is at its end, which a pipe can't be searched for.
    let mut late = push(&dir.path().join("base.mp4"), "late", "");
    let mut alone = push(&dir.path().join("stream.ts"), "alone", "env PATH=/nonexistent");
    for (name, has_sound, mut push, recording) in running {
        assert!(push.wait(Duration::from_secs(40)).success(), "{name}: {}", push.log());
        let packets = || media::packets(recording.to_str().unwrap(), None);
        let count = |kind: &str| packets().iter().filter(|packet| packet.kind == kind).count();
        eventually(name, Duration::from_secs(10), || (recording.exists() && count("video") == 75).then_some(()));
        assert_eq!(media::decode(&recording), 75, "{name}");
        let (packets, sound) = (packets(), count("audio"));
        assert_eq!(sound > 100, has_sound, "{name}: {sound} frames of sound");
        let times: Vec<i64> = packets.iter().filter(|packet| packet.kind == "video").map(|packet| packet.dts_ms).collect();
        let lasts = times.last().unwrap() - times.first().unwrap();
        assert!((2_500..3_500).contains(&lasts), "{name}: {lasts} ms");
    }
    assert_eq!(alone.wait(Duration::from_secs(30)).code(), Some(1), "{}", alone.log());
    assert!(alone.log().contains("an MPEG transport stream") && alone.log().contains("install ffmpeg"), "{}", alone.log());
    assert_eq!(late.wait(Duration::from_secs(30)).code(), Some(1), "{}", late.log());
    assert!(late.log().contains("source -: ffmpeg can't read it") && late.log().contains("+faststart"), "{}", late.log());
}
