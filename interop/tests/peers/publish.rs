//! Other people's publishers into our origin: with a token they are in, without they are refused with the standard's code.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use interop::{Process, Stack, browser::Browser, media, nginx, process::eventually, stack};
use std::{path::Path, process::Command, time::Duration};

/// ffmpeg with a test picture, in real time.
fn ffmpeg(url: &str) -> Command {
    let mut command = Command::new("ffmpeg");
    command.args([
        "-v",
        "verbose",
        "-re",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=640x360:rate=25",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-tune",
        "zerolatency",
    ]);
    command.args(["-g", "50", "-b:v", "500k", "-pix_fmt", "yuv420p", "-f", "flv", url]);
    command
}

/// GStreamer with a test picture.
fn gstreamer(url: &str) -> Command {
    let mut command = Command::new("gst-launch-1.0");
    command.args([
        "-q",
        "videotestsrc",
        "is-live=true",
        "!",
        "video/x-raw,width=640,height=360,framerate=25/1",
        "!",
        "x264enc",
        "tune=zerolatency",
    ]);
    command.args([
        "speed-preset=ultrafast",
        "key-int-max=50",
        "bitrate=500",
        "!",
        "video/x-h264,profile=baseline",
        "!",
        "h264parse",
        "!",
        "flvmux",
    ]);
    command.args(["streamable=true", "!", "rtmp2sink", &format!("location={url}")]);
    command
}

fn playback(stack: &Stack, device: &str) -> String {
    eventually("the stream is live", Duration::from_secs(20), || {
        let streams = stack::streams(&stack.http).0;
        streams.iter().find(|stream| stream["device"] == device).and_then(|stream| stream["playback"].as_str().map(str::to_owned))
    })
}

fn assert_plays(stack: &Stack, playback: &str) {
    for url in [format!("rtmp://{}/live/{playback}", stack.rtmp), format!("http://{}/live/{playback}.flv", stack.origin_http)] {
        let stream = media::probe(&url);
        assert_eq!((stream["codec_name"].as_str(), stream["width"].as_i64()), (Some("h264"), Some(640)), "{url}");
    }
}

#[test]
fn ffmpeg_and_gstreamer_publish_with_a_token_and_everyone_plays() {
    let stack = Stack::start();
    for (device, command) in [("cam-ffmpeg", ffmpeg as fn(&str) -> Command), ("cam-gst", gstreamer)] {
        let _ = stack.add_device(device);
        let publisher = Process::start(device, &stack.file(""), &mut command(&stack.publish_url(device)));
        let playback = playback(&stack, device);
        assert_plays(&stack, &playback);
        // The cloud's page, which fetches the stream from the origin's own port.
        let browser = Browser::start(1280, 800);
        browser.open(&format!("http://{}/player.html?playback={playback}", stack.http));
        let first = eventually("Chromium plays it", Duration::from_secs(20), || {
            browser.read().filter(|reading| reading.time > 0.0 && reading.decoded > 0)
        });
        std::thread::sleep(Duration::from_secs(2));
        let later = browser.read().unwrap();
        assert!(later.time > first.time + 1.0 && later.decoded > first.decoded, "{device}: {first:?} then {later:?}");
        drop(publisher);
    }
}

#[test]
fn without_or_with_a_wrong_token_the_standard_s_code_refuses() {
    let stack = Stack::start();
    let _ = stack.add_device("cam-1");
    let _ = stack.add_device("cam-2");
    let good = stack.publish_url("cam-1");
    let (address, token) = good.split_once("?token=").unwrap();
    let other = stack.publish_url("cam-2");
    let (_, others_token) = other.split_once("?token=").unwrap();
    let flipped: String = token.chars().rev().collect();
    for (what, url) in [
        ("no token", address.to_owned()),
        ("a token that no one signed", format!("{address}?token={flipped}")),
        ("another device's token", format!("{address}?token={others_token}")),
    ] {
        let mut publisher = Process::start("refused", &stack.file(""), &mut ffmpeg(&url));
        let status = publisher.wait(Duration::from_secs(20));
        let log = publisher.log();
        assert!(!status.success(), "{what} was let in: {log}");
        assert!(log.contains("NetStream.Publish.BadName"), "{what}: {log}");
    }
    assert!(stack::streams(&stack.http).0.is_empty());
    assert!(!stack.origin.log().contains(token) && !stack.cloud.log().contains(token), "a token is in a log");
}

#[test]
fn a_newer_epoch_takes_over_and_viewers_stay() {
    let stack = Stack::start();
    let _ = stack.add_device("cam-1");
    let mut first = Process::start("first", &stack.file(""), &mut ffmpeg(&stack.publish_url("cam-1")));
    let playback = playback(&stack, "cam-1");
    let seen = stack.file("seen.flv");
    let mut viewer = Process::start(
        "viewer",
        &stack.file(""),
        Command::new("ffmpeg")
            .args([
                "-v",
                "error",
                "-y",
                "-copyts",
                "-i",
                &format!("http://{}/live/{playback}.flv", stack.origin_http),
                "-c",
                "copy",
                "-t",
                "16",
            ])
            .arg(&seen),
    );
    std::thread::sleep(Duration::from_secs(5));
    let older = stack.publish_url("cam-1");
    let second = Process::start("second", &stack.file(""), &mut ffmpeg(&stack.publish_url("cam-1")));
    // The old one is disconnected: ffmpeg ends with its connection.
    let _ = first.wait(Duration::from_secs(10));
    // A token between the two comes too late.
    let mut late = Process::start("late", &stack.file(""), &mut ffmpeg(&older));
    assert!(!late.wait(Duration::from_secs(15)).success() && late.log().contains("NetStream.Publish.BadName"), "{}", late.log());
    assert!(viewer.wait(Duration::from_secs(30)).success(), "{}", viewer.log());
    let times: Vec<i64> = media::packets(seen.to_str().unwrap(), None).iter().map(|packet| packet.dts_ms).collect();
    assert!(times.windows(2).all(|pair| pair[1] > pair[0]), "time ran backward: {times:?}");
    assert!(times.last().unwrap() - times.first().unwrap() > 12_000, "the viewer saw both: {times:?}");
    assert!(media::decode(Path::new(&seen)) > 250);
    drop(second);
}

#[test]
fn a_real_nginx_rtmp_lets_in_who_has_a_token_of_ours_and_nobody_else() {
    let stack = Stack::start();
    let _ = stack.add_device("cam");
    let dir = tempfile::tempdir().unwrap();
    let (_nginx, url) = nginx::start_asking(dir.path(), &stack.http);
    let given = stack.publish_url("cam");
    let (name, token) = given.rsplit_once('/').unwrap().1.split_once("?token=").unwrap();
    let recorded = || std::fs::metadata(dir.path().join(format!("{name}.flv"))).map_or(0, |file| file.len());
    let mut forged = token.to_owned();
    forged.replace_range(token.len() - 9..token.len() - 8, if token.as_bytes()[token.len() - 9] == b'A' { "B" } else { "A" });
    for shown in [format!("{url}/{name}"), format!("{url}/{name}?token={forged}"), format!("{url}/other?token={token}")] {
        let refused = Command::new("timeout").arg("10").args(ffmpeg_args(&shown)).output().unwrap();
        assert!(!refused.status.success() && refused.status.code() != Some(124), "{shown}: {refused:?}");
    }
    assert_eq!(recorded(), 0);
    let publisher = Process::start("publisher", dir.path(), &mut ffmpeg(&format!("{url}/{name}?token={token}")));
    eventually("nginx records it", Duration::from_secs(15), || (recorded() > 30_000).then_some(()));
    drop(publisher);
}

fn ffmpeg_args(url: &str) -> Vec<std::ffi::OsString> {
    let command = ffmpeg(url);
    std::iter::once(command.get_program()).chain(command.get_args()).map(ToOwned::to_owned).collect()
}
