//! The origin dies under a running stream and comes back.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use interop::{
    Stack, media,
    process::{eventually, output, sightline},
    stack,
};
use std::{
    process::Command,
    time::{Duration, Instant},
};

#[test]
fn a_killed_origin_has_its_stream_back_within_three_seconds_of_listening() {
    let mut stack = Stack::start();
    let _ = stack.add_device("cam-1");
    let camera = stack.start_camera("cam-1", "test", "quality = 'low'");
    let playback = eventually("the stream is live", Duration::from_secs(20), || {
        stack::streams(&stack.http).0.first().and_then(|stream| stream["playback"].as_str().map(str::to_owned))
    });
    std::thread::sleep(Duration::from_secs(6));
    stack.origin.kill();
    // Longer than the camera's first retry: what brings it back is the cloud's word, not luck.
    std::thread::sleep(Duration::from_secs(4));
    stack.restart_origin();
    let rtmp = stack.rtmp.clone();
    eventually("the origin listens", Duration::from_secs(10), || std::net::TcpStream::connect(&rtmp).ok());
    let listening = Instant::now();
    let url = format!("http://{}/live/{playback}/snapshot.jpg", stack.origin_http);
    eventually("the stream is back", Duration::from_secs(20), || {
        Command::new("curl")
            .args(["-sf", "-o", "/dev/null", "--max-time", "2", &url])
            .status()
            .ok()
            .filter(std::process::ExitStatus::success)
    });
    let back = listening.elapsed();
    println!("the stream was back {:.2} s after the origin listened", back.as_secs_f32());
    assert!(back < Duration::from_secs(3), "{back:?}; camera:\n{}", camera.log());

    std::thread::sleep(Duration::from_secs(5));
    camera.signal("-INT");
    std::thread::sleep(Duration::from_secs(2));
    let mut recordings: Vec<_> =
        std::fs::read_dir(stack.file("origin/recordings/cam-1")).unwrap().map(|entry| entry.unwrap().path()).collect();
    recordings.sort();
    for suffix in ["flv", "mp4"] {
        let of_kind: Vec<_> = recordings.iter().filter(|path| path.extension().is_some_and(|found| found == suffix)).collect();
        assert!(of_kind.len() >= 2, "one {suffix} before and one after: {recordings:?}");
        for path in of_kind {
            let frames = media::decode(path);
            assert!(frames > 30, "{}: {frames} frames", path.display());
        }
    }
    // The cloud lists them, and what is asked of it goes where they are, with the right of its token.
    let listed = stack::get_json(&format!("http://{}/api/v1/recordings?device=cam-1", stack.http)).unwrap();
    let files = listed["items"].as_array().unwrap();
    assert!(files.len() >= 2 && listed["unreachable"].as_array().unwrap().is_empty(), "{listed}");
    let (from, to) = (files[0]["from"].as_i64().unwrap(), files[files.len() - 1]["to"].as_i64().unwrap());
    // So does the coverage of the fleet, with the time that nobody recorded.
    let coverage = stack::get_json(&format!("http://{}/api/v1/coverage?from={from}&to={to}", stack.http)).unwrap();
    let cam = &coverage["items"][0];
    assert_eq!((cam["device"].as_str(), cam["spans"].as_array().unwrap().len()), (Some("cam-1"), 2), "{coverage}");
    assert_eq!((&cam["gaps"][0]["from"], &cam["gaps"][0]["to"]), (&cam["spans"][0]["to"], &cam["spans"][1]["from"]), "{coverage}");
    assert_eq!((cam["gaps"].as_array().unwrap().len(), cam["spans"][0]["from"].as_i64()), (1, Some(from)), "{coverage}");
    let (status, token) = stack::ask(
        &format!("http://{}/api/v1/streams/cam-1/playback", stack.http),
        &["-X", "POST", "-H", "content-type: application/json", "-d", "{}"],
    );
    assert_eq!(status, 200, "{token}");
    let clip = stack.file("clip.mp4");
    let url = format!("http://{}/vod/cam-1/{from}-{to}.mp4?token={}", stack.http, token["token"].as_str().unwrap());
    let fetched = Command::new("curl").args(["-sfL", "-o"]).arg(&clip).arg(&url).status().unwrap();
    assert!(fetched.success());
    let recorded: usize =
        recordings.iter().filter(|path| path.extension().is_some_and(|found| found == "mp4")).map(|path| media::decode(path)).sum();
    assert_eq!(media::decode(&clip), recorded, "each picture of each file");
    // By the command line, too: one camera as a file, and as a zip with what is missing.
    let export = |out: &str| {
        let at = |ms: i64| jiff::Timestamp::from_millisecond(ms).unwrap().to_string();
        let mut command = Command::new(sightline());
        command.args(["recordings", "export", &at(from), &at(to), "--json", "--device", "cam-1"]);
        command.args(["--cloud", &format!("http://{}", stack.http)]).arg(stack.file(out));
        serde_json::from_slice::<serde_json::Value>(&output(&mut command)).unwrap()
    };
    let manifest = export("by-command.mp4");
    assert_eq!(media::decode(&stack.file("by-command.mp4")), recorded, "{manifest}");
    assert_eq!(
        (manifest["files"][0]["server"].as_str(), manifest["files"][0]["gaps"].as_array().unwrap().len()),
        (Some("origin-a"), 1),
        "{manifest}"
    );
    export("by-command.zip");
    let unpacked = output(Command::new("python3").args(["-m", "zipfile", "-l"]).arg(stack.file("by-command.zip")));
    assert!(String::from_utf8_lossy(&unpacked).contains("manifest.json"));
}
