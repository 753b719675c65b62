//! Cameras of the machine itself: a real kernel with its driver `vivid`, in a virtual machine, where our agent streams to our origin out here.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use interop::{
    Stack,
    guest::{Guest, HOST},
    media,
    process::{eventually, output, sightline},
    stack,
};
use serde_json::Value;
use std::{path::Path, process::Command, time::Duration};

/// A webcam without injected errors as `/dev/video0`, an output, which gives no pictures, as `/dev/video1`, and as `/dev/video2` a camera with the
/// interface for pictures in several memories, as boards have them.
const VIVID: &str = "vivid n_devs=2 node_types=0x101,0x1 num_inputs=1,1 input_types=0,0 num_outputs=1,1 multiplanar=1,2 no_error_inj=1";
/// Processors that are emulated, on a machine that does other things too.
const LIMIT: Duration = Duration::from_secs(90);
/// What `vivid` shows: bars of 75 %, as red, green and blue.
const BARS: [[i32; 3]; 8] =
    [[191, 191, 191], [191, 191, 0], [0, 191, 191], [0, 191, 0], [191, 0, 191], [191, 0, 0], [0, 0, 191], [0, 0, 0]];

/// An origin, and a guest with the device `cam-1` whose agent may stream to it.
struct Scene {
    stack: Stack,
    guest: Guest,
    url: String,
}

impl Scene {
    fn start(dir: &Path) -> Self {
        let stack = Stack::start();
        let _ = stack.add_device("cam-1");
        let url = stack.publish_url("cam-1").replace("127.0.0.1", HOST);
        Self { guest: Guest::boot(dir, &[VIVID], &[&sightline()]), stack, url }
    }

    /// Starts `sightline push` in the guest.
    fn push(&mut self, device: &str, options: &str) {
        let line = format!("sightline -v push {device} '{}' {options} >/tmp/push.log 2>&1 & echo $! >/tmp/push.pid", self.url);
        self.guest.run(&line);
    }

    fn log(&mut self) -> String {
        self.guest.run("cat /tmp/push.log")
    }

    /// Waits until its log has this many lines with a text.
    fn wait_for(&mut self, what: &str, text: &str, times: usize) {
        eventually(what, LIMIT, || (self.log().matches(text).count() >= times).then_some(()));
    }

    /// Stops it as Ctrl-C does.
    fn stop(&mut self) {
        self.guest.run("kill -INT $(cat /tmp/push.pid); wait $(cat /tmp/push.pid)");
        assert!(self.log().contains("sent "), "{}", self.log());
    }

    /// Plays four seconds from the origin into a file, once it has them.
    fn record(&self, file: &Path) -> String {
        let playback = eventually("the stream is live", LIMIT, || {
            let streams = stack::streams(&self.stack.http).0;
            let stream = streams.iter().find(|stream| stream["device"] == "cam-1" && stream["state"] == "streaming")?;
            stream["playback"].as_str().map(str::to_owned)
        });
        let url = format!("http://{}/live/{playback}.flv", self.stack.origin_http);
        output(Command::new("ffmpeg").args(["-v", "error", "-y", "-i", &url, "-t", "4", "-c", "copy"]).arg(file));
        playback
    }
}

/// Of the right size, without an error of the decoder, with the colours of the bars.
fn assert_shows_bars(file: &Path, what: &str) {
    let stream = media::probe(file.to_str().unwrap());
    assert_eq!((stream["width"].as_i64(), stream["height"].as_i64()), (Some(640), Some(480)), "{what}");
    let pictures = media::decode(file);
    // Of sixty where the machine has the time: it emulates another one here, which encodes.
    assert!(pictures >= 4, "{what}: {pictures} pictures of 4 s");
    let raw = ["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"];
    let picture = output(Command::new("ffmpeg").args(["-v", "error", "-i"]).arg(file).args(raw));
    for (index, bar) in BARS.iter().enumerate() {
        // Below the driver's text.
        let at = (400 * 640 + 40 + index * 80) * 3;
        let near = (0..3).all(|channel| (i32::from(picture[at + channel]) - bar[channel]).abs() < 16);
        assert!(near, "{what}: bar {index} is {:?}, not {bar:?}", &picture[at..at + 3]);
    }
}

#[test]
fn a_camera_of_the_machine_streams_in_every_raw_format_and_comes_back_after_it_was_unplugged() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut scene = Scene::start(dir.path());
    for (device, format) in [("/dev/video0", "yuyv"), ("/dev/video0", "yu12"), ("/dev/video2", "yuyv"), ("/dev/video2", "nv12")] {
        scene.push(device, &format!("--quality low --v4l2-format {format}"));
        let file = dir.path().join("format.flv");
        scene.record(&file);
        assert_shows_bars(&file, &format!("{device}, {format}"));
        assert!(scene.log().contains(&format!("format=\"{format}\" width=640 height=480 fps=15.0")), "{}", scene.log());
        scene.stop();
    }
    // NV12 costs least: nobody has to ask for it.
    scene.push("/dev/video0", "--quality low");
    let file = dir.path().join("before.flv");
    let playback = scene.record(&file);
    assert_shows_bars(&file, "nv12");
    assert!(scene.log().contains("format=\"nv12\" width=640 height=480 fps=15.0"), "{}", scene.log());

    scene.guest.run("echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind");
    scene.wait_for("the loss is said", "SOURCE_LOST", 1);
    assert!(scene.log().contains("it was unplugged"), "{}", scene.log());
    scene.wait_for("a try without a camera", "there is no such device", 1);
    scene.guest.run("echo vivid.0 >/sys/bus/platform/drivers/vivid/bind");
    scene.wait_for("the camera is found again", "the camera answers", 2);
    let file = dir.path().join("after.flv");
    assert_eq!(scene.record(&file), playback, "it is the same stream");
    assert_shows_bars(&file, "after it was plugged in again");
    let times: Vec<i64> = media::packets(file.to_str().unwrap(), None).iter().map(|packet| packet.dts_ms).collect();
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "decoding times rise: {times:?}");
    scene.stop();
}

#[test]
fn cameras_are_listed_and_what_can_t_be_used_is_said_with_its_mend() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut scene = Scene::start(dir.path());
    let json = |printed: &str| -> Value { serde_json::from_str(printed).unwrap_or_else(|error| panic!("{error}: {printed}")) };

    let listed = json(&scene.guest.run("sightline camera probe --json"));
    let [device, second] = listed["devices"].as_array().unwrap().as_slice() else { panic!("the cameras, not the output: {listed}") };
    assert_eq!((second["path"].as_str(), &second["problem"]), (Some("/dev/video2"), &Value::Null), "{second}");
    assert!(!second["formats"].as_array().unwrap().is_empty(), "{second}");
    let identity = ["path", "name", "driver", "bus"].map(|key| device[key].as_str().unwrap());
    assert_eq!(identity, ["/dev/video0", "vivid", "vivid", "platform:vivid-000"]);
    let format = |name: &str| device["formats"].as_array().unwrap().iter().find(|format| format["format"] == name).unwrap();
    assert_eq!((format("NV12")["is_read"].as_bool(), format("BA81")["is_read"].as_bool()), (Some(true), Some(false)));
    let size = format("YUYV")["sizes"].as_array().unwrap().iter().find(|size| size["width"] == 640 && size["height"] == 480).unwrap();
    assert!(size["fps"].as_array().unwrap().contains(&Value::from(15.0)), "{size}");
    assert!(scene.guest.run("sightline camera probe").contains("/dev/video0  vivid (vivid, platform:vivid-000)"));

    let looked = json(&scene.guest.run("sightline camera probe /dev/video0 --json 2>/dev/null"));
    assert_eq!(looked["video"]["codec"], "nv12");
    assert!(looked["video"]["fps"].as_f64().unwrap() > 0.0, "{looked}");
    let low = looked["presets"].as_array().unwrap().iter().find(|preset| preset["quality"] == "low").unwrap();
    assert_eq!((low["read_as"].as_str(), low["is_passed_through"].as_bool()), (Some("nv12 640x480@15"), Some(false)));
    assert_eq!((low["width"].as_i64(), low["height"].as_i64(), low["fps"].as_i64()), (Some(640), Some(480), Some(15)));

    let url = scene.url.clone();
    let refused = |scene: &mut Scene, command: &str, expected: &str| {
        let (status, said) = scene.guest.try_run(command);
        assert!(status == 1 && said.contains(expected), "{command}: {status}, {said}");
    };
    let nobody = "su -s /bin/sh nobody -c";
    refused(&mut scene, &format!("{nobody} 'sightline camera probe /dev/video0'"), "PERMISSION_DENIED");
    assert!(scene.guest.run(&format!("{nobody} 'sightline camera probe'")).contains("add the user to the group video"));
    for (device, expected) in [
        ("/dev/video1", "gives no pictures by this device"),
        ("/dev/video7", "there is no such device"),
        ("/dev/null", "it is no V4L2 device"),
    ] {
        refused(&mut scene, &format!("sightline push {device} '{url}'"), expected);
    }
    refused(&mut scene, &format!("sightline push /dev/video0 '{url}' --v4l2-format mjpeg"), "v4l2_format asks for mjpeg");
    scene.push("/dev/video0", "--quality low");
    scene.wait_for("the camera is used", "the camera answers", 1);
    refused(&mut scene, "sightline camera probe /dev/video0", "another program uses it: end that one (`fuser -v /dev/video0` names it)");
    scene.stop();
}
