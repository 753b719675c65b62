//! A real camera that sleeps until someone watches.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use interop::{
    Stack,
    process::{eventually, output},
    stack,
};
use std::{process::Command, time::Duration};

/// Only a hang takes so long.
const LIMIT: Duration = Duration::from_secs(30);

/// The size of the first picture that ffmpeg decodes of an address, in bytes.
fn first_picture(url: &str) -> usize {
    output(Command::new("ffmpeg").args([
        "-v",
        "error",
        "-probesize",
        "32",
        "-i",
        url,
        "-frames:v",
        "1",
        "-pix_fmt",
        "gray",
        "-f",
        "rawvideo",
        "-",
    ]))
    .len()
}

#[test]
fn a_sleeping_camera_starts_for_its_first_viewers_and_sleeps_again_after_the_last() {
    let stack = Stack::start_with("[on_demand]\nlease_sec = 4", "hls_segment_sec = 1");
    let _ = stack.add_device("cam-1");
    let camera = stack.start_camera("cam-1", "test", "trigger = 'on_demand'\nquality = 'low'");
    let of_device = |rest: &str| stack::get_json(&format!("http://{}/api/v1/devices/cam-1{rest}", stack.http));
    eventually("the camera sleeps, and the cloud knows what wakes it", LIMIT, || {
        let trigger = of_device("/config")?["reported"]["settings"]["stream"]["trigger"].as_str()? == "on_demand";
        (trigger && of_device("")?["online"] == true).then_some(())
    });
    assert!(stack::streams(&stack.http).0.is_empty());
    let playback = of_device("").unwrap()["playback"].as_str().unwrap().to_owned();
    let at = |rest: &str| format!("http://{}/live/{playback}{rest}", stack.origin_http);
    let urls = [at(".flv"), at("/index.m3u8")];
    let pictures = std::thread::scope(|scope| {
        let viewers = urls.each_ref().map(|url| scope.spawn(|| first_picture(url)));
        viewers.map(|viewer| viewer.join().unwrap())
    });
    assert!(pictures.iter().all(|bytes| *bytes > 0), "{pictures:?}\n{}", camera.log());
    eventually("it sleeps again", LIMIT, || stack::streams(&stack.http).0.is_empty().then_some(()));
    eventually("it says so", LIMIT, || (of_device("")?["state"] == "standby").then_some(()));
}
