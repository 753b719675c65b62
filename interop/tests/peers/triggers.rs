//! What starts a stream without a person, and the camera's own recorder, with a real cloud, a real origin, ffmpeg and mosquitto.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use interop::{
    Process, Stack, media,
    process::{eventually, free_port, output, sightline},
    stack,
};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

/// Walkers before a shop, 768x576, 10 fps: Debian's opencv-doc.
const WALKERS: &str = "/usr/share/doc/opencv-doc/examples/data/vtest.avi";

/// A yard with a sensor's noise in which a white box crosses from second `still_sec` on, for four seconds; then it is still for a minute.
fn make_crossing(path: &Path, still_sec: u32, codec: &[&str]) {
    let filter = format!(
        "[0][1]overlay=x='if(between(t,{still_sec},{}),(t-{still_sec})*120,-100)':y=150:shortest=1,noise=alls=8:allf=t",
        still_sec + 4
    );
    let duration = (still_sec + 64).to_string();
    output(
        Command::new("ffmpeg")
            .args(["-v", "error", "-y", "-f", "lavfi", "-i", "smptebars=size=640x360:rate=15", "-f", "lavfi", "-i"])
            .args(["color=white:size=60x90:rate=15", "-filter_complex", &filter, "-t", &duration, "-pix_fmt", "yuv420p"])
            .args(codec)
            .arg(path),
    );
}

/// When the box comes into a file, in seconds from its first picture: the first of its place's pixels that is as it was not before.
fn box_comes_at(file: &Path) -> f64 {
    const SIDE: usize = 32 * 18;
    let pictures = output(Command::new("ffmpeg").args(["-v", "error", "-i"]).arg(file).args([
        "-vf",
        "scale=32:18,format=gray",
        "-vsync",
        "0",
        "-f",
        "rawvideo",
        "-",
    ]));
    let times: Vec<i64> =
        media::packets(file.to_str().unwrap(), None).iter().filter(|packet| packet.kind == "video").map(|packet| packet.dts_ms).collect();
    let first = &pictures[..SIDE];
    let differs = |picture: &[u8]| picture.iter().zip(first).filter(|(now, before)| now.abs_diff(**before) > 60).count() >= 3;
    let at = pictures.chunks_exact(SIDE).position(differs).expect("the box is in it");
    (times[at] - times[0]) as f64 / 1000.0
}

fn mosquitto(program: &str, stack: &Stack) -> Command {
    let port = stack.mqtts.rsplit_once(':').unwrap().1;
    let mut command = Command::new(program);
    command.args(["-h", "localhost", "-p", port, "--cafile"]).arg(stack.file("cloud/ca.pem"));
    command.arg("--cert").arg(stack.file("cloud/operator.pem")).arg("--key").arg(stack.file("cloud/operator.key"));
    command
}

fn subscribe(stack: &Stack) -> Process {
    let dir = stack.file("");
    Process::start("mosquitto_sub", &dir, mosquitto("mosquitto_sub", stack).args(["-v", "-q", "1", "-t", "devices/#"]))
}

fn said(subscriber: &Process, topic: &str) -> Vec<Value> {
    let log = subscriber.log();
    let of_topic = log.lines().filter_map(|line| line.split_once(' ')).filter(|(at, _)| *at == topic);
    of_topic.filter_map(|(_, text)| serde_json::from_str(text).ok()).collect()
}

fn is_live(stack: &Stack, device: &str) -> bool {
    stack::streams(&stack.http).0.iter().any(|stream| stream["device"] == device)
}

fn list(dir: &Path) -> Vec<Value> {
    let printed = output(Command::new(sightline()).args(["recordings", "list", "--json", "--dir"]).arg(dir));
    serde_json::from_slice(&printed).unwrap()
}

#[test]
fn motion_starts_stream_and_clip_five_seconds_before_it_and_ends_them_after_the_hold() {
    assert_event("crossing.avi", &["-c:v", "mpeg4", "-q:v", "4"], "quality = 'low'");
}

/// What is seen in key frames two seconds apart is seen late, and yet the stream begins before it.
#[test]
fn of_video_that_is_passed_through_too() {
    let codec = ["-c:v", "libx264", "-preset", "veryfast", "-g", "30", "-sc_threshold", "0", "-b:v", "800k"];
    assert_event("crossing.mp4", &codec, "");
}

fn assert_event(name: &str, codec: &[&str], quality: &str) {
    let stack = Stack::start();
    let _ = stack.add_device("cam-1");
    let source = stack.file(name);
    make_crossing(&source, 16, codec);
    let clips = stack.file("clips");
    let subscriber = subscribe(&stack);
    let settings = format!(
        "trigger = 'motion'\n{quality}\n[motion]\nhold_sec = 4\n[recording]\nenabled = true\nmode = 'motion'\ndir = '{}'\n",
        clips.display()
    );
    let mut camera = stack.start_camera("cam-1", source.to_str().unwrap(), &settings);
    let motion = |is_on: bool| said(&subscriber, "devices/cam-1/motion").iter().any(|message| message["motion"] == is_on);
    eventually("it waits for its trigger", Duration::from_secs(20), || {
        said(&subscriber, "devices/cam-1/stream/state").iter().any(|state| state["state_name"] == "standby").then_some(())
    });
    assert!(!is_live(&stack, "cam-1"), "nothing moves yet");
    eventually("motion is told", Duration::from_secs(40), || motion(true).then_some(()));
    eventually("motion starts the stream", Duration::from_secs(20), || is_live(&stack, "cam-1").then_some(()));
    eventually("the event is over", Duration::from_secs(30), || motion(false).then_some(()));
    eventually("the stream ends with it", Duration::from_secs(20), || (!is_live(&stack, "cam-1")).then_some(()));
    let stopped = eventually("its figures are told", Duration::from_secs(10), || {
        said(&subscriber, "devices/cam-1/stream/status").into_iter().find(|event| event["event"] == "stream_stopped")
    });
    assert_eq!(stopped["final_metrics"]["dropped_frames"], 0, "the pre-roll is left out nowhere: {stopped}");
    camera.signal("-TERM");
    assert!(camera.wait(Duration::from_secs(15)).success());

    let streamed = eventually("the origin has recorded it", Duration::from_secs(20), || {
        stack.recordings("cam-1", "mp4").into_iter().next().filter(|file| file.metadata().is_ok_and(|metadata| metadata.len() > 1000))
    });
    assert_eq!(said(&subscriber, "devices/cam-1/motion").len(), 2, "one event, no flapping");
    let listed = list(&clips);
    assert_eq!(listed.len(), 1, "{listed:?}");
    let clip = PathBuf::from(listed[0]["path"].as_str().unwrap());
    for file in [&streamed, &clip] {
        let (frames, before) = (media::decode(file), box_comes_at(file));
        eprintln!("{}: {frames} frames, {before:.2} s before the motion", file.display());
        assert!((5.0..=9.0).contains(&before), "{}: {before} s before the motion", file.display());
    }
    // The whole clip by time, as one file.
    let out = stack.file("export.mp4");
    let export = ["recordings", "export", "2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z"];
    output(Command::new(sightline()).args(export).arg(&out).arg("--config").arg(stack.file("cam-1.toml")));
    assert_eq!(media::decode(&out), media::decode(&clip));
}

#[test]
fn walkers_are_seen_in_pictures_and_in_the_key_frames_of_video_that_is_passed_through() {
    let stack = Stack::start();
    let coded = stack.file("walkers.mp4");
    output(
        Command::new("ffmpeg")
            .args(["-v", "error", "-y", "-i", WALKERS, "-c:v", "libx264", "-preset", "veryfast", "-g", "20", "-pix_fmt", "yuv420p"])
            .arg(&coded),
    );
    let started = Instant::now();
    let cameras: Vec<Process> = [("pictures", WALKERS), ("coded", coded.to_str().unwrap())]
        .map(|(device, source)| {
            let _ = stack.add_device(device);
            stack.start_camera(device, source, "trigger = 'motion'")
        })
        .into();
    for device in ["pictures", "coded"] {
        eventually(&format!("{device}: walkers start the stream"), Duration::from_secs(60), || is_live(&stack, device).then_some(()));
        println!("{device}: live {:.1} s after the start of the process", started.elapsed().as_secs_f32());
    }
    drop(cameras);
}

/// A time of day in UTC, this many seconds from now.
fn time_of_day(seconds: i32) -> String {
    let printed = output(Command::new("date").args(["-u", "-d", &format!("{seconds} seconds"), "+%H:%M:%S"]));
    String::from_utf8(printed).unwrap().trim().to_owned()
}

#[test]
fn a_window_opens_and_closes_the_stream_and_a_camera_started_again_inside_streams_on() {
    let stack = Stack::start();
    let _ = stack.add_device("cam-1");
    let settings = format!(
        "trigger = 'scheduled'\nquality = 'low'\n[[schedule]]\ndays = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun']\n\
         start = '{}'\nend = '{}'\ntz = 'UTC'\n",
        time_of_day(6),
        time_of_day(40)
    );
    let mut camera = stack.start_camera("cam-1", "test", &settings);
    assert!(!is_live(&stack, "cam-1"), "the window is not open yet");
    eventually("the window opens", Duration::from_secs(30), || is_live(&stack, "cam-1").then_some(()));
    camera.kill();
    let again = stack.start_camera("cam-1", "test", &settings);
    eventually("it streams again", Duration::from_secs(20), || again.log().contains("streaming").then_some(()));
    eventually("the window closes", Duration::from_secs(60), || again.log().contains("standby").then_some(()));
    eventually("the stream is over", Duration::from_secs(20), || (!is_live(&stack, "cam-1")).then_some(()));
}

#[test]
fn a_command_starts_an_on_demand_stream_and_a_lost_stop_ends_by_its_lease() {
    let stack = Stack::start();
    let _ = stack.add_device("cam-1");
    let subscriber = subscribe(&stack);
    let _camera = stack.start_camera("cam-1", "test", "trigger = 'on_demand'\nquality = 'low'");
    eventually("the camera is there", Duration::from_secs(20), || said(&subscriber, "devices/cam-1/online").first().cloned());
    let topic = ["-q", "1", "-t", "devices/cam-1/stream/command", "-m", r#"{"command_id":"c1","cmd":"start","lease_sec":6}"#];
    let asked = Instant::now();
    output(mosquitto("mosquitto_pub", &stack).args(topic));
    eventually("it is live", Duration::from_secs(20), || is_live(&stack, "cam-1").then_some(()));
    println!("live {:.2} s after the command, looked at each 50 ms through the cloud's API", asked.elapsed().as_secs_f32());
    // No one sends a stop.
    eventually("the lease ends it", Duration::from_secs(30), || (!is_live(&stack, "cam-1")).then_some(()));
    let states = said(&subscriber, "devices/cam-1/stream/state");
    assert_eq!(states.last().unwrap()["state_name"], "standby");
}

/// A camera without a cloud, that records continuously and whose server is not there.
fn start_recorder(dir: &Path, keeps: &str) -> Process {
    let toml = format!(
        "device_id = 'cam-1'\nsource = 'test'\n[stream]\nquality = 'low'\ntrigger = 'manual'\nreconnect_interval_sec = 1\nmax_reconnect_attempts = 2\n\
         rtmp_server_url = 'rtmp://127.0.0.1:{}/live'\nstream_key = 'x'\n[recording]\nenabled = true\nsegment_sec = 4\ndir = '{}'\n{keeps}",
        free_port(),
        dir.join("recordings").display()
    );
    std::fs::write(dir.join("camera.toml"), toml).unwrap();
    Process::start("camera", dir, Command::new(sightline()).args(["camera", "--config"]).arg(dir.join("camera.toml")))
}

#[test]
fn recording_goes_on_without_a_server_and_survives_a_kill_at_any_moment() {
    let dir = tempfile::TempDir::new().unwrap();
    let recordings = dir.path().join("recordings");
    let seconds = |found: &[Value]| found.iter().map(|file| file["duration_ms"].as_i64().unwrap()).sum::<i64>() as f64 / 1000.0;
    let recorded = |least: f64| {
        eventually("it records", Duration::from_secs(60), || {
            let found = if recordings.is_dir() { list(&recordings) } else { Vec::new() };
            (seconds(&found) >= least).then_some(found)
        })
    };
    let mut camera = start_recorder(dir.path(), "");
    // Its server is not there: it tries, and stops trying. The recorder goes on through all of it.
    eventually("the stream is in its error state", Duration::from_secs(30), || camera.log().contains("state=\"error\"").then_some(()));
    let meanwhile = recorded(1.0);
    recorded(seconds(&meanwhile) + 5.0);
    assert!(camera.log().contains("state=\"reconnecting\""), "{}", camera.log());
    camera.kill();
    let killed = list(&recordings);
    let again = start_recorder(dir.path(), "");
    let all = recorded(seconds(&killed) + 4.0);
    assert!(killed.iter().zip(&all).all(|(before, now)| before["path"] == now["path"]), "nothing is written over");
    drop(again);
    for file in list(&recordings) {
        assert!(media::decode(Path::new(file["path"].as_str().unwrap())) > 0);
    }
    let out = dir.path().join("all.mp4");
    let export = ["recordings", "export", "2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z", "--json", "--dir"];
    let exported: Value = serde_json::from_slice(&output(Command::new(sightline()).args(export).arg(&recordings).arg(&out))).unwrap();
    assert_eq!(media::decode(&out) as u64, exported["frames"].as_u64().unwrap(), "{exported}");
    println!("{exported}");
}

#[test]
fn a_recording_cut_at_any_byte_is_read_by_ffprobe_up_to_its_last_complete_fragment() {
    let dir = tempfile::TempDir::new().unwrap();
    let recordings = dir.path().join("recordings");
    let camera = start_recorder(dir.path(), "");
    let file = eventually("two files", Duration::from_secs(60), || {
        let found = if recordings.is_dir() { list(&recordings) } else { Vec::new() };
        (found.len() >= 2).then(|| found[0]["path"].as_str().unwrap().to_owned())
    });
    drop(camera);
    let whole = std::fs::read(&file).unwrap();
    let all = media::packets(&file, None);
    let cuts = dir.path().join("cuts");
    std::fs::create_dir(&cuts).unwrap();
    let cut = cuts.join(Path::new(&file).file_name().unwrap());
    let mut had = 0;
    // In the middle of the last fragment's header, too, where ffmpeg is at its worst.
    let last_moof = whole.windows(4).rposition(|bytes| bytes == b"moof").unwrap();
    for length in (0..whole.len()).step_by(whole.len() / 23 + 1).chain([last_moof + 40]) {
        std::fs::write(&cut, &whole[..length]).unwrap();
        let Some(duration_ms) = list(&cuts).first().and_then(|found| found["duration_ms"].as_i64()) else { continue };
        let complete: Vec<_> = all.iter().filter(|packet| packet.dts_ms < duration_ms - 5).collect();
        if complete.is_empty() {
            continue;
        }
        let read = media::packets_of_cut_file(cut.to_str().unwrap());
        assert!(read.len() >= complete.len() && read.iter().zip(&complete).all(|(read, whole)| read == *whole), "{length} bytes");
        had = had.max(complete.len());
    }
    assert!(had > 20, "{had} frames were in a file that was cut");
}
