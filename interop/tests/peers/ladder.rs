//! The ladder of bit rate, frame rate and size, on a link that gets narrow and wide again, seen by a viewer.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use interop::{
    Process, Stack, media,
    narrow::Narrow,
    process::{eventually, sightline},
    stack,
};
use std::{process::Command, time::Duration};

/// The ladder takes 3 s a rung down and 8 s up, after the rate has found the link; only a hang takes longer than this.
const LIMIT: Duration = Duration::from_secs(150);
/// More than the preset.
const WIDE_BPS: u32 = 20_000_000;
/// A fifth of the preset: fewer pictures alone are not enough.
const NARROW_BPS: u32 = 250_000;

/// Width and height of every picture that ffprobe has decoded so far.
fn sizes(viewer: &Process) -> Vec<(u32, u32)> {
    let size = |line: &str| {
        let (width, height) = line.trim_end_matches(',').split_once(',')?;
        Some((width.parse().ok()?, height.parse().ok()?))
    };
    viewer.log().lines().filter_map(size).collect()
}

#[test]
fn a_file_that_is_encoded_again_gets_smaller_on_a_narrow_link_and_comes_back() {
    let stack = Stack::start();
    let _ = stack.add_device("cam-1");
    let link = Narrow::to(stack.rtmp.parse().unwrap(), WIDE_BPS);
    let url = stack.publish_url("cam-1").replace(&stack.rtmp, &link.address.to_string());
    let dir = tempfile::TempDir::new().unwrap();
    let clip = dir.path().join("clip.mp4");
    // More pictures a second than the preset has: it is decoded, and encoded again.
    media::make_clip(&clip, 10, "1280x720", 30);
    let mut push =
        Process::start("push", dir.path(), Command::new(sightline()).args(["-v", "push"]).arg(&clip).args([&url, "--quality", "medium"]));
    let playback = eventually("the stream is live", LIMIT, || {
        let streams = stack::streams(&stack.http).0;
        let stream = streams.iter().find(|stream| stream["device"] == "cam-1" && stream["state"] == "streaming")?;
        stream["playback"].as_str().map(str::to_owned)
    });
    let mut viewer = Process::start(
        "viewer",
        dir.path(),
        Command::new("ffprobe")
            .args(["-v", "error", "-select_streams", "v", "-show_entries", "frame=width,height", "-of", "csv=p=0"])
            .arg(format!("http://{}/live/{playback}.flv", stack.origin_http)),
    );
    eventually("the full size arrives", LIMIT, || sizes(&viewer).contains(&(1280, 720)).then_some(()));

    link.set_bps(NARROW_BPS);
    let small = eventually("a smaller size arrives", LIMIT, || sizes(&viewer).last().copied().filter(|(width, _)| *width < 1280));
    assert_eq!(small.0 * 9, small.1 * 16, "it keeps its shape: {small:?}");

    link.set_bps(WIDE_BPS);
    eventually("the full size is back", LIMIT, || (sizes(&viewer).last() == Some(&(1280, 720))).then_some(()));

    push.signal("-INT");
    assert!(push.wait(LIMIT).success(), "{}", push.log());
    assert!(viewer.wait(LIMIT).success(), "{}", viewer.log());
    let complaints: Vec<String> = viewer
        .log()
        .lines()
        .filter(|line| line.split(',').any(|part| !part.is_empty() && part.parse::<u32>().is_err()))
        .map(str::to_owned)
        .collect();
    assert!(complaints.is_empty(), "the decoder has errors: {complaints:?}");
}
